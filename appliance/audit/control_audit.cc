#include "appliance/audit/control_audit.h"

#include <algorithm>

#include "appliance/audit/rules.h"
#include "appliance/decisions.h"

namespace strongroom::appliance {
namespace {
constexpr Millis kAcceptSlack = Millis{5} * 60 * 1000;
}  // namespace

Result<Changed> ControlAudit::Take(const ledger::ControlEntry& entry) {
  if (!state_.roster && !std::holds_alternative<ledger::Genesis>(entry.body))
    return Integrity("the log does not begin with a roster", "log-damaged");
  TRY(CheckTime(entry));
  if (!announced_.empty()) {
    if (ledger::Encode({0, AsProposed(entry.body)}) != announced_.front())
      return Integrity("it is not what the execution before it does at once", "unvoted-change");
    announced_.pop_front();
    return Apply(state_, entry);
  }
  const auto word_of = std::visit(Rules{*this, entry.time}, entry.body);
  rejection_ = {};
  TRY_ASSIGN(const auto word, word_of);
  const auto* cast = std::get_if<ledger::VoteCast>(&entry.body);
  if (cast != nullptr && cast->vote.verdict == crypto::Verdict::kReject)
    rejection_ = {cast->proposal, cast->vote.custodian};
  if (word == Word::kVotes) {
    if (changes_.empty()) before_ = state_;
    changes_.push_back(ledger::Encode({0, AsProposed(entry.body)}));
  } else if (!changes_.empty()) {
    // What needs no vote may be said at any time, but not among what does.
    return Integrity("keyrings were changed before it without an execution", "unvoted-change");
  }
  return Apply(state_, entry);
}

Result<void> ControlAudit::Finish() const {
  if (changes_.empty() && announced_.empty()) return {};
  return Integrity("the control log ends with changes of keyrings that no execution settles", "unvoted-change");
}

Result<void> ControlAudit::CheckTime(const ledger::ControlEntry& entry) {
  const bool accepts = std::holds_alternative<ledger::ClockAccepted>(entry.body) ||
                       std::holds_alternative<ledger::EpochOpened>(entry.body);
  if (entry.time < last_ && !accepts)
    return Integrity("its time is before the one of the entry before it, and no clock was accepted", "time-back");
  if (const bool back = entry.time < last_; back || std::holds_alternative<ledger::ClockAccepted>(entry.body)) {
    const auto at = std::find_if(state_.proposals.begin(), state_.proposals.end(), [](const auto& p) {
      return p.second->fate == ProposalFate::kConsumed && AcceptsClock(p.second->parsed);
    });
    const auto named =
        at == state_.proposals.end() ? Result<Millis>(Integrity("")) : crypto::AcceptedClock(at->second->parsed);
    if (!named || entry.time + kAcceptSlack < *named || entry.time > at->second->parsed.execute_by)
      return Integrity("it accepts another clock than the one voted for", "time-back");
  }
  last_ = entry.time;
  return {};
}

}  // namespace strongroom::appliance
