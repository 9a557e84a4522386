#pragma once
#include <string>
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
/// `max_bytes`, not empty, no blank at its ends and no two in a row (they make up further lines on a terminal), no mark
/// that is on no letter or the third one on it. No character that hides, covers, moves or breaks what is seen: controls
/// and format characters, what takes no room or looks like a blank, overlays, letters that are written from right to
/// left (they move the numbers beside them), and beyond the first plane Chinese characters alone. Fails with kInvalid
/// naming the character's place.
Result<void> CheckSignedLine(std::string_view text, std::size_t max_bytes);

/// CheckRecordedLine is the rule of the first builds, for what stands in a log already: what is filed is held to
/// CheckSignedLine. It knows controls, zero-width and bidirectional characters, fillers and tags. kInvalid.
Result<void> CheckRecordedLine(std::string_view text, std::size_t max_bytes);

/// Printable is a text as a terminal may be given it, whoever has written it: what CheckSignedLine's characters do not
/// allow stands as \u{HEX}, a byte that is no UTF-8 as \xHH. Line ends stay when `lines` is set.
std::string Printable(std::string_view text, bool lines = false);

/// SplitLines cuts a text into its lines, each `name: value`. Fails with kInvalid unless every line, the last too, ends
/// with one '\n' and has a name and a value. Views point into `text`.
Result<std::vector<std::pair<std::string_view, std::string_view>>> SplitLines(std::string_view text);

/// SplitWords cuts at single blanks; empty words appear as such.
std::vector<std::string_view> SplitWords(std::string_view text, char separator = ' ');

/// ParseNumber accepts canonical decimal digits without sign or leading zero.
Result<std::uint64_t> ParseNumber(std::string_view text);

}  // namespace strongroom::crypto
