#pragma once
// RFC 6962 section 2.1 Merkle trees: the frontier that a log grows by, proofs and their verification, hash tiles.

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "crypto/base/result.h"
#include "crypto/digest.h"

namespace strongroom::crypto {

/// LeafHash is SHA-256(0x00 || entry), NodeHash SHA-256(0x01 || left || right).
Digest LeafHash(ByteView entry);
Digest NodeHash(const Digest& left, const Digest& right);

/// MerkleFrontier appends leaves in O(log n) time and memory and tells size and root. Value type.
class MerkleFrontier {
 public:
  /// Of makes the frontier of the first `size` leaves from the roots of complete subtrees.
  static Result<MerkleFrontier> Of(std::uint64_t size,
                                   const std::function<Result<Digest>(unsigned level, std::uint64_t index)>& hash);
  void Append(const Digest& leaf);
  std::uint64_t size() const { return size_; }
  /// Root of the empty tree is SHA-256 of nothing.
  Digest Root() const;
  /// Encode and Decode: 64-bit size, then one hash for each set bit of it, highest first. Decode fails with
  /// kIntegrity when number of hashes and size disagree.
  Bytes Encode() const;
  static Result<MerkleFrontier> Decode(ByteView bytes);
  bool operator==(const MerkleFrontier&) const = default;

 private:
  std::uint64_t size_ = 0;
  std::vector<Digest> complete_;  // one for each set bit of size_, largest subtree first
};

/// HashAt gives the root of the complete subtree `index` of height `level` (level 0: a leaf's hash), whose leaves are
/// index * 2^level up to the next.
using HashAt = std::function<Result<Digest>(unsigned level, std::uint64_t index)>;

/// TreeRoot computes the root of the first `size` leaves from complete subtrees.
Result<Digest> TreeRoot(std::uint64_t size, const HashAt& hash);
/// InclusionProof is the audit path of leaf `index` in the tree of `size` leaves (RFC 6962 section 2.1.1), the leaf's
/// sibling first. kNotFound when index >= size.
Result<std::vector<Digest>> InclusionProof(std::uint64_t index, std::uint64_t size, const HashAt& hash);
/// ConsistencyProof shows that the tree of `size` leaves extends that of `old_size` (RFC 6962 section 2.1.2). Empty for
/// equal sizes and for old_size 0. kInvalid when old_size > size.
Result<std::vector<Digest>> ConsistencyProof(std::uint64_t old_size, std::uint64_t size, const HashAt& hash);

/// VerifyInclusion and VerifyConsistency follow RFC 9162 sections 2.1.3.2 and 2.1.4.2. kIntegrity for anything else
/// than an exact fit, surplus hashes included. A consistency proof from size 0 is refused: it would say nothing.
Result<void> VerifyInclusion(std::uint64_t index, std::uint64_t size, const Digest& leaf, std::span<const Digest> proof,
                             const Digest& root);
Result<void> VerifyConsistency(std::uint64_t old_size, std::uint64_t size, const Digest& old_root, const Digest& root,
                               std::span<const Digest> proof);

/// kTileWidth is how many hashes a whole tile holds (C2SP tlog-tiles: tiles of height 8).
inline constexpr std::uint64_t kTileWidth = 256;
/// TileId names one whole tile: tiles of level L hold the roots of whole tiles of level L-1, level 0 leaf hashes.
struct TileId {
  std::uint8_t level = 0;
  std::uint64_t index = 0;
  auto operator<=>(const TileId&) const = default;
};

/// TileGrower takes leaf hashes in order and yields each tile as it becomes whole. It holds at most 255 hashes a level.
/// Value type.
class TileGrower {
 public:
  /// Append calls `whole` for every tile that this leaf completes, lowest level first.
  void Append(const Digest& leaf, const std::function<void(const TileId&, std::span<const Digest>)>& whole);
  /// Restore makes the grower of a tree of `size` leaves. `loose` gives a hash that is in no whole tile of its level: a
  /// leaf's (tile level 0), or the root of a whole tile of the level below.
  static Result<TileGrower> Restore(
      std::uint64_t size, const std::function<Result<Digest>(unsigned tile_level, std::uint64_t index)>& loose);
  std::uint64_t size() const { return size_; }
  /// Partial returns the hashes of a level that are in no whole tile yet.
  std::span<const Digest> Partial(unsigned level) const;

 private:
  std::uint64_t size_ = 0;
  std::vector<std::vector<Digest>> partial_;  // by tile level
};

/// SubtreeHash computes the root of 1 to 256 hashes that are a power of two many.
Digest SubtreeHash(std::span<const Digest> hashes);

}  // namespace strongroom::crypto
