#include "crypto/merkle.h"

#include <gtest/gtest.h>

#include <fstream>

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
