#include "hsm/supervisor.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <set>
#include <vector>

#include "hsm/frame.h"
#include "hsm/host.h"
#include "hsm/host_pool.h"
#include "hsm/host_watch.h"
#include "hsm/softhsm_guard.h"
#include "hsm/token_key_ops.h"
#include "hsm/token_lock.h"

namespace strongroom::hsm {
namespace {

constexpr int kListenerFd = 3;
constexpr int kReadyFd = 4;
constexpr int kWatchFd = 5;
constexpr int kFirstStartTries = 5;

std::string LatchPath(const TokendConfig& config) { return config.state_dir + "/pin-rejected"; }
// Left by --clear-pin-latch: the next start may try the PIN although the token reports a wrong one.
std::string RetryPath(const TokendConfig& config) { return config.state_dir + "/pin-retry"; }

int Complain(const Error& error) {
  (void)std::fprintf(stderr, "strongroom-tokend: %s\n", error.Line().c_str());
  return 1;
}

Result<void> Latch(const TokendConfig& config) {
  const UniqueFd file(open(LatchPath(config).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  if (!file || fsync(file.get()) != 0) return Io("cannot write the PIN latch " + LatchPath(config));
  const UniqueFd directory(open(config.state_dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory || fsync(directory.get()) != 0) return Io("cannot sync " + config.state_dir);
  return {};
}

Error LatchedError(const TokendConfig& config) {
  return Error{Code::kPinRejected,
               "the token has refused the PIN as wrong and it is not tried again (" + LatchPath(config) +
                   "): correct the PIN file, then run strongroom-tokend --config FILE --clear-pin-latch",
               "pin-latched", 0, __func__};
}

// BlockedSignals turns SIGTERM, SIGINT and SIGCHLD into a readable descriptor.
UniqueFd BlockedSignals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGTERM, SIGINT, SIGCHLD}) sigaddset(&set, signal);
  (void)sigprocmask(SIG_BLOCK, &set, nullptr);
  return UniqueFd(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

// Takes all pending signals; true when one of them asks to stop.
bool StopAsked(int signal_fd) {
  signalfd_siginfo info{};
  bool stop = false;
  while (read(signal_fd, &info, sizeof info) == static_cast<ssize_t>(sizeof info))
    stop = stop || info.ssi_signo != static_cast<unsigned>(SIGCHLD);
  return stop;
}

std::chrono::milliseconds NextPause(std::chrono::milliseconds pause) {
  return std::min(std::max(pause * 2, std::chrono::milliseconds(20)), std::chrono::milliseconds(2000));
}

using Steady = std::chrono::steady_clock;
constexpr auto kStartBound =
    std::chrono::seconds(60);  // a start is not cut short below this: SoftHSM would lose its token
constexpr auto kStopBound = std::chrono::seconds(15);

// Slot is one host's place: the socket that outlives it, and what is known of the process in it.
struct Slot {
  unsigned number = 0;
  UniqueFd listener;
  std::optional<HostWatch> watch;
  pid_t pid = -1;
  UniqueFd ready;  // open while the host starts
  Steady::time_point started;
  Steady::time_point not_before;  // when the next one may start
  std::chrono::milliseconds pause{0};
  int tries = 0;
  bool leaving = false;
  bool superseded = false;  // another host writes the custody record: none is started here until somebody says so
  bool starting() const { return pid > 0 && static_cast<bool>(ready); }
};

class Supervisor {
 public:
  Supervisor(const TokendConfig& config, std::string config_path, std::string self, bool take_token)
      : config_(config),
        config_path_(std::move(config_path)),
        self_(std::move(self)),
        signals_(BlockedSignals()),
        take_token_(take_token) {}

  int Run() {
    for (unsigned i = 0; i < config_.hosts; ++i) {
      auto listener = ListenLocal(HostSocket(config_.socket, i));
      if (!listener) return Complain(listener.error());
      auto watch = HostWatch::Make();
      if (!watch) return Complain(watch.error());
      slots_.push_back({});
      slots_.back().number = i;
      slots_.back().listener = std::move(*listener);
      slots_.back().watch.emplace(std::move(*watch));
    }
    if (std::filesystem::exists(LatchPath(config_))) EnterLatch();
    while (!exit_status_) {
      if (latched_) LookAtLatch();
      if (!latched_) StartNext();
      KillHung();
      LetOneLeave();
      if (!exit_status_) Wait();
    }
    StopAll();
    return *exit_status_;
  }

 private:
  // While the PIN is latched no host starts; those that are logged in go on, and who connects to the place of another
  // is told. The operator's --clear-pin-latch ends it.
  void EnterLatch() {
    if (std::exchange(latched_, true)) return;
    (void)Complain(LatchedError(config_));
    (void)sd_notify(0, "READY=1\nSTATUS=the PIN is latched");
  }
  void LookAtLatch() {
    if (std::filesystem::exists(LatchPath(config_))) return;
    spdlog::info("the PIN latch was cleared: trying the PIN once more");
    latched_ = false;
  }
  static void TellLatched(const Slot& slot, const std::set<uid_t>& allowed) {
    const UniqueFd fd(accept4(slot.listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    const auto uid = fd ? PeerUid(fd.get()) : Result<uid_t>(Io("no peer"));
    if (uid && allowed.contains(*uid)) (void)WriteFrame(fd.get(), EncodeResponse({0, Notice{HostWord::kPinLatched}}));
  }

  // A worn host leaves in order, one at a time, and not while another starts.
  void LetOneLeave() {
    if (std::any_of(slots_.begin(), slots_.end(),
                    [](const Slot& s) { return (s.pid < 0 && !s.superseded) || s.starting() || s.leaving; }))
      return;
    const auto worn = std::find_if(slots_.begin(), slots_.end(), [](const Slot& s) { return s.watch->AsksToLeave(); });
    if (worn == slots_.end()) return;
    spdlog::info("host {} ({}) has done its share of operations: replacing it", worn->number, worn->pid);
    worn->leaving = true;
    (void)kill(worn->pid, SIGTERM);
  }

  // Hosts of one token start one at a time: three logins at once fail on SoftHSM although the PIN is right.
  void StartNext() {
    if (std::any_of(slots_.begin(), slots_.end(), [](const Slot& s) { return s.starting(); })) return;
    for (auto& slot : slots_) {
      if (slot.pid > 0 || slot.superseded || Steady::now() < slot.not_before) continue;
      if (const auto started = StartHost(slot); !started) {
        if (!served_) {
          exit_status_ = Complain(started.error());
          return;
        }
        // Once it serves, nothing but its operator ends a supervisor: a full disk or a missing directory may pass.
        spdlog::error("no host started: {}", started.error().Line());
        Delay(slot);
        continue;
      }
      return;
    }
  }

  Result<void> StartHost(Slot& slot) {
    if (!config_.softhsm_conf.empty()) {
      TRY_ASSIGN(const int restored, GuardTokenObjects(config_.softhsm_conf, config_.state_dir + "/guard"));
      if (restored > 0) spdlog::warn("put back {} token.object that a killed login had damaged", restored);
    }
    std::error_code ignored;
    const bool pin_retry = std::filesystem::exists(RetryPath(config_), ignored);
    std::array<int, 2> pipe_ends{};
    if (pipe2(pipe_ends.data(), O_CLOEXEC) != 0) return Io("no pipe");
    UniqueFd read_end(pipe_ends[0]);
    const UniqueFd write_end(pipe_ends[1]);
    slot.watch->Clear();
    const pid_t supervisor = getpid();
    const pid_t pid = fork();
    if (pid < 0) return Io("cannot start a host process");
    if (pid == 0) {
      (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (getppid() != supervisor) _exit(1);
      // Out of the way first: any of the three may be 3, 4 or 5 already.
      const int a = fcntl(slot.listener.get(), F_DUPFD, 10), b = fcntl(write_end.get(), F_DUPFD, 10),
                c = fcntl(slot.watch->fd(), F_DUPFD, 10);
      if (dup2(a, kListenerFd) < 0 || dup2(b, kReadyFd) < 0 || dup2(c, kWatchFd) < 0) _exit(1);
      for (const int fd : {a, b, c}) (void)close(fd);
      if (!config_.softhsm_conf.empty()) (void)setenv("SOFTHSM2_CONF", config_.softhsm_conf.c_str(), 1);
      const auto number = std::to_string(slot.number);
      std::vector<const char*> argv = {self_.c_str(), "--config", config_path_.c_str(), "--host", number.c_str()};
      if (pin_retry) argv.push_back("--pin-retry");
      if (take_token_ && slot.number == 0) argv.push_back("--take-token");
      argv.push_back(nullptr);
      (void)execv(self_.c_str(), const_cast<char* const*>(argv.data()));
      _exit(1);
    }
    if (slot.number == 0) take_token_ = false;
    if (pin_retry) std::filesystem::remove(RetryPath(config_), ignored);
    slot.pid = pid;
    slot.leaving = false;
    slot.ready = std::move(read_end);
    slot.started = Steady::now();
    ++slot.tries;
    return {};
  }

  // A call that does not come back, or a start beyond all bounds, is ended by killing its host (P7).
  void KillHung() {
    for (auto& slot : slots_) {
      if (slot.pid < 0) continue;
      const bool hung = slot.starting() ? Steady::now() - slot.started > kStartBound
                                        : slot.watch->BusyMillis() > config_.hang_seconds * 1000;
      if (!hung) continue;
      spdlog::error("host {} hangs in a call to the token: killed", slot.pid);
      slot.watch->Clear();
      (void)kill(slot.pid, SIGKILL);
    }
  }

  void Wait() {
    std::vector<pollfd> polls = {{signals_.get(), POLLIN, 0}};
    Slot* starting = nullptr;
    auto until = Steady::now() + std::chrono::milliseconds(500);
    for (auto& slot : slots_) {
      if (slot.starting()) starting = &slot;
      if (slot.pid < 0 && !slot.superseded && !latched_)
        until = std::min(until, std::max(slot.not_before, Steady::now()));
    }
    if (starting != nullptr) {
      polls.push_back({starting->ready.get(), POLLIN, 0});
      until = Steady::now() + std::chrono::milliseconds(500);
    }
    const auto told_from = polls.size();
    if (latched_)
      for (const auto& slot : slots_) polls.push_back({slot.pid < 0 ? slot.listener.get() : -1, POLLIN, 0});
    const auto wait = std::chrono::duration_cast<std::chrono::milliseconds>(until - Steady::now()).count();
    (void)poll(polls.data(), polls.size(), static_cast<int>(std::max<std::int64_t>(0, wait + 1)));
    if (StopAsked(signals_.get())) {
      exit_status_ = 0;
      return;
    }
    if (starting != nullptr && polls[1].revents != 0) {
      char byte = 0;
      const bool said = read(starting->ready.get(), &byte, 1) == 1;
      starting->ready.Reset();
      if (said) {
        spdlog::info("host {} ({}) is ready", starting->number, starting->pid);
        if (!std::exchange(served_, true)) (void)sd_notify(0, "READY=1");
        starting->pause = std::chrono::milliseconds(0);
      }
    }
    for (std::size_t i = told_from; i < polls.size(); ++i)
      if (polls[i].revents != 0) TellLatched(slots_[i - told_from], config_.allowed_uids);
    Reap();
  }

  void Reap() {
    int status = 0;
    pid_t pid = -1;
    while ((pid = waitpid(-1, &status, WNOHANG | WUNTRACED)) > 0) {
      if (WIFSTOPPED(status)) {  // nobody may hold a token's only session still
        (void)kill(pid, SIGKILL);
        continue;
      }
      const auto slot = std::find_if(slots_.begin(), slots_.end(), [&](const Slot& s) { return s.pid == pid; });
      if (slot == slots_.end()) continue;
      slot->pid = -1;
      slot->ready.Reset();
      Buried(*slot, status);
    }
  }

  void Buried(Slot& slot, int status) {
    const int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    if (code == kHostPinRejected) {
      if (const auto latched = Latch(config_); !latched) {
        exit_status_ = Complain(latched.error());
        return;
      }
      EnterLatch();
      return;
    }
    if (code == kHostSuperseded && served_) {
      spdlog::error(
          "host {}: the token's custody is another host's: none is started until this supervisor is restarted",
          slot.number);
      slot.superseded = true;
      return;
    }
    if (!served_ && (code == kHostRefused || code == kHostSuperseded || slot.tries >= kFirstStartTries)) {
      exit_status_ = 1;  // the host has said why
      return;
    }
    if (slot.leaving && code == kHostDone) return;  // its replacement starts at once
    if (WIFSIGNALED(status))
      spdlog::warn("host {} was killed by signal {}; starting another", slot.number, WTERMSIG(status));
    else
      spdlog::warn("host {} ended with status {}; starting another", slot.number, code);
    // The first replacement comes at once, and so does that of a host which somebody killed; only what fails by itself
    // again and again is spaced out.
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) return;
    if (slot.pause.count() > 0)
      Delay(slot);
    else
      slot.pause = NextPause(slot.pause);
  }

  static void Delay(Slot& slot) {
    slot.pause = NextPause(slot.pause);
    slot.not_before = Steady::now() + slot.pause;
  }

  // Each host ends between two frames; one that does not is killed, for the machine is going down around it.
  void StopAll() {
    for (const auto& slot : slots_)
      if (slot.pid > 0) (void)kill(slot.pid, SIGTERM);
    const auto until = Steady::now() + kStopBound;
    for (const auto& slot : slots_) {
      if (slot.pid < 0) continue;
      while (waitpid(slot.pid, nullptr, WNOHANG) == 0) {
        if (Steady::now() > until) (void)kill(slot.pid, SIGKILL);
        pollfd none{-1, 0, 0};
        (void)poll(&none, 1, 5);
      }
    }
  }

  const TokendConfig& config_;
  const std::string config_path_, self_;
  const UniqueFd signals_;
  std::vector<Slot> slots_;
  bool take_token_;  // for one start of the first host
  bool served_ = false;
  bool latched_ = false;
  std::optional<int> exit_status_;
};

}  // namespace

int RunSupervisor(const TokendConfig& config, const std::string& config_path, const std::string& self,
                  bool take_token) {
  std::error_code error;
  std::filesystem::create_directories(config.state_dir, error);
  const UniqueFd lock(open((config.state_dir + "/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!lock) return Complain(Io("cannot write in the state directory " + config.state_dir));
  if (flock(lock.get(), LOCK_EX | LOCK_NB) != 0)
    return Complain(
        Conflict("another strongroom-tokend serves this token (" + config.state_dir + "/lock)", "already-running"));
  return Supervisor(config, config_path, self, take_token).Run();
}

int RunHost(const TokendConfig& config, bool pin_retry, bool custody, bool take_token) {
  (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  (void)sigprocmask(SIG_BLOCK, &set, nullptr);
  const UniqueFd stop(signalfd(-1, &set, SFD_CLOEXEC));
  const UniqueFd listener(kListenerFd);
  UniqueFd ready(kReadyFd);
  const UniqueFd watch_fd(kWatchFd);
  auto watch = HostWatch::Map(watch_fd.get());
  if (!watch) {
    (void)Complain(watch.error());
    return kHostRefused;
  }
  const SystemClock clock;
  auto uri = TokenUri::Parse(config.uri);
  TokenKeyOps::Options options;
  options.pin_count_may_be_low = pin_retry;
  options.sessions = config.sessions;
  options.watch = {[&](unsigned lane) { watch->Begin(lane + 1); }, [&](unsigned lane) { watch->End(lane + 1); }};
  TokenLock token_lock;  // for as long as this process lives
  options.custody = custody;
  options.store.take_token = take_token;
  options.chain_file = ChainFile(config);
  if (custody) {
    auto installation = Installation(config.state_dir);
    if (!installation) {
      (void)Complain(installation.error());
      return kHostRefused;
    }
    options.store.installation = *installation;
    options.before_claim = [&](const TokenIdentity& identity) -> Result<void> {
      TRY_ASSIGN(token_lock, LockToken(identity, config.state_dir));
      return {};
    };
  }
  auto ops = uri ? TokenKeyOps::Open(std::move(*uri), clock, std::move(options))
                 : Result<std::unique_ptr<TokenKeyOps>>(uri.error());
  if (!ops) {
    // The supervisor reports a refused PIN itself, with the latch that it writes; a PIN that was not even tried has its
    // own reason.
    if (ops.error().code != Code::kPinRejected || ops.error().ck_rv == 0) (void)Complain(ops.error());
    if (ops.error().Slug() == "custody-superseded" || ops.error().Slug() == "token-in-use")
      return token_lock ? kHostSuperseded : kHostRefused;
    switch (ops.error().code) {
      case Code::kPinRejected:
        return kHostPinRejected;
      case Code::kTokenFault:
      case Code::kUnavailable:
        return kHostBroken;
      default:
        return kHostRefused;
    }
  }
  const char byte = 1;
  if (write(ready.get(), &byte, 1) != 1) return kHostBroken;
  ready.Reset();
  HostDuties duties;
  duties.custody = custody;
  duties.begin = [&] { watch->Begin(); };
  duties.end = [&] { watch->End(); };
  duties.broken = [&] { return (*ops)->Broken(); };
  duties.after = [&] {
    if ((*ops)->Operations() >= config.recycle_operations) watch->AskToLeave();
  };
  const auto how = ServeFrames(listener.get(), stop.get(), config.allowed_uids, **ops, clock, duties);
  return (*ops)->Superseded() ? kHostSuperseded : how;
}

Result<void> ClearPinLatch(const TokendConfig& config) {
  std::error_code error;
  const UniqueFd retry(open(RetryPath(config).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  if (!retry) return Io("cannot write in the state directory " + config.state_dir);
  // None latched is no error: a token that reports a wrong PIN still needs leave for its next start.
  (void)std::filesystem::remove(LatchPath(config), error);
  if (error) return Io("cannot remove " + LatchPath(config) + ": " + error.message());
  return {};
}

}  // namespace strongroom::hsm
