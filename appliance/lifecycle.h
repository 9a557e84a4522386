#pragma once
// Lifecycle: what state the appliance is in, and why.

#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "appliance/governance.h"
#include "crypto/base/mutex.h"
#include "hsm/key_ops.h"
#include "ledger/ledger.h"

namespace strongroom::appliance {

enum class ApplianceState : std::uint8_t { kUninitialised, kLocked, kOperational, kDegraded, kFailed };
std::string_view ToString(ApplianceState state);

struct Check {
  std::string name;
  bool ok = false;
  std::string detail;
};

struct Status {
  ApplianceState state = ApplianceState::kLocked;
  std::vector<Check> checks;
  std::optional<hsm::TokenIdentity> token;
  ledger::Head control;
  ledger::Head evidence;
};

/// JudgeState names the state that follows from what is known. Pure.
ApplianceState JudgeState(bool ledger_failed, bool initialised, bool verified, bool token_ok);

/// Lifecycle watches the token in a thread of its own: first contact runs the self-test, compares the token's keys with
/// the record and settles cut-off executions; then the canary runs every `interval` (K9). Until first contact the
/// appliance is locked. Thread-safe.
class Lifecycle {
 public:
  Lifecycle(ledger::Ledger& ledger, hsm::KeyOps& key_ops, Governance& governance, std::chrono::milliseconds interval);
  ~Lifecycle();

  ApplianceState State() const EXCLUDES(mutex_);
  Status Report() const EXCLUDES(mutex_);
  /// DataPlaneOpen tells whether keys may be used: verified, recording, and the canary not wrong. A sweep that found
  /// strange keys stops ceremonies (governance sees to that), not services.
  bool DataPlaneOpen() const EXCLUDES(mutex_);
  /// Ready tells whether requests are likely to be answered now: open, and the token has answered the last canary.
  bool Ready() const EXCLUDES(mutex_);

 private:
  void WatchLoop() EXCLUDES(mutex_);
  void Look() EXCLUDES(mutex_);

  ledger::Ledger& ledger_;
  hsm::KeyOps& key_ops_;
  Governance& governance_;
  const std::chrono::milliseconds interval_;
  mutable Mutex mutex_;
  CondVar wake_;
  bool stopping_ GUARDED_BY(mutex_) = false;
  bool verified_ GUARDED_BY(mutex_) = false;
  std::optional<hsm::TokenIdentity> token_ GUARDED_BY(mutex_);
  std::string canary_ GUARDED_BY(mutex_) = "not run yet";  // empty: passed
  std::string sweep_ GUARDED_BY(mutex_) = "not run yet";
  bool canary_wrong_ GUARDED_BY(mutex_) = false;
  std::thread watcher_;
};

}  // namespace strongroom::appliance
