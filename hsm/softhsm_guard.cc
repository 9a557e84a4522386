#include "hsm/softhsm_guard.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "crypto/base/bytes.h"
#include "hsm/frame_socket.h"

namespace strongroom::hsm {
namespace fs = std::filesystem;
namespace {

// Copies by way of a synced temporary file and a rename, so that the target is always whole.
Result<void> CopyWhole(const fs::path& from, const fs::path& to) {
  std::ifstream in(from, std::ios::binary);
  const std::string content((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  if (!in) return Io("cannot read " + from.string());
  const fs::path temporary = to.string() + ".new";
  const UniqueFd out(open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!out || write(out.get(), content.data(), content.size()) != static_cast<ssize_t>(content.size()) ||
      fsync(out.get()) != 0)
    return Io("cannot write " + temporary.string());
  std::error_code error;
  fs::rename(temporary, to, error);
  if (error) return Io("cannot write " + to.string());
  return {};
}

bool SameContent(const fs::path& a, const fs::path& b) {
  std::ifstream left(a, std::ios::binary), right(b, std::ios::binary);
  return left && right &&
         std::equal(std::istreambuf_iterator<char>(left), std::istreambuf_iterator<char>(),
                    std::istreambuf_iterator<char>(right), std::istreambuf_iterator<char>());
}

}  // namespace

Result<std::string> SoftHsmTokenDir(const std::string& softhsm_conf) {
  std::ifstream in(softhsm_conf);
  std::string line;
  while (std::getline(in, line)) {
    constexpr std::string_view kName = "directories.tokendir";
    if (!line.starts_with(kName)) continue;
    const auto at = line.find_first_not_of(" \t=", kName.size());
    if (at == std::string::npos) break;
    return line.substr(at, line.find_last_not_of(" \t\r") + 1 - at);
  }
  return Invalid("no directories.tokendir in " + softhsm_conf);
}

Result<void> SeeOthersObjects(const std::string& softhsm_conf) {
  const auto token_dir = softhsm_conf.empty() ? Result<std::string>(std::string()) : SoftHsmTokenDir(softhsm_conf);
  if (!token_dir || token_dir->empty()) return {};
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(*token_dir, error)) {
    const auto path = entry.path() / "generation";
    const UniqueFd file(open(path.c_str(), O_RDWR | O_CLOEXEC));
    if (!file && errno == ENOENT) continue;
    struct flock whole {};
    whole.l_type = F_WRLCK;
    std::array<std::uint8_t, 8> count{};  // big-endian
    if (!file || fcntl(file.get(), F_SETLKW, &whole) != 0) return Io("cannot lock " + path.string());
    if (pread(file.get(), count.data(), count.size(), 0) != static_cast<ssize_t>(count.size())) continue;
    for (auto byte = count.rbegin(); byte != count.rend() && ++*byte == 0;) ++byte;
    if (pwrite(file.get(), count.data(), count.size(), 0) != static_cast<ssize_t>(count.size()))
      return Io("cannot write " + path.string());
  }
  return {};
}

Result<void> SeeOthersObjects() {
  const char* conf = std::getenv("SOFTHSM2_CONF");
  return SeeOthersObjects(conf == nullptr ? "" : conf);
}

Result<int> GuardTokenObjects(const std::string& softhsm_conf, const std::string& guard_dir) {
  TRY_ASSIGN(const auto token_dir, SoftHsmTokenDir(softhsm_conf));
  std::error_code error;
  fs::create_directories(guard_dir, error);
  if (error || chmod(guard_dir.c_str(), 0700) != 0) return Io("cannot use the directory " + guard_dir);
  int restored = 0;
  for (const auto& entry : fs::directory_iterator(token_dir, error)) {
    const auto object = entry.path() / "token.object";
    const auto copy = fs::path(guard_dir) / (entry.path().filename().string() + ".token.object");
    if (!entry.is_directory()) continue;
    std::error_code missing;
    const auto size = fs::file_size(object, missing);
    const auto current = missing ? 0 : size;
    const auto kept_size = fs::file_size(copy, missing);
    const auto kept = missing ? 0 : kept_size;
    if (current < kept) {
      TRY(CopyWhole(copy, object));
      ++restored;
    } else if (current > 0 && !SameContent(object, copy)) {
      TRY(CopyWhole(object, copy));
    }
  }
  if (error) return Io("cannot list the token directory " + token_dir, "token-missing");
  return restored;
}

}  // namespace strongroom::hsm
