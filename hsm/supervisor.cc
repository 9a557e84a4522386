#include "hsm/supervisor.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
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

#include "hsm/host.h"
#include "hsm/softhsm_guard.h"
#include "hsm/token_key_ops.h"

namespace strongroom::hsm {
namespace {

constexpr int kListenerFd = 3;
constexpr int kReadyFd = 4;
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

struct Host {
  pid_t pid = -1;
  UniqueFd ready;
};

Result<Host> StartHost(const TokendConfig& config, const std::string& config_path, const std::string& self,
                       int listener) {
  if (!config.softhsm_conf.empty()) {
    TRY_ASSIGN(const int restored, GuardTokenObjects(config.softhsm_conf, config.state_dir + "/guard"));
    if (restored > 0) spdlog::warn("put back {} token.object that a killed login had damaged", restored);
  }
  std::error_code ignored;
  const bool pin_retry = std::filesystem::remove(RetryPath(config), ignored);
  std::array<int, 2> pipe_ends{};
  if (pipe2(pipe_ends.data(), O_CLOEXEC) != 0) return Io("no pipe");
  Host host;
  host.ready = UniqueFd(pipe_ends[0]);
  const UniqueFd write_end(pipe_ends[1]);
  const pid_t supervisor = getpid();
  host.pid = fork();
  if (host.pid < 0) return Io("cannot start a host process");
  if (host.pid == 0) {
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != supervisor) _exit(1);
    // Out of the way first: either descriptor may be 3 or 4 already.
    const int a = fcntl(listener, F_DUPFD, 10), b = fcntl(write_end.get(), F_DUPFD, 10);
    if (dup2(a, kListenerFd) < 0 || dup2(b, kReadyFd) < 0) _exit(1);
    (void)close(a);
    (void)close(b);
    if (!config.softhsm_conf.empty()) (void)setenv("SOFTHSM2_CONF", config.softhsm_conf.c_str(), 1);
    (void)execl(self.c_str(), self.c_str(), "--config", config_path.c_str(), "--host",
                pin_retry ? "--pin-retry" : nullptr, static_cast<char*>(nullptr));
    _exit(1);
  }
  return host;
}

// Waits until the host says "ready" (true) or dies (false, status filled); kConflict when asked to stop meanwhile.
enum class Start { kReady, kDied, kStop };
Start AwaitReady(const Host& host, int signal_fd, int& status) {
  while (true) {
    std::array<pollfd, 2> polls = {{{host.ready.get(), POLLIN, 0}, {signal_fd, POLLIN, 0}}};
    if (poll(polls.data(), polls.size(), -1) < 0 && errno != EINTR) return Start::kStop;
    if ((polls[1].revents & POLLIN) != 0 && StopAsked(signal_fd)) return Start::kStop;
    if (polls[0].revents != 0) {
      char byte = 0;
      if (read(host.ready.get(), &byte, 1) == 1) return Start::kReady;
      (void)waitpid(host.pid, &status, 0);
      return Start::kDied;
    }
  }
}

void StopHost(const Host& host, int& status) {
  (void)kill(host.pid, SIGTERM);
  // The host ends between two frames; its own token call bounds how long that takes.
  (void)waitpid(host.pid, &status, 0);
}

// Pauses between starts, but not past a request to stop.
bool PauseOrStop(int signal_fd, std::chrono::milliseconds pause) {
  pollfd poll_fd{signal_fd, POLLIN, 0};
  (void)poll(&poll_fd, 1, static_cast<int>(pause.count()));
  return StopAsked(signal_fd);
}

std::chrono::milliseconds NextPause(std::chrono::milliseconds pause) {
  return std::min(std::max(pause * 2, std::chrono::milliseconds(20)), std::chrono::milliseconds(2000));
}

}  // namespace

int RunSupervisor(const TokendConfig& config, const std::string& config_path, const std::string& self) {
  std::error_code error;
  std::filesystem::create_directories(config.state_dir, error);
  const UniqueFd lock(open((config.state_dir + "/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!lock) return Complain(Io("cannot write in the state directory " + config.state_dir));
  if (flock(lock.get(), LOCK_EX | LOCK_NB) != 0)
    return Complain(
        Conflict("another strongroom-tokend serves this token (" + config.state_dir + "/lock)", "already-running"));
  if (std::filesystem::exists(LatchPath(config))) return Complain(LatchedError(config));
  const auto listener = ListenLocal(config.socket);
  if (!listener) return Complain(listener.error());
  const auto signals = BlockedSignals();

  bool served = false;
  std::chrono::milliseconds pause{0};
  for (int tries = 1;; ++tries) {
    const auto host = StartHost(config, config_path, self, listener->get());
    if (!host) {
      if (!served) return Complain(host.error());
      // Once it serves, nothing but its operator ends a supervisor: a full disk or a missing directory may pass.
      spdlog::error("no host started: {}", host.error().Line());
      pause = NextPause(pause);
      if (PauseOrStop(signals.get(), pause)) return 0;
      continue;
    }
    int status = 0;
    switch (AwaitReady(*host, signals.get(), status)) {
      case Start::kStop:
        StopHost(*host, status);
        return 0;
      case Start::kReady:
        spdlog::info("host {} is ready", host->pid);
        if (!std::exchange(served, true)) (void)sd_notify(0, "READY=1");
        pause = std::chrono::milliseconds(0);
        while (waitpid(host->pid, &status, WNOHANG) == 0) {
          pollfd poll_fd{signals.get(), POLLIN, 0};
          (void)poll(&poll_fd, 1, -1);
          if (StopAsked(signals.get())) {
            StopHost(*host, status);
            return 0;
          }
        }
        break;
      case Start::kDied:
        break;
    }
    const int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    if (code == kHostPinRejected) {
      if (const auto latched = Latch(config); !latched) return Complain(latched.error());
      return Complain(LatchedError(config));
    }
    if (!served && (code == kHostRefused || tries >= kFirstStartTries)) return 1;  // the host has said why
    if (WIFSIGNALED(status))
      spdlog::warn("host {} was killed by signal {}; starting another", host->pid, WTERMSIG(status));
    else
      spdlog::warn("host {} ended with status {}; starting another", host->pid, code);
    if (pause.count() > 0 && PauseOrStop(signals.get(), pause)) return 0;
    pause = NextPause(pause);
  }
}

int RunHost(const TokendConfig& config, bool pin_retry) {
  (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  (void)sigprocmask(SIG_BLOCK, &set, nullptr);
  const UniqueFd stop(signalfd(-1, &set, SFD_CLOEXEC));
  const UniqueFd listener(kListenerFd);
  UniqueFd ready(kReadyFd);
  const SystemClock clock;
  auto uri = TokenUri::Parse(config.uri);
  auto ops =
      uri ? TokenKeyOps::Open(std::move(*uri), clock, pin_retry) : Result<std::unique_ptr<TokenKeyOps>>(uri.error());
  if (!ops) {
    // The supervisor reports a refused PIN itself, with the latch that it writes.
    if (ops.error().code != Code::kPinRejected || ops.error().ck_rv == 0) (void)Complain(ops.error());
    switch (ops.error().code) {
      case Code::kPinRejected:
        return ops.error().ck_rv == 0 ? kHostRefused : kHostPinRejected;
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
  return ServeFrames(listener.get(), stop.get(), config.allowed_uids, **ops, clock, [&] { return (*ops)->Broken(); });
}

Result<void> ClearPinLatch(const TokendConfig& config) {
  std::error_code error;
  const UniqueFd retry(open(RetryPath(config).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  if (!retry) return Io("cannot write in the state directory " + config.state_dir);
  if (!std::filesystem::remove(LatchPath(config), error))
    return {};  // none latched: the next start may still need leave to try
  return {};
}

}  // namespace strongroom::hsm
