// Q10: the ledger's time, and what a clock that cannot be relied on stops.

#include <gtest/gtest.h>

#include "appliance/break_glass.h"
#include "appliance/ledger_clock.h"
#include "tests/support/clock_world.h"

namespace strongroom::appliance {
namespace {

using tests::By;
using tests::World;
constexpr Millis kFirst = 1'800'000'000'000, kYear = 365 * kDay;

TEST(ClockCourse, Q10_GoesWithTheHostsClockWhileThatIsSound) {
  ClockCourse course({kFirst, 500}, kFirst - 1000, false);
  EXPECT_EQ(course.Advance({kFirst + 10, 510}), kFirst + 10);
  EXPECT_EQ(course.Advance({kFirst + kHour, 500 + kHour}), kFirst + kHour);
  EXPECT_EQ(course.Advance({kFirst + kHour - 50, 500 + kHour}), kFirst + kHour) << "it never goes back";
  EXPECT_EQ(course.Advance({kFirst + kYear + 3000, 500 + kYear}), kFirst + kYear + 3000) << "leap seconds";
  EXPECT_FALSE(course.frozen());
}

TEST(ClockCourse, Q10_AStepFreezesItAndTimeGoesOnByTheOtherClock) {
  for (const Millis step : {-kYear, -kClockStep - 1, kClockStep + 1, kYear}) {
    ClockCourse course({kFirst, 0}, 0, false);
    EXPECT_EQ(course.Advance({kFirst + 1000, 1000}), kFirst + 1000);
    EXPECT_EQ(course.Advance({kFirst + 2000 + step, 2000}), kFirst + 2000) << step;
    EXPECT_TRUE(course.frozen()) << step;
    EXPECT_EQ(course.Advance({kFirst + 3000, 3000}), kFirst + 3000);
    EXPECT_TRUE(course.frozen()) << "a clock that comes back by itself is no sounder";
    course.Accept({kFirst - kHour, 4000});
    EXPECT_FALSE(course.frozen());
    EXPECT_EQ(course.Advance({kFirst - kHour + 5, 4005}), kFirst - kHour + 5);
  }
  ClockCourse small({kFirst, 0}, 0, false);
  (void)small.Advance({kFirst + kClockStep, 0});
  EXPECT_FALSE(small.frozen());
}

// Many small steps are one big one.
TEST(ClockCourse, Q10_StepsAddUp) {
  ClockCourse course({kFirst, 0}, 0, false);
  Millis host = kFirst;
  int taken = 0;
  while (!course.frozen() && taken < 100) {
    host += 1000 - 4000;  // a second passes, four go back
    (void)course.Advance({host, ++taken * 1000});
  }
  EXPECT_LE(taken, 5);
}

TEST(ClockCourse, Q10_AStartBehindTheLedgerIsFrozenAndSoIsOneAfterAFreeze) {
  EXPECT_TRUE(ClockCourse({kFirst, 0}, kFirst + kClockStep + 1, false).frozen());
  EXPECT_FALSE(ClockCourse({kFirst, 0}, kFirst + kClockStep, false).frozen());
  ClockCourse ahead({kFirst, 0}, kFirst + 5000, false);
  EXPECT_EQ(ahead.Advance({kFirst + 1, 1}), kFirst + 5000) << "what the ledger has seen is not undone";
  EXPECT_TRUE(ClockCourse({kFirst, 0}, kFirst - kHour, true).frozen()) << "a restart is no acceptance";
  ClockCourse behind({kFirst, 0}, kFirst + kYear, false);
  EXPECT_EQ(behind.Advance({kFirst + 1000, 1000}), kFirst + kYear + 1000);
}

class FrozenWorld : public tests::ClockWorld {};

// A clock set back a year between approve and execute: nothing runs, nothing that expired comes back, a rejection still
// counts, and a quorum ends it.
TEST_F(FrozenWorld, Q10_AClockSetBackAYearBetweenApproveAndExecuteStopsEverythingButItsAcceptance) {
  const auto approved = *w_.Approved("keyring.rotate", "install");
  const auto open = *w_.File("keyring.rotate", "install");
  const auto expired = *w_.File("keyring.rotate", "install");
  Pass(25 * kHour);
  EXPECT_EQ(w_.governance->View(expired)->state, "expired");
  reading_.host -= kYear;
  EXPECT_EQ(w_.governance->Execute(approved, By("operator-1")).error().Slug(), "clock-frozen");
  EXPECT_EQ(w_.governance->View(approved)->state, "approved") << "nothing is consumed";
  EXPECT_EQ(w_.governance->View(expired)->state, "expired") << "what expired stays so";
  EXPECT_EQ(w_.File("keyring.rotate", "install").error().Slug(), "clock-frozen");
  EXPECT_TRUE(w_.governance->Snapshot()->clock_frozen) << "it is in the ledger";
  EXPECT_EQ(w_.Approve(approved, "custodian-3").error().Slug(), "clock-frozen");
  const auto text = w_.governance->View(approved)->proposal->text;
  EXPECT_TRUE(w_.governance->Vote(By("operator-1"), approved,
                                  World::quorum().Sign("custodian-3", text, crypto::Verdict::kReject)))
      << "saying no is always possible";
  Boot();
  EXPECT_EQ(w_.File("keyring.rotate", "install").error().Slug(), "clock-frozen") << "a restart is no acceptance";
  EXPECT_EQ(w_.governance->View(expired)->state, "expired");
  const auto accept = *w_.Approved("clock.accept", "");
  const auto& proposal = w_.governance->View(accept)->proposal->parsed;
  EXPECT_EQ(proposal.params.at("clock"), FormatTime(reading_.host));
  EXPECT_EQ(proposal.created, reading_.host / 1000 * 1000) << "dated by the clock that it accepts";
  EXPECT_EQ(w_.governance->Execute(accept, By("operator-1"))->state, "executed");
  EXPECT_FALSE(w_.governance->Snapshot()->clock_frozen);
  EXPECT_EQ(w_.governance->View(expired)->state, "stale") << "and is not alive a year ago";
  EXPECT_EQ(w_.governance->View(open)->state, "stale");
  EXPECT_EQ(*w_.Done("keyring.rotate", "install"), "executed") << "life goes on";
  EXPECT_EQ(w_.File("clock.accept", "").error().Slug(), "clock-not-frozen");
  EXPECT_TRUE(LoadVerified(*w_.ledger));
  Boot();
  EXPECT_EQ(*w_.Done("keyring.rotate", "install"), "executed") << "also after the next start";
}

// A schedule by a clock that cannot be relied on rotates nothing, however due it is by that clock.
TEST_F(FrozenWorld, Q10_F14_AScheduleWaitsForTheClock) {
  ASSERT_EQ(*w_.Done("keyring.set-policy", "install", {{"rotate-days", "30"}}), "executed");
  Pass(29 * 24 * kHour);
  reading_.host += 10 * 24 * kHour;  // a jump ahead, beyond the day that it is due
  EXPECT_TRUE(w_.governance->WatchClock());
  EXPECT_EQ(*w_.governance->RunMandates(), 0);
  Boot();
  EXPECT_EQ(*w_.governance->RunMandates(), 0) << "nor after a restart";
  reading_.host -= 10 * 24 * kHour;
  ASSERT_EQ(*w_.Done("clock.accept", ""), "executed");
  EXPECT_EQ(*w_.governance->RunMandates(), 0) << "the day has not come";
  Pass(2 * 24 * kHour);
  EXPECT_EQ(*w_.governance->RunMandates(), 1);
  EXPECT_EQ(*w_.governance->RunMandates(), 0) << "and not twice";
}

// The token's host stands a year ahead in its memory: only a quorum brings it back, and votes from before are void.
TEST_F(FrozenWorld, Q10_AClockThatRanAheadIsSetRightByQuorum) {
  reading_.host += kYear;
  Boot();  // a forward jump while the machine was off cannot be seen
  ASSERT_EQ(*w_.Done("keyring.rotate", "install"), "executed");
  const auto future = *w_.Approved("keyring.rotate", "install");
  reading_.host -= kYear;
  EXPECT_EQ(w_.governance->Execute(future, By("operator-1")).error().Slug(), "clock-frozen");
  const auto rejected = *w_.Approved("clock.accept", "");
  reading_.host -= kHour;
  EXPECT_EQ(w_.governance->Execute(rejected, By("operator-1")).error().Slug(), "stale")
      << "not the clock that was named";
  const auto accept = *w_.Approved("clock.accept", "");
  ASSERT_EQ(w_.governance->Execute(accept, By("operator-1"))->state, "executed");
  EXPECT_FALSE(w_.governance->Execute(future, By("operator-1")));
  EXPECT_EQ(*w_.Done("keyring.rotate", "install"), "executed");
}

// L4: cut off between the token's acceptance and the entry, it is settled at the next start.
TEST_F(FrozenWorld, L4_AnAcceptanceThatWasCutOffIsSettled) {
  const auto id = CutOffAcceptance();
  Boot();
  EXPECT_NE(clock_->Fault(), "");
  EXPECT_EQ(*w_.governance->Reconcile(), 1);
  EXPECT_EQ(clock_->Fault(), "");
  EXPECT_FALSE(w_.governance->Snapshot()->clock_frozen);
  EXPECT_TRUE(LoadVerified(*w_.ledger));
}

TEST_F(FrozenWorld, G4_AClockFaultClosesBreakGlass) {
  const auto filed = w_.governance->File(
      By("operator-1"),
      {"break-glass.open", "", {{"check", "provider-health"}, {"scope", "token:fake-token"}}, "a test"},
      {"provider-health"});
  const auto id = filed->proposal->id;
  ASSERT_TRUE(w_.Approve(id, "custodian-1"));
  ASSERT_TRUE(w_.Approve(id, "custodian-2"));
  ASSERT_TRUE(w_.governance->Execute(id, By("operator-1")));
  ASSERT_TRUE(w_.governance->overrides().Use("provider-health", "token:fake-token"));
  reading_.host += kHour;
  EXPECT_FALSE(w_.governance->overrides().Use("provider-health", "token:fake-token")) << "at the very next use";
  ASSERT_TRUE(w_.governance->WatchClock());
  EXPECT_EQ(w_.governance->Snapshot()->break_glass.at(id)->reason, "clock");
  EXPECT_EQ(w_.governance->Snapshot()->break_glass.at(id)->uses, 1U);
}

}  // namespace
}  // namespace strongroom::appliance
