// A token that is older than the database (Q16): a vendor's restore, a partition that failed over. Is it noticed, does
// it stop what is governed, and does the voted way back revive anything that was taken back meanwhile?

#include "appliance/token_past.h"

#include <gtest/gtest.h>

#include "appliance/checkpointer.h"
#include "appliance/keyring_decisions.h"
#include "appliance/lifecycle.h"
#include "appliance/policy_decisions.h"
#include "appliance/proposal_params.h"
#include "crypto/custody.h"
#include "tests/support/standing.h"
#include "tests/support/world.h"

namespace strongroom::appliance {
namespace {

using crypto::LedgerRecord;
using tests::By;
using tests::World;

const Params kDestroyV1 = {
    {"version", "1"}, {"waive", "service-1,service-2"}, {"quiet-hours", "0"}, {"waiting-days", "7"}};

template <class T>
std::string SlugOf(const Result<T>& result) {
  return result ? "ok" : std::string(result.error().Slug());
}

class TokenPast : public testing::Test {
 protected:
  void SetUp() override {
    w_.MakeDevKeyrings();
    ASSERT_EQ(*w_.Done("keyring.rotate", "org-a"), "executed");
    ledger::Submission one;
    one.evidence.emplace_back();
    one.evidence.back().outcome = "ok";
    ASSERT_TRUE(w_.ledger->Record(std::move(one)));
    Sign();
  }
  std::unique_ptr<Checkpointer> Make() {
    auto made = std::make_unique<Checkpointer>(
        *w_.ledger, w_.token, w_.clock, [this] { return w_.governance->Snapshot(); },
        Checkpointer::Options{std::chrono::hours(1), std::chrono::hours(1)});
    made->Enable();
    return made;
  }
  void Sign() {
    const auto done = Make()->Now();
    ASSERT_TRUE(done) << done.error().Line();
  }
  LedgerRecord Record() { return *w_.token.ReadLedgerRecord(); }
  std::string Present() { return SlugOf(w_.governance->CheckTokenPresent()); }
  // A month in which something is governed every third day.
  void AMonth() {
    for (int day = 0; day < 30; day += 3) {
      w_.clock.now += 3 * kDay;
      ASSERT_EQ(*w_.Done("keyring.rotate", "install"), "executed");
      Sign();
    }
  }
  void OneProposal() {
    ASSERT_EQ(*w_.Done("keyring.rotate", "install"), "executed");
    Sign();
  }
  // Files and votes without having a head signed in between, as a service that may sign nothing does.
  std::string Approved(const std::string& operation, const std::string& keyring, const Params& params = {}) {
    const auto filed = w_.governance->File(By("operator-1"), {operation, keyring, params, "a test"});
    EXPECT_TRUE(filed) << operation << (filed ? "" : filed.error().Line());
    if (!filed) return {};
    for (const auto* who : {"custodian-1", "custodian-2"}) EXPECT_TRUE(w_.Approve(filed->proposal->id, who));
    return filed->proposal->id;
  }
  crypto::ExecutionGrant GrantOf(const std::string& id) {
    const auto state = w_.governance->Snapshot();
    const auto& proposal = *state->FindProposal(id);
    return *crypto::GrantExecution(*state->roster, proposal.text, proposal.votes, proposal.parsed.created);
  }
  // What the present record says about the database as it is, with what is noted of the heads.
  std::string Judge(const LedgerRecord& record, std::optional<Millis> now = std::nullopt) {
    const auto own = Record();
    const NotedHeads noted{crypto::AnchorOf(own, true)->size, crypto::AnchorOf(own, false)->size};
    return SlugOf(CheckTokenPast(*w_.governance->Snapshot(), record, noted, now.value_or(w_.clock.Now())));
  }
  // A head that votes for something else is signed by whoever can ask: so the adoption is asked for first.
  void Adopt(const std::string& state = "behind") {
    const auto id = Approved("ledger.adopt", "");
    EXPECT_EQ(w_.governance->View(id)->proposal->parsed.params.at("state"), state);
    const auto done = w_.governance->Execute(id, By("operator-1"));
    ASSERT_TRUE(done) << done.error().Line();
    ASSERT_EQ(done->state, "executed");
    EXPECT_EQ(Present(), "ok");
    Sign();
  }
  const Version& VersionOf(const std::string& keyring, std::uint32_t number) {
    return *w_.governance->Snapshot()->FindKeyring(keyring)->Find(number);
  }
  std::string DestroyAtToken(const Version& version) {
    return SlugOf(w_.token.Destroy(tests::MadeUpDestruction(version.kek), {version.token, version.kek, version.suite}));
  }
  World w_;
};

// Does a token that merely does not answer, in whole or in part, pass for an older one, or an older one for present?
TEST_F(TokenPast, Q16_NoAnswerIsNeitherBehindNorPresent) {
  const auto before = Record();
  w_.token.SetAway(true);
  EXPECT_EQ(w_.governance->CheckTokenPresent().error().code, Code::kUnavailable);
  EXPECT_NE(Present(), "token-behind");
  EXPECT_EQ(w_.File("ledger.adopt", "").error().code, Code::kUnavailable);
  w_.token.SetAway(false);
  EXPECT_EQ(Present(), "ok");
  EXPECT_EQ(w_.File("ledger.adopt", "").error().Slug(), "not-rolled-back");
  ASSERT_TRUE(w_.Done("keyring.rotate", "install"));
  Sign();
  w_.clock.now += 3 * kDay;  // the proposals of then need not be remembered: the head alone tells
  w_.token.Recall(before);
  ASSERT_EQ(Present(), "token-behind");
  w_.token.keys_away = true;
  EXPECT_EQ(w_.governance->CheckTokenPresent().error().code, Code::kUnavailable) << "one lost answer hides nothing";
}

// Is what happens every day taken for a token that is older?
TEST_F(TokenPast, Q16_WhatIsOrdinaryIsNotBehind) {
  EXPECT_EQ(SlugOf(CheckTokenPast({}, {}, {9, 9}, w_.clock.Now())), "ok") << "nothing is there yet";
  ASSERT_TRUE(w_.File("keyring.rotate", "install"));
  EXPECT_EQ(Present(), "ok") << "a log that is not signed yet";
  w_.token.Restart();
  EXPECT_EQ(Present(), "ok") << "another host";
  // What votes do in the appliance alone the token has never been told.
  ASSERT_EQ(*w_.Done("grant.change", "org-a", {{"grants", "service-1"}}), "executed");
  EXPECT_EQ(Present(), "ok");
  const auto withdrawn = *w_.Approved("keyring.rotate", "install");
  ASSERT_TRUE(w_.governance->Withdraw(withdrawn, By("operator-1")));
  EXPECT_EQ(Present(), "ok");
  w_.clock.now += 40 * kDay;
  EXPECT_EQ(Present(), "ok") << "a month in which nothing was done";
  OneProposal();
  EXPECT_EQ(Record().custody.spent.size(), 1U) << "and what has ended was forgotten";
  EXPECT_EQ(Present(), "ok");
  auto fast = Record();
  fast.custody.seen = w_.clock.Now() + kDay;
  w_.token.Recall(fast);
  ASSERT_EQ(*w_.Done("clock.accept", ""), "executed");
  EXPECT_EQ(Record().custody.spent.size(), 1U);
  EXPECT_EQ(Present(), "ok") << "what an accepted clock has made void is forgotten in order";
  w_.Boot();
  EXPECT_EQ(Present(), "ok");
  EXPECT_EQ(SlugOf(w_.File("ledger.adopt", "")), "not-rolled-back");
}

// Does each part of a record tell that it is older by one, and none of them that it is newer?
TEST_F(TokenPast, Q16_EachPartTellsByOne) {
  ASSERT_EQ(*w_.Done("roster.change", "", {{"remove-auditor-1", "yes"}}), "executed");
  ASSERT_EQ(*w_.Done("keyring.rotate", "install"), "executed");
  Sign();
  ASSERT_EQ(Judge(Record()), "ok");
  const auto changed = [&](const std::function<void(LedgerRecord&)>& change) {
    auto record = Record();
    change(record);
    return Judge(record);
  };
  for (const std::size_t log : {0U, 1U}) {
    EXPECT_EQ(changed([&](auto& r) { r.anchors.at(log).size -= 1; }), "token-behind");
    EXPECT_EQ(changed([&](auto& r) { r.anchors.at(log).size += 1; }), "ok") << "the database is the older one";
    EXPECT_EQ(changed([&](auto& r) { r.anchors.erase(r.anchors.begin() + static_cast<std::ptrdiff_t>(log)); }),
              "token-behind");
  }
  EXPECT_EQ(changed([](auto& r) { r.custody.roster_version -= 1; }), "token-behind");
  EXPECT_EQ(changed([](auto& r) { r.custody.roster_version += 1; }), "ok");
  EXPECT_EQ(changed([](auto& r) { r.epoch -= 1; }), "token-behind");
  EXPECT_EQ(changed([](auto& r) {
              r.epoch += 1;
              r.custody.spent.clear();
              r.anchors.clear();
            }),
            "ok")
      << "its adoption has emptied it: the database is the older one";
  const auto spent = Record().custody.spent;
  ASSERT_GE(spent.size(), 2U);
  for (std::size_t i = 0; i < spent.size(); ++i)
    EXPECT_EQ(
        changed([&](auto& r) { r.custody.spent.erase(r.custody.spent.begin() + static_cast<std::ptrdiff_t>(i)); }),
        "token-behind")
        << i;
}

// To the very end of its time, and no longer, a proposal that was carried out must be remembered.
TEST_F(TokenPast, Q16_AProposalIsRememberedToItsEnd) {
  const auto id = Approved("keyring.rotate", "install");
  ASSERT_TRUE(w_.governance->Execute(id, By("operator-1")));
  auto forgetful = Record();
  const auto end = w_.governance->View(id)->proposal->parsed.execute_by;
  std::erase_if(forgetful.custody.spent, [&](const auto& s) { return s.until >= end; });
  EXPECT_EQ(Judge(forgetful, end), "token-behind");
  EXPECT_EQ(Judge(forgetful, end + 1), "ok") << "it cannot run again";
  auto floored = forgetful;
  floored.custody.floor_set = true;
  floored.custody.floor = w_.governance->View(id)->proposal->parsed.control_size;
  EXPECT_EQ(Judge(floored, end), "ok") << "void below the floor";
  floored.custody.floor -= 1;
  EXPECT_EQ(Judge(floored, end), "token-behind") << "not below it";
}

// What can be done with a token that is older by one proposal, or by a month? Every operation that a token is asked
// for, its schedule, and a signature.
class OlderToken : public TokenPast, public testing::WithParamInterface<bool> {
 protected:
  void Older() { GetParam() ? AMonth() : OneProposal(); }
};
INSTANTIATE_TEST_SUITE_P(By, OlderToken, testing::Bool(),
                         [](const auto& by) { return by.param ? "AMonth" : "OneProposal"; });

TEST_P(OlderToken, Q16_StopsWhatIsGoverned) {
  auto old = Record();
  Older();
  old.custody.seen = w_.clock.Now() + kHour;  // so that a clock could be accepted, too
  w_.token.Recall(old);
  ASSERT_EQ(Present(), "token-behind");
  const auto keys = w_.token.Generated();
  const std::vector<std::tuple<const char*, const char*, Params>> all = {
      {"keyring.rotate", "install", {}},
      {"keyring.create", "org-new", {{"custody", "token"}}},
      {"keyring.emergency-rotate", "org-a", {}},
      {"keyring.set-policy", "org-a", {{"rotate-days", "30"}}},
      {"version.destroy", "org-a", kDestroyV1},
      {"roster.change", "", {{"remove-auditor-1", "yes"}}},
      {"ledger.rotate-key", "", {}},
      {"clock.accept", "", {}},
  };
  for (const auto& [operation, keyring, params] : all) {
    const auto id = Approved(operation, keyring, params);
    const auto done = w_.governance->Execute(id, By("operator-1"));
    EXPECT_EQ(SlugOf(done), "token-behind") << operation;
    EXPECT_EQ(w_.governance->View(id)->state, "approved") << operation << ": nothing is consumed";
  }
  EXPECT_EQ(VersionOf("org-a", 2).state, VersionState::kActive) << "nor is anything compromised by it";
  EXPECT_EQ(w_.token.Generated(), keys);
  EXPECT_EQ(Record(), old) << "the token was told nothing";
  EXPECT_EQ(SlugOf(Make()->Now()), "token-behind");
  EXPECT_EQ(Record().anchors, old.anchors) << "a head signed now would hide it";
  w_.Boot();
  EXPECT_EQ(Present(), "token-behind") << "a restart is no way out";
}

// Is it named where people look, while services go on, and gone once it is adopted?
TEST_P(OlderToken, Q16_IsNamedInTheStatus) {
  const auto old = Record();
  Older();
  const auto checkpointer = Make();
  Lifecycle lifecycle(*w_.ledger, w_.token, *w_.governance, *checkpointer,
                      {std::chrono::hours(1), std::chrono::milliseconds(0), std::chrono::hours(1)});
  const auto settles_as = [&](ApplianceState state) {
    for (int i = 0; i < 1000 && lifecycle.State() != state; ++i) (void)lifecycle.LookNow();
    return lifecycle.State() == state;
  };
  const auto fault_of = [&](std::string_view name) {
    for (const auto& check : lifecycle.Report().checks)
      if (check.name == name) return check.detail;
    return std::string("no such check");
  };
  ASSERT_TRUE(settles_as(ApplianceState::kOperational));
  w_.token.Recall(old);
  ASSERT_TRUE(settles_as(ApplianceState::kDegraded));
  EXPECT_NE(fault_of("template-sweep").find("older than the database"), std::string::npos)
      << fault_of("template-sweep");
  EXPECT_NE(fault_of("template-sweep").find("ledger.adopt"), std::string::npos) << "with the way out";
  EXPECT_FALSE(lifecycle.RolledBack()) << "the database is the newer one";
  EXPECT_TRUE(lifecycle.DataPlaneOpen()) << "services go on";
  EXPECT_TRUE(lifecycle.Failing().contains("template-sweep"));
  w_.token.SetAway(true);
  EXPECT_EQ(w_.governance->CheckTokenPresent().error().code, Code::kUnavailable);
  w_.token.SetAway(false);
  const auto id = Approved("ledger.adopt", "");
  ASSERT_EQ(SlugOf(w_.governance->Execute(id, By("operator-1"))), "ok");
  EXPECT_TRUE(settles_as(ApplianceState::kOperational)) << fault_of("template-sweep");
}

// Does the voted way back restore work, and run nothing a second time: what was carried out, and what was approved?
TEST_P(OlderToken, Q16_TheWayBackRunsNothingTwice) {
  const auto waiting = Approved("keyring.rotate", "install");
  const auto done = Approved("keyring.set-policy", "org-a", {{"rotate-days", "30"}});
  const auto old = Record();
  ASSERT_EQ(SlugOf(w_.governance->Execute(done, By("operator-1"))), "ok");
  auto grant = GrantOf(done), unspent = GrantOf(waiting);
  Older();
  w_.token.Recall(old);
  Adopt();
  EXPECT_EQ(Record().epoch, 2U);
  EXPECT_EQ(Record().custody.spent.size(), 1U) << "the adoption's own";
  EXPECT_EQ(SlugOf(w_.token.ChangeLedgerRecord(std::move(grant))), GetParam() ? "proposal-expired" : "stale");
  EXPECT_EQ(SlugOf(w_.token.JudgeProposal(std::move(unspent))), GetParam() ? "proposal-expired" : "stale");
  EXPECT_EQ(w_.governance->View(waiting)->state, "stale");
  EXPECT_EQ(SlugOf(w_.governance->Execute(waiting, By("operator-1"))), "stale");
  const auto primary = w_.governance->Snapshot()->FindKeyring("install")->primary;
  EXPECT_EQ(*w_.Done("keyring.rotate", "install"), "executed") << "life goes on";
  EXPECT_EQ(w_.governance->Snapshot()->FindKeyring("install")->primary, primary + 1);
  ASSERT_TRUE(LoadVerified(*w_.ledger)) << LoadVerified(*w_.ledger).error().Line();
  w_.Boot();
  EXPECT_EQ(Present(), "ok");
}

// Does a roster come back that was followed by another, or a custodian whom that one has removed?
TEST_P(OlderToken, Q16_TheWayBackObeysTheRosterInForce) {
  const auto old = Record();
  const auto former = *w_.governance->Snapshot()->roster;
  ASSERT_EQ(*w_.Done("roster.change", "", {{"remove-service-2", "yes"}}), "executed");
  Older();
  ASSERT_EQ(*w_.Done("roster.change", "", {{"remove-auditor-1", "yes"}}), "executed");
  Sign();
  w_.token.Recall(old);
  ASSERT_EQ(Present(), "token-behind");
  Adopt();
  EXPECT_EQ(Record().custody.roster_version, 3U);
  auto text = World::quorum().Proposal(
      "clock.accept", "", {{"token", "fake-token"}, {"clock", FormatTime(w_.clock.Now())}}, w_.clock.Now());
  text.epoch = 2;
  text.control_size = crypto::AnchorOf(Record(), true)->size;
  const auto rendered = *text.Render();
  auto by_former = crypto::GrantExecution(
      former, rendered, {World::quorum().Sign("custodian-1", rendered), World::quorum().Sign("custodian-2", rendered)},
      w_.clock.Now());
  ASSERT_TRUE(by_former) << by_former.error().Line();
  EXPECT_EQ(SlugOf(w_.token.ChangeLedgerRecord(std::move(*by_former))), "roster-not-enforced");
}

// Does a mandate come back that votes have ended, or one that has been used since, as if it had not been?
TEST_P(OlderToken, Q16_TheWayBackRevivesNoMandate) {
  ASSERT_EQ(*w_.Done("keyring.set-policy", "org-a", {{"rotate-days", "30"}}), "executed");
  Sign();
  const auto old = Record();
  ASSERT_EQ(*w_.Done("keyring.set-policy", "org-a", {{"rotate-days", "none"}}), "executed");
  Older();
  w_.token.Recall(old);
  Adopt();
  EXPECT_TRUE(Record().custody.mandates.empty());
  w_.clock.now += 31 * kDay;
  EXPECT_EQ(*w_.governance->RunMandates(), 0);
  const auto ring = w_.governance->Snapshot()->FindKeyring("org-a")->id;
  const hsm::KeySpec next{{"fake-token", crypto::MakeKeyId(ring, 3), crypto::Suite::kGcm}, hsm::KekLabel("org-a", 3)};
  EXPECT_EQ(SlugOf(w_.token.GenerateByMandate(tests::MadeUpMandate(next), next)), "no-mandate");
}

TEST_P(OlderToken, Q16_TheWayBackKeepsTheMandateThatIsInForce) {
  ASSERT_EQ(*w_.Done("keyring.set-policy", "org-a", {{"rotate-days", "60"}}), "executed");
  Sign();
  const auto old = Record();
  Older();
  w_.token.Recall(old);
  Adopt();
  ASSERT_EQ(Record().custody.mandates.size(), 1U);
  EXPECT_EQ(Record().custody.mandates[0].next, old.custody.mandates[0].next);
}

TEST_F(TokenPast, Q16_TheWayBackUsesNoMandateTwiceInAnInterval) {
  ASSERT_EQ(*w_.Done("keyring.set-policy", "org-a", {{"rotate-days", "30"}}), "executed");
  w_.clock.now += 30 * kDay + crypto::kMinute;
  Sign();
  const auto old = Record();
  ASSERT_EQ(*w_.governance->RunMandates(), 1);
  Sign();
  w_.token.Recall(old);
  ASSERT_EQ(Present(), "token-behind");
  Adopt();
  const auto ring = w_.governance->Snapshot()->FindKeyring("org-a")->id;
  const hsm::KeySpec next{{"fake-token", crypto::MakeKeyId(ring, 4), crypto::Suite::kGcm}, hsm::KekLabel("org-a", 4)};
  EXPECT_EQ(SlugOf(w_.token.GenerateByMandate(tests::MadeUpMandate(next), next)), "no-mandate")
      << "the version of this interval was made before the restore: the mandate is voted for again";
}

// A release that the older token has: is anything opened by it after the adoption?
TEST_P(OlderToken, Q16_TheWayBackRevivesNoRelease) {
  auto old = Record();
  const auto ring = w_.governance->Snapshot()->FindKeyring("org-a")->id;
  old.custody.releases = {{ring, crypto::TokenHash("token-b"), crypto::WholeMinutesDown(w_.clock.Now() + 90 * kDay),
                           crypto::WholeMinutesDown(old.custody.watched + 90 * kDay)}};
  Older();
  w_.token.Recall(old);
  Adopt();
  EXPECT_TRUE(Record().custody.releases.empty());
}

// A destruction that was taken back while the older token still waits for it: does the KEK stay?
TEST_P(OlderToken, Q16_TheWayBackRevivesNoDestruction) {
  ASSERT_EQ(*w_.Done("version.destroy", "org-a", kDestroyV1), "executed");
  Sign();
  const auto old = Record();
  ASSERT_TRUE(w_.governance->CancelDestruction("org-a", 1, By("operator-1")));
  Older();
  w_.token.Recall(old);
  ASSERT_EQ(Present(), "token-behind");
  Adopt();
  w_.clock.now += 40 * kDay;
  EXPECT_EQ(*w_.governance->RunDueDestructions(), 0);
  EXPECT_EQ(DestroyAtToken(VersionOf("org-a", 1)), "destruction-not-pending");
  EXPECT_TRUE(w_.governance->Sweep("fake-token")->empty());
}

// A destruction that the older token has forgotten: nothing goes by itself, and it can be asked for again.
TEST_P(OlderToken, Q16_AForgottenDestructionIsAskedForAgain) {
  const auto old = Record();
  ASSERT_EQ(*w_.Done("version.destroy", "org-a", kDestroyV1), "executed");
  GetParam() ? w_.clock.now += 6 * kDay : w_.clock.now += kHour;
  OneProposal();
  w_.token.Recall(old);
  Adopt();
  w_.clock.now += 8 * kDay;
  const auto run = w_.governance->RunDueDestructions();
  ASSERT_FALSE(run);
  EXPECT_EQ(run.error().Slug(), "destruction-not-pending");
  EXPECT_NE(run.error().detail.find("cancel the destruction and propose it again"), std::string::npos);
  ASSERT_TRUE(w_.governance->CancelDestruction("org-a", 1, By("operator-1")));
  ASSERT_EQ(*w_.Done("version.destroy", "org-a", kDestroyV1), "executed");
  w_.clock.now += 7 * kDay + crypto::kMinute;
  EXPECT_EQ(*w_.governance->RunDueDestructions(), 1);
  EXPECT_EQ(VersionOf("org-a", 1).state, VersionState::kDestroyed);
}

// A KEK's destruction is for ever: does an older token, which may wait for one that was not meant, carry any out?
TEST_F(TokenPast, Q16_AnOlderTokenDestroysNothing) {
  ASSERT_EQ(*w_.Done("version.destroy", "org-a", kDestroyV1), "executed");
  Sign();
  const auto old = Record();
  OneProposal();
  w_.token.Recall(old);
  w_.clock.now += 8 * kDay;
  ASSERT_EQ(Present(), "token-behind") << "the heads tell";
  const auto keys = w_.token.Generated();
  EXPECT_EQ(SlugOf(w_.governance->RunDueDestructions()), "token-behind");
  EXPECT_EQ(w_.token.Generated(), keys);
}

// A KEK that was destroyed and is in the older token again: it is named, is no version, and can be given up again.
TEST_F(TokenPast, Q16_ADestroyedKekThatIsBackIsNamed) {
  ASSERT_EQ(*w_.Done("version.destroy", "org-a", kDestroyV1), "executed");
  w_.clock.now += 7 * kDay + crypto::kMinute;
  Sign();
  const auto old = Record();
  const auto gone = VersionOf("org-a", 1);
  ASSERT_EQ(*w_.governance->RunDueDestructions(), 1);
  Sign();
  w_.token.Recall(old);
  w_.token.PutKey(Bytes(gone.kek.begin(), gone.kek.end()), hsm::KekLabel("org-a", 1));
  EXPECT_EQ(Present(), "token-behind");
  Adopt();
  EXPECT_EQ(VersionOf("org-a", 1).state, VersionState::kDestroyed) << "no version again";
  EXPECT_EQ(DestroyAtToken(gone), "destruction-not-pending") << "nor waits the token for anything";
  ASSERT_EQ(w_.governance->Sweep("fake-token")->size(), 1U) << "people are told";
  EXPECT_EQ(w_.Done("keyring.rotate", "org-a").error().Slug(), "token-inventory");
}

// The other way round: a database that is older, by one entry and by a month, is no older token, and is named so.
TEST_P(OlderToken, Q16_AnOlderDatabaseIsNoOlderToken) {
  w_.KeepCopy();
  Older();
  w_.PutCopyBack();
  EXPECT_EQ(Present(), "ok");
  const auto compared = CompareWithAnchors(*w_.ledger, *w_.governance->Snapshot(), Record().anchors);
  EXPECT_EQ(SlugOf(compared), "rollback");
  Adopt("rolled-back");
  EXPECT_EQ(*w_.Done("keyring.rotate", "install"), "executed");
  EXPECT_TRUE(LoadVerified(*w_.ledger));
}

// Each has what the other lacks: the text says so, and after the adoption neither runs what the other has forgotten.
TEST_P(OlderToken, Q16_ApartIsNamed) {
  w_.KeepCopy();
  const auto forgotten = Approved("keyring.set-policy", "org-a", {{"rotate-days", "30"}});
  ASSERT_EQ(SlugOf(w_.governance->Execute(forgotten, By("operator-1"))), "ok");
  auto grant = GrantOf(forgotten);
  Older();
  const auto old = Record();
  w_.PutCopyBack();
  Adopt("rolled-back");
  w_.token.Recall(old);  // which has not heard of the epoch, and has more of the one before
  ASSERT_EQ(Present(), "token-behind");
  Adopt("apart");
  EXPECT_EQ(Record().epoch, 3U);
  EXPECT_EQ(SlugOf(w_.token.ChangeLedgerRecord(std::move(grant))), GetParam() ? "proposal-expired" : "stale");
  EXPECT_TRUE(LoadVerified(*w_.ledger));
}

TEST(StateOfToken, Q16_WhatIsLostOrForkedComesFirst) {
  EXPECT_EQ(StateOfToken(true, true, true, true), "lost");
  EXPECT_EQ(StateOfToken(false, true, true, true), "forked");
  EXPECT_EQ(StateOfToken(false, false, true, true), "apart");
  EXPECT_EQ(StateOfToken(false, false, false, true), "behind");
  EXPECT_EQ(StateOfToken(false, false, true, false), "rolled-back");
}

}  // namespace
}  // namespace strongroom::appliance
