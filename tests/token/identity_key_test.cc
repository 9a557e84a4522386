// The TLS key in a token of its own, lent through libp11: what it is, what its token's faults do, and how it comes
// back.

#include "hsm/identity_key.h"

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include <fstream>

#include "crypto/base/freer.h"
#include "crypto/digest.h"
#include "provisioning/process.h"
#include "tests/support/faulty_module.h"
#include "tests/support/softhsm_fixture.h"

namespace strongroom::hsm {
namespace {

using namespace std::chrono_literals;
using tests::kSoftHsmModule;

bool Signs(EVP_PKEY* key, const Bytes& spki) {
  const auto message = crypto::RandomArray<32>();
  std::array<unsigned char, 128> signature{};
  std::size_t size = signature.size();
  const std::unique_ptr<EVP_MD_CTX, Freer<EVP_MD_CTX_free>> sign(EVP_MD_CTX_new()), verify(EVP_MD_CTX_new());
  const auto* der = spki.data();
  const std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY_free>> known(
      d2i_PUBKEY(nullptr, &der, static_cast<long>(spki.size())));
  return EVP_DigestSignInit(sign.get(), nullptr, EVP_sha256(), nullptr, key) == 1 &&
         EVP_DigestSign(sign.get(), signature.data(), &size, message.data(), message.size()) == 1 &&
         EVP_DigestVerifyInit(verify.get(), nullptr, EVP_sha256(), nullptr, known.get()) == 1 &&
         EVP_DigestVerify(verify.get(), signature.data(), size, message.data(), message.size()) == 1;
}

class Identity : public testing::Test {
 protected:
  Identity() : module_(dir_.path(), STRONGROOM_BIN_DIR) {
    std::filesystem::create_directory(dir_.File("tokens"));
    (void)dir_.Write("softhsm2.conf", "directories.tokendir = " + dir_.File("tokens") +
                                          "\nobjectstore.backend = file\nlog.level = ERROR\n");
    (void)dir_.Write("pin", "identity-pin\n");
    (void)dir_.Write("so.pin", "so-pin-of-test\n");
    (void)setenv("SOFTHSM2_CONF", dir_.File("softhsm2.conf").c_str(), 1);
    auto made = MakeIdentityKey(Uri(kSoftHsmModule), dir_.File("so.pin"));
    EXPECT_TRUE(made) << made.error().Line();
    if (made) spki_ = *made;
  }
  TokenUri Uri(const std::string& module, const std::string& label = "strongroom-identity") const {
    return *TokenUri::Parse("pkcs11:token=" + label + "?module-path=" + module +
                            "&pin-source=file:" + dir_.File("pin"));
  }
  bool Becomes(const IdentityKey& key, bool there) {
    const auto until = std::chrono::steady_clock::now() + 10s;
    while (key.Fault().empty() != there && std::chrono::steady_clock::now() < until) std::this_thread::yield();
    return key.Fault().empty() == there;
  }
  tests::TempDir dir_;
  tests::FaultyModule module_;
  Bytes spki_;
};

TEST_F(Identity, TheKeyIsMadeOnceAndCannotLeaveItsToken) {
  EXPECT_EQ(*MakeIdentityKey(Uri(kSoftHsmModule), dir_.File("so.pin")), spki_) << "a second run makes no second key";
  const auto listed = *provisioning::RunProcess(
      {"sh", "-c",
       "SOFTHSM2_CONF='" + dir_.File("softhsm2.conf") + "' PIN=identity-pin pkcs11-tool --module " + kSoftHsmModule +
           " --token-label strongroom-identity --login --pin env:PIN --list-objects --type privkey"});
  EXPECT_NE(listed.out.find("Usage:      sign\n"), std::string::npos) << listed.out << listed.err;
  EXPECT_NE(listed.out.find("sensitive, always sensitive, never extractable, local"), std::string::npos) << listed.out;
  const auto key = IdentityKey::Open(Uri(kSoftHsmModule));
  ASSERT_TRUE(key) << key.error().Line();
  EXPECT_TRUE(Signs((*key)->Take()->get(), spki_));
}

TEST_F(Identity, WhatIsMissingIsNamed) {
  EXPECT_EQ(IdentityKey::Open(Uri(kSoftHsmModule, "another")).error().Slug(), "identity-missing");
  EXPECT_EQ(IdentityKey::Open(Uri(dir_.File("no.so"))).error().code, Code::kTokenFault);
  (void)dir_.Write("pin", "");
  EXPECT_FALSE(IdentityKey::Open(Uri(kSoftHsmModule)));
}

// P8: a wrong PIN is tried once; from then on the token itself says so, and it is not tried at all.
TEST_F(Identity, P8_AWrongPinIsTriedOnce) {
  (void)dir_.Write("pin", "wrong-pin\n");
  module_.Order("C_Login log");
  const auto first = IdentityKey::Open(Uri(module_.path()));
  ASSERT_FALSE(first);
  EXPECT_EQ(first.error().Slug(), "pin-rejected") << first.error().Line();
  EXPECT_EQ(IdentityKey::Open(Uri(module_.path())).error().Slug(), "pin-rejected");
  EXPECT_EQ(module_.Logged("C_Login"), 1U);
}

// P6: a token that stops signing is noticed and its context loaded anew until it signs, without a restart.
TEST_F(Identity, P6_AfterAFaultTheContextIsLoadedAnew) {
  const auto opened = IdentityKey::Open(Uri(module_.path()), 1h);
  ASSERT_TRUE(opened) << opened.error().Line();
  auto& key = **opened;
  for (const auto* order : {"C_Sign return 0x30", "C_SignInit return 0xB3", "C_SignInit return 0x101"}) {
    module_.Order(order);
    key.Suspect();
    EXPECT_TRUE(Becomes(key, false)) << order;
    EXPECT_EQ(key.Take().error().code, Code::kUnavailable);
    module_.Heal();
    EXPECT_TRUE(Becomes(key, true)) << order << ": " << key.Fault();
    const auto lent = key.Take();
    ASSERT_TRUE(lent);
    EXPECT_TRUE(Signs(lent->get(), spki_)) << order;
  }
}

// Whoever holds the key keeps its context alive: it is drained before it goes.
TEST_F(Identity, P6_TheOldContextGoesWhenNobodyHoldsTheKey) {
  const auto opened = IdentityKey::Open(Uri(module_.path()), 1h);
  ASSERT_TRUE(opened);
  auto& key = **opened;
  auto held = *key.Take();
  module_.Order("C_Sign return 0x30");
  key.Suspect();
  ASSERT_TRUE(Becomes(key, false));
  module_.Heal();
  EXPECT_TRUE(Signs(held.get(), spki_)) << "what was lent still works";
  EXPECT_FALSE(key.Fault().empty()) << "and nothing was loaded under it";
  held.reset();
  EXPECT_TRUE(Becomes(key, true)) << key.Fault();
}

// P7: a signature that hangs is a fault like one that fails, and what comes next is refused instead of hanging too.
TEST_F(Identity, P7_ATestThatHangsIsAFault) {
  const auto opened = IdentityKey::Open(Uri(module_.path()), 1h);
  ASSERT_TRUE(opened);
  module_.Order("C_Sign hang");
  (*opened)->Suspect();
  EXPECT_TRUE(Becomes(**opened, false));
  EXPECT_EQ((*opened)->Take().error().code, Code::kUnavailable);
  module_.Heal();
  EXPECT_TRUE(Becomes(**opened, true)) << (*opened)->Fault();
}

// P8: a PIN that is refused when the key is loaded anew is not tried a second time.
TEST_F(Identity, P8_APinThatIsRefusedLaterIsNotTriedAgain) {
  const auto opened = IdentityKey::Open(Uri(module_.path()), 1h);
  ASSERT_TRUE(opened);
  (void)dir_.Write("pin", "wrong-pin\n");
  module_.Order("C_Sign return 0x30\nC_Login log");
  (*opened)->Suspect();
  const auto until = std::chrono::steady_clock::now() + 10s;
  while ((*opened)->Fault().find("pin-rejected") == std::string::npos && std::chrono::steady_clock::now() < until)
    std::this_thread::yield();
  EXPECT_NE((*opened)->Fault().find("pin-rejected"), std::string::npos) << (*opened)->Fault();
  for (int i = 0; i < 5; ++i) (*opened)->Suspect();
  EXPECT_EQ(module_.Logged("C_Login"), 1U);
}

}  // namespace
}  // namespace strongroom::hsm
