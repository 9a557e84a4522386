#pragma once
#include "ledger/evidence_entry.h"
#include "provisioning/cli_session.h"

namespace strongroom::provisioning {

struct DataOptions {
  std::string keyring, aad, in, out;
  std::uint64_t bytes = 32;  // datakey
  bool plaintext = false;    // datakey
  bool ndjson = false;
};

/// RunStream sends NDJSON and writes the answers line for line in order, flat in memory, with progress on a terminal.
/// Lines that the server could not answer for want of the token (503: nothing was handed out) are sent again; lines
/// that are bad get their error. An interrupted run says how many lines it has answered: what remains is the input's
/// rest.
int RunStream(const CliSession& session, ledger::Operation operation, const DataOptions& options);

/// RunData does one wrap, unwrap, rewrap or datakey. Input and output are one line of text: base64 of a DEK, or a
/// wrapped DEK; datakey prints the wrapped DEK and, when asked for, the DEK in base64 on a second line. With --json the
/// server's answer.
int RunData(const CliSession& session, ledger::Operation operation, const DataOptions& options);

/// Inspect explains a wrapped DEK without any key.
int Inspect(const CliSession& session, const std::string& text);

}  // namespace strongroom::provisioning
