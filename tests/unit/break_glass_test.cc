// Break-glass (G1 to G7): who opens what, for how long, what closes it, who answers for it.

#include <gtest/gtest.h>

#include "appliance/break_glass.h"
#include "appliance/proposal_params.h"
#include "tests/support/world.h"

namespace strongroom::appliance {
namespace {

using tests::By;
using tests::World;
constexpr const char* kScope = "token:fake-token";

class BreakGlassTest : public testing::Test {
 protected:
  BreakGlassTest() { w_.MakeDevKeyrings(); }
  Result<std::string> File(Params params, std::set<std::string, std::less<>> failing = {"provider-health"}) {
    TRY_ASSIGN(const auto view,
               w_.governance->File(By("operator-1"), {"break-glass.open", "", std::move(params), "a test"}, failing));
    return view.proposal->id;
  }
  std::string Refused(Params params) {
    const auto filed = File(std::move(params));
    return filed ? "filed" : std::string(filed.error().Slug());
  }
  std::string Open(Params params = {}) {
    params.insert({{"check", "provider-health"}, {"scope", kScope}});
    const auto id = File(std::move(params));
    if (!id) return std::string(id.error().Slug());
    EXPECT_TRUE(w_.Approve(*id, "custodian-1"));
    EXPECT_TRUE(w_.Approve(*id, "custodian-2"));
    const auto done = w_.governance->Execute(*id, By("operator-1"));
    return done ? *id : std::string(done.error().Slug());
  }
  Overrides& overrides() { return w_.governance->overrides(); }
  const BreakGlass& At(const std::string& id) { return *w_.governance->Snapshot()->break_glass.at(id); }
  std::string Review(const std::string& id, const std::string& who, const std::string& finding = "all well",
                     const std::string& key_of = {}) {
    const auto text = ReviewText(World::quorum().instance(), At(id), finding) + "verdict: reviewed\n";
    const auto signature =
        World::quorum().SignAs(key_of.empty() ? who : key_of, std::string(crypto::kVoteNamespace), text);
    const auto done = w_.governance->Review(By("operator-1"), id, who, finding, signature);
    return done ? "reviewed" : std::string(done.error().Slug());
  }
  World w_;
};

TEST_F(BreakGlassTest, G1_G2_OnlyThreeChecksCanBeOverriddenAndOneScopeEach) {
  for (const auto* check : {"canary", "template-sweep", "token-identity", "ledger", "ledger-integrity", "anchor",
                            "checkpoint", "clock", "quorum", "", "PROVIDER-HEALTH"})
    EXPECT_EQ(Refused({{"check", check}, {"scope", kScope}}), "not-overridable") << check;
  for (const auto* scope : {"", "token:", "token:another", "all", "*", "keyring:install", "token:fake-token "})
    EXPECT_EQ(Refused({{"check", "provider-health"}, {"scope", scope}}), "invalid-request") << scope;
  EXPECT_EQ(Refused({{"check", "rotation-overdue"}, {"scope", "keyring:nobodys"}}), "invalid-request");
  EXPECT_EQ(Refused({{"check", "witness"}, {"scope", "everything"}}), "invalid-request");
  EXPECT_EQ(Refused({{"check", "rotation-overdue"}, {"scope", "keyring:install"}}), "nothing-to-override");
  EXPECT_EQ(Refused({{"check", "provider-health"}, {"scope", kScope}, {"extend", "yes"}}), "unknown-parameter");
  EXPECT_EQ(Refused({{"check", "provider-health"}, {"scope", kScope}, {"drill", "maybe"}}), "invalid-request");
}

TEST_F(BreakGlassTest, G3_TheCapIsHard) {
  for (const auto* minutes : {"0", "241", "-1", "1e2", ""})
    EXPECT_EQ(Refused({{"check", "provider-health"}, {"scope", kScope}, {"minutes", minutes}}), "invalid-request");
  for (const auto* uses : {"0", "1000001", "x"})
    EXPECT_EQ(Refused({{"check", "provider-health"}, {"scope", kScope}, {"uses", uses}}), "invalid-request");
  const auto id = Open({{"minutes", "240"}});
  EXPECT_EQ(Refused({{"check", "provider-health"}, {"scope", kScope}}), "break-glass-open") << "no extension";
  w_.clock.now += Millis{240} * 60'000 - 1;
  EXPECT_TRUE(overrides().Use("provider-health", kScope));
  w_.clock.now += 1;
  EXPECT_FALSE(overrides().Use("provider-health", kScope)) << "judged at the use, before anything has closed it";
  ASSERT_TRUE(w_.governance->CloseOutlived());
  EXPECT_EQ(At(id).reason, "expired");
  EXPECT_EQ(At(id).uses, 1U);
}

TEST_F(BreakGlassTest, G4_UsesAreCountedAndEndIt) {
  EXPECT_FALSE(overrides().Use("provider-health", kScope)) << "nothing is open";
  const auto id = Open({{"uses", "2"}});
  EXPECT_FALSE(overrides().Use("witness", "ceremonies")) << "another check";
  EXPECT_FALSE(overrides().Use("provider-health", "token:another")) << "another scope";
  EXPECT_EQ(overrides().Use("provider-health", kScope), id);
  EXPECT_TRUE(overrides().Covers("provider-health", kScope));
  EXPECT_EQ(overrides().Use("provider-health", kScope), id);
  EXPECT_FALSE(overrides().Covers("provider-health", kScope));
  EXPECT_FALSE(overrides().Use("provider-health", kScope));
  ASSERT_TRUE(w_.governance->CloseOutlived());
  EXPECT_EQ(At(id).reason, "used-up");
  EXPECT_EQ(At(id).uses, 2U);
}

TEST_F(BreakGlassTest, G4_ARestartARosterChangeAClockAndAnotherTokenCloseIt) {
  auto id = Open();
  ASSERT_TRUE(w_.governance->CloseOutlived("restart"));
  EXPECT_EQ(At(id).reason, "restart");
  EXPECT_FALSE(overrides().Use("provider-health", kScope));
  ASSERT_EQ(Review(id, "custodian-3"), "reviewed");
  id = Open();
  ASSERT_EQ(*w_.Done("roster.change", "", {{"remove-service-2", "yes"}}), "executed");
  EXPECT_EQ(At(id).reason, "roster-changed");
  ASSERT_TRUE(LoadVerified(*w_.ledger));
}

TEST_F(BreakGlassTest, G5_G7_AnyoneClosesAndSomebodyElseReviewsBeforeAnotherOpens) {
  const auto id = Open();
  EXPECT_EQ(w_.governance->CloseBreakGlass("nobodys", By("custodian-3")).error().Slug(), "break-glass-not-found");
  EXPECT_EQ(Review(id, "custodian-3"), "still-open");
  ASSERT_TRUE(w_.governance->CloseBreakGlass(id, By("custodian-3")));
  EXPECT_EQ(w_.governance->CloseBreakGlass(id, By("custodian-3")).error().Slug(), "closed-already");
  EXPECT_FALSE(overrides().Use("provider-health", kScope));
  EXPECT_EQ(Open(), "review-owed");
  EXPECT_EQ(Review(id, "operator-1", "all well", "custodian-1"), "not-a-custodian");
  EXPECT_EQ(Review(id, "custodian-3", "all well", "custodian-1"), "bad-signature");
  EXPECT_EQ(Review(id, "custodian-3", "two\nlines"), "invalid-request");
  const auto text = ReviewText(World::quorum().instance(), At(id), "all well") + "verdict: reviewed\n";
  EXPECT_EQ(w_.governance
                ->Review(By("custodian-3"), id, "custodian-3", "all is well",
                         World::quorum().SignAs("custodian-3", std::string(crypto::kVoteNamespace), text))
                .error()
                .Slug(),
            "bad-signature")
      << "signed for another finding";
  ASSERT_EQ(Review(id, "custodian-3"), "reviewed");
  EXPECT_EQ(Review(id, "custodian-2"), "reviewed-already");
  EXPECT_EQ(Open().size(), 32U) << "and now another one";
  EXPECT_TRUE(LoadVerified(*w_.ledger));
}

// Whoever asked for it, or opened it, does not review it.
TEST_F(BreakGlassTest, G5_NobodyReviewsHerOwn) {
  const auto filed = w_.governance->File(
      By("custodian-1"), {"break-glass.open", "", {{"check", "provider-health"}, {"scope", kScope}}, "mine"},
      {"provider-health"});
  const auto id = filed->proposal->id;
  ASSERT_TRUE(w_.Approve(id, "custodian-2"));
  ASSERT_TRUE(w_.Approve(id, "custodian-3"));
  ASSERT_TRUE(w_.governance->Execute(id, By("custodian-2")));
  ASSERT_TRUE(w_.governance->CloseBreakGlass(id, By("custodian-1")));
  EXPECT_EQ(Review(id, "custodian-1"), "own-review");
  EXPECT_EQ(Review(id, "custodian-2"), "own-review");
  EXPECT_EQ(Review(id, "custodian-3"), "reviewed");
}

TEST_F(BreakGlassTest, ADrillOverridesNothingAndIsReviewedLikeTheRealThing) {
  w_.governance.reset();
  w_.Boot();
  const auto id = *File({{"check", "witness"}, {"scope", "ceremonies"}, {"drill", "yes"}}, {});
  ASSERT_TRUE(w_.Approve(id, "custodian-1"));
  ASSERT_TRUE(w_.Approve(id, "custodian-2"));
  ASSERT_TRUE(w_.governance->Execute(id, By("operator-1")));
  EXPECT_EQ(overrides().Open(), id);
  EXPECT_FALSE(overrides().Use("witness", "ceremonies"));
  ASSERT_TRUE(w_.governance->CloseBreakGlass(id, By("operator-1")));
  EXPECT_EQ(Open(), "review-owed");
}

// Two proposals, both approved: the second finds the first one open.
TEST_F(BreakGlassTest, G7_TwoApprovedProposalsDoNotMakeTwo) {
  const auto first = *File({{"check", "provider-health"}, {"scope", kScope}});
  const auto second = *File({{"check", "provider-health"}, {"scope", kScope}});
  for (const auto& id : {first, second})
    for (const auto* who : {"custodian-1", "custodian-2"}) ASSERT_TRUE(w_.Approve(id, who));
  ASSERT_TRUE(w_.governance->Execute(first, By("operator-1")));
  EXPECT_EQ(w_.governance->Execute(second, By("operator-1")).error().Slug(), "break-glass-open");
  EXPECT_EQ(w_.governance->View(second)->state, "approved") << "nothing is consumed";
}

}  // namespace
}  // namespace strongroom::appliance
