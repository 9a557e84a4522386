#include "hsm/token_lock.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>

namespace strongroom::hsm {
namespace {

constexpr const char* kLockFolder = "/run/lock/strongroom";
constexpr auto kLongestEnd = std::chrono::seconds(5);

Error Failed(const std::string& what) { return Io(what + ": " + std::strerror(errno)); }

}  // namespace

Result<UniqueFd> LockToken(const TokenIdentity& identity) {
  // Anybody's, like /run/lock itself: users of several tokens lock beside each other.
  if (mkdir(kLockFolder, 01777) == 0)
    (void)chmod(kLockFolder, 01777);
  else if (errno != EEXIST)
    return Failed(std::string("cannot make ") + kLockFolder);
  const auto name = crypto::Sha256({AsBytes(identity.serial), AsBytes("\n"), AsBytes(identity.label), AsBytes("\n"),
                                    AsBytes(identity.manufacturer)});
  const auto path = std::string(kLockFolder) + "/" + ToHex(name);
  UniqueFd lock(open(path.c_str(), O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!lock) return Failed("cannot open the token's lock " + path);
  const auto until = std::chrono::steady_clock::now() + kLongestEnd;
  while (flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) return Failed("cannot lock " + path);
    if (std::chrono::steady_clock::now() > until)
      return Conflict("another process of this machine serves token " + identity.serial + " (" + path + ")",
                      "token-in-use");
    pollfd none{-1, 0, 0};
    (void)poll(&none, 1, 20);
  }
  return lock;
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
