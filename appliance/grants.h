#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "crypto/base/result.h"
#include "ledger/evidence_entry.h"

namespace strongroom::appliance {

/// Grants says which service may do what with a keyring (F11). Text form, canonical, as it stands in proposals:
/// `service-1=datakey+rewrap+unwrap+wrap,service-2=unwrap`, sorted; `none` for nobody. In requests `service-1` alone
/// means these four. The fifth, `manage`, is granted by its name alone.
class Grants {
 public:
  static Result<Grants> Parse(std::string_view text);
  std::string Text() const;
  bool Allows(std::string_view service, ledger::Operation operation) const;
  /// Manages tells whether the service may also replace and delete what others have put into the keyring's inventory
  /// (Q18). To put it still has to be granted wrap.
  bool Manages(std::string_view service) const;
  /// Knows tells whether the service has any operation at all on the keyring.
  bool Knows(std::string_view service) const { return by_service_.contains(service); }
  const std::map<std::string, unsigned, std::less<>>& by_service() const { return by_service_; }

 private:
  std::map<std::string, unsigned, std::less<>> by_service_;  // bit n = the n-th of kNames
};

}  // namespace strongroom::appliance
