// What is read of the ledger; the writer is in ledger.cc.

#include <algorithm>

#include "ledger/ledger.h"
#include "ledger/ledger_keys.h"

namespace strongroom::ledger {

std::uint64_t Ledger::FirstStored(Log log) const {
  const MutexLock lock(mutex_);
  return log == Log::kControl ? 0 : evidence_first_;
}

Result<crypto::MerkleFrontier> Ledger::FrontierAt(Log log, std::uint64_t size) const {
  TRY(CheckSize(log, size));
  TRY_ASSIGN(const auto txn, env_->Read());
  return crypto::MerkleFrontier::Of(size, StoredHashes(txn, log));
}

Result<void> Ledger::CheckSize(Log log, std::uint64_t size) const {
  if (size <= SettledHead(log).size) return {};
  if (log == Log::kEvidence) TRY(AwaitSettled());
  if (const auto head = HeadOf(log); size > head.size)
    return NotFound("the log has " + std::to_string(head.size) + " entries, fewer than " + std::to_string(size),
                    "index-past-head");
  return {};
}

Result<crypto::Digest> Ledger::RootAt(Log log, std::uint64_t size) const {
  TRY(CheckSize(log, size));
  TRY_ASSIGN(const auto txn, env_->Read());
  return crypto::TreeRoot(size, StoredHashes(txn, log));
}

Result<std::vector<crypto::Digest>> Ledger::InclusionProof(Log log, std::uint64_t index, std::uint64_t size) const {
  TRY(CheckSize(log, size));
  TRY_ASSIGN(const auto txn, env_->Read());
  return crypto::InclusionProof(index, size, StoredHashes(txn, log));
}

Result<std::vector<crypto::Digest>> Ledger::ConsistencyProof(Log log, std::uint64_t old_size,
                                                             std::uint64_t size) const {
  TRY(CheckSize(log, size));
  TRY_ASSIGN(const auto txn, env_->Read());
  return crypto::ConsistencyProof(old_size, size, StoredHashes(txn, log));
}

Result<Bytes> Ledger::Tile(Log log, unsigned level, std::uint64_t index, std::uint64_t width) const {
  const auto none = [] { return NotFound("the log is not long enough for this tile", "no-such-tile"); };
  if (width == 0 || width > crypto::kTileWidth || level > 7) return none();
  // How many hashes this tile level has: one for each whole tile below.
  const auto reaches = [&](const Head& head) {
    return index < (std::uint64_t{1} << 56) && index * crypto::kTileWidth + width <= head.size >> (8 * level);
  };
  if (!reaches(SettledHead(log)) && !reaches(HeadOf(log))) return none();
  TRY_ASSIGN(const auto txn, env_->Read());
  const auto hashes = StoredHashes(txn, log);
  Bytes tile;
  for (std::uint64_t i = 0; i < width; ++i) {
    TRY_ASSIGN(const auto hash, hashes(8 * level, index * crypto::kTileWidth + i));
    Append(tile, hash);
  }
  return tile;
}

Result<std::optional<SignedHead>> Ledger::LatestCheckpoint(Log log) const {
  TRY_ASSIGN(const auto txn, env_->Read());
  TRY_ASSIGN(const auto last, txn.LastBefore(Table::kCheckpoints, CheckpointKey(log, ~std::uint64_t{0})));
  if (!last || last->first.size() != 9 || last->first[0] != static_cast<std::uint8_t>(log))
    return std::optional<SignedHead>();
  return std::optional<SignedHead>(SignedHead{log, IndexOf(last->first.subspan(1)), std::string(AsText(last->second))});
}

Result<KekCounters> Ledger::CountersOf(const crypto::KeyId& kek) const {
  TRY(AwaitSettled());
  return CountersAt(kek);
}
Result<KekCounters> Ledger::SettledCounters(const crypto::KeyId& kek) const { return CountersAt(kek); }
Result<KekCounters> Ledger::SettledCounters(const crypto::KeyId& kek, const crypto::KeyringId& keyring) const {
  return CountersAt(CountersKey(kek, keyring));
}

Result<KekCounters> Ledger::CountersNow(const crypto::KeyId& kek) const {
  KekCounters unsettled;
  {
    // Before the database is looked at: what moves there meanwhile is counted twice rather than not at all.
    const MutexLock lock(mutex_);
    if (const auto at = unsettled_counts_.find(kek); at != unsettled_counts_.end()) unsettled = at->second;
  }
  TRY_ASSIGN(auto counters, CountersAt(kek));
  counters.wraps += unsettled.wraps;
  counters.unwraps += unsettled.unwraps;
  counters.rewraps_to += unsettled.rewraps_to;
  counters.rewraps_from += unsettled.rewraps_from;
  counters.last_use = std::max(counters.last_use, unsettled.last_use);
  return counters;
}
Result<KekCounters> Ledger::CountersOf(const crypto::KeyId& kek, const crypto::KeyringId& keyring) const {
  TRY(AwaitSettled());
  return CountersAt(CountersKey(kek, keyring));
}

Result<KekCounters> Ledger::CountersAt(ByteView key) const {
  TRY_ASSIGN(const auto txn, env_->Read());
  TRY_ASSIGN(const auto stored, txn.Get(Table::kCounters, key));
  if (!stored) return KekCounters();
  return DecodeCounters(*stored);
}

Result<void> Ledger::Read(Log log, std::uint64_t from,
                          const std::function<bool(std::uint64_t, ByteView)>& visit) const {
  if (log == Log::kEvidence) TRY(AwaitSettled());
  TRY_ASSIGN(const auto txn, env_->Read());
  return txn.Scan(TableOf(log), IndexKey(from),
                  [&](ByteView key, ByteView entry) { return visit(IndexOf(key), entry); });
}

Result<Millis> Ledger::LastTime() const {
  TRY(AwaitSettled());
  TRY_ASSIGN(const auto txn, env_->Read());
  Millis last = 0;
  TRY_ASSIGN(const auto control, txn.LastBefore(Table::kControl, IndexKey(~std::uint64_t{0})));
  if (control) {
    TRY_ASSIGN(const auto entry, DecodeControl(control->second));
    last = entry.time;
  }
  TRY_ASSIGN(const auto evidence, txn.LastBefore(Table::kEvidence, IndexKey(~std::uint64_t{0})));
  if (evidence) {
    TRY_ASSIGN(const auto entry, DecodeEvidence(evidence->second));
    last = std::max(last, entry.time);
  }
  return last;
}

Result<void> Ledger::ReadState(const std::function<bool(std::string_view, ByteView)>& visit) const {
  TRY_ASSIGN(const auto txn, env_->Read());
  return txn.Scan(Table::kState, {}, [&](ByteView key, ByteView value) { return visit(AsText(key), value); });
}

Result<void> Ledger::ReplaceState(const std::vector<Row>& rows) {
  TRY_ASSIGN(auto txn, env_->Write());
  TRY(txn.Clear(Table::kState));
  for (const auto& row : rows)
    if (row.value) TRY(txn.Put(Table::kState, AsBytes(row.key), *row.value));
  return txn.Commit();
}

}  // namespace strongroom::ledger
