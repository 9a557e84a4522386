// What a token does with an approved proposal: judges it, spends it, changes its record (Q5, Q9, Q10, Q14).

#include <algorithm>

#include "crypto/custody.h"
#include "crypto/text_rules.h"

namespace strongroom::crypto {
namespace {

constexpr Millis kMostLate = 90 * kDay;
// A token that signs no logs, or has signed nothing yet, cannot tell how long the control log is.
constexpr std::uint64_t kMostUnseen = std::uint64_t{1} << 20;

bool Is(const ProposalText& proposal, Operation operation) { return proposal.operation == ToString(operation); }

// Whether a proposal also accepts the clock that it names: clock.accept, and an adoption, which begins anew in every
// way.
bool AcceptsClock(const ProposalText& proposal) {
  return Is(proposal, Operation::kClockAccept) ||
         (Is(proposal, Operation::kLedgerAdopt) && proposal.params.contains("clock"));
}

Error Stale(const std::string& why) { return Conflict(why + ": propose again", "stale"); }

// The clock of the token's host, against what the record has seen and what the text says.
Result<void> CheckTime(const LedgerRecord& record, const ProposalText& proposal, const CustodyTime& time) {
  if (AcceptsClock(proposal)) {
    // The one thing that a clock which went back does not stop (Q10): what the votes name is what this clock says.
    TRY_ASSIGN(const auto named, AcceptedClock(proposal));
    if (time.wall > proposal.execute_by)
      return Expired("the proposal's time for execution has passed", "proposal-expired");
    if (time.wall + kClockSlack < named)
      return Stale("the clock that the votes accept said " + FormatTime(named) + ", the token's host has " +
                   FormatTime(time.wall));
    return {};
  }
  TRY(CheckNotBehind(time));
  if (time.late + kClockSlack < proposal.created)
    return Unavailable("the proposal was made at " + FormatTime(proposal.created) +
                           " and the clock of the token's host says " + FormatTime(time.wall) + ": set the clock right",
                       "clock-back");
  if (time.late > proposal.execute_by && !MayComeLate(record, proposal, time))
    return Expired("the proposal's time for execution has passed", "proposal-expired");
  return {};
}

// Which stretch of the log the text was drafted in.
Result<void> CheckPlace(const LedgerRecord& record, const ProposalText& proposal) {
  if (Is(proposal, Operation::kLedgerAdopt)) return {};  // works once by its epoch, on whatever log is adopted
  const auto& c = record.custody;
  const bool enrols = Is(proposal, Operation::kTokenEnrol);
  // A further token signs nothing: it follows the epoch with its next text.
  const bool follows =
      (c.further || enrols) && proposal.epoch > record.epoch && proposal.epoch - record.epoch <= kMostEpochs;
  if (proposal.epoch != record.epoch && !follows)
    return Stale("it is of epoch " + std::to_string(proposal.epoch) + " of the logs, the token is in " +
                 std::to_string(record.epoch));
  const auto head = AnchorOf(record, true);
  if (Is(proposal, Operation::kClockAccept) && proposal.control_size == 0 && (head || c.most > 0))
    return Stale("a clock is accepted at a place in the control log");
  if (c.floor_set && proposal.control_size <= c.floor) return Stale("it was asked for before a clock was accepted");
  if (enrols) return {};
  const auto unseen = std::min(kMostUnseen, ~std::uint64_t{0} - c.most);  // the sum stays a number
  const auto known = head && !c.further ? head->size : c.most + unseen;
  if (proposal.control_size > known) return Stale("it names a control log that is longer than any that was signed");
  return {};
}

// What has ended by what the record itself has seen pass, and by nothing younger.
void Prune(CustodyFacts& c, const CustodyTime& time) {
  std::erase_if(c.spent, [&](const SpentProposal& s) { return s.until + kClockSlack < c.seen; });
  std::erase_if(c.mandates, [&](const Mandate& m) { return m.until < time.late; });
  std::erase_if(c.releases, [&](const Release& r) { return r.until < time.late || r.end_watched < time.watched; });
}

}  // namespace

Result<LedgerRecord> SpendProposal(const LedgerRecord& record, const ExecutionGrant& grant, const CustodyTime& time,
                                   const RecordRoom& room) {
  auto next = record;
  auto& c = next.custody;
  const auto& proposal = grant.proposal();
  TRY_ASSIGN(const auto roster, Roster::Parse(grant.roster_text()));
  if (c.roster_version != roster.version() || c.roster_hash != roster.hash())
    return Forbidden("the token enforces roster " + std::to_string(c.roster_version) +
                         ", the votes were counted under another: restore a database that has that roster",
                     "roster-not-enforced");
  TRY(CheckFormat(proposal));
  TRY_ASSIGN(const auto operation, OperationOf(proposal));
  TRY(CheckTime(record, proposal, time));
  TRY(CheckPlace(record, proposal));
  Prune(c, time);
  const auto hash = Sha256(AsBytes(grant.text()));
  SpentProposal spent;
  std::copy_n(hash.begin(), spent.id.size(), spent.id.begin());
  spent.until = WholeMinutesUp(proposal.execute_by);
  spent.share = ShareOf(proposal.keyring);
  for (const auto& s : c.spent)
    if (s.id == spent.id) return Conflict("this proposal has been executed already", "already-executed");
  const bool adopts = Is(proposal, Operation::kLedgerAdopt);
  if (AcceptsClock(proposal) || adopts) {
    // All that came before is void by the floor or the epoch; what has ended stays ended.
    c.spent.clear();
  } else {
    TRY(CheckRoomForSpent(next, room, spent.share, RuleOf(operation).room));
  }
  c.spent.push_back(spent);
  Touch(next, time);
  const auto head = AnchorOf(record, true);
  if (AcceptsClock(proposal)) {
    c.seen = time.wall;
    next.node_seen = 0;
    c.stepped = 0;
    c.floor = std::max({proposal.control_size, c.most, head ? head->size : 0});
    c.floor_set = true;
  }
  c.most = std::max(c.most, proposal.control_size);
  if (!adopts) next.epoch = proposal.epoch;
  return next;
}

bool MayComeLate(const LedgerRecord& record, const ProposalText& proposal, const CustodyTime& time) {
  return Is(proposal, Operation::kRosterChange) && record.custody.further &&
         time.late <= proposal.execute_by + kMostLate;
}

bool IsSpent(const LedgerRecord& record, std::string_view text) {
  const auto hash = Sha256(AsBytes(text));
  return std::any_of(record.custody.spent.begin(), record.custody.spent.end(),
                     [&](const SpentProposal& s) { return std::equal(s.id.begin(), s.id.end(), hash.begin()); });
}

Result<Millis> AcceptedClock(const ProposalText& proposal) {
  const auto at = proposal.params.find("clock");
  const auto time = at == proposal.params.end() ? std::nullopt : ParseTime(at->second);
  if (!time) return Invalid("the proposal names no clock to accept");
  return *time;
}

namespace {
// The record of a group that gets another member.
Result<LedgerRecord> MemberRecord(const LedgerRecord& record, const ProposalText& proposal, const RecordRoom& room) {
  const auto get = [&](const char* name) {
    const auto at = proposal.params.find(name);
    return at == proposal.params.end() ? std::string() : at->second;
  };
  for (const auto* mark : {"member", "label", "model", "manufacturer", "token"}) TRY(CheckMark(get(mark)));
  auto next = record;
  auto& members = next.custody.members;
  std::erase_if(members, [&](const Member& m) { return m.serial == get("member"); });
  TRY(CheckRoomForMember(next, room));
  members.push_back({get("member"), get("label"), get("model"), get("manufacturer"), get("token")});
  return next;
}

Result<LedgerRecord> FurtherRecord(const LedgerRecord& record) {
  if (!record.anchors.empty()) return Forbidden("this token signs the logs: it is the main one", "grant-mismatch");
  auto next = record;
  next.custody.further = true;
  return next;
}
}  // namespace

Result<LedgerRecord> ChangedRecord(const LedgerRecord& spent, const ExecutionGrant& grant, const CustodyTime& time,
                                   const RecordRoom& room) {
  const auto& proposal = grant.proposal();
  TRY_ASSIGN(const auto operation, OperationOf(proposal));
  switch (operation) {  // no default: what is not in here does not compile
    case Operation::kRosterChange:
      return RosterRecord(spent, grant);
    case Operation::kKeyringSetPolicy:
      return MandateRecord(spent, proposal, time, room);
    case Operation::kVersionDestroy:
      return PendingRecord(spent, proposal, time, room);
    case Operation::kRekeyStart:
      return ReleaseRecord(spent, proposal, time, room);
    case Operation::kTokenEnrol:
      return proposal.params.contains("member") ? MemberRecord(spent, proposal, room) : FurtherRecord(spent);
    // Which version a keyring wraps under is no key's matter: the token remembers that it was asked for, once.
    case Operation::kClockAccept:
    case Operation::kRewrapReverse:
    case Operation::kVersionAdopt:
      return spent;
    // What needs more than the record (crypto/anchor.h), and what no token changes its record for.
    case Operation::kLedgerAdopt:
    case Operation::kLedgerRotateKey:
    case Operation::kBreakGlassOpen:
    case Operation::kGrantChange:
    case Operation::kKeyringCreate:
    case Operation::kKeyringEmergencyRotate:
    case Operation::kKeyringEnable:
    case Operation::kKeyringRotate:
    case Operation::kLedgerArchive:
    case Operation::kRewrapStart:
    case Operation::kVersionArchive:
    case Operation::kVersionRestore:
      break;
  }
  return Invalid("'" + proposal.operation + "' is no change of a token's record");
}

}  // namespace strongroom::crypto
