#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace strongroom {

/// Millis is milliseconds since 1970-01-01T00:00:00Z.
using Millis = std::int64_t;
inline constexpr Millis kHour = 3'600'000, kDay = 24 * kHour;

/// Clock tells the time; decisions never ask it themselves, their shells do and hand `now` in. Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual Millis Now() const = 0;
  /// Host is what the machine's own clock says, whether or not it can be relied on.
  virtual Millis Host() const { return Now(); }
  /// Steady is milliseconds since the machine's start, counted through suspend, whatever its clock is set to.
  virtual Millis Steady() const;
  /// Watched is milliseconds that this process could have watched go by: as Steady, but not counted in suspend.
  virtual Millis Watched() const;
  /// BootId names this start of the machine: 16 random bytes of the kernel's, zeros where it has none.
  virtual std::array<std::uint8_t, 16> BootId() const;
  /// Fault says for a person why the time cannot be relied on; empty when it can.
  virtual std::string Fault() const { return {}; }
  /// Accept relies on the host's clock again: a quorum has said so.
  virtual void Accept() {}
};

class SystemClock final : public Clock {
 public:
  Millis Now() const override;
};

/// FormatTime renders RFC 3339 UTC with seconds: 2026-11-21T23:00:00Z. Milliseconds are cut.
std::string FormatTime(Millis time);
/// ParseTime accepts exactly what FormatTime renders, years 1970 to 9999.
std::optional<Millis> ParseTime(std::string_view text);

}  // namespace strongroom
