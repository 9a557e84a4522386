#include "crypto/quorum.h"

#include <algorithm>
#include <set>

#include "crypto/sshsig.h"

namespace strongroom::crypto {

std::string_view ToString(Verdict verdict) { return verdict == Verdict::kApprove ? "approve" : "reject"; }

std::optional<Verdict> VerdictFromString(std::string_view text) {
  if (text == "approve") return Verdict::kApprove;
  if (text == "reject") return Verdict::kReject;
  return std::nullopt;
}

Vote GetVote(WireReader& in) {
  Vote vote;
  vote.custodian = in.Text();
  const auto verdict = in.U8();
  if (verdict < 1 || verdict > 2) in.Fail();
  vote.verdict = static_cast<Verdict>(verdict);
  vote.signature = in.Text();
  return vote;
}

std::string VoteMessage(std::string_view proposal_text, Verdict verdict) {
  return std::string(proposal_text) + "verdict: " + std::string(ToString(verdict)) + "\n";
}

bool OutlivesRejection(std::string_view policy_class) {
  return policy_class == "roster" || policy_class == "emergency" || policy_class == "recovery";
}

namespace {

constexpr std::string_view kRosterChange = ToString(Operation::kRosterChange);

bool IsConcerned(const ProposalText& proposal, const std::string& custodian) {
  return proposal.operation == kRosterChange && proposal.params.contains("remove-" + custodian);
}

Need MakeNeed(const ProposalText& proposal, std::string label, std::uint64_t needed,
              const std::vector<std::string>& people) {
  Need need{std::move(label), needed, people.size(), {}};
  for (const auto& name : people)
    if (name != proposal.requester && !IsConcerned(proposal, name)) need.voters.push_back(name);
  return need;
}

// Whether a change of the roster touches an organisation: its people, or what it is.
bool Touches(const ProposalText& proposal, const std::string& name, const Organisation& organisation) {
  if (proposal.params.contains("organisation-" + name)) return true;
  return std::any_of(organisation.custodians.begin(), organisation.custodians.end(),
                     [&](const std::string& custodian) { return proposal.params.contains("remove-" + custodian); });
}

}  // namespace

std::vector<Need> NeedsOf(const Roster& roster, const ProposalText& proposal) {
  const auto& parts = roster.parts();
  const auto of = proposal.Class();
  std::vector<Need> needs;
  const auto organisation = parts.organisations.find(proposal.keyring);
  if (!proposal.keyring.empty() && organisation != parts.organisations.end()) {
    const auto votes = organisation->second.policies.find(of);
    // A class that no organisation has a policy for asks for all of them.
    needs.push_back(
        MakeNeed(proposal, organisation->first + "/" + of,
                 votes == organisation->second.policies.end() ? organisation->second.custodians.size() : votes->second,
                 organisation->second.custodians));
  } else {
    needs.push_back(MakeNeed(proposal, of, roster.Needed(of), roster.Custodians()));
  }
  if (const auto groups = parts.requirements.find(of); groups != parts.requirements.end())
    for (const auto& group : groups->second)
      needs.push_back(MakeNeed(proposal, group, 1, parts.groups.find(group)->second));
  if (proposal.operation == kRosterChange)
    for (const auto& [name, touched] : parts.organisations) {
      if (!Touches(proposal, name, touched)) continue;
      std::uint64_t most = 2;
      for (const auto& [c, votes] : touched.policies) most = std::max(most, votes);
      needs.push_back(MakeNeed(proposal, name + "/roster", most, touched.custodians));
    }
  return needs;
}

std::vector<PolicyPart> PolicyOf(const Roster& roster, const ProposalText& proposal) {
  std::vector<PolicyPart> policy;
  for (auto& need : NeedsOf(roster, proposal)) policy.push_back({std::move(need.label), need.needed, need.of});
  return policy;
}

Count CountVotes(const Roster& roster, const ProposalText& proposal, const std::vector<Vote>& votes) {
  std::set<std::string, std::less<>> approved, rejected;
  for (const auto& vote : votes) (vote.verdict == Verdict::kApprove ? approved : rejected).insert(vote.custodian);
  bool met = true, possible = true, was_rejected = false;
  for (const auto& need : NeedsOf(roster, proposal)) {
    // By keys, not by names: a roster of before Roster::CheckKeys may have one key under two (Q3).
    std::set<std::string_view> yes, may;
    for (const auto& voter : need.voters) {
      // Who has said no has not also said yes, whatever else is presented.
      if (rejected.contains(voter)) {
        was_rejected = true;
        continue;
      }
      const std::string_view key = roster.RawKeyOf(voter);
      may.insert(key);
      if (approved.contains(voter)) yes.insert(key);
    }
    met = met && yes.size() >= need.needed;
    possible = possible && may.size() >= need.needed;
  }
  if (was_rejected && (!possible || !OutlivesRejection(proposal.Class()))) return Count::kRejected;
  return met ? Count::kApproved : Count::kOpen;
}

std::string MissingVotes(const Roster& roster, const ProposalText& proposal, const std::vector<Vote>& votes) {
  std::string missing;
  for (const auto& need : NeedsOf(roster, proposal)) {
    std::set<std::string_view> keys;
    for (const auto& voter : need.voters)
      if (std::any_of(votes.begin(), votes.end(),
                      [&](const Vote& vote) { return vote.custodian == voter && vote.verdict == Verdict::kApprove; }))
        keys.insert(roster.RawKeyOf(voter));
    const auto yes = keys.size();
    if (yes >= need.needed) continue;
    missing += (missing.empty() ? "needs " : ", and ") + std::to_string(need.needed) + " approvals (" + need.label +
               "), has " + std::to_string(yes);
  }
  return missing;
}

Result<void> CheckVoter(const Roster& roster, const ProposalText& proposal, std::string_view who) {
  const std::string custodian(who.substr(0, 64));
  const auto* principal = roster.Find(who);
  if (principal == nullptr || principal->role != Role::kCustodian)
    return Forbidden("the vote is not by a custodian of roster " + std::to_string(roster.version()), "not-a-custodian");
  if (custodian == proposal.requester)
    return Forbidden(custodian + " asked for this and cannot vote on it", "requester-vote");
  if (IsConcerned(proposal, custodian))
    return Forbidden(custodian + " is to be removed or replaced by this and cannot vote on it", "concerned-vote");
  const auto needs = NeedsOf(roster, proposal);
  if (std::none_of(needs.begin(), needs.end(), [&](const Need& need) {
        return std::find(need.voters.begin(), need.voters.end(), custodian) != need.voters.end();
      }))
    return Forbidden(custodian + " is a custodian of another organisation and has no vote on this",
                     "other-organisation");
  return {};
}

Result<void> CheckVote(const Roster& roster, const ProposalText& proposal, std::string_view text, const Vote& vote) {
  TRY(CheckVoter(roster, proposal, vote.custodian));
  const auto* principal = roster.Find(vote.custodian);
  return VerifySshSignature(principal->ssh_key, kVoteNamespace, AsBytes(VoteMessage(text, vote.verdict)),
                            vote.signature);
}

Result<void> CheckVoteList(const Roster& roster, const std::vector<Vote>& votes) {
  // Those of organisations, too: a change of the roster may need both.
  const auto& principals = roster.principals();
  const auto custodians = static_cast<std::size_t>(std::count_if(
      principals.begin(), principals.end(), [](const Principal& p) { return p.role == Role::kCustodian; }));
  if (votes.size() > custodians)
    return Invalid(std::to_string(votes.size()) + " votes were sent, the roster has " + std::to_string(custodians) +
                       " custodians: send each one's vote once",
                   "too-many-votes");
  std::set<std::string_view> people;
  for (const auto& vote : votes)
    if (!people.insert(vote.custodian).second)
      return Invalid("two votes were sent of '" + vote.custodian.substr(0, 64) + "': send each one's vote once",
                     "too-many-votes");
  return {};
}

Result<ExecutionGrant> GrantExecution(const Roster& roster, std::string_view text, std::vector<Vote> votes,
                                      Millis now) {
  TRY_ASSIGN(auto proposal, ProposalText::Parse(text));
  if (proposal.instance != roster.instance()) return Conflict("the proposal is for another instance", "stale");
  if (proposal.roster_version != roster.version() || proposal.roster_hash != roster.hash())
    return Conflict("the roster has changed since the proposal: propose again", "stale");
  // Who asked for it stands in what the custodians sign, and is somebody who may ask.
  const auto* requester = roster.Find(proposal.requester);
  if (requester == nullptr || (requester->role != Role::kOperator && requester->role != Role::kCustodian))
    return Forbidden("'" + proposal.requester.substr(0, 64) + "' is no operator or custodian of roster " +
                         std::to_string(roster.version()),
                     "unknown-requester");
  if (proposal.policy != PolicyOf(roster, proposal))
    return Conflict("the proposal states another policy than the roster's", "stale");
  if (now > proposal.execute_by)
    return Expired("the proposal was to be executed by " + FormatTime(proposal.execute_by), "proposal-expired");
  TRY(CheckVoteList(roster, votes));
  for (const auto& vote : votes) TRY(CheckVote(roster, proposal, text, vote));
  switch (CountVotes(roster, proposal, votes)) {
    case Count::kRejected:
      return Forbidden("it has been rejected", "rejected");
    case Count::kOpen:
      return Forbidden(MissingVotes(roster, proposal, votes), "quorum-missing");
    case Count::kApproved:
      break;
  }
  ExecutionGrant grant;
  grant.proposal_ = std::move(proposal);
  grant.text_ = text;
  grant.votes_ = std::move(votes);
  grant.roster_text_ = roster.text();
  return grant;
}

}  // namespace strongroom::crypto
