#pragma once
// The chain of rosters that an adoption brings along: from the one that a token obeys, or its root names, to the one
// that votes on the adoption (Q12). Pure.

#include <optional>

#include "crypto/base/wire.h"
#include "crypto/custody/record.h"
#include "crypto/quorum.h"

namespace strongroom::crypto {

inline constexpr std::size_t kMaxProposalBytes = 65'536;
inline constexpr std::size_t kMaxChainSteps = 10'000;

/// RosterStep is one executed `roster.change`: the canonical text and the votes on it.
struct RosterStep {
  std::string proposal;
  std::vector<Vote> votes;
  bool operator==(const RosterStep&) const = default;
};
/// RosterChain is a roster's text and the changes that followed it, in order.
struct RosterChain {
  std::string first;
  std::vector<RosterStep> steps;
  bool operator==(const RosterChain&) const = default;
};

/// RosterMark is a roster by version and hash.
struct RosterMark {
  std::uint64_t version = 0;
  Digest hash{};
  bool operator==(const RosterMark&) const = default;
};

/// ChainWalk follows a chain step by step; the roster that it stands at is one that votes lead to.
class ChainWalk {
 public:
  /// Begin takes the text of the roster named by `from`: its hash is compared before it is parsed. kForbidden
  /// (roster-not-enforced) for another text.
  static Result<ChainWalk> Begin(const RosterMark& from, const std::string& roster_text);
  /// Step follows one change, checked under the roster where the walk stands as of the text's own time: a step may be
  /// late, and is not spent. kForbidden and kInvalid as GrantExecution and RosterAfter; kInvalid for more votes than
  /// custodians and for a text of over 64 KiB.
  Result<void> Step(const RosterStep& step);
  const Roster& roster() const { return roster_; }
  /// BeginsAt tells whether the walk began at this roster. One that did not leads nowhere from here: the token may have
  /// followed a change since, which a walk from before it would take back (Q7).
  bool BeginsAt(const RosterMark& mark) const { return from_ == mark; }
  /// steps are those that it has followed, in order.
  const std::vector<RosterStep>& steps() const { return steps_; }

 private:
  ChainWalk(RosterMark from, Roster roster) : from_(from), roster_(std::move(roster)) {}
  RosterMark from_;
  Roster roster_;
  std::vector<RosterStep> steps_;
};

/// RosterOf is the roster that a record obeys.
RosterMark RosterOf(const LedgerRecord& record);
/// Follow puts a record under the roster where the chain has come to, when it begins at the record's and this text is
/// that roster's; else it changes nothing.
void Follow(LedgerRecord& record, const std::optional<ChainWalk>& chain, std::string_view roster_text);

/// EncodeRosterStep and DecodeRosterStep are a step's one binary form, in frames and in the token side's file: Text
/// proposal, u16 n, n votes (PutVote).
Bytes EncodeRosterStep(const RosterStep& step);
Result<RosterStep> DecodeRosterStep(ByteView bytes);

}  // namespace strongroom::crypto
