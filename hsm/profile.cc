#include "hsm/profile.h"

#include "hsm/module.h"

namespace strongroom::hsm {

Result<VendorProfile> ProfileFor(const CK_TOKEN_INFO& info) {
  // SoftHSM 2.6.1: 0x210A is RFC 5649 (on NSS the same number is something else); every attribute of K1 is held.
  static const std::vector<VendorProfile> kProfiles = {
      {"softhsm2",
       "SoftHSM project",
       "SoftHSM v2",
       CKM_AES_KEY_WRAP_PAD,
       CKM_AES_GCM,
       {},
       "object",
       "token",
       98'304,
       true},
  };
  const auto manufacturer = Trimmed(info.manufacturerID), model = Trimmed(info.model);
  for (const auto& profile : kProfiles)
    if (profile.manufacturer == manufacturer && profile.model == model) return profile;
  return Invalid("no vendor profile for '" + manufacturer + "' / '" + model +
                     "': its attributes and mechanisms have not been examined",
                 "no-profile");
}

}  // namespace strongroom::hsm
