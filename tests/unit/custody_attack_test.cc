// What a front end that was taken over, an organisation that wants more than its own, and bad luck with clocks and
// crashes would try. Each was possible once.

#include <gtest/gtest.h>

#include "appliance/checkpointer.h"
#include "appliance/keyring_decisions.h"
#include "appliance/proposal_params.h"
#include "crypto/custody.h"
#include "tests/support/clock_world.h"
#include "tests/support/custody_time.h"
#include "tests/support/made_up_roster.h"
#include "tests/support/standing.h"

namespace strongroom::appliance {
namespace {

using crypto::kMinute;
using tests::By;
using tests::World;
constexpr Millis kNow = 1'800'000'000'000;

// A record that obeys a roster, and grants under it by the quorum fixture's custodians.
class CustodyAttack : public testing::Test {
 protected:
  static crypto::LedgerRecord RecordOf(const crypto::Roster& roster) {
    crypto::LedgerRecord record;
    record.instance = roster.instance();
    record.token = "t";
    record.custody.roster_version = roster.version();
    record.custody.roster_hash = roster.hash();
    return record;
  }
  static crypto::ProposalText Text(const crypto::Roster& roster, const std::string& operation,
                                   const std::string& keyring, Params params, Millis now, std::uint64_t size) {
    auto p = World::quorum().Proposal(operation, keyring, std::move(params), now);
    p.roster_version = roster.version();
    p.roster_hash = roster.hash();
    p.policy = crypto::PolicyOf(roster, p);
    p.control_size = size;
    return p;
  }
  static Result<crypto::ExecutionGrant> Grant(const crypto::Roster& roster, const crypto::ProposalText& p, Millis now) {
    TRY_ASSIGN(const auto text, p.Render());
    std::vector<crypto::Vote> votes;
    for (const auto* who : {"custodian-1", "custodian-2"}) votes.push_back(World::quorum().Sign(who, text));
    return crypto::GrantExecution(roster, text, std::move(votes), now);
  }
  static std::string Slug(const Result<crypto::LedgerRecord>& result) {
    return result ? "done" : std::string(result.error().Slug());
  }
};

// Who votes is told by the keyring's name: what is about the whole appliance has none, what is about a keyring has one.
TEST_F(CustodyAttack, Q8_NothingAboutTheApplianceGoesByAnOrganisationsVotes) {
  const auto& roster = World::quorum().roster();
  for (const auto* operation :
       {"roster.change", "ledger.rotate-key", "ledger.adopt", "clock.accept", "break-glass.open"})
    EXPECT_FALSE(Text(roster, operation, "acme", {}, kNow, 1).Render()) << operation;
  for (const auto* operation :
       {"keyring.create", "keyring.rotate", "keyring.emergency-rotate", "keyring.enable", "keyring.set-policy",
        "grant.change", "version.archive", "version.restore", "version.destroy"})
    EXPECT_FALSE(Text(roster, operation, "", {}, kNow, 1).Render()) << operation;
  auto far = Text(roster, "keyring.rotate", "k", {}, kNow, 1);
  far.execute_by = far.created + 32 * kDay;
  EXPECT_FALSE(far.Render()) << "nobody signs for what runs in a year";
}

// Q9: the name that custodians read and the id that the token acts on belong together.
TEST_F(CustodyAttack, Q9_AnotherKeyringsIdUnderOnesOwnNameIsRefused) {
  World w;
  w.MakeDevKeyrings();
  const auto& org = *w.governance->Snapshot()->FindKeyring("org-a");
  const auto token = w.token.Identity()->serial;
  const auto now = w.clock.Now();
  const auto attempt = [&](const std::string& operation, Params params) {
    params.insert({{"token", token}, {"keyring-id", ToHex(org.id)}});
    const auto text = *World::quorum().Proposal(operation, "install", params, now).Render();
    auto grant = crypto::GrantExecution(
        World::quorum().roster(), text,
        {World::quorum().Sign("custodian-1", text), World::quorum().Sign("custodian-2", text)}, now);
    EXPECT_TRUE(grant);
    Result<void> done;
    if (operation == "keyring.rotate")
      done = w.token.Generate(
          std::move(*grant), {{token, crypto::MakeKeyId(org.id, 2), crypto::Suite::kGcm}, hsm::KekLabel("install", 2)});
    else
      done = w.token.ChangeLedgerRecord(std::move(*grant));
    return done ? std::string("done") : std::string(done.error().Slug());
  };
  EXPECT_EQ(attempt("version.destroy", {{"version", "1"}, {"waiting-days", "7"}}), "grant-mismatch");
  EXPECT_EQ(
      attempt("keyring.set-policy",
              {{"suite", "gcm"}, {"rotate-days", "30"}, {"until", FormatTime(now + 90 * kDay)}, {"enforce", "no"}}),
      "grant-mismatch");
  EXPECT_EQ(attempt("keyring.rotate", {{"version", "2"}, {"suite", "gcm"}, {"custody", "token:" + token}}),
            "grant-mismatch");
}

// An organisation that decides for itself is not wrapped by others' KEK.
TEST_F(CustodyAttack, Q3_AnOrganisationHasAKekOfItsOwn) {
  World w;
  w.MakeDevKeyrings();
  const auto refused = w.File(
      "roster.change", "",
      {{"organisation-org-b", "ceremony=2,destruction=2,emergency=2,rotation=2 custodian-1,custodian-2,custodian-3"}});
  EXPECT_FALSE(refused);
}

// Q12: what was asked for in another epoch, or in a text that names none, runs in no token. A further token signs no
// logs and does not know theirs.
TEST_F(CustodyAttack, Q12_VotesOfAnotherEpochAreVoid) {
  const auto& roster = World::quorum().roster();
  auto record = RecordOf(roster);
  auto p = Text(roster, "keyring.rotate", "k", {}, kNow, 1);
  const auto spend = [&] { return Slug(tests::Spend(record, *Grant(roster, p, kNow), kNow)); };
  EXPECT_EQ(spend(), "done") << "nothing was signed yet: the first epoch";
  p.epoch = 2;
  EXPECT_EQ(spend(), "stale");
  record.epoch = 2;
  record.anchors = {{crypto::ControlOrigin(roster.instance(), 2), 5, {}}};
  EXPECT_EQ(spend(), "done");
  for (const std::uint64_t other : {1U, 3U}) {
    p.epoch = other;
    EXPECT_EQ(spend(), "stale") << other;
  }
  p.format = 1;
  p.epoch = 0;
  EXPECT_EQ(spend(), "stale") << "a text of before";
  record = RecordOf(roster);
  EXPECT_EQ(spend(), "stale") << "also where no epoch is known";
  record.custody.further = true;
  EXPECT_EQ(spend(), "stale");
  p.format = 2;
  p.epoch = 9;
  EXPECT_EQ(spend(), "done");
}

// What an appliance of before has left open is to be asked for again; what it did stays what whoever reads the log
// sees.
TEST_F(CustodyAttack, Q12_AnOpenTextOfFormat1IsStale) {
  World w;
  ASSERT_TRUE(w.FirstBoot());
  const auto state = w.governance->Snapshot();
  auto p = Text(*state->roster, "keyring.create", "k", {}, w.clock.Now(), 1);
  p.format = 1;
  p.epoch = 0;
  const auto text = *p.Render();
  const auto id = crypto::ProposalId(text);
  const auto record = [&](ledger::ControlBody body) {
    State next = *w.governance->Snapshot();
    ledger::Submission submission;
    submission.control.push_back({w.clock.Now(), std::move(body)});
    submission.rows = RowsOf(next, *Apply(next, submission.control[0]));
    ASSERT_TRUE(w.ledger->Record(std::move(submission)));
    w.Boot();
  };
  record(ledger::ProposalFiled{text});
  EXPECT_EQ(w.governance->View(id)->state, "stale");
  EXPECT_EQ(w.governance->Vote(By("operator-1"), id, World::quorum().Sign("custodian-1", text)).error().Slug(),
            "stale");
  for (const auto* who : {"custodian-1", "custodian-2"}) record(ledger::VoteCast{id, World::quorum().Sign(who, text)});
  EXPECT_EQ(w.governance->View(id)->state, "stale");
  EXPECT_EQ(w.governance->Execute(id, By("operator-1")).error().Slug(), "stale");
  const auto now = w.governance->Snapshot();
  EXPECT_EQ(StateAt(*now, *now->FindProposal(id), w.clock.Now()), "approved") << "as the log of before had it";
  EXPECT_TRUE(JudgeExecution(*now, *now->FindProposal(id), w.clock.Now()));
  EXPECT_TRUE(w.governance->Withdraw(id, By("operator-1")));
  // A text of another epoch than the log's is none that this appliance has filed.
  State other = *now;
  auto ahead = Text(*now->roster, "keyring.create", "k", {}, w.clock.Now(), 1);
  ahead.epoch = 2;
  EXPECT_FALSE(Apply(other, {w.clock.Now(), ledger::ProposalFiled{*ahead.Render()}}));
}

// Q5, Q10: an acceptance works once, whenever its hour comes again; nothing from before it ever does.
TEST_F(CustodyAttack, Q10_AnAcceptedClockIsNotAcceptedAgain) {
  const auto& roster = World::quorum().roster();
  const auto accept = [&](Millis at, std::uint64_t size) {
    return Text(roster, "clock.accept", "", {{"clock", FormatTime(at)}, {"token", "t"}}, at, size);
  };
  const auto first = accept(kNow, 200), later = accept(kNow + 90 * kDay, 900);
  const auto victim =
      Text(roster, "version.destroy", "k",
           {{"keyring-id", ToHex(crypto::KeyringId{})}, {"version", "1"}, {"waiting-days", "7"}}, kNow, 210);
  auto record = *tests::Spend(RecordOf(roster), *Grant(roster, first, kNow), kNow);
  record = *tests::Spend(record, *Grant(roster, victim, kNow), kNow + 1000);
  record = *tests::Spend(record, *Grant(roster, later, kNow + 90 * kDay), kNow + 90 * kDay);
  EXPECT_EQ(record.custody.floor, 900U);
  // The host's clock goes back by itself, and everything from then is presented again.
  EXPECT_EQ(Slug(tests::Spend(record, *Grant(roster, victim, kNow), kNow + 5000)), "clock-back");
  EXPECT_EQ(Slug(tests::Spend(record, *Grant(roster, first, kNow), kNow + 5000)), "stale");
  const auto invented = accept(kNow, std::uint64_t{1} << 60);
  EXPECT_EQ(Slug(tests::Spend(record, *Grant(roster, invented, kNow), kNow + 5000)), "stale")
      << "a log that nobody has signed";
  // An adoption goes on from a shorter log, and is no less possible for that.
  const auto adopt = Text(roster, "ledger.adopt", "", {{"clock", FormatTime(kNow + 91 * kDay)}, {"token", "t"}},
                          kNow + 91 * kDay, 300);
  const auto adopted = tests::Spend(record, *Grant(roster, adopt, kNow + 91 * kDay), kNow + 91 * kDay);
  ASSERT_TRUE(adopted) << adopted.error().Line();
  EXPECT_EQ(adopted->custody.floor, 900U) << "the epoch does its work, and AdoptRecord takes it away";
}

class CustodyUnderClock : public tests::ClockWorld {};

// Q11, Q15: does a start with a clock a year ahead bring a destruction nearer, here or at the token?
TEST_F(CustodyUnderClock, Q11_AWrongClockAtTheStartEndsNoWaitingPeriod) {
  (void)*w_.Done("keyring.rotate", "install");
  ASSERT_EQ(
      *w_.Done("version.destroy", "install",
               {{"version", "1"}, {"waive", "service-1,service-2"}, {"quiet-hours", "0"}, {"waiting-days", "365"}}),
      "executed");
  reading_ = {kNow + 366 * kDay, 1000};
  Boot();
  EXPECT_EQ(clock_->Fault(), "") << "nobody can tell that from a year in a cupboard";
  EXPECT_EQ(*w_.governance->RunDueDestructions(), 0);
  const auto& version = *w_.governance->Snapshot()->FindKeyring("install")->Find(1);
  const hsm::KeyRef ref{version.token, version.kek, version.suite};
  EXPECT_EQ(w_.token.Destroy(tests::MadeUpDestruction(ref.key), ref).error().Slug(), "destruction-not-due");
  Pass(364 * kDay);
  EXPECT_EQ(*w_.governance->RunDueDestructions(), 0) << "nobody has watched so long yet";
  Pass(kDay + kMinute);
  EXPECT_EQ(*w_.governance->RunDueDestructions(), 1);
}

// An acceptance that was cut off is not settled by another clock than the one that was voted for.
TEST_F(CustodyUnderClock, Q10_ReconcilingAcceptsNoOtherClock) {
  const auto id = CutOffAcceptance();
  reading_ = {kNow - 5 * 365 * kDay, 0};  // the power went, and with it the time
  Boot();
  EXPECT_EQ(*w_.governance->Reconcile(), 1);
  EXPECT_EQ(w_.governance->View(id)->state, "failed");
  EXPECT_NE(clock_->Fault(), "");
  EXPECT_GE(clock_->Now(), kNow) << "time has not gone back";
}

// Frozen and rolled back at once: the adoption is the way out of both.
TEST_F(CustodyUnderClock, L8_AnAdoptionIsPossibleByAFrozenClock) {
  reading_.host -= kDay;
  ASSERT_TRUE(w_.governance->WatchClock());
  w_.token.Lose();
  Boot();
  const auto done = w_.Done("ledger.adopt", "");
  ASSERT_TRUE(done) << done.error().Line();
  EXPECT_EQ(*done, "executed");
  EXPECT_EQ(clock_->Fault(), "");
  EXPECT_EQ(*w_.Done("keyring.rotate", "install"), "executed");
  EXPECT_TRUE(LoadVerified(*w_.ledger));
}

// The token has seen a time that nobody here knows of: only an acceptance brings it back.
TEST_F(CustodyUnderClock, Q10_ATokenThatIsAheadIsBroughtBackByQuorum) {
  auto record = *w_.token.ReadLedgerRecord();
  record.custody.seen = kNow + 3650 * kDay;
  w_.token.Recall(record);
  EXPECT_EQ(w_.Done("keyring.rotate", "install").error().Slug(), "clock-back") << "nothing is consumed by it";
  EXPECT_EQ(*w_.Done("clock.accept", ""), "executed");
  EXPECT_EQ(*w_.Done("keyring.rotate", "install"), "executed");
  EXPECT_TRUE(LoadVerified(*w_.ledger));
}

// Q11: what a lost log gave up is not given up any more after an adoption, and can be given up again.
TEST(AfterARestore, Q11_AnAdoptionEndsWhatTheTokenWaitedFor) {
  World w;
  w.MakeDevKeyrings();
  ASSERT_EQ(*w.Done("keyring.rotate", "org-a"), "executed");
  const auto sign = [&] {
    Checkpointer c(*w.ledger, w.token, w.clock, [&] { return w.governance->Snapshot(); },
                   {std::chrono::hours(1), std::chrono::hours(1)});
    c.Enable();
    ASSERT_TRUE(c.Now());
  };
  sign();
  w.KeepCopy();
  ASSERT_EQ(*w.Done("version.destroy", "org-a",
                    {{"version", "1"}, {"waive", "service-1,service-2"}, {"quiet-hours", "0"}, {"waiting-days", "7"}}),
            "executed");
  sign();
  w.PutCopyBack();
  ASSERT_EQ(*w.Done("ledger.adopt", ""), "executed");
  const auto version = *w.governance->Snapshot()->FindKeyring("org-a")->Find(1);
  w.clock.now += 8 * kDay;
  EXPECT_EQ(w.token.Destroy(tests::MadeUpDestruction(version.kek), {version.token, version.kek, version.suite})
                .error()
                .Slug(),
            "destruction-not-pending");
  EXPECT_EQ(*w.Done("version.destroy", "org-a",
                    {{"version", "1"}, {"waive", "service-1,service-2"}, {"quiet-hours", "0"}, {"waiting-days", "30"}}),
            "executed");
}

// An emergency that was cut off leaves a compromised primary: nothing is made under it, and it is not given up.
TEST(AfterAnEmergency, F19_ACompromisedPrimaryIsNeitherUsedNorGivenUp) {
  World w;
  w.MakeDevKeyrings();
  const auto id = *w.Approved("keyring.emergency-rotate", "install");
  const auto real = w.token.now;
  w.token.now = [&] { return w.clock.Now() - kHour; };
  EXPECT_EQ(w.governance->Execute(id, By("operator-1")).error().Slug(), "clock-back");
  EXPECT_EQ(w.governance->Snapshot()->FindKeyring("install")->Find(1)->state, VersionState::kActive)
      << "what the token refuses changes nothing";
  w.token.now = real;
  // Cut off after the intent, and too late when it is looked at: then it is over.
  const auto state = w.governance->Snapshot();
  const auto effect = *EffectOf(*state, state->FindProposal(id)->parsed);
  ledger::Submission intent;
  State next = *state;
  std::vector<ledger::ControlBody> bodies = {ledger::ProposalConsumed{id, "operator-1"}};
  bodies.insert(bodies.end(), effect.at_once.begin(), effect.at_once.end());
  for (auto& body : bodies) {
    ledger::ControlEntry entry{w.clock.Now(), std::move(body)};
    for (auto& row : RowsOf(next, *Apply(next, entry))) intent.rows.push_back(std::move(row));
    intent.control.push_back(std::move(entry));
  }
  ASSERT_TRUE(w.ledger->Record(std::move(intent)));
  w.clock.now += 3 * kDay;
  w.Boot();
  EXPECT_EQ(*w.governance->Reconcile(), 1);
  EXPECT_EQ(w.governance->View(id)->state, "failed");
  ASSERT_EQ(w.governance->Snapshot()->FindKeyring("install")->Find(1)->state, VersionState::kCompromised);
  EXPECT_EQ(w.File("keyring.create", "fresh").error().Slug(), "version-state");
  EXPECT_EQ(
      w.File("version.destroy", "install", {{"version", "1"}, {"waive", "service-1,service-2"}, {"quiet-hours", "0"}})
          .error()
          .Slug(),
      "version-state");
  ASSERT_EQ(*w.Done("keyring.emergency-rotate", "install"), "executed");
  EXPECT_EQ(*w.Done("keyring.create", "fresh"), "executed");
  EXPECT_TRUE(LoadVerified(*w.ledger));
}

// G6: what an earlier run let through is counted whatever closes it after the restart.
TEST(AfterARestart, G6_UsesOfAnEarlierRunAreCounted) {
  World w;
  w.MakeDevKeyrings();
  const auto filed =
      w.governance->File(By("operator-1"),
                         {"break-glass.open",
                          "",
                          {{"check", "provider-health"}, {"scope", "token:fake-token"}, {"minutes", "10"}},
                          "a test"},
                         {"provider-health"});
  const auto id = filed->proposal->id;
  ASSERT_TRUE(w.Approve(id, "custodian-1"));
  ASSERT_TRUE(w.Approve(id, "custodian-2"));
  ASSERT_TRUE(w.governance->Execute(id, By("operator-1")));
  for (int i = 0; i < 5; ++i) {
    ledger::Submission use;
    ledger::EvidenceEntry entry;
    entry.time = w.clock.Now();
    entry.request_id = entry.principal = "-";
    entry.operation = ledger::Operation::kOther;
    entry.outcome = "break-glass " + id;
    use.evidence.push_back(entry);
    ASSERT_TRUE(w.ledger->Record(std::move(use)));
  }
  w.clock.now += 11 * 60'000;
  w.Boot();
  ASSERT_TRUE(w.governance->CloseOutlived());
  EXPECT_EQ(w.governance->Snapshot()->break_glass.at(id)->reason, "expired");
  EXPECT_EQ(w.governance->Snapshot()->break_glass.at(id)->uses, 5U);
}

}  // namespace
}  // namespace strongroom::appliance
