// Who is let in while the token's custody record cannot be relied on: ledger.adopt always, all else as the state says.

#include <gtest/gtest.h>

#include "netapi/api.h"
#include "tests/support/world.h"

namespace strongroom::netapi {
namespace {

using tests::By;
using tests::World;

class CustodyAdmission : public testing::Test {
 protected:
  void SetUp() override {
    w_.MakeDevKeyrings();
    const auto snapshot = [this] { return w_.governance->Snapshot(); };
    checkpointer_ = std::make_unique<appliance::Checkpointer>(
        *w_.ledger, w_.token, w_.clock, snapshot,
        appliance::Checkpointer::Options{std::chrono::hours(1), std::chrono::hours(1)});
    lifecycle_ = std::make_unique<appliance::Lifecycle>(
        *w_.ledger, w_.token, *w_.governance, *checkpointer_,
        appliance::Lifecycle::Schedule{std::chrono::hours(1), std::chrono::hours(1), std::chrono::hours(1)});
    brokers_ = std::make_unique<appliance::Brokers>(
        std::make_unique<appliance::Broker>(*w_.ledger, appliance::Broker::TokenLanes{w_.token, w_.token}, w_.clock,
                                            snapshot, appliance::Broker::Options{}),
        appliance::Brokers::Further{}, snapshot);
    jobs_ = std::make_unique<appliance::RewrapJobs>(*w_.ledger, w_.token, w_.clock, *w_.governance,
                                                    appliance::RewrapJobs::Options{});
    api_ = std::make_unique<Api>(
        *w_.ledger, *w_.governance, *brokers_, *lifecycle_, *checkpointer_, *jobs_, [] { return std::string(); },
        [] { return std::vector<appliance::FurtherReport>(); });
    ASSERT_TRUE(lifecycle_->LookNow());
    ASSERT_TRUE(checkpointer_->Now()) << checkpointer_->Fault();
  }
  // What a request of operator-1 gets: the status, and the slug of a refusal.
  std::string Ask(std::string_view method, const std::string& target) {
    const auto matched = *Match(method, target);
    Caller caller{By("operator-1"), crypto::Role::kOperator};
    const auto admitted = api_->Admit(*matched.route, caller);
    const auto reply =
        admitted ? api_->Control(matched, caller, "", "test-request") : ProblemReply(admitted.error(), "test-request");
    return std::to_string(reply.status) + (reply.problem ? " " + SlugIn(reply.body) : "");
  }
  static std::string SlugIn(const SecretText& body) {
    constexpr std::string_view kBefore = "urn:strongroom:problem:";
    const std::string text(body.begin(), body.end());
    const auto at = text.find(kBefore);
    if (at == std::string::npos) return text;
    const auto from = at + kBefore.size();
    return text.substr(from, text.find('"', from) - from);
  }
  void Grow() {
    ledger::Submission submission;
    submission.evidence.emplace_back();
    submission.evidence.back().time = w_.clock.Now();
    submission.evidence.back().request_id = submission.evidence.back().principal = "-";
    submission.evidence.back().outcome = "ok";
    ASSERT_TRUE(w_.ledger->Record(std::move(submission)));
    EXPECT_FALSE(checkpointer_->Now());
  }
  World w_;
  std::unique_ptr<appliance::Checkpointer> checkpointer_;
  std::unique_ptr<appliance::Lifecycle> lifecycle_;
  std::unique_ptr<appliance::Brokers> brokers_;
  std::unique_ptr<appliance::RewrapJobs> jobs_;
  std::unique_ptr<Api> api_;
};

TEST_F(CustodyAdmission, Q16_AnAdoptionIsExecutedWithoutARestart) {
  const auto grants = *w_.Approved("grant.change", "org-a", {{"grants", "service-1"}});
  (void)checkpointer_->Now();  // the fixture has signed beside it: that is learnt first
  ASSERT_TRUE(checkpointer_->Now()) << checkpointer_->Fault();
  w_.token.Fork();
  Grow();
  EXPECT_EQ(Ask("POST", "/v1/proposals/" + grants + "/execute"), "500 custody-forked");
  const auto adopt = *w_.Approved("ledger.adopt", "");
  EXPECT_EQ(Ask("POST", "/v1/proposals/" + adopt + "/execute"), "200");
  EXPECT_EQ(lifecycle_->State(), appliance::ApplianceState::kOperational);
}

// Also while the data plane is closed: for a head that the token refuses, which is no custody fault.
TEST_F(CustodyAdmission, Q16_AnAdoptionIsExecutedWhileTheDataPlaneIsClosed) {
  const auto grants = *w_.Approved("grant.change", "org-a", {{"grants", "service-1"}});
  auto ahead = *w_.token.ReadLedgerRecord();
  for (auto& anchor : ahead.anchors) anchor.size += 100;
  w_.token.Recall(std::move(ahead));
  Grow();
  ASSERT_TRUE(checkpointer_->Tampered());
  ASSERT_FALSE(lifecycle_->DataPlaneOpen());
  EXPECT_EQ(Ask("POST", "/v1/proposals/" + grants + "/execute"), "503 not-operational");
  EXPECT_EQ(Ask("POST", "/v1/proposals/" + std::string(64, '0') + "/execute"), "404 proposal-not-found");
  const auto adopt = *w_.Approved("ledger.adopt", "");
  EXPECT_EQ(Ask("POST", "/v1/proposals/" + adopt + "/execute"), "200");
  EXPECT_EQ(lifecycle_->State(), appliance::ApplianceState::kOperational);
}

}  // namespace
}  // namespace strongroom::netapi
