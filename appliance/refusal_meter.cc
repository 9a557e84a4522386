#include "appliance/refusal_meter.h"

#include <algorithm>
#include <utility>

namespace strongroom::appliance {

bool RefusalMeter::Take(Millis now, std::uint32_t& suppressed) {
  constexpr double kBurst = 100, kPerMilli = 0.02;
  const auto passed = static_cast<double>(std::clamp<Millis>(now - last_, 0, 10'000));
  allowance_ = std::min(kBurst, allowance_ + passed * kPerMilli);
  last_ = now;
  if (allowance_ < 1) {
    ++suppressed_;
    return false;
  }
  allowance_ -= 1;
  suppressed = std::exchange(suppressed_, 0);
  return true;
}

}  // namespace strongroom::appliance
