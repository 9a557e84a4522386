#pragma once
// What keeps two supervisors of one token apart on a machine, and how one knows its own records.

#include <chrono>

#include "crypto/custody/record.h"
#include "hsm/frame_socket.h"
#include "hsm/key_ops.h"
#include "hsm/tokend_config.h"

namespace strongroom::hsm {

inline constexpr const char* kMachineLocks = "/run/lock/strongroom";

/// TokenLock is held for as long as the object lives.
struct TokenLock {
  UniqueFd installation;
  UniqueFd machine;  // none when a stranger was there first
  explicit operator bool() const { return static_cast<bool>(installation); }
};

/// LockToken locks a token in its state directory, and by its marks in the machine's folder of locks: one process of a
/// machine writes its custody record. Any user may write in that folder; one who was there first is warned of and stops
/// nobody, for the record itself keeps two installations apart. Waits up to `longest` for one that is ending.
/// kConflict (token-in-use) when it is held, kIo.
Result<TokenLock> LockToken(const TokenIdentity& identity, const std::string& state_dir,
                            const std::string& machine_locks = kMachineLocks,
                            std::chrono::milliseconds longest = std::chrono::seconds(5));

/// Installation is the name of a state directory: 16 random bytes, made at the first call. kIo.
Result<crypto::Id16> Installation(const std::string& state_dir);

/// ChainFile is where a state directory keeps its copy of the chain of rosters.
inline std::string ChainFile(const TokendConfig& config) { return config.state_dir + "/chain"; }

}  // namespace strongroom::hsm
