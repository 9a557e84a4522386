#include "hsm/key_template.h"

#include <algorithm>
#include <cstring>

namespace strongroom::hsm {
namespace {

bool IsAbsent(const VendorProfile& profile, CK_ATTRIBUTE_TYPE type) {
  return std::any_of(profile.absent.begin(), profile.absent.end(), [&](const auto& a) { return a.attribute == type; });
}

}  // namespace

Attribute BoolAttribute(CK_ATTRIBUTE_TYPE type, bool value) {
  return {type, Bytes{static_cast<std::uint8_t>(value ? CK_TRUE : CK_FALSE)}};
}

Attribute UlongAttribute(CK_ATTRIBUTE_TYPE type, CK_ULONG value) {
  Attribute attribute{type, Bytes(sizeof value)};
  std::memcpy(attribute.value.data(), &value, sizeof value);
  return attribute;
}

std::vector<CK_ATTRIBUTE> ToCk(std::vector<Attribute>& attributes) {
  std::vector<CK_ATTRIBUTE> out;
  out.reserve(attributes.size());
  for (auto& a : attributes) out.push_back({a.type, a.value.data(), a.value.size()});
  return out;
}

std::vector<Attribute> KekTemplate(const KeySpec& spec, const VendorProfile& profile) {
  const bool kwp = spec.ref.suite == crypto::Suite::kKwp;
  const auto label = AsBytes(spec.label);
  std::vector<Attribute> all = {
      UlongAttribute(CKA_CLASS, CKO_SECRET_KEY),
      UlongAttribute(CKA_KEY_TYPE, CKK_AES),
      UlongAttribute(CKA_VALUE_LEN, 32),
      BoolAttribute(CKA_TOKEN, true),
      BoolAttribute(CKA_PRIVATE, true),
      BoolAttribute(CKA_SENSITIVE, true),
      BoolAttribute(CKA_EXTRACTABLE, false),
      BoolAttribute(CKA_WRAP, kwp),
      BoolAttribute(CKA_UNWRAP, kwp),
      BoolAttribute(CKA_ENCRYPT, !kwp),
      BoolAttribute(CKA_DECRYPT, !kwp),
      BoolAttribute(CKA_SIGN, false),
      BoolAttribute(CKA_VERIFY, false),
      BoolAttribute(CKA_DERIVE, false),
      BoolAttribute(CKA_MODIFIABLE, false),
      BoolAttribute(CKA_COPYABLE, false),
      UlongAttribute(CKA_ALLOWED_MECHANISMS, kwp ? profile.kwp : profile.gcm),
      {CKA_ID, Bytes(spec.ref.key.begin(), spec.ref.key.end())},
      {CKA_LABEL, Bytes(label.begin(), label.end())},
  };
  std::erase_if(all, [&](const auto& a) { return IsAbsent(profile, a.type); });
  return all;
}

std::vector<CK_ATTRIBUTE_TYPE> KekReadBack(const VendorProfile& profile) {
  std::vector<CK_ATTRIBUTE_TYPE> types;
  for (const auto& a : KekTemplate({}, profile)) types.push_back(a.type);
  for (const auto type : {CKA_LOCAL, CKA_ALWAYS_SENSITIVE, CKA_NEVER_EXTRACTABLE})
    if (!IsAbsent(profile, type)) types.push_back(type);
  return types;
}

std::string JudgeKek(const std::vector<Attribute>& reported, const KeyRef& ref, const VendorProfile& profile) {
  auto wanted = KekTemplate({ref, {}}, profile);
  for (const auto type : {CKA_LOCAL, CKA_ALWAYS_SENSITIVE, CKA_NEVER_EXTRACTABLE})
    if (!IsAbsent(profile, type)) wanted.push_back(BoolAttribute(type, true));
  for (const auto& want : wanted) {
    if (want.type == CKA_LABEL) continue;
    const auto got = std::find_if(reported.begin(), reported.end(), [&](const auto& a) { return a.type == want.type; });
    if (got == reported.end()) return AttributeName(want.type) + " is not reported";
    if (got->value != want.value) return AttributeName(want.type) + " is not as asked for";
  }
  return {};
}

std::string AttributeName(CK_ATTRIBUTE_TYPE type) {
  switch (type) {
    case CKA_CLASS:
      return "CKA_CLASS";
    case CKA_KEY_TYPE:
      return "CKA_KEY_TYPE";
    case CKA_VALUE_LEN:
      return "CKA_VALUE_LEN";
    case CKA_TOKEN:
      return "CKA_TOKEN";
    case CKA_PRIVATE:
      return "CKA_PRIVATE";
    case CKA_SENSITIVE:
      return "CKA_SENSITIVE";
    case CKA_EXTRACTABLE:
      return "CKA_EXTRACTABLE";
    case CKA_WRAP:
      return "CKA_WRAP";
    case CKA_UNWRAP:
      return "CKA_UNWRAP";
    case CKA_ENCRYPT:
      return "CKA_ENCRYPT";
    case CKA_DECRYPT:
      return "CKA_DECRYPT";
    case CKA_SIGN:
      return "CKA_SIGN";
    case CKA_VERIFY:
      return "CKA_VERIFY";
    case CKA_DERIVE:
      return "CKA_DERIVE";
    case CKA_MODIFIABLE:
      return "CKA_MODIFIABLE";
    case CKA_COPYABLE:
      return "CKA_COPYABLE";
    case CKA_ALLOWED_MECHANISMS:
      return "CKA_ALLOWED_MECHANISMS";
    case CKA_ID:
      return "CKA_ID";
    case CKA_LABEL:
      return "CKA_LABEL";
    case CKA_LOCAL:
      return "CKA_LOCAL";
    case CKA_ALWAYS_SENSITIVE:
      return "CKA_ALWAYS_SENSITIVE";
    case CKA_NEVER_EXTRACTABLE:
      return "CKA_NEVER_EXTRACTABLE";
    default:
      return "attribute " + std::to_string(type);
  }
}

}  // namespace strongroom::hsm
