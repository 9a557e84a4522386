#include "appliance/state_rows.h"

#include <algorithm>

#include "crypto/base/wire.h"
#include "crypto/text_rules.h"

namespace strongroom::appliance {
namespace {

constexpr std::string_view kRoster = "roster";
constexpr std::string_view kKeyring = "keyring/";
constexpr std::string_view kProposal = "proposal/";
constexpr std::string_view kLedger = "ledger";
constexpr std::string_view kBreakGlass = "break-glass/";
constexpr std::string_view kJob = "job/";
constexpr std::string_view kCensus = "census/";        // keyring id, service
constexpr std::string_view kEmergency = "emergency/";  // keyring id, version
constexpr std::string_view kOwed = "owed/";            // keyring id; there while a rotation's job has not begun
constexpr std::string_view kToken = "token/";          // serial number
constexpr std::string_view kMember = "member/";        // serial number
constexpr std::string_view kClock = "clock";           // there while it is frozen
constexpr std::uint8_t kFormat = 1;

Bytes EncodeKeyring(const Keyring& k) {
  WireWriter out;
  out.U8(kFormat);
  out.Raw(k.id);
  out.Text(k.name);
  out.Text(k.custody);
  out.Text(k.grants.Text());
  out.U64(static_cast<std::uint64_t>(k.created));
  out.U64(static_cast<std::uint64_t>(k.last_rotation));
  out.U32(k.primary);
  out.U32(static_cast<std::uint32_t>(k.versions.size()));
  for (const auto& [number, v] : k.versions) {
    out.U32(number);
    out.U8(static_cast<std::uint8_t>(v.state));
    out.U8(static_cast<std::uint8_t>(v.suite));
    out.Text(v.custody);
    out.Raw(v.kek);
    out.Text(v.token);
    for (const auto at : {v.announced, v.activated, v.deactivated}) out.U64(static_cast<std::uint64_t>(at));
  }
  // What most keyrings do not have stands behind; rows of earlier versions end here.
  const auto moved =
      std::count_if(k.versions.begin(), k.versions.end(), [](const auto& v) { return v.second.moved != 0; });
  if (k.enabled && moved == 0 && k.policy == KeyringPolicy() && k.mandated == 0) return std::move(out).Take();
  out.U8(k.enabled ? 1 : 0);
  out.U32(static_cast<std::uint32_t>(moved));
  for (const auto& [number, v] : k.versions) {
    if (v.moved == 0) continue;
    out.U32(number);
    out.U8(v.compromised ? 1 : 0);
    for (const auto at : {v.moved, v.due}) out.U64(static_cast<std::uint64_t>(at));
  }
  out.U32(k.policy.days);
  out.U64(static_cast<std::uint64_t>(k.policy.until));
  out.U8(k.policy.enforce ? 1 : 0);
  out.U64(static_cast<std::uint64_t>(k.policy.set));
  out.U32(k.mandated);
  if (k.policy.rewrap && k.policy.expire_days == 0 && !k.policy.attest) return std::move(out).Take();
  out.U8(k.policy.rewrap ? 1 : 0);
  out.U32(k.policy.expire_days);
  out.U8(k.policy.attest ? 1 : 0);
  return std::move(out).Take();
}

Error Damaged(std::string_view key) {
  return Integrity("the state row '" + std::string(key) + "' is damaged: run strongroom ledger rebuild",
                   "ledger-damaged");
}

Result<Keyring> DecodeKeyring(std::string_view key, ByteView bytes) {
  WireReader in(bytes);
  Keyring k;
  const auto format = in.U8();
  k.id = in.Array<16>();
  k.name = in.Text();
  k.custody = in.Text();
  const auto grants = Grants::Parse(in.Text());
  k.created = static_cast<Millis>(in.U64());
  k.last_rotation = static_cast<Millis>(in.U64());
  k.primary = in.U32();
  for (auto n = in.U32(); n > 0 && in.ok(); --n) {
    Version v;
    v.number = in.U32();
    const auto state = in.U8(), suite = in.U8();
    if (state < 1 || state > 7 || suite < 1 || suite > 2) in.Fail();
    v.state = static_cast<VersionState>(state);
    v.suite = static_cast<crypto::Suite>(suite);
    v.custody = in.Text();
    v.kek = in.Array<20>();
    v.token = in.Text();
    for (auto* at : {&v.announced, &v.activated, &v.deactivated}) *at = static_cast<Millis>(in.U64());
    k.versions.emplace(v.number, std::move(v));
  }
  if (in.ok() && in.remaining() > 0) {
    k.enabled = in.U8() == 1;
    for (auto n = in.U32(); n > 0 && in.ok(); --n) {
      const auto at = k.versions.find(in.U32());
      const auto compromised = in.U8();
      const auto moved = static_cast<Millis>(in.U64()), due = static_cast<Millis>(in.U64());
      if (at == k.versions.end()) return Damaged(key);
      at->second.compromised = compromised == 1;
      at->second.moved = moved;
      at->second.due = due;
    }
    k.policy.days = in.U32();
    k.policy.until = static_cast<Millis>(in.U64());
    k.policy.enforce = in.U8() == 1;
    k.policy.set = static_cast<Millis>(in.U64());
    k.mandated = in.U32();
    if (in.ok() && in.remaining() > 0) {
      k.policy.rewrap = in.U8() == 1;
      k.policy.expire_days = in.U32();
      k.policy.attest = in.U8() == 1;
    }
  }
  if (format != kFormat || !in.Complete() || !grants) return Damaged(key);
  k.grants = *grants;
  return k;
}

Bytes EncodeProposal(const Proposal& p) {
  WireWriter out;
  out.U8(kFormat);
  out.Text(p.text);
  out.U16(static_cast<std::uint16_t>(p.votes.size()));
  for (const auto& vote : p.votes) crypto::PutVote(out, vote);
  out.U8(static_cast<std::uint8_t>(p.fate));
  out.Text(p.executor);
  out.Text(p.outcome);
  return std::move(out).Take();
}

Result<Proposal> DecodeProposal(std::string_view key, ByteView bytes) {
  WireReader in(bytes);
  Proposal p;
  const auto format = in.U8();
  p.text = in.Text();
  for (int n = in.U16(); n > 0 && in.ok(); --n) {
    p.votes.push_back(crypto::GetVote(in));
  }
  const auto fate = in.U8();
  if (fate < 1 || fate > 7) in.Fail();
  p.fate = static_cast<ProposalFate>(fate);
  p.executor = in.Text();
  p.outcome = in.Text();
  if (format != kFormat || !in.Complete()) return Damaged(key);
  TRY_ASSIGN(p.parsed, crypto::ProposalText::Parse(p.text));
  p.id = crypto::ProposalId(p.text);
  return p;
}

ledger::Row LedgerRow(const State& state) {
  const auto& facts = state.ledger;
  WireWriter out;
  out.U8(kFormat);
  out.U64(facts.epoch);
  out.U32(facts.key);
  out.U16(static_cast<std::uint16_t>(facts.keys.size()));
  for (const auto& key : facts.keys) out.Text(key);
  out.U32(static_cast<std::uint32_t>(facts.unused_keys.size()));
  for (const auto& key : facts.unused_keys) out.Blob(key);
  // What most have not stands behind; rows of earlier versions end here.
  if (facts.archived != 0 || facts.forgotten != 0) out.U64(facts.archived);
  if (facts.forgotten != 0) out.U64(facts.forgotten);
  return {std::string(kLedger), std::move(out).Take()};
}

Result<LedgerFacts> DecodeLedger(ByteView bytes) {
  WireReader in(bytes);
  LedgerFacts facts;
  const auto format = in.U8();
  facts.epoch = in.U64();
  facts.key = in.U32();
  for (int n = in.U16(); n > 0 && in.ok(); --n) facts.keys.emplace_back(in.Text());
  for (auto n = in.U32(); n > 0 && in.ok(); --n) {
    const auto key = in.Blob();
    facts.unused_keys.emplace(key.begin(), key.end());
  }
  if (in.ok() && in.remaining() > 0) facts.archived = in.U64();
  if (in.ok() && in.remaining() > 0) facts.forgotten = in.U64();
  if (format != kFormat || !in.Complete()) return Damaged(kLedger);
  return facts;
}

Bytes EncodeBreakGlass(const BreakGlass& b) {
  WireWriter out;
  out.U8(kFormat);
  for (const auto* text : {&b.check, &b.scope, &b.requester, &b.reason, &b.closed_by, &b.reviewer, &b.finding})
    out.Text(*text);
  out.U8(b.drill ? 1 : 0);
  for (const auto at : {b.opened, b.until, b.closed}) out.U64(static_cast<std::uint64_t>(at));
  out.U64(b.most_uses);
  out.U64(b.uses);
  return std::move(out).Take();
}

Result<BreakGlass> DecodeBreakGlass(std::string_view key, ByteView bytes) {
  WireReader in(bytes);
  BreakGlass b;
  const auto format = in.U8();
  for (auto* text : {&b.check, &b.scope, &b.requester, &b.reason, &b.closed_by, &b.reviewer, &b.finding})
    *text = in.Text();
  const auto drill = in.U8();
  b.drill = drill == 1;
  for (auto* at : {&b.opened, &b.until, &b.closed}) *at = static_cast<Millis>(in.U64());
  b.most_uses = in.U64();
  b.uses = in.U64();
  if (format != kFormat || drill > 1 || !in.Complete()) return Damaged(key);
  b.id = key.substr(kBreakGlass.size());
  return b;
}

Bytes EncodeJob(const Job& j) {
  WireWriter out;
  out.U8(kFormat);
  out.U8(static_cast<std::uint8_t>(j.kind));
  out.Raw(j.keyring);
  out.U32(j.target);
  out.U8(j.retry ? 1 : 0);
  out.U8(static_cast<std::uint8_t>(j.state));
  for (const auto at : {j.started, j.switched}) out.U64(static_cast<std::uint64_t>(at));
  out.Text(j.by);
  out.Text(j.reason);
  return std::move(out).Take();
}

Result<Job> DecodeJob(std::string_view key, ByteView bytes) {
  WireReader in(bytes);
  Job j;
  const auto format = in.U8(), kind = in.U8();
  j.keyring = in.Array<16>();
  j.target = in.U32();
  j.retry = in.U8() == 1;
  const auto state = in.U8();
  for (auto* at : {&j.started, &j.switched}) *at = static_cast<Millis>(in.U64());
  j.by = in.Text();
  j.reason = in.Text();
  if (format != kFormat || kind < 1 || kind > 3 || state < 1 || state > 6 || !in.Complete()) return Damaged(key);
  j.id = key.substr(kJob.size());
  j.kind = static_cast<ledger::JobStarted::Kind>(kind);
  j.state = static_cast<JobState>(state);
  return j;
}

// The rest of a row's name behind its prefix: a keyring's id and what stands behind the slash.
Result<std::pair<crypto::KeyringId, std::string>> SplitName(std::string_view key, std::string_view prefix) {
  const auto rest = key.substr(prefix.size());
  const auto id = rest.size() > 33 && rest[32] == '/' ? FromHexArray<16>(rest.substr(0, 32)) : std::nullopt;
  if (!id) return Damaged(key);
  return std::pair(*id, std::string(rest.substr(33)));
}

ledger::Row CensusRow(const State& state, const std::pair<crypto::KeyringId, std::string>& key) {
  auto name = std::string(kCensus) + ToHex(key.first) + "/" + key.second;
  const auto at = state.acknowledged.find(key);
  if (at == state.acknowledged.end()) return {std::move(name), std::nullopt};
  const auto& a = at->second;
  WireWriter out;
  out.U8(kFormat);
  out.U32(a.version);
  out.U64(a.count);
  out.U64(static_cast<std::uint64_t>(a.time));
  return {std::move(name), std::move(out).Take()};
}

ledger::Row EmergencyRow(const std::pair<crypto::KeyringId, std::uint32_t>& key, const Emergency& e) {
  WireWriter out;
  out.U8(kFormat);
  for (const auto at : {e.opened, e.closed}) out.U64(static_cast<std::uint64_t>(at));
  out.Text(e.by);
  out.Text(e.report);
  return {std::string(kEmergency) + ToHex(key.first) + "/" + std::to_string(key.second), std::move(out).Take()};
}

Result<void> LoadCensusRow(State& state, std::string_view key, ByteView value) {
  TRY_ASSIGN(const auto name, SplitName(key, kCensus));
  WireReader in(value);
  Acknowledgement a;
  const auto format = in.U8();
  a.version = in.U32();
  a.count = in.U64();
  a.time = static_cast<Millis>(in.U64());
  if (format != kFormat || !in.Complete()) return Damaged(key);
  state.acknowledged[name] = a;
  return {};
}

Result<void> LoadEmergencyRow(State& state, std::string_view key, ByteView value) {
  TRY_ASSIGN(const auto name, SplitName(key, kEmergency));
  TRY_ASSIGN(const auto version, crypto::ParseNumber(name.second));
  WireReader in(value);
  Emergency e;
  const auto format = in.U8();
  for (auto* at : {&e.opened, &e.closed}) *at = static_cast<Millis>(in.U64());
  e.by = in.Text();
  e.report = in.Text();
  if (format != kFormat || !in.Complete()) return Damaged(key);
  state.emergencies[{name.first, static_cast<std::uint32_t>(version)}] = e;
  return {};
}

Bytes EncodeToken(const FurtherToken& token) {
  WireWriter out;
  out.U8(kFormat);
  for (const auto* text : {&token.label, &token.model, &token.manufacturer}) out.Text(*text);
  out.U8(token.customer ? 1 : 0);
  out.U64(static_cast<std::uint64_t>(token.enrolled));
  return std::move(out).Take();
}

Result<void> LoadTokenRow(State& state, std::string_view key, ByteView value) {
  WireReader in(value);
  FurtherToken token;
  const auto format = in.U8();
  for (auto* text : {&token.label, &token.model, &token.manufacturer}) *text = in.Text();
  const auto customer = in.U8();
  token.customer = customer == 1;
  token.enrolled = static_cast<Millis>(in.U64());
  if (format != kFormat || customer > 1 || !in.Complete()) return Damaged(key);
  state.tokens.emplace(key.substr(kToken.size()), std::move(token));
  return {};
}

Bytes EncodeMember(const crypto::Member& member) {
  WireWriter out;
  out.U8(kFormat);
  for (const auto* text : {&member.label, &member.model, &member.manufacturer, &member.group}) out.Text(*text);
  return std::move(out).Take();
}

Result<void> LoadMemberRow(State& state, std::string_view key, ByteView value) {
  WireReader in(value);
  crypto::Member member;
  const auto format = in.U8();
  for (auto* text : {&member.label, &member.model, &member.manufacturer, &member.group}) *text = in.Text();
  if (format != kFormat || !in.Complete()) return Damaged(key);
  member.serial = key.substr(kMember.size());
  state.members.emplace(member.serial, std::move(member));
  return {};
}

ledger::Row RosterRow(const State& state) {
  const auto text = AsBytes(state.roster->text());
  return {std::string(kRoster), Bytes(text.begin(), text.end())};
}

}  // namespace

std::vector<ledger::Row> RowsOf(const State& state, const Changed& changed) {
  std::vector<ledger::Row> rows;
  for (const auto& name : changed.keyrings)
    rows.push_back({std::string(kKeyring) + name, EncodeKeyring(*state.FindKeyring(name))});
  for (const auto& id : changed.proposals) {
    const auto* proposal = state.FindProposal(id);
    rows.push_back({std::string(kProposal) + id,
                    proposal == nullptr ? std::nullopt : std::optional<Bytes>(EncodeProposal(*proposal))});
  }
  for (const auto& id : changed.break_glass)
    rows.push_back({std::string(kBreakGlass) + id, EncodeBreakGlass(*state.break_glass.at(id))});
  for (const auto& id : changed.jobs) rows.push_back({std::string(kJob) + id, EncodeJob(*state.jobs.at(id))});
  for (const auto& key : changed.acknowledged) rows.push_back(CensusRow(state, key));
  for (const auto& id : changed.owed)
    rows.push_back({std::string(kOwed) + ToHex(id),
                    state.owed.contains(id) ? std::optional<Bytes>(Bytes{kFormat}) : std::nullopt});
  for (const auto& key : changed.emergencies) rows.push_back(EmergencyRow(key, state.emergencies.at(key)));
  for (const auto& serial : changed.tokens)
    rows.push_back({std::string(kToken) + serial, EncodeToken(state.tokens.at(serial))});
  for (const auto& serial : changed.members)
    rows.push_back({std::string(kMember) + serial, EncodeMember(state.members.at(serial))});
  if (changed.clock)
    rows.push_back({std::string(kClock), state.clock_frozen ? std::optional<Bytes>(Bytes{kFormat}) : std::nullopt});
  if (changed.ledger) rows.push_back(LedgerRow(state));
  if (changed.roster) rows.push_back(RosterRow(state));
  return rows;
}

std::vector<ledger::Row> AllRows(const State& state) {
  Changed all;
  all.roster = state.roster != nullptr;
  all.ledger = state.ledger != LedgerFacts();
  all.clock = state.clock_frozen;
  for (const auto& [id, opened] : state.break_glass) all.break_glass.push_back(id);
  for (const auto& [id, job] : state.jobs) all.jobs.push_back(id);
  for (const auto& [key, acknowledged] : state.acknowledged) all.acknowledged.push_back(key);
  for (const auto& [key, emergency] : state.emergencies) all.emergencies.push_back(key);
  for (const auto& [serial, token] : state.tokens) all.tokens.push_back(serial);
  for (const auto& [serial, member] : state.members) all.members.push_back(serial);
  all.owed.assign(state.owed.begin(), state.owed.end());
  for (const auto& [name, keyring] : state.keyrings) all.keyrings.push_back(name);
  for (const auto& [id, proposal] : state.proposals) all.proposals.push_back(id);
  return RowsOf(state, all);
}

Result<void> LoadRow(State& state, std::string_view key, ByteView value) {
  if (key == kRoster) {
    TRY_ASSIGN(auto roster, crypto::Roster::Parse(AsText(value)));
    state.roster = std::make_shared<const crypto::Roster>(std::move(roster));
    return {};
  }
  if (key == kLedger) {
    TRY_ASSIGN(state.ledger, DecodeLedger(value));
    return {};
  }
  if (key == kClock) {
    if (value.size() != 1 || value[0] != kFormat) return Damaged(key);
    state.clock_frozen = true;
    return {};
  }
  if (key.starts_with(kOwed)) {
    const auto id = FromHexArray<16>(key.substr(kOwed.size()));
    if (!id || value.size() != 1 || value[0] != kFormat) return Damaged(key);
    state.owed.insert(*id);
    return {};
  }
  if (key.starts_with(kMember)) return LoadMemberRow(state, key, value);
  if (key.starts_with(kToken)) return LoadTokenRow(state, key, value);
  if (key.starts_with(kCensus)) return LoadCensusRow(state, key, value);
  if (key.starts_with(kEmergency)) return LoadEmergencyRow(state, key, value);
  if (key.starts_with(kJob)) {
    TRY_ASSIGN(auto job, DecodeJob(key, value));
    const auto id = job.id;
    state.jobs[id] = std::make_shared<const Job>(std::move(job));
    return {};
  }
  if (key.starts_with(kBreakGlass)) {
    TRY_ASSIGN(auto opened, DecodeBreakGlass(key, value));
    const auto id = opened.id;
    state.break_glass[id] = std::make_shared<const BreakGlass>(std::move(opened));
    return {};
  }
  if (key.starts_with(kKeyring)) {
    TRY_ASSIGN(auto keyring, DecodeKeyring(key, value));
    if (key.substr(kKeyring.size()) != keyring.name) return Damaged(key);
    state.keyring_names.insert_or_assign(keyring.id, keyring.name);
    const auto name = keyring.name;
    state.keyrings.insert_or_assign(name, std::make_shared<const Keyring>(std::move(keyring)));
    return {};
  }
  if (key.starts_with(kProposal)) {
    TRY_ASSIGN(auto proposal, DecodeProposal(key, value));
    if (key.substr(kProposal.size()) != proposal.id) return Damaged(key);
    const auto id = proposal.id;
    state.proposals.insert_or_assign(id, std::make_shared<const Proposal>(std::move(proposal)));
    return {};
  }
  return Damaged(key);
}

Result<State> Replay(const ledger::Ledger& ledger) {
  State state;
  std::optional<Error> failure;
  TRY(ledger.Read(ledger::Log::kControl, 0, [&](std::uint64_t index, ByteView bytes) {
    const auto entry = ledger::DecodeControl(bytes);
    const auto applied = entry ? Apply(state, *entry) : Result<Changed>(entry.error());
    if (applied) return true;
    failure = applied.error();
    failure->detail += " (control entry " + std::to_string(index) + ")";
    return false;
  }));
  if (failure) return *failure;
  return state;
}

Result<State> Load(const ledger::Ledger& ledger) {
  State state;
  std::optional<Error> failure;
  TRY(ledger.ReadState([&](std::string_view key, ByteView value) {
    const auto loaded = LoadRow(state, key, value);
    if (!loaded) failure = loaded.error();
    return !failure;
  }));
  if (failure) return *failure;
  return state;
}

Result<State> LoadVerified(const ledger::Ledger& ledger) {
  TRY_ASSIGN(auto state, Replay(ledger));
  if (ledger.FirstStored(ledger::Log::kEvidence) > state.ledger.archived)
    return Integrity("the evidence log begins with entry " +
                         std::to_string(ledger.FirstStored(ledger::Log::kEvidence)) +
                         ", and votes have archived no more than " + std::to_string(state.ledger.archived),
                     "ledger-damaged");
  std::map<std::string, Bytes, std::less<>> expected;
  for (auto& row : AllRows(state)) expected[row.key] = std::move(*row.value);
  std::size_t seen = 0;
  bool same = true;
  TRY(ledger.ReadState([&](std::string_view key, ByteView value) {
    const auto at = expected.find(key);
    same = at != expected.end() && std::equal(value.begin(), value.end(), at->second.begin(), at->second.end());
    ++seen;
    return same;
  }));
  if (!same || seen != expected.size())
    return Integrity(
        "the state table does not follow from the control log: find out who changed it, then run strongroom "
        "ledger rebuild",
        "state-differs");
  return state;
}

}  // namespace strongroom::appliance
