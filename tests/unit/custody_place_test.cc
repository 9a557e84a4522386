// Which stretch of the control log a text was drafted in, as a token that signs none can tell it (Q7, Q10).

#include <gtest/gtest.h>

#include "crypto/custody.h"
#include "tests/support/custody_time.h"
#include "tests/support/quorum_fixture.h"

namespace strongroom::crypto {
namespace {

using tests::SharedQuorum;

class CustodyPlace : public testing::Test {
 protected:
  CustodyPlace() {
    further_.instance = SharedQuorum().instance();
    further_.custody.roster_version = 1;
    further_.custody.roster_hash = SharedQuorum().roster().hash();
    further_.custody.seen = now_;
    further_.custody.further = true;
  }
  std::string Spend(LedgerRecord& record, const std::string& operation, std::uint64_t size, std::uint64_t epoch = 1) {
    std::map<std::string, std::string, std::less<>> params = {{"token", "t"}, {"number", std::to_string(++count_)}};
    if (operation == "clock.accept") params["clock"] = FormatTime(now_);
    auto proposal = SharedQuorum().Proposal(operation, "", std::move(params), now_);
    proposal.control_size = size;
    proposal.epoch = epoch;
    const auto text = *proposal.Render();
    const auto grant =
        *GrantExecution(SharedQuorum().roster(), text,
                        {SharedQuorum().Sign("custodian-1", text), SharedQuorum().Sign("custodian-2", text)}, now_);
    const auto spent = tests::Spend(record, grant, now_);
    if (!spent) return std::string(spent.error().Slug());
    record = *spent;
    return "ok";
  }
  Millis now_ = SystemClock().Now();
  LedgerRecord further_;
  int count_ = 0;
};

constexpr std::uint64_t kLongest = UINT64_MAX;

// Does a text that names a made-up length of the log lock a further token for everything that comes after it?
TEST_F(CustodyPlace, Q10_NoSizeLocksAFurtherToken) {
  EXPECT_EQ(Spend(further_, "token.enrol", kLongest), "stale");
  EXPECT_EQ(Spend(further_, "token.enrol", std::uint64_t{1} << 40), "stale");
  EXPECT_EQ(Spend(further_, "token.enrol", 5'000'000), "ok") << "a long log is enrolled into";
  EXPECT_EQ(Spend(further_, "clock.accept", 5'000'000 + (1U << 20) + 1), "stale");
  EXPECT_EQ(Spend(further_, "clock.accept", 5'000'001), "ok");
  auto at_the_end = further_;
  at_the_end.custody.most = kLongest - 5;
  at_the_end.custody.floor_set = false;
  EXPECT_EQ(Spend(at_the_end, "clock.accept", kLongest - 3), "ok") << "the bound does not wrap";
}

// Floor and most are places in one epoch's log: does a further token follow an adoption to a shorter one?
TEST_F(CustodyPlace, Q7_AFurtherTokenFollowsTheEpochToAShorterLog) {
  ASSERT_EQ(Spend(further_, "clock.accept", 900'000), "ok");
  auto stays = further_;
  EXPECT_EQ(Spend(stays, "clock.accept", 40), "stale") << "before the floor of its own epoch";
  EXPECT_EQ(Spend(stays, "clock.accept", 40, 2000), "stale") << "no adoption leaps so far";
  EXPECT_EQ(Spend(further_, "clock.accept", 40, 2), "ok");
  EXPECT_EQ(further_.epoch, 2U);
  EXPECT_EQ(further_.custody.most, 40U);
  EXPECT_EQ(Spend(further_, "clock.accept", 900'001, 1), "stale") << "nothing of the former epoch runs";
  EXPECT_EQ(Spend(further_, "clock.accept", 41, 2), "ok");
}

// Does an enrolment move the token that signs the logs into another epoch?
TEST_F(CustodyPlace, L7_TheMainTokenFollowsNothing) {
  auto main = further_;
  main.custody.further = false;
  main.anchors = {{ControlOrigin(main.instance), 7, Digest{1}}};
  EXPECT_EQ(Spend(main, "token.enrol", 7, 2), "stale");
  EXPECT_EQ(Spend(main, "token.enrol", 8), "stale") << "beyond what was signed";
  EXPECT_EQ(Spend(main, "token.enrol", 7), "ok");
}

}  // namespace
}  // namespace strongroom::crypto
