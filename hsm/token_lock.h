#pragma once
// What keeps two supervisors of one token apart on a machine, and how one knows its own records.

#include "crypto/custody/record.h"
#include "hsm/frame_socket.h"
#include "hsm/key_ops.h"
#include "hsm/tokend_config.h"

namespace strongroom::hsm {

/// LockToken locks a token by its marks, in /run/lock/strongroom: one process of a machine writes its custody record.
/// Waits some seconds for one that is ending. kConflict (token-in-use) when it is held, kIo.
Result<UniqueFd> LockToken(const TokenIdentity& identity);

/// Installation is the name of a state directory: 16 random bytes, made at the first call. kIo.
Result<crypto::Id16> Installation(const std::string& state_dir);

/// ChainFile is where a state directory keeps its copy of the chain of rosters.
inline std::string ChainFile(const TokendConfig& config) { return config.state_dir + "/chain"; }

}  // namespace strongroom::hsm
