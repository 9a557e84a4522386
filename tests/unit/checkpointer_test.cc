// Signing what was recorded, and noticing what was not.

#include "appliance/checkpointer.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <lmdb.h>
#include <unistd.h>

#include "tests/support/world.h"

namespace strongroom::appliance {
namespace {

using ledger::Log;
using tests::World;

ledger::Submission Evidence(int n, const std::string& principal = "service-1") {
  ledger::Submission submission;
  for (int i = 0; i < n; ++i) {
    ledger::EvidenceEntry entry;
    entry.time = 1'795'000'000'000 + i;
    entry.request_id = "r" + std::to_string(i);
    entry.principal = principal;
    entry.outcome = "ok";
    submission.evidence.push_back(std::move(entry));
  }
  return submission;
}

// Flips one bit of a stored entry behind the ledger's back. The ledger is closed meanwhile.
void FlipStoredBit(const std::string& directory, const char* table, Bytes key_bytes) {
  MDB_env* env = nullptr;
  ASSERT_EQ(mdb_env_create(&env), 0);
  (void)mdb_env_set_maxdbs(env, 8);
  (void)mdb_env_set_mapsize(env, std::size_t{1} << 30);
  ASSERT_EQ(mdb_env_open(env, directory.c_str(), 0, 0600), 0);
  MDB_txn* txn = nullptr;
  MDB_dbi dbi = 0;
  ASSERT_EQ(mdb_txn_begin(env, nullptr, 0, &txn), 0);
  ASSERT_EQ(mdb_dbi_open(txn, table, 0, &dbi), 0);
  MDB_val key{key_bytes.size(), key_bytes.data()}, value{};
  ASSERT_EQ(mdb_get(txn, dbi, &key, &value), 0);
  Bytes changed(static_cast<std::uint8_t*>(value.mv_data), static_cast<std::uint8_t*>(value.mv_data) + value.mv_size);
  changed.back() ^= 1;
  MDB_val put{changed.size(), changed.data()};
  ASSERT_EQ(mdb_put(txn, dbi, &key, &put, 0), 0);
  ASSERT_EQ(mdb_txn_commit(txn), 0);
  mdb_env_close(env);
}

void FlipStoredBit(const std::string& directory, const char* table, std::uint64_t index) {
  const auto key = ledger::IndexKey(index);
  FlipStoredBit(directory, table, Bytes(key.begin(), key.end()));
}

class CheckpointerTest : public testing::Test {
 protected:
  void SetUp() override { w_.MakeDevKeyrings(); }
  std::unique_ptr<Checkpointer> Make() {
    auto made = std::make_unique<Checkpointer>(
        *w_.ledger, w_.token, w_.clock, [this] { return w_.governance->Snapshot(); },
        Checkpointer::Options{std::chrono::hours(1), std::chrono::hours(1)});
    made->Enable();
    return made;
  }
  Result<void> Compare() {
    return CompareWithAnchors(*w_.ledger, *w_.governance->Snapshot(), w_.token.ReadLedgerRecord()->anchors);
  }
  // Closes everything, does something to the files, opens it again.
  void Reopen(const std::function<void(const std::string& directory)>& meanwhile) {
    w_.governance.reset();
    w_.ledger.reset();
    meanwhile(w_.dir.File("data"));
    w_.Boot();
  }
  World w_;
};

TEST_F(CheckpointerTest, L7_NothingIsSignedBeforeTheAnchorsWereCompared) {
  Checkpointer checkpointer(*w_.ledger, w_.token, w_.clock, [this] { return w_.governance->Snapshot(); }, {});
  EXPECT_EQ(checkpointer.Now().error().Slug(), "not-anchored");
  EXPECT_TRUE(w_.token.ReadLedgerRecord()->anchors.empty());
}

TEST_F(CheckpointerTest, L7_HeadsAreSignedAndRememberedAsTheLogsGrow) {
  const auto checkpointer = Make();
  ASSERT_TRUE(checkpointer->Now());
  ASSERT_TRUE(w_.ledger->Record(Evidence(700)));
  const auto signed_now = checkpointer->Now();
  ASSERT_TRUE(signed_now) << signed_now.error().Line();
  EXPECT_EQ(checkpointer->Fault(), "");
  const auto key = *crypto::NoteKey::Parse(*checkpointer->VerifierKey());
  for (const auto log : {Log::kControl, Log::kEvidence}) {
    const auto stored = *w_.ledger->LatestCheckpoint(log);
    ASSERT_TRUE(stored);
    const auto note = crypto::OpenNote(stored->note, std::span(&key, 1));
    ASSERT_TRUE(note) << note.error().Line();
    const auto head = *crypto::Checkpoint::Parse(note->text);
    EXPECT_EQ(head.size, w_.ledger->HeadOf(log).size);
    EXPECT_EQ(head.root, w_.ledger->HeadOf(log).root);
  }
  EXPECT_EQ(w_.token.ReadLedgerRecord()->anchors.size(), 2U);
  EXPECT_TRUE(Compare());
}

// A bit that flips in a stored entry is found before the next signature, in what was not signed yet and in what was.
TEST_F(CheckpointerTest, L7_AFlippedBitStopsSigning) {
  for (const bool in_signed_part : {false, true}) {
    {
      const auto checkpointer = Make();
      ASSERT_TRUE(checkpointer->Now());
      ASSERT_TRUE(w_.ledger->Record(Evidence(50)));
      if (in_signed_part) ASSERT_TRUE(checkpointer->Now());
    }
    ASSERT_TRUE(w_.ledger->Record(Evidence(5)));
    const auto index = w_.ledger->HeadOf(Log::kEvidence).size - 20;
    Reopen([&](const std::string& directory) { FlipStoredBit(directory, "evidence", index); });
    {
      const auto checkpointer = Make();
      const auto anchors = w_.token.ReadLedgerRecord()->anchors;
      EXPECT_EQ(checkpointer->Now().error().Slug(), "ledger-damaged") << in_signed_part;
      EXPECT_NE(checkpointer->Fault().find("evidence"), std::string::npos);
      EXPECT_EQ(w_.token.ReadLedgerRecord()->anchors, anchors) << "the token was not asked";
    }
    Reopen([&](const std::string& directory) { FlipStoredBit(directory, "evidence", index); });
  }
}

// A bit that flips on the disk under a running service, in what was signed long ago, is found by the background
// re-hash.
TEST_F(CheckpointerTest, L7_TheBackgroundRehashFindsAFlippedBitInWhatWasSigned) {
  const std::string marker = "patrol-marker";
  ASSERT_TRUE(w_.ledger->Record(Evidence(40)));
  ASSERT_TRUE(w_.ledger->Record(Evidence(1, marker)));
  ASSERT_TRUE(w_.ledger->Record(Evidence(40)));
  Checkpointer checkpointer(
      *w_.ledger, w_.token, w_.clock, [this] { return w_.governance->Snapshot(); },
      Checkpointer::Options{std::chrono::milliseconds(5), std::chrono::hours(1), 16});
  checkpointer.Enable();
  ASSERT_TRUE(checkpointer.Now()) << checkpointer.Fault();
  const auto file = w_.dir.File("data") + "/data.mdb";
  const auto bytes = tests::ReadFile(file);
  auto at = bytes.find(marker);
  ASSERT_NE(at, std::string::npos);
  const int fd = open(file.c_str(), O_WRONLY | O_CLOEXEC);
  for (; at != std::string::npos; at = bytes.find(marker, at + 1))
    ASSERT_EQ(pwrite(fd, "X", 1, static_cast<off_t>(at)), 1);
  (void)close(fd);
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!checkpointer.Tampered() && std::chrono::steady_clock::now() < until) std::this_thread::yield();
  EXPECT_TRUE(checkpointer.Tampered());
  ASSERT_TRUE(w_.ledger->Record(Evidence(1)));
  EXPECT_EQ(checkpointer.Now().error().Slug(), "ledger-damaged");
}

// Is what is left of archived evidence signed on and read again, round and round, without a false alarm, and is a hash
// of it that has changed found? And does evidence go without votes, or before a signed head says that it may?
TEST_F(CheckpointerTest, L7_ArchivedEvidenceIsHeldByItsHashes) {
  const auto archive = [&] {
    return w_.Done("ledger.archive", "", {{"before", FormatTime(w_.clock.Now())}, {"where", "the safe"}});
  };
  {
    Checkpointer checkpointer(
        *w_.ledger, w_.token, w_.clock, [this] { return w_.governance->Snapshot(); },
        Checkpointer::Options{std::chrono::milliseconds(15), std::chrono::hours(1), 16});
    checkpointer.Enable();
    EXPECT_EQ(archive().error().Slug(), "nothing-to-archive");
    ASSERT_TRUE(w_.ledger->Record(Evidence(1000)));
    ASSERT_TRUE(checkpointer.Now());
    // A round over a thousand entries has begun and takes a second: what is archived next goes beyond it.
    for (int i = 0; i < 3; ++i) {
      ASSERT_TRUE(w_.ledger->Record(Evidence(600)));
      ASSERT_TRUE(checkpointer.Now());
      const auto before = w_.ledger->FirstStored(Log::kEvidence);
      ASSERT_TRUE(archive());
      ASSERT_TRUE(w_.governance->TrimArchived());
      const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(10);
      while (w_.ledger->FirstStored(Log::kEvidence) < w_.governance->Snapshot()->ledger.archived &&
             std::chrono::steady_clock::now() < until)
        ASSERT_TRUE(checkpointer.Now() && w_.governance->TrimArchived());
      EXPECT_GT(w_.ledger->FirstStored(Log::kEvidence), before);
      const auto settle = std::chrono::steady_clock::now() + std::chrono::milliseconds(300);
      while (std::chrono::steady_clock::now() < settle) std::this_thread::yield();  // some rounds
      EXPECT_FALSE(checkpointer.Tampered()) << checkpointer.Fault();
      ASSERT_TRUE(checkpointer.Now()) << checkpointer.Fault();
    }
  }
  const auto first = w_.ledger->FirstStored(Log::kEvidence);
  EXPECT_EQ(first % 256, 0U);
  Reopen([](const std::string&) {});
  EXPECT_EQ(w_.ledger->FirstStored(Log::kEvidence), first);
  EXPECT_TRUE(Compare());
  ASSERT_TRUE(w_.ledger->Record(Evidence(3)));
  ASSERT_TRUE(Make()->Now()) << "a start goes on from the hashes";
  ASSERT_TRUE(LoadVerified(*w_.ledger));
  const Bytes tile = {1, 0, 0, 0, 0, 0, 0, 0, 0, 2};  // of the evidence log, leaves, the third
  Reopen([&](const std::string& directory) { FlipStoredBit(directory, "tiles", tile); });
  ASSERT_TRUE(w_.ledger->Record(Evidence(3)));
  EXPECT_EQ(Make()->Now().error().Slug(), "ledger-damaged");
  Reopen([&](const std::string& directory) { FlipStoredBit(directory, "tiles", tile); });
  EXPECT_TRUE(Make()->Now());
  // More than votes have archived: somebody else has deleted it.
  ledger::Submission more;
  more.trim = first + 512;
  ASSERT_TRUE(w_.ledger->Record(Evidence(700)));
  ASSERT_TRUE(w_.ledger->Record(std::move(more)));
  EXPECT_EQ(LoadVerified(*w_.ledger).error().Slug(), "ledger-damaged");
}

// L8: an older copy of the database, another one, and none do not extend what the token has signed.
TEST_F(CheckpointerTest, L8_AnOlderOrAnotherDatabaseIsNotTheOneThatWasSigned) {
  const auto older = w_.dir.File("older");
  Reopen([&](const std::string& directory) {
    std::filesystem::copy(directory, older, std::filesystem::copy_options::recursive);
  });
  {
    const auto checkpointer = Make();
    ASSERT_TRUE(w_.ledger->Record(Evidence(300)));
    ASSERT_TRUE(checkpointer->Now());
  }
  ASSERT_TRUE(Compare());
  const auto newer = w_.dir.File("newer");
  Reopen([&](const std::string& directory) {
    std::filesystem::rename(directory, newer);
    std::filesystem::copy(older, directory, std::filesystem::copy_options::recursive);
  });
  EXPECT_EQ(Compare().error().Slug(), "rollback") << "shorter than what was signed";
  // As long as the one that was signed, but with another past.
  ASSERT_TRUE(w_.ledger->Record(Evidence(500, "service-2")));
  EXPECT_EQ(Compare().error().Slug(), "rollback") << "another past";
  {
    const auto checkpointer = Make();
    EXPECT_EQ(checkpointer->Now().error().Slug(), "log-forked") << "nor does the token sign it";
  }
  auto foreign = w_.token.ReadLedgerRecord()->anchors;
  for (auto& anchor : foreign) anchor.origin = crypto::ControlOrigin(crypto::RandomArray<16>());
  EXPECT_EQ(CompareWithAnchors(*w_.ledger, *w_.governance->Snapshot(), foreign).error().Slug(), "rollback")
      << "another instance's token";
  Reopen([&](const std::string& directory) {
    std::filesystem::remove_all(directory);
    std::filesystem::rename(newer, directory);
  });
  EXPECT_TRUE(Compare()) << "the right one is whole again";
}

// A token that is away is asked again; what was recorded meanwhile is signed then.
TEST_F(CheckpointerTest, L8_ATokenThatIsAwayIsAskedAgain) {
  const auto checkpointer = Make();
  ASSERT_TRUE(checkpointer->Now());
  w_.token.SetAway(true);
  ASSERT_TRUE(w_.ledger->Record(Evidence(3)));
  EXPECT_EQ(checkpointer->Now().error().code, Code::kUnavailable);
  EXPECT_NE(checkpointer->Fault(), "");
  w_.token.SetAway(false);
  EXPECT_TRUE(checkpointer->Now());
  EXPECT_EQ((*w_.ledger->LatestCheckpoint(Log::kEvidence))->size, w_.ledger->HeadOf(Log::kEvidence).size);
}

// L10: an idle log says that it is idle.
TEST_F(CheckpointerTest, L10_AnIdleLogGetsHeartbeats) {
  Checkpointer checkpointer(*w_.ledger, w_.token, w_.clock, [this] { return w_.governance->Snapshot(); },
                            {std::chrono::milliseconds(5), std::chrono::milliseconds(20)});
  checkpointer.Enable();
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (w_.ledger->HeadOf(Log::kEvidence).size < 3 && std::chrono::steady_clock::now() < until)
    std::this_thread::yield();
  std::string outcome;
  ASSERT_TRUE(w_.ledger->Read(Log::kEvidence, 0, [&](std::uint64_t, ByteView raw) {
    outcome = ledger::DecodeEvidence(raw)->outcome;
    return true;
  }));
  EXPECT_EQ(outcome, "heartbeat");
}

}  // namespace
}  // namespace strongroom::appliance
