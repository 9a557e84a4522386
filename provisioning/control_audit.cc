#include "provisioning/control_audit.h"

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>

#include "appliance/break_glass.h"
#include "appliance/keyring_decisions.h"
#include "appliance/ledger_decisions.h"
#include "appliance/policy_decisions.h"
#include "appliance/rewrap_decisions.h"
#include "crypto/custody.h"
#include "crypto/note.h"
#include "crypto/quorum.h"
#include "crypto/sshsig.h"
#include "netapi/keyring_json.h"

namespace strongroom::provisioning {
namespace {

constexpr Millis kClockSlack = Millis{5} * 60 * 1000;

std::string KeyringsJson(const appliance::State& state) {
  boost::json::array keyrings;
  for (const auto& [name, keyring] : state.keyrings) keyrings.push_back(netapi::KeyringObject(*keyring));
  return boost::json::serialize(keyrings) + "\n";
}

}  // namespace

Result<void> ControlAudit::Take(std::uint64_t index, ByteView raw) {
  const auto taken = TakeChecked(raw);
  if (taken) return {};
  return Integrity("control entry " + std::to_string(index) + ": " + taken.error().detail,
                   std::string(taken.error().Slug()));
}

Result<void> ControlAudit::Finish() const {
  if (changes_.empty() && announced_.empty()) return {};
  return Integrity("the control log ends with changes of keyrings that no execution settles", "unvoted-change");
}

const std::map<std::string, std::string>& ControlAudit::Derived() {
  derived_["keyrings.json"] = KeyringsJson(state_);
  return derived_;
}

Result<void> ControlAudit::TakeChecked(ByteView raw) {
  TRY_ASSIGN(const auto entry, ledger::DecodeControl(raw));
  if (ledger::Encode(entry) != Bytes(raw.begin(), raw.end())) return Integrity("it is not in its one form");
  if (const auto* genesis = std::get_if<ledger::Genesis>(&entry.body))
    TRY(CheckGenesis(*genesis));
  else if (!state_.roster)
    return Integrity("the log does not begin with a roster", "log-damaged");
  TRY(CheckTime(entry));
  if (!announced_.empty()) {
    if (ledger::Encode({0, appliance::AsProposed(entry.body)}) != announced_.front())
      return Integrity("it is not what the execution before it does at once", "unvoted-change");
    announced_.pop_front();
    return Applied(entry);
  }
  if (const auto* cast = std::get_if<ledger::VoteCast>(&entry.body)) TRY(CheckVote(*cast, entry.time));
  if (const auto* consumed = std::get_if<ledger::ProposalConsumed>(&entry.body)) {
    const auto* proposal = state_.FindProposal(consumed->proposal);
    if (proposal == nullptr) return Integrity("it executes a proposal that was never filed");
    TRY(appliance::JudgeExecution(state_, *proposal, JudgedAt(*proposal, entry.time)));
    TRY_ASSIGN(const auto effect, appliance::EffectOf(state_, proposal->parsed));
    for (const auto& body : effect.at_once) announced_.push_back(ledger::Encode({0, body}));
    ++executions;
  }
  if (const auto* changed = std::get_if<ledger::CheckpointKeyChanged>(&entry.body)) TRY(CheckKey(*changed));
  if (const auto* opened = std::get_if<ledger::EpochOpened>(&entry.body)) TRY(CheckEpoch(*opened));
  if (const auto* reviewed = std::get_if<ledger::BreakGlassReviewed>(&entry.body))
    TRY(appliance::JudgeReview(state_, reviewed->id, reviewed->reviewer, reviewed->finding, reviewed->signature));
  TRY(CheckEffect(entry));
  return Applied(entry);
}

Result<void> ControlAudit::Applied(const ledger::ControlEntry& entry) {
  TRY(appliance::Apply(state_, entry));
  if (std::holds_alternative<ledger::Genesis>(entry.body) ||
      std::holds_alternative<ledger::RosterChanged>(entry.body) ||
      std::holds_alternative<ledger::RosterAdvanced>(entry.body)) {
    const auto at = "rosters/" + std::to_string(state_.roster->version()) + "/";
    derived_[at + "roster.txt"] = state_.roster->text();
    derived_[at + "allowed_signers"] = crypto::RosterAllowedSigners(*state_.roster);
  }
  if (const auto* archived = std::get_if<ledger::EvidenceArchived>(&entry.body)) archives_.push_back(*archived);
  return {};
}

Result<void> ControlAudit::CheckEffect(const ledger::ControlEntry& entry) {
  TRY_ASSIGN(const bool changes, NeedsVotes(entry));
  if (changes) {
    if (changes_.empty()) before_ = state_;
    changes_.push_back(ledger::Encode({0, appliance::AsProposed(entry.body)}));
    return {};
  }
  if (const auto* used = std::get_if<ledger::MandateUsed>(&entry.body)) TRY(CheckMandate(used->keyring, entry.time));
  if (const auto* mandate = std::get_if<ledger::MandateSettled>(&entry.body)) {
    // The rotation of the keyring as it was before these changes, or nothing.
    const auto& before = changes_.empty() ? state_ : before_;
    const auto name = before.keyring_names.find(mandate->keyring);
    if (name == before.keyring_names.end()) return Integrity("it settles a mandate of no keyring", "unvoted-change");
    const auto& keyring = *before.FindKeyring(name->second);
    std::vector<Bytes> wanted;
    if (mandate->ok)
      for (const auto& body : appliance::RotationOf(before, keyring, keyring.Primary()->suite).entries)
        wanted.push_back(ledger::Encode({0, body}));
    if (wanted != changes_ || keyring.mandated != mandate->version)
      return Integrity("the changes before it are not what its mandate allows", "unvoted-change");
    changes_.clear();
    return {};
  }
  const auto* settled = std::get_if<ledger::ExecutionSettled>(&entry.body);
  // Nothing needs a vote that closes, freezes or is told: but it does not stand among what does.
  if (settled == nullptr || !settled->ok) {
    if (!changes_.empty()) return Integrity("keyrings were changed before it without an execution", "unvoted-change");
    return {};
  }
  const auto* proposal = state_.FindProposal(settled->proposal);
  if (proposal == nullptr || proposal->fate != appliance::ProposalFate::kConsumed)
    return Integrity("it settles what was not executed", "unvoted-change");
  TRY_ASSIGN(const auto effect, appliance::EffectOf(changes_.empty() ? state_ : before_, proposal->parsed));
  std::vector<Bytes> wanted;
  for (const auto& body : effect.entries) wanted.push_back(ledger::Encode({0, body}));
  if (wanted != changes_) return Integrity("the changes before it are not what its proposal says", "unvoted-change");
  changes_.clear();
  if (proposal->parsed.operation == "ledger.adopt") {
    TRY_ASSIGN(epochs_.back().adoption, crypto::AdoptionOf(proposal->parsed));
  }
  return {};
}

Result<void> ControlAudit::CheckTime(const ledger::ControlEntry& entry) {
  const bool accepts = std::holds_alternative<ledger::ClockAccepted>(entry.body) ||
                       std::holds_alternative<ledger::EpochOpened>(entry.body);
  if (entry.time < last_ && !accepts)
    return Integrity("its time is before the one of the entry before it, and no clock was accepted", "time-back");
  if (const bool back = entry.time < last_; back || std::holds_alternative<ledger::ClockAccepted>(entry.body)) {
    const auto at = std::find_if(state_.proposals.begin(), state_.proposals.end(), [](const auto& p) {
      return p.second->fate == appliance::ProposalFate::kConsumed && appliance::AcceptsClock(p.second->parsed);
    });
    const auto named =
        at == state_.proposals.end() ? Result<Millis>(Integrity("")) : crypto::AcceptedClock(at->second->parsed);
    if (!named || entry.time + kClockSlack < *named || entry.time > at->second->parsed.execute_by)
      return Integrity("it accepts another clock than the one voted for", "time-back");
  }
  last_ = entry.time;
  return {};
}

Result<void> ControlAudit::CheckPerson(const std::string& by) const {
  const auto* principal = state_.roster ? state_.roster->Find(by) : nullptr;
  if (principal == nullptr ||
      (principal->role != crypto::Role::kOperator && principal->role != crypto::Role::kCustodian))
    return Integrity("it is by '" + by.substr(0, 64) + "', who is no operator or custodian", "unvoted-change");
  return {};
}

Millis ControlAudit::JudgedAt(const appliance::Proposal& proposal, Millis time) {
  return appliance::AcceptsClock(proposal.parsed) ? proposal.parsed.created : time;
}

Result<bool> ControlAudit::NeedsVotes(const ledger::ControlEntry& entry) {
  if (const auto* switched = std::get_if<ledger::KeyringSwitched>(&entry.body)) {
    if (switched->enabled) return true;
    TRY(CheckPerson(switched->by));  // whoever disables needs nobody else
    return false;
  }
  if (const auto* moved = std::get_if<ledger::VersionMoved>(&entry.body)) {
    using To = ledger::VersionMoved::To;
    if (moved->to != To::kKept && moved->to != To::kDestroyed) return true;
    if (moved->to == To::kKept) TRY(CheckPerson(moved->by));
    const auto name = state_.keyring_names.find(moved->keyring);
    const auto* keyring = name == state_.keyring_names.end() ? nullptr : state_.FindKeyring(name->second);
    const auto* version = keyring == nullptr ? nullptr : keyring->Find(moved->version);
    if (version == nullptr || !version->custody.starts_with(crypto::kTokenPrefix))
      return Integrity("it moves a version that goes with another one's KEK", "unvoted-change");
    if (moved->to == To::kDestroyed && (version->due == 0 || entry.time < version->due))
      return Integrity("it destroys a KEK before its time", "unvoted-change");
    // All that share the KEK move with it, at once.
    auto moves = appliance::MovesOf(state_, *keyring, *version, moved->to, 0, moved->by);
    for (std::size_t i = 1; i < moves.size(); ++i) announced_.push_back(ledger::Encode({0, moves[i]}));
    return false;
  }
  if (const auto* started = std::get_if<ledger::JobStarted>(&entry.body)) {
    // One that was asked for has its proposal's id; after a rotation the appliance begins one by itself.
    if (const auto* proposal = state_.FindProposal(started->id)) {
      if (proposal->fate != appliance::ProposalFate::kConsumed)
        return Integrity("it begins a job by a proposal that is not being executed", "unvoted-change");
      return true;
    }
    const auto* keyring = state_.FindKeyring(started->keyring);
    if (keyring == nullptr || started->retry || appliance::OwedJob(state_, *keyring) != started->kind)
      return Integrity("it begins a job that nobody voted for and no rotation owes", "unvoted-change");
    return false;
  }
  if (const auto* switched = std::get_if<ledger::JobSwitched>(&entry.body)) {
    if (!switched->by.empty()) TRY(CheckPerson(switched->by));
    return false;
  }
  if (const auto* attested = std::get_if<ledger::VersionAttested>(&entry.body)) {
    TRY(CheckPerson(attested->by));
    const auto name = state_.keyring_names.find(attested->keyring);
    if (name == state_.keyring_names.end()) return Integrity("it is of no keyring", "unvoted-change");
    const auto activations = appliance::JudgeAttestation(state_, name->second, attested->version);
    if (!activations) return Integrity("it attests what does not wait for it", "unvoted-change");
    for (const auto& body : *activations) announced_.push_back(ledger::Encode({0, body}));
    return false;
  }
  if (const auto* closed = std::get_if<ledger::EmergencyClosed>(&entry.body)) {
    TRY(CheckPerson(closed->by));
    const auto name = state_.keyring_names.find(closed->keyring);
    if (name == state_.keyring_names.end()) return Integrity("it is of no keyring", "unvoted-change");
    if (const auto judged = appliance::JudgeEmergencyClose(state_, name->second, closed->version); !judged)
      return Integrity("it closes an emergency that was not over: " + judged.error().detail, "unvoted-change");
    return false;
  }
  if (const auto* said = std::get_if<ledger::CensusAcknowledged>(&entry.body)) {
    const auto* keyring = state_.FindKeyring(said->keyring);
    if (keyring == nullptr || !keyring->grants.Knows(said->service))
      return Integrity("it is by '" + said->service.substr(0, 64) + "', to whom the keyring is not granted",
                       "unvoted-change");
    return false;
  }
  return std::holds_alternative<ledger::KeyringCreated>(entry.body) ||
         std::holds_alternative<ledger::VersionAnnounced>(entry.body) ||
         std::holds_alternative<ledger::VersionActivated>(entry.body) ||
         std::holds_alternative<ledger::EpochOpened>(entry.body) ||
         std::holds_alternative<ledger::CheckpointKeyChanged>(entry.body) ||
         std::holds_alternative<ledger::RosterChanged>(entry.body) ||
         std::holds_alternative<ledger::GrantsChanged>(entry.body) ||
         std::holds_alternative<ledger::BreakGlassOpened>(entry.body) ||
         std::holds_alternative<ledger::ClockAccepted>(entry.body) ||
         std::holds_alternative<ledger::PolicySet>(entry.body) ||
         std::holds_alternative<ledger::TokenEnrolled>(entry.body) ||
         std::holds_alternative<ledger::EvidenceArchived>(entry.body) ||
         std::holds_alternative<ledger::RosterAdvanced>(entry.body);
}

Result<void> ControlAudit::CheckMandate(const crypto::KeyringId& id, Millis time) const {
  const auto name = state_.keyring_names.find(id);
  if (name == state_.keyring_names.end()) return Integrity("it uses a mandate of no keyring", "unvoted-change");
  const auto effect = appliance::EffectOfMandate(state_, *state_.FindKeyring(name->second), time);
  if (!effect) return Integrity("it uses a mandate that does not allow it: " + effect.error().detail, "unvoted-change");
  return {};
}

Result<void> ControlAudit::CheckKey(const ledger::CheckpointKeyChanged& changed) const {
  const auto former = crypto::NoteKey::Parse(changed.former), next = crypto::NoteKey::Parse(changed.next);
  const auto name = state_.roster ? "strongroom/" + ToHex(state_.roster->instance()) : std::string();
  if (!former || !next || former->name() != name || next->name() != name)
    return Integrity("it names checkpoint keys that are none", "bad-endorsement");
  if (!former->Verify(crypto::KeyEndorsement(*former, *next), changed.endorsement))
    return Integrity("the former checkpoint key does not vouch for the next one", "bad-endorsement");
  return {};
}

Result<void> ControlAudit::CheckEpoch(const ledger::EpochOpened& opened) {
  epochs_.push_back({state_.ledger.epoch, opened, {}});
  return {};
}

Result<void> ControlAudit::CheckGenesis(const ledger::Genesis& genesis) {
  TRY_ASSIGN(auto roster, crypto::Roster::Parse(genesis.roster_text));
  std::set<std::string> signers;
  for (const auto& [custodian, signature] : genesis.signatures) {
    const auto* principal = roster.Find(custodian);
    if (principal == nullptr || principal->role != crypto::Role::kCustodian)
      return Integrity(custodian + " signed the roster and is no custodian in it");
    TRY(crypto::VerifySshSignature(principal->ssh_key, crypto::kRosterNamespace, AsBytes(genesis.roster_text),
                                   signature));
    signers.insert(custodian);
  }
  const auto custodians = std::count_if(roster.principals().begin(), roster.principals().end(),
                                        [](const auto& p) { return p.role == crypto::Role::kCustodian; });
  if (signers.size() != static_cast<std::size_t>(custodians))
    return Integrity("not every custodian has signed the first roster");
  return {};
}

Result<void> ControlAudit::CheckVote(const ledger::VoteCast& cast, Millis time) {
  const auto* proposal = state_.FindProposal(cast.proposal);
  if (proposal == nullptr) return Integrity("it is a vote for a proposal that was never filed");
  if (proposal->fate != appliance::ProposalFate::kPending)
    return Integrity("it is a vote for a proposal that is settled", "unvoted-change");
  if (std::any_of(proposal->votes.begin(), proposal->votes.end(),
                  [&](const auto& vote) { return vote.custodian == cast.vote.custodian; }))
    return Integrity("it is a second vote by " + cast.vote.custodian, "unvoted-change");
  TRY(crypto::CheckVote(*state_.roster, proposal->parsed, proposal->text, cast.vote));
  // Saying no is possible for as long as there is something to stop.
  const bool late = JudgedAt(*proposal, time) > proposal->parsed.approve_by;
  if (late && cast.vote.verdict == crypto::Verdict::kApprove)
    return Integrity("it is an approval after the time for votes");
  ++votes;
  const auto at = std::string(kVotesFolder) + cast.proposal + "/" + cast.vote.custodian;
  derived_[at + ".txt"] = crypto::VoteMessage(proposal->text, cast.vote.verdict);
  derived_[at + ".sig"] = cast.vote.signature;
  return {};
}

}  // namespace strongroom::provisioning
