// Backups of an inventory that changes while it is read (L15).

#include <gtest/gtest.h>

#include "appliance/inventory_backups.h"
#include "tests/support/world.h"

namespace strongroom::appliance {
namespace {

using tests::World;

class InventoryBackup : public testing::Test {
 protected:
  InventoryBackup() {
    w_.MakeDevKeyrings();
    backups_ = std::make_unique<InventoryBackups>(*w_.ledger, *w_.governance);
  }
  void Change(const std::string& keyring, const std::string& id, bool put) {
    ledger::Submission submission;
    ledger::DekWrite write{w_.governance->Snapshot()->FindKeyring(keyring)->id, id, std::nullopt};
    if (put) write.next = ledger::DekRecord{1, 1'795'000'000'000, "", Bytes(40, 7), "service-1"};
    submission.deks.push_back(std::move(write));
    ASSERT_TRUE(w_.ledger->Record(std::move(submission)));
  }
  static std::string Id(int i) { return "dek-" + std::to_string(10'000 + i); }
  // What the log has of backups, in order.
  std::vector<ledger::BackedUp> Recorded() {
    std::vector<ledger::BackedUp> all;
    EXPECT_TRUE(w_.ledger->Read(ledger::Log::kEvidence, 0, [&](std::uint64_t index, ByteView raw) {
      if (const auto backup = ledger::BackupIn(index, *ledger::DecodeEvidence(raw))) all.push_back(*backup);
      return true;
    }));
    return all;
  }
  World w_;
  std::unique_ptr<InventoryBackups> backups_;
};

// Does the entry say what was handed out, whatever was put and taken away meanwhile?
TEST_F(InventoryBackup, L15_TheDigestIsOfWhatWasHandedOut) {
  for (int i = 0; i < 1500; ++i) Change(i % 2 == 0 ? "install" : "org-b", Id(i), true);
  const auto id = backups_->Begin("auditor-1");
  ledger::InventoryDigest digest;
  std::optional<BackupPage::Done> done;
  for (int page = 0; !done; ++page) {
    const auto next = backups_->Next(id, "auditor-1", "r-" + std::to_string(page));
    ASSERT_TRUE(next) << next.error().Line();
    EXPECT_EQ(next->items.size(), page == 0 ? InventoryBackups::kPage : 499U)
        << "one of the second page was taken away";
    for (const auto& item : next->items)
      ASSERT_TRUE(digest.Add(crypto::ParseEnvelope(item.wrapped)->keyring, item.id, item.wrapped, item.stored,
                             item.quarantine, item.owner));
    done = next->done;
    if (page > 0) continue;
    EXPECT_TRUE(Recorded().empty()) << "nothing is said before the end";
    // Behind what was read one goes; before it one comes, and one that was read goes.
    const auto last = next->items.back();
    const auto last_ring = crypto::ParseEnvelope(last.wrapped)->keyring;
    const auto name = w_.governance->Snapshot()->FindKeyring(last_ring)->name;
    Change(name, name == "install" ? Id(1498) : Id(1499), false);
    const auto first_ring = crypto::ParseEnvelope(next->items.front().wrapped)->keyring;
    const auto first = w_.governance->Snapshot()->FindKeyring(first_ring)->name;
    Change(first, "a-new-one", true);
    Change(first, next->items[3].id, false);
  }
  EXPECT_EQ(done->records, 1499U);
  EXPECT_EQ(done->digest, digest.Finish());
  const auto recorded = Recorded();
  ASSERT_EQ(recorded.size(), 1U);
  EXPECT_EQ(recorded[0].records, 1499U);
  EXPECT_EQ(recorded[0].digest, done->digest);
  EXPECT_EQ(backups_->Next(id, "auditor-1", "r").error().Slug(), "backup-not-found") << "it has ended";
}

TEST_F(InventoryBackup, L15_ABackupIsItsPrincipalsAndOneAtATime) {
  const auto first = backups_->Begin("auditor-1"), other = backups_->Begin("operator-1");
  EXPECT_EQ(backups_->Next(first, "operator-1", "r").error().Slug(), "backup-not-found");
  const auto second = backups_->Begin("auditor-1");
  EXPECT_EQ(backups_->Next(first, "auditor-1", "r").error().Slug(), "backup-not-found");
  const auto empty = backups_->Next(second, "auditor-1", "r");
  ASSERT_TRUE(empty) << empty.error().Line();
  EXPECT_EQ(empty->done->digest, crypto::Sha256({})) << "of nothing";
  // Not even principals without end keep more than a few.
  for (int i = 0; i < 40; ++i) (void)backups_->Begin("auditor-" + std::to_string(i + 10));
  EXPECT_EQ(backups_->Next(other, "operator-1", "r").error().Slug(), "backup-not-found") << "the oldest gave way";
}

TEST(InventoryDigest, L15_NothingCountsTwice) {
  ledger::InventoryDigest digest;
  const crypto::KeyringId a{1}, b{2};
  EXPECT_TRUE(digest.Add(a, "y", "srw1:A", 0, "", ""));
  EXPECT_FALSE(digest.Add(a, "y", "srw1:B", 0, "", "")) << "the same id again";
  EXPECT_FALSE(digest.Add(a, "x", "srw1:B", 0, "", "")) << "one before it";
  EXPECT_TRUE(digest.Add(b, "x", "srw1:B", 0, "", "")) << "another keyring's";
  EXPECT_EQ(digest.records(), 2U);
  EXPECT_EQ(ledger::InventoryLine(a, "y", "srw1:A", 0, "unwrap-failed", "service-1"),
            "01000000000000000000000000000000 y srw1:A 1970-01-01T00:00:00Z unwrap-failed service-1\n");
  EXPECT_EQ(ledger::InventoryLine(a, "y", "srw1:A", 0, "", ""),
            "01000000000000000000000000000000 y srw1:A 1970-01-01T00:00:00Z - -\n");
}

}  // namespace
}  // namespace strongroom::appliance
