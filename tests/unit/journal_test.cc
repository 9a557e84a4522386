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
  // The one of the test's id, or a new one.
  std::unique_ptr<Journal> Open(const Journal::Base& base = At(0)) {
    auto journal = id_ ? std::move(Journal::Find(dir_.path(), id_, base)->journal) : nullptr;
    if (!journal) journal = *Journal::Create(dir_.path(), kBytes);
    id_ = journal->id();
    return journal;
  }
  Result<Journal::Found> FoundAt(const Journal::Base& base) { return Journal::Find(dir_.path(), id_, base); }
  std::string File() const { return dir_.path() + "/evidence.journal"; }
  void Overwrite(std::size_t at, std::uint8_t mask) const {
    std::fstream file(File(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(at));
    const auto byte = static_cast<char>(file.get() ^ mask);
    file.seekp(static_cast<std::streamoff>(at));
    file.put(byte);
  }
  static Journal::Base At(std::uint64_t size) { return {size, crypto::Sha256(AsBytes(std::to_string(size)))}; }
  // Three groups of two entries behind `base`, each a block of 4096 bytes, behind the first block, which names the
  // file.
  void Three(const Journal::Base& base) {
    const auto journal = Open(base);
    journal->Begin(base);
    for (int n = 0; n < 3; ++n) {
      const std::vector<Bytes> group = {Entry(2 * n), Entry(2 * n + 1)};
      ASSERT_TRUE(Put(*journal, group));
    }
  }
  tests::TempDir dir_;
  std::optional<Journal::Id> id_;
};

TEST_F(JournalTest, ANewOneHasNothingAndAnUnusableFolderIsNamed) {
  const auto fresh = Open();
  EXPECT_TRUE(FoundAt(At(0))->entries.empty());
  const auto none = Journal::Create(dir_.File("not-there"), kBytes);
  ASSERT_FALSE(none);
  EXPECT_NE(none.error().detail.find("not-there"), std::string::npos);
}

TEST_F(JournalTest, L2_WhatWasAcknowledgedIsFoundInOrder) {
  Three(At(10));
  const auto left = *FoundAt(At(10));
  ASSERT_EQ(left.entries.size(), 6U);
  for (int n = 0; n < 6; ++n) EXPECT_EQ(left.entries[static_cast<std::size_t>(n)], Entry(n));
  EXPECT_TRUE(FoundAt(At(16))->entries.empty()) << "the database has it";
}

// A crash within the last group's write: any cut and any changed byte of it leave the groups before it, and nothing of
// it.
TEST_F(JournalTest, L2_AGroupThatWasCutOffWasNeverAcknowledged) {
  Three(At(10));
  for (std::size_t at = 3 * 4096; at < 3 * 4096 + 300; at += 7) {
    Overwrite(at, 0x40);
    const auto left = FoundAt(At(10));
    ASSERT_TRUE(left) << at;
    EXPECT_EQ(left->entries.size(), 4U) << at;
    Overwrite(at, 0x40);
  }
  EXPECT_EQ(FoundAt(At(10))->entries.size(), 6U);
}

// A group behind one that cannot be read says that the unreadable one was acknowledged: it is not dropped silently.
TEST_F(JournalTest, L2_ADamagedGroupBeforeAnotherIsDamage) {
  Three(At(10));
  for (const std::size_t at : {3, 20, 100, 4200}) {
    Overwrite(4096 + at, 0x01);
    const auto left = FoundAt(At(10));
    ASSERT_FALSE(left) << at;
    EXPECT_EQ(left.error().Slug(), "journal-damaged");
    Overwrite(4096 + at, 0x01);
  }
}

// A file that says another name, or none, is not this one; and of this one no byte may be missing.
TEST_F(JournalTest, L2_OnlyTheWholeFileOfThisNameIsFound) {
  Three(At(10));
  const auto found = [&](const Journal::Id& id) { return Journal::Find(dir_.path(), id, At(10))->journal != nullptr; };
  EXPECT_TRUE(found(*id_));
  EXPECT_FALSE(found(crypto::RandomArray<16>()));
  for (const std::size_t at : {0, 9, 25, 40}) {
    Overwrite(at, 0x01);
    EXPECT_FALSE(found(*id_)) << at;
    Overwrite(at, 0x01);
  }
  for (const std::uintmax_t size : {std::uintmax_t{kBytes} - 1, std::uintmax_t{3 * 4096}, std::uintmax_t{4096}}) {
    fs::resize_file(File(), size);
    const auto cut = FoundAt(At(10));
    ASSERT_FALSE(cut) << size;
    EXPECT_EQ(cut.error().Slug(), "journal-damaged");
  }
  fs::resize_file(File(), 0);
  EXPECT_FALSE(found(*id_)) << "an empty one is none";
}

// A file beside that cannot be read is no journal's end, and is not passed over where there is nothing else.
TEST_F(JournalTest, L2_AStrayFileDoesNotHideTheRightOne) {
  Three(At(10));
  fs::create_directory(File() + ".bak");
  EXPECT_EQ(FoundAt(At(10))->entries.size(), 6U);
  EXPECT_NE(FoundAt(At(16))->journal, nullptr) << "the database has it";
  fs::rename(File(), dir_.File("elsewhere"));
  EXPECT_FALSE(FoundAt(At(10)));
}

// A journal that went on with a newer database, as when an older copy was put back under it, is kept beside under its
// id and never taken over; when its own database comes back it is found again, whatever came between, and however
// often.
TEST_F(JournalTest, L8_AnotherDatabasesGroupsAreSetAside) {
  Three(At(10));
  auto other = At(10);
  other.root[0] ^= 1;
  for (const auto& base : {other, At(7)}) {
    const auto found = *FoundAt(base);
    EXPECT_EQ(found.journal, nullptr) << "shorter, or as long and another one";
    EXPECT_TRUE(found.entries.empty());
  }
  const auto first = *id_;
  std::vector<Journal::Id> later;
  for (std::uint64_t n = 0; n < 3; ++n) {
    id_.reset();
    const auto journal = Open();
    journal->Begin(At(7));
    const std::vector<Bytes> one = {Entry(static_cast<int>(n))};
    ASSERT_TRUE(Put(*journal, one));
    later.push_back(*id_);
  }
  const auto again = *Journal::Find(dir_.path(), first, At(10));
  ASSERT_NE(again.journal, nullptr);
  EXPECT_FALSE(again.journal->Usable()) << "it was set aside";
  EXPECT_EQ(again.entries.size(), 6U);
  for (const auto& id : later) EXPECT_EQ(Journal::Find(dir_.path(), id, At(7))->entries.size(), 1U);
  EXPECT_FALSE(fs::exists(File() + ".new"));
}

// One that has nothing is not kept for ever.
TEST_F(JournalTest, AnEmptyOneIsWrittenOver) {
  for (int n = 0; n < 4; ++n) ASSERT_TRUE(Journal::Create(dir_.path(), kBytes));
  EXPECT_EQ(std::distance(fs::directory_iterator(dir_.path()), fs::directory_iterator()), 1);
}

// Of two copies of one journal the one that has what this database lacks is taken, wherever it lies: the one that went
// further as well as the one that did not; and where only a later and an earlier one are left, neither is.
TEST_F(JournalTest, L2_TheCopyThatFitsTheDatabaseIsTheOne) {
  Three(At(10));
  fs::copy(File(), File() + ".older");
  {
    const auto journal = Open(At(16));
    journal->Begin(At(16));
    const std::vector<Bytes> one = {Entry(50)};
    ASSERT_TRUE(Put(*journal, one));
  }
  for (int swapped = 0; swapped < 2; ++swapped) {
    EXPECT_EQ(FoundAt(At(16))->entries.size(), 1U) << swapped;
    EXPECT_EQ(FoundAt(At(10))->entries.size(), 6U) << swapped;
    EXPECT_EQ(FoundAt(At(13))->journal, nullptr) << swapped;
    fs::rename(File(), File() + ".newer");
    fs::rename(File() + ".older", File());
    fs::rename(File() + ".newer", File() + ".older");
  }
}

// A round goes over the one before it; what is left of that is the database's already.
TEST_F(JournalTest, ANewRoundGoesOverTheOldOne) {
  Three(At(10));
  const auto journal = Open(At(16));
  journal->Begin(At(16));
  const std::vector<Bytes> one = {Entry(50)};
  ASSERT_TRUE(Put(*journal, one));
  const auto left = *FoundAt(At(16));
  ASSERT_EQ(left.entries.size(), 1U);
  EXPECT_EQ(left.entries[0], Entry(50));
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

// What a database needs beside it, when it was not closed in order: is each thing that is not exactly that refused, and
// does each of its own entries come back where it is?
class JournalOfALedger : public JournalTest {
 protected:
  static constexpr std::size_t kMap = std::size_t{1} << 28;
  // A folder as a killed service leaves it: two entries in the database, three more in the journal alone.
  void SetUp() override {
    Ledger::Options options{dir_.File("data"), kMap};
    options.settle_after = std::chrono::hours(1);
    const auto ledger = *Ledger::Open(options);
    Record(*ledger, 2);
    ASSERT_EQ(ledger->HeadOf(Log::kEvidence).size, 2U);
    Record(*ledger, 3);
    fs::create_directory(Killed());
    for (const auto* name : {"/data.mdb", "/evidence.journal"}) fs::copy(dir_.File("data") + name, Killed() + name);
  }
  static void Record(Ledger& ledger, int entries, Millis time = 5000) {
    for (int n = 0; n < entries; ++n) {
      Submission s;
      s.evidence.emplace_back().outcome = "ok";
      s.evidence.back().time = time;
      ASSERT_TRUE(ledger.Record(std::move(s)));
    }
  }
  std::string Killed() const { return dir_.File("killed"); }
  std::string JournalFile() const { return Killed() + "/evidence.journal"; }
  std::string Refusal() const {
    const auto opened = Ledger::Open({Killed(), kMap});
    return opened ? "opened" : std::string(opened.error().Slug());
  }
  std::uint64_t Entries() const {
    const auto opened = Ledger::Open({Killed(), kMap});
    EXPECT_TRUE(opened) << opened.error().Line();
    return opened ? (*opened)->HeadOf(Log::kEvidence).size : 0;
  }
};

TEST_F(JournalOfALedger, L2_NothingButItsOwnJournalWillDo) {
  const auto kept = dir_.File("kept");
  fs::rename(JournalFile(), kept);
  for (int again = 0; again < 2; ++again) EXPECT_EQ(Refusal(), "journal-missing") << again;
  EXPECT_FALSE(fs::exists(JournalFile())) << "a new one would hide that one is missing";
  std::ofstream(JournalFile()).flush();
  EXPECT_EQ(Refusal(), "journal-missing") << "empty";
  ASSERT_TRUE(Journal::Create(Killed(), kBytes));
  EXPECT_EQ(Refusal(), "journal-missing") << "new";
  {
    const auto strange = *Ledger::Open({dir_.File("another"), kMap});
    Record(*strange, 9);
  }
  fs::copy(dir_.File("another") + "/evidence.journal", JournalFile(), fs::copy_options::overwrite_existing);
  EXPECT_EQ(Refusal(), "journal-missing") << "another database's";
  fs::copy(kept, JournalFile(), fs::copy_options::overwrite_existing);
  fs::resize_file(JournalFile(), 2 * 4096);
  EXPECT_EQ(Refusal(), "journal-damaged") << "cut";
  fs::remove(JournalFile());
  fs::copy(kept, JournalFile() + ".somewhere-beside");
  EXPECT_EQ(Entries(), 5U) << "it is known by its id";
  EXPECT_EQ(Entries(), 5U) << "once";
}

TEST_F(JournalOfALedger, L2_GivingItUpIsOnRecordAndNotTakenBackSilently) {
  const auto kept = dir_.File("kept");
  fs::rename(JournalFile(), kept);
  Ledger::Options options{Killed(), kMap};
  options.journal_lost = 1234;
  {
    const auto given_up = Ledger::Open(options);
    ASSERT_TRUE(given_up) << given_up.error().Line();
    EXPECT_TRUE((*given_up)->GaveUpJournal());
    std::vector<EvidenceEntry> entries;
    ASSERT_TRUE((*given_up)->Read(Log::kEvidence, 0, [&](std::uint64_t, ByteView raw) {
      entries.push_back(*DecodeEvidence(raw));
      return true;
    }));
    ASSERT_EQ(entries.size(), 3U);
    EXPECT_EQ(entries.back().outcome, "journal-missing");
    EXPECT_EQ(entries.back().time, 5000) << "recorded time does not run back, whatever the clock of who gives up says";
    Record(**given_up, 4);
  }
  EXPECT_FALSE((*Ledger::Open(options))->GaveUpJournal()) << "nothing is missing any more";
  // It turns up after all, in the place of the one that is in use: it is neither taken over nor written over.
  fs::copy(kept, JournalFile(), fs::copy_options::overwrite_existing);
  EXPECT_EQ(Entries(), 7U);
  std::size_t aside = 0;
  for (const auto& entry : fs::directory_iterator(Killed()))
    aside += entry.path().string().starts_with(JournalFile() + ".") && fs::file_size(entry) == fs::file_size(kept);
  EXPECT_EQ(aside, 1U);
}

// Closed in order a database needs nothing beside it, and what lies there is not its matter.
TEST_F(JournalOfALedger, L2_ClosedInOrderItNeedsNothing) {
  EXPECT_EQ(Entries(), 5U);
  fs::resize_file(JournalFile(), 100);
  EXPECT_EQ(Entries(), 5U) << "a part of the one it had";
  fs::remove(JournalFile());
  EXPECT_EQ(Entries(), 5U);
  Ledger::Options without{Killed(), kMap};
  without.journal_bytes = 0;
  EXPECT_EQ((*Ledger::Open(without))->HeadOf(Log::kEvidence).size, 5U);
}

// An older copy of the database goes on for a while, and then the newer one comes back: what it was acknowledged for
// comes with it.
TEST_F(JournalOfALedger, L8_ANewerDatabaseThatComesBackFindsItsJournal) {
  const auto newer = dir_.File("newer");
  fs::copy(Killed() + "/data.mdb", newer);
  fs::remove(Killed() + "/data.mdb");
  {
    const auto older = *Ledger::Open({Killed(), kMap});
    Record(*older, 1);
  }
  fs::copy(newer, Killed() + "/data.mdb", fs::copy_options::overwrite_existing);
  EXPECT_EQ(Entries(), 5U);
  EXPECT_EQ(Entries(), 5U);
}

// The journal went on without an older copy of the database that was under way: what that one was acknowledged for may
// have been written over, and it is not opened as if it had not.
TEST_F(JournalOfALedger, L8_AnOlderCopyUnderANewerJournalIsNotOpenedSilently) {
  const auto older = dir_.File("older");
  fs::copy(Killed() + "/data.mdb", older);
  {
    const auto ledger = *Ledger::Open({Killed(), kMap});
    Record(*ledger, 2);
  }
  fs::copy(older, Killed() + "/data.mdb", fs::copy_options::overwrite_existing);
  EXPECT_EQ(Refusal(), "journal-missing");
  Ledger::Options options{Killed(), kMap};
  options.journal_lost = 1;
  EXPECT_EQ((*Ledger::Open(options))->HeadOf(Log::kEvidence).size, 3U);
  EXPECT_EQ(Entries(), 3U);
}

// What the build before this one left, whose journals had no name: its acknowledged entries are taken over once.
TEST_F(JournalOfALedger, L2_AnUnnamedOneOfAnEarlierBuildIsTakenOver) {
  // Its first block goes, and the database's mark: as that build wrote both.
  const auto bytes = tests::ReadFile(JournalFile());
  std::ofstream(JournalFile(), std::ios::binary | std::ios::trunc) << bytes.substr(4096) << std::string(4096, 0);
  {
    const auto env = *Env::Open(Killed(), kMap);
    auto txn = *env->Write();
    ASSERT_TRUE(txn.Delete(Table::kMeta, AsBytes("journal")));
    ASSERT_TRUE(txn.Commit());
  }
  EXPECT_EQ(Entries(), 5U);
  EXPECT_EQ(Entries(), 5U);
  fs::remove(JournalFile());
  EXPECT_EQ(Entries(), 5U) << "they are in the database";
}

}  // namespace
}  // namespace strongroom::ledger
