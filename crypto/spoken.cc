#include "crypto/spoken.h"

namespace strongroom::crypto {

std::string SpokenFingerprint(const Digest& digest) {
  constexpr std::string_view kConsonants = "bdfghjklmnprstvz", kVowels = "aiou";
  std::string text;
  for (std::size_t i = 0; i < 8; i += 2) {
    const unsigned bits = static_cast<unsigned>(digest[i]) << 8 | digest[i + 1];
    if (i > 0) text += '-';
    text += kConsonants[bits >> 12];
    text += kVowels[bits >> 10 & 3];
    text += kConsonants[bits >> 6 & 15];
    text += kVowels[bits >> 4 & 3];
    text += kConsonants[bits & 15];
  }
  return text;
}

}  // namespace strongroom::crypto
