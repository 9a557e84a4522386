#pragma once
// The time that the appliance decides by (Q10): the host's clock for as long as it can be believed, never going back.

#include <functional>
#include <optional>
#include <string>

#include "crypto/base/clock.h"
#include "crypto/base/mutex.h"
#include "ledger/ledger.h"

namespace strongroom::appliance {

/// How far the host's clock may ever be from what the machine's other clock has made of it since the start. NTP slews
/// both alike; what is left is leap seconds.
inline constexpr Millis kClockStep = 15'000;

/// ClockReading is what the two clocks of a host say at one moment. `steady` counts through suspend
/// (CLOCK_BOOTTIME); where it begins does not matter.
struct ClockReading {
  Millis host = 0;
  Millis steady = 0;
};

/// ClockCourse is a ledger clock between two readings. Pure.
class ClockCourse {
 public:
  /// A course begins at `floor`, the latest time that the ledger has seen (0: none). A host's clock behind it is a
  /// step back. `frozen` goes on being frozen.
  ClockCourse(ClockReading first, Millis floor, bool frozen);

  /// Advance takes a reading and returns the ledger's time: the host's clock, or while it is frozen what the
  /// monotonic clock adds to the last time that was believed. It never goes back.
  Millis Advance(ClockReading now);
  /// Accept believes the host's clock again, from this reading on.
  void Accept(ClockReading now);
  /// Fault says why the clock is frozen; empty when it is not.
  const std::string& fault() const { return fault_; }
  bool frozen() const { return !fault_.empty(); }

 private:
  ClockReading base_;  // since when the two are compared
  Millis last_ = 0;    // the ledger's time at the last reading
  Millis steady_ = 0;  // of the last reading
  std::string fault_;
};

/// LedgerClock is thread-safe. A step is found at the next call of Now(), which the appliance makes several times a
/// second.
class LedgerClock final : public Clock {
 public:
  using Read = std::function<ClockReading()>;
  LedgerClock(Millis floor, bool frozen, Read read = ReadSystem);
  Millis Now() const override EXCLUDES(mutex_);
  Millis Host() const override { return read_().host; }
  Millis Steady() const override { return read_().steady; }
  std::string Fault() const override EXCLUDES(mutex_);
  void Accept() override EXCLUDES(mutex_);

  static ClockReading ReadSystem();

 private:
  const Read read_;
  mutable Mutex mutex_;
  mutable ClockCourse course_ GUARDED_BY(mutex_);
};

}  // namespace strongroom::appliance
