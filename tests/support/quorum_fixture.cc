#include "tests/support/quorum_fixture.h"

#include <cstdio>
#include <cstdlib>

#include "crypto/envelope.h"
#include "provisioning/process.h"

namespace strongroom::tests {
namespace {
template <class T>
T Must(Result<T> result) {
  if (!result) {
    (void)fprintf(stderr, "fixture: %s\n", result.error().Line().c_str());
    std::abort();
  }
  return std::move(*result);
}
}  // namespace

Result<crypto::Roster> QuorumFixture::MakeRoster(const std::string& dir, std::uint64_t needed) {
  std::vector<crypto::Principal> principals;
  for (const auto* name : {"operator-1", "operator-2", "custodian-1", "custodian-2", "custodian-3", "auditor-1",
                           "monitor-1", "service-1", "service-2"}) {
    crypto::Principal p;
    p.name = name;
    p.role = *crypto::RoleFromString(p.name.substr(0, p.name.size() - 2));
    p.spki = Spki(name);
    if (p.role == crypto::Role::kCustodian) {
      auto key = ReadFile(dir + "/" + p.name + ".pub");
      p.ssh_key = key.substr(0, key.find(' ', key.find(' ') + 1));
      if (p.ssh_key.ends_with('\n')) p.ssh_key.pop_back();
    }
    principals.push_back(std::move(p));
  }
  crypto::RosterParts parts;
  for (const auto c : crypto::Roster::kClasses) parts.policies[std::string(c)] = needed;
  parts.principals = std::move(principals);
  return crypto::Roster::Parse(crypto::RosterText(crypto::RandomArray<16>(), 1, "none", std::move(parts)));
}

QuorumFixture::QuorumFixture() {
  for (const auto* name : {"custodian-1", "custodian-2", "custodian-3"})
    (void)Must(
        provisioning::RunProcess({"ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", KeyFile(name)}));
  roster_ = Must(MakeRoster(dir_.path(), 2));
}

crypto::ProposalText QuorumFixture::Proposal(const std::string& operation, const std::string& keyring,
                                             std::map<std::string, std::string, std::less<>> params, Millis now) const {
  crypto::ProposalText p;
  p.instance = roster_.instance();
  p.operation = operation;
  p.keyring = keyring;
  p.params = std::move(params);
  p.reason = "test of the quorum";
  p.requester = "operator-1";
  p.nonce = crypto::RandomArray<16>();
  p.created = now / 1000 * 1000;
  p.approve_by = p.created + 3600'000;
  p.execute_by = p.created + 7200'000;
  p.roster_version = roster_.version();
  p.roster_hash = roster_.hash();
  p.policy = crypto::PolicyOf(roster_, p);
  return p;
}

std::string QuorumFixture::SignAs(const std::string& key_owner, const std::string& name_space,
                                  const std::string& message) const {
  return Must(provisioning::SshSign(KeyFile(key_owner), name_space, message));
}

crypto::Vote QuorumFixture::Sign(const std::string& custodian, const std::string& text, crypto::Verdict verdict) const {
  return {custodian, verdict,
          SignAs(custodian, std::string(crypto::kVoteNamespace), crypto::VoteMessage(text, verdict))};
}

crypto::ExecutionGrant QuorumFixture::Grant(const crypto::KeyringId& keyring, std::uint32_t version,
                                            crypto::Suite suite, const std::string& token,
                                            const std::string& name) const {
  const Millis now = SystemClock().Now();
  const auto text = Must(Proposal(version == 1 ? "keyring.create" : "keyring.rotate", name,
                                  {{"keyring-id", ToHex(keyring)},
                                   {"version", std::to_string(version)},
                                   {"suite", std::string(crypto::ToString(suite))},
                                   {"custody", "token:" + token}},
                                  now)
                             .Render());
  return Must(crypto::GrantExecution(roster_, text, {Sign("custodian-1", text), Sign("custodian-3", text)}, now));
}

}  // namespace strongroom::tests
