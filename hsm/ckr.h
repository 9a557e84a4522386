#pragma once
// The border where CK_RV becomes Error (PKCS#11 v2.40 section 5.1.6).

#include <string>

#include "crypto/base/result.h"
#include "hsm/cryptoki.h"

namespace strongroom::hsm {

/// RvClass says who has to act on a return value.
enum class RvClass : std::uint8_t {
  kCallersData,  // the bytes or parameters that the caller gave
  kSession,      // this session is gone; a new one will do
  kHandle,       // a cached object handle is stale
  kPin,          // CKR_PIN_INCORRECT or CKR_PIN_LOCKED, nothing else: it latches
  kAmbiguous,    // CKR_GENERAL_ERROR, CKR_FUNCTION_FAILED: data or device, the token must be probed to tell
  kRefused,      // what was asked for is not allowed, or not with this key: the token is well, and so is its host (P11)
  kDevice,       // the token or its module is broken or away: the host ends
};
RvClass Classify(CK_RV rv);

/// TokenError makes the Error of a failed call: kPinRejected for RvClass::kPin, kUnavailable with slug
/// `sessions-exhausted` for CKR_SESSION_COUNT (P9), else kTokenFault. `call` is a PKCS#11
/// function's name.
Error TokenError(CK_RV rv, const char* call);

/// TokenLies makes the Error of a module that says what cannot be so (K12): kTokenFault, slug `token-lies`. `what`
/// follows "the token".
Error TokenLies(const std::string& what, const char* call);

}  // namespace strongroom::hsm
