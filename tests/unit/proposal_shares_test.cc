// Can one person stop the others in governance (Q18)? Floods of proposals, of filings that are withdrawn, of
// rejections.

#include <gtest/gtest.h>

#include "appliance/checkpointer.h"
#include "appliance/governance.h"
#include "appliance/proposal_params.h"
#include "appliance/proposal_shares.h"
#include "provisioning/process.h"
#include "tests/support/world.h"

namespace strongroom::appliance {
namespace {

using tests::By;
using tests::World;

class ProposalShares : public testing::Test {
 protected:
  void SetUp() override { w_.MakeDevKeyrings(); }
  Result<std::string> FileBy(const std::string& who, const std::string& operation, const std::string& keyring = {},
                             Params params = {}) {
    TRY_ASSIGN(const auto view, w_.governance->File(By(who), {operation, keyring, std::move(params), "one of many"}));
    return view.proposal->id;
  }
  // Files until it is refused; what was filed, and why no more is.
  std::pair<std::vector<std::string>, std::string> Flood(const std::string& who, const std::string& operation,
                                                         const std::string& keyring = {}, const Params& params = {}) {
    std::vector<std::string> filed;
    while (filed.size() < 1100) {
      const auto id = FileBy(who, operation, keyring, params);
      if (!id) return {filed, std::string(id.error().Slug())};
      filed.push_back(*id);
    }
    return {filed, "nothing refuses it"};
  }
  std::string State(const std::string& id) { return w_.governance->View(id)->state; }
  void Reject(const std::string& id, const std::string& custodian) {
    const auto text = w_.governance->View(id)->proposal->text;
    const auto voted =
        w_.governance->Vote(By(custodian), id, World::quorum().Sign(custodian, text, crypto::Verdict::kReject));
    ASSERT_TRUE(voted) << voted.error().Line();
  }
  // Somebody else's key in a custodian's place.
  Params Replacement(const std::string& custodian) {
    (void)provisioning::RunProcess({"ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", w_.dir.File("new")});
    std::istringstream key_file(tests::ReadFile(w_.dir.File("new.pub")));
    std::string type, key, proof;
    key_file >> type >> key;
    key = type + " " + key;
    std::istringstream armored(
        *provisioning::SshSign(w_.dir.File("new"), std::string(crypto::kRosterNamespace),
                               crypto::PossessionText(w_.governance->Snapshot()->roster->instance(), custodian, key)));
    for (std::string line; std::getline(armored, line);)
      if (!line.starts_with("-----")) proof += line;
    return {{"remove-" + custodian, "yes"},
            {"add-" + custodian, "custodian " + ToHex(tests::QuorumFixture::Spki("new")) + " " + key},
            {"proof-" + custodian, proof}};
  }
  // What the tables say follows from the log alone, and is what is in memory.
  void ExpectRebuilt() {
    ASSERT_TRUE(LoadVerified(*w_.ledger)) << LoadVerified(*w_.ledger).error().Line();
    const auto in_memory = AllRows(*w_.governance->Snapshot()), replayed = AllRows(*Replay(*w_.ledger));
    ASSERT_EQ(in_memory.size(), replayed.size());
    for (std::size_t i = 0; i < replayed.size(); ++i) {
      EXPECT_EQ(in_memory[i].key, replayed[i].key);
      EXPECT_EQ(in_memory[i].value, replayed[i].value) << replayed[i].key;
    }
  }
  World w_;
};

TEST_F(ProposalShares, Q18_OneRequesterDoesNotUseUpTheRoom) {
  const Params removal = {{"policy-rotation", "2"}, {"remove-auditor-1", "yes"}};
  for (const auto& [operation, keyring, params] :
       std::vector<std::tuple<std::string, std::string, Params>>{{"roster.change", "", removal},
                                                                 {"keyring.emergency-rotate", "install", {}},
                                                                 {"keyring.rotate", "install", {}}}) {
    const auto [filed, slug] = Flood("operator-2", operation, keyring, params);
    EXPECT_EQ(slug, "requester-over-share") << operation;
    EXPECT_LE(filed.size(), 100U) << operation;
  }
  // Everybody else goes on as if nothing were, and so does he where it is urgent and he has not flooded.
  EXPECT_TRUE(FileBy("operator-1", "keyring.rotate", "install"));
  EXPECT_TRUE(FileBy("operator-1", "keyring.emergency-rotate", "install"));
  EXPECT_TRUE(FileBy("operator-1", "roster.change", {}, {{"remove-operator-2", "yes"}}));
  EXPECT_TRUE(FileBy("custodian-1", "keyring.rotate", "org-a"));
}

// A thousand proposals of ten people together fill the common room; what is urgent still has its own.
TEST_F(ProposalShares, Q18_RoomIsKeptForRosterEmergencyAndRecovery) {
  const auto first = *FileBy("operator-1", "keyring.rotate", "install");
  auto state = *w_.governance->Snapshot();
  auto text = state.FindProposal(first)->parsed;
  const auto now = w_.clock.Now();
  const auto check = [&](const std::string& who, const std::string& policy_class) {
    const auto checked = CheckShares(state, who, policy_class, {now, now});
    return checked ? std::string("there is room") : std::string(checked.error().Slug());
  };
  for (std::size_t n = 1; n < kMaxOpenProposals; ++n) {
    text.requester = "person-" + std::to_string(n / 100);
    text.nonce[0] = static_cast<std::uint8_t>(n);
    ASSERT_EQ(check(text.requester, "rotation"), "there is room") << n;
    ASSERT_TRUE(Apply(state, {now, ledger::ProposalFiled{*text.Render()}})) << n;
  }
  EXPECT_EQ(check("someone-new", "rotation"), "too-many-proposals");
  for (const auto* urgent : {"roster", "emergency", "recovery"})
    EXPECT_EQ(check("someone-new", urgent), "there is room");
}

// Filing and withdrawing is bounded by the log itself: a restart forgets nothing, a day does.
TEST_F(ProposalShares, Q18_FilingAndWithdrawingIsBounded) {
  std::size_t rounds = 0;
  std::string slug;
  for (; rounds < 1100 && slug.empty(); ++rounds) {
    if (rounds == 100) w_.Boot();
    const auto id = FileBy("operator-2", "keyring.rotate", "install");
    if (!id)
      slug = id.error().Slug();
    else
      ASSERT_TRUE(w_.governance->Withdraw(*id, By("operator-2")));
  }
  EXPECT_EQ(slug, "too-many-filings");
  w_.Boot();
  EXPECT_EQ(FileBy("operator-2", "keyring.rotate", "install").error().Slug(), "too-many-filings");
  EXPECT_EQ(FileBy("operator-2", "keyring.rotate", "install").error().code, Code::kOverloaded);
  EXPECT_TRUE(FileBy("operator-1", "keyring.rotate", "install")) << "the others go on";
  EXPECT_TRUE(FileBy("operator-2", "keyring.emergency-rotate", "install")) << "and what is urgent has its own count";
  w_.clock.now += kDay + 60'000;
  EXPECT_TRUE(FileBy("operator-2", "keyring.rotate", "install"));
  ExpectRebuilt();
}

TEST_F(ProposalShares, Q18_UrgentFilingsAreBoundedEachByItself) {
  std::string slug;
  std::size_t rounds = 0;
  for (; rounds < 1100 && slug.empty(); ++rounds) {
    const auto id = FileBy("operator-2", "keyring.emergency-rotate", "install");
    if (!id)
      slug = id.error().Slug();
    else
      ASSERT_TRUE(w_.governance->Withdraw(*id, By("operator-2")));
  }
  EXPECT_EQ(slug, "too-many-filings");
  EXPECT_TRUE(FileBy("operator-2", "roster.change", {}, {{"remove-operator-2", "yes"}}));
  EXPECT_TRUE(FileBy("operator-2", "keyring.rotate", "install"));
}

TEST_F(ProposalShares, Q18_OneRejectionClosesWhatItsRequesterHasOpenBeyondSixteen) {
  const auto [flood, slug] = Flood("operator-2", "keyring.rotate", "install");
  const auto roster = *FileBy("operator-2", "roster.change", {}, {{"remove-auditor-1", "yes"}});
  const auto emergency = *FileBy("operator-2", "keyring.emergency-rotate", "install");
  const auto of_another = *FileBy("operator-1", "keyring.rotate", "install");
  ASSERT_GT(flood.size(), 40U);
  // One of them has the votes of the two who would have to reject it.
  ASSERT_TRUE(w_.Approve(flood[30], "custodian-3"));
  Reject(flood[20], "custodian-3");
  for (std::size_t i = 0; i < flood.size(); ++i) {
    if (i < 16 || i == 30) EXPECT_EQ(State(flood[i]), "open") << i;
    if (i >= 16 && i != 30) EXPECT_EQ(State(flood[i]), "rejected") << i;
  }
  EXPECT_EQ(State(roster), "open");
  EXPECT_EQ(State(emergency), "open");
  EXPECT_EQ(State(of_another), "open");
  // What is closed takes no votes, and does not come back.
  EXPECT_EQ(w_.Approve(flood[40], "custodian-1").error().Slug(), "not-open");
  EXPECT_EQ(w_.governance->Execute(flood[40], By("operator-1")).error().Slug(), "not-open");
  EXPECT_EQ(w_.governance->Withdraw(flood[40], By("operator-2")).error().Slug(), "not-open");
  ExpectRebuilt();
  w_.Boot();
  EXPECT_EQ(State(flood[40]), "rejected");
}

TEST_F(ProposalShares, Q18_SixteenOrFewerAreLeftAlone) {
  std::vector<std::string> filed;
  for (int i = 0; i < 17; ++i) filed.push_back(*FileBy("operator-2", "keyring.rotate", "install"));
  Reject(filed[16], "custodian-1");
  for (int i = 0; i < 16; ++i) EXPECT_EQ(State(filed[static_cast<std::size_t>(i)]), "open") << i;
}

// Who is to be removed stops nothing by that: neither what asks for it nor what else its requester has open.
TEST_F(ProposalShares, Q18_WhoIsToBeRemovedClosesNothing) {
  std::vector<std::string> filed;
  for (int i = 0; i < 20; ++i) filed.push_back(*FileBy("operator-2", "keyring.rotate", "install"));
  const auto removal = *FileBy("operator-2", "roster.change", {}, {{"remove-auditor-1", "yes"}});
  const auto hers = FileBy("operator-1", "roster.change", {}, Replacement("custodian-3"));
  ASSERT_TRUE(hers) << hers.error().Line();
  Reject(filed[19], "custodian-3");
  EXPECT_EQ(State(filed[19]), "rejected") << "her own rejection is one";
  for (std::size_t i = 0; i < 19; ++i) EXPECT_EQ(State(filed[i]), "open") << i;
  Reject(filed[18], "custodian-1");
  EXPECT_EQ(State(filed[17]), "rejected") << "the others may";
  EXPECT_EQ(State(filed[15]), "open");
  EXPECT_EQ(State(removal), "open");
}

// A bot that rejects at once does not keep a recovery from happening.
TEST_F(ProposalShares, Q18_RecoveryAndEmergencyOutliveOneRejection) {
  for (const auto* operation : {"keyring.emergency-rotate"}) {
    const auto id = *FileBy("operator-1", operation, "install");
    Reject(id, "custodian-3");
    EXPECT_EQ(State(id), "open") << operation;
  }
  EXPECT_TRUE(crypto::OutlivesRejection("recovery"));
  EXPECT_TRUE(crypto::OutlivesRejection("emergency"));
  EXPECT_TRUE(crypto::OutlivesRejection("roster"));
  for (const auto* mortal : {"rotation", "ceremony", "destruction", "break-glass"})
    EXPECT_FALSE(crypto::OutlivesRejection(mortal)) << mortal;
}

// In a rollback nothing but the adoption is possible: one custodian's veto does not keep it from happening.
TEST_F(ProposalShares, Q18_InARollbackOneVetoDoesNotStopTheAdoption) {
  const auto sign = [&] {
    Checkpointer checkpointer(
        *w_.ledger, w_.token, w_.clock, [this] { return w_.governance->Snapshot(); },
        Checkpointer::Options{std::chrono::hours(1), std::chrono::hours(1)});
    checkpointer.Enable();
    ASSERT_TRUE(checkpointer.Now());
  };
  sign();
  w_.KeepCopy();
  ASSERT_EQ(*w_.Done("keyring.rotate", "install"), "executed");
  sign();
  w_.PutCopyBack();
  const auto id = FileBy("operator-1", "ledger.adopt");
  ASSERT_TRUE(id) << id.error().Line();
  Reject(*id, "custodian-3");
  EXPECT_EQ(State(*id), "open");
  ASSERT_TRUE(w_.Approve(*id, "custodian-1"));
  ASSERT_TRUE(w_.Approve(*id, "custodian-2"));
  const auto done = w_.governance->Execute(*id, By("operator-1"));
  ASSERT_TRUE(done) << done.error().Line();
  EXPECT_EQ(done->state, "executed");
  ExpectRebuilt();
}

// What needs no vote and could go on for ever has a share, too.
TEST_F(ProposalShares, Q18_CeremoniesHaveAShare) {
  const auto record = [&](const std::string& by) {
    return w_.governance->RecordCeremony(By(by), {"a name", "a script", "{}", "a transcript", {}});
  };
  int recorded = 0;
  while (recorded < 1000 && record("operator-2")) ++recorded;
  EXPECT_LT(recorded, 1000);
  EXPECT_EQ(record("operator-2").error().Slug(), "too-many-filings");
  EXPECT_TRUE(record("operator-1"));
  w_.clock.now += kDay;
  EXPECT_TRUE(record("operator-2"));
}

// What is settled leaves memory and tables a month later, and at once what nobody needs when there is very much of it.
TEST_F(ProposalShares, Q18_SettledProposalsLeaveTheState) {
  const auto withdrawn = *FileBy("operator-1", "keyring.rotate", "install");
  const auto withdrawn_text = w_.governance->View(withdrawn)->proposal->text;
  ASSERT_TRUE(w_.governance->Withdraw(withdrawn, By("operator-1")));
  for (int day = 0; day < 120; ++day) {
    for (const auto* who : {"operator-1", "operator-2"})
      for (int i = 0; i < 4; ++i) {
        const auto id = FileBy(who, "keyring.rotate", "install");
        ASSERT_TRUE(id) << id.error().Line();
        if (i % 2 == 0) ASSERT_TRUE(w_.governance->Withdraw(*id, By(who)));
      }
    if (day == 10) EXPECT_EQ(State(withdrawn), "withdrawn") << "what is recent can be asked for";
    w_.clock.now += kDay;
  }
  EXPECT_LE(w_.governance->Snapshot()->proposals.size(), 31U * 8 + 64 + 8);
  const auto asked = w_.governance->View(withdrawn);
  ASSERT_FALSE(asked);
  EXPECT_EQ(asked.error().Slug(), "proposal-not-found");
  EXPECT_NE(asked.error().detail.find("control log"), std::string::npos) << asked.error().detail;
  ExpectRebuilt();
  w_.Boot();
  ExpectRebuilt();
  // What has left does not come back, whatever the clock says: the state itself refuses its text (Q5).
  auto state = *w_.governance->Snapshot();
  const auto refiled = Apply(state, {w_.clock.Now(), ledger::ProposalFiled{withdrawn_text}});
  ASSERT_FALSE(refiled);
  EXPECT_NE(refiled.error().detail.find("forgotten"), std::string::npos) << refiled.error().Line();
  EXPECT_EQ(*w_.Done("keyring.rotate", "install"), "executed");
}

}  // namespace
}  // namespace strongroom::appliance
