#include "hsm/frame_bytes.h"

#include <algorithm>
#include <cstring>

namespace strongroom::hsm {

Frame& Frame::operator=(Frame&& other) noexcept {
  if (this == &other) return *this;
  Reset();
  place_ = other.place_;
  ok_ = std::exchange(other.ok_, true);
  locked_ = std::move(other.locked_);
  heap_ = std::move(other.heap_);
  data_ = std::exchange(other.data_, nullptr);
  size_ = std::exchange(other.size_, 0);
  capacity_ = std::exchange(other.capacity_, 0);
  return *this;
}

bool Frame::operator==(const Frame& other) const { return std::equal(begin(), end(), other.begin(), other.end()); }

void Frame::Reset() {
  locked_ = SecretBytes();
  heap_ = ScratchBytes();
  data_ = nullptr;
  size_ = capacity_ = 0;
}

bool Frame::Grow(std::size_t least) {
  if (!ok_) return false;
  const auto capacity = std::max({least, capacity_ * 2, std::size_t{256}});
  if (place_ == Place::kHeap) {
    heap_.resize(capacity);
    data_ = heap_.data();
    capacity_ = capacity;
    return true;
  }
  auto room = SecretBytes::Allocate(capacity);
  if (!room) {
    Reset();
    ok_ = false;
    return false;
  }
  if (size_ > 0) std::memcpy(room->Write(SecretAccess()).data(), data_, size_);
  locked_ = std::move(*room);
  data_ = locked_.Write(SecretAccess()).data();
  capacity_ = capacity;
  return true;
}

void Frame::reserve(std::size_t capacity) {
  if (capacity > capacity_) (void)Grow(capacity);
}

void Frame::insert(const std::uint8_t*, ByteView::iterator first, ByteView::iterator last) {
  const auto count = static_cast<std::size_t>(last - first);
  if (count == 0 || (size_ + count > capacity_ && !Grow(size_ + count))) return;
  std::memcpy(data_ + size_, &*first, count);
  size_ += count;
}

Result<std::span<std::uint8_t>> Frame::Resize(std::size_t size) {
  Reset();
  ok_ = true;
  if (size > 0 && !Grow(size)) return Overloaded("the secret arena is full");
  size_ = size;
  return std::span<std::uint8_t>(data_, size_);
}

}  // namespace strongroom::hsm
