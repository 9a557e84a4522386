#include "provisioning/pki.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#include <filesystem>
#include <functional>

#include "crypto/base/freer.h"
#include "crypto/spki.h"

namespace strongroom::provisioning {
namespace {

using Pkey = std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Freer<X509_free>>;
using Bio = std::unique_ptr<BIO, Freer<BIO_free_all>>;

bool Exists(const std::string& path) { return std::filesystem::exists(path); }

// PEM files are written beside and renamed, so that one that is there is whole.
Result<void> WritePem(const std::string& path, mode_t mode, const std::function<int(BIO*)>& write) {
  const Bio memory(BIO_new(BIO_s_mem()));
  char* data = nullptr;
  if (write(memory.get()) != 1) return Io("cannot encode " + path);
  const auto size = BIO_get_mem_data(memory.get(), &data);
  const auto temporary = path + ".new";
  const int fd = open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
  const bool written = fd >= 0 && ::write(fd, data, static_cast<std::size_t>(size)) == size && fsync(fd) == 0;
  if (fd >= 0) (void)close(fd);
  std::error_code error;
  if (written) std::filesystem::rename(temporary, path, error);
  if (!written || error) return Io("cannot write " + path);
  return {};
}

Result<Certificate> ReadCertificate(const std::string& path) {
  const Bio file(BIO_new_file(path.c_str(), "r"));
  Certificate certificate(file ? PEM_read_bio_X509(file.get(), nullptr, nullptr, nullptr) : nullptr);
  if (!certificate) return Io("cannot read the certificate " + path);
  return certificate;
}

Result<void> AddExtension(X509* certificate, X509* issuer, int nid, const char* value) {
  X509V3_CTX context{};
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const std::unique_ptr<X509_EXTENSION, Freer<X509_EXTENSION_free>> extension(
      X509V3_EXT_conf_nid(nullptr, &context, nid, value));
  if (!extension || X509_add_ext(certificate, extension.get(), -1) != 1)
    return Io("cannot add a certificate extension");
  return {};
}

Result<Certificate> NewCertificate(const std::string& name, EVP_PKEY* key, long days) {
  Certificate certificate(X509_new());
  const std::unique_ptr<BIGNUM, Freer<BN_free>> serial(BN_new());
  auto* subject = X509_get_subject_name(certificate.get());
  if (BN_rand(serial.get(), 127, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) != 1 ||
      BN_to_ASN1_INTEGER(serial.get(), X509_get_serialNumber(certificate.get())) == nullptr ||
      X509_set_version(certificate.get(), 2) != 1 ||
      X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -300) == nullptr ||
      X509_gmtime_adj(X509_getm_notAfter(certificate.get()), days * 86400) == nullptr ||
      X509_set_pubkey(certificate.get(), key) != 1 ||
      X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(name.c_str()), -1,
                                 -1, 0) != 1)
    return Io("cannot make a certificate for " + name);
  return certificate;
}

Result<void> WriteKey(const std::string& path, EVP_PKEY* key) {
  return WritePem(path, 0600, [&](BIO* out) {
    return PEM_write_bio_PKCS8PrivateKey(out, key, nullptr, nullptr, 0, nullptr, nullptr);
  });
}
Result<void> WriteCertificate(const std::string& path, X509* certificate) {
  return WritePem(path, 0644, [&](BIO* out) { return PEM_write_bio_X509(out, certificate); });
}

}  // namespace

Result<void> EnsureCa(const std::string& certificate_path, const std::string& key_path) {
  if (Exists(certificate_path) && Exists(key_path)) return {};
  const Pkey key(EVP_EC_gen("P-256"));
  if (!key) return Io("cannot make a key");
  TRY_ASSIGN(const auto certificate, NewCertificate("strongroom dev CA", key.get(), 3650));
  if (X509_set_issuer_name(certificate.get(), X509_get_subject_name(certificate.get())) != 1)
    return Io("cannot make the CA");
  TRY(AddExtension(certificate.get(), certificate.get(), NID_basic_constraints, "critical,CA:TRUE,pathlen:0"));
  TRY(AddExtension(certificate.get(), certificate.get(), NID_key_usage, "critical,keyCertSign,cRLSign"));
  TRY(AddExtension(certificate.get(), certificate.get(), NID_subject_key_identifier, "hash"));
  if (X509_sign(certificate.get(), key.get(), EVP_sha256()) == 0) return Io("cannot sign the CA");
  TRY(WriteKey(key_path, key.get()));
  return WriteCertificate(certificate_path, certificate.get());
}

namespace {

Result<Certificate> Certify(const std::string& name, EVP_PKEY* key, const std::string& ca_certificate,
                            const std::string& ca_key, const char* usage, const char* names) {
  TRY_ASSIGN(const auto ca, ReadCertificate(ca_certificate));
  const Bio key_file(BIO_new_file(ca_key.c_str(), "r"));
  const Pkey signer(key_file ? PEM_read_bio_PrivateKey(key_file.get(), nullptr, nullptr, nullptr) : nullptr);
  if (!signer) return Io("cannot use the CA key " + ca_key);
  TRY_ASSIGN(auto certificate, NewCertificate(name, key, 825));
  if (X509_set_issuer_name(certificate.get(), X509_get_subject_name(ca.get())) != 1)
    return Io("cannot make a certificate");
  TRY(AddExtension(certificate.get(), ca.get(), NID_basic_constraints, "critical,CA:FALSE"));
  TRY(AddExtension(certificate.get(), ca.get(), NID_key_usage, "critical,digitalSignature"));
  TRY(AddExtension(certificate.get(), ca.get(), NID_ext_key_usage, usage));
  TRY(AddExtension(certificate.get(), ca.get(), NID_subject_key_identifier, "hash"));
  TRY(AddExtension(certificate.get(), ca.get(), NID_authority_key_identifier, "keyid"));
  if (names != nullptr) TRY(AddExtension(certificate.get(), ca.get(), NID_subject_alt_name, names));
  if (X509_sign(certificate.get(), signer.get(), EVP_sha256()) == 0) return Io("cannot sign a certificate");
  return certificate;
}

}  // namespace

Result<void> EnsureClientCertificate(const std::string& name, const std::string& certificate_path,
                                     const std::string& key_path, const std::string& ca_certificate,
                                     const std::string& ca_key) {
  if (Exists(certificate_path) && Exists(key_path)) return {};
  const Pkey key(EVP_EC_gen("P-256"));
  if (!key) return Io("cannot make a key");
  TRY_ASSIGN(const auto certificate, Certify(name, key.get(), ca_certificate, ca_key, "clientAuth", nullptr));
  TRY(WriteKey(key_path, key.get()));
  return WriteCertificate(certificate_path, certificate.get());
}

Result<void> EnsureServerCertificate(const std::string& public_key, const std::string& certificate_path,
                                     const std::string& ca_certificate, const std::string& ca_key) {
  const Bio text(BIO_new_mem_buf(public_key.data(), static_cast<int>(public_key.size())));
  const Pkey key(PEM_read_bio_PUBKEY(text.get(), nullptr, nullptr, nullptr));
  if (!key) return Invalid("the server's public key cannot be read");
  if (Exists(certificate_path)) {
    TRY_ASSIGN(const auto there, ReadCertificate(certificate_path));
    if (EVP_PKEY_eq(X509_get0_pubkey(there.get()), key.get()) == 1) return {};
  }
  TRY_ASSIGN(const auto certificate, Certify("localhost", key.get(), ca_certificate, ca_key, "serverAuth",
                                             "DNS:localhost,IP:127.0.0.1,IP:::1"));
  return WriteCertificate(certificate_path, certificate.get());
}

Result<crypto::Digest> CertificateSpki(const std::string& path) {
  TRY_ASSIGN(const auto certificate, ReadCertificate(path));
  unsigned char* der = nullptr;
  const int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate.get()), &der);
  if (size <= 0) return Io("the certificate " + path + " has no key");
  const auto digest = crypto::SpkiDigest(ByteView(der, static_cast<std::size_t>(size)));
  OPENSSL_free(der);
  return digest;
}

}  // namespace strongroom::provisioning
