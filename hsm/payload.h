#pragma once
// The payload that suite kwp wraps (K4; layout in crypto/ENVELOPE.md). Pure, constant time in what is secret.

#include "crypto/base/result.h"
#include "crypto/base/secret.h"
#include "crypto/digest.h"

namespace strongroom::hsm {

/// BuildPayload lays out length, DEK, zeros, 16 random bytes and the context digest: a multiple of 8 bytes.
Result<SecretBytes> BuildPayload(ByteView dek, const crypto::Digest& context,
                                 const std::array<std::uint8_t, 16>& random);

/// OpenedPayload is a DEK and the context digest that came with it.
struct OpenedPayload {
  SecretBytes dek;
  crypto::Digest context{};
};
/// OpenPayload checks the layout; anything odd is kUnwrapFailed. The caller compares the context.
Result<OpenedPayload> OpenPayload(ByteView payload);

}  // namespace strongroom::hsm
