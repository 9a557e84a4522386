#include "appliance/grants.h"

#include <array>

#include "crypto/text_rules.h"

namespace strongroom::appliance {
namespace {
// In the order of their names, as the text has them. What is no operation of its own is `manage`.
constexpr std::array<std::pair<std::string_view, ledger::Operation>, 5> kNames = {
    {{"datakey", ledger::Operation::kDataKey},
     {"manage", ledger::Operation::kOther},
     {"rewrap", ledger::Operation::kRewrap},
     {"unwrap", ledger::Operation::kUnwrap},
     {"wrap", ledger::Operation::kWrap}}};
constexpr unsigned kManage = 1U << 1;
constexpr unsigned kAll = 31U & ~kManage;
}  // namespace

Result<Grants> Grants::Parse(std::string_view text) {
  Grants grants;
  if (text == "none") return grants;
  for (const auto part : crypto::SplitWords(text, ',')) {
    const auto equals = part.find('=');
    const auto service = part.substr(0, equals);
    if (!crypto::IsName(service)) return Invalid("grants are like service-1=wrap+unwrap,service-2");
    unsigned mask = equals == std::string_view::npos ? kAll : 0;
    if (equals != std::string_view::npos) {
      for (const auto word : crypto::SplitWords(part.substr(equals + 1), '+')) {
        unsigned bit = 0;
        for (std::size_t i = 0; i < kNames.size(); ++i)
          if (kNames[i].first == word) bit = 1U << i;
        if (bit == 0)
          return Invalid("'" + std::string(word.substr(0, 20)) +
                         "' is not an operation to grant: wrap, unwrap, rewrap, datakey, manage");
        mask |= bit;
      }
    }
    if (!grants.by_service_.emplace(service, mask).second)
      return Invalid(std::string(service) + " stands twice in the grants");
  }
  return grants;
}

std::string Grants::Text() const {
  if (by_service_.empty()) return "none";
  std::string text;
  for (const auto& [service, mask] : by_service_) {
    if (!text.empty()) text += ',';
    text += service;
    char separator = '=';
    for (std::size_t i = 0; i < kNames.size(); ++i)
      if ((mask & 1U << i) != 0) {
        text += std::exchange(separator, '+');
        text += kNames[i].first;
      }
  }
  return text;
}

bool Grants::Allows(std::string_view service, ledger::Operation operation) const {
  const auto at = by_service_.find(service);
  if (at == by_service_.end()) return false;
  if (operation == ledger::Operation::kOther) return false;
  // Who may wrap may also leave what is wrapped here, and take it away again.
  if (operation == ledger::Operation::kDekDelete && Manages(service)) return true;
  if (operation == ledger::Operation::kDekPut || operation == ledger::Operation::kDekDelete)
    operation = ledger::Operation::kWrap;
  for (std::size_t i = 0; i < kNames.size(); ++i)
    if (kNames[i].second == operation) return (at->second & 1U << i) != 0;
  return false;
}

bool Grants::Manages(std::string_view service) const {
  const auto at = by_service_.find(service);
  return at != by_service_.end() && (at->second & kManage) != 0;
}

}  // namespace strongroom::appliance
