#pragma once
// `ledger export`, `ledger verify`, `ledger prove`: what an auditor needs, and all that she needs.

#include <boost/json/object.hpp>

#include "crypto/note.h"
#include "ledger/evidence_entry.h"
#include "provisioning/cli_session.h"

namespace strongroom::provisioning {

/// WriteExport does what ExportLedger does; yields dir, control and evidence sizes, vkey. `backup` is told what the
/// last backup before the exported heads holds of the inventory.
Result<boost::json::object> WriteExport(const CliSession& session, const std::string& directory,
                                        std::optional<ledger::BackedUp>* backup = nullptr);
/// KeyFrom reads a verifier key from a file, or takes it as the text itself.
Result<crypto::NoteKey> KeyFrom(const std::string& key);

/// ExportLedger writes a self-contained folder: both logs as tlog-tiles, their checkpoints, the rosters with an
/// allowed_signers file each, the keyrings as they follow from the log, the checkpoint key, a README. `directory` must
/// not exist or be empty.
int ExportLedger(const CliSession& session, const std::string& directory);

/// VerifyExport checks such a folder with nothing but the key (a file or the text itself): hashes, checkpoints, every
/// vote and every execution under the roster of its time, the keyrings, and that no file is there that was not
/// checked. Exit status 3 and the first bad entry when anything differs.
int VerifyExport(const CliSession& session, const std::string& directory, const std::string& key,
                 const std::vector<std::string>& archives = {});

/// ShowCheckpointKey prints the verifier key in force, which auditors are handed, or writes it into a new file.
int ShowCheckpointKey(const CliSession& session, const std::string& file);
/// ProveEntry prints the tlog-proof of one entry.
int ProveEntry(const CliSession& session, const std::string& log, std::uint64_t index);

}  // namespace strongroom::provisioning
