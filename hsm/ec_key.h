#pragma once
// EC P-256 signing keys in a token: the checkpoint keys and the TLS key.

#include <vector>

#include "hsm/key_template.h"
#include "hsm/module.h"

namespace strongroom::hsm {

/// TextAttribute is an attribute whose value is a text.
Attribute TextAttribute(CK_ATTRIBUTE_TYPE type, std::string_view text);

/// FindLabelled finds the token objects of one class with a label; kTokenFault (too-many-objects) for more than 256.
Result<std::vector<CK_OBJECT_HANDLE>> FindLabelled(const Module& module, const Session& session,
                                                   CK_OBJECT_CLASS object_class, const char* label);

/// ReadValue reads one attribute of at most 64 KiB, which must be there; fails as ReadAttribute does.
Result<Bytes> ReadValue(const Module& module, const Session& session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type);

/// GenerateEcKey makes a P-256 pair for ECDSA alone, sensitive and not extractable, with label and CKA_ID, on a session
/// that is logged in as user.
Result<void> GenerateEcKey(const Module& module, const Session& session, const char* label, const Bytes& id);

/// EcSpki is a P-256 public key's SubjectPublicKeyInfo, DER. kIntegrity (key-drift) for any other key.
Result<Bytes> EcSpki(const Module& module, const Session& session, CK_OBJECT_HANDLE public_key);

}  // namespace strongroom::hsm
