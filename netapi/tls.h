#pragma once
#include <openssl/types.h>
#include <openssl/x509.h>

#include <functional>
#include <memory>
#include <string>

#include "crypto/base/result.h"
#include "crypto/digest.h"

namespace strongroom::netapi {

/// KeyLender lends a private key for one step of a handshake; kUnavailable while there is none.
using KeyLender = std::function<Result<std::shared_ptr<EVP_PKEY>>()>;

/// ServerTls is what a server shows and whom it trusts. The key is lent, not held: it may lie in a token.
struct ServerTls {
  std::string certificate;  // PEM chain
  std::string ca;           // PEM: whose client certificates are taken
  KeyLender key;
  std::function<void()> suspect;  // called when the key may have failed to sign
};
/// LendFromFile lends a key that lies in a PEM file.
Result<KeyLender> LendFromFile(const std::string& path);

/// ServerChain is the server's certificate with its chain, and the key that goes with it for a step.
class ServerChain {
 public:
  /// Read fails when the file has no certificate or the lent key is not its.
  static Result<ServerChain> Read(const ServerTls& tls);
  /// Use gives certificate and key to a connection until Forget.
  Result<void> Use(SSL* ssl, EVP_PKEY* key) const;
  static void Forget(SSL* ssl);

 private:
  std::shared_ptr<X509> leaf_;
  std::shared_ptr<STACK_OF(X509)> chain_;
};

struct TlsFiles {
  std::string certificate;  // PEM chain
  std::string key;
  std::string ca;  // PEM: whom to trust on the other side
};

/// ConfigureServerTls: TLS 1.3 alone, a client certificate always required and verified (N1), no tickets, no early
/// data. Neither key nor certificate is in the context: each connection is given both for a step (ServerChain).
Result<void> ConfigureServerTls(SSL_CTX* context, const std::string& client_ca);
/// ConfigureClientTls: TLS 1.3 alone, the server verified against `ca`; certificate and key may be empty.
Result<void> ConfigureClientTls(SSL_CTX* context, const TlsFiles& files);
/// ExpectServerName makes the handshake fail unless the certificate is for this host name or address.
Result<void> ExpectServerName(SSL* ssl, const std::string& host);
/// PeerSpki is the SHA-256 of the peer certificate's SubjectPublicKeyInfo; kForbidden when it showed none, or
/// one whose key is not in its one form (crypto/spki.h).
Result<crypto::Digest> PeerSpki(const SSL* ssl);
/// ForbidLingeringHeap makes OpenSSL clear every buffer before it goes back to the heap: TLS records hold DEKs (K7).
/// Call first thing in main, before OpenSSL has allocated anything.
void ForbidLingeringHeap();

}  // namespace strongroom::netapi
