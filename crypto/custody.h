#pragma once
// What a token remembers of custody: the roster it obeys and the proposals that are spent (Q5, Q9). Pure.

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "crypto/anchor.h"
#include "crypto/custody/course.h"
#include "crypto/custody/room.h"
#include "crypto/quorum.h"

namespace strongroom::crypto {

/// SpendProposal judges whether a token may carry out what a grant was given for, and returns the record in which the
/// proposal is spent and the clock has moved on; write it before anything is done. Nothing is spent when it fails:
/// kForbidden (roster-not-enforced: the record obeys another one), kConflict (already-executed; stale: another epoch, a
/// former format, asked for before a clock was accepted, or a control size that nobody has signed), kUnavailable
/// (clock-back), kOverloaded (record-full), kExpired (proposal-expired).
/// `clock.accept`, and an adoption that names a clock, pass one that went back, when it is the one that the votes name;
/// from then on that clock counts, and all that was asked for before is void. An adoption is judged by the roster of
/// its grant, which the caller has compared or brought a chain for.
Result<LedgerRecord> SpendProposal(const LedgerRecord& record, const ExecutionGrant& grant, const CustodyTime& time,
                                   const RecordRoom& room);

/// MayComeLate tells whether a proposal whose time for execution has passed is carried out all the same: a further
/// token, which signs no logs, follows the `roster.change` of its own roster's quorum when it is reached again, within
/// 90 days.
bool MayComeLate(const LedgerRecord& record, const ProposalText& proposal, const CustodyTime& time);

/// IsSpent tells whether the record remembers that a proposal was carried out.
bool IsSpent(const LedgerRecord& record, std::string_view text);
/// AcceptedClock is the time that a proposal of `clock.accept` names, its parameter `clock`; kInvalid when it has none.
Result<Millis> AcceptedClock(const ProposalText& proposal);

/// The waiting period of a destruction (Q11).
inline constexpr std::uint64_t kMinWaitingDays = 7;
inline constexpr std::uint64_t kMaxWaitingDays = 365;
inline constexpr std::uint64_t kDefaultWaitingDays = 30;
/// Destruction is what a proposal of `version.destroy` says, by its parameters `keyring-id`, `version` and
/// `waiting-days`.
struct Destruction {
  KeyId key{};
  std::uint64_t days = 0;
};
Result<Destruction> DestructionOf(const ProposalText& proposal);
/// PendingRecord is the record after an approved `version.destroy`: the KEK may go when so many days were watched by a
/// living host; given up again, it waits for the later of both. kOverloaded (record-full); kConflict
/// (destruction-under-way).
Result<LedgerRecord> PendingRecord(const LedgerRecord& record, const ProposalText& proposal, const CustodyTime& time,
                                   const RecordRoom& room);
/// JudgeDestruction tells whether a KEK may go now, by watched time alone: no clock, step, reboot or replaced host
/// brings it nearer. One that is going already only has to be finished. kForbidden: destruction-not-pending,
/// destruction-not-due.
Result<void> JudgeDestruction(const LedgerRecord& record, const KeyId& key, const CustodyTime& time);
/// GoingRecord is the record that is written before a KEK is destroyed; fails as JudgeDestruction does.
Result<LedgerRecord> GoingRecord(const LedgerRecord& record, const KeyId& key, const CustodyTime& time);
/// WithoutPending is the record after a KEK is gone. CancelledRecord is the one after its destruction was cancelled:
/// kConflict (destruction-under-way) when it has begun. kForbidden (destruction-not-pending) for both.
Result<LedgerRecord> WithoutPending(const LedgerRecord& record, const KeyId& key);
Result<LedgerRecord> CancelledRecord(const LedgerRecord& record, const KeyId& key);
/// IsPending tells whether a KEK is given up: it wraps nothing any more.
bool IsPending(const LedgerRecord& record, const KeyId& key);

/// The bounds of a rotation policy (F14).
inline constexpr std::uint64_t kMinRotateDays = 30;
inline constexpr std::uint64_t kMaxRotateDays = 360;
inline constexpr std::uint64_t kRotateStep = 30;
inline constexpr std::uint64_t kMaxMandateDays = 1830;
/// RotationPolicy is what a proposal of `keyring.set-policy` says, by its parameters `keyring-id`, `suite`,
/// `rotate-days` (30 to 360 in steps of 30, or none), `until` (a time at most 1830 days after the text was made) and
/// `enforce` (yes: an overdue rotation stops new wraps).
struct RotationPolicy {
  KeyringId keyring{};
  Suite suite = Suite::kKwp;
  std::uint64_t days = 0;  // 0: none
  Millis until = 0;
  bool enforce = false;
};
Result<RotationPolicy> RotationPolicyOf(const ProposalText& proposal);
/// MandateRecord is the record after an approved `keyring.set-policy`: its mandate, in the place of the keyring's
/// former one; the first interval begins now. kOverloaded (record-full).
Result<LedgerRecord> MandateRecord(const LedgerRecord& record, const ProposalText& proposal, const CustodyTime& time,
                                   const RecordRoom& room);
/// StandingGrant is the capability to do what votes have allowed before: to make the next KEK by a mandate, to destroy
/// one that was given up. Nothing but the two functions below makes one, from a token's record; it is consumed by
/// value. Whoever writes the record judges again.
class StandingGrant {
 public:
  const KeyId& key() const { return key_; }
  bool destroys() const { return destroys_; }
  StandingGrant(StandingGrant&&) = default;
  StandingGrant& operator=(StandingGrant&&) = default;
  StandingGrant(const StandingGrant&) = delete;
  StandingGrant& operator=(const StandingGrant&) = delete;

 private:
  friend Result<StandingGrant> GrantByMandate(const LedgerRecord&, std::string_view, const KeyId&, Suite,
                                              const CustodyTime&);
  friend Result<StandingGrant> GrantDestruction(const LedgerRecord&, const KeyId&, const CustodyTime&);
  StandingGrant(const KeyId& key, bool destroys) : key_(key), destroys_(destroys) {}
  KeyId key_{};
  bool destroys_ = false;
};
/// GrantByMandate and GrantDestruction fail as UseMandate and JudgeDestruction do.
Result<StandingGrant> GrantByMandate(const LedgerRecord& record, std::string_view keyring, const KeyId& key,
                                     Suite suite, const CustodyTime& time);
Result<StandingGrant> GrantDestruction(const LedgerRecord& record, const KeyId& key, const CustodyTime& time);

/// UseMandate is the record after a version was made by a keyring's mandate, written before it is made. kForbidden:
/// no-mandate, mandate-over, mandate-not-due (by the wall clock, and not before half the interval was watched);
/// kUnavailable: clock-back, clock-stepped.
Result<LedgerRecord> UseMandate(const LedgerRecord& record, std::string_view keyring, const KeyId& key, Suite suite,
                                const CustodyTime& time);
/// AfterRotation restarts the interval of a keyring that was rotated by votes.
LedgerRecord AfterRotation(LedgerRecord record, const KeyId& key, const CustodyTime& time);

/// The bounds of how long a former token opens DEKs for the one that a keyring moves to.
inline constexpr std::uint64_t kMaxReleaseDays = 365;
inline constexpr std::uint64_t kDefaultReleaseDays = 90;
/// ReleaseRecord is a former token's record after an approved `rekey.start`, by its parameters `keyring-id`, `custody`
/// (the token that it moves to) and `release-days`. kOverloaded (record-full).
Result<LedgerRecord> ReleaseRecord(const LedgerRecord& record, const ProposalText& proposal, const CustodyTime& time,
                                   const RecordRoom& room);
/// JudgeRelease tells whether a DEK under `key` may be opened now for another token: until the release's date by the
/// later clock, and no longer than its days were watched. kForbidden (not-released).
Result<void> JudgeRelease(const LedgerRecord& record, const KeyId& key, std::string_view to, const CustodyTime& time);

/// PossessionText is what a new custodian signs (namespace roster@strongroom) to show that the key is hers.
std::string PossessionText(const InstanceId& instance, std::string_view principal, std::string_view ssh_key);

/// RosterAfter applies a proposal of `roster.change` to a roster and returns the next one. Its parameters:
///   remove-<name>: yes
///   add-<name>: <role> <SPKI hash, 64 hex>[ <key type> <key base64>]    may follow a remove of the same name
///   proof-<name>: <base64 of the SSHSIG over PossessionText>            for each custodian who is added
///   policy-<class>: <votes>
///   organisation-<keyring>: <class>=<votes>,... <custodian>,... | none    its own custodians, or none again
///   group-<name>: <custodian>,... | none
///   require-<class>: <group>,... | none
///   new-roster: <version> <hash of the result>                          filled in by the appliance
///   token, further-tokens                                               filled in by the appliance: who is to obey it
/// kInvalid for a change that is none or leads to no valid roster, kForbidden (as VerifySshSignature) for a proof.
Result<Roster> RosterAfter(const Roster& roster, const ProposalText& proposal);

/// RosterRecord returns the record that obeys the roster after an approved `roster.change`.
Result<LedgerRecord> RosterRecord(const LedgerRecord& record, const ExecutionGrant& grant);

/// ChangedRecord returns the record after the proposal of a grant, which `spent` already remembers: for every operation
/// that changes nothing in a token but its record. kInvalid for the others.
Result<LedgerRecord> ChangedRecord(const LedgerRecord& spent, const ExecutionGrant& grant, const CustodyTime& time,
                                   const RecordRoom& room);

}  // namespace strongroom::crypto
