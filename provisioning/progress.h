#pragma once
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <iostream>

namespace strongroom::provisioning {

/// Progress is one line on a terminal while something takes longer than a second.
class Progress {
 public:
  void Count(const char* what, std::uint64_t n) {
    const auto now = std::chrono::steady_clock::now();
    if (!show_ || now - begin_ < std::chrono::seconds(1) || now - drawn_ < std::chrono::milliseconds(200)) return;
    drawn_ = now;
    std::cerr << "\r" << what << ": " << n << " entries   ";
  }
  ~Progress() {
    if (drawn_ != std::chrono::steady_clock::time_point()) std::cerr << "\n";
  }
  Progress() = default;
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

 private:
  const bool show_ = isatty(STDERR_FILENO) == 1;
  const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  std::chrono::steady_clock::time_point drawn_;
};

}  // namespace strongroom::provisioning
