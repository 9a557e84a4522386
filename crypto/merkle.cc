#include "crypto/merkle.h"

#include <bit>

#include "crypto/base/wire.h"

namespace strongroom::crypto {
namespace {
constexpr std::uint8_t kLeafPrefix = 0;
constexpr std::uint8_t kNodePrefix = 1;
}  // namespace

Digest LeafHash(ByteView entry) { return Sha256({ByteView(&kLeafPrefix, 1), entry}); }
Digest NodeHash(const Digest& left, const Digest& right) { return Sha256({ByteView(&kNodePrefix, 1), left, right}); }

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

}  // namespace strongroom::crypto
