#include "hsm/custody_store.h"

#include <algorithm>
#include <span>

#include "hsm/ckr.h"
#include "hsm/ec_key.h"
#include "hsm/softhsm_guard.h"

namespace strongroom::hsm {
namespace {

constexpr Millis kWriteEvery = kHour;

std::string HeadLabel(const std::string& node) { return std::string(kRecordLabel) + "/" + node; }

// The length is asked first: what is longer than the bound is not read.
Result<crypto::StoredObject> ReadStored(const Module& module, const Session& session, CK_OBJECT_HANDLE object,
                                        std::size_t bound) {
  CK_ATTRIBUTE attribute{CKA_VALUE, nullptr, 0};
  auto& fn = module.fn();
  if (const CK_RV rv = fn.C_GetAttributeValue(session.handle(), object, &attribute, 1); rv != CKR_OK)
    return TokenError(rv, "C_GetAttributeValue");
  if (attribute.ulValueLen > bound) return crypto::StoredObject{{}, true};
  crypto::StoredObject stored;
  stored.value.resize(attribute.ulValueLen);
  if (stored.value.empty()) return stored;
  attribute.pValue = stored.value.data();
  if (const CK_RV rv = fn.C_GetAttributeValue(session.handle(), object, &attribute, 1); rv != CKR_OK)
    return TokenError(rv, "C_GetAttributeValue");
  if (attribute.ulValueLen > stored.value.size()) return crypto::StoredObject{{}, true};
  stored.value.resize(attribute.ulValueLen);
  return stored;
}

CK_RV CreateData(const Module& module, const Session& session, const std::string& label, const Bytes& value,
                 bool destroyable) {
  std::vector<Attribute> attributes = {UlongAttribute(CKA_CLASS, CKO_DATA),
                                       BoolAttribute(CKA_TOKEN, true),
                                       BoolAttribute(CKA_PRIVATE, true),
                                       BoolAttribute(CKA_MODIFIABLE, false),
                                       BoolAttribute(CKA_COPYABLE, false),
                                       BoolAttribute(CKA_DESTROYABLE, destroyable),
                                       TextAttribute(CKA_APPLICATION, "strongroom"),
                                       TextAttribute(CKA_LABEL, label),
                                       {CKA_VALUE, value}};
  auto ck = ToCk(attributes);
  CK_OBJECT_HANDLE object = 0;
  return module.fn().C_CreateObject(session.handle(), ck.data(), ck.size(), &object);
}

Result<void> DestroyEach(const Module& module, const Session& session, std::span<const CK_OBJECT_HANDLE> objects) {
  for (const auto object : objects)
    if (const CK_RV rv = module.fn().C_DestroyObject(session.handle(), object);
        rv != CKR_OK && rv != CKR_OBJECT_HANDLE_INVALID)
      return TokenError(rv, "C_DestroyObject");
  return {};
}

// No room where an object holds too little: then nothing is claimed.
crypto::RecordRoom RoomOrNone(std::size_t max_bytes) {
  const auto room = crypto::RoomOf(max_bytes);
  return room ? *room : crypto::RecordRoom{};
}

// Of a node's heads the one in force: by epoch, then by who wrote it, then by its serial.
auto OrderOfHead(const crypto::NodeHead& head) {
  return std::tuple(head.epoch, head.writer.count, head.serial, head.size);
}

Error WithoutRoot() {
  return Conflict(
      "nobody has told this token whose it is: on its machine, strongroom-tokend --set-root ROSTER names the roster "
      "that it is to obey",
      "token-without-root");
}

}  // namespace

CustodyStore::CustodyStore(const Module& module, const Clock& clock, std::string token, const Options& options)
    : module_(module),
      clock_(clock),
      token_(std::move(token)),
      options_(options),
      room_(RoomOrNone(options.max_bytes)) {
  writer_.installation = options.installation;
  writer_.start = crypto::RandomArray<16>();
}

Error CustodyStore::End(const std::string& why) {
  ended_ = true;
  return Unavailable(why, "record-rolled-back");
}

// Somebody has written above this host. A claim of this installation's own was sent by a host that was killed since:
// the next host claims above it. Another installation's is for people to settle: no host is started beside it.
Error CustodyStore::Overtaken(const crypto::Look& look) {
  ended_ = true;
  superseded_ = look.highest_installation != options_.installation;
  if (superseded_) return Conflict("another host has taken this token's custody over", "custody-superseded");
  return Unavailable("a claim that a killed host had sent has landed late: another host takes over",
                     "record-not-confirmed");
}

crypto::WriterOrder CustodyStore::MyOrder(std::uint64_t epoch, std::uint64_t term) const {
  return {epoch, term, writer_.count, writer_.start};
}

Result<CustodyStore::Found> CustodyStore::LookAround(const Session& session) {
  if (ended_) return Unavailable("this host writes the custody record no more; it is being replaced");
  // It is this process's own writes that hide what others wrote meanwhile.
  if (options_.see_others && wrote_) TRY(SeeOthersObjects());
  Found found;
  TRY_ASSIGN(found.records, FindLabelled(module_, session, CKO_DATA, kRecordLabel));
  std::vector<crypto::StoredObject> stored;
  for (const auto object : found.records) {
    TRY_ASSIGN(auto one, ReadStored(module_, session, object, crypto::kMostReadBytes));
    one.too_long = one.too_long || one.value.size() > room_.bytes;
    stored.push_back(std::move(one));
  }
  found.look = crypto::LookAt(stored);
  const std::string node = found.look.effective ? found.look.effective->node : "node-1";
  TRY_ASSIGN(found.heads, FindLabelled(module_, session, CKO_DATA, HeadLabel(node).c_str()));
  std::vector<std::optional<crypto::NodeHead>> heads;
  for (const auto object : found.heads) {
    TRY_ASSIGN(const auto one, ReadStored(module_, session, object, crypto::kMaxNodeHeadBytes));
    auto head = crypto::DecodeNodeHead(one.value);
    // Heads of another epoch than the record's are those that an adoption has left behind.
    const bool counts = head && found.look.effective && head->epoch == found.look.effective->epoch &&
                        head->instance == found.look.effective->instance;
    heads.push_back(counts ? std::optional(*head) : std::nullopt);
    if (counts && (!found.head || OrderOfHead(*head) > OrderOfHead(*found.head))) found.head = *head;
  }
  for (std::size_t i = 0; i < heads.size(); ++i)
    if (!found.head || heads[i] != found.head) found.older_heads.push_back(i);
  TRY_ASSIGN(const auto roots, ReadRoots(module_, session));
  if (roots.size() > 1)
    return Integrity("the token has two custody roots that differ: it is not the token that it says it is",
                     "roots-differ");
  if (!roots.empty()) found.root = roots.front();
  return found;
}

Result<crypto::LedgerRecord> CustodyStore::InForce(const Found& found) const {
  if (!found.root) {
    const bool format7 = found.look.effective && !found.look.former;
    if (format7)
      return Integrity(
          "the token's custody root is gone: strongroom-tokend --set-root with the very roster that its record obeys",
          "root-missing");
    const bool nameless = found.look.effective && (found.look.effective->custody.roster_version == 0 ||
                                                   found.look.effective->instance == crypto::InstanceId{});
    if (!found.look.former || nameless) return WithoutRoot();
  }
  if (!found.look.effective) return *found.look.problem;
  auto record = *found.look.effective;
  if (record.token.empty()) record.token = token_;
  if (found.root && record.instance != crypto::InstanceId{} && found.root->instance != record.instance)
    return Integrity("the token's custody root and its record are of two instances", "roots-differ");
  if (found.head) crypto::PutNodeHead(record, *found.head);
  return record;
}

Result<crypto::LedgerRecord> CustodyStore::Read(const Session& session) {
  TRY_ASSIGN(const auto found, LookAround(session));
  return InForce(found);
}

Result<crypto::CustodyRoot> CustodyStore::Root(const Session& session) {
  TRY_ASSIGN(const auto found, LookAround(session));
  if (!found.root) return WithoutRoot();
  return *found.root;
}

Result<crypto::RosterMark> CustodyStore::RosterInForce(const Session& session) {
  TRY_ASSIGN(const auto found, LookAround(session));
  if (found.look.effective)
    return crypto::RosterMark{found.look.effective->custody.roster_version, found.look.effective->custody.roster_hash};
  if (crypto::IsLost(*found.look.problem)) return crypto::RosterMark{};
  if (found.look.forked.empty()) return *found.look.problem;
  const auto lowest = std::min_element(
      found.look.forked.begin(), found.look.forked.end(),
      [](const auto& a, const auto& b) { return a.custody.roster_version < b.custody.roster_version; });
  return crypto::RosterMark{lowest->custody.roster_version, lowest->custody.roster_hash};
}

// The record that an adoption goes on from when records contradict each other. Former ones name no token, perhaps no
// instance or roster: they come from where an upgrade takes them. Without a root all obey the roster that it will name.
Result<crypto::LedgerRecord> CustodyStore::MergedRecord(const Found& found) const {
  auto records = found.look.forked;
  for (auto& record : records) {
    if (record.token.empty()) record.token = token_;
    if (found.root && record.instance == crypto::InstanceId{}) record.instance = found.root->instance;
  }
  TRY_ASSIGN(auto merged, crypto::MergeForked(records));
  auto& c = merged.custody;
  if (found.root) {
    if (merged.instance != found.root->instance)
      return Integrity("the token's custody root and its records are of two instances", "roots-differ");
    if (c.roster_version == 0) {
      c.roster_version = found.root->roster_version;
      c.roster_hash = found.root->roster_hash;
    }
    return merged;
  }
  const bool one_roster = std::all_of(records.begin(), records.end(), [&](const crypto::LedgerRecord& record) {
    return record.custody.roster_version == c.roster_version;
  });
  if (!one_roster || c.roster_version == 0 || merged.instance == crypto::InstanceId{}) return WithoutRoot();
  return merged;
}

Result<CustodyStore::ToAdopt> CustodyStore::ReadToAdopt(const Session& session) {
  TRY_ASSIGN(const auto found, LookAround(session));
  if (!found.root && !found.look.former) {
    TRY(InForce(found));
    return WithoutRoot();
  }
  ToAdopt to;
  if (found.look.effective) {
    TRY_ASSIGN(to.record, InForce(found));
    return to;
  }
  if (!found.look.forked.empty()) {
    TRY_ASSIGN(to.record, MergedRecord(found));
    to.forked = true;
    to.contradicting = found.look.forked;
    if (found.head) crypto::PutNodeHead(to.record, *found.head);
    return to;
  }
  if (!crypto::IsLost(*found.look.problem)) return *found.look.problem;
  if (!found.root) return WithoutRoot();
  to.lost = true;
  to.record = crypto::FirstRecord(*found.root, 0);
  return to;
}

crypto::CustodyTime CustodyStore::Time(const crypto::LedgerRecord& record) const {
  crypto::HostTime host;
  host.wall = clock_.Now();
  host.course = {clock_.BootId(), clock_.Steady()};
  host.watched = mine_ ? clock_.Watched() - written_at_ : 0;
  return crypto::TimeOf(record, host);
}

bool CustodyStore::IsDue() const { return mine_ && clock_.Watched() - written_at_ >= kWriteEvery; }

Result<void> CustodyStore::Create(const Session& session, const std::string& label, const Bytes& value) {
  wrote_ = true;
  const CK_RV rv = CreateData(module_, session, label, value, true);
  if (rv == CKR_OK) return {};
  // It may have happened: this writer does not try again.
  ended_ = true;
  return Unavailable("a write of the custody record was not confirmed: " + TokenError(rv, "C_CreateObject").detail,
                     "record-not-confirmed");
}

// Writes one record as this host's and looks at it. `before` is what was found just now.
Result<void> CustodyStore::Put(const Session& session, const crypto::LedgerRecord& record, const Found& before) {
  const auto bytes = crypto::EncodeRecord(record);
  TRY(crypto::CheckFits(bytes, room_));
  std::vector<CK_OBJECT_HANDLE> older;
  for (const auto at : before.look.older) older.push_back(before.records[at]);
  TRY(DestroyEach(module_, session, older));
  TRY(Create(session, kRecordLabel, bytes));
  TRY_ASSIGN(const auto after, LookAround(session));
  if (after.look.highest > MyOrder(record.epoch, record.term)) return Overtaken(after.look);
  if (record.writer.settled && (!after.look.effective || after.look.bytes != bytes))
    return End("the token did not keep the custody record that was written");
  if (!record.writer.settled) return {};
  mine_ = bytes;
  written_at_ = clock_.Watched();
  return {};
}

Result<void> CustodyStore::Write(const Session& session, const crypto::LedgerRecord& next) {
  if (!mine_) return Conflict("this host is not the writer of the token's custody record", "not-custody-host");
  TRY_ASSIGN(const auto found, LookAround(session));
  if (found.look.highest > MyOrder(next.epoch, next.term) && found.look.effective &&
      found.look.effective->epoch >= next.epoch)
    return Overtaken(found.look);
  if (!found.look.effective || found.look.bytes != *mine_)
    return End("the token's custody record is not the one that this host wrote last");
  auto record = next;
  record.writer = writer_;
  record.writer.settled = true;
  record.serial = found.look.effective->serial + 1;
  return Put(session, record, found);
}

Result<void> CustodyStore::WriteAdopted(const Session& session, const crypto::LedgerRecord& next) {
  TRY_ASSIGN(auto found, LookAround(session));
  TRY(crypto::CheckFits(crypto::EncodeRecord(next), room_));
  // Former records that contradict each other are adopted without an upgrade: what that does first is done here.
  if (found.look.any_former && !found.look.tombstone) TRY(Create(session, kRecordLabel, crypto::Tombstone()));
  const auto& c = next.custody;
  if (!found.root) TRY(WriteRoot(module_, session, {next.instance, c.roster_version, c.roster_hash, next.token}));
  // Claimed first, below the new epoch: if this host is killed and its adoption lands late, whoever has adopted since
  // has seen the claim and stands above it.
  writer_.count = std::max(writer_.count, found.look.highest_count + 1);
  auto claim = next;
  claim.epoch =
      std::clamp<std::uint64_t>(std::get<0>(found.look.highest), 1, std::max<std::uint64_t>(next.epoch, 2) - 1);
  claim.term = std::get<1>(found.look.highest);
  claim.writer = writer_;
  claim.writer.settled = false;
  TRY(Put(session, claim, Found{}));
  auto record = next;
  record.writer = writer_;
  record.writer.settled = true;
  record.serial = next.serial + 1;
  // The evidence head before the record that says it must be there: until then it is of another epoch, and counts not.
  if (auto head = crypto::HeadOfNode(next)) {
    std::vector<CK_OBJECT_HANDLE> left_over;
    for (const auto at : found.older_heads) left_over.push_back(found.heads[at]);
    TRY(DestroyEach(module_, session, left_over));
    head->writer = record.writer;
    head->serial = 1;
    head->seen = record.custody.seen;
    TRY(Create(session, HeadLabel(record.node), crypto::EncodeNodeHead(*head)));
  }
  // Everything readable is of a lower epoch, and goes once the adopted one is there.
  TRY(Put(session, record, Found{}));
  TRY_ASSIGN(found, LookAround(session));
  std::vector<CK_OBJECT_HANDLE> older;
  for (const auto at : found.look.older) older.push_back(found.records[at]);
  for (const auto at : found.older_heads) older.push_back(found.heads[at]);
  return DestroyEach(module_, session, older);
}

Result<void> CustodyStore::WriteNodeHead(const Session& session, const crypto::LedgerRecord& record) {
  TRY_ASSIGN(const auto found, LookAround(session));
  if (mine_ && found.look.highest > MyOrder(record.epoch, record.term)) return Overtaken(found.look);
  if (!found.look.effective || !mine_ || found.look.bytes != *mine_)
    return End("the token's custody record is not the one that this host wrote last");
  auto head = crypto::HeadOfNode(record);
  if (!head) return {};
  head->writer = writer_;
  head->writer.settled = true;
  head->serial = found.head ? found.head->serial + 1 : 1;
  const auto time = Time(record);
  head->seen = time.stepped ? time.floor : time.late;
  std::vector<CK_OBJECT_HANDLE> older;
  for (const auto at : found.older_heads) older.push_back(found.heads[at]);
  TRY(DestroyEach(module_, session, older));
  TRY(Create(session, HeadLabel(record.node), crypto::EncodeNodeHead(*head)));
  TRY_ASSIGN(const auto after, LookAround(session));
  if (after.look.highest > MyOrder(record.epoch, record.term)) return Overtaken(after.look);
  if (!after.head || *after.head != *head) return End("the token did not keep the evidence head");
  return {};
}

// A record of a former format becomes one of this one: the tombstone closes the token to earlier builds, then root and
// evidence head, each looked for first, so that a run that was cut off is finished by the next.
Result<void> CustodyStore::Upgrade(const Session& session, const Found& found) {
  const auto& record = *found.look.effective;
  const auto& c = record.custody;
  if (!found.root && (c.roster_version == 0 || record.instance == crypto::InstanceId{})) return WithoutRoot();
  auto converted = record;
  converted.token = record.token.empty() ? token_ : record.token;
  if (found.root) converted.instance = found.root->instance;
  TRY(crypto::CheckFits(crypto::EncodeRecord(converted), room_));
  if (!found.look.tombstone) TRY(Create(session, kRecordLabel, crypto::Tombstone()));
  if (!found.root)
    TRY(WriteRoot(module_, session, {converted.instance, c.roster_version, c.roster_hash, converted.token}));
  if (auto head = crypto::HeadOfNode(converted); head && found.heads.empty()) {
    head->serial = 1;
    head->seen = c.seen;
    TRY(Create(session, HeadLabel(converted.node), crypto::EncodeNodeHead(*head)));
  }
  return {};
}

Result<void> CustodyStore::Claim(const Session& session) {
  if (room_.bytes == 0) return Invalid("the token's objects are too small for a custody record", "record-too-small");
  TRY_ASSIGN(auto found, LookAround(session));
  if (found.look.former && found.look.effective) {
    TRY(Upgrade(session, found));
    TRY_ASSIGN(found, LookAround(session));
  }
  TRY_ASSIGN(auto record, InForce(found));
  const auto& other = record.writer.installation;
  if (other != crypto::Id16{} && other != options_.installation && !options_.take_token)
    return Conflict(
        "this token's custody record is written by another installation: stop that one, then start once with "
        "--take-token",
        "token-in-use");
  if (found.look.former) {
    record.token = record.token.empty() ? token_ : record.token;
    record.instance = found.root->instance;
    if (record.custody.roster_version == 0) {
      record.custody.roster_version = found.root->roster_version;
      record.custody.roster_hash = found.root->roster_hash;
    }
  } else if (found.look.any_former && !found.look.tombstone) {
    TRY(Create(session, kRecordLabel, crypto::Tombstone()));
  }
  writer_.count = found.look.highest_count + 1;
  record.writer = writer_;
  record.writer.settled = false;
  record.serial += 1;
  crypto::Touch(record, Time(record));
  TRY(Put(session, record, found));
  // Looked at again: what another host had written before this claim landed counts, and is taken over.
  TRY_ASSIGN(found, LookAround(session));
  TRY_ASSIGN(auto now, InForce(found));
  auto settled = found.look.former ? record : now;
  settled.writer = writer_;
  settled.writer.settled = true;
  settled.serial = std::max(now.serial, record.serial) + 1;
  crypto::Touch(settled, Time(settled));
  return Put(session, settled, found);
}

CustodyStore::Options StoreOptions(const VendorProfile& profile, CustodyStore::Options options) {
  options.max_bytes = profile.record_bytes;
  options.see_others = profile.guard_token_object;
  return options;
}

Result<std::vector<crypto::CustodyRoot>> ReadRoots(const Module& module, const Session& session) {
  TRY_ASSIGN(const auto objects, FindLabelled(module, session, CKO_DATA, kRootLabel));
  std::vector<crypto::CustodyRoot> roots;
  for (const auto object : objects) {
    TRY_ASSIGN(const auto one, ReadStored(module, session, object, crypto::kMaxRootBytes));
    TRY_ASSIGN(auto root, crypto::DecodeRoot(one.value));
    if (std::find(roots.begin(), roots.end(), root) == roots.end()) roots.push_back(std::move(root));
  }
  return roots;
}

Result<void> WriteRoot(const Module& module, const Session& session, const crypto::CustodyRoot& root) {
  TRY_ASSIGN(const auto roots, ReadRoots(module, session));
  if (!roots.empty() && roots.front() == root) return {};
  if (!roots.empty())
    return Conflict("the token has a custody root already, of instance " + ToHex(roots.front().instance) +
                        " and roster " + std::to_string(roots.front().roster_version) + ": it cannot be changed",
                    "root-exists");
  // It is there for ever: what could not be read back is not written.
  const auto encoded = crypto::EncodeRoot(root);
  if (const auto read = crypto::DecodeRoot(encoded); !read || *read != root)
    return Invalid("the token's serial number is no name that a custody root can hold", "record-invalid");
  if (const CK_RV rv = CreateData(module, session, kRootLabel, encoded, false); rv != CKR_OK)
    return TokenError(rv, "C_CreateObject");
  return {};
}

Result<void> WriteFirstRecord(const Module& module, const Session& session, const crypto::LedgerRecord& record) {
  auto first = record;
  first.writer.settled = true;
  if (const CK_RV rv = CreateData(module, session, kRecordLabel, crypto::EncodeRecord(first), true); rv != CKR_OK)
    return TokenError(rv, "C_CreateObject");
  return {};
}

}  // namespace strongroom::hsm
