#include "crypto/base/result.h"

#include <array>
#include <cstdio>
#include <cstdlib>

namespace strongroom {

std::string_view ToString(Code code) {
  switch (code) {
    case Code::kInvalid:
      return "invalid-request";
    case Code::kNotFound:
      return "not-found";
    case Code::kForbidden:
      return "forbidden";
    case Code::kConflict:
      return "conflict";
    case Code::kExpired:
      return "expired";
    case Code::kUnwrapFailed:
      return "unwrap-failed";
    case Code::kUnavailable:
      return "unavailable";
    case Code::kOverloaded:
      return "overloaded";
    case Code::kTokenFault:
      return "token-fault";
    case Code::kPinRejected:
      return "pin-rejected";
    case Code::kIntegrity:
      return "integrity";
    case Code::kIo:
      return "io";
  }
  return "unknown";
}

std::string Error::Line() const {
  std::string line(Slug());
  line += ": ";
  line += detail;
  if (ck_rv != 0) {
    std::array<char, 32> text{};
    (void)std::snprintf(text.data(), text.size(), " (CKR 0x%lx)", ck_rv);
    line += text.data();
  }
  return line;
}

void throw_exception_from_error(const Error& error, const boost::source_location& location) {
  (void)std::fprintf(stderr, "bug: value read from a failed Result at %s:%u: %s\n", location.file_name(),
                     static_cast<unsigned>(location.line()), error.Line().c_str());
  std::abort();
}

}  // namespace strongroom
