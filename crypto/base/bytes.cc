#include "crypto/base/bytes.h"

namespace strongroom {
namespace {

constexpr std::string_view kStandard = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::string_view kUrl = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr std::string_view kHex = "0123456789abcdef";

constexpr std::array<std::int8_t, 256> ReverseOf(std::string_view alphabet) {
  std::array<std::int8_t, 256> reverse{};
  for (auto& entry : reverse) entry = -1;
  for (std::size_t i = 0; i < alphabet.size(); ++i)
    reverse[static_cast<unsigned char>(alphabet[i])] = static_cast<std::int8_t>(i);
  return reverse;
}
constexpr auto kStandardReverse = ReverseOf(kStandard);
constexpr auto kUrlReverse = ReverseOf(kUrl);
constexpr auto kHexReverse = ReverseOf(kHex);

}  // namespace

std::string ToHex(ByteView bytes) {
  std::string out;
  out.reserve(bytes.size() * 2);
  for (auto byte : bytes) {
    out.push_back(kHex[byte >> 4]);
    out.push_back(kHex[byte & 15]);
  }
  return out;
}

std::optional<Bytes> FromHex(std::string_view hex) {
  if (hex.size() % 2 != 0) return std::nullopt;
  Bytes out(hex.size() / 2);
  for (std::size_t i = 0; i < out.size(); ++i) {
    const int high = kHexReverse[static_cast<unsigned char>(hex[2 * i])];
    const int low = kHexReverse[static_cast<unsigned char>(hex[2 * i + 1])];
    if (high < 0 || low < 0) return std::nullopt;
    out[i] = static_cast<std::uint8_t>(high << 4 | low);
  }
  return out;
}

std::size_t Base64Size(std::size_t n, Base64 form) {
  return form == Base64::kStandardPadded ? (n + 2) / 3 * 4 : (n * 4 + 2) / 3;
}

void EncodeBase64(ByteView bytes, Base64 form, char* out) {
  const auto alphabet = form == Base64::kStandardPadded ? kStandard : kUrl;
  std::size_t i = 0;
  for (; i + 3 <= bytes.size(); i += 3) {
    const std::uint32_t v =
        static_cast<std::uint32_t>(bytes[i]) << 16 | static_cast<std::uint32_t>(bytes[i + 1]) << 8 | bytes[i + 2];
    *out++ = alphabet[v >> 18];
    *out++ = alphabet[v >> 12 & 63];
    *out++ = alphabet[v >> 6 & 63];
    *out++ = alphabet[v & 63];
  }
  const std::size_t rest = bytes.size() - i;
  if (rest == 0) return;
  std::uint32_t v = static_cast<std::uint32_t>(bytes[i]) << 16;
  if (rest == 2) v |= static_cast<std::uint32_t>(bytes[i + 1]) << 8;
  *out++ = alphabet[v >> 18];
  *out++ = alphabet[v >> 12 & 63];
  if (rest == 2) *out++ = alphabet[v >> 6 & 63];
  if (form == Base64::kStandardPadded) {
    if (rest == 1) *out++ = '=';
    *out++ = '=';
  }
}

std::string EncodeBase64(ByteView bytes, Base64 form) {
  std::string out(Base64Size(bytes.size(), form), '\0');
  EncodeBase64(bytes, form, out.data());
  return out;
}

std::size_t DecodedBase64Size(std::size_t n) { return n / 4 * 3 + 3; }

std::optional<std::size_t> DecodeBase64(std::string_view text, Base64 form, std::uint8_t* out) {
  const auto& reverse = form == Base64::kStandardPadded ? kStandardReverse : kUrlReverse;
  if (form == Base64::kStandardPadded) {
    if (text.size() % 4 != 0) return std::nullopt;
    std::size_t padding = 0;
    while (padding < 2 && !text.empty() && text.back() == '=') {
      text.remove_suffix(1);
      ++padding;
    }
  }
  if (text.size() % 4 == 1) return std::nullopt;
  std::uint8_t* const begin = out;
  std::uint32_t v = 0;
  std::size_t held = 0;
  for (const char c : text) {
    const int digit = reverse[static_cast<unsigned char>(c)];
    if (digit < 0) return std::nullopt;
    v = v << 6 | static_cast<std::uint32_t>(digit);
    if (++held == 4) {
      *out++ = static_cast<std::uint8_t>(v >> 16);
      *out++ = static_cast<std::uint8_t>(v >> 8);
      *out++ = static_cast<std::uint8_t>(v);
      held = 0;
      v = 0;
    }
  }
  if (held == 2) {
    if ((v & 15) != 0) return std::nullopt;
    *out++ = static_cast<std::uint8_t>(v >> 4);
  } else if (held == 3) {
    if ((v & 3) != 0) return std::nullopt;
    *out++ = static_cast<std::uint8_t>(v >> 10);
    *out++ = static_cast<std::uint8_t>(v >> 2);
  }
  return static_cast<std::size_t>(out - begin);
}

std::optional<Bytes> DecodeBase64(std::string_view text, Base64 form) {
  Bytes out(DecodedBase64Size(text.size()));
  const auto size = DecodeBase64(text, form, out.data());
  if (!size) return std::nullopt;
  out.resize(*size);
  return out;
}

}  // namespace strongroom
