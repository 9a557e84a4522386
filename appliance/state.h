#pragma once
// The control plane's state: a value that follows from the control log, and from nothing else.

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "appliance/grants.h"
#include "appliance/shared_map.h"
#include "crypto/anchor.h"
#include "crypto/base/clock.h"
#include "crypto/envelope.h"
#include "crypto/proposal_text.h"
#include "crypto/quorum.h"
#include "crypto/roster.h"
#include "ledger/control_entry.h"

namespace strongroom::appliance {

/// VersionState follows NIST SP 800-57 part 1; what each allows is in docs and product terms: active wraps and unwraps,
/// deactivated unwraps only, compromised only lets a DEK be rewrapped to another version, the rest nothing.
enum class VersionState : std::uint8_t {
  kPreActive = 1,
  kActive = 2,
  kDeactivated = 3,
  kArchived = 4,
  kCompromised = 5,
  kPendingDestruction = 6,
  kDestroyed = 7
};
std::string_view ToString(VersionState state);

using crypto::kTokenPrefix;

struct Version {
  std::uint32_t number = 0;
  VersionState state = VersionState::kPreActive;
  crypto::Suite suite = crypto::Suite::kKwp;
  std::string custody;  // "token:<serial>" or "keyring:install"
  crypto::KeyId kek{};
  std::string token;  // serial of the token that holds `kek`
  Millis announced = 0;
  Millis activated = 0;
  Millis deactivated = 0;
  bool compromised = false;  // once so, never again anything that unwraps
  Millis moved = 0;          // when it came into a state behind deactivated
  Millis due = 0;            // pending destruction: when the KEK goes
};

/// KeyringPolicy is the standing mandate of a keyring (`keyring.set-policy`).
struct KeyringPolicy {
  std::uint32_t days = 0;  // 0: none
  Millis until = 0;
  bool enforce = false;  // an overdue rotation stops new wraps
  Millis set = 0;
  bool rewrap = true;             // a rotation is followed by a job
  std::uint32_t expire_days = 0;  // after a version was made; 0: never
  bool attest = false;            // a new version waits for its attestation
  bool operator==(const KeyringPolicy&) const = default;
};

struct Keyring {
  crypto::KeyringId id{};
  std::string name;
  std::string custody;
  Grants grants;
  bool enabled = true;
  KeyringPolicy policy;
  std::uint32_t mandated = 0;  // version that a mandate is making, 0: none
  Millis created = 0;
  Millis last_rotation = 0;  // 0: never rotated
  std::uint32_t primary = 0;
  std::map<std::uint32_t, Version> versions;
  const Version* Find(std::uint32_t number) const {
    const auto at = versions.find(number);
    return at == versions.end() ? nullptr : &at->second;
  }
  const Version* Primary() const { return Find(primary); }
};

/// ProposalFate is what the log says happened to a proposal (outdated: an adoption came before it was executed); the
/// rest (approved, expired, stale) is judged at a time.
enum class ProposalFate : std::uint8_t {
  kPending = 1,
  kWithdrawn = 2,
  kConsumed = 3,
  kExecuted = 4,
  kFailed = 5,
  kOutdated = 6,
  kClosed = 7  // by a rejection of another one of its requester's (Q18)
};

struct Proposal {
  std::string id;
  std::string text;
  crypto::ProposalText parsed;
  std::vector<crypto::Vote> votes;
  ProposalFate fate = ProposalFate::kPending;
  std::string executor;
  std::string outcome;  // slug and detail of a failure
};

/// BreakGlass is one override of one check (G1 to G7).
struct BreakGlass {
  std::string id;  // the proposal's
  std::string check;
  std::string scope;
  bool drill = false;
  std::string requester;
  Millis opened = 0;
  Millis until = 0;
  std::uint64_t most_uses = 0;
  Millis closed = 0;  // 0: open, unless its time has passed
  std::string reason;
  std::string closed_by;
  std::uint64_t uses = 0;  // known when closed
  std::string reviewer;    // empty: a review is owed
  std::string finding;
};

/// JobState: queued is a running job whose turn has not come; only the runner knows.
using JobState = ledger::JobSwitched::To;

/// Job moves what the inventory of a keyring has under other versions to `target`.
struct Job {
  std::string id;
  ledger::JobStarted::Kind kind = ledger::JobStarted::Kind::kRewrap;
  crypto::KeyringId keyring{};
  std::uint32_t target = 0;
  bool retry = false;
  JobState state = JobState::kRunning;
  Millis started = 0;
  Millis switched = 0;  // when it came into its state
  std::string by;
  std::string reason;
  bool Live() const { return state == JobState::kRunning || state == JobState::kPaused; }
};

/// Acknowledgement is a service's last word on what it keeps itself (census).
struct Acknowledgement {
  std::uint32_t version = 0;
  std::uint64_t count = 0;
  Millis time = 0;
};

/// FurtherToken is an enrolled token beside the main one, which needs no enrolment: by its marks it is known again
/// (K9).
struct FurtherToken {
  std::string label;
  std::string model;
  std::string manufacturer;
  bool customer = false;  // its owner makes keys in it by herself
  Millis enrolled = 0;
};

/// Emergency lasts from a version's compromise until somebody closes it: so long what it has wrapped may be rewrapped.
struct Emergency {
  Millis opened = 0;
  Millis closed = 0;  // 0: open
  std::string by;
  std::string report;
};

/// LedgerFacts is what the log says about itself: its epoch, and the keys that sign it.
struct LedgerFacts {
  std::uint64_t epoch = 1;
  std::uint32_t key = 1;          // number of the checkpoint key in force
  std::vector<std::string> keys;  // all of them as verifier keys, oldest first; empty before a rotation
  std::set<Bytes> unused_keys;    // CKA_IDs that an adoption found and no keyring has
  std::uint64_t archived = 0;     // evidence entries before this are kept elsewhere
  std::uint64_t forgotten = 0;    // what is filed names a control log at least so long: none that was forgotten does
  bool operator==(const LedgerFacts&) const = default;
};

/// State is copied on change; its parts are shared and never modified in place.
struct State {
  std::shared_ptr<const crypto::Roster> roster;  // null before first boot
  SharedMap<std::string, std::shared_ptr<const Keyring>> keyrings;
  SharedMap<crypto::KeyringId, std::string> keyring_names;
  SharedMap<std::string, std::shared_ptr<const Proposal>> proposals;

  std::map<std::string, std::shared_ptr<const BreakGlass>, std::less<>> break_glass;
  bool clock_frozen = false;
  LedgerFacts ledger;
  std::map<std::string, std::shared_ptr<const Job>, std::less<>> jobs;
  std::map<std::pair<crypto::KeyringId, std::string>, Acknowledgement> acknowledged;  // keyring and service
  std::map<std::pair<crypto::KeyringId, std::uint32_t>, Emergency> emergencies;       // keyring and version
  std::map<std::string, FurtherToken, std::less<>> tokens;                            // by serial number
  std::map<std::string, crypto::Member, std::less<>> members;                         // by serial number
  std::set<crypto::KeyringId> owed;  // rotated, and no job has begun since

  const Keyring* FindKeyring(std::string_view name) const;
  const Proposal* FindProposal(std::string_view id) const;
  const Keyring* FindKeyring(const crypto::KeyringId& id) const;
  /// LiveJob is the one job of a keyring that has not ended, null when there is none.
  const Job* LiveJob(const crypto::KeyringId& keyring) const;
  bool EmergencyOpen(const crypto::KeyringId& keyring, std::uint32_t version) const;
};

/// Changed names what an entry touched, so that its rows can be written; what is named and not there has left.
struct Changed {
  bool roster = false;
  std::vector<std::string> keyrings;
  std::vector<std::string> proposals;
  bool ledger = false;
  bool clock = false;
  std::vector<std::string> break_glass;
  std::vector<std::string> jobs;
  std::vector<std::pair<crypto::KeyringId, std::string>> acknowledged;
  std::vector<std::pair<crypto::KeyringId, std::uint32_t>> emergencies;
  std::vector<crypto::KeyringId> owed;
  std::vector<std::string> tokens;
  std::vector<std::string> members;
};

/// Apply changes the state by one entry of the log. kIntegrity when the entry does not fit the state: the log is then
/// not this state's.
Result<Changed> Apply(State& state, const ledger::ControlEntry& entry);

}  // namespace strongroom::appliance
