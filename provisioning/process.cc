#include "provisioning/process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "hsm/frame_socket.h"

namespace strongroom::provisioning {
namespace {

using hsm::UniqueFd;
constexpr std::size_t kMaxOutput = 64U << 20;

struct Pipe {
  UniqueFd read, write;
};
Result<Pipe> MakePipe() {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return Io("no pipe");
  return Pipe{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

std::vector<char*> ArgvOf(const std::vector<std::string>& arguments) {
  std::vector<char*> argv;
  argv.reserve(arguments.size() + 1);
  for (const auto& a : arguments) argv.push_back(const_cast<char*>(a.c_str()));
  argv.push_back(nullptr);
  return argv;
}

[[noreturn]] void Exec(const std::vector<std::string>& arguments) {
  const auto argv = ArgvOf(arguments);
  (void)execvp(argv[0], argv.data());
  _exit(127);
}

// Not fork: beside a running call of a PKCS#11 module that locks in its atfork handlers a fork waits for ever.
Result<pid_t> Spawn(const std::vector<std::string>& arguments, int in, int out, int err) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  sigset_t none;
  sigemptyset(&none);
  (void)posix_spawn_file_actions_init(&actions);
  (void)posix_spawnattr_init(&attributes);
  (void)posix_spawnattr_setsigmask(&attributes, &none);
  (void)posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  const std::array<int, 3> ends = {in, out, err};
  int failed = 0;
  for (int fd = 0; fd < 3 && failed == 0; ++fd)
    failed = posix_spawn_file_actions_adddup2(&actions, ends[static_cast<std::size_t>(fd)], fd);
  const auto argv = ArgvOf(arguments);
  pid_t pid = -1;
  if (failed == 0) failed = posix_spawnp(&pid, argv[0], &actions, &attributes, argv.data(), environ);
  (void)posix_spawn_file_actions_destroy(&actions);
  (void)posix_spawnattr_destroy(&attributes);
  if (failed != 0) return Io("cannot run " + arguments.front() + ": is it installed?");
  return pid;
}

void UnblockSignals() {
  sigset_t none;
  sigemptyset(&none);
  (void)sigprocmask(SIG_SETMASK, &none, nullptr);
}

}  // namespace

Result<ProcessOutcome> RunProcess(const std::vector<std::string>& arguments, const std::string& input) {
  TRY_ASSIGN(auto in, MakePipe());
  TRY_ASSIGN(auto out, MakePipe());
  TRY_ASSIGN(auto err, MakePipe());
  TRY_ASSIGN(const pid_t pid, Spawn(arguments, in.read.get(), out.write.get(), err.write.get()));
  in.read.Reset();
  out.write.Reset();
  err.write.Reset();
  (void)fcntl(in.write.get(), F_SETFL, O_NONBLOCK);
  ProcessOutcome outcome;
  std::size_t sent = 0;
  if (input.empty()) in.write.Reset();
  std::array<char, 65536> buffer{};
  while (out.read || err.read) {
    std::array<pollfd, 3> polls = {
        {{out.read.get(), POLLIN, 0}, {err.read.get(), POLLIN, 0}, {in.write.get(), POLLOUT, 0}}};
    if (poll(polls.data(), polls.size(), -1) < 0 && errno != EINTR) break;
    const auto drain = [&](UniqueFd& fd, short ready, std::string& to) {
      if (ready == 0 || !fd) return;
      const auto n = read(fd.get(), buffer.data(), buffer.size());
      if (n <= 0)
        fd.Reset();
      else if (to.size() < kMaxOutput)
        to.append(buffer.data(), static_cast<std::size_t>(n));
    };
    drain(out.read, polls[0].revents, outcome.out);
    drain(err.read, polls[1].revents, outcome.err);
    if (in.write && polls[2].revents != 0) {
      const auto n = write(in.write.get(), input.data() + sent, input.size() - sent);
      if (n > 0) sent += static_cast<std::size_t>(n);
      if ((n < 0 && errno != EAGAIN && errno != EINTR) || sent == input.size()) in.write.Reset();
    }
  }
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  if (outcome.status == 127) return Io("cannot run " + arguments.front() + ": is it installed?");
  return outcome;
}

Result<void> StartDaemon(const std::vector<std::string>& arguments, const std::string& log,
                         const std::string& pid_file) {
  const UniqueFd file(open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  const UniqueFd null(open("/dev/null", O_RDONLY | O_CLOEXEC));
  const UniqueFd pid_out(open(pid_file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!file || !null || !pid_out) return Io("cannot write " + log + " and " + pid_file);
  TRY_ASSIGN(auto begun, MakePipe());  // its write end closes when the daemon's program has begun
  // Two forks: the daemon is nobody's child, so no one has to wait for it. It notes its own number before it begins, so
  // that whoever is killed here leaves no daemon that nobody knows of.
  const pid_t middle = fork();
  if (middle < 0) return Io("cannot start " + arguments.front());
  if (middle == 0) {
    UnblockSignals();
    (void)setsid();
    const pid_t daemon = fork();
    if (daemon != 0) _exit(daemon > 0 ? 0 : 1);
    if (dprintf(pid_out.get(), "%d\n", static_cast<int>(getpid())) < 0) _exit(127);
    if (dup2(null.get(), 0) < 0 || dup2(file.get(), 1) < 0 || dup2(file.get(), 2) < 0) _exit(127);
    Exec(arguments);
  }
  begun.write.Reset();
  int status = 0;
  while (waitpid(middle, &status, 0) < 0 && errno == EINTR) {
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) return Io("cannot start " + arguments.front());
  // Until then /proc shows the caller's own command line under the daemon's number, and whoever looks for the daemon by
  // its program would not know it.
  char none = 0;
  while (read(begun.read.get(), &none, 1) < 0 && errno == EINTR) {
  }
  return {};
}

Result<std::string> SshSign(const std::string& key_file, const std::string& name_space, const std::string& message) {
  TRY_ASSIGN(const auto outcome, RunProcess({"ssh-keygen", "-Y", "sign", "-n", name_space, "-f", key_file}, message));
  if (outcome.status != 0) {
    auto reason = outcome.err.substr(0, outcome.err.find_last_not_of('\n') + 1);
    return Io("ssh-keygen did not sign with " + key_file + ": " + reason.substr(reason.rfind('\n') + 1));
  }
  return outcome.out;
}

}  // namespace strongroom::provisioning
