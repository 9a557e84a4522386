#include "appliance/ledger_clock.h"

#include <algorithm>
#include <cstdlib>

namespace strongroom::appliance {

ClockCourse::ClockCourse(ClockReading first, Millis floor, bool frozen)
    : base_(first), last_(std::max(first.host, floor)), steady_(first.steady) {
  if (frozen)
    fault_ = "it was frozen before the last start and has not been accepted since";
  else if (first.host + kClockStep < floor)
    fault_ = "the ledger has seen " + FormatTime(floor) + ", the clock says " + FormatTime(first.host);
  if (this->frozen()) last_ = std::max(floor, Millis{0});
}

Millis ClockCourse::Advance(ClockReading now) {
  const auto ran = std::max(Millis{0}, now.steady - steady_);
  steady_ = now.steady;
  if (!frozen()) {
    const auto since = now.steady - base_.steady;
    const auto off = (now.host - base_.host) - since;
    if (std::abs(off) > kClockStep)
      fault_ = "the clock was set " + std::string(off < 0 ? "back" : "forward") + " by " +
               std::to_string(std::abs(off) / 1000) + " s: it says " + FormatTime(now.host);
  }
  last_ = frozen() ? last_ + ran : std::max(last_, now.host);
  return last_;
}

void ClockCourse::Accept(ClockReading now) {
  base_ = now;
  steady_ = now.steady;
  last_ = now.host;
  fault_.clear();
}

LedgerClock::LedgerClock(Millis floor, bool frozen, Read read)
    : read_(std::move(read)), course_(read_(), floor, frozen) {}

Millis LedgerClock::Now() const {
  const MutexLock lock(mutex_);
  return course_.Advance(read_());
}

std::string LedgerClock::Fault() const {
  const MutexLock lock(mutex_);
  (void)course_.Advance(read_());
  return course_.fault();
}

void LedgerClock::Accept() {
  const MutexLock lock(mutex_);
  course_.Accept(read_());
}

ClockReading LedgerClock::ReadSystem() {
  const SystemClock clock;
  return {clock.Now(), clock.Steady()};
}

}  // namespace strongroom::appliance
