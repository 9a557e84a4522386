// The roster changes by its own quorum, and each new custodian shows that the key is hers.

#include <gtest/gtest.h>

#include "appliance/proposal_params.h"
#include "crypto/custody.h"
#include "provisioning/process.h"
#include "tests/support/world.h"

namespace strongroom::appliance {
namespace {

using tests::By;
using tests::World;

class RosterChange : public testing::Test {
 protected:
  RosterChange() {
    w_.MakeDevKeyrings();
    (void)provisioning::RunProcess({"ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", w_.dir.File("new")});
    key_ = tests::ReadFile(w_.dir.File("new.pub"));
    key_ = key_.substr(0, key_.find(' ', key_.find(' ') + 1));
    if (key_.ends_with('\n')) key_.pop_back();
  }
  const crypto::Roster& roster() { return *w_.governance->Snapshot()->roster; }
  static std::string Spki(const std::string& name) { return ToHex(tests::QuorumFixture::Spki(name)); }
  std::string Proof(const std::string& name, const std::string& key_file) {
    const auto armored = *provisioning::SshSign(key_file, std::string(crypto::kRosterNamespace),
                                                crypto::PossessionText(roster().instance(), name, key_));
    std::string proof;
    std::istringstream lines(armored);
    for (std::string line; std::getline(lines, line);)
      if (!line.starts_with("-----")) proof += line;
    return proof;
  }
  // Four custodians, three of whom must agree.
  Params Fourth() {
    Params params = {{"add-custodian-4", "custodian " + Spki("custodian-4") + " " + key_},
                     {"proof-custodian-4", Proof("custodian-4", w_.dir.File("new"))}};
    for (const auto name : crypto::Roster::kClasses) params["policy-" + std::string(name)] = "3";
    return params;
  }
  std::string Refused(Params params) {
    const auto filed = w_.File("roster.change", "", std::move(params));
    return filed ? "filed" : std::string(filed.error().Slug());
  }
  World w_;
  std::string key_;
};

TEST_F(RosterChange, Q6_WhatMakesNoRosterIsNotFiled) {
  EXPECT_EQ(Refused({}), "invalid-request") << "no change";
  EXPECT_EQ(Refused({{"remove-nobody", "yes"}}), "invalid-request");
  EXPECT_EQ(Refused({{"remove-service-1", "perhaps"}}), "invalid-request");
  EXPECT_EQ(Refused({{"add-service-1", "service " + Spki("x")}}), "invalid-request") << "is there already";
  EXPECT_EQ(Refused({{"add-service-9", "service " + Spki("service-1")}}), "invalid-request") << "another's key";
  EXPECT_EQ(Refused({{"add-service-9", "king " + Spki("x")}}), "invalid-request");
  EXPECT_EQ(Refused({{"policy-rotation", "1"}}), "invalid-request") << "below the floor";
  EXPECT_EQ(Refused({{"policy-rotation", "3"}}), "invalid-request") << "all of them";
  EXPECT_EQ(Refused({{"policy-tea", "2"}}), "invalid-request");
  EXPECT_EQ(Refused({{"remove-custodian-3", "yes"}}), "invalid-request") << "two of two";
  EXPECT_EQ(Refused({{"new-roster", "2 00"}}), "unknown-parameter");
  EXPECT_EQ(Refused({{"what", "ever"}}), "unknown-parameter");
  auto fourth = Fourth();
  fourth.erase("proof-custodian-4");
  EXPECT_EQ(Refused(fourth), "proof-missing");
  fourth = Fourth();
  fourth["proof-custodian-4"] = Proof("custodian-5", w_.dir.File("new"));
  EXPECT_EQ(Refused(fourth), "bad-signature") << "a proof for another name";
  fourth["proof-custodian-4"] = Proof("custodian-4", World::quorum().KeyFile("custodian-1"));
  EXPECT_EQ(Refused(fourth), "bad-signature") << "by another key";
}

TEST_F(RosterChange, Q6_ANewRosterIsTheOneThatCountsFromThenOn) {
  const auto open = *w_.Approved("keyring.rotate", "install");
  ASSERT_EQ(*w_.Done("roster.change", "", Fourth()), "executed");
  EXPECT_EQ(roster().version(), 2U);
  EXPECT_EQ(roster().Custodians().size(), 4U);
  EXPECT_EQ(roster().Needed("rotation"), 3U);
  EXPECT_EQ(w_.token.ReadLedgerRecord()->custody.roster_version, 2U) << "the token obeys it";
  EXPECT_EQ(w_.governance->View(open)->state, "stale") << "every open proposal is void";
  // Three of four, the new one among them.
  const auto id = *w_.File("keyring.rotate", "install");
  ASSERT_TRUE(w_.Approve(id, "custodian-1"));
  ASSERT_TRUE(w_.Approve(id, "custodian-2"));
  EXPECT_EQ(w_.governance->Execute(id, By("operator-1")).error().Slug(), "quorum-missing");
  const auto text = w_.governance->View(id)->proposal->text;
  const auto signature = *provisioning::SshSign(w_.dir.File("new"), std::string(crypto::kVoteNamespace),
                                                crypto::VoteMessage(text, crypto::Verdict::kApprove));
  ASSERT_TRUE(w_.governance->Vote(By("operator-1"), id, {"custodian-4", crypto::Verdict::kApprove, signature}));
  EXPECT_EQ(w_.governance->Execute(id, By("operator-1"))->state, "executed");
  w_.Boot();
  EXPECT_TRUE(LoadVerified(*w_.ledger));
  EXPECT_EQ(roster().version(), 2U);
}

TEST_F(RosterChange, Q7_ARevokedCustodianCountsNoMore) {
  Params replaced = {{"remove-custodian-3", "yes"},
                     {"add-custodian-4", "custodian " + Spki("custodian-4") + " " + key_},
                     {"proof-custodian-4", Proof("custodian-4", w_.dir.File("new"))}};
  const auto id = *w_.File("roster.change", "", replaced);
  const auto text = w_.governance->View(id)->proposal->text;
  EXPECT_EQ(w_.governance->Vote(By("operator-1"), id, World::quorum().Sign("custodian-3", text)).error().Slug(),
            "concerned-vote")
      << "whose removal is asked for does not count (Q4)";
  ASSERT_TRUE(w_.Approve(id, "custodian-1"));
  ASSERT_TRUE(w_.Approve(id, "custodian-2"));
  ASSERT_EQ(w_.governance->Execute(id, By("operator-1"))->state, "executed");
  const auto rotation = *w_.File("keyring.rotate", "install");
  ASSERT_TRUE(w_.Approve(rotation, "custodian-1"));
  EXPECT_EQ(w_.Approve(rotation, "custodian-3").error().Slug(), "not-a-custodian");
}

// Q4: one rejection does not end a roster change while approval is possible; two of three do.
TEST_F(RosterChange, Q4_RosterChangesEndWhenApprovalIsImpossible) {
  const auto id = *w_.File("roster.change", "", {{"remove-service-2", "yes"}});
  const auto reject = [&](const std::string& who, const std::string& proposal) {
    return w_.governance->Vote(
        By("operator-1"), proposal,
        World::quorum().Sign(who, w_.governance->View(proposal)->proposal->text, crypto::Verdict::kReject));
  };
  ASSERT_TRUE(reject("custodian-3", id));
  EXPECT_EQ(w_.governance->View(id)->state, "open");
  ASSERT_TRUE(w_.Approve(id, "custodian-1"));
  ASSERT_TRUE(w_.Approve(id, "custodian-2"));
  EXPECT_EQ(w_.governance->Execute(id, By("operator-1"))->state, "executed");
  EXPECT_EQ(roster().Find("service-2"), nullptr);
  const auto second = *w_.File("roster.change", "", {{"remove-monitor-1", "yes"}});
  ASSERT_TRUE(reject("custodian-3", second));
  ASSERT_TRUE(reject("custodian-1", second));
  EXPECT_EQ(w_.governance->View(second)->state, "rejected");
}

// Q5, Q9: a database from before a roster change does not bring the old roster back: the token obeys the new one.
TEST_F(RosterChange, Q9_AnOlderDatabaseDoesNotBringARevokedCustodianBack) {
  w_.KeepCopy();
  ASSERT_EQ(*w_.Done("roster.change", "", {{"remove-service-2", "yes"}}), "executed");
  w_.PutCopyBack();
  const auto generated = w_.token.Generated();
  EXPECT_EQ(w_.Done("keyring.rotate", "install").error().Slug(), "roster-not-enforced");
  EXPECT_EQ(w_.token.Generated(), generated);
  Drawn drawn;
  drawn.token = "fake-token";
  drawn.recovery.emplace();
  drawn.recovery->rolled_back = true;
  drawn.recovery->record = *w_.token.ReadLedgerRecord();
  EXPECT_EQ(
      DraftProposal(*w_.governance->Snapshot(), "operator-1", {"ledger.adopt", "", {}, "why"}, drawn).error().Slug(),
      "roster-not-enforced")
      << "nor is it adopted";
}

// L4: cut off after the token obeys the new roster, before the ledger says so.
TEST_F(RosterChange, L4_ACutOffChangeIsSettledByWhatTheTokenObeys) {
  for (const bool did : {false, true}) {
    const auto id = *w_.Approved("roster.change", "", {{"remove-service-" + std::string(did ? "2" : "1"), "yes"}});
    const auto state = w_.governance->Snapshot();
    auto grant = JudgeExecution(*state, *state->FindProposal(id), w_.clock.Now());
    ledger::Submission intent;
    intent.control.push_back({w_.clock.Now(), ledger::ProposalConsumed{id, "operator-1"}});
    State next = *state;
    intent.rows = RowsOf(next, *Apply(next, intent.control[0]));
    ASSERT_TRUE(w_.ledger->Record(std::move(intent)));
    if (did) ASSERT_TRUE(w_.token.ChangeLedgerRecord(std::move(*grant)));
    w_.Boot();
    EXPECT_EQ(*w_.governance->Reconcile(), 1);
    EXPECT_EQ(w_.governance->View(id)->state, did ? "executed" : "failed");
    EXPECT_EQ(roster().version(), did ? 2U : 1U);
  }
}

}  // namespace
}  // namespace strongroom::appliance
