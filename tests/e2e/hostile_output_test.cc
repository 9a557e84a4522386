// What a server, an export's author or a neighbour on the machine hands to the command line: is it judged before it is
// shown or used?

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "crypto/proposal_text.h"
#include "provisioning/process.h"
#include "tests/support/dev_fixture.h"

namespace strongroom::tests {
namespace {

namespace fs = std::filesystem;
using provisioning::RunProcess;

// A server of the test's own, with a certificate of its own; it ends with the object.
class LyingServer {
 public:
  LyingServer(const std::string& id, const std::string& text) {
    EXPECT_EQ(RunProcess({"openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                          "-subj", "/CN=lying", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2", "-keyout",
                          dir_.File("key"), "-out", dir_.File("cert")})
                  ->status,
              0);
    std::ofstream(dir_.File("text"), std::ios::binary) << text;
    const auto command = "python3 '" + std::string(STRONGROOM_SOURCE_DIR) + "/tests/e2e/lying_server.py' '" +
                         dir_.File("cert") + "' '" + dir_.File("key") + "' " + id + " '" + dir_.File("text") + "' > '" +
                         dir_.File("port") + "'";
    EXPECT_EQ(mkfifo(dir_.File("port").c_str(), 0600), 0);
    process_ = popen(command.c_str(), "w");
    std::getline(std::ifstream(dir_.File("port")), port_);  // waits until it serves
  }
  ~LyingServer() { (void)pclose(process_); }
  LyingServer(const LyingServer&) = delete;
  LyingServer& operator=(const LyingServer&) = delete;
  provisioning::ProcessOutcome Run(std::vector<std::string> arguments) const {
    std::vector<std::string> all = {DevFixture::Program("strongroom"),
                                    "--server",
                                    "https://127.0.0.1:" + port_,
                                    "--ca",
                                    dir_.File("cert"),
                                    "--cert",
                                    dir_.File("cert"),
                                    "--key",
                                    dir_.File("key")};
    all.insert(all.end(), arguments.begin(), arguments.end());
    return *RunProcess(all);
  }

 private:
  TempDir dir_;
  FILE* process_ = nullptr;
  std::string port_;
};

std::string ProposalWith(const std::string& reason) {
  crypto::ProposalText p;
  p.operation = "keyring.rotate";
  p.keyring = "org-a";
  p.reason = "yearly rotation";
  p.requester = "operator-1";
  p.approve_by = p.execute_by = 3'600'000;
  p.policy = {{"rotation", 2, 3}};
  auto text = *p.Render();
  return text.replace(text.find("yearly rotation"), 15, reason);
}

TEST(HostileServer, Q1_WhatItSendsIsJudgedBeforeItIsShown) {
  const auto honest = ProposalWith("yearly rotation");
  {
    const LyingServer server(crypto::ProposalId(honest), honest);
    const auto shown = server.Run({"proposal", "show", crypto::ProposalId(honest), "--text"});
    EXPECT_EQ(shown.status, 0) << shown.err;
    EXPECT_EQ(shown.out, honest);
    const auto other = server.Run({"proposal", "show", std::string(32, 'a'), "--text"});
    EXPECT_NE(other.err.find("text-mismatch"), std::string::npos) << "another text than was asked for" << other.err;
    EXPECT_EQ(other.out, "");
  }
  // Erases its lines from a terminal, makes up lines by blanks, or hides what it is.
  for (const std::string reason : {"x\x1b[2K\ry", "x\x1b]0;title\x07y",
                                   "org-a"
                                   "          requester: operator-2",
                                   "5\xD7\x90"
                                   "2",
                                   "a\xE2\x80\xAEz"}) {
    const auto text = ProposalWith(reason);
    const LyingServer server(crypto::ProposalId(text), text);
    const auto bare = server.Run({"proposal", "show", crypto::ProposalId(text), "--text"});
    EXPECT_NE(bare.status, 0) << reason;
    EXPECT_EQ(bare.out, "") << reason;
    const auto shown = server.Run({"proposal", "show", crypto::ProposalId(text)});
    EXPECT_NE(shown.err.find("NOT TO BE SIGNED"), std::string::npos) << shown.err;
    for (const auto* raw : {"\x1b", "\r", "\x07", "\xD7\x90", "\xE2\x80\xAE"})
      EXPECT_EQ((shown.out + shown.err + bare.err).find(raw), std::string::npos) << reason;
  }
}

// Whoever owns the folder, or what a link in it leads to, has what dev up puts there.
TEST(ForeignFolders, K7_DevUpUsesNeitherAnotherUsersFolderNorWhatWasPlanted) {
  const TempDir work;
  const auto up = [](const std::string& folder) {
    return *RunProcess({DevFixture::Program("strongroom"), "dev", "up", "--dir", folder});
  };
  // A user who is not root finds root's everywhere.
  std::string foreign = "/usr/share";
  if (geteuid() == 0) {
    foreign = work.File("foreign");
    fs::create_directory(foreign);
    ASSERT_EQ(chown(foreign.c_str(), 65534, 65534), 0);
  }
  const auto refused = up(foreign);
  EXPECT_EQ(refused.status, 1);
  EXPECT_NE(refused.err.find("directory-not-yours"), std::string::npos) << refused.err;
  if (geteuid() == 0) EXPECT_TRUE(fs::is_empty(foreign));

  const auto elsewhere = work.File("elsewhere");
  fs::create_directory(elsewhere);
  for (const std::string planted : {"data", "log", "token", "clients", "roster", "lock", "strongroom.toml"}) {
    const auto folder = work.File("with-" + planted);
    fs::create_directory(folder);
    fs::create_symlink(planted == "lock" || planted == "strongroom.toml" ? elsewhere + "/file" : elsewhere,
                       folder + "/" + planted);
    const auto linked = up(folder);
    EXPECT_EQ(linked.status, 1) << planted;
    EXPECT_NE(linked.err.find("directory-not-yours"), std::string::npos) << planted << linked.err;
    EXPECT_TRUE(fs::is_empty(elsewhere)) << planted;
  }
  fs::create_directory_symlink(elsewhere, work.File("link"));
  EXPECT_NE(up(work.File("link")).err.find("directory-not-yours"), std::string::npos) << "the folder itself";
  EXPECT_TRUE(fs::is_empty(elsewhere));
}

}  // namespace
}  // namespace strongroom::tests
