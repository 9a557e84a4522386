#pragma once
// Local sockets that carry frames, with the peer's user checked on both sides.

#include <sys/types.h>

#include <string>
#include <utility>

#include "crypto/base/result.h"
#include "crypto/base/secret.h"
#include "hsm/frame_bytes.h"

namespace strongroom::hsm {

/// UniqueFd owns a file descriptor.
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  ~UniqueFd() { Reset(); }
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) {
      Reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  UniqueFd(const UniqueFd&) = delete;
  UniqueFd& operator=(const UniqueFd&) = delete;
  int get() const { return fd_; }
  int Release() { return std::exchange(fd_, -1); }
  explicit operator bool() const { return fd_ >= 0; }
  void Reset();

 private:
  int fd_ = -1;
};

/// ListenLocal binds a Unix stream socket at `path`, replacing a stale file there. The path is at most 107 bytes.
Result<UniqueFd> ListenLocal(const std::string& path);
/// ConnectLocal connects; kUnavailable when nobody listens, kForbidden when the listener is not `expected_uid`.
Result<UniqueFd> ConnectLocal(const std::string& path, uid_t expected_uid);
/// PeerUid tells the user behind a connected socket (SO_PEERCRED).
Result<uid_t> PeerUid(int fd);
/// SetIoTimeout bounds each read and write on a socket; a partial frame does not hold anyone longer.
void SetIoTimeout(int fd, int milliseconds);

/// SetSendTimeout bounds writes alone: a peer that does not read cannot hold its writer for ever.
void SetSendTimeout(int fd, int milliseconds);

/// WriteFrame sends a whole encoded frame; kUnavailable when the peer is gone.
Result<void> WriteFrame(int fd, ByteView frame);
/// ReadFrame reads one frame (without its length); kUnavailable at end of stream, kInvalid for a length over kMaxFrame,
/// or over kMaxExecuteFrame for one of operations. kOverloaded when such a one finds no room in the locked arena: it
/// was read and thrown away, `frame` is its first kFrameHead bytes, and the connection can go on. After any other
/// failure `frame` is empty: nothing of what came is kept.
Result<void> ReadFrame(int fd, Frame& frame);

}  // namespace strongroom::hsm
