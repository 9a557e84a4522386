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

/// RawKey names what a key's one private key is the other half of: the point, whatever the sign of its other
/// coordinate, or the modulus. It is the same for every key type, application and exponent that it can be written with.
/// kInvalid for what CheckSshPublicKey refuses.
Result<std::string> RawKey(std::string_view key);

/// CheckKeyStrength refuses keys that more than one person, or nobody, can sign with: kInvalid (weak-key) for an
/// Ed25519 point of small order, off the curve or in another form than the one, and for an RSA modulus that is even,
/// prime or has a small factor; kInvalid for what CheckSshPublicKey refuses.
Result<void> CheckKeyStrength(std::string_view key);

/// VerifySshSignature checks an armored signature over `message` in `name_space` by exactly `public_key` (as above).
/// The hash must be sha256 or sha512; RSA signatures must be rsa-sha2-256 or -512; a security key must say that a
/// person was present. Every failure is kForbidden with the reason: slug malformed-signature,
/// wrong-namespace, certificate-signature, wrong-hash-algorithm, weak-key, else bad-signature. Pure; thread-safe.
Result<void> VerifySshSignature(std::string_view public_key, std::string_view name_space, ByteView message,
                                std::string_view armored);

}  // namespace strongroom::crypto
