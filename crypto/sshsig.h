#pragma once
// SSHSIG (OpenSSH PROTOCOL.sshsig) verification: what `ssh-keygen -Y sign` makes.

#include <string>
#include <string_view>

#include "crypto/base/bytes.h"
#include "crypto/base/result.h"

namespace strongroom::crypto {

/// CheckSshPublicKey accepts "TYPE BASE64" without a comment, of the types ssh-ed25519, ecdsa-sha2-nistp256, ssh-rsa
/// (2048 to 8192 bits) and the FIDO security key forms of the first two (sk-ssh-ed25519@openssh.com,
/// sk-ecdsa-sha2-nistp256@openssh.com, OpenSSH PROTOCOL.u2f) with an application that begins with "ssh:", where the
/// type in the blob, the curve and the lengths agree. Certificates and all else: kInvalid.
Result<void> CheckSshPublicKey(std::string_view key);

/// VerifySshSignature checks an armored signature over `message` in `name_space` by exactly `public_key` (as above).
/// The hash must be sha256 or sha512; RSA signatures must be rsa-sha2-256 or -512; a security key must say that a
/// person was present. Every failure is kForbidden with the reason: slug malformed-signature,
/// wrong-namespace, certificate-signature, wrong-hash-algorithm, else bad-signature. Pure; thread-safe.
Result<void> VerifySshSignature(std::string_view public_key, std::string_view name_space, ByteView message,
                                std::string_view armored);

}  // namespace strongroom::crypto
