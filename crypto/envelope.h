#pragma once
// The wrapped DEK's text form. The format is crypto/ENVELOPE.md.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "crypto/base/bytes.h"
#include "crypto/base/result.h"
#include "crypto/digest.h"

namespace strongroom::crypto {

/// Suite is how a version wraps; recorded per version, fixed for its life.
enum class Suite : std::uint8_t { kKwp = 1, kGcm = 2 };
std::string_view ToString(Suite suite);
std::optional<Suite> SuiteFromString(std::string_view text);

inline constexpr std::size_t kMinDekBytes = 16;
inline constexpr std::size_t kMaxDekBytes = 512;
inline constexpr std::size_t kMaxAadBytes = 4096;
/// Longest text that ParseEnvelope looks at; no DEK of 512 bytes comes near it.
inline constexpr std::size_t kMaxEnvelopeText = 1200;

struct Envelope {
  Suite suite = Suite::kKwp;
  InstanceId instance{};
  KeyringId keyring{};
  std::uint32_t version = 0;
  KeyId kek{};
  Bytes blob;
  bool operator==(const Envelope&) const = default;
};

/// FormatEnvelope renders the one text of an envelope.
std::string FormatEnvelope(const Envelope& envelope);
/// ParseEnvelope reads exactly what FormatEnvelope renders. Any other text: kUnwrapFailed, without saying why (K5).
Result<Envelope> ParseEnvelope(std::string_view text);

/// ContextDigest binds a wrapped DEK to format, instance, keyring and AAD (K4). Empty AAD is the same as none.
Digest ContextDigest(const InstanceId& instance, const KeyringId& keyring, ByteView aad);

}  // namespace strongroom::crypto
