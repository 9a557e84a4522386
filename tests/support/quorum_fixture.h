#pragma once
#include <map>
#include <string>

#include "crypto/envelope.h"
#include "crypto/quorum.h"
#include "tests/support/temp_dir.h"

namespace strongroom::tests {

/// QuorumFixture is a roster of the dev appliance's principals with custodian keys made by stock ssh-keygen; votes are
/// signed by stock ssh-keygen.
class QuorumFixture {
 public:
  QuorumFixture();
  const crypto::Roster& roster() const { return roster_; }
  const crypto::InstanceId& instance() const { return roster_.instance(); }
  /// Proposal fills every field for the roster at `now`.
  crypto::ProposalText Proposal(const std::string& operation, const std::string& keyring,
                                std::map<std::string, std::string, std::less<>> params, Millis now) const;
  crypto::Vote Sign(const std::string& custodian, const std::string& text,
                    crypto::Verdict verdict = crypto::Verdict::kApprove) const;
  std::string SignAs(const std::string& key_owner, const std::string& name_space, const std::string& message) const;
  /// Grant is an approved creation (version 1) or rotation of keyring `k`, as GrantExecution made it.
  crypto::ExecutionGrant Grant(const crypto::KeyringId& keyring, std::uint32_t version, crypto::Suite suite,
                               const std::string& token, const std::string& name = "k") const;
  std::string KeyFile(const std::string& custodian) const { return dir_.File(custodian); }
  /// Spki is the made-up certificate key hash of a principal.
  static crypto::Digest Spki(const std::string& principal) { return crypto::Sha256(AsBytes("spki " + principal)); }
  static Result<crypto::Roster> MakeRoster(const std::string& custodian_keys_dir, std::uint64_t needed);

 private:
  TempDir dir_;
  crypto::Roster roster_;
};

/// SharedQuorum is one of them for a whole test program.
inline const QuorumFixture& SharedQuorum() {
  static const QuorumFixture fixture;
  return fixture;
}

}  // namespace strongroom::tests
