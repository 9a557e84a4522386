#pragma once
#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "crypto/base/bytes.h"

namespace strongroom::crypto {

using Digest = std::array<std::uint8_t, 32>;
/// InstanceId names one installation: 128 random bits from first boot, kept over restores and re-keys.
using InstanceId = std::array<std::uint8_t, 16>;
/// KeyringId is 128 random bits, drawn when a keyring is proposed, never reused.
using KeyringId = std::array<std::uint8_t, 16>;
/// KeyId is a KEK's CKA_ID: the keyring id and the version, big-endian (K1).
using KeyId = std::array<std::uint8_t, 20>;

/// Sha256 hashes the concatenation of the parts.
Digest Sha256(std::initializer_list<ByteView> parts);
inline Digest Sha256(ByteView bytes) { return Sha256({bytes}); }

/// FillRandom writes random bytes from OpenSSL's generator; it ends the process if that has none to give.
void FillRandom(std::span<std::uint8_t> out);
template <std::size_t N>
std::array<std::uint8_t, N> RandomArray() {
  std::array<std::uint8_t, N> out{};
  FillRandom(out);
  return out;
}

/// MakeKeyId derives the CKA_ID of a keyring's version.
KeyId MakeKeyId(const KeyringId& keyring, std::uint32_t version);

}  // namespace strongroom::crypto
