// A host's side of its socket, against peers that do not behave.

#include "hsm/host.h"

#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "hsm/remote_key_ops.h"
#include "tests/fakes/fake_key_ops.h"
#include "tests/support/temp_dir.h"

namespace strongroom::hsm {
namespace {

using namespace std::chrono_literals;
using Now = std::chrono::steady_clock;

class HostTest : public testing::Test {
 protected:
  HostTest()
      : listener_(*ListenLocal(dir_.File("s"))),
        server_([this] { (void)ServeFrames(listener_.get(), stop_.get(), {geteuid()}, token_, clock_, {}); }) {}
  ~HostTest() override {
    EXPECT_EQ(eventfd_write(stop_.get(), 1), 0);
    server_.join();
  }
  // A peer that has heard the host's first word.
  UniqueFd Greeted() const {
    auto fd = *ConnectLocal(dir_.File("s"), geteuid());
    SetIoTimeout(fd.get(), 20'000);
    ScratchBytes word;
    EXPECT_TRUE(ReadFrame(fd.get(), word));
    return fd;
  }
  tests::TempDir dir_;
  tests::FakeKeyOps token_;
  SystemClock clock_;
  UniqueFd stop_{eventfd(0, EFD_CLOEXEC)};
  UniqueFd listener_;
  std::thread server_;
};

// Does a peer that asks and never reads hold anybody else up for longer than the host waits for one write, and does the
// host let go of it?
TEST_F(HostTest, P7_APeerThatDoesNotReadCostsItsOwnConnection) {
  const auto deaf = Greeted();
  SetSendTimeout(deaf.get(), 2000);
  // Each answer is some 16 KiB of refusals: the key is not there.
  std::vector<KeyOp> ops;
  for (int i = 0; i < 64; ++i)
    ops.emplace_back(WrapOp{KeyRef{"fake-token", {}, crypto::Suite::kKwp}, *SecretBytes::CopyOf(Bytes(32)), {}});
  bool blocked = false;
  for (std::uint64_t id = 1; id < 2000 && !blocked; ++id) blocked = !WriteFrame(deaf.get(), EncodeExecute(id, ops));
  ASSERT_TRUE(blocked) << "the host took everything: this peer was no burden";

  const auto began = Now::now();
  const auto other = Greeted();
  ASSERT_TRUE(WriteFrame(other.get(), EncodeRequest({7, IdentityRequest()})));
  ScratchBytes answer;
  ASSERT_TRUE(ReadFrame(other.get(), answer)) << "another peer is not answered";
  EXPECT_TRUE(std::holds_alternative<IdentityResponse>(DecodeResponse(answer)->body));
  EXPECT_LT(Now::now() - began, 10s);

  std::size_t answers = 0;
  while (ReadFrame(deaf.get(), answer)) ++answers;
  EXPECT_GT(answers, 0U) << "what was written before it stopped reading";
  EXPECT_LT(Now::now() - began, 15s) << "its connection is not ended";
}

// Half a frame, and then nothing: the rest of the world is served, and the half is dropped when its time is up.
TEST_F(HostTest, P7_HalfAFrameCostsItsOwnConnection) {
  const auto slow = Greeted();
  const auto frame = EncodeRequest({1, IdentityRequest()});
  ASSERT_EQ(send(slow.get(), frame.data(), frame.size() - 1, MSG_NOSIGNAL), static_cast<ssize_t>(frame.size() - 1));
  const auto began = Now::now();
  const auto other = Greeted();
  ASSERT_TRUE(WriteFrame(other.get(), EncodeRequest({7, IdentityRequest()})));
  ScratchBytes answer;
  ASSERT_TRUE(ReadFrame(other.get(), answer));
  EXPECT_LT(Now::now() - began, 10s);
  EXPECT_FALSE(ReadFrame(slow.get(), answer)) << "half a frame was answered";
  EXPECT_LT(Now::now() - began, 15s);
}

}  // namespace
}  // namespace strongroom::hsm
