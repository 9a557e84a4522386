#pragma once
// Vendor profiles (K10): what differs between modules is written here, by name, and nowhere else.

#include <string>
#include <vector>

#include "crypto/base/result.h"
#include "hsm/cryptoki.h"

namespace strongroom::hsm {

/// VendorProfile describes one vendor's token. Constant data.
struct VendorProfile {
  std::string name;
  std::string manufacturer;  // CK_TOKEN_INFO::manufacturerID, padding removed
  std::string model;
  CK_MECHANISM_TYPE kwp;  // the number under which this token does RFC 5649; proven by SelfTest's known answer
  CK_MECHANISM_TYPE gcm;
  /// Attributes of K1 that the token cannot hold, each with the attack that was tried instead and refused.
  struct Absent {
    CK_ATTRIBUTE_TYPE attribute;
    std::string attack_refused;
  };
  std::vector<Absent> absent;
  std::string plaintext_in;    // "object": C_CreateObject of a secret key; "none": only gcm is offered
  std::string custody_record;  // "token", "host-disk" or "none"
  std::size_t record_bytes;    // of an object that holds the custody record, at most
  bool guard_token_object;     // SoftHSM's files want a hand: see softhsm_guard.h
};

/// ProfileFor picks the profile by what the token says of itself; kInvalid (slug no-profile) for a token that nobody
/// has examined.
Result<VendorProfile> ProfileFor(const CK_TOKEN_INFO& info);

}  // namespace strongroom::hsm
