#include "ledger/log_tree.h"

#include <algorithm>
#include <cstring>

namespace strongroom::ledger {
namespace {

using crypto::Digest;
using crypto::kTileWidth;
using crypto::TileId;

std::string_view MetaKey(Log log) { return log == Log::kControl ? "control-tree" : "evidence-tree"; }

Bytes TileKey(Log log, const TileId& id) {
  Bytes key = {static_cast<std::uint8_t>(log), id.level};
  Append(key, IndexKey(id.index));
  return key;
}

Result<void> PutTile(Txn& txn, Log log, const TileId& id, std::span<const Digest> hashes) {
  Bytes value;
  value.reserve(hashes.size() * sizeof(Digest));
  for (const auto& hash : hashes) Append(value, hash);
  return txn.Put(Table::kTiles, TileKey(log, id), value);
}

Result<std::optional<std::vector<Digest>>> GetTile(const Txn& txn, Log log, const TileId& id) {
  TRY_ASSIGN(const auto stored, txn.Get(Table::kTiles, TileKey(log, id)));
  if (!stored) return std::optional<std::vector<Digest>>();
  if (stored->size() != kTileWidth * sizeof(Digest))
    return Integrity("a tile in the database is cut", "ledger-damaged");
  std::vector<Digest> hashes(kTileWidth);
  for (std::size_t i = 0; i < hashes.size(); ++i) std::memcpy(hashes[i].data(), stored->data() + i * 32, 32);
  return std::optional<std::vector<Digest>>(std::move(hashes));
}

// One hash of a tile that is not whole yet: a leaf's, or the root of a whole tile one level below.
Result<Digest> LooseHash(const Txn& txn, Log log, unsigned level, std::uint64_t index) {
  if (level == 0) {
    TRY_ASSIGN(const auto entry, txn.Get(TableOf(log), IndexKey(index)));
    if (!entry) return Integrity("the database lacks entry " + std::to_string(index), "ledger-damaged");
    return crypto::LeafHash(*entry);
  }
  TRY_ASSIGN(const auto tile, GetTile(txn, log, {static_cast<std::uint8_t>(level - 1), index}));
  if (!tile) return Integrity("the database lacks a tile", "ledger-damaged");
  return crypto::SubtreeHash(*tile);
}

}  // namespace

Table TableOf(Log log) { return log == Log::kControl ? Table::kControl : Table::kEvidence; }

Result<LogTree> LogTree::Load(Txn& txn, Log log) {
  LogTree tree(log);
  TRY_ASSIGN(const auto stored, txn.Get(Table::kMeta, AsBytes(MetaKey(log))));
  if (!stored) return tree;
  TRY_ASSIGN(tree.frontier_, crypto::MerkleFrontier::Decode(*stored));
  const auto size = tree.frontier_.size();
  if (size >= kTileWidth) {
    TRY_ASSIGN(const auto first, GetTile(txn, log, {0, 0}));
    if (!first) {
      std::uint64_t begins = 0;
      TRY(txn.Scan(TableOf(log), {}, [&](ByteView key, ByteView) {
        begins = IndexOf(key);
        return false;
      }));
      if (begins != 0) return Integrity("the database lacks tiles of archived entries", "ledger-damaged");
      TRY(tree.MakeTiles(txn));
      return tree;
    }
  }
  TRY_ASSIGN(tree.grower_, crypto::TileGrower::Restore(size, [&](unsigned level, std::uint64_t index) {
               return LooseHash(txn, log, level, index);
             }));
  return tree;
}

Result<void> LogTree::MakeTiles(Txn& txn) {
  grower_ = {};
  Result<void> made;
  std::vector<std::pair<TileId, std::vector<Digest>>> whole;
  TRY(txn.Scan(TableOf(log_), {}, [&](ByteView, ByteView entry) {
    grower_.Append(crypto::LeafHash(entry), [&](const TileId& id, std::span<const Digest> hashes) {
      whole.emplace_back(id, std::vector<Digest>(hashes.begin(), hashes.end()));
    });
    return true;
  }));
  for (const auto& [id, hashes] : whole) TRY(PutTile(txn, log_, id, hashes));
  return {};
}

Result<void> LogTree::Append(Txn& txn, ByteView entry) {
  TRY(txn.Append(TableOf(log_), IndexKey(frontier_.size()), entry));
  const auto leaf = crypto::LeafHash(entry);
  frontier_.Append(leaf);
  Result<void> stored;
  grower_.Append(leaf, [&](const TileId& id, std::span<const Digest> hashes) {
    if (stored) stored = PutTile(txn, log_, id, hashes);
  });
  return stored;
}

Result<void> LogTree::Store(Txn& txn) const {
  return txn.Put(Table::kMeta, AsBytes(MetaKey(log_)), frontier_.Encode());
}

crypto::HashAt StoredHashes(const Txn& txn, Log log) {
  return [&txn, log](unsigned level, std::uint64_t index) -> Result<Digest> {
    // A subtree of height `level` is a run of a tile's hashes.
    const auto tile_level = level / 8;
    const auto width = std::uint64_t{1} << (level % 8);
    const auto first = index * width;
    TRY_ASSIGN(const auto tile, GetTile(txn, log, {static_cast<std::uint8_t>(tile_level), first / kTileWidth}));
    if (tile) return crypto::SubtreeHash(std::span<const Digest>(*tile).subspan(first % kTileWidth, width));
    std::vector<Digest> hashes;
    for (std::uint64_t i = first; i < first + width; ++i) {
      TRY_ASSIGN(const auto hash, LooseHash(txn, log, tile_level, i));
      hashes.push_back(hash);
    }
    return crypto::SubtreeHash(hashes);
  };
}

}  // namespace strongroom::ledger
