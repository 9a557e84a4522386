#include "crypto/merkle.h"

#include <algorithm>
#include <bit>

#include "crypto/base/wire.h"

namespace strongroom::crypto {
namespace {
constexpr std::uint8_t kLeafPrefix = 0;
constexpr std::uint8_t kNodePrefix = 1;
}  // namespace

Digest LeafHash(ByteView entry) { return Sha256({ByteView(&kLeafPrefix, 1), entry}); }
Digest NodeHash(const Digest& left, const Digest& right) { return Sha256({ByteView(&kNodePrefix, 1), left, right}); }

Result<MerkleFrontier> MerkleFrontier::Of(
    std::uint64_t size, const std::function<Result<Digest>(unsigned level, std::uint64_t index)>& hash) {
  MerkleFrontier frontier;
  for (unsigned level = 64; level-- > 0;) {
    if ((size >> level & 1) == 0) continue;
    TRY_ASSIGN(const auto subtree, hash(level, frontier.size_ >> level));
    frontier.complete_.push_back(subtree);
    frontier.size_ += std::uint64_t{1} << level;
  }
  return frontier;
}

void MerkleFrontier::Append(const Digest& leaf) {
  Digest hash = leaf;
  for (std::uint64_t bit = size_; (bit & 1) != 0; bit >>= 1) {
    hash = NodeHash(complete_.back(), hash);
    complete_.pop_back();
  }
  complete_.push_back(hash);
  ++size_;
}

Digest MerkleFrontier::Root() const {
  if (complete_.empty()) return Sha256(ByteView{});
  Digest hash = complete_.back();
  for (auto left = complete_.rbegin() + 1; left != complete_.rend(); ++left) hash = NodeHash(*left, hash);
  return hash;
}

Bytes MerkleFrontier::Encode() const {
  WireWriter out;
  out.U64(size_);
  for (const auto& hash : complete_) out.Raw(hash);
  return std::move(out).Take();
}

Result<MerkleFrontier> MerkleFrontier::Decode(ByteView bytes) {
  WireReader in(bytes);
  MerkleFrontier frontier;
  frontier.size_ = in.U64();
  for (int i = std::popcount(frontier.size_); i > 0; --i) frontier.complete_.push_back(in.Array<32>());
  if (!in.Complete()) return Integrity("a stored Merkle frontier does not fit its size");
  return frontier;
}

namespace {

// The largest power of two below `size`: where RFC 6962 splits a tree of more than one leaf.
std::uint64_t Split(std::uint64_t size) { return std::bit_floor(size - 1); }

// Subproblem of RFC 6962's recursions: leaves first to first + size. `first` is a multiple of every power of two that
// is cut off.
Result<Digest> RangeRoot(std::uint64_t first, std::uint64_t size, const HashAt& hash) {
  if (std::has_single_bit(size)) {
    const auto level = static_cast<unsigned>(std::countr_zero(size));
    return hash(level, first >> level);
  }
  const auto left = Split(size);
  TRY_ASSIGN(const auto left_root, RangeRoot(first, left, hash));
  TRY_ASSIGN(const auto right_root, RangeRoot(first + left, size - left, hash));
  return NodeHash(left_root, right_root);
}

Result<void> NoFit(const char* what) { return Integrity(std::string("the ") + what + " proof does not fit"); }

}  // namespace

Result<Digest> TreeRoot(std::uint64_t size, const HashAt& hash) {
  if (size == 0) return Sha256(ByteView{});
  return RangeRoot(0, size, hash);
}

Result<std::vector<Digest>> InclusionProof(std::uint64_t index, std::uint64_t size, const HashAt& hash) {
  if (index >= size)
    return NotFound("the log has " + std::to_string(size) + " entries: there is none at " + std::to_string(index),
                    "index-past-head");
  std::vector<Digest> proof;
  std::uint64_t first = 0;
  while (size > 1) {  // from the root down; the path is written from the leaf up
    const auto left = Split(size);
    const bool in_left = index - first < left;
    TRY_ASSIGN(const auto sibling, in_left ? RangeRoot(first + left, size - left, hash) : RangeRoot(first, left, hash));
    proof.insert(proof.begin(), sibling);
    if (!in_left) first += left;
    size = in_left ? left : size - left;
  }
  return proof;
}

Result<std::vector<Digest>> ConsistencyProof(std::uint64_t old_size, std::uint64_t size, const HashAt& hash) {
  if (old_size > size)
    return Invalid("a log of " + std::to_string(size) + " entries has no prefix of " + std::to_string(old_size));
  std::vector<Digest> proof;
  if (old_size == 0 || old_size == size) return proof;
  std::uint64_t first = 0;
  bool whole = true;  // whether the old tree's remainder is a complete subtree that the verifier knows
  while (old_size != size) {
    const auto left = Split(size);
    if (old_size <= left) {
      TRY_ASSIGN(const auto right, RangeRoot(first + left, size - left, hash));
      proof.insert(proof.begin(), right);
      size = left;
    } else {
      TRY_ASSIGN(const auto left_root, RangeRoot(first, left, hash));
      proof.insert(proof.begin(), left_root);
      first += left;
      old_size -= left;
      size -= left;
      whole = false;
    }
  }
  if (!whole) {
    TRY_ASSIGN(const auto rest, RangeRoot(first, size, hash));
    proof.insert(proof.begin(), rest);
  }
  return proof;
}

Result<void> VerifyInclusion(std::uint64_t index, std::uint64_t size, const Digest& leaf, std::span<const Digest> proof,
                             const Digest& root) {
  if (index >= size) return NoFit("inclusion");
  auto fn = index, sn = size - 1;
  auto hash = leaf;
  for (const auto& p : proof) {
    if (sn == 0) return NoFit("inclusion");
    if ((fn & 1) != 0 || fn == sn) {
      hash = NodeHash(p, hash);
      while ((fn & 1) == 0 && fn != 0) {
        fn >>= 1;
        sn >>= 1;
      }
    } else {
      hash = NodeHash(hash, p);
    }
    fn >>= 1;
    sn >>= 1;
  }
  if (sn != 0 || hash != root) return NoFit("inclusion");
  return {};
}

Result<void> VerifyConsistency(std::uint64_t old_size, std::uint64_t size, const Digest& old_root, const Digest& root,
                               std::span<const Digest> proof) {
  if (old_size == 0 || old_size > size) return NoFit("consistency");
  if (old_size == size) return proof.empty() && old_root == root ? Result<void>() : NoFit("consistency");
  if (proof.empty()) return NoFit("consistency");
  auto fn = old_size - 1, sn = size - 1;
  while ((fn & 1) != 0) {
    fn >>= 1;
    sn >>= 1;
  }
  const bool whole = std::has_single_bit(old_size);
  auto fr = whole ? old_root : proof.front();
  auto sr = fr;
  for (const auto& c : proof.subspan(whole ? 0 : 1)) {
    if (sn == 0) return NoFit("consistency");
    if ((fn & 1) != 0 || fn == sn) {
      fr = NodeHash(c, fr);
      sr = NodeHash(c, sr);
      while ((fn & 1) == 0 && fn != 0) {
        fn >>= 1;
        sn >>= 1;
      }
    } else {
      sr = NodeHash(sr, c);
    }
    fn >>= 1;
    sn >>= 1;
  }
  if (sn != 0 || fr != old_root || sr != root) return NoFit("consistency");
  return {};
}

Digest SubtreeHash(std::span<const Digest> hashes) {
  if (hashes.size() == 1) return hashes[0];
  const auto half = hashes.size() / 2;
  return NodeHash(SubtreeHash(hashes.first(half)), SubtreeHash(hashes.subspan(half)));
}

void TileGrower::Append(const Digest& leaf, const std::function<void(const TileId&, std::span<const Digest>)>& whole) {
  Digest hash = leaf;
  auto index = size_++;
  for (std::size_t level = 0;; ++level) {
    if (partial_.size() == level) partial_.emplace_back();
    auto& hashes = partial_[level];
    hashes.push_back(hash);
    if (hashes.size() < kTileWidth) return;
    index /= kTileWidth;
    whole({static_cast<std::uint8_t>(level), index}, hashes);
    hash = SubtreeHash(hashes);
    hashes.clear();
  }
}

Result<TileGrower> TileGrower::Restore(std::uint64_t size,
                                       const std::function<Result<Digest>(unsigned, std::uint64_t)>& loose) {
  TileGrower grower;
  grower.size_ = size;
  std::uint64_t count = size;
  for (unsigned level = 0; count > 0; ++level, count /= kTileWidth) {
    grower.partial_.emplace_back();
    for (auto i = count - count % kTileWidth; i < count; ++i) {
      TRY_ASSIGN(const auto hash, loose(level, i));
      grower.partial_.back().push_back(hash);
    }
  }
  return grower;
}

std::span<const Digest> TileGrower::Partial(unsigned level) const {
  return level < partial_.size() ? std::span<const Digest>(partial_[level]) : std::span<const Digest>();
}

}  // namespace strongroom::crypto
