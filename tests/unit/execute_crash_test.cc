// L4, Q5: the service dies at every step of an execution, of every operation; what the next start makes of it.

#include <gtest/gtest.h>

#include "appliance/ledger_clock.h"
#include "appliance/proposal_params.h"
#include "appliance/proposal_shares.h"
#include "tests/support/world.h"

namespace strongroom::appliance {
namespace {

using tests::By;
using tests::World;

// Passes everything on to the token; at what changes it, keeps a copy of the database as it is then, and perhaps does
// not do it: the machine went down before or after.
class DyingKeyOps final : public hsm::KeyOps {
 public:
  DyingKeyOps(World& world, bool before) : world_(world), before_(before) {}
  std::vector<Result<hsm::KeyOpOutput>> Execute(std::span<const hsm::KeyOp> ops) override {
    return world_.token.Execute(ops);
  }
  Result<void> Generate(crypto::ExecutionGrant grant, const hsm::KeySpec& spec) override {
    Copy();
    if (before_) return Invalid("the machine is down");
    return world_.token.Generate(std::move(grant), spec);
  }
  Result<void> ChangeLedgerRecord(crypto::ExecutionGrant grant) override {
    Copy();
    if (before_) return Invalid("the machine is down");
    return world_.token.ChangeLedgerRecord(std::move(grant));
  }
  Result<void> GenerateByMandate(crypto::StandingGrant grant, const hsm::KeySpec& spec) override {
    return world_.token.GenerateByMandate(std::move(grant), spec);
  }
  Result<void> Destroy(crypto::StandingGrant grant, const hsm::KeyRef& key) override {
    return world_.token.Destroy(std::move(grant), key);
  }
  Result<void> CancelDestruction(const hsm::KeyRef& key) override { return world_.token.CancelDestruction(key); }
  Result<std::vector<hsm::KeyRecord>> Inventory() override { return world_.token.Inventory(); }
  Result<void> SelfTest() override { return world_.token.SelfTest(); }
  Result<hsm::TokenIdentity> Identity() override { return world_.token.Identity(); }
  Result<std::vector<hsm::CheckpointSignature>> SignCheckpoint(const crypto::Checkpoint& head,
                                                               std::span<const crypto::Digest> proof) override {
    return world_.token.SignCheckpoint(head, proof);
  }
  Result<std::vector<hsm::CheckpointKey>> CheckpointKeys() override { return world_.token.CheckpointKeys(); }
  Result<crypto::LedgerRecord> ReadLedgerRecord() override { return world_.token.ReadLedgerRecord(); }
  Result<hsm::RecordToAdopt> ReadRecordToAdopt() override { return world_.token.ReadRecordToAdopt(); }
  Result<void> JudgeProposal(crypto::ExecutionGrant grant) override {
    return world_.token.JudgeProposal(std::move(grant));
  }
  Result<void> BringChain(const crypto::RosterChain& chain) override { return world_.token.BringChain(chain); }
  Result<crypto::RosterChain> ReadChain() override { return world_.token.ReadChain(); }
  bool died() const { return died_; }

 private:
  void Copy() {
    died_ = true;
    std::filesystem::copy(world_.dir.File("data"), world_.dir.File("at-death"),
                          std::filesystem::copy_options::recursive);
  }
  World& world_;
  const bool before_;
  bool died_ = false;
};

struct GovernedOperation {
  const char *name, *keyring;
  Params params;
  bool asks_token;
};
const std::vector<GovernedOperation>& Operations() {
  static const std::vector<GovernedOperation> kOperations = {
      {"keyring.create", "org-x", {{"custody", "token"}}, true},
      {"keyring.rotate", "install", {}, true},
      {"keyring.emergency-rotate", "install", {}, true},
      {"version.destroy", "org-a", {{"version", "1"}, {"waive", "service-1,service-2"}, {"quiet-hours", "0"}}, true},
      {"roster.change", "", {{"remove-service-2", "yes"}}, true},
      {"ledger.rotate-key", "", {}, true},
      {"version.archive", "org-a", {{"version", "1"}, {"waive", "service-1,service-2"}, {"quiet-hours", "0"}}, false},
      {"grant.change", "org-a", {{"grants", "service-1"}}, false},
      {"break-glass.open", "", {{"check", "witness"}, {"scope", "ceremonies"}, {"drill", "yes"}}, false},
  };
  return kOperations;
}

class ExecuteCrash : public testing::TestWithParam<std::size_t> {
 protected:
  const GovernedOperation& op() const { return Operations()[GetParam()]; }
  void SetUp() override {
    w_.MakeDevKeyrings();
    ASSERT_EQ(*w_.Done("keyring.rotate", "org-a"), "executed");
    // A checkpoint key is followed only once it has signed.
    const auto head = w_.ledger->HeadOf(ledger::Log::kControl);
    ASSERT_TRUE(
        w_.token.SignCheckpoint({crypto::ControlOrigin(World::quorum().instance()), head.size, head.root, {}}, {}));
  }
  World w_;
};

TEST_P(ExecuteCrash, L4_Q5_AtEveryStepTheNextStartSettlesItOnce) {
  for (const bool before : {true, false}) {
    const auto id = *w_.Approved(op().name, op().keyring, op().params);
    DyingKeyOps dying(w_, before);
    w_.governance = std::make_unique<Governance>(*w_.ledger, dying, w_.clock, *Load(*w_.ledger));
    (void)w_.governance->Execute(id, By("operator-1"));
    ASSERT_EQ(dying.died(), op().asks_token);
    if (!op().asks_token) {  // one transaction and another: nothing lies between that the token would know of
      EXPECT_EQ(w_.governance->View(id)->state, "executed");
      EXPECT_TRUE(LoadVerified(*w_.ledger));
      return;
    }
    w_.PutCopyBack("at-death");
    std::filesystem::remove_all(w_.dir.File("at-death"));
    EXPECT_EQ(w_.governance->View(id)->state, "executing") << "the intent was durable before the token was asked";
    // An emergency that its token has not done yet is carried out: the compromise stands, and the new version follows.
    const bool over = before && std::string(op().name) != "keyring.emergency-rotate";
    EXPECT_EQ(w_.governance->Execute(id, By("operator-1")).error().Slug(), over ? "not-open" : "already-executed")
        << "settled by looking, and not done again";
    EXPECT_EQ(w_.governance->View(id)->state, over ? "failed" : "executed");
    EXPECT_EQ(*w_.governance->Reconcile(), 0) << "once";
    EXPECT_TRUE(LoadVerified(*w_.ledger));
    EXPECT_TRUE(w_.governance->Sweep("fake-token")->empty());
    // What became of the KEKs is what the record says of them, and the appliance goes on.
    if (before && std::string(op().name) != "keyring.emergency-rotate") continue;
    if (std::string(op().name) != "roster.change") EXPECT_EQ(*w_.Done("keyring.rotate", "org-a"), "executed");
    return;
  }
}

INSTANTIATE_TEST_SUITE_P(All, ExecuteCrash, testing::Range<std::size_t>(0, 9), [](const auto& i) {
  std::string name = Operations()[i.param].name;
  std::replace_if(
      name.begin(), name.end(), [](char c) { return c == '.' || c == '-'; }, '_');
  return name;
});

// Bounded, whoever files: ten thousand proposals are a hundred, and the rest are refused while those are open.
TEST(OpenProposals, L6_TenThousandAreBounded) {
  World w;
  w.MakeDevKeyrings();
  std::size_t filed = 0, refused = 0;
  std::string last;
  for (int i = 0; i < 10'000; ++i) {
    const auto view = w.governance->File(By("operator-1"), {"keyring.rotate", "install", {}, "one of many"});
    if (view) {
      ++filed;
      last = view->proposal->id;
    } else {
      ++refused;
      ASSERT_EQ(view.error().Slug(), "requester-over-share");
      ASSERT_EQ(view.error().code, Code::kOverloaded);
    }
    if (refused == 20) break;  // the next nine thousand are like these
  }
  EXPECT_EQ(filed, kMaxOpenOfOne);
  ASSERT_TRUE(w.governance->Withdraw(last, By("operator-1")));
  EXPECT_TRUE(w.governance->File(By("operator-1"), {"keyring.rotate", "install", {}, "room again"}));
}

// Q1: what is signed must be what is seen.
TEST(OpenProposals, Q1_AReasonThatCannotBeReadIsNotFiled) {
  World w;
  w.MakeDevKeyrings();
  const auto refused = [&](const std::string& reason) {
    return w.governance->File(By("operator-1"), {"keyring.rotate", "install", {}, reason}).error().Slug();
  };
  for (const std::string& bad :
       {std::string(std::size_t{1} << 20, 'x'), std::string(), std::string(" leading"), std::string("two\nlines"),
        std::string("bell\a"), std::string("nul\0byte", 8), std::string("line\u2028separator"),
        std::string("next\u0085line"), std::string("right\u202Eto left"), std::string("zero\u200Bwidth"),
        std::string("bad \xff utf-8"), std::string("bom\uFEFF"), std::string("tab\there"), std::string("cr\rhere")})
    EXPECT_EQ(refused(bad), "invalid-request") << bad.substr(0, 40);
  EXPECT_TRUE(w.governance->File(By("operator-1"), {"keyring.rotate", "install", {}, "jährlich, 毎年"}));
}

}  // namespace
}  // namespace strongroom::appliance
