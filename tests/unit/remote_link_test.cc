// The front end's side of a host's socket, against a host that does not behave.

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "hsm/remote_key_ops.h"
#include "tests/support/temp_dir.h"

namespace strongroom::hsm {
namespace {

using namespace std::chrono_literals;

class RemoteLink : public testing::Test {
 protected:
  RemoteLink() : listener_(*ListenLocal(dir_.File("s"))) {
    RemoteKeyOps::Options options;
    options.socket_path = dir_.File("s");
    options.peer_uid = geteuid();
    options.patience = 5000ms;
    options.deadline = 500ms;
    remote_ = std::make_unique<RemoteKeyOps>(options);
  }
  UniqueFd Accept() { return UniqueFd(accept(listener_.get(), nullptr, nullptr)); }
  static void Say(const UniqueFd& fd, HostWord word, std::uint16_t version = kProtocolVersion) {
    (void)WriteFrame(fd.get(), EncodeResponse({0, Notice{word, version}}));
  }
  // The id of the next request on a connection, 0 when it ended.
  static std::uint64_t NextId(const UniqueFd& fd) {
    Frame frame;
    if (!ReadFrame(fd.get(), frame)) return 0;
    const auto request = DecodeRequest(frame);
    return request ? request->id : 0;
  }
  tests::TempDir dir_;
  UniqueFd listener_;
  std::unique_ptr<RemoteKeyOps> remote_;
};

// Whatever a host answers, the caller gets kUnavailable once, the connection is over, and the next one serves.
TEST_F(RemoteLink, BadFramesEndTheConnectionAndTheNextServes) {
  const auto good = EncodeResponse({1, SelfTestResponse{{}}});
  const auto with = [&](std::size_t at, std::uint8_t value) {
    Bytes frame(good.begin(), good.end());
    frame[at] = value;
    return frame;
  };
  const std::vector<Bytes> bad = {
      {0, 0, 0, 0}, {0xff, 0xff, 0xff, 0xff}, with(3, 8), with(12, 77), Bytes(good.begin(), good.begin() + 9)};
  std::thread host([&] {
    for (const auto& frame : bad) {
      const auto fd = Accept();
      Say(fd, HostWord::kServing);
      EXPECT_NE(NextId(fd), 0U);
      (void)WriteFrame(fd.get(), frame);
      (void)shutdown(fd.get(), SHUT_WR);
      EXPECT_EQ(NextId(fd), 0U) << "nothing is sent again";
    }
    const auto fd = Accept();
    Say(fd, HostWord::kServing);
    const auto id = NextId(fd);
    (void)WriteFrame(fd.get(), EncodeResponse({id, SelfTestResponse{{}}}));
    (void)NextId(fd);
  });
  for (std::size_t i = 0; i < bad.size(); ++i) EXPECT_EQ(remote_->SelfTest().error().code, Code::kUnavailable) << i;
  EXPECT_TRUE(remote_->SelfTest());
  remote_.reset();
  host.join();
}

// An answer to something else than was asked, and one to nobody, are no answers.
TEST_F(RemoteLink, AnswersToOtherQuestionsAreRefused) {
  std::thread host([&] {
    const auto fd = Accept();
    Say(fd, HostWord::kServing);
    const auto id = NextId(fd);
    (void)WriteFrame(fd.get(), EncodeResponse({id + 1000, SelfTestResponse{{}}}));
    (void)WriteFrame(fd.get(), EncodeResponse({id, IdentityResponse{TokenIdentity{"s", "l", "m", "f", "p"}}}));
    (void)NextId(fd);
  });
  EXPECT_EQ(remote_->SelfTest().error().code, Code::kIntegrity);
  remote_.reset();
  host.join();
}

// A host that says another version, or nothing before it answers, is not talked to.
TEST_F(RemoteLink, AnotherVersionIsNotTalkedTo) {
  std::thread host([&] {
    {
      const auto fd = Accept();
      Say(fd, HostWord::kServing, kProtocolVersion + 1);
      EXPECT_EQ(NextId(fd), 0U);
    }
    const auto fd = Accept();
    Say(fd, HostWord::kServing);
    (void)WriteFrame(fd.get(), EncodeResponse({NextId(fd), SelfTestResponse{{}}}));
    (void)NextId(fd);
  });
  EXPECT_TRUE(remote_->SelfTest()) << "the next host";
  remote_.reset();
  host.join();
}

// A host that leaves answers what it has; what was not sent yet goes to the next, nothing goes twice.
TEST_F(RemoteLink, ALeavingHostLosesNothing) {
  std::thread host([&] {
    {
      const auto fd = Accept();
      Say(fd, HostWord::kServing);
      const auto id = NextId(fd);
      Say(fd, HostWord::kLeaving);
      EXPECT_EQ(NextId(fd), 0U) << "its side ends";
      (void)WriteFrame(fd.get(), EncodeResponse({id, SelfTestResponse{{}}}));
    }
    const auto fd = Accept();
    Say(fd, HostWord::kServing);
    (void)WriteFrame(fd.get(), EncodeResponse({NextId(fd), SelfTestResponse{{}}}));
    (void)NextId(fd);
  });
  EXPECT_TRUE(remote_->SelfTest());
  EXPECT_TRUE(remote_->SelfTest());
  remote_.reset();
  host.join();
}

// A host that does not answer within the deadline costs its callers that long and its connection.
TEST_F(RemoteLink, P7_SilenceEndsTheConnection) {
  std::thread host([&] {
    const auto fd = Accept();
    Say(fd, HostWord::kServing);
    EXPECT_NE(NextId(fd), 0U);
    EXPECT_EQ(NextId(fd), 0U);
  });
  EXPECT_EQ(remote_->SelfTest().error().code, Code::kUnavailable);
  host.join();
}

}  // namespace
}  // namespace strongroom::hsm
