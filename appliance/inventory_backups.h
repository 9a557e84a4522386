#pragma once
// Backups of the inventory: read page by page, digested as they are handed out, recorded as evidence at their end.

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "appliance/governance.h"
#include "ledger/inventory_digest.h"

namespace strongroom::appliance {

/// BackupPage is a part of an inventory, in the order of keyring ids and DEK ids.
struct BackupPage {
  struct Item {
    std::string id, wrapped, quarantine, owner;
    std::uint32_t version = 0;
    Millis stored = 0;
  };
  /// Done is what the evidence log now says of the whole.
  struct Done {
    std::uint64_t records = 0;
    crypto::Digest digest{};
  };
  std::vector<Item> items;
  std::optional<Done> done;  // of the last page
};

/// InventoryBackups is thread-safe. What it digests is what it hands out, record for record, so the inventory may
/// change meanwhile and no transaction of the database stays open: one that did would keep every page that is written
/// since. Each record is as it was when its page was read.
class InventoryBackups {
 public:
  static constexpr std::size_t kPage = 1000;
  static constexpr std::size_t kMostUnderWay = 16;

  InventoryBackups(ledger::Ledger& ledger, const Governance& governance) : ledger_(ledger), governance_(governance) {}
  /// Begin returns the id of a new backup by `principal`, in the place of one of hers that is under way. Of many
  /// people's the oldest gives way.
  std::string Begin(const std::string& principal) EXCLUDES(mutex_);
  /// Next hands out the next page. Behind the last one the entry is durable: a head that is signed from then on covers
  /// it. kNotFound (backup-not-found) for a backup that is not this principal's or not under way; kOverloaded for more
  /// records than an entry counts; as the ledger fails. A backup ends with its first failure.
  Result<BackupPage> Next(const std::string& id, const std::string& principal, const std::string& request_id)
      EXCLUDES(mutex_);

 private:
  struct UnderWay {
    std::string principal;
    std::uint64_t begun = 0;
    ledger::InventoryDigest digest;
  };
  Result<BackupPage> Read(UnderWay& backup) const;
  Result<void> Record(UnderWay& backup, const std::string& request_id, BackupPage& page);

  ledger::Ledger& ledger_;
  const Governance& governance_;
  Mutex mutex_;
  std::map<std::string, std::unique_ptr<UnderWay>> under_way_ GUARDED_BY(mutex_);  // those that nobody reads now
  std::uint64_t begun_ GUARDED_BY(mutex_) = 0;
};

}  // namespace strongroom::appliance
