#pragma once
// The one error type of the house and the one way to return it.

#include <boost/system/result.hpp>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace strongroom {

/// Code says what class of thing went wrong; callers branch on it, people read Error::detail.
enum class Code : std::uint8_t {
  kInvalid,       // the caller's input is malformed or out of range
  kNotFound,      // the named thing does not exist (or must not be admitted to exist, N5)
  kForbidden,     // the principal may not do this
  kConflict,      // the state does not allow it: disabled, consumed, stale, existing name
  kExpired,       // a deadline has passed
  kUnwrapFailed,  // the one answer for every cryptographic failure (K5)
  kUnavailable,   // token side or ledger cannot be reached now; nothing was done for the caller
  kOverloaded,    // a bounded queue or arena is full; nothing was done
  kTokenFault,    // the token answered with a device-level fault (ck_rv says which)
  kPinRejected,   // the token refused the PIN; it is not tried again
  kIntegrity,     // stored or received bytes contradict themselves: fail closed
  kIo,            // the operating system refused: file, socket, disk
};

/// ToString returns the kebab-case name of a code ("unwrap-failed"); it is the default problem slug.
std::string_view ToString(Code code);

/// Error is one failure. `slug` names a finer problem than the code when users should tell it apart ("no-grant").
/// `detail` is one line for a person and never holds key bytes, PINs or blobs. `ck_rv` is the PKCS#11 return value
/// behind it, 0 if none. `where` is the function that made it.
struct Error {
  Code code = Code::kInvalid;
  std::string detail;
  std::string slug;
  unsigned long ck_rv = 0;
  const char* where = "";

  /// Slug returns the finer name if there is one, else the code's name.
  std::string_view Slug() const { return slug.empty() ? ToString(code) : std::string_view(slug); }
  /// Line renders "slug: detail" with the PKCS#11 value when there is one: the one line that a person sees.
  std::string Line() const;
};

#define STRONGROOM_ERROR_KIND(Name)                                                                     \
  inline Error Name(std::string detail, std::string slug = {}, const char* at = __builtin_FUNCTION()) { \
    return Error{Code::k##Name, std::move(detail), std::move(slug), 0, at};                             \
  }
STRONGROOM_ERROR_KIND(Invalid)
STRONGROOM_ERROR_KIND(NotFound)
STRONGROOM_ERROR_KIND(Forbidden)
STRONGROOM_ERROR_KIND(Conflict)
STRONGROOM_ERROR_KIND(Expired)
STRONGROOM_ERROR_KIND(Unavailable)
STRONGROOM_ERROR_KIND(Overloaded)
STRONGROOM_ERROR_KIND(Integrity)
STRONGROOM_ERROR_KIND(Io)
#undef STRONGROOM_ERROR_KIND

/// UnwrapFailed is K5's one answer: it takes no detail, so that no caller can say more.
inline Error UnwrapFailed() {
  return Error{Code::kUnwrapFailed, "the wrapped DEK does not unwrap with this keyring and AAD", {}, 0, "unwrap"};
}

/// throw_exception_from_error ends the process: reading a value that is not there is a bug, not a failure to handle.
[[noreturn]] void throw_exception_from_error(const Error& error, const boost::source_location& location);

/// Result holds a T or an Error. Test it (`if (!r)`) before reading `*r`.
template <class T>
class [[nodiscard]] Result : public boost::system::result<T, Error> {
 public:
  using boost::system::result<T, Error>::result;
};

}  // namespace strongroom

#define STRONGROOM_CAT2(a, b) a##b
#define STRONGROOM_CAT(a, b) STRONGROOM_CAT2(a, b)
/// TRY(expr) returns the error of a Result from the enclosing function.
#define TRY(expr)                                            \
  do {                                                       \
    auto&& try_result_ = (expr);                             \
    if (!try_result_) return std::move(try_result_).error(); \
  } while (0)
/// TRY_ASSIGN(declaration, expr) declares the value of a Result or returns its error.
#define TRY_ASSIGN(declaration, expr)                                                            \
  auto STRONGROOM_CAT(try_, __LINE__) = (expr);                                                  \
  if (!STRONGROOM_CAT(try_, __LINE__)) return std::move(STRONGROOM_CAT(try_, __LINE__)).error(); \
  declaration = std::move(*STRONGROOM_CAT(try_, __LINE__))
