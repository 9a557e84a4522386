#include "ledger/ledger.h"

#include <gtest/gtest.h>

#include <future>
#include <set>
#include <thread>

#include "tests/support/temp_dir.h"

namespace strongroom::ledger {
namespace {

EvidenceEntry Evidence(int n) {
  EvidenceEntry e;
  e.time = 1000 + n;
  e.request_id = "r" + std::to_string(n);
  e.principal = "service-1";
  e.operation = Operation::kRewrap;
  e.keyring = "install";
  e.items = 2;
  e.digest.fill(static_cast<std::uint8_t>(n));
  e.outcome = "ok";
  crypto::KeyId kek{};
  kek.fill(7);
  e.uses = {{kek, Use::kRewrapTo, 2}, {kek, Use::kRewrapFrom, 2}};
  return e;
}

std::vector<ControlEntry> Controls() {
  return {{1, Genesis{"roster", {{"custodian-1", "sig"}}}},
          {2, ProposalFiled{"text"}},
          {3, VoteCast{"id", {"custodian-1", crypto::Verdict::kReject, "sig"}}},
          {4, ProposalWithdrawn{"id", "operator-1"}},
          {5, ProposalConsumed{"id", "operator-1"}},
          {6, KeyringCreated{{1}, "org-a", crypto::Suite::kGcm, "token:x", "none"}},
          {7, VersionAnnounced{{1}, 9, crypto::Suite::kKwp, "token:x", {2}, "x"}},
          {8, VersionActivated{{1}, 9}},
          {9, ExecutionSettled{"id", false, "slug", "detail"}},
          {33, ProposalsClosed{"id", "custodian-1", {"one", "two"}}},
          {34, ProposalsForgotten{1'700'000'000'000}}};
}

TEST(Entries, EveryKindComesBack) {
  for (const auto& entry : Controls()) {
    const auto bytes = Encode(entry);
    const auto decoded = DecodeControl(bytes);
    ASSERT_TRUE(decoded) << KindName(entry.body);
    EXPECT_EQ(Encode(*decoded), bytes) << KindName(entry.body);
    EXPECT_EQ(KindName(decoded->body), KindName(entry.body));
  }
  EXPECT_EQ(*DecodeEvidence(Encode(Evidence(3))), Evidence(3));
}

TEST(Entries, CutLengthenedAndUnknownBytesAreRefused) {
  for (const auto& entry : Controls()) {
    const auto bytes = Encode(entry);
    for (std::size_t n = 0; n < bytes.size(); ++n)
      EXPECT_FALSE(DecodeControl(ByteView(bytes).first(n))) << KindName(entry.body) << n;
    auto changed = bytes;
    changed.push_back(0);
    EXPECT_FALSE(DecodeControl(changed));
    changed = bytes;
    changed[0] = 2;
    EXPECT_FALSE(DecodeControl(changed)) << "a newer format is not guessed at";
    changed = bytes;
    changed[1] = 200;
    EXPECT_FALSE(DecodeControl(changed));
  }
  const auto bytes = Encode(Evidence(1));
  for (std::size_t n = 0; n < bytes.size(); ++n) EXPECT_FALSE(DecodeEvidence(ByteView(bytes).first(n)));
}

class LedgerTest : public testing::Test {
 protected:
  std::unique_ptr<Ledger> Open(std::size_t map_bytes = std::size_t{1} << 30, std::size_t queue = 16384) {
    auto ledger = Ledger::Open({dir_.File("data"), map_bytes, queue});
    EXPECT_TRUE(ledger) << (ledger ? "" : ledger.error().Line());
    return ledger ? std::move(*ledger) : nullptr;
  }
  static Submission WithEvidence(int n) {
    Submission s;
    s.evidence.push_back(Evidence(n));
    return s;
  }
  tests::TempDir dir_;
};

// While the writer hangs, in its disk or, here, in somebody's `then`, with evidence acknowledged that the database does
// not have: does all that the status and the metrics read answer, and tell no less than was acknowledged where it must?
TEST_F(LedgerTest, L11_WhatTheStatusReadsWaitsForNobody) {
  auto options = Ledger::Options{dir_.File("data"), std::size_t{1} << 30};
  options.settle_after = std::chrono::hours(1);
  const auto ledger = *Ledger::Open(options);
  auto evidence = WithEvidence(1);
  const auto kek = evidence.evidence[0].uses.at(0).kek;
  std::promise<void> stuck, go_on;
  ASSERT_TRUE(ledger->Submit(std::move(evidence), [&](const Ticket&, const Result<Committed>& committed) {
    EXPECT_TRUE(committed);
    stuck.set_value();
    go_on.get_future().wait();
  }));
  stuck.get_future().wait();
  auto asked = std::async(std::launch::async, [&] {
    EXPECT_FALSE(ledger->Failed());
    EXPECT_TRUE(ledger->CheckSpace());
    EXPECT_EQ(ledger->SettledHead(Log::kEvidence).size, 0U) << "it lies in the journal alone";
    EXPECT_TRUE(ledger->SettledCounters(kek));
    const auto now = *ledger->CountersNow(kek);
    EXPECT_GT(now.wraps + now.unwraps + now.rewraps_to + now.rewraps_from, 0U) << "acknowledged and not counted (K4)";
  });
  const bool answered = asked.wait_for(std::chrono::seconds(20)) == std::future_status::ready;
  go_on.set_value();
  EXPECT_TRUE(answered) << "a status that hangs with the disk";
  asked.get();
  EXPECT_EQ(ledger->HeadOf(Log::kEvidence).size, 1U);
}

TEST_F(LedgerTest, ASecondLedgerOnTheSameDataIsRefused) {
  const auto first = Open();
  const auto second = Ledger::Open({dir_.File("data")});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().Slug(), "already-running");
  EXPECT_TRUE(first->Record(WithEvidence(1)));
}

TEST_F(LedgerTest, AnUnusableDirectoryIsAnErrorThatNamesIt) {
  (void)dir_.Write("file", "x");
  const auto refused = Ledger::Open({dir_.File("file") + "/data"});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().Slug(), "data-directory");
  EXPECT_NE(refused.error().detail.find(dir_.File("file")), std::string::npos);
}

TEST_F(LedgerTest, L1_HeadsAndEntriesSurviveReopening) {
  Head control, evidence;
  {
    const auto ledger = Open();
    for (int i = 0; i < 50; ++i) {
      auto s = WithEvidence(i);
      s.control.push_back({i, ProposalFiled{"p" + std::to_string(i)}});
      s.rows.push_back({"row/" + std::to_string(i % 7), Bytes{static_cast<std::uint8_t>(i)}});
      ASSERT_TRUE(ledger->Record(std::move(s)));
    }
    control = ledger->HeadOf(Log::kControl);
    evidence = ledger->HeadOf(Log::kEvidence);
  }
  const auto ledger = Open();
  EXPECT_EQ(ledger->HeadOf(Log::kControl).root, control.root);
  EXPECT_EQ(ledger->HeadOf(Log::kEvidence).root, evidence.root);
  EXPECT_EQ(evidence.size, 50U);
  crypto::MerkleFrontier tree;
  std::uint64_t expected = 0;
  ASSERT_TRUE(ledger->Read(Log::kEvidence, 0, [&](std::uint64_t index, ByteView raw) {
    EXPECT_EQ(index, expected);
    EXPECT_EQ(*DecodeEvidence(raw), Evidence(static_cast<int>(expected)));
    ++expected;
    tree.Append(crypto::LeafHash(raw));
    return true;
  }));
  EXPECT_EQ(tree.Root(), evidence.root);
  int rows = 0;
  ASSERT_TRUE(ledger->ReadState([&](std::string_view, ByteView) { return ++rows > 0; }));
  EXPECT_EQ(rows, 7);
}

TEST_F(LedgerTest, K4_CountersAreDurableAndSummed) {
  crypto::KeyId kek{};
  kek.fill(7);
  {
    const auto ledger = Open();
    for (int i = 0; i < 10; ++i) ASSERT_TRUE(ledger->Record(WithEvidence(i)));
  }
  const auto counters = Open()->CountersOf(kek);
  ASSERT_TRUE(counters);
  EXPECT_EQ(counters->rewraps_to, 20U);
  EXPECT_EQ(counters->rewraps_from, 20U);
  EXPECT_EQ(counters->wraps, 0U);
  EXPECT_EQ(counters->last_use, 1009);
}

TEST_F(LedgerTest, L6_AFullQueueIsAnAnswerAndNotMemory) {
  const auto ledger = Open(std::size_t{1} << 30, 10);
  Submission big;
  for (int i = 0; i < 20; ++i) big.evidence.push_back(Evidence(i));
  EXPECT_EQ(ledger->Submit(std::move(big)).error().code, Code::kOverloaded);
  EXPECT_TRUE(ledger->Record(WithEvidence(1)));
}

TEST_F(LedgerTest, L6_ManyThreadsShareCommitsAndEachIsRecordedOnce) {
  const auto ledger = Open();
  std::vector<std::thread> threads;
  for (int t = 0; t < 16; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 25; ++i) EXPECT_TRUE(ledger->Record(WithEvidence(t * 25 + i)));
    });
  for (auto& t : threads) t.join();
  std::set<std::string> seen;
  ASSERT_TRUE(ledger->Read(Log::kEvidence, 0, [&](std::uint64_t, ByteView raw) {
    return seen.insert(DecodeEvidence(raw)->request_id).second;
  }));
  EXPECT_EQ(seen.size(), 400U);
}

// L11 as far as it goes here: when nothing more can be written the ledger says so and stays shut, and what was
// acknowledged is there.
TEST_F(LedgerTest, L11_AFullMapFailsClosed) {
  int acknowledged = 0;
  {
    const auto ledger = Open(256 << 10);
    std::optional<Error> failure;
    for (int i = 0; i < 5000 && !failure; ++i) {
      const auto recorded = ledger->Record(WithEvidence(i));
      if (recorded)
        ++acknowledged;
      else
        failure = recorded.error();
    }
    ASSERT_TRUE(failure);
    EXPECT_EQ(failure->Slug(), "ledger-failed");
    EXPECT_TRUE(ledger->Failed());
    EXPECT_FALSE(ledger->Submit(WithEvidence(0)));
  }
  EXPECT_GT(acknowledged, 10);
  EXPECT_EQ(Open()->HeadOf(Log::kEvidence).size, static_cast<std::uint64_t>(acknowledged));
}

TEST_F(LedgerTest, AChangedDatabaseDoesNotOpen) {
  for (const bool control : {true, false}) {
    {
      const auto ledger = Open();
      Submission s = WithEvidence(1);
      s.control.push_back({1, ProposalFiled{"p"}});
      ASSERT_TRUE(ledger->Record(std::move(s)));
    }
    {
      auto env = Env::Open(dir_.File("data"), std::size_t{1} << 30);
      ASSERT_TRUE(env);
      auto txn = (*env)->Write();
      if (control)
        ASSERT_TRUE(txn->Put(Table::kControl, IndexKey(0), AsBytes("forged")));
      else
        ASSERT_TRUE(txn->Delete(Table::kEvidence, IndexKey(0)));
      ASSERT_TRUE(txn->Commit());
    }
    const auto refused = Ledger::Open({dir_.File("data"), std::size_t{1} << 30});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().Slug(), "ledger-damaged");
    std::filesystem::remove_all(dir_.File("data"));
  }
}

// Does a staged answer stay shut for a commit that does not cover it?
TEST_F(LedgerTest, L3_StagedOpensOnlyWithItsOwnCommit) {
  const auto ledger = Open();
  const auto first = ledger->Submit(WithEvidence(1));
  const auto committed = ledger->Wait(*first);
  const auto second = ledger->Submit(WithEvidence(2));
  EXPECT_FALSE(committed->Covers(*second));
  EXPECT_DEATH((void)(Staged<int>(7, *second).Open(*committed)), "");
  EXPECT_EQ((Staged<int>(7, *second).Open(*ledger->Wait(*second))), 7);
}

// L1: roots, proofs and tiles of a stored log are those of its entries, over tile borders, after a reopening, and for a
// database that has no tiles yet.
TEST(LedgerTree, L1_TilesRootsAndProofsFollowFromTheEntries) {
  tests::TempDir dir;
  std::vector<crypto::Digest> leaves;
  crypto::MerkleFrontier frontier;
  std::vector<crypto::Digest> roots = {frontier.Root()};
  constexpr int kEntries = 66'000;  // more than one whole tile of level 1
  for (int part = 0; part < 3; ++part) {
    const auto ledger = Ledger::Open({dir.File("data")});
    ASSERT_TRUE(ledger);
    for (int i = 0; i < kEntries / 3; i += 2000) {
      Submission submission;
      for (int n = 0; n < 2000; ++n) {
        submission.evidence.push_back(Evidence(static_cast<int>(leaves.size())));
        leaves.push_back(crypto::LeafHash(Encode(submission.evidence.back())));
        frontier.Append(leaves.back());
        roots.push_back(frontier.Root());
      }
      ASSERT_TRUE((*ledger)->Record(std::move(submission)));
    }
  }
  const auto check = [&](const Ledger& ledger) {
    EXPECT_EQ(ledger.HeadOf(Log::kEvidence).root, frontier.Root());
    const auto size = frontier.size();
    for (const std::uint64_t n : {std::uint64_t{1}, std::uint64_t{255}, std::uint64_t{256}, std::uint64_t{257},
                                  std::uint64_t{65535}, std::uint64_t{65536}, std::uint64_t{65537}, size}) {
      ASSERT_EQ(*ledger.RootAt(Log::kEvidence, n), roots[n]) << n;
      const auto path = ledger.InclusionProof(Log::kEvidence, n - 1, size);
      ASSERT_TRUE(path);
      EXPECT_TRUE(crypto::VerifyInclusion(n - 1, size, leaves[n - 1], *path, frontier.Root())) << n;
      const auto proof = ledger.ConsistencyProof(Log::kEvidence, n, size);
      ASSERT_TRUE(proof);
      EXPECT_TRUE(crypto::VerifyConsistency(n, size, roots[n], frontier.Root(), *proof)) << n;
    }
    const auto tile = ledger.Tile(Log::kEvidence, 0, 1, 256);
    ASSERT_TRUE(tile);
    EXPECT_TRUE(std::equal(leaves[256].begin(), leaves[256].end(), tile->begin()));
    EXPECT_EQ(ledger.Tile(Log::kEvidence, 1, 0, 256)->size(), 256U * 32);
    EXPECT_EQ(ledger.Tile(Log::kEvidence, 2, 0, 1)->size(), 32U);
    EXPECT_EQ(ledger.Tile(Log::kEvidence, 2, 0, 2).error().Slug(), "no-such-tile");
    EXPECT_EQ(ledger.Tile(Log::kEvidence, 0, size / 256, 256).error().Slug(), "no-such-tile");
    EXPECT_EQ(ledger.InclusionProof(Log::kEvidence, size, size).error().Slug(), "index-past-head");
    EXPECT_EQ(ledger.RootAt(Log::kEvidence, size + 1).error().Slug(), "index-past-head");
  };
  check(**Ledger::Open({dir.File("data")}));
  {
    const auto env = Env::Open(dir.File("data"), std::size_t{1} << 30);
    ASSERT_TRUE(env);
    auto txn = (*env)->Write();
    ASSERT_TRUE(txn->Clear(Table::kTiles));
    ASSERT_TRUE(txn->Commit());
  }
  check(**Ledger::Open({dir.File("data")}));
}

// L11: is the end of the map seen before it is reached?
TEST(LedgerSpace, L11_TheReserveIsSeenBeforeTheMapIsFull) {
  tests::TempDir dir;
  Ledger::Options options{dir.File("data"), std::size_t{8} << 20};
  options.reserve_bytes = std::uint64_t{2} << 20;
  const auto ledger = Ledger::Open(options);
  ASSERT_TRUE(ledger);
  int records = 0;
  for (; (*ledger)->CheckSpace() && records < 1000; ++records) {
    Submission submission;
    for (int i = 0; i < 100; ++i) submission.evidence.push_back(Evidence(i));
    ASSERT_TRUE((*ledger)->Record(std::move(submission))) << "refused before it said that it would";
  }
  EXPECT_GT(records, 50);
  EXPECT_EQ((*ledger)->CheckSpace().error().Slug(), "ledger-full");
  Submission last;
  last.evidence.push_back(Evidence(1));
  EXPECT_TRUE((*ledger)->Record(std::move(last))) << "the reserve is for this";
}

}  // namespace
}  // namespace strongroom::ledger
