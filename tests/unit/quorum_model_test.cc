// The counting of votes against a model that knows nothing of how it is done: every vote of every small roster.

#include <gtest/gtest.h>

#include <functional>

#include "crypto/custody.h"
#include "crypto/quorum.h"
#include "tests/support/made_up_roster.h"

namespace strongroom::crypto {
namespace {

using tests::Policies;

ProposalText Of(const Roster& roster, const std::string& operation, const std::string& requester,
                const std::string& keyring = {}) {
  ProposalText p;
  p.operation = operation;
  p.requester = requester;
  p.keyring = keyring;
  p.policy = PolicyOf(roster, p);
  return p;
}

// What a person would say that the rules are (Q3, Q4), by looking at every way the open votes could still go.
struct Model {
  std::vector<std::pair<std::set<std::string>, std::uint64_t>> parts;  // who may vote on each, how many must
  bool outlives = false;

  bool Met(const std::map<std::string, Verdict>& votes) const {
    for (const auto& [people, needed] : parts) {
      std::set<std::string> yes;
      for (const auto& [who, verdict] : votes)
        if (people.contains(who) && verdict == Verdict::kApprove) yes.insert(who);
      if (yes.size() < needed) return false;
    }
    return true;
  }
  bool HasSay(const std::string& who) const {
    return std::any_of(parts.begin(), parts.end(), [&](const auto& part) { return part.first.contains(who); });
  }
  // Whether some way of voting by those who have not voted yet approves it.
  bool CouldBeMet(std::map<std::string, Verdict> votes) const {
    if (Met(votes)) return true;
    for (const auto& [people, needed] : parts)
      for (const auto& who : people)
        if (!votes.contains(who)) votes[who] = Verdict::kApprove;
    return Met(votes);
  }
  Count Judge(const std::map<std::string, Verdict>& votes) const {
    bool rejected = false;
    for (const auto& [who, verdict] : votes) rejected = rejected || (HasSay(who) && verdict == Verdict::kReject);
    if (rejected && (!outlives || !CouldBeMet(votes))) return Count::kRejected;
    return Met(votes) ? Count::kApproved : Count::kOpen;
  }
};

// Every way in which `people` can have voted: for, against, not at all; 3 to the power of their number.
void EveryVote(const std::vector<std::string>& people,
               const std::function<void(const std::map<std::string, Verdict>&)>& visit) {
  std::size_t ways = 1;
  for (std::size_t i = 0; i < people.size(); ++i) ways *= 3;
  for (std::size_t way = 0; way < ways; ++way) {
    std::map<std::string, Verdict> votes;
    auto rest = way;
    for (const auto& who : people) {
      if (rest % 3 != 0) votes[who] = rest % 3 == 1 ? Verdict::kApprove : Verdict::kReject;
      rest /= 3;
    }
    visit(votes);
  }
}

std::vector<Vote> AsVotes(const std::map<std::string, Verdict>& votes) {
  std::vector<Vote> list;
  for (const auto& [who, verdict] : votes) {
    list.push_back({who, verdict, {}});
    list.push_back({who, verdict, {}});  // once is as good as twice
  }
  return list;
}

// Q3, Q4: is the outcome of every vote of every roster of three to six custodians, with every quorum that the floor
// allows, for every requester and everybody whose removal may be asked for, what the rules say?
TEST(QuorumModel, Q3_Q4_EveryVoteOfEverySmallRosterComesOutAsTheRulesSay) {
  std::size_t judged = 0;
  for (std::size_t n = 3; n <= 6; ++n)
    for (std::uint64_t m = 2; m < n; ++m) {
      if (n >= 2 * m) continue;
      const auto roster = tests::MadeUpRoster(Policies(m), n);
      const auto people = roster.Custodians();
      for (const auto* operation : {"keyring.rotate", "keyring.emergency-rotate", "roster.change", "ledger.adopt"})
        for (std::size_t requester = 0; requester <= n; ++requester)
          for (std::size_t removed = 0; removed <= n; ++removed) {
            const bool changes = std::string(operation) == "roster.change";
            if (removed < n && !changes) continue;
            auto proposal = Of(roster, operation, requester < n ? people[requester] : "operator-1");
            Model model;
            model.outlives = std::string(operation) != "keyring.rotate";
            std::set<std::string> voters(people.begin(), people.end());
            if (requester < n) voters.erase(people[requester]);
            if (removed < n) {
              proposal.params["remove-" + people[removed]] = "yes";
              voters.erase(people[removed]);
            }
            model.parts = {{voters, m}};
            EveryVote(people, [&](const auto& votes) {
              ++judged;
              ASSERT_EQ(CountVotes(roster, proposal, AsVotes(votes)), model.Judge(votes))
                  << operation << " " << m << " of " << n << " by " << proposal.requester;
            });
          }
    }
  EXPECT_GT(judged, 20'000U);
}

// Q3, Q8: the same with an organisation of its own custodians and two groups that must agree.
TEST(QuorumModel, Q3_OrganisationsAndRequiredGroupsComeOutAsTheRulesSay) {
  auto parts = Policies(2);
  parts.organisations["org-a"] = {{{"ceremony", 2}, {"destruction", 2}, {"emergency", 2}, {"rotation", 2}},
                                  {"custodian-4", "custodian-5", "custodian-6"}};
  parts.groups["on-call"] = {"custodian-2", "custodian-3"};
  parts.groups["security-lead"] = {"custodian-1", "custodian-4"};
  parts.requirements["destruction"] = {"on-call", "security-lead"};
  const auto roster = tests::MadeUpRoster(parts, 6);
  EXPECT_EQ(roster.Custodians(), (std::vector<std::string>{"custodian-1", "custodian-2", "custodian-3"}));
  using People = std::set<std::string>;
  const People ours = {"custodian-1", "custodian-2", "custodian-3"},
               theirs = {"custodian-4", "custodian-5", "custodian-6"};
  const People call = {"custodian-2", "custodian-3"}, lead = {"custodian-1", "custodian-4"};
  struct Case {
    const char *operation, *keyring, *policy;
    Model model;
  };
  const std::vector<Case> cases = {
      {"keyring.rotate", "install", "rotation 2 of 3", {{{ours, 2}}, false}},
      {"keyring.rotate", "org-a", "org-a/rotation 2 of 3", {{{theirs, 2}}, false}},
      {"keyring.emergency-rotate", "org-a", "org-a/emergency 2 of 3", {{{theirs, 2}}, true}},
      {"break-glass.open", "", "break-glass 2 of 3", {{{ours, 2}}, false}},
      {"version.destroy",
       "install",
       "destruction 2 of 3; on-call 1 of 2; security-lead 1 of 2",
       {{{ours, 2}, {call, 1}, {lead, 1}}, false}},
      {"version.destroy",
       "org-a",
       "org-a/destruction 2 of 3; on-call 1 of 2; security-lead 1 of 2",
       {{{theirs, 2}, {call, 1}, {lead, 1}}, false}},
  };
  std::vector<std::string> everybody(ours.begin(), ours.end());
  everybody.insert(everybody.end(), theirs.begin(), theirs.end());
  for (const auto& c : cases) {
    const auto proposal = Of(roster, c.operation, "operator-1", c.keyring);
    std::string policy;
    for (const auto& part : proposal.policy)
      policy += (policy.empty() ? "" : "; ") + part.label + " " + std::to_string(part.needed) + " of " +
                std::to_string(part.of);
    EXPECT_EQ(policy, c.policy);
    EveryVote(everybody, [&](const auto& votes) {
      ASSERT_EQ(CountVotes(roster, proposal, AsVotes(votes)), c.model.Judge(votes)) << policy;
    });
    for (const auto& who : everybody) {
      const auto voter = CheckVoter(roster, proposal, who);
      EXPECT_EQ(voter.has_value(), c.model.HasSay(who)) << who << " on " << policy;
      if (!voter) EXPECT_EQ(voter.error().Slug(), "other-organisation");
    }
  }
  // A change that touches an organisation takes its own votes, too.
  auto change = Of(roster, "roster.change", "operator-1");
  EXPECT_EQ(change.policy.size(), 1U);
  change.params["organisation-org-a"] = "none";
  EXPECT_EQ(PolicyOf(roster, change).back(), (PolicyPart{"org-a/roster", 2, 3}));
  change.params.clear();
  change.params["remove-custodian-5"] = "yes";
  const Model both = {{{ours, 2}, {{"custodian-4", "custodian-6"}, 2}}, true};
  EveryVote(everybody,
            [&](const auto& votes) { ASSERT_EQ(CountVotes(roster, change, AsVotes(votes)), both.Judge(votes)); });
  // Both say so in one list, and nobody beside them.
  std::vector<Vote> all;
  for (const auto& who : everybody) all.push_back({who, Verdict::kApprove, ""});
  EXPECT_TRUE(CheckVoteList(roster, all));
  all.push_back({"operator-1", Verdict::kApprove, ""});
  EXPECT_EQ(CheckVoteList(roster, all).error().Slug(), "too-many-votes");
}

// Q3: what no roster may say.
TEST(QuorumModel, Q3_FloorsAndMembershipsAreCompiledIn) {
  const auto refused = [](const std::function<void(RosterParts&)>& change) {
    auto parts = Policies(2);
    parts.organisations["org-a"] = {{{"ceremony", 2}, {"destruction", 2}, {"emergency", 2}, {"rotation", 2}},
                                    {"custodian-4", "custodian-5", "custodian-6"}};
    parts.groups["on-call"] = {"custodian-2", "custodian-3"};
    parts.requirements["destruction"] = {"on-call"};
    const auto good = tests::MadeUpRoster(parts, 6);
    parts.principals = good.principals();
    change(parts);
    return !Roster::Parse(RosterText(InstanceId{}, 1, "none", parts)).has_value();
  };
  EXPECT_FALSE(refused([](auto&) {}));
  EXPECT_TRUE(refused([](auto& p) { p.policies["rotation"] = 1; }));
  EXPECT_TRUE(refused([](auto& p) { p.policies["rotation"] = 3; })) << "all of them";
  EXPECT_TRUE(refused([](auto& p) { p.policies.erase("rotation"); }));
  EXPECT_TRUE(refused([](auto& p) { p.policies["tea"] = 2; }));
  EXPECT_TRUE(refused([](auto& p) { p.organisations["org-a"].policies["rotation"] = 1; }));
  EXPECT_TRUE(refused([](auto& p) { p.organisations["org-a"].policies.erase("rotation"); }));
  EXPECT_TRUE(refused([](auto& p) { p.organisations["org-a"].custodians = {"custodian-4", "custodian-5"}; }));
  EXPECT_TRUE(refused([](auto& p) {
    p.organisations["org-a"].custodians = {"custodian-4", "custodian-4", "custodian-5"};
  }));
  EXPECT_TRUE(refused([](auto& p) { p.organisations["org-b"] = p.organisations["org-a"]; })) << "nobody is in two";
  EXPECT_TRUE(refused([](auto& p) { p.organisations["org-a"].custodians[0] = "custodian-9"; }));
  EXPECT_TRUE(refused([](auto& p) { p.groups["on-call"] = {"operator-1"}; }));
  EXPECT_TRUE(refused([](auto& p) { p.groups["on-call"] = {}; }));
  EXPECT_TRUE(refused([](auto& p) { p.groups["on-call"] = {"custodian-2"}; })) << "one who is lost locks all out";
  EXPECT_TRUE(refused([](auto& p) { p.requirements["destruction"] = {"night-watch"}; }));
  EXPECT_TRUE(refused([](auto& p) { p.requirements["tea"] = {"on-call"}; }));
}

}  // namespace
}  // namespace strongroom::crypto
