#pragma once
#include "ledger/control_entry.h"
#include "ledger/evidence_entry.h"
#include "netapi/json.h"

namespace strongroom::netapi {

/// EntryJson renders a ledger entry for people and scripts; every field, nothing more. The bytes that the log commits
/// to stand in `leaf_hash` only.
boost::json::object EntryJson(std::uint64_t index, ByteView raw, const ledger::ControlEntry& entry);
boost::json::object EntryJson(std::uint64_t index, ByteView raw, const ledger::EvidenceEntry& entry);

}  // namespace strongroom::netapi
