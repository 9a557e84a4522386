#pragma once
#include <sys/types.h>

#include <cstdint>
#include <set>
#include <string>

#include "crypto/base/result.h"

namespace strongroom::hsm {

/// TokendConfig is the [tokend] table of a configuration file:
///   uri          PKCS#11 URI of module, token and PIN file (no PIN in it)
///   socket       where strongroomd connects
///   state-dir    latch, guard copies, lock
///   allowed-uids users that may connect; default: this user alone
///   softhsm-conf SoftHSM's own configuration, for SoftHSM alone
///   so-pin-file  read by --init-token alone
///   hosts        host processes for the token, 1 (the default) to 16; the first alone changes custody
///   recycle-operations  after how many operations a host is replaced, in order and one at a time, because SoftHSM
///                keeps some 235 bytes of each session object for ever; 1000 up, default 1000000
///   hang-seconds how long one request may be inside the token before its host is killed, 1 to 600, default 10
struct TokendConfig {
  std::string uri;
  std::string socket;
  std::string state_dir;
  std::set<uid_t> allowed_uids;
  std::string softhsm_conf;
  std::string so_pin_file;
  unsigned hosts = 1;
  unsigned sessions = 1;  // of each host, for services
  std::int64_t hang_seconds = 10;
  std::uint64_t recycle_operations = 1000000;
};

/// ReadTokendConfig reads the [tokend] table; [server] and [ledger] belong to strongroomd and are passed over. An
/// unknown table or key, a wrong type or a missing file is kInvalid or kIo, with file and line.
Result<TokendConfig> ReadTokendConfig(const std::string& path);

}  // namespace strongroom::hsm
