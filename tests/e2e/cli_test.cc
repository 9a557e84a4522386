// The command line as people and scripts meet it, and the daemons' refusals at start.

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>

#include <boost/json/object.hpp>

#include "tests/support/dev_suite.h"

namespace strongroom::tests {
namespace {

using provisioning::RunProcess;

int LineCount(const std::string& text) { return static_cast<int>(std::count(text.begin(), text.end(), '\n')); }

class Cli : public DevSuite<class CliTag> {
 protected:
};

TEST_F(Cli, ExitStatusesAreTheContract) {
  EXPECT_EQ(f().Run("service-1", {"no-such-command"}).status, 2);
  EXPECT_EQ(f().Run("service-1", {"wrap"}).status, 2) << "--keyring is missing";
  EXPECT_EQ(f().Run("service-1", {"datakey", "--keyring", "org-a"}).status, 1);
  EXPECT_EQ(f().Run("service-1", {"datakey", "--keyring", "install"}).status, 0);
  EXPECT_EQ(
      RunProcess({DevFixture::Program("strongroom"), "--server", "https://127.0.0.1:1", "--ca", f().Path("ca.pem"),
                  "--cert", f().Path("clients/service-1.pem"), "--key", f().Path("clients/service-1.key"), "status"})
          ->status,
      4);
  EXPECT_EQ(RunProcess({DevFixture::Program("strongroom"), "status"})->status, 2) << "no server named";
  EXPECT_EQ(RunProcess({DevFixture::Program("strongroom"), "--help"})->status, 0);
}

TEST_F(Cli, ErrorsAreOneLineAndANextStep) {
  const auto refused = f().Run("service-1", {"unwrap", "--keyring", "install"}, "srw1:AAAA\n");
  EXPECT_EQ(refused.status, 1);
  EXPECT_TRUE(refused.err.starts_with("strongroom: unwrap-failed: ")) << refused.err;
  EXPECT_EQ(LineCount(refused.err), 2) << refused.err;
  EXPECT_NE(refused.err.find("\nnext: "), std::string::npos);
  EXPECT_TRUE(refused.out.empty());
  // Also of a problem that is told only here.
  const auto unknown = f().Run("operator-1", {"--json", "proposal", "show", "no such id"});
  EXPECT_EQ(LineCount(unknown.err), 2) << unknown.err;
  EXPECT_NE(unknown.err.find("\nnext: "), std::string::npos) << unknown.err;
}

TEST_F(Cli, WrapAndUnwrapAreTextInTextOut) {
  const std::string dek = "MDEyMzQ1Njc4OWFiY2RlZg==\n";
  for (const auto& [principal, keyring] :
       {std::pair<const char*, const char*>{"service-1", "install"}, {"service-2", "org-a"}}) {
    const auto wrapped = f().Run(principal, {"wrap", "--keyring", keyring, "--aad", "YQ=="}, dek);
    ASSERT_EQ(wrapped.status, 0) << wrapped.err;
    EXPECT_EQ(f().Run(principal, {"unwrap", "--keyring", keyring, "--aad", "YQ=="}, wrapped.out).out, dek);
    const auto moved = f().Run(principal, {"rewrap", "--keyring", keyring}, wrapped.out);
    EXPECT_EQ(f().Run(principal, {"unwrap", "--keyring", keyring, "--aad", "YQ=="}, moved.out).out, dek);
    const auto out = f().Path("dek.txt");
    EXPECT_EQ(f().Run(principal, {"unwrap", "--keyring", keyring, "--aad", "YQ==", "--out", out}, wrapped.out).status,
              0);
    EXPECT_EQ(ReadFile(out), dek);
    struct stat status {};
    ASSERT_EQ(stat(out.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777U, 0600U);
    const auto inspected = f().Run(principal, {"--json", "inspect", wrapped.out.substr(0, wrapped.out.size() - 1)});
    EXPECT_EQ(inspected.status, 0);
  }
}

TEST_F(Cli, JsonIsOneDocumentOnStdoutEverywhere) {
  const std::pair<const char*, std::vector<std::string>> commands[] = {
      {"operator-1", {"status"}},
      {"operator-1", {"keyring", "list"}},
      {"operator-1", {"keyring", "show", "install"}},
      {"operator-1", {"proposal", "list"}},
      {"service-1", {"datakey", "--keyring", "install"}},
      {"auditor-1", {"ledger", "show"}},
      {"auditor-1", {"ledger", "show", "evidence"}},
      {"operator-1", {"dev", "env", "--dir", f().Dir()}}};
  for (const auto& [principal, command] : commands) {
    auto arguments = command;
    arguments.push_back("--json");
    const auto outcome = f().Run(principal, arguments);
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_TRUE(netapi::ParseJson(outcome.out.substr(0, outcome.out.find_last_not_of('\n') + 1)))
        << command.front() << ": " << outcome.out.substr(0, 200);
    EXPECT_EQ(outcome.err, "");
  }
}

// By hand on another machine: the text, stock ssh-keygen, a signature file.
TEST_F(Cli, VotesMadeByHandWithStockSshKeygen) {
  const auto proposed =
      f().Run("operator-1", {"propose", "keyring.rotate", "--keyring", "org-a", "--reason", "by hand"});
  ASSERT_EQ(proposed.status, 0) << proposed.err;
  const auto id = proposed.out.substr(0, proposed.out.find('\n'));
  const auto text = f().Run("auditor-1", {"proposal", "show", id, "--text"}).out;
  EXPECT_TRUE(text.starts_with("strongroom proposal v2\n"));
  for (const std::string custodian : {"custodian-2", "custodian-3"}) {
    const auto signature =
        RunProcess({"ssh-keygen", "-Y", "sign", "-n", "vote@strongroom", "-f", f().Path("approvers/" + custodian)},
                   text + "verdict: approve\n");
    ASSERT_EQ(signature->status, 0);
    const auto file = f().Path(custodian + ".sig");
    std::ofstream(file) << signature->out;
    const auto voted = f().Run("operator-1", {"approve", id, "--signature", file, "--custodian", custodian});
    EXPECT_EQ(voted.status, 0) << voted.err;
  }
  EXPECT_EQ(f().Run("operator-1", {"execute", id}).out, "executed\n");
  const auto again = f().Run("operator-1", {"execute", id});
  EXPECT_EQ(again.status, 1);
  EXPECT_NE(again.err.find("already-executed"), std::string::npos);
  const auto unsigned_one =
      f().Run("operator-1", {"propose", "keyring.rotate", "--keyring", "org-a", "--reason", "rejected"});
  const auto rejected_id = unsigned_one.out.substr(0, unsigned_one.out.find('\n'));
  EXPECT_EQ(f().Run("custodian-1", {"reject", rejected_id, "--key", f().Path("approvers/custodian-1")}).status, 0);
  EXPECT_EQ(f().Run("operator-1", {"execute", rejected_id}).status, 1);
}

TEST_F(Cli, ASecondDaemonOnTheSameDataIsRefusedInOneLine) {
  const auto second =
      RunProcess({"timeout", "20", DevFixture::Program("strongroomd"), "--config", f().Path("strongroom.toml")});
  EXPECT_EQ(second->status, 1);
  EXPECT_EQ(LineCount(second->err), 1) << second->err;
  EXPECT_NE(second->err.find("already-running"), std::string::npos);
  const auto token =
      RunProcess({"timeout", "20", DevFixture::Program("strongroom-tokend"), "--config", f().Path("strongroom.toml")});
  EXPECT_EQ(token->status, 1);
  EXPECT_EQ(LineCount(token->err), 1) << token->err;
  EXPECT_EQ(f().Run("service-1", {"datakey", "--keyring", "install"}).status, 0) << "the first ones are not disturbed";
}

TEST_F(Cli, DaemonsRefuseBadConfigurationInOneLine) {
  const auto config = ReadFile(f().Path("strongroom.toml"));
  const auto with = [&](const std::string& from, const std::string& to) {
    auto changed = config;
    changed.replace(changed.find(from), from.size(), to);
    const auto file = f().Path("other.toml");
    std::ofstream(file) << changed;
    return RunProcess({"timeout", "20", DevFixture::Program("strongroomd"), "--config", file});
  };
  std::ofstream(f().Path("a-file")) << "x";
  for (const auto& outcome :
       {with("directory = \"" + f().Path("data") + "\"", "directory = \"" + f().Path("a-file") + "/data\""),
        with("directory = \"" + f().Path("data") + "\"", "directory = \"" + f().Path("new-data") + "\"\ncolour = 1"),
        with("[ledger]", "[leger]"), with("server.pem", "absent.pem")}) {
    EXPECT_EQ(outcome->status, 1);
    EXPECT_EQ(LineCount(outcome->err), 1) << outcome->err;
    EXPECT_TRUE(outcome->err.starts_with("strongroomd: ")) << outcome->err;
  }
  EXPECT_EQ(RunProcess({DevFixture::Program("strongroomd"), "--config", f().Path("strongroom.toml"), "--check-config"})
                ->status,
            0);
  EXPECT_EQ(
      RunProcess({DevFixture::Program("strongroomd"), "--config", f().Path("absent.toml"), "--check-config"})->status,
      1);
  EXPECT_EQ(RunProcess({DevFixture::Program("strongroomd")})->status, 2);
}

TEST_F(Cli, InspectExplainsACheckpointWithoutAnyKey) {
  const auto note = f().ClientFor("auditor-1")->Call("GET", "/v1/ledger/control/checkpoint");
  const std::string text(note->body);
  for (const auto& said : {f().Run("operator-1", {"--json", "inspect", text}),
                           f().Run("operator-1", {"--json", "inspect", f().Path("log/strongroomd.log")})}) {
    if (said.status != 0) {
      EXPECT_NE(said.err.find("neither a wrapped DEK"), std::string::npos) << said.err;
      continue;
    }
    EXPECT_NE(said.out.find("/control/1\""), std::string::npos) << said.out;
    EXPECT_NE(said.out.find("\"signed_by\":[\"strongroom/"), std::string::npos) << said.out;
  }
  EXPECT_EQ(f().Run("operator-1", {"inspect", text}).status, 0);
  EXPECT_EQ(f().Run("operator-1", {"inspect", "neither"}).status, 1);
}

// What goes missing from a complete appliance is not made anew: one line, nothing changed, nothing left running.
TEST(DevLife, UpMakesNoNewPinTokenOrDatabaseForALostOne) {
  DevFixture f;
  const auto up = [&] { return RunProcess({DevFixture::Program("strongroom"), "dev", "up", "--dir", f.Dir()}); };
  ASSERT_EQ(RunProcess({DevFixture::Program("strongroom"), "dev", "down", "--dir", f.Dir()})->status, 0);
  for (const auto* name : {"token/kek.pin", "token/tokens", "data", "server.pem", "token/identity.pin"}) {
    std::filesystem::rename(f.Path(name), f.Dir() + "-kept");
    const auto refused = up();
    EXPECT_EQ(refused->status, 1) << name;
    EXPECT_EQ(LineCount(refused->err), 2) << refused->err;
    EXPECT_NE(refused->err.find(name), std::string::npos) << refused->err;
    EXPECT_FALSE(std::filesystem::exists(f.Path(name))) << name << " was made anew";
    EXPECT_FALSE(std::filesystem::exists(f.Path("token/state/pin-rejected")));
    std::filesystem::rename(f.Dir() + "-kept", f.Path(name));
  }
  // A wrong PIN: refused, latched, and the daemons that this run started are gone again.
  const auto pin = ReadFile(f.Path("token/kek.pin"));
  std::ofstream(f.Path("token/kek.pin")) << "wrong-pin\n";
  EXPECT_EQ(up()->status, 4);
  EXPECT_NE(up()->err.find("pin-latched"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(f.Path("strongroomd.pid")));
  std::ofstream(f.Path("token/kek.pin")) << pin;
  EXPECT_EQ(
      RunProcess({DevFixture::Program("strongroom-tokend"), "--config", f.Path("strongroom.toml"), "--clear-pin-latch"})
          ->status,
      0);
  const auto again = up();
  EXPECT_EQ(again->status, 0) << again->err << ReadFile(f.Path("log/tokend.log"))
                              << ReadFile(f.Path("log/strongroomd.log"));
}

TEST(DevLife, UpRefusesDirectoriesThatWouldNotDo) {
  TempDir dir;
  for (const std::string& name :
       {std::string("has#hash"), std::string("has=equals"), std::string("has\"quote"), std::string(120, 'x')})
    EXPECT_EQ(RunProcess({DevFixture::Program("strongroom"), "dev", "up", "--dir", dir.File(name)})->status, 1) << name;
  std::filesystem::create_directory(dir.File("theirs"));
  (void)dir.Write("theirs/file", "x");
  EXPECT_NE(RunProcess({DevFixture::Program("strongroom"), "dev", "up", "--dir", dir.File("theirs")})
                ->err.find("directory-in-use"),
            std::string::npos);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir.path()), {}), 1) << "nothing was made";
}

// A token side that is gone for good shows: not ready, degraded, until it is back.
TEST(DevLife, ADeadTokenSideIsNotReady) {
  DevFixture f;
  const auto client = f.ClientFor("monitor-1");
  ASSERT_EQ(client->Call("GET", "/v1/health/ready")->status, 200U);
  (void)kill(f.PidOf("tokend.pid"), SIGKILL);
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  unsigned status = 200;
  while (status == 200 && std::chrono::steady_clock::now() < until)
    status = client->Call("GET", "/v1/health/ready")->status;
  EXPECT_EQ(status, 503U);
  EXPECT_NE(f.Run("operator-1", {"status"}).out.find("degraded"), std::string::npos);
  EXPECT_EQ(client->Call("GET", "/v1/health/live")->status, 200U);
  f.Up();
  EXPECT_EQ(client->Call("GET", "/v1/health/ready")->status, 200U);
}

TEST(DevLife, UpIsIdempotentDownStopsAndRebuildAgrees) {
  DevFixture f;
  const auto first = f.PidOf("strongroomd.pid");
  f.Up();
  EXPECT_EQ(f.PidOf("strongroomd.pid"), first) << "nothing was restarted";
  const auto wrapped = f.Run("service-2", {"datakey", "--keyring", "org-a", "--plaintext"}).out;
  EXPECT_EQ(RunProcess({DevFixture::Program("strongroom"), "dev", "down", "--dir", f.Dir()})->status, 0);
  EXPECT_EQ(f.Run("service-2", {"datakey", "--keyring", "org-a"}).status, 4);
  const auto stat = ReadFile("/proc/" + std::to_string(first) + "/stat");
  EXPECT_TRUE(stat.empty() || stat.find(") Z ") != std::string::npos)
      << "the daemon has ended (a zombie waits for the machine's init)";
  const auto rebuilt =
      RunProcess({DevFixture::Program("strongroom"), "--json", "ledger", "rebuild", "--data", f.Path("data")});
  EXPECT_NE(rebuilt->out.find("\"same_as_before\":true"), std::string::npos) << rebuilt->out << rebuilt->err;
  f.Up();
  const auto end = wrapped.find('\n');
  EXPECT_EQ(f.Run("service-2", {"unwrap", "--keyring", "org-a"}, wrapped.substr(0, end)).out, wrapped.substr(end + 1));
}

}  // namespace
}  // namespace strongroom::tests
