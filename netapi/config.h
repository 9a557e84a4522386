#pragma once
#include <sys/types.h>

#include <string>
#include <vector>

#include "crypto/base/result.h"

namespace strongroom::netapi {

/// ServerConfig is the [server], [ledger] and [rotation] tables of a configuration file:
///   [server] listen ("127.0.0.1:8443"), certificate, client-ca (PEM files), identity (the PKCS#11 URI of the token
///   that
///            holds the TLS key), identity-so-pin-file (for --make-identity), identity-softhsm-conf (SoftHSM's own, for
///            that token), or instead of identity: key (a PEM file), tokend-socket, tokend-uid (default: this user),
///            io-threads (1 to 16, default 2), token-hosts (1 to 16, default 1: as many as [tokend] has),
///            canary-seconds (1 to 60, default 2: how often known answers and the token's identity are checked),
///            sweep-seconds (1 to 3600, default 120: how often the token's keys and their templates are),
///            idle-seconds (1 to 3600, default 60: how long a connection may take for its next request's headers),
///            provider-slow-ms (100 to 60000, default 5000: a known-answer test that takes longer is a bad one),
///            body-seconds (1 to 3600, default 30: for a body, and for an answer to be taken)
///   [ledger] directory, map-gib (1 to 4096, default 64: the most that the database may grow to),
///            checkpoint-seconds (1 to 3600, default 2: how soon what was recorded is signed), heartbeat-seconds (1 to
///            3600, default 60: how often an idle log says so)
///   [rotation] pace-minutes (0 to 10080, default 60: a keyring is rotated at most once in so long, but in an
///   emergency),
///              batch (1 to 1000, default 256: records of an inventory in one transaction), concurrency (0 to 16,
///              default 0: one more than token-hosts; batches of a job under way)
///   [[token]] one for each token beside the main one: serial, socket, uid (default: this user), hosts (1 to 16,
///             default 1). It is used when it is enrolled (`token.enrol`).
struct FurtherTokenConfig {
  std::string serial;
  std::string socket;
  uid_t uid = 0;
  unsigned hosts = 1;
};
struct ServerConfig {
  std::string address;
  unsigned short port = 0;
  std::string certificate;
  std::string key;  // empty when `identity` is given
  std::string identity;
  std::string identity_so_pin_file;
  std::string identity_softhsm_conf;
  std::string client_ca;
  std::string tokend_socket;
  uid_t tokend_uid = 0;
  unsigned token_hosts = 1;
  unsigned io_threads = 2;
  unsigned canary_seconds = 2;
  unsigned sweep_seconds = 120;
  unsigned provider_slow_ms = 5000;
  unsigned idle_seconds = 60;
  unsigned body_seconds = 30;
  std::string data_directory;
  std::size_t map_bytes = 0;
  unsigned checkpoint_seconds = 2;
  unsigned heartbeat_seconds = 60;
  unsigned pace_minutes = 60;
  unsigned job_batch = 256;
  unsigned job_concurrency = 0;
  std::vector<FurtherTokenConfig> tokens;
};

/// ReadServerConfig reads and checks; [tokend] belongs to strongroom-tokend and is passed over. Fails with kInvalid,
/// file and line in it.
Result<ServerConfig> ReadServerConfig(const std::string& path);

}  // namespace strongroom::netapi
