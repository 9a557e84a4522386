// The real strongroom-tokend over a real token: start, kill, refuse.

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <thread>

#include "hsm/remote_key_ops.h"
#include "hsm/softhsm_guard.h"
#include "provisioning/process.h"
#include "tests/support/quorum_fixture.h"
#include "tests/support/softhsm_fixture.h"

namespace strongroom::hsm {
namespace {

using namespace std::chrono_literals;

class Tokend : public testing::Test {
 protected:
  ~Tokend() override { Stop(); }
  std::string WriteConfig() {
    return token_.dir().Write("config.toml", "[tokend]\nuri = \"" + token_.uri_text() + "\"\nsocket = \"" + Socket() +
                                                 "\"\nstate-dir = \"" + token_.dir().File("state") +
                                                 "\"\nsofthsm-conf = \"" + token_.conf() + "\"\n");
  }
  std::string Socket() { return token_.dir().File("t.sock"); }
  std::string Program() { return std::string(STRONGROOM_BIN_DIR) + "/strongroom-tokend"; }
  void Start() {
    const auto config = WriteConfig();
    pid_ = fork();
    if (pid_ == 0) {
      (void)execl(Program().c_str(), Program().c_str(), "--config", config.c_str(), static_cast<char*>(nullptr));
      _exit(127);
    }
  }
  void Stop() {
    if (pid_ <= 0) return;
    (void)kill(pid_, SIGTERM);
    int status = 0;
    (void)waitpid(pid_, &status, 0);
    stop_status_ = status;
    pid_ = -1;
  }
  provisioning::ProcessOutcome RunToEnd(std::vector<std::string> more = {}) {
    std::vector<std::string> arguments = {"timeout", "20", Program(), "--config", WriteConfig()};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return *provisioning::RunProcess(arguments);
  }
  RemoteKeyOps::Options Options() {
    RemoteKeyOps::Options options;
    options.socket_path = Socket();
    options.peer_uid = geteuid();
    options.patience = 10000ms;
    return options;
  }
  // The host is the supervisor's only child.
  pid_t HostPid() {
    const auto children =
        tests::ReadFile("/proc/" + std::to_string(pid_) + "/task/" + std::to_string(pid_) + "/children");
    return children.empty() ? -1 : static_cast<pid_t>(std::stol(children));
  }

  tests::SoftHsmFixture token_;
  pid_t pid_ = -1;
  int stop_status_ = -1;
};

int Lines(const std::string& text) { return static_cast<int>(std::count(text.begin(), text.end(), '\n')); }

TEST_F(Tokend, AMissingPinFileIsOneLineAndNonZero) {
  std::filesystem::remove(token_.dir().File("kek.pin"));
  const auto outcome = RunToEnd();
  EXPECT_EQ(outcome.status, 1);
  EXPECT_NE(outcome.err.find("pin-missing"), std::string::npos) << outcome.err;
  EXPECT_EQ(Lines(outcome.err), 1) << outcome.err;
}

TEST_F(Tokend, P8_AWrongPinIsTriedOnceAndLatched) {
  (void)token_.dir().Write("kek.pin", "wrong-pin\n");
  const auto first = RunToEnd();
  EXPECT_EQ(first.status, 1);
  EXPECT_EQ(Lines(first.err), 1) << first.err;
  const auto latched = RunToEnd();
  EXPECT_EQ(latched.status, 1);
  EXPECT_NE(latched.err.find("pin-latched"), std::string::npos) << latched.err;
  EXPECT_EQ(Lines(latched.err), 1) << latched.err;
  (void)token_.dir().Write("kek.pin", token_.pin() + "\n");
  EXPECT_NE(RunToEnd().err.find("pin-latched"), std::string::npos) << "a right PIN does not clear the latch by itself";
  EXPECT_EQ(RunToEnd({"--clear-pin-latch"}).status, 0);
  Start();
  RemoteKeyOps remote(Options());
  EXPECT_TRUE(remote.SelfTest());
}

TEST_F(Tokend, AMissingTokenOrModuleIsOneLine) {
  std::filesystem::remove_all(token_.dir().File("tokens"));
  std::filesystem::create_directory(token_.dir().File("tokens"));
  const auto outcome = RunToEnd();
  EXPECT_EQ(outcome.status, 1);
  EXPECT_NE(outcome.err.find("token-missing"), std::string::npos) << outcome.err;
  EXPECT_EQ(Lines(outcome.err), 1) << outcome.err;
}

TEST_F(Tokend, ASecondSupervisorOfTheSameTokenIsRefused) {
  Start();
  RemoteKeyOps remote(Options());
  ASSERT_TRUE(remote.SelfTest());
  const auto second = RunToEnd();
  EXPECT_EQ(second.status, 1);
  EXPECT_NE(second.err.find("already-running"), std::string::npos) << second.err;
  EXPECT_TRUE(remote.SelfTest()) << "the first is not disturbed";
}

TEST_F(Tokend, APeerOfAnotherUserIsRefused) {
  const auto config = WriteConfig();
  std::ofstream(config, std::ios::app) << "allowed-uids = [54321]\n";
  pid_ = fork();
  if (pid_ == 0) {
    (void)execl(Program().c_str(), Program().c_str(), "--config", config.c_str(), static_cast<char*>(nullptr));
    _exit(127);
  }
  auto options = Options();
  options.patience = 1500ms;
  RemoteKeyOps remote(options);
  EXPECT_EQ(remote.SelfTest().error().code, Code::kUnavailable);
}

// kill -9 of the host under load: calls fail with kUnavailable or are right, and the next host serves without anyone
// restarting anything.
TEST_F(Tokend, KilledHostsCostAPauseAndNoWrongAnswer) {
  Start();
  RemoteKeyOps remote(Options());
  const auto identity = remote.Identity();
  ASSERT_TRUE(identity) << identity.error().Line();
  const tests::QuorumFixture quorum;
  const auto ring = crypto::RandomArray<16>();
  const KeyRef key{identity->serial, crypto::MakeKeyId(ring, 1), crypto::Suite::kKwp};
  const auto made = remote.Generate(quorum.Grant(ring, 1, crypto::Suite::kKwp, identity->serial), {key, "kek"});
  ASSERT_TRUE(made) << made.error().Line();

  std::atomic<bool> stop{false};
  std::atomic<int> right{0}, refused{0}, wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      while (!stop) {
        std::vector<KeyOp> ops;
        const Bytes dek(32, static_cast<std::uint8_t>(t));
        ops.emplace_back(WrapOp{key, *SecretBytes::CopyOf(dek), {}});
        auto wrapped = remote.Execute(ops);
        if (!wrapped[0]) {
          ++(wrapped[0].error().code == Code::kUnavailable ? refused : wrong);
          continue;
        }
        std::vector<KeyOp> back;
        back.emplace_back(UnwrapOp{key, wrapped[0]->blob, {}, {}});
        auto opened = remote.Execute(back);
        if (!opened[0])
          ++(opened[0].error().code == Code::kUnavailable ? refused : wrong);
        else if (EqualConstantTime(opened[0]->plaintext.Read(SecretAccess()), dek))
          ++right;
        else
          ++wrong;
      }
    });
  for (int kills = 0; kills < 10; ++kills) {
    const int before = right;
    const auto give_up = std::chrono::steady_clock::now() + 20s;
    while (right < before + 50 && std::chrono::steady_clock::now() < give_up) std::this_thread::yield();
    ASSERT_GE(right, before + 50) << "no recovery after kill " << kills;
    const auto host = HostPid();
    ASSERT_GT(host, 1);
    (void)kill(host, SIGKILL);
  }
  const int before = right;
  const auto give_up = std::chrono::steady_clock::now() + 20s;
  while (right < before + 50 && std::chrono::steady_clock::now() < give_up) std::this_thread::yield();
  stop = true;
  for (auto& t : threads) t.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_GT(right, 500);
  Stop();
  EXPECT_TRUE(WIFEXITED(stop_status_) && WEXITSTATUS(stop_status_) == 0);
}

// SoftHSM's token.object, emptied as a kill inside a login empties it, is put back before the next host starts.
TEST_F(Tokend, AnEmptiedTokenObjectIsPutBack) {
  const auto guard = token_.dir().File("guard");
  ASSERT_EQ(*GuardTokenObjects(token_.conf(), guard), 0);
  std::string object;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(token_.dir().File("tokens")))
    if (entry.path().filename() == "token.object") object = entry.path().string();
  const auto whole = tests::ReadFile(object);
  for (const std::size_t cut : {std::size_t{0}, std::size_t{1}, whole.size() / 2, whole.size() - 1}) {
    std::filesystem::resize_file(object, cut);
    EXPECT_EQ(*GuardTokenObjects(token_.conf(), guard), 1) << cut;
    EXPECT_EQ(tests::ReadFile(object), whole);
  }
  std::filesystem::remove(object);
  EXPECT_EQ(*GuardTokenObjects(token_.conf(), guard), 1);
  EXPECT_EQ(tests::ReadFile(object), whole);
}

}  // namespace
}  // namespace strongroom::hsm
