#include "hsm/checkpoint_signer.h"

#include <algorithm>
#include <array>
#include <optional>

#include "hsm/ckr.h"
#include "hsm/ec_key.h"

namespace strongroom::hsm {
namespace {

constexpr const char* kKeyLabel = "strongroom-checkpoint";
constexpr const char* kAnchorLabel = "strongroom-anchor";

Result<void> WriteRecord(const Module& module, const Session& session, const crypto::LedgerRecord& record) {
  auto value = crypto::EncodeRecord(record);
  std::vector<Attribute> attributes = {
      UlongAttribute(CKA_CLASS, CKO_DATA),    BoolAttribute(CKA_TOKEN, true),
      BoolAttribute(CKA_PRIVATE, true),       TextAttribute(CKA_APPLICATION, "strongroom"),
      TextAttribute(CKA_LABEL, kAnchorLabel), {CKA_VALUE, std::move(value)}};
  auto ck = ToCk(attributes);
  CK_OBJECT_HANDLE object = 0;
  if (const CK_RV rv = module.fn().C_CreateObject(session.handle(), ck.data(), ck.size(), &object); rv != CKR_OK)
    return TokenError(rv, "C_CreateObject");
  return {};
}

// A key's number is its CKA_ID, big-endian; the first of an earlier version has none.
Bytes NumberId(std::uint32_t number) {
  return {static_cast<std::uint8_t>(number >> 24), static_cast<std::uint8_t>(number >> 16),
          static_cast<std::uint8_t>(number >> 8), static_cast<std::uint8_t>(number)};
}

// The name of the ledger's keys, "strongroom/<instance>".
Result<std::string> KeyName(const crypto::LedgerRecord& record) {
  if (record.anchors.empty()) return Conflict("the token has not signed anything yet", "stale");
  const auto& origin = record.anchors.front().origin;
  return origin.substr(0, origin.find('/', origin.find('/') + 1));
}

}  // namespace

Result<std::vector<std::pair<std::uint32_t, CK_OBJECT_HANDLE>>> CheckpointSigner::NumberedKeys(
    const Session& session, CK_OBJECT_CLASS object_class) const {
  TRY_ASSIGN(const auto all, FindLabelled(module_, session, object_class, kKeyLabel));
  std::vector<std::pair<std::uint32_t, CK_OBJECT_HANDLE>> found;
  for (const auto object : all) {
    TRY_ASSIGN(const auto id, ReadValue(module_, session, object, CKA_ID));
    std::uint32_t number = id.empty() ? 1 : 0;
    if (id.size() == 4)
      for (const auto byte : id) number = number << 8 | byte;
    if (number == 0) return Integrity("a checkpoint key has a strange CKA_ID", "key-drift");
    found.emplace_back(number, object);
  }
  return found;
}

Result<std::uint32_t> CheckpointSigner::HighestKey(const Session& session) const {
  TRY_ASSIGN(const auto keys, NumberedKeys(session, CKO_PRIVATE_KEY));
  std::uint32_t highest = 1;
  for (const auto& [number, object] : keys) highest = std::max(highest, number);
  return highest;
}

Result<void> CheckpointSigner::DestroyKeys(const Session& session,
                                           const std::function<bool(std::uint32_t number)>& which) const {
  for (const auto object_class : {CKO_PRIVATE_KEY, CKO_PUBLIC_KEY}) {
    TRY_ASSIGN(const auto keys, NumberedKeys(session, object_class));
    for (const auto& [number, object] : keys)
      if (which(number)) TRY(Destroy(session, std::span(&object, 1)));
  }
  return {};
}

Result<CK_OBJECT_HANDLE> CheckpointSigner::One(const Session& session, CK_OBJECT_CLASS object_class,
                                               std::uint32_t number) const {
  TRY_ASSIGN(const auto keys, NumberedKeys(session, object_class));
  std::vector<CK_OBJECT_HANDLE> found;
  for (const auto& [of, object] : keys)
    if (of == number) found.push_back(object);
  if (found.empty())
    return NotFound("the token has no checkpoint key " + std::to_string(number) +
                        ": strongroom-tokend --make-checkpoint-key makes the first",
                    "no-checkpoint-key");
  if (found.size() > 1)
    return Integrity("the token has several checkpoint keys of number " + std::to_string(number), "key-drift");
  return found[0];
}

Result<CheckpointSigner::Stored> CheckpointSigner::ReadRecord(const Session& session) const {
  TRY_ASSIGN(const auto keys, FindLabelled(module_, session, CKO_PRIVATE_KEY, kKeyLabel));
  if (keys.empty()) TRY(One(session, CKO_PRIVATE_KEY, 1));
  TRY_ASSIGN(const auto objects, FindLabelled(module_, session, CKO_DATA, kAnchorLabel));
  if (objects.empty()) return Integrity("the token has a checkpoint key and no anchor record", "anchor-missing");
  // One that cannot be read was cut off while it was written, so nothing was signed under it; another one is there
  // then.
  std::optional<Error> unreadable;
  std::vector<std::optional<crypto::LedgerRecord>> read;
  std::uint64_t highest = 0;
  for (const auto object : objects) {
    TRY_ASSIGN(const auto value, ReadValue(module_, session, object, CKA_VALUE));
    auto record = crypto::DecodeRecord(value);
    if (!record) unreadable = record.error();
    read.emplace_back(record ? std::optional(*record) : std::nullopt);
    if (record) highest = std::max(highest, record->serial);
  }
  Stored stored;
  bool any = false;
  for (const auto& record : read) {
    if (!record || record->serial != highest) continue;
    TRY_ASSIGN(auto newer, any ? crypto::NewerRecord(*record, stored.record) : Result<crypto::LedgerRecord>(*record));
    any = true;
    stored.record = std::move(newer);
  }
  if (!any) return *unreadable;
  for (std::size_t i = 0; i < objects.size(); ++i)
    if (!read[i] || *read[i] != stored.record) stored.older.push_back(objects[i]);
  return stored;
}

Result<Bytes> CheckpointSigner::SpkiOf(const Session& session, std::uint32_t number) const {
  TRY_ASSIGN(const auto key, One(session, CKO_PUBLIC_KEY, number));
  return EcSpki(module_, session, key);
}

Result<Bytes> CheckpointSigner::SignText(const Session& session, std::uint32_t number, std::string_view text) const {
  TRY_ASSIGN(const auto key, One(session, CKO_PRIVATE_KEY, number));
  auto& fn = module_.fn();
  auto digest = crypto::Sha256(AsBytes(text));
  CK_MECHANISM mechanism{CKM_ECDSA, nullptr, 0};
  if (const CK_RV rv = fn.C_SignInit(session.handle(), &mechanism, key); rv != CKR_OK)
    return TokenError(rv, "C_SignInit");
  std::array<CK_BYTE, 64> raw{};
  CK_ULONG size = raw.size();
  if (const CK_RV rv = fn.C_Sign(session.handle(), digest.data(), digest.size(), raw.data(), &size); rv != CKR_OK)
    return TokenError(rv, "C_Sign");
  return crypto::EcdsaDer(ByteView(raw).first(size));
}

// The key before the one in force says who follows it: an auditor who has the first key finds the others by that.
Result<Bytes> CheckpointSigner::Endorse(const Session& session, const crypto::LedgerRecord& record) const {
  TRY_ASSIGN(const auto name, KeyName(record));
  TRY_ASSIGN(const auto former_spki, SpkiOf(session, record.key - 1));
  TRY_ASSIGN(const auto next_spki, SpkiOf(session, record.key));
  TRY_ASSIGN(const auto former, crypto::NoteKey::FromEcdsa(name, former_spki));
  TRY_ASSIGN(const auto next, crypto::NoteKey::FromEcdsa(name, next_spki));
  return SignText(session, record.key - 1, crypto::KeyEndorsement(former, next));
}

Result<std::vector<CheckpointKey>> CheckpointSigner::Keys(const Session& session, Millis now) {
  std::vector<CheckpointKey> keys(1);
  // A token whose record is lost still says which key is its newest.
  crypto::LedgerRecord record;
  if (auto stored = ReadRecord(session)) {
    record = std::move(stored->record);
  } else {
    TRY_ASSIGN(record.key, HighestKey(session));
    TRY_ASSIGN(keys[0].spki, SpkiOf(session, record.key));
    keys[0].number = record.key;
    return keys;
  }
  keys[0].number = record.key;
  TRY_ASSIGN(keys[0].spki, SpkiOf(session, record.key));
  if (record.key == 1) return keys;
  TRY_ASSIGN(keys[0].former, SpkiOf(session, record.key - 1));
  TRY_ASSIGN(keys[0].endorsement, Endorse(session, record));
  if (now >= record.former_until) return keys;
  keys.emplace_back();
  keys[1].number = record.key - 1;
  keys[1].spki = keys[0].former;
  return keys;
}

Result<crypto::LedgerRecord> CheckpointSigner::Record(const Session& session) {
  TRY_ASSIGN(auto stored, ReadRecord(session));
  return std::move(stored.record);
}

Result<void> CheckpointSigner::Destroy(const Session& session, std::span<const CK_OBJECT_HANDLE> objects) const {
  for (const auto object : objects)
    if (const CK_RV rv = module_.fn().C_DestroyObject(session.handle(), object); rv != CKR_OK)
      return TokenError(rv, "C_DestroyObject");
  return {};
}

// A record of its own, for SoftHSM refuses to change a value; and the one before it stays, for SoftHSM does not sync
// what it writes. Of several the newest counts.
Result<void> CheckpointSigner::Replace(const Session& session, const Stored& stored,
                                       const crypto::LedgerRecord& next) const {
  TRY(Destroy(session, stored.older));
  auto numbered = next;
  numbered.serial = stored.record.serial + 1;
  return WriteRecord(module_, session, numbered);
}

Result<std::vector<CheckpointSignature>> CheckpointSigner::Sign(const Session& session, const crypto::Checkpoint& head,
                                                                std::span<const crypto::Digest> proof, Millis now) {
  TRY_ASSIGN(const auto stored, ReadRecord(session));
  if (stored.record.custody.further) return Forbidden("a further token signs no logs", "not-the-main-token");
  auto next = stored.record;
  TRY_ASSIGN(next.anchors, crypto::AdvanceAnchors(stored.record.anchors, head, proof));
  if (next != stored.record) TRY(Replace(session, stored, next));
  std::vector<CheckpointSignature> signatures(1);
  signatures[0].key = next.key;
  TRY_ASSIGN(signatures[0].der, SignText(session, next.key, head.Text()));
  if (now >= next.former_until) return signatures;
  signatures.emplace_back();
  signatures[1].key = next.key - 1;
  TRY_ASSIGN(signatures[1].der, SignText(session, next.key - 1, head.Text()));
  return signatures;
}

Result<void> CheckpointSigner::Spend(const Session& session, const crypto::ExecutionGrant& grant, Millis now) {
  TRY_ASSIGN(const auto stored, ReadRecord(session));
  TRY_ASSIGN(auto next, crypto::SpendProposal(stored.record, grant, now));
  // A rotation by votes restarts the interval of a mandate.
  if (const auto key = crypto::NamedKey(grant.proposal())) next = crypto::AfterRotation(std::move(next), *key, now);
  return Replace(session, stored, next);
}

Result<void> CheckpointSigner::SpendMandate(const Session& session, std::string_view keyring, const KeyRef& key,
                                            Millis now) const {
  TRY_ASSIGN(const auto stored, ReadRecord(session));
  TRY_ASSIGN(const auto next, crypto::UseMandate(stored.record, keyring, key.key, key.suite, now));
  return Replace(session, stored, next);
}

Result<void> CheckpointSigner::Change(const Session& session, const crypto::ExecutionGrant& grant, Millis now) {
  const auto& proposal = grant.proposal();
  auto stored = ReadRecord(session);
  const bool lost = !stored && (stored.error().Slug() == "anchor-missing" || stored.error().Slug() == "anchor-damaged");
  if (proposal.operation == "ledger.adopt") {
    if (!stored && !lost) return std::move(stored).error();
    TRY_ASSIGN(const auto adoption, crypto::AdoptionOf(proposal));
    TRY_ASSIGN(const auto spent,
               crypto::SpendProposal(lost ? crypto::LedgerRecord() : stored->record, grant, now, lost));
    TRY_ASSIGN(auto next, crypto::AdoptRecord(lost ? std::nullopt : std::optional(spent), adoption));
    if (!lost) return Replace(session, *stored, next);
    next.custody = spent.custody;
    TRY_ASSIGN(next.key, HighestKey(session));
    TRY_ASSIGN(const auto damaged, FindLabelled(module_, session, CKO_DATA, kAnchorLabel));
    next.serial = ~std::uint64_t{0} >> 1;  // above whatever can be read of the damaged ones
    TRY(WriteRecord(module_, session, next));
    (void)Destroy(session, damaged);
    return {};
  }
  if (!stored) return std::move(stored).error();
  TRY_ASSIGN(const auto spent, crypto::SpendProposal(stored->record, grant, now));
  if (proposal.operation != "ledger.rotate-key") {
    TRY_ASSIGN(const auto next, crypto::ChangedRecord(spent, grant, now));
    return Replace(session, *stored, next);
  }
  TRY_ASSIGN(const auto rotation, crypto::KeyRotationOf(proposal));
  TRY_ASSIGN(const auto next, crypto::RotateRecord(spent, rotation, now));
  // What a cut-off attempt has left goes first; what nothing verifies any more when the record no longer names it.
  TRY(DestroyKeys(session, [&](std::uint32_t number) { return number >= next.key; }));
  TRY(GenerateEcKey(module_, session, kKeyLabel, NumberId(next.key)));
  TRY(Replace(session, *stored, next));
  // From here on it is done: an outlived key that does not go now goes with the next rotation.
  (void)DestroyKeys(session, [&](std::uint32_t number) { return number + 1 < next.key; });
  return {};
}

Result<void> CheckpointSigner::JudgeDestruction(const Session& session, const crypto::KeyId& key, Millis now,
                                                Millis steady) const {
  TRY_ASSIGN(const auto stored, ReadRecord(session));
  return crypto::JudgeDestruction(stored.record, key, now, steady);
}

Result<void> CheckpointSigner::Forget(const Session& session, const crypto::KeyId& key) const {
  TRY_ASSIGN(const auto stored, ReadRecord(session));
  TRY_ASSIGN(const auto next, crypto::WithoutPending(stored.record, key));
  return Replace(session, stored, next);
}

Result<void> MakeCheckpointKey(const Module& module, const Session& session) {
  CheckpointSigner signer(module);
  if (signer.Keys(session, 0)) return Conflict("the token has a checkpoint key already", "key-exists");
  // The record first: a run that is cut off in between leaves a token that has no key, and can be finished.
  TRY(WriteRecord(module, session, {}));
  return GenerateEcKey(module, session, kKeyLabel, NumberId(1));
}

}  // namespace strongroom::hsm
