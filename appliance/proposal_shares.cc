#include "appliance/proposal_shares.h"

#include <algorithm>

#include "appliance/decisions.h"

namespace strongroom::appliance {
namespace {

// By the log's rule, which the auditor knows, too.
bool IsOpen(const State& state, const Proposal& proposal, Millis now) {
  if (proposal.fate != ProposalFate::kPending) return false;
  const auto at = StateAt(state, proposal, now);
  return at == "open" || at == "approved";
}

// As the appliance shows it: what is not run any more takes no room.
bool TakesRoom(const State& state, const Proposal& proposal, Millis now) {
  if (proposal.fate != ProposalFate::kPending) return false;
  const auto at = StateNow(state, proposal, now);
  return at == "open" || at == "approved";
}

bool IsForgettable(const State& state, const Proposal& proposal, Millis before) {
  if (proposal.fate == ProposalFate::kConsumed || proposal.parsed.execute_by >= before) return false;
  if (proposal.fate == ProposalFate::kPending) return !AcceptsClock(proposal.parsed);
  if (proposal.fate != ProposalFate::kExecuted) return true;
  // A token that was away follows the roster by the votes for each change.
  if (proposal.parsed.operation == "roster.change") return false;
  const auto opened = state.break_glass.find(proposal.id);
  return opened == state.break_glass.end() || !opened->second->reviewer.empty();
}

// Whether an open change of the roster would remove or replace somebody.
bool IsToBeRemoved(const State& state, std::string_view name, Millis now) {
  const auto param = "remove-" + std::string(name);
  return std::any_of(state.proposals.begin(), state.proposals.end(), [&](const auto& at) {
    return at.second->parsed.operation == "roster.change" && at.second->parsed.params.contains(param) &&
           IsOpen(state, *at.second, now);
  });
}

}  // namespace

bool KeepsRoom(std::string_view policy_class) {
  return policy_class == "roster" || policy_class == "emergency" || policy_class == "recovery";
}

Result<void> CheckShares(const State& state, std::string_view requester, std::string_view policy_class,
                         const Moment& now) {
  const bool urgent = KeepsRoom(policy_class);
  std::size_t pending = 0, open = 0, filed = 0;
  Millis oldest = 0;
  for (const auto& [id, proposal] : state.proposals) {
    const auto of = proposal->parsed.Class();
    if (urgent ? of != policy_class : KeepsRoom(of)) continue;
    const auto at = AcceptsClock(proposal->parsed) ? now.host : now.ledger;
    const bool his = proposal->parsed.requester == requester;
    // Counting the votes of each takes long: it is done for his own, and for the others' when there may be too many.
    if (proposal->fate == ProposalFate::kPending && at <= proposal->parsed.execute_by && !urgent) ++pending;
    if (!his) continue;
    open += TakesRoom(state, *proposal, at) ? 1 : 0;
    // Where a clock was set back, what lies ahead of it does not count.
    const auto created = proposal->parsed.created;
    if (created > at || created <= at - kFilingWindow) continue;
    ++filed;
    oldest = oldest == 0 ? created : std::min(oldest, created);
  }
  const auto who = std::string(requester);
  const auto what = urgent ? " of class " + std::string(policy_class) : std::string();
  if (open >= (urgent ? kMaxUrgentOfOne : kMaxOpenOfOne))
    return Overloaded(who + " has " + std::to_string(open) + " open proposals" + what, "requester-over-share");
  if (filed >= (urgent ? kMaxUrgentFilingsOfOne : kMaxFilingsOfOne))
    return Overloaded(who + " has filed " + std::to_string(filed) + " proposals" + what +
                          " within a day: the next one may be filed at " + FormatTime(oldest + kFilingWindow),
                      "too-many-filings");
  if (pending < kMaxOpenProposals) return {};
  const auto everybodys = std::count_if(state.proposals.begin(), state.proposals.end(), [&](const auto& each) {
    return !KeepsRoom(each.second->parsed.Class()) && TakesRoom(state, *each.second, now.ledger);
  });
  if (static_cast<std::size_t>(everybodys) >= kMaxOpenProposals)
    return Overloaded("there are " + std::to_string(everybodys) + " open proposals", "too-many-proposals");
  return {};
}

std::vector<std::string> ExcessOf(const State& state, const Proposal& rejected, std::string_view custodian,
                                  Millis now) {
  if (IsToBeRemoved(state, custodian, now)) return {};
  std::vector<const Proposal*> open;
  for (const auto& [id, proposal] : state.proposals)
    if (proposal->parsed.requester == rejected.parsed.requester && !KeepsRoom(proposal->parsed.Class()) &&
        IsOpen(state, *proposal, now))
      open.push_back(proposal.get());
  // Each filing makes the log longer: by how long it was they stand in their order.
  std::sort(open.begin(), open.end(), [](const Proposal* a, const Proposal* b) {
    return std::pair(a->parsed.control_size, a->id) < std::pair(b->parsed.control_size, b->id);
  });
  std::vector<std::string> excess;
  for (std::size_t i = kOutlastsRejection; i < open.size(); ++i) {
    const auto& votes = open[i]->votes;
    // It stands for a rejection of each: so who could not reject one, or has approved it, does not close it.
    const bool voted =
        std::any_of(votes.begin(), votes.end(), [&](const auto& vote) { return vote.custodian == custodian; });
    if (!voted && crypto::CheckVoter(*state.roster, open[i]->parsed, custodian)) excess.push_back(open[i]->id);
  }
  return excess;
}

std::vector<std::string> Forgettable(const State& state, Millis before) {
  std::vector<std::string> ids;
  for (const auto& [id, proposal] : state.proposals)
    if (IsForgettable(state, *proposal, before)) ids.push_back(id);
  return ids;
}

std::optional<Millis> ForgetBefore(const State& state, Millis now) {
  std::vector<Millis> due;
  for (const auto& [id, proposal] : state.proposals)
    if (IsForgettable(state, *proposal, now)) due.push_back(proposal->parsed.execute_by);
  // A filing is due so long after it was filed.
  const auto usual = now - kRemembered + kExecuteWithin;
  const auto old = std::count_if(due.begin(), due.end(), [&](Millis at) { return at < usual; });
  if (static_cast<std::size_t>(old) >= kForgetAtOnce) return usual;
  if (due.size() <= kMostRemembered) return std::nullopt;
  // Down to half, so that the next filings need no entry each.
  const auto half = due.begin() + static_cast<std::ptrdiff_t>(due.size() - kMostRemembered / 2);
  std::nth_element(due.begin(), half, due.end());
  return *half + 1;
}

}  // namespace strongroom::appliance
