#include "hsm/token_lock.h"

#include <fcntl.h>
#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>

namespace strongroom::hsm {
namespace {

Error Failed(const std::string& what) { return Io(what + ": " + std::strerror(errno)); }

UniqueFd OpenLock(const std::string& path) {
  return UniqueFd(open(path.c_str(), O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
}

Result<void> Hold(const UniqueFd& lock, const std::string& path, const std::string& serial,
                  std::chrono::milliseconds longest) {
  const auto until = std::chrono::steady_clock::now() + longest;
  while (flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) return Failed("cannot lock " + path);
    if (std::chrono::steady_clock::now() > until)
      return Conflict("another process of this machine serves token " + serial + " (" + path + ")", "token-in-use");
    pollfd none{-1, 0, 0};
    (void)poll(&none, 1, 20);
  }
  return {};
}

// The machine's lock of a token, unless the folder or the file is a stranger's, who could hold it for ever.
UniqueFd OpenMachineLock(const std::string& folder, const std::string& path) {
  // Anybody's, like /run/lock itself: users of several tokens lock beside each other.
  if (mkdir(folder.c_str(), 01777) == 0) (void)chmod(folder.c_str(), 01777);
  auto lock = OpenLock(path);
  struct stat marks {};
  if (lock && fstat(lock.get(), &marks) == 0 && (marks.st_uid == geteuid() || marks.st_uid == 0)) return lock;
  spdlog::warn(
      "the lock {} is another user's: two supervisors of this machine are kept apart by the token's record alone",
      path);
  return UniqueFd();
}

}  // namespace

Result<TokenLock> LockToken(const TokenIdentity& identity, const std::string& state_dir,
                            const std::string& machine_locks, std::chrono::milliseconds longest) {
  TokenLock locks;
  std::error_code ignored;
  std::filesystem::create_directories(state_dir, ignored);
  const auto own = state_dir + "/token.lock";
  locks.installation = OpenLock(own);
  if (!locks.installation) return Failed("cannot open the token's lock " + own);
  TRY(Hold(locks.installation, own, identity.serial, longest));
  const auto name = crypto::Sha256({AsBytes(identity.serial), AsBytes("\n"), AsBytes(identity.label), AsBytes("\n"),
                                    AsBytes(identity.manufacturer)});
  const auto path = machine_locks + "/" + ToHex(name);
  locks.machine = OpenMachineLock(machine_locks, path);
  if (locks.machine) TRY(Hold(locks.machine, path, identity.serial, longest));
  return locks;
}

Result<crypto::Id16> Installation(const std::string& state_dir) {
  std::error_code ignored;
  std::filesystem::create_directories(state_dir, ignored);
  const auto path = state_dir + "/installation";
  crypto::Id16 id{};
  const UniqueFd known(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (known && read(known.get(), id.data(), id.size()) == static_cast<ssize_t>(id.size())) return id;
  id = crypto::RandomArray<16>();
  const auto beside = path + ".new";
  const UniqueFd file(open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file || write(file.get(), id.data(), id.size()) != static_cast<ssize_t>(id.size()) || fsync(file.get()) != 0 ||
      rename(beside.c_str(), path.c_str()) != 0)
    return Failed("cannot write " + path);
  const UniqueFd directory(open(state_dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory || fsync(directory.get()) != 0) return Failed("cannot sync " + state_dir);
  return id;
}

}  // namespace strongroom::hsm
