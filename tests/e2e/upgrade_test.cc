// An appliance of the build before: is it upgraded in place by its next start, and what was open then void (Q12)?

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/support/govern.h"
#include "tests/support/raw_tls.h"

namespace strongroom::tests {
namespace {

// What service-1 was given by the build before.
constexpr const char* kWrapped =
    "srw1:AQGFOAucaN8312bTYaFJ97EFK26I-DKhcbBK24NoP1UeAgAAAAErboj4MqFxsErbg2g_"
    "VR4CAAAAAQBgdzYKOstF4w12s_tsfFogkqtD5MwYba4o9rhxyqDxFW0kjKU9sNHib0C3o4Ptdf0gmhUUHMZYXGOtgGlHX-"
    "TtEoYFCDDPp1oIN03nEGd-MS3gfxstvS80984fMi6Yqh4h";
constexpr const char* kDek = "1qq5O4cDLKbpzIWr6xDBOJrk7201qs2Pft8cOQViCbo=";
constexpr const char* kOpen = "d40e137d86cad008f3972fe6d144d29a";

void Replace(const std::string& file, const std::string& what, const std::string& with) {
  auto text = ReadFile(file);
  for (auto at = text.find(what); at != std::string::npos; at = text.find(what, at + with.size()))
    text.replace(at, what.size(), with);
  std::ofstream(file, std::ios::trunc) << text;
}

void Unpack(const std::string& folder) {
  const auto parent = std::filesystem::path(folder).parent_path().string();
  const auto unpacked = provisioning::RunProcess(
      {"tar", "-xzf", STRONGROOM_SOURCE_DIR "/tests/fixtures/appliance-of-record-format-6.tar.gz", "-C", parent});
  ASSERT_TRUE(unpacked && unpacked->status == 0);
  for (const auto* file : {"strongroom.toml", "token/softhsm2.conf", "token/identity.conf"}) {
    Replace(folder + "/" + file, "@FOLDER@", folder);
    Replace(folder + "/" + file, "@PORT@", std::to_string(FreePort()));
  }
}

TEST(Upgrade, Q12_AnApplianceOfTheBuildBeforeGoesOn) {
  const DevFixture f(&Unpack);
  const auto opened = f.Run("service-1", {"unwrap", "--keyring", "install"}, std::string(kWrapped) + "\n");
  EXPECT_EQ(opened.status, 0) << opened.err;
  EXPECT_EQ(opened.out.substr(0, 44), kDek) << "what was wrapped before opens";
  const auto status = f.Run("operator-1", {"--json", "status"});
  EXPECT_NE(status.out.find("\"state\":\"operational\""), std::string::npos) << status.out;
  // What was open is void: no host executes a text of the former form.
  const auto voted = f.Run("custodian-1", {"approve", kOpen, "--key", f.Path("approvers/custodian-1")});
  EXPECT_EQ(voted.status, 1);
  EXPECT_NE(voted.err.find("stale"), std::string::npos) << voted.err;
  Governed(f, {"propose", "keyring.rotate", "--keyring", "install", "--reason", "a test"});
  const auto again = f.Run("service-1", {"unwrap", "--keyring", "install"}, std::string(kWrapped) + "\n");
  EXPECT_EQ(again.out.substr(0, 44), kDek) << "also after a rotation";
  ExportVerifies(f, f.Path("export"));
}

}  // namespace
}  // namespace strongroom::tests
