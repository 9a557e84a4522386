// ledger.archive by hand and by both verifiers: what leaves the database, what stays provable, what a restore needs.
// L1, L4, L9, K4.

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "crypto/base/clock.h"
#include "tests/support/govern.h"

namespace strongroom::tests {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

class Archive : public testing::Test {
 protected:
  void Use(int times) {
    const auto client = f_.ClientFor("service-1");
    for (int i = 0; i < times; ++i)
      ASSERT_EQ(client->Call("POST", "/v1/keyrings/install/datakey", R"({"bytes":32})")->status, 200U);
  }
  unsigned Get(const std::string& path) { return f_.ClientFor("auditor-1")->Call("GET", "/v1/ledger/" + path)->status; }
  void Export(const std::string& to) {
    const auto written = f_.Run("auditor-1", {"ledger", "export", "--out", to});
    ASSERT_EQ(written.status, 0) << written.err;
  }
  provisioning::ProcessOutcome Verify(const std::string& folder, const std::vector<std::string>& archives = {}) {
    std::vector<std::string> command = {"ledger", "verify", folder, "--vkey", f_.Path("ledger.vkey")};
    for (const auto& archive : archives) command.insert(command.end(), {"--archive", archive});
    return f_.Run("auditor-1", command);
  }
  int Oracle(const std::string& folder, const std::vector<std::string>& archives = {}) {
    std::vector<std::string> command = {"python3",
                                        std::string(STRONGROOM_SOURCE_DIR) + "/tests/oracle/verify_export.py", folder,
                                        f_.Path("ledger.vkey")};
    command.insert(command.end(), archives.begin(), archives.end());
    return provisioning::RunProcess(command)->status;
  }
  // The next second, for times in a proposal are whole ones: once it has come.
  static std::string Now() {
    const auto next = (SystemClock().Now() / 1000 + 1) * 1000;
    while (SystemClock().Now() < next) std::this_thread::yield();
    return FormatTime(next);
  }

  TempDir out_;
  DevFixture f_;
};

// L9: is evidence that votes have archived gone from the appliance and still proven by what is left, and is nothing
// else ever allowed to be missing?
TEST_F(Archive, L9_WhatVotesHaveArchivedIsGoneAndProven) {
  Use(600);
  const auto early = f_.Run("operator-1", {"propose", "ledger.archive", "--param", "before=2020-01-01T00:00:00Z",
                                           "--param", "where=nowhere", "--reason", "a test"});
  EXPECT_NE(early.err.find("nothing-to-archive"), std::string::npos) << early.err;
  const auto full = out_.File("full");
  Export(full);
  Use(20);
  EXPECT_EQ(Get("evidence/tile/entries/000"), 200U);
  (void)Governed(f_, {"propose", "ledger.archive", "--param", "before=" + Now(), "--param",
                      "where=the export of today, in the safe", "--reason", "a test"});
  const auto until = std::chrono::steady_clock::now() + 20s;
  while (Get("evidence/tile/entries/001") != 404 && std::chrono::steady_clock::now() < until) std::this_thread::yield();
  EXPECT_EQ(Get("evidence/tile/entries/000"), 404U);
  EXPECT_EQ(Get("evidence/tile/entries/001"), 404U);
  EXPECT_EQ(Get("evidence/tile/0/000"), 200U) << "the hashes stay";
  EXPECT_EQ(Get("evidence/proof?index=3"), 200U);
  EXPECT_EQ(f_.Run("auditor-1", {"ledger", "show", "evidence"}).status, 0);
  // A start reads what is left, signs on, and takes more.
  f_.Restart([](std::string text) { return text; });
  Use(10);
  const auto rest = out_.File("rest");
  Export(rest);
  EXPECT_FALSE(fs::exists(rest + "/evidence/tile/entries/000"));
  const auto alone = Verify(rest);
  EXPECT_EQ(alone.status, 0) << alone.err;
  EXPECT_NE(alone.out.find("512 entries not read"), std::string::npos) << alone.out;
  EXPECT_EQ(Oracle(rest), 0);
  const auto whole = Verify(rest, {full});
  EXPECT_EQ(whole.status, 0) << whole.err;
  EXPECT_NE(whole.out.find("read from its archive"), std::string::npos) << whole.out;
  EXPECT_EQ(Oracle(rest, {full}), 0);
  // An archive that was changed, a hash that was, and an entry that was never archived and is missing.
  const auto break_file = [](const std::string& path) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(100);
    const char was = static_cast<char>(file.get());
    file.seekp(100);
    file.put(static_cast<char>(was ^ 1));
  };
  const auto forged = out_.File("forged");
  fs::copy(full, forged, fs::copy_options::recursive);
  break_file(forged + "/evidence/tile/entries/001");
  EXPECT_EQ(Verify(rest, {forged}).status, 3);
  EXPECT_EQ(Oracle(rest, {forged}), 3);
  const auto hashes = out_.File("hashes");
  fs::copy(rest, hashes, fs::copy_options::recursive);
  break_file(hashes + "/evidence/tile/0/000");
  EXPECT_EQ(Verify(hashes).status, 3);
  EXPECT_EQ(Oracle(hashes), 3);
  const auto missing = out_.File("missing");
  fs::copy(full, missing, fs::copy_options::recursive);
  fs::remove(missing + "/evidence/tile/entries/000");
  EXPECT_EQ(Verify(missing).status, 3) << "before it was archived it may not be missing";
  EXPECT_EQ(Oracle(missing), 3);
}

// K4: does a restore without the archive make a database whose counters have forgotten something?
TEST_F(Archive, K4_ARestoreNeedsTheArchive) {
  Use(300);
  const auto full = out_.File("full"), backup = out_.File("backup.tar");
  Export(full);
  (void)Governed(f_, {"propose", "ledger.archive", "--param", "before=" + Now(), "--param", "where=the safe",
                      "--reason", "a test"});
  const auto until = std::chrono::steady_clock::now() + 20s;
  while (Get("evidence/tile/entries/000") != 404 && std::chrono::steady_clock::now() < until) std::this_thread::yield();
  const auto counters = [&] {
    const auto shown = f_.Run("operator-1", {"--json", "keyring", "show", "install"}).out;
    return shown.substr(0, shown.find("\"age_seconds\""));
  };
  const auto before = counters();
  EXPECT_NE(before.find("\"wraps\":300"), std::string::npos) << before;
  ASSERT_EQ(f_.Run("operator-1", {"backup", "--out", backup}).status, 0);
  const auto into = out_.File("db");
  const std::vector<std::string> restore = {"restore", "--in", backup, "--dir", into, "--vkey", f_.Path("ledger.vkey")};
  const auto refused = f_.Run("operator-1", restore);
  EXPECT_EQ(refused.status, 3);
  EXPECT_NE(refused.err.find("archive-missing"), std::string::npos) << refused.err;
  EXPECT_FALSE(fs::exists(into));
  auto with = restore;
  with.insert(with.end(), {"--archive", full});
  const auto done = f_.Run("operator-1", with);
  ASSERT_EQ(done.status, 0) << done.err;
  // The restored database takes the place of the appliance's own, which it equals: no rollback, the same counters.
  (void)provisioning::RunProcess({DevFixture::Program("strongroom"), "dev", "down", "--dir", f_.Dir()});
  fs::rename(f_.Path("data"), out_.File("old"));
  fs::rename(into, f_.Path("data"));
  f_.Up();
  EXPECT_EQ(counters(), before);
}

}  // namespace
}  // namespace strongroom::tests
