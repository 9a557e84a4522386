#include <gtest/gtest.h>

#include "crypto/base/bytes.h"
#include "crypto/base/clock.h"
#include "crypto/base/secret.h"
#include "crypto/base/wire.h"
#include "crypto/text_rules.h"

namespace strongroom {
namespace {

// Does strict base64 refuse every text but the canonical one?
TEST(Base64Text, RefusesWhatIsNotCanonical) {
  for (const auto* text : {"Zg=", "Zg", "Z===", "Zh==", "Zm9=", "Zm9vYg= ", "Zm 9v", "Zm-v", "====", "Zg==Zg=="})
    EXPECT_FALSE(DecodeBase64(text, Base64::kStandardPadded)) << text;
  for (const auto* text : {"Zg==", "Zh", "Zm9", "Z", "Zm+v", "Zm9v\n"})
    EXPECT_FALSE(DecodeBase64(text, Base64::kUrlUnpadded)) << text;
}

// RFC 4648 section 10.
TEST(Base64Text, KnownAnswers) {
  const std::pair<const char*, const char*> known[] = {{"", ""},
                                                       {"f", "Zg=="},
                                                       {"fo", "Zm8="},
                                                       {"foo", "Zm9v"},
                                                       {"foob", "Zm9vYg=="},
                                                       {"fooba", "Zm9vYmE="},
                                                       {"foobar", "Zm9vYmFy"}};
  for (const auto& [plain, text] : known) {
    EXPECT_EQ(EncodeBase64(AsBytes(plain), Base64::kStandardPadded), text);
    const auto back = DecodeBase64(text, Base64::kStandardPadded);
    ASSERT_TRUE(back) << text;
    EXPECT_EQ(AsText(*back), plain);
  }
}

TEST(Base64Text, EveryLengthComesBackInBothForms) {
  Bytes bytes;
  for (int i = 0; i < 300; ++i) {
    for (const auto form : {Base64::kStandardPadded, Base64::kUrlUnpadded}) {
      const auto text = EncodeBase64(bytes, form);
      EXPECT_EQ(text.size(), Base64Size(bytes.size(), form));
      EXPECT_EQ(DecodeBase64(text, form), bytes);
    }
    bytes.push_back(static_cast<std::uint8_t>(i * 37 + 11));
  }
}

TEST(Wire, ReadingPastTheEndFailsForGood) {
  WireWriter out;
  out.U32(7);
  WireReader in(out.bytes());
  EXPECT_TRUE(in.Blob().empty());
  EXPECT_FALSE(in.ok());
  EXPECT_EQ(in.U8(), 0);
  EXPECT_FALSE(in.Complete());
}

TEST(Wire, LeftoversAreNotComplete) {
  WireWriter out;
  out.U16(0x0102);
  out.U8(3);
  WireReader in(out.bytes());
  EXPECT_EQ(in.U16(), 0x0102);
  EXPECT_FALSE(in.Complete());
  EXPECT_EQ(in.U8(), 3);
  EXPECT_TRUE(in.Complete());
}

TEST(Time, RefusesWhatIsNotATime) {
  for (const auto* text : {"", "2026-02-30T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01 00:00:00Z",
                           "2026-01-01T00:00:00+00:00", "1969-12-31T23:59:59Z", "2026-1-01T00:00:00Z0"})
    EXPECT_FALSE(ParseTime(text)) << text;
}

TEST(Time, ComesBack) {
  for (const Millis t : {Millis{0}, Millis{1'000'000'000'000}, Millis{1'795'000'123'000}})
    EXPECT_EQ(ParseTime(FormatTime(t)), t);
  EXPECT_EQ(FormatTime(1'000'000'000'000), "2001-09-09T01:46:40Z");
}

// Are the bytes of a released secret gone from memory?
TEST(Secret, IsZeroisedWhenShrunk) {
  auto secret = SecretBytes::CopyOf(AsBytes("0123456789abcdef"));
  ASSERT_TRUE(secret);
  const auto* data = secret->Read(SecretAccess()).data();
  secret->Shrink(4);
  EXPECT_EQ(secret->size(), 4U);
  for (int i = 4; i < 16; ++i) EXPECT_EQ(data[i], 0) << i;
}

TEST(Secret, AFullArenaIsAnErrorNotACrash) {
  std::vector<SecretBytes> held;
  Code code = Code::kInvalid;
  for (int i = 0; i < 100; ++i) {
    auto more = SecretBytes::Allocate(256U << 10);
    if (!more) {
      code = more.error().code;
      break;
    }
    held.push_back(std::move(*more));
  }
  EXPECT_EQ(code, Code::kOverloaded);
  held.clear();
  EXPECT_TRUE(SecretBytes::Allocate(256U << 10));
}

std::string Utf8(char32_t c) {
  const auto tail = [&](unsigned shift) { return static_cast<char>(0x80 | ((c >> shift) & 0x3F)); };
  if (c < 0x800) return {static_cast<char>(0xC0 | (c >> 6)), tail(0)};
  if (c < 0x10000) return {static_cast<char>(0xE0 | (c >> 12)), tail(6), tail(0)};
  return {static_cast<char>(0xF0 | (c >> 18)), tail(12), tail(6), tail(0)};
}

// A text that people sign must be what they see.
TEST(SignedLine, RefusesWhatHidesOrBreaksLines) {
  for (const std::string text : {"",
                                 " lead",
                                 "trail ",
                                 "tab\there",
                                 "line\nbreak",
                                 "cr\rhere",
                                 "nel\xC2\x85",
                                 "ls\xE2\x80\xA8x",
                                 "ps\xE2\x80\xA9x",
                                 "rlo\xE2\x80\xAEx",
                                 "zwsp\xE2\x80\x8Bx",
                                 "bom\xEF\xBB\xBFx",
                                 "isolate\xE2\x81\xA6x",
                                 "tag\xF3\xA0\x81\x81x",
                                 "\xC0\xAFoverlong",
                                 "\xED\xA0\x80surrogate",
                                 "cut\xE2\x80",
                                 "\xFF",
                                 "esc\x1B[2J",
                                 "nbsp\xC2\xA0x"})
    EXPECT_FALSE(crypto::CheckSignedLine(text, 1000)) << text;
  EXPECT_FALSE(crypto::CheckSignedLine(std::string(1001, 'x'), 1000));
  for (const std::string text :
       {"quarterly rotation", "Schlüssel für Zürich", "鍵の交換", "caf\xC3\xA9 №5", "Zu\xCC\x88rich", "Смена ключа №7",
        "कुंजी बदलना", "การเปลี่ยนกุญแจ", "thay khóa ế e\xCC\x82\xCC\x81", "키 교체", "αλλαγή κλειδιού", "𠮷野家",
        "a – b … “c”"})
    EXPECT_TRUE(crypto::CheckSignedLine(text, 1000)) << text;
}

// What takes no room, lies over its neighbours, moves the numbers beside it or makes up further lines (Q1).
TEST(SignedLine, Q1_RefusesWhatMisleads) {
  std::vector<std::string> texts = {"rotate org-a" + std::string(57, ' ') + "requester: operator-1",
                                    "two  blanks",
                                    "2 of 3 \xD7\x90 5 of 7",
                                    "x \xCC\x82y",
                                    "\xCC\x82y",
                                    "a\xCC\x82\xCC\x81\xCC\x80"};
  for (const char32_t c :
       {0x1D173, 0x13430, 0x1BCA0, 0x16FE4, 0x0600, 0x1D159, 0x0336,  0x0338,   0x20DD,  0x20D2, 0x0488,
        0x05D0,  0x0627,  0x0660,  0x06DD,  0x070F, 0x08E2,  0x110BD, 0x1E900,  0x10A3F, 0xFB1D, 0xFDFA,
        0xFE20,  0xFE70,  0x1D400, 0x1CD4,  0x1DC0, 0xE0001, 0xFE0F,  0x10FFFF, 0x3164,  0x2800})
    texts.push_back("a" + Utf8(c) + "b");
  for (const auto& text : texts) EXPECT_FALSE(crypto::CheckSignedLine(text, 1000)) << text;
}

// Does a terminal get nothing but what it can show as it is?
TEST(SignedLine, Q1_WhatIsPrintedIsEscaped) {
  EXPECT_EQ(crypto::Printable("Z\xC3\xBCrich \xE9\x8D\xB5"), "Z\xC3\xBCrich \xE9\x8D\xB5");
  EXPECT_EQ(crypto::Printable("\x1b[2K\r\n\xC2\x9B"), "\\u{1B}[2K\\u{D}\\u{A}\\u{9B}");
  EXPECT_EQ(crypto::Printable("a\nb\r", true), "a\nb\\u{D}");
  EXPECT_EQ(crypto::Printable("\xFF\xE2\x80 x\xE2\x80\xAE"), "\\xFF\\xE2\\x80 x\\u{202E}");
  EXPECT_EQ(crypto::Printable("\xF0\x9D\x85\xB3"), "\\u{1D173}");
}

}  // namespace
}  // namespace strongroom
