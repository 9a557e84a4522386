#pragma once
// Shares of the room for proposals: no one person fills it for the others (Q18). Pure; judged from what the log says.

#include <optional>
#include <string>
#include <vector>

#include "appliance/state.h"

namespace strongroom::appliance {

/// So many proposals may be open at once: of everybody together and of one requester. Those of a class that room is
/// kept for (KeepsRoom) do not count among these; of each such class one requester has a few.
inline constexpr std::size_t kMaxOpenProposals = 1000;
inline constexpr std::size_t kMaxOpenOfOne = 100;
inline constexpr std::size_t kMaxUrgentOfOne = 16;
/// So many may one requester file within a day, whatever becomes of them: for each class that room is kept for by
/// itself, and of all others together.
inline constexpr Millis kFilingWindow = kDay;
inline constexpr std::size_t kMaxFilingsOfOne = 500;
inline constexpr std::size_t kMaxUrgentFilingsOfOne = 64;
/// What one requester has open beyond so many goes with a rejection of one of them.
inline constexpr std::size_t kOutlastsRejection = 16;
/// What is settled stays in the state for so long after it was filed, unless there is more than so much of it. For one
/// or two nobody writes an entry.
inline constexpr Millis kRemembered = 31 * kDay;
inline constexpr std::size_t kMostRemembered = 4096;
inline constexpr std::size_t kForgetAtOnce = 64;

/// KeepsRoom: roster, emergency and recovery. Nobody else's proposals keep one of these from being filed, and no
/// rejection of another one closes it.
bool KeepsRoom(std::string_view policy_class);

/// Moment is when something is judged. What accepts a clock is judged by the host's.
struct Moment {
  Millis ledger = 0;
  Millis host = 0;
};

/// CheckShares decides whether somebody may file one more proposal of a class. Fails with kOverloaded:
/// requester-over-share (too many open), too-many-filings (within a day), too-many-proposals (everybody's).
Result<void> CheckShares(const State& state, std::string_view requester, std::string_view policy_class,
                         const Moment& now);

/// ExcessOf names what a rejection of `rejected` by a custodian closes beside it, in the order of filing: of what the
/// same requester has open, beyond the sixteen filed first, each that she could reject and has not approved. Never what
/// KeepsRoom. Nothing while an open change of the roster would remove her. The rejection is in the state already.
std::vector<std::string> ExcessOf(const State& state, const Proposal& rejected, std::string_view custodian, Millis now);

/// Forgettable names what leaves the state by an entry proposals-forgotten: what is settled, or was pending, and was to
/// be executed before that time. Not what is being executed, nor what is pending and accepts a clock: an accepted clock
/// settles that. Nor what is still asked for: executed changes of the roster, which a token that was away has to see,
/// and break-glass whose review is owed.
std::vector<std::string> Forgettable(const State& state, Millis before);
/// ForgetBefore is the time for such an entry now; nullopt when there is too little to be worth one.
std::optional<Millis> ForgetBefore(const State& state, Millis now);

}  // namespace strongroom::appliance
