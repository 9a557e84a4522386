// What governance does with several tokens: whom an execution reaches, and who follows a roster.

#include "appliance/governance.h"
#include "appliance/proposal_params.h"
#include "appliance/token_decisions.h"
#include "crypto/custody.h"
#include "crypto/text_rules.h"

namespace strongroom::appliance {
namespace {

std::string WithoutPrefix(const std::string& custody) {
  return custody.starts_with(kTokenPrefix) ? custody.substr(kTokenPrefix.size()) : custody;
}

}  // namespace

std::map<std::string, ReachableToken, std::less<>> Governance::Reach(const State& state,
                                                                     const ProposalRequest& request) {
  std::set<std::string> named = {Get(request.params, "token"), WithoutPrefix(Get(request.params, "to")),
                                 WithoutPrefix(Get(request.params, "custody"))};
  if (const auto* keyring = state.FindKeyring(request.keyring); keyring != nullptr && keyring->Primary() != nullptr)
    named.insert(keyring->Primary()->token);
  std::map<std::string, ReachableToken, std::less<>> reached;
  for (const auto& serial : key_ops_.Further()) {
    if (!named.contains(serial)) continue;
    auto& token = key_ops_.Token(serial);
    auto identity = token.Identity();
    auto keys = identity ? token.Inventory() : Result<std::vector<hsm::KeyRecord>>(identity.error());
    const auto record = keys ? token.ReadLedgerRecord() : Result<crypto::LedgerRecord>(keys.error());
    // Another token in its place is none that may be asked for anything.
    if (keys && SameToken(state, serial, *identity))
      reached[serial] = {std::move(*identity), std::move(*keys), record && record->custody.further};
  }
  return reached;
}

Millis Governance::LatestSeen(const State& state) {
  // The host goes by the later of the record's time and that of its evidence head.
  Millis latest = 0;
  const auto take = [&](const Result<crypto::LedgerRecord>& record) {
    if (record) latest = std::max({latest, record->custody.seen, record->node_seen});
  };
  take(key_ops_.ReadLedgerRecord());
  for (const auto& [serial, token] : state.tokens) take(key_ops_.Token(serial).ReadLedgerRecord());
  return latest;
}

bool Governance::ConcernsFurther(const State& state, const crypto::ProposalText& proposal) {
  return state.tokens.contains(Get(proposal.params, "token")) || proposal.operation == "token.enrol" ||
         state.tokens.contains(WithoutPrefix(Get(proposal.params, "custody")));
}

// What a token that is away has left open is settled before anything is done that it would be judged by. An emergency
// waits for nobody.
Result<void> Governance::CheckUnsettled(const State& state, const crypto::ProposalText& proposal) {
  if (proposal.operation == "keyring.emergency-rotate") return {};
  const bool by_install =
      proposal.operation == "keyring.create" && Get(proposal.params, "custody") == "keyring:install";
  const bool reaches_all = proposal.operation == "roster.change" || proposal.operation == "clock.accept" ||
                           proposal.operation == "token.enrol";
  for (const auto& [id, other] : state.proposals) {
    if (other->fate != ProposalFate::kConsumed) continue;
    const bool same = !proposal.keyring.empty() && other->parsed.keyring == proposal.keyring;
    if (same || (by_install && other->parsed.keyring == "install") ||
        (reaches_all && other->parsed.operation == "token.enrol"))
      return Unavailable("proposal " + id + " was cut off, and its token cannot be asked yet", "execution-unsettled");
  }
  return {};
}

Result<void> Governance::CheckEnrolled(const State& state, const std::string& serial) {
  const auto enrolled = state.tokens.find(serial);
  if (enrolled == state.tokens.end()) return {};  // the main one, which is compared all the time
  auto& token = key_ops_.Token(serial);
  TRY_ASSIGN(const auto identity, token.Identity());
  if (!SameToken(state, serial, identity))
    return Integrity("another token stands in the place of " + serial, "impostor");
  TRY_ASSIGN(const auto record, token.ReadLedgerRecord());
  if (record.custody.further && record.custody.roster_version != 0) return {};
  return Integrity("token " + serial + " does not know that it is enrolled: it is another one, or has lost its record",
                   "token-without-record");
}

// The token that a keyring leaves comes first: what it remembers does no harm when the other one then makes no key.
Result<void> Governance::RunEffect(const State& state, const Proposal& proposal, const Effect& effect) {
  const auto grant = [&] {
    return crypto::GrantExecution(*state.roster, proposal.text, proposal.votes,
                                  std::min(clock_.Now(), proposal.parsed.execute_by));
  };
  if (effect.changes_record) {
    // An adoption is voted on under the database's roster: the token is shown by which votes its own has become that.
    if (proposal.parsed.operation == "ledger.adopt") TRY(BringChain(state));
    TRY_ASSIGN(auto first, grant());
    TRY(key_ops_.Token(Get(proposal.parsed.params, "token")).ChangeLedgerRecord(std::move(first)));
  }
  if (effect.generate) {
    TRY_ASSIGN(auto next, grant());
    TRY(key_ops_.Generate(std::move(next), *effect.generate));
  }
  if (!proposal.parsed.params.contains("further-tokens")) return {};
  // Those that are away follow when they are back (FollowRoster).
  for (const auto& [serial, token] : state.tokens)
    if (auto each = grant()) (void)key_ops_.Token(serial).ChangeLedgerRecord(std::move(*each));
  return {};
}

Result<void> Governance::BringChain(const State& state) {
  TRY_ASSIGN(const auto to, key_ops_.ReadRecordToAdopt());
  const auto from = to.record.custody.roster_version;
  if (from >= state.roster->version()) return {};
  TRY_ASSIGN(const auto chain, ChainFrom(from));
  return key_ops_.BringChain(chain);
}

Result<crypto::RosterChain> Governance::ChainFrom(std::uint64_t version) const {
  TRY_ASSIGN(const auto first, RosterOfVersion(version));
  crypto::RosterChain chain;
  chain.first = first.text();
  struct Filed {
    std::string text, next;
    std::vector<crypto::Vote> votes;
  };
  std::map<std::string, Filed> changes;  // by proposal
  TRY(ledger_.Read(ledger::Log::kControl, 0, [&](std::uint64_t, ByteView bytes) {
    const auto entry = ledger::DecodeControl(bytes);
    if (!entry) return true;
    if (const auto* filed = std::get_if<ledger::ProposalFiled>(&entry->body)) {
      if (filed->text.find("\noperation: roster.change\n") == std::string::npos) return true;
      if (const auto parsed = crypto::ProposalText::Parse(filed->text))
        changes[crypto::ProposalId(filed->text)] = {filed->text, Get(parsed->params, "new-roster"), {}};
      return true;
    }
    if (const auto* cast = std::get_if<ledger::VoteCast>(&entry->body)) {
      const auto at = changes.find(cast->proposal);
      if (at != changes.end()) at->second.votes.push_back(cast->vote);
      return true;
    }
    std::string next;
    if (const auto* changed = std::get_if<ledger::RosterChanged>(&entry->body)) {
      if (const auto roster = crypto::Roster::Parse(changed->roster_text))
        next = std::to_string(roster->version()) + " " + ToHex(roster->hash());
    } else if (const auto* advanced = std::get_if<ledger::RosterAdvanced>(&entry->body)) {
      next = std::to_string(advanced->version) + " " + ToHex(advanced->hash);
    } else {
      return true;
    }
    for (const auto& [id, change] : changes) {
      const auto number = crypto::ParseNumber(next.substr(0, next.find(' ')));
      if (change.next == next && number && *number > version) chain.steps.push_back({change.text, change.votes});
    }
    changes.clear();
    return true;
  }));
  return chain;
}

Result<crypto::Roster> Governance::RosterOfVersion(std::uint64_t version) const {
  // Each follows from the one before it and the proposal that names it.
  std::optional<crypto::Roster> at;
  std::map<std::string, crypto::ProposalText> changes;
  Result<void> sound;
  TRY(ledger_.Read(ledger::Log::kControl, 0, [&](std::uint64_t, ByteView bytes) {
    const auto entry = ledger::DecodeControl(bytes);
    if (!entry) return true;
    auto next = Result<crypto::Roster>(Integrity("the log has a roster that does not follow", "roster-not-enforced"));
    if (const auto* genesis = std::get_if<ledger::Genesis>(&entry->body)) {
      next = crypto::Roster::Parse(genesis->roster_text);
    } else if (const auto* changed = std::get_if<ledger::RosterChanged>(&entry->body)) {
      next = crypto::Roster::Parse(changed->roster_text);
    } else if (const auto* filed = std::get_if<ledger::ProposalFiled>(&entry->body)) {
      if (filed->text.find("\noperation: roster.change\n") == std::string::npos) return true;
      if (auto parsed = crypto::ProposalText::Parse(filed->text)) {
        auto name = Get(parsed->params, "new-roster");
        changes.insert_or_assign(std::move(name), std::move(*parsed));
      }
      return true;
    } else if (const auto* advanced = std::get_if<ledger::RosterAdvanced>(&entry->body)) {
      const auto change = changes.find(std::to_string(advanced->version) + " " + ToHex(advanced->hash));
      if (at && change != changes.end()) next = crypto::RosterAfter(*at, change->second);
      if (next && (next->version() != advanced->version || next->hash() != advanced->hash))
        next = Integrity("the log has a roster that does not follow", "roster-not-enforced");
      changes.clear();
    } else {
      return true;
    }
    if (!next) {
      sound = next.error();
      return false;
    }
    at = std::move(*next);
    return at->version() != version;
  }));
  TRY(sound);
  if (!at || at->version() != version)
    return Integrity("the log has no roster " + std::to_string(version), "roster-not-enforced");
  return std::move(*at);
}

Result<void> Governance::FollowRoster(const std::string& serial) {
  const MutexLock lock(mutex_);
  // What was cut off is asked for before anything else makes the token forget it.
  const auto settled = ReconcileLocked(/*record_only=*/false);
  const auto state = Snapshot();
  auto& token = key_ops_.Token(serial);
  for (const auto& [id, proposal] : state->proposals)
    if (!settled && proposal->fate == ProposalFate::kConsumed &&
        (Get(proposal->parsed.params, "token") == serial ||
         WithoutPrefix(Get(proposal->parsed.params, "custody")) == serial))
      return settled.error();
  std::optional<crypto::Roster> obeyed;  // as the token's record says; read from the log once, then taken on
  while (true) {
    TRY_ASSIGN(const auto record, token.ReadLedgerRecord());
    const auto at = record.custody.roster_version;
    if (at == 0 || !record.custody.further)
      return Integrity(
          "token " + serial + " is enrolled and obeys no roster: it is another one, or has lost its record",
          "token-without-record");
    if (at == state->roster->version() && record.custody.roster_hash == state->roster->hash()) return {};
    if (at >= state->roster->version())
      return Integrity("token " + serial + " obeys roster " + std::to_string(at) + ", which is not this ledger's",
                       "roster-not-enforced");
    const auto next = std::to_string(at + 1) + " ";
    const Proposal* missed = nullptr;
    for (const auto& [id, proposal] : state->proposals)
      if (proposal->fate == ProposalFate::kExecuted && proposal->parsed.operation == "roster.change" &&
          Get(proposal->parsed.params, "new-roster").starts_with(next))
        missed = proposal.get();
    if (missed == nullptr)
      return Integrity("token " + serial + " obeys roster " + std::to_string(at) + ", and no votes lead from it on",
                       "roster-not-enforced");
    if (!obeyed || obeyed->version() != at) {
      TRY_ASSIGN(obeyed, RosterOfVersion(at));
    }
    TRY_ASSIGN(auto grant, crypto::GrantExecution(*obeyed, missed->text, missed->votes,
                                                  std::min(clock_.Now(), missed->parsed.execute_by)));
    TRY(token.ChangeLedgerRecord(std::move(grant)));
    TRY_ASSIGN(obeyed, crypto::RosterAfter(*obeyed, missed->parsed));
  }
}

}  // namespace strongroom::appliance
