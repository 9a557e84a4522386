#include "crypto/custody/record.h"

#include <algorithm>

#include "crypto/base/wire.h"
#include "crypto/custody/record_former.h"
#include "crypto/text_rules.h"

namespace strongroom::crypto {
namespace {

constexpr std::uint8_t kFormat = 7;
constexpr std::uint8_t kKindRecord = 1, kKindNodeHead = 2;
constexpr std::uint8_t kRootFormat = 1;
constexpr std::size_t kMostShort = 64;
constexpr Millis kMandateStep = 30 * kDay;

Error Damaged() { return Integrity("the custody record in the token cannot be read", "record-damaged"); }

// One description of the record writes it and reads it: each field is passed to the archive once.
class Writing {
 public:
  void U8(const std::uint8_t& v) { out_.U8(v); }
  void U32(const std::uint32_t& v) { out_.U32(v); }
  void U64(const std::uint64_t& v) { out_.U64(v); }
  void Flag(const bool& v) { out_.U8(v ? 1 : 0); }
  void Time(const Millis& v) { out_.U64(static_cast<std::uint64_t>(v)); }
  void Minutes(const Millis& v) { out_.U32(static_cast<std::uint32_t>(v / kMinute)); }
  template <std::size_t N>
  void Array(const std::array<std::uint8_t, N>& v) {
    out_.Raw(v);
  }
  // A length of one byte and visible ASCII.
  void Short(const std::string& v, bool /*may_be_empty*/ = false) {
    out_.U8(static_cast<std::uint8_t>(v.size()));
    out_.Raw(AsBytes(v));
  }
  void KindOfSuite(const Suite& v) { out_.U8(static_cast<std::uint8_t>(v)); }
  void Steps(const Millis& v) { out_.U8(static_cast<std::uint8_t>(v / kMandateStep)); }
  template <class Item, class Each>
  void List(const std::vector<Item>& items, Each each) {
    out_.U16(static_cast<std::uint16_t>(items.size()));
    for (const auto& item : items) each(*this, item);
  }
  Bytes Sealed() && {
    const auto digest = Sha256(out_.bytes());
    out_.Raw(digest);
    return std::move(out_).Take();
  }

 private:
  WireWriter out_;
};

class Reading {
 public:
  explicit Reading(ByteView bytes) : in_(bytes) {}
  void U8(std::uint8_t& v) { v = in_.U8(); }
  void U32(std::uint32_t& v) { v = in_.U32(); }
  void U64(std::uint64_t& v) { v = in_.U64(); }
  void Flag(bool& v) {
    const auto byte = in_.U8();
    if (byte > 1) in_.Fail();
    v = byte == 1;
  }
  void Time(Millis& v) {
    const auto read = in_.U64();
    if (read > static_cast<std::uint64_t>(kLatest)) in_.Fail();
    v = static_cast<Millis>(read);
  }
  void Minutes(Millis& v) { v = static_cast<Millis>(in_.U32()) * kMinute; }
  template <std::size_t N>
  void Array(std::array<std::uint8_t, N>& v) {
    v = in_.Array<N>();
  }
  void Short(std::string& v, bool may_be_empty = false) {
    const std::size_t size = in_.U8();
    if (size > kMostShort || (size == 0 && !may_be_empty)) in_.Fail();
    v = AsText(in_.Raw(size));
    if (!std::all_of(v.begin(), v.end(), [](char c) { return c >= ' ' && c < 0x7F; })) in_.Fail();
  }
  void KindOfSuite(Suite& v) {
    const auto read = in_.U8();
    if (read < 1 || read > 2) in_.Fail();
    v = static_cast<Suite>(read);
  }
  void Steps(Millis& v) { v = in_.U8() * kMandateStep; }
  template <class Item, class Each>
  void List(std::vector<Item>& items, Each each) {
    for (int n = in_.U16(); n > 0 && in_.ok(); --n) {
      items.emplace_back();
      each(*this, items.back());
    }
  }
  bool ok() const { return in_.ok(); }
  void Fail() { in_.Fail(); }
  bool Complete() const { return in_.Complete(); }

 private:
  static constexpr Millis kLatest = Millis{1} << 52;
  WireReader in_;
};

template <class Archive, class W>
void WriterFields(Archive& ar, W& writer) {
  ar.Array(writer.installation);
  ar.Array(writer.start);
  ar.U64(writer.count);
  ar.Flag(writer.settled);
}

// The lists behind the fixed fields.
template <class Archive, class C>
void Lists(Archive& ar, C& c) {
  ar.List(c.spent, [](auto& a, auto& s) {
    a.Array(s.id);
    a.Minutes(s.until);
    a.Array(s.share);
  });
  ar.List(c.pending, [](auto& a, auto& p) {
    a.Array(p.key);
    a.Minutes(p.due);
    a.Flag(p.going);
  });
  ar.List(c.mandates, [](auto& a, auto& m) {
    a.Array(m.keyring);
    a.Array(m.share);
    a.KindOfSuite(m.suite);
    a.Steps(m.interval);
    a.Minutes(m.until);
    a.Minutes(m.next);
    a.Minutes(m.next_watched);
  });
  ar.List(c.releases, [](auto& a, auto& r) {
    a.Array(r.keyring);
    a.Array(r.to);
    a.Minutes(r.until);
    a.Minutes(r.end_watched);
  });
  ar.List(c.members, [](auto& a, auto& m) {
    a.Short(m.serial);
    a.Short(m.label);
    a.Short(m.model);
    a.Short(m.manufacturer);
  });
}

// Every field of the record but its format and digest, in the order of hsm/CUSTODY.md. The head of the control log has
// no origin of its own: that follows from instance and epoch.
template <class Archive, class R, class H>
void Fields(Archive& ar, R& r, H& head) {
  ar.Array(r.instance);
  ar.Short(r.token);
  ar.U64(r.term);
  ar.Short(r.node);
  WriterFields(ar, r.writer);
  ar.U64(r.serial);
  ar.U64(r.epoch);
  ar.U64(head.size);
  ar.Array(head.root);
  ar.List(r.nodes, [](auto& a, auto& node) { a.Short(node); });
  ar.U32(r.key);
  ar.Time(r.former_until);
  auto& c = r.custody;
  ar.U64(c.roster_version);
  ar.Array(c.roster_hash);
  ar.Time(c.seen);
  ar.Array(c.course.boot_id);
  ar.Time(c.course.boot);
  ar.Time(c.watched);
  ar.Time(c.stepped);
  ar.Flag(c.floor_set);
  ar.U64(c.floor);
  ar.U64(c.most);
  for (auto& part : c.box_floor) ar.U32(part);
  ar.Short(c.profile.name, true);
  if (!c.profile.name.empty()) ar.Array(c.profile.hash);
  ar.U8(c.storage);
  ar.U8(c.freshness);
  ar.U64(c.freshness_last);
  ar.Flag(c.further);
  Lists(ar, c);
}

template <class Archive, class H>
void HeadFields(Archive& ar, H& head) {
  ar.Array(head.instance);
  ar.Short(head.node);
  WriterFields(ar, head.writer);
  ar.U64(head.serial);
  ar.Time(head.seen);
  ar.U64(head.epoch);
  ar.U64(head.size);
  ar.Array(head.root);
}

template <class List, class Key>
void SortBy(List& list, Key key) {
  std::sort(list.begin(), list.end(), [&](const auto& a, const auto& b) { return key(a) < key(b); });
}
// Whether a list is sorted and names nothing twice.
template <class List, class Key>
bool Ascends(const List& list, Key key) {
  for (std::size_t i = 1; i < list.size(); ++i)
    if (!(key(list[i - 1]) < key(list[i]))) return false;
  return true;
}
const auto kById = [](const SpentProposal& s) { return s.id; };
const auto kByKey = [](const PendingDestruction& p) { return p.key; };
const auto kBySerial = [](const Member& m) { return m.serial; };
const auto kItself = [](const std::string& s) { return s; };
template <class Item>
KeyringId ByKeyring(const Item& item) {
  return item.keyring;
}

bool Canonical(const LedgerRecord& r) {
  const auto& c = r.custody;
  return Ascends(c.spent, kById) && Ascends(c.pending, kByKey) && Ascends(c.mandates, ByKeyring<Mandate>) &&
         Ascends(c.releases, ByKeyring<Release>) && Ascends(c.members, kBySerial) && Ascends(r.nodes, kItself) &&
         r.epoch > 0 && r.key > 0 && c.storage >= 1 && c.storage <= 3 && c.freshness <= 3 &&
         std::all_of(c.mandates.begin(), c.mandates.end(), [](const Mandate& m) { return m.interval > 0; });
}

// What a sealed object says before its digest, when the digest is right.
Result<ByteView> Opened(ByteView bytes) {
  constexpr std::size_t kDigest = 32;
  if (bytes.size() <= kDigest) return Damaged();
  const auto body = bytes.first(bytes.size() - kDigest);
  const auto digest = Sha256(body);
  if (!std::equal(digest.begin(), digest.end(), bytes.end() - kDigest)) return Damaged();
  return body;
}

}  // namespace

Share ShareOf(std::string_view keyring) {
  Share share{};
  if (keyring.empty()) return share;
  const auto hash = Sha256(AsBytes(keyring));
  std::copy_n(hash.begin(), share.size(), share.begin());
  return share;
}

KeyringId KeyringIdOf(const KeyId& key) {
  KeyringId keyring{};
  std::copy_n(key.begin(), keyring.size(), keyring.begin());
  return keyring;
}

Id16 TokenHash(std::string_view token) {
  Id16 id{};
  const auto hash = Sha256(AsBytes(token));
  std::copy_n(hash.begin(), id.size(), id.begin());
  return id;
}

CustodyRoot RootOf(const Roster& roster, std::string_view token) {
  return {roster.instance(), roster.version(), roster.hash(), std::string(token)};
}

LedgerRecord FirstRecord(const CustodyRoot& root, Millis now) {
  LedgerRecord record;
  record.instance = root.instance;
  record.token = root.token;
  record.custody.roster_version = root.roster_version;
  record.custody.roster_hash = root.roster_hash;
  record.custody.seen = now;
  return record;
}

std::uint8_t FormatOf(ByteView bytes) { return bytes.empty() ? 0 : bytes[0]; }

Bytes EncodeRecord(const LedgerRecord& record) {
  auto sorted = record;
  auto& c = sorted.custody;
  SortBy(c.spent, kById);
  SortBy(c.pending, kByKey);
  SortBy(c.mandates, ByKeyring<Mandate>);
  SortBy(c.releases, ByKeyring<Release>);
  SortBy(c.members, kBySerial);
  std::sort(sorted.nodes.begin(), sorted.nodes.end());
  const auto head = AnchorOf(record, true).value_or(Anchor());
  Writing out;
  out.U8(kFormat);
  out.U8(kKindRecord);
  Fields(out, std::as_const(sorted), head);
  return std::move(out).Sealed();
}

Result<LedgerRecord> DecodeRecord(ByteView bytes) {
  const auto format = FormatOf(bytes);
  // Its seal says that a build has written it: damage makes no newer build.
  if (format > kFormat) {
    TRY(Opened(bytes));
    return Integrity("the custody record has format " + std::to_string(format) + ", which a newer build has written",
                     "record-newer");
  }
  if (format < kFormat) return DecodeFormerRecord(bytes);
  TRY_ASSIGN(const auto body, Opened(bytes));
  Reading in(body.subspan(1));
  std::uint8_t kind = 0;
  in.U8(kind);
  LedgerRecord record;
  Anchor head;
  Fields(in, record, head);
  if (kind != kKindRecord || !in.Complete() || !Canonical(record)) return Damaged();
  for (auto& member : record.custody.members) member.group = record.token;
  if (head.size > 0) {
    head.origin = ControlOrigin(record.instance, record.epoch);
    record.anchors.push_back(std::move(head));
  }
  // One text for one record: minutes that would wrap and the like are no record.
  const auto again = EncodeRecord(record);
  if (!std::equal(again.begin(), again.end(), bytes.begin(), bytes.end())) return Damaged();
  return record;
}

Bytes EncodeNodeHead(const NodeHead& head) {
  Writing out;
  out.U8(kFormat);
  out.U8(kKindNodeHead);
  HeadFields(out, head);
  return std::move(out).Sealed();
}

Result<NodeHead> DecodeNodeHead(ByteView bytes) {
  TRY_ASSIGN(const auto body, Opened(bytes));
  if (FormatOf(bytes) > kFormat) return Integrity("a newer build has written the evidence head", "record-newer");
  Reading in(body);
  std::uint8_t format = 0, kind = 0;
  in.U8(format);
  in.U8(kind);
  NodeHead head;
  HeadFields(in, head);
  if (format != kFormat || kind != kKindNodeHead || !in.Complete() || head.epoch == 0 || head.size == 0)
    return Damaged();
  return head;
}

namespace {
template <class Archive, class R>
void RootFields(Archive& ar, R& root) {
  ar.Array(root.instance);
  ar.U64(root.roster_version);
  ar.Array(root.roster_hash);
  ar.Short(root.token);
}
}  // namespace

Bytes EncodeRoot(const CustodyRoot& root) {
  Writing out;
  out.U8(kRootFormat);
  RootFields(out, root);
  return std::move(out).Sealed();
}

Result<CustodyRoot> DecodeRoot(ByteView bytes) {
  const auto body = Opened(bytes);
  if (!body) return Integrity("the custody root in the token cannot be read", "root-damaged");
  Reading in(*body);
  std::uint8_t format = 0;
  in.U8(format);
  CustodyRoot root;
  RootFields(in, root);
  if (format != kRootFormat || !in.Complete() || root.roster_version == 0)
    return Integrity("the custody root in the token cannot be read", "root-damaged");
  return root;
}

std::string ControlOrigin(const InstanceId& instance, std::uint64_t epoch) {
  return "strongroom/" + ToHex(instance) + "/control/" + std::to_string(epoch);
}
std::string EvidenceOrigin(const InstanceId& instance, std::uint64_t epoch, std::string_view node) {
  return "strongroom/" + ToHex(instance) + "/evidence/" + std::string(node) + "/" + std::to_string(epoch);
}

Result<Origin> ParseOrigin(std::string_view text) {
  const auto parts = SplitWords(text, '/');
  const bool control = parts.size() == 4 && parts[2] == "control";
  const bool evidence = parts.size() == 5 && parts[2] == "evidence" && IsName(parts[3]);
  const auto epoch = parts.empty() ? Result<std::uint64_t>(Invalid("")) : ParseNumber(parts.back());
  const auto instance = parts.size() > 1 ? FromHexArray<16>(parts[1]) : std::nullopt;
  if ((!control && !evidence) || parts[0] != "strongroom" || !instance || !epoch || *epoch == 0)
    return Forbidden("'" + std::string(text.substr(0, 100)) + "' is not the origin of a log", "foreign-origin");
  return Origin{*instance, control, control ? std::string() : std::string(parts[3]), *epoch};
}

std::optional<Anchor> AnchorOf(const LedgerRecord& record, bool control) {
  for (const auto& anchor : record.anchors)
    if (const auto origin = ParseOrigin(anchor.origin); origin && origin->control == control) return anchor;
  return std::nullopt;
}

std::optional<NodeHead> HeadOfNode(const LedgerRecord& record) {
  for (const auto& anchor : record.anchors) {
    const auto origin = ParseOrigin(anchor.origin);
    if (!origin || origin->control || origin->node != record.node) continue;
    return NodeHead{record.instance,  record.node,   record.writer, record.serial,
                    record.node_seen, origin->epoch, anchor.size,   anchor.root};
  }
  return std::nullopt;
}

void PutNodeHead(LedgerRecord& record, const NodeHead& head) {
  record.node_seen = head.seen;
  const auto origin = EvidenceOrigin(head.instance, head.epoch, head.node);
  std::erase_if(record.anchors, [&](const Anchor& a) {
    const auto other = ParseOrigin(a.origin);
    return other && !other->control && other->node == head.node;
  });
  record.anchors.push_back({origin, head.size, head.root});
}

bool SameCustody(const LedgerRecord& a, const LedgerRecord& b) {
  auto x = a, y = b;
  for (auto* r : {&x, &y}) {
    r->term = 0;
    r->writer = {};
    r->serial = 0;
    r->node_seen = 0;
    r->custody.seen = r->custody.watched = 0;
    r->custody.course = {};
  }
  return x == y;
}

}  // namespace strongroom::crypto
