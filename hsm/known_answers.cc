#include "hsm/known_answers.h"

#include <openssl/evp.h>

#include <memory>

namespace strongroom::hsm {
namespace {

constexpr std::size_t kTagBytes = 16;

Bytes OpenSslKwp(ByteView key, ByteView value) {
  const std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)> context(EVP_CIPHER_CTX_new(),
                                                                                EVP_CIPHER_CTX_free);
  EVP_CIPHER_CTX_set_flags(context.get(), EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
  Bytes out(value.size() + 16);
  int size = 0;
  if (EVP_EncryptInit_ex(context.get(), EVP_aes_256_wrap_pad(), nullptr, key.data(), nullptr) != 1 ||
      EVP_EncryptUpdate(context.get(), out.data(), &size, value.data(), static_cast<int>(value.size())) != 1)
    return {};
  out.resize(static_cast<std::size_t>(size));
  return out;
}

Bytes OpenSslGcm(ByteView key, ByteView iv, ByteView aad, ByteView value) {
  const std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)> context(EVP_CIPHER_CTX_new(),
                                                                                EVP_CIPHER_CTX_free);
  Bytes out(value.size() + kTagBytes);
  int size = 0;
  if (EVP_EncryptInit_ex(context.get(), EVP_aes_256_gcm(), nullptr, key.data(), iv.data()) != 1 ||
      EVP_EncryptUpdate(context.get(), nullptr, &size, aad.data(), static_cast<int>(aad.size())) != 1 ||
      EVP_EncryptUpdate(context.get(), out.data(), &size, value.data(), static_cast<int>(value.size())) != 1 ||
      EVP_EncryptFinal_ex(context.get(), out.data() + size, &size) != 1 ||
      EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_GET_TAG, kTagBytes, out.data() + value.size()) != 1)
    return {};
  return out;
}

}  // namespace

KnownAnswers MakeKnownAnswers() {
  KnownAnswers known;
  for (std::size_t i = 0; i < known.key.size(); ++i) known.key[i] = static_cast<std::uint8_t>(i * 7 + 1);
  for (std::size_t i = 0; i < known.value.size(); ++i) known.value[i] = static_cast<std::uint8_t>(i * 5 + 3);
  std::memcpy(known.iv.data(), known.value.data(), known.iv.size());
  known.kwp = OpenSslKwp(known.key, known.value);
  known.gcm = OpenSslGcm(known.key, known.iv, known.key, known.value);
  return known;
}

}  // namespace strongroom::hsm
