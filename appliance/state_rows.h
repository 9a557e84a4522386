#pragma once
// The state as rows of the ledger's `state` table.

#include "appliance/state.h"
#include "ledger/ledger.h"

namespace strongroom::appliance {

/// RowsOf encodes what an entry changed. Row names: `roster`, `keyring/<name>`, `proposal/<id>`,
/// `ledger`.
std::vector<ledger::Row> RowsOf(const State& state, const Changed& changed);

/// AllRows encodes the whole state, sorted by row name.
std::vector<ledger::Row> AllRows(const State& state);

/// LoadRow puts one row back into a state; kIntegrity when it is damaged.
Result<void> LoadRow(State& state, std::string_view key, ByteView value);

/// Replay makes the state from the control log alone.
Result<State> Replay(const ledger::Ledger& ledger);

/// Load makes the state from the `state` table.
Result<State> Load(const ledger::Ledger& ledger);

/// LoadVerified replays the control log and compares it with the table, byte for byte: kIntegrity (slug state-differs)
/// when somebody changed the table. What it returns follows from the log.
Result<State> LoadVerified(const ledger::Ledger& ledger);

}  // namespace strongroom::appliance
