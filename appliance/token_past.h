#pragma once
// Whether the token is older than the database: a restored or failed-over token that has forgotten (Q16). Pure.

#include "appliance/state.h"
#include "crypto/custody/record.h"

namespace strongroom::appliance {

/// NotedHeads is how much of each log the database knows to be signed by this very token, in the present epoch.
struct NotedHeads {
  std::uint64_t control = 0;
  std::uint64_t evidence = 0;
};

/// CheckTokenPast compares the main token's record with the database: a signed head, roster or epoch behind it, or an
/// executed proposal that the token does not remember before its deadline, is kConflict (token-behind): the token was
/// put back to an earlier time. Services go on; nothing governed is done but ledger.adopt.
Result<void> CheckTokenPast(const State& state, const crypto::LedgerRecord& record, const NotedHeads& noted,
                            Millis now);

/// StateOfToken names what an adoption finds: lost, forked, apart (each has what the other lacks), behind (the token is
/// older), or rolled-back (the database is).
std::string_view StateOfToken(bool lost, bool forked, bool database_behind, bool token_behind);

}  // namespace strongroom::appliance
