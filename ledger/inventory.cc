#include "ledger/inventory.h"

#include <algorithm>
#include <cctype>

#include "crypto/base/wire.h"

namespace strongroom::ledger {
namespace {

constexpr std::uint8_t kRecordFormat = 1;
constexpr std::uint8_t kQuarantined = 0x80;
constexpr std::uint8_t kOwned = 0x40;

Bytes DekKey(const crypto::KeyringId& keyring, std::string_view id) {
  Bytes key(keyring.begin(), keyring.end());
  Append(key, AsBytes(id));
  return key;
}

// keyring, version, 0 or 1 for quarantined, id: what a job has left to do is one range.
Bytes UnderKey(const crypto::KeyringId& keyring, std::uint32_t version, bool quarantined, std::string_view id) {
  WireWriter key;
  key.Raw(keyring);
  key.U32(version);
  key.U8(quarantined ? 1 : 0);
  key.Raw(AsBytes(id));
  return std::move(key).Take();
}
constexpr std::size_t kUnderPrefix = 16 + 4 + 1;

Bytes CountKey(const crypto::KeyringId& keyring, std::uint32_t version) {
  WireWriter key;
  key.Raw(keyring);
  key.U32(version);
  return std::move(key).Take();
}

bool StartsWith(ByteView bytes, ByteView prefix) {
  return bytes.size() >= prefix.size() && std::equal(prefix.begin(), prefix.end(), bytes.begin());
}

Result<DekCounts> DecodeCounts(ByteView bytes) {
  WireReader in(bytes);
  DekCounts counts;
  counts.records = in.U64();
  counts.quarantined = in.U64();
  counts.bytes = in.U64();
  if (!in.Complete()) return Integrity("a row of the inventory's counts is damaged");
  return counts;
}

// What a service owns of all keyrings is under its name, what it owns of one is under a zero, the keyring and its name:
// no name begins with a zero.
Bytes OwnerKey(std::string_view service) { return {service.begin(), service.end()}; }
Bytes OwnerKey(const crypto::KeyringId& keyring, std::string_view service) {
  Bytes key{0};
  Append(key, keyring);
  Append(key, AsBytes(service));
  return key;
}

Result<OwnerCounts> ReadOwner(const Txn& txn, ByteView key) {
  OwnerCounts counts;
  TRY_ASSIGN(const auto stored, txn.Get(Table::kDekOwners, key));
  if (!stored) return counts;
  WireReader in(*stored);
  counts.records = in.U64();
  counts.bytes = in.U64();
  if (!in.Complete()) return Integrity("a row of what a service owns in the inventory is damaged");
  return counts;
}

// Tally gathers what a group of writes does to the counts: they are few rows, changed by every write.
class Tally {
 public:
  void Add(const crypto::KeyringId& keyring, std::string_view id, const DekRecord& record, bool in) {
    auto& delta = deltas_[CountKey(keyring, record.version)];
    const auto sign = in ? 1 : -1;
    if (!record.owner.empty()) {
      for (const auto& key : {OwnerKey(record.owner), OwnerKey(keyring, record.owner)}) {
        auto& owned = owners_[key];
        owned.records += sign;
        owned.bytes += sign * static_cast<std::int64_t>(id.size() + record.blob.size());
      }
    }
    delta.records += sign;
    delta.quarantined += record.quarantine.empty() ? 0 : sign;
    delta.bytes += sign * static_cast<std::int64_t>(record.blob.size());
  }
  Result<void> Store(Txn& txn) const {
    TRY(StoreOwners(txn));
    for (const auto& [key, delta] : deltas_) {
      DekCounts counts;
      TRY_ASSIGN(const auto stored, txn.Get(Table::kDekCounts, key));
      if (stored) {
        TRY_ASSIGN(counts, DecodeCounts(*stored));
      }
      counts.records += static_cast<std::uint64_t>(delta.records);
      counts.quarantined += static_cast<std::uint64_t>(delta.quarantined);
      counts.bytes += static_cast<std::uint64_t>(delta.bytes);
      if (counts.records == 0) {
        TRY(txn.Delete(Table::kDekCounts, key));
        continue;
      }
      WireWriter out;
      for (const auto value : {counts.records, counts.quarantined, counts.bytes}) out.U64(value);
      TRY(txn.Put(Table::kDekCounts, key, out.bytes()));
    }
    return {};
  }

 private:
  Result<void> StoreOwners(Txn& txn) const {
    for (const auto& [key, delta] : owners_) {
      TRY_ASSIGN(auto counts, ReadOwner(txn, key));
      counts.records += static_cast<std::uint64_t>(delta.records);
      counts.bytes += static_cast<std::uint64_t>(delta.bytes);
      if (counts.records == 0) {
        TRY(txn.Delete(Table::kDekOwners, key));
        continue;
      }
      WireWriter out;
      for (const auto value : {counts.records, counts.bytes}) out.U64(value);
      TRY(txn.Put(Table::kDekOwners, key, out.bytes()));
    }
    return {};
  }

  struct Delta {
    std::int64_t records = 0, quarantined = 0, bytes = 0;
  };
  std::map<Bytes, Delta> deltas_;
  std::map<Bytes, Delta> owners_;
};

Result<void> Apply(Txn& txn, const DekWrite& write, Tally& tally, Applied& applied) {
  const auto key = DekKey(write.keyring, write.id);
  TRY_ASSIGN(const auto stored, txn.Get(Table::kDeks, key));
  std::optional<DekRecord> former;
  if (stored) {
    TRY_ASSIGN(former, DecodeDek(*stored));
  }
  if (write.expected && former != write.expected) return {};
  if (write.only_of && former && !former->owner.empty() && former->owner != *write.only_of) return {};
  const auto index_of = [&](const DekRecord& record) {
    return UnderKey(write.keyring, record.version, !record.quarantine.empty(), write.id);
  };
  const bool moves = !former || !write.next || index_of(*former) != index_of(*write.next);
  if (former) {
    tally.Add(write.keyring, write.id, *former, false);
    if (moves) TRY(txn.Delete(Table::kDeksUnder, index_of(*former)));
  }
  if (!write.next) return former ? txn.Delete(Table::kDeks, key) : Result<void>();
  tally.Add(write.keyring, write.id, *write.next, true);
  ++(write.next->quarantine.empty() ? applied.stored : applied.quarantined);
  if (moves) TRY(txn.Put(Table::kDeksUnder, index_of(*write.next), {}));
  return txn.Put(Table::kDeks, key, Encode(*write.next));
}

Result<JobProgress> DecodeProgress(ByteView bytes) {
  WireReader in(bytes);
  JobProgress progress;
  progress.done = in.U64();
  progress.quarantined = in.U64();
  progress.batches = in.U64();
  if (!in.Complete()) return Integrity("a job's progress is damaged");
  return progress;
}

Result<JobProgress> ReadProgress(const Txn& txn, std::string_view job) {
  TRY_ASSIGN(const auto stored, txn.Get(Table::kJobs, AsBytes(job)));
  if (!stored) return JobProgress();
  return DecodeProgress(*stored);
}

}  // namespace

bool IsDekId(std::string_view id) {
  const auto plain = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; };
  return !id.empty() && id.size() <= kMaxDekIdBytes && plain(id.front()) &&
         std::all_of(id.begin(), id.end(),
                     [&](char c) { return plain(c) || std::string_view("._-:@+").find(c) != std::string_view::npos; });
}

Bytes Encode(const DekRecord& record) {
  WireWriter out;
  out.Reserve(20 + record.quarantine.size() + record.owner.size() + record.blob.size());
  out.U8(kRecordFormat | (record.quarantine.empty() ? 0 : kQuarantined) | (record.owner.empty() ? 0 : kOwned));
  out.U32(record.version);
  out.U32(static_cast<std::uint32_t>(record.stored / 1000));
  if (!record.quarantine.empty()) out.Text(record.quarantine);
  if (!record.owner.empty()) out.Text(record.owner);
  out.Raw(record.blob);
  return std::move(out).Take();
}

Result<DekRecord> DecodeDek(ByteView bytes) {
  WireReader in(bytes);
  const auto head = in.U8();
  DekRecord record;
  record.version = in.U32();
  record.stored = Millis{in.U32()} * 1000;
  if ((head & kQuarantined) != 0) {
    record.quarantine = in.Text();
    if (record.quarantine.empty()) in.Fail();
  }
  if ((head & kOwned) != 0) {
    record.owner = in.Text();
    if (record.owner.empty()) in.Fail();
  }
  const auto blob = in.Raw(in.remaining());
  record.blob.assign(blob.begin(), blob.end());
  if ((head & ~(kQuarantined | kOwned)) != kRecordFormat || !in.Complete())
    return Integrity("a record of the inventory is damaged or of a format that this version does not know");
  return record;
}

Result<Applied> ApplyDeks(Txn& txn, const std::vector<DekWrite>& writes) {
  Tally tally;
  Applied applied;
  for (const auto& write : writes) TRY(Apply(txn, write, tally, applied));
  TRY(tally.Store(txn));
  return applied;
}

Result<void> AddStep(Txn& txn, std::string_view job, const Applied& applied) {
  TRY_ASSIGN(auto progress, ReadProgress(txn, job));
  progress.done += applied.stored;
  progress.quarantined += applied.quarantined;
  ++progress.batches;
  WireWriter out;
  for (const auto value : {progress.done, progress.quarantined, progress.batches}) out.U64(value);
  return txn.Put(Table::kJobs, AsBytes(job), out.bytes());
}

Result<std::optional<DekRecord>> Inventory::Find(const crypto::KeyringId& keyring, std::string_view id) const {
  TRY_ASSIGN(const auto txn, env_.Read());
  TRY_ASSIGN(const auto stored, txn.Get(Table::kDeks, DekKey(keyring, id)));
  if (!stored) return std::optional<DekRecord>();
  TRY_ASSIGN(auto record, DecodeDek(*stored));
  return std::optional(std::move(record));
}

Result<void> Inventory::Scan(const crypto::KeyringId& keyring, std::string_view after, const Visit& visit) const {
  TRY_ASSIGN(const auto txn, env_.Read());
  Result<void> outcome;
  TRY(txn.Scan(Table::kDeks, DekKey(keyring, after), [&](ByteView key, ByteView value) {
    if (!StartsWith(key, keyring)) return false;
    const auto id = AsText(key.subspan(keyring.size()));
    if (id == after) return true;
    const auto record = DecodeDek(value);
    if (!record) {
      outcome = record.error();
      return false;
    }
    return visit(id, *record);
  }));
  return outcome;
}

Result<void> Inventory::ScanAll(const crypto::KeyringId& keyring, std::string_view after, const VisitAll& visit) const {
  TRY_ASSIGN(const auto txn, env_.Read());
  Result<void> outcome;
  const auto from = DekKey(keyring, after);
  TRY(txn.Scan(Table::kDeks, from, [&](ByteView key, ByteView value) {
    if (std::equal(key.begin(), key.end(), from.begin(), from.end())) return true;
    WireReader in(key);
    const auto of = in.Array<16>();
    const auto record = DecodeDek(value);
    if (!record || !in.ok()) {
      outcome = record ? Integrity("a key of the inventory is cut off", "ledger-damaged") : record.error();
      return false;
    }
    return visit(of, AsText(in.Raw(in.remaining())), *record);
  }));
  return outcome;
}

Result<void> Inventory::ScanUnder(const crypto::KeyringId& keyring, std::uint32_t version, bool quarantined,
                                  std::string_view after, const Visit& visit) const {
  TRY_ASSIGN(const auto txn, env_.Read());
  const auto prefix = UnderKey(keyring, version, quarantined, {});
  Result<void> outcome;
  TRY(txn.Scan(Table::kDeksUnder, UnderKey(keyring, version, quarantined, after), [&](ByteView key, ByteView) {
    if (!StartsWith(key, prefix)) return false;
    const auto id = AsText(key.subspan(kUnderPrefix));
    if (id == after) return true;
    const auto stored = txn.Get(Table::kDeks, DekKey(keyring, id));
    const auto record =
        stored && *stored
            ? DecodeDek(**stored)
            : Result<DekRecord>(Integrity("the inventory's index and its records disagree", "ledger-damaged"));
    if (!record) {
      outcome = record.error();
      return false;
    }
    return visit(id, *record);
  }));
  return outcome;
}

Result<std::map<std::uint32_t, DekCounts>> Inventory::Counts(const crypto::KeyringId& keyring) const {
  TRY_ASSIGN(const auto txn, env_.Read());
  std::map<std::uint32_t, DekCounts> all;
  Result<void> outcome;
  TRY(txn.Scan(Table::kDekCounts, keyring, [&](ByteView key, ByteView value) {
    if (!StartsWith(key, keyring)) return false;
    const auto counts = DecodeCounts(value);
    if (!counts) {
      outcome = counts.error();
      return false;
    }
    WireReader in(key.subspan(keyring.size()));
    all.emplace(in.U32(), *counts);
    return true;
  }));
  TRY(outcome);
  return all;
}

Result<OwnerCounts> Inventory::OwnedBy(std::string_view service) const {
  TRY_ASSIGN(const auto txn, env_.Read());
  return ReadOwner(txn, OwnerKey(service));
}

Result<OwnerCounts> Inventory::OwnedBy(const crypto::KeyringId& keyring, std::string_view service) const {
  TRY_ASSIGN(const auto txn, env_.Read());
  return ReadOwner(txn, OwnerKey(keyring, service));
}

Result<JobProgress> Inventory::ProgressOf(std::string_view job) const {
  TRY_ASSIGN(const auto txn, env_.Read());
  return ReadProgress(txn, job);
}

}  // namespace strongroom::ledger
