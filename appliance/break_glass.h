#pragma once
// Break-glass (G1 to G7): a quorum's override of one check, for one scope, for a while. Decisions, without I/O; the
// counting of uses is overrides.h.

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "appliance/decisions.h"

namespace strongroom::appliance {

/// The only checks that can be overridden (G1). A scope is what stands in front of the colon here and a name: the
/// token's serial, the keyring's name, or `ceremonies` alone.
struct Overridable {
  std::string_view check;
  std::string_view scope;
};
inline constexpr std::array<Overridable, 3> kOverridable = {
    {{"provider-health", "token"}, {"rotation-overdue", "keyring"}, {"witness", "ceremonies"}}};

/// The cap (G3): no proposal may ask for more, and nothing extends one.
inline constexpr std::uint64_t kMaxBreakGlassMinutes = 240;
inline constexpr std::uint64_t kMaxBreakGlassUses = 1'000'000;

/// DraftBreakGlass fills in a proposal of `break-glass.open`. Parameters that a person gives: check, scope, minutes
/// (60 unless given), uses (10000 unless given), drill (yes or no; a drill overrides nothing). kInvalid
/// (not-overridable), kConflict (nothing-to-override: the check passes; break-glass-open; review-owed).
Result<std::map<std::string, std::string, std::less<>>> DraftBreakGlass(const State& state,
                                                                        const ProposalRequest& request,
                                                                        const Drawn& drawn);
Result<Effect> EffectOfBreakGlass(const State& state, const crypto::ProposalText& proposal);

/// IsOpen judges at each use (G4): not closed, its time not over, fewer uses than its cap.
bool IsOpen(const BreakGlass& opened, std::uint64_t uses, Millis now);
/// Covering finds the open override of a check for a scope, nullptr when there is none. A drill covers nothing.
const BreakGlass* Covering(const State& state, std::string_view check, std::string_view scope, Millis now);
/// StateOf names it for people: open, closed, reviewed.
std::string_view StateOf(const BreakGlass& opened, Millis now);
/// Outlived says why one that nobody has closed is over, empty when it is not: expired, used-up.
std::string Outlived(const BreakGlass& opened, std::uint64_t uses, Millis now);

/// ReviewText is what a reviewer signs, followed by "verdict: reviewed\n", in the namespace of votes.
std::string ReviewText(const crypto::InstanceId& instance, const BreakGlass& closed, std::string_view finding);
/// MayReview is JudgeReview without text and signature.
Result<void> MayReview(const State& state, std::string_view id, std::string_view reviewer);
/// JudgeReview: a custodian who neither asked for it nor opened it, once it is closed, once (G5, G7). kForbidden
/// (not-a-custodian, own-review, or as VerifySshSignature), kConflict (still-open, reviewed-already), kNotFound,
/// kInvalid.
Result<void> JudgeReview(const State& state, std::string_view id, std::string_view reviewer, std::string_view finding,
                         std::string_view signature);

}  // namespace strongroom::appliance
