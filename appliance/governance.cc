#include "appliance/governance.h"

#include <set>

#include "appliance/checkpointer.h"
#include "appliance/emergency_report.h"
#include "appliance/keyring_decisions.h"
#include "appliance/ledger_decisions.h"
#include "appliance/proposal_params.h"
#include "appliance/state_rows.h"
#include "appliance/token_decisions.h"
#include "appliance/token_past.h"
#include "crypto/custody.h"
#include "crypto/custody/look.h"
#include "crypto/sshsig.h"
#include "crypto/text_rules.h"
#include "hsm/vote_checks.h"

namespace strongroom::appliance {
namespace {

constexpr Millis kClockSlack = Millis{5} * 60 * 1000;

// What an adoption makes anew or merges: asked for again when it was cut off.
bool RecordGone(const Error& error) { return crypto::IsLost(error) || error.Slug() == "custody-forked"; }

// Behind which entry the audit goes on: state rows and this are all that it needs of the log.
Result<Millis> LastTime(const ledger::Ledger& ledger) {
  const auto size = ledger.HeadOf(ledger::Log::kControl).size;
  if (size == 0) return Millis{0};
  Result<Millis> last = Integrity("the control log's last entry cannot be read", "ledger-damaged");
  TRY(ledger.Read(ledger::Log::kControl, size - 1, [&](std::uint64_t, ByteView raw) {
    if (const auto entry = ledger::DecodeControl(raw)) last = entry->time;
    return false;
  }));
  return last;
}

}  // namespace

Governance::Governance(ledger::Ledger& ledger, hsm::KeyOps& key_ops, Clock& clock, State state, Millis rotation_pace)
    : ledger_(ledger),
      key_ops_(key_ops),
      clock_(clock),
      rotation_pace_(rotation_pace),
      began_(clock.Now()),
      overrides_([this] { return Snapshot(); }, clock),
      last_(LastTime(ledger)),
      snapshot_(std::make_shared<const State>(std::move(state))) {
  // What an earlier run let through is in the evidence log alone.
  for (const auto& [id, opened] : Snapshot()->break_glass)
    if (opened->closed == 0)
      if (const auto uses = UsesInEvidence(*opened)) earlier_uses_[id] = *uses;
}

std::uint64_t Governance::UsesOf(const std::string& id) const {
  const auto earlier = earlier_uses_.find(id);
  return overrides_.Uses(id) + (earlier == earlier_uses_.end() ? 0 : earlier->second);
}

std::shared_ptr<const State> Governance::Snapshot() const {
  const MutexLock lock(snapshot_mutex_);
  return snapshot_;
}

std::string Governance::Unverifiable() const {
  const MutexLock lock(snapshot_mutex_);
  return unverifiable_;
}

Error Governance::WouldNotVerify(const std::string& what, const Error& why) {
  auto refused = Integrity("nothing was recorded, for an auditor would refuse it: " + what + ": " + why.detail,
                           "would-not-verify");
  const MutexLock lock(snapshot_mutex_);
  unverifiable_ = what + ": " + why.Line();
  return refused;
}

Result<void> Governance::Audited(ControlAudit& audit, const ledger::ControlEntry& entry,
                                 std::vector<ledger::Row>& rows) {
  const auto changed = audit.Take(entry);
  if (!changed) return WouldNotVerify("entry " + std::string(ledger::KindName(entry.body)), changed.error());
  for (auto& row : RowsOf(audit.state(), *changed)) rows.push_back(std::move(row));
  return {};
}

// Entries and the rows that they make go into one transaction; readers see the new state when it is durable.
Result<void> Governance::RecordBodies(std::vector<ledger::ControlBody> bodies, std::optional<Millis> at) {
  TRY_ASSIGN(const auto last, last_);
  ControlAudit audit(*Snapshot(), last);
  ledger::Submission submission;
  for (auto& body : bodies) {
    ledger::ControlEntry entry{at ? *at : clock_.Now(), std::move(body)};
    if (ledger::Encode(entry).size() > ledger::kMaxEntryBytes)
      return Invalid("this is longer than the " + std::to_string(ledger::kMaxEntryBytes) +
                     " bytes that an entry of the ledger may have");
    TRY(Audited(audit, entry, submission.rows));
    // The evidence log, too, begins a new course of time.
    if (std::holds_alternative<ledger::ClockAccepted>(entry.body) ||
        (at && std::holds_alternative<ledger::EpochOpened>(entry.body))) {
      ledger::EvidenceEntry mark;
      mark.time = entry.time;
      mark.request_id = mark.principal = "-";
      mark.operation = ledger::Operation::kOther;
      mark.outcome = "clock-accepted";
      submission.evidence.push_back(std::move(mark));
    }
    submission.control.push_back(std::move(entry));
  }
  // What a transaction leaves open the next one could not close.
  if (const auto whole = audit.Finish(); !whole) return WouldNotVerify("the whole of it", whole.error());
  TRY(ledger_.Record(std::move(submission)));
  last_ = audit.last();
  auto next = std::make_shared<const State>(std::move(audit).Release());
  const MutexLock lock(snapshot_mutex_);
  snapshot_ = std::move(next);
  return {};
}

Result<void> Governance::FirstBoot(const std::string& roster_text,
                                   const std::vector<std::pair<std::string, std::string>>& signatures) {
  const MutexLock lock(mutex_);
  if (Snapshot()->roster) return Conflict("this appliance has been initialised already", "already-initialised");
  TRY_ASSIGN(const auto roster, crypto::Roster::Parse(roster_text));
  if (roster.version() != 1) return Invalid("the first roster has version 1");
  TRY(roster.CheckKeys());
  std::set<std::string> missing;
  for (const auto& principal : roster.principals())
    if (principal.role == crypto::Role::kCustodian) missing.insert(principal.name);
  for (const auto& [name, signature] : signatures) {
    const auto* principal = roster.Find(name);
    if (principal == nullptr || principal->role != crypto::Role::kCustodian)
      return Forbidden(name + " signs the roster but is no custodian in it", "not-a-custodian");
    TRY(crypto::VerifySshSignature(principal->ssh_key, crypto::kRosterNamespace, AsBytes(roster_text), signature));
    missing.erase(name);
  }
  if (!missing.empty())
    return Forbidden("the first roster lacks the signature of " + *missing.begin(), "signature-missing");
  return RecordBodies({ledger::Genesis{roster_text, signatures}});
}

Millis Governance::TimeFor(const crypto::ProposalText& proposal) const {
  return AcceptsClock(proposal) ? clock_.Host() : clock_.Now();
}

Result<void> Governance::WatchClock() {
  const MutexLock lock(mutex_);
  return WatchClockLocked();
}

Result<void> Governance::WatchClockLocked() {
  const auto fault = clock_.Fault();
  const auto state = Snapshot();
  if (fault.empty() || !state->roster || state->clock_frozen) return {};
  auto bodies = Closing(*state, "clock");
  bodies.emplace_back(ledger::ClockFrozen{clock_.Host(), fault});
  return RecordBodies(std::move(bodies));
}

// Nothing is approved or executed by a clock that cannot be relied on, but what sets it right (Q10).
Result<void> Governance::CheckClock(const std::string& operation) {
  TRY(WatchClockLocked());
  if (const auto fault = clock_.Fault(); !fault.empty() && operation != "clock.accept" && operation != "ledger.adopt")
    return Unavailable("the clock is frozen: " + fault, "clock-frozen");
  return {};
}

Result<std::uint64_t> Governance::UsesInEvidence(const BreakGlass& opened) const {
  const auto low = FirstSince(ledger_, opened.opened);
  std::uint64_t uses = 0;
  const auto outcome = "break-glass " + opened.id;
  TRY(ledger_.Read(ledger::Log::kEvidence, low, [&](std::uint64_t, ByteView raw) {
    const auto entry = ledger::DecodeEvidence(raw);
    uses += entry && entry->outcome == outcome ? 1 : 0;
    return true;
  }));
  return uses;
}

std::vector<ledger::ControlBody> Governance::Closing(const State& state, const std::string& reason) const {
  std::vector<ledger::ControlBody> bodies;
  for (const auto& [id, opened] : state.break_glass) {
    if (opened->closed != 0) continue;
    const auto uses = UsesOf(id);
    const auto why = reason.empty() ? Outlived(*opened, uses, clock_.Now()) : reason;
    if (!why.empty()) bodies.emplace_back(ledger::BreakGlassClosed{id, why, {}, uses});
  }
  return bodies;
}

Result<void> Governance::CloseOutlived(const std::string& reason) {
  const MutexLock lock(mutex_);
  auto bodies = Closing(*Snapshot(), reason);
  if (bodies.empty()) return {};
  return RecordBodies(std::move(bodies));
}

Result<void> Governance::CloseBreakGlass(const std::string& id, const Caller& by) {
  const MutexLock lock(mutex_);
  const auto state = Snapshot();
  TRY(JudgeActor(*state, by, kGoverns));
  const auto at = state->break_glass.find(id);
  if (at == state->break_glass.end()) return NotFound("no break-glass with this id", "break-glass-not-found");
  if (at->second->closed != 0) return Conflict("it is closed: " + at->second->reason, "closed-already");
  return RecordBodies({ledger::BreakGlassClosed{id, "closed", by.name, UsesOf(id)}});
}

Result<void> Governance::Review(const Caller& carrier, const std::string& id, const std::string& reviewer,
                                const std::string& finding, const std::string& signature) {
  const MutexLock lock(mutex_);
  TRY(JudgeActor(*Snapshot(), carrier, kReads));
  TRY(crypto::CheckSignedLine(finding, crypto::kMaxReasonBytes));
  TRY(JudgeReview(*Snapshot(), id, reviewer, finding, signature));
  return RecordBodies({ledger::BreakGlassReviewed{id, reviewer, finding, signature}});
}

Result<void> Governance::Disable(std::string_view keyring, const Caller& by) {
  const MutexLock lock(mutex_);
  const auto state = Snapshot();
  TRY(JudgeActor(*state, by, kGoverns));
  TRY_ASSIGN(const Keyring* found, JudgeDisable(*state, keyring));
  return RecordBodies({ledger::KeyringSwitched{found->id, false, by.name}});
}

Result<void> Governance::CancelDestruction(std::string_view keyring, std::uint64_t version, const Caller& by) {
  const MutexLock lock(mutex_);
  const auto state = Snapshot();
  TRY(JudgeActor(*state, by, kGoverns));
  TRY_ASSIGN(const auto pending, JudgeCancel(*state, keyring, version));
  const hsm::KeyRef ref{pending.version->token, pending.version->kek, pending.version->suite};
  const auto told = key_ops_.CancelDestruction(ref);
  // A token that knows of no destruction will not carry one out.
  if (!told && told.error().Slug() != "destruction-not-pending") return told;
  TRY_ASSIGN(const auto there, key_ops_.Token(ref.token).Find(ref.key));
  if (!there) return Conflict("the KEK is gone already", "version-destroyed");
  return RecordBodies(MovesOf(*state, *pending.keyring, *pending.version, ledger::VersionMoved::To::kKept, 0, by.name));
}

Result<void> Governance::RecordCeremony(const Caller& by, ledger::CeremonyRecorded ceremony) {
  const MutexLock lock(mutex_);
  TRY(JudgeActor(*Snapshot(), by, kGoverns));
  TRY(TakeUpkeep(by.name));
  ceremony.by = by.name;
  return RecordBodies({std::move(ceremony)});
}

Result<ProposalView> Governance::Execute(const std::string& id, const Caller& executor) {
  const MutexLock lock(mutex_);
  TRY(JudgeActor(*Snapshot(), executor, kGoverns));
  TRY(ledger_.CheckSpace());
  TRY_ASSIGN(const auto asked, View(id));
  const auto operation = asked.proposal->parsed.operation;
  TRY(CheckClock(operation));
  // What was cut off is settled before anything is judged: an adoption settles the record first, the rest cannot be
  // yet.
  const bool adopts = operation == "ledger.adopt";
  TRY(ReconcileLocked(/*record_only=*/true));
  if (!adopts) TRY(ReconcileLocked(/*record_only=*/false));
  const auto state = Snapshot();
  TRY(JudgeActor(*state, executor, kGoverns));  // what was settled may have been a roster
  TRY_ASSIGN(const Proposal* proposal, Find(*state, id));
  const auto now = clock_.Now();
  TRY(CheckLive(*proposal));
  TRY(JudgeExecution(*state, *proposal, AcceptsClock(proposal->parsed) ? clock_.Host() : now));
  TRY(CheckTokenFor(operation));
  TRY_ASSIGN(const auto effect, EffectOf(*state, proposal->parsed));
  TRY(CheckTurn(*state, proposal->parsed, now));
  if (effect.generate) {
    // K3: an unknown or drifted key stops ceremonies before anything is consumed.
    const auto& token = effect.generate->ref.token;
    TRY(CheckEnrolled(*state, token));
    TRY_ASSIGN(const auto records, key_ops_.Token(token).Inventory());
    const auto faults = JudgeInventory(*state, token, records);
    if (!faults.empty()) return Conflict("the token's keys are not as recorded: " + faults.front(), "token-inventory");
    const auto& key = effect.generate->ref.key;
    for (const auto& record : records)
      if (std::equal(key.begin(), key.end(), record.id.begin(), record.id.end()))
        return Conflict("the token's owner has made this version's key already: propose version.adopt", "key-exists");
    TRY(hsm::CheckVersionToMake(proposal->parsed, *effect.generate, records));
  }
  TRY(CheckUnsettled(*state, proposal->parsed));
  if (effect.changes_record && operation != "token.enrol")
    TRY(CheckEnrolled(*state, Get(proposal->parsed.params, "token")));
  if (adopts) TRY(CheckAdoption(*state, proposal->parsed));
  if (operation == "ledger.archive") TRY(CheckArchive(*state, proposal->parsed));
  TRY(AskFirst(*state, *proposal, effect));
  std::vector<ledger::ControlBody> intent = {ledger::ProposalConsumed{id, executor.name}};
  intent.insert(intent.end(), effect.at_once.begin(), effect.at_once.end());
  TRY(FillProgress(intent));
  TRY(RecordBodies(std::move(intent), now));
  const auto outcome = RunEffect(*state, *proposal, effect);
  if (!outcome && outcome.error().code == Code::kUnavailable) {
    // The token side went away: it may or may not have done it. Ask once it is back, here or in the background.
    TRY(ReconcileLocked(adopts));
    return View(id);
  }
  TRY(Settle(*proposal, &effect, outcome));
  TRY(outcome);
  // Who has rotated finds the job there; what does not begin here begins by itself.
  if (!adopts) (void)StartOwedJobsLocked();
  return View(id);
}

Result<void> Governance::Settle(const Proposal& proposal, const Effect* effect, const Result<void>& asked) {
  auto outcome = asked;
  const bool accepts = outcome && AcceptsClock(proposal.parsed);
  const auto named = accepts ? crypto::AcceptedClock(proposal.parsed) : Result<Millis>(Millis{0});
  const auto host = clock_.Host();
  // Between the token's yes and this the machine may have been started with another clock: nobody has voted for that.
  const bool same_clock = accepts && named && *named - kClockSlack <= host && host <= proposal.parsed.execute_by;
  if (proposal.parsed.operation == "clock.accept" && outcome && !same_clock)
    outcome = Conflict("the clock is another by now than the one accepted: propose again", "interrupted");
  std::vector<ledger::ControlBody> bodies;
  if (outcome && effect != nullptr) {
    bodies = effect->entries;
    TRY(Complete(*Snapshot(), bodies));
    // Who was let past a check by the former roster is let past no more (G4).
    if (proposal.parsed.operation == "roster.change") {
      auto closing = Closing(*Snapshot(), "roster-changed");
      closing.insert(closing.end(), std::make_move_iterator(bodies.begin()), std::make_move_iterator(bodies.end()));
      bodies = std::move(closing);
    }
  }
  if (outcome)
    bodies.emplace_back(ledger::ExecutionSettled{proposal.id, true, {}, {}});
  else
    bodies.emplace_back(
        ledger::ExecutionSettled{proposal.id, false, std::string(outcome.error().Slug()), outcome.error().detail});
  if (!outcome || !same_clock) return RecordBodies(std::move(bodies));
  TRY(RecordBodies(std::move(bodies), host));
  clock_.Accept();
  return {};
}

Result<void> Governance::Complete(const State& state, std::vector<ledger::ControlBody>& bodies) {
  for (auto& body : bodies) {
    auto* opened = std::get_if<ledger::EpochOpened>(&body);
    auto* changed = std::get_if<ledger::CheckpointKeyChanged>(&body);
    if (auto* accepted = std::get_if<ledger::ClockAccepted>(&body)) accepted->ledger = clock_.Now();
    if (opened == nullptr && changed == nullptr) continue;
    TRY_ASSIGN(const auto token_keys, key_ops_.CheckpointKeys());
    if (changed != nullptr) {
      TRY_ASSIGN(const auto keys, NoteKeysOf(state.roster->instance(), token_keys));
      const auto& key = token_keys.front();
      if (key.number != changed->number)
        return Unavailable("the token signs with checkpoint key " + std::to_string(key.number), "not-anchored");
      TRY_ASSIGN(const auto former,
                 crypto::NoteKey::FromEcdsa("strongroom/" + ToHex(state.roster->instance()), key.former));
      *changed = {key.number, former.Text(), keys.front().Text(), key.endorsement};
      continue;
    }
    TRY_ASSIGN(const auto keys, KeysThatSigned(state, token_keys));
    for (const auto log : {ledger::Log::kControl, ledger::Log::kEvidence}) {
      TRY_ASSIGN(const auto kept, KeptSize(ledger_, log, state, keys));
      TRY_ASSIGN(const auto latest, ledger_.LatestCheckpoint(log));
      if (kept > 0 && latest)
        (log == ledger::Log::kControl ? opened->control_note : opened->evidence_note) = latest->note;
    }
  }
  return {};
}

Result<int> Governance::Reconcile() {
  const MutexLock lock(mutex_);
  return ReconcileLocked(/*record_only=*/false);
}

Result<int> Governance::ReconcileRecord() {
  const MutexLock lock(mutex_);
  return ReconcileLocked(/*record_only=*/true);
}

// Asks the token whether it has done what a cut-off execution asked of it. Fails when it cannot be asked: then nothing
// is known.
Result<void> Governance::AskOutcome(const crypto::ProposalText& proposal, const Effect& effect, Result<void>& outcome) {
  const Error interrupted = Conflict("the execution was cut off before the token did it: propose again", "interrupted");
  outcome = {};
  if (effect.generate) {
    TRY_ASSIGN(const auto found, key_ops_.Token(effect.generate->ref.token).Find(effect.generate->ref.key));
    if (!found)
      outcome = interrupted;
    else if (found->suite != effect.generate->ref.suite || !found->fault.empty())
      outcome = Integrity("the key that a cut-off execution left in the token is not as asked for: " + found->fault,
                          "key-drift");
  }
  // Where a key is made as well, the record came first.
  if (!effect.changes_record || effect.generate) return {};
  // A token that there is no way to any more cannot be asked; nobody else may answer for it.
  const auto serial = Get(proposal.params, "token");
  const auto connected = key_ops_.Further();
  if (proposal.operation == "token.enrol" && !proposal.params.contains("member") &&
      std::find(connected.begin(), connected.end(), serial) == connected.end())
    return Unavailable("token " + serial + " is not connected", "token-not-connected");
  const auto read = key_ops_.Token(serial).ReadLedgerRecord();
  if (!read && proposal.operation == "ledger.adopt" && RecordGone(read.error())) {
    outcome = interrupted;  // what would have made the record anew has not happened
    return {};
  }
  TRY_ASSIGN(const auto record, read);
  if (proposal.operation != "ledger.adopt" && proposal.operation != "ledger.rotate-key" &&
      proposal.operation != "roster.change") {
    TRY_ASSIGN(const auto text, proposal.Render());
    if (!crypto::IsSpent(record, text)) outcome = interrupted;
    return {};
  }
  if (proposal.operation == "ledger.adopt") {
    TRY_ASSIGN(const auto adoption, crypto::AdoptionOf(proposal));
    if (record.epoch != adoption.epoch) outcome = interrupted;
    return {};
  }
  if (proposal.operation == "roster.change") {
    const auto& custody = record.custody;
    const auto named = std::to_string(custody.roster_version) + " " + ToHex(custody.roster_hash);
    if (proposal.params.at("new-roster") != named) outcome = interrupted;
    return {};
  }
  TRY_ASSIGN(const auto rotation, crypto::KeyRotationOf(proposal));
  if (record.key != rotation.key) outcome = interrupted;
  return {};
}

Result<int> Governance::ReconcileLocked(bool record_only) {
  int settled = 0;
  const auto before = Snapshot();
  for (const auto& [id, proposal] : before->proposals) {
    if (proposal->fate != ProposalFate::kConsumed) continue;
    if (record_only && !proposal->parsed.operation.starts_with("ledger.")) continue;
    const auto state = Snapshot();
    const auto effect = EffectOf(*state, proposal->parsed);
    Result<void> outcome;
    if (!effect) {
      outcome = effect.error();
    } else if (const auto asked = AskOutcome(proposal->parsed, *effect, outcome); !asked) {
      // A further token that is away keeps nobody else waiting. One that was to be enrolled is not waited for for ever:
      // should it have taken that, it takes another enrolment, too.
      if (!ConcernsFurther(*state, proposal->parsed)) return asked.error();
      const bool over = clock_.Now() > proposal->parsed.execute_by + kClockSlack;
      if (proposal->parsed.operation != "token.enrol" || !over) continue;
      outcome = Conflict("its token could not be asked in time: propose again", "interrupted");
    }
    // The compromised version of an emergency that the token was away for is followed by the next, once it is asked for
    // and has not made it.
    const bool emergency = proposal->parsed.operation == "keyring.emergency-rotate";
    if (effect && emergency && !outcome && outcome.error().Slug() == "interrupted" &&
        clock_.Now() <= proposal->parsed.execute_by) {
      outcome = RunEffect(*state, *proposal, *effect);
      if (!outcome && IsAway(outcome.error())) return outcome.error();
    }
    TRY(Settle(*proposal, effect ? &*effect : nullptr, outcome));
    ++settled;
  }
  return settled;
}

Result<std::vector<std::string>> Governance::Sweep(const std::string& token) {
  const MutexLock lock(mutex_);
  TRY_ASSIGN(const auto records, key_ops_.Token(token).Inventory());
  return JudgeInventory(*Snapshot(), token, records);
}

}  // namespace strongroom::appliance
