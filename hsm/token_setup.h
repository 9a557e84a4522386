#pragma once
#include "crypto/base/result.h"
#include "crypto/roster.h"
#include "hsm/key_ops.h"
#include "hsm/module.h"
#include "hsm/uri.h"

namespace strongroom::hsm {

/// MakeToken initialises the token that `uri` names in a free slot of the module and sets its PINs. kConflict
/// (token-exists) when a token with its PIN set matches already; one that a cut-off run has left without is finished.
Result<void> MakeToken(const Module& module, const TokenUri& uri, const std::string& so_pin_file);

/// InitialiseToken makes the token that `uri` names in a free slot and sets its PINs, read from the URI's pin-source
/// and from `so_pin_file` (mode 0600 both). Refuses with kConflict when a token matches already: it never overwrites
/// one.
/// It also makes the checkpoint key, the custody root that says whose token this is, by the roster that it is to obey,
/// and the first record.
Result<void> InitialiseToken(const TokenUri& uri, const std::string& so_pin_file, const crypto::Roster& roster);

/// AddCheckpointKey makes key, root and record in a token that has none. kConflict (key-exists) when it has.
Result<void> AddCheckpointKey(const TokenUri& uri, const crypto::Roster& roster);

/// SetTokenRoot gives a token that an earlier build has used its root: roster 1, or the very roster that its record
/// obeys. kConflict (root-exists, grant-mismatch).
Result<void> SetTokenRoot(const TokenUri& uri, const crypto::Roster& roster);

/// ReadMarks reads who a token says that it is, without logging in.
Result<TokenIdentity> ReadMarks(const TokenUri& uri);

}  // namespace strongroom::hsm
