#pragma once
// Evidence entries: one for each data-plane request (ledger/FORMAT.md).

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "crypto/base/clock.h"
#include "crypto/base/result.h"
#include "crypto/digest.h"

namespace strongroom::ledger {

/// kDekPut and kDekDelete change the inventory, kBackup says what a backup holds of it; everything else that asks the
/// token is one of the first four.
enum class Operation : std::uint8_t {
  kWrap = 1,
  kUnwrap = 2,
  kRewrap = 3,
  kDataKey = 4,
  kOther = 5,
  kDekPut = 6,
  kDekDelete = 7,
  kBackup = 8
};
std::string_view ToString(Operation operation);

enum class Use : std::uint8_t { kWrap = 1, kUnwrap = 2, kRewrapTo = 3, kRewrapFrom = 4 };
struct KekUse {
  crypto::KeyId kek{};
  Use use = Use::kWrap;
  std::uint32_t count = 0;
  bool operator==(const KekUse&) const = default;
};

struct EvidenceEntry {
  Millis time = 0;
  std::string request_id;
  std::string principal;
  Operation operation = Operation::kOther;
  std::string keyring;
  crypto::KeyringId keyring_id{};
  std::uint32_t items = 0;
  std::uint32_t failed = 0;
  crypto::Digest digest{};
  std::string outcome;
  std::uint32_t suppressed = 0;
  std::vector<KekUse> uses;
  bool operator==(const EvidenceEntry&) const = default;
};

/// BackedUp is what an entry says of a backup's inventory (ledger/inventory_digest.h).
struct BackedUp {
  std::uint64_t index = 0;  // of the entry
  std::uint32_t records = 0;
  crypto::Digest digest{};
};
/// BackupIn reads it from an entry; nullopt for any other, and for a backup that was refused.
std::optional<BackedUp> BackupIn(std::uint64_t index, const EvidenceEntry& entry);

Bytes Encode(const EvidenceEntry& entry);
/// DecodeEvidence accepts exactly what Encode makes; kIntegrity otherwise.
Result<EvidenceEntry> DecodeEvidence(ByteView bytes);

/// KekCounters are the durable counts of one KEK. A gcm version's encryptions are wraps + rewraps_to (K4's bound).
struct KekCounters {
  std::uint64_t wraps = 0;
  std::uint64_t unwraps = 0;
  std::uint64_t rewraps_to = 0;
  std::uint64_t rewraps_from = 0;
  Millis last_use = 0;
  void Add(const KekUse& use, Millis at);
  bool operator==(const KekCounters&) const = default;
};
Bytes Encode(const KekCounters& counters);
Result<KekCounters> DecodeCounters(ByteView bytes);

}  // namespace strongroom::ledger
