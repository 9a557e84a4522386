// Nothing is recorded that an auditor would refuse (L12), and whoever was removed does nothing more (Q17).

#include <gtest/gtest.h>

#include <array>
#include <functional>
#include <future>

#include "appliance/audit/control_audit.h"
#include "appliance/broker.h"
#include "tests/support/world.h"

namespace strongroom::appliance {
namespace {

using tests::By;
using tests::World;
using To = ledger::VersionMoved::To;

std::size_t Size(const World& w) { return w.ledger->HeadOf(ledger::Log::kControl).size; }

class Audit : public testing::Test {
 protected:
  void SetUp() override { w_.MakeDevKeyrings(); }
  const State& state() {
    held_ = w_.governance->Snapshot();
    return *held_;
  }
  // What the auditor says to a transaction of these.
  Result<void> Judge(const std::vector<ledger::ControlBody>& bodies) {
    ControlAudit audit(state(), w_.clock.Now());
    for (const auto& body : bodies) TRY(audit.Take({w_.clock.Now(), body}));
    return audit.Finish();
  }
  World w_;
  std::shared_ptr<const State> held_;
};

// What a governance that was taken over, or is wrong, could try to append. Is there one for every kind of entry, and is
// each refused? The array has a place for each kind, so that a new one does not pass without a forgery of its own.
TEST_F(Audit, L12_EveryKindOfEntryHasAForgeryThatIsRefused) {
  const auto id = *w_.Approved("keyring.rotate", "org-a");
  const auto pending = *w_.File("keyring.rotate", "install");
  const auto install = state().FindKeyring("install")->id, org_a = state().FindKeyring("org-a")->id;
  auto foreign = state().FindProposal(id)->parsed;
  foreign.requester = "service-1";
  const std::vector<ledger::ControlBody> forgeries = {
      ledger::Genesis{state().roster->text(), {}},
      ledger::ProposalFiled{*foreign.Render()},
      ledger::VoteCast{pending, {"custodian-1", crypto::Verdict::kApprove, "no signature"}},
      ledger::ProposalWithdrawn{id, "operator-2"},
      ledger::ProposalConsumed{id, "nobody-at-all"},
      ledger::KeyringCreated{{9}, "org-z", crypto::Suite::kKwp, "token:fake-token", "service-1"},
      ledger::VersionAnnounced{org_a, 2, crypto::Suite::kKwp, "token:fake-token", {9}, "fake-token"},
      ledger::VersionActivated{org_a, 1},
      ledger::ExecutionSettled{id, true, {}, {}},
      ledger::EpochOpened{2, {}, {}, {}},
      ledger::CheckpointKeyChanged{2, "x", "y", {}},
      ledger::RosterChanged{state().roster->text()},
      ledger::KeyringSwitched{org_a, false, "service-1"},
      ledger::GrantsChanged{org_a, "service-1"},
      ledger::VersionMoved{install, 1, To::kDestroyed, 0, {}},
      ledger::BreakGlassOpened{id, "witness", "ceremonies", 60, 10, false},
      ledger::BreakGlassClosed{id, "closed", "service-1", 0},
      ledger::BreakGlassReviewed{id, "custodian-1", "f", "s"},
      ledger::ClockFrozen{0, "x"},
      ledger::ClockAccepted{0},
      ledger::CeremonyRecorded{"c", "s", "t", "m", "auditor-1"},
      ledger::PolicySet{org_a, 30, w_.clock.now + 90 * kDay, false},
      ledger::MandateUsed{org_a, 2},
      ledger::MandateSettled{org_a, 2, false, "x", "x"},
      ledger::JobStarted{"j", org_a, ledger::JobStarted::Kind::kRewrap, 1, false},
      ledger::JobSwitched{"j", ledger::JobSwitched::To::kCancelled, {}, {}, 0, 0},
      ledger::CensusAcknowledged{org_a, 1, "service-1", 1},
      ledger::EmergencyClosed{org_a, 1, "operator-1", "{}"},
      ledger::VersionAttested{org_a, 1, "operator-1", "s"},
      ledger::TokenEnrolled{"s", "l", "m", "v", false, {}},
      ledger::EvidenceArchived{256, {}, "w"},
      ledger::RosterAdvanced{2, {}},
      ledger::ProposalsClosed{id, "custodian-3", {pending}},
      ledger::ProposalsForgotten{w_.clock.Now() + 1},
  };
  ASSERT_EQ(forgeries.size(), std::variant_size_v<ledger::ControlBody>);
  for (std::size_t i = 0; i < forgeries.size(); ++i) {
    ASSERT_EQ(forgeries[i].index(), i) << "in the order of the kinds";
    std::vector<ledger::ControlBody> bodies = {forgeries[i]};
    // A clock may be frozen by nobody, but once.
    if (std::holds_alternative<ledger::ClockFrozen>(forgeries[i])) bodies.push_back(forgeries[i]);
    EXPECT_FALSE(Judge(bodies)) << ledger::KindName(forgeries[i]);
  }
}

// Whose word counts is judged by the roster, for what is one person's doing.
TEST_F(Audit, L12_OnePersonsDoingHasAPersonOfTheRosterBehindIt) {
  const auto id = *w_.Approved("keyring.rotate", "org-a");
  const auto opened =
      *w_.Done("break-glass.open", "", {{"check", "witness"}, {"scope", "ceremonies"}, {"drill", "yes"}});
  ASSERT_EQ(opened, "executed");
  const auto glass = state().break_glass.begin()->first;
  EXPECT_TRUE(Judge({ledger::ProposalWithdrawn{id, "operator-1"}}));
  EXPECT_FALSE(Judge({ledger::ProposalWithdrawn{id, "operator-2"}})) << "somebody else's";
  EXPECT_FALSE(Judge({ledger::ProposalWithdrawn{id, "\xff\xfe"}})) << "nobody's";
  EXPECT_TRUE(Judge({ledger::BreakGlassClosed{glass, "closed", "custodian-1", 0}}));
  EXPECT_TRUE(Judge({ledger::BreakGlassClosed{glass, "restart", {}, 0}}));
  EXPECT_FALSE(Judge({ledger::BreakGlassClosed{glass, "closed", "monitor-1", 0}}));
  EXPECT_TRUE(Judge({ledger::CeremonyRecorded{"c", "s", "t", "m", "custodian-2"}}));
  EXPECT_FALSE(Judge({ledger::CeremonyRecorded{"c", "s", "t", "m", "gone"}}));
  const auto org_a = state().FindKeyring("org-a")->id;
  EXPECT_TRUE(Judge({ledger::CensusAcknowledged{org_a, 1, "service-2", 1}}));
}

// Is an entry that would not verify kept out by the one place that writes control entries, with nothing written, an
// error of its own and an alarm? The log has an entry from an hour ahead, which nothing can stand behind.
TEST_F(Audit, L12_AnAppendThatWouldNotVerifyIsRefusedAndNamed) {
  ledger::Submission ahead;
  ahead.control.push_back({w_.clock.Now() + kHour, ledger::CeremonyRecorded{"c", "s", "t", "m", "operator-1"}});
  ASSERT_TRUE(w_.ledger->Record(std::move(ahead)));
  w_.Boot();
  EXPECT_EQ(w_.governance->Unverifiable(), "");
  const auto before = Size(w_);
  const auto refused = w_.governance->Disable("org-a", By("operator-1"));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().Slug(), "would-not-verify") << refused.error().Line();
  EXPECT_EQ(Size(w_), before);
  EXPECT_TRUE(state().FindKeyring("org-a")->enabled);
  EXPECT_NE(w_.governance->Unverifiable().find("keyring-switched"), std::string::npos) << w_.governance->Unverifiable();
  w_.clock.now += kHour;
  EXPECT_TRUE(w_.governance->Disable("org-a", By("operator-1"))) << "what verifies is recorded as ever";
}

class Revoked : public testing::Test {
 protected:
  void SetUp() override { w_.MakeDevKeyrings(); }
  // operator-2 and service-1 are removed, and their names given to other keys.
  void GiveNamesAway() {
    ASSERT_EQ(*w_.Done("roster.change", "", {{"remove-operator-2", "yes"}, {"remove-service-2", "yes"}}), "executed");
    ASSERT_EQ(*w_.Done("roster.change", "",
                       {{"add-operator-2", "operator " + ToHex(crypto::Sha256(AsBytes("another")))},
                        {"add-service-2", "service " + ToHex(crypto::Sha256(AsBytes("a third")))}}),
              "executed");
  }
  World w_;
};

// Everything that one person may do, asked with the key of somebody who is not in the roster any more, and whose name
// is another's now: is each refused inside the lock, and is nothing recorded?
TEST_F(Revoked, Q17_ARemovedKeyDoesNothingUnderItsFormerName) {
  const auto filed = *w_.governance->File(By("operator-2"), {"keyring.rotate", "org-a", {}, "before"});
  const auto& id = filed.proposal->id;
  GiveNamesAway();
  auto& g = *w_.governance;
  const auto by = By("operator-2");
  const auto vote = World::quorum().Sign("custodian-1", filed.proposal->text);
  const auto slug = [](const auto& result) {
    return result ? std::string("done") : std::string(result.error().Slug());
  };
  const std::vector<std::pair<const char*, std::function<std::string()>>> acts = {
      {"file",
       [&] {
         return slug(g.File(by, {"keyring.rotate", "org-a", {}, "after"}));
       }},
      {"vote", [&] { return slug(g.Vote(by, id, vote)); }},
      {"withdraw", [&] { return slug(g.Withdraw(id, by)); }},
      {"execute", [&] { return slug(g.Execute(id, by)); }},
      {"disable", [&] { return slug(g.Disable("org-a", by)); }},
      {"cancel a destruction", [&] { return slug(g.CancelDestruction("org-a", 1, by)); }},
      {"close a break-glass", [&] { return slug(g.CloseBreakGlass("x", by)); }},
      {"review", [&] { return slug(g.Review(by, "x", "custodian-1", "f", "s")); }},
      {"record a ceremony",
       [&] {
         return slug(g.RecordCeremony(by, {"c", "s", "{}", "m", {}}));
       }},
      {"switch a job", [&] { return slug(g.SwitchJob("x", JobState::kPaused, by)); }},
      {"acknowledge", [&] { return slug(g.Acknowledge(By("service-2"), "org-a", 1, 1)); }},
      {"attest", [&] { return slug(g.Attest("org-a", 1, by, "s")); }},
      {"close an emergency", [&] { return slug(g.CloseEmergency("org-a", 1, by, "{}")); }},
  };
  const auto before = Size(w_);
  for (const auto& [what, act] : acts) EXPECT_EQ(act(), "unknown-principal") << what;
  EXPECT_EQ(g.Disable("org-a", By("monitor-1")).error().Slug(), "role-refused");
  EXPECT_EQ(g.Disable("org-a", By("nobody")).error().Slug(), "unknown-principal");
  EXPECT_EQ(Size(w_), before);
}

// A request that waited in the queue, and one whose token work was under way when the roster changed: does neither get
// anything, and is the name's new owner not charged?
TEST_F(Revoked, Q17_AQueuedRequestEndsWithTheRosterThatRevokedIt) {
  bool remove = false;
  const Broker::Options options = [&] {
    Broker::Options o;
    o.workers = 1;
    // Asked behind the first judgement: from here on the token works, as far as the request knows.
    o.gate = [&](const DataRequest&) -> Result<std::string> {
      if (std::exchange(remove, false)) GiveNamesAway();
      return std::string();
    };
    return o;
  }();
  Broker broker(
      *w_.ledger, Broker::TokenLanes{w_.token, w_.token}, w_.clock, [this] { return w_.governance->Snapshot(); },
      options);
  const auto ask = [&] {
    std::promise<DataReply> promise;
    DataRequest request;
    request.request_id = "r";
    request.principal = "service-2";
    request.spki = tests::QuorumFixture::Spki("service-2");
    request.keyring = "org-a";
    request.operation = Operation::kDataKey;
    request.items.emplace_back().bytes = 32;
    request.items.back().want_plaintext = true;
    broker.Submit(std::move(request), [&](DataReply reply) { promise.set_value(std::move(reply)); });
    return promise.get_future().get();
  };
  ASSERT_TRUE(ask());
  remove = true;
  const auto under_way = ask();
  ASSERT_FALSE(under_way);
  EXPECT_EQ(under_way.error().Slug(), "unknown-principal");
  EXPECT_EQ(ask().error().Slug(), "unknown-principal") << "the name is another key's now";
  broker.Drain();
  std::vector<ledger::EvidenceEntry> seen;
  ASSERT_TRUE(w_.ledger->Read(ledger::Log::kEvidence, 0, [&](std::uint64_t, ByteView raw) {
    if (const auto entry = ledger::DecodeEvidence(raw); entry && entry->request_id == "r") seen.push_back(*entry);
    return true;
  }));
  ASSERT_EQ(seen.size(), 3U);
  EXPECT_EQ(seen[0].principal, "service-2");
  EXPECT_EQ(seen[1].outcome, "unknown-principal");
  EXPECT_EQ(seen[1].principal, "-") << "not the new owner's";
  EXPECT_EQ(seen[1].uses.size(), 1U) << "the KEK was used, and that counts (K4)";
  EXPECT_EQ(seen[2].outcome, "unknown-principal");
  EXPECT_EQ(seen[2].principal, "-");
}

}  // namespace
}  // namespace strongroom::appliance
