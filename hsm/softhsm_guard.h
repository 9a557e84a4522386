#pragma once
#include <string>

#include "crypto/base/result.h"

namespace strongroom::hsm {

/// GuardTokenObjects protects SoftHSM's token.object files. SoftHSM 2.6.1 rewrites that file in place at every login,
/// so a host killed inside a login can leave it empty or cut off, which destroys the token. Call while no host runs: a
/// file smaller than its kept copy is put back, any other is copied to `guard_dir` (mode 0700). Returns how many were
/// put back. Fails with kIo.
Result<int> GuardTokenObjects(const std::string& softhsm_conf, const std::string& guard_dir);

/// SeeOthersObjects makes this process's SoftHSM look at its tokens' files again at its next search. SoftHSM 2.6.1
/// counts changes in a file `generation` and looks again when another process has counted; a process that writes counts
/// on from what stands there and never looks at what was written just before. Here it is counted on as another process
/// would. Without a configuration, or for another store than files, nothing is done. Fails with kIo.
Result<void> SeeOthersObjects(const std::string& softhsm_conf);
/// The same, with the configuration that this process's SoftHSM has ($SOFTHSM2_CONF).
Result<void> SeeOthersObjects();

/// SoftHsmTokenDir reads directories.tokendir from a softhsm2.conf; kInvalid when it has none.
Result<std::string> SoftHsmTokenDir(const std::string& softhsm_conf);

}  // namespace strongroom::hsm
