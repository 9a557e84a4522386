#pragma once
// `backup` and `restore`: a ledger in one file, and a database from it.

#include "provisioning/cli_session.h"

namespace strongroom::provisioning {

/// Backup writes the ledger as of its signed heads and the inventories into one file: a tar archive of what `ledger
/// export` writes, verified, and inventory.ndjson. The checkpoints are its signed manifest: the evidence log under them
/// has the inventory's digest (L15), everything else in the database follows from the logs. Fails while no head can be
/// signed. Key material is never in it. Refuses to write over a file.
int Backup(const CliSession& session, const std::string& file);

struct RestoreOptions {
  std::string file;
  std::string directory;              // an appliance's (with strongroom.toml and ledger.vkey), or the database's own
  std::vector<std::string> archives;  // folders of exports that have what was archived
  std::string key;                    // file or text; empty: the directory's ledger.vkey
  bool unbound = false;               // take the inventory as it is, whatever the log says or does not say of it
};
/// Restore verifies a backup against the key and makes a database of it where none is. The service then starts in
/// rollback unless nothing was recorded since; `ledger.adopt` ends that. Exit status 3 for a backup that does not
/// verify, the inventory included. With `unbound` the inventory is not held against the log, and the restored log says
/// so: an evidence entry, outcome `inventory-unbound`.
int Restore(const CliSession& session, const RestoreOptions& options);

}  // namespace strongroom::provisioning
