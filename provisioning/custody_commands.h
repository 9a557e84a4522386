#pragma once
// What one person may do at once because it is safe: disable a keyring, take a destruction back, close a break-glass;
// and the review of one, signed.

#include <string>

#include "provisioning/cli_session.h"

namespace strongroom::provisioning {

struct ReviewOptions {
  std::string id;
  std::string finding;         // one line
  std::string key_file;        // the reviewer's SSH key, or
  std::string signature_file;  // a signature made elsewhere
  std::string reviewer;        // default: the key file's name
  bool text_only = false;      // print what is to be signed, nothing else
};

int DisableKeyring(const CliSession& session, const std::string& name);
int CancelDestruction(const CliSession& session, const std::string& keyring, std::uint64_t version);
int ListBreakGlass(const CliSession& session);
int CloseBreakGlass(const CliSession& session, const std::string& id);
int ReviewBreakGlass(const CliSession& session, const ReviewOptions& options);

}  // namespace strongroom::provisioning
