#pragma once
// What an export has beside its logs follows from the control log: votes, rosters and keyrings as files.

#include <map>
#include <string>
#include <vector>

#include "appliance/audit/control_audit.h"
#include "crypto/anchor.h"
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

/// ControlFiles takes an export's control log through the auditor's rules (appliance/audit) and makes the files that
/// follow from it. Not thread-safe.
class ControlFiles {
 public:
  /// Take judges the next entry. kIntegrity names it and what is wrong.
  Result<void> Take(std::uint64_t index, ByteView raw);
  /// Finish: at the end of the log: nothing may be left that no settlement covers.
  Result<void> Finish() const { return audit_.Finish(); }
  const appliance::State& state() const { return audit_.state(); }
  Millis last() const { return audit_.last(); }
  /// Derived is what else lies in an export, by its path: all of it follows from the control log.
  const std::map<std::string, std::string>& Derived();
  const std::vector<AdoptedEpoch>& epochs() const { return epochs_; }
  const std::vector<ledger::EvidenceArchived>& archives() const { return archives_; }
  std::uint64_t votes = 0, executions = 0;

 private:
  Result<void> TakeChecked(ByteView raw);
  void TakeVote(const ledger::VoteCast& cast);

  appliance::ControlAudit audit_;
  std::vector<AdoptedEpoch> epochs_;
  std::map<std::string, std::string> derived_;  // files, by path
  std::vector<ledger::EvidenceArchived> archives_;
};

}  // namespace strongroom::provisioning
