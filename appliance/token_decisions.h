#pragma once
// Decisions about several tokens: which are enrolled, which keyring moves to which, which keys of a customer's own
// making become versions. Pure.

#include "appliance/decisions.h"
#include "appliance/proposal_params.h"

namespace strongroom::appliance {

/// FurtherTokens lists the enrolled tokens that follow a roster or a clock, as a proposal's parameter `further-tokens`
/// names them; empty when there are none.
std::string FurtherTokens(const State& state);
/// CheckFollowers fails with kConflict (stale) when a proposal names others than are enrolled by now.
Result<void> CheckFollowers(const State& state, const crypto::ProposalText& proposal);

/// CheckCustody decides whether KEKs may be asked for in a token ("token:<serial>"): the main one, `drawn.token`, or an
/// enrolled one that can be reached. kInvalid for a text that is none; kConflict (token-not-enrolled); kUnavailable
/// (token-not-connected).
Result<void> CheckCustody(const State& state, std::string_view custody, const Drawn& drawn);

/// CheckKnownToken: a version's KEK is in the main token or in an enrolled one; kConflict (stale).
Result<void> CheckKnownToken(const State& state, std::string_view custody);

/// SameMarks tells whether a token has the marks that it was enrolled with.
bool SameMarks(const FurtherToken& token, const hsm::TokenIdentity& identity);
/// NameOf is the serial number that KEKs and proposals name a token by: its group's, if it is an enrolled member.
std::string NameOf(const State& state, const hsm::TokenIdentity& identity);
/// SameToken tells whether what is seen in a slot is the token that a serial number names: that one, or an enrolled
/// member of its group with all its marks (K9).
bool SameToken(const State& state, const std::string& serial, const hsm::TokenIdentity& identity);

/// Foreseen are the keys that a token has and the log does not know: on a customer's token they are offered.
std::vector<hsm::KeyRecord> Foreseen(const State& state, const std::string& token,
                                     const std::vector<hsm::KeyRecord>& records);

/// Parameters that people give. `token.enrol`: token (the serial number of a connected one), owner (appliance, or
/// customer: its owner makes keys in it by herself), or for another member of a high-availability group: token,
/// member-of, label, model, manufacturer. `rekey.start`: to (token:<serial>), suite, release-days (1 to 365, default
/// 90: for so long the former token opens DEKs for the new one). `version.adopt`: none: it is the keyring's next
/// version, whose key lies in a further token already: its owner has made it, or an execution that a restore forgot.
Result<Params> DraftEnrolment(const State& state, const ProposalRequest& request, const Drawn& drawn);
Result<Params> DraftRekey(const State& state, const ProposalRequest& request, const Drawn& drawn);
Result<Params> DraftKeyAdoption(const State& state, const ProposalRequest& request, const Drawn& drawn);
Result<Effect> EffectOfEnrolment(const State& state, const crypto::ProposalText& p);
Result<Effect> EffectOfRekey(const State& state, const crypto::ProposalText& p);
Result<Effect> EffectOfKeyAdoption(const State& state, const crypto::ProposalText& p);

}  // namespace strongroom::appliance
