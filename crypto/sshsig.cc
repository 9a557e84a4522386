#include "crypto/sshsig.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>

#include <algorithm>
#include <array>
#include <memory>
#include <optional>

#include "crypto/base/freer.h"
#include "crypto/base/wire.h"
#include "crypto/digest.h"

namespace strongroom::crypto {
namespace {

using PkeyPtr = std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY_free>>;
using PkeyCtxPtr = std::unique_ptr<EVP_PKEY_CTX, Freer<EVP_PKEY_CTX_free>>;
using BnPtr = std::unique_ptr<BIGNUM, Freer<BN_free>>;
using ParamBldPtr = std::unique_ptr<OSSL_PARAM_BLD, Freer<OSSL_PARAM_BLD_free>>;
using ParamsPtr = std::unique_ptr<OSSL_PARAM, Freer<OSSL_PARAM_free>>;
using MdCtxPtr = std::unique_ptr<EVP_MD_CTX, Freer<EVP_MD_CTX_free>>;
using BnCtxPtr = std::unique_ptr<BN_CTX, Freer<BN_CTX_free>>;
using SigPtr = std::unique_ptr<ECDSA_SIG, Freer<ECDSA_SIG_free>>;

enum class KeyType : std::uint8_t { kEd25519, kEcdsaP256, kRsa };
struct PublicKey {
  KeyType type;
  PkeyPtr pkey;
  std::string application;  // of a FIDO security key; empty for a plain one
  Bytes material;           // the point as it is written, or the modulus
};

constexpr std::string_view kSkEd25519 = "sk-ssh-ed25519@openssh.com";
constexpr std::string_view kSkEcdsa = "sk-ecdsa-sha2-nistp256@openssh.com";
constexpr std::uint8_t kUserPresent = 1;  // flag of a FIDO authenticator

Error Bad(std::string why, const char* slug = "bad-signature") {
  return Forbidden("signature refused: " + std::move(why), slug);
}

// An SSH mpint (RFC 4251 section 5): positive, minimal.
std::optional<ByteView> PositiveMpint(ByteView bytes) {
  if (bytes.empty() || (bytes[0] & 0x80) != 0) return std::nullopt;
  if (bytes[0] == 0) {
    if (bytes.size() < 2 || (bytes[1] & 0x80) == 0) return std::nullopt;
    bytes = bytes.subspan(1);
  }
  return bytes;
}

BnPtr ToBn(ByteView bytes) { return BnPtr(BN_bin2bn(bytes.data(), static_cast<int>(bytes.size()), nullptr)); }

PkeyPtr FromParams(const char* type, OSSL_PARAM_BLD* builder) {
  const ParamsPtr params(OSSL_PARAM_BLD_to_param(builder));
  const PkeyCtxPtr context(EVP_PKEY_CTX_new_from_name(nullptr, type, nullptr));
  EVP_PKEY* pkey = nullptr;
  if (!params || !context || EVP_PKEY_fromdata_init(context.get()) != 1 ||
      EVP_PKEY_fromdata(context.get(), &pkey, EVP_PKEY_PUBLIC_KEY, params.get()) != 1)
    return nullptr;
  return PkeyPtr(pkey);
}

Result<PublicKey> ParseKeyBlob(ByteView blob) {
  WireReader in(blob);
  const auto type = in.Text();
  const bool security_key = type == kSkEd25519 || type == kSkEcdsa;
  std::string application;
  const auto read_application = [&] {
    if (security_key) application = in.Text();
    return !security_key || application.starts_with("ssh:");
  };
  if (type == "ssh-ed25519" || type == kSkEd25519) {
    const auto point = in.Blob();
    if (!read_application()) return Invalid("the security key's application is not an ssh one");
    if (!in.Complete() || point.size() != 32) return Invalid("an ssh-ed25519 key is 32 bytes");
    PkeyPtr pkey(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, point.data(), point.size()));
    if (!pkey) return Invalid("not an Ed25519 key");
    return PublicKey{KeyType::kEd25519, std::move(pkey), std::move(application), Bytes(point.begin(), point.end())};
  }
  if (type == "ecdsa-sha2-nistp256" || type == kSkEcdsa) {
    const auto curve = in.Text();
    const auto point = in.Blob();
    if (!read_application()) return Invalid("the security key's application is not an ssh one");
    if (!in.Complete() || curve != "nistp256") return Invalid("key type and curve disagree");
    if (point.size() != 65 || point[0] != 4) return Invalid("an ECDSA P-256 key is an uncompressed point");
    const ParamBldPtr builder(OSSL_PARAM_BLD_new());
    (void)OSSL_PARAM_BLD_push_utf8_string(builder.get(), OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0);
    (void)OSSL_PARAM_BLD_push_octet_string(builder.get(), OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size());
    auto pkey = FromParams("EC", builder.get());
    if (!pkey) return Invalid("not a point of P-256");
    return PublicKey{KeyType::kEcdsaP256, std::move(pkey), std::move(application), Bytes(point.begin(), point.end())};
  }
  if (type == "ssh-rsa") {
    const auto e = PositiveMpint(in.Blob());
    const auto n = PositiveMpint(in.Blob());
    if (!in.Complete() || !e || !n || e->size() > 8) return Invalid("not an RSA key");
    const auto exponent = ToBn(*e), modulus = ToBn(*n);
    const int bits = BN_num_bits(modulus.get());
    if (bits < 2048 || bits > 8192 || BN_is_odd(exponent.get()) != 1 || BN_is_one(exponent.get()) == 1)
      return Invalid("an RSA key needs 2048 to 8192 bits and an odd exponent over 1");
    const ParamBldPtr builder(OSSL_PARAM_BLD_new());
    (void)OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_N, modulus.get());
    (void)OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_E, exponent.get());
    auto pkey = FromParams("RSA", builder.get());
    if (!pkey) return Invalid("not an RSA key");
    return PublicKey{KeyType::kRsa, std::move(pkey), {}, Bytes(n->begin(), n->end())};
  }
  return Invalid(
      "key type '" + std::string(type.substr(0, 40)) +
      "' is not accepted: use ssh-ed25519, ecdsa-sha2-nistp256, ssh-rsa or a FIDO key (ed25519-sk, ecdsa-sk)");
}

// An Ed25519 point's y without the sign of x, big-endian (RFC 8032 section 5.1.2).
Bytes EdwardsY(ByteView point) {
  Bytes y(point.rbegin(), point.rend());
  y.front() &= 0x7F;
  return y;
}

// Why an Ed25519 key is none that one person alone can sign with; nullptr when it is one. The y of the eight points of
// small order are 0, 1, -1 and the two of order 8; anybody makes signatures that fit them.
const char* EdwardsWeakness(ByteView point) {
  constexpr const char* kPrime = "7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFED";
  constexpr const char* kD = "52036CEE2B6FFE738CC740797779E89800700A4D4141D8AB75EB4DCA135978A3";
  constexpr std::array<std::string_view, 3> kOfOrder8And1 = {
      "05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826",
      "7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd84d3d706a17c7",
      "0000000000000000000000000000000000000000000000000000000000000001"};
  BIGNUM* parsed_p = nullptr;
  BIGNUM* parsed_d = nullptr;
  if (BN_hex2bn(&parsed_p, kPrime) == 0 || BN_hex2bn(&parsed_d, kD) == 0) return "no memory";
  const BnPtr p(parsed_p), d(parsed_d);
  const BnCtxPtr context(BN_CTX_new());
  const auto bytes = EdwardsY(point);
  const auto y = ToBn(bytes), u = BnPtr(BN_new()), v = BnPtr(BN_new());
  if (BN_cmp(y.get(), p.get()) >= 0) return "its point is written in another form than the one";
  if (BN_is_zero(y.get()) == 1 || BN_sub(u.get(), p.get(), BN_value_one()) != 1 || BN_cmp(u.get(), y.get()) == 0 ||
      std::find(kOfOrder8And1.begin(), kOfOrder8And1.end(), ToHex(bytes)) != kOfOrder8And1.end())
    return "its point is of small order: anybody can sign for it";
  // x^2 = (y^2 - 1) / (d y^2 + 1) has a root when numerator times denominator is a square.
  if (BN_mod_sqr(u.get(), y.get(), p.get(), context.get()) != 1 ||
      BN_mod_mul(v.get(), d.get(), u.get(), p.get(), context.get()) != 1 || BN_sub_word(u.get(), 1) != 1 ||
      BN_add_word(v.get(), 1) != 1 || BN_mod_mul(u.get(), u.get(), v.get(), p.get(), context.get()) != 1 ||
      BN_kronecker(u.get(), p.get(), context.get()) == -1)
    return "it is no point of the curve: nobody can sign for it";
  return nullptr;
}

// Small factors are what a made-up modulus has; whoever finds one can sign.
const char* ModulusWeakness(ByteView bytes) {
  constexpr BN_ULONG kTrialFactors = 4096;
  const auto modulus = ToBn(bytes);
  if (BN_is_odd(modulus.get()) != 1) return "its modulus is even";
  for (BN_ULONG factor = 3; factor < kTrialFactors; factor += 2)
    if (BN_mod_word(modulus.get(), factor) == 0) return "its modulus has a small factor";
  return nullptr;
}

// What a signature is refused for, whoever the roster says has the key. OpenSSL has seen that a P-256 point is one of
// the curve, and an uncompressed one is not the point at infinity.
const char* Weakness(const PublicKey& key) {
  switch (key.type) {
    case KeyType::kEd25519:
      return EdwardsWeakness(key.material);
    case KeyType::kEcdsaP256:
      return nullptr;
    case KeyType::kRsa:
      return ModulusWeakness(key.material);
  }
  return "it is of no known type";
}

struct KeyText {
  std::string_view type;
  Bytes blob;
};

Result<KeyText> ParseKeyText(std::string_view key) {
  const auto blank = key.find(' ');
  if (blank == std::string_view::npos) return Invalid("a public key is 'TYPE BASE64'");
  auto blob = DecodeBase64(key.substr(blank + 1), Base64::kStandardPadded);
  if (!blob) return Invalid("a public key is 'TYPE BASE64', without a comment");
  KeyText text{key.substr(0, blank), std::move(*blob)};
  WireReader in(text.blob);
  if (in.Text() != text.type || !in.ok()) return Invalid("the key's type and its content disagree");
  return text;
}

bool VerifyDigestSigned(EVP_PKEY* key, const EVP_MD* md, ByteView data, ByteView signature) {
  const MdCtxPtr context(EVP_MD_CTX_new());
  return EVP_DigestVerifyInit(context.get(), nullptr, md, nullptr, key) == 1 &&
         EVP_DigestVerify(context.get(), signature.data(), signature.size(), data.data(), data.size()) == 1;
}

Result<void> VerifyInner(const PublicKey& key, ByteView data, ByteView signature) {
  WireReader in(signature);
  const auto format = in.Text();
  const auto body = in.Blob();
  // A security key signs SHA-256(application) || flags || counter || SHA-256(data) (PROTOCOL.u2f).
  const bool security_key = !key.application.empty();
  Bytes assertion;
  if (security_key) {
    const auto flags = in.U8();
    const auto counter = in.Raw(4);
    if ((flags & kUserPresent) == 0) return Bad("the security key did not check that a person was present");
    const auto application = Sha256(AsBytes(key.application)), digest = Sha256(data);
    assertion.assign(application.begin(), application.end());
    assertion.push_back(flags);
    Append(assertion, counter);
    Append(assertion, digest);
    data = assertion;
  }
  if (!in.Complete()) return Bad("malformed signature");
  bool good = false;
  switch (key.type) {
    case KeyType::kEd25519:
      if (format != (security_key ? kSkEd25519 : "ssh-ed25519") || body.size() != 64)
        return Bad("signature and key are of different types");
      good = VerifyDigestSigned(key.pkey.get(), nullptr, data, body);
      break;
    case KeyType::kEcdsaP256: {
      if (format != (security_key ? kSkEcdsa : "ecdsa-sha2-nistp256"))
        return Bad("signature and key are of different types");
      WireReader parts(body);
      const auto r = PositiveMpint(parts.Blob());
      const auto s = PositiveMpint(parts.Blob());
      if (!parts.Complete() || !r || !s || r->size() > 32 || s->size() > 32) return Bad("malformed ECDSA signature");
      const SigPtr pair(ECDSA_SIG_new());
      auto r_bn = ToBn(*r), s_bn = ToBn(*s);
      if (ECDSA_SIG_set0(pair.get(), r_bn.release(), s_bn.release()) != 1) return Bad("malformed ECDSA signature");
      unsigned char* der = nullptr;
      const int size = i2d_ECDSA_SIG(pair.get(), &der);
      if (size <= 0) return Bad("malformed ECDSA signature");
      good = VerifyDigestSigned(key.pkey.get(), EVP_sha256(), data, {der, static_cast<std::size_t>(size)});
      OPENSSL_free(der);
      break;
    }
    case KeyType::kRsa: {
      const EVP_MD* md = format == "rsa-sha2-256" ? EVP_sha256() : format == "rsa-sha2-512" ? EVP_sha512() : nullptr;
      if (md == nullptr) return Bad("RSA signatures must be rsa-sha2-256 or rsa-sha2-512");
      if (body.size() != static_cast<std::size_t>(EVP_PKEY_get_size(key.pkey.get())))
        return Bad("malformed RSA signature");
      good = VerifyDigestSigned(key.pkey.get(), md, data, body);
      break;
    }
  }
  if (!good) return Bad("it is not this key's signature over this text");
  return {};
}

// The armor of PROTOCOL.sshsig; lines of any width, nothing before, between or after but line ends.
std::optional<Bytes> Dearmor(std::string_view text) {
  constexpr std::string_view kBegin = "-----BEGIN SSH SIGNATURE-----\n";
  constexpr std::string_view kEnd = "-----END SSH SIGNATURE-----";
  if (text.size() > 16384) return std::nullopt;
  if (text.ends_with('\n')) text.remove_suffix(1);
  if (!text.starts_with(kBegin) || !text.ends_with(kEnd)) return std::nullopt;
  text.remove_prefix(kBegin.size());
  if (text.size() < kEnd.size()) return std::nullopt;
  text.remove_suffix(kEnd.size());
  std::string joined;
  for (const char c : text)
    if (c != '\n') joined.push_back(c);
  return DecodeBase64(joined, Base64::kStandardPadded);
}

}  // namespace

Result<void> CheckSshPublicKey(std::string_view key) {
  TRY_ASSIGN(const auto text, ParseKeyText(key));
  TRY(ParseKeyBlob(text.blob));
  return {};
}

Result<std::string> RawKey(std::string_view key) {
  TRY_ASSIGN(const auto text, ParseKeyText(key));
  TRY_ASSIGN(const auto parsed, ParseKeyBlob(text.blob));
  const ByteView material = parsed.material;
  switch (parsed.type) {
    case KeyType::kEd25519:
      return "ed25519 " + ToHex(EdwardsY(material));
    case KeyType::kEcdsaP256:
      return "p256 " + ToHex(material.subspan(1, 32));
    case KeyType::kRsa:
      break;
  }
  return "rsa " + ToHex(material);
}

Result<void> CheckKeyStrength(std::string_view key) {
  TRY_ASSIGN(const auto text, ParseKeyText(key));
  TRY_ASSIGN(const auto parsed, ParseKeyBlob(text.blob));
  if (const auto* weakness = Weakness(parsed); weakness != nullptr) return Invalid(weakness, "weak-key");
  if (parsed.type != KeyType::kRsa) return {};
  const BnCtxPtr context(BN_CTX_new());
  if (BN_check_prime(ToBn(parsed.material).get(), context.get(), nullptr) != 0)
    return Invalid("its modulus is a prime number: anybody can sign for it", "weak-key");
  return {};
}

Result<void> VerifySshSignature(std::string_view public_key, std::string_view name_space, ByteView message,
                                std::string_view armored) {
  const auto blob = Dearmor(armored);
  if (!blob) return Bad("not an armored SSH signature", "malformed-signature");
  WireReader in(*blob);
  const auto magic = in.Raw(6);
  const auto version = in.U32();
  const auto signer = in.Blob();
  const auto signed_space = in.Text();
  const auto reserved = in.Blob();
  const auto hash = in.Text();
  const auto signature = in.Blob();
  if (!in.Complete() || AsText(magic) != "SSHSIG" || version != 1 || !reserved.empty())
    return Bad("malformed SSHSIG", "malformed-signature");
  if (signed_space != name_space)
    return Bad(
        "made for namespace '" + std::string(signed_space.substr(0, 64)) + "', not '" + std::string(name_space) + "'",
        "wrong-namespace");
  TRY_ASSIGN(const auto expected, ParseKeyText(public_key));
  if (WireReader certified(signer); certified.Text().ends_with("-cert-v01@openssh.com"))
    return Bad("made with a certificate: a custodian signs with the key itself", "certificate-signature");
  if (!std::equal(signer.begin(), signer.end(), expected.blob.begin(), expected.blob.end()))
    return Bad("made with another key than the roster's");
  TRY_ASSIGN(const auto key, ParseKeyBlob(expected.blob));
  if (const auto* weakness = Weakness(key); weakness != nullptr)
    return Bad(std::string("the key is weak: ") + weakness, "weak-key");
  const EVP_MD* md = hash == "sha512" ? EVP_sha512() : hash == "sha256" ? EVP_sha256() : nullptr;
  if (md == nullptr) return Bad("its hash algorithm is neither sha512 nor sha256", "wrong-hash-algorithm");
  Bytes digest(static_cast<std::size_t>(EVP_MD_get_size(md)));
  if (EVP_Digest(message.data(), message.size(), digest.data(), nullptr, md, nullptr) != 1) return Bad("cannot hash");
  WireWriter data;
  data.Raw(AsBytes("SSHSIG"));
  data.Text(signed_space);
  data.Blob({});
  data.Text(hash);
  data.Blob(digest);
  return VerifyInner(key, data.bytes(), signature);
}

}  // namespace strongroom::crypto
