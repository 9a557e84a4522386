#pragma once
// What an inventory is, as one digest (FORMAT.md, Inventory of a backup): the evidence log holds it of every backup.

#include <string>
#include <string_view>

#include "crypto/base/clock.h"
#include "crypto/base/result.h"
#include "crypto/digest.h"

namespace strongroom::ledger {

/// InventoryLine is one record as it goes into the digest: keyring id, DEK id, the envelope's text, when it was stored,
/// why it is in quarantine, or `-`, and whose it is, or `-`; separated by blanks, ended by a line end.
std::string InventoryLine(const crypto::KeyringId& keyring, std::string_view id, std::string_view wrapped,
                          Millis stored, std::string_view quarantine, std::string_view owner);

/// InventoryDigest takes records in the order of keyring id and DEK id, and keeps none of them.
class InventoryDigest {
 public:
  /// Add takes the next record. kIntegrity (inventory-damaged) for one that does not stand behind the one before it:
  /// so none counts twice.
  Result<void> Add(const crypto::KeyringId& keyring, std::string_view id, std::string_view wrapped, Millis stored,
                   std::string_view quarantine, std::string_view owner);
  std::uint64_t records() const { return records_; }
  const crypto::KeyringId& keyring() const { return keyring_; }
  const std::string& id() const { return id_; }
  /// Finish returns SHA-256 over the lines; nothing is added after it.
  crypto::Digest Finish() { return hash_.Finish(); }

 private:
  crypto::Sha256Stream hash_;
  std::uint64_t records_ = 0;
  crypto::KeyringId keyring_{};  // of the last record
  std::string id_;
};

}  // namespace strongroom::ledger
