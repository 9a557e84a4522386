#include "hsm/payload.h"

#include <gtest/gtest.h>

namespace strongroom::hsm {
namespace {

const crypto::Digest kContext = crypto::Sha256(AsBytes("context"));

TEST(Payload, K4_RefusesDeksOutOfRange) {
  for (const std::size_t n : {0, 1, 15, 513, 4096}) EXPECT_FALSE(BuildPayload(Bytes(n), kContext, {})) << n;
}

TEST(Payload, K4_EveryLengthComesBackAndIsAMultipleOf8) {
  for (std::size_t n = 16; n <= 512; ++n) {
    Bytes dek(n);
    for (std::size_t i = 0; i < n; ++i) dek[i] = static_cast<std::uint8_t>(i + n);
    const auto payload = BuildPayload(dek, kContext, crypto::RandomArray<16>());
    ASSERT_TRUE(payload);
    EXPECT_EQ(payload->size() % 8, 0U) << n;
    const auto opened = OpenPayload(payload->Read(SecretAccess()));
    ASSERT_TRUE(opened) << n;
    EXPECT_TRUE(EqualConstantTime(opened->dek.Read(SecretAccess()), dek));
    EXPECT_EQ(opened->context, kContext);
  }
}

TEST(Payload, K5_OddLayoutsAreTheOneAnswer) {
  const auto payload = BuildPayload(Bytes(17, 0xAB), kContext, {});
  const auto view = payload->Read(SecretAccess());
  Bytes bytes(view.begin(), view.end());
  for (std::size_t n = 0; n < bytes.size(); ++n)
    EXPECT_EQ(OpenPayload(ByteView(bytes).first(n)).error().code, Code::kUnwrapFailed);
  auto padded = bytes;
  padded[20] = 1;  // a padding byte
  EXPECT_FALSE(OpenPayload(padded));
  for (const std::uint16_t length : {0, 15, 16 + 100, 513, 65535}) {
    auto wrong = bytes;
    wrong[0] = static_cast<std::uint8_t>(length >> 8);
    wrong[1] = static_cast<std::uint8_t>(length);
    EXPECT_FALSE(OpenPayload(wrong)) << length;
  }
  bytes.insert(bytes.end(), 8, 0);
  EXPECT_FALSE(OpenPayload(bytes));
}

}  // namespace
}  // namespace strongroom::hsm
