#pragma once
#include <memory>
#include <string>

#include "crypto/base/result.h"
#include "crypto/digest.h"

namespace strongroom::provisioning {

/// EnsureCa makes a P-256 certificate authority in `certificate` and `key` (mode 0600) unless both exist.
Result<void> EnsureCa(const std::string& certificate, const std::string& key);

/// Purpose of a leaf certificate. A server's names localhost, 127.0.0.1 and ::1.
enum class CertificatePurpose { kServer, kClient };

/// EnsureCertificate makes a P-256 key (mode 0600) and a certificate for `name`, signed by the CA, unless both exist.
Result<void> EnsureCertificate(CertificatePurpose purpose, const std::string& name, const std::string& certificate,
                               const std::string& key, const std::string& ca_certificate, const std::string& ca_key);

/// CertificateSpki is the SHA-256 of a PEM certificate's SubjectPublicKeyInfo: what the roster holds.
Result<crypto::Digest> CertificateSpki(const std::string& certificate);

}  // namespace strongroom::provisioning
