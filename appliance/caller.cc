#include "appliance/caller.h"

namespace strongroom::appliance {

Result<const crypto::Principal*> JudgeActor(const State& state, const Caller& caller, Roles roles) {
  if (!state.roster) return Unavailable("the appliance is uninitialised: run the first boot", "uninitialised");
  const auto* principal = state.roster->FindBySpki(caller.spki);
  if (principal == nullptr) return Forbidden("this certificate's key is not in the roster", "unknown-principal");
  if (principal->name != caller.name)
    return Forbidden("this certificate's key is not in the roster under this name any more", "unknown-principal");
  if (!roles.Has(principal->role))
    return Forbidden("role " + std::string(crypto::ToString(principal->role)) + " may not do this", "role-refused");
  return principal;
}

}  // namespace strongroom::appliance
