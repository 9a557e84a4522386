#pragma once
// The course of time as a custody record knows it (Q10, Q15): what ends, what waits, and when a clock is not believed.
// Pure.

#include "crypto/custody/record.h"

namespace strongroom::crypto {

/// Hosts of one site and a first correction by NTP differ by less.
inline constexpr Millis kClockSlack = 5 * kMinute;
/// At a start of the machine a wall clock further ahead than this was set; no deadline is longer.
inline constexpr Millis kMostAbsence = 31 * kDay;
/// A step forward is believed after so much watched time: one working day in which people see the alarm.
inline constexpr Millis kStepWait = kDay;

/// HostTime is what a host's clocks say at one moment.
struct HostTime {
  Millis wall = 0;     // CLOCK_REALTIME
  Course course{};     // CLOCK_BOOTTIME, and which start of the machine
  Millis watched = 0;  // what this host has watched since its last write of the record; 0 before its first
};

/// CustodyTime is a moment as the record judges it.
struct CustodyTime {
  Millis wall = 0;
  Millis floor = 0;    // the record's own clock: it runs by boot time from the last write, and never goes back
  Millis late = 0;     // the later of both: whatever ends is judged by it
  Millis watched = 0;  // time that a living host has watched, ever: whatever waits is judged by it
  Course course{};
  bool behind = false;    // the wall clock is more than five minutes before the floor
  bool stepped = false;   // it was set forward, and nobody has believed it yet
  Millis stepped_at = 0;  // watched time at which that was noticed
};
CustodyTime TimeOf(const LedgerRecord& record, const HostTime& host);

/// EstimateTime is TimeOf for whoever has only read the record: what was watched since its last write is taken from
/// boot time. The token's host judges again by what it has watched itself.
CustodyTime EstimateTime(const LedgerRecord& record, const Clock& clock);

/// Touch moves the record's clock on, as each write of it does.

void Touch(LedgerRecord& record, const CustodyTime& time);

/// CheckNotBehind: kUnavailable (clock-back) while the wall clock is behind.
Result<void> CheckNotBehind(const CustodyTime& time);
/// CheckNotStepped: kUnavailable (clock-stepped) while a step forward is not believed.
Result<void> CheckNotStepped(const CustodyTime& time);

}  // namespace strongroom::crypto
