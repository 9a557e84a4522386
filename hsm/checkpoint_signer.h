#pragma once
// The checkpoint keys and the ledger record of a token: what makes its host the log's first witness (L7, L8).

#include <functional>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "crypto/custody.h"
#include "crypto/custody/chain.h"
#include "hsm/custody_store.h"
#include "hsm/key_ops.h"
#include "hsm/module.h"

namespace strongroom::hsm {

/// CheckpointSigner finds the token's checkpoint keys (ECDSA P-256, SIGN only) and signs only what extends the custody
/// record, which it reads and writes through its store. Use by one thread at a time. It makes a key for an approved
/// rotation alone; MakeCheckpointKey makes the first. Where a call writes the record, what it allows may be done only
/// after it has succeeded.
class CheckpointSigner {
 public:
  CheckpointSigner(const Module& module, CustodyStore store) : module_(module), store_(std::move(store)) {}

  /// Claim makes this host the record's writer (CustodyStore::Claim).
  Result<void> Claim(const Session& session) { return store_.Claim(session); }
  CustodyStore& store() { return store_; }
  const CustodyStore& store() const { return store_; }

  /// Keys returns the key in force, and the one before it while it signs too. kNotFound (slug no-checkpoint-key) when
  /// the token has none.
  Result<std::vector<CheckpointKey>> Keys(const Session& session);
  /// Record reads the record; fails as CustodyStore::Read, kNotFound (no-checkpoint-key) without a key.
  Result<crypto::LedgerRecord> Record(const Session& session);
  /// Sign judges the head by AdvanceAnchors, writes it, then signs the checkpoint's text. A crash in between leaves a
  /// record ahead of what was handed out: the same head can be asked for again. An evidence head is an object of its
  /// own; the record is written with it when an hour has passed.
  Result<std::vector<CheckpointSignature>> Sign(const Session& session, const crypto::Checkpoint& head,
                                                std::span<const crypto::Digest> proof);
  /// Judge returns the record as an approved change of it would leave it, and writes nothing: what Change and Adopt
  /// refuse it refuses with the same slug. The votes on a `ledger.adopt` are under the roster that the record obeys, or
  /// under the one where `chain`, which begins there or at the root, has come to: kForbidden (roster-not-enforced)
  /// otherwise.
  Result<crypto::LedgerRecord> Judge(const Session& session, const crypto::ExecutionGrant& grant,
                                     const std::optional<crypto::ChainWalk>& chain);
  /// Change writes the record that an approved proposal asks for; for a rotation it spends the votes, makes the key,
  /// and then writes that it is in force. A crash in between leaves a key that no record names, which the next
  /// rotation replaces.
  Result<void> Change(const Session& session, const crypto::ExecutionGrant& grant);
  /// Adopt writes the record of an approved `ledger.adopt`, whatever is there, as Judge has it.
  Result<void> Adopt(const Session& session, const crypto::ExecutionGrant& grant,
                     const std::optional<crypto::ChainWalk>& chain);
  /// ChainStart is the roster that a chain has to begin at: the record's, or the root's when the record is lost.
  Result<crypto::RosterMark> ChainStart(const Session& session);
  /// JudgeSpending returns the record in which the grant's proposal is spent (crypto::SpendProposal), and writes
  /// nothing.
  Result<crypto::LedgerRecord> JudgeSpending(const Session& session, const crypto::ExecutionGrant& grant);
  /// Spend writes the record in which the grant's proposal is spent (crypto::SpendProposal).
  Result<void> Spend(const Session& session, const crypto::ExecutionGrant& grant);
  /// SpendMandate writes the record in which the keyring's mandate has made this key (crypto::UseMandate).
  Result<void> SpendMandate(const Session& session, std::string_view keyring, const KeyRef& key);
  /// BeginDestruction writes that a KEK's destruction has begun: only then may it be destroyed. Forget takes the line
  /// out afterwards, Cancel while it has not begun.
  Result<void> BeginDestruction(const Session& session, const crypto::KeyId& key);
  Result<void> Forget(const Session& session, const crypto::KeyId& key);
  Result<void> Cancel(const Session& session, const crypto::KeyId& key);
  /// Tick writes the record for its clock alone, when an hour has passed since its last write.
  Result<void> Tick(const Session& session);

 private:
  // Keys of one class with their numbers.
  Result<std::vector<std::pair<std::uint32_t, CK_OBJECT_HANDLE>>> NumberedKeys(const Session& session,
                                                                               CK_OBJECT_CLASS object_class) const;
  Result<std::uint32_t> HighestKey(const Session& session) const;
  Result<CK_OBJECT_HANDLE> One(const Session& session, CK_OBJECT_CLASS object_class, std::uint32_t number) const;
  Result<void> Destroy(const Session& session, std::span<const CK_OBJECT_HANDLE> objects) const;
  Result<void> DestroyKeys(const Session& session, const std::function<bool(std::uint32_t number)>& which) const;
  Result<Bytes> SpkiOf(const Session& session, std::uint32_t number) const;
  Result<Bytes> SignText(const Session& session, std::uint32_t number, std::string_view text) const;
  Result<Bytes> Endorse(const Session& session, const crypto::LedgerRecord& record) const;
  // Writes a record whose clock moves on with it.
  Result<void> WriteNow(const Session& session, crypto::LedgerRecord next, const crypto::CustodyTime& time);
  Result<void> RotateKey(const Session& session, const crypto::LedgerRecord& spent, const crypto::LedgerRecord& next);
  Result<crypto::LedgerRecord> JudgeAdoption(const Session& session, const crypto::ExecutionGrant& grant,
                                             const std::optional<crypto::ChainWalk>& chain);
  const Module& module_;
  CustodyStore store_;
};

/// MakeCheckpointKey generates the first key on a session that is logged in as user, and with it the root and the first
/// record of a token that obeys `roster`. A run that was cut off is finished by another with the same roster. kConflict
/// (key-exists) when there is a key, with or without a record; (root-exists) for another roster.
Result<void> MakeCheckpointKey(const Module& module, const Session& session, const crypto::Roster& roster,
                               const std::string& token, const Clock& clock);
/// SetRoot gives the root to a token that has a key and none: roster 1, or the very roster that its record obeys, or,
/// of records that contradict each other, the one of the lowest version. `options` are its profile's (StoreOptions).
/// kConflict (root-exists, grant-mismatch).
Result<void> SetRoot(const Module& module, const Session& session, const crypto::Roster& roster,
                     const std::string& token, const Clock& clock, const CustodyStore::Options& options);

}  // namespace strongroom::hsm
