#pragma once
// Watches the tokens beside the main one: who they are, whether they answer rightly, which roster they obey.

#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "appliance/governance.h"
#include "appliance/lifecycle.h"
#include "crypto/base/mutex.h"
#include "hsm/token_set.h"

namespace strongroom::appliance {

/// FurtherReport is what is known of a further token.
struct FurtherReport {
  std::string serial;
  TokenState state = TokenState::kDown;
  std::string detail;  // what is wrong; empty when nothing is
  std::vector<hsm::LinkState> hosts;
  std::optional<hsm::TokenIdentity> identity;  // as last seen
  bool customer = false;
  std::vector<hsm::KeyRecord> offered;  // keys of a customer's own making
};

/// FurtherFindings is what a look at a further token has found.
struct FurtherFindings {
  std::vector<hsm::LinkState> links;
  Result<void> tested;  // its known-answer test
  Result<hsm::TokenIdentity> identity;
  Result<void> follows;  // whether it obeys the roster in force
  std::string sweep;     // what is wrong with its keys; empty when nothing is
};
/// FurtherJudgement: `open` unless services' operations must not go there; nullopt where the look says nothing about
/// it.
struct FurtherJudgement {
  TokenState state = TokenState::kDown;
  std::string detail;
  std::optional<bool> open;
};
/// JudgeFurther decides what follows from a look (K9): another token than the enrolled one, or one without a record, is
/// an impostor; strange keys and another roster stop ceremonies there, not services. Pure.
FurtherJudgement JudgeFurther(const State& state, const std::string& serial, const FurtherFindings& findings);

/// FurtherWatch looks at each connected further token in a thread of its own, every `schedule.canary`, and at its keys
/// every `schedule.sweep`; it opens and closes their doors, and brings them to the roster in force. Thread-safe.
class FurtherWatch {
 public:
  /// `tokens`, `governance` and `doors` must outlive the object.
  FurtherWatch(hsm::KeyOps& tokens, Governance& governance, hsm::TokenDoors& doors, Lifecycle::Schedule schedule);
  ~FurtherWatch();
  /// Report has one entry for each connected or enrolled token, by serial number.
  std::vector<FurtherReport> Report() const EXCLUDES(mutex_);
  /// Fault names the enrolled tokens that are not well, empty when all are.
  std::string Fault() const EXCLUDES(mutex_);

 private:
  struct Watched {
    FurtherReport report;
    std::string sweep = "not run yet";
    std::chrono::steady_clock::time_point sweep_due;
    unsigned away = 0;  // looks in a row that found nobody
  };
  void Loop(const std::string& serial) EXCLUDES(mutex_);
  void Look(const std::string& serial) EXCLUDES(mutex_);
  Result<void> Follow(const std::string& serial);
  void Sweep(const std::string& serial) EXCLUDES(mutex_);

  hsm::KeyOps& tokens_;
  Governance& governance_;
  hsm::TokenDoors& doors_;
  const Lifecycle::Schedule schedule_;
  mutable Mutex mutex_;
  CondVar wake_;
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::map<std::string, Watched, std::less<>> watched_ GUARDED_BY(mutex_);
  std::vector<std::thread> threads_;
};

}  // namespace strongroom::appliance
