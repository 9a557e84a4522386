#pragma once
#include "provisioning/cli_session.h"

namespace strongroom::provisioning {

struct LedgerShowOptions {
  std::string log = "control";
  std::uint64_t from = 0;
  std::string operation;  // only entries of this kind or operation
  std::string since;      // only entries from this day or time on (RFC 3339)
};
/// ShowLedger prints a log's entries, one a line (or one JSON list).
int ShowLedger(const CliSession& session, const LedgerShowOptions& options);

/// RebuildState makes the state table anew from the control log of a stopped appliance and says whether it differed.
/// `without_journal`: a journal that is missing is given up, which an entry of evidence records.
int RebuildState(const CliSession& session, const std::string& data_directory, bool without_journal);

}  // namespace strongroom::provisioning
