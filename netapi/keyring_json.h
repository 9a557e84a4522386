#pragma once
// A keyring as JSON, in full: what operators see, less the live counts. Exports and their verifier use it too.

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

#include "appliance/state.h"

namespace strongroom::netapi {

/// TimeOrNull renders a moment, null for one that has not come.
boost::json::value TimeOrNull(Millis time);

/// KeyringObject renders everything about a keyring that follows from the control log.
boost::json::object KeyringObject(const appliance::Keyring& keyring);

}  // namespace strongroom::netapi
