#pragma once
// Line framing of application/x-ndjson streams. Pure.

#include <cstddef>
#include <functional>
#include <string_view>

#include "netapi/json.h"

namespace strongroom::netapi {

/// Longest line of a stream, in bytes without its end; the largest item that there can be fits.
inline constexpr std::size_t kMaxLine = 16384;

/// LineSplitter cuts a stream of bytes into lines, whatever the pieces they come in, holding at most one line. A line
/// longer than kMaxLine is not kept: it is reported once, empty and `too_long`, and the rest of the stream goes on. A
/// carriage return before the line end is cut off.
class LineSplitter {
 public:
  using Visit = std::function<void(std::string_view line, bool too_long)>;
  void Feed(std::string_view bytes, const Visit& visit);
  /// Finish reports a last line that has no line end.
  void Finish(const Visit& visit);

 private:
  void End(const Visit& visit);
  SecretText partial_;
  bool too_long_ = false;
};

}  // namespace strongroom::netapi
