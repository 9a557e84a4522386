#pragma once
// What verifies in an export and is told all the same: what today's rules would not let in.

#include <string>
#include <vector>

#include "appliance/state.h"
#include "ledger/control_entry.h"

namespace strongroom::provisioning {

/// TakeFindings judges a control entry that has verified, with the state behind it, and adds a line for each thing that
/// a new one may not have: custodians' keys (Roster::CheckKeys) and texts that people sign (CheckSignedLine). Logs of
/// earlier builds may have them, so they fail nothing; votes by a shared key count once, and a weak key's not at all.
void TakeFindings(std::uint64_t index, const ledger::ControlEntry& entry, const appliance::State& state,
                  std::vector<std::string>& findings);

}  // namespace strongroom::provisioning
