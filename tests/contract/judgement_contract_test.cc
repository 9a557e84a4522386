// What every implementation of the port says before a change of custody is what it does then; and what a change does to
// what was under way.

#include "crypto/custody.h"
#include "tests/contract/contract_log.h"
#include "tests/contract/key_ops_subjects.h"

namespace strongroom::hsm {
namespace {

using Params = std::map<std::string, std::string, std::less<>>;

class JudgementContract : public KeyOpsContract {
 protected:
  void TearDown() override {
    ContractClock::Offset() = 0;
    ContractClock::Step() = 0;
  }
  static std::string SlugOf(const Result<void>& done) { return done ? "done" : std::string(done.error().Slug()); }
  static std::vector<crypto::Vote> Votes(const std::string& text) {
    return {Quorum().Sign("custodian-1", text), Quorum().Sign("custodian-2", text)};
  }
  static crypto::ExecutionGrant Grant(const std::string& text) {
    return *crypto::GrantExecution(Quorum().roster(), text, Votes(text), ContractClock().Now());
  }
  std::string Change(const std::string& text) { return SlugOf(ops().ChangeLedgerRecord(Grant(text))); }
  // The text of a change of the roster that takes somebody out.
  std::string RosterWithout(const std::string& name) const {
    auto proposal =
        Quorum().Proposal("roster.change", "", {{"remove-" + name, "yes"}, {"token", token_}, {"new-roster", "x"}},
                          ContractClock().Now());
    const auto after = *crypto::RosterAfter(Quorum().roster(), proposal);
    proposal.params["new-roster"] = std::to_string(after.version()) + " " + ToHex(after.hash());
    return *proposal.Render();
  }
  std::string Adoption(std::uint64_t size) const {
    auto proposal = Quorum().Proposal("ledger.adopt", "",
                                      {{"token", token_},
                                       {"epoch", "2"},
                                       {"evidence-log", "0 " + ToHex(crypto::Digest{})},
                                       {"token-control", "none"},
                                       {"token-evidence", "none"},
                                       {"state", "behind"},
                                       {"keep", "none"}},
                                      ContractClock().Now());
    proposal.control_size = size;
    return *proposal.Render();
  }
};

// Q7, Q12: an adoption was approved and not executed, and a chain begun, before the roster changed. Do they bring the
// former roster back?
TEST_P(JudgementContract, Q7_AChainFromBeforeAChangeLeadsNowhere) {
  const auto adoption = Adoption(1);
  ASSERT_TRUE(ops().BringChain({Quorum().roster().text(), {}}));
  ASSERT_EQ(Change(RosterWithout("operator-2")), "done");
  const auto before = *ops().ReadLedgerRecord();
  EXPECT_EQ(ops().AdoptionRoster()->version, 2U);
  EXPECT_EQ(SlugOf(ops().JudgeProposal(Grant(adoption))), "roster-not-enforced");
  EXPECT_EQ(Change(adoption), "roster-not-enforced");
  EXPECT_EQ(ops().BringChain({Quorum().roster().text(), {}}).error().Slug(), "roster-not-enforced");
  EXPECT_EQ(*ops().ReadLedgerRecord(), before);
}

// Q16: is a change ever judged to be good, and consumed, that is then refused?
TEST_P(JudgementContract, Q16_WhatIsJudgedIsWhatIsDone) {
  const auto key = MakeKey(Suite::kKwp, 1);
  const auto ring = ToHex(ring_);
  Log log(crypto::ControlOrigin(Quorum().instance()));
  log.Grow(3);
  ASSERT_TRUE(ops().SignCheckpoint(log.Head(), {}));
  struct Row {
    const char *operation, *keyring;
    Params params;
    const char* slug;
  };
  const std::vector<Row> rows = {
      {"version.destroy", "k", {{"keyring-id", ring}, {"version", "9"}, {"waiting-days", "7"}}, "key-missing"},
      {"version.destroy", "k", {{"keyring-id", ring}, {"version", "1"}, {"waiting-days", "6"}}, "invalid-request"},
      {"version.destroy", "other", {{"keyring-id", ring}, {"version", "1"}, {"waiting-days", "7"}}, "grant-mismatch"},
      {"ledger.rotate-key", "", {{"checkpoint-key", "7"}, {"overlap-days", "1"}}, "stale"},
      {"ledger.rotate-key",
       "",
       {{"checkpoint-key", "2"}, {"overlap-days", "1"}, {"token", "another"}},
       "grant-mismatch"},
      {"clock.accept", "", {{"clock", FormatTime(ContractClock().Now() + kDay)}}, "stale"},
      {"rewrap.reverse", "k", {{"keyring-id", ring}, {"version", "2"}, {"to-version", "2"}}, "key-missing"},
      {"token.enrol", "", {{"owner", "appliance"}}, "token-mismatch"},
      {"ledger.adopt",
       "",
       {{"epoch", "2"},
        {"evidence-log", "0 " + ToHex(crypto::Digest{})},
        {"token-control", "none"},
        {"token-evidence", "none"},
        {"state", "behind"},
        {"keep", "none"}},
       "stale"},
  };
  const auto before = *ops().ReadLedgerRecord();
  for (const auto& row : rows) {
    Params params = row.params;
    params.emplace("token", token_);
    auto proposal = Quorum().Proposal(row.operation, row.keyring, params, ContractClock().Now());
    proposal.control_size = 3;
    proposal.control_root = log.Head().root;
    const auto text = *proposal.Render();
    const auto judged = SlugOf(ops().JudgeProposal(Grant(text)));
    EXPECT_EQ(judged, Change(text)) << row.operation;
    if (std::string_view(row.slug) != "token-mismatch") EXPECT_EQ(judged, row.slug) << row.operation;
    EXPECT_NE(judged, "done") << row.operation;
    EXPECT_EQ(*ops().ReadLedgerRecord(), before) << row.operation;
  }
}

// Q10, Q15: evidence was signed while the clock was wrong. Does an accepted clock end that, for the next change, too?
TEST_P(JudgementContract, Q10_AnAcceptedClockHoldsBesideEvidence) {
  constexpr Millis kAhead = 20 * kDay;
  const auto key = MakeKey(Suite::kKwp, 1);
  Log control(crypto::ControlOrigin(Quorum().instance())), evidence(crypto::EvidenceOrigin(Quorum().instance()));
  control.Grow(3);
  evidence.Grow(3);
  ASSERT_TRUE(ops().SignCheckpoint(control.Head(), {}));
  ASSERT_TRUE(ops().SignCheckpoint(evidence.Head(), {}));
  ContractClock::Offset() = kAhead;  // time passes, as a start with a clock that is ahead sees it
  evidence.Grow(1);
  ASSERT_TRUE(ops().SignCheckpoint(evidence.Head(), evidence.ProofFrom(3)));
  ContractClock::Step() = -kAhead;  // and the clock is set right
  const auto asked = [&](const std::string& operation, const std::string& keyring, Params params) {
    auto proposal = Quorum().Proposal(operation, keyring, std::move(params), ContractClock().Now());
    proposal.control_size = control.Head().size;
    proposal.control_root = control.Head().root;
    return *proposal.Render();
  };
  const auto rotate = [&] {
    return asked("ledger.rotate-key", "", {{"token", token_}, {"checkpoint-key", "2"}, {"overlap-days", "1"}});
  };
  EXPECT_EQ(Change(rotate()), "clock-back");
  ASSERT_EQ(Change(asked("clock.accept", "", {{"token", token_}, {"clock", FormatTime(ContractClock().Now())}})),
            "done");
  control.Grow(1);
  ASSERT_TRUE(ops().SignCheckpoint(control.Head(), control.ProofFrom(3)));
  EXPECT_EQ(Change(rotate()), "done");
}

INSTANTIATE_TEST_SUITE_P(All, JudgementContract, testing::ValuesIn(kImplementations),
                         [](const auto& i) { return std::string(i.param.name); });

}  // namespace
}  // namespace strongroom::hsm
