#include "appliance/token_decisions.h"

#include <algorithm>

#include "appliance/keyring_decisions.h"
#include "appliance/ledger_decisions.h"
#include "crypto/custody.h"
#include "crypto/text_rules.h"

namespace strongroom::appliance {
namespace {

constexpr std::size_t kMostTokens = 32;

Result<const Keyring*> WithOwnKek(const State& state, const std::string& name) {
  TRY_ASSIGN(const Keyring* keyring, NamedKeyring(state, name));
  const auto& primary = *keyring->Primary();
  if (!primary.custody.starts_with(kTokenPrefix))
    return Conflict("keyring '" + name + "' has no KEK of its own: it goes where 'install' goes", "no-own-kek");
  if (primary.state != VersionState::kActive)
    return Conflict("the primary version of '" + name + "' is " + std::string(ToString(primary.state)),
                    "version-state");
  return keyring;
}

std::string NextNumber(const Keyring& keyring) { return std::to_string(keyring.versions.size() + 1); }

Result<void> CheckStillNext(const crypto::ProposalText& p, const Keyring& keyring) {
  if (Get(p.params, "keyring-id") == ToHex(keyring.id) &&
      Get(p.params, "from-version") == std::to_string(keyring.primary) &&
      Get(p.params, "version") == NextNumber(keyring))
    return {};
  return Stale("keyring '" + keyring.name + "' has been rotated since");
}

// A mandate lies in the token that its keyring leaves, and nothing is left to follow it in the other.
Result<void> CheckNoPolicy(const Keyring& keyring) {
  if (keyring.policy.days == 0) return {};
  return Conflict("keyring '" + keyring.name +
                      "' has a rotation policy, which its token keeps: end it first (keyring.set-policy, "
                      "rotate-days=none) and set it again afterwards",
                  "policy-set");
}

}  // namespace

std::string FurtherTokens(const State& state) {
  std::string serials;
  for (const auto& [serial, token] : state.tokens) serials += (serials.empty() ? "" : ",") + serial;
  return serials;
}

Result<void> CheckFollowers(const State& state, const crypto::ProposalText& proposal) {
  if (Get(proposal.params, "further-tokens") == FurtherTokens(state)) return {};
  return Stale("the enrolled tokens have changed");
}

Result<void> CheckCustody(const State& state, std::string_view custody, const Drawn& drawn) {
  if (!custody.starts_with(kTokenPrefix)) return Invalid("a token is named like token:<serial number>");
  const auto serial = custody.substr(kTokenPrefix.size());
  if (!drawn.token.empty() && serial == drawn.token) return {};
  if (!state.tokens.contains(serial))
    return Conflict("token '" + std::string(serial.substr(0, 64)) + "' is not enrolled: propose token.enrol first",
                    "token-not-enrolled");
  if (!drawn.further.contains(serial))
    return Unavailable("token " + std::string(serial) + " cannot be reached", "token-not-connected");
  return {};
}

Result<void> CheckKnownToken(const State& state, std::string_view custody) {
  if (!custody.starts_with(kTokenPrefix)) return Invalid("a token is named like token:<serial number>");
  const auto serial = custody.substr(kTokenPrefix.size());
  const auto main = RecordedToken(state);
  if (main.empty() || serial == main || state.tokens.contains(serial)) return {};
  return Stale("token " + std::string(serial.substr(0, 64)) + " is not enrolled");
}

std::vector<hsm::KeyRecord> Foreseen(const State& state, const std::string& token,
                                     const std::vector<hsm::KeyRecord>& records) {
  std::vector<hsm::KeyRecord> unknown;
  for (const auto& record : records) {
    const bool known = std::any_of(state.keyrings.begin(), state.keyrings.end(), [&](const auto& keyring) {
      return std::any_of(keyring.second->versions.begin(), keyring.second->versions.end(), [&](const auto& v) {
        return v.second.token == token &&
               std::equal(v.second.kek.begin(), v.second.kek.end(), record.id.begin(), record.id.end());
      });
    });
    if (!known) unknown.push_back(record);
  }
  return unknown;
}

namespace {
// Another member of a group is not there to be seen while the first one is: people name its marks.
Result<Params> DraftMember(const State& state, const ProposalRequest& request, const Drawn& drawn) {
  TRY(OnlyParams(request.params, {"token", "member-of", "label", "model", "manufacturer"}));
  const auto group = Get(request.params, "member-of"), serial = Get(request.params, "token");
  if (group != drawn.token && !state.tokens.contains(group))
    return Conflict("member-of is the serial number of the main token or of an enrolled one", "token-not-enrolled");
  if (serial.empty() || serial == drawn.token || state.tokens.contains(serial))
    return Invalid("token is the serial number of the new member");
  for (const auto* mark : {"label", "model", "manufacturer"})
    if (!request.params.contains(mark)) return Invalid(std::string(mark) + " of the new member is missing");
  const auto mark = [&](const char* name) { return hsm::MarkOf(Get(request.params, name)); };
  const crypto::Member member{serial, mark("label"), mark("model"), mark("manufacturer"), group};
  for (const auto* text : {&member.serial, &member.label, &member.model, &member.manufacturer})
    TRY(crypto::CheckMark(*text));
  return Params{{"label", member.label},
                {"manufacturer", member.manufacturer},
                {"member", serial},
                {"model", member.model},
                {"token", group}};
}
}  // namespace

bool SameMarks(const FurtherToken& token, const hsm::TokenIdentity& identity) {
  return hsm::MarkOf(token.label) == hsm::MarkOf(identity.label) &&
         hsm::MarkOf(token.model) == hsm::MarkOf(identity.model) &&
         hsm::MarkOf(token.manufacturer) == hsm::MarkOf(identity.manufacturer);
}

std::string NameOf(const State& state, const hsm::TokenIdentity& identity) {
  const auto at = state.members.find(identity.serial);
  return at != state.members.end() && hsm::IsMember(at->second, identity) ? at->second.group : identity.serial;
}

bool SameToken(const State& state, const std::string& serial, const hsm::TokenIdentity& identity) {
  if (identity.serial == serial) {
    const auto enrolled = state.tokens.find(serial);
    return enrolled == state.tokens.end() || SameMarks(enrolled->second, identity);
  }
  const auto at = state.members.find(identity.serial);
  return at != state.members.end() && at->second.group == serial && hsm::IsMember(at->second, identity);
}

Result<Params> DraftEnrolment(const State& state, const ProposalRequest& request, const Drawn& drawn) {
  if (!request.keyring.empty()) return Invalid("token.enrol has no keyring");
  if (request.params.contains("member-of")) return DraftMember(state, request, drawn);
  TRY(OnlyParams(request.params, {"token", "owner"}));
  const auto serial = Get(request.params, "token");
  const auto owner = Get(request.params, "owner", "appliance");
  if (owner != "appliance" && owner != "customer") return Invalid("owner is appliance or customer");
  if (serial.empty() || serial == drawn.token)
    return Invalid("token is the serial number of a further token; the main one needs no enrolment");
  TRY(crypto::CheckMark(serial));
  const auto there = drawn.further.find(serial);
  if (there == drawn.further.end())
    return Unavailable("no connected token has the serial number '" + serial.substr(0, 64) +
                           "': it needs a [[token]] in the configuration and a strongroom-tokend",
                       "token-not-connected");
  const auto& identity = there->second.identity;
  for (const auto* mark : {&identity.label, &identity.model, &identity.manufacturer})
    TRY(crypto::CheckMark(hsm::MarkOf(*mark)));
  if (const auto at = state.tokens.find(serial); there->second.obeys && at != state.tokens.end() &&
                                                 SameMarks(at->second, identity) &&
                                                 at->second.customer == (owner == "customer"))
    return Conflict("token " + serial + " is enrolled", "token-enrolled");
  if (!state.tokens.contains(serial) && state.tokens.size() >= kMostTokens)
    return Conflict("there are " + std::to_string(kMostTokens) + " further tokens", "too-many-tokens");
  // Nobody knows who made a key that lies in a token before it belongs to the appliance.
  if (const auto keys = Foreseen(state, serial, there->second.keys); owner == "appliance" && !keys.empty())
    return Conflict(
        "the token has keys already, the first is '" + keys.front().label + "': an appliance's token is enrolled empty",
        "token-inventory");
  return Params{{"label", hsm::MarkOf(identity.label)},
                {"manufacturer", hsm::MarkOf(identity.manufacturer)},
                {"model", hsm::MarkOf(identity.model)},
                {"owner", owner},
                {"token", serial}};
}

Result<Effect> EffectOfEnrolment(const State& state, const crypto::ProposalText& p) {
  if (p.params.contains("member")) {
    const auto group = Get(p.params, "token"), serial = Get(p.params, "member");
    const auto main = RecordedToken(state);
    for (const auto* mark : {"member", "label", "model", "manufacturer"}) TRY(crypto::CheckMark(Get(p.params, mark)));
    if (group.empty() || serial == group || serial == main || state.tokens.contains(serial) ||
        (!main.empty() && group != main && !state.tokens.contains(group)))
      return Stale("the tokens are others by now");
    Effect effect;
    effect.changes_record = true;
    effect.entries = {ledger::TokenEnrolled{serial, Get(p.params, "label"), Get(p.params, "model"),
                                            Get(p.params, "manufacturer"), false, group}};
    return effect;
  }
  const auto mark = [&](const char* name) {
    auto text = Get(p.params, name);
    return text == hsm::MarkOf({}) ? std::string() : text;
  };
  const auto serial = Get(p.params, "token"), owner = Get(p.params, "owner");
  if (owner != "appliance" && owner != "customer") return Invalid("the proposal's parameters are not an enrolment's");
  for (const auto* name : {"token", "label", "model", "manufacturer"}) TRY(crypto::CheckMark(Get(p.params, name)));
  if (serial == RecordedToken(state)) return Stale("this is the main token by now");
  Effect effect;
  effect.changes_record = true;
  effect.entries = {
      ledger::TokenEnrolled{serial, mark("label"), mark("model"), mark("manufacturer"), owner == "customer", {}}};
  return effect;
}

Result<Params> DraftRekey(const State& state, const ProposalRequest& request, const Drawn& drawn) {
  TRY(OnlyParams(request.params, {"to", "suite", "release-days"}));
  TRY_ASSIGN(const Keyring* keyring, WithOwnKek(state, request.keyring));
  const auto& primary = *keyring->Primary();
  const auto to = Get(request.params, "to");
  TRY(CheckCustody(state, to, drawn));
  if (to == primary.custody)
    return Conflict("keyring '" + keyring->name + "' is in that token already", "nothing-changes");
  // Both sides have to be there: nothing is begun that cannot go on.
  if (primary.token != drawn.token && !drawn.further.contains(primary.token))
    return Unavailable("token " + primary.token + ", which the keyring is in, cannot be reached",
                       "token-not-connected");
  TRY(CheckNoPolicy(*keyring));
  const auto suite = crypto::SuiteFromString(Get(request.params, "suite", crypto::ToString(primary.suite)));
  if (!suite) return Invalid("suite is kwp or gcm");
  const auto days =
      crypto::ParseNumber(Get(request.params, "release-days", std::to_string(crypto::kDefaultReleaseDays)));
  if (!days || *days < 1 || *days > crypto::kMaxReleaseDays)
    return Invalid("release-days is 1 to " + std::to_string(crypto::kMaxReleaseDays));
  return Params{{"custody", to},
                {"from-version", std::to_string(primary.number)},
                {"keyring-id", ToHex(keyring->id)},
                {"moves", keyring->name == "install" ? MovesText(WrappedByInstall(state)) : "none"},
                {"release-days", std::to_string(*days)},
                {"suite", std::string(crypto::ToString(*suite))},
                {"token", primary.token},
                {"version", NextNumber(*keyring)}};
}

Result<Effect> EffectOfRekey(const State& state, const crypto::ProposalText& p) {
  TRY_ASSIGN(const Keyring* keyring, WithOwnKek(state, p.keyring));
  TRY(CheckStillNext(p, *keyring));
  TRY(CheckNoPolicy(*keyring));
  const auto custody = Get(p.params, "custody");
  const auto suite = crypto::SuiteFromString(Get(p.params, "suite"));
  if (!suite || !custody.starts_with(kTokenPrefix) || Get(p.params, "token") != keyring->Primary()->token ||
      custody == keyring->Primary()->custody)
    return Stale("the custody of '" + p.keyring + "' has changed");
  if (Get(p.params, "moves") != (p.keyring == "install" ? MovesText(WrappedByInstall(state)) : "none"))
    return Stale("the keyrings that '" + p.keyring + "' wraps for have changed");
  TRY(CheckKnownToken(state, custody));
  auto effect = RotationOf(state, *keyring, *suite, custody);
  effect.changes_record = true;
  return effect;
}

Result<Params> DraftKeyAdoption(const State& state, const ProposalRequest& request, const Drawn& drawn) {
  TRY(OnlyParams(request.params, {}));
  TRY_ASSIGN(const Keyring* keyring, WithOwnKek(state, request.keyring));
  const auto& serial = keyring->Primary()->token;
  const auto token = state.tokens.find(serial);
  if (token == state.tokens.end() || keyring->name == "install")
    return Conflict("keyring '" + keyring->name + "' is in no further token: rotate it", "not-a-further-token");
  const auto there = drawn.further.find(serial);
  if (there == drawn.further.end()) return Unavailable("token " + serial + " cannot be reached", "token-not-connected");
  const auto number = static_cast<std::uint32_t>(keyring->versions.size() + 1);
  const auto kek = crypto::MakeKeyId(keyring->id, number);
  for (const auto& record : there->second.keys) {
    if (!std::equal(kek.begin(), kek.end(), record.id.begin(), record.id.end())) continue;
    if (!record.fault.empty())
      return Conflict("the key in the customer's token is not as a KEK has to be: " + record.fault, "key-drift");
    return Params{{"custody", keyring->Primary()->custody},
                  {"from-version", std::to_string(keyring->primary)},
                  {"keyring-id", ToHex(keyring->id)},
                  {"suite", std::string(crypto::ToString(record.suite))},
                  {"token", serial},
                  {"version", std::to_string(number)}};
  }
  return NotFound("token " + serial + " has no key for version " + std::to_string(number) + " of '" + keyring->name +
                      "': its owner makes one with CKA_ID " + ToHex(kek) + " and label '" +
                      hsm::KekLabel(keyring->name, number) + "'",
                  "nothing-to-adopt");
}

Result<Effect> EffectOfKeyAdoption(const State& state, const crypto::ProposalText& p) {
  TRY_ASSIGN(const Keyring* keyring, WithOwnKek(state, p.keyring));
  TRY(CheckStillNext(p, *keyring));
  const auto suite = crypto::SuiteFromString(Get(p.params, "suite"));
  const auto token = state.tokens.find(Get(p.params, "token"));
  if (!suite || token == state.tokens.end() || keyring->name == "install" ||
      token->first != keyring->Primary()->token || Get(p.params, "custody") != keyring->Primary()->custody)
    return Stale("the custody of '" + p.keyring + "' has changed");
  Effect effect;  // the key is there: nothing is generated
  effect.changes_record = true;
  effect.entries = RotationOf(state, *keyring, *suite, keyring->Primary()->custody).entries;
  return effect;
}

}  // namespace strongroom::appliance
