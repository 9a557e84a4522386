#include "appliance/governance.h"

#include <gtest/gtest.h>

#include <thread>

#include "tests/support/world.h"

namespace strongroom::appliance {
namespace {

using tests::By;
using tests::World;

std::map<std::string, Bytes> Stored(const ledger::Ledger& ledger) {
  std::map<std::string, Bytes> rows;
  EXPECT_TRUE(ledger.ReadState([&](std::string_view key, ByteView value) {
    rows[std::string(key)] = Bytes(value.begin(), value.end());
    return true;
  }));
  return rows;
}

std::map<std::string, Bytes> Replayed(const ledger::Ledger& ledger) {
  std::map<std::string, Bytes> rows;
  for (const auto& row : AllRows(*Replay(ledger))) rows[row.key] = *row.value;
  return rows;
}

class GovernanceTest : public testing::Test {
 protected:
  World w;
};

TEST_F(GovernanceTest, Q6_TheFirstRosterNeedsEverySignature) {
  const auto& text = World::quorum().roster().text();
  const auto sign = [&](const std::string& who) {
    return std::pair<std::string, std::string>(
        who, World::quorum().SignAs(who, std::string(crypto::kRosterNamespace), text));
  };
  EXPECT_EQ(w.governance->FirstBoot(text, {}).error().Slug(), "signature-missing");
  EXPECT_EQ(w.governance->FirstBoot(text, {sign("custodian-1"), sign("custodian-2")}).error().Slug(),
            "signature-missing");
  auto lent = sign("custodian-1");
  lent.first = "custodian-3";
  EXPECT_EQ(w.governance->FirstBoot(text, {sign("custodian-1"), sign("custodian-2"), lent}).error().Slug(),
            "bad-signature");
  EXPECT_EQ(w.governance->FirstBoot(text + "x", {}).error().code, Code::kInvalid);
  EXPECT_FALSE(w.File("keyring.create", "install")) << "uninitialised";
  ASSERT_TRUE(w.FirstBoot());
  EXPECT_EQ(w.FirstBoot().error().Slug(), "already-initialised");
}

TEST_F(GovernanceTest, RequestsThatMakeNoSenseAreRefusedAndLeaveNothing) {
  ASSERT_TRUE(w.FirstBoot());
  const auto before = w.ledger->HeadOf(ledger::Log::kControl).size;
  EXPECT_EQ(w.File("keyring.explode", "x").error().Slug(), "unknown-operation");
  EXPECT_FALSE(w.File("keyring.create", "Bad Name"));
  EXPECT_FALSE(w.File("keyring.create", ""));
  EXPECT_EQ(w.File("keyring.create", "org", {{"colour", "red"}}).error().Slug(), "unknown-parameter");
  EXPECT_EQ(w.File("keyring.create", "org").error().Slug(), "no-install-keyring");
  EXPECT_FALSE(w.File("keyring.create", "install", {{"custody", "keyring:install"}}));
  EXPECT_FALSE(w.File("keyring.create", "install", {{"custody", "token:another"}}));
  EXPECT_FALSE(w.File("keyring.create", "install", {{"suite", "cbc"}}));
  EXPECT_FALSE(w.File("keyring.create", "install", {{"grants", "operator-1"}})) << "only services have grants";
  EXPECT_FALSE(w.File("keyring.create", "install", {{"grants", "service-9"}}));
  EXPECT_EQ(w.File("keyring.rotate", "install").error().Slug(), "keyring-not-found");
  EXPECT_FALSE(w.governance->File(By("operator-1"), {"keyring.create", "install", {}, "two\nlines"}));
  EXPECT_EQ(w.ledger->HeadOf(ledger::Log::kControl).size, before);
}

TEST_F(GovernanceTest, Q3_NothingRunsWithoutTwoVotes) {
  ASSERT_TRUE(w.FirstBoot());
  const auto id = *w.File("keyring.create", "install");
  EXPECT_EQ(w.governance->Execute(id, By("operator-1")).error().Slug(), "quorum-missing");
  ASSERT_TRUE(w.Approve(id, "custodian-1"));
  EXPECT_EQ(w.Approve(id, "custodian-1").error().Slug(), "vote-exists");
  EXPECT_EQ(w.governance->Execute(id, By("operator-1")).error().Slug(), "quorum-missing");
  EXPECT_EQ(w.token.Generated(), 0U);
  auto forged = World::quorum().Sign("custodian-1", w.governance->View(id)->proposal->text);
  forged.custodian = "custodian-2";
  EXPECT_EQ(w.governance->Vote(By("operator-1"), id, forged).error().Slug(), "bad-signature");
  forged.custodian = "operator-1";
  EXPECT_EQ(w.governance->Vote(By("operator-1"), id, forged).error().Slug(), "not-a-custodian");
  ASSERT_TRUE(w.Approve(id, "custodian-3"));
  EXPECT_EQ(w.governance->Execute(id, By("operator-1"))->state, "executed");
  EXPECT_EQ(w.token.Generated(), 1U);
}

TEST_F(GovernanceTest, Q5_OfManyConcurrentExecutesOneRuns) {
  ASSERT_TRUE(w.FirstBoot());
  const auto id = *w.Approved("keyring.create", "install");
  std::atomic<int> ran{0}, refused{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 100; ++i)
    threads.emplace_back([&] {
      const auto view = w.governance->Execute(id, By("operator-1"));
      if (view)
        ++ran;
      else if (view.error().Slug() == "already-executed")
        ++refused;
    });
  for (auto& t : threads) t.join();
  EXPECT_EQ(ran, 1);
  EXPECT_EQ(refused, 99);
  EXPECT_EQ(w.token.Generated(), 1U);
  w.Boot();
  EXPECT_EQ(w.governance->Execute(id, By("operator-1")).error().Slug(), "already-executed") << "also after a restart";
}

TEST_F(GovernanceTest, Q4_SilenceRejectionAndWithdrawalEndAProposal) {
  ASSERT_TRUE(w.FirstBoot());
  const auto silent = *w.File("keyring.create", "install");
  const auto late = *w.Approved("keyring.create", "install");
  const auto killed = *w.File("keyring.create", "install");
  ASSERT_TRUE(w.governance->Vote(
      By("operator-1"), killed,
      World::quorum().Sign("custodian-1", w.governance->View(killed)->proposal->text, crypto::Verdict::kReject)));
  EXPECT_EQ(w.governance->View(killed)->state, "rejected");
  EXPECT_EQ(w.Approve(killed, "custodian-2").error().Slug(), "not-open");
  const auto withdrawn = *w.File("keyring.create", "install");
  EXPECT_FALSE(w.governance->Withdraw(withdrawn, By("operator-2")));
  ASSERT_TRUE(w.governance->Withdraw(withdrawn, By("operator-1")));
  EXPECT_EQ(w.Approve(withdrawn, "custodian-2").error().Slug(), "not-open");
  w.clock.now += kApproveWithin + 1000;
  EXPECT_EQ(w.governance->View(silent)->state, "expired");
  EXPECT_EQ(w.Approve(silent, "custodian-2").error().Slug(), "not-open");
  EXPECT_EQ(w.governance->View(late)->state, "approved");
  w.clock.now += kExecuteWithin;
  EXPECT_EQ(w.governance->Execute(late, By("operator-1")).error().Slug(), "proposal-expired");
  EXPECT_EQ(w.token.Generated(), 0U);
}

TEST_F(GovernanceTest, RotatingInstallMovesTheKeyringsThatItWrapsFor) {
  w.MakeDevKeyrings();
  EXPECT_EQ(w.File("keyring.rotate", "org-b").error().Slug(), "no-own-kek");
  EXPECT_EQ(*w.Done("keyring.rotate", "install"), "executed");
  const auto state = w.governance->Snapshot();
  const auto& install = *state->FindKeyring("install");
  const auto& org = *state->FindKeyring("org-b");
  EXPECT_EQ(install.primary, 2U);
  EXPECT_EQ(org.primary, 2U);
  EXPECT_EQ(org.Primary()->kek, install.Primary()->kek);
  EXPECT_EQ(org.Find(1)->kek, install.Find(1)->kek);
  EXPECT_EQ(org.Find(1)->state, VersionState::kDeactivated);
  EXPECT_EQ(state->FindKeyring("org-a")->primary, 1U);
  EXPECT_EQ(install.last_rotation, w.clock.Now());
}

TEST_F(GovernanceTest, Q5_AVoteForAStateThatIsGoneIsStale) {
  w.MakeDevKeyrings();
  const auto first = *w.Approved("keyring.rotate", "install"), second = *w.Approved("keyring.rotate", "install");
  ASSERT_EQ(w.governance->Execute(first, By("operator-1"))->state, "executed");
  EXPECT_EQ(w.governance->Execute(second, By("operator-1")).error().Slug(), "stale");
  // A keyring that came in the meantime is not in the text that was signed: nobody moves it unasked.
  const auto third = *w.Approved("keyring.rotate", "install");
  ASSERT_EQ(*w.Done("keyring.create", "org-c"), "executed");
  EXPECT_EQ(w.governance->Execute(third, By("operator-1")).error().Slug(), "stale");
}

TEST_F(GovernanceTest, L4_ACutOffExecutionIsSettledByWhatTheTokenHas) {
  w.MakeDevKeyrings();
  // The token is gone when it is asked: consumed, not settled, and no second run.
  const auto lost = *w.Approved("keyring.rotate", "install");
  w.token.SetAway(true);
  EXPECT_FALSE(w.governance->Execute(lost, By("operator-1")));
  w.token.SetAway(false);
  w.Boot();
  ASSERT_TRUE(w.governance->Reconcile());
  EXPECT_NE(w.governance->View(lost)->state, "executed");
  EXPECT_EQ(w.governance->Snapshot()->FindKeyring("install")->primary, 1U);

  // A crash right after the intent and right after the key: written as the program would have, then booted.
  for (const bool made : {false, true}) {
    const auto id = *w.Approved("keyring.rotate", "org-a");
    const auto state = w.governance->Snapshot();
    const auto& proposal = *state->FindProposal(id);
    auto grant = JudgeExecution(*state, proposal, w.clock.Now());
    const auto effect = EffectOf(*state, proposal.parsed);
    ASSERT_TRUE(grant && effect);
    ledger::Submission intent;
    intent.control.push_back({w.clock.Now(), ledger::ProposalConsumed{id, "operator-1"}});
    State next = *state;
    intent.rows = RowsOf(next, *Apply(next, intent.control[0]));
    ASSERT_TRUE(w.ledger->Record(std::move(intent)));
    if (made) ASSERT_TRUE(w.token.Generate(std::move(*grant), *effect->generate));
    w.Boot();
    EXPECT_EQ(w.governance->View(id)->state, "executing");
    EXPECT_EQ(*w.governance->Reconcile(), 1);
    EXPECT_EQ(*w.governance->Reconcile(), 0) << "once";
    EXPECT_EQ(w.governance->View(id)->state, made ? "executed" : "failed");
    EXPECT_EQ(w.governance->Snapshot()->FindKeyring("org-a")->primary, made ? 2U : 1U);
  }
}

TEST_F(GovernanceTest, K3_AStrangeKeyInTheTokenStopsCeremonies) {
  w.MakeDevKeyrings();
  const auto ring = crypto::RandomArray<16>();
  ASSERT_TRUE(
      w.token.Generate(World::quorum().Grant(ring, 1, crypto::Suite::kKwp, "fake-token"),
                       {{"fake-token", crypto::MakeKeyId(ring, 1), crypto::Suite::kKwp}, hsm::KekLabel("k", 1)}));
  const auto id = *w.Approved("keyring.rotate", "install");
  EXPECT_EQ(w.governance->Execute(id, By("operator-1")).error().Slug(), "token-inventory");
  EXPECT_EQ(w.governance->View(id)->state, "approved") << "nothing is consumed";
  const auto faults = w.governance->Sweep("fake-token");
  ASSERT_TRUE(faults);
  EXPECT_EQ(faults->size(), 1U);
}

TEST_F(GovernanceTest, K9_AnotherTokenThanTheRecordedOneIsNamed) {
  w.MakeDevKeyrings();
  const auto faults = JudgeInventory(*w.governance->Snapshot(), "another-token", {});
  ASSERT_EQ(faults.size(), 1U);
  EXPECT_NE(faults[0].find("another-token"), std::string::npos);
}

TEST_F(GovernanceTest, K3_AKeyMadeForTheOtherSuiteIsAFault) {
  w.MakeDevKeyrings();
  auto records = *w.token.Inventory();
  EXPECT_TRUE(JudgeInventory(*w.governance->Snapshot(), "fake-token", records).empty());
  records[0].suite = records[0].suite == crypto::Suite::kKwp ? crypto::Suite::kGcm : crypto::Suite::kKwp;
  EXPECT_EQ(JudgeInventory(*w.governance->Snapshot(), "fake-token", records).size(), 1U);
  records.erase(records.begin());
  EXPECT_EQ(JudgeInventory(*w.governance->Snapshot(), "fake-token", records).size(), 1U) << "a KEK that is gone";
}

TEST_F(GovernanceTest, Q4_ARejectionCountsUntilTheEnd) {
  ASSERT_TRUE(w.FirstBoot());
  const auto id = *w.Approved("keyring.create", "install");
  w.clock.now += kApproveWithin + 1000;
  const auto text = w.governance->View(id)->proposal->text;
  EXPECT_EQ(w.governance->Vote(By("operator-1"), id, World::quorum().Sign("custodian-3", text)).error().Slug(),
            "proposal-expired");
  ASSERT_TRUE(
      w.governance->Vote(By("operator-1"), id, World::quorum().Sign("custodian-3", text, crypto::Verdict::kReject)));
  EXPECT_EQ(w.governance->Execute(id, By("operator-1")).error().Slug(), "not-open");
}

TEST_F(GovernanceTest, L2_AStateTableChangedFromOutsideDoesNotBoot) {
  w.MakeDevKeyrings();
  ASSERT_TRUE(LoadVerified(*w.ledger));
  auto rows = AllRows(*w.governance->Snapshot());
  for (auto& row : rows)
    if (row.key == "keyring/install") row.value->back() ^= 1;
  ASSERT_TRUE(w.ledger->ReplaceState(rows));
  EXPECT_EQ(LoadVerified(*w.ledger).error().Slug(), "state-differs");
  rows.pop_back();
  ASSERT_TRUE(w.ledger->ReplaceState(rows));
  EXPECT_FALSE(LoadVerified(*w.ledger));
  ASSERT_TRUE(w.ledger->ReplaceState(AllRows(*Replay(*w.ledger))));
  EXPECT_TRUE(LoadVerified(*w.ledger));
}

TEST_F(GovernanceTest, L2_TheStateTableFollowsFromTheLogByteForByte) {
  w.MakeDevKeyrings();
  (void)*w.Done("keyring.rotate", "install");
  (void)*w.Done("keyring.rotate", "org-a", {{"suite", "kwp"}});
  const auto withdrawn = *w.File("keyring.rotate", "install");
  ASSERT_TRUE(w.governance->Withdraw(withdrawn, By("operator-1")));
  (void)*w.Approved("keyring.create", "org-d");
  const auto stored = Stored(*w.ledger);
  EXPECT_EQ(stored, Replayed(*w.ledger));
  EXPECT_GT(stored.size(), 8U);
  // And back: what is loaded from the table encodes to the table.
  std::map<std::string, Bytes> again;
  for (const auto& row : AllRows(*Load(*w.ledger))) again[row.key] = *row.value;
  EXPECT_EQ(stored, again);
  w.Boot();
  EXPECT_EQ(w.governance->Snapshot()->FindKeyring("org-a")->Primary()->suite, crypto::Suite::kKwp);
}

}  // namespace
}  // namespace strongroom::appliance
