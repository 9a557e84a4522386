#pragma once
#include <openssl/types.h>

#include <string>

#include "crypto/base/result.h"
#include "crypto/digest.h"

namespace strongroom::netapi {

struct TlsFiles {
  std::string certificate;  // PEM chain
  std::string key;
  std::string ca;  // PEM: whom to trust on the other side
};

/// ConfigureServerTls: TLS 1.3 alone, a client certificate always required and verified (N1), no tickets, no early
/// data.
Result<void> ConfigureServerTls(SSL_CTX* context, const TlsFiles& files);
/// ConfigureClientTls: TLS 1.3 alone, the server verified against `ca`; certificate and key may be empty.
Result<void> ConfigureClientTls(SSL_CTX* context, const TlsFiles& files);
/// ExpectServerName makes the handshake fail unless the certificate is for this host name or address.
Result<void> ExpectServerName(SSL* ssl, const std::string& host);
/// PeerSpki is the SHA-256 of the peer certificate's SubjectPublicKeyInfo; kForbidden when it showed none.
Result<crypto::Digest> PeerSpki(const SSL* ssl);
/// ForbidLingeringHeap makes OpenSSL clear every buffer before it goes back to the heap: TLS records hold DEKs (K7).
/// Call first thing in main, before OpenSSL has allocated anything.
void ForbidLingeringHeap();

}  // namespace strongroom::netapi
