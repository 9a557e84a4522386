#pragma once
// The Merkle tree of one log as it lies in the database: entries, whole tiles, frontier.

#include <string_view>

#include "crypto/merkle.h"
#include "ledger/env.h"

namespace strongroom::ledger {

enum class Log : std::uint8_t { kControl, kEvidence };

/// LogTree is a log's growing end. Used by the writer's thread alone.
class LogTree {
 public:
  explicit LogTree(Log log) : log_(log) {}
  /// Load reads frontier and tiles; tiles that a database of an earlier version lacks are made from the entries.
  static Result<LogTree> Load(Txn& txn, Log log);
  /// Append stores the entry, its place in the tree, and every tile that it completes. `Store` follows once for a
  /// transaction.
  Result<void> Append(Txn& txn, ByteView entry);
  Result<void> Store(Txn& txn) const;
  const crypto::MerkleFrontier& frontier() const { return frontier_; }

 private:
  Result<void> MakeTiles(Txn& txn);
  Log log_;
  crypto::MerkleFrontier frontier_;
  crypto::TileGrower grower_;
};

Table TableOf(Log log);
/// StoredHashes looks complete subtrees up in whole tiles, and what is in none yet in entries. It uses `txn`, which
/// must outlive it.
crypto::HashAt StoredHashes(const Txn& txn, Log log);

}  // namespace strongroom::ledger
