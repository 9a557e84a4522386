// The service's TLS key lies in a token of its own: what a failing or hanging one does to new connections, and what it
// does not do to those that are there.

#include <gtest/gtest.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include "tests/support/faulty_module.h"
#include "tests/support/raw_tls.h"

namespace strongroom::tests {
namespace {

using namespace std::chrono_literals;

class TlsIdentity : public testing::Test {
 protected:
  TlsIdentity() : module_(where_.path(), STRONGROOM_BIN_DIR) {
    f_.Restart([&](std::string text) {
      const std::string real = "/usr/lib/softhsm/libsofthsm2.so";
      text.replace(text.find(real, text.find("identity =")), real.size(), module_.path());
      return text;
    });
    open_ = f_.ClientFor("service-1");
    monitor_ = f_.ClientFor("monitor-1");
    EXPECT_EQ(Ask(*open_), 200U);
    EXPECT_EQ(monitor_->Call("GET", "/v1/status")->status, 200U);
  }
  static unsigned Ask(netapi::Client& client) {
    const std::string body = R"({"bytes":32})";
    const auto answer = client.Call("POST", "/v1/keyrings/install/datakey", {body.data(), body.size()});
    return answer ? answer->status : 0;
  }
  std::string TlsCheck() {
    const auto status = *netapi::ParseJson(monitor_->Call("GET", "/v1/status")->body);
    for (const auto& check : status.at("checks").get_array())
      if (check.at("name").get_string() == "tls-identity")
        return std::string(std::string_view(check.at("detail").get_string()));
    return "no such check";
  }
  bool Connects() { return RawTls(RawTlsContext(f_, "service-1")).connected(); }
  TempDir where_;
  FaultyModule module_;
  DevFixture f_;
  std::unique_ptr<netapi::Client> open_, monitor_;
};

TEST_F(TlsIdentity, TheKeyIsInNoFile) {
  const auto found = *provisioning::RunProcess(
      {"sh", "-c", "grep -rl 'PRIVATE KEY' '" + f_.Dir() + "' | grep -v -e /clients/ -e /approvers/ -e /ca.key"});
  EXPECT_EQ(found.out, "");
  EXPECT_TRUE(Connects());
}

// P6: new connections fail while the token fails, open ones do not notice, and nobody has to restart anything.
TEST_F(TlsIdentity, P6_AFaultOfTheIdentityTokenHeals) {
  for (const auto* order : {"C_Sign return 0x30", "C_SignInit return 0x101"}) {
    module_.Order(order);
    EXPECT_FALSE(Connects()) << order;
    EXPECT_EQ(Ask(*open_), 200U) << "an open connection needs no signature";
    const auto until = std::chrono::steady_clock::now() + 10s;
    while (TlsCheck().empty() && std::chrono::steady_clock::now() < until) std::this_thread::yield();
    EXPECT_NE(TlsCheck(), "") << "the status names it";
    module_.Heal();
    bool again = false;
    while (!(again = Connects()) && std::chrono::steady_clock::now() < until) std::this_thread::yield();
    EXPECT_TRUE(again) << order << ": " << TlsCheck();
    EXPECT_EQ(TlsCheck(), "");
  }
}

// A token that hangs in a signature holds up handshakes, and nothing else.
TEST_F(TlsIdentity, P7_AHangingIdentityTokenHoldsUpHandshakesAlone) {
  module_.Order("C_Sign hang");
  const RawTlsContext context(f_, "service-1");
  std::vector<std::thread> waiting;
  std::atomic<int> connected{0};
  for (int i = 0; i < 4; ++i) waiting.emplace_back([&] { connected += RawTls(context).connected() ? 1 : 0; });
  for (int i = 0; i < 200; ++i) ASSERT_EQ(Ask(*open_), 200U) << i;
  EXPECT_EQ(connected, 0);
  module_.Heal();
  for (auto& thread : waiting) thread.join();
  EXPECT_EQ(connected, 4) << "they were waiting, and are served";
}

}  // namespace
}  // namespace strongroom::tests
