#include "crypto/note.h"

#include <gtest/gtest.h>
#include "tests/support/software_signer.h"

namespace strongroom::crypto {
namespace {

NoteKey KeyOf(const tests::SoftwareSigner& signer, const std::string& name) {
  return *NoteKey::FromEcdsa(name, signer.spki());
}

const std::string kText = "strongroom/0102/control/1\n7\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";

// Does any changed byte of a note that we signed still open?
TEST(SignedNote, L7_AnyChangedByteIsRefused) {
  const tests::SoftwareSigner signer;
  const auto key = KeyOf(signer, "strongroom/0102/control/1");
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
  const auto other = KeyOf(tests::SoftwareSigner(), "strongroom/0102/control/1");
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
