#include "hsm/ckr.h"

namespace strongroom::hsm {

RvClass Classify(CK_RV rv) {
  // Every value of the standard stands here, or falls to kDevice on purpose: there a host that is loaded anew is what
  // helps, or nothing does. A module that refuses everything is found out by the self-test.
  switch (rv) {
    case CKR_ENCRYPTED_DATA_INVALID:
    case CKR_ENCRYPTED_DATA_LEN_RANGE:
    case CKR_WRAPPED_KEY_INVALID:
    case CKR_WRAPPED_KEY_LEN_RANGE:
    case CKR_DATA_INVALID:
    case CKR_DATA_LEN_RANGE:
    case CKR_KEY_SIZE_RANGE:
    case CKR_ATTRIBUTE_VALUE_INVALID:
      return RvClass::kCallersData;
    case CKR_KEY_FUNCTION_NOT_PERMITTED:
    case CKR_KEY_TYPE_INCONSISTENT:
    case CKR_KEY_NOT_WRAPPABLE:
    case CKR_KEY_UNEXTRACTABLE:
    case CKR_KEY_NOT_NEEDED:
    case CKR_KEY_CHANGED:
    case CKR_KEY_NEEDED:
    case CKR_KEY_INDIGESTIBLE:
    case CKR_WRAPPING_KEY_SIZE_RANGE:
    case CKR_WRAPPING_KEY_TYPE_INCONSISTENT:
    case CKR_UNWRAPPING_KEY_SIZE_RANGE:
    case CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT:
    case CKR_MECHANISM_INVALID:
    case CKR_MECHANISM_PARAM_INVALID:
    case CKR_TEMPLATE_INCOMPLETE:
    case CKR_TEMPLATE_INCONSISTENT:
    case CKR_ATTRIBUTE_READ_ONLY:
    case CKR_ATTRIBUTE_SENSITIVE:
    case CKR_ATTRIBUTE_TYPE_INVALID:
    case CKR_ACTION_PROHIBITED:
    case CKR_ARGUMENTS_BAD:
    case CKR_BUFFER_TOO_SMALL:
    case CKR_SIGNATURE_INVALID:
    case CKR_SIGNATURE_LEN_RANGE:
    case CKR_DOMAIN_PARAMS_INVALID:
    case CKR_CURVE_NOT_SUPPORTED:
    case CKR_PUBLIC_KEY_INVALID:
    case CKR_INFORMATION_SENSITIVE:
    case CKR_FUNCTION_NOT_SUPPORTED:
    case CKR_FUNCTION_REJECTED:
    case CKR_TOKEN_WRITE_PROTECTED:
      return RvClass::kRefused;
    case CKR_SESSION_HANDLE_INVALID:
    case CKR_SESSION_CLOSED:
    case CKR_SESSION_READ_ONLY:
    case CKR_OPERATION_ACTIVE:
    case CKR_OPERATION_NOT_INITIALIZED:
      return RvClass::kSession;
    case CKR_OBJECT_HANDLE_INVALID:
    case CKR_KEY_HANDLE_INVALID:
    case CKR_WRAPPING_KEY_HANDLE_INVALID:
    case CKR_UNWRAPPING_KEY_HANDLE_INVALID:
      return RvClass::kHandle;
    case CKR_PIN_INCORRECT:
    case CKR_PIN_LOCKED:
      return RvClass::kPin;
    case CKR_GENERAL_ERROR:
    case CKR_FUNCTION_FAILED:
      return RvClass::kAmbiguous;
    default:
      return RvClass::kDevice;
  }
}

Error TokenError(CK_RV rv, const char* call) {
  Error error{Code::kTokenFault, std::string("the token refused ") + call, {}, rv, call};
  if (Classify(rv) == RvClass::kPin) {
    error.code = Code::kPinRejected;
    error.detail = rv == CKR_PIN_LOCKED ? "the token's PIN is locked" : "the token refused the PIN";
  }
  if (rv == CKR_SESSION_COUNT) {
    error.code = Code::kUnavailable;
    error.detail = "the token has no session free: close other applications' or lower [tokend] hosts";
    error.slug = "sessions-exhausted";
  }
  return error;
}

Error TokenLies(const std::string& what, const char* call) {
  return Error{Code::kTokenFault,
               "the token " + what + ": its module does not keep to PKCS#11, and nothing of it is believed",
               "token-lies", 0, call};
}

}  // namespace strongroom::hsm
