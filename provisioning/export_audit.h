#pragma once
// The judgement of an export, offline: nothing but its folder and one key.

#include <functional>
#include <string>
#include <vector>

#include "crypto/note.h"
#include "crypto/roster.h"
#include "ledger/log_folder.h"

namespace strongroom::provisioning {

struct Audit {
  std::string instance;
  std::uint64_t control = 0;
  std::uint64_t evidence = 0;
  std::uint64_t votes = 0;
  std::uint64_t executions = 0;
  std::vector<std::string> gaps;  // silences of the evidence log longer than five minutes (L10)
};

/// AuditExport verifies everything in the folder but README.txt. kIntegrity names the first thing that is wrong.
/// `progress` is told now and then how far it is.
Result<Audit> AuditExport(const std::string& folder, const crypto::NoteKey& key,
                          const std::function<void(const char* log, std::uint64_t entries)>& progress);

/// RostersOf returns the rosters in a folder's control log, oldest first.
Result<std::vector<crypto::Roster>> RostersOf(const std::string& folder, const crypto::NoteKey& key);

}  // namespace strongroom::provisioning
