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

/// IsAway tells whether an error is that of a token that did not answer; a clock that it does not believe is an answer.
bool IsAway(const Error& error);

/// IsCustodyFault tells whether an error is that of a main token whose custody record or root cannot be relied on:
/// gone, damaged, contradicting itself, of a newer build, or without a node's head. Nobody has changed anything of this
/// appliance's for that: services go on, nothing governed is done but ledger.adopt (Q16). Two roots that differ are
/// none: that is another token.
bool IsCustodyFault(const Error& error);

}  // namespace strongroom::appliance
