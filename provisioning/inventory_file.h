#pragma once
// Inventories in a backup: NDJSON, one wrapped DEK a line, with what a database needs to know of it.

#include <filesystem>

#include "appliance/state.h"
#include "ledger/ledger.h"
#include "provisioning/cli_session.h"

namespace strongroom::provisioning {

/// WriteInventories writes every DEK of every keyring of a running appliance, flat in memory. Returns how many.
Result<std::uint64_t> WriteInventories(const CliSession& session, const std::filesystem::path& file);

/// RestoreInventories puts them into a ledger whose control log is there already. kIntegrity (inventory-damaged) for a
/// line that is not one of this instance, or names a keyring or version that its log does not know, and for a file that
/// was cut off. Returns how many.
Result<std::uint64_t> RestoreInventories(const std::filesystem::path& file, const appliance::State& state,
                                         ledger::Ledger& ledger);

}  // namespace strongroom::provisioning
