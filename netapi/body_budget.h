#pragma once
#include <cstdint>
#include <map>
#include <string>

#include "crypto/base/mutex.h"

namespace strongroom::netapi {

inline constexpr std::uint64_t kBodyMemory = std::uint64_t{256} << 20;  // of all bodies that are being read or answered
inline constexpr std::uint64_t kBodyMemoryOfOne = kBodyMemory / 4;      // of one principal's

/// BodyBudget bounds the memory of all bodies that are being read or answered, and of each principal's: one who
/// announces much and sends nothing spends his own part.
class BodyBudget {
 public:
  bool Take(const std::string& principal, std::uint64_t bytes) {
    const MutexLock lock(mutex_);
    auto& own = of_principal_[principal];
    if (all_ + bytes > kBodyMemory || own + bytes > kBodyMemoryOfOne) return false;
    all_ += bytes;
    own += bytes;
    return true;
  }
  void Give(const std::string& principal, std::uint64_t bytes) {
    const MutexLock lock(mutex_);
    all_ -= bytes;
    const auto own = of_principal_.find(principal);
    if ((own->second -= bytes) == 0) of_principal_.erase(own);
  }

 private:
  Mutex mutex_;
  std::uint64_t all_ GUARDED_BY(mutex_) = 0;
  std::map<std::string, std::uint64_t, std::less<>> of_principal_ GUARDED_BY(mutex_);
};

/// Reservation is a part of the budget for as long as it lives; false when there was none to have.
class Reservation {
 public:
  Reservation(BodyBudget& budget, const std::string& principal, std::uint64_t bytes)
      : budget_(budget), principal_(principal), bytes_(bytes), held_(bytes == 0 || budget.Take(principal, bytes)) {}
  ~Reservation() {
    if (held_ && bytes_ > 0) budget_.Give(principal_, bytes_);
  }
  Reservation(const Reservation&) = delete;
  Reservation& operator=(const Reservation&) = delete;
  explicit operator bool() const { return held_; }

 private:
  BodyBudget& budget_;
  const std::string principal_;
  const std::uint64_t bytes_;
  const bool held_;
};

}  // namespace strongroom::netapi
