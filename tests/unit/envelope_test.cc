#include "crypto/envelope.h"

#include <gtest/gtest.h>

namespace strongroom::crypto {
namespace {

Envelope Example() {
  Envelope e;
  e.suite = Suite::kKwp;
  for (std::size_t i = 0; i < 16; ++i) {
    e.instance[i] = static_cast<std::uint8_t>(i);
    e.keyring[i] = static_cast<std::uint8_t>(0xF0 + i);
  }
  e.version = 258;
  e.kek = MakeKeyId(e.keyring, 258);
  for (int i = 0; i < 104; ++i) e.blob.push_back(static_cast<std::uint8_t>(i));
  return e;
}

// The golden vector: made once by hand from crypto/ENVELOPE.md (python3: struct.pack and base64), never regenerated.
constexpr const char* kGolden =
    "srw1:AQEAAQIDBAUGBwgJCgsMDQ4P8PHy8_T19vf4-fr7_P3-_wAAAQLw8fLz9PX29_j5-vv8_f7_"
    "AAABAgBoAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc"
    "4OTo7PD0-P0BBQkNERUZHSElKS0xNTk9QUVJTVFVWV1hZWltcXV5fYGFiY2RlZmc";

TEST(EnvelopeText, GoldenVector) {
  EXPECT_EQ(FormatEnvelope(Example()), kGolden);
  const auto parsed = ParseEnvelope(kGolden);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(*parsed, Example());
}

// The golden context digest, from python3's hashlib over the layout in crypto/ENVELOPE.md.
TEST(EnvelopeText, K4_GoldenContext) {
  const auto e = Example();
  EXPECT_EQ(ToHex(ContextDigest(e.instance, e.keyring, AsBytes("tenant=7"))),
            "454c1109d1a4da1e55dc11c6a05425fa7e15b0b5fba022d6da4a679c2d48ae73");
  EXPECT_EQ(ToHex(ContextDigest(e.instance, e.keyring, {})),
            "2ae38b1af8eadd7c337b671dc12e8c435b1b68a27b1662ad3cafc81ae247f74a");
}

// Does any single changed byte of the text give another envelope or none, and never the same?
TEST(EnvelopeText, K5_EveryFlippedByteIsSeen) {
  const std::string golden = kGolden;
  for (std::size_t i = 0; i < golden.size(); ++i)
    for (int bit = 0; bit < 8; ++bit) {
      auto changed = golden;
      changed[i] = static_cast<char>(changed[i] ^ (1 << bit));
      const auto parsed = ParseEnvelope(changed);
      if (parsed)
        EXPECT_NE(*parsed, Example()) << i << " bit " << bit;
      else
        EXPECT_EQ(parsed.error().code, Code::kUnwrapFailed);
    }
}

TEST(EnvelopeText, K5_RefusesTrailingCutAndForeignText) {
  const std::string golden = kGolden;
  for (std::size_t n = 0; n < golden.size(); ++n) EXPECT_FALSE(ParseEnvelope(golden.substr(0, n))) << n;
  for (const auto* more : {"A", "AA", "AAAA", "=", " ", "\n"}) EXPECT_FALSE(ParseEnvelope(golden + more)) << more;
  EXPECT_FALSE(ParseEnvelope("srw2:" + golden.substr(5)));
  EXPECT_FALSE(ParseEnvelope(" " + golden));
  EXPECT_FALSE(ParseEnvelope(std::string(100000, 'A')));
  auto unknown_suite = Example();
  unknown_suite.suite = static_cast<Suite>(3);
  EXPECT_FALSE(ParseEnvelope(FormatEnvelope(unknown_suite)));
}

// Do instance, keyring and AAD each change the context, and can bytes move between AAD and keyring unseen?
TEST(EnvelopeText, K4_ContextBindsEachPart) {
  const auto e = Example();
  auto other = e.instance;
  other[0] ^= 1;
  auto ring = e.keyring;
  ring[15] ^= 1;
  const auto base = ContextDigest(e.instance, e.keyring, AsBytes("a"));
  EXPECT_NE(base, ContextDigest(other, e.keyring, AsBytes("a")));
  EXPECT_NE(base, ContextDigest(e.instance, ring, AsBytes("a")));
  EXPECT_NE(base, ContextDigest(e.instance, e.keyring, AsBytes("b")));
  EXPECT_NE(base, ContextDigest(e.instance, e.keyring, {}));
}

}  // namespace
}  // namespace strongroom::crypto
