#include "crypto/custody/chain.h"

#include "crypto/custody.h"

namespace strongroom::crypto {

Result<ChainWalk> ChainWalk::Begin(const RosterMark& from, const std::string& roster_text) {
  if (roster_text.size() > kMaxRosterBytes) return Invalid("a roster is at most 4 MiB");
  if (Sha256(AsBytes(roster_text)) != from.hash)
    return Forbidden("the chain does not begin at roster " + std::to_string(from.version) + ", which the token obeys",
                     "roster-not-enforced");
  TRY_ASSIGN(auto roster, Roster::Parse(roster_text));
  if (roster.version() != from.version)
    return Forbidden("the chain begins at roster " + std::to_string(roster.version()), "roster-not-enforced");
  return ChainWalk(from, std::move(roster));
}

Result<void> ChainWalk::Step(const RosterStep& step) {
  if (steps_.size() >= kMaxChainSteps)
    return Invalid("a chain has at most " + std::to_string(kMaxChainSteps) + " steps");
  if (step.proposal.size() > kMaxProposalBytes) return Invalid("a proposal's text is at most 64 KiB");
  TRY_ASSIGN(const auto proposal, ProposalText::Parse(step.proposal));
  if (proposal.operation != "roster.change") return Invalid("a step of the chain is a roster.change");
  TRY_ASSIGN(const auto grant, GrantExecution(roster_, step.proposal, step.votes, proposal.execute_by));
  LedgerRecord record;
  TRY_ASSIGN(record, RosterRecord(record, grant));
  TRY_ASSIGN(auto after, RosterAfter(roster_, grant.proposal()));
  roster_ = std::move(after);
  steps_.push_back(step);
  return {};
}

RosterMark RosterOf(const LedgerRecord& record) { return {record.custody.roster_version, record.custody.roster_hash}; }

void Follow(LedgerRecord& record, const std::optional<ChainWalk>& chain, std::string_view roster_text) {
  if (!chain || !chain->BeginsAt(RosterOf(record)) || Sha256(AsBytes(roster_text)) != chain->roster().hash()) return;
  record.custody.roster_version = chain->roster().version();
  record.custody.roster_hash = chain->roster().hash();
}

Bytes EncodeRosterStep(const RosterStep& step) {
  WireWriter out;
  out.Text(step.proposal);
  out.U16(static_cast<std::uint16_t>(step.votes.size()));
  for (const auto& vote : step.votes) PutVote(out, vote);
  return std::move(out).Take();
}

Result<RosterStep> DecodeRosterStep(ByteView bytes) {
  WireReader in(bytes);
  RosterStep step;
  step.proposal = in.Text();
  for (int n = in.U16(); n > 0 && in.ok(); --n) step.votes.push_back(GetVote(in));
  if (!in.Complete()) return Invalid("a step of the chain of rosters cannot be read");
  return step;
}

}  // namespace strongroom::crypto
