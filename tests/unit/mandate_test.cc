// Rotation policies (F14, Q5): the one standing mandate, what it allows, and when it is late.

#include <gtest/gtest.h>

#include "appliance/lifecycle.h"
#include "appliance/policy_decisions.h"
#include "crypto/custody.h"
#include "tests/support/standing.h"
#include "tests/support/world.h"

namespace strongroom::appliance {
namespace {

using tests::By;
using tests::World;

class Mandates : public testing::Test {
 protected:
  Mandates() { w_.MakeDevKeyrings(); }
  std::string Refused(std::map<std::string, std::string, std::less<>> params, const std::string& keyring = "org-a") {
    const auto filed = w_.File("keyring.set-policy", keyring, std::move(params));
    return filed ? "filed" : std::string(filed.error().Slug());
  }
  const Keyring& Ring(const std::string& name = "org-a") { return *w_.governance->Snapshot()->FindKeyring(name); }
  World w_;
};

TEST_F(Mandates, F14_APolicyOutsideOfItsBoundsIsNotFiled) {
  for (const auto* days : {"0", "29", "31", "45", "361", "390", "-30", "30.0", "", "often"})
    EXPECT_EQ(Refused({{"rotate-days", days}}), "invalid-request") << days;
  EXPECT_EQ(Refused({}), "invalid-request");
  EXPECT_EQ(Refused({{"rotate-days", "30"}, {"enforce", "perhaps"}}), "invalid-request");
  EXPECT_EQ(Refused({{"rotate-days", "none"}, {"enforce", "yes"}}), "invalid-request");
  EXPECT_EQ(Refused({{"rotate-days", "30"}, {"until", "tomorrow"}}), "invalid-request");
  EXPECT_EQ(Refused({{"rotate-days", "30"}, {"until", FormatTime(w_.clock.now - kDay)}}), "invalid-request");
  EXPECT_EQ(Refused({{"rotate-days", "30"}, {"until", FormatTime(w_.clock.now + 1832 * kDay)}}), "invalid-request");
  EXPECT_EQ(Refused({{"rotate-days", "30"}, {"token", "x"}}), "unknown-parameter");
  EXPECT_EQ(Refused({{"rotate-days", "30"}}, "org-b"), "no-own-kek");
  EXPECT_EQ(Refused({{"rotate-days", "30"}}, "org-x"), "keyring-not-found");
}

// Q5: one new version an interval, none before, none after its end, none without one; a rotation by votes restarts the
// clock; each is settled in the ledger.
TEST_F(Mandates, Q5_AMandateMakesOneVersionAnInterval) {
  EXPECT_EQ(*w_.governance->RunMandates(), 0);
  const auto until = FormatTime(w_.clock.now + 100 * kDay);
  ASSERT_EQ(*w_.Done("keyring.set-policy", "org-a", {{"rotate-days", "30"}, {"until", until}}), "executed");
  EXPECT_EQ(*w_.governance->RunMandates(), 0);
  w_.clock.now += 30 * kDay - 1000;
  EXPECT_EQ(*w_.governance->RunMandates(), 0) << "not yet";
  w_.clock.now += crypto::kMinute;
  EXPECT_EQ(*w_.governance->RunMandates(), 1);
  EXPECT_EQ(*w_.governance->RunMandates(), 0) << "once";
  EXPECT_EQ(Ring().primary, 2U);
  w_.clock.now += 20 * kDay;
  ASSERT_EQ(*w_.Done("keyring.rotate", "org-a"), "executed");
  w_.clock.now += 15 * kDay;
  EXPECT_EQ(*w_.governance->RunMandates(), 0) << "a rotation by votes restarts the clock";
  w_.clock.now += 15 * kDay + crypto::kMinute;
  EXPECT_EQ(*w_.governance->RunMandates(), 1);
  EXPECT_EQ(Ring().primary, 4U);
  w_.clock.now += 31 * kDay;
  EXPECT_EQ(w_.governance->RunMandates().error().Slug(), "mandate-over");
  EXPECT_EQ(Ring().primary, 4U);
  EXPECT_TRUE(LoadVerified(*w_.ledger));
  w_.Boot();
  ASSERT_EQ(*w_.Done("keyring.set-policy", "org-a", {{"rotate-days", "none"}}), "executed");
  w_.clock.now += 400 * kDay;
  EXPECT_EQ(*w_.governance->RunMandates(), 0);
  EXPECT_TRUE(w_.governance->Overdue().empty());
}

// The install keyring's mandate moves what it wraps for, as votes would.
TEST_F(Mandates, F14_TheInstallKeyringsMandateMovesTheOthers) {
  ASSERT_EQ(*w_.Done("keyring.set-policy", "install", {{"rotate-days", "60"}}), "executed");
  w_.clock.now += 60 * kDay + crypto::kMinute;
  EXPECT_EQ(*w_.governance->RunMandates(), 1);
  EXPECT_EQ(Ring("install").primary, 2U);
  EXPECT_EQ(Ring("org-b").primary, 2U);
  EXPECT_EQ(Ring("org-a").primary, 1U);
  EXPECT_TRUE(LoadVerified(*w_.ledger));
}

// Q9: a front end that was taken over has the mandate and nothing beyond it, by the token's own record.
TEST_F(Mandates, Q9_TheTokenKeepsTheMandateItself) {
  const auto spec = [&](std::uint32_t version, crypto::Suite suite, const std::string& name) {
    return hsm::KeySpec{{"fake-token", crypto::MakeKeyId(Ring().id, version), suite}, hsm::KekLabel(name, version)};
  };
  const auto slug = [&](const hsm::KeySpec& s) {
    const auto made = w_.token.GenerateByMandate(tests::MadeUpMandate(s), s);
    return made ? std::string("made") : std::string(made.error().Slug());
  };
  using enum crypto::Suite;
  EXPECT_EQ(slug(spec(2, kGcm, "org-a")), "no-mandate");
  ASSERT_EQ(*w_.Done("keyring.set-policy", "org-a", {{"rotate-days", "30"}}), "executed");
  EXPECT_EQ(slug(spec(2, kGcm, "org-a")), "mandate-not-due");
  w_.clock.now += 31 * kDay;
  EXPECT_EQ(slug(spec(2, kKwp, "org-a")), "grant-mismatch") << "another suite";
  EXPECT_EQ(slug(spec(2, kGcm, "install")), "grant-mismatch") << "another keyring's name";
  auto other = spec(2, kGcm, "org-a");
  other.ref.key = crypto::MakeKeyId(Ring("install").id, 2);
  EXPECT_EQ(slug(other), "grant-mismatch") << "another keyring's id";
  auto unlabelled = spec(2, kGcm, "org-a");
  unlabelled.label = "strongroom org-a v3";
  EXPECT_EQ(slug(unlabelled), "grant-mismatch");
  EXPECT_EQ(slug(spec(2, kGcm, "org-a")), "made");
  EXPECT_EQ(slug(spec(3, kGcm, "org-a")), "mandate-not-due") << "one an interval";
  w_.clock.now += 400 * kDay;
  EXPECT_EQ(slug(spec(3, kGcm, "org-a")), "mandate-over");
}

// L4: cut off before or after the token did it, a rotation by mandate is settled once.
TEST_F(Mandates, L4_ARotationByMandateThatWasCutOffIsSettled) {
  for (const bool made : {false, true}) {
    World w;
    w.MakeDevKeyrings();
    ASSERT_EQ(*w.Done("keyring.set-policy", "org-a", {{"rotate-days", "30"}}), "executed");
    w.clock.now += 31 * kDay;
    const auto state = w.governance->Snapshot();
    const auto& ring = *state->FindKeyring("org-a");
    const auto effect = *EffectOfMandate(*state, ring, w.clock.Now());
    ledger::Submission intent;
    intent.control.push_back({w.clock.Now(), ledger::MandateUsed{ring.id, 2}});
    State next = *state;
    intent.rows = RowsOf(next, *Apply(next, intent.control[0]));
    ASSERT_TRUE(w.ledger->Record(std::move(intent)));
    if (made) ASSERT_TRUE(w.token.GenerateByMandate(tests::MadeUpMandate(*effect.generate), *effect.generate));
    w.Boot();
    EXPECT_EQ(*w.governance->RunMandates(), made ? 0 : 1) << "what was not done is done now";
    EXPECT_EQ(w.governance->Snapshot()->FindKeyring("org-a")->primary, 2U);
    EXPECT_TRUE(w.governance->Sweep("fake-token")->empty());
    EXPECT_TRUE(LoadVerified(*w.ledger));
  }
}

// A rotation that nobody did is overdue a day later, is shown, and stops new wraps where the policy says so.
TEST_F(Mandates, F14_OverdueIsShownAndEnforcedWhereThePolicySaysSo) {
  ASSERT_EQ(*w_.Done("keyring.set-policy", "org-a", {{"rotate-days", "30"}, {"enforce", "yes"}}), "executed");
  ASSERT_EQ(*w_.Done("keyring.set-policy", "install", {{"rotate-days", "30"}}), "executed");
  w_.token.SetAway(true);
  w_.clock.now += 31 * kDay - kHour;
  EXPECT_FALSE(w_.governance->RunMandates());
  EXPECT_TRUE(w_.governance->Overdue().empty()) << "a day's grace";
  w_.clock.now += 2 * kHour;
  EXPECT_EQ(w_.governance->Overdue(), (std::vector<std::string>{"install", "org-a"}));
  EXPECT_TRUE(w_.governance->EnforcedOverdue("org-a"));
  EXPECT_FALSE(w_.governance->EnforcedOverdue("install"));
  // One check of the three that a quorum can override (G1).
  w_.token.SetAway(false);
  const auto filed = w_.governance->File(
      By("operator-1"),
      {"break-glass.open", "", {{"check", "rotation-overdue"}, {"scope", "keyring:org-a"}}, "we need it now"},
      {"rotation-overdue"});
  ASSERT_TRUE(filed) << filed.error().Line();
}

}  // namespace
}  // namespace strongroom::appliance
