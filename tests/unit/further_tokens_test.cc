// Several tokens: who is enrolled, who follows which roster, what a keyring may take along (K3, K6, K9, Q6, Q9).

#include <gtest/gtest.h>

#include "appliance/broker.h"
#include "appliance/further_watch.h"
#include "appliance/proposal_params.h"
#include "appliance/token_decisions.h"
#include "crypto/custody.h"
#include "hsm/token_set.h"
#include "tests/support/world.h"

namespace strongroom::appliance {
namespace {

using tests::By;
using tests::FakeKeyOps;
using tests::World;

// A world with a main token, `w.token`, and a further one, `b`, which is connected and not enrolled.
class FurtherTokens : public testing::Test {
 protected:
  FurtherTokens() {
    w.InitToken(*b);
    hsm::TokenSet::Tokens further;
    further.emplace("token-b", b);
    set = std::make_unique<hsm::TokenSet>(w.token, std::move(further), doors);
    w.governance = std::make_unique<Governance>(*w.ledger, *set, w.clock, *Load(*w.ledger));
    w.MakeDevKeyrings();
  }
  std::string Slug(const Result<std::string>& done) { return done ? *done : std::string(done.error().Slug()); }
  std::string Do(const std::string& operation, const std::string& keyring, const Params& params = {}) {
    return Slug(w.Done(operation, keyring, params));
  }
  void Enrol(const std::string& owner = "appliance") {
    ASSERT_EQ(Do("token.enrol", "", {{"token", "token-b"}, {"owner", owner}}), "executed");
    doors.SetEnrolled({"token-b"});
    doors.Open("token-b", true);
  }
  // org-a is moved to the further token, which makes the key, and whose answer is lost. The proposal's id.
  std::string MoveAndLoseTheAnswer() {
    const auto id = w.Approved("rekey.start", "org-a", {{"to", "token:token-b"}});
    EXPECT_TRUE(id);
    b->after_generate = [&] { b->SetAway(true); };
    (void)w.governance->Execute(*id, By("operator-1"));
    b->after_generate = nullptr;
    return *id;
  }
  const Keyring& KeyringOf(const std::string& name) { return *w.governance->Snapshot()->FindKeyring(name); }
  hsm::KeyRef Ref(const std::string& name, std::uint32_t version) { return RefOf(*KeyringOf(name).Find(version)); }
  Result<hsm::KeyOpOutput> One(hsm::KeyOp op) {
    std::vector<hsm::KeyOp> ops;
    ops.push_back(std::move(op));
    return std::move(set->Execute(ops)[0]);
  }
  static SecretBytes Dek() { return *SecretBytes::CopyOf(AsBytes("a DEK of thirty-two bytes, as is.")); }
  static bool IsDek(const SecretBytes& bytes) {
    const auto dek = Dek();
    return EqualConstantTime(bytes.Read(SecretAccess()), dek.Read(SecretAccess()));
  }

  World w;
  hsm::TokenDoors doors;
  FakeKeyOps* const b = new FakeKeyOps("token-b");  // the set's
  std::unique_ptr<hsm::TokenSet> set;
  const hsm::Context context{{1, 2, 3}, {4, 5, 6}, Bytes(7, 'a')};
};

// K9: does a token that nobody has enrolled get a KEK, or the main one enrolled, or one that is not there?
TEST_F(FurtherTokens, K9_OnlyAnEnrolledTokenGetsKeks) {
  EXPECT_EQ(Do("keyring.create", "k", {{"custody", "token:token-b"}}), "token-not-enrolled");
  EXPECT_EQ(Do("rekey.start", "install", {{"to", "token:token-b"}}), "token-not-enrolled");
  EXPECT_EQ(Do("token.enrol", "", {{"token", "fake-token"}}), "invalid-request") << "the main one";
  EXPECT_EQ(Do("token.enrol", "", {{"token", "token-c"}}), "token-not-connected");
  EXPECT_EQ(Do("token.enrol", "", {{"token", "token-b"}, {"owner", "me"}}), "invalid-request");
  EXPECT_TRUE(b->ReadLedgerRecord()->custody.spent.empty()) << "it was told nothing";
  Enrol();
  EXPECT_EQ(Do("token.enrol", "", {{"token", "token-b"}}), "token-enrolled");
  const auto before = w.token.Generated();
  EXPECT_EQ(Do("keyring.create", "k", {{"custody", "token:token-b"}}), "executed");
  EXPECT_EQ(b->Generated(), 1U);
  EXPECT_EQ(w.token.Generated(), before) << "never in another token";
  EXPECT_EQ(KeyringOf("k").Primary()->token, "token-b");
  EXPECT_EQ(b->ReadLedgerRecord()->custody.roster_version, 1U);
  EXPECT_EQ(RecordedToken(*w.governance->Snapshot()), "fake-token");
  b->SetAway(true);
  EXPECT_EQ(Do("keyring.create", "l", {{"custody", "token:token-b"}}), "token-not-connected");
  EXPECT_EQ(w.token.Generated(), before) << "and no fallback to another";
}

// K3, K9: is a token with keys of unknown making enrolled as the appliance's?
TEST_F(FurtherTokens, K3_AnAppliancesTokenIsEnrolledEmpty) {
  World other;
  hsm::TokenDoors none;
  hsm::TokenSet::Tokens further;
  auto* used = new FakeKeyOps("token-b");
  other.InitToken(*used);
  used->PutKey({1, 2, 3}, "somebody's key");
  further.emplace("token-b", used);
  hsm::TokenSet tokens(other.token, std::move(further), none);
  other.governance = std::make_unique<Governance>(*other.ledger, tokens, other.clock, *Load(*other.ledger));
  other.MakeDevKeyrings();
  EXPECT_EQ(Slug(other.Done("token.enrol", "", {{"token", "token-b"}})), "token-inventory");
  EXPECT_EQ(Slug(other.Done("token.enrol", "", {{"token", "token-b"}, {"owner", "customer"}})), "executed");
  const auto state = other.governance->Snapshot();
  EXPECT_TRUE(JudgeInventory(*state, "token-b", *used->Inventory()).empty()) << "a customer's keys are hers";
  other.governance.reset();
}

// Q9: do DEKs leave a token for another one before votes allow it, for a third one, or after the time for it?
TEST_F(FurtherTokens, Q9_DeksCrossWhileARekeyLetsThem) {
  Enrol();
  for (const auto* name : {"install", "org-a"}) {
    const auto from = Ref(name, 1);
    const auto wrapped = One(hsm::WrapOp{from, Dek(), context});
    ASSERT_TRUE(wrapped);
    EXPECT_EQ(One(hsm::ReleaseOp{from, "token-b", wrapped->blob}).error().Slug(), "not-released");
    ASSERT_EQ(Do("rekey.start", name, {{"to", "token:token-b"}, {"release-days", "2"}}), "executed");
    EXPECT_EQ(KeyringOf(name).primary, 2U);
    const auto to = Ref(name, 2);
    EXPECT_EQ(to.token, "token-b");
    EXPECT_EQ(One(hsm::ReleaseOp{from, "token-c", wrapped->blob}).error().Slug(), "not-released");
    const auto moved = One(hsm::RewrapOp{from, to, wrapped->blob});
    ASSERT_TRUE(moved) << moved.error().Line();
    EXPECT_TRUE(moved->plaintext.empty()) << "a rewrap shows no DEK";
    EXPECT_FALSE(One(hsm::UnwrapOp{to, moved->blob, hsm::Context{{}, {}, Bytes(1)}}));
    EXPECT_TRUE(IsDek(One(hsm::UnwrapOp{to, moved->blob, context})->plaintext));
    const auto both = One(hsm::UnwrapOp{from, wrapped->blob, context, to});
    ASSERT_TRUE(both);
    EXPECT_TRUE(IsDek(both->plaintext));
    EXPECT_TRUE(IsDek(One(hsm::UnwrapOp{to, both->blob, context})->plaintext));
    w.clock.now += 3 * kDay;
    EXPECT_EQ(One(hsm::RewrapOp{from, to, wrapped->blob}).error().Slug(), "not-released");
  }
  // What org-b has was wrapped by install and went with it.
  EXPECT_EQ(KeyringOf("org-b").Primary()->token, "token-b");
}

// K6, K9: is anything opened in one token that the other may not take, or used in one whose door is closed?
TEST_F(FurtherTokens, K6_AClosedDoorOpensNothing) {
  Enrol();
  const auto from = Ref("install", 1);
  const auto wrapped = One(hsm::WrapOp{from, Dek(), context});
  ASSERT_EQ(Do("rekey.start", "install", {{"to", "token:token-b"}}), "executed");
  const auto to = Ref("install", 2);
  doors.Open("token-b", false);
  std::atomic<int> asked{0};
  w.token.before_execute = [&] { ++asked; };
  EXPECT_EQ(One(hsm::WrapOp{to, Dek(), context}).error().Slug(), "token-not-verified");
  EXPECT_EQ(One(hsm::RewrapOp{from, to, wrapped->blob}).error().Slug(), "token-not-verified");
  EXPECT_EQ(asked, 0) << "the former token was not asked to open it";
  const auto unwrapped = One(hsm::UnwrapOp{from, wrapped->blob, context, to});
  ASSERT_TRUE(unwrapped) << "what lies in a token that is well is served";
  EXPECT_TRUE(IsDek(unwrapped->plaintext));
  EXPECT_TRUE(unwrapped->blob.empty());
  w.token.before_execute = nullptr;
}

// Q6, Q9: does a further token obey a roster that it was away for, and no other; and does the main one take a roster
// after its time?
TEST_F(FurtherTokens, Q6_ATokenThatWasAwayFollowsTheRosterLater) {
  Enrol();
  ASSERT_EQ(Do("keyring.create", "k", {{"custody", "token:token-b"}}), "executed");
  b->SetAway(true);
  ASSERT_EQ(Do("roster.change", "", {{"group-x", "custodian-1,custodian-2"}}), "executed");
  ASSERT_EQ(Do("roster.change", "", {{"group-y", "custodian-1,custodian-3"}}), "executed");
  w.clock.now += 20 * kDay;
  EXPECT_EQ(w.governance->FollowRoster("token-b").error().code, Code::kUnavailable);
  b->SetAway(false);
  EXPECT_EQ(Do("keyring.rotate", "k"), "roster-not-enforced");
  ASSERT_TRUE(w.governance->FollowRoster("token-b"));
  EXPECT_EQ(b->ReadLedgerRecord()->custody.roster_version, 3U);
  EXPECT_EQ(b->ReadLedgerRecord()->custody.roster_hash, w.governance->Snapshot()->roster->hash());
  EXPECT_EQ(Do("keyring.rotate", "k"), "executed");
  // The main token takes nothing after its time.
  const auto id = w.Approved("roster.change", "", {{"group-z", "custodian-1,custodian-2"}});
  ASSERT_TRUE(id);
  const auto proposal = w.governance->View(*id)->proposal;
  w.clock.now += 3 * kDay;
  auto late = crypto::GrantExecution(*w.governance->Snapshot()->roster, proposal->text, proposal->votes,
                                     proposal->parsed.execute_by);
  ASSERT_TRUE(late);
  EXPECT_EQ(w.token.ChangeLedgerRecord(std::move(*late)).error().Slug(), "proposal-expired");
  // Nor is a token that has lost its record told a roster by anything but its enrolment.
  b->Init(World::quorum().roster());
  EXPECT_EQ(w.governance->FollowRoster("token-b").error().Slug(), "token-without-record");
}

// L4: does a token that is away in the middle of an execution hold up the others, and is it settled once it is back?
TEST_F(FurtherTokens, L4_ATokenThatIsAwayHoldsUpItsKeyringsAlone) {
  Enrol();
  ASSERT_EQ(Do("keyring.create", "k", {{"custody", "token:token-b"}}), "executed");
  const auto id = w.Approved("keyring.rotate", "k");
  ASSERT_TRUE(id);
  b->before_generate = [&] { b->SetAway(true); };
  (void)w.governance->Execute(*id, By("operator-1"));
  EXPECT_EQ(w.governance->View(*id)->state, "executing");
  b->before_generate = nullptr;
  EXPECT_EQ(Do("keyring.rotate", "install"), "executed") << "the main token's go on";
  const auto next = w.Approved("keyring.set-policy", "k", {{"rotate-days", "30"}});
  ASSERT_TRUE(next);
  EXPECT_EQ(w.governance->Execute(*next, By("operator-1")).error().Slug(), "execution-unsettled");
  b->SetAway(false);
  ASSERT_TRUE(w.governance->Reconcile());
  EXPECT_EQ(w.governance->View(*id)->state, "failed") << "it was not done: propose again";
  EXPECT_EQ(Do("keyring.rotate", "k"), "executed");
}

// L4: the token that a keyring moves to made the key and its answer was lost: is that found out, however long it takes?
TEST_F(FurtherTokens, L4_WhatWasDoneAndNotAnsweredIsFoundDone) {
  Enrol();
  const auto id = MoveAndLoseTheAnswer();
  EXPECT_EQ(b->Generated(), 1U);
  EXPECT_EQ(w.governance->View(id)->state, "executing");
  // What is done meanwhile in the other token makes that one forget the proposal; others' jobs begin.
  w.clock.now += 3 * kDay;
  EXPECT_EQ(Do("keyring.rotate", "install"), "executed");
  EXPECT_EQ(Do("keyring.emergency-rotate", "org-a"), "executed") << "an emergency waits for nobody";
  b->SetAway(false);
  ASSERT_TRUE(w.governance->Reconcile());
  EXPECT_EQ(w.governance->View(id)->state, "failed") << "the emergency came first";
}

TEST_F(FurtherTokens, L4_AMoveWhoseAnswerWasLostIsSettledAsDone) {
  Enrol();
  const auto id = MoveAndLoseTheAnswer();
  w.clock.now += 3 * kDay;
  EXPECT_EQ(Do("keyring.rotate", "install"), "executed") << "the former token forgets what has expired";
  b->SetAway(false);
  ASSERT_TRUE(w.governance->Reconcile());
  EXPECT_EQ(w.governance->View(id)->state, "executed");
  EXPECT_EQ(KeyringOf("org-a").Primary()->token, "token-b");
}

// K9, Q9: a token with the enrolled one's serial number and marks and an empty record: is it asked to make a key?
TEST_F(FurtherTokens, K9_ATokenThatDoesNotKnowItsEnrolmentGetsNoKek) {
  Enrol();
  b->Init(World::quorum().roster());
  const auto id = w.Approved("keyring.create", "k", {{"custody", "token:token-b"}});
  ASSERT_TRUE(id);
  EXPECT_EQ(w.governance->Execute(*id, By("operator-1")).error().Slug(), "token-without-record");
  EXPECT_EQ(w.governance->View(*id)->state, "approved") << "nothing was consumed";
  EXPECT_EQ(b->Generated(), 0U);
  EXPECT_EQ(Do("token.enrol", "", {{"token", "token-b"}}), "executed") << "it may be told again";
  EXPECT_EQ(Slug(w.governance->Execute(*id, By("operator-1")) ? Result<std::string>("executed") : Invalid("")),
            "executed");
}

// Q4: are votes for a roster taken by a further token at any time to come?
TEST_F(FurtherTokens, Q4_ARosterMayComeLateAndNotForEver) {
  Enrol();
  b->SetAway(true);
  ASSERT_EQ(Do("roster.change", "", {{"group-x", "custodian-1,custodian-2"}}), "executed");
  b->SetAway(false);
  w.clock.now += 93 * kDay;
  EXPECT_EQ(w.governance->FollowRoster("token-b").error().Slug(), "proposal-expired");
}

// Do names that nothing can store, or that lists cannot hold, get as far as a proposal or a token?
TEST_F(FurtherTokens, K9_MarksAreBounded) {
  const std::string long_serial(65, 'x');
  for (const auto& serial : {long_serial, std::string("a,b"), std::string("a/b"), std::string("a\tb")})
    EXPECT_EQ(
        Do("token.enrol", "",
           {{"token", serial}, {"member-of", "fake-token"}, {"label", "l"}, {"model", "m"}, {"manufacturer", "v"}}),
        "invalid-request")
        << serial;
  EXPECT_EQ(
      Do("token.enrol", "",
         {{"token", "x"}, {"member-of", "fake-token"}, {"label", long_serial}, {"model", "m"}, {"manufacturer", "v"}}),
      "invalid-request");
  EXPECT_EQ(Do("token.enrol", "",
               {{"token", "x"}, {"member-of", "fake-token"}, {"label", "l"}, {"model", "m"}, {"manufacturer", "v"}}),
            "executed");
}

// K9: does a further token sign a log, which would make it a second witness that nobody watches?
TEST_F(FurtherTokens, L7_AFurtherTokenSignsNoLog) {
  Enrol();
  const crypto::Checkpoint head{crypto::ControlOrigin(World::quorum().instance()), 1, {}, {}};
  EXPECT_EQ(b->SignCheckpoint(head, {}).error().Slug(), "not-the-main-token");
}

// K3: does a key of the customer's own making become a version by votes, as it is and not otherwise?
TEST_F(FurtherTokens, K3_ACustomersOwnRotationIsAdopted) {
  Enrol("customer");
  ASSERT_EQ(Do("keyring.create", "k", {{"custody", "token:token-b"}}), "executed");
  EXPECT_EQ(Do("version.adopt", "install"), "not-a-further-token");
  EXPECT_EQ(Do("version.adopt", "k"), "nothing-to-adopt");
  const auto key = crypto::MakeKeyId(KeyringOf("k").id, 2);
  const Bytes id(key.begin(), key.end());
  b->PutKey(id, "another label");
  EXPECT_EQ(Do("version.adopt", "k"), "grant-mismatch") << "the label tells whose key it is";
  b->PutKey(id, "strongroom k v2");
  const auto state = w.governance->Snapshot();
  EXPECT_TRUE(JudgeInventory(*state, "token-b", *b->Inventory()).empty());
  ASSERT_EQ(Foreseen(*state, "token-b", *b->Inventory()).size(), 1U);
  EXPECT_EQ(KeyringOf("k").primary, 1U) << "without votes it is nothing";
  EXPECT_EQ(Do("version.adopt", "k"), "executed");
  EXPECT_EQ(KeyringOf("k").primary, 2U);
  EXPECT_TRUE(Foreseen(*w.governance->Snapshot(), "token-b", *b->Inventory()).empty());
}

// Q11: is a KEK in a further token destroyed by that token's record, after its waiting period, and is one in the former
// token left to its own?
TEST_F(FurtherTokens, Q11_TheFormerTokensKekIsRetiredLikeAnyOther) {
  Enrol();
  ASSERT_EQ(Do("rekey.start", "org-a", {{"to", "token:token-b"}}), "executed");
  const Params destroy = {{"version", "1"}, {"waiting-days", "7"}, {"waive", "service-2"}, {"quiet-hours", "0"}};
  ASSERT_EQ(Do("version.destroy", "org-a", destroy), "executed");
  EXPECT_EQ(w.token.ReadLedgerRecord()->custody.pending.size(), 1U);
  EXPECT_TRUE(b->ReadLedgerRecord()->custody.pending.empty());
  ASSERT_EQ(Do("keyring.rotate", "org-a"), "executed");
  ASSERT_EQ(Do("version.destroy", "org-a",
               {{"version", "2"}, {"waiting-days", "7"}, {"waive", "service-2"}, {"quiet-hours", "0"}}),
            "executed");
  EXPECT_EQ(b->ReadLedgerRecord()->custody.pending.size(), 1U);
  ASSERT_TRUE(w.governance->CancelDestruction("org-a", 2, By("operator-1")));
  EXPECT_TRUE(b->ReadLedgerRecord()->custody.pending.empty());
  EXPECT_EQ(b->Generated(), 2U);
}

// A mandate lies in the token that a keyring leaves: is one left behind there?
TEST_F(FurtherTokens, Q5_AKeyringWithAPolicyDoesNotMove) {
  Enrol();
  ASSERT_EQ(Do("keyring.set-policy", "org-a", {{"rotate-days", "30"}}), "executed");
  EXPECT_EQ(Do("rekey.start", "org-a", {{"to", "token:token-b"}}), "policy-set");
  ASSERT_EQ(Do("keyring.set-policy", "org-a", {{"rotate-days", "none"}}), "executed");
  EXPECT_EQ(Do("rekey.start", "org-a", {{"to", "token:token-b"}}), "executed");
  ASSERT_EQ(Do("keyring.set-policy", "org-a", {{"rotate-days", "30"}}), "executed");
  EXPECT_EQ(b->ReadLedgerRecord()->custody.mandates.size(), 1U);
  w.clock.now += 31 * kDay;
  ASSERT_TRUE(w.governance->RunMandates());
  EXPECT_EQ(KeyringOf("org-a").primary, 3U);
  EXPECT_EQ(b->Generated(), 2U);
}

// K9: what follows from each thing that a look can find?
TEST_F(FurtherTokens, K9_AnImpostorIsNotUsed) {
  Enrol();
  const auto state = w.governance->Snapshot();
  const hsm::TokenIdentity right{"token-b", "fake", "fake", "fake", "fake"};
  const auto judge = [&](const std::function<void(FurtherFindings&)>& change, const std::string& serial = "token-b") {
    FurtherFindings findings{{hsm::LinkState::kUp}, {}, right, {}, {}};
    change(findings);
    return JudgeFurther(*state, serial, findings);
  };
  const auto good = judge([](auto&) {});
  EXPECT_EQ(good.state, TokenState::kReady);
  EXPECT_EQ(good.open, true);
  const auto is = [](const FurtherJudgement& judged, TokenState wanted, std::optional<bool> open) {
    EXPECT_EQ(judged.state, wanted) << judged.detail;
    EXPECT_EQ(judged.open, open) << judged.detail;
    EXPECT_FALSE(judged.detail.empty());
  };
  is(judge([](auto& f) { f.identity->serial = "x"; }), TokenState::kImpostor, false);
  is(judge([](auto& f) { f.identity->label = "x"; }), TokenState::kImpostor, false);
  is(judge([](auto& f) { f.identity->model = "x"; }), TokenState::kImpostor, false);
  is(judge([](auto& f) { f.identity->manufacturer = "x"; }), TokenState::kImpostor, false);
  is(judge([](auto& f) { f.tested = Integrity("no", "impostor"); }), TokenState::kImpostor, false);
  is(judge([](auto& f) {
       f.tested = Error{Code::kTokenFault, "wrong answer", "canary", 0, ""};
     }),
     TokenState::kDegraded, false);
  is(judge([](auto& f) { f.follows = Integrity("none", "token-without-record"); }), TokenState::kImpostor, false);
  is(judge([](auto& f) { f.follows = Integrity("lost", "record-missing"); }), TokenState::kImpostor, false);
  is(judge([](auto& f) { f.follows = Integrity("other", "roster-not-enforced"); }), TokenState::kDegraded, true);
  is(judge([](auto& f) { f.sweep = "a strange key"; }), TokenState::kDegraded, true);
  is(judge([](auto& f) { f.tested = Unavailable("away"); }), TokenState::kVerifying, std::nullopt);
  is(judge([](auto& f) {
       f.links = {hsm::LinkState::kPinLatched};
       f.identity = Unavailable("away");
       f.tested = Unavailable("away");
     }),
     TokenState::kPinLatched, std::nullopt);
  is(judge([](auto& f) { f.identity->serial = "token-c"; }, "token-c"), TokenState::kNotEnrolled, false);
}

// Does a group that is for several tokens come back whole and in order?
TEST_F(FurtherTokens, K9_AFrameForSeveralTokensIsAnsweredInOrder) {
  Enrol();
  ASSERT_EQ(Do("keyring.create", "k", {{"custody", "token:token-b"}}), "executed");
  std::vector<hsm::KeyOp> ops;
  const std::vector<hsm::KeyRef> refs = {Ref("install", 1), Ref("k", 1), Ref("org-a", 1), Ref("k", 1), Ref("k", 1)};
  for (const auto& ref : refs) ops.emplace_back(hsm::WrapOp{ref, Dek(), context});
  auto absent = refs[0];
  absent.token = "nobody";
  ops.emplace_back(hsm::WrapOp{absent, Dek(), context});
  const auto results = set->Execute(ops);
  ASSERT_EQ(results.size(), ops.size());
  for (std::size_t i = 0; i < refs.size(); ++i) {
    ASSERT_TRUE(results[i]) << i;
    EXPECT_TRUE(IsDek(One(hsm::UnwrapOp{refs[i], results[i]->blob, context})->plaintext)) << i;
  }
  EXPECT_EQ(results.back().error().Slug(), "key-missing");
  doors.SetEnrolled({"token-b", "gone"});
  absent.token = "gone";
  EXPECT_EQ(One(hsm::WrapOp{absent, Dek(), context}).error().Slug(), "token-not-connected");
}

}  // namespace
}  // namespace strongroom::appliance
