#pragma once
// What the decisions about proposals share: their parameters, and the refusal of what was signed for another state.

#include <algorithm>
#include <initializer_list>
#include <map>
#include <string>
#include <string_view>

#include "crypto/base/result.h"

namespace strongroom::appliance {

using Params = std::map<std::string, std::string, std::less<>>;

/// OnlyParams fails with kInvalid (unknown-parameter) for a parameter that is not among those allowed.
inline Result<void> OnlyParams(const Params& params, std::initializer_list<std::string_view> allowed) {
  for (const auto& [name, value] : params)
    if (std::find(allowed.begin(), allowed.end(), name) == allowed.end())
      return Invalid("unknown parameter '" + name.substr(0, 40) + "'", "unknown-parameter");
  return {};
}

/// Get reads a parameter, or takes what stands for one that is absent.
inline std::string Get(const Params& params, std::string_view name, std::string_view fallback = {}) {
  const auto at = params.find(name);
  return at == params.end() ? std::string(fallback) : at->second;
}

/// Stale: the state has moved on since the text was signed.
inline Error Stale(const std::string& why) { return Conflict(why + ": propose again", "stale"); }

}  // namespace strongroom::appliance
