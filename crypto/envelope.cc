#include "crypto/envelope.h"

#include "crypto/base/wire.h"

namespace strongroom::crypto {
namespace {
constexpr std::string_view kPrefix = "srw1:";
constexpr std::uint8_t kEnvelopeFormat = 1;
}  // namespace

std::string_view ToString(Suite suite) { return suite == Suite::kKwp ? "kwp" : "gcm"; }

std::optional<Suite> SuiteFromString(std::string_view text) {
  if (text == "kwp") return Suite::kKwp;
  if (text == "gcm") return Suite::kGcm;
  return std::nullopt;
}

std::string FormatEnvelope(const Envelope& envelope) {
  WireWriter out;
  out.U8(kEnvelopeFormat);
  out.U8(static_cast<std::uint8_t>(envelope.suite));
  out.Raw(envelope.instance);
  out.Raw(envelope.keyring);
  out.U32(envelope.version);
  out.Raw(envelope.kek);
  out.U16(static_cast<std::uint16_t>(envelope.blob.size()));
  out.Raw(envelope.blob);
  return std::string(kPrefix) + EncodeBase64(out.bytes(), Base64::kUrlUnpadded);
}

Result<Envelope> ParseEnvelope(std::string_view text) {
  if (text.size() > kMaxEnvelopeText || !text.starts_with(kPrefix)) return UnwrapFailed();
  const auto bytes = DecodeBase64(text.substr(kPrefix.size()), Base64::kUrlUnpadded);
  if (!bytes) return UnwrapFailed();
  WireReader in(*bytes);
  Envelope envelope;
  const auto format = in.U8();
  const auto suite = in.U8();
  envelope.suite = static_cast<Suite>(suite);
  envelope.instance = in.Array<16>();
  envelope.keyring = in.Array<16>();
  envelope.version = in.U32();
  envelope.kek = in.Array<20>();
  const auto blob = in.Raw(in.U16());
  envelope.blob.assign(blob.begin(), blob.end());
  if (!in.Complete() || format != kEnvelopeFormat || suite < 1 || suite > 2) return UnwrapFailed();
  return envelope;
}

Digest ContextDigest(const InstanceId& instance, const KeyringId& keyring, ByteView aad) {
  WireWriter context;
  context.Text("strongroom/srw1");
  context.Blob(instance);
  context.Blob(keyring);
  context.Blob(aad);
  return Sha256(context.bytes());
}

}  // namespace strongroom::crypto
