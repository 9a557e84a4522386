#include "crypto/digest.h"

#include <openssl/evp.h>
#include <openssl/rand.h>

#include <cstdio>
#include <cstdlib>
#include <memory>

namespace strongroom::crypto {

namespace {
void WantHash(bool ok) {
  if (ok) return;
  (void)std::fputs("SHA-256 is not available\n", stderr);
  std::abort();
}
}  // namespace

Digest Sha256(std::initializer_list<ByteView> parts) {
  // One fetched algorithm and one context a thread: fetching by name costs more than hashing a short input.
  static EVP_MD* const algorithm = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  thread_local const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  Digest digest{};
  bool ok = EVP_DigestInit_ex2(context.get(), algorithm, nullptr) == 1;
  for (const auto part : parts) ok = ok && EVP_DigestUpdate(context.get(), part.data(), part.size()) == 1;
  ok = ok && EVP_DigestFinal_ex(context.get(), digest.data(), nullptr) == 1;
  WantHash(ok);
  return digest;
}

Sha256Stream::Sha256Stream() : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
  WantHash(EVP_DigestInit_ex2(context_.get(), EVP_sha256(), nullptr) == 1);
}
void Sha256Stream::Add(ByteView bytes) { WantHash(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) == 1); }
Digest Sha256Stream::Finish() {
  Digest digest{};
  WantHash(EVP_DigestFinal_ex(context_.get(), digest.data(), nullptr) == 1);
  return digest;
}

void FillRandom(std::span<std::uint8_t> out) {
  if (RAND_bytes(out.data(), static_cast<int>(out.size())) != 1) {
    (void)std::fputs("no random bytes to be had\n", stderr);
    std::abort();
  }
}

KeyId MakeKeyId(const KeyringId& keyring, std::uint32_t version) {
  KeyId id{};
  std::memcpy(id.data(), keyring.data(), keyring.size());
  for (std::size_t i = 0; i < 4; ++i) id[16 + i] = static_cast<std::uint8_t>(version >> (24 - 8 * i));
  return id;
}

}  // namespace strongroom::crypto
