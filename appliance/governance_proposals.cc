// What governance does with proposals before they run: filing, votes, withdrawal; and how they are seen.

#include "appliance/governance.h"
#include "appliance/keyring_decisions.h"
#include "appliance/ledger_decisions.h"
#include "appliance/proposal_params.h"
#include "appliance/proposal_shares.h"
#include "appliance/token_decisions.h"

namespace strongroom::appliance {
namespace {

Error Unknown() {
  return NotFound("no proposal with this id is open or recent: what was settled longer ago is in the control log alone",
                  "proposal-not-found");
}

}  // namespace

Result<const Proposal*> Governance::Find(const State& state, const std::string& id) const {
  const auto* proposal = state.FindProposal(id);
  if (proposal == nullptr) return Unknown();
  return proposal;
}

// Where in the control log a text says that it was asked for: the last head that the token has signed, for it carries
// nothing out that names more. An adoption names what there is, which is what it adopts.
Result<ledger::Head> Governance::PlaceFor(const std::string& operation) const {
  const auto head = ledger_.HeadOf(ledger::Log::kControl);
  if (operation == "ledger.adopt") return head;
  TRY_ASSIGN(const auto noted, ledger_.LatestCheckpoint(ledger::Log::kControl));
  if (!noted || noted->size == 0 || noted->size >= head.size) return head;
  TRY_ASSIGN(const auto root, ledger_.RootAt(ledger::Log::kControl, noted->size));
  return ledger::Head{noted->size, root};
}

Result<ProposalView> Governance::File(const Caller& requester, const ProposalRequest& request,
                                      const std::set<std::string, std::less<>>& failing) {
  const MutexLock lock(mutex_);
  TRY(JudgeActor(*Snapshot(), requester, kGoverns));
  TRY(WatchClockLocked());
  Drawn drawn;
  drawn.now = clock_.Now();
  drawn.host = clock_.Host();
  drawn.clock_fault = clock_.Fault();
  // Who has had his share does not keep a token busy, either.
  TRY_ASSIGN(const auto policy_class, crypto::ClassOf(request.operation));
  TRY(CheckShares(*Snapshot(), requester.name, policy_class, {drawn.now, drawn.host}));
  drawn.failing = failing;
  drawn.nonce = crypto::RandomArray<16>();
  drawn.keyring_id = crypto::RandomArray<16>();
  TRY_ASSIGN(drawn.control, PlaceFor(request.operation));
  if (const auto identity = key_ops_.Identity()) drawn.token = NameOf(*Snapshot(), *identity);
  // A KEK is never asked for in another token than the one that the keyrings are in.
  if (const auto recorded = RecordedToken(*Snapshot()); !recorded.empty()) drawn.token = recorded;
  if (request.operation == "clock.accept") drawn.token_seen = LatestSeen(*Snapshot());
  drawn.further = Reach(*Snapshot(), request);
  if (request.operation == "ledger.archive")
    if (const auto before = ParseTime(Get(request.params, "before"))) {
      TRY_ASSIGN(drawn.archive, ArchivableBefore(*Snapshot(), *before));
    }
  if (request.operation == "ledger.adopt" && Snapshot()->roster) {
    TRY_ASSIGN(drawn.recovery, LookForRecovery(*Snapshot(), drawn.token));
  }
  TRY_ASSIGN(const auto draft, DraftProposal(*Snapshot(), requester.name, request, drawn));
  TRY(CheckTurn(*Snapshot(), draft, drawn.now));
  TRY_ASSIGN(auto text, draft.Render());
  const auto id = crypto::ProposalId(text);
  std::vector<ledger::ControlBody> bodies;
  // By a time that nobody relies on nothing is forgotten.
  if (drawn.clock_fault.empty() && !AcceptsClock(draft))
    if (const auto before = ForgetBefore(*Snapshot(), drawn.now))
      bodies.emplace_back(ledger::ProposalsForgotten{*before});
  bodies.emplace_back(ledger::ProposalFiled{std::move(text)});
  TRY(RecordBodies(std::move(bodies), drawn.now));
  return View(id);
}

Result<ProposalView> Governance::Vote(const Caller& carrier, const std::string& id, const crypto::Vote& vote) {
  const MutexLock lock(mutex_);
  const auto state = Snapshot();
  TRY(JudgeActor(*state, carrier, kAnybody));
  TRY_ASSIGN(const Proposal* proposal, Find(*state, id));
  TRY(CheckLive(*proposal));
  // Saying no is a safe direction: no clock stops it.
  if (vote.verdict == crypto::Verdict::kApprove) TRY(CheckClock(proposal->parsed.operation));
  // Judged and recorded at one moment: who reads the log later judges by the entry's time.
  const auto now = clock_.Now();
  TRY(JudgeVote(*state, *proposal, vote, AcceptsClock(proposal->parsed) ? clock_.Host() : now));
  std::vector<ledger::ControlBody> bodies = {ledger::VoteCast{id, vote}};
  if (vote.verdict == crypto::Verdict::kReject) {
    auto after = *state;
    TRY(Apply(after, {now, bodies.front()}));
    if (auto excess = ExcessOf(after, *after.FindProposal(id), vote.custodian, now); !excess.empty())
      bodies.emplace_back(ledger::ProposalsClosed{id, vote.custodian, std::move(excess)});
  }
  TRY(RecordBodies(std::move(bodies), now));
  return View(id);
}

Result<ProposalView> Governance::Withdraw(const std::string& id, const Caller& principal) {
  const MutexLock lock(mutex_);
  const auto state = Snapshot();
  TRY(JudgeActor(*state, principal, kGoverns));
  TRY_ASSIGN(const Proposal* proposal, Find(*state, id));
  TRY(JudgeWithdrawal(*proposal, principal.name));
  TRY(RecordBodies({ledger::ProposalWithdrawn{id, principal.name}}));
  return View(id);
}

std::string_view Governance::StateOf(const Proposal& proposal) const {
  return StateNow(*Snapshot(), proposal, TimeFor(proposal.parsed));
}

Result<ProposalView> Governance::View(const std::string& id) const {
  const auto state = Snapshot();
  const auto at = state->proposals.find(id);
  if (at == state->proposals.end()) return Unknown();
  return ProposalView{at->second, std::string(StateNow(*state, *at->second, TimeFor(at->second->parsed)))};
}

}  // namespace strongroom::appliance
