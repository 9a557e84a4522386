#include "netapi/tls.h"

#include <malloc.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <cstdlib>
#include <cstring>
#include <memory>

#include "crypto/base/freer.h"
#include "crypto/spki.h"

namespace strongroom::netapi {
namespace {

Error TlsError(const std::string& what) {
  const auto code = ERR_peek_last_error();
  ERR_clear_error();
  const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  return Io(what + (reason == nullptr ? "" : std::string(": ") + reason), "tls-setup");
}

Result<void> UseIdentity(SSL_CTX* context, const TlsFiles& files) {
  if (SSL_CTX_use_certificate_chain_file(context, files.certificate.c_str()) != 1)
    return TlsError("cannot use the certificate " + files.certificate);
  if (SSL_CTX_use_PrivateKey_file(context, files.key.c_str(), SSL_FILETYPE_PEM) != 1)
    return TlsError("cannot use the key " + files.key);
  if (SSL_CTX_check_private_key(context) != 1)
    return TlsError("key and certificate do not belong together: " + files.certificate);
  return {};
}

void ClearingFree(void* p, const char*, int) {
  if (p == nullptr) return;
  explicit_bzero(p, malloc_usable_size(p));
  std::free(p);
}
void* PlainMalloc(std::size_t n, const char*, int) { return std::malloc(n); }
void* ClearingRealloc(void* p, std::size_t n, const char*, int) {
  if (p == nullptr) return std::malloc(n);
  void* moved = std::malloc(n);
  if (moved == nullptr) return nullptr;
  const auto held = malloc_usable_size(p);
  std::memcpy(moved, p, held < n ? held : n);
  ClearingFree(p, nullptr, 0);
  return moved;
}

}  // namespace

void ForbidLingeringHeap() { (void)CRYPTO_set_mem_functions(PlainMalloc, ClearingRealloc, ClearingFree); }

Result<KeyLender> LendFromFile(const std::string& path) {
  const std::unique_ptr<BIO, Freer<BIO_free_all>> file(BIO_new_file(path.c_str(), "r"));
  const std::shared_ptr<EVP_PKEY> key(file ? PEM_read_bio_PrivateKey(file.get(), nullptr, nullptr, nullptr) : nullptr,
                                      EVP_PKEY_free);
  if (!key) return TlsError("cannot use the key " + path);
  return KeyLender([key]() -> Result<std::shared_ptr<EVP_PKEY>> { return key; });
}

Result<ServerChain> ServerChain::Read(const ServerTls& tls) {
  const std::unique_ptr<BIO, Freer<BIO_free_all>> file(BIO_new_file(tls.certificate.c_str(), "r"));
  ServerChain chain;
  chain.leaf_.reset(file ? PEM_read_bio_X509(file.get(), nullptr, nullptr, nullptr) : nullptr, X509_free);
  if (!chain.leaf_) return TlsError("cannot use the certificate " + tls.certificate);
  chain.chain_.reset(sk_X509_new_null(), [](STACK_OF(X509) * stack) { sk_X509_pop_free(stack, X509_free); });
  while (X509* more = PEM_read_bio_X509(file.get(), nullptr, nullptr, nullptr))
    if (sk_X509_push(chain.chain_.get(), more) <= 0) return TlsError("no memory for " + tls.certificate);
  ERR_clear_error();
  TRY_ASSIGN(const auto key, tls.key());
  if (X509_check_private_key(chain.leaf_.get(), key.get()) != 1)
    return TlsError("key and certificate do not belong together: " + tls.certificate);
  return chain;
}

Result<void> ServerChain::Use(SSL* ssl, EVP_PKEY* key) const {
  if (SSL_use_cert_and_key(ssl, leaf_.get(), key, chain_.get(), 1) != 1) return TlsError("the TLS key cannot be used");
  return {};
}

void ServerChain::Forget(SSL* ssl) { SSL_certs_clear(ssl); }

Result<void> ConfigureServerTls(SSL_CTX* context, const std::string& client_ca) {
  if (SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) != 1) return TlsError("TLS 1.3 is not available");
  if (SSL_CTX_load_verify_file(context, client_ca.c_str()) != 1)
    return TlsError("cannot use the client CA " + client_ca);
  SSL_CTX_set_client_CA_list(context, SSL_load_client_CA_file(client_ca.c_str()));
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  (void)SSL_CTX_set_num_tickets(context, 0);
  (void)SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  (void)SSL_CTX_set_max_early_data(context, 0);
  (void)SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
  return {};
}

Result<void> ConfigureClientTls(SSL_CTX* context, const TlsFiles& files) {
  if (SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) != 1) return TlsError("TLS 1.3 is not available");
  if (!files.certificate.empty()) TRY(UseIdentity(context, files));
  if (SSL_CTX_load_verify_file(context, files.ca.c_str()) != 1) return TlsError("cannot use the CA " + files.ca);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  return {};
}

Result<void> ExpectServerName(SSL* ssl, const std::string& host) {
  auto* parameters = SSL_get0_param(ssl);
  if (X509_VERIFY_PARAM_set1_ip_asc(parameters, host.c_str()) == 1) return {};
  ERR_clear_error();
  if (SSL_set1_host(ssl, host.c_str()) != 1 || SSL_set_tlsext_host_name(ssl, host.c_str()) != 1)
    return Invalid("'" + host + "' is not a host name");
  return {};
}

Result<crypto::Digest> PeerSpki(const SSL* ssl) {
  const std::unique_ptr<X509, decltype(&X509_free)> certificate(SSL_get1_peer_certificate(ssl), X509_free);
  if (!certificate) return Forbidden("a client certificate is required", "no-certificate");
  unsigned char* der = nullptr;
  const int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate.get()), &der);
  if (size <= 0) return Forbidden("the client certificate has no key", "no-certificate");
  const auto digest = crypto::SpkiDigest(ByteView(der, static_cast<std::size_t>(size)));
  OPENSSL_free(der);
  return digest;
}

}  // namespace strongroom::netapi
