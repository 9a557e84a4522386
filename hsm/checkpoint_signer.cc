#include "hsm/checkpoint_signer.h"

#include <array>
#include <optional>

#include "hsm/ckr.h"
#include "hsm/key_template.h"

namespace strongroom::hsm {
namespace {

constexpr const char* kKeyLabel = "strongroom-checkpoint";
constexpr const char* kAnchorLabel = "strongroom-anchor";
constexpr std::size_t kMaxRecord = 64U << 10;
// OID prime256v1, DER; and everything of a P-256 SubjectPublicKeyInfo that stands before the point.
constexpr std::array<std::uint8_t, 10> kP256 = {0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07};
constexpr std::array<std::uint8_t, 26> kSpkiHead = {0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2A, 0x86, 0x48,
                                                    0xCE, 0x3D, 0x02, 0x01, 0x06, 0x08, 0x2A, 0x86, 0x48,
                                                    0xCE, 0x3D, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00};
constexpr std::size_t kPointBytes = 65;

Attribute TextAttribute(CK_ATTRIBUTE_TYPE type, std::string_view text) {
  const auto bytes = AsBytes(text);
  return {type, Bytes(bytes.begin(), bytes.end())};
}

Result<Bytes> ReadValue(const Module& module, const Session& session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type) {
  Bytes value(kMaxRecord);
  CK_ATTRIBUTE attribute{type, value.data(), value.size()};
  if (const CK_RV rv = module.fn().C_GetAttributeValue(session.handle(), object, &attribute, 1); rv != CKR_OK)
    return TokenError(rv, "C_GetAttributeValue");
  value.resize(attribute.ulValueLen);
  return value;
}

Result<void> WriteRecord(const Module& module, const Session& session, std::span<const crypto::Anchor> anchors) {
  auto value = crypto::EncodeAnchors(anchors);
  std::vector<Attribute> attributes = {
      UlongAttribute(CKA_CLASS, CKO_DATA),    BoolAttribute(CKA_TOKEN, true),
      BoolAttribute(CKA_PRIVATE, true),       TextAttribute(CKA_APPLICATION, "strongroom"),
      TextAttribute(CKA_LABEL, kAnchorLabel), {CKA_VALUE, std::move(value)}};
  auto ck = ToCk(attributes);
  CK_OBJECT_HANDLE record = 0;
  if (const CK_RV rv = module.fn().C_CreateObject(session.handle(), ck.data(), ck.size(), &record); rv != CKR_OK)
    return TokenError(rv, "C_CreateObject");
  return {};
}

}  // namespace

Result<std::vector<CK_OBJECT_HANDLE>> CheckpointSigner::Objects(const Session& session, CK_OBJECT_CLASS object_class,
                                                                const char* label) const {
  std::vector<Attribute> pattern = {UlongAttribute(CKA_CLASS, object_class), BoolAttribute(CKA_TOKEN, true),
                                    TextAttribute(CKA_LABEL, label)};
  auto ck = ToCk(pattern);
  auto& fn = module_.fn();
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

Result<CK_OBJECT_HANDLE> CheckpointSigner::One(const Session& session, CK_OBJECT_CLASS object_class) const {
  TRY_ASSIGN(const auto found, Objects(session, object_class, kKeyLabel));
  if (found.empty())
    return NotFound("the token has no checkpoint key: strongroom-tokend --make-checkpoint-key makes it",
                    "no-checkpoint-key");
  if (found.size() > 1) return Integrity("the token has several checkpoint keys", "key-drift");
  return found[0];
}

Result<CheckpointSigner::Record> CheckpointSigner::ReadRecord(const Session& session) const {
  TRY(One(session, CKO_PRIVATE_KEY));
  Record record;
  TRY_ASSIGN(record.objects, Objects(session, CKO_DATA, kAnchorLabel));
  if (record.objects.empty()) return Integrity("the token has a checkpoint key and no anchor record", "anchor-missing");
  // One that cannot be read was cut off while it was written, so nothing was signed under it; another one is there
  // then.
  std::optional<Error> unreadable;
  bool any = false;
  for (const auto object : record.objects) {
    TRY_ASSIGN(const auto value, ReadValue(module_, session, object, CKA_VALUE));
    auto anchors = crypto::DecodeAnchors(value);
    if (!anchors) {
      unreadable = anchors.error();
      record.older.push_back(object);
      continue;
    }
    TRY_ASSIGN(auto newer, any ? crypto::NewerAnchors(*anchors, record.anchors) : std::move(anchors));
    any = true;
    record.anchors = std::move(newer);
  }
  if (!any) return *unreadable;
  for (const auto object : record.objects) {
    TRY_ASSIGN(const auto value, ReadValue(module_, session, object, CKA_VALUE));
    const auto anchors = crypto::DecodeAnchors(value);
    if (anchors && *anchors != record.anchors) record.older.push_back(object);
  }
  return record;
}

Result<Bytes> CheckpointSigner::PublicKey(const Session& session) {
  TRY_ASSIGN(const auto key, One(session, CKO_PUBLIC_KEY));
  TRY_ASSIGN(auto point, ReadValue(module_, session, key, CKA_EC_POINT));
  // PKCS#11 wants the point in an OCTET STRING; some tokens give it bare.
  if (point.size() == kPointBytes + 2 && point[0] == 0x04 && point[1] == kPointBytes)
    point.erase(point.begin(), point.begin() + 2);
  if (point.size() != kPointBytes || point[0] != 0x04)
    return Integrity("the checkpoint key is not a P-256 key", "key-drift");
  Bytes spki(kSpkiHead.begin(), kSpkiHead.end());
  Append(spki, point);
  return spki;
}

Result<std::vector<crypto::Anchor>> CheckpointSigner::Anchors(const Session& session) {
  TRY_ASSIGN(auto record, ReadRecord(session));
  return std::move(record.anchors);
}

Result<Bytes> CheckpointSigner::Sign(const Session& session, const crypto::Checkpoint& head,
                                     std::span<const crypto::Digest> proof) {
  TRY_ASSIGN(const auto record, ReadRecord(session));
  TRY_ASSIGN(const auto next, crypto::AdvanceAnchors(record.anchors, head, proof));
  auto& fn = module_.fn();
  if (next != record.anchors) {
    // A record of its own, for SoftHSM refuses to change a value; and the one before it stays, for SoftHSM does not
    // sync what it writes. Of several the newest counts.
    for (const auto old : record.older)
      if (const CK_RV rv = fn.C_DestroyObject(session.handle(), old); rv != CKR_OK)
        return TokenError(rv, "C_DestroyObject");
    TRY(WriteRecord(module_, session, next));
  }
  TRY_ASSIGN(const auto key, One(session, CKO_PRIVATE_KEY));
  auto digest = crypto::Sha256(AsBytes(head.Text()));
  CK_MECHANISM mechanism{CKM_ECDSA, nullptr, 0};
  if (const CK_RV rv = fn.C_SignInit(session.handle(), &mechanism, key); rv != CKR_OK)
    return TokenError(rv, "C_SignInit");
  std::array<CK_BYTE, 64> raw{};
  CK_ULONG size = raw.size();
  if (const CK_RV rv = fn.C_Sign(session.handle(), digest.data(), digest.size(), raw.data(), &size); rv != CKR_OK)
    return TokenError(rv, "C_Sign");
  return crypto::EcdsaDer(ByteView(raw).first(size));
}

Result<void> MakeCheckpointKey(const Module& module, const Session& session) {
  CheckpointSigner signer(module);
  if (signer.PublicKey(session)) return Conflict("the token has a checkpoint key already", "key-exists");
  // The record first: a run that is cut off in between leaves a token that has no key, and can be finished.
  TRY(WriteRecord(module, session, {}));
  std::vector<Attribute> of_public = {BoolAttribute(CKA_TOKEN, true),
                                      BoolAttribute(CKA_PRIVATE, false),
                                      BoolAttribute(CKA_VERIFY, true),
                                      BoolAttribute(CKA_ENCRYPT, false),
                                      BoolAttribute(CKA_WRAP, false),
                                      BoolAttribute(CKA_MODIFIABLE, false),
                                      {CKA_EC_PARAMS, Bytes(kP256.begin(), kP256.end())},
                                      TextAttribute(CKA_LABEL, kKeyLabel)};
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
                                       TextAttribute(CKA_LABEL, kKeyLabel)};
  auto public_ck = ToCk(of_public), private_ck = ToCk(of_private);
  CK_MECHANISM mechanism{CKM_EC_KEY_PAIR_GEN, nullptr, 0};
  CK_OBJECT_HANDLE public_key = 0, private_key = 0;
  auto& fn = module.fn();
  if (const CK_RV rv = fn.C_GenerateKeyPair(session.handle(), &mechanism, public_ck.data(), public_ck.size(),
                                            private_ck.data(), private_ck.size(), &public_key, &private_key);
      rv != CKR_OK)
    return TokenError(rv, "C_GenerateKeyPair");
  return {};
}

}  // namespace strongroom::hsm
