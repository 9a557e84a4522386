#pragma once
// Secret bytes: one locked arena for the process, zeroised on release, not printable, not copyable by accident.

#include <cstddef>
#include <cstdint>
#include <utility>

#include "crypto/base/bytes.h"
#include "crypto/base/result.h"

namespace strongroom {

/// OpenSecretArena reserves the process's locked arena: `bytes` (a power of two) of memory that is mlocked, excluded
/// from core dumps and fenced by guard pages (OpenSSL's secure heap). Call once, first thing in main; a second call
/// is a no-op. Fails with kIo when the pages cannot be locked: the process must not go on without.
Result<void> OpenSecretArena(std::size_t bytes);

/// ForbidCoreDumps sets RLIMIT_CORE to 0 and makes the process undumpable (K7). Fails with kIo.
Result<void> ForbidCoreDumps();

/// SecretAccess marks the places that read secret bytes; one grep for it lists them all.
struct SecretAccess {
  explicit SecretAccess() = default;
};

/// SecretBytes owns secret bytes in the locked arena and zeroises them when it goes. Move only. It has no stream
/// operator, no comparison and no text form. Not thread-safe; hand it over by move.
class SecretBytes {
 public:
  SecretBytes() = default;
  ~SecretBytes();
  SecretBytes(SecretBytes&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  SecretBytes& operator=(SecretBytes&& other) noexcept;
  SecretBytes(const SecretBytes&) = delete;
  SecretBytes& operator=(const SecretBytes&) = delete;

  /// Allocate returns `size` zero bytes; kOverloaded when the arena is full (nothing is lost: ask again later).
  static Result<SecretBytes> Allocate(std::size_t size);
  /// CopyOf copies; the source's own clean-up is the caller's duty.
  static Result<SecretBytes> CopyOf(ByteView source);

  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  ByteView Read(SecretAccess) const { return {data_, size_}; }
  std::span<std::uint8_t> Write(SecretAccess) { return {data_, size_}; }
  /// Shrink forgets (and zeroises) all but the first `size` bytes.
  void Shrink(std::size_t size);

 private:
  std::uint8_t* data_ = nullptr;
  std::size_t size_ = 0;
};

/// EqualConstantTime compares without leaking where the difference is. Sizes are no secret.
bool EqualConstantTime(ByteView a, ByteView b);
/// Zeroise overwrites memory in a way that the compiler keeps.
void Zeroise(void* data, std::size_t size);

/// ZeroisingAllocator clears memory before it returns it to the heap; for buffers that secrets pass through.
template <class T>
struct ZeroisingAllocator {
  using value_type = T;
  ZeroisingAllocator() = default;
  template <class U>
  ZeroisingAllocator(const ZeroisingAllocator<U>&) {}
  T* allocate(std::size_t n) { return static_cast<T*>(::operator new(n * sizeof(T))); }
  void deallocate(T* p, std::size_t n) {
    Zeroise(p, n * sizeof(T));
    ::operator delete(p);
  }
  template <class U>
  bool operator==(const ZeroisingAllocator<U>&) const {
    return true;
  }
};
/// ScratchBytes is a growable buffer for bytes that may hold secrets in transit (frames, bodies). Zeroised on release.
using ScratchBytes = std::vector<std::uint8_t, ZeroisingAllocator<std::uint8_t>>;

}  // namespace strongroom
