// A host's side of its socket, against peers that do not behave.

#include "hsm/host.h"

#include <gtest/gtest.h>
#include <openssl/crypto.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "hsm/remote_key_ops.h"
#include "tests/fakes/fake_key_ops.h"
#include "tests/support/quorum_fixture.h"
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
    Frame word;
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
  Frame answer;
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
  Frame answer;
  ASSERT_TRUE(ReadFrame(other.get(), answer));
  EXPECT_LT(Now::now() - began, 10s);
  EXPECT_FALSE(ReadFrame(slow.get(), answer)) << "half a frame was answered";
  EXPECT_LT(Now::now() - began, 15s);
}

// P11: what a frame costs a host before anybody has shown that it is worth it. Each is refused for the first thing that
// is wrong with it, so that what comes later was not looked at.
class Presented : public testing::Test {
 protected:
  std::string Text(const std::string& operation = "keyring.create", std::uint32_t format = 2) {
    auto p = quorum_.Proposal(operation, operation == "keyring.create" ? "k" : "",
                              {{"keyring-id", std::string(32, 'a')}, {"version", "1"}, {"token", "fake-token"}},
                              clock_.Now());
    p.format = format;
    if (format == 1) p.epoch = 0;
    return *p.Render();
  }
  std::string Generate(ApprovedText approved) {
    const KeySpec spec{{"fake-token", {}, crypto::Suite::kKwp}, "strongroom k v1"};
    const auto answer = Answer(token_, clock_, {1, GenerateRequest{std::move(approved), spec}}, true);
    const auto& outcome = std::get<GenerateResponse>(answer.body).outcome;
    return outcome ? "done" : std::string(outcome.error().Slug());
  }
  std::string Change(ApprovedText approved) {
    const auto answer = Answer(token_, clock_, {1, ChangeRecordRequest{std::move(approved)}}, true);
    const auto& outcome = std::get<ChangeRecordResponse>(answer.body).outcome;
    return outcome ? "done" : std::string(outcome.error().Slug());
  }
  // From here on the token obeys the quorum's roster.
  void Obey() {
    crypto::LedgerRecord record;
    record.custody.roster_version = 1;
    record.custody.roster_hash = quorum_.roster().hash();
    token_.Recall(record);
  }
  static std::vector<crypto::Vote> Rubbish(std::size_t votes) {
    std::vector<crypto::Vote> list;
    for (std::size_t i = 0; i < votes; ++i)
      list.push_back({"custodian-" + std::to_string(i + 1), crypto::Verdict::kApprove, "no signature"});
    return list;
  }
  const tests::QuorumFixture quorum_;
  tests::FakeKeyOps token_;
  SystemClock clock_;
};

TEST_F(Presented, P11_TheCheapIsJudgedFirst) {
  Obey();
  const auto roster = quorum_.roster().text();
  for (const bool generates : {true, false}) {
    const auto ask = [&](const std::string& text, std::vector<crypto::Vote> votes, const std::string& under) {
      ApprovedText approved{text, std::move(votes), under};
      return generates ? Generate(std::move(approved)) : Change(std::move(approved));
    };
    const auto other = generates ? "clock.accept" : "keyring.create";
    const auto right = generates ? "keyring.create" : "clock.accept";
    EXPECT_EQ(ask("no text", Rubbish(9), "no roster"), "invalid-request");
    EXPECT_EQ(ask(Text(other, 1), Rubbish(9), "no roster"), "stale") << "a text of before";
    EXPECT_EQ(ask(Text(other), Rubbish(9), "no roster"), "roster-not-enforced") << "not even parsed";
    EXPECT_EQ(ask(Text(other), Rubbish(4), roster), "too-many-votes") << "of three custodians";
    EXPECT_EQ(ask(Text(other), Rubbish(3), roster), "grant-mismatch") << "the operation allows no such call";
    EXPECT_EQ(ask(Text(right), Rubbish(3), roster), "malformed-signature") << "the signatures last";
  }
}

// A frame of 15 MiB, of copies of a good vote, by the roster that the token obeys or by one of the sender's making.
TEST_F(Presented, P11_AFrameFullOfVotesCostsNothing) {
  const auto text = Text();
  const auto vote = quorum_.Sign("custodian-1", text);
  const auto ask = [&](const std::string& roster) {
    Request request{1, GenerateRequest{{text, std::vector<crypto::Vote>(45'000, vote), roster}, {}}};
    const auto frame = EncodeRequest(request);
    const auto began = Now::now();
    auto decoded = DecodeRequest(ByteView(frame).subspan(4));
    EXPECT_TRUE(decoded) << decoded.error().Line();
    const auto answer = Answer(token_, clock_, std::move(*decoded), true);
    EXPECT_LT(Now::now() - began, 2s);
    return std::string(std::get<GenerateResponse>(answer.body).outcome.error().Slug());
  };
  EXPECT_EQ(ask(quorum_.roster().text()), "roster-not-enforced") << "by a token that obeys no roster";
  Obey();
  EXPECT_EQ(ask(quorum_.roster().text()), "too-many-votes");
  EXPECT_EQ(ask(tests::QuorumFixture().roster().text()), "roster-not-enforced");
}

// Everything that the arena has left, for as long as this lives.
class FullArena {
 public:
  FullArena() {
    for (std::size_t size = 1U << 20; size >= 32; size /= 2)
      while (auto some = SecretBytes::Allocate(size)) taken_.push_back(std::move(*some));
  }

 private:
  std::vector<SecretBytes> taken_;
};

// P11, K7: operations come when there is no locked memory for their DEKs. Are they kept elsewhere, does the host or its
// connection go, or are they refused, each of them, and the next ones served?
TEST_F(HostTest, P11_NoLockedMemoryIsARefusalAndNothingElse) {
  const auto peer = Greeted();
  std::vector<KeyOp> ops;
  for (int i = 0; i < 3; ++i)
    ops.emplace_back(WrapOp{KeyRef{"fake-token", {}, crypto::Suite::kKwp}, *SecretBytes::CopyOf(Bytes(32, 7)), {}});
  const auto encoded = EncodeExecute(5, ops);
  EXPECT_EQ(encoded.place(), Frame::Place::kLocked);
  EXPECT_EQ(CRYPTO_secure_allocated(encoded.data()), 1);
  const Bytes request(encoded.begin(), encoded.end());
  {
    const FullArena full;
    EXPECT_TRUE(EncodeExecute(6, ops).empty()) << "nor are they sent";
    ASSERT_TRUE(WriteFrame(peer.get(), request));
    Bytes answer(4096);
    const auto n = recv(peer.get(), answer.data(), answer.size(), 0);
    ASSERT_GT(n, 4);
    const auto response = DecodeResponse(ByteView(answer).subspan(4, static_cast<std::size_t>(n) - 4));
    ASSERT_TRUE(response) << response.error().Line();
    EXPECT_EQ(response->id, 5U);
    const auto& results = std::get<ExecuteResponse>(response->body);
    ASSERT_EQ(results.size(), 3U);
    for (const auto& result : results) EXPECT_EQ(result.error().code, Code::kOverloaded);
  }
  ASSERT_TRUE(WriteFrame(peer.get(), request));
  Frame answer;
  ASSERT_TRUE(ReadFrame(peer.get(), answer)) << "the connection is over";
  EXPECT_EQ(answer.place(), Frame::Place::kLocked);
  EXPECT_EQ(std::get<ExecuteResponse>(DecodeResponse(answer)->body)[0].error().Slug(), "key-missing");
}

// The same from the front end's side: whoever asks is told to come again, and the connection serves the next.
TEST_F(HostTest, P11_TheFrontEndWithoutLockedMemoryAsksLater) {
  RemoteKeyOps::Options options;
  options.socket_path = dir_.File("s");
  options.peer_uid = geteuid();
  RemoteKeyOps remote(options);
  ASSERT_TRUE(remote.Identity());
  std::vector<KeyOp> ops;
  ops.emplace_back(UnwrapOp{KeyRef{"fake-token", {}, crypto::Suite::kKwp}, Bytes(96), {}});
  {
    const FullArena full;
    EXPECT_EQ(remote.Execute(ops)[0].error().code, Code::kOverloaded);
  }
  EXPECT_EQ(remote.Execute(ops)[0].error().Slug(), "key-missing");
}

// A batch with the longest AADs is more than a frame may have: is each of them answered?
TEST_F(HostTest, LongContextsAreSentInSeveralFrames) {
  RemoteKeyOps::Options options;
  options.socket_path = dir_.File("s");
  options.peer_uid = geteuid();
  RemoteKeyOps remote(options);
  std::vector<KeyOp> ops;
  for (int i = 0; i < 600; ++i)
    ops.emplace_back(
        UnwrapOp{KeyRef{"fake-token", {}, crypto::Suite::kKwp}, Bytes(1000), {{}, {}, Bytes(crypto::kMaxAadBytes)}});
  EXPECT_LE(EncodedSize(ops[0]), 6000U);
  const auto results = remote.Execute(ops);
  ASSERT_EQ(results.size(), 600U);
  for (const auto& result : results) EXPECT_EQ(result.error().Slug(), "key-missing");
}

// A frame that ends early: is what came of it kept?
TEST(FrameSocket, K7_HalfAFrameLeavesNothing) {
  int fds[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
  const UniqueFd in(fds[0]);
  Frame frame;
  {
    const UniqueFd out(fds[1]);
    std::vector<KeyOp> ops;
    ops.emplace_back(WrapOp{KeyRef{"t", {}, crypto::Suite::kKwp}, *SecretBytes::CopyOf(Bytes(512, 7)), {}});
    const auto whole = EncodeExecute(1, ops);
    ASSERT_TRUE(WriteFrame(out.get(), whole));
    ASSERT_TRUE(WriteFrame(out.get(), whole.bytes().first(whole.size() - 1)));
  }
  ASSERT_TRUE(ReadFrame(in.get(), frame));
  EXPECT_FALSE(frame.empty());
  EXPECT_FALSE(ReadFrame(in.get(), frame));
  EXPECT_TRUE(frame.empty());
}

}  // namespace
}  // namespace strongroom::hsm
