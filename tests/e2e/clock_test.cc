// Q10 on real processes: the system's clock as they see it is moved under them (libfaketime), and set right by quorum.

#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "hsm/frame_socket.h"

#include "tests/support/govern.h"
#include "tests/support/moved_clock.h"

namespace strongroom::tests {
namespace {

class MovedClock : public testing::Test {
 protected:
  // strongroomd, and it alone, sees the moved clock; the token's host keeps the true one.
  void StartUnderIt() {
    const auto pid = f_.PidOf("strongroomd.pid");
    ASSERT_EQ(kill(pid, SIGTERM), 0);
    const auto end = hsm::UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
    pollfd gone{end.get(), POLLIN, 0};
    if (end) ASSERT_EQ(poll(&gone, 1, 20000), 1);
    clock_.StartDaemon(f_);
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (f_.Run("monitor-1", {"status"}).out.find("operational") == std::string::npos &&
           std::chrono::steady_clock::now() < until)
      std::this_thread::yield();
  }
  std::string Status() { return f_.Run("monitor-1", {"status"}).out; }
  TempDir where_;
  const SteppedClock clock_{where_.path()};
  DevFixture f_;
};

TEST_F(MovedClock, Q10_AStepFreezesApprovalsAndAQuorumAcceptsTheClock) {
  StartUnderIt();
  ASSERT_NE(Status().find("operational"), std::string::npos) << Status();
  const auto open = Filed(f_, {"propose", "keyring.rotate", "--keyring", "install", "--reason", "before the step"});
  ApproveBy(f_, open, {"custodian-1", "custodian-2"});
  clock_.Set(-240);  // four minutes back: less than what the test's certificates allow, more than any clock should
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
