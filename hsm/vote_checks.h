#pragma once
// What every implementation of KeyOps asks of votes before it does what they are presented for: the operation allows
// this call, and names the version that may be made or is there. The table is crypto/custody/operation.h.

#include <vector>

#include "hsm/key_ops.h"

namespace strongroom::hsm {

/// CheckMayGenerate and CheckMayChange tell whether a proposal's votes may be presented for a call of the host at all:
/// kForbidden (grant-mismatch).
Result<void> CheckMayGenerate(const crypto::ProposalText& proposal);
Result<void> CheckMayChange(const crypto::ProposalText& proposal);

/// HighestVersion is the highest version of a keyring that a token has a KEK of, by its CKA_ID; 0 for none.
std::uint32_t HighestVersion(const crypto::KeyringId& keyring, const std::vector<KeyRecord>& records);

/// CheckVersionToMake judges the KEK that votes name against what the token has. A creation makes version 1 of a
/// keyring whose id and name the token does not know; a rotation, planned or in an emergency, the version after the
/// highest that is there; a move one above all that are there and above its `from-version`, in another token than the
/// one that the keyring leaves. A rotation skips numbers only when its text says above which version (parameter
/// `above`), for those between are gone or lie elsewhere. kForbidden (grant-mismatch), kConflict (key-exists),
/// kNotFound (key-missing: the keyring is not in this token).
Result<void> CheckVersionToMake(const crypto::ProposalText& proposal, const KeySpec& spec,
                                const std::vector<KeyRecord>& records);
/// CheckMandateVersion: without votes there is exactly the version after the highest that is there, of its suite.
/// Fails as CheckVersionToMake.
Result<void> CheckMandateVersion(const KeySpec& spec, const std::vector<KeyRecord>& records);

/// CheckChangeNamesKeyring: an approved change of the record that is about a keyring's KEKs must name the keyring that
/// they belong to. One that is given up, returned to or adopted is there, and one that is adopted is as K1 and K2 want
/// it; a rotation policy is for a keyring that is in the token; and a keyring leaves a token that it is in.
Result<void> CheckChangeNamesKeyring(const crypto::ProposalText& proposal, const std::vector<KeyRecord>& records);

}  // namespace strongroom::hsm
