#pragma once
// A P-256 key in this process: signs as a token's checkpoint key does, for tests of what verifies.

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include <memory>
#include <string>

#include "crypto/base/bytes.h"
#include "crypto/base/freer.h"

namespace strongroom::tests {

class SoftwareSigner {
 public:
  SoftwareSigner() : key_(EVP_EC_gen("P-256")) {
    unsigned char* der = nullptr;
    const int size = i2d_PUBKEY(key_.get(), &der);
    spki_.assign(der, der + size);
    OPENSSL_free(der);
  }
  const Bytes& spki() const { return spki_; }
  /// Sign returns a DER signature over SHA-256 of the text.
  Bytes Sign(const std::string& text) const {
    const std::unique_ptr<EVP_MD_CTX, Freer<EVP_MD_CTX_free>> context(EVP_MD_CTX_new());
    std::size_t size = 128;
    Bytes out(size);
    const auto bytes = AsBytes(text);
    (void)EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, key_.get());
    (void)EVP_DigestSign(context.get(), out.data(), &size, bytes.data(), bytes.size());
    out.resize(size);
    return out;
  }

 private:
  std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY_free>> key_;
  Bytes spki_;
};

}  // namespace strongroom::tests
