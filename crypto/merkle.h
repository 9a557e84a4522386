#pragma once
// RFC 6962 section 2.1 Merkle tree, kept as its frontier: the roots of the complete subtrees, largest first.

#include <cstdint>
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

}  // namespace strongroom::crypto
