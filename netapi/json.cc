#include "netapi/json.h"

#include <boost/json/basic_parser_impl.hpp>
#include <boost/json/memory_resource.hpp>
#include <boost/json/serializer.hpp>
#include <boost/json/value_stack.hpp>
#include <cstddef>
#include <new>
#include <set>
#include <vector>

namespace strongroom::netapi {
namespace {

namespace bj = boost::json;

class ZeroisingResource final : public bj::memory_resource {
  // Boost.JSON gives a key's text back under another alignment than it asked for (string_impl.ipp): so none is told on,
  // and none beyond the heap's own is needed.
  void* do_allocate(std::size_t bytes, std::size_t align) override {
    if (align > alignof(std::max_align_t)) throw std::bad_alloc();
    return ::operator new(bytes);
  }
  void do_deallocate(void* p, std::size_t bytes, std::size_t) override {
    Zeroise(p, bytes);
    ::operator delete(p);
  }
  bool do_is_equal(const bj::memory_resource& other) const noexcept override { return this == &other; }
};

// Handler builds a value and stops at the first name that stands twice in one object: parsers disagree about which one
// counts.
struct Handler {
  static constexpr std::size_t max_object_size = 1024;
  static constexpr std::size_t max_array_size = 100000;
  static constexpr std::size_t max_key_size = 256;
  static constexpr std::size_t max_string_size = std::size_t{4} << 20;

  bj::value_stack stack{SecretJsonStorage()};
  std::vector<std::set<std::string, std::less<>>> names;
  std::string key;

  bool on_document_begin(bj::error_code&) {
    stack.reset(SecretJsonStorage());
    return true;
  }
  bool on_document_end(bj::error_code&) { return true; }
  bool on_object_begin(bj::error_code&) {
    names.emplace_back();
    return true;
  }
  bool on_object_end(std::size_t n, bj::error_code&) {
    stack.push_object(n);
    names.pop_back();
    return true;
  }
  bool on_array_begin(bj::error_code&) { return true; }
  bool on_array_end(std::size_t n, bj::error_code&) {
    stack.push_array(n);
    return true;
  }
  bool on_key_part(bj::string_view s, std::size_t, bj::error_code&) {
    key.append(s.data(), s.size());
    stack.push_chars(s);
    return true;
  }
  bool on_key(bj::string_view s, std::size_t, bj::error_code& ec) {
    key.append(s.data(), s.size());
    if (!names.back().insert(std::exchange(key, {})).second) {
      ec = bj::error::syntax;
      return false;
    }
    stack.push_key(s);
    return true;
  }
  bool on_string_part(bj::string_view s, std::size_t, bj::error_code&) {
    stack.push_chars(s);
    return true;
  }
  bool on_string(bj::string_view s, std::size_t, bj::error_code&) {
    stack.push_string(s);
    return true;
  }
  bool on_number_part(bj::string_view, bj::error_code&) { return true; }
  bool on_int64(std::int64_t i, bj::string_view, bj::error_code&) {
    stack.push_int64(i);
    return true;
  }
  bool on_uint64(std::uint64_t u, bj::string_view, bj::error_code&) {
    stack.push_uint64(u);
    return true;
  }
  bool on_double(double d, bj::string_view, bj::error_code&) {
    stack.push_double(d);
    return true;
  }
  bool on_bool(bool b, bj::error_code&) {
    stack.push_bool(b);
    return true;
  }
  bool on_null(bj::error_code&) {
    stack.push_null();
    return true;
  }
  bool on_comment_part(bj::string_view, bj::error_code&) { return false; }
  bool on_comment(bj::string_view, bj::error_code&) { return false; }
};

Error Wrong(std::string_view name, const char* what) { return Invalid("field '" + std::string(name) + "' " + what); }

}  // namespace

bj::storage_ptr SecretJsonStorage() {
  static ZeroisingResource resource;
  return bj::storage_ptr(&resource);
}

Result<bj::value> ParseJson(std::string_view text) {
  bj::parse_options options;
  options.max_depth = 8;
  bj::basic_parser<Handler> parser(options);
  bj::error_code ec;
  const auto used = parser.write_some(false, text.data(), text.size(), ec);
  if (ec || !parser.done() || used != text.size())
    return Invalid("the body is not one JSON document without repeated names", "malformed-json");
  return parser.handler().stack.release();
}

Result<void> CheckNoBody(std::string_view body) {
  if (body.empty()) return {};
  TRY_ASSIGN(const auto value, ParseJson(body));
  TRY(Fields::Of(value, {}));
  return {};
}

SecretText WriteJson(const bj::value& value) {
  SecretText out;
  bj::serializer serializer;
  serializer.reset(&value);
  std::array<char, 4096> part{};
  while (!serializer.done()) {
    const auto piece = serializer.read(part.data(), part.size());
    out.append(piece.data(), piece.size());
  }
  Zeroise(part.data(), part.size());
  return out;
}

Result<Fields> Fields::Of(const bj::value& value, std::initializer_list<std::string_view> allowed) {
  const auto* object = value.if_object();
  if (object == nullptr) return Invalid("a JSON object is expected");
  for (const auto& member : *object)
    if (std::find(allowed.begin(), allowed.end(), std::string_view(member.key())) == allowed.end())
      return Invalid("unknown field '" + std::string(std::string_view(member.key()).substr(0, 40)) + "'",
                     "unknown-field");
  return Fields(object);
}

Result<std::string_view> Fields::StringView(std::string_view name) const {
  const auto* value = object_->if_contains(name);
  if (value == nullptr) return Wrong(name, "is missing");
  const auto* text = value->if_string();
  if (text == nullptr) return Wrong(name, "is not a string");
  return std::string_view(*text);
}

Result<std::string> Fields::Text(std::string_view name, std::size_t max_bytes) const {
  TRY_ASSIGN(const auto text, StringView(name));
  if (text.size() > max_bytes) return Wrong(name, "is too long");
  return std::string(text);
}

Result<Bytes> Fields::Base64Bytes(std::string_view name, std::size_t max_bytes, bool optional) const {
  if (optional && !Has(name)) return Bytes();
  TRY_ASSIGN(const auto text, StringView(name));
  if (text.size() > Base64Size(max_bytes, Base64::kStandardPadded)) return Wrong(name, "is too long");
  auto bytes = DecodeBase64(text, Base64::kStandardPadded);
  if (!bytes) return Wrong(name, "is not standard base64 with padding");
  if (bytes->size() > max_bytes) return Wrong(name, "is too long");
  return std::move(*bytes);
}

Result<SecretBytes> Fields::Base64Secret(std::string_view name, std::size_t max_bytes) const {
  TRY_ASSIGN(const auto text, StringView(name));
  if (text.size() > Base64Size(max_bytes, Base64::kStandardPadded)) return Wrong(name, "is too long");
  TRY_ASSIGN(auto secret, SecretBytes::Allocate(DecodedBase64Size(text.size())));
  const auto size = DecodeBase64(text, Base64::kStandardPadded, secret.Write(SecretAccess()).data());
  if (!size) return Wrong(name, "is not standard base64 with padding");
  secret.Shrink(*size);
  return secret;
}

Result<std::uint64_t> Fields::Number(std::string_view name) const {
  const auto* value = object_->if_contains(name);
  if (value == nullptr) return Wrong(name, "is missing");
  if (const auto* n = value->if_int64(); n != nullptr && *n >= 0) return static_cast<std::uint64_t>(*n);
  if (const auto* n = value->if_uint64()) return *n;
  return Wrong(name, "is not a whole number");
}

Result<bool> Fields::Flag(std::string_view name, bool fallback) const {
  const auto* value = object_->if_contains(name);
  if (value == nullptr) return fallback;
  const auto* flag = value->if_bool();
  if (flag == nullptr) return Wrong(name, "is neither true nor false");
  return *flag;
}

}  // namespace strongroom::netapi
