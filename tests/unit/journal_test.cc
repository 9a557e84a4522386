// The journal: what is found in it after a crash, and what is not believed.

#include "ledger/journal.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "ledger/ledger.h"
#include "tests/support/temp_dir.h"

namespace strongroom::ledger {
namespace {

namespace fs = std::filesystem;
constexpr std::size_t kBytes = std::size_t{64} << 10;

Bytes Entry(int n) { return Bytes(100 + static_cast<std::size_t>(n), static_cast<std::uint8_t>(n)); }

Result<void> Put(Journal& journal, const std::vector<Bytes>& group) {
  return journal.Append(std::vector<ByteView>(group.begin(), group.end()));
}

class JournalTest : public testing::Test {
 protected:
  std::unique_ptr<Journal> Open() { return *Journal::Open(dir_.path(), kBytes); }
  std::string File() const { return dir_.path() + "/evidence.journal"; }
  void Overwrite(std::size_t at, std::uint8_t mask) const {
    std::fstream file(File(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(at));
    const auto byte = static_cast<char>(file.get() ^ mask);
    file.seekp(static_cast<std::streamoff>(at));
    file.put(byte);
  }
  static Journal::Base At(std::uint64_t size) { return {size, crypto::Sha256(AsBytes(std::to_string(size)))}; }
  // Three groups of two entries behind `base`, each a block of 4096 bytes.
  void Three(const Journal::Base& base) {
    const auto journal = Open();
    journal->Begin(base);
    for (int n = 0; n < 3; ++n) {
      const std::vector<Bytes> group = {Entry(2 * n), Entry(2 * n + 1)};
      ASSERT_TRUE(Put(*journal, group));
    }
  }
  tests::TempDir dir_;
};

TEST_F(JournalTest, AnEmptyOneHasNothingAndAnUnusableFolderIsNamed) {
  EXPECT_TRUE(Open()->Unsettled(At(0))->empty());
  const auto none = Journal::Open(dir_.File("not-there"), kBytes);
  ASSERT_FALSE(none);
  EXPECT_NE(none.error().detail.find("not-there"), std::string::npos);
}

TEST_F(JournalTest, L2_WhatWasAcknowledgedIsFoundInOrder) {
  Three(At(10));
  const auto left = *Open()->Unsettled(At(10));
  ASSERT_EQ(left.size(), 6U);
  for (int n = 0; n < 6; ++n) EXPECT_EQ(left[static_cast<std::size_t>(n)], Entry(n));
  EXPECT_TRUE(Open()->Unsettled(At(16))->empty()) << "the database has it";
}

// A crash within the last group's write: any cut and any changed byte of it leave the groups before it, and nothing of
// it.
TEST_F(JournalTest, L2_AGroupThatWasCutOffWasNeverAcknowledged) {
  Three(At(10));
  for (std::size_t at = 8192; at < 8192 + 300; at += 7) {
    Overwrite(at, 0x40);
    const auto left = Open()->Unsettled(At(10));
    ASSERT_TRUE(left) << at;
    EXPECT_EQ(left->size(), 4U) << at;
    Overwrite(at, 0x40);
  }
  EXPECT_EQ(Open()->Unsettled(At(10))->size(), 6U);
}

// A group behind one that cannot be read says that the unreadable one was acknowledged: it is not dropped silently.
TEST_F(JournalTest, L2_ADamagedGroupBeforeAnotherIsDamage) {
  Three(At(10));
  for (const std::size_t at : {std::size_t{3}, std::size_t{20}, std::size_t{100}, std::size_t{4200}}) {
    Overwrite(at, 0x01);
    const auto left = Open()->Unsettled(At(10));
    ASSERT_FALSE(left) << at;
    EXPECT_EQ(left.error().Slug(), "journal-damaged");
    Overwrite(at, 0x01);
  }
}

// Another database's groups, as after an older copy was put back under it, are kept beside and never taken over.
TEST_F(JournalTest, L8_AnotherDatabasesGroupsAreSetAside) {
  Three(At(10));
  const auto journal = Open();
  EXPECT_TRUE(journal->Unsettled(At(7))->empty());
  EXPECT_TRUE(fs::exists(File() + ".foreign-10"));
  journal->Begin(At(7));
  const std::vector<Bytes> one = {Entry(1)};
  ASSERT_TRUE(Put(*journal, one));
  EXPECT_EQ(Open()->Unsettled(At(7))->size(), 1U);
  auto other = At(7);
  other.root[0] ^= 1;
  EXPECT_TRUE(Open()->Unsettled(other)->empty()) << "as long, and another one";
  // The database that the older copy had replaced comes back: so does what it was acknowledged for.
  EXPECT_EQ(Open()->Unsettled(At(10))->size(), 6U);
}

// A round goes over the one before it; what is left of that is the database's already.
TEST_F(JournalTest, ANewRoundGoesOverTheOldOne) {
  Three(At(10));
  const auto journal = Open();
  journal->Begin(At(16));
  const std::vector<Bytes> one = {Entry(50)};
  ASSERT_TRUE(Put(*journal, one));
  const auto left = *Open()->Unsettled(At(16));
  ASSERT_EQ(left.size(), 1U);
  EXPECT_EQ(left[0], Entry(50));
}

TEST_F(JournalTest, L6_AFullOneSaysSo) {
  const auto journal = Open();
  journal->Begin(At(0));
  const std::vector<Bytes> large(1, Bytes(20000));
  int taken = 0;
  for (; journal->Fits(1, 20000); ++taken) ASSERT_TRUE(Put(*journal, large));
  EXPECT_EQ(taken, 3);
  journal->Begin(At(3));
  EXPECT_TRUE(journal->Fits(1, 20000));
}

// The ledger as a whole: entries that were acknowledged and are not in the database yet are there after a crash, here a
// copy of the folder under the running ledger, and once only.
TEST_F(JournalTest, L2_ACopyUnderWayHasEverythingAcknowledged) {
  const auto data = dir_.File("data");
  Ledger::Options options{data, std::size_t{1} << 28};
  options.settle_after = std::chrono::hours(1);  // the database is not written under the copies
  auto ledger = *Ledger::Open(options);
  const auto record = [&] {
    Submission s;
    s.evidence.emplace_back();
    s.evidence.back().outcome = "ok";
    crypto::KeyId kek{};
    s.evidence.back().uses = {{kek, Use::kWrap, 1}};
    return ledger->Record(std::move(s)).has_value();
  };
  for (std::uint64_t n = 1; n <= 40; ++n) {
    ASSERT_TRUE(record());
    const auto copy = dir_.File("copy-" + std::to_string(n));
    fs::create_directory(copy);
    for (const auto* name : {"/evidence.journal", "/data.mdb"}) fs::copy(data + name, copy + name);
    const auto other = Ledger::Open({copy, std::size_t{1} << 28});
    ASSERT_TRUE(other) << other.error().Line();
    EXPECT_EQ((*other)->HeadOf(Log::kEvidence).size, n);
    EXPECT_EQ((*other)->CountersOf(crypto::KeyId{})->wraps, n);
  }
  const auto head = ledger->HeadOf(Log::kEvidence);
  EXPECT_EQ(head.size, 40U) << "whoever asks sees what was acknowledged";
  EXPECT_EQ(*ledger->RootAt(Log::kEvidence, 40), head.root);
  ledger.reset();
  EXPECT_EQ((*Ledger::Open({data, std::size_t{1} << 28}))->HeadOf(Log::kEvidence).root, head.root);
}

// A copy of the database alone, of a service that runs or was killed, may lack what was acknowledged last: it is not
// opened as if nothing were missing, and whoever gives the rest up has that on record. Closed in order it needs
// nothing.
TEST_F(JournalTest, L2_ADatabaseWithoutItsJournalIsNotOpenedUnlessThatIsRecorded) {
  const auto data = dir_.File("data");
  const auto alone = [&](const std::string& name) {
    const auto copy = dir_.File(name);
    fs::create_directory(copy);
    fs::copy(data + "/data.mdb", copy + "/data.mdb");
    return Ledger::Options{copy, std::size_t{1} << 28};
  };
  auto ledger = *Ledger::Open({data, std::size_t{1} << 28});
  Submission s;
  s.evidence.emplace_back().outcome = "ok";
  ASSERT_TRUE(ledger->Record(std::move(s)));
  const auto acknowledged = ledger->HeadOf(Log::kEvidence).size;

  auto torn = alone("torn");
  for (int again = 0; again < 2; ++again) {
    const auto refused = Ledger::Open(torn);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().Slug(), "journal-missing");
    EXPECT_FALSE(fs::exists(torn.directory + "/evidence.journal")) << "a new one would hide that one is missing";
  }
  torn.journal_lost = 1234;
  {
    const auto given_up = Ledger::Open(torn);
    ASSERT_TRUE(given_up) << given_up.error().Line();
    std::vector<EvidenceEntry> entries;
    ASSERT_TRUE((*given_up)->Read(Log::kEvidence, 0, [&](std::uint64_t, ByteView raw) {
      entries.push_back(*DecodeEvidence(raw));
      return true;
    }));
    ASSERT_EQ(entries.size(), acknowledged + 1);
    EXPECT_EQ(entries.back().outcome, "journal-missing");
    EXPECT_EQ(entries.back().time, 1234);
  }
  torn.journal_lost.reset();
  EXPECT_EQ((*Ledger::Open(torn))->HeadOf(Log::kEvidence).size, acknowledged + 1) << "it is settled";

  ledger.reset();
  EXPECT_EQ((*Ledger::Open(alone("whole")))->HeadOf(Log::kEvidence).size, acknowledged);
}

}  // namespace
}  // namespace strongroom::ledger
