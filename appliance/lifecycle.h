#pragma once
// Lifecycle: what state the appliance is in, and why.

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "appliance/checkpointer.h"
#include "appliance/governance.h"
#include "crypto/base/mutex.h"
#include "hsm/key_ops.h"
#include "ledger/ledger.h"

namespace strongroom::appliance {

enum class ApplianceState : std::uint8_t { kUninitialised, kLocked, kOperational, kDegraded, kRollback, kFailed };
std::string_view ToString(ApplianceState state);

/// TokenState is a token's, as /v1/status names it.
enum class TokenState : std::uint8_t {
  kDown,        // no supervisor listens
  kConnecting,  // its supervisor is there, no host is ready
  kVerifying,   // a host is there, its canary has not passed yet
  kReady,
  kDegraded,     // it serves with fewer hosts than it should, or its canary or its sweep found something wrong
  kImpostor,     // another token than the recorded one: not used (K9)
  kPinLatched,   // the PIN was refused and is not tried again (P8)
  kNotEnrolled,  // a further token that is connected and not used before `token.enrol`
};
std::string_view ToString(TokenState state);
std::string_view ToString(hsm::LinkState state);

/// TokenFindings is what is known of a token.
struct TokenFindings {
  std::vector<hsm::LinkState> links;  // one a host
  bool impostor = false;
  bool canary_wrong = false;   // the token answered, and not as it should
  bool canary_passed = false;  // the latest canary passed
  bool sweep_clean = false;    // the latest template sweep found nothing
};
/// JudgeToken names the state that follows. Pure.
TokenState JudgeToken(const TokenFindings& findings);

/// Check is one thing that is looked at, and what it stops while it fails. Those that can be overridden are
/// break_glass.h's; `overridden` is the id of the break-glass that is open for it.
struct Check {
  std::string name;
  bool ok = false;
  std::string detail;
  std::string_view stops;
  bool overridable = false;
  std::string overridden;
};

/// ProviderCourse judges a token's health by how its known-answer tests go: three in a row that are not answered or
/// take longer than `slow` make it unhealthy, one that is answered in time makes it healthy again. Pure.
class ProviderCourse {
 public:
  explicit ProviderCourse(std::chrono::milliseconds slow) : slow_(slow) {}
  void Take(bool answered, std::chrono::milliseconds took);
  /// Fault says why it is unhealthy, empty when it is not.
  const std::string& fault() const { return fault_; }

 private:
  const std::chrono::milliseconds slow_;
  unsigned bad_ = 0;
  std::string fault_;
};

struct Status {
  ApplianceState state = ApplianceState::kLocked;
  std::vector<Check> checks;
  std::optional<hsm::TokenIdentity> token;  // as last seen
  TokenState token_state = TokenState::kDown;
  std::vector<hsm::LinkState> hosts;
  ledger::Head control;
  ledger::Head evidence;
};

/// JudgeState names the state that follows from what is known. Pure.
ApplianceState JudgeState(bool ledger_failed, bool initialised, bool rolled_back, bool verified, bool token_ok);

/// Lifecycle watches the token in a thread of its own: first contact runs the self-test, compares the token's keys with
/// the record and settles cut-off executions. From then on canary and identity are looked at every `canary`, keys and
/// templates every `sweep`, and each of them four times a second while it is not well (K3, K9). Until first contact the
/// appliance is locked. Thread-safe.
class Lifecycle {
 public:
  struct Schedule {
    std::chrono::milliseconds canary{2000};
    std::chrono::milliseconds sweep{120000};
    std::chrono::milliseconds slow{5000};  // a known-answer test that takes longer is a bad one
  };
  /// `further` says what is wrong with the tokens beside the main one, empty when nothing is.
  Lifecycle(ledger::Ledger& ledger, hsm::KeyOps& key_ops, Governance& governance, Checkpointer& checkpointer,
            Schedule schedule, std::function<std::string()> further = nullptr);
  ~Lifecycle();

  ApplianceState State() const EXCLUDES(mutex_);
  Status Report() const EXCLUDES(mutex_);
  /// DataPlaneOpen tells whether keys may be used: verified, recording, and the canary not wrong. A sweep that found
  /// strange keys stops ceremonies (governance sees to that), not services.
  bool DataPlaneOpen() const EXCLUDES(mutex_);
  /// ProviderPasses tells whether the token is healthy, or a break-glass covers that it is not. Pass does the same for
  /// a request and counts the use: yields the break-glass's id, empty when none was needed. It also asks whether the
  /// keyring's rotation is overdue where its policy enforces it, which stops wraps and data keys. A request that goes
  /// to a further token is not asked for the main one's health. kUnavailable, slug provider-unhealthy; kConflict, slug
  /// rotation-overdue.
  bool ProviderPasses() const EXCLUDES(mutex_);
  Result<std::string> Pass(const std::string& keyring, ledger::Operation operation, bool main_token = true)
      EXCLUDES(mutex_);
  /// Failing names the checks that fail.
  std::set<std::string, std::less<>> Failing() const EXCLUDES(mutex_);
  /// LookNow does what the next look would: after an adoption nobody has to wait for it. Fails while the ledger does
  /// not extend its token's anchors.
  Result<void> LookNow() EXCLUDES(mutex_);
  /// Anchored tells whether the ledger was held against its token's anchors since the start, and extends them. A
  /// custody record that is lost or contradicts itself later changes nothing of that; when it can be read again the
  /// ledger is held against it anew.
  bool Anchored() const EXCLUDES(mutex_);
  /// RolledBack tells whether the ledger does not extend what its token has signed (L8): nothing but reading is then
  /// allowed.
  bool RolledBack() const EXCLUDES(mutex_);
  /// Ready tells whether requests are likely to be answered now: open, and the token has answered the last canary.
  bool Ready() const EXCLUDES(mutex_);

 private:
  void WatchLoop() EXCLUDES(mutex_);
  void Look() EXCLUDES(mutex_);
  bool Compare(const appliance::State& state, const Result<void>& tested, const Result<hsm::TokenIdentity>& identity)
      REQUIRES(mutex_);
  Result<void> LookAtAnchors() EXCLUDES(mutex_);
  void LookAtKeys(const std::string& serial) EXCLUDES(mutex_);
  std::string ProviderScope() const REQUIRES(mutex_) { return "token:" + (token_ ? token_->serial : ""); }

  ledger::Ledger& ledger_;
  hsm::KeyOps& key_ops_;
  Governance& governance_;
  Checkpointer& checkpointer_;
  const Schedule schedule_;
  const std::function<std::string()> further_;
  mutable Mutex mutex_;
  CondVar wake_;
  bool stopping_ GUARDED_BY(mutex_) = false;
  bool verified_ GUARDED_BY(mutex_) = false;
  std::optional<hsm::TokenIdentity> token_ GUARDED_BY(mutex_);
  std::string canary_ GUARDED_BY(mutex_) = "not run yet";  // empty: passed
  std::string sweep_ GUARDED_BY(mutex_) = "not run yet";
  bool canary_wrong_ GUARDED_BY(mutex_) = false;
  bool impostor_ GUARDED_BY(mutex_) = false;
  bool anchored_ GUARDED_BY(mutex_) = false;  // the ledger extends the token's anchors
  std::string anchor_ GUARDED_BY(mutex_) = "not compared yet";
  std::string rollback_ GUARDED_BY(mutex_);  // why not, when it does not
  std::string mandate_ GUARDED_BY(mutex_);   // why the last rotation by mandate failed
  ProviderCourse provider_ GUARDED_BY(mutex_);
  std::chrono::steady_clock::time_point sweep_due_ GUARDED_BY(mutex_);
  std::thread watcher_;
};

}  // namespace strongroom::appliance
