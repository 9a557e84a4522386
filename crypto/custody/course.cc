#include "crypto/custody/course.h"

#include <algorithm>

namespace strongroom::crypto {

CustodyTime TimeOf(const LedgerRecord& record, const HostTime& host) {
  const auto& c = record.custody;
  const bool same_boot = c.course.boot_id == host.course.boot_id && host.course.boot >= c.course.boot;
  const Millis run = same_boot ? host.course.boot - c.course.boot : 0;
  CustodyTime time;
  time.wall = host.wall;
  time.floor = std::max(c.seen + run, record.node_seen);
  time.late = std::max(time.wall, time.floor);
  time.watched = c.watched + std::max<Millis>(host.watched, 0);
  time.course = host.course;
  time.behind = time.wall + kClockSlack < time.floor;
  // A record that has seen nothing has no clock to compare with.
  const bool knows = c.seen > 0;
  const bool ahead = knows && time.wall > time.floor + (same_boot ? kClockSlack : kMostAbsence);
  // Noticed once, it lasts for a watched day or until the wall clock is back.
  const bool back = time.wall <= time.floor + kClockSlack;
  if (c.stepped > 0) {
    time.stepped = !back && time.watched - c.stepped < kStepWait;
    time.stepped_at = c.stepped;
  } else if (ahead) {
    time.stepped = true;
    time.stepped_at = std::max<Millis>(time.watched, 1);
  }
  return time;
}

CustodyTime EstimateTime(const LedgerRecord& record, const Clock& clock) {
  const Course here{clock.BootId(), clock.Steady()};
  const auto& last = record.custody.course;
  return TimeOf(record, {clock.Host(), here, last.boot_id == here.boot_id ? here.boot - last.boot : Millis{0}});
}

void Touch(LedgerRecord& record, const CustodyTime& time) {
  auto& c = record.custody;
  c.seen = time.stepped ? time.floor : time.late;
  c.course = time.course;
  c.watched = time.watched;
  c.stepped = time.stepped ? time.stepped_at : 0;
}

Result<void> CheckNotBehind(const CustodyTime& time) {
  if (!time.behind) return {};
  return Unavailable("the token's host has seen " + FormatTime(time.floor) + " and its clock says " +
                         FormatTime(time.wall) + ": set the clock right, or propose clock.accept",
                     "clock-back");
}

Result<void> CheckNotStepped(const CustodyTime& time) {
  if (!time.stepped) return {};
  return Unavailable("the clock of the token's host was set forward from " + FormatTime(time.floor) + " to " +
                         FormatTime(time.wall) + ": mandates wait for a day, or for clock.accept",
                     "clock-stepped");
}

}  // namespace strongroom::crypto
