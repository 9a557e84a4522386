#include "crypto/note.h"

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include <memory>

#include "crypto/base/freer.h"

namespace strongroom::crypto {
namespace {

// A P-256 key of this process: signs as the token host does, but in software.
class Signer {
 public:
  Signer() : key_(EVP_EC_gen("P-256")) {
    unsigned char* der = nullptr;
    const int size = i2d_PUBKEY(key_.get(), &der);
    spki_.assign(der, der + size);
    OPENSSL_free(der);
  }
  NoteKey Key(const std::string& name) const { return *NoteKey::FromEcdsa(name, spki_); }
  Bytes Sign(const std::string& text) const {
    const std::unique_ptr<EVP_MD_CTX, Freer<EVP_MD_CTX_free>> context(EVP_MD_CTX_new());
    std::size_t size = 128;
    Bytes out(size);
    (void)EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, key_.get());
    (void)EVP_DigestSign(context.get(), out.data(), &size, AsBytes(text).data(), text.size());
    out.resize(size);
    return out;
  }

 private:
  std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY_free>> key_;
  Bytes spki_;
};

const std::string kText = "strongroom/0102/control/1\n7\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";

// Does any changed byte of a note that we signed still open?
TEST(SignedNote, L7_AnyChangedByteIsRefused) {
  const Signer signer;
  const auto key = signer.Key("strongroom/0102/control/1");
  EXPECT_EQ(*NoteKey::Parse(key.Text()), key);
  const std::string line = NoteSignatureLine(key, signer.Sign(kText));
  const auto note = SealNote(kText, std::span(&line, 1));
  const auto opened = OpenNote(note, std::span(&key, 1));
  ASSERT_TRUE(opened) << opened.error().Line();
  EXPECT_EQ(opened->text, kText);
  EXPECT_EQ(opened->verified, std::vector<std::string>{"strongroom/0102/control/1"});
  for (std::size_t i = 0; i < note.size(); ++i) {
    auto changed = note;
    changed[i] = static_cast<char>(changed[i] ^ 1);
    const auto result = OpenNote(changed, std::span(&key, 1));
    EXPECT_FALSE(result) << i;
    EXPECT_FALSE(OpenNote(note.substr(0, i), std::span(&key, 1))) << i;
  }
  const auto other = Signer().Key("strongroom/0102/control/1");
  EXPECT_EQ(OpenNote(note, std::span(&other, 1)).error().Slug(), "unverified-note");
  EXPECT_EQ(OpenNote(note, {}).error().Slug(), "unverified-note");
}

TEST(SignedNote, CheckpointTextsAreExact) {
  const auto checkpoint = Checkpoint::Parse(kText);
  ASSERT_TRUE(checkpoint);
  EXPECT_EQ(checkpoint->size, 7U);
  EXPECT_EQ(checkpoint->Text(), kText);
  for (const std::string& bad :
       {std::string(), std::string("\n"), kText.substr(0, kText.size() - 1), "\n7\n" + kText.substr(28),
        std::string("a\n07\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"), std::string("a\n-7\nAAAA\n"),
        std::string("a\n7\nAAAA\n"), kText + "\n"})
    EXPECT_FALSE(Checkpoint::Parse(bad)) << bad;
}

TEST(SignedNote, TokenSignaturesBecomeDer) {
  EXPECT_FALSE(EcdsaDer(Bytes(63)));
  const auto der = EcdsaDer(Bytes(64, 0xFF));
  ASSERT_TRUE(der);
  EXPECT_EQ(der->size(), 72U) << "both halves have their highest bit set";
}

}  // namespace
}  // namespace strongroom::crypto
