#pragma once
#include <array>

#include "crypto/base/bytes.h"

namespace strongroom::hsm {

/// KnownAnswers is what a token must make of a fixed key and value: computed by OpenSSL, an implementation that is not
/// the token's (K9). The key is a test key; no KEK is ever like it.
struct KnownAnswers {
  std::array<std::uint8_t, 32> key{};
  std::array<std::uint8_t, 40> value{};
  std::array<std::uint8_t, 12> iv{};
  Bytes kwp;  // RFC 5649 of `value` by `key`
  Bytes gcm;  // AES-256-GCM of `value` by `key`, IV `iv`, additional data `key`; tag last
};
KnownAnswers MakeKnownAnswers();

}  // namespace strongroom::hsm
