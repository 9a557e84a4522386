#pragma once
// Who asks: a key, not a name. Names can be given to another key; what was begun under one stays with its key.

#include <initializer_list>
#include <string>

#include "appliance/state.h"

namespace strongroom::appliance {

/// Caller is who stands behind a request: the SHA-256 of his certificate's key, and the name that the roster had for it
/// when the request began.
struct Caller {
  std::string name;
  crypto::Digest spki{};
};

/// Roles is a set of roles.
class Roles {
 public:
  constexpr Roles(std::initializer_list<crypto::Role> roles) {
    for (const auto role : roles) bits_ |= 1U << static_cast<unsigned>(role);
  }
  constexpr bool Has(crypto::Role role) const { return (bits_ >> static_cast<unsigned>(role) & 1U) != 0; }

 private:
  unsigned bits_ = 0;
};
inline constexpr Roles kGoverns = {crypto::Role::kOperator, crypto::Role::kCustodian};
inline constexpr Roles kReads = {crypto::Role::kOperator, crypto::Role::kCustodian, crypto::Role::kAuditor};
inline constexpr Roles kServes = {crypto::Role::kService};
inline constexpr Roles kAnybody = {crypto::Role::kOperator, crypto::Role::kCustodian, crypto::Role::kAuditor,
                                   crypto::Role::kMonitor, crypto::Role::kService};

/// JudgeActor decides whether a caller may act now: his key is in the roster in force, under the name that he began
/// with, in one of `roles` (Q17). Asked inside the lock that records what he does. Returns his entry, which lives as
/// long as the state's roster. kForbidden (unknown-principal: not in the roster, or not under this name any more;
/// role-refused), kUnavailable (uninitialised).
Result<const crypto::Principal*> JudgeActor(const State& state, const Caller& caller, Roles roles);

}  // namespace strongroom::appliance
