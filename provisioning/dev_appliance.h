#pragma once
// `strongroom dev`: a complete local appliance on SoftHSM in one directory.

#include <string>

#include "provisioning/cli_session.h"

namespace strongroom::provisioning {

/// DevUp makes what is missing in `directory` and starts what does not run; calling it again changes nothing. Port 0
/// picks a free one, kept for later runs. A blank one stops before its first boot, which is left to a ceremony, and
/// gets no keyrings.
int DevUp(const CliSession& session, const std::string& directory, unsigned short port, unsigned token_hosts,
          bool blank);
int DevDown(const CliSession& session, const std::string& directory);
/// DevEnv prints `export STRONGROOM_...` lines for a principal.
/// DevIssue makes clients/NAME.pem and .key, unless they are there; a roster.change makes a principal of it.
int DevIssue(const CliSession& session, const std::string& directory, const std::string& name);
int DevEnv(const CliSession& session, const std::string& directory, const std::string& principal);

}  // namespace strongroom::provisioning
