#include "crypto/text_rules.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <cstdio>

namespace strongroom::crypto {
namespace {

// Decodes one UTF-8 character at `at`, advancing it; -1 for a malformed, overlong or surrogate sequence.
long NextCharacter(std::string_view text, std::size_t& at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned first = byte(at++);
  if (first < 0x80) return static_cast<long>(first);
  std::size_t more = 0;
  unsigned long value = 0;
  if (first >= 0xC2 && first <= 0xDF) {
    more = 1;
    value = first & 0x1FU;
  } else if (first >= 0xE0 && first <= 0xEF) {
    more = 2;
    value = first & 0x0FU;
  } else if (first >= 0xF0 && first <= 0xF4) {
    more = 3;
    value = first & 0x07U;
  } else {
    return -1;
  }
  if (at + more > text.size()) return -1;
  for (std::size_t i = 0; i < more; ++i) {
    const unsigned next = byte(at++);
    if ((next & 0xC0U) != 0x80U) return -1;
    value = value << 6 | (next & 0x3FU);
  }
  if ((more == 2 && value < 0x800) || (more == 3 && value < 0x10000) || value > 0x10FFFF ||
      (value >= 0xD800 && value <= 0xDFFF))
    return -1;
  return static_cast<long>(value);
}

bool Hides(long c) {
  return c < 0x20 || (c >= 0x7F && c <= 0xA0) || c == 0xAD || c == 0x034F || c == 0x061C || c == 0x115F ||
         c == 0x1160 || c == 0x1680 || (c >= 0x17B4 && c <= 0x17B5) || (c >= 0x180B && c <= 0x180F) ||
         (c >= 0x2000 && c <= 0x200F) || (c >= 0x2028 && c <= 0x202F) || (c >= 0x205F && c <= 0x206F) || c == 0x2800 ||
         c == 0x3000 || c == 0x3164 || (c >= 0xE000 && c <= 0xF8FF) || (c >= 0xFE00 && c <= 0xFE0F) || c == 0xFEFF ||
         c == 0xFFA0 || (c >= 0xFFF0 && c <= 0xFFFF) || c >= 0xE0000;
}

struct Range {
  long first, last;
};

// What no new text may have beside what Hides: what takes no room or looks like a blank, format controls, marks that
// lie over their neighbours, what is written from right to left and so moves the numbers beside it, and everything
// beyond the first plane but Chinese characters: old scripts, notations and letters that only look like others. Sorted.
// Unicode 15: General_Category, Bidi_Class, Default_Ignorable_Code_Point, Canonical_Combining_Class 1.
constexpr std::array<Range, 19> kMisleading = {{{0x0334, 0x0338},    // overlays
                                                {0x0488, 0x0489},    // enclosing
                                                {0x0590, 0x08FF},    // Hebrew, Arabic, Syriac, Thaana, N'Ko and others
                                                {0x1AB0, 0x1AFF},    // combining, of phonetics
                                                {0x1CD0, 0x1CFF},    // Vedic marks
                                                {0x1DC0, 0x1DFF},    // combining, of phonetics
                                                {0x2000, 0x200F},    //
                                                {0x2028, 0x202F},    //
                                                {0x205F, 0x206F},    //
                                                {0x20D0, 0x20FF},    // combining, for symbols
                                                {0x2D7F, 0x2D7F},    // a joiner
                                                {0x2DE0, 0x2DFF},    // letters over letters
                                                {0xA670, 0xA672},    // enclosing
                                                {0xD7B0, 0xF8FF},    // old Hangul, surrogates, private use
                                                {0xFB1D, 0xFDFF},    // presentation forms
                                                {0xFE00, 0xFE2F},    // selectors and half marks
                                                {0xFE70, 0xFEFF},    // presentation forms
                                                {0x10000, 0x1FFFF},  //
                                                {0x323B0, 0x10FFFF}}};

bool Misleads(long c) {
  const auto* at =
      std::lower_bound(kMisleading.begin(), kMisleading.end(), c, [](const Range& r, long x) { return r.last < x; });
  return Hides(c) || (at != kMisleading.end() && at->first <= c);
}

// A mark that goes onto the character before it.
bool Combines(long c) {
  return (c >= 0x0300 && c <= 0x036F) || (c >= 0x0483 && c <= 0x0489) || c == 0x3099 || c == 0x309A;
}

}  // namespace

bool IsName(std::string_view text) {
  if (text.empty() || text.size() > 64 || text.front() == '-' || text.back() == '-') return false;
  for (const char c : text)
    if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-')) return false;
  return true;
}

bool IsUtf8(std::string_view text) {
  for (std::size_t at = 0; at < text.size();)
    if (NextCharacter(text, at) < 0) return false;
  return true;
}

namespace {

// `judge` says what is wrong with a character behind the two before it; nullptr for nothing.
using JudgeCharacter = const char* (*)(long c, long before, long before_that);
Result<void> CheckLine(std::string_view text, std::size_t max_bytes, JudgeCharacter judge) {
  if (text.empty()) return Invalid("the text is empty");
  if (text.size() > max_bytes) return Invalid("the text is longer than " + std::to_string(max_bytes) + " bytes");
  if (text.front() == ' ' || text.back() == ' ') return Invalid("the text begins or ends with a blank");
  long before = ' ', before_that = 'x';
  for (std::size_t at = 0; at < text.size();) {
    const auto start = at;
    const long c = NextCharacter(text, at);
    if (c < 0) return Invalid("the text is not UTF-8 at byte " + std::to_string(start));
    if (const char* wrong = judge(c, before, before_that); wrong != nullptr)
      return Invalid("the text has " + std::string(wrong) + " at byte " + std::to_string(start));
    before_that = before;
    before = c;
  }
  return {};
}

}  // namespace

Result<void> CheckSignedLine(std::string_view text, std::size_t max_bytes) {
  return CheckLine(text, max_bytes, [](long c, long before, long before_that) -> const char* {
    if (Misleads(c)) return "a character that hides, moves or covers what is seen";
    if (c == ' ' && before == ' ') return "two blanks in a row";
    if (Combines(c) && (before == ' ' || (Combines(before) && Combines(before_that))))
      return "a mark that is on no letter, or the third one on a letter,";
    return nullptr;
  });
}

Result<void> CheckRecordedLine(std::string_view text, std::size_t max_bytes) {
  return CheckLine(text, max_bytes, [](long c, long, long) -> const char* {
    return Hides(c) ? "a character that hides or breaks what is seen" : nullptr;
  });
}

std::string Printable(std::string_view text, bool lines) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const auto start = at;
    const long c = NextCharacter(text, at);
    if (c >= 0 && (!Misleads(c) || (lines && c == '\n'))) {
      out += text.substr(start, at - start);
      continue;
    }
    if (c < 0) at = start + 1;
    std::array<char, 16> escaped{};
    const auto size = c < 0 ? std::snprintf(escaped.data(), escaped.size(), "\\x%02X",
                                            static_cast<unsigned>(static_cast<unsigned char>(text[start])))
                            : std::snprintf(escaped.data(), escaped.size(), "\\u{%lX}", static_cast<unsigned long>(c));
    out.append(escaped.data(), static_cast<std::size_t>(size));
  }
  return out;
}

Result<std::vector<std::pair<std::string_view, std::string_view>>> SplitLines(std::string_view text) {
  std::vector<std::pair<std::string_view, std::string_view>> lines;
  while (!text.empty()) {
    const auto end = text.find('\n');
    if (end == std::string_view::npos) return Invalid("the text does not end with a line end");
    const auto line = text.substr(0, end);
    const auto colon = line.find(": ");
    if (colon == std::string_view::npos || colon == 0 || colon + 2 >= line.size())
      return Invalid("a line is not of the form 'name: value'");
    lines.emplace_back(line.substr(0, colon), line.substr(colon + 2));
    text.remove_prefix(end + 1);
  }
  return lines;
}

std::vector<std::string_view> SplitWords(std::string_view text, char separator) {
  std::vector<std::string_view> words;
  while (true) {
    const auto end = text.find(separator);
    words.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return words;
    text.remove_prefix(end + 1);
  }
}

Result<std::uint64_t> ParseNumber(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size() || (text.size() > 1 && text[0] == '0'))
    return Invalid("'" + std::string(text.substr(0, 24)) + "' is not a number");
  return value;
}

}  // namespace strongroom::crypto
