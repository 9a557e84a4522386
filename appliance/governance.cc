#include "appliance/governance.h"

#include <set>

#include "appliance/state_rows.h"
#include "crypto/sshsig.h"

namespace strongroom::appliance {

Governance::Governance(ledger::Ledger& ledger, hsm::KeyOps& key_ops, const Clock& clock, State state)
    : ledger_(ledger), key_ops_(key_ops), clock_(clock), snapshot_(std::make_shared<const State>(std::move(state))) {}

std::shared_ptr<const State> Governance::Snapshot() const {
  const MutexLock lock(snapshot_mutex_);
  return snapshot_;
}

Result<const Proposal*> Governance::Find(const State& state, const std::string& id) const {
  const auto* proposal = state.FindProposal(id);
  if (proposal == nullptr) return NotFound("no proposal with this id", "proposal-not-found");
  return proposal;
}

// Entries and the rows that they make go into one transaction; readers see the new state when it is durable.
Result<void> Governance::RecordBodies(std::vector<ledger::ControlBody> bodies) {
  auto next = std::make_shared<State>(*Snapshot());
  ledger::Submission submission;
  for (auto& body : bodies) {
    ledger::ControlEntry entry{clock_.Now(), std::move(body)};
    if (ledger::Encode(entry).size() > ledger::kMaxEntryBytes)
      return Invalid("this is longer than the " + std::to_string(ledger::kMaxEntryBytes) +
                     " bytes that an entry of the ledger may have");
    TRY_ASSIGN(const auto changed, Apply(*next, entry));
    for (auto& row : RowsOf(*next, changed)) submission.rows.push_back(std::move(row));
    submission.control.push_back(std::move(entry));
  }
  TRY(ledger_.Record(std::move(submission)));
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

Result<ProposalView> Governance::File(const std::string& requester, const ProposalRequest& request) {
  const MutexLock lock(mutex_);
  Drawn drawn;
  drawn.now = clock_.Now();
  drawn.nonce = crypto::RandomArray<16>();
  drawn.keyring_id = crypto::RandomArray<16>();
  drawn.control = ledger_.HeadOf(ledger::Log::kControl);
  if (const auto identity = key_ops_.Identity()) drawn.token = identity->serial;
  // A KEK is never asked for in another token than the one that the keyrings are in.
  if (const auto recorded = RecordedToken(*Snapshot()); !recorded.empty()) drawn.token = recorded;
  TRY_ASSIGN(const auto draft, DraftProposal(*Snapshot(), requester, request, drawn));
  TRY_ASSIGN(auto text, draft.Render());
  const auto id = crypto::ProposalId(text);
  TRY(RecordBodies({ledger::ProposalFiled{std::move(text)}}));
  return View(id);
}

Result<ProposalView> Governance::Vote(const std::string& id, const crypto::Vote& vote) {
  const MutexLock lock(mutex_);
  const auto state = Snapshot();
  TRY_ASSIGN(const Proposal* proposal, Find(*state, id));
  TRY(JudgeVote(*state, *proposal, vote, clock_.Now()));
  TRY(RecordBodies({ledger::VoteCast{id, vote}}));
  return View(id);
}

Result<ProposalView> Governance::Withdraw(const std::string& id, const std::string& principal) {
  const MutexLock lock(mutex_);
  const auto state = Snapshot();
  TRY_ASSIGN(const Proposal* proposal, Find(*state, id));
  TRY(JudgeWithdrawal(*proposal, principal));
  TRY(RecordBodies({ledger::ProposalWithdrawn{id, principal}}));
  return View(id);
}

Result<ProposalView> Governance::Execute(const std::string& id, const std::string& executor) {
  const MutexLock lock(mutex_);
  TRY(ledger_.CheckSpace());
  TRY(ReconcileLocked());
  const auto state = Snapshot();
  TRY_ASSIGN(const Proposal* proposal, Find(*state, id));
  TRY_ASSIGN(auto grant, JudgeExecution(*state, *proposal, clock_.Now()));
  TRY_ASSIGN(const auto effect, EffectOf(*state, proposal->parsed));
  if (effect.generate) {
    // K3: an unknown or drifted key stops ceremonies before anything is consumed.
    TRY_ASSIGN(const auto records, key_ops_.Inventory());
    const auto faults = JudgeInventory(*state, effect.generate->ref.token, records);
    if (!faults.empty()) return Conflict("the token's keys are not as recorded: " + faults.front(), "token-inventory");
  }
  TRY(RecordBodies({ledger::ProposalConsumed{id, executor}}));
  const auto outcome = effect.generate ? key_ops_.Generate(std::move(grant), *effect.generate) : Result<void>();
  if (!outcome && outcome.error().code == Code::kUnavailable) {
    // The token side went away: the key may or may not be there. Ask once it is back, here or in the background.
    TRY(ReconcileLocked());
    return View(id);
  }
  TRY(Settle(*proposal, &effect, outcome));
  TRY(outcome);
  return View(id);
}

Result<void> Governance::Settle(const Proposal& proposal, const Effect* effect, const Result<void>& outcome) {
  std::vector<ledger::ControlBody> bodies;
  if (outcome && effect != nullptr) bodies = effect->entries;
  if (outcome)
    bodies.emplace_back(ledger::ExecutionSettled{proposal.id, true, {}, {}});
  else
    bodies.emplace_back(
        ledger::ExecutionSettled{proposal.id, false, std::string(outcome.error().Slug()), outcome.error().detail});
  return RecordBodies(std::move(bodies));
}

Result<int> Governance::Reconcile() {
  const MutexLock lock(mutex_);
  return ReconcileLocked();
}

Result<int> Governance::ReconcileLocked() {
  int settled = 0;
  const auto before = Snapshot();
  for (const auto& [id, proposal] : before->proposals) {
    if (proposal->fate != ProposalFate::kConsumed) continue;
    const auto state = Snapshot();
    const auto effect = EffectOf(*state, proposal->parsed);
    Result<void> outcome;
    if (!effect) {
      outcome = effect.error();
    } else if (effect->generate) {
      TRY_ASSIGN(const auto found, key_ops_.Find(effect->generate->ref.key));
      if (!found)
        outcome = Conflict("the execution was cut off before the token made the key: propose again", "interrupted");
      else if (found->suite != effect->generate->ref.suite || !found->fault.empty())
        outcome = Integrity("the key that a cut-off execution left in the token is not as asked for: " + found->fault,
                            "key-drift");
    }
    TRY(Settle(*proposal, effect ? &*effect : nullptr, outcome));
    ++settled;
  }
  return settled;
}

Result<std::vector<std::string>> Governance::Sweep(const std::string& token) {
  const MutexLock lock(mutex_);
  TRY_ASSIGN(const auto records, key_ops_.Inventory());
  return JudgeInventory(*Snapshot(), token, records);
}

Result<ProposalView> Governance::View(const std::string& id) const {
  const auto state = Snapshot();
  const auto at = state->proposals.find(id);
  if (at == state->proposals.end()) return NotFound("no proposal with this id", "proposal-not-found");
  return ProposalView{at->second, std::string(StateAt(*state, *at->second, clock_.Now()))};
}

}  // namespace strongroom::appliance
