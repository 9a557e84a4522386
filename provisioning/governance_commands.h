#pragma once
#include <map>
#include <vector>

#include "crypto/quorum.h"
#include "provisioning/cli_session.h"

namespace strongroom::provisioning {

int ShowStatus(const CliSession& session);
int ListKeyrings(const CliSession& session);
int ShowKeyring(const CliSession& session, const std::string& name);

struct ProposeOptions {
  std::string operation, keyring, reason;
  std::vector<std::string> params;  // K=V
};
int Propose(const CliSession& session, const ProposeOptions& options);
int ListProposals(const CliSession& session);
/// ShowProposal with `text_only` prints the exact canonical bytes and nothing else.
int ShowProposal(const CliSession& session, const std::string& id, bool text_only);

struct VoteOptions {
  std::string id, custodian, key_file, signature_file;
  crypto::Verdict verdict = crypto::Verdict::kApprove;
};
/// CastVote fetches the text, checks that it is canonical and belongs to the id, shows it, has stock ssh-keygen sign it
/// (or takes a signature made elsewhere), and submits. The custodian is found by the key's public half in the roster's
/// name, or given.
int CastVote(const CliSession& session, const VoteOptions& options);
int Execute(const CliSession& session, const std::string& id);
int Withdraw(const CliSession& session, const std::string& id);

/// The steps, for dev up, which makes its keyrings by the same path as anyone.
Result<boost::json::value> FileProposal(netapi::Client& client, const ProposeOptions& options);
Result<boost::json::value> SubmitVote(netapi::Client& client, const std::string& id, const crypto::Vote& vote);
Result<boost::json::value> ExecuteProposal(netapi::Client& client, const std::string& id);

}  // namespace strongroom::provisioning
