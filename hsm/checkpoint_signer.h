#pragma once
// The checkpoint keys and the ledger record of a token: what makes its host the log's first witness (L7, L8).

#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "crypto/custody.h"
#include "hsm/key_ops.h"
#include "hsm/module.h"

namespace strongroom::hsm {

/// CheckpointSigner finds the token's checkpoint keys (ECDSA P-256, SIGN only) and its ledger record, and signs only
/// what extends the record. Use by one thread at a time. It makes a key for an approved rotation alone;
/// MakeCheckpointKey makes the first.
class CheckpointSigner {
 public:
  explicit CheckpointSigner(const Module& module) : module_(module) {}

  /// Keys returns the key in force, and the one before it while it signs too at `now`. kNotFound (slug
  /// no-checkpoint-key) when the token has none.
  Result<std::vector<CheckpointKey>> Keys(const Session& session, Millis now);
  /// Record reads the record. kIntegrity (anchor-missing, anchor-damaged) when there is a key and no good record.
  Result<crypto::LedgerRecord> Record(const Session& session);
  /// Sign judges the head by AdvanceAnchors, writes the record, then signs the checkpoint's text. A crash in between
  /// leaves a record ahead of what was handed out: the same head can be asked for again. The record before stays in the
  /// token beside the new one.
  Result<std::vector<CheckpointSignature>> Sign(const Session& session, const crypto::Checkpoint& head,
                                                std::span<const crypto::Digest> proof, Millis now);
  /// Change writes the record that an approved proposal asks for, and first, for a rotation, makes its key. A crash in
  /// between leaves a key that no record names, which the next attempt replaces.
  Result<void> Change(const Session& session, const crypto::ExecutionGrant& grant, Millis now);
  /// Spend writes the record in which the grant's proposal is spent (crypto::SpendProposal).
  Result<void> Spend(const Session& session, const crypto::ExecutionGrant& grant, Millis now);
  /// SpendMandate writes the record in which the keyring's mandate has made this key (crypto::UseMandate).
  Result<void> SpendMandate(const Session& session, std::string_view keyring, const KeyRef& key, Millis now) const;
  /// JudgeDestruction and Forget are crypto/custody.h's on the record in the token; Forget writes it.
  Result<void> JudgeDestruction(const Session& session, const crypto::KeyId& key, Millis now, Millis steady) const;
  Result<void> Forget(const Session& session, const crypto::KeyId& key) const;

 private:
  struct Stored {
    crypto::LedgerRecord record;
    std::vector<CK_OBJECT_HANDLE> older;  // records that are not the newest
  };
  // Keys of one class with their numbers.
  Result<std::vector<std::pair<std::uint32_t, CK_OBJECT_HANDLE>>> NumberedKeys(const Session& session,
                                                                               CK_OBJECT_CLASS object_class) const;
  Result<std::uint32_t> HighestKey(const Session& session) const;
  Result<CK_OBJECT_HANDLE> One(const Session& session, CK_OBJECT_CLASS object_class, std::uint32_t number) const;
  Result<Stored> ReadRecord(const Session& session) const;
  Result<void> Replace(const Session& session, const Stored& stored, const crypto::LedgerRecord& next) const;
  Result<void> Destroy(const Session& session, std::span<const CK_OBJECT_HANDLE> objects) const;
  Result<void> DestroyKeys(const Session& session, const std::function<bool(std::uint32_t number)>& which) const;
  Result<Bytes> SpkiOf(const Session& session, std::uint32_t number) const;
  Result<Bytes> SignText(const Session& session, std::uint32_t number, std::string_view text) const;
  Result<Bytes> Endorse(const Session& session, const crypto::LedgerRecord& record) const;
  const Module& module_;
};

/// MakeCheckpointKey generates the first key and an empty record on a session that is logged in as user. kConflict when
/// there is a key already.
Result<void> MakeCheckpointKey(const Module& module, const Session& session);

}  // namespace strongroom::hsm
