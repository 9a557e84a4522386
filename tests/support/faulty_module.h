#pragma once
// A copy of the fault-injecting module (tests/fakes/faulty_pkcs11.cc) of its own, and orders for it.

#include <filesystem>
#include <fstream>
#include <string>

#include "tests/support/temp_dir.h"

namespace strongroom::tests {

class FaultyModule {
 public:
  /// The copy lies in `directory` for as long as that does.
  FaultyModule(const std::string& directory, const std::string& bin_dir) : path_(directory + "/faulty.so") {
    std::filesystem::copy_file(bin_dir + "/faulty_pkcs11.so", path_);
  }
  const std::string& path() const { return path_; }
  /// Order replaces all orders; the module reads them at its next call, never half of them.
  void Order(const std::string& orders) const {
    std::ofstream(path_ + ".new") << orders << "\n";
    std::filesystem::rename(path_ + ".new", path_ + ".faults");
  }
  void Heal() const { std::filesystem::remove(path_ + ".faults"); }
  /// Logged counts the calls that a `log` order has seen.
  std::size_t Logged(const std::string& function) const {
    std::ifstream log(path_ + ".log");
    std::size_t count = 0;
    for (std::string line; std::getline(log, line);) count += line == function ? 1 : 0;
    return count;
  }

 private:
  std::string path_;
};

}  // namespace strongroom::tests
