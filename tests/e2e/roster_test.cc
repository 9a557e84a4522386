// The roster of a running appliance: who comes in, who goes, and what an auditor sees of it.

#include <gtest/gtest.h>

#include <boost/json/object.hpp>

#include "tests/support/dev_fixture.h"

namespace strongroom::tests {
namespace {

using provisioning::RunProcess;

class RosterOfAnAppliance : public testing::Test {
 protected:
  std::string Filed(const std::vector<std::string>& arguments) {
    auto all = arguments;
    all.insert(all.begin(), "--json");
    const auto filed = f_.Run("operator-1", all);
    EXPECT_EQ(filed.status, 0) << filed.err;
    const auto at = filed.out.find("\"id\":\"");
    return at == std::string::npos ? "" : filed.out.substr(at + 6, 32);
  }
  void Govern(const std::vector<std::string>& arguments, const std::vector<std::string>& custodians) {
    const auto id = Filed(arguments);
    for (const auto& custodian : custodians)
      ASSERT_EQ(f_.Run(custodian, {"approve", id, "--key", f_.Path("approvers/" + custodian)}).status, 0);
    const auto done = f_.Run("operator-1", {"execute", id});
    ASSERT_EQ(done.status, 0) << done.err;
  }
  DevFixture f_;
};

TEST_F(RosterOfAnAppliance, N1_WhoIsRevokedIsRefusedAtTheNextRequest) {
  const auto open = f_.ClientFor("service-2");
  const std::string body = R"({"bytes":32})";
  const auto ask = [&](netapi::Client& client) {
    return client.Call("POST", "/v1/keyrings/org-a/datakey", {body.data(), body.size()})->status;
  };
  ASSERT_EQ(ask(*open), 200U);
  Govern({"principal", "revoke", "service-2", "--reason", "it is switched off"}, {"custodian-1", "custodian-2"});
  EXPECT_EQ(ask(*open), 403U) << "on a connection that was open before";
  EXPECT_EQ(ask(*f_.ClientFor("service-2")), 403U);
  // The same service with a new key comes back by a vote.
  ASSERT_EQ(RunProcess({DevFixture::Program("strongroom"), "dev", "issue", "service-2b", "--dir", f_.Dir()})->status,
            0);
  const auto fresh = f_.ClientWith(f_.Path("clients/service-2b.pem"), f_.Path("clients/service-2b.key"));
  EXPECT_EQ(fresh->Call("GET", "/v1/keyrings")->status, 403U) << "a certificate alone is nobody";
  Govern({"principal", "add", "service-2", "--role", "service", "--cert", f_.Path("clients/service-2b.pem"), "--reason",
          "a new key for it"},
         {"custodian-1", "custodian-3"});
  EXPECT_EQ(ask(*fresh), 200U) << "its grants are by name";
  const auto listed = f_.Run("auditor-1", {"--json", "principal", "list"});
  EXPECT_NE(listed.out.find("\"version\":3,"), std::string::npos) << listed.out << listed.err;
  EXPECT_NE(listed.out.find("service-2"), std::string::npos);
}

// Who asked, who voted, why, when, and what came of it: one query.
TEST_F(RosterOfAnAppliance, F27_OneQueryTellsTheStoryOfAProposal) {
  Govern({"propose", "keyring.rotate", "--keyring", "org-a", "--reason", "a story"}, {"custodian-1", "custodian-2"});
  Govern({"propose", "keyring.rotate", "--keyring", "install", "--reason", "another"}, {"custodian-1", "custodian-3"});
  const auto shown = *netapi::ParseJson(
      f_.Run("auditor-1", {"--json", "ledger", "show", "--op", "keyring.rotate", "--since", "2026-01-01"}).out);
  std::string kinds;
  for (const auto& entry : shown.at("items").as_array())
    kinds += std::string(std::string_view(entry.at("kind").get_string())) + " ";
  const std::string one = "proposal-filed vote-cast vote-cast proposal-consumed execution-settled ";
  EXPECT_EQ(kinds, one + one);
}

// Q2: both verifiers follow the rosters; votes verify under the one of their time, with that roster's own file.
TEST_F(RosterOfAnAppliance, Q2_ANewCustodianVotesAndEveryRosterIsInTheExport) {
  const auto key = f_.Path("approvers/custodian-4");
  ASSERT_EQ(RunProcess({"ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-C", "", "-f", key})->status, 0);
  ASSERT_EQ(RunProcess({DevFixture::Program("strongroom"), "dev", "issue", "custodian-4", "--dir", f_.Dir()})->status,
            0);
  const auto proof = f_.Run("operator-1", {"principal", "prove", "custodian-4", "--key", key});
  ASSERT_EQ(proof.status, 0) << proof.err;
  const std::vector<std::string> add = {"principal",
                                        "add",
                                        "custodian-4",
                                        "--role",
                                        "custodian",
                                        "--cert",
                                        f_.Path("clients/custodian-4.pem"),
                                        "--ssh-key",
                                        key + ".pub",
                                        "--votes",
                                        "3",
                                        "--reason",
                                        "a fourth pair of eyes"};
  EXPECT_EQ(f_.Run("operator-1", add).status, 1) << "without her proof";
  auto whole = add;
  whole.insert(whole.end(), {"--proof", proof.out});
  Govern(whole, {"custodian-1", "custodian-2"});
  Govern({"propose", "keyring.rotate", "--keyring", "install", "--reason", "by four"},
         {"custodian-1", "custodian-3", "custodian-4"});
  const auto folder = f_.Dir() + "-export";
  ASSERT_EQ(f_.Run("auditor-1", {"ledger", "export", "--out", folder}).status, 0);
  EXPECT_EQ(f_.Run("auditor-1", {"ledger", "verify", folder, "--vkey", f_.Path("ledger.vkey")}).status, 0);
  const auto oracle = *RunProcess({"python3", std::string(STRONGROOM_SOURCE_DIR) + "/tests/oracle/verify_export.py",
                                   folder, f_.Path("ledger.vkey")});
  EXPECT_EQ(oracle.status, 0) << oracle.out << oracle.err;
  EXPECT_EQ(ReadFile(folder + "/rosters/1/allowed_signers").find("custodian-4"), std::string::npos);
  EXPECT_NE(ReadFile(folder + "/rosters/2/allowed_signers").find("custodian-4"), std::string::npos);
  // What she signed, checked by hand with stock ssh-keygen under the roster of that time, and under the one before.
  const auto shown = *netapi::ParseJson(f_.Run("auditor-1", {"--json", "ledger", "show", "--op", "vote-cast"}).out);
  std::string signature, proposal;
  for (const auto& vote : shown.at("items").as_array())
    if (vote.at("custodian").get_string() == "custodian-4") {
      signature = std::string(std::string_view(vote.at("signature").get_string()));
      proposal = std::string(std::string_view(vote.at("proposal").get_string()));
    }
  const TempDir work;
  (void)work.Write("vote.sig", signature);
  const auto text = f_.Run("auditor-1", {"proposal", "show", proposal, "--text"}).out + "verdict: approve\n";
  const auto verifies = [&](const std::string& roster, const std::string& message) {
    return RunProcess({"ssh-keygen", "-Y", "verify", "-f", folder + "/rosters/" + roster + "/allowed_signers", "-I",
                       "custodian-4", "-n", "vote@strongroom", "-s", work.File("vote.sig")},
                      message)
               ->status == 0;
  };
  EXPECT_TRUE(verifies("2", text));
  EXPECT_FALSE(verifies("1", text));
  auto changed = text;
  changed[changed.size() / 2] ^= 1;
  EXPECT_FALSE(verifies("2", changed));
}

}  // namespace
}  // namespace strongroom::tests
