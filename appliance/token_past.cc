#include "appliance/token_past.h"

#include <algorithm>
#include <array>

#include "appliance/proposal_params.h"
#include "crypto/custody.h"

namespace strongroom::appliance {
namespace {

Error Behind(const std::string& why) {
  return Conflict("the token is older than the database: " + why +
                      "; services go on, nothing governed is done: propose ledger.adopt",
                  "token-behind");
}

// Whether the main token must still remember that it has carried this out.
bool MustBeSpent(const State& state, const Proposal& proposal, const crypto::LedgerRecord& record, Millis now) {
  if (proposal.fate != ProposalFate::kExecuted || proposal.parsed.format < 2) return false;
  const auto operation = crypto::OperationOf(proposal.parsed);
  if (!operation || crypto::RuleOf(*operation).call == crypto::HostCall::kNone) return false;
  const auto& p = proposal.parsed;
  const auto custody = Get(p.params, "custody");
  const bool in_it = crypto::NamesToken(p, record.token) || custody == std::string(kTokenPrefix) + record.token;
  // What a lower epoch or the floor has made void is forgotten in order.
  return in_it && p.epoch == state.ledger.epoch && now <= p.execute_by &&
         !(record.custody.floor_set && p.control_size <= record.custody.floor);
}

}  // namespace

Result<void> CheckTokenPast(const State& state, const crypto::LedgerRecord& record, const NotedHeads& noted,
                            Millis now) {
  if (!state.roster) return {};
  const auto& c = record.custody;
  if (record.epoch < state.ledger.epoch)
    return Behind("it is in epoch " + std::to_string(record.epoch) + ", the database in " +
                  std::to_string(state.ledger.epoch));
  if (record.epoch > state.ledger.epoch) return {};  // the database is the older one
  if (c.roster_version != 0 && c.roster_version < state.roster->version())
    return Behind("it obeys roster " + std::to_string(c.roster_version) + ", the database has roster " +
                  std::to_string(state.roster->version()));
  for (const bool control : {true, false}) {
    const auto anchor = crypto::AnchorOf(record, control);
    const auto known = control ? noted.control : noted.evidence;
    if ((anchor ? anchor->size : 0) < known)
      return Behind("it has signed " + std::to_string(anchor ? anchor->size : 0) + " entries of the " +
                    (control ? "control" : "evidence") + " log, and the database has its signature of " +
                    std::to_string(known));
  }
  for (const auto& [id, proposal] : state.proposals)
    if (MustBeSpent(state, *proposal, record, now) && !crypto::IsSpent(record, proposal->text))
      return Behind("it does not remember that it has carried out proposal " + id);
  return {};
}

bool IsAway(const Error& error) {
  return error.code == Code::kUnavailable && error.Slug() != "clock-back" && error.Slug() != "clock-stepped";
}

bool IsCustodyFault(const Error& error) {
  constexpr std::array<std::string_view, 9> kFaults = {"record-missing",     "record-damaged", "record-newer",
                                                       "record-too-long",    "custody-forked", "root-missing",
                                                       "token-without-root", "root-damaged",   "anchor-missing"};
  return std::find(kFaults.begin(), kFaults.end(), error.Slug()) != kFaults.end();
}

std::string_view StateOfToken(bool lost, bool forked, bool database_behind, bool token_behind) {
  if (lost) return "lost";
  if (forked) return "forked";
  if (database_behind && token_behind) return "apart";
  return token_behind ? "behind" : "rolled-back";
}

}  // namespace strongroom::appliance
