// The states of a token as a running service names them, and that each bad one fails closed.

#include <gtest/gtest.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <chrono>
#include <filesystem>
#include <thread>

#include "netapi/json.h"
#include "tests/support/dev_fixture.h"
#include "tests/support/faulty_module.h"
#include "tests/support/govern.h"

namespace strongroom::tests {
namespace {

using namespace std::chrono_literals;
using provisioning::RunProcess;

// An appliance whose token answers through the fault-injecting module, looked at every second.
class TokenStates : public testing::Test {
 protected:
  TokenStates() : module_(where_.path(), STRONGROOM_BIN_DIR) {
    f_.Restart([&](std::string text) {
      const std::string real = "/usr/lib/softhsm/libsofthsm2.so", server = "[server]\n";
      text.replace(text.find(real, text.find("[tokend]")), real.size(), module_.path());
      text.replace(text.find(server), server.size(), server + "canary-seconds = 1\nsweep-seconds = 1\n");
      return text;
    });
    monitor_ = f_.ClientFor("monitor-1");
    service_ = f_.ClientFor("service-1");
  }
  boost::json::value Status() { return *netapi::ParseJson(monitor_->Call("GET", "/v1/status")->body); }
  std::string TokenState() {
    return std::string(std::string_view(Status().at("tokens").at(0).at("state").get_string()));
  }
  std::string Detail(std::string_view check) {
    const auto status = Status();
    for (const auto& c : status.at("checks").get_array())
      if (std::string_view(c.at("name").get_string()) == check)
        return std::string(std::string_view(c.at("detail").get_string()));
    return "no such check";
  }
  bool Becomes(const std::string& state) {
    const auto until = std::chrono::steady_clock::now() + 20s;
    while (TokenState() != state && std::chrono::steady_clock::now() < until) std::this_thread::yield();
    return TokenState() == state;
  }
  // The service's answer to a data key: the status, and the slug of a refusal.
  std::pair<unsigned, std::string> Ask() {
    const std::string body = R"({"bytes":32})";
    const auto answer = service_->Call("POST", "/v1/keyrings/install/datakey", {body.data(), body.size()});
    const auto value = netapi::ParseAnswer(*answer);
    return {answer->status, value ? "" : std::string(value.error().Slug())};
  }

  TempDir where_;
  FaultyModule module_;
  DevFixture f_;
  std::unique_ptr<netapi::Client> monitor_, service_;
};

TEST_F(TokenStates, K9_AWrongCanaryClosesTheServiceUntilItIsRight) {
  ASSERT_TRUE(Becomes("ready"));
  EXPECT_EQ(Ask().first, 200U);
  module_.Order("C_WrapKey corrupt");
  EXPECT_TRUE(Becomes("degraded")) << TokenState();
  EXPECT_NE(Detail("canary").find("canary"), std::string::npos) << Detail("canary");
  EXPECT_EQ(Ask(), std::make_pair(503U, std::string("not-operational")));
  EXPECT_EQ(monitor_->Call("GET", "/v1/health/ready")->status, 503U);
  module_.Heal();
  EXPECT_TRUE(Becomes("ready")) << TokenState() << Detail("canary");
  EXPECT_EQ(Ask().first, 200U);
}

TEST_F(TokenStates, K9_AnImpostorIsNotUsed) {
  ASSERT_TRUE(Becomes("ready"));
  module_.Order("C_GetTokenInfo impostor");
  EXPECT_TRUE(Becomes("impostor")) << TokenState();
  EXPECT_EQ(Ask(), std::make_pair(503U, std::string("not-operational")));
  EXPECT_EQ(f_.Run("operator-1", {"propose", "keyring.rotate", "--keyring", "install", "--reason", "r"}).status, 0)
      << "proposals are not the token's";
  module_.Heal();
  EXPECT_TRUE(Becomes("ready")) << TokenState();
  EXPECT_EQ(Ask().first, 200U);
}

// K3: a key that nobody recorded, put into the token behind the service's back, is seen by the sweep, stops ceremonies,
// and leaves services alone; once it is gone, so is the alarm.
TEST_F(TokenStates, K3_AStrangeKeyStopsCeremoniesNotServices) {
  ASSERT_TRUE(Becomes("ready"));
  // The PIN goes from its file to the tool's environment, and not over a command line.
  const auto tool = [&](const std::string& more) {
    return *RunProcess({"sh", "-c",
                        "export SOFTHSM2_CONF='" + f_.Path("token/softhsm2.conf") + "' PIN=$(cat '" +
                            f_.Path("token/kek.pin") +
                            "') && exec pkcs11-tool --module /usr/lib/softhsm/libsofthsm2.so --token-label "
                            "strongroom-kek --login --pin env:PIN " +
                            more});
  };
  const auto made = tool("--keygen --key-type AES:32 --id 0102 --label stranger");
  ASSERT_EQ(made.status, 0) << made.err;
  EXPECT_TRUE(Becomes("degraded"));
  EXPECT_NE(Detail("template-sweep"), "");
  EXPECT_EQ(Ask().first, 200U) << "services go on";
  const auto id =
      f_.Run("operator-1", {"--json", "propose", "keyring.rotate", "--keyring", "install", "--reason", "r"});
  ASSERT_EQ(id.status, 0) << id.err;
  const auto proposal = *netapi::ParseJson(id.out.substr(0, id.out.size() - 1));
  const std::string name(std::string_view(proposal.at("id").get_string()));
  for (const std::string custodian : {"custodian-1", "custodian-2"})
    ASSERT_EQ(f_.Run(custodian, {"approve", name, "--key", f_.Path("approvers/" + custodian)}).status, 0);
  const auto refused = f_.Run("operator-1", {"execute", name});
  EXPECT_EQ(refused.status, 1);
  EXPECT_NE(refused.err.find("token-inventory"), std::string::npos) << refused.err;
  ASSERT_EQ(tool("--delete-object --type secrkey --id 0102").status, 0);
  EXPECT_TRUE(Becomes("ready")) << Detail("template-sweep");
  EXPECT_EQ(f_.Run("operator-1", {"execute", name}).status, 0) << "nothing was consumed by the refusal";
}

// What a person sees from a latched PIN to service again, without a restart of strongroomd.
TEST_F(TokenStates, P8_ALatchedPinIsNamedAndClearedWithoutARestart) {
  ASSERT_TRUE(Becomes("ready"));
  const auto pin = ReadFile(f_.Path("token/kek.pin"));
  std::ofstream(f_.Path("token/kek.pin")) << "wrong-pin\n";
  (void)kill(f_.HostPid(), SIGKILL);
  EXPECT_TRUE(Becomes("pin-latched")) << TokenState();
  EXPECT_EQ(Ask(), std::make_pair(503U, std::string("pin-latched")));
  EXPECT_NE(f_.Run("operator-1", {"status"}).out.find("pin-latched"), std::string::npos);
  std::ofstream(f_.Path("token/kek.pin")) << pin;
  EXPECT_EQ(RunProcess(
                {DevFixture::Program("strongroom-tokend"), "--config", f_.Path("strongroom.toml"), "--clear-pin-latch"})
                ->status,
            0);
  EXPECT_TRUE(Becomes("ready")) << TokenState();
  // Each lane asks its host anew within a fifth of a second.
  const auto until = std::chrono::steady_clock::now() + 10s;
  while (Ask().first != 200U && std::chrono::steady_clock::now() < until) std::this_thread::yield();
  EXPECT_EQ(Ask().first, 200U);
}

// K9: a high-availability group presents another member. Before that is enrolled it is an impostor; afterwards services
// and ceremonies go on through it, and with marks of its own that were not voted for they do not.
TEST_F(TokenStates, K9_AnotherMemberOfAGroupServesOnceItIsEnrolled) {
  ASSERT_TRUE(Becomes("ready"));
  const auto token = Status().at("tokens").at(0);
  const auto text = [&](const char* name) { return std::string(std::string_view(token.at(name).get_string())); };
  auto member = text("serial");
  member[0] ^= 1;  // what the faulty module makes of it
  const auto enrol = [&](const std::string& model) {
    (void)Governed(f_, {"propose", "token.enrol", "--param", "token=" + member, "--param",
                        "member-of=" + text("serial"), "--param", "label=" + text("label"), "--param", "model=" + model,
                        "--param", "manufacturer=" + text("manufacturer"), "--reason", "a test"});
  };
  enrol("another model");
  module_.Order("C_GetTokenInfo impostor");
  ASSERT_TRUE(Becomes("impostor")) << TokenState();
  EXPECT_EQ(Ask().first, 503U);
  module_.Heal();
  ASSERT_TRUE(Becomes("ready")) << TokenState();
  enrol(text("model"));
  module_.Order("C_GetTokenInfo impostor");
  const auto presents = [&] {
    const auto status = Status();
    const auto* serial = status.at("tokens").at(0).get_object().if_contains("serial");
    return serial == nullptr ? std::string() : std::string(std::string_view(serial->get_string()));
  };
  const auto until = std::chrono::steady_clock::now() + 20s;
  while (presents() != member && std::chrono::steady_clock::now() < until) std::this_thread::yield();
  ASSERT_TRUE(Becomes("ready")) << TokenState();
  EXPECT_EQ(presents(), member);
  EXPECT_EQ(Ask().first, 200U);
  (void)Governed(f_, {"propose", "keyring.rotate", "--keyring", "install", "--reason", "a test"});
  EXPECT_EQ(Ask().first, 200U);
  module_.Heal();
  while (presents() == member && std::chrono::steady_clock::now() < until + 20s) std::this_thread::yield();
  ASSERT_TRUE(Becomes("ready")) << TokenState();
  EXPECT_EQ(Ask().first, 200U) << "and back again";
  const TempDir out;
  ExportVerifies(f_, out.File("export"));
}

// A supervisor that is gone is down; one whose hosts do not come up is connecting.
TEST_F(TokenStates, DownAndConnectingAreToldApart) {
  ASSERT_TRUE(Becomes("ready"));
  module_.Order("C_Login return 0x5");  // a login that fails, though the PIN is right
  (void)kill(f_.HostPid(), SIGKILL);
  EXPECT_TRUE(Becomes("connecting")) << TokenState();
  (void)kill(f_.PidOf("tokend.pid"), SIGKILL);
  EXPECT_TRUE(Becomes("down")) << TokenState();
  EXPECT_EQ(Ask().first, 503U);
}

// L8: an older copy of the database boots to rollback: reading goes on, nothing else does, until the right one is back.
TEST(Rollback, L8_AnOlderDatabaseIsReadOnly) {
  DevFixture f;
  const auto down = [&] { (void)RunProcess({DevFixture::Program("strongroom"), "dev", "down", "--dir", f.Dir()}); };
  const auto start = [&] {
    for (const auto& [program, name] : {std::pair<std::string, std::string>{"strongroom-tokend", "tokend"},
                                        std::pair<std::string, std::string>{"strongroomd", "strongroomd"}})
      ASSERT_TRUE(provisioning::StartDaemon({DevFixture::Program(program), "--config", f.Path("strongroom.toml")},
                                            f.Path("log/" + name + ".log"), f.Path(name + ".pid")));
  };
  down();
  std::filesystem::copy(f.Path("data"), f.Dir() + "-older", std::filesystem::copy_options::recursive);
  f.Up();
  ASSERT_EQ(f.Run("service-1", {"datakey", "--keyring", "install"}).status, 0);
  ASSERT_EQ(f.Run("operator-1", {"propose", "keyring.rotate", "--keyring", "install", "--reason", "r"}).status, 0);
  down();  // signs what is left
  std::filesystem::rename(f.Path("data"), f.Dir() + "-newer");
  std::filesystem::rename(f.Dir() + "-older", f.Path("data"));
  start();
  const auto client = f.ClientFor("operator-1");
  const auto until = std::chrono::steady_clock::now() + 20s;
  std::string state;
  while (state != "rollback" && std::chrono::steady_clock::now() < until) {
    const auto answer = client->Call("GET", "/v1/status");
    if (answer) state = std::string(std::string_view(netapi::ParseJson(answer->body)->at("state").get_string()));
  }
  EXPECT_EQ(state, "rollback");
  EXPECT_EQ(f.ClientFor("service-1")->Call("POST", "/v1/keyrings/install/datakey", R"({"bytes":32})")->status, 503U);
  const auto refused = f.Run("operator-1", {"propose", "keyring.rotate", "--keyring", "install", "--reason", "r"});
  EXPECT_EQ(refused.status, 4);
  EXPECT_NE(refused.err.find("rollback"), std::string::npos) << refused.err;
  EXPECT_EQ(client->Call("GET", "/v1/ledger/control/entries?limit=1")->status, 200U) << "reading goes on";
  EXPECT_EQ(client->Call("GET", "/v1/ledger/control/checkpoint")->status, 200U);
  EXPECT_EQ(client->Call("GET", "/v1/ledger/control/checkpoint?fresh=true")->status, 503U) << "nothing is signed";
  EXPECT_EQ(client->Call("GET", "/v1/ledger/control/checkpoint?fresh=no")->status, 400U);
  // What there is can be exported, also with a proposal in it that the token has not signed.
  ASSERT_EQ(f.Run("operator-1", {"propose", "ledger.adopt", "--reason", "r"}).status, 0);
  const auto folder = f.Dir() + "-export";
  const auto exported = f.Run("auditor-1", {"ledger", "export", "--out", folder});
  EXPECT_EQ(exported.status, 0) << exported.err;
  EXPECT_EQ(f.Run("auditor-1", {"ledger", "verify", folder, "--vkey", f.Path("ledger.vkey")}).status, 0);
  EXPECT_EQ(client->Call("GET", "/v1/health/ready")->status, 503U);
  down();
  std::filesystem::remove_all(f.Path("data"));
  std::filesystem::rename(f.Dir() + "-newer", f.Path("data"));
  f.Up();
  EXPECT_EQ(f.Run("service-1", {"datakey", "--keyring", "install"}).status, 0) << "the right one is whole again";
}

}  // namespace
}  // namespace strongroom::tests
