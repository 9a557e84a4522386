#pragma once
// Big-endian, length-prefixed encoding: the one binary form of envelopes, ledger entries and token-host frames.

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "crypto/base/bytes.h"

namespace strongroom {

/// BasicWireWriter appends to a byte vector that it owns until Take().
template <class Buffer>
class BasicWireWriter {
 public:
  BasicWireWriter() = default;
  explicit BasicWireWriter(Buffer buffer) : out_(std::move(buffer)) {}
  void U8(std::uint8_t v) { out_.push_back(v); }
  void U16(std::uint16_t v) {
    U8(static_cast<std::uint8_t>(v >> 8));
    U8(static_cast<std::uint8_t>(v));
  }
  void U32(std::uint32_t v) {
    U16(static_cast<std::uint16_t>(v >> 16));
    U16(static_cast<std::uint16_t>(v));
  }
  void U64(std::uint64_t v) {
    U32(static_cast<std::uint32_t>(v >> 32));
    U32(static_cast<std::uint32_t>(v));
  }
  /// Raw appends without a length.
  void Raw(ByteView bytes) { out_.insert(out_.end(), bytes.begin(), bytes.end()); }
  /// Blob appends a 32-bit length and the bytes.
  void Blob(ByteView bytes) {
    U32(static_cast<std::uint32_t>(bytes.size()));
    Raw(bytes);
  }
  void Text(std::string_view text) { Blob(AsBytes(text)); }
  void Reserve(std::size_t n) { out_.reserve(n); }
  /// PatchU32 overwrites four bytes that are already there.
  void PatchU32(std::size_t at, std::uint32_t v) {
    for (std::size_t i = 0; i < 4; ++i) out_[at + i] = static_cast<std::uint8_t>(v >> (24 - 8 * i));
  }
  Buffer Take() && { return std::move(out_); }
  const Buffer& bytes() const { return out_; }

 private:
  Buffer out_;
};
using WireWriter = BasicWireWriter<Bytes>;

/// WireReader reads what WireWriter wrote. A read past the end, or a length that does not fit, makes it fail for good:
/// it then returns zeros and empty views, and `Complete()` is false. Views point into the bytes given to the
/// constructor.
class WireReader {
 public:
  explicit WireReader(ByteView bytes) : rest_(bytes) {}
  std::uint8_t U8();
  std::uint16_t U16();
  std::uint32_t U32();
  std::uint64_t U64();
  ByteView Raw(std::size_t n);
  ByteView Blob();
  std::string_view Text() { return AsText(Blob()); }
  template <std::size_t N>
  std::array<std::uint8_t, N> Array() {
    std::array<std::uint8_t, N> out{};
    const auto view = Raw(N);
    if (view.size() == N) std::memcpy(out.data(), view.data(), N);
    return out;
  }
  bool ok() const { return ok_; }
  std::size_t remaining() const { return rest_.size(); }
  void Fail() { ok_ = false; }
  /// Complete is true when every read succeeded and nothing is left over.
  bool Complete() const { return ok_ && rest_.empty(); }

 private:
  ByteView rest_;
  bool ok_ = true;
};

}  // namespace strongroom
