// Several real tokens under one appliance: each with a strongroom-tokend of its own, enrolled, moved to, away, hung,
// exchanged. F4, F5, K3, K9, P7.

#include <gtest/gtest.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "netapi/json.h"
#include "tests/support/faulty_module.h"
#include "tests/support/govern.h"

namespace strongroom::tests {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using std::chrono::steady_clock;

class SeveralTokens : public testing::Test {
 protected:
  // Makes and connects a further token; its serial number.
  std::string Token(const std::string& name) {
    const auto made = f_.Run("operator-1", {"--json", "dev", "token", "--dir", f_.Dir(), name});
    EXPECT_EQ(made.status, 0) << made.err;
    const auto value = netapi::ParseJson(made.out);
    return value ? std::string(std::string_view(value->at("serial").get_string())) : std::string();
  }
  std::string Enrolled(const std::string& name, const std::string& owner = "appliance") {
    auto serial = Token(name);
    (void)Governed(f_, {"propose", "token.enrol", "--param", "token=" + serial, "--param", "owner=" + owner, "--reason",
                        "a test"});
    EXPECT_TRUE(Becomes(serial, "ready"));
    return serial;
  }
  boost::json::value Status() { return *netapi::ParseJson(f_.ClientFor("monitor-1")->Call("GET", "/v1/status")->body); }
  std::string StateOf(const std::string& serial) {
    const auto status = Status();
    for (const auto& token : status.at("tokens").get_array())
      if (const auto* name = token.get_object().if_contains("serial");
          name != nullptr && std::string_view(name->get_string()) == serial)
        return std::string(std::string_view(token.at("state").get_string()));
    return "not there";
  }
  bool Becomes(const std::string& serial, const std::string& state) {
    const auto until = steady_clock::now() + 20s;
    while (StateOf(serial) != state && steady_clock::now() < until) std::this_thread::yield();
    return StateOf(serial) == state;
  }
  void StopToken(const std::string& name) {
    std::ifstream pid_file(f_.Path("tokens/" + name + "/tokend.pid"));
    int pid = 0;
    pid_file >> pid;
    ASSERT_GT(pid, 1);
    (void)kill(pid, SIGTERM);
    while (fs::exists("/proc/" + std::to_string(pid))) std::this_thread::yield();
  }
  struct Answer {
    unsigned status = 0;
    std::string slug;
    boost::json::value body;
  };
  Answer Ask(const std::string& principal, const std::string& path, const std::string& body) {
    const auto answer = f_.ClientFor(principal)->Call("POST", "/v1/keyrings/" + path, body);
    if (!answer) return {0, answer.error().Line(), {}};
    auto value = netapi::ParseAnswer(*answer);
    return {answer->status, value ? "" : std::string(value.error().Slug()), value ? *value : boost::json::value()};
  }
  static std::string Text(const boost::json::value& value, const char* name) {
    return std::string(std::string_view(value.at(name).get_string()));
  }

  DevFixture f_;
};

// F5, Q9, K9: a whole move to another token and back in evidence: what was wrapped before opens before, while and
// after, the inventory moves by itself, the former KEK can be retired, and both verifiers agree.
TEST_F(SeveralTokens, F5_AKeyringMovesToAnotherToken) {
  const auto serial = Token("vault-b");
  EXPECT_TRUE(Becomes(serial, "not-enrolled"));
  const auto early = f_.Run("operator-1", {"propose", "rekey.start", "--keyring", "install", "--param",
                                           "to=token:" + serial, "--reason", "a test"});
  EXPECT_EQ(early.status, 1);
  EXPECT_NE(early.err.find("token-not-enrolled"), std::string::npos) << early.err;
  const auto before = Ask("service-1", "install/datakey", R"({"bytes":32,"plaintext":true,"aad":"YQ=="})");
  ASSERT_EQ(before.status, 200U);
  const auto put =
      f_.ClientFor("service-1")
          ->Call("PUT", "/v1/keyrings/install/deks/one", R"({"wrapped":")" + Text(before.body, "wrapped") + R"("})");
  ASSERT_EQ(put->status, 200U) << std::string(put->body.data(), put->body.size());
  (void)Governed(f_, {"propose", "token.enrol", "--param", "token=" + serial, "--reason", "a test"});
  ASSERT_TRUE(Becomes(serial, "ready"));
  (void)Governed(
      f_, {"propose", "rekey.start", "--keyring", "install", "--param", "to=token:" + serial, "--reason", "a test"});
  const auto opened =
      Ask("service-1", "install/unwrap", R"({"wrapped":")" + Text(before.body, "wrapped") + R"(","aad":"YQ=="})");
  ASSERT_EQ(opened.status, 200U) << opened.slug;
  EXPECT_EQ(Text(opened.body, "plaintext"), Text(before.body, "plaintext"));
  const auto moved = Ask("service-1", "install/rewrap", R"({"wrapped":")" + Text(before.body, "wrapped") + R"("})");
  ASSERT_EQ(moved.status, 200U) << moved.slug;
  EXPECT_EQ(moved.body.at("kek_version").to_number<int>(), 2);
  EXPECT_EQ(Ask("service-1", "install/unwrap", R"({"wrapped":")" + Text(moved.body, "wrapped") + R"("})").slug,
            "unwrap-failed")
      << "the AAD went along, though nobody named it";
  const auto after =
      Ask("service-1", "install/unwrap", R"({"wrapped":")" + Text(moved.body, "wrapped") + R"(","aad":"YQ=="})");
  EXPECT_EQ(Text(after.body, "plaintext"), Text(before.body, "plaintext"));
  // The inventory's job crosses, too.
  const auto until = steady_clock::now() + 20s;
  std::string version;
  while (version != "2" && steady_clock::now() < until) {
    const auto dek = netapi::ParseAnswer(*f_.ClientFor("service-1")->Call("GET", "/v1/keyrings/install/deks/one"));
    version = dek ? std::to_string(dek->at("kek_version").to_number<int>()) : dek.error().Line();
  }
  EXPECT_EQ(version, "2");
  const auto moving = [&] {
    const auto jobs = f_.Run("operator-1", {"--json", "job", "list"});
    return jobs.out.find("\"running\"") != std::string::npos;
  };
  while (moving() && steady_clock::now() < until) std::this_thread::yield();
  // What install wraps for others is there as well, and rotates there.
  EXPECT_EQ(Ask("service-1", "org-b/datakey", R"({"bytes":32})").status, 200U);
  (void)Governed(f_, {"propose", "keyring.rotate", "--keyring", "install", "--reason", "a test"});
  EXPECT_EQ(Ask("service-1", "install/datakey", R"({"bytes":32})").body.at("kek_version").to_number<int>(), 3);
  const TempDir out;
  ExportVerifies(f_, out.File("export"));
}

// P7, K9: does a further token that is away, or hangs in every call, delay anybody whose keyring is not in it, or stop
// ceremonies?
TEST_F(SeveralTokens, P7_WhatIsWrongWithOneTokenIsNobodyElsesMatter) {
  const auto serial = Enrolled("vault-b");
  (void)Governed(f_, {"propose", "keyring.create", "--keyring", "there", "--param", "custody=token:" + serial,
                      "--param", "grants=service-1", "--reason", "a test"});
  EXPECT_EQ(Ask("service-1", "there/datakey", R"({"bytes":32})").status, 200U);
  const auto others_are_served = [&](const char* while_it) {
    std::atomic<bool> stop{false};
    std::thread crowd([&] {
      while (!stop) (void)Ask("service-1", "there/datakey", R"({"bytes":32})");
    });
    for (int i = 0; i < 50; ++i) {
      const auto begin = steady_clock::now();
      EXPECT_EQ(Ask("service-2", "org-a/datakey", R"({"bytes":32})").status, 200U) << while_it;
      EXPECT_LT(steady_clock::now() - begin, 1s) << while_it;
    }
    (void)Governed(f_, {"propose", "keyring.rotate", "--keyring", "install", "--reason", "a test"});
    stop = true;
    crowd.join();
  };
  StopToken("vault-b");
  ASSERT_TRUE(Becomes(serial, "down"));
  others_are_served("it is away");
  EXPECT_EQ(Ask("service-1", "there/datakey", R"({"bytes":32})").status, 503U);
  const TempDir where;
  const FaultyModule module(where.path(), STRONGROOM_BIN_DIR);
  const auto config = f_.Path("tokens/vault-b/strongroom-tokend.toml");
  auto text = ReadFile(config);
  const std::string real = "/usr/lib/softhsm/libsofthsm2.so";
  text.replace(text.find(real), real.size(), module.path());
  std::ofstream(config) << text << "hang-seconds = 2\n";
  f_.Up();
  ASSERT_TRUE(Becomes(serial, "ready"));
  EXPECT_EQ(Ask("service-1", "there/datakey", R"({"bytes":32})").status, 200U) << "and it is back";
  module.Order("C_GenerateRandom hang *");
  others_are_served("it hangs");
  module.Heal();
  ASSERT_TRUE(Becomes(serial, "ready"));
  const auto until = steady_clock::now() + 20s;
  while (Ask("service-1", "there/datakey", R"({"bytes":32})").status != 200 && steady_clock::now() < until) {
  }
  EXPECT_EQ(Ask("service-1", "there/datakey", R"({"bytes":32})").status, 200U);
}

// K9: another token in the enrolled one's place: is it used, or told anything?
TEST_F(SeveralTokens, K9_AnotherTokenInItsPlaceIsAnImpostor) {
  const auto serial = Enrolled("vault-b");
  (void)Governed(f_, {"propose", "keyring.create", "--keyring", "there", "--param", "custody=token:" + serial,
                      "--param", "grants=service-1", "--reason", "a test"});
  const auto other = Token("other");
  StopToken("vault-b");
  StopToken("other");
  fs::rename(f_.Path("tokens/vault-b/tokens"), f_.Path("tokens/kept"));
  fs::copy(f_.Path("tokens/other/tokens"), f_.Path("tokens/vault-b/tokens"), fs::copy_options::recursive);
  // Its label and PIN are made to fit, as a thief would.
  auto text = ReadFile(f_.Path("tokens/vault-b/strongroom-tokend.toml"));
  text.replace(text.find("token=vault-b"), 13, "token=other");
  std::ofstream(f_.Path("tokens/vault-b/strongroom-tokend.toml")) << text;
  fs::copy(f_.Path("tokens/other/kek.pin"), f_.Path("tokens/vault-b/kek.pin"), fs::copy_options::overwrite_existing);
  // So is the state directory's name: another installation's token would not even be served.
  fs::copy(f_.Path("tokens/other/state/installation"), f_.Path("tokens/vault-b/state/installation"),
           fs::copy_options::overwrite_existing);
  fs::remove(f_.Path("tokens/other/strongroom-tokend.toml"));
  f_.Up();
  ASSERT_TRUE(Becomes(serial, "impostor"));
  EXPECT_EQ(Text(Status(), "state"), "degraded");
  EXPECT_EQ(Ask("service-1", "there/datakey", R"({"bytes":32})").slug, "token-not-verified");
  EXPECT_EQ(Ask("service-2", "org-a/datakey", R"({"bytes":32})").status, 200U);
  const auto refused = f_.Run("operator-1", {"propose", "rekey.start", "--keyring", "install", "--param",
                                             "to=token:" + serial, "--reason", "a test"});
  EXPECT_EQ(refused.status, 4);
  EXPECT_NE(refused.err.find("token-not-connected"), std::string::npos) << refused.err;
  EXPECT_TRUE(Becomes(other, "not-enrolled"));
}

// K3, F4: a customer makes the next key in her own token with her own tool: offered, adopted by votes, used.
TEST_F(SeveralTokens, K3_ACustomersOwnRotationIsOfferedAndAdopted) {
  const auto serial = Enrolled("customer", "customer");
  (void)Governed(f_, {"propose", "keyring.create", "--keyring", "hers", "--param", "custody=token:" + serial, "--param",
                      "grants=service-1", "--reason", "a test"});
  const auto wrapped = Ask("service-1", "hers/datakey", R"({"bytes":32,"plaintext":true})");
  const auto missing = f_.Run("operator-1", {"propose", "version.adopt", "--keyring", "hers", "--reason", "a test"});
  EXPECT_EQ(missing.status, 1);
  const auto id = missing.err.find("CKA_ID ");
  ASSERT_NE(id, std::string::npos) << missing.err;
  const auto make = [&](const std::vector<std::string>& more) {
    std::vector<std::string> command = {"env",
                                        "SOFTHSM2_CONF=" + f_.Path("tokens/customer/softhsm2.conf"),
                                        STRONGROOM_BIN_DIR "/make_kek",
                                        "/usr/lib/softhsm/libsofthsm2.so",
                                        "customer",
                                        f_.Path("tokens/customer/kek.pin"),
                                        missing.err.substr(id + 7, 40),
                                        "strongroom hers v2"};
    command.insert(command.end(), more.begin(), more.end());
    const auto made = provisioning::RunProcess(command);
    ASSERT_TRUE(made && made->status == 0) << made->err;
  };
  make({"extractable"});
  const auto propose = [&] {
    StopToken("customer");  // SoftHSM shows what another process has made to one that starts afterwards
    f_.Up();
    return f_.Run("operator-1", {"propose", "version.adopt", "--keyring", "hers", "--reason", "a test"});
  };
  const auto weak = propose();
  EXPECT_NE(weak.err.find("key-drift"), std::string::npos) << weak.out << weak.err;
  const auto removed = provisioning::RunProcess(
      {"sh", "-c",
       "SOFTHSM2_CONF='" + f_.Path("tokens/customer/softhsm2.conf") + "' PIN=$(cat '" +
           f_.Path("tokens/customer/kek.pin") +
           "') pkcs11-tool --module /usr/lib/softhsm/libsofthsm2.so --token-label customer --login --pin env:PIN "
           "--delete-object --type secrkey --id " +
           missing.err.substr(id + 7, 40)});
  ASSERT_EQ(removed->status, 0) << removed->err;
  make({});
  ASSERT_EQ(propose().status, 0);
  (void)Governed(f_, {"propose", "version.adopt", "--keyring", "hers", "--reason", "a test"});
  const auto after = Ask("service-1", "hers/datakey", R"({"bytes":32})");
  EXPECT_EQ(after.body.at("kek_version").to_number<int>(), 2);
  const auto opened = Ask("service-1", "hers/unwrap", R"({"wrapped":")" + Text(wrapped.body, "wrapped") + R"("})");
  EXPECT_EQ(Text(opened.body, "plaintext"), Text(wrapped.body, "plaintext"));
  const TempDir out;
  ExportVerifies(f_, out.File("export"));
}

}  // namespace
}  // namespace strongroom::tests
