#pragma once
// Strict JSON in, zeroised JSON out.

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include "crypto/base/bytes.h"
#include "crypto/base/result.h"
#include "crypto/base/secret.h"

namespace strongroom::netapi {

/// SecretText is text that may hold DEKs on its way; zeroised when it goes.
using SecretText = std::basic_string<char, std::char_traits<char>, ZeroisingAllocator<char>>;

/// SecretJsonStorage is the memory resource for values that may hold DEKs: zeroised on release.
boost::json::storage_ptr SecretJsonStorage();

/// ParseJson parses one UTF-8 document, whole: no duplicate names, no trailing bytes, depth at most 8. The value lives
/// in SecretJsonStorage. Fails with kInvalid (slug malformed-json).
Result<boost::json::value> ParseJson(std::string_view text);

/// CheckNoBody: a request that takes nothing has no body, or an empty object.
Result<void> CheckNoBody(std::string_view body);

/// WriteJson serialises into zeroised text.
SecretText WriteJson(const boost::json::value& value);

/// Fields reads an object's members and refuses what it was not asked for.
class Fields {
 public:
  /// Of fails with kInvalid unless the value is an object with no other members than `allowed`.
  static Result<Fields> Of(const boost::json::value& value, std::initializer_list<std::string_view> allowed);
  bool Has(std::string_view name) const { return object_->contains(name); }
  Result<std::string> Text(std::string_view name, std::size_t max_bytes) const;
  /// Bytes decodes standard base64 (RFC 4648 section 4, padded). An absent member is an empty value when `optional`.
  Result<Bytes> Base64Bytes(std::string_view name, std::size_t max_bytes, bool optional) const;
  /// Secret is Base64Bytes straight into the locked arena.
  Result<SecretBytes> Base64Secret(std::string_view name, std::size_t max_bytes) const;
  Result<std::uint64_t> Number(std::string_view name) const;
  /// Flag is `fallback` when absent.
  Result<bool> Flag(std::string_view name, bool fallback) const;
  const boost::json::value* Find(std::string_view name) const { return object_->if_contains(name); }

 private:
  explicit Fields(const boost::json::object* object) : object_(object) {}
  Result<std::string_view> StringView(std::string_view name) const;
  const boost::json::object* object_;
};

}  // namespace strongroom::netapi
