// Q10 on real processes: the system's clock as they see it is moved under them (libfaketime), and set right by quorum.

#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <thread>

#include "hsm/frame_socket.h"

#include "tests/support/govern.h"

namespace strongroom::tests {
namespace {

constexpr const char* kFaketime = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

class MovedClock : public testing::Test {
 protected:
  void Set(const std::string& offset) const {
    std::ofstream(where_.File("offset.new")) << offset << "\n";
    std::filesystem::rename(where_.File("offset.new"), where_.File("offset"));
  }
  // strongroomd, and it alone, sees the moved clock; the token's host keeps the true one.
  void StartUnderIt() {
    ASSERT_TRUE(std::filesystem::exists(kFaketime)) << "ci/setup --tests installs it";
    Set("+0");
    const auto pid = f_.PidOf("strongroomd.pid");
    ASSERT_EQ(kill(pid, SIGTERM), 0);
    const auto end = hsm::UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
    pollfd gone{end.get(), POLLIN, 0};
    if (end) ASSERT_EQ(poll(&gone, 1, 20000), 1);
    const auto started = provisioning::RunProcess(
        {"sh", "-c",
         std::string("LD_PRELOAD=") + kFaketime + " FAKETIME_TIMESTAMP_FILE=" + where_.File("offset") +
             " FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1 setsid " + DevFixture::Program("strongroomd") +
             " --config " + f_.Path("strongroom.toml") + " >" + where_.File("log") + " 2>&1 </dev/null & echo $! >" +
             f_.Path("strongroomd.pid")});
    ASSERT_EQ(started->status, 0) << started->err;
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (f_.Run("monitor-1", {"status"}).out.find("operational") == std::string::npos &&
           std::chrono::steady_clock::now() < until)
      std::this_thread::yield();
  }
  std::string Status() { return f_.Run("monitor-1", {"status"}).out; }
  TempDir where_;
  DevFixture f_;
};

TEST_F(MovedClock, Q10_AStepFreezesApprovalsAndAQuorumAcceptsTheClock) {
  StartUnderIt();
  ASSERT_NE(Status().find("operational"), std::string::npos) << Status();
  const auto open = Filed(f_, {"propose", "keyring.rotate", "--keyring", "install", "--reason", "before the step"});
  ApproveBy(f_, open, {"custodian-1", "custodian-2"});
  Set("-240");  // four minutes back: less than what the test's certificates allow, more than any clock should
  const auto frozen = f_.Run("operator-1", {"execute", open});
  EXPECT_EQ(frozen.status, 4) << frozen.out;
  EXPECT_NE(frozen.err.find("frozen"), std::string::npos) << frozen.err;
  EXPECT_NE(frozen.err.find("clock.accept"), std::string::npos) << "what to do next: " << frozen.err;
  EXPECT_NE(Status().find("set back by"), std::string::npos) << Status();
  EXPECT_EQ(f_.Run("service-1", {"datakey", "--keyring", "install"}).status, 0) << "services go on";
  f_.Restart([](std::string text) { return text; });  // the true clock again, and a restart: neither is an acceptance
  EXPECT_EQ(f_.Run("operator-1", {"execute", open}).status, 4);
  const auto accept = Filed(f_, {"propose", "clock.accept", "--reason", "the time server was wrong"});
  ApproveBy(f_, accept, {"custodian-1", "custodian-3"});
  const auto accepted = f_.Run("operator-1", {"execute", accept});
  ASSERT_EQ(accepted.status, 0) << accepted.err;
  EXPECT_NE(Status().find("operational"), std::string::npos) << Status();
  EXPECT_EQ(f_.Run("operator-1", {"execute", open}).status, 1) << "what was asked for before is void";
  (void)Governed(f_, {"propose", "keyring.rotate", "--keyring", "install", "--reason", "after it"});
  ExportVerifies(f_, where_.File("export"));
}

}  // namespace
}  // namespace strongroom::tests
