#include "appliance/ledger_decisions.h"

#include <algorithm>

#include "appliance/policy_decisions.h"
#include "appliance/proposal_params.h"
#include "appliance/token_decisions.h"
#include "appliance/token_past.h"
#include "crypto/anchor.h"
#include "crypto/custody.h"
#include "crypto/merkle.h"
#include "crypto/text_rules.h"

namespace strongroom::appliance {
namespace {

constexpr std::string_view kInstall = "install";
constexpr std::string_view kByInstall = "keyring:install";
constexpr Millis kTokenSlack = Millis{5} * 60 * 1000;
constexpr std::size_t kKeysInParam = 30;
constexpr std::size_t kMaxKeys = 500;  // what a proposal's text can hold
constexpr const char* kDefaultOverlapDays = "30";

// Whether every mandate that the token has is one that the database shows in force, too: an older token may have some
// that were taken back since, and they do not come back.
bool KeptAsRecorded(const State& state, const crypto::LedgerRecord& record) {
  for (const auto& mandate : record.custody.mandates) {
    const auto name = state.keyring_names.find(mandate.keyring);
    const auto* keyring = name == state.keyring_names.end() ? nullptr : state.FindKeyring(name->second);
    if (keyring == nullptr || static_cast<Millis>(keyring->policy.days) * kDay != mandate.interval ||
        crypto::WholeMinutesDown(keyring->policy.until) != mandate.until)
      return false;
    // Nor does one from before its last use, by which the next version would be due already. Both write the time of
    // a use, one after the other.
    if (mandate.next + crypto::kClockSlack < NextRotation(*keyring)) return false;
  }
  // What is released is told by the token alone: who adopts an older one has the keyring moved again.
  return record.custody.releases.empty();
}

std::string LostRange(std::uint64_t kept, const std::optional<crypto::Anchor>& anchor, std::uint64_t epoch) {
  if (!anchor) return "unknown: the token remembers nothing";
  const auto of = anchor->origin.substr(anchor->origin.rfind('/') + 1);
  // What another epoch went on from nobody here can tell.
  if (of != std::to_string(epoch))
    return "all of epoch " + of + ", which ended at entry " + std::to_string(anchor->size - 1);
  if (anchor->size <= kept) return "none";
  return "entries " + std::to_string(kept) + " to " + std::to_string(anchor->size - 1);
}

// What a version of a keyring brings with it in the log; a version of install moves the keyrings that it wraps for.
std::vector<ledger::ControlBody> VersionEntries(const State& state, const Keyring& keyring, std::uint32_t number,
                                                crypto::Suite suite, const std::string& token) {
  const auto kek = crypto::MakeKeyId(keyring.id, number);
  std::vector<ledger::ControlBody> entries = {
      ledger::VersionAnnounced{keyring.id, number, suite, std::string(kTokenPrefix) + token, kek, token},
      ledger::VersionActivated{keyring.id, number}};
  if (keyring.name != kInstall) return entries;
  for (const auto& name : WrappedByInstall(state)) {
    const auto* other = state.FindKeyring(name);
    const auto version = static_cast<std::uint32_t>(other->versions.size() + 1);
    entries.emplace_back(ledger::VersionAnnounced{other->id, version, suite, std::string(kByInstall), kek, token});
    entries.emplace_back(ledger::VersionActivated{other->id, version});
  }
  return entries;
}

struct NamedKek {
  Bytes id;
  crypto::Suite suite = crypto::Suite::kKwp;
  std::string keyring;  // empty: unused
  std::uint32_t version = 0;
};

Result<NamedKek> ParseNamedKek(std::string_view text) {
  const auto parts = crypto::SplitWords(text, ':');
  const auto wrong = [] {
    return Invalid("a key of an adoption is CKA_ID:suite:keyring/version or CKA_ID:suite:unused");
  };
  if (parts.size() != 3) return wrong();
  NamedKek key;
  const auto id = FromHex(parts[0]);
  const auto suite = crypto::SuiteFromString(parts[1]);
  if (!id || !suite) return wrong();
  key.id = *id;
  key.suite = *suite;
  if (parts[2] == "unused") return key;
  const auto place = crypto::SplitWords(parts[2], '/');
  const auto version = place.size() == 2 ? crypto::ParseNumber(place[1]) : Result<std::uint64_t>(wrong());
  if (!version || *version > 0xFFFFFFFFU) return wrong();
  key.keyring = place[0];
  key.version = static_cast<std::uint32_t>(*version);
  return key;
}

Result<std::vector<NamedKek>> NamedKeks(const crypto::ProposalText& proposal) {
  std::vector<NamedKek> keys;
  for (std::size_t n = 1;; ++n) {
    const auto at = proposal.params.find("keys-" + std::to_string(n));
    if (at == proposal.params.end()) return keys;
    if (at->second == "none") continue;
    for (const auto word : crypto::SplitWords(at->second)) {
      TRY_ASSIGN(auto key, ParseNamedKek(word));
      keys.push_back(std::move(key));
    }
  }
}

}  // namespace

std::vector<std::string> WrappedByInstall(const State& state) {
  std::vector<std::string> names;
  for (const auto& [name, keyring] : state.keyrings)
    if (keyring->Primary() != nullptr && keyring->Primary()->custody == kByInstall) names.push_back(name);
  return names;
}

Result<Params> KeysToAdopt(const State& state, const std::string& token, const std::vector<hsm::KeyRecord>& records) {
  std::map<Bytes, const hsm::KeyRecord*> unknown;
  for (const auto& record : records) {
    if (!record.fault.empty())
      return Conflict("key " + ToHex(record.id) + " in the token is not as it was made: " + record.fault,
                      "token-inventory");
    if (!unknown.emplace(record.id, &record).second)
      return Conflict("the token has two keys with CKA_ID " + ToHex(record.id), "token-inventory");
  }
  for (const auto& [name, keyring] : state.keyrings)
    for (const auto& [number, version] : keyring->versions)
      if (version.token == token) unknown.erase(Bytes(version.kek.begin(), version.kek.end()));
  for (const auto& id : state.ledger.unused_keys) unknown.erase(id);
  std::vector<std::string> words;
  const auto name_key = [&](const hsm::KeyRecord& record, const std::string& place) {
    words.push_back(ToHex(record.id) + ":" + std::string(crypto::ToString(record.suite)) + ":" + place);
  };
  // What follows the last version of a keyring that is known becomes a version again.
  for (const auto& [name, keyring] : state.keyrings)
    for (auto number = static_cast<std::uint32_t>(keyring->versions.size() + 1);; ++number) {
      const auto kek = crypto::MakeKeyId(keyring->id, number);
      const auto at = unknown.find(Bytes(kek.begin(), kek.end()));
      if (at == unknown.end()) break;
      name_key(*at->second, name + "/" + std::to_string(number));
      unknown.erase(at);
    }
  for (const auto& [id, record] : unknown) name_key(*record, "unused");
  if (words.size() > kMaxKeys)
    return Conflict("the token has " + std::to_string(words.size()) +
                        " keys that the database lacks, more than one adoption can name: restore a newer backup",
                    "too-many-keys");
  Params params;
  if (words.empty()) params["keys-1"] = "none";
  for (std::size_t i = 0; i < words.size(); ++i) {
    auto& value = params["keys-" + std::to_string(i / kKeysInParam + 1)];
    value += (value.empty() ? "" : " ") + words[i];
  }
  return params;
}

Result<Params> DraftAdoption(const State& state, const ProposalRequest& request, const Drawn& drawn) {
  if (!request.params.empty() || !request.keyring.empty())
    return Invalid("ledger.adopt has neither keyring nor parameters: the appliance fills them in");
  if (!drawn.recovery) return Unavailable("the token does not answer: what it remembers is part of the proposal");
  const auto& recovery = *drawn.recovery;
  if (!recovery.rolled_back && !recovery.behind)
    return Conflict("there is nothing to adopt: the database extends what the token has signed", "not-rolled-back");
  const auto& record = recovery.record;
  const auto control = crypto::AnchorOf(record, true), evidence = crypto::AnchorOf(record, false);
  const auto epoch = std::max(state.ledger.epoch, record.epoch);
  if (record.instance != state.roster->instance())
    return Conflict("the token is of instance " + ToHex(record.instance) + ", the database of " +
                        ToHex(state.roster->instance()) + ": this is another appliance's backup or token",
                    "foreign-instance");
  // An older roster is led on by votes; what the database has never heard of is in another backup.
  const auto& c = record.custody;
  if (c.roster_version == state.roster->version() && c.roster_hash != state.roster->hash())
    return Conflict("the token obeys another roster " + std::to_string(c.roster_version) +
                        " than the database has: no adoption leads back; put a copy of the token back that obeys this "
                        "one's, or make another token",
                    "roster-not-enforced");
  if (c.roster_version > state.roster->version())
    return Conflict("the token obeys roster " + std::to_string(c.roster_version) + ", the database has roster " +
                        std::to_string(state.roster->version()) + ": restore a backup that has the token's",
                    "roster-not-enforced");
  TRY_ASSIGN(auto params, KeysToAdopt(state, drawn.token, recovery.keys));
  params["epoch"] = std::to_string(epoch + 1);
  params["clock"] = FormatTime(drawn.host);
  params["token"] = drawn.token;
  params["evidence-log"] = std::to_string(recovery.evidence.size) + " " + ToHex(recovery.evidence.root);
  params["state"] = StateOfToken(recovery.from == hsm::AdoptedFrom::kLost, recovery.from == hsm::AdoptedFrom::kForked,
                                 recovery.rolled_back, recovery.behind);
  params["keep"] = KeptAsRecorded(state, record) ? crypto::KeptLine(record) : "none";
  params["token-control"] = crypto::AnchorLine(control);
  params["token-evidence"] = crypto::AnchorLine(evidence);
  params["lost-control"] = LostRange(recovery.kept_control, control, state.ledger.epoch);
  params["lost-evidence"] = LostRange(recovery.kept_evidence, evidence, state.ledger.epoch);
  params["checkpoint-key"] = std::to_string(recovery.key);
  if (recovery.key > state.ledger.key + 1)
    return Conflict("the token's checkpoint key is number " + std::to_string(recovery.key) + ", the database knows " +
                        std::to_string(state.ledger.key) + ": restore a newer backup",
                    "checkpoint-key-changed");
  return params;
}

Result<Params> DraftKeyRotation(const State& state, const ProposalRequest& request, const Drawn& drawn) {
  if (!request.keyring.empty()) return Invalid("ledger.rotate-key has no keyring");
  for (const auto& [name, value] : request.params)
    if (name != "overlap-days") return Invalid("unknown parameter '" + name.substr(0, 40) + "'", "unknown-parameter");
  if (drawn.token.empty()) return Unavailable("no token to generate a checkpoint key in");
  Params params;
  const auto days = request.params.find("overlap-days");
  params["overlap-days"] = days == request.params.end() ? kDefaultOverlapDays : days->second;
  params["token"] = drawn.token;
  params["checkpoint-key"] = std::to_string(state.ledger.key + 1);
  crypto::ProposalText probe;
  probe.operation = request.operation;
  probe.params = params;
  TRY(crypto::KeyRotationOf(probe));
  return params;
}

Result<Params> DraftClock(const State& state, const ProposalRequest& request, const Drawn& drawn) {
  if (!request.keyring.empty() || !request.params.empty())
    return Invalid("clock.accept has neither keyring nor parameters: the appliance fills them in");
  // Frozen here, or the token has seen a time that this clock has not reached.
  if (drawn.clock_fault.empty() && drawn.token_seen <= drawn.host + kTokenSlack)
    return Conflict("the clock is not frozen", "clock-not-frozen");
  if (drawn.token.empty()) return Unavailable("no token to tell of the clock");
  Params params{{"clock", FormatTime(drawn.host)}, {"ledger-time", FormatTime(drawn.now)}, {"token", drawn.token}};
  if (!state.tokens.empty()) params["further-tokens"] = FurtherTokens(state);
  return params;
}

Result<Effect> EffectOfClock(const State& state, const crypto::ProposalText& p) {
  TRY(crypto::AcceptedClock(p));
  TRY(CheckFollowers(state, p));
  Effect effect;
  effect.changes_record = true;
  effect.entries = {ledger::ClockAccepted{}};
  return effect;
}

Result<Params> DraftArchive(const ProposalRequest& request, const Drawn& drawn) {
  TRY(OnlyParams(request.params, {"before", "where"}));
  const auto before = ParseTime(Get(request.params, "before"));
  if (!before || *before > drawn.now) return Invalid("before is a time that has been, like 2026-10-01T00:00:00Z");
  const auto where = Get(request.params, "where");
  if (where.empty()) return Invalid("where says where the export is kept that has what goes from here");
  if (!drawn.archive)
    return Conflict("there is no whole tile of signed evidence from before then that is not archived yet",
                    "nothing-to-archive");
  return Params{{"before", FormatTime(*before)},
                {"evidence-log", std::to_string(drawn.archive->size) + " " + ToHex(drawn.archive->root)},
                {"where", where}};
}

Result<ledger::EvidenceArchived> ArchiveOf(const crypto::ProposalText& p) {
  const auto head = Get(p.params, "evidence-log");
  const auto words = crypto::SplitWords(head);
  const auto root = words.size() == 2 ? FromHexArray<32>(words[1]) : std::nullopt;
  const auto size = words.size() == 2 ? crypto::ParseNumber(words[0]) : Result<std::uint64_t>(Invalid(""));
  if (p.operation != "ledger.archive" || !root || !size || *size == 0 || *size % crypto::kTileWidth != 0)
    return Invalid("the proposal is not one of ledger.archive");
  return ledger::EvidenceArchived{*size, *root, Get(p.params, "where")};
}

Result<Effect> EffectOfArchive(const State& state, const crypto::ProposalText& p) {
  TRY_ASSIGN(auto archived, ArchiveOf(p));
  if (archived.size <= state.ledger.archived) return Stale("more has been archived since");
  Effect effect;
  effect.entries = {std::move(archived)};
  return effect;
}

Result<Effect> EffectOfAdoption(const State& state, const crypto::ProposalText& p) {
  TRY_ASSIGN(const auto adoption, crypto::AdoptionOf(p));
  TRY_ASSIGN(const auto keys, NamedKeks(p));
  if (adoption.epoch <= state.ledger.epoch)
    return Stale("epoch " + std::to_string(state.ledger.epoch) + " is open by now");
  const auto named_key = p.params.find("checkpoint-key");
  TRY_ASSIGN(const auto key, crypto::ParseNumber(named_key == p.params.end() ? "" : named_key->second));
  Effect effect;
  effect.changes_record = true;
  ledger::EpochOpened opened;
  opened.epoch = adoption.epoch;
  for (const auto& named : keys)
    if (named.keyring.empty()) opened.unused_keys.push_back(named.id);
  effect.entries = {opened};
  if (key == state.ledger.key + 1)
    effect.entries.emplace_back(ledger::CheckpointKeyChanged{static_cast<std::uint32_t>(key), {}, {}, {}});
  else if (key != state.ledger.key)
    return Stale("the checkpoint key is another by now");
  State next = state;
  for (const auto& named : keys) {
    if (named.keyring.empty()) continue;
    const auto* keyring = next.FindKeyring(named.keyring);
    const auto kek = keyring == nullptr ? crypto::KeyId() : crypto::MakeKeyId(keyring->id, named.version);
    if (keyring == nullptr || named.version != keyring->versions.size() + 1 ||
        named.id != Bytes(kek.begin(), kek.end()))
      return Stale("keyring '" + named.keyring + "' has changed");
    for (auto& body : VersionEntries(next, *keyring, named.version, named.suite, adoption.token)) {
      TRY(Apply(next, {0, body}));
      effect.entries.push_back(std::move(body));
    }
  }
  return effect;
}

Result<Effect> EffectOfKeyRotation(const State& state, const crypto::ProposalText& p) {
  TRY_ASSIGN(const auto rotation, crypto::KeyRotationOf(p));
  if (rotation.key != state.ledger.key + 1) return Stale("the checkpoint key is another by now");
  Effect effect;
  effect.changes_record = true;
  effect.entries = {ledger::CheckpointKeyChanged{rotation.key, {}, {}, {}}};
  return effect;
}

}  // namespace strongroom::appliance
