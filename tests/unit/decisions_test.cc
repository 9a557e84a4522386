#include "appliance/decisions.h"

#include <gtest/gtest.h>

#include "appliance/lifecycle.h"
#include "appliance/refusal_meter.h"

namespace strongroom::appliance {
namespace {

TEST(GrantsText, RefusesWhatIsNotAGrant) {
  for (const auto* text : {"", "Service", "service-1=", "service-1=read", "service-1=wrap+", "service-1,service-1",
                           "service-1=wrap,", ",", "service-1=wrap=unwrap", "none,service-1=x"})
    EXPECT_FALSE(Grants::Parse(text)) << text;
}

TEST(GrantsText, F11_IsCanonicalAndPerOperation) {
  const auto grants = Grants::Parse("service-2=unwrap+wrap,service-1");
  ASSERT_TRUE(grants);
  EXPECT_EQ(grants->Text(), "service-1=datakey+rewrap+unwrap+wrap,service-2=unwrap+wrap");
  EXPECT_TRUE(grants->Allows("service-2", ledger::Operation::kWrap));
  EXPECT_FALSE(grants->Allows("service-2", ledger::Operation::kRewrap));
  EXPECT_FALSE(grants->Allows("service-3", ledger::Operation::kWrap));
  EXPECT_FALSE(grants->Knows("service-3"));
  EXPECT_EQ(Grants::Parse("none")->Text(), "none");
  // To manage is granted by its name alone, and is neither to wrap nor to read.
  EXPECT_FALSE(grants->Manages("service-1"));
  const auto managing = Grants::Parse("service-1=wrap+manage,service-2=manage");
  EXPECT_EQ(managing->Text(), "service-1=manage+wrap,service-2=manage");
  EXPECT_TRUE(managing->Manages("service-2") && managing->Knows("service-2"));
  EXPECT_TRUE(managing->Allows("service-2", ledger::Operation::kDekDelete));
  for (const auto operation : {ledger::Operation::kDekPut, ledger::Operation::kWrap, ledger::Operation::kUnwrap,
                               ledger::Operation::kRewrap, ledger::Operation::kDataKey, ledger::Operation::kOther})
    EXPECT_FALSE(managing->Allows("service-2", operation));
}

TEST(LifecycleState, FailsClosedInItsOrder) {
  EXPECT_EQ(JudgeState(true, true, true, true, true), ApplianceState::kFailed);
  EXPECT_EQ(JudgeState(false, false, false, true, true), ApplianceState::kUninitialised);
  EXPECT_EQ(JudgeState(false, true, false, false, true), ApplianceState::kLocked);
  EXPECT_EQ(JudgeState(false, true, false, true, false), ApplianceState::kDegraded);
  EXPECT_EQ(JudgeState(false, true, true, true, true), ApplianceState::kRollback);
  EXPECT_EQ(JudgeState(false, true, false, true, true), ApplianceState::kOperational);
}

TEST(TokenStates, EachIsNamedAndTheWorstComesFirst) {
  using enum hsm::LinkState;
  const auto judge = [](std::vector<hsm::LinkState> links, bool impostor = false, bool wrong = false,
                        bool passed = true, bool clean = true) {
    return JudgeToken({std::move(links), impostor, wrong, passed, clean});
  };
  EXPECT_EQ(judge({kDown, kDown}), TokenState::kDown);
  EXPECT_EQ(judge({kDown, kConnecting}), TokenState::kConnecting);
  EXPECT_EQ(judge({kPinLatched, kConnecting}), TokenState::kPinLatched);
  EXPECT_EQ(judge({kUp}, false, false, false), TokenState::kVerifying);
  EXPECT_EQ(judge({kUp}), TokenState::kReady);
  EXPECT_EQ(judge({kUp, kDown}), TokenState::kDegraded) << "one host of two";
  EXPECT_EQ(judge({kUp, kPinLatched}), TokenState::kDegraded) << "who is logged in goes on";
  EXPECT_EQ(judge({kUp}, false, true, false), TokenState::kDegraded) << "a wrong canary";
  EXPECT_EQ(judge({kUp}, false, false, true, false), TokenState::kDegraded) << "a strange key";
  EXPECT_EQ(judge({kUp}, true), TokenState::kImpostor);
  EXPECT_EQ(judge({kDown}, true), TokenState::kImpostor) << "what was seen once holds until another is seen";
}

// L5: does a flood of refusals stay bounded, and is what was left out counted?
TEST(RefusalMeter, L5_FloodIsBoundedAndCounted) {
  RefusalMeter meter;
  int recorded = 0;
  std::uint32_t suppressed = 0, total = 0;
  for (int i = 0; i < 100'000; ++i)  // ten seconds at ten thousand a second
    if (meter.Take(1'000'000 + i / 10, suppressed)) {
      ++recorded;
      total += suppressed;
    }
  EXPECT_LE(recorded, 301);
  EXPECT_GE(recorded, 250);
  EXPECT_TRUE(meter.Take(1'100'000, suppressed));
  EXPECT_EQ(static_cast<std::uint32_t>(recorded) + total + suppressed, 100'000U);
}

}  // namespace
}  // namespace strongroom::appliance
