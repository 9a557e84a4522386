#include "crypto/base/secret.h"

#include <openssl/crypto.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <cerrno>
#include <cstring>

namespace strongroom {

Result<void> OpenSecretArena(std::size_t bytes) {
  if (CRYPTO_secure_malloc_initialized() == 1) return {};
  const int outcome = CRYPTO_secure_malloc_init(bytes, 32);
  if (outcome == 1) return {};
  if (outcome == 2) (void)CRYPTO_secure_malloc_done();
  return Io("cannot lock " + std::to_string(bytes / 1024) +
            " KiB of memory for secrets: raise RLIMIT_MEMLOCK (ulimit -l)");
}

Result<void> ForbidCoreDumps() {
  const rlimit none{0, 0};
  if (setrlimit(RLIMIT_CORE, &none) != 0 || prctl(PR_SET_DUMPABLE, 0) != 0)
    return Io(std::string("cannot forbid core dumps: ") + std::strerror(errno));
  return {};
}

SecretBytes::~SecretBytes() {
  if (data_ != nullptr) OPENSSL_secure_clear_free(data_, size_);
}

SecretBytes& SecretBytes::operator=(SecretBytes&& other) noexcept {
  if (this != &other) {
    if (data_ != nullptr) OPENSSL_secure_clear_free(data_, size_);
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
  }
  return *this;
}

Result<SecretBytes> SecretBytes::Allocate(std::size_t size) {
  SecretBytes secret;
  if (size == 0) return secret;
  if (CRYPTO_secure_malloc_initialized() != 1) return Overloaded("the secret arena is not open");
  auto* data = static_cast<std::uint8_t*>(OPENSSL_secure_zalloc(size));
  if (data == nullptr) return Overloaded("the secret arena is full");
  secret.data_ = data;
  secret.size_ = size;
  return secret;
}

Result<SecretBytes> SecretBytes::CopyOf(ByteView source) {
  TRY_ASSIGN(SecretBytes secret, Allocate(source.size()));
  if (!source.empty()) std::memcpy(secret.data_, source.data(), source.size());
  return secret;
}

void SecretBytes::Shrink(std::size_t size) {
  if (size >= size_) return;
  OPENSSL_cleanse(data_ + size, size_ - size);
  size_ = size;
}

bool EqualConstantTime(ByteView a, ByteView b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

void Zeroise(void* data, std::size_t size) { OPENSSL_cleanse(data, size); }

}  // namespace strongroom
