#include "crypto/text_rules.h"

#include <charconv>
#include <cstdint>

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

Result<void> CheckSignedLine(std::string_view text, std::size_t max_bytes) {
  if (text.empty()) return Invalid("the text is empty");
  if (text.size() > max_bytes) return Invalid("the text is longer than " + std::to_string(max_bytes) + " bytes");
  if (text.front() == ' ' || text.back() == ' ') return Invalid("the text begins or ends with a blank");
  for (std::size_t at = 0; at < text.size();) {
    const auto start = at;
    const long c = NextCharacter(text, at);
    if (c < 0) return Invalid("the text is not UTF-8 at byte " + std::to_string(start));
    if (Hides(c))
      return Invalid("the text has a character at byte " + std::to_string(start) +
                     " that hides or breaks what is seen");
  }
  return {};
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
