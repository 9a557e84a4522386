#include <gtest/gtest.h>

#include "hsm/tokend_config.h"
#include "hsm/uri.h"
#include "tests/support/temp_dir.h"

namespace strongroom::hsm {
namespace {

TEST(TokenUriText, RefusesPinsAndHalfUris) {
  for (const auto* text :
       {"", "http://x", "pkcs11:", "pkcs11:token=a", "pkcs11:token=a?module-path=/m.so",
        "pkcs11:token=a?pin-source=file:/p", "pkcs11:token=a?module-path=/m.so&pin-value=1234",
        "pkcs11:token=a?module-path=/m.so&pin-source=file:/p&pin-value=1",
        "pkcs11:?module-path=/m.so&pin-source=file:/p", "pkcs11:token=a?module-path=/m.so&pin-source=/p",
        "pkcs11:token=%zz?module-path=/m.so&pin-source=file:/p"})
    EXPECT_FALSE(TokenUri::Parse(text)) << text;
}

TEST(TokenUriText, ReadsItsParts) {
  const auto uri =
      TokenUri::Parse("pkcs11:token=my%20kek;serial=0123?module-path=/usr/lib/m.so&pin-source=file:/etc/kek.pin");
  ASSERT_TRUE(uri) << uri.error().Line();
  EXPECT_EQ(uri->module_path(), "/usr/lib/m.so");
  EXPECT_EQ(uri->pin_file(), "/etc/kek.pin");
  EXPECT_EQ(uri->label(), "my kek");
}

TEST(Config, UnknownKeysAndTypesAreRefusedByName) {
  tests::TempDir dir;
  const std::string good = "[tokend]\nuri = \"pkcs11:x\"\nsocket = \"/run/s\"\nstate-dir = \"/var/s\"\n";
  EXPECT_TRUE(ReadTokendConfig(dir.Write("good", good)));
  for (const std::string& more :
       {std::string("pni = \"x\"\n"), std::string("so-pin-file = 3\n"), std::string("allowed-uids = [\"root\"]\n"),
        std::string("allowed-uids = [-1]\n"), std::string("[sevrer]\n"), std::string("= broken\n")}) {
    const auto refused = ReadTokendConfig(dir.Write("bad", good + more));
    EXPECT_FALSE(refused) << more;
  }
  EXPECT_FALSE(ReadTokendConfig(dir.File("absent")));
  EXPECT_FALSE(ReadTokendConfig(dir.Write("short", "[tokend]\nuri = \"pkcs11:x\"\n")));
}

}  // namespace
}  // namespace strongroom::hsm
