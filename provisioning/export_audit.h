#pragma once
// The judgement of an export, offline: nothing but its folder and one key.

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "crypto/note.h"
#include "ledger/evidence_entry.h"
#include "ledger/log_folder.h"

namespace strongroom::provisioning {

struct Audit {
  std::string instance;
  std::uint64_t control = 0;
  std::uint64_t evidence = 0;
  std::uint64_t votes = 0;
  std::uint64_t executions = 0;
  std::uint64_t epoch = 1;
  std::vector<std::string> lost;  // what adoptions have given up, one line a log and epoch (L8)
  std::uint64_t keys = 1;         // checkpoint keys that have signed so far
  std::vector<std::string> gaps;  // the first thousand silences of the evidence log longer than five minutes (L10)
  std::uint64_t silences = 0;     // how many there are
  std::uint64_t archived = 0;     // evidence entries before this are kept elsewhere, by votes
  std::uint64_t unread = 0;       // how many of them were found nowhere: their hashes alone were verified
  std::optional<ledger::BackedUp> backup;  // what the last backup before these heads holds of the inventory (L15)
  std::vector<std::string> findings;       // what verifies and would be let in no more (findings.h), the first thousand
  std::string last;                        // time of the last evidence entry: since then nothing is known
};

/// AuditExport verifies everything in the folder but README.txt. `key` may be any checkpoint key that the log names;
/// those that followed it are trusted for its endorsement. kIntegrity names the first thing that is wrong. `progress`
/// is told now and then how far it is. `archives` are folders of earlier exports that have archived entries.
Result<Audit> AuditExport(const std::string& folder, const crypto::NoteKey& key,
                          const std::function<void(const char* log, std::uint64_t entries)>& progress,
                          const std::vector<std::string>& archives = {});

/// ReplayExport verifies and replays a folder's control log. The result is what else an export has to hold, by path:
/// keyrings.json, and of each roster and each vote what `ssh-keygen -Y verify` needs.
Result<std::map<std::string, std::string>> ReplayExport(const std::string& folder, const crypto::NoteKey& key);

}  // namespace strongroom::provisioning
