#pragma once
#include <string>

#include "crypto/digest.h"

namespace strongroom::crypto {

/// SpokenFingerprint renders the first 64 bits of a hash as four pronounceable words of five letters (proquints,
/// arXiv:0901.4016), for two people to compare aloud. It is for catching mix-ups; what is signed is the text.
std::string SpokenFingerprint(const Digest& digest);

}  // namespace strongroom::crypto
