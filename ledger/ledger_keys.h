#pragma once
// Under what the ledger's rows lie, for its writer and its readers alone.

#include "ledger/env.h"
#include "ledger/log_tree.h"

namespace strongroom::ledger {

inline Bytes CheckpointKey(Log log, std::uint64_t size) {
  Bytes key = {static_cast<std::uint8_t>(log)};
  Append(key, IndexKey(size));
  return key;
}

inline Bytes CountersKey(const crypto::KeyId& kek, const crypto::KeyringId& keyring) {
  Bytes key(kek.begin(), kek.end());
  Append(key, keyring);
  return key;
}

}  // namespace strongroom::ledger
