#pragma once
#include <cstdint>

#include "crypto/base/clock.h"

namespace strongroom::appliance {

/// RefusalMeter bounds how many refusals are recorded (L5): up to 100 at once, then 20 a second; the others are counted
/// and the count goes into the next one recorded. Pure; not thread-safe.
class RefusalMeter {
 public:
  /// Take returns true when a refusal at `now` is to be recorded; `suppressed` then holds how many before it were not.
  bool Take(Millis now, std::uint32_t& suppressed);

 private:
  double allowance_ = 100;
  Millis last_ = 0;
  std::uint32_t suppressed_ = 0;
};

}  // namespace strongroom::appliance
