#pragma once
// A copy of the lying module (tests/fakes/hostile_pkcs11.cc) of its own, and lies for it.

#include <filesystem>
#include <fstream>
#include <string>

namespace strongroom::tests {

class HostileModule {
 public:
  /// The copy lies in `directory` for as long as that does.
  HostileModule(const std::string& directory, const std::string& bin_dir) : path_(directory + "/hostile.so") {
    std::filesystem::copy_file(bin_dir + "/hostile_pkcs11.so", path_);
  }
  const std::string& path() const { return path_; }
  /// Tell replaces all lies; none is the truth.
  void Tell(const std::string& lies) const {
    std::ofstream(path_ + ".new") << lies << "\n";
    std::filesystem::rename(path_ + ".new", path_ + ".lies");
  }

 private:
  std::string path_;
};

}  // namespace strongroom::tests
