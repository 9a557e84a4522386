// The real strongroom-tokend over a real token: start, kill, refuse.

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <functional>
#include <random>
#include <set>
#include <sstream>
#include <thread>

#include "crypto/merkle.h"
#include "hsm/host_pool.h"
#include "hsm/remote_key_ops.h"
#include "hsm/softhsm_guard.h"
#include "provisioning/process.h"
#include "tests/support/faulty_module.h"
#include "tests/support/softhsm_fixture.h"
#include "tests/support/world.h"

namespace strongroom::hsm {
namespace {

using namespace std::chrono_literals;

class Tokend : public testing::Test {
 protected:
  ~Tokend() override { Stop(); }
  std::string WriteConfig() {
    return token_.dir().Write("config.toml", "[tokend]\nuri = \"" + token_.uri_text(module_path_) + "\"\nsocket = \"" +
                                                 Socket() + "\"\nstate-dir = \"" + token_.dir().File("state") +
                                                 "\"\nsofthsm-conf = \"" + token_.conf() + "\"\n" + more_config_);
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
  std::string module_path_ = tests::kSoftHsmModule;
  std::string more_config_;
  pid_t pid_ = -1;
  int stop_status_ = -1;
};

// Load wraps and unwraps in several threads and counts what came of it.
class Load {
 public:
  Load(KeyOps& ops, const KeyRef& key, int threads) {
    for (int t = 0; t < threads; ++t)
      threads_.emplace_back([this, &ops, key, t] {
        const Bytes dek(32, static_cast<std::uint8_t>(t));
        while (!stop_) {
          std::vector<KeyOp> wrap, unwrap;
          wrap.emplace_back(WrapOp{key, *SecretBytes::CopyOf(dek), {}});
          const auto wrapped = ops.Execute(wrap);
          if (!Counted(wrapped[0])) continue;
          unwrap.emplace_back(UnwrapOp{key, wrapped[0]->blob, {}, {}});
          const auto opened = ops.Execute(unwrap);
          if (!Counted(opened[0])) continue;
          ++(EqualConstantTime(opened[0]->plaintext.Read(SecretAccess()), dek) ? right : wrong);
        }
      });
  }
  ~Load() {
    stop_ = true;
    for (auto& t : threads_) t.join();
  }
  // True when that many more right answers came within the bound.
  bool Goes(int more = 50, std::chrono::seconds bound = 20s) const {
    const int before = right;
    const auto give_up = std::chrono::steady_clock::now() + bound;
    while (right < before + more && std::chrono::steady_clock::now() < give_up) std::this_thread::yield();
    return right >= before + more;
  }
  std::atomic<int> right{0}, refused{0}, wrong{0};

 private:
  bool Counted(const Result<KeyOpOutput>& result) {
    if (!result) ++(result.error().code == Code::kUnavailable ? refused : wrong);
    return result.has_value();
  }
  std::atomic<bool> stop_{false};
  std::vector<std::thread> threads_;
};

int Lines(const std::string& text) { return static_cast<int>(std::count(text.begin(), text.end(), '\n')); }

TEST_F(Tokend, AMissingPinFileIsOneLineAndNonZero) {
  std::filesystem::remove(token_.dir().File("kek.pin"));
  const auto outcome = RunToEnd();
  EXPECT_EQ(outcome.status, 1);
  EXPECT_NE(outcome.err.find("pin-missing"), std::string::npos) << outcome.err;
  EXPECT_EQ(Lines(outcome.err), 1) << outcome.err;
}

// P8: the supervisor stays, tells whoever connects, starts no host, and goes on when its operator says so.
TEST_F(Tokend, P8_AWrongPinIsTriedOnceAndLatched) {
  const tests::FaultyModule module(token_.dir().path(), STRONGROOM_BIN_DIR);
  module.Order("C_Login log");
  module_path_ = module.path();
  (void)token_.dir().Write("kek.pin", "wrong-pin\n");
  Start();
  RemoteKeyOps remote(Options());
  EXPECT_EQ(remote.SelfTest().error().Slug(), "pin-latched") << "at once, not after the patience";
  EXPECT_EQ(remote.Link(), LinkState::kPinLatched);
  Stop();
  (void)token_.dir().Write("kek.pin", token_.pin() + "\n");
  Start();
  EXPECT_EQ(RemoteKeyOps(Options()).SelfTest().error().Slug(), "pin-latched")
      << "neither a restart nor a right PIN clears the latch by itself";
  EXPECT_EQ(module.Logged("C_Login"), 1U) << "tried once";
  EXPECT_EQ(RunToEnd({"--clear-pin-latch"}).status, 0);
  const auto until = std::chrono::steady_clock::now() + 10s;
  while (remote.Link() != LinkState::kUp && std::chrono::steady_clock::now() < until) std::this_thread::yield();
  EXPECT_TRUE(remote.SelfTest()) << "without a restart";
  EXPECT_EQ(module.Logged("C_Login"), 2U);
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

class TokendUnderLoad : public Tokend {
 protected:
  // Serve starts the supervisor with `hosts` hosts and makes a KEK.
  void Serve(unsigned hosts) {
    more_config_ += "hosts = " + std::to_string(hosts) + "\nhang-seconds = 2\n";
    Start();
    pool_ = std::make_unique<HostPool>(Options(), hosts);
    const auto identity = pool_->Identity();
    ASSERT_TRUE(identity) << identity.error().Line();
    const auto& quorum = tests::SharedQuorum();
    const auto ring = crypto::RandomArray<16>();
    const auto name = "load-" + ToHex(ring).substr(0, 8);  // the token may have one of before
    key_ = {identity->serial, crypto::MakeKeyId(ring, 1), crypto::Suite::kKwp};
    const auto made =
        pool_->Generate(quorum.Grant(ring, 1, crypto::Suite::kKwp, identity->serial, name), {key_, KekLabel(name, 1)});
    ASSERT_TRUE(made) << made.error().Line();
  }
  // True when `condition` holds within the bound.
  static bool Soon(const std::function<bool()>& condition, std::chrono::seconds bound = 20s) {
    const auto until = std::chrono::steady_clock::now() + bound;
    while (!condition() && std::chrono::steady_clock::now() < until) std::this_thread::yield();
    return condition();
  }
  std::vector<pid_t> Hosts() {
    std::istringstream in(
        tests::ReadFile("/proc/" + std::to_string(pid_) + "/task/" + std::to_string(pid_) + "/children"));
    std::vector<pid_t> pids;
    for (pid_t p = 0; in >> p;) pids.push_back(p);
    return pids;
  }
  std::unique_ptr<HostPool> pool_;
  KeyRef key_;
};

// kill -9 of hosts under load: calls fail with kUnavailable or are right, and the next host serves without anyone
// restarting anything; with one host and with two.
TEST_F(TokendUnderLoad, KilledHostsCostAPauseAndNoWrongAnswer) {
  for (const unsigned hosts : {1U, 2U}) {
    more_config_.clear();
    Serve(hosts);
    {
      Load load(*pool_, key_, 4);
      for (int kills = 0; kills < 10; ++kills) {
        ASSERT_TRUE(load.Goes()) << "no recovery after kill " << kills;
        const auto pids = Hosts();
        ASSERT_FALSE(pids.empty());
        (void)kill(pids[static_cast<std::size_t>(kills) % pids.size()], SIGKILL);
      }
      EXPECT_TRUE(load.Goes());
      EXPECT_EQ(load.wrong, 0);
    }
    pool_.reset();
    Stop();
    EXPECT_TRUE(WIFEXITED(stop_status_) && WEXITSTATUS(stop_status_) == 0);
  }
}

// P6: the token directory goes away and comes back; nobody restarts anything.
TEST_F(TokendUnderLoad, P6_TheTokenGoesAndComesBack) {
  Serve(2);
  Load load(*pool_, key_, 2);
  ASSERT_TRUE(load.Goes());
  const auto tokens = token_.dir().File("tokens"), away = token_.dir().File("away");
  std::filesystem::rename(tokens, away);
  const int refused = load.refused;
  const auto until = std::chrono::steady_clock::now() + 20s;
  while (load.refused < refused + 4 && std::chrono::steady_clock::now() < until) std::this_thread::yield();
  EXPECT_GE(load.refused, refused + 4) << "without its token it must refuse";
  std::filesystem::rename(away, tokens);
  EXPECT_TRUE(load.Goes(200)) << "the token is back";
  EXPECT_EQ(load.wrong, 0);
}

// P7: a host that stands still, here because it is stopped in the middle of its work, is killed and replaced; the other
// goes on.
TEST_F(TokendUnderLoad, P7_AHostThatStandsStillIsReplaced) {
  Serve(2);
  Load load(*pool_, key_, 4);
  ASSERT_TRUE(load.Goes());
  const auto pids = Hosts();
  ASSERT_EQ(pids.size(), 2U);
  (void)kill(pids[1], SIGSTOP);
  EXPECT_TRUE(load.Goes(100, 10s)) << "the other host goes on";
  const auto until = std::chrono::steady_clock::now() + 15s;
  while (kill(pids[1], 0) == 0 && std::chrono::steady_clock::now() < until) std::this_thread::yield();
  EXPECT_NE(kill(pids[1], 0), 0) << "the still one is gone";
  EXPECT_TRUE(load.Goes(200));
  EXPECT_EQ(load.wrong, 0);
}

// P7: a call that does not come back is ended with its host; the other goes on, and nobody else waits.
TEST_F(TokendUnderLoad, P7_AHungCallIsEndedByKillingItsHost) {
  const tests::FaultyModule module(token_.dir().path(), STRONGROOM_BIN_DIR);
  module_path_ = module.path();
  Serve(2);
  Load load(*pool_, key_, 4);
  ASSERT_TRUE(load.Goes());
  const auto hung = Hosts()[1];
  module.Order("C_WrapKey hang pid " + std::to_string(hung));
  EXPECT_TRUE(load.Goes(500, 10s)) << "the other host goes on";
  EXPECT_TRUE(Soon([&] { return kill(hung, 0) != 0; })) << "the hung one is gone";
  module.Heal();
  EXPECT_TRUE(Soon([&] { return Hosts().size() == 2; }));
  EXPECT_TRUE(load.Goes(500));
  EXPECT_EQ(load.wrong, 0);
}

// A module that crashes takes its host along and nothing else.
TEST_F(TokendUnderLoad, P10_ACrashedModuleCostsItsHostAlone) {
  const tests::FaultyModule module(token_.dir().path(), STRONGROOM_BIN_DIR);
  module_path_ = module.path();
  Serve(2);
  Load load(*pool_, key_, 4);
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(load.Goes());
    const auto pids = Hosts();
    ASSERT_FALSE(pids.empty());
    module.Order("C_WrapKey crash pid " + std::to_string(pids.back()));
    EXPECT_TRUE(Soon([&] { return kill(pids.back(), 0) != 0; }));
    module.Heal();
  }
  EXPECT_TRUE(load.Goes(200));
  EXPECT_EQ(load.wrong, 0);
}

// P7, P10: whichever call hangs or crashes, with one session in a host and with several: its host is replaced within
// its bound, nothing wrong comes out, and the service goes on without a restart.
TEST_F(TokendUnderLoad, P10_AHangOrACrashAtAnyCall) {
  const tests::FaultyModule module(token_.dir().path(), STRONGROOM_BIN_DIR);
  module_path_ = module.path();
  for (const unsigned sessions : {1U, 4U}) {
    more_config_ = "sessions = " + std::to_string(sessions) + "\n";
    Serve(1);
    {
      Load load(*pool_, key_, 4);
      for (const std::string call :
           {"C_CreateObject", "C_WrapKey", "C_UnwrapKey", "C_GetAttributeValue", "C_DestroyObject", "C_GenerateRandom"})
        for (const std::string harm : {"hang", "crash"}) {
          ASSERT_TRUE(load.Goes()) << call << " " << harm;
          const auto pids = Hosts();
          ASSERT_EQ(pids.size(), 1U);
          module.Order(call + " " + harm + " pid " + std::to_string(pids[0]));
          EXPECT_TRUE(Soon([&] { return kill(pids[0], 0) != 0; }, 10s)) << call << " " << harm << ": its host goes";
          module.Heal();
          EXPECT_TRUE(load.Goes(50, 10s)) << call << " " << harm << ": another serves";
        }
      EXPECT_EQ(load.wrong, 0);
    }
    pool_.reset();
    Stop();
  }
}

// SoftHSM leaks with each session object, so hosts are replaced by operation count: in order, without a single refused
// call, with one host and with two, and with several sessions in one.
TEST_F(TokendUnderLoad, WornHostsAreReplacedWithoutARefusedCall) {
  for (const auto& shape : {std::pair(1U, 1U), std::pair(2U, 1U), std::pair(1U, 4U)}) {
    const auto hosts = shape.first;
    more_config_ = "recycle-operations = 1000\nsessions = " + std::to_string(shape.second) + "\n";
    Serve(hosts);
    {
      Load load(*pool_, key_, 4);
      std::set<pid_t> seen;
      EXPECT_TRUE(Soon([&] {
        for (const auto pid : Hosts()) seen.insert(pid);
        return seen.size() >= 4U * hosts;
      })) << seen.size();
      EXPECT_TRUE(load.Goes(200));
      EXPECT_EQ(load.refused, 0);
      EXPECT_EQ(load.wrong, 0);
    }
    pool_.reset();
    Stop();
  }
}

// P2: a control call waits for at most one frame of each other connection, however many bulk frames wait.
TEST_F(TokendUnderLoad, P2_AControlCallOvertakesABulkFlood) {
  Serve(1);
  HostPool bulk(Options(), 1);
  std::atomic<bool> stop{false};
  std::atomic<int> frames{0};
  std::vector<std::thread> flood;
  for (int t = 0; t < 8; ++t)
    flood.emplace_back([&] {
      while (!stop) {
        std::vector<KeyOp> ops;
        for (int i = 0; i < 256; ++i) ops.emplace_back(DataKeyOp{key_, 32, {}, false});
        (void)bulk.Execute(ops);
        ++frames;
      }
    });
  EXPECT_TRUE(Soon([&] { return frames > 10; }));
  int before = frames, most = 0;
  for (int i = 0; i < 20; ++i) {
    before = frames;
    EXPECT_TRUE(pool_->Identity());
    most = std::max(most, frames - before);
  }
  stop = true;
  for (auto& t : flood) t.join();
  EXPECT_LE(most, 3) << "bulk frames that were answered while one control call waited, eight of them in the queue";
}

// A frame with a wrong length, an unknown operation, or cut off by its sender's death ends its connection and nothing
// else.
TEST_F(TokendUnderLoad, P5_BadFramesEndTheirConnectionAlone) {
  Serve(1);
  const auto host = Hosts()[0];
  std::vector<KeyOp> one;
  one.emplace_back(DataKeyOp{key_, 32, {}, false});
  const auto good = EncodeExecute(7, one);
  const auto changed = [&](std::size_t at, std::uint8_t value) {
    Bytes frame(good.begin(), good.end());
    frame[at] = value;
    return frame;
  };
  const std::vector<std::pair<std::string, Bytes>> bad = {
      {"no length", {0, 0, 0, 0}},
      {"a length beyond the bound", {0xff, 0xff, 0xff, 0xff}},
      {"a length shorter than its content", changed(3, good[3] - 1U)},
      {"an unknown kind", changed(12, 99)},
      {"an unknown operation", changed(15, 99)},
      {"request id 0", changed(11, 0)},
  };
  for (const auto& [name, frame] : bad) {
    const auto fd = ConnectLocal(Socket(), geteuid());
    ASSERT_TRUE(fd);
    Frame greeting;
    ASSERT_TRUE(ReadFrame(fd->get(), greeting)) << name;
    (void)WriteFrame(fd->get(), frame);
    Frame answer;
    EXPECT_FALSE(ReadFrame(fd->get(), answer)) << name << ": closed, not answered";
    EXPECT_TRUE(pool_->SelfTest()) << name;
  }
  for (std::size_t cut = 1; cut < good.size(); cut += 11) {  // the sender dies in mid-frame
    const auto fd = ConnectLocal(Socket(), geteuid());
    (void)WriteFrame(fd->get(), ByteView(good).first(cut));
  }
  EXPECT_TRUE(pool_->SelfTest());
  EXPECT_EQ(Hosts(), std::vector<pid_t>{host}) << "the same host all along";
}

// Q9, L7: the other hosts neither change custody nor sign, whoever asks them directly.
TEST_F(TokendUnderLoad, Q9_TheFirstHostAloneSignsAndChangesCustody) {
  Serve(2);
  auto options = Options();
  options.socket_path = HostSocket(Socket(), 1);
  RemoteKeyOps second(options);
  ASSERT_TRUE(second.SelfTest());
  const auto& quorum = tests::SharedQuorum();
  const crypto::Checkpoint head{crypto::ControlOrigin(quorum.instance(), 1), 1, crypto::LeafHash(AsBytes("entry")), {}};
  EXPECT_EQ(second.SignCheckpoint(head, {}).error().Slug(), "not-custody-host");
  const auto ring = crypto::RandomArray<16>();
  const KeyRef ref{key_.token, crypto::MakeKeyId(ring, 1), crypto::Suite::kKwp};
  EXPECT_EQ(
      second.Generate(quorum.Grant(ring, 1, crypto::Suite::kKwp, key_.token), {ref, KekLabel("k", 1)}).error().Slug(),
      "not-custody-host");
  const auto signed_by_first = pool_->SignCheckpoint(head, {});
  EXPECT_TRUE(signed_by_first) << (signed_by_first ? "" : signed_by_first.error().Line());
}

// SoftHSM rewrites token.object at every login: 300 kills at random moments of a host's start must not cost the token.
TEST_F(TokendUnderLoad, P8_TheTokenSurvives300KillsInsideAStart) {
  Serve(1);
  pool_.reset();
  std::mt19937 random(300);
  pid_t last = -1;
  for (int kills = 0; kills < 300;) {
    const auto pids = Hosts();
    if (pids.empty() || pids[0] == last) continue;
    last = pids[0];
    const auto moment = std::chrono::steady_clock::now() + std::chrono::microseconds(random() % 12000);
    while (std::chrono::steady_clock::now() < moment) std::this_thread::yield();
    (void)kill(last, SIGKILL);
    ++kills;
  }
  pool_ = std::make_unique<HostPool>(Options(), 1);
  Load load(*pool_, key_, 1);
  EXPECT_TRUE(load.Goes());
  EXPECT_EQ(load.wrong, 0);
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
