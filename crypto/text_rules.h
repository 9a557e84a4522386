#pragma once
#include <string_view>
#include <utility>
#include <vector>

#include "crypto/base/result.h"

namespace strongroom::crypto {

/// IsName: 1 to 64 characters of a-z, 0-9 and inner '-'; what keyrings and principals are called.
bool IsName(std::string_view text);

/// IsUtf8 tells whether a text is well-formed UTF-8.
bool IsUtf8(std::string_view text);

/// CheckSignedLine holds a free text that people will sign to one visible line: well-formed UTF-8 of at most
/// `max_bytes`, not empty, no leading or trailing blank, and no character that hides, reorders or breaks lines
/// (controls, U+0085, U+2028/9, zero-width, bidirectional controls, U+FEFF, tag characters). Fails with kInvalid naming
/// the character's place.
Result<void> CheckSignedLine(std::string_view text, std::size_t max_bytes);

/// SplitLines cuts a text into its lines, each `name: value`. Fails with kInvalid unless every line, the last too, ends
/// with one '\n' and has a name and a value. Views point into `text`.
Result<std::vector<std::pair<std::string_view, std::string_view>>> SplitLines(std::string_view text);

/// SplitWords cuts at single blanks; empty words appear as such.
std::vector<std::string_view> SplitWords(std::string_view text, char separator = ' ');

/// ParseNumber accepts canonical decimal digits without sign or leading zero.
Result<std::uint64_t> ParseNumber(std::string_view text);

}  // namespace strongroom::crypto
