#include "ledger/evidence_entry.h"

#include <algorithm>

#include "crypto/base/wire.h"

namespace strongroom::ledger {
namespace {
constexpr std::uint8_t kEvidenceFormat = 1;
constexpr std::uint8_t kKind = 1;
}  // namespace

std::string_view ToString(Operation operation) {
  switch (operation) {
    case Operation::kWrap:
      return "wrap";
    case Operation::kUnwrap:
      return "unwrap";
    case Operation::kRewrap:
      return "rewrap";
    case Operation::kDataKey:
      return "datakey";
    case Operation::kOther:
      return "other";
    case Operation::kDekPut:
      return "dek-put";
    case Operation::kDekDelete:
      return "dek-delete";
    case Operation::kBackup:
      return "backup";
  }
  return "other";
}

std::optional<BackedUp> BackupIn(std::uint64_t index, const EvidenceEntry& entry) {
  if (entry.operation != Operation::kBackup || entry.outcome != "ok") return std::nullopt;
  return BackedUp{index, entry.items, entry.digest};
}

Bytes Encode(const EvidenceEntry& entry) {
  WireWriter out;
  out.Reserve(192 + entry.uses.size() * 25);
  out.U8(kEvidenceFormat);
  out.U8(kKind);
  out.U64(static_cast<std::uint64_t>(entry.time));
  out.Text(entry.request_id);
  out.Text(entry.principal);
  out.U8(static_cast<std::uint8_t>(entry.operation));
  out.Text(entry.keyring);
  out.Raw(entry.keyring_id);
  out.U32(entry.items);
  out.U32(entry.failed);
  out.Raw(entry.digest);
  out.Text(entry.outcome);
  out.U32(entry.suppressed);
  out.U16(static_cast<std::uint16_t>(entry.uses.size()));
  for (const auto& use : entry.uses) {
    out.Raw(use.kek);
    out.U8(static_cast<std::uint8_t>(use.use));
    out.U32(use.count);
  }
  return std::move(out).Take();
}

Result<EvidenceEntry> DecodeEvidence(ByteView bytes) {
  WireReader in(bytes);
  const auto format = in.U8();
  const auto kind = in.U8();
  EvidenceEntry entry;
  entry.time = static_cast<Millis>(in.U64());
  entry.request_id = in.Text();
  entry.principal = in.Text();
  const auto operation = in.U8();
  if (operation < 1 || operation > 8) in.Fail();
  entry.operation = static_cast<Operation>(operation);
  entry.keyring = in.Text();
  entry.keyring_id = in.Array<16>();
  entry.items = in.U32();
  entry.failed = in.U32();
  entry.digest = in.Array<32>();
  entry.outcome = in.Text();
  entry.suppressed = in.U32();
  for (int n = in.U16(); n > 0 && in.ok(); --n) {
    KekUse use;
    use.kek = in.Array<20>();
    const auto kind_of_use = in.U8();
    if (kind_of_use < 1 || kind_of_use > 4) in.Fail();
    use.use = static_cast<Use>(kind_of_use);
    use.count = in.U32();
    entry.uses.push_back(use);
  }
  if (format != kEvidenceFormat || kind != kKind || !in.Complete())
    return Integrity("an evidence entry is damaged or of a format that this version does not know");
  return entry;
}

void KekCounters::Add(const KekUse& use, Millis at) {
  switch (use.use) {
    case Use::kWrap:
      wraps += use.count;
      break;
    case Use::kUnwrap:
      unwraps += use.count;
      break;
    case Use::kRewrapTo:
      rewraps_to += use.count;
      break;
    case Use::kRewrapFrom:
      rewraps_from += use.count;
      break;
  }
  last_use = std::max(last_use, at);
}

Bytes Encode(const KekCounters& counters) {
  WireWriter out;
  for (const auto value : {counters.wraps, counters.unwraps, counters.rewraps_to, counters.rewraps_from,
                           static_cast<std::uint64_t>(counters.last_use)})
    out.U64(value);
  return std::move(out).Take();
}

Result<KekCounters> DecodeCounters(ByteView bytes) {
  WireReader in(bytes);
  KekCounters counters;
  counters.wraps = in.U64();
  counters.unwraps = in.U64();
  counters.rewraps_to = in.U64();
  counters.rewraps_from = in.U64();
  counters.last_use = static_cast<Millis>(in.U64());
  if (!in.Complete()) return Integrity("a counter row is damaged");
  return counters;
}

}  // namespace strongroom::ledger
