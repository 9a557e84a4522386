#pragma once
// `principal`: who is in the roster. Every change is a proposal of `roster.change`, which custodians vote on.

#include <string>

#include "provisioning/cli_session.h"

namespace strongroom::provisioning {

struct PrincipalOptions {
  std::string name;
  std::string role;
  std::string certificate;  // PEM file
  std::string ssh_key;      // public key file, custodians only
  std::string proof;        // what ProvePossession prints, or a file with it
  std::string reason;
  unsigned votes = 0;    // other than 0: so many votes for every class of operations from then on
  bool replace = false;  // of one who is in the roster already
};

/// SshKeyIn reads the "TYPE BASE64" of a public key file, without its comment.
Result<std::string> SshKeyIn(const std::string& file);
/// PrincipalParams is what a proposal of roster.change says to add somebody, or to revoke her.
Result<std::vector<std::string>> PrincipalParams(const PrincipalOptions& options, bool revoke);

/// ListPrincipals prints the roster in force.
int ListPrincipals(const CliSession& session);
/// ProvePossession prints what shows that a new custodian holds the private half of her key. `key_file` is hers.
int ProvePossession(const CliSession& session, const std::string& name, const std::string& key_file);
/// AddPrincipal and RevokePrincipal file a proposal and print it as `propose` does.
int AddPrincipal(const CliSession& session, const PrincipalOptions& options);
/// ImportPrincipals files one proposal for many: `file` has lines "NAME ROLE CERTIFICATE", the certificate a PEM file
/// or the SHA-256 of its SubjectPublicKeyInfo in hex; empty lines and those that begin with # are left out. Custodians
/// come one by one, with their proofs. What does not fit into one entry of the ledger, some 500 lines, is refused.
int ImportPrincipals(const CliSession& session, const std::string& file, const std::string& reason);
int RevokePrincipal(const CliSession& session, const PrincipalOptions& options);

/// MakeFirstRoster writes roster 1 for a first boot: `members` are "NAME ROLE CERTIFICATE[ SSH-PUBLIC-KEY]", files
/// named by path; every class of operations needs `votes`. kConflict (file-exists) when there is one.
Result<void> MakeFirstRoster(const std::string& directory, std::uint64_t votes,
                             const std::vector<std::string>& members);

}  // namespace strongroom::provisioning
