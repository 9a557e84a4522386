#pragma once
// What the files of TokenSession have in common: parameters and templates of its calls.

#include "hsm/key_template.h"

namespace strongroom::hsm {

inline constexpr std::size_t kGcmTagBytes = 16;

/// Ck is for calls that take bytes that they do not change.
inline CK_BYTE* Ck(ByteView bytes) { return const_cast<CK_BYTE*>(bytes.data()); }

/// GcmParams point at `iv` and `aad`.
inline CK_GCM_PARAMS GcmParams(ByteView iv, ByteView aad) {
  CK_GCM_PARAMS params{};
  params.pIv = Ck(iv);
  params.ulIvLen = iv.size();
  params.ulIvBits = iv.size() * 8;
  params.pAAD = Ck(aad);
  params.ulAADLen = aad.size();
  params.ulTagBits = kGcmTagBytes * 8;
  return params;
}

/// TransitTemplate is for a DEK that is unwrapped into the session, readable or for a rewrap (K6).
inline std::vector<Attribute> TransitTemplate(bool readable) {
  return {UlongAttribute(CKA_CLASS, CKO_SECRET_KEY), UlongAttribute(CKA_KEY_TYPE, CKK_GENERIC_SECRET),
          BoolAttribute(CKA_TOKEN, false),           BoolAttribute(CKA_PRIVATE, !readable),
          BoolAttribute(CKA_SENSITIVE, !readable),   BoolAttribute(CKA_EXTRACTABLE, true)};
}

/// ById matches a KEK.
inline std::vector<Attribute> ById(const crypto::KeyId& key) {
  return {UlongAttribute(CKA_CLASS, CKO_SECRET_KEY), {CKA_ID, Bytes(key.begin(), key.end())}};
}

}  // namespace strongroom::hsm
