#pragma once
// The counting of votes, pure: the appliance and the token host both decide with it, each for itself (Q9).

#include <string>
#include <string_view>
#include <vector>

#include "crypto/base/clock.h"
#include "crypto/base/result.h"
#include "crypto/base/wire.h"
#include "crypto/proposal_text.h"
#include "crypto/roster.h"

namespace strongroom::crypto {

enum class Verdict : std::uint8_t { kApprove = 1, kReject = 2 };
std::string_view ToString(Verdict verdict);
std::optional<Verdict> VerdictFromString(std::string_view text);

struct Vote {
  std::string custodian;
  Verdict verdict = Verdict::kApprove;
  std::string signature;  // armored SSHSIG, namespace vote@strongroom, over VoteMessage
  bool operator==(const Vote&) const = default;
};

/// PutVote and GetVote are a vote's one binary form, in ledger entries, state rows and token-host frames: Text
/// custodian, u8 verdict, Text signature. GetVote fails the reader on an unknown verdict.
template <class Writer>
void PutVote(Writer& out, const Vote& vote) {
  out.Text(vote.custodian);
  out.U8(static_cast<std::uint8_t>(vote.verdict));
  out.Text(vote.signature);
}
Vote GetVote(WireReader& in);

/// VoteMessage is what a custodian signs: the canonical text, then "verdict: approve\n" or "verdict: reject\n".
std::string VoteMessage(std::string_view proposal_text, Verdict verdict);

/// Need is one part of a proposal's policy: so many of these people must approve it. `of` counts them as the roster has
/// them; `voters` are those of them who may vote on this proposal: neither who asked for it nor whose removal it asks
/// for (Q3, Q4).
struct Need {
  std::string label;
  std::uint64_t needed = 0;
  std::uint64_t of = 0;
  std::vector<std::string> voters;
};
/// NeedsOf says what a roster asks for a proposal, each part to be met: its class's votes, of the appliance's
/// custodians or, for a keyring that has an organisation, of that organisation's; one vote of each group that the
/// class requires; and for a change of the roster that concerns organisations, the votes of each of them, too.
std::vector<Need> NeedsOf(const Roster& roster, const ProposalText& proposal);
/// PolicyOf is the same as it stands in a proposal's text.
std::vector<PolicyPart> PolicyOf(const Roster& roster, const ProposalText& proposal);

enum class Count : std::uint8_t { kOpen, kApproved, kRejected };
/// CountVotes counts verified votes: each person and each key once, and only those who may vote. A rejection ends a
/// proposal, or for those that outlive it, ends it when one of its needs can no longer be met (Q4).
Count CountVotes(const Roster& roster, const ProposalText& proposal, const std::vector<Vote>& votes);

/// MissingVotes says for a person what is not met yet; empty when all is.
std::string MissingVotes(const Roster& roster, const ProposalText& proposal, const std::vector<Vote>& votes);

/// OutlivesRejection tells whether one rejection does not end a proposal of this class: those of roster, emergency and
/// recovery end when approval has become impossible (Q4, Q18). One who says no to each at once stops none of them.
bool OutlivesRejection(std::string_view policy_class);

/// CheckVoter tells whether somebody may vote on a proposal at all; CheckVote's slugs but the last.
Result<void> CheckVoter(const Roster& roster, const ProposalText& proposal, std::string_view custodian);
/// CheckVote verifies one vote: a custodian of this roster, not the requester and not somebody whose removal is asked
/// for (Q4), with a good signature over exactly this text. Fails with kForbidden; slugs not-a-custodian,
/// requester-vote, concerned-vote, other-organisation, and those of VerifySshSignature.
Result<void> CheckVote(const Roster& roster, const ProposalText& proposal, std::string_view text, const Vote& vote);

/// ExecutionGrant is the capability to change custody. Nothing but GrantExecution makes one; it is consumed by value.
class ExecutionGrant {
 public:
  const ProposalText& proposal() const { return proposal_; }
  const std::string& text() const { return text_; }
  const std::vector<Vote>& votes() const { return votes_; }
  const std::string& roster_text() const { return roster_text_; }

  ExecutionGrant(ExecutionGrant&&) = default;
  ExecutionGrant& operator=(ExecutionGrant&&) = default;
  ExecutionGrant(const ExecutionGrant&) = delete;
  ExecutionGrant& operator=(const ExecutionGrant&) = delete;

 private:
  friend Result<ExecutionGrant> GrantExecution(const Roster&, std::string_view, std::vector<Vote>, Millis);
  ExecutionGrant() = default;
  ProposalText proposal_;
  std::string text_;
  std::vector<Vote> votes_;
  std::string roster_text_;
};

/// CheckVoteList refuses, unread, what nobody has to send: more votes than the roster has custodians, or two by one
/// person. kInvalid (too-many-votes).
Result<void> CheckVoteList(const Roster& roster, const std::vector<Vote>& votes);

/// GrantExecution verifies text, roster binding, every vote and the execution deadline at `now`, and counts: each
/// person and key once, the requester never, one rejection kills. No signature is verified before text, roster,
/// deadline and list have been judged. Fails with kForbidden (slug "unknown-requester": no operator or custodian of the
/// roster; "quorum-missing", "rejected" or CheckVote's),
/// kConflict (slug "stale": another roster or instance), kExpired, or as CheckVoteList.
Result<ExecutionGrant> GrantExecution(const Roster& roster, std::string_view text, std::vector<Vote> votes, Millis now);

}  // namespace strongroom::crypto
