#include "crypto/custody/record_former.h"

#include <algorithm>

#include "crypto/base/wire.h"

namespace strongroom::crypto {
namespace {

constexpr std::uint8_t kLastFormer = 6;

// The last moment that has a text. A later one is taken for it: sums of two such are still times.
constexpr Millis kLastMoment = Millis{253402300799} * 1000;  // 9999-12-31T23:59:59Z
Millis Moment(std::uint64_t time) {
  return static_cast<Millis>(std::min(time, static_cast<std::uint64_t>(kLastMoment)));
}

void ReadLists4(WireReader& in, FormerParts& p) {
  p.control_floor = in.U64();
  for (int n = in.U16(); n > 0 && in.ok(); --n) {
    const auto key = in.Array<20>();
    p.pending.emplace_back(key, Moment(in.U64()));
  }
}
void ReadLists5(WireReader& in, FormerParts& p) {
  for (int n = in.U16(); n > 0 && in.ok(); --n) {
    FormerParts::NamedMandate m;
    m.keyring = in.Array<16>();
    m.name = in.Text();
    const auto suite = in.U8();
    if (suite < 1 || suite > 2) in.Fail();
    m.suite = static_cast<Suite>(suite);
    for (auto* at : {&m.interval, &m.until, &m.next}) *at = Moment(in.U64());
    p.mandates.push_back(std::move(m));
  }
}
void ReadLists6(WireReader& in, FormerParts& p) {
  for (int n = in.U16(); n > 0 && in.ok(); --n) {
    FormerParts::NamedRelease r;
    r.keyring = in.Array<16>();
    r.to = in.Text();
    r.until = Moment(in.U64());
    p.releases.push_back(std::move(r));
  }
  const auto further = in.U8();
  if (further > 1) in.Fail();
  p.further = further == 1;
  for (int n = in.U16(); n > 0 && in.ok(); --n) {
    FormerParts::NamedMember m;
    for (auto* text : {&m.member.serial, &m.member.label, &m.member.model, &m.member.manufacturer, &m.group})
      *text = in.Text();
    p.members.push_back(std::move(m));
  }
}

bool ReadParts(ByteView bytes, FormerParts& p) {
  WireReader in(bytes);
  const auto format = in.U8();
  for (int n = in.U16(); n > 0 && in.ok(); --n) {
    Anchor anchor;
    anchor.origin = in.Text();
    anchor.size = in.U64();
    anchor.root = in.Array<32>();
    p.anchors.push_back(std::move(anchor));
  }
  if (format >= 2) {
    p.key = in.U32();
    p.former_until = Moment(in.U64());
  }
  if (format >= 3) {
    p.serial = in.U64();
    p.roster_version = in.U64();
    p.roster_hash = in.Array<32>();
    p.seen = Moment(in.U64());
    for (int n = in.U16(); n > 0 && in.ok(); --n) {
      const auto id = in.Array<16>();
      p.spent.emplace_back(id, Moment(in.U64()));
    }
  }
  if (format >= 4) ReadLists4(in, p);
  if (format >= 5) ReadLists5(in, p);
  if (format >= 6) ReadLists6(in, p);
  return format >= 1 && format <= kLastFormer && in.Complete() && p.key > 0;
}

// An interval in whole steps of 30 days, never shorter than it was.
Millis Interval(Millis former) {
  constexpr Millis kStep = 30 * kDay;
  return std::clamp<Millis>((former + kStep - 1) / kStep, 1, 255) * kStep;
}

Result<LedgerRecord> Converted(const FormerParts& p) {
  LedgerRecord r;
  r.serial = p.serial;
  r.key = p.key;
  r.former_until = p.former_until;
  for (const auto& anchor : p.anchors) {
    TRY_ASSIGN(const auto origin, ParseOrigin(anchor.origin));
    r.instance = origin.instance;
    r.epoch = std::max(r.epoch, origin.epoch);
    if (!origin.control) r.nodes = {"node-1"};
    r.anchors.push_back(anchor);
  }
  auto& c = r.custody;
  c.roster_version = p.roster_version;
  c.roster_hash = p.roster_hash;
  c.seen = p.seen;
  c.floor_set = p.control_floor != 0;
  c.floor = p.control_floor;
  c.further = p.further;
  for (const auto& [key, due] : p.pending)
    c.pending.push_back({key, WholeMinutesUp(std::max(due - p.seen, kDay)), false});
  for (const auto& m : p.mandates)
    c.mandates.push_back({m.keyring, ShareOf(m.name), m.suite, Interval(m.interval), WholeMinutesDown(m.until),
                          WholeMinutesUp(m.next), 0});
  for (const auto& release : p.releases)
    c.releases.push_back({release.keyring, TokenHash(release.to), WholeMinutesDown(release.until),
                          WholeMinutesDown(std::max<Millis>(release.until - p.seen, 0))});
  for (const auto& m : p.members) {
    c.members.push_back(m.member);
    c.members.back().group = m.group;
    r.token = m.group;
  }
  return r;
}

}  // namespace

Result<LedgerRecord> DecodeFormerRecord(ByteView bytes) {
  FormerParts parts;
  auto converted = ReadParts(bytes, parts) ? Converted(parts) : Result<LedgerRecord>(Invalid(""));
  const auto damaged = [] { return Integrity("the custody record in the token cannot be read", "record-damaged"); };
  if (!converted) return damaged();
  // What could not be read back in format 7 is not half upgraded. The token's name comes with the upgrade.
  auto named = *converted;
  if (named.token.empty()) named.token = "token";
  if (!DecodeRecord(EncodeRecord(named))) return damaged();
  return converted;
}

Bytes EncodeFormerParts(const FormerParts& p, std::uint8_t format) {
  WireWriter out;
  out.U8(format);
  out.U16(static_cast<std::uint16_t>(p.anchors.size()));
  for (const auto& anchor : p.anchors) {
    out.Text(anchor.origin);
    out.U64(anchor.size);
    out.Raw(anchor.root);
  }
  const auto time = [&](Millis at) { out.U64(static_cast<std::uint64_t>(at)); };
  if (format >= 2) {
    out.U32(p.key);
    time(p.former_until);
  }
  if (format >= 3) {
    out.U64(p.serial);
    out.U64(p.roster_version);
    out.Raw(p.roster_hash);
    time(p.seen);
    out.U16(static_cast<std::uint16_t>(p.spent.size()));
    for (const auto& [id, until] : p.spent) {
      out.Raw(id);
      time(until);
    }
  }
  if (format >= 4) {
    out.U64(p.control_floor);
    out.U16(static_cast<std::uint16_t>(p.pending.size()));
    for (const auto& [key, due] : p.pending) {
      out.Raw(key);
      time(due);
    }
  }
  if (format >= 5) {
    out.U16(static_cast<std::uint16_t>(p.mandates.size()));
    for (const auto& m : p.mandates) {
      out.Raw(m.keyring);
      out.Text(m.name);
      out.U8(static_cast<std::uint8_t>(m.suite));
      for (const auto at : {m.interval, m.until, m.next}) time(at);
    }
  }
  if (format < kLastFormer) return std::move(out).Take();
  out.U16(static_cast<std::uint16_t>(p.releases.size()));
  for (const auto& release : p.releases) {
    out.Raw(release.keyring);
    out.Text(release.to);
    time(release.until);
  }
  out.U8(p.further ? 1 : 0);
  out.U16(static_cast<std::uint16_t>(p.members.size()));
  for (const auto& m : p.members)
    for (const auto* text : {&m.member.serial, &m.member.label, &m.member.model, &m.member.manufacturer, &m.group})
      out.Text(*text);
  return std::move(out).Take();
}

Result<LedgerRecord> NewerFormerRecord(const LedgerRecord& a, const LedgerRecord& b) {
  const auto forked = [] {
    return Integrity("the token has two custody records that contradict each other", "custody-forked");
  };
  if (a.serial != b.serial) return a.serial > b.serial ? a : b;
  if (a == b) return a;
  if (a.serial > 0) return forked();
  const auto covers = [](const LedgerRecord& newer, const LedgerRecord& older) {
    if (newer.key < older.key || (newer.key == older.key && newer.former_until != older.former_until)) return false;
    if (newer.epoch != older.epoch) return newer.epoch > older.epoch;
    return std::all_of(older.anchors.begin(), older.anchors.end(), [&](const Anchor& old) {
      return std::any_of(newer.anchors.begin(), newer.anchors.end(),
                         [&](const Anchor& n) { return n.origin == old.origin && (n.size > old.size || n == old); });
    });
  };
  if (covers(a, b)) return a;
  if (covers(b, a)) return b;
  return forked();
}

const Bytes& Tombstone() {
  static const Bytes bytes = [] {
    FormerParts p;
    p.anchors = {{ControlOrigin(InstanceId{}), ~std::uint64_t{0} >> 1, Digest{}}};
    p.serial = ~std::uint64_t{0};
    p.roster_version = ~std::uint64_t{0};
    p.seen = kLastMoment;
    p.further = true;
    return EncodeFormerParts(p);
  }();
  return bytes;
}

}  // namespace strongroom::crypto
