#pragma once
// The template of a KEK (K1) and the judgement of what came back (K2). Pure.

#include <string>
#include <vector>

#include "crypto/envelope.h"
#include "hsm/cryptoki.h"
#include "hsm/key_ops.h"
#include "hsm/profile.h"

namespace strongroom::hsm {

/// Attribute is one CK_ATTRIBUTE with its value owned.
struct Attribute {
  CK_ATTRIBUTE_TYPE type;
  Bytes value;
};
Attribute BoolAttribute(CK_ATTRIBUTE_TYPE type, bool value);
Attribute UlongAttribute(CK_ATTRIBUTE_TYPE type, CK_ULONG value);
/// ToCk points PKCS#11 at the attributes; they must outlive the array and not move.
std::vector<CK_ATTRIBUTE> ToCk(std::vector<Attribute>& attributes);

/// KekTemplate lists every attribute of K1 for a new KEK, less what the profile names as absent.
std::vector<Attribute> KekTemplate(const KeySpec& spec, const VendorProfile& profile);

/// KekReadBack lists the attribute types that a KEK must be read back with: the template's, and LOCAL,
/// ALWAYS_SENSITIVE, NEVER_EXTRACTABLE.
std::vector<CK_ATTRIBUTE_TYPE> KekReadBack(const VendorProfile& profile);

/// JudgeKek compares what the token reports with what K1 and K2 ask of a KEK with this id and suite. Returns the first
/// difference as a line for people, empty when there is none. A label may differ: it is nobody's authority.
std::string JudgeKek(const std::vector<Attribute>& reported, const KeyRef& ref, const VendorProfile& profile);

std::string AttributeName(CK_ATTRIBUTE_TYPE type);

}  // namespace strongroom::hsm
