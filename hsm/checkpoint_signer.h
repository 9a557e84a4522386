#pragma once
// The checkpoint key and the anchor record of a token: what makes its host the log's first witness (L7, L8).

#include <span>
#include <vector>

#include "crypto/anchor.h"
#include "hsm/module.h"

namespace strongroom::hsm {

/// CheckpointSigner finds the token's checkpoint key (ECDSA P-256, SIGN only) and its anchor record, and signs only
/// what extends the record. Use by one thread at a time. It never makes either: MakeCheckpointKey does, once.
class CheckpointSigner {
 public:
  explicit CheckpointSigner(const Module& module) : module_(module) {}

  /// PublicKey returns the key's SubjectPublicKeyInfo, DER. kNotFound (slug no-checkpoint-key) when the token has none.
  Result<Bytes> PublicKey(const Session& session);
  /// Anchors reads the record. kIntegrity (anchor-missing, anchor-damaged) when there is a key and no good record.
  Result<std::vector<crypto::Anchor>> Anchors(const Session& session);
  /// Sign judges the head by AdvanceAnchors, writes the record, then signs the checkpoint's text. Yields the DER
  /// signature. A crash in between leaves a record ahead of what was handed out: the same head can be asked for again.
  /// The record before stays in the token beside the new one.
  Result<Bytes> Sign(const Session& session, const crypto::Checkpoint& head, std::span<const crypto::Digest> proof);

 private:
  struct Record {
    std::vector<crypto::Anchor> anchors;
    std::vector<CK_OBJECT_HANDLE> objects;  // usually two: the newest and the one before
    std::vector<CK_OBJECT_HANDLE> older;    // those that are not the newest
  };
  Result<std::vector<CK_OBJECT_HANDLE>> Objects(const Session& session, CK_OBJECT_CLASS object_class,
                                                const char* label) const;
  Result<CK_OBJECT_HANDLE> One(const Session& session, CK_OBJECT_CLASS object_class) const;
  Result<Record> ReadRecord(const Session& session) const;
  const Module& module_;
};

/// MakeCheckpointKey generates key and empty record on a session that is logged in as user. kConflict when either is
/// there already.
Result<void> MakeCheckpointKey(const Module& module, const Session& session);

}  // namespace strongroom::hsm
