#pragma once
// Decisions about moving an inventory from version to version, without I/O: jobs, reverse, census (F16, F18, F19).

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "appliance/decisions.h"

namespace strongroom::appliance {

/// DraftRewrap fills in a proposal of one of
///   rewrap.start    quarantined (keep unless given, or retry)
///   rewrap.reverse  version (the one that was primary before, unless given)
/// kNotFound (keyring-not-found, version-not-found), kConflict (job-running; version-state: not to this version;
/// no-own-kek: the keyring's versions follow install's), kInvalid.
Result<std::map<std::string, std::string, std::less<>>> DraftRewrap(const State& state, const ProposalRequest& request);
/// EffectOfRewrap: the job's id is the proposal's. A reverse makes the older version primary, and of every keyring that
/// shares the KEK the version that goes with it.
Result<Effect> EffectOfRewrap(const State& state, const crypto::ProposalText& proposal);

/// CheckNoJob: a keyring is not rotated while what it is made of is still being moved. kConflict (job-running).
Result<void> CheckNoJob(const State& state, const Keyring& keyring);
/// CheckPace: at most one rotation in `pace`, creation not counted. kConflict (rotated-recently).
Result<void> CheckPace(const Keyring& keyring, Millis now, Millis pace);

/// OwedJob tells which kind of job a keyring's last rotation asks for and none has begun yet.
std::optional<ledger::JobStarted::Kind> OwedJob(const State& state, const Keyring& keyring);
/// MayRewrapFrom tells whether a job may move what a version has wrapped: a compromised one's while its emergency is
/// open.
bool MayRewrapFrom(const State& state, const Keyring& keyring, const Version& version);
/// JudgeSwitch decides whether a person may switch a job so. kNotFound (job-not-found), kConflict (job-state).
Result<const Job*> JudgeSwitch(const State& state, std::string_view id, JobState to);

/// UseFacts is what the census of one version goes by, beside the state.
struct UseFacts {
  std::uint64_t records = 0;  // of the inventory, of all keyrings that share the KEK
  Millis last_use = 0;        // of the version by its keyrings; 0: never
};
/// AwaitedServices names those who were granted the keyring, or one that shares the version's KEK, and have not
/// acknowledged that they keep nothing under it.
struct Awaited {
  std::string service;
  std::string keyring;
  auto operator<=>(const Awaited&) const = default;
  std::string Text() const { return service + " for " + keyring; }
};
std::vector<Awaited> AwaitedServices(const State& state, const Keyring& keyring, const Version& version);
/// CheckAwaited: everybody has acknowledged, or is named in `waive`. kConflict (census-awaited).
Result<void> CheckAwaited(const State& state, const Keyring& keyring, const Version& version,
                          const std::set<std::string, std::less<>>& waive);
/// CheckCensus decides whether a version is out of use, so that it may be archived or destroyed (F18): nothing in the
/// inventory, every service has acknowledged or is named in `waive`, and not used for `quiet_hours`. kConflict
/// (census-inventory, census-awaited, census-quiet).
Result<void> CheckCensus(const State& state, const Keyring& keyring, const Version& version, const UseFacts& facts,
                         const std::set<std::string, std::less<>>& waive, std::uint64_t quiet_hours, Millis now);
inline constexpr std::uint64_t kDefaultQuietHours = 24;
/// CensusTerms reads the parameters `waive` (names, or none) and `quiet-hours` (0 to 8760) of an archive or a
/// destruction.
struct CensusTerms {
  std::set<std::string, std::less<>> waive;
  std::uint64_t quiet_hours = kDefaultQuietHours;
};
Result<CensusTerms> CensusTermsOf(const std::map<std::string, std::string, std::less<>>& params);

/// JudgeAcknowledgement: a service that is granted the keyring speaks for itself (kNotFound otherwise, N5); of a
/// version that there is, before the primary. kConflict (version-state).
Result<const Keyring*> JudgeAcknowledgement(const State& state, std::string_view service, std::string_view keyring,
                                            std::uint64_t version);
/// JudgeEmergencyClose: closing is as final as a destruction for whoever still keeps something, so one person may do it
/// only when nobody does. kConflict (no-emergency) when none is open for this version, (job-running) while a job moves
/// something of a keyring that its KEK is for, (census-awaited) while a service has not acknowledged.
Result<const Keyring*> JudgeEmergencyClose(const State& state, std::string_view keyring, std::uint64_t version);

}  // namespace strongroom::appliance
