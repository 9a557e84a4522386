#pragma once
#include "crypto/base/result.h"
#include "hsm/tokend_config.h"

namespace strongroom::hsm {

/// RunSupervisor serves one token until SIGTERM or SIGINT: it holds the listening socket, starts a host that inherits
/// it, and replaces the host whenever that dies, so that clients see a pause and nothing else. A first host that is
/// refused ends it with the host's reason. A rejected PIN is latched durably in the state directory: no host starts
/// again until `ClearPinLatch`, clients are told so, and the supervisor stays. `self` is the program to start as host.
/// Returns the exit status.
int RunSupervisor(const TokendConfig& config, const std::string& config_path, const std::string& self, bool take_token);

/// RunHost is the host's whole life; the supervisor hands it the listening socket and a pipe for "ready" as descriptors
/// 3 and 4. With `pin_retry` it logs in although the token reports a wrong PIN
/// since the last login. The host of number 0 alone has `custody`. Returns a HostExit.
int RunHost(const TokendConfig& config, bool pin_retry, bool custody, bool take_token);

/// ClearPinLatch forgets a rejected PIN, after the operator has corrected the PIN file, and lets the next start try
/// once.
Result<void> ClearPinLatch(const TokendConfig& config);

}  // namespace strongroom::hsm
