#include "crypto/quorum.h"

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
  return policy_class == "roster" || policy_class == "emergency";
}

Result<void> CheckVote(const Roster& roster, const ProposalText& proposal, std::string_view text, const Vote& vote) {
  const auto* principal = roster.Find(vote.custodian);
  if (principal == nullptr || principal->role != Role::kCustodian)
    return Forbidden("the vote is not by a custodian of roster " + std::to_string(roster.version()), "not-a-custodian");
  if (vote.custodian == proposal.requester)
    return Forbidden(vote.custodian + " asked for this and cannot vote on it", "requester-vote");
  if (proposal.operation == "roster.change" && proposal.params.contains("remove-" + vote.custodian))
    return Forbidden(vote.custodian + " is to be removed or replaced by this and cannot vote on it", "concerned-vote");
  return VerifySshSignature(principal->ssh_key, kVoteNamespace, AsBytes(VoteMessage(text, vote.verdict)),
                            vote.signature);
}

Result<ExecutionGrant> GrantExecution(const Roster& roster, std::string_view text, std::vector<Vote> votes,
                                      Millis now) {
  TRY_ASSIGN(auto proposal, ProposalText::Parse(text));
  if (proposal.instance != roster.instance()) return Conflict("the proposal is for another instance", "stale");
  if (proposal.roster_version != roster.version() || proposal.roster_hash != roster.hash())
    return Conflict("the roster has changed since the proposal: propose again", "stale");
  if (proposal.needed != roster.Needed(proposal.policy_class) || proposal.custodians != roster.custodians())
    return Conflict("the proposal states another policy than the roster's", "stale");
  if (now > proposal.execute_by)
    return Expired("the proposal was to be executed by " + FormatTime(proposal.execute_by), "proposal-expired");
  std::set<std::string, std::less<>> approved;
  for (const auto& vote : votes) {
    TRY(CheckVote(roster, proposal, text, vote));
    if (vote.verdict == Verdict::kReject) {
      if (OutlivesRejection(proposal.policy_class)) continue;
      return Forbidden(vote.custodian + " has rejected it", "rejected");
    }
    approved.insert(vote.custodian);
  }
  if (approved.size() < proposal.needed)
    return Forbidden("needs " + std::to_string(proposal.needed) + " approvals, has " + std::to_string(approved.size()),
                     "quorum-missing");
  ExecutionGrant grant;
  grant.proposal_ = std::move(proposal);
  grant.text_ = text;
  grant.votes_ = std::move(votes);
  grant.roster_text_ = roster.text();
  return grant;
}

}  // namespace strongroom::crypto
