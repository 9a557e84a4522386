#include "appliance/lifecycle.h"

namespace strongroom::appliance {

std::string_view ToString(ApplianceState state) {
  switch (state) {
    case ApplianceState::kUninitialised:
      return "uninitialised";
    case ApplianceState::kLocked:
      return "locked";
    case ApplianceState::kOperational:
      return "operational";
    case ApplianceState::kDegraded:
      return "degraded";
    case ApplianceState::kFailed:
      return "failed";
  }
  return "failed";
}

ApplianceState JudgeState(bool ledger_failed, bool initialised, bool verified, bool token_ok) {
  if (ledger_failed) return ApplianceState::kFailed;
  if (!initialised) return ApplianceState::kUninitialised;
  if (!verified) return ApplianceState::kLocked;
  return token_ok ? ApplianceState::kOperational : ApplianceState::kDegraded;
}

Lifecycle::Lifecycle(ledger::Ledger& ledger, hsm::KeyOps& key_ops, Governance& governance,
                     std::chrono::milliseconds interval)
    : ledger_(ledger), key_ops_(key_ops), governance_(governance), interval_(interval), watcher_([this] {
        WatchLoop();
      }) {}

Lifecycle::~Lifecycle() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
    wake_.NotifyAll();
  }
  watcher_.join();
}

void Lifecycle::WatchLoop() {
  while (true) {
    Look();
    const MutexLock lock(mutex_);
    // Soon again while something is wrong, at leisure otherwise.
    const auto pause =
        canary_.empty() && sweep_.empty() ? interval_ : std::min(interval_, std::chrono::milliseconds(250));
    const auto until = std::chrono::steady_clock::now() + pause;
    while (!stopping_ && wake_.WaitUntil(mutex_, until)) {
    }
    if (stopping_) return;
  }
}

void Lifecycle::Look() {
  const auto tested = key_ops_.SelfTest();
  std::string canary = tested ? "" : tested.error().Line();
  std::string sweep;
  bool swept = false;
  std::optional<hsm::TokenIdentity> identity;
  if (tested) {
    if (auto known = key_ops_.Identity())
      identity = std::move(*known);
    else
      canary = known.error().Line();
  }
  if (identity) {
    if (const auto settled = governance_.Reconcile(); !settled) sweep = settled.error().Line();
    const auto faults = governance_.Sweep(identity->serial);
    swept = faults.has_value();
    if (!faults)
      sweep = faults.error().Line();
    else if (!faults->empty())
      sweep = faults->front() + (faults->size() > 1 ? " (and " + std::to_string(faults->size() - 1) + " more)" : "");
  }
  const MutexLock lock(mutex_);
  canary_ = canary;
  // A host that is being replaced is waited for by each call; a token that answers wrongly is not asked again.
  canary_wrong_ = !tested && tested.error().code != Code::kUnavailable;
  if (identity) {
    sweep_ = sweep;
    // Another token than the one that the keyrings name, or than the one first met, is an impostor (K9): it is not
    // used.
    const auto recorded = RecordedToken(*governance_.Snapshot());
    const auto expected = !recorded.empty() ? recorded : token_ ? token_->serial : identity->serial;
    if (identity->serial != expected || (token_ && *token_ != *identity)) {
      canary_ = "impostor: the token in the slot is " + identity->serial + ", the keyrings are in " + expected;
      canary_wrong_ = true;
    } else {
      token_ = identity;
    }
    // Strange keys stop ceremonies (governance sweeps for itself), not services: contact and a completed sweep are
    // enough.
    verified_ = verified_ || (canary_.empty() && swept);
  }
}

ApplianceState Lifecycle::State() const {
  const bool initialised = governance_.Snapshot()->roster != nullptr;
  const bool failed = ledger_.Failed();
  const MutexLock lock(mutex_);
  return JudgeState(failed, initialised, verified_, canary_.empty() && sweep_.empty());
}

bool Lifecycle::DataPlaneOpen() const {
  const bool initialised = governance_.Snapshot()->roster != nullptr;
  const bool failed = ledger_.Failed();
  const MutexLock lock(mutex_);
  return initialised && !failed && verified_ && !canary_wrong_;
}

bool Lifecycle::Ready() const {
  if (!DataPlaneOpen()) return false;
  const MutexLock lock(mutex_);
  return canary_.empty();
}

Status Lifecycle::Report() const {
  Status status;
  status.state = State();
  status.control = ledger_.HeadOf(ledger::Log::kControl);
  status.evidence = ledger_.HeadOf(ledger::Log::kEvidence);
  const bool failed = ledger_.Failed();
  const MutexLock lock(mutex_);
  status.token = token_;
  status.checks = {{"canary", canary_.empty(), canary_},
                   {"template-sweep", sweep_.empty(), sweep_},
                   {"ledger", !failed, failed ? "the ledger cannot record" : ""}};
  return status;
}

}  // namespace strongroom::appliance
