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
/// RosterChanged stood in the settlement of `roster.change` in logs of the first builds.
struct RosterChanged {
  std::string roster_text;
};
/// KeyringSwitched: disabled by one person at once, enabled by a proposal.
struct KeyringSwitched {
  crypto::KeyringId keyring{};
  bool enabled = false;
  std::string by;  // empty in a settlement
};
struct GrantsChanged {
  crypto::KeyringId keyring{};
  std::string grants;
};
/// VersionMoved is a change of a version's state other than its activation.
struct VersionMoved {
  enum class To : std::uint8_t {
    kArchived = 1,
    kRestored = 2,  // back from the archive: unwraps again
    kCompromised = 3,
    kPendingDestruction = 4,  // the KEK goes `days` after the entry's time
    kKept = 5,                // its destruction was cancelled: archived
    kDestroyed = 6,           // the KEK is gone from the token
  };
  crypto::KeyringId keyring{};
  std::uint32_t version = 0;
  To to = To::kArchived;
  std::uint32_t days = 0;
  std::string by;  // who cancelled
};
/// BreakGlassOpened stands in the settlement of `break-glass.open`; it lasts `minutes` from the entry's time.
struct BreakGlassOpened {
  std::string id;  // the proposal's
  std::string check;
  std::string scope;
  std::uint32_t minutes = 0;
  std::uint64_t uses = 0;  // at most
  bool drill = false;
};
struct BreakGlassClosed {
  std::string id;
  std::string reason;  // closed, expired, used-up, restart, roster-changed, clock, token-identity
  std::string by;      // empty when nobody did
  std::uint64_t uses = 0;
};
struct BreakGlassReviewed {
  std::string id;
  std::string reviewer;
  std::string finding;
  std::string signature;  // armored SSHSIG, namespace vote@strongroom, over appliance::ReviewText
};
/// ClockFrozen: the host's clock cannot be relied on; the entry's own time is the ledger's.
struct ClockFrozen {
  Millis host = 0;  // what the clock said
  std::string why;
};
/// ClockAccepted stands in the settlement of `clock.accept`: from here on the host's clock counts again. Times may go
/// back here, and only here.
struct ClockAccepted {
  Millis ledger = 0;  // the ledger's time before it
};
/// CeremonyRecorded keeps what a ceremony was and what happened in it.
struct CeremonyRecorded {
  std::string name;
  std::string script;      // TOML, as run
  std::string transcript;  // JSON
  std::string markdown;    // the same for people
  std::string by;
};
/// PolicySet stands in the settlement of `keyring.set-policy`: from the entry's time on the keyring is rotated every
/// `days` without further votes, until a time; 0 days: no more.
struct PolicySet {
  crypto::KeyringId keyring{};
  std::uint32_t days = 0;
  Millis until = 0;
  bool enforce = false;
  bool rewrap = true;             // after a rotation a job moves the inventory
  std::uint32_t expire_days = 0;  // how long after it was made a version is past its time; 0: never
  bool attest = false;            // a new version waits until somebody has attested its backup or replica
};
/// MandateUsed is the intent of a rotation by such a policy, MandateSettled its outcome, with what it changed before
/// it.
struct MandateUsed {
  crypto::KeyringId keyring{};
  std::uint32_t version = 0;
};
struct MandateSettled {
  crypto::KeyringId keyring{};
  std::uint32_t version = 0;
  bool ok = false;
  std::string slug;
  std::string detail;
};
/// JobStarted begins a job that moves a keyring's inventory to its primary version, `target`. By a proposal it stands
/// in the settlement and has the proposal's id; after a rotation the appliance begins it by itself.
struct JobStarted {
  enum class Kind : std::uint8_t { kRewrap = 1, kReverse = 2, kEmergency = 3 };
  std::string id;
  crypto::KeyringId keyring{};
  Kind kind = Kind::kRewrap;
  std::uint32_t target = 0;
  bool retry = false;  // what was quarantined before is tried again
};
/// JobSwitched is a change of a job's state: by somebody, or by what came of it.
struct JobSwitched {
  enum class To : std::uint8_t {
    kPaused = 1,
    kRunning = 2,
    kCancelled = 3,
    kComplete = 4,
    kCompleteWithQuarantine = 5,
    kFailed = 6,
  };
  std::string id;
  To to = To::kPaused;
  std::string by;      // empty when nobody did
  std::string reason;  // of a failure, or why it was cancelled
  std::uint64_t done = 0;
  std::uint64_t quarantined = 0;
};
/// CensusAcknowledged: a service says that nothing which it keeps itself is wrapped under `version` or an older one.
struct CensusAcknowledged {
  crypto::KeyringId keyring{};
  std::uint32_t version = 0;
  std::string service;
  std::uint64_t count = 0;  // how many it has rewrapped
};
/// EmergencyClosed: from here on what the compromised version has wrapped cannot be rewrapped any more.
struct EmergencyClosed {
  crypto::KeyringId keyring{};
  std::uint32_t version = 0;
  std::string by;
  std::string report;  // JSON
};
/// VersionAttested: somebody says that a new version is backed up or replicated, as its keyring's policy asks. What it
/// activates stands right behind it.
struct VersionAttested {
  crypto::KeyringId keyring{};
  std::uint32_t version = 0;
  std::string by;
  std::string statement;
};
/// TokenEnrolled stands in the settlement of `token.enrol`: KEKs may be in this token from here on, or it may stand in
/// for the one that its group is named by.
struct TokenEnrolled {
  std::string token;  // serial number
  std::string label;
  std::string model;
  std::string manufacturer;
  bool customer = false;  // its owner makes keys in it by herself: they are offered for adoption
  std::string group;      // serial number of the token that it is a member beside; empty for a further token
};
/// EvidenceArchived stands in the settlement of `ledger.archive`: what the evidence log has before `size` is kept
/// elsewhere from here on; its hashes stay.
struct EvidenceArchived {
  std::uint64_t size = 0;  // whole tiles
  crypto::Digest root{};   // of the log then
  std::string where;       // for people
};
/// RosterAdvanced stands in the settlement of `roster.change`: the next roster is the one before it with the proposal's
/// changes, and has this hash. Rosters may be longer than an entry.
struct RosterAdvanced {
  std::uint64_t version = 0;
  crypto::Digest hash{};
};
/// ProposalsClosed stands right behind a rejection and says what else it has closed: what the same requester had open
/// beyond the first sixteen (Q18).
struct ProposalsClosed {
  std::string rejected;             // id of the proposal that was rejected
  std::string by;                   // the custodian
  std::vector<std::string> closed;  // ids, in the order of their filing
};
/// ProposalsForgotten: what is settled, or was to be executed before this time and was not, leaves the state here. The
/// log keeps it.
struct ProposalsForgotten {
  Millis before = 0;
};
using ControlBody =
    std::variant<Genesis, ProposalFiled, VoteCast, ProposalWithdrawn, ProposalConsumed, KeyringCreated,
                 VersionAnnounced, VersionActivated, ExecutionSettled, EpochOpened, CheckpointKeyChanged, RosterChanged,
                 KeyringSwitched, GrantsChanged, VersionMoved, BreakGlassOpened, BreakGlassClosed, BreakGlassReviewed,
                 ClockFrozen, ClockAccepted, CeremonyRecorded, PolicySet, MandateUsed, MandateSettled, JobStarted,
                 JobSwitched, CensusAcknowledged, EmergencyClosed, VersionAttested, TokenEnrolled, EvidenceArchived,
                 RosterAdvanced, ProposalsClosed, ProposalsForgotten>;

struct ControlEntry {
  Millis time = 0;
  ControlBody body;
};

std::string_view ToString(VersionMoved::To to);
std::string_view ToString(JobStarted::Kind kind);
/// ToString names the state that a job comes into.
std::string_view ToString(JobSwitched::To to);

/// KindName is the entry's name in FORMAT.md, for people and JSON.
std::string_view KindName(const ControlBody& body);
Bytes Encode(const ControlEntry& entry);
/// DecodeControl accepts exactly what Encode makes; kIntegrity otherwise.
Result<ControlEntry> DecodeControl(ByteView bytes);

}  // namespace strongroom::ledger
