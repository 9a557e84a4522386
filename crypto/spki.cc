#include "crypto/spki.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <algorithm>
#include <memory>

#include "crypto/base/freer.h"

namespace strongroom::crypto {
namespace {

using PkeyPtr = std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY_free>>;
using BnPtr = std::unique_ptr<BIGNUM, Freer<BN_free>>;

Error BadSpki(const std::string& why) {
  return Forbidden("the certificate's key is refused: " + why, "certificate-key");
}

Result<void> CheckRsa(const EVP_PKEY* key) {
  BIGNUM* read = nullptr;
  (void)EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_E, &read);
  const BnPtr exponent(read);
  if (!exponent || BN_is_word(exponent.get(), RSA_F4) != 1 || EVP_PKEY_get_bits(key) < 2048)
    return BadSpki("an RSA key has 2048 bits or more and exponent 65537");
  return {};
}

}  // namespace

Result<Digest> SpkiDigest(ByteView der) {
  const unsigned char* at = der.data();
  const PkeyPtr key(d2i_PUBKEY(nullptr, &at, static_cast<long>(der.size())));
  ERR_clear_error();
  if (!key || at != der.data() + der.size()) return BadSpki("it cannot be read");
  switch (EVP_PKEY_get_base_id(key.get())) {
    case EVP_PKEY_ED25519:
    case EVP_PKEY_ED448:
      break;
    case EVP_PKEY_RSA:
      TRY(CheckRsa(key.get()));
      break;
    case EVP_PKEY_EC:
      // What it would be in its one form: OpenSSL keeps the form that it was read in otherwise.
      if (EVP_PKEY_set_utf8_string_param(key.get(), OSSL_PKEY_PARAM_EC_ENCODING, OSSL_PKEY_EC_ENCODING_GROUP) != 1 ||
          EVP_PKEY_set_utf8_string_param(key.get(), OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT, "uncompressed") != 1)
        return BadSpki("it is on no curve that has a name");
      break;
    default:
      return BadSpki("it is neither RSA (rsaEncryption), of a named curve, Ed25519 nor Ed448");
  }
  unsigned char* own = nullptr;
  const int size = i2d_PUBKEY(key.get(), &own);
  const bool same = size > 0 && std::equal(der.begin(), der.end(), own, own + size);
  OPENSSL_free(own);
  ERR_clear_error();
  if (!same) return BadSpki("it is written in another form than the one (named curve, point uncompressed)");
  return Sha256(der);
}

}  // namespace strongroom::crypto
