#include "hsm/payload.h"

#include "crypto/envelope.h"

namespace strongroom::hsm {
namespace {
constexpr std::size_t kRandom = 16;
constexpr std::size_t kDigest = 32;
constexpr std::size_t Padded(std::size_t n) { return (n + 7) / 8 * 8; }
}  // namespace

Result<SecretBytes> BuildPayload(ByteView dek, const crypto::Digest& context,
                                 const std::array<std::uint8_t, 16>& random) {
  if (dek.size() < crypto::kMinDekBytes || dek.size() > crypto::kMaxDekBytes)
    return Invalid("a DEK is 16 to 512 bytes");
  const auto head = Padded(2 + dek.size());
  TRY_ASSIGN(auto payload, SecretBytes::Allocate(head + kRandom + kDigest));
  auto out = payload.Write(SecretAccess());
  out[0] = static_cast<std::uint8_t>(dek.size() >> 8);
  out[1] = static_cast<std::uint8_t>(dek.size());
  std::memcpy(&out[2], dek.data(), dek.size());
  std::memcpy(&out[head], random.data(), kRandom);
  std::memcpy(&out[head + kRandom], context.data(), kDigest);
  return payload;
}

Result<OpenedPayload> OpenPayload(ByteView payload) {
  if (payload.size() < Padded(2 + crypto::kMinDekBytes) + kRandom + kDigest) return UnwrapFailed();
  const std::size_t size = static_cast<std::size_t>(payload[0]) << 8 | payload[1];
  if (size < crypto::kMinDekBytes || size > crypto::kMaxDekBytes) return UnwrapFailed();
  const auto head = Padded(2 + size);
  if (payload.size() != head + kRandom + kDigest) return UnwrapFailed();
  std::uint8_t odd = 0;
  for (std::size_t i = 2 + size; i < head; ++i) odd |= payload[i];
  if (odd != 0) return UnwrapFailed();
  OpenedPayload opened;
  TRY_ASSIGN(opened.dek, SecretBytes::CopyOf(payload.subspan(2, size)));
  std::memcpy(opened.context.data(), &payload[head + kRandom], kDigest);
  return opened;
}

}  // namespace strongroom::hsm
