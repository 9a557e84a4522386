#pragma once
// The bytes of one frame, and where they lie.

#include "crypto/base/result.h"
#include "crypto/base/secret.h"

namespace strongroom::hsm {

/// Frame is a growable buffer: in the locked arena for a frame that may carry DEKs (K7), on the heap for the others.
/// Zeroised when it goes. The arena is bounded: what finds no room in it leaves the frame empty and `ok()` false, and
/// is never kept elsewhere.
class Frame {
 public:
  enum class Place : std::uint8_t { kHeap, kLocked };
  Frame() = default;  // on the heap
  explicit Frame(Place place) : place_(place) {}
  Frame(Frame&& other) noexcept { *this = std::move(other); }
  Frame& operator=(Frame&& other) noexcept;
  Frame(const Frame&) = delete;
  Frame& operator=(const Frame&) = delete;

  bool ok() const { return ok_; }
  Place place() const { return place_; }
  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  ByteView bytes() const { return {data_, size_}; }
  operator ByteView() const { return bytes(); }  // NOLINT(google-explicit-constructor): a frame is its bytes
  const std::uint8_t* data() const { return data_; }
  const std::uint8_t* begin() const { return data_; }
  const std::uint8_t* end() const { return data_ + size_; }
  bool operator==(const Frame& other) const;
  std::uint8_t operator[](std::size_t at) const { return at < size_ ? data_[at] : std::uint8_t{0}; }

  // What BasicWireWriter asks of a buffer. Appending is to the end.
  std::uint8_t& operator[](std::size_t at) { return at < size_ ? data_[at] : nowhere_; }
  void reserve(std::size_t capacity);  // NOLINT(readability-identifier-naming)
  void push_back(std::uint8_t byte) {  // NOLINT(readability-identifier-naming)
    if (size_ == capacity_ && !Grow(size_ + 1)) return;
    data_[size_++] = byte;
  }
  void insert(const std::uint8_t*, ByteView::iterator first, ByteView::iterator last);  // NOLINT

  /// Resize makes room for `size` bytes, all zero, for somebody to read into; kOverloaded when the arena is full.
  Result<std::span<std::uint8_t>> Resize(std::size_t size);
  /// Reset zeroises and gives the room back.
  void Reset();

 private:
  bool Grow(std::size_t least);
  Place place_ = Place::kHeap;
  bool ok_ = true;
  SecretBytes locked_;
  ScratchBytes heap_;
  std::uint8_t* data_ = nullptr;  // into one of the two
  std::size_t size_ = 0, capacity_ = 0;
  std::uint8_t nowhere_ = 0;
};

}  // namespace strongroom::hsm
