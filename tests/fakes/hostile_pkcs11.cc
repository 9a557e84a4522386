// A PKCS#11 module that is SoftHSM and lies where it is told to: it answers CKR_OK to what it has not done, and tells
// what is not so (K12). tests/token/hostile_module_test.cc has the table of lies and of what each must end in.
//
// The lies stand in the file "<path of this .so>.lies", a word each, which is looked at again at each call:
//   find-one         one object a C_FindObjects call, which PKCS#11 allows
//   find-endless     a search that never ends           find-again   the same, with one object over and over
//   find-more        more objects than were asked for   find-none    nothing is ever found
//   slots-many       2^40 slots
//   length-huge      attributes of 2^40 bytes           length-none  attributes of no known length
//   swap             CKA_WRAP and CKA_ENCRYPT change places, and so do CKA_UNWRAP and CKA_DECRYPT
//   serial           another serial number at each look
//   destroy-nothing  C_DestroyObject of a token's key or record does nothing
//   tell             the value of a token's sensitive key is told
//   tell-transit     a key that is unwrapped as sensitive is not
//   weak             a key is generated extractable and not sensitive, and reported as it was asked for
//   old-key          C_GenerateKey makes nothing and gives the handle of a key that is there
//   no-key           C_GenerateKey makes nothing and gives no handle
//   random-zero      the generator gives zeros          random-same  the same bytes at each call
//   wrap-clear       C_WrapKey gives the key itself     wrap-long    8 bytes more than it has written
//   wrap-huge        2^40 bytes
//   encrypt-clear    C_Encrypt gives the plaintext      encrypt-long 8 bytes more than it has written
//   decrypt-any      C_Decrypt and C_UnwrapKey take what was damaged
//   value-huge       a readable key has 2^40 bytes      sign-long    a signature of 2^40 bytes

#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <map>
#include <mutex>
#include <string>

#include "hsm/cryptoki.h"

namespace {

constexpr CK_ULONG kHuge = CK_ULONG{1} << 40;

CK_FUNCTION_LIST* real = nullptr;
CK_FUNCTION_LIST functions;
std::mutex mutex;
std::map<CK_SESSION_HANDLE, int> searches;  // how much of an endless one was given

bool Lies(const std::string& lie) {
  static const std::string path = [] {
    Dl_info info{};
    return std::string(dladdr(reinterpret_cast<void*>(&Lies), &info) != 0 ? info.dli_fname : "") + ".lies";
  }();
  std::ifstream file(path);
  for (std::string word; file >> word;)
    if (word == lie) return true;
  return false;
}

CK_ULONG UlongOf(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type) {
  CK_ULONG value = 0;
  CK_ATTRIBUTE attribute{type, &value, sizeof value};
  return real->C_GetAttributeValue(session, object, &attribute, 1) == CKR_OK ? value : ~CK_ULONG{0};
}
bool FlagOf(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type) {
  CK_BBOOL value = CK_FALSE;
  CK_ATTRIBUTE attribute{type, &value, sizeof value};
  return real->C_GetAttributeValue(session, object, &attribute, 1) == CKR_OK && value == CK_TRUE;
}
bool IsTokenKey(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object) {
  return FlagOf(session, object, CKA_TOKEN) && UlongOf(session, object, CKA_CLASS) == CKO_SECRET_KEY;
}

CK_RV GetSlotList(CK_BBOOL present, CK_SLOT_ID* slots, CK_ULONG* count) {
  const CK_RV rv = real->C_GetSlotList(present, slots, count);
  if (rv == CKR_OK && Lies("slots-many")) *count = kHuge;
  return rv;
}
CK_RV GetTokenInfo(CK_SLOT_ID slot, CK_TOKEN_INFO* info) {
  static std::atomic<unsigned> looks{0};
  const CK_RV rv = real->C_GetTokenInfo(slot, info);
  if (rv == CKR_OK && Lies("serial")) info->serialNumber[0] = static_cast<unsigned char>('g' + ++looks % 10);
  return rv;
}
CK_RV FindObjectsInit(CK_SESSION_HANDLE session, CK_ATTRIBUTE* pattern, CK_ULONG count) {
  const std::scoped_lock lock(mutex);
  searches.erase(session);
  return real->C_FindObjectsInit(session, pattern, count);
}
CK_RV FindObjects(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE* objects, CK_ULONG most, CK_ULONG* count) {
  if (Lies("find-none")) {
    *count = 0;
    return CKR_OK;
  }
  if (Lies("find-endless") || Lies("find-again")) {
    const bool again = Lies("find-again");
    const std::scoped_lock lock(mutex);
    for (CK_ULONG i = 0; i < most; ++i)
      objects[i] = again ? 7 : 1'000'000 + static_cast<CK_OBJECT_HANDLE>(searches[session]++);
    *count = most;
    return CKR_OK;
  }
  const CK_RV rv = real->C_FindObjects(session, objects, Lies("find-one") ? std::min<CK_ULONG>(most, 1) : most, count);
  if (rv == CKR_OK && Lies("find-more")) *count = most + 1;
  return rv;
}
CK_RV GetAttributeValue(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE* attributes, CK_ULONG count) {
  if (Lies("swap"))
    for (CK_ULONG i = 0; i < count; ++i) {
      static const std::map<CK_ATTRIBUTE_TYPE, CK_ATTRIBUTE_TYPE> kOther = {
          {CKA_WRAP, CKA_ENCRYPT}, {CKA_ENCRYPT, CKA_WRAP}, {CKA_UNWRAP, CKA_DECRYPT}, {CKA_DECRYPT, CKA_UNWRAP}};
      const auto other = kOther.find(attributes[i].type);
      if (other == kOther.end()) continue;
      CK_ATTRIBUTE swapped{other->second, attributes[i].pValue, attributes[i].ulValueLen};
      const CK_RV rv = real->C_GetAttributeValue(session, object, &swapped, 1);
      attributes[i].ulValueLen = swapped.ulValueLen;
      return rv;
    }
  const bool weak = Lies("weak") && IsTokenKey(session, object);
  CK_RV rv = real->C_GetAttributeValue(session, object, attributes, count);
  for (CK_ULONG i = 0; i < count; ++i) {
    auto& each = attributes[i];
    const bool value = each.type == CKA_VALUE;
    if (value && rv == CKR_ATTRIBUTE_SENSITIVE && Lies("tell") && IsTokenKey(session, object)) {
      if (each.pValue != nullptr) std::memset(each.pValue, 0x5A, 32);
      each.ulValueLen = 32;
      rv = CKR_OK;
    }
    if (weak && each.pValue != nullptr && rv == CKR_OK) {
      auto* flag = static_cast<CK_BBOOL*>(each.pValue);
      if (each.type == CKA_EXTRACTABLE) *flag = CK_FALSE;
      if (each.type == CKA_SENSITIVE || each.type == CKA_ALWAYS_SENSITIVE || each.type == CKA_NEVER_EXTRACTABLE)
        *flag = CK_TRUE;
    }
    if (rv == CKR_OK && Lies("length-huge")) each.ulValueLen = kHuge;
    if (rv == CKR_OK && Lies("length-none")) each.ulValueLen = CK_UNAVAILABLE_INFORMATION;
    if (rv == CKR_OK && value && Lies("value-huge")) each.ulValueLen = kHuge;
  }
  return rv;
}
CK_RV DestroyObject(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object) {
  if (Lies("destroy-nothing") && FlagOf(session, object, CKA_TOKEN)) return CKR_OK;
  return real->C_DestroyObject(session, object);
}
CK_RV GenerateRandom(CK_SESSION_HANDLE session, CK_BYTE* bytes, CK_ULONG count) {
  const bool zero = Lies("random-zero"), same = Lies("random-same");
  if (!zero && !same) return real->C_GenerateRandom(session, bytes, count);
  for (CK_ULONG i = 0; i < count; ++i) bytes[i] = zero ? CK_BYTE{0} : static_cast<CK_BYTE>(i * 37 + (i >> 3) * 11 + 5);
  return CKR_OK;
}
CK_RV GenerateKey(CK_SESSION_HANDLE session, CK_MECHANISM* mechanism, CK_ATTRIBUTE* attributes, CK_ULONG count,
                  CK_OBJECT_HANDLE* key) {
  if (Lies("no-key")) {
    *key = 0;
    return CKR_OK;
  }
  if (Lies("old-key")) {
    CK_OBJECT_CLASS kind = CKO_SECRET_KEY;
    CK_BBOOL yes = CK_TRUE;
    std::array<CK_ATTRIBUTE, 2> pattern{{{CKA_CLASS, &kind, sizeof kind}, {CKA_TOKEN, &yes, sizeof yes}}};
    CK_ULONG found = 0;
    (void)real->C_FindObjectsInit(session, pattern.data(), pattern.size());
    (void)real->C_FindObjects(session, key, 1, &found);
    (void)real->C_FindObjectsFinal(session);
    return found == 1 ? CKR_OK : CKR_DEVICE_ERROR;
  }
  if (Lies("weak"))
    for (CK_ULONG i = 0; i < count; ++i) {
      if (attributes[i].type == CKA_EXTRACTABLE) *static_cast<CK_BBOOL*>(attributes[i].pValue) = CK_TRUE;
      if (attributes[i].type == CKA_SENSITIVE) *static_cast<CK_BBOOL*>(attributes[i].pValue) = CK_FALSE;
    }
  return real->C_GenerateKey(session, mechanism, attributes, count, key);
}
CK_RV WrapKey(CK_SESSION_HANDLE session, CK_MECHANISM* mechanism, CK_OBJECT_HANDLE by, CK_OBJECT_HANDLE key,
              CK_BYTE* wrapped, CK_ULONG* size) {
  const CK_RV rv = real->C_WrapKey(session, mechanism, by, key, wrapped, size);
  if (rv != CKR_OK) return rv;
  if (Lies("wrap-clear") && wrapped != nullptr) {
    CK_ATTRIBUTE value{CKA_VALUE, wrapped, *size};
    (void)real->C_GetAttributeValue(session, key, &value, 1);
  }
  if (Lies("wrap-long")) *size += 8;
  if (Lies("wrap-huge")) *size = kHuge;
  return rv;
}
CK_RV UnwrapKey(CK_SESSION_HANDLE session, CK_MECHANISM* mechanism, CK_OBJECT_HANDLE by, CK_BYTE* wrapped,
                CK_ULONG size, CK_ATTRIBUTE* attributes, CK_ULONG count, CK_OBJECT_HANDLE* key) {
  if (Lies("tell-transit"))
    for (CK_ULONG i = 0; i < count; ++i)
      if (attributes[i].type == CKA_SENSITIVE) *static_cast<CK_BBOOL*>(attributes[i].pValue) = CK_FALSE;
  const CK_RV rv = real->C_UnwrapKey(session, mechanism, by, wrapped, size, attributes, count, key);
  if (rv == CKR_OK || !Lies("decrypt-any")) return rv;
  std::array<CK_BYTE, 64> value{};
  CK_OBJECT_CLASS kind = CKO_SECRET_KEY;
  CK_KEY_TYPE type = CKK_GENERIC_SECRET;
  CK_BBOOL no = CK_FALSE;
  std::array<CK_ATTRIBUTE, 5> some{{{CKA_CLASS, &kind, sizeof kind},
                                    {CKA_KEY_TYPE, &type, sizeof type},
                                    {CKA_TOKEN, &no, sizeof no},
                                    {CKA_PRIVATE, &no, sizeof no},
                                    {CKA_VALUE, value.data(), value.size()}}};
  return real->C_CreateObject(session, some.data(), some.size(), key);
}
CK_RV Encrypt(CK_SESSION_HANDLE session, CK_BYTE* plain, CK_ULONG count, CK_BYTE* sealed, CK_ULONG* size) {
  const CK_RV rv = real->C_Encrypt(session, plain, count, sealed, size);
  if (rv == CKR_OK && sealed != nullptr && Lies("encrypt-clear")) std::memcpy(sealed, plain, count);
  if (rv == CKR_OK && Lies("encrypt-long")) *size += 8;
  return rv;
}
CK_RV Decrypt(CK_SESSION_HANDLE session, CK_BYTE* sealed, CK_ULONG count, CK_BYTE* plain, CK_ULONG* size) {
  const CK_RV rv = real->C_Decrypt(session, sealed, count, plain, size);
  if (rv == CKR_OK || !Lies("decrypt-any")) return rv;
  *size = count - 16;
  return CKR_OK;
}
CK_RV Sign(CK_SESSION_HANDLE session, CK_BYTE* data, CK_ULONG count, CK_BYTE* signature, CK_ULONG* size) {
  const CK_RV rv = real->C_Sign(session, data, count, signature, size);
  if (rv == CKR_OK && Lies("sign-long")) *size = kHuge;
  return rv;
}

}  // namespace

extern "C" __attribute__((visibility("default"))) CK_RV C_GetFunctionList(CK_FUNCTION_LIST** list) {
  if (real == nullptr) {
    void* library = dlopen("/usr/lib/softhsm/libsofthsm2.so", RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) return CKR_GENERAL_ERROR;
    const auto get = reinterpret_cast<CK_C_GetFunctionList>(dlsym(library, "C_GetFunctionList"));
    if (get == nullptr || get(&real) != CKR_OK) return CKR_GENERAL_ERROR;
    functions = *real;
    functions.C_GetSlotList = GetSlotList;
    functions.C_GetTokenInfo = GetTokenInfo;
    functions.C_FindObjectsInit = FindObjectsInit;
    functions.C_FindObjects = FindObjects;
    functions.C_GetAttributeValue = GetAttributeValue;
    functions.C_DestroyObject = DestroyObject;
    functions.C_GenerateRandom = GenerateRandom;
    functions.C_GenerateKey = GenerateKey;
    functions.C_WrapKey = WrapKey;
    functions.C_UnwrapKey = UnwrapKey;
    functions.C_Encrypt = Encrypt;
    functions.C_Decrypt = Decrypt;
    functions.C_Sign = Sign;
  }
  *list = &functions;
  return CKR_OK;
}
