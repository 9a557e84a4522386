#include "appliance/lifecycle.h"

#include <algorithm>

#include "appliance/gcm_budget.h"
#include "appliance/token_decisions.h"

namespace strongroom::appliance {
namespace {
constexpr auto kSoon = std::chrono::milliseconds(250);
}  // namespace

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
    case ApplianceState::kRollback:
      return "rollback";
    case ApplianceState::kFailed:
      return "failed";
  }
  return "failed";
}

ApplianceState JudgeState(bool ledger_failed, bool initialised, bool rolled_back, bool verified, bool token_ok) {
  if (ledger_failed) return ApplianceState::kFailed;
  if (rolled_back) return ApplianceState::kRollback;
  if (!initialised) return ApplianceState::kUninitialised;
  if (!verified) return ApplianceState::kLocked;
  return token_ok ? ApplianceState::kOperational : ApplianceState::kDegraded;
}

std::string_view ToString(TokenState state) {
  switch (state) {
    case TokenState::kDown:
      return "down";
    case TokenState::kConnecting:
      return "connecting";
    case TokenState::kVerifying:
      return "verifying";
    case TokenState::kReady:
      return "ready";
    case TokenState::kDegraded:
      return "degraded";
    case TokenState::kImpostor:
      return "impostor";
    case TokenState::kPinLatched:
      return "pin-latched";
    case TokenState::kNotEnrolled:
      return "not-enrolled";
  }
  return "down";
}

std::string_view ToString(hsm::LinkState state) {
  switch (state) {
    case hsm::LinkState::kDown:
      return "down";
    case hsm::LinkState::kConnecting:
      return "connecting";
    case hsm::LinkState::kPinLatched:
      return "pin-latched";
    case hsm::LinkState::kUp:
      return "up";
  }
  return "down";
}

TokenState JudgeToken(const TokenFindings& findings) {
  const auto count = [&](hsm::LinkState state) {
    return std::count(findings.links.begin(), findings.links.end(), state);
  };
  const auto up = count(hsm::LinkState::kUp);
  if (findings.impostor) return TokenState::kImpostor;
  if (findings.canary_wrong) return TokenState::kDegraded;
  if (up == 0 && count(hsm::LinkState::kPinLatched) > 0) return TokenState::kPinLatched;
  if (up == 0 && count(hsm::LinkState::kConnecting) > 0) return TokenState::kConnecting;
  if (up == 0) return TokenState::kDown;
  if (!findings.canary_passed) return TokenState::kVerifying;
  const bool all_up = static_cast<std::size_t>(up) == findings.links.size();
  return all_up && findings.sweep_clean ? TokenState::kReady : TokenState::kDegraded;
}

void ProviderCourse::Take(bool answered, std::chrono::milliseconds took) {
  if (answered && took <= slow_) {
    bad_ = 0;
    fault_.clear();
    return;
  }
  if (++bad_ < 3) return;
  fault_ = answered ? "its known-answer test takes " + std::to_string(took.count()) + " ms, more than " +
                          std::to_string(slow_.count())
                    : "it has not answered " + std::to_string(bad_) + " tests in a row";
}

Lifecycle::Lifecycle(ledger::Ledger& ledger, hsm::KeyOps& key_ops, Governance& governance, Checkpointer& checkpointer,
                     Schedule schedule, std::function<std::string()> further)
    : ledger_(ledger),
      key_ops_(key_ops),
      governance_(governance),
      checkpointer_(checkpointer),
      schedule_(schedule),
      further_(std::move(further)),
      provider_(schedule.slow),
      watcher_([this] { WatchLoop(); }) {}

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
    const auto pause = canary_.empty() && sweep_.empty() ? schedule_.canary : std::min(schedule_.canary, kSoon);
    const auto until = std::chrono::steady_clock::now() + pause;
    while (!stopping_ && wake_.WaitUntil(mutex_, until)) {
    }
    if (stopping_) return;
  }
}

Result<void> Lifecycle::LookNow() {
  Look();
  const MutexLock lock(mutex_);
  if (!anchored_) return Unavailable(anchor_, "not-anchored");
  return {};
}

void Lifecycle::Look() {
  const auto began = std::chrono::steady_clock::now();
  auto tested = key_ops_.SelfTest();
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - began);
  auto identity = tested ? key_ops_.Identity() : Result<hsm::TokenIdentity>(tested.error());
  if (!identity) tested = identity.error();
  const auto state = governance_.Snapshot();
  const auto recorded = RecordedToken(*state);
  bool impostor = false;
  {
    const MutexLock lock(mutex_);
    provider_.Take(tested || tested.error().code != Code::kUnavailable, took);
    impostor = Compare(*state, tested, identity);
  }
  // The token was looked at first: what follows may wait for a ceremony that is under way.
  (void)governance_.WatchClock();
  if (Anchored()) (void)governance_.CloseOutlived(impostor ? "token-identity" : "");
  if (impostor || !identity) return;
  if (!LookAtAnchors()) return;
  (void)governance_.RunDueDestructions();
  (void)governance_.TrimArchived();
  const auto rotated = governance_.RunMandates();
  {
    const MutexLock lock(mutex_);
    mandate_ = rotated ? "" : rotated.error().Line();
  }
  {
    const MutexLock lock(mutex_);
    if (sweep_.empty() && std::chrono::steady_clock::now() < sweep_due_) return;
  }
  LookAtKeys(recorded.empty() ? identity->serial : recorded);
}

// Takes in what a look at the token found; true when it is not the right one.
bool Lifecycle::Compare(const appliance::State& state, const Result<void>& tested,
                        const Result<hsm::TokenIdentity>& identity) {
  // A host that is being replaced is waited for by each call. What answered wrongly is not asked until it has
  // answered rightly: that it cannot be reached meanwhile changes nothing.
  const bool away = !tested && tested.error().code == Code::kUnavailable;
  if (!away || !canary_wrong_) canary_ = tested ? "" : tested.error().Line();
  if (!away) {
    canary_wrong_ = !tested;
    impostor_ = !tested && tested.error().Slug() == "impostor";
  }
  if (!identity) return impostor_;
  // Another token than the one that the keyrings name, or than the one first met, is an impostor (K9), but for the
  // members of its group.
  const auto recorded = RecordedToken(state);
  const auto expected = !recorded.empty() ? recorded : NameOf(state, token_ ? *token_ : *identity);
  const bool changed = token_ && token_->serial == identity->serial && *token_ != *identity;
  if (!SameToken(state, expected, *identity) || changed) {
    canary_ = "impostor: the token in the slot is " + identity->serial + ", the keyrings are in " + expected;
    canary_wrong_ = true;
    impostor_ = true;
    return true;
  }
  token_ = *identity;
  return false;
}

// Once for a start: from then on the checkpointer's own signatures move the anchors. And again while it meets a custody
// record that cannot be relied on, until there is one.
Result<void> Lifecycle::LookAtAnchors() {
  const bool again = !checkpointer_.CustodyFault().empty();
  const bool before = Anchored();
  if (before && !again) return {};
  // An adoption that was cut off after the token did it is what makes ledger and token one again.
  (void)governance_.ReconcileRecord();
  const auto state = governance_.Snapshot();
  auto record = key_ops_.ReadLedgerRecord();
  Result<void> compared;
  if (!record)
    compared = record.error();
  else if (state->roster)
    compared = CompareWithAnchors(ledger_, *state, record->anchors);
  else if (!record->anchors.empty())
    compared = Integrity("the token keeps " + record->anchors.front().origin +
                             ", the database is empty: stop the service and restore a backup",
                         "rollback");
  // What was held against the token since the start is not worse for a record that says nothing now: services go on,
  // and governance asks for itself (Q16).
  if (before && !compared && (IsCustodyFault(compared.error()) || compared.error().code != Code::kIntegrity)) return {};
  // Once a start: what was open before is closed before anything is let through (G4).
  if (compared && state->roster && !before) compared = governance_.CloseOutlived("restart");
  if (compared && state->roster) checkpointer_.Enable();
  if (!compared) (void)checkpointer_.ShowVerifier();  // an export of what is there needs to say whose it is
  const MutexLock lock(mutex_);
  anchored_ = compared.has_value() && state->roster != nullptr;
  // An outage between two questions is no rollback, and nobody should restore a database for it.
  const bool other_past = !compared && compared.error().code == Code::kIntegrity;
  rollback_ = other_past ? compared.error().Line() : "";
  anchor_ = compared ? "" : compared.error().Line();
  return compared;
}

void Lifecycle::LookAtKeys(const std::string& serial) {
  const auto settled = governance_.Reconcile();
  const auto faults = governance_.Sweep(serial);
  // A token that was put back to an earlier time alarms, and stops what is governed (Q16).
  const auto present = governance_.CheckTokenPresent();
  const MutexLock lock(mutex_);
  sweep_due_ = std::chrono::steady_clock::now() + schedule_.sweep;
  sweep_.clear();
  if (!settled) sweep_ = settled.error().Line();
  if (!present) sweep_ = present.error().Line();
  if (!faults)
    sweep_ = faults.error().Line();
  else if (!faults->empty() && present)
    sweep_ = faults->front() + (faults->size() > 1 ? " (and " + std::to_string(faults->size() - 1) + " more)" : "");
  // Strange keys stop ceremonies (governance sweeps for itself), not services: contact and a completed sweep are
  // enough.
  verified_ = verified_ || faults.has_value();
}

ApplianceState Lifecycle::State() const {
  const bool space = ledger_.CheckSpace().has_value(), tampered = checkpointer_.Tampered();
  const bool initialised = governance_.Snapshot()->roster != nullptr;
  const bool failed = ledger_.Failed();
  const bool clock = governance_.ClockFault().empty(), custody = checkpointer_.CustodyFault().empty();
  const bool further = !further_ || further_().empty();
  const MutexLock lock(mutex_);
  return JudgeState(failed, initialised, !rollback_.empty(), verified_,
                    space && !tampered && custody && further && clock && canary_.empty() && sweep_.empty() &&
                        provider_.fault().empty());
}

bool Lifecycle::DataPlaneOpen() const {
  const bool initialised = governance_.Snapshot()->roster != nullptr;
  const bool failed = ledger_.Failed();
  const bool tampered = checkpointer_.Tampered();
  const MutexLock lock(mutex_);
  return initialised && !failed && !tampered && anchored_ && verified_ && !canary_wrong_;
}

bool Lifecycle::Anchored() const {
  const MutexLock lock(mutex_);
  return anchored_;
}

bool Lifecycle::RolledBack() const {
  const MutexLock lock(mutex_);
  return !rollback_.empty();
}

bool Lifecycle::ProviderPasses() const {
  std::string scope;
  {
    const MutexLock lock(mutex_);
    if (provider_.fault().empty()) return true;
    scope = ProviderScope();
  }
  return governance_.overrides().Covers("provider-health", scope);
}

Result<std::string> Lifecycle::Pass(const std::string& keyring, ledger::Operation operation, bool main_token) {
  std::string scope, fault;
  if (main_token) {
    const MutexLock lock(mutex_);
    fault = provider_.fault();
    scope = ProviderScope();
  }
  if (fault.empty()) {
    const bool wraps = operation == ledger::Operation::kWrap || operation == ledger::Operation::kDataKey;
    if (!wraps || !governance_.EnforcedOverdue(keyring)) return std::string();
    if (auto id = governance_.overrides().Use("rotation-overdue", "keyring:" + keyring)) return std::move(*id);
    return Conflict("the rotation of keyring '" + keyring + "' is overdue, and its policy stops new wraps",
                    "rotation-overdue");
  }
  if (auto id = governance_.overrides().Use("provider-health", scope)) return std::move(*id);
  return Unavailable("the token is not healthy: " + fault, "provider-unhealthy");
}

std::set<std::string, std::less<>> Lifecycle::Failing() const {
  std::set<std::string, std::less<>> failing;
  for (const auto& check : Report().checks)
    if (!check.ok) failing.insert(check.name);
  return failing;
}

bool Lifecycle::Ready() const {
  if (!DataPlaneOpen() || !ProviderPasses()) return false;
  const MutexLock lock(mutex_);
  return canary_.empty();
}

Status Lifecycle::Report() const {
  Status status;
  status.state = State();
  status.control = ledger_.SettledHead(ledger::Log::kControl);
  status.evidence = ledger_.SettledHead(ledger::Log::kEvidence);
  status.hosts = key_ops_.Links();
  const bool failed = ledger_.Failed();
  const auto unsigned_why = checkpointer_.Fault();
  const auto space = ledger_.CheckSpace();
  const auto clock = governance_.ClockFault();
  const bool tampered = checkpointer_.Tampered();
  const auto custody = checkpointer_.CustodyFault();
  const auto opened = governance_.overrides().Open();
  const auto overdue = governance_.Overdue();
  const auto further = further_ ? further_() : std::string();
  const auto unverifiable = governance_.Unverifiable();
  const auto state = governance_.Snapshot();
  const auto worn = GcmBudgetFault(*state, ledger_);
  const MutexLock lock(mutex_);
  status.token = token_;
  status.token_state = JudgeToken({status.hosts, impostor_, canary_wrong_, canary_.empty(), sweep_.empty()});
  const auto integrity = !rollback_.empty() ? rollback_ : tampered ? unsigned_why : std::string();
  const auto add = [&](std::string_view name, const std::string& fault, std::string_view stops) {
    Check check{std::string(name), fault.empty(), fault, stops, false, {}};
    for (const auto& overridable : kOverridable) check.overridable = check.overridable || overridable.check == name;
    if (opened && state->break_glass.at(*opened)->check == name && !state->break_glass.at(*opened)->drill)
      check.overridden = *opened;
    status.checks.push_back(std::move(check));
  };
  add("token-identity", impostor_ ? canary_ : "", "everything that the token does");
  add("canary", canary_, "everything that the token does, when it answers wrongly");
  add("provider-health", provider_.fault(), "wrap, unwrap, rewrap and data keys");
  add("template-sweep", sweep_, "ceremonies");
  add("further-tokens", further, "what is done with the keyrings in them");
  add("ledger", failed ? "the ledger cannot record" : space ? "" : space.error().Line(), "everything");
  add("ledger-integrity", integrity, "everything but reading and ledger.adopt");
  add("anchor", anchor_, "everything but reading");
  add("custody", custody, "what is governed, ledger.adopt excepted");
  add("checkpoint", unsigned_why, "answers to what a quorum has executed");
  add("clock", clock, "approvals and executions, clock.accept excepted");
  add("audit", unverifiable, "nothing more than what was refused; it is a fault to be reported");
  add("witness", "", "ceremonies, where a witness is required; none is");
  std::string late;
  for (const auto& name : overdue) late += (late.empty() ? "overdue: " : ", ") + name;
  if (!late.empty() && !mandate_.empty()) late += " (" + mandate_ + ")";
  add("rotation-overdue", late, "new wraps, where the keyring's policy enforces its rotation");
  add("gcm-budget", worn, "nothing yet; at the most, new wraps under that version");
  return status;
}

}  // namespace strongroom::appliance
