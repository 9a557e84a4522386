#include "tests/fakes/memory_pkcs11.h"

#include <algorithm>
#include <cstring>

namespace strongroom::tests {
namespace {

MemoryToken token;
CK_OBJECT_HANDLE next_object = 1;
CK_SESSION_HANDLE next_session = 1;
std::map<CK_SESSION_HANDLE, std::vector<CK_OBJECT_HANDLE>> searches;

// What becomes of a call; everything that a killed host still does is lost.
MemoryToken::Fate FateOf(CK_SESSION_HANDLE session) {
  if (token.dead[session]) return MemoryToken::Fate::kLost;
  const auto fate = token.before ? token.before(session) : MemoryToken::Fate::kHappens;
  if (fate != MemoryToken::Fate::kHappens) token.dead[session] = true;
  return fate;
}
CK_RV Change(CK_SESSION_HANDLE session, const std::function<void()>& change) {
  const auto fate = FateOf(session);
  if (fate == MemoryToken::Fate::kLate) token.late.push_back(change);
  if (fate != MemoryToken::Fate::kHappens) return CKR_DEVICE_ERROR;
  change();
  return CKR_OK;
}
const CK_ATTRIBUTE* Find(const CK_ATTRIBUTE* attributes, CK_ULONG count, CK_ATTRIBUTE_TYPE type) {
  const auto* at = std::find_if(attributes, attributes + count, [&](const auto& a) { return a.type == type; });
  return at == attributes + count ? nullptr : at;
}
std::string TextOf(const CK_ATTRIBUTE* attribute) {
  return attribute == nullptr ? "" : std::string(static_cast<const char*>(attribute->pValue), attribute->ulValueLen);
}

CK_RV Initialize(void* /*arguments*/) { return CKR_OK; }
CK_RV Finalize(void* /*reserved*/) { return CKR_OK; }
CK_RV OpenSession(CK_SLOT_ID /*slot*/, CK_FLAGS /*flags*/, void* /*application*/, CK_NOTIFY /*notify*/,
                  CK_SESSION_HANDLE* session) {
  *session = next_session++;
  return CKR_OK;
}
CK_RV CloseSession(CK_SESSION_HANDLE session) {
  searches.erase(session);
  token.dead.erase(session);
  token.sent.erase(session);
  return CKR_OK;
}
CK_RV FindObjectsInit(CK_SESSION_HANDLE session, CK_ATTRIBUTE* pattern, CK_ULONG count) {
  if (FateOf(session) != MemoryToken::Fate::kHappens) return CKR_DEVICE_ERROR;
  auto& found = searches[session];
  found.clear();
  const auto label = TextOf(Find(pattern, count, CKA_LABEL));
  for (const auto& [handle, object] : token.objects)
    if (object.label == label) found.push_back(handle);
  return CKR_OK;
}
CK_RV FindObjects(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE* objects, CK_ULONG most, CK_ULONG* count) {
  auto& found = searches[session];
  *count = std::min<CK_ULONG>(most, found.size());
  std::copy_n(found.begin(), *count, objects);
  found.erase(found.begin(), found.begin() + static_cast<std::ptrdiff_t>(*count));
  return CKR_OK;
}
CK_RV FindObjectsFinal(CK_SESSION_HANDLE session) {
  searches.erase(session);
  return CKR_OK;
}
CK_RV GetAttributeValue(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE* attributes, CK_ULONG count) {
  if (token.dead[session]) return CKR_DEVICE_ERROR;
  const auto at = token.objects.find(object);
  if (at == token.objects.end()) return CKR_OBJECT_HANDLE_INVALID;
  for (CK_ULONG i = 0; i < count; ++i) {
    if (attributes[i].type != CKA_VALUE) return CKR_ATTRIBUTE_TYPE_INVALID;
    const auto& value = at->second.value;
    if (attributes[i].pValue != nullptr) std::memcpy(attributes[i].pValue, value.data(), value.size());
    attributes[i].ulValueLen = value.size();
  }
  return CKR_OK;
}
CK_RV CreateObject(CK_SESSION_HANDLE session, CK_ATTRIBUTE* attributes, CK_ULONG count, CK_OBJECT_HANDLE* object) {
  const auto value = TextOf(Find(attributes, count, CKA_VALUE));
  const MemoryToken::Object made{TextOf(Find(attributes, count, CKA_LABEL)), Bytes(value.begin(), value.end())};
  token.sent[session] = made.value;
  *object = next_object++;
  return Change(session, [made, handle = *object] { token.objects[handle] = made; });
}
CK_RV DestroyObject(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object) {
  if (!token.objects.contains(object)) return CKR_OBJECT_HANDLE_INVALID;
  return Change(session, [object] { token.objects.erase(object); });
}

}  // namespace
}  // namespace strongroom::tests

extern "C" {
__attribute__((visibility("default"))) strongroom::tests::MemoryToken* memory_token() {
  return &strongroom::tests::token;
}
__attribute__((visibility("default"))) CK_RV C_GetFunctionList(CK_FUNCTION_LIST** list) {
  using namespace strongroom::tests;
  static CK_FUNCTION_LIST functions{};
  functions.C_Initialize = Initialize;
  functions.C_Finalize = Finalize;
  functions.C_OpenSession = OpenSession;
  functions.C_CloseSession = CloseSession;
  functions.C_FindObjectsInit = FindObjectsInit;
  functions.C_FindObjects = FindObjects;
  functions.C_FindObjectsFinal = FindObjectsFinal;
  functions.C_GetAttributeValue = GetAttributeValue;
  functions.C_CreateObject = CreateObject;
  functions.C_DestroyObject = DestroyObject;
  *list = &functions;
  return CKR_OK;
}
}
