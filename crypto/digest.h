#pragma once
#include <array>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>

#include "crypto/base/bytes.h"

struct evp_md_ctx_st;  // OpenSSL's EVP_MD_CTX

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

/// Sha256Stream hashes what comes in parts, in memory of its own size.
class Sha256Stream {
 public:
  Sha256Stream();
  void Add(ByteView bytes);
  /// Finish returns the digest of all that was added; nothing is added after it.
  Digest Finish();

 private:
  std::unique_ptr<evp_md_ctx_st, void (*)(evp_md_ctx_st*)> context_;
};

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
