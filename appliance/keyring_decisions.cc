#include "appliance/keyring_decisions.h"

#include <algorithm>

#include "appliance/ledger_decisions.h"
#include "appliance/proposal_params.h"
#include "appliance/rewrap_decisions.h"
#include "crypto/custody.h"
#include "crypto/text_rules.h"

namespace strongroom::appliance {
Result<const Keyring*> NamedKeyring(const State& state, std::string_view name) {
  const auto* keyring = state.FindKeyring(name);
  if (keyring == nullptr) return NotFound("no keyring '" + std::string(name.substr(0, 64)) + "'", "keyring-not-found");
  return keyring;
}

Result<const Version*> NumberedVersion(const Keyring& keyring, std::uint64_t number) {
  const auto* version = number <= 0xFFFFFFFFU ? keyring.Find(static_cast<std::uint32_t>(number)) : nullptr;
  if (version == nullptr)
    return NotFound("keyring '" + keyring.name + "' has no version " + std::to_string(number), "version-not-found");
  return version;
}

namespace {

using To = ledger::VersionMoved::To;

Result<const Version*> VersionOf(const Keyring& keyring, const std::string& number) {
  const auto parsed = crypto::ParseNumber(number);
  if (!parsed)
    return NotFound("keyring '" + keyring.name + "' has no version '" + number.substr(0, 20) + "'",
                    "version-not-found");
  return NumberedVersion(keyring, *parsed);
}

Result<void> CheckState(const Version& version, const std::vector<VersionState>& allowed) {
  if (std::find(allowed.begin(), allowed.end(), version.state) != allowed.end()) return {};
  return Conflict("version " + std::to_string(version.number) + " is " + std::string(ToString(version.state)) +
                      ": this cannot be done with it",
                  "version-state");
}

// Which states of a version each operation starts from.
std::vector<VersionState> StartsFrom(std::string_view operation) {
  using enum VersionState;
  if (operation == "version.archive") return {kDeactivated};
  if (operation == "version.restore") return {VersionState::kArchived};
  return {kDeactivated, VersionState::kArchived, kCompromised};
}

std::string NamesOf(const std::vector<std::pair<const Keyring*, const Version*>>& sharers) {
  std::string names;
  for (const auto& [keyring, version] : sharers)
    names += (names.empty() ? "" : ",") + keyring->name + "/" + std::to_string(version->number);
  if (names.empty()) return "none";
  if (sharers.size() <= 32) return names;
  return std::to_string(sharers.size()) + " versions, sha256 " + ToHex(crypto::Sha256(AsBytes(names)));
}

Result<void> CheckDestroyable(const State& state, const Keyring& keyring, const Version& version) {
  if (!version.custody.starts_with(kTokenPrefix))
    return Conflict(
        "version " + std::to_string(version.number) + " has no KEK of its own: it goes with the install keyring's",
        "no-own-kek");
  TRY(CheckState(version, StartsFrom("version.destroy")));
  const auto not_primary = [](const Keyring& of, const Version& v) -> Result<void> {
    if (of.primary != v.number) return {};
    return Conflict("version " + std::to_string(v.number) + " is the primary of '" + of.name + "': rotate it first",
                    "version-state");
  };
  TRY(not_primary(keyring, version));
  for (const auto& [other, shared] : SharersOf(state, keyring, version)) {
    TRY(CheckState(*shared, StartsFrom("version.destroy")));
    TRY(not_primary(*other, *shared));
  }
  return {};
}

// What custodians sign about who still has to say that he keeps nothing, and how long the version was not used.
Result<void> PutCensusTerms(const Params& given, Params& params) {
  TRY(CensusTermsOf(given));
  params["waive"] = Get(given, "waive", "none");
  params["quiet-hours"] = Get(given, "quiet-hours", std::to_string(kDefaultQuietHours));
  return {};
}

Result<Params> DraftDestroy(const State& state, const ProposalRequest& request, const Keyring& keyring) {
  TRY(OnlyParams(request.params, {"version", "waiting-days", "waive", "quiet-hours"}));
  TRY_ASSIGN(const Version* version, VersionOf(keyring, Get(request.params, "version")));
  TRY(CheckDestroyable(state, keyring, *version));
  Params params;
  params["keyring-id"] = ToHex(keyring.id);
  params["version"] = std::to_string(version->number);
  params["custody"] = version->custody;
  params["token"] = version->token;
  params["with"] = NamesOf(SharersOf(state, keyring, *version));
  params["waiting-days"] = request.params.contains("waiting-days") ? Get(request.params, "waiting-days")
                                                                   : std::to_string(crypto::kDefaultWaitingDays);
  TRY(PutCensusTerms(request.params, params));
  crypto::ProposalText probe;
  probe.operation = request.operation;
  probe.params = params;
  TRY(crypto::DestructionOf(probe));
  return params;
}

Result<Params> DraftEmergency(const State& state, const ProposalRequest& request, const Keyring& keyring) {
  TRY(OnlyParams(request.params, {"suite"}));
  const auto& primary = *keyring.Primary();
  if (!primary.custody.starts_with(kTokenPrefix))
    return Conflict("keyring '" + keyring.name + "' has no KEK of its own: rotate 'install', which moves it too",
                    "no-own-kek");
  const auto wanted = request.params.find("suite");
  const auto suite =
      wanted == request.params.end() ? std::optional(primary.suite) : crypto::SuiteFromString(wanted->second);
  if (!suite) return Invalid("suite is kwp or gcm");
  TRY(CheckState(primary, {VersionState::kActive, VersionState::kCompromised}));
  Params params;
  params["suite"] = crypto::ToString(*suite);
  params["custody"] = primary.custody;
  params["keyring-id"] = ToHex(keyring.id);
  params["from-version"] = std::to_string(primary.number);
  params["version"] = std::to_string(keyring.versions.size() + 1);
  params["moves"] = NamesOf(SharersOf(state, keyring, primary));
  if (auto above = VersionAbove(keyring); !above.empty()) params["above"] = std::move(above);
  return params;
}

// What custodians signed about whom not to wait for holds for whoever reads the log, too.
Result<void> CheckSignedTerms(const State& state, const crypto::ProposalText& p, const Keyring& keyring,
                              const Version& version) {
  TRY_ASSIGN(const auto terms, CensusTermsOf(p.params));
  return CheckAwaited(state, keyring, version, terms.waive);
}

Result<Effect> EffectOfMove(const State& state, const crypto::ProposalText& p, const Keyring& keyring) {
  TRY_ASSIGN(const Version* version, VersionOf(keyring, Get(p.params, "version")));
  Effect effect;
  if (p.operation == "version.destroy") {
    TRY_ASSIGN(const auto destruction, crypto::DestructionOf(p));
    TRY(CheckDestroyable(state, keyring, *version));
    TRY(CheckSignedTerms(state, p, keyring, *version));
    if (Get(p.params, "with") != NamesOf(SharersOf(state, keyring, *version)) ||
        Get(p.params, "token") != version->token)
      return Stale("what the KEK wraps for has changed");
    effect.changes_record = true;
    effect.entries =
        MovesOf(state, keyring, *version, To::kPendingDestruction, static_cast<std::uint32_t>(destruction.days), {});
    return effect;
  }
  TRY(CheckState(*version, StartsFrom(p.operation)));
  if (p.operation == "version.archive") TRY(CheckSignedTerms(state, p, keyring, *version));
  effect.entries = {ledger::VersionMoved{
      keyring.id, version->number, p.operation == "version.archive" ? To::kArchived : To::kRestored, 0, {}}};
  return effect;
}

// The old version is compromised before anything else happens; then this is a rotation.
Result<Effect> EffectOfEmergency(const State& state, const crypto::ProposalText& p, const Keyring& keyring) {
  const auto next = static_cast<std::uint32_t>(keyring.versions.size() + 1);
  const auto& primary = *keyring.Primary();
  const auto suite = crypto::SuiteFromString(Get(p.params, "suite"));
  if (!suite || Get(p.params, "from-version") != std::to_string(primary.number) ||
      Get(p.params, "version") != std::to_string(next) || Get(p.params, "custody") != primary.custody ||
      (p.format != 1 && Get(p.params, "above") != VersionAbove(keyring)))
    return Stale("keyring '" + keyring.name + "' has been rotated since");
  const auto sharers = SharersOf(state, keyring, primary);
  if (Get(p.params, "moves") != NamesOf(sharers)) return Stale("what the KEK wraps for has changed");
  const auto token = primary.custody.substr(kTokenPrefix.size());
  const auto kek = crypto::MakeKeyId(keyring.id, next);
  Effect effect;
  effect.generate = hsm::KeySpec{{token, kek, *suite}, hsm::KekLabel(keyring.name, next)};
  if (primary.state == VersionState::kActive)
    effect.at_once = MovesOf(state, keyring, primary, To::kCompromised, 0, {});
  // What moved things to the version that is now lost has no aim any more.
  const auto cancel = [&](const Keyring& of) {
    if (const auto* job = state.LiveJob(of.id); job != nullptr && primary.state == VersionState::kActive)
      effect.at_once.emplace_back(ledger::JobSwitched{job->id, JobState::kCancelled, {}, "emergency", 0, 0});
  };
  cancel(keyring);
  for (const auto& [other, version] : sharers)
    if (version->number == other->primary) cancel(*other);
  effect.entries = {ledger::VersionAnnounced{keyring.id, next, *suite, primary.custody, kek, token},
                    ledger::VersionActivated{keyring.id, next}};
  for (const auto& [other, version] : sharers) {
    if (version->number != other->primary) continue;
    const auto number = static_cast<std::uint32_t>(other->versions.size() + 1);
    effect.entries.emplace_back(ledger::VersionAnnounced{other->id, number, *suite, version->custody, kek, token});
    effect.entries.emplace_back(ledger::VersionActivated{other->id, number});
  }
  return effect;
}

}  // namespace

std::vector<std::pair<const Keyring*, const Version*>> SharersOf(const State& state, const Keyring& keyring,
                                                                 const Version& version) {
  std::vector<std::pair<const Keyring*, const Version*>> sharers;
  for (const auto& [name, other] : state.keyrings)
    for (const auto& [number, shared] : other->versions)
      if (other->id != keyring.id && shared.kek == version.kek && shared.token == version.token)
        sharers.emplace_back(other.get(), &shared);
  return sharers;
}

std::vector<ledger::ControlBody> MovesOf(const State& state, const Keyring& keyring, const Version& version, To to,
                                         std::uint32_t days, const std::string& by) {
  std::vector<ledger::ControlBody> moves = {ledger::VersionMoved{keyring.id, version.number, to, days, by}};
  for (const auto& [other, shared] : SharersOf(state, keyring, version)) {
    // A version that shares the KEK and was compromised before is so already.
    if (to == To::kCompromised && shared->state == VersionState::kCompromised) continue;
    moves.emplace_back(ledger::VersionMoved{other->id, shared->number, to, days, by});
  }
  return moves;
}

Result<Params> DraftKeyringChange(const State& state, const ProposalRequest& request) {
  TRY_ASSIGN(const Keyring* keyring, NamedKeyring(state, request.keyring));
  const auto& operation = request.operation;
  if (operation == "version.destroy") return DraftDestroy(state, request, *keyring);
  if (operation == "keyring.emergency-rotate") return DraftEmergency(state, request, *keyring);
  Params params;
  params["keyring-id"] = ToHex(keyring->id);
  if (operation == "keyring.enable") {
    TRY(OnlyParams(request.params, {}));
    if (keyring->enabled) return Conflict("keyring '" + keyring->name + "' is enabled", "keyring-enabled");
    return params;
  }
  if (operation == "grant.change") {
    TRY(OnlyParams(request.params, {"grants"}));
    TRY_ASSIGN(const auto grants, Grants::Parse(Get(request.params, "grants")));
    TRY(CheckGrantees(state, grants));
    params["grants"] = grants.Text();
    params["grants-before"] = keyring->grants.Text();
    if (params["grants"] == params["grants-before"]) return Conflict("these are its grants already", "nothing-changes");
    return params;
  }
  const bool archives = operation == "version.archive";
  TRY(archives ? OnlyParams(request.params, {"version", "waive", "quiet-hours"})
               : OnlyParams(request.params, {"version"}));
  TRY_ASSIGN(const Version* version, VersionOf(*keyring, Get(request.params, "version")));
  TRY(CheckState(*version, StartsFrom(operation)));
  params["version"] = std::to_string(version->number);
  if (archives) TRY(PutCensusTerms(request.params, params));
  return params;
}

Result<Effect> EffectOfKeyringChange(const State& state, const crypto::ProposalText& p) {
  const auto* keyring = state.FindKeyring(p.keyring);
  if (keyring == nullptr || Get(p.params, "keyring-id") != ToHex(keyring->id))
    return Stale("keyring '" + p.keyring + "' is another by now");
  Effect effect;
  if (p.operation == "keyring.enable") {
    if (keyring->enabled) return Stale("keyring '" + p.keyring + "' is enabled by now");
    effect.entries = {ledger::KeyringSwitched{keyring->id, true, {}}};
    return effect;
  }
  if (p.operation == "grant.change") {
    if (Get(p.params, "grants-before") != keyring->grants.Text()) return Stale("the grants have changed");
    TRY_ASSIGN(const auto grants, Grants::Parse(Get(p.params, "grants")));
    effect.entries = {ledger::GrantsChanged{keyring->id, grants.Text()}};
    return effect;
  }
  if (p.operation == "keyring.emergency-rotate") return EffectOfEmergency(state, p, *keyring);
  return EffectOfMove(state, p, *keyring);
}

Result<const Keyring*> JudgeDisable(const State& state, std::string_view name) {
  TRY_ASSIGN(const Keyring* keyring, NamedKeyring(state, name));
  if (!keyring->enabled) return Conflict("keyring '" + keyring->name + "' is disabled already", "keyring-disabled");
  return keyring;
}

namespace {
// A KEK goes when every version that it is of has been given up.
bool AllPending(const State& state, const Keyring& keyring, const Version& version) {
  const auto sharers = SharersOf(state, keyring, version);
  return std::all_of(sharers.begin(), sharers.end(),
                     [](const auto& sharer) { return sharer.second->state == VersionState::kPendingDestruction; });
}
}  // namespace

std::vector<PendingKek> DueDestructions(const State& state, Millis now) {
  std::vector<PendingKek> due;
  for (const auto& [name, keyring] : state.keyrings)
    for (const auto& [number, version] : keyring->versions)
      if (version.state == VersionState::kPendingDestruction && version.custody.starts_with(kTokenPrefix) &&
          now >= version.due && AllPending(state, *keyring, version))
        due.push_back({keyring.get(), &version});
  return due;
}

Result<PendingKek> JudgeCancel(const State& state, std::string_view name, std::uint64_t number) {
  TRY_ASSIGN(const Keyring* keyring, NamedKeyring(state, name));
  TRY_ASSIGN(const Version* version, NumberedVersion(*keyring, number));
  if (version->state != VersionState::kPendingDestruction)
    return Conflict("version " + std::to_string(number) + " is " + std::string(ToString(version->state)) +
                        ": there is no destruction to cancel",
                    "version-state");
  if (!version->custody.starts_with(kTokenPrefix))
    return Conflict("it goes with the install keyring's KEK: cancel it there", "no-own-kek");
  return PendingKek{keyring, version};
}

}  // namespace strongroom::appliance
