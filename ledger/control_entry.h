#pragma once
// Control entries: changes of custody as they stand in the control log (ledger/FORMAT.md).

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "crypto/base/clock.h"
#include "crypto/base/result.h"
#include "crypto/envelope.h"
#include "crypto/quorum.h"

namespace strongroom::ledger {

/// An entry is at most this long: exports hold its length in two bytes (FORMAT.md).
inline constexpr std::size_t kMaxEntryBytes = 65535;

struct Genesis {
  std::string roster_text;
  std::vector<std::pair<std::string, std::string>> signatures;  // custodian, armored SSHSIG
};
struct ProposalFiled {
  std::string text;
};
struct VoteCast {
  std::string proposal;
  crypto::Vote vote;
};
struct ProposalWithdrawn {
  std::string proposal;
  std::string by;
};
struct ProposalConsumed {
  std::string proposal;
  std::string executor;
};
struct KeyringCreated {
  crypto::KeyringId keyring{};
  std::string name;
  crypto::Suite suite = crypto::Suite::kKwp;
  std::string custody;
  std::string grants;
};
struct VersionAnnounced {
  crypto::KeyringId keyring{};
  std::uint32_t version = 0;
  crypto::Suite suite = crypto::Suite::kKwp;
  std::string custody;
  crypto::KeyId kek{};
  std::string token;
};
struct VersionActivated {
  crypto::KeyringId keyring{};
  std::uint32_t version = 0;
};
struct ExecutionSettled {
  std::string proposal;
  bool ok = false;
  std::string slug;
  std::string detail;
};
/// EpochOpened stands in the settlement of `ledger.adopt`. The notes are the newest checkpoints of the former epoch
/// that the adopted database has, empty when it has none: what they sign is kept, what the token signed beyond is lost.
struct EpochOpened {
  std::uint64_t epoch = 0;
  std::string control_note;
  std::string evidence_note;
  std::vector<Bytes> unused_keys;  // CKA_IDs that the token has and no keyring does
};
/// CheckpointKeyChanged stands in the settlement of `ledger.rotate-key`, and of an adoption whose database had missed
/// one. The keys are verifier keys of signed notes.
struct CheckpointKeyChanged {
  std::uint32_t number = 0;  // of the new key; the first is 1
  std::string former;
  std::string next;
  Bytes endorsement;  // the former key's signature over crypto::KeyEndorsement, DER
};
/// RosterChanged stands in the settlement of `roster.change`.
struct RosterChanged {
  std::string roster_text;
};
using ControlBody = std::variant<Genesis, ProposalFiled, VoteCast, ProposalWithdrawn, ProposalConsumed, KeyringCreated,
                                 VersionAnnounced, VersionActivated, ExecutionSettled, EpochOpened,
                                 CheckpointKeyChanged, RosterChanged>;

struct ControlEntry {
  Millis time = 0;
  ControlBody body;
};

/// KindName is the entry's name in FORMAT.md, for people and JSON.
std::string_view KindName(const ControlBody& body);
Bytes Encode(const ControlEntry& entry);
/// DecodeControl accepts exactly what Encode makes; kIntegrity otherwise.
Result<ControlEntry> DecodeControl(ByteView bytes);

}  // namespace strongroom::ledger
