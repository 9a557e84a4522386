#include "appliance/inventory_backups.h"

#include <algorithm>
#include <limits>

#include "appliance/broker.h"

namespace strongroom::appliance {

std::string InventoryBackups::Begin(const std::string& principal) {
  auto backup = std::make_unique<UnderWay>();
  backup->principal = principal;
  auto id = ToHex(crypto::RandomArray<16>());
  const MutexLock lock(mutex_);
  backup->begun = ++begun_;
  std::erase_if(under_way_, [&](const auto& other) { return other.second->principal == principal; });
  if (under_way_.size() >= kMostUnderWay)
    under_way_.erase(std::min_element(under_way_.begin(), under_way_.end(),
                                      [](const auto& a, const auto& b) { return a.second->begun < b.second->begun; }));
  under_way_[id] = std::move(backup);
  return id;
}

Result<BackupPage> InventoryBackups::Next(const std::string& id, const std::string& principal,
                                          const std::string& request_id) {
  std::unique_ptr<UnderWay> backup;
  {
    const MutexLock lock(mutex_);
    const auto at = under_way_.find(id);
    if (at == under_way_.end() || at->second->principal != principal)
      return NotFound("no backup of this id is under way: a newer one of yours has begun, or it has ended",
                      "backup-not-found");
    // Taken out while it is read: a second reader finds nothing, and a page goes out once.
    backup = std::move(at->second);
    under_way_.erase(at);
  }
  TRY_ASSIGN(auto page, Read(*backup));
  if (page.items.size() < kPage) {
    TRY(Record(*backup, request_id, page));
    return page;
  }
  const MutexLock lock(mutex_);
  const auto newer = std::any_of(under_way_.begin(), under_way_.end(),
                                 [&](const auto& other) { return other.second->principal == principal; });
  if (!newer) under_way_[id] = std::move(backup);
  return page;
}

Result<BackupPage> InventoryBackups::Read(UnderWay& backup) const {
  struct Found {
    crypto::KeyringId keyring;
    std::string id;
    ledger::DekRecord record;
  };
  std::vector<Found> found;
  TRY(ledger_.Deks().ScanAll(backup.digest.keyring(), backup.digest.id(),
                             [&](const crypto::KeyringId& keyring, std::string_view id, const auto& record) {
                               found.push_back({keyring, std::string(id), record});
                               return found.size() < kPage;
                             }));
  // A rotation in between has made versions that the records may be under: the state is looked at behind them.
  const auto state = governance_.Snapshot();
  BackupPage page;
  for (auto& [ring, id, record] : found) {
    const auto* keyring = state->FindKeyring(ring);
    const auto* version = keyring == nullptr ? nullptr : keyring->Find(record.version);
    if (version == nullptr) return Integrity("a DEK of the inventory is under a version that there is not");
    auto wrapped = crypto::FormatEnvelope(EnvelopeOf(*state, *keyring, *version, std::move(record.blob)));
    TRY(backup.digest.Add(ring, id, wrapped, record.stored, record.quarantine, record.owner));
    page.items.push_back({std::move(id), std::move(wrapped), std::move(record.quarantine), std::move(record.owner),
                          record.version, record.stored});
  }
  return page;
}

Result<void> InventoryBackups::Record(UnderWay& backup, const std::string& request_id, BackupPage& page) {
  if (backup.digest.records() > std::numeric_limits<std::uint32_t>::max())
    return Overloaded("the inventory has more records than an entry of the evidence log can count");
  ledger::EvidenceEntry entry;
  entry.time = governance_.Now();
  entry.request_id = request_id;
  entry.principal = backup.principal;
  entry.operation = ledger::Operation::kBackup;
  entry.items = static_cast<std::uint32_t>(backup.digest.records());
  entry.digest = backup.digest.Finish();
  entry.outcome = "ok";
  const BackupPage::Done done{entry.items, entry.digest};
  ledger::Submission submission;
  submission.evidence.push_back(std::move(entry));
  TRY(ledger_.Record(std::move(submission)));
  page.done = done;
  return {};
}

}  // namespace strongroom::appliance
