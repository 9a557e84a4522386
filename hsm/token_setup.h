#pragma once
#include "crypto/base/result.h"
#include "hsm/uri.h"

namespace strongroom::hsm {

/// InitialiseToken makes the token that `uri` names in a free slot and sets its PINs, read from the URI's pin-source
/// and from `so_pin_file` (mode 0600 both). Refuses with kConflict when a token matches already: it never overwrites
/// one.
Result<void> InitialiseToken(const TokenUri& uri, const std::string& so_pin_file);

}  // namespace strongroom::hsm
