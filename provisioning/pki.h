#pragma once
#include <memory>
#include <string>

#include "crypto/base/result.h"
#include "crypto/digest.h"

namespace strongroom::provisioning {

/// EnsureCa makes a P-256 certificate authority in `certificate` and `key` (mode 0600) unless both exist.
Result<void> EnsureCa(const std::string& certificate, const std::string& key);

/// EnsureClientCertificate makes a P-256 key (mode 0600) and a certificate for `name`, signed by the CA, unless both
/// exist.
Result<void> EnsureClientCertificate(const std::string& name, const std::string& certificate, const std::string& key,
                                     const std::string& ca_certificate, const std::string& ca_key);

/// EnsureServerCertificate certifies a public key (PEM) that lies elsewhere, for localhost, 127.0.0.1 and ::1, unless
/// there is a certificate of it.
Result<void> EnsureServerCertificate(const std::string& public_key, const std::string& certificate,
                                     const std::string& ca_certificate, const std::string& ca_key);

/// CertificateSpki is the SHA-256 of a PEM certificate's SubjectPublicKeyInfo: what the roster holds.
Result<crypto::Digest> CertificateSpki(const std::string& certificate);

}  // namespace strongroom::provisioning
