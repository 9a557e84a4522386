#include "appliance/decisions.h"

#include "appliance/break_glass.h"
#include "appliance/keyring_decisions.h"
#include "appliance/ledger_decisions.h"
#include "appliance/policy_decisions.h"
#include "appliance/proposal_params.h"
#include "appliance/proposal_shares.h"
#include "appliance/rewrap_decisions.h"
#include "appliance/token_decisions.h"
#include "crypto/custody.h"

#include <algorithm>
#include <set>

#include "crypto/text_rules.h"

namespace strongroom::appliance {
namespace {

constexpr std::string_view kInstall = "install";
constexpr std::string_view kByInstall = "keyring:install";
constexpr std::size_t kNamesInText = 32;

Result<crypto::Suite> SuiteOf(const std::string& text) {
  const auto suite = crypto::SuiteFromString(text);
  if (!suite) return Invalid("suite '" + text.substr(0, 20) + "' is neither kwp nor gcm");
  return *suite;
}

Result<void> ActiveInstall(const Keyring& install) {
  if (install.Primary()->state == VersionState::kActive) return {};
  return Conflict("the install keyring's primary version is " + std::string(ToString(install.Primary()->state)) +
                      ": propose keyring.emergency-rotate for it first",
                  "version-state");
}

Result<Params> DraftCreate(const State& state, const ProposalRequest& request, const Drawn& drawn) {
  TRY(OnlyParams(request.params, {"suite", "custody", "grants"}));
  if (!crypto::IsName(request.keyring)) return Invalid("a keyring's name is 1 to 64 characters of a-z, 0-9 and -");
  if (state.FindKeyring(request.keyring) != nullptr)
    return Conflict("a keyring '" + request.keyring + "' exists already", "keyring-exists");
  const bool is_install = request.keyring == kInstall;
  const auto custody = Get(request.params, "custody", is_install ? "token" : kByInstall);
  Params params;
  const auto* install = state.FindKeyring(kInstall);
  if (custody == kByInstall) {
    if (state.roster->parts().organisations.contains(request.keyring))
      return Invalid("an organisation that decides for itself has a KEK of its own: custody=token");
    if (is_install) return Invalid("the install keyring cannot wrap for itself: custody=token");
    if (install == nullptr) return Conflict("there is no install keyring yet: create it first", "no-install-keyring");
    TRY(ActiveInstall(*install));
    const auto suite = crypto::ToString(install->Primary()->suite);
    if (Get(request.params, "suite", suite) != suite)
      return Invalid("a keyring in the install keyring's custody has its suite, " + std::string(suite));
    params["suite"] = suite;
    params["custody"] = kByInstall;
  } else if (custody == "token" || custody.starts_with(kTokenPrefix)) {
    if (drawn.token.empty()) return Unavailable("no token to generate a KEK in");
    if (custody != "token") TRY(CheckCustody(state, custody, drawn));
    TRY_ASSIGN(const auto suite, SuiteOf(Get(request.params, "suite", "kwp")));
    params["suite"] = crypto::ToString(suite);
    params["custody"] = custody == "token" ? std::string(kTokenPrefix) + drawn.token : custody;
  } else {
    return Invalid("custody is 'token', 'token:<serial number>' or 'keyring:install'");
  }
  TRY_ASSIGN(const auto grants, Grants::Parse(Get(request.params, "grants", "none")));
  TRY(CheckGrantees(state, grants));
  params["grants"] = grants.Text();
  params["keyring-id"] = ToHex(drawn.keyring_id);
  params["version"] = "1";
  return params;
}

Result<const Keyring*> Rotatable(const State& state, const std::string& name) {
  const auto* keyring = state.FindKeyring(name);
  if (keyring == nullptr) return NotFound("no keyring '" + name.substr(0, 64) + "'", "keyring-not-found");
  if (const auto at = keyring->Primary()->state; at != VersionState::kActive && at != VersionState::kDeactivated)
    return Conflict(
        "the primary version of '" + name + "' is " + std::string(ToString(at)) + ": propose keyring.emergency-rotate",
        "version-state");
  if (!keyring->Primary()->custody.starts_with(kTokenPrefix))
    return Conflict("keyring '" + name + "' has no KEK of its own: rotate 'install', which moves it too", "no-own-kek");
  return keyring;
}

Result<Params> DraftRotate(const State& state, const ProposalRequest& request) {
  TRY(OnlyParams(request.params, {"suite"}));
  TRY_ASSIGN(const Keyring* keyring, Rotatable(state, request.keyring));
  const auto& primary = *keyring->Primary();
  TRY_ASSIGN(const auto suite, SuiteOf(Get(request.params, "suite", crypto::ToString(primary.suite))));
  Params params;
  params["suite"] = crypto::ToString(suite);
  params["custody"] = primary.custody;
  params["keyring-id"] = ToHex(keyring->id);
  params["from-version"] = std::to_string(primary.number);
  params["version"] = std::to_string(keyring->versions.size() + 1);
  params["moves"] = request.keyring == kInstall ? MovesText(WrappedByInstall(state)) : "none";
  if (auto above = VersionAbove(*keyring); !above.empty()) params["above"] = std::move(above);
  return params;
}

hsm::KeySpec SpecFor(const std::string& keyring, std::uint32_t version, const crypto::KeyId& kek, crypto::Suite suite,
                     std::string_view custody) {
  return {{std::string(custody.substr(kTokenPrefix.size())), kek, suite}, hsm::KekLabel(keyring, version)};
}

Result<Effect> EffectOfCreate(const State& state, const crypto::ProposalText& p) {
  if (state.FindKeyring(p.keyring) != nullptr) return Stale("a keyring '" + p.keyring + "' exists by now");
  const auto id = FromHexArray<16>(Get(p.params, "keyring-id", ""));
  if (!id || Get(p.params, "version", "") != "1") return Invalid("the proposal's parameters are not a creation's");
  if (state.keyring_names.contains(*id)) return Stale("the keyring id is used");
  TRY_ASSIGN(const auto suite, SuiteOf(Get(p.params, "suite", "")));
  const auto custody = Get(p.params, "custody", "");
  Effect effect;
  ledger::VersionAnnounced announced{*id, 1, suite, custody, crypto::MakeKeyId(*id, 1), {}};
  if (custody == kByInstall) {
    const auto* install = state.FindKeyring(kInstall);
    if (install == nullptr || install->Primary()->suite != suite) return Stale("the install keyring has changed");
    TRY(ActiveInstall(*install));
    announced.kek = install->Primary()->kek;
    announced.token = install->Primary()->token;
  } else {
    TRY(CheckKnownToken(state, custody));
    effect.generate = SpecFor(p.keyring, 1, announced.kek, suite, custody);
    announced.token = effect.generate->ref.token;
  }
  effect.entries = {ledger::KeyringCreated{*id, p.keyring, suite, custody, Get(p.params, "grants", "none")}, announced,
                    ledger::VersionActivated{*id, 1}};
  return effect;
}

Result<Params> DraftRosterChange(const State& state, const ProposalRequest& request, const Drawn& drawn) {
  if (!request.keyring.empty()) return Invalid("roster.change has no keyring");
  if (drawn.token.empty()) return Unavailable("no token to tell of the new roster");
  crypto::ProposalText asked;
  asked.operation = request.operation;
  asked.params = request.params;
  for (const auto* own : {"new-roster", "token", "further-tokens"})
    if (asked.params.contains(own)) return Invalid(std::string("the appliance fills in ") + own, "unknown-parameter");
  TRY_ASSIGN(const auto next, crypto::RosterAfter(*state.roster, asked));
  TRY(next.CheckKeys());
  for (const auto& [name, keyring] : state.keyrings)
    for (const auto& [service, mask] : keyring->grants.by_service())
      if (const auto* principal = next.Find(service); principal != nullptr && principal->role != crypto::Role::kService)
        return Invalid("'" + service + "' has grants as a service and would be one no more");
  for (const auto& [name, organisation] : next.parts().organisations)
    if (const auto* keyring = state.FindKeyring(name); keyring != nullptr && keyring->Primary()->custody == kByInstall)
      return Invalid(
          "keyring '" + name +
          "' is wrapped by the install keyring: an organisation that decides for itself has a KEK of its own");
  asked.params["new-roster"] = std::to_string(next.version()) + " " + ToHex(next.hash());
  asked.params["token"] = drawn.token;
  if (!state.tokens.empty()) asked.params["further-tokens"] = FurtherTokens(state);
  return std::move(asked.params);
}

Result<Effect> EffectOfRosterChange(const State& state, const crypto::ProposalText& p) {
  TRY_ASSIGN(const auto next, crypto::RosterAfter(*state.roster, p));
  if (Get(p.params, "new-roster", "") != std::to_string(next.version()) + " " + ToHex(next.hash()))
    return Stale("the roster has changed");
  TRY(CheckFollowers(state, p));
  Effect effect;
  effect.changes_record = true;
  effect.entries = {ledger::RosterAdvanced{next.version(), next.hash()}};
  return effect;
}

Result<Effect> EffectOfRotate(const State& state, const crypto::ProposalText& p) {
  TRY_ASSIGN(const Keyring* keyring, Rotatable(state, p.keyring));
  const auto next = static_cast<std::uint32_t>(keyring->versions.size() + 1);
  if (Get(p.params, "keyring-id", "") != ToHex(keyring->id) ||
      Get(p.params, "from-version", "") != std::to_string(keyring->primary) ||
      Get(p.params, "version", "") != std::to_string(next) ||
      (p.format != 1 && Get(p.params, "above", "") != VersionAbove(*keyring)))
    return Stale("keyring '" + p.keyring + "' has been rotated since");
  const auto moved = p.keyring == kInstall ? WrappedByInstall(state) : std::vector<std::string>();
  if (Get(p.params, "moves", "") != MovesText(moved))
    return Stale("the keyrings that '" + p.keyring + "' wraps for have changed");
  TRY_ASSIGN(const auto suite, SuiteOf(Get(p.params, "suite", "")));
  const auto custody = Get(p.params, "custody", "");
  if (custody != keyring->Primary()->custody) return Stale("the custody of '" + p.keyring + "' has changed");
  return RotationOf(state, *keyring, suite);
}

}  // namespace

std::string VersionAbove(const Keyring& keyring) {
  std::uint32_t highest = 0;
  for (const auto& [number, version] : keyring.versions)
    if (version.token == keyring.Primary()->token && version.kek == crypto::MakeKeyId(keyring.id, number) &&
        version.state != VersionState::kDestroyed)
      highest = std::max(highest, number);
  return highest == keyring.versions.size() ? std::string() : std::to_string(highest);
}

std::string MovesText(const std::vector<std::string>& names) {
  if (names.empty()) return "none";
  std::string joined;
  for (const auto& name : names) joined += (joined.empty() ? "" : ",") + name;
  if (names.size() <= kNamesInText) return joined;
  return std::to_string(names.size()) + " keyrings, sha256 " + ToHex(crypto::Sha256(AsBytes(joined)));
}

bool AcceptsClock(const crypto::ProposalText& p) {
  return p.operation == "clock.accept" || (p.operation == "ledger.adopt" && p.params.contains("clock"));
}

Result<void> CheckGrantees(const State& state, const Grants& grants) {
  for (const auto& [service, mask] : grants.by_service()) {
    const auto* principal = state.roster->Find(service);
    if (principal == nullptr || principal->role != crypto::Role::kService)
      return Invalid("'" + service + "' in the grants is not a service of the roster");
  }
  return {};
}

namespace {

Result<Params> DraftParams(const State& state, const ProposalRequest& request, const Drawn& drawn) {
  const auto& operation = request.operation;
  if (operation == "keyring.create") return DraftCreate(state, request, drawn);
  if (operation == "keyring.rotate") return DraftRotate(state, request);
  if (operation == "ledger.adopt") return DraftAdoption(state, request, drawn);
  if (operation == "ledger.rotate-key") return DraftKeyRotation(state, request, drawn);
  if (operation == "ledger.archive") return DraftArchive(request, drawn);
  if (operation == "roster.change") return DraftRosterChange(state, request, drawn);
  if (operation == "clock.accept") return DraftClock(state, request, drawn);
  if (operation == "token.enrol") return DraftEnrolment(state, request, drawn);
  if (operation == "rekey.start") return DraftRekey(state, request, drawn);
  if (operation == "version.adopt") return DraftKeyAdoption(state, request, drawn);
  if (operation == "break-glass.open") return DraftBreakGlass(state, request, drawn);
  if (operation == "keyring.set-policy") return DraftPolicy(state, request, drawn);
  if (operation.starts_with("rewrap.")) return DraftRewrap(state, request);
  return DraftKeyringChange(state, request);
}

// A step of a ceremony names its script by hash; whoever votes sees which.
Result<std::string> TakeCeremony(Params& params) {
  const auto at = params.find("ceremony");
  if (at == params.end()) return std::string();
  auto hash = std::move(at->second);
  params.erase(at);
  if (!FromHexArray<32>(hash)) return Invalid("parameter 'ceremony' is the SHA-256 of a script, 64 hex digits");
  return hash;
}

}  // namespace

Effect RotationOf(const State& state, const Keyring& keyring, crypto::Suite suite) {
  return RotationOf(state, keyring, suite, keyring.Primary()->custody);
}

Effect RotationOf(const State& state, const Keyring& keyring, crypto::Suite suite, std::string_view custody) {
  const auto next = static_cast<std::uint32_t>(keyring.versions.size() + 1);
  const auto kek = crypto::MakeKeyId(keyring.id, next);
  Effect effect;
  effect.generate = SpecFor(keyring.name, next, kek, suite, custody);
  const auto& token = effect.generate->ref.token;
  // Where the policy asks for it, what is new waits until somebody has attested that it is backed up.
  const bool waits = keyring.policy.attest;
  effect.entries = {ledger::VersionAnnounced{keyring.id, next, suite, std::string(custody), kek, token}};
  if (!waits) effect.entries.emplace_back(ledger::VersionActivated{keyring.id, next});
  if (keyring.name != kInstall) return effect;
  for (const auto& name : WrappedByInstall(state)) {
    const auto* other = state.FindKeyring(name);
    const auto version = static_cast<std::uint32_t>(other->versions.size() + 1);
    effect.entries.emplace_back(
        ledger::VersionAnnounced{other->id, version, suite, std::string(kByInstall), kek, token});
    if (!waits) effect.entries.emplace_back(ledger::VersionActivated{other->id, version});
  }
  return effect;
}

Result<crypto::ProposalText> DraftProposal(const State& state, const std::string& requester,
                                           const ProposalRequest& asked, const Drawn& drawn) {
  if (!state.roster) return Unavailable("the appliance is uninitialised");
  auto request = asked;
  TRY_ASSIGN(const auto policy_class, crypto::ClassOf(request.operation));
  const bool accepts = request.operation == "clock.accept" || request.operation == "ledger.adopt";
  if (!drawn.clock_fault.empty() && !accepts)
    return Unavailable("the clock is frozen: " + drawn.clock_fault, "clock-frozen");
  TRY_ASSIGN(const auto ceremony, TakeCeremony(request.params));
  TRY(CheckShares(state, requester, policy_class, {drawn.now, drawn.host}));
  TRY_ASSIGN(auto params, DraftParams(state, request, drawn));
  if (!ceremony.empty()) params["ceremony"] = ceremony;
  crypto::ProposalText p;
  p.instance = state.roster->instance();
  p.operation = request.operation;
  p.keyring = request.keyring;
  p.params = std::move(params);
  p.reason = request.reason;
  p.requester = requester;
  p.nonce = drawn.nonce;
  // What accepts a clock is dated by it.
  p.created = (accepts ? drawn.host : drawn.now) / 1000 * 1000;
  p.approve_by = p.created + kApproveWithin;
  p.execute_by = p.created + kExecuteWithin;
  p.roster_version = state.roster->version();
  p.roster_hash = state.roster->hash();
  p.policy = crypto::PolicyOf(*state.roster, p);
  p.control_size = drawn.control.size;
  p.control_root = drawn.control.root;
  p.epoch = state.ledger.epoch;
  TRY(p.Render());
  return p;
}

std::uint64_t Approvals(const Proposal& proposal) {
  return static_cast<std::uint64_t>(std::count_if(proposal.votes.begin(), proposal.votes.end(), [](const auto& v) {
    return v.verdict == crypto::Verdict::kApprove;
  }));
}

std::string_view StateAt(const State& state, const Proposal& proposal, Millis now) {
  switch (proposal.fate) {
    case ProposalFate::kWithdrawn:
      return "withdrawn";
    case ProposalFate::kConsumed:
      return "executing";
    case ProposalFate::kExecuted:
      return "executed";
    case ProposalFate::kFailed:
      return "failed";
    case ProposalFate::kOutdated:
      return "stale";
    case ProposalFate::kClosed:
      return "rejected";
    case ProposalFate::kPending:
      break;
  }
  if (proposal.parsed.roster_hash != state.roster->hash())
    return Approvals(proposal) < proposal.votes.size() && !crypto::OutlivesRejection(proposal.parsed.Class())
               ? "rejected"
               : "stale";
  const auto count = crypto::CountVotes(*state.roster, proposal.parsed, proposal.votes);
  if (count == crypto::Count::kRejected) return "rejected";
  if (proposal.parsed.format != 1 && proposal.parsed.epoch != state.ledger.epoch) return "stale";
  const bool approved = count == crypto::Count::kApproved;
  if (now > (approved ? proposal.parsed.execute_by : proposal.parsed.approve_by)) return "expired";
  return approved ? "approved" : "open";
}

std::string_view StateNow(const State& state, const Proposal& proposal, Millis now) {
  const auto at = StateAt(state, proposal, now);
  return CheckLive(proposal) || (at != "open" && at != "approved") ? at : "stale";
}

Result<void> CheckLive(const Proposal& proposal) {
  if (proposal.fate != ProposalFate::kPending) return {};
  return crypto::CheckFormat(proposal.parsed);
}

Result<void> MayVote(const State& state, const Proposal& proposal, std::string_view custodian, crypto::Verdict verdict,
                     Millis now) {
  const auto at = StateAt(state, proposal, now);
  if (at != "open" && at != "approved")
    return Conflict("the proposal is " + std::string(at) + ": it takes no votes", "not-open");
  // Approvals are due; a rejection counts for as long as there is something to stop (Q4).
  if (verdict == crypto::Verdict::kApprove && now > proposal.parsed.approve_by)
    return Expired("votes were to be cast by " + FormatTime(proposal.parsed.approve_by), "proposal-expired");
  TRY(crypto::CheckVoter(*state.roster, proposal.parsed, custodian));
  for (const auto& cast : proposal.votes)
    if (cast.custodian == custodian) return Conflict(cast.custodian + " has voted already", "vote-exists");
  return {};
}

Result<void> JudgeVote(const State& state, const Proposal& proposal, const crypto::Vote& vote, Millis now) {
  TRY(MayVote(state, proposal, vote.custodian, vote.verdict, now));
  return crypto::CheckVote(*state.roster, proposal.parsed, proposal.text, vote);
}

Result<void> JudgeWithdrawal(const Proposal& proposal, const std::string& principal) {
  if (proposal.parsed.requester != principal)
    return Forbidden("only " + proposal.parsed.requester + ", who asked for it, may withdraw it");
  if (proposal.fate != ProposalFate::kPending) return Conflict("the proposal is settled", "not-open");
  return {};
}

Result<Effect> EffectOf(const State& state, const crypto::ProposalText& proposal) {
  if (proposal.operation == "keyring.create") return EffectOfCreate(state, proposal);
  if (proposal.operation == "ledger.adopt") return EffectOfAdoption(state, proposal);
  if (proposal.operation == "ledger.rotate-key") return EffectOfKeyRotation(state, proposal);
  if (proposal.operation == "ledger.archive") return EffectOfArchive(state, proposal);
  if (proposal.operation == "roster.change") return EffectOfRosterChange(state, proposal);
  if (proposal.operation == "keyring.rotate") return EffectOfRotate(state, proposal);
  if (proposal.operation == "clock.accept") return EffectOfClock(state, proposal);
  if (proposal.operation == "token.enrol") return EffectOfEnrolment(state, proposal);
  if (proposal.operation == "rekey.start") return EffectOfRekey(state, proposal);
  if (proposal.operation == "version.adopt") return EffectOfKeyAdoption(state, proposal);
  if (proposal.operation == "break-glass.open") return EffectOfBreakGlass(state, proposal);
  if (proposal.operation == "keyring.set-policy") return EffectOfPolicy(state, proposal);
  if (proposal.operation.starts_with("rewrap.")) return EffectOfRewrap(state, proposal);
  return EffectOfKeyringChange(state, proposal);
}

ledger::ControlBody AsProposed(ledger::ControlBody body) {
  if (auto* opened = std::get_if<ledger::EpochOpened>(&body)) {
    opened->control_note.clear();
    opened->evidence_note.clear();
  }
  if (auto* changed = std::get_if<ledger::CheckpointKeyChanged>(&body)) *changed = {changed->number, {}, {}, {}};
  if (auto* accepted = std::get_if<ledger::ClockAccepted>(&body)) *accepted = {};
  if (const auto* changed = std::get_if<ledger::RosterChanged>(&body))
    if (const auto roster = crypto::Roster::Parse(changed->roster_text))
      return ledger::RosterAdvanced{roster->version(), roster->hash()};
  if (auto* switched = std::get_if<ledger::JobSwitched>(&body)) switched->done = switched->quarantined = 0;
  return body;
}

Result<crypto::ExecutionGrant> JudgeExecution(const State& state, const Proposal& proposal, Millis now) {
  const auto at = StateAt(state, proposal, now);
  if (at == "open")
    return Forbidden(crypto::MissingVotes(*state.roster, proposal.parsed, proposal.votes), "quorum-missing");
  if (at == "expired") return Expired("the proposal has expired", "proposal-expired");
  if (at == "stale") return Conflict("the proposal is stale: propose again", "stale");
  if (at != "approved")
    return Conflict("the proposal is " + std::string(at) + ": it cannot be executed",
                    at == "executed" || at == "executing" ? "already-executed" : "not-open");
  return crypto::GrantExecution(*state.roster, proposal.text, proposal.votes, now);
}

std::string RecordedToken(const State& state) {
  for (const auto& [name, keyring] : state.keyrings)
    for (const auto& [number, version] : keyring->versions)
      if (!state.tokens.contains(version.token)) return version.token;
  return {};
}

std::vector<std::string> JudgeInventory(const State& state, const std::string& token,
                                        const std::vector<hsm::KeyRecord>& records) {
  std::vector<std::string> faults;
  std::map<Bytes, crypto::Suite> known;
  std::set<Bytes> seen;
  const auto further = state.tokens.find(token);
  if (const auto recorded = RecordedToken(state);
      further == state.tokens.end() && !recorded.empty() && recorded != token)
    return {"the token in the slot is " + token + ", the keyrings are in " + recorded};
  for (const auto& [name, keyring] : state.keyrings)
    for (const auto& [number, version] : keyring->versions)
      if (version.token == token && version.state != VersionState::kDestroyed)
        known.emplace(Bytes(version.kek.begin(), version.kek.end()), version.suite);
  for (const auto& record : records) {
    const auto id = ToHex(record.id);
    if (state.ledger.unused_keys.contains(record.id)) continue;
    // What a customer has made in her own token is hers, and offered (version.adopt).
    if (!known.contains(record.id) && further != state.tokens.end() && further->second.customer) continue;
    if (!known.contains(record.id))
      faults.push_back("unknown key '" + record.label + "' (CKA_ID " + id + ") in the token");
    else if (!record.fault.empty())
      faults.push_back("KEK " + id + ": " + record.fault);
    else if (record.suite != known.at(record.id))
      faults.push_back("KEK " + id + " is made for suite " + std::string(crypto::ToString(record.suite)));
    if (!seen.insert(record.id).second) faults.push_back("two keys with CKA_ID " + id);
  }
  for (const auto& [id, suite] : known)
    if (!seen.contains(id)) faults.push_back("KEK " + ToHex(id) + " is not in the token");
  return faults;
}

}  // namespace strongroom::appliance
