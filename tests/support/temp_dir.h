#pragma once
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace strongroom::tests {

/// TempDir is a fresh directory that goes with the object.
class TempDir {
 public:
  TempDir() {
    std::string pattern = (std::filesystem::temp_directory_path() / "sr-test-XXXXXX").string();
    path_ = mkdtemp(pattern.data());
  }
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  std::string File(const std::string& name) const { return (path_ / name).string(); }
  std::string path() const { return path_.string(); }

  std::string Write(const std::string& name, const std::string& content) const {
    std::ofstream(path_ / name, std::ios::binary) << content;
    std::filesystem::permissions(path_ / name,
                                 std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
    return File(name);
  }

 private:
  std::filesystem::path path_;
};

inline std::string ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

/// AnonymousKib is what a process holds of memory of its own (RssAnon), in KiB.
inline long AnonymousKib(int pid) {
  const auto status = ReadFile("/proc/" + std::to_string(pid) + "/status");
  return std::stol(status.substr(status.find("RssAnon:") + 8));
}

}  // namespace strongroom::tests
