#include "hsm/ec_key.h"

#include <array>

#include "hsm/ckr.h"
#include "hsm/find_objects.h"

namespace strongroom::hsm {
namespace {

constexpr std::size_t kMaxValue = 64U << 10;
constexpr std::size_t kMostLabelled = 256;  // keys, or records that cut-off writes have left
// OID prime256v1, DER; and everything of a P-256 SubjectPublicKeyInfo that stands before the point.
constexpr std::array<std::uint8_t, 10> kP256 = {0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07};
constexpr std::array<std::uint8_t, 26> kSpkiHead = {0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2A, 0x86, 0x48,
                                                    0xCE, 0x3D, 0x02, 0x01, 0x06, 0x08, 0x2A, 0x86, 0x48,
                                                    0xCE, 0x3D, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00};
constexpr std::size_t kPointBytes = 65;

}  // namespace

Attribute TextAttribute(CK_ATTRIBUTE_TYPE type, std::string_view text) {
  const auto bytes = AsBytes(text);
  return {type, Bytes(bytes.begin(), bytes.end())};
}

Result<Bytes> ReadValue(const Module& module, const Session& session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type) {
  TRY_ASSIGN(auto value, ReadAttribute(module, session, object, type, kMaxValue));
  if (!value) return TokenLies("does not tell " + AttributeName(type) + " of an object of ours", "C_GetAttributeValue");
  return std::move(*value);
}

Result<std::vector<CK_OBJECT_HANDLE>> FindLabelled(const Module& module, const Session& session,
                                                   CK_OBJECT_CLASS object_class, const char* label) {
  std::vector<Attribute> pattern = {UlongAttribute(CKA_CLASS, object_class), BoolAttribute(CKA_TOKEN, true),
                                    TextAttribute(CKA_LABEL, label)};
  return FindAll(module, session, std::move(pattern), kMostLabelled);
}

Result<void> GenerateEcKey(const Module& module, const Session& session, const char* label, const Bytes& id) {
  std::vector<Attribute> of_public = {BoolAttribute(CKA_TOKEN, true),
                                      BoolAttribute(CKA_PRIVATE, false),
                                      BoolAttribute(CKA_VERIFY, true),
                                      BoolAttribute(CKA_ENCRYPT, false),
                                      BoolAttribute(CKA_WRAP, false),
                                      BoolAttribute(CKA_MODIFIABLE, false),
                                      {CKA_EC_PARAMS, Bytes(kP256.begin(), kP256.end())},
                                      {CKA_ID, id},
                                      TextAttribute(CKA_LABEL, label)};
  std::vector<Attribute> of_private = {BoolAttribute(CKA_TOKEN, true),
                                       BoolAttribute(CKA_PRIVATE, true),
                                       BoolAttribute(CKA_SENSITIVE, true),
                                       BoolAttribute(CKA_EXTRACTABLE, false),
                                       BoolAttribute(CKA_SIGN, true),
                                       BoolAttribute(CKA_DECRYPT, false),
                                       BoolAttribute(CKA_UNWRAP, false),
                                       BoolAttribute(CKA_DERIVE, false),
                                       BoolAttribute(CKA_MODIFIABLE, false),
                                       BoolAttribute(CKA_COPYABLE, false),
                                       UlongAttribute(CKA_ALLOWED_MECHANISMS, CKM_ECDSA),
                                       {CKA_ID, id},
                                       TextAttribute(CKA_LABEL, label)};
  auto public_ck = ToCk(of_public), private_ck = ToCk(of_private);
  CK_MECHANISM mechanism{CKM_EC_KEY_PAIR_GEN, nullptr, 0};
  CK_OBJECT_HANDLE public_key = 0, private_key = 0;
  if (const CK_RV rv = module.fn().C_GenerateKeyPair(session.handle(), &mechanism, public_ck.data(), public_ck.size(),
                                                     private_ck.data(), private_ck.size(), &public_key, &private_key);
      rv != CKR_OK)
    return TokenError(rv, "C_GenerateKeyPair");
  auto sensitive = CheckSensitive(module, session, private_key);
  if (sensitive) return {};
  for (const auto object : {private_key, public_key}) (void)module.fn().C_DestroyObject(session.handle(), object);
  return sensitive;
}

Result<Bytes> EcSpki(const Module& module, const Session& session, CK_OBJECT_HANDLE public_key) {
  TRY_ASSIGN(auto point, ReadValue(module, session, public_key, CKA_EC_POINT));
  // PKCS#11 wants the point in an OCTET STRING; some tokens give it bare.
  if (point.size() == kPointBytes + 2 && point[0] == 0x04 && point[1] == kPointBytes)
    point.erase(point.begin(), point.begin() + 2);
  if (point.size() != kPointBytes || point[0] != 0x04)
    return Integrity("the key in the token is not a P-256 key", "key-drift");
  Bytes spki(kSpkiHead.begin(), kSpkiHead.end());
  Append(spki, point);
  return spki;
}

}  // namespace strongroom::hsm
