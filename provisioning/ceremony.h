#pragma once
// `ceremony run`: walks people through a script and keeps what happened.

#include <string>
#include <vector>

#include "provisioning/cli_session.h"

namespace strongroom::provisioning {

struct CeremonyOptions {
  std::string script;                     // file
  std::vector<std::string> set;           // NAME=VALUE
  std::vector<std::string> participants;  // LABEL=PRINCIPAL[,SSH-KEY-FILE]; without a key she votes from elsewhere
  std::string out = ".";                  // folder for the transcript
  bool dry_run = false;                   // say what would be done; only looks
  unsigned wait_seconds = 3600;           // how long a vote from elsewhere is waited for
};

/// RunCeremony does a script's steps in order, each recorded with its time and who took part, and stops at the first
/// that fails. What is not given is asked for on standard input, and so is every confirmation. The transcript is
/// written as Markdown and as JSON into `out`, and both into the ledger with the script. Exit status 1 when it stopped.
int RunCeremony(const CliSession& session, const CeremonyOptions& options);

}  // namespace strongroom::provisioning
