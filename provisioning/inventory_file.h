#pragma once
// Inventories in a backup: NDJSON, one wrapped DEK a line, with what a database needs to know of it. The evidence log
// holds their digest and number (L15).

#include <filesystem>
#include <optional>

#include "appliance/state.h"
#include "ledger/ledger.h"
#include "provisioning/cli_session.h"

namespace strongroom::provisioning {

/// InventoryFile is what stands in one: the same that an evidence entry of the backup says (ledger/inventory_digest.h).
struct InventoryFile {
  std::uint64_t records = 0;
  crypto::Digest digest{};
};

/// WriteInventories writes every DEK of every keyring of a running appliance, flat in memory. When it returns the
/// evidence log holds what was written: a head that is signed from then on covers it. kIntegrity (inventory-differs)
/// when the appliance has recorded something else than it has sent.
Result<InventoryFile> WriteInventories(const CliSession& session, const std::filesystem::path& file);

/// RestoreInventories puts them into a ledger whose control log is there already. `recorded` is what its evidence log
/// says of them; nothing is asked of `unbound` ones. kIntegrity: inventory-damaged for a line that is not one of this
/// instance, names a keyring or version that its log does not know, stands twice or out of order, or is longer than any
/// that was written, and for a file that was cut off; inventory-differs when it is not what was recorded, or is not
/// there; inventory-unbound when nothing was recorded. Memory is that of a few thousand lines. Returns how many.
Result<std::uint64_t> RestoreInventories(const std::filesystem::path& file, const appliance::State& state,
                                         ledger::Ledger& ledger, const std::optional<ledger::BackedUp>& recorded,
                                         bool unbound);

}  // namespace strongroom::provisioning
