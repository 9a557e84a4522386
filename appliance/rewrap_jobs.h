#pragma once
// Jobs: the background work that moves an inventory to its keyring's primary version (F16).

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "appliance/governance.h"
#include "crypto/base/mutex.h"
#include "hsm/key_ops.h"
#include "ledger/ledger.h"

namespace strongroom::appliance {

/// JobView is a job as people see it. `total` is what it has dealt with and what is left now; rate and time left are of
/// this run of the process and 0 while nothing is known.
struct JobView {
  std::shared_ptr<const Job> job;
  std::string keyring;
  std::string state;    // as JobSwitched names them, or queued
  std::string waiting;  // why it stands still by itself, empty: it does not
  std::uint64_t total = 0;
  std::uint64_t done = 0;
  std::uint64_t quarantined = 0;
  std::uint64_t batches = 0;
  double rate = 0;  // records a second
  double seconds_left = 0;
};

/// PlanView is what a job would do now, and what would stop it.
struct PlanView {
  struct Line {
    std::uint32_t version = 0;
    VersionState state = VersionState::kActive;
    ledger::DekCounts counts;
    bool moves = false;  // a job would move it
  };
  struct Blocker {
    std::string code;
    std::string detail;
    bool stops = false;  // the job would not run; else: something for people to know
  };
  std::string keyring;
  std::uint32_t to_version = 0;
  std::uint64_t records = 0;  // to be moved
  std::uint64_t bytes = 0;
  std::vector<Line> lines;
  std::vector<Blocker> blockers;
  double rate = 0;  // records a second, measured; 0: nothing to measure with
  double seconds = 0;
  std::string basis;
};

/// RewrapJobs runs the jobs that the control log says are running, one at a time, an emergency first, before which
/// others stop at their next batch. What is left to do is a range of the inventory's index, so that nothing else need
/// be remembered: a batch's records and its evidence entry are one transaction. Anything but a record that does not
/// open stops a job for a while, never ends it. Thread-safe.
class RewrapJobs {
 public:
  struct Options {
    std::size_t batch = 256;   // records in one transaction
    unsigned concurrency = 3;  // batches under way
    std::size_t frame = 8;     // records in one frame to the token while somebody waits for single answers
    // Why jobs may not run now, empty when they may.
    std::function<std::string()> hindrance = nullptr;
    std::function<bool()> busy = nullptr;  // somebody waits for single answers
    unsigned hosts = 1;
  };
  RewrapJobs(ledger::Ledger& ledger, hsm::KeyOps& bulk, const Clock& clock, Governance& governance, Options options);
  ~RewrapJobs();
  /// Stop ends the batches under way and the threads; jobs go on with the next start.
  void Stop() EXCLUDES(mutex_);

  /// View and List tell of one job and of all, newest first. kNotFound (job-not-found).
  Result<JobView> View(const std::string& id) const EXCLUDES(mutex_);
  std::vector<JobView> List() const EXCLUDES(mutex_);
  /// Switch is a person's pause, resume or cancel: it takes effect at the next batch.
  Result<JobView> Switch(const std::string& id, JobState to, const Caller& by) EXCLUDES(mutex_);
  /// Plan is a dry run: a sample is rewrapped in the token to measure, and thrown away; that is an evidence entry.
  Result<PlanView> Plan(const std::string& keyring, const std::string& request_id, const std::string& principal) const;
  /// WaitIdle blocks until every job that is owed or running has ended or was paused; false when that is not so at
  /// `until`. For tests, and for whoever waits to stop a machine.
  bool WaitIdle(std::chrono::steady_clock::time_point until) const EXCLUDES(mutex_);

 private:
  struct Source {
    std::uint32_t version;
    std::string after;
  };
  struct Pass;
  struct Record {
    std::string id;
    ledger::DekRecord record;
  };
  ledger::EvidenceEntry EntryFor(const Keyring& keyring, std::string request_id) const;
  void Loop() EXCLUDES(mutex_);
  // Standing is a job that cannot go on for now.
  struct Standing {
    std::string why;
    std::chrono::steady_clock::time_point until;
    std::chrono::milliseconds pause{0};
  };
  std::shared_ptr<const Job> Next() const REQUIRES(mutex_);
  bool AnyRunning() const;
  bool Ended(const Pass& pass) const EXCLUDES(mutex_);
  void RunPass(const std::shared_ptr<const Job>& job) EXCLUDES(mutex_);
  bool Yields(const Pass& pass) const;
  void WorkThrough(Pass& pass, bool first) EXCLUDES(mutex_);
  Result<std::vector<Record>> TakeBatch(Pass& pass) const;
  Result<void> RunBatch(const Pass& pass, std::vector<Record> records);
  std::vector<Result<hsm::KeyOpOutput>> Ask(const Pass& pass, const std::vector<hsm::KeyOp>& ops) const;
  Result<void> RetryQuarantined(const Pass& pass) const;
  Result<std::uint64_t> LeftOf(const State& state, const Job& job, const Keyring& keyring) const;
  void StandStill(const std::string& job, const std::string& why) EXCLUDES(mutex_);

  ledger::Ledger& ledger_;
  hsm::KeyOps& bulk_;
  const Clock& clock_;
  Governance& governance_;
  const Options options_;

  mutable Mutex mutex_;
  mutable CondVar changed_;
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::uint64_t idle_turns_ GUARDED_BY(mutex_) = 0;  // how often there was nothing to do
  std::string current_ GUARDED_BY(mutex_);           // the job whose turn it is
  std::string hindrance_ GUARDED_BY(mutex_);         // why none may run
  std::map<std::string, Standing, std::less<>> standing_ GUARDED_BY(mutex_);
  std::chrono::steady_clock::time_point measured_since_ GUARDED_BY(mutex_);
  std::uint64_t measured_ GUARDED_BY(mutex_) = 0;
  std::thread thread_;
};

}  // namespace strongroom::appliance
