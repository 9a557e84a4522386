#include "appliance/policy_decisions.h"

#include <algorithm>

#include "appliance/keyring_decisions.h"
#include "appliance/proposal_params.h"
#include "crypto/custody.h"
#include "crypto/text_rules.h"

namespace strongroom::appliance {
namespace {

constexpr Millis kDefaultUntil = 365 * kDay;
constexpr std::uint32_t kLeastExpiry = 30, kMostExpiry = 3650;

// What the policy says of the time that a version has, and of what follows a rotation. The token knows nothing of it.
Result<std::uint32_t> ExpiryOf(const Params& params) {
  if (const auto rewrap = Get(params, "rewrap", "yes"); rewrap != "yes" && rewrap != "no")
    return Invalid("rewrap is yes or no");
  if (const auto attest = Get(params, "attest", "no"); attest != "yes" && attest != "no")
    return Invalid("attest is yes or no");
  const auto text = Get(params, "expire-days", "none");
  if (text == "none") return 0U;
  const auto days = crypto::ParseNumber(text);
  if (!days || *days < kLeastExpiry || *days > kMostExpiry)
    return Invalid("expire-days is " + std::to_string(kLeastExpiry) + " to " + std::to_string(kMostExpiry) +
                   ", or none");
  return static_cast<std::uint32_t>(*days);
}

}  // namespace

Result<Params> DraftPolicy(const State& state, const ProposalRequest& request, const Drawn& drawn) {
  TRY_ASSIGN(const Keyring* keyring, NamedKeyring(state, request.keyring));
  if (!keyring->Primary()->custody.starts_with(kTokenPrefix))
    return Conflict("keyring '" + keyring->name + "' has no KEK of its own: its rotation is that of 'install'",
                    "no-own-kek");
  if (drawn.token.empty()) return Unavailable("no token to keep the mandate");
  Params params = {{"attest", "no"}, {"enforce", "no"}, {"expire-days", "none"}, {"rewrap", "yes"}};
  for (const auto& [name, value] : request.params) {
    if (name != "rotate-days" && name != "until" && name != "enforce" && name != "rewrap" && name != "expire-days" &&
        name != "attest")
      return Invalid("unknown parameter '" + name.substr(0, 40) + "'", "unknown-parameter");
    params[name] = value;
  }
  if (!params.contains("rotate-days")) return Invalid("rotate-days is 30 to 360 in steps of 30, or none");
  params["keyring-id"] = ToHex(keyring->id);
  params["suite"] = crypto::ToString(keyring->Primary()->suite);
  params["token"] = keyring->Primary()->token;
  if (params["rotate-days"] != "none" && !params.contains("until"))
    params["until"] = FormatTime(drawn.now / 1000 * 1000 + kDefaultUntil);
  crypto::ProposalText probe;
  probe.operation = request.operation;
  probe.created = drawn.now / 1000 * 1000;
  probe.params = params;
  TRY(crypto::RotationPolicyOf(probe));
  TRY(ExpiryOf(params));
  return params;
}

Result<Effect> EffectOfPolicy(const State& state, const crypto::ProposalText& p) {
  TRY_ASSIGN(const auto policy, crypto::RotationPolicyOf(p));
  const auto* keyring = state.FindKeyring(p.keyring);
  if (keyring == nullptr || keyring->id != policy.keyring || keyring->Primary()->suite != policy.suite)
    return Conflict("keyring '" + p.keyring + "' has changed: propose again", "stale");
  Effect effect;
  effect.changes_record = true;
  TRY_ASSIGN(const auto expiry, ExpiryOf(p.params));
  effect.entries = {ledger::PolicySet{keyring->id, static_cast<std::uint32_t>(policy.days), policy.until,
                                      policy.enforce, Get(p.params, "rewrap", "yes") == "yes", expiry,
                                      Get(p.params, "attest", "no") == "yes"}};
  return effect;
}

const Version* PendingOf(const Keyring& keyring) {
  const auto last = keyring.versions.rbegin();
  return last != keyring.versions.rend() && last->first > keyring.primary &&
                 last->second.state == VersionState::kPreActive
             ? &last->second
             : nullptr;
}

Result<void> CheckNonePending(const Keyring& keyring) {
  const auto* pending = PendingOf(keyring);
  if (pending == nullptr) return {};
  return Conflict("version " + std::to_string(pending->number) + " of '" + keyring.name +
                      "' is announced and waits for its attestation",
                  "version-pending");
}

Result<std::vector<ledger::ControlBody>> JudgeAttestation(const State& state, std::string_view name,
                                                          std::uint64_t number) {
  TRY_ASSIGN(const Keyring* keyring, NamedKeyring(state, name));
  const auto* pending = PendingOf(*keyring);
  if (pending == nullptr || pending->number != number || !pending->custody.starts_with(kTokenPrefix))
    return Conflict(
        "version " + std::to_string(number) + " of '" + keyring->name + "' does not wait for an attestation",
        "version-state");
  std::vector<ledger::ControlBody> activations = {ledger::VersionActivated{keyring->id, pending->number}};
  for (const auto& [other, shared] : SharersOf(state, *keyring, *pending))
    if (shared->state == VersionState::kPreActive && shared->number > other->primary)
      activations.emplace_back(ledger::VersionActivated{other->id, shared->number});
  return activations;
}

Millis NextRotation(const Keyring& keyring) {
  if (keyring.policy.days == 0 || keyring.Primary() == nullptr) return 0;
  return std::max(keyring.policy.set, keyring.Primary()->activated) + Millis{keyring.policy.days} * kDay;
}

Millis ExpiryOf(const Keyring& keyring, const Version& version) {
  if (keyring.policy.expire_days == 0) return 0;
  return version.announced + Millis{keyring.policy.expire_days} * kDay;
}

bool IsOverdue(const Keyring& keyring, Millis now) {
  const auto next = NextRotation(keyring);
  return next != 0 && now > next + kOverdueAfter;
}

Result<Effect> EffectOfMandate(const State& state, const Keyring& keyring, Millis now) {
  if (keyring.policy.days == 0) return Forbidden("the keyring has no rotation policy", "no-mandate");
  if (keyring.mandated != 0) return Conflict("a rotation by its mandate is under way", "mandate-pending");
  if (now > keyring.policy.until)
    return Forbidden("the mandate ended at " + FormatTime(keyring.policy.until), "mandate-over");
  if (now < NextRotation(keyring))
    return Forbidden("the next rotation is due at " + FormatTime(NextRotation(keyring)), "mandate-not-due");
  TRY(CheckNonePending(keyring));
  const auto& primary = *keyring.Primary();
  if (primary.state != VersionState::kActive || !primary.custody.starts_with(kTokenPrefix))
    return Conflict("the primary version is " + std::string(ToString(primary.state)), "version-state");
  return RotationOf(state, keyring, primary.suite);
}

}  // namespace strongroom::appliance
