#include "hsm/checkpoint_signer.h"

#include <algorithm>
#include <array>
#include <optional>

#include "hsm/ckr.h"
#include "hsm/ec_key.h"

namespace strongroom::hsm {
namespace {

constexpr const char* kKeyLabel = "strongroom-checkpoint";
// A key's number is its CKA_ID, big-endian; the first of an earlier version has none.
Bytes NumberId(std::uint32_t number) {
  return {static_cast<std::uint8_t>(number >> 24), static_cast<std::uint8_t>(number >> 16),
          static_cast<std::uint8_t>(number >> 8), static_cast<std::uint8_t>(number)};
}

// The name of the ledger's keys, "strongroom/<instance>".
std::string KeyName(const crypto::LedgerRecord& record) { return "strongroom/" + ToHex(record.instance); }

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
  if (size != raw.size()) return TokenLies("has signed to an impossible length", "C_Sign");
  return crypto::EcdsaDer(raw);
}

// The key before the one in force says who follows it: an auditor who has the first key finds the others by that.
Result<Bytes> CheckpointSigner::Endorse(const Session& session, const crypto::LedgerRecord& record) const {
  const auto name = KeyName(record);
  TRY_ASSIGN(const auto former_spki, SpkiOf(session, record.key - 1));
  TRY_ASSIGN(const auto next_spki, SpkiOf(session, record.key));
  TRY_ASSIGN(const auto former, crypto::NoteKey::FromEcdsa(name, former_spki));
  TRY_ASSIGN(const auto next, crypto::NoteKey::FromEcdsa(name, next_spki));
  return SignText(session, record.key - 1, crypto::KeyEndorsement(former, next));
}

Result<std::vector<CheckpointKey>> CheckpointSigner::Keys(const Session& session) {
  std::vector<CheckpointKey> keys(1);
  // A token whose record is lost still says which key is its newest.
  const auto read = Record(session);
  if (!read) {
    TRY_ASSIGN(keys[0].number, HighestKey(session));
    TRY_ASSIGN(keys[0].spki, SpkiOf(session, keys[0].number));
    return keys;
  }
  const auto& record = *read;
  keys[0].number = record.key;
  TRY_ASSIGN(keys[0].spki, SpkiOf(session, record.key));
  if (record.key == 1) return keys;
  TRY_ASSIGN(keys[0].former, SpkiOf(session, record.key - 1));
  TRY_ASSIGN(keys[0].endorsement, Endorse(session, record));
  if (store_.Time(record).late >= record.former_until) return keys;
  keys.emplace_back();
  keys[1].number = record.key - 1;
  keys[1].spki = keys[0].former;
  return keys;
}

Result<crypto::LedgerRecord> CheckpointSigner::Record(const Session& session) {
  TRY_ASSIGN(const auto keys, FindLabelled(module_, session, CKO_PRIVATE_KEY, kKeyLabel));
  if (keys.empty()) TRY(One(session, CKO_PRIVATE_KEY, 1));
  return store_.Read(session);
}

Result<void> CheckpointSigner::Destroy(const Session& session, std::span<const CK_OBJECT_HANDLE> objects) const {
  for (const auto object : objects)
    if (const CK_RV rv = module_.fn().C_DestroyObject(session.handle(), object); rv != CKR_OK)
      return TokenError(rv, "C_DestroyObject");
  return {};
}

Result<void> CheckpointSigner::WriteNow(const Session& session, crypto::LedgerRecord next,
                                        const crypto::CustodyTime& time) {
  crypto::Touch(next, time);
  return store_.Write(session, next);
}

Result<std::vector<CheckpointSignature>> CheckpointSigner::Sign(const Session& session, const crypto::Checkpoint& head,
                                                                std::span<const crypto::Digest> proof) {
  TRY_ASSIGN(const auto record, Record(session));
  if (record.custody.further) return Forbidden("a further token signs no logs", "not-the-main-token");
  TRY_ASSIGN(auto next, crypto::AdvanceAnchors(record, head, proof));
  const auto time = store_.Time(record);
  TRY_ASSIGN(const auto origin, crypto::ParseOrigin(head.origin));
  if (next != record || store_.IsDue()) {
    // A node's head is there before the record says that it must be.
    if (!origin.control && next.anchors != record.anchors) TRY(store_.WriteNodeHead(session, next));
    if (origin.control || next.nodes != record.nodes || store_.IsDue()) TRY(WriteNow(session, next, time));
  }
  std::vector<CheckpointSignature> signatures(1);
  signatures[0].key = next.key;
  TRY_ASSIGN(signatures[0].der, SignText(session, next.key, head.Text()));
  if (time.late >= next.former_until) return signatures;
  signatures.emplace_back();
  signatures[1].key = next.key - 1;
  TRY_ASSIGN(signatures[1].der, SignText(session, next.key - 1, head.Text()));
  return signatures;
}

Result<crypto::LedgerRecord> CheckpointSigner::JudgeSpending(const Session& session,
                                                             const crypto::ExecutionGrant& grant) {
  TRY_ASSIGN(const auto record, Record(session));
  return crypto::SpendProposal(record, grant, store_.Time(record), store_.room());
}

Result<void> CheckpointSigner::Spend(const Session& session, const crypto::ExecutionGrant& grant) {
  TRY_ASSIGN(const auto record, Record(session));
  const auto time = store_.Time(record);
  TRY_ASSIGN(auto next, crypto::SpendProposal(record, grant, time, store_.room()));
  // A rotation by votes restarts the interval of a mandate.
  if (const auto key = crypto::NamedKey(grant.proposal())) next = crypto::AfterRotation(std::move(next), *key, time);
  return store_.Write(session, next);
}

Result<void> CheckpointSigner::SpendMandate(const Session& session, std::string_view keyring, const KeyRef& key) {
  TRY_ASSIGN(const auto record, Record(session));
  const auto time = store_.Time(record);
  TRY_ASSIGN(auto next, crypto::UseMandate(record, keyring, key.key, key.suite, time));
  return WriteNow(session, std::move(next), time);
}

// Spent before anything is made or goes, and looked at: a host that another has followed touches no key.
Result<void> CheckpointSigner::RotateKey(const Session& session, const crypto::LedgerRecord& spent,
                                         const crypto::LedgerRecord& next) {
  TRY(store_.Write(session, spent));
  // What a cut-off attempt has left goes first; what nothing verifies any more when the record no longer names it.
  TRY(DestroyKeys(session, [&](std::uint32_t number) { return number >= next.key; }));
  TRY(GenerateEcKey(module_, session, kKeyLabel, NumberId(next.key)));
  TRY(store_.Write(session, next));
  // From here on it is done: an outlived key that does not go now goes with the next rotation.
  (void)DestroyKeys(session, [&](std::uint32_t number) { return number + 1 < next.key; });
  return {};
}

Result<crypto::LedgerRecord> CheckpointSigner::Judge(const Session& session, const crypto::ExecutionGrant& grant,
                                                     const std::optional<crypto::ChainWalk>& chain) {
  TRY_ASSIGN(const auto operation, crypto::OperationOf(grant.proposal()));
  if (operation == crypto::Operation::kLedgerAdopt) return JudgeAdoption(session, grant, chain);
  TRY_ASSIGN(const auto record, Record(session));
  const auto time = store_.Time(record);
  TRY_ASSIGN(const auto spent, crypto::SpendProposal(record, grant, time, store_.room()));
  if (operation != crypto::Operation::kLedgerRotateKey) return crypto::ChangedRecord(spent, grant, time, store_.room());
  TRY_ASSIGN(const auto rotation, crypto::KeyRotationOf(grant.proposal()));
  return crypto::RotateRecord(spent, rotation, time.late);
}

Result<void> CheckpointSigner::Change(const Session& session, const crypto::ExecutionGrant& grant) {
  TRY_ASSIGN(const auto next, Judge(session, grant, std::nullopt));
  TRY_ASSIGN(const auto operation, crypto::OperationOf(grant.proposal()));
  if (operation == crypto::Operation::kLedgerRotateKey) {
    TRY_ASSIGN(const auto spent, JudgeSpending(session, grant));
    return RotateKey(session, spent, next);
  }
  // The evidence head has a clock of its own, which would hold up the one that is accepted.
  if (operation == crypto::Operation::kClockAccept && crypto::AnchorOf(next, false))
    TRY(store_.WriteNodeHead(session, next));
  return store_.Write(session, next);
}

Result<crypto::RosterMark> CheckpointSigner::ChainStart(const Session& session) {
  TRY_ASSIGN(const auto to, store_.ReadToAdopt(session));
  return crypto::RosterOf(to.record);
}

Result<crypto::LedgerRecord> CheckpointSigner::JudgeAdoption(const Session& session,
                                                             const crypto::ExecutionGrant& grant,
                                                             const std::optional<crypto::ChainWalk>& chain) {
  TRY_ASSIGN(auto to, store_.ReadToAdopt(session));
  // No roster below the record's comes back: a chain only leads on.
  crypto::Follow(to.record, chain, grant.roster_text());
  const auto time = store_.Time(to.record);
  TRY_ASSIGN(const auto adoption, crypto::AdoptionOf(grant.proposal()));
  if (to.lost != (adoption.state == "lost" || adoption.state == "damaged") || to.forked != (adoption.state == "forked"))
    return Conflict("the token is in another state than the votes say: propose again", "stale");
  TRY_ASSIGN(const auto spent, crypto::SpendProposal(to.record, grant, time, store_.room()));
  TRY_ASSIGN(auto next, crypto::AdoptRecord(spent, adoption));
  if (to.lost) {
    TRY_ASSIGN(next.key, HighestKey(session));
  }
  return next;
}

Result<void> CheckpointSigner::Adopt(const Session& session, const crypto::ExecutionGrant& grant,
                                     const std::optional<crypto::ChainWalk>& chain) {
  TRY_ASSIGN(const auto next, JudgeAdoption(session, grant, chain));
  return store_.WriteAdopted(session, next);
}

Result<void> CheckpointSigner::BeginDestruction(const Session& session, const crypto::KeyId& key) {
  TRY_ASSIGN(const auto record, Record(session));
  const auto time = store_.Time(record);
  TRY_ASSIGN(auto next, crypto::GoingRecord(record, key, time));
  return WriteNow(session, std::move(next), time);
}

Result<void> CheckpointSigner::Forget(const Session& session, const crypto::KeyId& key) {
  TRY_ASSIGN(const auto record, Record(session));
  TRY_ASSIGN(auto next, crypto::WithoutPending(record, key));
  return WriteNow(session, std::move(next), store_.Time(record));
}

Result<void> CheckpointSigner::Cancel(const Session& session, const crypto::KeyId& key) {
  TRY_ASSIGN(const auto record, Record(session));
  TRY_ASSIGN(auto next, crypto::CancelledRecord(record, key));
  return WriteNow(session, std::move(next), store_.Time(record));
}

Result<void> CheckpointSigner::Tick(const Session& session) {
  if (!store_.IsDue()) return {};
  TRY_ASSIGN(auto record, Record(session));
  const auto time = store_.Time(record);
  return WriteNow(session, std::move(record), time);
}

Result<void> MakeCheckpointKey(const Module& module, const Session& session, const crypto::Roster& roster,
                               const std::string& token, const Clock& clock) {
  TRY_ASSIGN(const auto keys, FindLabelled(module, session, CKO_PRIVATE_KEY, kKeyLabel));
  TRY_ASSIGN(const auto records, FindLabelled(module, session, CKO_DATA, kRecordLabel));
  // A key without a record is no new token but one that has lost it: only votes make another.
  if (!keys.empty())
    return Conflict(records.empty() ? "the token has a checkpoint key, and has lost its record: propose ledger.adopt"
                                    : "the token has a checkpoint key already",
                    "key-exists");
  // Root and record first: a run that is cut off in between leaves a token that has no key, and can be finished.
  const auto root = crypto::RootOf(roster, token);
  TRY(WriteRoot(module, session, root));
  if (records.empty()) TRY(WriteFirstRecord(module, session, crypto::FirstRecord(root, clock.Now())));
  return GenerateEcKey(module, session, kKeyLabel, NumberId(1));
}

Result<void> SetRoot(const Module& module, const Session& session, const crypto::Roster& roster,
                     const std::string& token, const Clock& clock, const CustodyStore::Options& options) {
  TRY_ASSIGN(const auto keys, FindLabelled(module, session, CKO_PRIVATE_KEY, kKeyLabel));
  if (keys.empty()) return NotFound("the token has no checkpoint key: --init-token makes one", "no-checkpoint-key");
  CustodyStore store(module, clock, token, options);
  TRY_ASSIGN(const auto obeyed, store.RosterInForce(session));
  if (obeyed.version != 0 && (obeyed.version != roster.version() || obeyed.hash != roster.hash()))
    return Conflict("the token's record obeys roster " + std::to_string(obeyed.version) + " of hash " +
                        ToHex(obeyed.hash) + ": give that one",
                    "grant-mismatch");
  if (obeyed.version == 0 && roster.version() != 1)
    return Conflict("the token obeys no roster yet: give roster 1", "grant-mismatch");
  return WriteRoot(module, session, crypto::RootOf(roster, token));
}

}  // namespace strongroom::hsm
