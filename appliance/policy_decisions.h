#pragma once
// Decisions about rotation policies, without I/O: what a standing mandate allows, and when (F14, Q5).

#include "appliance/decisions.h"

namespace strongroom::appliance {

/// A rotation that is this late is overdue.
inline constexpr Millis kOverdueAfter = kDay;

/// DraftPolicy fills in a proposal of `keyring.set-policy`. A person gives rotate-days (30 to 360 in steps of 30, or
/// none), until (a time; a year from now unless given), enforce (yes, or no unless given), rewrap (no, or yes unless
/// given: whether a job follows a rotation), expire-days (30 to 3650, or none unless given: how long after its
/// making a version is past its time, which is shown and alarmed), attest (yes, or no unless given: a new version waits
/// until its backup or replica is attested).
Result<std::map<std::string, std::string, std::less<>>> DraftPolicy(const State& state, const ProposalRequest& request,
                                                                    const Drawn& drawn);
Result<Effect> EffectOfPolicy(const State& state, const crypto::ProposalText& proposal);

/// PendingOf is the version that waits for its attestation (policy: attest), null when none does. CheckNonePending:
/// kConflict (version-pending).
const Version* PendingOf(const Keyring& keyring);
Result<void> CheckNonePending(const Keyring& keyring);
/// JudgeAttestation returns what an attestation of a version activates: it, and what shares its KEK. kNotFound
/// (keyring-not-found), kConflict (version-state: it waits for none).
Result<std::vector<ledger::ControlBody>> JudgeAttestation(const State& state, std::string_view keyring,
                                                          std::uint64_t version);

/// NextRotation is when the policy asks for the next version; 0 without one. A rotation by votes restarts the clock.
Millis NextRotation(const Keyring& keyring);
/// ExpiryOf is when a version is past its time; 0: never.
Millis ExpiryOf(const Keyring& keyring, const Version& version);
/// IsOverdue: a day late, whoever should have done it.
bool IsOverdue(const Keyring& keyring, Millis now);
/// EffectOfMandate decides whether the keyring's mandate lets it be rotated now, and what that does. kForbidden:
/// no-mandate, mandate-over, mandate-not-due; kConflict: version-state, mandate-pending.
Result<Effect> EffectOfMandate(const State& state, const Keyring& keyring, Millis now);

}  // namespace strongroom::appliance
