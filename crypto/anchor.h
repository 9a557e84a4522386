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
#include "crypto/custody/record.h"
#include "crypto/digest.h"
#include "crypto/envelope.h"
#include "crypto/note.h"
#include "crypto/proposal_text.h"

namespace strongroom::crypto {

/// kMostGrowth is how many entries a log may have grown by between two heads that are signed.
inline constexpr std::uint64_t kMostGrowth = std::uint64_t{1} << 20;

/// AdvanceAnchors judges a head that is to be signed and returns the record with it (L7): it must be of a log of the
/// record's instance and epoch, and extend the last one of its origin, shown by a consistency proof, by at most
/// kMostGrowth entries. A node's first head puts the node on the record's list. Refusals are kForbidden:
/// `foreign-origin`, `log-rewound` (smaller), `log-forked` (not an extension), `log-jumps` (grown by more);
/// kIntegrity `anchor-missing` for a node whose head should be there and is not.
Result<LedgerRecord> AdvanceAnchors(const LedgerRecord& record, const Checkpoint& head, std::span<const Digest> proof);

/// Adoption is what a proposal of `ledger.adopt` says: the heads of the database that the logs go on from in a new
/// epoch, and what the token remembers instead of them (nullopt: nothing of that log).
struct Adoption {
  std::uint64_t epoch = 0;
  std::string token;            // serial number
  std::vector<Anchor> adopted;  // under their origins in the new epoch; a log without entries has none
  std::optional<Anchor> token_control;
  std::optional<Anchor> token_evidence;
  std::string state;  // what the token is found in: behind, lost, damaged, forked, apart
  std::string keep;   // KeptLine of the mandates and releases that stay, or "none"
};
/// AdoptionOf reads a proposal's parameters `epoch`, `token`, `evidence-log`, `token-control`, `token-evidence`,
/// `state`, `keep`; kInvalid for any other proposal.
Result<Adoption> AdoptionOf(const ProposalText& proposal);
/// AnchorLine writes a log's anchor as a parameter of a proposal, "none" or "epoch <n> size <n> root <hex>".
std::string AnchorLine(const std::optional<Anchor>& anchor);
/// KeptLine names a record's mandates and releases in a proposal: "<count> <SHA-256, hex>", or "none" when it has none.
std::string KeptLine(const LedgerRecord& record);
/// An adoption opens an epoch at most so many above the record's.
inline constexpr std::uint64_t kMostEpochs = 1000;
/// AdoptRecord judges an adoption and returns the record as it will be: new epoch, heads as adopted, nothing pending,
/// the mandates and releases that it names, no floor. `record` is the one to go on from: the one in force, the merge of
/// those that contradict each other, or, when it is lost, the root's first one. The adoption must name the heads that
/// it holds, and a later epoch: so it works once. kConflict (stale); kForbidden for another instance's ledger.
Result<LedgerRecord> AdoptRecord(const LedgerRecord& record, const Adoption& adoption);

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

}  // namespace strongroom::crypto
