#pragma once
// What a token remembers of the ledger, what it will sign next, and what a quorum may change in it. Pure: the token
// host and its fake use it, each call a value in and a value out.

#include <array>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "crypto/base/bytes.h"
#include "crypto/base/clock.h"
#include "crypto/base/result.h"
#include "crypto/digest.h"
#include "crypto/envelope.h"
#include "crypto/note.h"
#include "crypto/proposal_text.h"

namespace strongroom::crypto {

/// Anchor is the last head of a log that its token has signed. Origins are "strongroom/<instance>/control/<epoch>" and
/// "strongroom/<instance>/evidence/<node>/<epoch>"; the epoch is a number from 1.
struct Anchor {
  std::string origin;
  std::uint64_t size = 0;
  Digest root{};
  bool operator==(const Anchor&) const = default;
};

/// SpentProposal is one that was executed and whose deadline has not passed.
struct SpentProposal {
  std::array<std::uint8_t, 16> id{};  // the first half of its text's SHA-256
  Millis until = 0;
  bool operator==(const SpentProposal&) const = default;
};
/// PendingDestruction is a KEK that a quorum has given up: it may go when its waiting period is over.
struct PendingDestruction {
  KeyId key{};
  Millis due = 0;
  bool operator==(const PendingDestruction&) const = default;
};
/// Mandate lets a keyring be rotated without further votes: at most one new version an interval, until a date (Q5).
struct Mandate {
  KeyringId keyring{};
  std::string name;  // the keyring's
  Suite suite = Suite::kKwp;
  Millis interval = 0;
  Millis until = 0;
  Millis next = 0;  // before this no version is made by it
  bool operator==(const Mandate&) const = default;
};
/// Release lets the DEKs that a keyring's KEKs in this token have wrapped be opened for another token, until a date
/// (`rekey.start`).
struct Release {
  KeyringId keyring{};
  std::string to;  // serial number
  Millis until = 0;
  bool operator==(const Release&) const = default;
};
/// Member is another token of a high-availability group, which has the same objects under a serial number of its own.
struct Member {
  std::string serial;
  std::string label;
  std::string model;
  std::string manufacturer;
  std::string group;  // serial number that KEKs and proposals name the group by
  bool operator==(const Member&) const = default;
};
/// CustodyFacts is what a token enforces (crypto/custody.h).
struct CustodyFacts {
  std::uint64_t roster_version = 0;  // 0: none seen yet
  Digest roster_hash{};
  Millis seen = 0;  // the latest time at which anything was executed
  std::vector<SpentProposal> spent;
  std::uint64_t control_floor = 0;  // what was asked for when the control log was not longer than this is void
  std::vector<PendingDestruction> pending;
  std::vector<Mandate> mandates;  // one a keyring at most
  std::vector<Release> releases;  // one a keyring at most
  std::vector<Member> members;
  bool further = false;  // enrolled beside the main token: it signs no logs
  bool operator==(const CustodyFacts&) const = default;
};

/// LedgerRecord is all that a token keeps about its ledger and who may change custody: the custody record.
struct LedgerRecord {
  std::uint64_t serial = 0;  // grows with each record that is written
  std::vector<Anchor> anchors;
  std::uint32_t key = 1;    // number of the checkpoint key that signs
  Millis former_until = 0;  // until then the key before it signs too
  CustodyFacts custody;
  bool operator==(const LedgerRecord&) const = default;
};

/// ControlOrigin and EvidenceOrigin name the two logs of an instance's only node. The epoch begins at 1 and grows by
/// `ledger.adopt` alone.
std::string ControlOrigin(const InstanceId& instance, std::uint64_t epoch = 1);
std::string EvidenceOrigin(const InstanceId& instance, std::uint64_t epoch = 1);

/// AdvanceAnchors judges a head that is to be signed and returns the anchors as they will be (L7): it must extend the
/// last one of its origin, shown by a consistency proof. An origin that is not known is taken at its first sight if it
/// is of the same instance and epoch as what is known, and nothing of that log is known. Refusals are kForbidden:
/// `foreign-origin`, `log-rewound` (smaller), `log-forked` (not an extension).
Result<std::vector<Anchor>> AdvanceAnchors(std::span<const Anchor> anchors, const Checkpoint& head,
                                           std::span<const Digest> proof);

/// Adoption is what a proposal of `ledger.adopt` says: the heads of the database that the logs go on from in a new
/// epoch, and what the token remembers instead of them (nullopt: nothing of that log).
struct Adoption {
  std::uint64_t epoch = 0;
  std::string token;            // serial number
  std::vector<Anchor> adopted;  // under their origins in the new epoch; a log without entries has none
  std::optional<Anchor> token_control;
  std::optional<Anchor> token_evidence;
};
/// AdoptionOf reads a proposal's parameters `epoch`, `token`, `evidence-log`, `token-control`, `token-evidence`;
/// kInvalid for any other proposal.
Result<Adoption> AdoptionOf(const ProposalText& proposal);
/// AnchorLine writes a log's anchor as a parameter of a proposal, "none" or "epoch <n> size <n> root <hex>".
std::string AnchorLine(const std::optional<Anchor>& anchor);
/// AnchorOf finds the anchor of a log, whatever its epoch.
std::optional<Anchor> AnchorOf(const LedgerRecord& record, bool control);
/// EpochOf is the epoch that a record's logs are in, 0 when it knows none.
Result<std::uint64_t> EpochOf(const LedgerRecord& record);
/// AdoptRecord judges an adoption and returns the record as it will be. It must name what the record holds now, and a
/// later epoch: so it works once. `record` is nullopt when the token has lost it; the proposal then says "none".
/// kConflict, slug `stale`, when the record is another by now; kForbidden for another instance's ledger.
Result<LedgerRecord> AdoptRecord(const std::optional<LedgerRecord>& record, const Adoption& adoption);

/// KeyRotation is what a proposal of `ledger.rotate-key` says.
struct KeyRotation {
  InstanceId instance{};
  std::string token;
  std::uint32_t key = 0;  // the new key's number
  Millis overlap = 0;     // for so long both keys sign
};
/// KeyRotationOf reads the parameters `token`, `checkpoint-key`, `overlap-days`; kInvalid for any other proposal.
Result<KeyRotation> KeyRotationOf(const ProposalText& proposal);
/// RotateRecord returns the record with the next key in force. kConflict, slug `stale`, when that is not the one named
/// or nothing has been signed yet; kForbidden for another instance.
Result<LedgerRecord> RotateRecord(const LedgerRecord& record, const KeyRotation& rotation, Millis now);
/// KeyEndorsement is the text by which a checkpoint key vouches for the one that follows it. Only a token host writes
/// it.
std::string KeyEndorsement(const NoteKey& former, const NoteKey& next);

/// NewerRecord picks, of two records that a crash between writing one and removing the other has left, the one that
/// came later: by its serial, or, for those of an earlier version, in nothing is it behind. kIntegrity when neither is.
Result<LedgerRecord> NewerRecord(const LedgerRecord& a, const LedgerRecord& b);

/// EncodeRecord and DecodeRecord are the record in the token (hsm/CUSTODY.md). Decode fails with kIntegrity.
Bytes EncodeRecord(const LedgerRecord& record);
Result<LedgerRecord> DecodeRecord(ByteView record);

}  // namespace strongroom::crypto
