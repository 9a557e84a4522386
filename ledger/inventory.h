#pragma once
// The inventory: wrapped DEKs that services have left with the appliance, by id, with an index by version. It is kept
// in the ledger's environment, so that a change of it and the entry that records it are one transaction.

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/base/clock.h"
#include "crypto/digest.h"
#include "ledger/env.h"

namespace strongroom::ledger {

inline constexpr std::size_t kMaxDekIdBytes = 128;
/// IsDekId: 1 to 128 characters of A-Z, a-z, 0-9 and `. _ - : @ +`, the first a letter or digit.
bool IsDekId(std::string_view id);

/// DekRecord is one wrapped DEK: the blob of its envelope; the rest of the envelope follows from keyring and version. A
/// `quarantine` says why a job could not rewrap it: then it is left alone until somebody puts or deletes it. The
/// `owner` is the service that has put it; what an earlier build took in has none.
struct DekRecord {
  std::uint32_t version = 0;
  Millis stored = 0;       // when it came, to the second
  std::string quarantine;  // slug, empty: none
  Bytes blob;
  std::string owner = {};
  bool operator==(const DekRecord&) const = default;
};
Bytes Encode(const DekRecord& record);
/// DecodeDek accepts exactly what Encode makes; kIntegrity otherwise.
Result<DekRecord> DecodeDek(ByteView bytes);

/// DekWrite puts a record, or with no `next` takes it away. With `expected` it is done only if what is stored is that
/// to the byte: what somebody else has changed meanwhile stays as he left it. With `only_of` it is done only if what is
/// stored is nothing, nobody's or that service's.
struct DekWrite {
  crypto::KeyringId keyring{};
  std::string id;
  std::optional<DekRecord> next;
  std::optional<DekRecord> expected = std::nullopt;
  std::optional<std::string> only_of = std::nullopt;
};

/// DekCounts is how much of a keyring's inventory is under one version.
struct DekCounts {
  std::uint64_t records = 0;      // all of them
  std::uint64_t quarantined = 0;  // of these
  std::uint64_t bytes = 0;        // of their blobs
  bool operator==(const DekCounts&) const = default;
};

/// OwnerCounts is how much one service owns of the inventory.
struct OwnerCounts {
  std::uint64_t records = 0;
  std::uint64_t bytes = 0;  // of ids and blobs
  bool operator==(const OwnerCounts&) const = default;
};

/// Applied is what became of a submission's writes; one whose record somebody else had changed is in neither number.
struct Applied {
  std::uint64_t stored = 0;  // without a quarantine
  std::uint64_t quarantined = 0;
};
struct JobProgress {
  std::uint64_t done = 0;
  std::uint64_t quarantined = 0;
  std::uint64_t batches = 0;
};

/// ApplyDeks carries out writes in order and keeps index and counts in step; AddStep adds what came of a batch to a
/// job's progress.
Result<Applied> ApplyDeks(Txn& txn, const std::vector<DekWrite>& writes);
Result<void> AddStep(Txn& txn, std::string_view job, const Applied& applied);

/// Inventory reads. Each call sees one moment. Thread-safe.
class Inventory {
 public:
  explicit Inventory(const Env& env) : env_(env) {}
  Result<std::optional<DekRecord>> Find(const crypto::KeyringId& keyring, std::string_view id) const;
  /// Scan visits the records of a keyring behind `after` in the order of their ids until `visit` returns false.
  using Visit = std::function<bool(std::string_view id, const DekRecord& record)>;
  Result<void> Scan(const crypto::KeyringId& keyring, std::string_view after, const Visit& visit) const;
  /// ScanAll visits those of every keyring behind the record `after` of `keyring`, in the order of keyrings' ids and
  /// their own; nothing of either begins at the first.
  using VisitAll = std::function<bool(const crypto::KeyringId& keyring, std::string_view id, const DekRecord& record)>;
  Result<void> ScanAll(const crypto::KeyringId& keyring, std::string_view after, const VisitAll& visit) const;
  /// ScanUnder visits those under one version, either the quarantined ones or the others.
  Result<void> ScanUnder(const crypto::KeyringId& keyring, std::uint32_t version, bool quarantined,
                         std::string_view after, const Visit& visit) const;
  /// Counts tells how much there is under each version; one with nothing under it is absent.
  Result<std::map<std::uint32_t, DekCounts>> Counts(const crypto::KeyringId& keyring) const;
  /// OwnedBy tells what a service owns of all keyrings, or of one.
  Result<OwnerCounts> OwnedBy(std::string_view service) const;
  Result<OwnerCounts> OwnedBy(const crypto::KeyringId& keyring, std::string_view service) const;
  Result<JobProgress> ProgressOf(std::string_view job) const;

 private:
  const Env& env_;
};

}  // namespace strongroom::ledger
