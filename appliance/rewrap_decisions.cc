#include "appliance/rewrap_decisions.h"

#include <algorithm>

#include "appliance/keyring_decisions.h"
#include "appliance/proposal_params.h"
#include "crypto/text_rules.h"

namespace strongroom::appliance {
namespace {

using Kind = ledger::JobStarted::Kind;
constexpr std::uint64_t kMostQuietHours = 8760;

// What a reverse of one keyring does to it, or to one that shares its KEK: the newest version under that KEK is primary
// again, or there is a new one under it.
struct Reversal {
  const Keyring* keyring;
  std::uint32_t version;
  bool is_new;
};

std::vector<Reversal> ReversalsOf(const State& state, const Keyring& keyring, const Version& target) {
  std::vector<Reversal> all = {{&keyring, target.number, false}};
  for (const auto& [other, shared] : SharersOf(state, keyring, *keyring.Primary())) {
    if (shared->number != other->primary) continue;
    Reversal reversal{other, static_cast<std::uint32_t>(other->versions.size() + 1), true};
    for (const auto& [number, version] : other->versions)
      if (version.kek == target.kek && version.token == target.token && version.state == VersionState::kDeactivated)
        reversal = {other, number, false};
    all.push_back(reversal);
  }
  return all;
}

std::string TextOf(const std::vector<Reversal>& reversals) {
  std::string text;
  for (std::size_t i = 1; i < reversals.size(); ++i)
    text += (text.empty() ? "" : ",") + reversals[i].keyring->name + "/" + std::to_string(reversals[i].version);
  if (reversals.size() > 33)
    return std::to_string(reversals.size() - 1) + " versions, sha256 " + ToHex(crypto::Sha256(AsBytes(text)));
  return text.empty() ? "none" : text;
}

Result<const Version*> ReverseTarget(const Keyring& keyring, std::string_view wanted) {
  const Version* target = nullptr;
  if (wanted.empty()) {
    for (const auto& [number, version] : keyring.versions)
      if (version.state == VersionState::kDeactivated &&
          (target == nullptr || version.deactivated >= target->deactivated))
        target = &version;
    if (target == nullptr)
      return Conflict("keyring '" + keyring.name + "' has no deactivated version to go back to", "version-state");
    return target;
  }
  TRY_ASSIGN(const auto number, crypto::ParseNumber(wanted));
  TRY_ASSIGN(target, NumberedVersion(keyring, number));
  if (target->state != VersionState::kDeactivated)
    return Conflict("version " + std::to_string(number) + " is " + std::string(ToString(target->state)) +
                        ": only a deactivated one becomes primary again",
                    "version-state");
  return target;
}

Result<void> CheckPrimaryActive(const Keyring& keyring) {
  if (keyring.Primary()->state == VersionState::kActive) return {};
  return Conflict("version " + std::to_string(keyring.primary) + " is " +
                      std::string(ToString(keyring.Primary()->state)) + ": rotate the keyring first",
                  "version-state");
}

Result<void> CheckNoJobOf(const State& state, const Keyring& keyring) {
  const auto* job = state.LiveJob(keyring.id);
  if (job == nullptr) return {};
  return Conflict("job " + job->id + " still moves the inventory of '" + keyring.name + "': let it finish or cancel it",
                  "job-running");
}

Result<Params> DraftReverse(const State& state, const ProposalRequest& request, const Keyring& keyring) {
  TRY(OnlyParams(request.params, {"version"}));
  const auto& primary = *keyring.Primary();
  if (!primary.custody.starts_with(kTokenPrefix))
    return Conflict("keyring '" + keyring.name + "' has no KEK of its own: reverse 'install', which moves it too",
                    "no-own-kek");
  TRY(CheckPrimaryActive(keyring));
  TRY_ASSIGN(const Version* target, ReverseTarget(keyring, Get(request.params, "version")));
  const auto reversals = ReversalsOf(state, keyring, *target);
  for (const auto& reversal : reversals) TRY(CheckNoJob(state, *reversal.keyring));
  Params params;
  params["keyring-id"] = ToHex(keyring.id);
  params["from-version"] = std::to_string(primary.number);
  params["version"] = std::to_string(target->number);
  params["token"] = target->token;
  params["moves"] = TextOf(reversals);
  return params;
}

Result<Effect> EffectOfReverse(const State& state, const crypto::ProposalText& p, const Keyring& keyring,
                               const std::string& id) {
  const auto target = ReverseTarget(keyring, Get(p.params, "version"));
  if (!target || Get(p.params, "from-version") != std::to_string(keyring.primary) ||
      Get(p.params, "token") != (*target)->token)
    return Stale("keyring '" + p.keyring + "' has been rotated or changed since");
  const auto reversals = ReversalsOf(state, keyring, **target);
  if (Get(p.params, "moves") != TextOf(reversals)) return Stale("what the KEK wraps for has changed");
  Effect effect;
  effect.changes_record = true;
  for (const auto& [other, number, is_new] : reversals) {
    if (is_new)
      effect.entries.emplace_back(ledger::VersionAnnounced{
          other->id, number, (*target)->suite, other->Primary()->custody, (*target)->kek, (*target)->token});
    effect.entries.emplace_back(ledger::VersionActivated{other->id, number});
  }
  effect.entries.emplace_back(ledger::JobStarted{id, keyring.id, Kind::kReverse, (*target)->number, false});
  return effect;
}

}  // namespace

Result<Params> DraftRewrap(const State& state, const ProposalRequest& request) {
  TRY_ASSIGN(const Keyring* keyring, NamedKeyring(state, request.keyring));
  if (request.operation == "rewrap.reverse") return DraftReverse(state, request, *keyring);
  TRY(OnlyParams(request.params, {"quarantined"}));
  TRY(CheckPrimaryActive(*keyring));
  TRY(CheckNoJob(state, *keyring));
  Params params;
  params["keyring-id"] = ToHex(keyring->id);
  params["to-version"] = std::to_string(keyring->primary);
  params["quarantined"] = Get(request.params, "quarantined", "keep");
  if (params["quarantined"] != "keep" && params["quarantined"] != "retry")
    return Invalid("quarantined is keep or retry");
  return params;
}

Result<Effect> EffectOfRewrap(const State& state, const crypto::ProposalText& p) {
  const auto* keyring = state.FindKeyring(p.keyring);
  if (keyring == nullptr || Get(p.params, "keyring-id") != ToHex(keyring->id))
    return Stale("keyring '" + p.keyring + "' is another by now");
  TRY_ASSIGN(const auto text, p.Render());
  const auto id = crypto::ProposalId(text);
  if (p.operation == "rewrap.reverse") return EffectOfReverse(state, p, *keyring, id);
  if (Get(p.params, "to-version") != std::to_string(keyring->primary))
    return Stale("keyring '" + p.keyring + "' has been rotated since");
  if (state.LiveJob(keyring->id) != nullptr) return Stale("another job has begun");
  Effect effect;
  effect.entries = {
      ledger::JobStarted{id, keyring->id, Kind::kRewrap, keyring->primary, Get(p.params, "quarantined") == "retry"}};
  return effect;
}

Result<void> CheckNoJob(const State& state, const Keyring& keyring) {
  TRY(CheckNoJobOf(state, keyring));
  if (keyring.Primary() == nullptr) return {};
  for (const auto& [other, shared] : SharersOf(state, keyring, *keyring.Primary())) TRY(CheckNoJobOf(state, *other));
  return {};
}

Result<void> CheckPace(const Keyring& keyring, Millis now, Millis pace) {
  // Where a clock was set back, what lies ahead of it does not count.
  if (keyring.last_rotation == 0 || now >= keyring.last_rotation + pace || now < keyring.last_rotation) return {};
  return Conflict("keyring '" + keyring.name + "' was rotated at " + FormatTime(keyring.last_rotation) +
                      ": the next rotation may be at " + FormatTime(keyring.last_rotation + pace),
                  "rotated-recently");
}

std::optional<Kind> OwedJob(const State& state, const Keyring& keyring) {
  if (!state.owed.contains(keyring.id) || keyring.Primary()->state != VersionState::kActive ||
      state.LiveJob(keyring.id) != nullptr)
    return std::nullopt;
  for (const auto& [number, version] : keyring.versions)
    if (version.state == VersionState::kCompromised && state.EmergencyOpen(keyring.id, number)) return Kind::kEmergency;
  return keyring.policy.rewrap ? std::optional(Kind::kRewrap) : std::nullopt;
}

bool MayRewrapFrom(const State& state, const Keyring& keyring, const Version& version) {
  return version.state == VersionState::kDeactivated ||
         (version.state == VersionState::kCompromised && state.EmergencyOpen(keyring.id, version.number));
}

Result<const Job*> JudgeSwitch(const State& state, std::string_view id, JobState to) {
  const auto at = state.jobs.find(id);
  if (at == state.jobs.end()) return NotFound("no job with this id", "job-not-found");
  const auto& job = *at->second;
  const bool fits = job.Live() && job.state != to;
  if (!fits)
    return Conflict("the job is " + std::string(ledger::ToString(job.state)) + ": it cannot become " +
                        std::string(ledger::ToString(to)),
                    "job-state");
  return at->second.get();
}

std::vector<Awaited> AwaitedServices(const State& state, const Keyring& keyring, const Version& version) {
  std::set<Awaited> awaited;
  const auto add = [&](const Keyring& of, std::uint32_t number) {
    for (const auto& [service, mask] : of.grants.by_service()) {
      const auto at = state.acknowledged.find({of.id, service});
      if (at == state.acknowledged.end() || at->second.version < number) awaited.insert({service, of.name});
    }
  };
  add(keyring, version.number);
  for (const auto& [other, shared] : SharersOf(state, keyring, version)) add(*other, shared->number);
  return {awaited.begin(), awaited.end()};
}

Result<void> CheckAwaited(const State& state, const Keyring& keyring, const Version& version,
                          const std::set<std::string, std::less<>>& waive) {
  std::string missing;
  for (const auto& awaited : AwaitedServices(state, keyring, version))
    if (!waive.contains(awaited.service)) missing += (missing.empty() ? "" : ", ") + awaited.Text();
  if (missing.empty()) return {};
  return Conflict("an acknowledgement that nothing is kept under version " + std::to_string(version.number) + " of '" +
                      keyring.name + "' is awaited of " + missing,
                  "census-awaited");
}

Result<void> CheckCensus(const State& state, const Keyring& keyring, const Version& version, const UseFacts& facts,
                         const std::set<std::string, std::less<>>& waive, std::uint64_t quiet_hours, Millis now) {
  const auto which = "version " + std::to_string(version.number) + " of '" + keyring.name + "'";
  if (facts.records != 0)
    return Conflict(std::to_string(facts.records) + " wrapped DEKs of the inventory are under " + which,
                    "census-inventory");
  TRY(CheckAwaited(state, keyring, version, waive));
  if (quiet_hours != 0 && facts.last_use != 0 && now < facts.last_use + static_cast<Millis>(quiet_hours) * kHour)
    return Conflict(which + " was last used at " + FormatTime(facts.last_use) + ", less than " +
                        std::to_string(quiet_hours) + " hours ago",
                    "census-quiet");
  return {};
}

Result<CensusTerms> CensusTermsOf(const Params& params) {
  CensusTerms terms;
  if (const auto text = Get(params, "waive", "none"); text != "none")
    for (const auto name : crypto::SplitWords(text, ',')) {
      if (!crypto::IsName(name)) return Invalid("waive is names of services with commas between them, or none");
      terms.waive.emplace(name);
    }
  TRY_ASSIGN(terms.quiet_hours, crypto::ParseNumber(Get(params, "quiet-hours", std::to_string(kDefaultQuietHours))));
  if (terms.quiet_hours > kMostQuietHours) return Invalid("quiet-hours is 0 to " + std::to_string(kMostQuietHours));
  return terms;
}

Result<const Keyring*> JudgeAcknowledgement(const State& state, std::string_view service, std::string_view name,
                                            std::uint64_t number) {
  const auto* keyring = state.FindKeyring(name);
  if (keyring == nullptr || !keyring->grants.Knows(service))
    return NotFound("no keyring of this name is granted to " + std::string(service), "keyring-not-found");
  TRY_ASSIGN(const Version* version, NumberedVersion(*keyring, number));
  // An acknowledgement is of that version and all before it: after a reverse the primary may be one of those.
  if (version->number >= keyring->primary || version->state == VersionState::kPreActive)
    return Conflict("version " + std::to_string(number) + " is " + std::string(ToString(version->state)) +
                        ": what is acknowledged is that nothing is left under a former one",
                    "version-state");
  return keyring;
}

Result<const Keyring*> JudgeEmergencyClose(const State& state, std::string_view name, std::uint64_t number) {
  TRY_ASSIGN(const Keyring* keyring, NamedKeyring(state, name));
  TRY_ASSIGN(const Version* version, NumberedVersion(*keyring, number));
  if (!state.EmergencyOpen(keyring->id, version->number))
    return Conflict("no emergency is open for version " + std::to_string(number), "no-emergency");
  TRY(CheckNoJobOf(state, *keyring));
  for (const auto& [other, shared] : SharersOf(state, *keyring, *version)) TRY(CheckNoJobOf(state, *other));
  TRY(CheckAwaited(state, *keyring, *version, {}));
  return keyring;
}

}  // namespace strongroom::appliance
