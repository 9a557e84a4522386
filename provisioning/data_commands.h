#pragma once
#include "ledger/evidence_entry.h"
#include "provisioning/cli_session.h"

namespace strongroom::provisioning {

struct DataOptions {
  std::string keyring, aad, in, out;
  std::uint64_t bytes = 32;  // datakey
  bool plaintext = false;    // datakey
};

/// RunData does one wrap, unwrap, rewrap or datakey. Input and output are one line of text: base64 of a DEK, or a
/// wrapped DEK; datakey prints the wrapped DEK and, when asked for, the DEK in base64 on a second line. With --json the
/// server's answer.
int RunData(const CliSession& session, ledger::Operation operation, const DataOptions& options);

/// Inspect explains a wrapped DEK without any key.
int Inspect(const CliSession& session, const std::string& text);

}  // namespace strongroom::provisioning
