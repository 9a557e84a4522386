#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "crypto/quorum.h"
#include "crypto/spoken.h"
#include "provisioning/process.h"
#include "tests/fuzz/samples.h"
#include "tests/support/quorum_fixture.h"

namespace strongroom::crypto {
namespace {

using tests::QuorumFixture;
constexpr Millis kNow = 1'795'000'000'000;

const QuorumFixture& Fixture() {
  static const QuorumFixture fixture;
  return fixture;
}

ProposalText ExampleProposal() {
  return Fixture().Proposal(
      "keyring.rotate", "org-a",
      {{"keyring-id", std::string(32, 'a')}, {"version", "2"}, {"suite", "gcm"}, {"custody", "token:abc"}}, kNow);
}

TEST(Proposal, TextComesBack) {
  const auto text = ExampleProposal().Render();
  ASSERT_TRUE(text) << text.error().Line();
  EXPECT_TRUE(text->starts_with("strongroom proposal v2\ninstance: "));
  EXPECT_TRUE(text->ends_with("\n"));
  const auto parsed = ProposalText::Parse(*text);
  ASSERT_TRUE(parsed) << parsed.error().Line();
  EXPECT_EQ(*parsed->Render(), *text);
  EXPECT_EQ(parsed->params, ExampleProposal().params);
}

// Is every text that differs in one byte either refused or another proposal?
TEST(Proposal, Q1_EveryFlippedByteMakesAnotherTextOrNone) {
  const auto text = *ExampleProposal().Render();
  const auto original = *ProposalText::Parse(text);
  for (std::size_t i = 0; i < text.size(); ++i)
    for (int bit = 0; bit < 8; ++bit) {
      auto changed = text;
      changed[i] = static_cast<char>(changed[i] ^ (1 << bit));
      const auto parsed = ProposalText::Parse(changed);
      if (parsed) EXPECT_NE(*parsed, original) << i << " bit " << bit;
    }
}

TEST(Proposal, Q1_RefusesNonCanonicalText) {
  const auto text = *ExampleProposal().Render();
  const auto swap = [&](const std::string& from, const std::string& to) {
    auto changed = text;
    const auto at = changed.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    changed.replace(at, from.size(), to);
    return changed;
  };
  EXPECT_FALSE(ProposalText::Parse(text + "\n"));
  EXPECT_FALSE(ProposalText::Parse(text + "extra: 1\n"));
  EXPECT_FALSE(ProposalText::Parse(text.substr(0, text.size() - 1)));
  EXPECT_FALSE(ProposalText::Parse(swap("\n", "\r\n")));
  EXPECT_FALSE(ProposalText::Parse(swap("reason: ", "reason:  ")));
  EXPECT_FALSE(ProposalText::Parse(swap("param version: 2\n", "") + "param version: 2\n"));
  EXPECT_FALSE(ProposalText::Parse(swap("roster: 1", "roster: 01")));
  EXPECT_FALSE(ProposalText::Parse(swap("param custody", "param suite: kwp\nparam custody")));
  EXPECT_FALSE(ProposalText::Parse(swap("rotation", "ceremony")));
}

// Texts of before name no epoch and live up to 31 days. The logs are full of them.
TEST(Proposal, Q1_TextsOfFormat1ParseForEver) {
  const auto first = ProposalText::Parse(tests::kSampleProposalV1);
  ASSERT_TRUE(first) << first.error().Line();
  EXPECT_EQ(first->format, 1U);
  EXPECT_EQ(first->epoch, 0U);
  EXPECT_EQ(*first->Render(), tests::kSampleProposalV1);
  EXPECT_EQ(CheckFormat(*first).error().Slug(), "stale") << "and are not executed any more";
  auto longer = *first;
  longer.execute_by = longer.created + 31 * kDay;
  EXPECT_TRUE(longer.Render());
  longer.epoch = 1;
  EXPECT_FALSE(longer.Render()) << "no epoch in format 1";
  EXPECT_FALSE(ProposalText::Parse(std::string(tests::kSampleProposalV1) + "epoch: 1\n"));
  const std::string second(tests::kSampleProposal);
  EXPECT_FALSE(ProposalText::Parse(second.substr(0, second.size() - 9))) << "format 2 names its epoch";
}

TEST(Proposal, Q12_ATextNamesItsEpochAndIsForSoon) {
  auto p = ExampleProposal();
  EXPECT_TRUE(p.Render()->ends_with("\nepoch: 1\n"));
  EXPECT_TRUE(CheckEpoch(1, p) && CheckEpoch(0, p));
  EXPECT_EQ(CheckEpoch(2, p).error().Slug(), "stale");
  p.epoch = 2;
  EXPECT_TRUE(CheckEpoch(2, p));
  EXPECT_EQ(CheckEpoch(1, p).error().Slug(), "stale");
  EXPECT_EQ(CheckEpoch(0, p).error().Slug(), "stale") << "where nothing was signed, the first counts";
  auto adopts = Fixture().Proposal("ledger.adopt", "", {}, kNow);
  EXPECT_TRUE(CheckEpoch(7, adopts)) << "it ends the epoch, whichever that is";
  for (const std::uint32_t format : {0U, 3U}) {
    p.format = format;
    EXPECT_FALSE(p.Render()) << format;
  }
  p = ExampleProposal();
  p.epoch = 0;
  EXPECT_FALSE(p.Render());
  p.epoch = 1;
  p.execute_by = p.created + 7 * kDay;
  EXPECT_TRUE(p.Render());
  p.execute_by += 1000;
  EXPECT_FALSE(p.Render()) << "seven days at most";
}

// Does the table know each operation by one name, and the class that a roster has votes for?
TEST(Operations, Q8_EachHasItsNameAndItsClass) {
  std::set<std::string_view> names;
  for (std::size_t i = 0; i < kOperationCount; ++i) {
    const auto operation = static_cast<Operation>(i);
    const auto rule = RuleOf(operation);
    EXPECT_TRUE(names.insert(rule.name).second) << rule.name;
    EXPECT_EQ(OperationFromString(rule.name), operation);
    EXPECT_NE(std::find(Roster::kClasses.begin(), Roster::kClasses.end(), rule.policy_class), Roster::kClasses.end());
    EXPECT_EQ(*ClassOf(rule.name), rule.policy_class);
    // What makes a KEK says which version, and what is about none needs no keyring.
    EXPECT_EQ(MayGenerate(operation), rule.version == VersionRule::kFirst || rule.version == VersionRule::kNext ||
                                          rule.version == VersionRule::kMoved);
    if (rule.version != VersionRule::kNone) EXPECT_TRUE(rule.about_a_keyring) << rule.name;
  }
  EXPECT_EQ(names.size(), 20U);
  EXPECT_FALSE(OperationFromString(""));
  EXPECT_FALSE(OperationFromString("keyring.delete"));
  EXPECT_EQ(ClassOf("keyring.delete").error().Slug(), "unknown-operation");
}

TEST(Proposal, RefusesFieldsThatPeopleCannotSee) {
  for (const std::string reason : {"", "two\nlines", "bell\x07", "rlo \xE2\x80\xAE x"}) {
    auto p = ExampleProposal();
    p.reason = reason;
    EXPECT_FALSE(p.Render()) << reason;
  }
  auto long_reason = ExampleProposal();
  long_reason.reason = std::string(1U << 20, 'x');
  EXPECT_FALSE(long_reason.Render());
  auto bad_order = ExampleProposal();
  bad_order.approve_by = bad_order.execute_by + 1000;
  EXPECT_FALSE(bad_order.Render());
}

TEST(RosterText, Q3_FloorsHold) {
  const auto text = Fixture().roster().text();
  const auto with = [&](const std::string& from, const std::string& to) {
    auto changed = text;
    changed.replace(changed.find(from), from.size(), to);
    return Roster::Parse(changed);
  };
  EXPECT_TRUE(Roster::Parse(text));
  EXPECT_FALSE(with("policy: rotation 2", "policy: rotation 1"));
  EXPECT_FALSE(with("policy: rotation 2", "policy: rotation 3"));
  EXPECT_FALSE(with("policy: rotation 2\n", ""));
  EXPECT_FALSE(with("principal: monitor-1", "principal: operator-1"));
  EXPECT_FALSE(with("version: 1", "version: 2"));
  EXPECT_FALSE(with("service-2 service", "service-2 custodian"));
  const auto spki = ToHex(QuorumFixture::Spki("service-1"));
  EXPECT_FALSE(with(spki, ToHex(QuorumFixture::Spki("service-2"))));
}

TEST(RosterText, TwoCustodiansCannotShareAKey) {
  const auto& roster = Fixture().roster();
  auto text = roster.text();
  const auto one = roster.Find("custodian-1")->ssh_key, two = roster.Find("custodian-2")->ssh_key;
  text.replace(text.find(two), two.size(), one);
  EXPECT_FALSE(Roster::Parse(text));
}

TEST(Spoken, FingerprintsAreThoseOfTheScheme) {
  // arXiv:0901.4016: 127.0.0.1 is lusab-babad, 63.84.220.193 is gutih-tugad.
  Digest digest{};
  const std::array<std::uint8_t, 8> bytes = {127, 0, 0, 1, 63, 84, 220, 193};
  std::copy(bytes.begin(), bytes.end(), digest.begin());
  EXPECT_EQ(SpokenFingerprint(digest), "lusab-babad-gutih-tugad");
}

class Quorum : public testing::Test {
 protected:
  const QuorumFixture& f = Fixture();
  std::string text = *ExampleProposal().Render();
  Result<ExecutionGrant> Grant(std::vector<Vote> votes, Millis now = kNow) {
    return GrantExecution(f.roster(), text, std::move(votes), now);
  }
};

TEST_F(Quorum, Q3_NothingShortOfTwoPeopleGrants) {
  EXPECT_FALSE(Grant({}));
  const auto one = f.Sign("custodian-1", text);
  EXPECT_EQ(Grant({one}).error().Slug(), "quorum-missing");
  EXPECT_EQ(Grant({one, one}).error().Slug(), "too-many-votes");
  auto lent = f.Sign("custodian-1", text);
  lent.custodian = "custodian-2";
  EXPECT_EQ(Grant({one, lent}).error().Slug(), "bad-signature");
  EXPECT_TRUE(Grant({one, f.Sign("custodian-2", text)}));
}

// Q4: is anything done that nobody asked for who may ask?
TEST_F(Quorum, Q4_WhoAsksIsInTheRoster) {
  for (const auto* name : {"nobody", "service-1", "auditor-1"}) {
    auto proposal = ExampleProposal();
    proposal.requester = name;
    text = *proposal.Render();
    EXPECT_EQ(Grant({f.Sign("custodian-1", text), f.Sign("custodian-2", text)}).error().Slug(), "unknown-requester")
        << name;
  }
}

// P11: what nobody has to send is refused before any signature is looked at.
TEST_F(Quorum, P11_MoreVotesThanPeopleAreUnread) {
  const Vote rubbish{"custodian-1", Verdict::kApprove, "no signature"};
  EXPECT_EQ(Grant({rubbish, rubbish}).error().Slug(), "too-many-votes") << "one person twice";
  std::vector<Vote> many;
  for (int i = 0; i < 4; ++i) many.push_back({"somebody-" + std::to_string(i), Verdict::kReject, "no signature"});
  EXPECT_EQ(Grant(many).error().Slug(), "too-many-votes") << "four votes of three custodians";
  many.pop_back();
  EXPECT_EQ(Grant(many).error().Slug(), "not-a-custodian");
}

TEST_F(Quorum, Q3_TheRequesterNeverCounts) {
  auto p = ExampleProposal();
  p.requester = "custodian-1";
  text = *p.Render();
  EXPECT_EQ(Grant({f.Sign("custodian-1", text), f.Sign("custodian-2", text)}).error().Slug(), "requester-vote");
  EXPECT_TRUE(Grant({f.Sign("custodian-3", text), f.Sign("custodian-2", text)}));
}

TEST_F(Quorum, Q1_VotesForOtherTextVerdictOrNamespaceDoNotCount) {
  const auto good = f.Sign("custodian-2", text);
  EXPECT_EQ(Grant({good, f.Sign("custodian-1", text + "x: y\n")}).error().Slug(), "bad-signature");
  auto turned = f.Sign("custodian-1", text, Verdict::kReject);
  turned.verdict = Verdict::kApprove;
  EXPECT_EQ(Grant({good, turned}).error().Slug(), "bad-signature");
  const Vote elsewhere{"custodian-1", Verdict::kApprove,
                       f.SignAs("custodian-1", "file", VoteMessage(text, Verdict::kApprove))};
  EXPECT_EQ(Grant({good, elsewhere}).error().Slug(), "wrong-namespace");
}

TEST_F(Quorum, Q4_OneRejectionKillsAndDeadlinesHold) {
  const auto a = f.Sign("custodian-1", text), b = f.Sign("custodian-2", text);
  EXPECT_EQ(Grant({a, b, f.Sign("custodian-3", text, Verdict::kReject)}).error().Slug(), "rejected");
  EXPECT_EQ(Grant({a, b}, kNow + 7'200'001).error().code, Code::kExpired);
  EXPECT_TRUE(Grant({a, b}, kNow + 7'199'000));
}

TEST_F(Quorum, Q7_AnotherRosterStalesTheProposal) {
  const QuorumFixture other;
  const auto refused =
      GrantExecution(other.roster(), text, {f.Sign("custodian-1", text), f.Sign("custodian-2", text)}, kNow);
  EXPECT_EQ(refused.error().Slug(), "stale");
  auto lowered = ExampleProposal();
  lowered.policy.front().needed = 1;
  text = *lowered.Render();
  EXPECT_EQ(Grant({f.Sign("custodian-1", text)}).error().Slug(), "stale");
}

// Does stock ssh-keygen accept a vote with the roster's own allowed_signers, and not after a one-byte change?
TEST_F(Quorum, Q2_StockSshKeygenVerifiesVotes) {
  tests::TempDir dir;
  const auto vote = f.Sign("custodian-2", text);
  const auto allowed = dir.Write("allowed_signers", RosterAllowedSigners(f.roster()));
  const auto signature = dir.Write("sig", vote.signature);
  const auto verify = [&](const std::string& message, const std::string& who) {
    return provisioning::RunProcess(
               {"ssh-keygen", "-Y", "verify", "-f", allowed, "-I", who, "-n", "vote@strongroom", "-s", signature},
               message)
        ->status;
  };
  auto message = VoteMessage(text, Verdict::kApprove);
  EXPECT_EQ(verify(message, "custodian-2"), 0);
  EXPECT_NE(verify(message, "custodian-1"), 0);
  message[40] ^= 1;
  EXPECT_NE(verify(message, "custodian-2"), 0);
}

}  // namespace
}  // namespace strongroom::crypto
