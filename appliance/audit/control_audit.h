#pragma once
// The auditor's rules: what each entry of the control log must follow from, and whose word it needs. One code judges
// what is about to be recorded and what an export holds.

#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "appliance/state.h"
#include "ledger/control_entry.h"

namespace strongroom::appliance {

/// Word says whose word an entry stands on.
enum class Word : std::uint8_t {
  kCustodians,  // every custodian's, who have signed the first roster
  kVotes,       // a quorum's: it may only stand among what a settlement covers
  kSignature,   // the named custodian's or reviewer's, who has signed what it says
  kPerson,      // one named operator's or custodian's
  kService,     // one named service's, about what is granted to it
  kAppliance,   // nobody's: the appliance says what has come about, where the rule allows it
};

/// ControlAudit judges the control log entry for entry: each must follow from what stood before it, every change of
/// custody from votes under the roster of its time. What it carries beside the state lives from the first change of a
/// settlement to its last, or from a rejection to what it closes, so it can begin between any two transactions. Not
/// thread-safe.
class ControlAudit {
 public:
  /// Before a log's first entry.
  ControlAudit() = default;
  /// Behind a whole transaction: `state` follows from the log so far, `last` is its last entry's time.
  ControlAudit(State state, Millis last) : last_(last), state_(std::move(state)) {}

  /// Take judges the next entry and applies it. Returns what it touched. kIntegrity (unvoted-change, time-back,
  /// bad-endorsement, log-damaged and what the decisions say) when it does not follow; the audit is then of no more
  /// use.
  Result<Changed> Take(const ledger::ControlEntry& entry);
  /// Finish: behind the last entry of a log or a transaction nothing may be left that no settlement covers. kIntegrity
  /// (unvoted-change).
  Result<void> Finish() const;

  const State& state() const { return state_; }
  /// Release hands the state out; the audit is over.
  State Release() && { return std::move(state_); }
  /// last is the time of the newest entry.
  Millis last() const { return last_; }

 private:
  struct Rules;  // whose word each kind of entry needs
  // Times do not go back, but where votes have accepted a clock; and then to a time that they were for.
  Result<void> CheckTime(const ledger::ControlEntry& entry);

  Millis last_ = 0;
  State state_;
  std::deque<Bytes> announced_;                    // what the entries after an execution must be
  State before_;                                   // as it was when `changes_` began
  std::vector<Bytes> changes_;                     // entries that no settlement has covered yet
  std::pair<std::string, std::string> rejection_;  // proposal and custodian, when the entry before was one
};

}  // namespace strongroom::appliance
