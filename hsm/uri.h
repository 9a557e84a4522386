#pragma once
// PKCS#11 URIs (RFC 7512), read by p11-kit's parser.

#include <memory>
#include <string>
#include <string_view>

#include "crypto/base/result.h"
#include "hsm/cryptoki.h"

struct p11_kit_uri;

namespace strongroom::hsm {

/// TokenUri names a module and one token behind it, and where the PIN is read from.
class TokenUri {
 public:
  /// Parse needs module-path and pin-source=file:/..., and at least one token attribute. pin-value is refused: a PIN
  /// does not stand in a configuration. Fails with kInvalid.
  static Result<TokenUri> Parse(const std::string& text);
  TokenUri(TokenUri&&) noexcept;
  TokenUri& operator=(TokenUri&&) noexcept;
  ~TokenUri();

  const std::string& module_path() const { return module_path_; }
  const std::string& pin_file() const { return pin_file_; }
  /// Matches compares the URI's token attributes with what a slot reports.
  bool Matches(const CK_TOKEN_INFO& info) const;
  const std::string& label() const { return label_; }

 private:
  explicit TokenUri(p11_kit_uri* uri);
  struct Freer {
    void operator()(p11_kit_uri* uri) const;
  };
  std::unique_ptr<p11_kit_uri, Freer> uri_;
  std::string module_path_;
  std::string pin_file_;
  std::string label_;
};

}  // namespace strongroom::hsm
