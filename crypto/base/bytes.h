#pragma once
// Byte views and the three text forms of bytes: hex, base64 (RFC 4648 section 4), base64url without padding (section
// 5).

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace strongroom {

using Bytes = std::vector<std::uint8_t>;
using ByteView = std::span<const std::uint8_t>;

/// AsBytes views text as bytes; the text must outlive the view.
inline ByteView AsBytes(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}
/// AsText views bytes as text; the bytes must outlive the view.
inline std::string_view AsText(ByteView bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }
/// Append adds the bytes of `more` to `to`.
inline void Append(Bytes& to, ByteView more) { to.insert(to.end(), more.begin(), more.end()); }

/// ToHex returns lower-case hex, two digits a byte.
std::string ToHex(ByteView bytes);
/// FromHex accepts lower-case hex of even length only; nullopt otherwise.
std::optional<Bytes> FromHex(std::string_view hex);
/// FromHexArray is FromHex for exactly N bytes.
template <std::size_t N>
std::optional<std::array<std::uint8_t, N>> FromHexArray(std::string_view hex) {
  auto bytes = FromHex(hex);
  if (!bytes || bytes->size() != N) return std::nullopt;
  std::array<std::uint8_t, N> out{};
  std::memcpy(out.data(), bytes->data(), N);
  return out;
}

enum class Base64 : std::uint8_t { kStandardPadded, kUrlUnpadded };

/// Base64Size is the exact length of the text for `n` bytes.
std::size_t Base64Size(std::size_t n, Base64 form);
/// EncodeBase64 writes Base64Size(bytes.size()) characters to `out`.
void EncodeBase64(ByteView bytes, Base64 form, char* out);
std::string EncodeBase64(ByteView bytes, Base64 form);
/// DecodedBase64Size bounds what DecodeBase64 writes for a text of `n` characters.
std::size_t DecodedBase64Size(std::size_t n);
/// DecodeBase64 writes the bytes to `out` (room for DecodedBase64Size) and returns their number. Strict: nullopt for
/// any other alphabet, missing or superfluous padding, white space, and non-zero trailing bits, so that one value has
/// one text.
std::optional<std::size_t> DecodeBase64(std::string_view text, Base64 form, std::uint8_t* out);
std::optional<Bytes> DecodeBase64(std::string_view text, Base64 form);

}  // namespace strongroom
