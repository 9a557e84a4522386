#include "tests/support/dev_fixture.h"

#include <gtest/gtest.h>

#include <boost/json/object.hpp>
#include <cstdlib>
#include <fstream>

namespace strongroom::tests {

DevFixture::DevFixture(unsigned token_hosts) : token_hosts_(token_hosts) { Up(); }

DevFixture::DevFixture(const std::function<void(const std::string& folder)>& prepare) : token_hosts_(0) {
  prepare(Dir());
  Up();
}

DevFixture::~DevFixture() { (void)provisioning::RunProcess({Program("strongroom"), "dev", "down", "--dir", Dir()}); }

std::string DevFixture::Program(const std::string& name) { return std::string(STRONGROOM_BIN_DIR) + "/" + name; }

void DevFixture::Up() {
  std::vector<std::string> arguments = {Program("strongroom"), "--json", "dev", "up", "--dir", Dir()};
  if (token_hosts_ != 0) arguments.insert(arguments.end(), {"--token-hosts", std::to_string(token_hosts_)});
  const auto up = provisioning::RunProcess(arguments);
  ASSERT_TRUE(up);
  ASSERT_EQ(up->status, 0) << up->err;
  const auto value = netapi::ParseJson(up->out.substr(0, up->out.find_last_not_of('\n') + 1));
  ASSERT_TRUE(value) << up->out;
  url_ = std::string(std::string_view(value->get_object().at("url").get_string()));
}

void DevFixture::Restart(const std::function<std::string(std::string)>& edit) {
  (void)provisioning::RunProcess({Program("strongroom"), "dev", "down", "--dir", Dir()});
  const auto text = edit(ReadFile(Path("strongroom.toml")));
  std::ofstream(Path("strongroom.toml")) << text;
  Up();
}

provisioning::ProcessOutcome DevFixture::Run(const std::string& principal, std::vector<std::string> arguments,
                                             const std::string& input) const {
  std::vector<std::string> all = {Program("strongroom"),
                                  "--server",
                                  url_,
                                  "--ca",
                                  Path("ca.pem"),
                                  "--cert",
                                  Path("clients/" + principal + ".pem"),
                                  "--key",
                                  Path("clients/" + principal + ".key")};
  all.insert(all.end(), arguments.begin(), arguments.end());
  auto outcome = provisioning::RunProcess(all, input);
  EXPECT_TRUE(outcome);
  return std::move(*outcome);
}

std::unique_ptr<netapi::Client> DevFixture::ClientFor(const std::string& principal) const {
  return ClientWith(Path("clients/" + principal + ".pem"), Path("clients/" + principal + ".key"));
}

std::unique_ptr<netapi::Client> DevFixture::ClientWith(const std::string& certificate, const std::string& key) const {
  auto client = netapi::Client::Make({url_, {certificate, key, Path("ca.pem")}, std::chrono::seconds(30)});
  EXPECT_TRUE(client) << (client ? "" : client.error().Line());
  return std::move(*client);
}

int DevFixture::PidOf(const std::string& pid_file) const { return std::atoi(ReadFile(Path(pid_file)).c_str()); }

int DevFixture::HostPid() const {
  const auto pid = std::to_string(PidOf("tokend.pid"));
  return std::atoi(ReadFile("/proc/" + pid + "/task/" + pid + "/children").c_str());
}

}  // namespace strongroom::tests
