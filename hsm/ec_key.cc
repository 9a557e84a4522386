#include "hsm/ec_key.h"

#include <array>

#include "hsm/ckr.h"

namespace strongroom::hsm {
namespace {

constexpr std::size_t kMaxValue = 64U << 10;
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
  Bytes value(kMaxValue);
  CK_ATTRIBUTE attribute{type, value.data(), value.size()};
  if (const CK_RV rv = module.fn().C_GetAttributeValue(session.handle(), object, &attribute, 1); rv != CKR_OK)
    return TokenError(rv, "C_GetAttributeValue");
  value.resize(attribute.ulValueLen);
  return value;
}

Result<std::vector<CK_OBJECT_HANDLE>> FindLabelled(const Module& module, const Session& session,
                                                   CK_OBJECT_CLASS object_class, const char* label) {
  std::vector<Attribute> pattern = {UlongAttribute(CKA_CLASS, object_class), BoolAttribute(CKA_TOKEN, true),
                                    TextAttribute(CKA_LABEL, label)};
  auto ck = ToCk(pattern);
  auto& fn = module.fn();
  if (const CK_RV rv = fn.C_FindObjectsInit(session.handle(), ck.data(), ck.size()); rv != CKR_OK)
    return TokenError(rv, "C_FindObjectsInit");
  std::vector<CK_OBJECT_HANDLE> found(16);
  CK_ULONG count = 0;
  const CK_RV rv = fn.C_FindObjects(session.handle(), found.data(), found.size(), &count);
  (void)fn.C_FindObjectsFinal(session.handle());
  if (rv != CKR_OK) return TokenError(rv, "C_FindObjects");
  found.resize(count);
  return found;
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
  return {};
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
