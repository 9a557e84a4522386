#pragma once
#include <string>

#include "hsm/uri.h"
#include "tests/support/temp_dir.h"

namespace strongroom::tests {

inline constexpr const char* kSoftHsmModule = "/usr/lib/softhsm/libsofthsm2.so";

/// SoftHsmFixture is a real SoftHSM token in a folder of its own; SOFTHSM2_CONF of this process points at it while the
/// object lives.
class SoftHsmFixture {
 public:
  /// With `bare` the token has its PINs and nothing else, as a vendor's tool leaves it.
  explicit SoftHsmFixture(bool bare = false);
  /// uri_text names the token through a module, SoftHSM's own unless another is given.
  std::string uri_text(const std::string& module = kSoftHsmModule) const;
  hsm::TokenUri uri() const;
  std::string conf() const { return dir_.File("softhsm2.conf"); }
  const TempDir& dir() const { return dir_; }
  std::string pin() const { return "1234-test"; }

 private:
  TempDir dir_;
};

}  // namespace strongroom::tests
