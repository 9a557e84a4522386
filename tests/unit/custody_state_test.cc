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
