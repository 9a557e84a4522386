#include "tests/support/softhsm_fixture.h"

#include <cstdio>
#include <cstdlib>

#include "hsm/token_setup.h"
#include "tests/support/quorum_fixture.h"

namespace strongroom::tests {

SoftHsmFixture::SoftHsmFixture(bool bare) {
  std::filesystem::create_directory(dir_.File("tokens"));
  (void)dir_.Write("softhsm2.conf", "directories.tokendir = " + dir_.File("tokens") +
                                        "\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n");
  (void)dir_.Write("kek.pin", pin() + "\n");
  (void)dir_.Write("so.pin", "so-pin-of-test\n");
  (void)setenv("SOFTHSM2_CONF", conf().c_str(), 1);
  const auto make = [&]() -> Result<void> {
    if (!bare) return hsm::InitialiseToken(uri(), dir_.File("so.pin"), SharedQuorum().roster());
    TRY_ASSIGN(const auto module, hsm::Module::Load(kSoftHsmModule));
    return hsm::MakeToken(*module, uri(), dir_.File("so.pin"));
  };
  if (const auto made = make(); !made) {
    (void)fprintf(stderr, "fixture: %s\n", made.error().Line().c_str());
    std::abort();
  }
}

std::string SoftHsmFixture::uri_text(const std::string& module) const {
  return "pkcs11:token=kek-test?module-path=" + module + "&pin-source=file:" + dir_.File("kek.pin");
}

hsm::TokenUri SoftHsmFixture::uri() const { return *hsm::TokenUri::Parse(uri_text()); }

}  // namespace strongroom::tests
