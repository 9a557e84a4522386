#include "crypto/base/wire.h"

namespace strongroom {

ByteView WireReader::Raw(std::size_t n) {
  if (!ok_ || n > rest_.size()) {
    ok_ = false;
    return {};
  }
  const auto view = rest_.first(n);
  rest_ = rest_.subspan(n);
  return view;
}
std::uint8_t WireReader::U8() {
  const auto b = Raw(1);
  return b.empty() ? 0 : b[0];
}
std::uint16_t WireReader::U16() {
  const auto high = U8();
  return static_cast<std::uint16_t>(high << 8 | U8());
}
std::uint32_t WireReader::U32() {
  const std::uint32_t high = U16();
  return high << 16 | U16();
}
std::uint64_t WireReader::U64() {
  const std::uint64_t high = U32();
  return high << 32 | U32();
}
ByteView WireReader::Blob() {
  const auto n = U32();
  return Raw(n);
}

}  // namespace strongroom
