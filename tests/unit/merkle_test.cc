#include "crypto/merkle.h"

#include <gtest/gtest.h>

#include <map>
#include <span>
#include <vector>

namespace strongroom::crypto {
namespace {

// RFC 6962 section 2.1, written as the RFC writes it: the independent implementation.
Digest Recursive(std::span<const Bytes> leaves) {
  if (leaves.empty()) return Sha256(ByteView{});
  if (leaves.size() == 1) return LeafHash(leaves[0]);
  std::size_t k = 1;
  while (k * 2 < leaves.size()) k *= 2;
  return NodeHash(Recursive(leaves.first(k)), Recursive(leaves.subspan(k)));
}

TEST(Merkle, L1_RootsEqualTheRfcForAllSizesTo1025) {
  std::vector<Bytes> leaves;
  MerkleFrontier frontier;
  for (std::size_t n = 0; n <= 1025; ++n) {
    ASSERT_EQ(frontier.size(), n);
    ASSERT_EQ(frontier.Root(), Recursive(leaves)) << n;
    const auto decoded = MerkleFrontier::Decode(frontier.Encode());
    ASSERT_TRUE(decoded);
    ASSERT_EQ(*decoded, frontier);
    leaves.push_back(Bytes{static_cast<std::uint8_t>(n), static_cast<std::uint8_t>(n >> 8)});
    frontier.Append(LeafHash(leaves.back()));
  }
}

// Values of RFC 6962's own implementation (testdata of transparency-dev/merkle): empty root and the eight-leaf tree.
TEST(Merkle, L1_KnownAnswers) {
  const char* leaves[] = {
      "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"};
  const char* roots[] = {"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
                         "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
                         "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
                         "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
                         "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
                         "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
                         "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
                         "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
                         "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"};
  MerkleFrontier frontier;
  EXPECT_EQ(ToHex(frontier.Root()), roots[0]);
  for (int i = 0; i < 8; ++i) {
    frontier.Append(LeafHash(*FromHex(leaves[i])));
    EXPECT_EQ(ToHex(frontier.Root()), roots[i + 1]) << i;
  }
}

// RFC 6962 sections 2.1.1 and 2.1.2, again as the RFC writes them.
std::vector<Digest> RecursivePath(std::size_t m, std::span<const Bytes> leaves) {
  if (leaves.size() <= 1) return {};
  std::size_t k = 1;
  while (k * 2 < leaves.size()) k *= 2;
  auto path = m < k ? RecursivePath(m, leaves.first(k)) : RecursivePath(m - k, leaves.subspan(k));
  path.push_back(m < k ? Recursive(leaves.subspan(k)) : Recursive(leaves.first(k)));
  return path;
}
std::vector<Digest> RecursiveSubproof(std::size_t m, std::span<const Bytes> leaves, bool whole) {
  if (m == leaves.size()) return whole ? std::vector<Digest>() : std::vector<Digest>{Recursive(leaves)};
  std::size_t k = 1;
  while (k * 2 < leaves.size()) k *= 2;
  auto proof =
      m <= k ? RecursiveSubproof(m, leaves.first(k), whole) : RecursiveSubproof(m - k, leaves.subspan(k), false);
  proof.push_back(m <= k ? Recursive(leaves.subspan(k)) : Recursive(leaves.first(k)));
  return proof;
}

// A tree whose complete subtrees are looked up in tiles, as the ledger does.
class Tiled {
 public:
  void Append(const Bytes& leaf) {
    grower_.Append(LeafHash(leaf), [&](const TileId& id, std::span<const Digest> hashes) {
      tiles_[id].assign(hashes.begin(), hashes.end());
    });
  }
  HashAt Hash() const {
    return [this](unsigned level, std::uint64_t index) -> Result<Digest> {
      const auto tile_level = level / 8;
      const auto width = std::size_t{1} << (level % 8);
      const auto first = index * width;
      const auto tile = tiles_.find({static_cast<std::uint8_t>(tile_level), first / kTileWidth});
      const auto hashes = tile != tiles_.end() ? std::span<const Digest>(tile->second) : grower_.Partial(tile_level);
      if (hashes.size() < first % kTileWidth + width) return Integrity("no such subtree");
      return SubtreeHash(hashes.subspan(first % kTileWidth, width));
    };
  }

 private:
  TileGrower grower_;
  std::map<TileId, std::vector<Digest>> tiles_;
};

// Are roots and proofs those of the RFC for every size to 1025, and does each verify and no other?
TEST(Merkle, L1_ProofsEqualTheRfcForAllSizesTo1025) {
  std::vector<Bytes> leaves;
  Tiled tree;
  std::vector<Digest> roots = {Recursive({})};
  for (std::size_t n = 1; n <= 1025; ++n) {
    leaves.push_back(Bytes{static_cast<std::uint8_t>(n), static_cast<std::uint8_t>(n >> 8)});
    tree.Append(leaves.back());
    roots.push_back(*TreeRoot(n, tree.Hash()));
    const std::size_t step = n < 70 || n > 1020 ? 1 : 97;
    if (n < 70 || n % 64 < 2 || n > 1020) ASSERT_EQ(roots.back(), Recursive(leaves)) << n;
    if (n % 8 != 1 && n >= 70) continue;
    for (std::size_t m = 0; m < n; m += step) {
      const auto path = *InclusionProof(m, n, tree.Hash());
      if (n < 70) ASSERT_EQ(path, RecursivePath(m, leaves)) << m << " of " << n;
      ASSERT_TRUE(VerifyInclusion(m, n, LeafHash(leaves[m]), path, roots[n])) << m << " of " << n;
      ASSERT_FALSE(VerifyInclusion(m, n, LeafHash(leaves[m]), path, roots[n - 1]));
      if (m + 1 < n) ASSERT_FALSE(VerifyInclusion(m + 1, n, LeafHash(leaves[m]), path, roots[n]));
      const auto proof = *ConsistencyProof(m, n, tree.Hash());
      if (n < 70 && m > 0) ASSERT_EQ(proof, RecursiveSubproof(m, leaves, true)) << m << " to " << n;
      ASSERT_EQ(VerifyConsistency(m, n, roots[m], roots[n], proof).has_value(), m > 0) << m << " to " << n;
      if (m > 1) ASSERT_FALSE(VerifyConsistency(m, n, roots[m - 1], roots[n], proof));
    }
  }
  EXPECT_FALSE(InclusionProof(1025, 1025, tree.Hash()));
  EXPECT_FALSE(ConsistencyProof(1026, 1025, tree.Hash()));
}

TEST(Merkle, ADamagedFrontierIsRefused) {
  MerkleFrontier frontier;
  for (int i = 0; i < 5; ++i) frontier.Append(LeafHash(AsBytes("x")));
  auto bytes = frontier.Encode();
  bytes[7] = 7;
  EXPECT_FALSE(MerkleFrontier::Decode(bytes));
  bytes[7] = 5;
  bytes.pop_back();
  EXPECT_FALSE(MerkleFrontier::Decode(bytes));
  EXPECT_FALSE(MerkleFrontier::Decode({}));
}

}  // namespace
}  // namespace strongroom::crypto
