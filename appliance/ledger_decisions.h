#pragma once
// Decisions about the ledger itself, without I/O: adopting a database after a restore, and following keys (L8, L10).

#include "appliance/decisions.h"

namespace strongroom::appliance {

/// DraftAdoption fills in a proposal of `ledger.adopt`: both heads, what the token remembers instead, what is lost
/// between them, and each key that the token has and the database does not. kConflict (not-rolled-back) when the
/// database extends what the token has signed, (foreign-instance) when the token is another instance's,
/// (roster-not-enforced) when it obeys another roster than the database has.
Result<std::map<std::string, std::string, std::less<>>> DraftAdoption(const State& state,
                                                                      const ProposalRequest& request,
                                                                      const Drawn& drawn);
/// DraftKeyRotation fills in a proposal of `ledger.rotate-key`. The parameter `overlap-days` may be given.
Result<std::map<std::string, std::string, std::less<>>> DraftKeyRotation(const State& state,
                                                                         const ProposalRequest& request,
                                                                         const Drawn& drawn);

/// EffectOfAdoption and EffectOfKeyRotation are what such a proposal does (decisions.h, EffectOf).
Result<Effect> EffectOfAdoption(const State& state, const crypto::ProposalText& proposal);
Result<Effect> EffectOfKeyRotation(const State& state, const crypto::ProposalText& proposal);

/// DraftClock fills in a proposal of `clock.accept`: what the host's clock says, and the ledger's time. kConflict
/// (clock-not-frozen) unless it is, or the token has seen a later time.
Result<std::map<std::string, std::string, std::less<>>> DraftClock(const State& state, const ProposalRequest& request,
                                                                   const Drawn& drawn);
Result<Effect> EffectOfClock(const State& state, const crypto::ProposalText& proposal);

/// KeysToAdopt names the keys of a token that the state does not know, as the parameters `keys-1`, `keys-2` ... of an
/// adoption: `<CKA_ID>:<suite>:<keyring>/<version>` for what becomes a version again, `<CKA_ID>:<suite>:unused` for
/// what does not. kConflict (token-inventory) when one of them is not as it should be.
Result<std::map<std::string, std::string, std::less<>>> KeysToAdopt(const State& state, const std::string& token,
                                                                    const std::vector<hsm::KeyRecord>& records);

/// DraftArchive: parameters `before` (a time: evidence from before it goes) and `where` (where it is kept, for people).
/// The governance shell has found what that amounts to. kConflict (nothing-to-archive).
Result<std::map<std::string, std::string, std::less<>>> DraftArchive(const ProposalRequest& request,
                                                                     const Drawn& drawn);
Result<Effect> EffectOfArchive(const State& state, const crypto::ProposalText& proposal);
/// ArchiveOf is what a proposal of `ledger.archive` names; kInvalid for any other.
Result<ledger::EvidenceArchived> ArchiveOf(const crypto::ProposalText& proposal);

/// WrappedByInstall names the keyrings that the install keyring wraps for: its rotation moves them all.
std::vector<std::string> WrappedByInstall(const State& state);

}  // namespace strongroom::appliance
