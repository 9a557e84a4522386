#pragma once
// The control log, judged entry for entry: what votes allowed, and nothing else.

#include <deque>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "appliance/state.h"
#include "crypto/anchor.h"
#include "crypto/roster.h"
#include "ledger/control_entry.h"

namespace strongroom::provisioning {

/// The folder of an export that has the votes as files.
inline constexpr std::string_view kVotesFolder = "votes/";

/// AdoptedEpoch is an adoption as the log tells it.
struct AdoptedEpoch {
  std::uint64_t former = 0;  // the epoch that it ended
  ledger::EpochOpened opened;
  crypto::Adoption adoption;
};

/// ControlAudit replays the control log: every entry must follow from what stood before it, every change of custody
/// from votes under the roster of its time. Not thread-safe.
class ControlAudit {
 public:
  /// Take judges the next entry. kIntegrity names it and what is wrong.
  Result<void> Take(std::uint64_t index, ByteView raw);
  /// Finish: at the end of the log: nothing may be left that no settlement covers.
  Result<void> Finish() const;
  const appliance::State& state() const { return state_; }
  Millis last() const { return last_; }
  /// Derived is what else lies in an export, by its path: all of it follows from the control log.
  const std::map<std::string, std::string>& Derived();
  const std::vector<AdoptedEpoch>& epochs() const { return epochs_; }
  const std::vector<ledger::EvidenceArchived>& archives() const { return archives_; }
  std::uint64_t votes = 0, executions = 0;

 private:
  Result<void> TakeChecked(ByteView raw);
  Result<void> Applied(const ledger::ControlEntry& entry);
  // What changes keyrings must be, entry for entry, the effect of the proposal that the next settlement names: votes
  // allowed this and nothing else.
  Result<void> CheckEffect(const ledger::ControlEntry& entry);
  // Times do not go back, but where votes have accepted a clock; and then to a time that they were for.
  Result<void> CheckTime(const ledger::ControlEntry& entry);
  // One person's doing has a person behind it.
  Result<void> CheckPerson(const std::string& by) const;
  // What accepts a clock is dated by that clock, not by the ledger's frozen time.
  static Millis JudgedAt(const appliance::Proposal& proposal, Millis time);
  // Whether an entry may only stand in a settlement. kIntegrity for one that may not stand at all.
  Result<bool> NeedsVotes(const ledger::ControlEntry& entry);
  // A mandate is used when it is due and no sooner.
  Result<void> CheckMandate(const crypto::KeyringId& id, Millis time) const;
  // Only a token's own key can say which one follows it.
  Result<void> CheckKey(const ledger::CheckpointKeyChanged& changed) const;
  Result<void> CheckEpoch(const ledger::EpochOpened& opened);
  Result<void> CheckGenesis(const ledger::Genesis& genesis);
  Result<void> CheckVote(const ledger::VoteCast& cast, Millis time);

  Millis last_ = 0;
  std::deque<Bytes> announced_;  // what the entries after an execution must be
  std::vector<AdoptedEpoch> epochs_;
  appliance::State state_;
  appliance::State before_;                     // as it was when `changes_` began
  std::vector<Bytes> changes_;                  // entries that no settlement has covered yet
  std::map<std::string, std::string> derived_;  // files, by path
  std::vector<ledger::EvidenceArchived> archives_;
};

}  // namespace strongroom::provisioning
