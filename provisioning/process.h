#pragma once
#include <string>
#include <vector>

#include "crypto/base/result.h"

namespace strongroom::provisioning {

struct ProcessOutcome {
  int status = -1;  // exit status, or 128 + signal
  std::string out;
  std::string err;
};

/// RunProcess runs a program found on PATH, feeds it `input`, and collects what it prints (at most 64 MiB). No shell is
/// involved. Fails with kIo only when it cannot be started.
Result<ProcessOutcome> RunProcess(const std::vector<std::string>& arguments, const std::string& input = {});

/// StartDaemon starts a program that outlives the caller, in a session of its own, its output appended to `log`;
/// its process id is in `pid_file` before the program begins, and when this returns the program has begun (or could not
/// be executed: it ends at once with status 127).
Result<void> StartDaemon(const std::vector<std::string>& arguments, const std::string& log,
                         const std::string& pid_file);

/// SshSign makes an armored SSHSIG with stock `ssh-keygen -Y sign` (a key file, or a public key whose private half an
/// agent holds). Fails with kIo and ssh-keygen's own last line.
Result<std::string> SshSign(const std::string& key_file, const std::string& name_space, const std::string& message);

}  // namespace strongroom::provisioning
