#include "crypto/base/clock.h"

#include <time.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <fstream>

#include "crypto/base/bytes.h"

namespace strongroom {

namespace {
Millis ReadClock(clockid_t id) {
  timespec time{};
  (void)clock_gettime(id, &time);
  return static_cast<Millis>(time.tv_sec) * 1000 + time.tv_nsec / 1'000'000;
}
}  // namespace

Millis Clock::Steady() const { return ReadClock(CLOCK_BOOTTIME); }

Millis Clock::Watched() const { return ReadClock(CLOCK_MONOTONIC); }

std::array<std::uint8_t, 16> Clock::BootId() const {
  // One text of the machine's for as long as it runs: read once.
  static const auto id = [] {
    std::ifstream file("/proc/sys/kernel/random/boot_id");
    std::string text;
    (void)std::getline(file, text);
    std::erase(text, '-');
    return FromHexArray<16>(text).value_or(std::array<std::uint8_t, 16>{});
  }();
  return id;
}

Millis SystemClock::Now() const {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::string FormatTime(Millis time) {
  using std::chrono::floor;
  const std::chrono::sys_seconds seconds =
      floor<std::chrono::seconds>(std::chrono::sys_time<std::chrono::milliseconds>(std::chrono::milliseconds(time)));
  const auto day = floor<std::chrono::days>(seconds);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(seconds - day);
  std::array<char, 64> text{};
  const int n = std::snprintf(text.data(), text.size(), "%04d-%02u-%02uT%02d:%02d:%02dZ", static_cast<int>(date.year()),
                              static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                              static_cast<int>(clock.hours().count()), static_cast<int>(clock.minutes().count()),
                              static_cast<int>(clock.seconds().count()));
  return {text.data(), static_cast<std::size_t>(n)};
}

std::optional<Millis> ParseTime(std::string_view text) {
  if (text.size() != 20 || text[4] != '-' || text[7] != '-' || text[10] != 'T' || text[13] != ':' || text[16] != ':' ||
      text[19] != 'Z')
    return std::nullopt;
  const auto number = [&](std::size_t at, std::size_t digits) {
    int value = 0;
    for (std::size_t i = at; i < at + digits; ++i) {
      if (text[i] < '0' || text[i] > '9') return -1;
      value = value * 10 + (text[i] - '0');
    }
    return value;
  };
  const int year = number(0, 4), month = number(5, 2), day = number(8, 2);
  const int hour = number(11, 2), minute = number(14, 2), second = number(17, 2);
  if (year < 1970 || month < 1 || day < 1 || hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 ||
      second > 59)
    return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day))};
  if (!date.ok()) return std::nullopt;
  const auto seconds = std::chrono::sys_days(date).time_since_epoch() + std::chrono::hours(hour) +
                       std::chrono::minutes(minute) + std::chrono::seconds(second);
  return std::chrono::duration_cast<std::chrono::milliseconds>(seconds).count();
}

}  // namespace strongroom
