#include "appliance/audit/rules.h"

#include <algorithm>
#include <set>

#include "appliance/break_glass.h"
#include "appliance/keyring_decisions.h"
#include "appliance/ledger_decisions.h"
#include "appliance/policy_decisions.h"
#include "appliance/proposal_shares.h"
#include "appliance/rewrap_decisions.h"
#include "crypto/custody.h"
#include "crypto/note.h"
#include "crypto/quorum.h"
#include "crypto/sshsig.h"

namespace strongroom::appliance {
namespace {

Error Unvoted(std::string what) { return Integrity(std::move(what), "unvoted-change"); }

// What accepts a clock is dated by that clock, not by the ledger's frozen time.
Millis JudgedAt(const Proposal& proposal, Millis time) {
  return AcceptsClock(proposal.parsed) ? proposal.parsed.created : time;
}

}  // namespace

Result<void> ControlAudit::Rules::CheckPerson(const std::string& by) const {
  const auto* principal = state().roster->Find(by);
  if (principal == nullptr ||
      (principal->role != crypto::Role::kOperator && principal->role != crypto::Role::kCustodian))
    return Unvoted("it is by '" + by.substr(0, 64) + "', who is no operator or custodian");
  return {};
}

Result<void> ControlAudit::Rules::CheckService(const std::string& name) const {
  const auto* principal = state().roster->Find(name);
  if (principal == nullptr || principal->role != crypto::Role::kService)
    return Unvoted("it is by '" + name.substr(0, 64) + "', who is no service");
  return {};
}

Result<void> ControlAudit::Rules::Cover(const std::vector<ledger::ControlBody>& wanted, const char* otherwise) const {
  std::vector<Bytes> encoded;
  for (const auto& body : wanted) encoded.push_back(ledger::Encode({0, body}));
  if (encoded != audit.changes_) return Unvoted(otherwise);
  audit.changes_.clear();
  return {};
}

Result<Word> ControlAudit::Rules::operator()(const ledger::Genesis& e) const {
  TRY_ASSIGN(const auto roster, crypto::Roster::Parse(e.roster_text));
  std::set<std::string> signers;
  for (const auto& [custodian, signature] : e.signatures) {
    const auto* principal = roster.Find(custodian);
    if (principal == nullptr || principal->role != crypto::Role::kCustodian)
      return Integrity(custodian + " signed the roster and is no custodian in it");
    TRY(crypto::VerifySshSignature(principal->ssh_key, crypto::kRosterNamespace, AsBytes(e.roster_text), signature));
    signers.insert(custodian);
  }
  const auto custodians = std::count_if(roster.principals().begin(), roster.principals().end(),
                                        [](const auto& p) { return p.role == crypto::Role::kCustodian; });
  if (signers.size() != static_cast<std::size_t>(custodians))
    return Integrity("not every custodian has signed the first roster");
  return Word::kCustodians;
}

Result<Word> ControlAudit::Rules::operator()(const ledger::ProposalFiled& e) const {
  TRY_ASSIGN(const auto parsed, crypto::ProposalText::Parse(e.text));
  if (parsed.instance != state().roster->instance()) return Unvoted("it is a proposal of another instance");
  TRY(CheckPerson(parsed.requester));
  return Word::kPerson;
}

Result<Word> ControlAudit::Rules::operator()(const ledger::VoteCast& e) const {
  const auto* proposal = state().FindProposal(e.proposal);
  if (proposal == nullptr) return Integrity("it is a vote for a proposal that was never filed");
  if (proposal->fate != ProposalFate::kPending) return Unvoted("it is a vote for a proposal that is settled");
  if (std::any_of(proposal->votes.begin(), proposal->votes.end(),
                  [&](const auto& vote) { return vote.custodian == e.vote.custodian; }))
    return Unvoted("it is a second vote by " + e.vote.custodian);
  TRY(crypto::CheckVote(*state().roster, proposal->parsed, proposal->text, e.vote));
  // Saying no is possible for as long as there is something to stop.
  const bool late = JudgedAt(*proposal, time) > proposal->parsed.approve_by;
  if (late && e.vote.verdict == crypto::Verdict::kApprove)
    return Integrity("it is an approval after the time for votes");
  return Word::kSignature;
}

// It stands right behind the rejection that it goes with, and closes what that closes: nothing else, and all of it.
Result<Word> ControlAudit::Rules::operator()(const ledger::ProposalsClosed& e) const {
  const auto* rejected = state().FindProposal(e.rejected);
  if (rejected == nullptr || audit.rejection_ != std::pair(e.rejected, e.by))
    return Unvoted("it closes proposals and stands behind no rejection");
  if (e.closed.empty() || e.closed != ExcessOf(state(), *rejected, e.by, time))
    return Unvoted("it closes other proposals than the rejection before it does");
  return Word::kSignature;
}

Result<Word> ControlAudit::Rules::operator()(const ledger::ProposalWithdrawn& e) const {
  const auto* proposal = state().FindProposal(e.proposal);
  if (proposal == nullptr) return Integrity("it withdraws a proposal that was never filed");
  if (proposal->parsed.requester != e.by)
    return Unvoted("it is withdrawn by '" + e.by.substr(0, 64) + "', who has not asked for it");
  TRY(CheckPerson(e.by));
  return Word::kPerson;
}

// The votes allow it; who sets it going is one of those who may.
Result<Word> ControlAudit::Rules::operator()(const ledger::ProposalConsumed& e) const {
  const auto* proposal = state().FindProposal(e.proposal);
  if (proposal == nullptr) return Integrity("it executes a proposal that was never filed");
  TRY(CheckPerson(e.executor));
  TRY(JudgeExecution(state(), *proposal, JudgedAt(*proposal, time)));
  TRY_ASSIGN(const auto effect, EffectOf(state(), proposal->parsed));
  for (const auto& body : effect.at_once) Announce(body);
  return Word::kPerson;
}

// What changes keyrings is, entry for entry, the effect of the proposal that the settlement names: votes allowed this
// and nothing else.
Result<Word> ControlAudit::Rules::operator()(const ledger::ExecutionSettled& e) const {
  if (!e.ok) return Word::kAppliance;
  const auto* proposal = state().FindProposal(e.proposal);
  if (proposal == nullptr || proposal->fate != ProposalFate::kConsumed)
    return Unvoted("it settles what was not executed");
  TRY_ASSIGN(const auto effect, EffectOf(before(), proposal->parsed));
  TRY(Cover(effect.entries, "the changes before it are not what its proposal says"));
  return Word::kAppliance;
}

// Only a token's own key can say which one follows it.
Result<Word> ControlAudit::Rules::operator()(const ledger::CheckpointKeyChanged& e) const {
  const auto former = crypto::NoteKey::Parse(e.former), next = crypto::NoteKey::Parse(e.next);
  const auto name = "strongroom/" + ToHex(state().roster->instance());
  if (!former || !next || former->name() != name || next->name() != name)
    return Integrity("it names checkpoint keys that are none", "bad-endorsement");
  if (!former->Verify(crypto::KeyEndorsement(*former, *next), e.endorsement))
    return Integrity("the former checkpoint key does not vouch for the next one", "bad-endorsement");
  return Word::kVotes;
}

// Whoever disables needs nobody else.
Result<Word> ControlAudit::Rules::operator()(const ledger::KeyringSwitched& e) const {
  if (e.enabled) return Word::kVotes;
  TRY(CheckPerson(e.by));
  return Word::kPerson;
}

Result<Word> ControlAudit::Rules::operator()(const ledger::VersionMoved& e) const {
  using To = ledger::VersionMoved::To;
  if (e.to != To::kKept && e.to != To::kDestroyed) return Word::kVotes;
  if (e.to == To::kKept) TRY(CheckPerson(e.by));
  const auto* keyring = state().FindKeyring(e.keyring);
  const auto* version = keyring == nullptr ? nullptr : keyring->Find(e.version);
  if (version == nullptr || !version->custody.starts_with(kTokenPrefix))
    return Unvoted("it moves a version that goes with another one's KEK");
  if (e.to == To::kDestroyed && (version->due == 0 || time < version->due))
    return Unvoted("it destroys a KEK before its time");
  // All that share the KEK move with it, at once.
  const auto moves = MovesOf(state(), *keyring, *version, e.to, 0, e.by);
  for (std::size_t i = 1; i < moves.size(); ++i) Announce(moves[i]);
  return e.to == To::kKept ? Word::kPerson : Word::kAppliance;
}

Result<Word> ControlAudit::Rules::operator()(const ledger::VersionAttested& e) const {
  TRY(CheckPerson(e.by));
  const auto* keyring = state().FindKeyring(e.keyring);
  if (keyring == nullptr) return Unvoted("it is of no keyring");
  const auto activations = JudgeAttestation(state(), keyring->name, e.version);
  if (!activations) return Unvoted("it attests what does not wait for it");
  for (const auto& body : *activations) Announce(body);
  return Word::kPerson;
}

Result<Word> ControlAudit::Rules::operator()(const ledger::EmergencyClosed& e) const {
  TRY(CheckPerson(e.by));
  const auto* keyring = state().FindKeyring(e.keyring);
  if (keyring == nullptr) return Unvoted("it is of no keyring");
  if (const auto judged = JudgeEmergencyClose(state(), keyring->name, e.version); !judged)
    return Unvoted("it closes an emergency that was not over: " + judged.error().detail);
  return Word::kPerson;
}

Result<Word> ControlAudit::Rules::operator()(const ledger::CensusAcknowledged& e) const {
  const auto* keyring = state().FindKeyring(e.keyring);
  if (keyring == nullptr || !keyring->grants.Knows(e.service))
    return Unvoted("it is by '" + e.service.substr(0, 64) + "', to whom the keyring is not granted");
  TRY(CheckService(e.service));
  return Word::kService;
}

Result<Word> ControlAudit::Rules::operator()(const ledger::BreakGlassClosed& e) const {
  if (e.by.empty()) return Word::kAppliance;
  TRY(CheckPerson(e.by));
  return Word::kPerson;
}

Result<Word> ControlAudit::Rules::operator()(const ledger::BreakGlassReviewed& e) const {
  TRY(JudgeReview(state(), e.id, e.reviewer, e.finding, e.signature));
  return Word::kSignature;
}

Result<Word> ControlAudit::Rules::operator()(const ledger::CeremonyRecorded& e) const {
  TRY(CheckPerson(e.by));
  return Word::kPerson;
}

// A mandate is used when it is due and no sooner.
Result<Word> ControlAudit::Rules::operator()(const ledger::MandateUsed& e) const {
  const auto* keyring = state().FindKeyring(e.keyring);
  if (keyring == nullptr) return Unvoted("it uses a mandate of no keyring");
  const auto effect = EffectOfMandate(state(), *keyring, time);
  if (!effect) return Unvoted("it uses a mandate that does not allow it: " + effect.error().detail);
  return Word::kAppliance;
}

// The rotation of the keyring as it was before these changes, or nothing.
Result<Word> ControlAudit::Rules::operator()(const ledger::MandateSettled& e) const {
  const auto* keyring = before().FindKeyring(e.keyring);
  if (keyring == nullptr) return Unvoted("it settles a mandate of no keyring");
  if (keyring->mandated != e.version) return Unvoted("the changes before it are not what its mandate allows");
  std::vector<ledger::ControlBody> wanted;
  if (e.ok) wanted = RotationOf(before(), *keyring, keyring->Primary()->suite).entries;
  TRY(Cover(wanted, "the changes before it are not what its mandate allows"));
  return Word::kAppliance;
}

// One that was asked for has its proposal's id; after a rotation the appliance begins one by itself.
Result<Word> ControlAudit::Rules::operator()(const ledger::JobStarted& e) const {
  if (const auto* proposal = state().FindProposal(e.id)) {
    if (proposal->fate != ProposalFate::kConsumed)
      return Unvoted("it begins a job by a proposal that is not being executed");
    return Word::kVotes;
  }
  const auto* keyring = state().FindKeyring(e.keyring);
  if (keyring == nullptr || e.retry || OwedJob(state(), *keyring) != e.kind)
    return Unvoted("it begins a job that nobody voted for and no rotation owes");
  return Word::kAppliance;
}

// The appliance ends a job, and does nothing else with it.
Result<Word> ControlAudit::Rules::operator()(const ledger::JobSwitched& e) const {
  using To = ledger::JobSwitched::To;
  if (!e.by.empty()) {
    TRY(CheckPerson(e.by));
    return Word::kPerson;
  }
  if (e.to == To::kPaused || e.to == To::kRunning || e.to == To::kCancelled)
    return Unvoted("it switches a job, and nobody did");
  return Word::kAppliance;
}

}  // namespace strongroom::appliance
