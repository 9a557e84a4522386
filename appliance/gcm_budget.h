#pragma once
// How much one GCM key may encrypt (K4; NIST SP 800-38D, 8.3: 2^32 with random nonces, half of it here).

#include <cstdint>
#include <string>

#include "appliance/state.h"
#include "crypto/base/result.h"
#include "ledger/ledger.h"

namespace strongroom::appliance {

/// At so many encryptions a rotation is due.
inline constexpr std::uint64_t kGcmWarn = std::uint64_t{1} << 30;
/// At so many the version does no more: 2^31, less what may be under way.
inline constexpr std::uint64_t kGcmRefuse = (std::uint64_t{1} << 31) - 65536;

/// GcmEncryptions is how many the KEK of a gcm version has made, by the ledger's durable count: wraps, data keys and
/// rewraps to it. It never tells less than was acknowledged. kIo, kIntegrity as the ledger says.
Result<std::uint64_t> GcmEncryptions(const ledger::Ledger& ledger, const Version& version);

/// CountsForGcm: a gcm version with a KEK of its own. One that goes with install's is counted, and rotated, there.
bool CountsForGcm(const Version& version);

/// CheckGcmBudget: a gcm version, with `more` encryptions on top of what its KEK has done, stays under `refuse`; others
/// always do. kConflict (gcm-exhausted).
Result<void> CheckGcmBudget(const ledger::Ledger& ledger, const Version& version, std::uint64_t more,
                            std::uint64_t refuse = kGcmRefuse);

/// GcmBudgetFault tells a person which keyrings' primary versions with KEKs of their own are at `warn` or beyond, or
/// that it cannot be told; empty when none is. It waits for nobody.
std::string GcmBudgetFault(const State& state, const ledger::Ledger& ledger, std::uint64_t warn = kGcmWarn);

}  // namespace strongroom::appliance
