#pragma once
// Finding objects, reading and destroying them, as PKCS#11 has it and whatever the module makes of it (K12).

#include <span>
#include <vector>

#include "hsm/key_template.h"
#include "hsm/module.h"

namespace strongroom::hsm {

inline constexpr std::size_t kMostFound = 65536;

/// FindAll returns every object that matches. A search is over when the token gives none, not when it gives fewer than
/// were asked for (PKCS#11 v2.40 section 5.7), and it is always ended. kTokenFault: token-lies for a token that gives
/// more than it was asked for or one object twice, too-many-objects for more than `most`.
Result<std::vector<CK_OBJECT_HANDLE>> FindAll(const Module& module, const Session& session,
                                              std::vector<Attribute> pattern, std::size_t most = kMostFound);

/// ReadAttribute returns one attribute of at most `most` bytes, whose length is asked before it is read. nullopt when
/// the token says that there is none, or that it is not told. token-lies when its lengths contradict each other,
/// kTokenFault (attribute-too-long) for a longer one.
Result<std::optional<Bytes>> ReadAttribute(const Module& module, const Session& session, CK_OBJECT_HANDLE object,
                                           CK_ATTRIBUTE_TYPE type, std::size_t most);

/// CheckSensitive reads the value of a key that was asked for as sensitive, to see that it is refused (K1): token-lies
/// when it is not. What was read is zeroised.
Result<void> CheckSensitive(const Module& module, const Session& session, CK_OBJECT_HANDLE key);

/// DestroyAll destroys what matches and looks again: token-lies when it is still there.
Result<void> DestroyAll(const Module& module, const Session& session, const std::vector<Attribute>& pattern);

/// Destroy destroys one object and looks whether it can still be read: token-lies when it can.
Result<void> DestroyObject(const Module& module, const Session& session, CK_OBJECT_HANDLE object);

/// CheckLength compares a length that the token returned with the room that it was given; token-lies when it is more.
Result<void> CheckLength(CK_ULONG length, std::size_t room, const char* call);

}  // namespace strongroom::hsm
