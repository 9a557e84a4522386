#include "hsm/uri.h"

#include <p11-kit/uri.h>

#include <algorithm>

namespace strongroom::hsm {

void TokenUri::Freer::operator()(p11_kit_uri* uri) const { p11_kit_uri_free(uri); }
TokenUri::TokenUri(p11_kit_uri* uri) : uri_(uri) {}
TokenUri::TokenUri(TokenUri&&) noexcept = default;
TokenUri& TokenUri::operator=(TokenUri&&) noexcept = default;
TokenUri::~TokenUri() = default;

Result<TokenUri> TokenUri::Parse(const std::string& text) {
  TokenUri parsed(p11_kit_uri_new());
  if (const int rv = p11_kit_uri_parse(text.c_str(), P11_KIT_URI_FOR_ANY, parsed.uri_.get()); rv != P11_KIT_URI_OK)
    return Invalid(std::string("the token URI is malformed: ") + p11_kit_uri_message(rv));
  if (p11_kit_uri_any_unrecognized(parsed.uri_.get()) != 0)
    return Invalid("the token URI has an attribute that is not known");
  if (p11_kit_uri_get_pin_value(parsed.uri_.get()) != nullptr)
    return Invalid("the token URI holds a PIN: use pin-source=file:/path");
  const char* module = p11_kit_uri_get_module_path(parsed.uri_.get());
  const char* pin = p11_kit_uri_get_pin_source(parsed.uri_.get());
  if (module == nullptr) return Invalid("the token URI lacks module-path");
  if (pin == nullptr || !std::string_view(pin).starts_with("file:"))
    return Invalid("the token URI lacks pin-source=file:/path");
  parsed.module_path_ = module;
  parsed.pin_file_ = std::string(pin).substr(5);
  const auto* info = p11_kit_uri_get_token_info(parsed.uri_.get());
  const auto field = [](const unsigned char* text_field, std::size_t size) {
    std::string value(reinterpret_cast<const char*>(text_field), size);
    value.erase(value.find_last_not_of(std::string_view(" \0", 2)) + 1);
    return value;
  };
  parsed.label_ = field(info->label, sizeof info->label);
  if (parsed.label_.empty() && field(info->serialNumber, sizeof info->serialNumber).empty())
    return Invalid("the token URI names neither token= nor serial=");
  return parsed;
}

bool TokenUri::Matches(const CK_TOKEN_INFO& info) const {
  return p11_kit_uri_match_token_info(uri_.get(), const_cast<CK_TOKEN_INFO*>(&info)) == 1;
}

}  // namespace strongroom::hsm
