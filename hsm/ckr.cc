#include "hsm/ckr.h"

namespace strongroom::hsm {

RvClass Classify(CK_RV rv) {
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
    case CKR_SESSION_HANDLE_INVALID:
    case CKR_SESSION_CLOSED:
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

}  // namespace strongroom::hsm
