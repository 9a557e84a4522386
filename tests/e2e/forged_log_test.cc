// A compromised front end writes what it likes into the control log, and the token signs it, for it extends the log.
// What does an auditor see?

#include <gtest/gtest.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <fstream>

#include "appliance/checkpointer.h"
#include "crypto/custody.h"
#include "netapi/keyring_json.h"
#include "provisioning/control_files.h"
#include "provisioning/export_audit.h"
#include "provisioning/process.h"
#include "tests/support/software_signer.h"
#include "tests/support/world.h"

namespace strongroom::tests {
namespace {

namespace fs = std::filesystem;
using ledger::Log;

class ForgedLog : public testing::Test {
 protected:
  void SetUp() override {
    w_.MakeDevKeyrings();
    ledger::Submission one;
    one.evidence.emplace_back();
    one.evidence.back().outcome = "ok";
    ASSERT_TRUE(w_.ledger->Record(std::move(one)));
  }
  const crypto::InstanceId& instance() { return World::quorum().instance(); }
  // The key in force.
  crypto::NoteKey Key() { return appliance::NoteKeysOf(instance(), *w_.token.CheckpointKeys())->front(); }
  // The token signs a head, for it extends what it has signed.
  std::string SignedNote(Log log, std::uint64_t epoch) {
    const auto head = w_.ledger->HeadOf(log);
    const crypto::Checkpoint checkpoint{
        log == Log::kControl ? crypto::ControlOrigin(instance(), epoch) : crypto::EvidenceOrigin(instance(), epoch),
        head.size,
        head.root,
        {}};
    std::uint64_t signed_size = 0;
    const auto record = *w_.token.ReadLedgerRecord();
    for (const auto& anchor : record.anchors)
      if (anchor.origin == checkpoint.origin) signed_size = anchor.size;
    const auto signatures =
        w_.token.SignCheckpoint(checkpoint, *w_.ledger->ConsistencyProof(log, signed_size, head.size));
    EXPECT_TRUE(signatures) << signatures.error().Line();
    const auto keys = *appliance::NoteKeysOf(instance(), *w_.token.CheckpointKeys());
    std::vector<std::string> lines;
    for (std::size_t i = 0; i < signatures->size(); ++i)
      lines.push_back(crypto::NoteSignatureLine(keys[i], (*signatures)[i].der));
    return crypto::SealNote(checkpoint.Text(), lines);
  }
  // Both heads signed and kept, as the service does.
  void SignAndKeep() {
    appliance::Checkpointer checkpointer(*w_.ledger, w_.token, w_.clock, [this] { return w_.governance->Snapshot(); },
                                         {std::chrono::hours(1), std::chrono::hours(1)});
    checkpointer.Enable();
    ASSERT_TRUE(checkpointer.Now()) << checkpointer.Fault();
  }
  // An older copy of the database in the place of one that had a rotation more.
  void RollBack() {
    SignAndKeep();
    w_.KeepCopy();
    ASSERT_EQ(*w_.Done("keyring.rotate", "install"), "executed");
    SignAndKeep();
    w_.PutCopyBack();
  }
  void Record(std::vector<ledger::ControlBody> bodies) {
    ledger::Submission submission;
    for (auto& body : bodies) submission.control.push_back({w_.clock.Now(), std::move(body)});
    ASSERT_TRUE(w_.ledger->Record(std::move(submission)));
  }
  static void Write(const fs::path& path, const std::string& content) {
    fs::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << content;
  }
  // An export as the service would write it, of whatever stands in the ledger.
  std::string Export() {
    const auto folder = fs::path(w_.dir.File("export"));
    fs::remove_all(folder);
    appliance::State state;
    std::map<std::uint64_t, std::shared_ptr<const crypto::Roster>> rosters;
    for (const auto log : {Log::kControl, Log::kEvidence}) {
      const std::string name = log == Log::kControl ? "control" : "evidence";
      const auto head = w_.ledger->HeadOf(log);
      Write(folder / name / "checkpoint", SignedNote(log, w_.token.ReadLedgerRecord()->epoch));
      for (std::uint64_t first = 0; first < head.size; first += 256) {
        const auto width = std::min<std::uint64_t>(256, head.size - first);
        Write(folder / name / "tile" / ledger::TilePath(0, first / 256, width),
              std::string(AsText(*w_.ledger->Tile(log, 0, first / 256, width))));
        std::string bundle;
        std::uint64_t count = 0;
        EXPECT_TRUE(w_.ledger->Read(log, first, [&](std::uint64_t, ByteView entry) {
          bundle.push_back(static_cast<char>(entry.size() >> 8));
          bundle.push_back(static_cast<char>(entry.size() & 0xFF));
          bundle += AsText(entry);
          if (log == Log::kControl) {
            (void)appliance::Apply(state, *ledger::DecodeControl(entry));
            if (state.roster) rosters[state.roster->version()] = state.roster;
          }
          return ++count < width;
        }));
        Write(folder / name / "tile" / ledger::BundlePath(first / 256, width), bundle);
      }
    }
    boost::json::array keyrings;
    for (const auto& [name, keyring] : state.keyrings) keyrings.push_back(netapi::KeyringObject(*keyring));
    Write(folder / "keyrings.json", boost::json::serialize(keyrings) + "\n");
    Write(folder / "ledger.vkey", Key().Text() + "\n");
    for (const auto& [version, roster] : rosters) {
      const auto at = folder / "rosters" / std::to_string(version);
      Write(at / "roster.txt", roster->text());
      Write(at / "allowed_signers", crypto::RosterAllowedSigners(*roster));
    }
    return folder.string();
  }
  void ExpectFound(const std::string& what, std::uint64_t index) {
    const auto folder = Export();
    const auto audit = provisioning::AuditExport(folder, Key(), {});
    EXPECT_FALSE(audit) << what;
    const auto where = "control entry " + std::to_string(index);
    if (!audit) EXPECT_NE(audit.error().detail.find(where), std::string::npos) << what << ": " << audit.error().Line();
    const auto oracle =
        provisioning::RunProcess({"python3", std::string(STRONGROOM_SOURCE_DIR) + "/tests/oracle/verify_export.py",
                                  folder, folder + "/ledger.vkey"});
    EXPECT_EQ(oracle->status, 3) << what << ": " << oracle->out << oracle->err;
    EXPECT_NE(oracle->out.find(where), std::string::npos) << what << ": " << oracle->out;
  }
  // An adoption that its votes allow, with a note in it that the front end chose. `wrong` is what both verifiers say.
  void ExpectForgedNoteFound(std::string ledger::EpochOpened::*which, const std::string& note, const std::string& slug,
                             const std::string& said) {
    const auto id = *w_.Approved("ledger.adopt", "");
    const auto state = w_.governance->Snapshot();
    auto bodies = appliance::EffectOf(*state, state->FindProposal(id)->parsed)->entries;
    ASSERT_TRUE(
        w_.token.ChangeLedgerRecord(*appliance::JudgeExecution(*state, *state->FindProposal(id), w_.clock.Now())));
    std::get<ledger::EpochOpened>(bodies[0]).*which = note;
    bodies.insert(bodies.begin(), ledger::ProposalConsumed{id, "operator-1"});
    bodies.emplace_back(ledger::ExecutionSettled{id, true, {}, {}});
    Record(std::move(bodies));
    const auto folder = Export();
    const auto audit = provisioning::AuditExport(folder, Key(), {});
    ASSERT_FALSE(audit);
    EXPECT_EQ(audit.error().Slug(), slug) << audit.error().Line();
    const auto oracle =
        provisioning::RunProcess({"python3", std::string(STRONGROOM_SOURCE_DIR) + "/tests/oracle/verify_export.py",
                                  folder, folder + "/ledger.vkey"});
    EXPECT_EQ(oracle->status, 3) << oracle->out << oracle->err;
    EXPECT_NE(oracle->out.find(said), std::string::npos) << oracle->out;
  }
  std::uint64_t Size() { return w_.ledger->HeadOf(Log::kControl).size; }
  static ledger::KeyringCreated Created() {
    return {{9}, "org-z", crypto::Suite::kKwp, "token:fake-token", "service-1=unwrap"};
  }

  World w_;
};

TEST_F(ForgedLog, L9_AWholeLogIsAccepted) {
  const auto audit = provisioning::AuditExport(Export(), Key(), {});
  EXPECT_TRUE(audit) << audit.error().Line();
}

// An export is judged entry by entry before its head is: a log that begins with anything but a roster is damage,
// whatever stands in it, and no crash.
TEST(ControlAudit, L9_ALogBeginsWithItsRoster) {
  const std::vector<ledger::ControlBody> bodies = {
      ledger::ProposalFiled{"x"},
      ledger::VoteCast{"x", {"custodian-1", crypto::Verdict::kApprove, "s"}},
      ledger::ProposalConsumed{"x", "operator-1"},
      ledger::ExecutionSettled{"x", true, {}, {}},
      ledger::RosterAdvanced{2, {}},
      ledger::RosterChanged{"x"},
      ledger::KeyringSwitched{{1}, false, "operator-1"},
      ledger::BreakGlassReviewed{"x", "custodian-1", "f", "s"},
      ledger::JobStarted{},
      ledger::MandateUsed{{1}, 2},
      ledger::EpochOpened{},
      ledger::ClockFrozen{0, "x"},
  };
  for (const auto& body : bodies) {
    provisioning::ControlFiles audit;
    const auto taken = audit.Take(0, ledger::Encode({1, body}));
    ASSERT_FALSE(taken) << ledger::KindName(body);
    EXPECT_EQ(taken.error().Slug(), "log-damaged") << taken.error().Line();
    appliance::State state;  // a boot replays the same
    if (!std::holds_alternative<ledger::ClockFrozen>(body) && !std::holds_alternative<ledger::EpochOpened>(body))
      EXPECT_FALSE(appliance::Apply(state, {1, body})) << ledger::KindName(body);
  }
}

// Q18: what one rejection closes, and what leaves the state, in the eyes of two verifiers that share no code.
class ForgedClosing : public ForgedLog {
 protected:
  std::vector<std::string> Flood(int count) {
    std::vector<std::string> filed;
    for (int i = 0; i < count; ++i)
      filed.push_back(
          w_.governance->File(By("operator-2"), {"keyring.rotate", "install", {}, "a flood"})->proposal->id);
    return filed;
  }
  crypto::Vote Rejection(const std::string& id, const std::string& custodian) {
    return World::quorum().Sign(custodian, w_.governance->View(id)->proposal->text, crypto::Verdict::kReject);
  }
  void ExpectVerified() {
    const auto folder = Export();
    const auto audit = provisioning::AuditExport(folder, Key(), {});
    EXPECT_TRUE(audit) << audit.error().Line();
    const auto oracle =
        provisioning::RunProcess({"python3", std::string(STRONGROOM_SOURCE_DIR) + "/tests/oracle/verify_export.py",
                                  folder, folder + "/ledger.vkey"});
    EXPECT_EQ(oracle->status, 0) << oracle->out << oracle->err;
  }
};

TEST_F(ForgedClosing, Q18_WhatARejectionClosesVerifies) {
  const auto filed = Flood(24);
  ASSERT_TRUE(w_.Approve(filed[17], "custodian-3"));
  ASSERT_TRUE(w_.Approve(filed[18], "custodian-1"));
  const auto size = Size();
  ASSERT_TRUE(w_.governance->Vote(By("operator-1"), filed[20], Rejection(filed[20], "custodian-3")));
  EXPECT_EQ(Size(), size + 2) << "the rejection, and what goes with it";
  EXPECT_EQ(w_.governance->View(filed[17])->state, "open");
  EXPECT_EQ(w_.governance->View(filed[18])->state, "rejected");
  ExpectVerified();
}

TEST_F(ForgedClosing, Q18_WhatLeavesTheStateVerifies) {
  for (int round = 0; round < 3; ++round) {
    for (const auto& id : Flood(30)) ASSERT_TRUE(w_.governance->Withdraw(id, By("operator-2")));
    w_.clock.now += 33 * kDay;
  }
  ASSERT_EQ(*w_.Done("keyring.rotate", "install"), "executed");
  EXPECT_LT(w_.governance->Snapshot()->proposals.size(), 64U);
  ExpectVerified();
}

// In logs of before, one rejection ended a recovery. Such a log stays good: nothing was executed that was rejected.
TEST_F(ForgedClosing, Q18_ARejectedRecoveryOfBeforeVerifies) {
  const auto text = *World::quorum().Proposal("clock.accept", "", {}, w_.clock.Now()).Render();
  const auto id = crypto::ProposalId(text);
  Record({ledger::ProposalFiled{text},
          ledger::VoteCast{id, World::quorum().Sign("custodian-3", text, crypto::Verdict::kReject)}});
  ExpectVerified();
}

TEST_F(ForgedClosing, Q18_AClosingBehindNoRejectionIsFound) {
  const auto filed = Flood(18);
  const auto size = Size();
  Record({ledger::ProposalsClosed{filed[0], "custodian-3", {filed[16], filed[17]}}});
  ExpectFound("closed by nobody", size);
}

TEST_F(ForgedClosing, Q18_AClosingOfMoreThanTheExcessIsFound) {
  const auto filed = Flood(18);
  const auto size = Size();
  Record({ledger::VoteCast{filed[17], Rejection(filed[17], "custodian-3")},
          ledger::ProposalsClosed{filed[17], "custodian-3", {filed[15], filed[16]}}});
  ExpectFound("one of the sixteen closed", size + 1);
}

TEST_F(ForgedClosing, Q18_AClosingOfAnothersIsFound) {
  const auto filed = Flood(18);
  const auto other = *w_.File("keyring.rotate", "install");
  const auto size = Size();
  Record({ledger::VoteCast{filed[17], Rejection(filed[17], "custodian-3")},
          ledger::ProposalsClosed{filed[17], "custodian-3", {filed[16], other}}});
  ExpectFound("another requester's closed", size + 1);
}

TEST_F(ForgedClosing, Q18_AClosingInAnothersNameIsFound) {
  const auto filed = Flood(18);
  const auto size = Size();
  Record({ledger::VoteCast{filed[17], Rejection(filed[17], "custodian-3")},
          ledger::ProposalsClosed{filed[17], "custodian-2", {filed[16]}}});
  ExpectFound("closed in another's name", size + 1);
}

TEST_F(ForgedClosing, Q18_WhatIsForgottenTooEarlyIsFound) {
  (void)Flood(1);
  const auto size = Size();
  Record({ledger::ProposalsForgotten{w_.clock.Now() + 30 * kDay}});
  ExpectFound("an open proposal forgotten", size);
}

// What was executed and has left the state does not run a second time.
TEST_F(ForgedClosing, Q18_AForgottenTextIsNotFiledAgain) {
  const auto filed = Flood(1).front();
  const auto text = w_.governance->View(filed)->proposal->text;
  w_.clock.now += 40 * kDay;
  const auto size = Size();
  Record({ledger::ProposalsForgotten{w_.clock.Now()}, ledger::ProposalFiled{text}});
  ExpectFound("filed twice", size + 1);
}

TEST_F(ForgedLog, Q9_ChangesWithoutVotesAreFound) {
  const auto size = Size();
  // A keyring that nobody asked for, and an innocent proposal behind it.
  Record({Created(), ledger::VersionAnnounced{{9}, 1, crypto::Suite::kKwp, "token:fake-token", {9}, "fake-token"},
          ledger::VersionActivated{{9}, 1}});
  ASSERT_TRUE(w_.File("keyring.rotate", "install"));
  ExpectFound("a keyring without a proposal", size + 3);
}

TEST_F(ForgedLog, Q9_MoreThanTheVotesAllowIsFound) {
  // A rotation that was voted for, and a grant slipped into its settlement.
  const auto id = *w_.Approved("keyring.rotate", "org-a");
  const auto size = Size();
  Record({ledger::ProposalConsumed{id, "operator-1"}, Created(),
          ledger::VersionAnnounced{{9}, 1, crypto::Suite::kKwp, "token:fake-token", {9}, "fake-token"},
          ledger::VersionActivated{{9}, 1}, ledger::ExecutionSettled{id, true, {}, {}}});
  ExpectFound("another effect than the votes'", size + 4);
}

TEST_F(ForgedLog, Q9_AnExecutionWithoutItsVotesIsFound) {
  const auto id = *w_.File("keyring.rotate", "org-a");
  ASSERT_TRUE(w_.Approve(id, "custodian-1"));
  const auto size = Size();
  Record({ledger::ProposalConsumed{id, "operator-1"}});
  ExpectFound("one vote of two", size);
}

// Every kind of entry that stands without votes, or where votes are needed, in both verifiers. Each forgery is one that
// a front end that was taken over could write and have signed.
TEST_F(ForgedLog, Q9_G6_EachForgedEntryIsFound) {
  ASSERT_EQ(*w_.Done("keyring.rotate", "install"), "executed");
  using To = ledger::VersionMoved::To;
  const auto filed = *w_.Approved("keyring.rotate", "org-a");
  const std::string id = filed;
  const auto now = w_.governance->Snapshot();
  const auto& state = *now;
  const auto at = std::find_if(state.proposals.begin(), state.proposals.end(), [](const auto& each) {
    return each.second->fate == appliance::ProposalFate::kExecuted;
  });
  ASSERT_NE(at, state.proposals.end());
  const auto& settled = *at->second;
  const auto install = state.FindKeyring("install")->id, org_a = state.FindKeyring("org-a")->id;
  auto asked = state.FindProposal(id)->parsed;
  asked.requester = "service-1";
  const auto foreign = *asked.Render();
  struct Forgery {
    const char* what;
    std::vector<ledger::ControlBody> bodies;
    std::uint64_t found;  // which of them, or the one behind them
  };
  const std::vector<Forgery> forgeries = {
      {"a keyring disabled by nobody", {ledger::KeyringSwitched{org_a, false, "nobody-at-all"}}, 0},
      {"a keyring disabled by a service", {ledger::KeyringSwitched{org_a, false, "service-1"}}, 0},
      {"grants without votes", {ledger::GrantsChanged{org_a, "service-1"}}, 1},
      {"an archive without votes", {ledger::VersionMoved{install, 1, To::kArchived, 0, {}}}, 1},
      {"given up without votes", {ledger::VersionMoved{install, 1, To::kPendingDestruction, 7, {}}}, 1},
      {"destroyed without having been given up", {ledger::VersionMoved{install, 1, To::kDestroyed, 0, {}}}, 0},
      {"compromised without votes", {ledger::VersionMoved{org_a, 1, To::kCompromised, 0, {}}}, 1},
      {"kept what was never given up", {ledger::VersionMoved{install, 1, To::kKept, 0, "operator-1"}}, 0},
      {"a break-glass without votes", {ledger::BreakGlassOpened{id, "witness", "ceremonies", 60, 10, false}}, 1},
      {"closed what was never open", {ledger::BreakGlassClosed{id, "closed", "operator-1", 0}}, 0},
      {"reviewed what was never open", {ledger::BreakGlassReviewed{id, "custodian-1", "f", "s"}}, 0},
      {"a clock accepted without votes", {ledger::ClockAccepted{0}}, 0},
      {"a clock frozen twice", {ledger::ClockFrozen{0, "x"}, ledger::ClockFrozen{0, "x"}}, 1},
      {"a policy without votes", {ledger::PolicySet{org_a, 30, w_.clock.now + 90 * kDay, false}}, 1},
      {"a mandate that nobody gave", {ledger::MandateUsed{org_a, 2}}, 0},
      {"a vote twice", {ledger::VoteCast{id, state.FindProposal(id)->votes.front()}}, 0},
      {"a vote for what is settled", {ledger::VoteCast{settled.id, settled.votes.front()}}, 0},
      {"a proposal filed twice", {ledger::ProposalFiled{settled.text}}, 0},
      {"a second beginning", {ledger::Genesis{state.roster->text(), {}}}, 0},
      {"a roster without votes", {ledger::RosterAdvanced{2, crypto::Sha256(AsBytes("x"))}}, 0},
      {"a proposal by a service", {ledger::ProposalFiled{foreign}}, 0},
      {"withdrawn by somebody else", {ledger::ProposalWithdrawn{id, "operator-2"}}, 0},
      {"withdrawn by nobody", {ledger::ProposalWithdrawn{id, "\xff\xfe"}}, 0},
      {"executed by a service", {ledger::ProposalConsumed{id, "service-1"}}, 0},
      {"a ceremony that nobody recorded", {ledger::CeremonyRecorded{"c", "s", "{}", "m", "nobody-at-all"}}, 0},
      {"an acknowledgement by somebody to whom nothing is granted", {ledger::CensusAcknowledged{org_a, 1, "x", 1}}, 0},
      {"a mandate settled that was not used", {ledger::MandateSettled{org_a, 2, false, "x", "x"}}, 0},
  };
  const auto size = Size();
  for (const auto& forgery : forgeries) {
    w_.KeepCopy("honest");
    Record(forgery.bodies);
    Record({ledger::ProposalWithdrawn{id, "operator-1"}});
    ExpectFound(forgery.what, size + forgery.found);
    // The token that signed the forgery forgets it, too.
    auto record = *w_.token.ReadLedgerRecord();
    record.anchors.clear();
    record.nodes.clear();
    w_.token.Recall(record);
    w_.PutCopyBack("honest");
    fs::remove_all(w_.dir.File("honest"));
  }
  const auto audit = provisioning::AuditExport(Export(), Key(), {});
  EXPECT_TRUE(audit) << audit.error().Line();
}

// A roster follows from the votes for it alone, whichever way the log says it: by its hash, or by its text as the first
// builds did, whose logs stay good.
TEST_F(ForgedLog, Q6_ARosterIsTheOneThatWasVotedFor) {
  const auto id = *w_.Approved("roster.change", "", {{"remove-monitor-1", "yes"}});
  const auto& proposal = *w_.governance->Snapshot()->FindProposal(id);
  const auto next = *crypto::RosterAfter(*w_.governance->Snapshot()->roster, proposal.parsed);
  auto parts = next.parts();
  std::erase_if(parts.principals, [](const auto& p) { return p.name == "auditor-1"; });
  const auto other = *crypto::Roster::Parse(crypto::RosterText(next.instance(), 2, next.previous(), parts));
  struct Case {
    const char* what;
    ledger::ControlBody body;
    std::optional<std::uint64_t> found;  // counted from the execution
  };
  const std::vector<Case> cases = {
      {"another hash", ledger::RosterAdvanced{2, other.hash()}, 1},
      {"another version", ledger::RosterAdvanced{3, next.hash()}, 1},
      {"another text", ledger::RosterChanged{other.text()}, 2},
      {"its hash", ledger::RosterAdvanced{2, next.hash()}, std::nullopt},
      {"its text", ledger::RosterChanged{next.text()}, std::nullopt},
  };
  const auto size = Size();
  for (const auto& each : cases) {
    w_.KeepCopy("honest");
    Record({ledger::ProposalConsumed{id, "operator-1"}, each.body, ledger::ExecutionSettled{id, true, {}, {}}});
    if (each.found) {
      ExpectFound(each.what, size + *each.found);
    } else {
      const auto folder = Export();
      const auto audit = provisioning::AuditExport(folder, Key(), {});
      EXPECT_TRUE(audit) << each.what << ": " << audit.error().Line();
      const auto oracle =
          provisioning::RunProcess({"python3", std::string(STRONGROOM_SOURCE_DIR) + "/tests/oracle/verify_export.py",
                                    folder, folder + "/ledger.vkey"});
      EXPECT_EQ(oracle->status, 0) << each.what << ": " << oracle->out << oracle->err;
    }
    auto record = *w_.token.ReadLedgerRecord();
    record.anchors.clear();
    record.nodes.clear();
    w_.token.Recall(record);
    // Boot of a database that does not follow from itself would refuse: the honest copy comes back without one.
    w_.Close();
    fs::remove_all(w_.dir.File("data"));
    fs::rename(w_.dir.File("honest"), w_.dir.File("data"));
    w_.Boot();
  }
}

// A rejection after the time for approvals is no damage; an acceptance of another clock than the one voted for is.
TEST_F(ForgedLog, Q4_Q10_ALateNoIsGoodAndAnotherClockIsNot) {
  const auto id = *w_.Approved("keyring.rotate", "org-a");
  const auto text = w_.governance->View(id)->proposal->text;
  w_.clock.now += 25 * kHour;
  ASSERT_TRUE(
      w_.governance->Vote(By("operator-1"), id, World::quorum().Sign("custodian-3", text, crypto::Verdict::kReject)));
  const auto folder = Export();
  const auto audit = provisioning::AuditExport(folder, Key(), {});
  EXPECT_TRUE(audit) << audit.error().Line();
  const auto oracle =
      provisioning::RunProcess({"python3", std::string(STRONGROOM_SOURCE_DIR) + "/tests/oracle/verify_export.py",
                                folder, folder + "/ledger.vkey"});
  EXPECT_EQ(oracle->status, 0) << oracle->out << oracle->err;
  auto record = *w_.token.ReadLedgerRecord();
  record.custody.seen = w_.clock.now + Millis{3600} * 1000;  // as if the token had seen an hour more
  w_.token.Recall(record);
  const auto accept = *w_.Approved("clock.accept", "");
  Record({ledger::ProposalConsumed{accept, "operator-1"}});
  const auto size = Size();
  w_.clock.now -= 3650 * kDay;  // the votes were for another clock than this
  Record({ledger::ClockAccepted{0}, ledger::ExecutionSettled{accept, true, {}, {}}});
  ExpectFound("ten years before what was voted for", size);
}

// G4, G6: evidence that goes by a break-glass which did not allow it.
TEST_F(ForgedLog, G6_UsesBeyondWhatWasOpenAreFound) {
  const auto filed =
      w_.governance->File(By("operator-1"),
                          {"break-glass.open",
                           "",
                           {{"check", "witness"}, {"scope", "ceremonies"}, {"minutes", "10"}, {"uses", "2"}},
                           "why"},
                          {"witness"});
  const auto id = filed->proposal->id;
  ASSERT_TRUE(w_.Approve(id, "custodian-1"));
  ASSERT_TRUE(w_.Approve(id, "custodian-2"));
  ASSERT_TRUE(w_.governance->Execute(id, By("operator-1")));
  const auto use = [&] {
    ledger::Submission one;
    one.evidence.emplace_back();
    one.evidence.back().time = w_.clock.Now();
    one.evidence.back().operation = ledger::Operation::kOther;
    one.evidence.back().outcome = "break-glass " + id;
    ASSERT_TRUE(w_.ledger->Record(std::move(one)));
  };
  const auto slug = [&] {
    const auto audit = provisioning::AuditExport(Export(), Key(), {});
    return audit ? std::string("good") : std::string(audit.error().Slug());
  };
  use();
  EXPECT_EQ(slug(), "good");
  w_.KeepCopy("one");
  use();
  use();
  EXPECT_EQ(slug(), "unvoted-change") << "three of two";
  auto record = *w_.token.ReadLedgerRecord();
  record.anchors.clear();
  record.nodes.clear();
  w_.token.Recall(record);
  w_.PutCopyBack("one");
  w_.clock.now += Millis{20} * 60'000;
  use();
  EXPECT_EQ(slug(), "unvoted-change") << "after its time";
}

// L8: what an adoption lost is reported, and an adoption that nobody voted for is found.
TEST_F(ForgedLog, L8_AdoptionsAreReportedAndForgedOnesFound) {
  RollBack();
  const auto kept = Size();
  ASSERT_EQ(*w_.Done("ledger.adopt", ""), "executed");
  const auto folder = Export();
  const auto audit = provisioning::AuditExport(folder, Key(), {});
  ASSERT_TRUE(audit) << audit.error().Line();
  EXPECT_EQ(audit->epoch, 2U);
  ASSERT_EQ(audit->lost.size(), 1U);
  EXPECT_NE(audit->lost[0].find("control: entries " + std::to_string(kept) + " to "), std::string::npos)
      << audit->lost[0];
  const auto oracle =
      provisioning::RunProcess({"python3", std::string(STRONGROOM_SOURCE_DIR) + "/tests/oracle/verify_export.py",
                                folder, folder + "/ledger.vkey"});
  EXPECT_EQ(oracle->status, 0) << oracle->out << oracle->err;
  EXPECT_NE(oracle->out.find("lost control " + std::to_string(kept) + " to "), std::string::npos) << oracle->out;
  const auto size = Size();
  Record({ledger::EpochOpened{3, {}, {}, {}}});
  ASSERT_TRUE(w_.File("keyring.rotate", "install"));
  ExpectFound("an epoch without votes", size + 1);
}

// A database whose past was rewritten before it was adopted does not begin with what the token had signed: the note
// that its own adoption quotes says so.
TEST_F(ForgedLog, L8_AnAdoptionThatHidesWhatWasSignedIsFound) {
  RollBack();
  ExpectForgedNoteFound(&ledger::EpochOpened::control_note, (*w_.ledger->LatestCheckpoint(Log::kEvidence))->note,
                        "foreign-origin", "not a head of");
}

// An adoption quotes a genuine note over another past: what the token signed is not how this log begins.
TEST_F(ForgedLog, L9_AnAdoptionOverARewrittenPastIsFound) {
  const auto record_one = [&](const std::string& principal) {
    ledger::Submission one;
    one.evidence.emplace_back();
    one.evidence.back().principal = principal;
    one.evidence.back().outcome = "ok";
    ASSERT_TRUE(w_.ledger->Record(std::move(one)));
  };
  SignAndKeep();
  w_.KeepCopy();
  record_one("service-1");
  SignAndKeep();
  const auto genuine = (*w_.ledger->LatestCheckpoint(Log::kEvidence))->note;
  w_.PutCopyBack();
  record_one("service-2");  // the same length, another past
  ExpectForgedNoteFound(&ledger::EpochOpened::evidence_note, genuine, "log-forked", "does not begin with");
}

// L10: a silence longer than five minutes is reported, however quiet a heartbeat would have been.
TEST_F(ForgedLog, L10_SilencesAreReported) {
  w_.clock.now += 1000;
  for (const auto pause : {Millis{60'000}, Millis{6 * 60'000}, Millis{60'000}}) {
    ledger::Submission one;
    one.evidence.emplace_back();
    one.evidence.back().time = w_.clock.now += pause;
    one.evidence.back().outcome = "heartbeat";
    ASSERT_TRUE(w_.ledger->Record(std::move(one)));
  }
  const auto audit = provisioning::AuditExport(Export(), Key(), {});
  ASSERT_TRUE(audit) << audit.error().Line();
  EXPECT_EQ(audit->silences, 1U);
  ASSERT_EQ(audit->gaps.size(), 1U);
  EXPECT_EQ(audit->last, FormatTime(w_.clock.now));
}

// L10: from the first key on to the newest; a key that the front end has made up is found.
TEST_F(ForgedLog, L10_RotatedKeysVerifyFromTheFirstOnAndMadeUpOnesDoNot) {
  SignAndKeep();
  const auto first = Key();
  for (int i = 0; i < 2; ++i) ASSERT_EQ(*w_.Done("ledger.rotate-key", "", {{"overlap-days", "1"}}), "executed");
  w_.token.now = [] { return SystemClock().Now() + 3 * kDay; };  // the overlap is over
  const auto folder = Export();
  for (const auto& key : {first, Key()}) {
    const auto audit = provisioning::AuditExport(folder, key, {});
    ASSERT_TRUE(audit) << audit.error().Line();
    EXPECT_EQ(audit->keys, 3U);
    Write(w_.dir.File("vkey"), key.Text() + "\n");
    const auto oracle =
        provisioning::RunProcess({"python3", std::string(STRONGROOM_SOURCE_DIR) + "/tests/oracle/verify_export.py",
                                  folder, w_.dir.File("vkey")});
    EXPECT_EQ(oracle->status, 0) << oracle->out << oracle->err;
  }
  const auto id = *w_.Approved("ledger.rotate-key", "");
  const auto size = Size();
  const SoftwareSigner mine;
  const auto next = *crypto::NoteKey::FromEcdsa("strongroom/" + ToHex(instance()), mine.spki());
  Record({ledger::ProposalConsumed{id, "operator-1"},
          ledger::CheckpointKeyChanged{4, Key().Text(), next.Text(), mine.Sign(crypto::KeyEndorsement(Key(), next))},
          ledger::ExecutionSettled{id, true, {}, {}}});
  ExpectFound("a key that its predecessor does not vouch for", size + 1);
}

}  // namespace
}  // namespace strongroom::tests
