// What goes on, and what does not, while the token's custody record cannot be relied on: it contradicts itself, is
// gone, or is older than the database. And by which way it ends, without a restart.

#include <gtest/gtest.h>

#include "appliance/lifecycle.h"
#include "tests/support/world.h"

namespace strongroom::appliance {
namespace {

using ledger::Log;
using tests::By;
using tests::World;

class CustodyState : public testing::Test {
 protected:
  void SetUp() override {
    w_.MakeDevKeyrings();
    const auto done = Make()->Now();
    ASSERT_TRUE(done) << done.error().Line();
  }
  void TearDown() override {
    lifecycle_.reset();
    checkpointer_.reset();
  }
  std::unique_ptr<Checkpointer> Make() {
    auto made = std::make_unique<Checkpointer>(
        *w_.ledger, w_.token, w_.clock, [this] { return w_.governance->Snapshot(); },
        Checkpointer::Options{std::chrono::hours(1), std::chrono::hours(1)});
    made->Enable();
    return made;
  }
  // A service that runs: it has compared ledger and token, and serves.
  void Run() {
    checkpointer_ = Make();
    lifecycle_ = std::make_unique<Lifecycle>(
        *w_.ledger, w_.token, *w_.governance, *checkpointer_,
        Lifecycle::Schedule{std::chrono::hours(1), std::chrono::hours(1), std::chrono::hours(1)});
    ASSERT_TRUE(lifecycle_->LookNow());
    ASSERT_TRUE(checkpointer_->Now()) << checkpointer_->Fault();
    ASSERT_EQ(ToString(lifecycle_->State()), "operational");
  }
  void Grow() {
    ledger::Submission submission;
    submission.evidence.emplace_back();
    submission.evidence.back().time = w_.clock.Now();
    submission.evidence.back().request_id = submission.evidence.back().principal = "-";
    submission.evidence.back().outcome = "ok";
    ASSERT_TRUE(w_.ledger->Record(std::move(submission)));
  }
  std::string Executed(const std::string& id) {
    const auto done = w_.governance->Execute(id, By("operator-1"));
    return done ? std::string(done->state) : std::string(done.error().Slug());
  }
  std::string Failing() {
    std::string names;
    for (const auto& check : lifecycle_->Report().checks)
      if (!check.ok) names += (names.empty() ? "" : " ") + check.name;
    return names;
  }
  // The token as it was when it had signed nothing yet.
  void PutTokenBack() {
    auto record = *w_.token.ReadLedgerRecord();
    record.anchors.clear();
    record.nodes.clear();
    w_.token.Recall(std::move(record));
  }
  World w_;
  std::unique_ptr<Checkpointer> checkpointer_;
  std::unique_ptr<Lifecycle> lifecycle_;
};

// A record that is gone or contradicts itself is met while the service runs: services go on, nothing governed does, the
// adoption ends it, and nobody restarts anything.
TEST_F(CustodyState, Q16_ARecordThatBreaksAtRunTimeStopsNoServiceAndIsAdoptedWithoutARestart) {
  for (const bool forked : {false, true}) {
    SCOPED_TRACE(forked ? "forked" : "lost");
    const std::string slug = forked ? "custody-forked" : "record-missing";
    Run();
    const auto governed = w_.Approved("grant.change", "org-a", {{"grants", forked ? "service-2" : "service-1"}});
    ASSERT_TRUE(governed) << governed.error().Line();
    const auto touched = w_.Approved("keyring.rotate", "org-a");
    ASSERT_TRUE(touched) << touched.error().Line();
    if (forked)
      w_.token.Fork();
    else
      w_.token.Lose();
    Grow();
    EXPECT_EQ(checkpointer_->Now().error().Slug(), slug);
    EXPECT_FALSE(checkpointer_->Tampered()) << "what the token has lost is nothing that somebody changed here";
    EXPECT_TRUE(lifecycle_->LookNow()) << "it was held against the token since the start";
    EXPECT_TRUE(lifecycle_->DataPlaneOpen());
    EXPECT_FALSE(lifecycle_->RolledBack());
    EXPECT_EQ(ToString(lifecycle_->State()), "degraded");
    EXPECT_NE(Failing().find("custody"), std::string::npos) << Failing();
    const auto before = w_.ledger->HeadOf(Log::kControl).size;
    EXPECT_EQ(Executed(*governed), slug);
    EXPECT_EQ(Executed(*touched), slug);
    EXPECT_EQ(w_.ledger->HeadOf(Log::kControl).size, before) << "nothing was consumed";
    const auto adopt = w_.Approved("ledger.adopt", "");
    ASSERT_TRUE(adopt) << adopt.error().Line();
    ASSERT_EQ(Executed(*adopt), "executed");
    EXPECT_TRUE(lifecycle_->LookNow());
    EXPECT_TRUE(checkpointer_->Now()) << checkpointer_->Fault();
    EXPECT_TRUE(lifecycle_->LookNow());
    EXPECT_EQ(ToString(lifecycle_->State()), "operational") << Failing();
    const auto goes_on = w_.Done("grant.change", "org-a", {{"grants", forked ? "service-2" : "service-1"}});
    EXPECT_TRUE(goes_on) << goes_on.error().Line();
    TearDown();
  }
}

// At a start nobody can hold the ledger against a record that is gone: nothing but reading and the adoption, as before.
TEST_F(CustodyState, Q16_AStartWithoutARecordServesNobody) {
  w_.token.Lose();
  checkpointer_ = Make();
  lifecycle_ = std::make_unique<Lifecycle>(
      *w_.ledger, w_.token, *w_.governance, *checkpointer_,
      Lifecycle::Schedule{std::chrono::hours(1), std::chrono::hours(1), std::chrono::hours(1)});
  EXPECT_FALSE(lifecycle_->LookNow());
  EXPECT_FALSE(lifecycle_->DataPlaneOpen());
  EXPECT_TRUE(lifecycle_->RolledBack());
}

// When the record that was broken is there again, is the ledger held against it anew?
TEST_F(CustodyState, Q16_WhatComesBackIsComparedAnew) {
  Run();
  w_.token.Fork();
  Grow();
  EXPECT_FALSE(checkpointer_->Now());
  auto ahead = w_.token.ReadRecordToAdopt()->record;
  for (auto& anchor : ahead.anchors) anchor.size += 100;
  w_.token.Recall(std::move(ahead));
  EXPECT_EQ(lifecycle_->LookNow().error().Slug(), "not-anchored");
  EXPECT_TRUE(lifecycle_->RolledBack());
  EXPECT_FALSE(lifecycle_->DataPlaneOpen());
}

// A token that was put back to an earlier time stops all that is governed, not only what touches the token.
TEST_F(CustodyState, Q16_NothingGovernedRunsWhileTheTokenIsBehind) {
  ASSERT_TRUE(w_.governance->Disable("org-a", By("operator-1")));
  // By install and by itself, of the appliance and of a keyring, with a key and without: what is asked of the token
  // anyway, and what is not.
  std::vector<std::string> approved;
  using Params = std::map<std::string, std::string, std::less<>>;
  const std::vector<std::tuple<std::string, std::string, Params>> all = {
      {"grant.change", "org-b", {{"grants", "service-1"}}},
      {"keyring.enable", "org-a", {}},
      {"keyring.create", "org-c", {}},
      {"keyring.rotate", "install", {}}};
  for (const auto& [operation, keyring, params] : all) {
    const auto id = w_.Approved(operation, keyring, params);
    ASSERT_TRUE(id) << operation << ": " << id.error().Line();
    approved.push_back(*id);
  }
  PutTokenBack();
  const auto before = w_.ledger->HeadOf(Log::kControl).size;
  for (const auto& id : approved) {
    const auto& operation = w_.governance->View(id)->proposal->parsed.operation;
    EXPECT_EQ(Executed(id), "token-behind") << operation;
    EXPECT_EQ(w_.governance->View(id)->state, "approved") << operation;
  }
  EXPECT_EQ(w_.ledger->HeadOf(Log::kControl).size, before) << "nothing is recorded";
  const auto adopt = w_.Approved("ledger.adopt", "");
  ASSERT_TRUE(adopt) << adopt.error().Line();
  EXPECT_EQ(Executed(*adopt), "executed");
}

TEST_F(CustodyState, Q16_NothingIsDestroyedWhileTheTokenIsBehind) {
  ASSERT_EQ(*w_.Done("keyring.rotate", "org-a"), "executed");
  ASSERT_EQ(*w_.Done("version.destroy", "org-a",
                     {{"version", "1"}, {"waive", "service-1,service-2"}, {"quiet-hours", "0"}, {"waiting-days", "7"}}),
            "executed");
  w_.clock.now += 8 * kDay;
  const auto whole = *w_.token.ReadLedgerRecord();
  PutTokenBack();
  const auto due = w_.governance->RunDueDestructions();
  ASSERT_FALSE(due);
  EXPECT_EQ(due.error().Slug(), "token-behind");
  EXPECT_EQ(w_.token.Generated(), 3U) << "the KEKs of install and of two versions of org-a";
  w_.token.Recall(whole);
  EXPECT_EQ(*w_.governance->RunDueDestructions(), 1);
}

// What is governed waits for a token that does not answer, for it may be behind; but not what is opened for just that.
TEST_F(CustodyState, Q16_WhatIsGovernedWaitsForATokenThatIsAway) {
  const auto opened = w_.governance->File(
      By("operator-1"),
      {"break-glass.open", "", {{"check", "provider-health"}, {"scope", "token:fake-token"}}, "a test"},
      {"provider-health"});
  ASSERT_TRUE(opened) << opened.error().Line();
  for (const auto* who : {"custodian-1", "custodian-2"}) ASSERT_TRUE(w_.Approve(opened->proposal->id, who));
  const auto grants = *w_.Approved("grant.change", "org-b", {{"grants", "service-1"}});
  w_.token.SetAway(true);
  const auto asked = w_.governance->Execute(grants, By("operator-1"));
  ASSERT_FALSE(asked);
  EXPECT_EQ(asked.error().code, Code::kUnavailable);
  EXPECT_EQ(w_.governance->View(grants)->state, "approved") << "nothing was consumed";
  EXPECT_EQ(Executed(opened->proposal->id), "executed");
  w_.token.SetAway(false);
  EXPECT_EQ(Executed(grants), "executed");
}

// The token's own judgement comes before the votes are used up, for an adoption as for all else.
TEST_F(CustodyState, Q16_AnAdoptionThatTheTokenWouldRefuseKeepsItsVotes) {
  const auto whole = *w_.token.ReadLedgerRecord();
  w_.token.Lose();
  const auto adopt = w_.Approved("ledger.adopt", "");
  ASSERT_TRUE(adopt) << adopt.error().Line();
  w_.token.Recall(whole);  // it is there again: nothing of what was voted on is so any more
  EXPECT_EQ(Executed(*adopt), "stale");
  EXPECT_EQ(w_.governance->View(*adopt)->state, "approved");
  w_.token.Lose();
  EXPECT_EQ(Executed(*adopt), "executed");
}

// An adoption that was cut off between its record and its evidence head: the token says that the head must be there,
// and it is not. Another adoption is the way out.
TEST_F(CustodyState, Q16_ANodeWithoutItsHeadIsAdopted) {
  ASSERT_EQ(*w_.Done("keyring.rotate", "install"), "executed");
  World fresh;  // no head of this epoch is noted in the database yet
  fresh.MakeDevKeyrings();
  auto record = *fresh.token.ReadLedgerRecord();
  EXPECT_EQ(fresh.File("ledger.adopt", "").error().Slug(), "not-rolled-back");
  record.nodes = {"node-1"};
  fresh.token.Recall(record);
  const auto adopt = fresh.Approved("ledger.adopt", "");
  ASSERT_TRUE(adopt) << adopt.error().Line();
  EXPECT_EQ(fresh.governance->Execute(*adopt, By("operator-1"))->state, "executed");
}

// The token judges by the later of its record's time and its evidence head's: when the head alone is ahead of the
// clock, can the clock be accepted?
TEST_F(CustodyState, Q15_AClockThatTheEvidenceHeadIsAheadOfCanBeAccepted) {
  EXPECT_EQ(w_.File("clock.accept", "").error().Slug(), "clock-not-frozen");
  auto record = *w_.token.ReadLedgerRecord();
  record.node_seen = w_.clock.Now() + 19 * kDay;
  w_.token.Recall(std::move(record));
  const auto rotate = w_.Approved("keyring.rotate", "org-a");
  ASSERT_TRUE(rotate) << rotate.error().Line();
  EXPECT_EQ(Executed(*rotate), "clock-back");
  const auto accept = w_.Approved("clock.accept", "");
  ASSERT_TRUE(accept) << accept.error().Line();
  EXPECT_EQ(Executed(*accept), "executed");
  (void)Make()->Now();  // what is asked for from here on names a head from behind the accepted clock
  const auto goes_on = w_.Done("keyring.rotate", "org-a");
  EXPECT_TRUE(goes_on) << goes_on.error().Line();
}

}  // namespace
}  // namespace strongroom::appliance
