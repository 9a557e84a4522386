#include "tests/support/softhsm_fixture.h"

#include <cstdio>
#include <cstdlib>

#include "hsm/token_setup.h"

namespace strongroom::tests {

SoftHsmFixture::SoftHsmFixture() {
  std::filesystem::create_directory(dir_.File("tokens"));
  (void)dir_.Write("softhsm2.conf", "directories.tokendir = " + dir_.File("tokens") +
                                        "\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n");
  (void)dir_.Write("kek.pin", pin() + "\n");
  (void)dir_.Write("so.pin", "so-pin-of-test\n");
  (void)setenv("SOFTHSM2_CONF", conf().c_str(), 1);
  if (const auto made = hsm::InitialiseToken(uri(), dir_.File("so.pin")); !made) {
    (void)fprintf(stderr, "fixture: %s\n", made.error().Line().c_str());
    std::abort();
  }
}

std::string SoftHsmFixture::uri_text(const std::string& module) const {
  return "pkcs11:token=kek-test?module-path=" + module + "&pin-source=file:" + dir_.File("kek.pin");
}

hsm::TokenUri SoftHsmFixture::uri() const { return *hsm::TokenUri::Parse(uri_text()); }

}  // namespace strongroom::tests
