#include "appliance/rewrap_jobs.h"

#include <algorithm>

#include "appliance/broker.h"
#include "appliance/gcm_budget.h"
#include "appliance/rewrap_decisions.h"

namespace strongroom::appliance {
namespace {

using Steady = std::chrono::steady_clock;
constexpr auto kIdle = std::chrono::milliseconds(250);
constexpr auto kYield = std::chrono::milliseconds(20);
constexpr auto kMostPause = std::chrono::milliseconds(5000);
constexpr std::size_t kWholeFrame = 256;

// A record that the token refuses for what it is, now and for ever.
bool IsTheRecordsFault(const Error& error) { return error.code == Code::kUnwrapFailed || error.code == Code::kInvalid; }

}  // namespace

// Pass is one walk over everything that a job has left to do.
struct RewrapJobs::Pass {
  std::shared_ptr<const Job> job;
  std::shared_ptr<const State> state;
  const Keyring* keyring = nullptr;
  const Version* target = nullptr;
  mutable Mutex mutex;
  std::vector<Source> sources GUARDED_BY(mutex);  // the front one is being read
  std::optional<Error> failure GUARDED_BY(mutex);
};

RewrapJobs::RewrapJobs(ledger::Ledger& ledger, hsm::KeyOps& bulk, const Clock& clock, Governance& governance,
                       Options options)
    : ledger_(ledger), bulk_(bulk), clock_(clock), governance_(governance), options_(std::move(options)) {
  thread_ = std::thread([this] { Loop(); });
}

ledger::EvidenceEntry RewrapJobs::EntryFor(const Keyring& keyring, std::string request_id) const {
  ledger::EvidenceEntry entry;
  entry.time = clock_.Now();
  entry.request_id = std::move(request_id);
  entry.principal = "-";
  entry.operation = ledger::Operation::kRewrap;
  entry.keyring = keyring.name;
  entry.keyring_id = keyring.id;
  entry.outcome = "ok";
  return entry;
}

RewrapJobs::~RewrapJobs() { Stop(); }

void RewrapJobs::Stop() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
    changed_.NotifyAll();
  }
  if (thread_.joinable()) thread_.join();
}

// An emergency first, then whoever has waited longest; who stands still lets others by.
std::shared_ptr<const Job> RewrapJobs::Next() const {
  std::shared_ptr<const Job> next;
  const auto before = [](const Job& a, const Job& b) {
    const auto urgent = [](const Job& j) { return j.kind == ledger::JobStarted::Kind::kEmergency; };
    return urgent(a) != urgent(b) ? urgent(a) : std::pair(a.started, a.id) < std::pair(b.started, b.id);
  };
  const auto now = Steady::now();
  const auto state = governance_.Snapshot();
  for (const auto& [id, job] : state->jobs) {
    if (job->state != JobState::kRunning) continue;
    if (const auto at = standing_.find(id); at != standing_.end() && now < at->second.until) continue;
    if (next == nullptr || before(*job, *next)) next = job;
  }
  return next;
}

bool RewrapJobs::AnyRunning() const {
  const auto state = governance_.Snapshot();
  return std::any_of(state->jobs.begin(), state->jobs.end(),
                     [](const auto& at) { return at.second->state == JobState::kRunning; });
}

void RewrapJobs::Loop() {
  while (true) {
    // Nothing is written before the ledger has been held against its token, nor while nothing could be done.
    const auto hindrance = options_.hindrance ? options_.hindrance() : std::string();
    if (hindrance.empty()) (void)governance_.StartOwedJobs();
    std::shared_ptr<const Job> job;
    {
      const MutexLock lock(mutex_);
      if (stopping_) return;
      hindrance_ = hindrance;
      if (hindrance.empty()) job = Next();
      if (job == nullptr || job->id != current_) {
        current_ = job == nullptr ? std::string() : job->id;
        measured_ = 0;
        measured_since_ = Steady::now();
      }
      if (job == nullptr) {
        if (!AnyRunning()) ++idle_turns_;
        changed_.NotifyAll();
        (void)changed_.WaitUntil(mutex_, Steady::now() + kIdle);
        continue;
      }
    }
    RunPass(job);
  }
}

void RewrapJobs::StandStill(const std::string& job, const std::string& why) {
  const MutexLock lock(mutex_);
  auto& standing = standing_[job];
  standing.pause = standing.why.empty() ? kIdle : std::min(kMostPause, standing.pause * 2);
  standing.why = why;
  standing.until = Steady::now() + standing.pause;
  measured_ = 0;  // the rate is of work, not of waiting
  measured_since_ = Steady::now();
}

// Whether the pass has to end before its work does: somebody has switched its job, or the process stops.
bool RewrapJobs::Ended(const Pass& pass) const {
  {
    const MutexLock lock(mutex_);
    if (stopping_) return true;
  }
  {
    const MutexLock lock(pass.mutex);
    if (pass.failure) return true;
  }
  const auto state = governance_.Snapshot();
  if (pass.job->kind != ledger::JobStarted::Kind::kEmergency) {
    const MutexLock lock(mutex_);
    if (const auto next = Next(); next != nullptr && next->kind == ledger::JobStarted::Kind::kEmergency) return true;
  }
  const auto at = state->jobs.find(pass.job->id);
  return at == state->jobs.end() || at->second->state != JobState::kRunning ||
         state->FindKeyring(pass.job->keyring)->primary != pass.job->target;
}

void RewrapJobs::RunPass(const std::shared_ptr<const Job>& job) {
  Pass pass;
  pass.job = job;
  pass.state = governance_.Snapshot();
  pass.keyring = pass.state->FindKeyring(job->keyring);
  pass.target = pass.keyring->Find(job->target);
  const auto stand_still = [&](const std::string& why) { StandStill(job->id, why); };
  const auto fail = [&](const std::string& why) {
    if (const auto switched = governance_.EndJob(job->id, JobState::kFailed, why); !switched)
      stand_still(switched.error().detail);
  };
  if (pass.keyring->primary != job->target || pass.target->state != VersionState::kActive)
    return fail("its version is the primary no more");
  // Services are kept from a disabled keyring; in an emergency what it has is moved all the same.
  if (!pass.keyring->enabled && job->kind != ledger::JobStarted::Kind::kEmergency)
    return stand_still("the keyring is disabled");
  if (const auto retried = RetryQuarantined(pass); !retried) return stand_still(retried.error().detail);
  const auto counts = ledger_.Deks().Counts(pass.keyring->id);
  if (!counts) return stand_still(counts.error().detail);
  for (const auto& [number, version] : pass.keyring->versions)
    if (const auto at = counts->find(number); at != counts->end() && number != job->target &&
                                              MayRewrapFrom(*pass.state, *pass.keyring, version) &&
                                              at->second.records > at->second.quarantined) {
      const MutexLock lock(pass.mutex);
      pass.sources.push_back({number, {}});
    }
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < options_.concurrency; ++i) threads.emplace_back([&, i] { WorkThrough(pass, i == 0); });
  for (auto& thread : threads) thread.join();
  std::optional<Error> failure;
  {
    const MutexLock lock(pass.mutex);
    failure = pass.failure;
  }
  if (failure && failure->Slug() == "gcm-exhausted") return fail(failure->detail);
  if (failure) return stand_still(failure->detail);
  {
    const MutexLock lock(mutex_);
    standing_.erase(job->id);
  }
  if (Ended(pass)) return;
  const auto left = LeftOf(*governance_.Snapshot(), *job, *pass.keyring);
  if (!left) return stand_still(left.error().detail);
  if (*left > 0) return;  // something was put meanwhile: once more
  // What an earlier job has put aside is not done either.
  const auto after = ledger_.Deks().Counts(pass.keyring->id);
  if (!after) return stand_still(after.error().detail);
  std::uint64_t quarantined = 0;
  for (const auto& [number, count] : *after)
    if (number != job->target) quarantined += count.quarantined;
  const auto to = quarantined == 0 ? JobState::kComplete : JobState::kCompleteWithQuarantine;
  const auto why = quarantined == 0 ? std::string() : std::to_string(quarantined) + " records are quarantined";
  if (const auto ended = governance_.EndJob(job->id, to, why); !ended) stand_still(ended.error().detail);
}

// While somebody waits for single answers a job makes do with little; an emergency does not.
bool RewrapJobs::Yields(const Pass& pass) const {
  return pass.job->kind != ledger::JobStarted::Kind::kEmergency && options_.busy != nullptr && options_.busy();
}

void RewrapJobs::WorkThrough(Pass& pass, bool first) {
  while (!Ended(pass)) {
    if (!first && Yields(pass)) {  // one batch at a time
      {
        const MutexLock lock(pass.mutex);
        if (pass.sources.empty()) return;
      }
      const MutexLock lock(mutex_);
      (void)changed_.WaitUntil(mutex_, Steady::now() + kYield);
      continue;
    }
    auto records = TakeBatch(pass);
    auto outcome = records ? Result<void>() : Result<void>(records.error());
    if (records && records->empty()) return;
    if (records) outcome = RunBatch(pass, std::move(*records));
    if (outcome) continue;
    const MutexLock lock(pass.mutex);
    if (!pass.failure) pass.failure = outcome.error();
    return;
  }
}

Result<std::vector<RewrapJobs::Record>> RewrapJobs::TakeBatch(Pass& pass) const {
  const MutexLock lock(pass.mutex);
  std::vector<Record> records;
  while (records.empty() && !pass.sources.empty()) {
    auto& source = pass.sources.front();
    TRY(ledger_.Deks().ScanUnder(pass.keyring->id, source.version, false, source.after,
                                 [&](std::string_view id, const ledger::DekRecord& record) {
                                   records.push_back({std::string(id), record});
                                   return records.size() < options_.batch;
                                 }));
    if (records.empty())
      pass.sources.erase(pass.sources.begin());
    else
      source.after = records.back().id;
  }
  return records;
}

// A host is kept for as many records as there are, or while the job yields for a few at a time.
std::vector<Result<hsm::KeyOpOutput>> RewrapJobs::Ask(const Pass& pass, const std::vector<hsm::KeyOp>& ops) const {
  std::vector<Result<hsm::KeyOpOutput>> outputs;
  outputs.reserve(ops.size());
  for (std::size_t at = 0; at < ops.size();) {
    const auto count = std::min(ops.size() - at, Yields(pass) ? options_.frame : kWholeFrame);
    auto some = bulk_.Execute(std::span(ops).subspan(at, count));
    std::move(some.begin(), some.end(), std::back_inserter(outputs));
    at += count;
  }
  return outputs;
}

Result<void> RewrapJobs::RunBatch(const Pass& pass, std::vector<Record> records) {
  TRY(ledger_.CheckSpace());
  TRY(CheckGcmBudget(ledger_, *pass.target, records.size()));
  const auto& source = *pass.keyring->Find(records.front().record.version);
  std::vector<hsm::KeyOp> ops;
  ops.reserve(records.size());
  for (const auto& record : records)
    ops.emplace_back(hsm::RewrapOp{RefOf(source), RefOf(*pass.target), record.record.blob});
  auto outputs = Ask(pass, ops);

  ledger::Submission submission;
  std::size_t opened = 0, refused = 0;
  Bytes digests;
  std::optional<Error> failure;
  for (std::size_t i = 0; i < records.size(); ++i) {
    auto& [id, record] = records[i];
    auto& output = outputs[i];
    if (!output && !IsTheRecordsFault(output.error())) {
      if (!failure) failure = output.error();
      continue;
    }
    auto next = record;
    if (output) {
      next.version = pass.target->number;
      next.blob = std::move(output->blob);
      const auto envelope = crypto::FormatEnvelope(EnvelopeOf(*pass.state, *pass.keyring, *pass.target, next.blob));
      Append(digests, crypto::Sha256({AsBytes(id), AsBytes("\n"), AsBytes(envelope)}));
      ++opened;
    } else {
      next.quarantine = std::string(output.error().Slug());
      Append(digests, crypto::Digest{});
      ++refused;
    }
    submission.deks.push_back({pass.keyring->id, std::move(id), std::move(next), std::move(record)});
  }
  // What the token was asked counts, also where it did not answer: an IV may have been used.
  auto entry = EntryFor(*pass.keyring, pass.job->id);
  entry.items = static_cast<std::uint32_t>(records.size());
  entry.failed = static_cast<std::uint32_t>(records.size() - opened);
  if (entry.failed > 0)
    entry.outcome =
        std::to_string(refused) + " quarantined" + (failure ? ", then " + std::string(failure->Slug()) : std::string());
  entry.digest = crypto::Sha256(digests);
  const auto tried = static_cast<std::uint32_t>(records.size());
  entry.uses = {{source.kek, ledger::Use::kRewrapFrom, tried}, {pass.target->kek, ledger::Use::kRewrapTo, tried}};
  submission.evidence.push_back(std::move(entry));
  submission.job = pass.job->id;
  const auto dealt_with = submission.deks.size();
  TRY(ledger_.Record(std::move(submission)));
  {
    const MutexLock lock(mutex_);
    measured_ += dealt_with;
    if (!failure) standing_.erase(pass.job->id);  // it goes on
  }
  if (failure) return *failure;
  return {};
}

// Before its first batch a job that was asked to takes back what earlier ones have put aside.
Result<void> RewrapJobs::RetryQuarantined(const Pass& pass) const {
  if (!pass.job->retry) return {};
  TRY_ASSIGN(const auto progress, ledger_.Deks().ProgressOf(pass.job->id));
  if (progress.batches > 0) return {};
  for (const auto& [number, version] : pass.keyring->versions) {
    if (number == pass.job->target || !MayRewrapFrom(*pass.state, *pass.keyring, version)) continue;
    while (true) {
      ledger::Submission submission;
      TRY(ledger_.Deks().ScanUnder(pass.keyring->id, number, true, {},
                                   [&](std::string_view id, const ledger::DekRecord& record) {
                                     auto next = record;
                                     next.quarantine.clear();
                                     submission.deks.push_back({pass.keyring->id, std::string(id), next, record});
                                     return submission.deks.size() < 1000;
                                   }));
      if (submission.deks.empty()) break;
      Bytes ids;
      for (const auto& write : submission.deks) Append(ids, crypto::Sha256(AsBytes(write.id)));
      auto entry = EntryFor(*pass.keyring, pass.job->id);
      entry.operation = ledger::Operation::kOther;
      entry.items = static_cast<std::uint32_t>(submission.deks.size());
      entry.digest = crypto::Sha256(ids);
      entry.outcome = "quarantine-lifted";
      submission.evidence.push_back(std::move(entry));
      TRY(ledger_.CheckSpace());
      TRY(ledger_.Record(std::move(submission)));
    }
  }
  return {};
}

Result<std::uint64_t> RewrapJobs::LeftOf(const State& state, const Job& job, const Keyring& keyring) const {
  TRY_ASSIGN(const auto counts, ledger_.Deks().Counts(keyring.id));
  std::uint64_t left = 0;
  for (const auto& [number, count] : counts)
    if (const auto* version = keyring.Find(number);
        version != nullptr && number != job.target && MayRewrapFrom(state, keyring, *version))
      left += count.records - count.quarantined;
  return left;
}

Result<JobView> RewrapJobs::View(const std::string& id) const {
  const auto state = governance_.Snapshot();
  const auto at = state->jobs.find(id);
  if (at == state->jobs.end()) return NotFound("no job with this id", "job-not-found");
  JobView view;
  view.job = at->second;
  const auto* keyring = state->FindKeyring(view.job->keyring);
  view.keyring = keyring->name;
  view.state = ledger::ToString(view.job->state);
  TRY_ASSIGN(const auto progress, ledger_.Deks().ProgressOf(id));
  view.done = progress.done;
  view.quarantined = progress.quarantined;
  view.batches = progress.batches;
  view.total = progress.done + progress.quarantined;
  if (!view.job->Live()) return view;
  TRY_ASSIGN(const auto left, LeftOf(*state, *view.job, *keyring));
  view.total += left;
  const MutexLock lock(mutex_);
  if (view.job->state != JobState::kRunning) return view;
  const auto standing = standing_.find(id);
  view.waiting = !hindrance_.empty() ? hindrance_ : standing != standing_.end() ? standing->second.why : std::string();
  if (!view.waiting.empty()) {
    view.state = "paused";
    return view;
  }
  if (current_ != id) {
    view.state = "queued";
    return view;
  }
  const double seconds = std::chrono::duration<double>(Steady::now() - measured_since_).count();
  if (measured_ > 0 && seconds > 0) view.rate = static_cast<double>(measured_) / seconds;
  if (view.rate > 0) view.seconds_left = static_cast<double>(left) / view.rate;
  return view;
}

std::vector<JobView> RewrapJobs::List() const {
  std::vector<JobView> all;
  const auto state = governance_.Snapshot();
  for (const auto& [id, job] : state->jobs)
    if (auto view = View(id)) all.push_back(std::move(*view));
  std::sort(all.begin(), all.end(), [](const JobView& a, const JobView& b) {
    return std::pair(a.job->started, a.job->id) > std::pair(b.job->started, b.job->id);
  });
  return all;
}

Result<JobView> RewrapJobs::Switch(const std::string& id, JobState to, const Caller& by) {
  TRY(governance_.SwitchJob(id, to, by));
  {
    const MutexLock lock(mutex_);
    changed_.NotifyAll();
  }
  return View(id);
}

bool RewrapJobs::WaitIdle(Steady::time_point until) const {
  const MutexLock lock(mutex_);
  // The turn under way may have looked before the caller's last change.
  const auto wanted = idle_turns_ + 2;
  while (idle_turns_ < wanted) {
    if (Steady::now() >= until) return false;
    changed_.NotifyAll();
    (void)changed_.WaitUntil(mutex_, std::min(until, Steady::now() + kIdle));
  }
  return true;
}

}  // namespace strongroom::appliance
