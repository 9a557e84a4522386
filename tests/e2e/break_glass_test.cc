// Break-glass on a running appliance whose token is slow by the probe's measure and well by everybody else's; and the
// rest of a keyring's life, until both verifiers have seen all of it.

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <chrono>
#include <set>
#include <sstream>

#include "netapi/json.h"
#include "tests/support/faulty_module.h"
#include "tests/support/govern.h"

namespace strongroom::tests {
namespace {

using namespace std::chrono_literals;

class BreakGlassE2e : public testing::Test {
 protected:
  BreakGlassE2e() : module_(where_.path(), STRONGROOM_BIN_DIR) {
    f_.Restart([&](std::string text) {
      const std::string real = "/usr/lib/softhsm/libsofthsm2.so", server = "[server]\n";
      text.replace(text.find(real, text.find("[tokend]")), real.size(), module_.path());
      text.replace(text.find(server), server.size(), server + "canary-seconds = 1\nprovider-slow-ms = 200\n");
      return text;
    });
  }
  boost::json::value Check(const std::string& name) {
    const auto answer = f_.ClientFor("monitor-1")->Call("GET", "/v1/status");
    const auto status = *netapi::ParseJson(answer->body);
    for (const auto& check : status.at("checks").as_array())
      if (std::string_view(check.at("name").get_string()) == name) return check;
    return nullptr;
  }
  bool Healthy() { return Check("provider-health").at("ok").as_bool(); }
  bool Becomes(bool healthy) {
    const auto until = std::chrono::steady_clock::now() + 20s;
    while (Healthy() != healthy && std::chrono::steady_clock::now() < until) std::this_thread::yield();
    return Healthy() == healthy;
  }
  // A data key of the install keyring: its status, and what the answer's head says of break-glass.
  std::pair<unsigned, std::string> Ask() {
    const auto client = f_.ClientFor("service-1");
    const std::string body = R"({"bytes":32})";
    const auto answer = client->Call("POST", "/v1/keyrings/install/datakey", {body.data(), body.size()});
    return {answer->status, answer->break_glass};
  }
  // The peers of every TCP socket that the service has, other than this machine's own.
  std::string PeersElsewhere() {
    const auto pid = std::to_string(f_.PidOf("strongroomd.pid"));
    std::set<std::string> inodes;
    for (const auto& fd : std::filesystem::directory_iterator("/proc/" + pid + "/fd")) {
      std::error_code gone;
      const auto target = std::filesystem::read_symlink(fd.path(), gone).string();
      if (target.starts_with("socket:[")) inodes.insert(target.substr(8, target.size() - 9));
    }
    std::string elsewhere;
    for (const auto* table : {"tcp", "tcp6", "udp", "udp6"}) {
      std::istringstream lines(ReadFile("/proc/" + pid + "/net/" + table));
      std::string line;
      std::getline(lines, line);
      while (std::getline(lines, line)) {
        std::istringstream words(line);
        std::string slot, local, remote, word, inode;
        words >> slot >> local >> remote;
        for (int i = 0; i < 6; ++i) words >> word;
        words >> inode;
        const bool here = remote.starts_with("0100007F:") || remote.starts_with("00000000:");
        if (inodes.contains(inode) && !here) elsewhere += remote + " ";
      }
    }
    return elsewhere;
  }
  std::string Metric(const std::string& name) {
    const auto body = f_.ClientFor("monitor-1")->Call("GET", "/metrics")->body;
    const std::string text(body.begin(), body.end());
    const auto at = text.find("\n" + name);
    return at == std::string::npos ? "none" : text.substr(at + 1, text.find('\n', at + 1) - at - 1);
  }
  TempDir where_;
  FaultyModule module_;
  DevFixture f_;
};

TEST_F(BreakGlassE2e, G5_G6_G8_AFalseAlarmOfTheProbeIsOverriddenCountedClosedAndReviewed) {
  ASSERT_TRUE(Becomes(true));
  EXPECT_EQ(Ask(), std::make_pair(200U, std::string()));
  const auto serial = std::string(f_.ClientFor("monitor-1")->Call("GET", "/v1/status")->body.c_str());
  const auto token = serial.substr(serial.find("\"serial\":\"") + 10, 16);
  const std::vector<std::string> open = {"propose",  "break-glass.open",
                                         "--param",  "check=provider-health",
                                         "--param",  "scope=token:" + token,
                                         "--param",  "minutes=30",
                                         "--reason", "the probe measures the wrong thing"};
  auto refused = f_.Run("operator-1", open);
  EXPECT_EQ(refused.status, 1);
  EXPECT_NE(refused.err.find("nothing to override"), std::string::npos) << refused.err;
  module_.Order("C_Encrypt delay 300");  // the known answer of AES-GCM; the install keyring wraps with AES-KWP
  ASSERT_TRUE(Becomes(false));
  EXPECT_EQ(Ask().first, 503U) << "fails closed";
  EXPECT_EQ(Check("provider-health").at("overridable"), true);
  const auto id = Governed(f_, open);
  const auto asked = Ask();
  EXPECT_EQ(asked.first, 200U);
  EXPECT_EQ(asked.second, id) << "in the answer's head";
  EXPECT_EQ(Ask().first, 200U);
  EXPECT_EQ(f_.Run("service-1", {"datakey", "--keyring", "install", "--ndjson"}, "{\"bytes\":32}\n").status, 0);
  EXPECT_TRUE(Metric("strongroom_break_glass_open{").ends_with(" 1")) << Metric("strongroom_break_glass_open{");
  EXPECT_EQ(Metric("strongroom_break_glass_uses_total"), "strongroom_break_glass_uses_total 3");
  EXPECT_EQ(std::string(std::string_view(Check("provider-health").at("overridden_by").get_string())), id);
  EXPECT_EQ(PeersElsewhere(), "") << "G8: nobody is asked but the token";
  const auto closed = f_.Run("custodian-3", {"break-glass", "close", id});
  ASSERT_EQ(closed.status, 0) << closed.err;
  EXPECT_EQ(Ask().first, 503U) << "at once";
  EXPECT_EQ(Metric("strongroom_break_glass_unreviewed"), "strongroom_break_glass_unreviewed 1") << "red until reviewed";
  refused = f_.Run("operator-1", open);
  EXPECT_NE(refused.err.find("not been reviewed"), std::string::npos) << refused.err;
  const auto reviewed = f_.Run("custodian-3", {"break-glass", "review", id, "--finding", "the token was well", "--key",
                                               f_.Path("approvers/custodian-3")});
  ASSERT_EQ(reviewed.status, 0) << reviewed.err;
  EXPECT_EQ(Metric("strongroom_break_glass_unreviewed"), "strongroom_break_glass_unreviewed 0");
  // Another one, which a restart closes, with its uses counted from the log.
  const auto second = Governed(f_, open);
  EXPECT_EQ(Ask().first, 200U);
  module_.Heal();
  f_.Restart([](std::string text) { return text; });
  ASSERT_TRUE(Becomes(true));
  const auto listed = f_.Run("auditor-1", {"--json", "break-glass", "list"});
  const auto at = listed.out.find("\"id\":\"" + second);
  ASSERT_NE(at, std::string::npos) << listed.out;
  const auto item = listed.out.substr(at, listed.out.find('}', at) - at);
  EXPECT_NE(item.find("\"reason\":\"restart\""), std::string::npos) << item;
  EXPECT_NE(item.find("\"uses\":1"), std::string::npos) << item;
  const auto uses = f_.Run("auditor-1", {"--json", "ledger", "show", "evidence"}).out;
  EXPECT_NE(uses.find("break-glass " + id), std::string::npos) << "each use is an entry";
  ExportVerifies(f_, where_.File("export"));
}

// The rest of a keyring's life, as a person at the CLI lives it, and what an auditor makes of it.
TEST_F(BreakGlassE2e, F27_EveryOperationOfAKeyringIsInAnExportThatVerifies) {
  const auto param = [](const std::string& text) { return text; };
  const auto op = [&](const std::string& operation, const std::string& keyring,
                      const std::vector<std::string>& params = {}) {
    std::vector<std::string> all = {"propose", operation, "--keyring", keyring, "--reason", "a life"};
    for (const auto& p : params) all.insert(all.end(), {"--param", param(p)});
    return Governed(f_, all);
  };
  op("keyring.rotate", "org-a");
  op("version.archive", "org-a", {"version=1", "waive=service-1,service-2", "quiet-hours=0"});
  op("version.restore", "org-a", {"version=1"});
  op("version.destroy", "org-a", {"version=1", "waive=service-1,service-2", "quiet-hours=0", "waiting-days=7"});
  ASSERT_EQ(f_.Run("custodian-1", {"version", "cancel-destruction", "org-a", "1"}).status, 0);
  op("grant.change", "org-a", {"grants=service-1,service-2=unwrap"});
  ASSERT_EQ(f_.Run("operator-2", {"keyring", "disable", "org-a"}).status, 0);
  EXPECT_EQ(f_.Run("service-1", {"datakey", "--keyring", "org-a"}).status, 1);
  op("keyring.enable", "org-a");
  EXPECT_EQ(f_.Run("service-1", {"datakey", "--keyring", "org-a"}).status, 0);
  const auto before = f_.Run("service-1", {"datakey", "--keyring", "install"}).out;
  op("keyring.emergency-rotate", "install");
  const auto opened = f_.Run("service-1", {"unwrap", "--keyring", "install"}, before);
  EXPECT_EQ(opened.status, 1);
  EXPECT_NE(opened.err.find("compromised"), std::string::npos) << opened.err;
  EXPECT_EQ(f_.Run("service-1", {"rewrap", "--keyring", "install"}, before).status, 0);
  op("version.destroy", "install", {"version=1", "waive=service-1,service-2", "quiet-hours=0"});
  op("keyring.set-policy", "install", {"rotate-days=90"});
  op("keyring.set-policy", "org-a", {"rotate-days=30", "enforce=yes"});
  op("keyring.set-policy", "org-a", {"rotate-days=none"});
  ExportVerifies(f_, where_.File("export"));
  const auto shown = f_.Run("auditor-1", {"keyring", "show", "org-a"});
  EXPECT_NE(shown.out.find("archived"), std::string::npos) << shown.out;
}

// Q3: an organisation with custodians of its own, and a group that must agree, from the CLI to both verifiers.
TEST_F(BreakGlassE2e, Q3_AnOrganisationsOwnCustodiansDecideAboutItsKeyring) {
  std::vector<std::string> change = {"propose", "roster.change", "--reason", "org-a decides for itself"};
  for (const std::string name : {"custodian-4", "custodian-5", "custodian-6"}) {
    const auto key = f_.Path("approvers/" + name);
    ASSERT_EQ(provisioning::RunProcess({"ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", key})->status,
              0);
    ASSERT_EQ(
        provisioning::RunProcess({DevFixture::Program("strongroom"), "dev", "issue", name, "--dir", f_.Dir()})->status,
        0);
    auto proof = f_.Run("operator-1", {"principal", "prove", name, "--key", key}).out;
    proof.pop_back();
    const auto spki = provisioning::RunProcess({"sh", "-c",
                                                "openssl x509 -in " + f_.Path("clients/" + name + ".pem") +
                                                    " -noout -pubkey | openssl pkey -pubin -outform DER | "
                                                    "sha256sum | cut -d' ' -f1"});
    auto ssh = ReadFile(key + ".pub");
    ssh = ssh.substr(0, ssh.find_last_not_of(" \n") + 1);
    change.insert(change.end(), {"--param", "add-" + name + "=custodian " + spki->out.substr(0, 64) + " " + ssh,
                                 "--param", "proof-" + name + "=" + proof});
  }
  change.insert(
      change.end(),
      {"--param",
       "organisation-org-a=ceremony=2,destruction=2,emergency=2,rotation=2 custodian-4,custodian-5,custodian-6",
       "--param", "group-security-lead=custodian-2,custodian-3", "--param", "require-destruction=security-lead"});
  (void)Governed(f_, change);
  const auto listed = f_.Run("auditor-1", {"principal", "list"}).out;
  EXPECT_NE(listed.find("organisation org-a decides for itself: ceremony 2"), std::string::npos) << listed;
  EXPECT_NE(listed.find("every destruction needs one of: security-lead"), std::string::npos) << listed;
  const std::vector<std::string> rotate = {"propose", "keyring.rotate", "--keyring", "org-a", "--reason", "ours"};
  auto id = Filed(f_, rotate);
  const auto foreign = f_.Run("custodian-1", {"approve", id, "--key", f_.Path("approvers/custodian-1")});
  EXPECT_NE(foreign.err.find("another organisation"), std::string::npos) << foreign.err;
  ApproveBy(f_, id, {"custodian-4", "custodian-6"});
  ASSERT_EQ(f_.Run("operator-1", {"execute", id}).status, 0);
  id = Filed(f_, {"propose", "version.destroy", "--keyring", "org-a", "--param", "version=1", "--param",
                  "waive=service-1,service-2", "--param", "quiet-hours=0", "--reason", "old"});
  ApproveBy(f_, id, {"custodian-4", "custodian-5"});
  const auto missing = f_.Run("operator-1", {"execute", id});
  EXPECT_NE(missing.err.find("security-lead"), std::string::npos) << missing.err;
  ApproveBy(f_, id, {"custodian-3"});
  ASSERT_EQ(f_.Run("operator-1", {"execute", id}).status, 0);
  ExportVerifies(f_, where_.File("export"));
}

}  // namespace
}  // namespace strongroom::tests
