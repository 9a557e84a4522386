#include "ledger/inventory_digest.h"

#include <utility>

namespace strongroom::ledger {

std::string InventoryLine(const crypto::KeyringId& keyring, std::string_view id, std::string_view wrapped,
                          Millis stored, std::string_view quarantine, std::string_view owner) {
  std::string line = ToHex(keyring);
  const auto at = FormatTime(stored);
  for (auto part : {id, wrapped, std::string_view(at), quarantine, owner}) {
    if (part.empty()) part = "-";
    line += ' ';
    line += part;
  }
  return line + "\n";
}

Result<void> InventoryDigest::Add(const crypto::KeyringId& keyring, std::string_view id, std::string_view wrapped,
                                  Millis stored, std::string_view quarantine, std::string_view owner) {
  if (records_ > 0 && std::pair(keyring, id) <= std::pair(keyring_, std::string_view(id_)))
    return Integrity("a wrapped DEK stands twice in an inventory, or out of order", "inventory-damaged");
  hash_.Add(AsBytes(InventoryLine(keyring, id, wrapped, stored, quarantine, owner)));
  ++records_;
  keyring_ = keyring;
  id_ = id;
  return {};
}

}  // namespace strongroom::ledger
