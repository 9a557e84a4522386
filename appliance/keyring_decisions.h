#pragma once
// Decisions about keyrings and their versions after they are made, without I/O: enabling, grants, archive, destruction,
// emergency rotation.

#include "appliance/decisions.h"

namespace strongroom::appliance {

/// NamedKeyring and NumberedVersion look up what must be there. kNotFound (keyring-not-found, version-not-found).
Result<const Keyring*> NamedKeyring(const State& state, std::string_view name);
Result<const Version*> NumberedVersion(const Keyring& keyring, std::uint64_t number);

/// DraftKeyringChange fills in a proposal of one of
///   keyring.enable
///   grant.change              grants
///   version.archive           version, waive (services that need not acknowledge; none unless given), quiet-hours (24
///                             unless given)
///   version.restore           version
///   version.destroy           version, waiting-days (7 to 365, 30 unless given), waive, quiet-hours
///   keyring.emergency-rotate  suite
/// kNotFound (keyring-not-found, version-not-found), kConflict (version-state: not from this state; keyring-enabled;
/// no-own-kek), kInvalid.
Result<std::map<std::string, std::string, std::less<>>> DraftKeyringChange(const State& state,
                                                                           const ProposalRequest& request);
Result<Effect> EffectOfKeyringChange(const State& state, const crypto::ProposalText& proposal);

/// JudgeDisable: a keyring that is enabled may be disabled by any operator or custodian at once (Q8).
Result<const Keyring*> JudgeDisable(const State& state, std::string_view keyring);
/// SharersOf names the versions of other keyrings that a version's KEK wraps for, "<keyring>/<version>".
std::vector<std::pair<const Keyring*, const Version*>> SharersOf(const State& state, const Keyring& keyring,
                                                                 const Version& version);
/// MovesOf is the entries that move a version and all that share its KEK.
std::vector<ledger::ControlBody> MovesOf(const State& state, const Keyring& keyring, const Version& version,
                                         ledger::VersionMoved::To to, std::uint32_t days, const std::string& by);

/// PendingKek is a version whose KEK waits for its end.
struct PendingKek {
  const Keyring* keyring = nullptr;
  const Version* version = nullptr;
};
/// DueDestructions lists the KEKs whose waiting period is over at `now`, each once.
std::vector<PendingKek> DueDestructions(const State& state, Millis now);
/// JudgeCancel: one operator or custodian may take a destruction back until it has happened.
Result<PendingKek> JudgeCancel(const State& state, std::string_view keyring, std::uint64_t version);

}  // namespace strongroom::appliance
