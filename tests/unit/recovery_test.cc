// A database that is not the one that was signed last, and the proposal that makes it the ledger again; the checkpoint
// key and the one that follows it.

#include <gtest/gtest.h>

#include "appliance/checkpointer.h"
#include "tests/support/world.h"

namespace strongroom::appliance {
namespace {

namespace fs = std::filesystem;
using ledger::Log;
using tests::By;
using tests::World;

class RecoveryTest : public testing::Test {
 protected:
  void SetUp() override {
    w_.MakeDevKeyrings();
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
  Result<void> Compare() {
    return CompareWithAnchors(*w_.ledger, *w_.governance->Snapshot(), w_.token.ReadLedgerRecord()->anchors);
  }
  void KeepCopy(const std::string& name = "copy") { w_.KeepCopy(name); }
  void PutCopyBack(const std::string& name = "copy") { w_.PutCopyBack(name); }
  // Writes the intent as Execute does and has the token do its part, as if the program died right after.
  void CutOff(const std::string& id, bool token_did_it) {
    const auto state = w_.governance->Snapshot();
    auto grant = JudgeExecution(*state, *state->FindProposal(id), w_.clock.Now());
    ASSERT_TRUE(grant) << grant.error().Line();
    ledger::Submission intent;
    intent.control.push_back({w_.clock.Now(), ledger::ProposalConsumed{id, "operator-1"}});
    State next = *state;
    intent.rows = RowsOf(next, *Apply(next, intent.control[0]));
    ASSERT_TRUE(w_.ledger->Record(std::move(intent)));
    if (token_did_it) ASSERT_TRUE(w_.token.ChangeLedgerRecord(std::move(*grant)));
    w_.Boot();
  }
  World w_;
};

TEST_F(RecoveryTest, L8_WhatExtendsTheAnchorsIsNotAdopted) {
  EXPECT_EQ(w_.File("ledger.adopt", "").error().Slug(), "not-rolled-back");
  w_.token.SetAway(true);
  EXPECT_EQ(w_.File("ledger.adopt", "").error().code, Code::kUnavailable);
}

TEST_F(RecoveryTest, L8_AnotherInstancesTokenAdoptsNothing) {
  auto foreign = w_.token.ReadLedgerRecord();
  Recovery recovery;
  recovery.rolled_back = true;
  recovery.record = *foreign;
  recovery.record.instance = crypto::RandomArray<16>();
  Drawn drawn;
  drawn.token = "fake-token";
  drawn.recovery = recovery;
  const auto draft = DraftProposal(*w_.governance->Snapshot(), "operator-1", {"ledger.adopt", "", {}, "why"}, drawn);
  EXPECT_EQ(draft.error().Slug(), "foreign-instance");
}

// Lost: a rotation of install (which moves org-b) and one of org-a, a whole keyring, and an approved proposal that ran.
// Adopted: the versions are versions again, the keyring's key is unused, and nothing of before runs a second time.
TEST_F(RecoveryTest, L8_AnAdoptionBringsLostVersionsBack) {
  const auto open = *w_.Approved("keyring.rotate", "org-a");
  Sign();
  KeepCopy();
  ASSERT_EQ(w_.governance->Execute(open, By("operator-1"))->state, "executed");
  ASSERT_EQ(*w_.Done("keyring.rotate", "install"), "executed");
  ASSERT_EQ(*w_.Done("keyring.rotate", "install"), "executed");
  ASSERT_EQ(*w_.Done("keyring.create", "org-z", {{"custody", "token"}}), "executed");
  Sign();
  const auto whole = w_.governance->Snapshot();
  const auto lost_head = w_.ledger->HeadOf(Log::kControl).size;
  PutCopyBack();
  ASSERT_EQ(Compare().error().Slug(), "rollback");
  const auto kept = w_.ledger->HeadOf(Log::kControl).size;
  const auto id = w_.Approved("ledger.adopt", "");
  ASSERT_TRUE(id) << id.error().Line();
  const auto text = w_.governance->View(*id)->proposal->parsed;
  EXPECT_EQ(text.params.at("lost-control"), "entries " + std::to_string(kept) + " to " + std::to_string(lost_head - 1));
  const auto done = w_.governance->Execute(*id, By("operator-1"));
  ASSERT_TRUE(done) << done.error().Line();
  EXPECT_TRUE(Compare()) << Compare().error().Line();
  Sign();
  const auto state = w_.governance->Snapshot();
  EXPECT_EQ(state->ledger.epoch, 2U);
  EXPECT_EQ(state->ledger.unused_keys.size(), 1U);
  EXPECT_EQ(state->FindKeyring("org-z"), nullptr);
  for (const auto* name : {"install", "org-a", "org-b"}) {
    const auto &now = *state->FindKeyring(name), &then = *whole->FindKeyring(name);
    EXPECT_EQ(now.primary, then.primary) << name;
    ASSERT_EQ(now.versions.size(), then.versions.size()) << name;
    for (const auto& [number, version] : then.versions) {
      EXPECT_EQ(now.Find(number)->kek, version.kek) << name;
      EXPECT_EQ(now.Find(number)->suite, version.suite) << name;
    }
  }
  EXPECT_TRUE(w_.governance->Sweep("fake-token")->empty()) << w_.governance->Sweep("fake-token")->front();
  EXPECT_EQ(w_.governance->View(open)->state, "stale") << "it ran in what is lost";
  EXPECT_FALSE(w_.governance->Execute(open, By("operator-1")));
  EXPECT_FALSE(w_.governance->Execute(*id, By("operator-1")));
  EXPECT_EQ(*w_.Done("keyring.rotate", "install"), "executed") << "life goes on";
  w_.Boot();
  EXPECT_TRUE(LoadVerified(*w_.ledger));
}

// The token and the database may move between the votes and the execution: nothing is adopted then.
TEST_F(RecoveryTest, L8_AnAdoptionOfAnotherDatabaseOrOtherKeysIsStale) {
  KeepCopy();
  ASSERT_EQ(*w_.Done("keyring.rotate", "install"), "executed");
  Sign();
  PutCopyBack();
  const auto id = *w_.Approved("ledger.adopt", "");
  const auto ring = crypto::RandomArray<16>();
  ASSERT_TRUE(
      w_.token.Generate(World::quorum().Grant(ring, 1, crypto::Suite::kKwp, "fake-token"),
                        {{"fake-token", crypto::MakeKeyId(ring, 1), crypto::Suite::kKwp}, hsm::KekLabel("k", 1)}));
  EXPECT_EQ(w_.governance->Execute(id, By("operator-1")).error().Slug(), "stale") << "a key more than was read";
  EXPECT_EQ(w_.governance->View(id)->state, "approved") << "nothing is consumed";
  EXPECT_EQ(w_.governance->Snapshot()->ledger.epoch, 1U);
}

// L4: cut off between intent and outcome, before and after the token did it.
TEST_F(RecoveryTest, L4_ACutOffAdoptionIsSettledByWhatTheTokenSays) {
  KeepCopy();
  ASSERT_EQ(*w_.Done("keyring.rotate", "install"), "executed");
  Sign();
  PutCopyBack();
  const auto first = *w_.Approved("ledger.adopt", "");
  CutOff(first, /*token_did_it=*/false);
  EXPECT_EQ(*w_.governance->ReconcileRecord(), 1);
  EXPECT_EQ(w_.governance->View(first)->state, "failed");
  EXPECT_EQ(Compare().error().Slug(), "rollback");
  const auto second = *w_.Approved("ledger.adopt", "");
  CutOff(second, /*token_did_it=*/true);
  EXPECT_EQ(Compare().error().Slug(), "rollback") << "the log does not say so yet";
  EXPECT_EQ(*w_.governance->ReconcileRecord(), 1);
  EXPECT_EQ(*w_.governance->ReconcileRecord(), 0) << "once";
  EXPECT_EQ(w_.governance->View(second)->state, "executed");
  EXPECT_TRUE(Compare()) << Compare().error().Line();
  EXPECT_EQ(w_.governance->Snapshot()->FindKeyring("install")->primary, 2U);
  Sign();
}

TEST_F(RecoveryTest, L4_ACutOffKeyRotationIsSettledByWhatTheTokenSays) {
  for (const bool did : {false, true}) {
    const auto before = w_.governance->Snapshot()->ledger.key;
    const auto id = *w_.Approved("ledger.rotate-key", "");
    CutOff(id, did);
    if (did) EXPECT_EQ(Make()->Now().error().code, Code::kUnavailable) << "no tampering: a record that is on its way";
    EXPECT_EQ(*w_.governance->Reconcile(), 1);
    EXPECT_EQ(w_.governance->View(id)->state, did ? "executed" : "failed");
    EXPECT_EQ(w_.governance->Snapshot()->ledger.key, before + (did ? 1 : 0));
    Sign();
  }
}

// L10: after a rotation both heads are signed anew, by both keys, and after the overlap by the new one alone.
TEST_F(RecoveryTest, L10_BothKeysSignForTheOverlap) {
  w_.token.now = [this] { return w_.clock.Now(); };
  const auto checkpointer = Make();
  ASSERT_TRUE(checkpointer->Now());
  ledger::Submission one;
  one.evidence.emplace_back();
  one.evidence.back().outcome = "ok";
  ASSERT_TRUE(w_.ledger->Record(std::move(one)));
  ASSERT_TRUE(checkpointer->Now());
  const auto first = *crypto::NoteKey::Parse(*checkpointer->VerifierKey());
  EXPECT_EQ(w_.File("ledger.rotate-key", "", {{"overlap-days", "0"}}).error().code, Code::kInvalid);
  EXPECT_EQ(w_.File("ledger.rotate-key", "", {{"days", "3"}}).error().Slug(), "unknown-parameter");
  ASSERT_EQ(*w_.Done("ledger.rotate-key", "", {{"overlap-days", "2"}}), "executed");
  (void)checkpointer->Now();  // the fixture has had a head signed meanwhile: what the token remembers is learnt anew
  ASSERT_TRUE(checkpointer->Now()) << checkpointer->Fault();
  const auto second = *crypto::NoteKey::Parse(*checkpointer->VerifierKey());
  EXPECT_NE(first, second);
  EXPECT_EQ(w_.governance->Snapshot()->ledger.keys, (std::vector<std::string>{first.Text(), second.Text()}));
  const auto signs = [&](Log log, const crypto::NoteKey& key) {
    return crypto::OpenNote((*w_.ledger->LatestCheckpoint(log))->note, std::span(&key, 1)).has_value();
  };
  for (const auto log : {Log::kControl, Log::kEvidence}) {
    EXPECT_TRUE(signs(log, first));
    EXPECT_TRUE(signs(log, second)) << "also of the log that has not grown";
  }
  w_.clock.now += 3 * kDay;
  (void)*w_.File("keyring.rotate", "install");
  (void)checkpointer->Now();  // the fixture has had a head signed meanwhile: what the token remembers is learnt anew
  ASSERT_TRUE(checkpointer->Now()) << checkpointer->Fault();
  EXPECT_TRUE(signs(Log::kControl, second));
  EXPECT_FALSE(signs(Log::kControl, first));
}

// A token that forgets an adoption, after a power cut or a restore of its own, is behind the ledger by more than one
// epoch: the next adoption makes them one again.
TEST_F(RecoveryTest, L8_AnAdoptionThatTheTokenForgotIsNoDeadEnd) {
  KeepCopy();
  ASSERT_EQ(*w_.Done("keyring.rotate", "install"), "executed");
  Sign();
  const auto before = *w_.token.ReadLedgerRecord();
  PutCopyBack();
  ASSERT_EQ(*w_.Done("ledger.adopt", ""), "executed");
  w_.token.Recall(before);
  ASSERT_EQ(Compare().error().Slug(), "rollback");
  const auto again = w_.Done("ledger.adopt", "");
  ASSERT_TRUE(again) << again.error().Line();
  EXPECT_EQ(w_.governance->Snapshot()->ledger.epoch, 3U);
  Sign();
}

// A rotation that the token did and the ledger took for failed is recorded by an adoption.
TEST_F(RecoveryTest, L10_AKeyThatTheLedgerDoesNotKnowIsAdopted) {
  const auto id = *w_.Approved("ledger.rotate-key", "");
  const auto state = w_.governance->Snapshot();
  ASSERT_TRUE(w_.token.ChangeLedgerRecord(*JudgeExecution(*state, *state->FindProposal(id), w_.clock.Now())));
  EXPECT_FALSE(Make()->Now());
  EXPECT_FALSE(w_.governance->Execute(id, By("operator-1"))) << "spent";
  ASSERT_EQ(*w_.Done("ledger.adopt", ""), "executed");
  EXPECT_EQ(w_.governance->Snapshot()->ledger.key, 2U);
  Sign();
}

// A lost record and an adoption that was cut off before the token had it: the next one goes through.
TEST_F(RecoveryTest, L8_ALostRecordAndACutOffAdoptionAreNoDeadEnd) {
  w_.token.Lose();
  const auto first = w_.Approved("ledger.adopt", "");
  ASSERT_TRUE(first) << first.error().Line();
  CutOff(*first, /*token_did_it=*/false);
  EXPECT_EQ(*w_.governance->ReconcileRecord(), 1);
  EXPECT_EQ(w_.governance->View(*first)->state, "failed");
  ASSERT_EQ(*w_.Done("ledger.adopt", ""), "executed");
  EXPECT_TRUE(Compare()) << Compare().error().Line();
  Sign();
}

// The newer of two backups, put in the place of an epoch that was adopted from the older one: larger than what the
// token signed, and all of that is lost. The custodians read so.
TEST_F(RecoveryTest, L8_AnEpochThatIsReplacedIsNamedAsLost) {
  KeepCopy("older");
  for (int i = 0; i < 4; ++i) ASSERT_EQ(*w_.Done("keyring.rotate", "install"), "executed");
  Sign();
  KeepCopy("newer");
  ASSERT_EQ(*w_.Done("keyring.rotate", "org-a"), "executed");
  Sign();
  PutCopyBack("older");
  ASSERT_EQ(*w_.Done("ledger.adopt", ""), "executed");
  Sign();
  const auto signed_size = w_.ledger->HeadOf(Log::kControl).size;
  PutCopyBack("newer");
  ASSERT_GT(w_.ledger->HeadOf(Log::kControl).size, signed_size);
  const auto id = *w_.Approved("ledger.adopt", "");
  EXPECT_EQ(w_.governance->View(id)->proposal->parsed.params.at("lost-control"),
            "all of epoch 2, which ended at entry " + std::to_string(signed_size - 1));
  EXPECT_EQ(w_.governance->Execute(id, By("operator-1"))->state, "executed");
}

// Two adoptions in a row, with no signature in between: the second one quotes no note of an epoch before its own.
TEST_F(RecoveryTest, L9_ASecondAdoptionQuotesOnlyItsOwnEpoch) {
  KeepCopy();
  ASSERT_EQ(*w_.Done("keyring.rotate", "install"), "executed");
  Sign();
  const auto before = *w_.token.ReadLedgerRecord();
  PutCopyBack();
  for (int i = 0; i < 2; ++i) {
    ASSERT_EQ(*w_.Done("ledger.adopt", ""), "executed");
    if (i == 0) w_.token.Recall(before);
  }
  std::vector<ledger::EpochOpened> opened;
  ASSERT_TRUE(w_.ledger->Read(Log::kControl, 0, [&](std::uint64_t, ByteView raw) {
    const auto entry = *ledger::DecodeControl(raw);
    if (const auto* epoch = std::get_if<ledger::EpochOpened>(&entry.body)) opened.push_back(*epoch);
    return true;
  }));
  ASSERT_EQ(opened.size(), 2U);
  EXPECT_NE(opened[0].control_note, "");
  EXPECT_EQ(opened[1].control_note, "");
}

// A rotation that the restored database has missed is recorded with the adoption.
TEST_F(RecoveryTest, L10_AnAdoptionRecordsAKeyRotationThatWasLost) {
  KeepCopy();
  ASSERT_EQ(*w_.Done("ledger.rotate-key", ""), "executed");
  Sign();
  PutCopyBack();
  const auto done = w_.Done("ledger.adopt", "");
  ASSERT_TRUE(done) << done.error().Line();
  EXPECT_EQ(w_.governance->Snapshot()->ledger.key, 2U);
  Sign();
  fs::remove_all(w_.dir.File("copy"));
  KeepCopy();
  for (int i = 0; i < 2; ++i) ASSERT_EQ(*w_.Done("ledger.rotate-key", ""), "executed");
  Sign();
  PutCopyBack();
  EXPECT_EQ(w_.File("ledger.adopt", "").error().Slug(), "checkpoint-key-changed") << "two of them are one too many";
}

}  // namespace
}  // namespace strongroom::appliance
