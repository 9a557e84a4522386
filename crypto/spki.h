#pragma once
// The key of a certificate, as the roster names it: by the SHA-256 of its SubjectPublicKeyInfo.

#include "crypto/base/result.h"
#include "crypto/digest.h"

namespace strongroom::crypto {

/// SpkiDigest hashes a DER SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7) that is written in its one form, so that one
/// key has one hash and is one principal (Q3): Ed25519, Ed448, RSA of 2048 bits or more with exponent 65537 as
/// rsaEncryption, or a point of a named curve, uncompressed. Anything else: kForbidden, slug `certificate-key`.
Result<Digest> SpkiDigest(ByteView der);

}  // namespace strongroom::crypto
