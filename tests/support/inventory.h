#pragma once
// An inventory of many DEKs in a running appliance, made and opened again through the command line, flat in memory.

#include <gtest/gtest.h>

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include "crypto/digest.h"
#include "tests/support/dev_fixture.h"

namespace strongroom::tests {

/// Inventory is made by Fill and judged by OpenAll; it remembers a digest of each DEK.
class InventoryOf {
 public:
  InventoryOf(const DevFixture& f, std::string keyring, std::string principal)
      : f_(f), keyring_(std::move(keyring)), principal_(std::move(principal)) {}

  static std::string Id(std::size_t i) {
    char text[16];
    (void)std::snprintf(text, sizeof text, "dek-%08zu", i);
    return text;
  }

  /// Fill draws `count` data keys, and leaves their wrapped forms in the inventory under Id(0) ...
  void Fill(std::size_t count) {
    const TempDir dir;
    {
      std::ofstream asked(dir.File("asked"));
      for (std::size_t i = 0; i < count; ++i) asked << "{\"bytes\":32,\"plaintext\":true}\n";
    }
    Run({"datakey", "--keyring", keyring_, "--ndjson", "--in", dir.File("asked"), "--out", dir.File("drawn")});
    {
      std::ifstream drawn(dir.File("drawn"));
      std::ofstream put(dir.File("put"));
      std::string line;
      while (std::getline(drawn, line)) {
        const auto value = *netapi::ParseJson(line);
        ASSERT_TRUE(value.get_object().contains("wrapped")) << line;
        put << boost::json::serialize(
                   boost::json::object{{"id", Id(digests_.size())}, {"wrapped", value.get_object().at("wrapped")}})
            << "\n";
        digests_.push_back(crypto::Sha256(AsBytes(std::string_view(value.get_object().at("plaintext").get_string()))));
      }
    }
    ASSERT_EQ(digests_.size(), count);
    Run({"dek", "put", "--keyring", keyring_, "--ndjson", "--in", dir.File("put"), "--out", dir.File("answers")});
  }

  /// OpenAll exports the inventory, unwraps every DEK under `version` and compares it with what it was.
  void OpenAll(std::uint32_t version) const {
    const TempDir dir;
    Run({"dek", "list", "--keyring", keyring_, "--version", std::to_string(version), "--ndjson", "--out",
         dir.File("exported")});
    {
      std::ifstream exported(dir.File("exported"));
      std::ofstream asked(dir.File("asked"));
      std::string line;
      std::size_t i = 0;
      for (; std::getline(exported, line); ++i) {
        const auto value = *netapi::ParseJson(line);
        ASSERT_EQ(std::string_view(value.get_object().at("id").get_string()), Id(i)) << "none is lost or added";
        asked << boost::json::serialize(boost::json::object{{"wrapped", value.get_object().at("wrapped")}}) << "\n";
      }
      ASSERT_EQ(i, digests_.size()) << "none is left behind";
    }
    Run({"unwrap", "--keyring", keyring_, "--ndjson", "--in", dir.File("asked"), "--out", dir.File("opened")});
    std::ifstream opened(dir.File("opened"));
    std::string line;
    std::size_t i = 0, wrong = 0;
    for (; std::getline(opened, line); ++i) {
      const auto value = *netapi::ParseJson(line);
      const auto* plaintext = value.get_object().if_contains("plaintext");
      if (plaintext == nullptr || crypto::Sha256(AsBytes(std::string_view(plaintext->get_string()))) != digests_[i])
        ++wrong;
    }
    EXPECT_EQ(i, digests_.size());
    EXPECT_EQ(wrong, 0U);
  }

 private:
  void Run(const std::vector<std::string>& arguments) const {
    const auto ran = f_.Run(principal_, arguments);
    ASSERT_EQ(ran.status, 0) << ran.err;
  }
  const DevFixture& f_;
  const std::string keyring_, principal_;
  std::vector<crypto::Digest> digests_;
};

}  // namespace strongroom::tests
