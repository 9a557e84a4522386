#pragma once
// Further tokens of a dev appliance: each on SoftHSM, in a folder of its own, with a strongroom-tokend of its own.

#include <string>

#include "provisioning/cli_session.h"
#include "provisioning/dev_layout.h"

namespace strongroom::provisioning {

/// StartFurtherTokens starts the strongroom-tokend of each further token unless it runs; StopFurtherTokens ends them.
Result<void> StartFurtherTokens(DevAppliance& dev);
void StopFurtherTokens(const DevAppliance& dev);

/// DevToken makes a further token, unless it is there, connects it, and prints its serial number: `token.enrol` is then
/// for people to propose. The appliance is restarted when its configuration has changed.
int DevToken(const CliSession& session, const std::string& directory, const std::string& name);

}  // namespace strongroom::provisioning
