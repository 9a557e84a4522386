#include "hsm/find_objects.h"

#include <algorithm>
#include <array>
#include <optional>
#include <unordered_set>

#include "hsm/ckr.h"

namespace strongroom::hsm {

Result<std::vector<CK_OBJECT_HANDLE>> FindAll(const Module& module, const Session& session,
                                              std::vector<Attribute> pattern, std::size_t most) {
  auto ck = ToCk(pattern);
  auto& fn = module.fn();
  if (const CK_RV rv = fn.C_FindObjectsInit(session.handle(), ck.data(), ck.size()); rv != CKR_OK)
    return TokenError(rv, "C_FindObjectsInit");
  std::vector<CK_OBJECT_HANDLE> found;
  std::unordered_set<CK_OBJECT_HANDLE> known;
  std::optional<Error> wrong;
  while (!wrong) {
    std::array<CK_OBJECT_HANDLE, 256> some{};
    CK_ULONG count = 0;
    if (const CK_RV rv = fn.C_FindObjects(session.handle(), some.data(), some.size(), &count); rv != CKR_OK) {
      wrong = TokenError(rv, "C_FindObjects");
    } else if (count > some.size()) {
      wrong = TokenLies("gave more objects than it was asked for", "C_FindObjects");
    } else if (count == 0) {
      break;
    } else if (found.size() + count > most) {
      wrong = Error{Code::kTokenFault, "the token has more than " + std::to_string(most) + " objects of one kind",
                    "too-many-objects", 0, "C_FindObjects"};
    } else {
      for (CK_ULONG i = 0; i < count; ++i) {
        if (!known.insert(some[i]).second) wrong = TokenLies("found one object twice", "C_FindObjects");
        found.push_back(some[i]);
      }
    }
  }
  (void)fn.C_FindObjectsFinal(session.handle());
  if (wrong) return std::move(*wrong);
  return found;
}

Result<void> CheckLength(CK_ULONG length, std::size_t room, const char* call) {
  if (length <= room) return {};
  return TokenLies("says that it has written more than there was room for", call);
}

Result<std::optional<Bytes>> ReadAttribute(const Module& module, const Session& session, CK_OBJECT_HANDLE object,
                                           CK_ATTRIBUTE_TYPE type, std::size_t most) {
  const auto untold = [](CK_RV rv) { return rv == CKR_ATTRIBUTE_TYPE_INVALID || rv == CKR_ATTRIBUTE_SENSITIVE; };
  CK_ATTRIBUTE attribute{type, nullptr, 0};
  CK_RV rv = module.fn().C_GetAttributeValue(session.handle(), object, &attribute, 1);
  if (untold(rv) || (rv == CKR_OK && attribute.ulValueLen == CK_UNAVAILABLE_INFORMATION)) return std::optional<Bytes>();
  if (rv != CKR_OK) return TokenError(rv, "C_GetAttributeValue");
  if (attribute.ulValueLen > most)
    return Error{Code::kTokenFault,
                 AttributeName(type) + " of an object in the token has " + std::to_string(attribute.ulValueLen) +
                     " bytes, at most " + std::to_string(most) + " are read",
                 "attribute-too-long", 0, "C_GetAttributeValue"};
  Bytes value(attribute.ulValueLen);
  attribute.pValue = value.data();
  if (value.empty()) return std::optional(std::move(value));
  rv = module.fn().C_GetAttributeValue(session.handle(), object, &attribute, 1);
  if (untold(rv)) return std::optional<Bytes>();
  if (rv != CKR_OK) return TokenError(rv, "C_GetAttributeValue");
  TRY(CheckLength(attribute.ulValueLen, value.size(), "C_GetAttributeValue"));
  value.resize(attribute.ulValueLen);
  return std::optional(std::move(value));
}

Result<void> CheckSensitive(const Module& module, const Session& session, CK_OBJECT_HANDLE key) {
  std::array<std::uint8_t, 1024> value{};
  CK_ATTRIBUTE attribute{CKA_VALUE, value.data(), value.size()};
  const CK_RV rv = module.fn().C_GetAttributeValue(session.handle(), key, &attribute, 1);
  const bool untouched = std::all_of(value.begin(), value.end(), [](auto byte) { return byte == 0; });
  Zeroise(value.data(), value.size());
  if (rv == CKR_OK || !untouched)
    return TokenLies("tells the value of a key that was asked for as sensitive", "C_GetAttributeValue");
  if (rv == CKR_ATTRIBUTE_SENSITIVE || rv == CKR_ATTRIBUTE_TYPE_INVALID) return {};
  return TokenError(rv, "C_GetAttributeValue");
}

Result<void> DestroyAll(const Module& module, const Session& session, const std::vector<Attribute>& pattern) {
  TRY_ASSIGN(const auto found, FindAll(module, session, pattern));
  for (const auto object : found)
    if (const CK_RV rv = module.fn().C_DestroyObject(session.handle(), object); rv != CKR_OK)
      return TokenError(rv, "C_DestroyObject");
  TRY_ASSIGN(const auto left, FindAll(module, session, pattern));
  if (left.empty()) return {};
  return TokenLies("says that it has destroyed an object, and still has it", "C_DestroyObject");
}

Result<void> DestroyObject(const Module& module, const Session& session, CK_OBJECT_HANDLE object) {
  if (const CK_RV rv = module.fn().C_DestroyObject(session.handle(), object); rv != CKR_OK)
    return TokenError(rv, "C_DestroyObject");
  CK_OBJECT_CLASS kind = 0;
  CK_ATTRIBUTE attribute{CKA_CLASS, &kind, sizeof kind};
  if (module.fn().C_GetAttributeValue(session.handle(), object, &attribute, 1) != CKR_OK) return {};
  return TokenLies("says that it has destroyed an object, and still has it", "C_DestroyObject");
}

}  // namespace strongroom::hsm
