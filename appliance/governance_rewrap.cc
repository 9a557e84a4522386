// What governance does about inventories: jobs, acknowledgements, emergencies, and what has to be so before a rotation,
// an archive or a destruction.

#include "appliance/governance.h"
#include "appliance/keyring_decisions.h"
#include "appliance/policy_decisions.h"
#include "appliance/rewrap_decisions.h"
#include "crypto/text_rules.h"

namespace strongroom::appliance {
namespace {
constexpr Millis kAcknowledgePause = 60'000;  // a service writes the control log no faster
constexpr unsigned kMostUpkeep = 200;         // of one person within a day
}  // namespace

// Beside what the text says: is it this keyring's turn? Asked when it is filed, and again when it is executed.
Result<void> Governance::CheckTurn(const State& state, const crypto::ProposalText& proposal, Millis now) const {
  const auto& operation = proposal.operation;
  // What is made now would be left behind by the activation that is waited for.
  if (const auto* install = state.FindKeyring("install"); operation == "keyring.create" && install != nullptr)
    if (const auto at = proposal.params.find("custody"); at != proposal.params.end() && at->second == "keyring:install")
      return CheckNonePending(*install);
  const auto* keyring = state.FindKeyring(proposal.keyring);
  if (keyring == nullptr) return {};
  const bool moves = operation == "rekey.start" || operation == "version.adopt";
  if (moves || operation == "keyring.rotate" || operation == "rewrap.reverse") {
    TRY(CheckNonePending(*keyring));
    TRY(CheckNoJob(state, *keyring));
  }
  if (operation == "rekey.start") TRY(CheckNothingElsewhere(*keyring));
  if (operation == "keyring.rotate") return CheckPace(*keyring, now, rotation_pace_);
  if (operation != "version.archive" && operation != "version.destroy") return {};
  const auto number = crypto::ParseNumber(proposal.params.at("version"));
  const auto* version = number ? keyring->Find(static_cast<std::uint32_t>(*number)) : nullptr;
  if (version == nullptr) return {};  // what is drafted and what is stale say so
  TRY_ASSIGN(const auto terms, CensusTermsOf(proposal.params));
  TRY_ASSIGN(const auto facts, FactsOf(state, *keyring, *version));
  return CheckCensus(state, *keyring, *version, facts, terms.waive, terms.quiet_hours, now);
}

// A third token would never be told that it may open what a first one has: everything is brought along before.
Result<void> Governance::CheckNothingElsewhere(const Keyring& keyring) const {
  TRY_ASSIGN(const auto counts, ledger_.Deks().Counts(keyring.id));
  for (const auto& [number, version] : keyring.versions)
    if (const auto at = counts.find(number);
        at != counts.end() && at->second.records > 0 && version.token != keyring.Primary()->token)
      return Conflict(std::to_string(at->second.records) + " wrapped DEKs of the inventory are under version " +
                          std::to_string(number) + ", in token " + version.token + ": propose rewrap.start first",
                      "census-inventory");
  return {};
}

Result<UseFacts> Governance::FactsOf(const State& state, const Keyring& keyring, const Version& version) const {
  UseFacts facts;
  const auto add = [&](const Keyring& of, std::uint32_t number) -> Result<void> {
    TRY_ASSIGN(const auto counts, ledger_.Deks().Counts(of.id));
    if (const auto at = counts.find(number); at != counts.end()) facts.records += at->second.records;
    return {};
  };
  TRY(add(keyring, version.number));
  for (const auto& [other, shared] : SharersOf(state, keyring, version)) TRY(add(*other, shared->number));
  TRY_ASSIGN(const auto uses, ledger_.CountersOf(version.kek));
  facts.last_use = uses.last_use;
  return facts;
}

Result<int> Governance::StartOwedJobs() {
  const MutexLock lock(mutex_);
  return StartOwedJobsLocked();
}

Result<void> Governance::FillProgress(std::vector<ledger::ControlBody>& bodies) const {
  for (auto& body : bodies)
    if (auto* switched = std::get_if<ledger::JobSwitched>(&body)) {
      TRY_ASSIGN(const auto progress, ledger_.Deks().ProgressOf(switched->id));
      switched->done = progress.done;
      switched->quarantined = progress.quarantined;
    }
  return {};
}

Result<int> Governance::StartOwedJobsLocked() {
  TRY(ledger_.CheckSpace());
  const auto state = Snapshot();
  // What was cut off is settled first: it may be a rotation.
  std::set<std::string> unsettled;
  for (const auto& [id, proposal] : state->proposals)
    if (proposal->fate == ProposalFate::kConsumed) unsettled.insert(proposal->parsed.keyring);
  if (unsettled.contains("install")) return 0;  // it may move them all
  int started = 0;
  for (const auto& [name, keyring] : state->keyrings) {
    if (keyring->mandated != 0 || unsettled.contains(name)) continue;
    const auto kind = OwedJob(*state, *keyring);
    if (!kind) continue;
    TRY_ASSIGN(const auto counts, ledger_.Deks().Counts(keyring->id));
    bool any = false;
    for (const auto& [number, version] : keyring->versions)
      if (const auto at = counts.find(number); at != counts.end() && number != keyring->primary)
        any = any || (MayRewrapFrom(*state, *keyring, version) && at->second.records > at->second.quarantined);
    if (!any) continue;
    TRY(RecordBodies(
        {ledger::JobStarted{ToHex(crypto::RandomArray<16>()), keyring->id, *kind, keyring->primary, false}}));
    ++started;
  }
  return started;
}

Result<void> Governance::SwitchJob(const std::string& id, JobState to, const Caller& by) {
  const MutexLock lock(mutex_);
  TRY(JudgeActor(*Snapshot(), by, kGoverns));
  return RecordSwitch(id, to, by.name, {});
}

Result<void> Governance::EndJob(const std::string& id, JobState to, const std::string& reason) {
  const MutexLock lock(mutex_);
  return RecordSwitch(id, to, {}, reason);
}

Result<void> Governance::RecordSwitch(const std::string& id, JobState to, const std::string& by,
                                      const std::string& reason) {
  TRY(JudgeSwitch(*Snapshot(), id, to));
  if (to == JobState::kRunning) TRY(ledger_.CheckSpace());
  // To and fro has no end of itself; a cancelled job is not switched again.
  if (!by.empty() && to != JobState::kCancelled) TRY(TakeUpkeep(by));
  TRY_ASSIGN(const auto progress, ledger_.Deks().ProgressOf(id));
  return RecordBodies({ledger::JobSwitched{id, to, by, reason, progress.done, progress.quarantined}});
}

Result<void> Governance::TakeUpkeep(const std::string& by) {
  const auto now = clock_.Now();
  auto& [since, count] = upkeep_[by];
  if (now < since || now >= since + kDay) {
    since = now;
    count = 0;
  }
  if (count >= kMostUpkeep)
    return Overloaded(by + " has recorded ceremonies or switched jobs " + std::to_string(count) +
                          " times within a day: the next time may be at " + FormatTime(since + kDay),
                      "too-many-filings");
  ++count;
  return {};
}

Result<void> Governance::Acknowledge(const Caller& caller, std::string_view keyring, std::uint64_t version,
                                     std::uint64_t count) {
  const MutexLock lock(mutex_);
  const auto state = Snapshot();
  TRY(JudgeActor(*state, caller, kServes));
  const auto& service = caller.name;
  TRY_ASSIGN(const Keyring* found, JudgeAcknowledgement(*state, service, keyring, version));
  TRY(ledger_.CheckSpace());
  if (const auto at = state->acknowledged.find({found->id, service}); at != state->acknowledged.end()) {
    if (at->second.version == version && at->second.count == count) return {};  // it is known
    const auto now = clock_.Now();
    if (at->second.version >= version && now >= at->second.time && now < at->second.time + kAcknowledgePause)
      return Conflict("version " + std::to_string(at->second.version) + " was acknowledged a moment ago",
                      "acknowledged-recently");
  }
  return RecordBodies({ledger::CensusAcknowledged{found->id, static_cast<std::uint32_t>(version), service, count}});
}

Result<void> Governance::Attest(std::string_view keyring, std::uint64_t version, const Caller& by,
                                const std::string& statement) {
  const MutexLock lock(mutex_);
  TRY(crypto::CheckSignedLine(statement, crypto::kMaxReasonBytes));
  TRY(ReconcileLocked(/*record_only=*/false));
  const auto state = Snapshot();
  TRY(JudgeActor(*state, by, kGoverns));
  TRY_ASSIGN(auto bodies, JudgeAttestation(*state, keyring, version));
  bodies.insert(bodies.begin(), ledger::VersionAttested{state->FindKeyring(keyring)->id,
                                                        static_cast<std::uint32_t>(version), by.name, statement});
  TRY(ledger_.CheckSpace());
  TRY(RecordBodies(std::move(bodies)));
  (void)StartOwedJobsLocked();
  return {};
}

Result<void> Governance::CloseEmergency(std::string_view keyring, std::uint64_t version, const Caller& by,
                                        const std::string& report) {
  const MutexLock lock(mutex_);
  const auto state = Snapshot();
  TRY(JudgeActor(*state, by, kGoverns));
  TRY_ASSIGN(const Keyring* found, JudgeEmergencyClose(*state, keyring, version));
  TRY_ASSIGN(const auto counts, ledger_.Deks().Counts(found->id));
  if (const auto at = counts.find(static_cast<std::uint32_t>(version)); at != counts.end() && at->second.records > 0)
    return Conflict(std::to_string(at->second.records) + " wrapped DEKs of the inventory are under version " +
                        std::to_string(version) + " of '" + found->name + "'",
                    "census-inventory");
  return RecordBodies({ledger::EmergencyClosed{found->id, static_cast<std::uint32_t>(version), by.name, report}});
}

}  // namespace strongroom::appliance
