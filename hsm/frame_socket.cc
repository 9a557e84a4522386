#include "hsm/frame_socket.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "hsm/frame.h"

namespace strongroom::hsm {
namespace {

Result<sockaddr_un> AddressOf(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path)
    return Invalid("socket path '" + path + "' is empty or longer than 107 bytes: use a shorter directory");
  std::memcpy(static_cast<void*>(address.sun_path), path.data(), path.size());
  return address;
}

std::string LastError() { return std::generic_category().message(errno); }

Result<void> ReadAll(int fd, std::span<std::uint8_t> out) {
  while (!out.empty()) {
    const auto n = recv(fd, out.data(), out.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return Unavailable("the token side closed the connection");
    out = out.subspan(static_cast<std::size_t>(n));
  }
  return {};
}

// Reads what there is no room for, so that what comes after it is a frame again.
Result<void> Discard(int fd, std::size_t size) {
  std::array<std::uint8_t, 4096> scrap{};
  auto read = Result<void>();
  while (size > 0 && read) {
    const auto part = std::span(scrap).first(std::min(size, scrap.size()));
    read = ReadAll(fd, part);
    size -= part.size();
  }
  Zeroise(scrap.data(), scrap.size());
  return read;
}

}  // namespace

void UniqueFd::Reset() {
  if (fd_ >= 0) (void)close(std::exchange(fd_, -1));
}

Result<UniqueFd> ListenLocal(const std::string& path) {
  TRY_ASSIGN(const auto address, AddressOf(path));
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return Io("no socket: " + LastError());
  (void)unlink(path.c_str());
  // The directory's mode guards the socket; the peer's user is checked at each accept.
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      chmod(path.c_str(), 0666) != 0 || listen(fd.get(), 64) != 0)
    return Io("cannot listen on " + path + ": " + LastError());
  return fd;
}

Result<UniqueFd> ConnectLocal(const std::string& path, uid_t expected_uid) {
  TRY_ASSIGN(const auto address, AddressOf(path));
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return Io("no socket: " + LastError());
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return Unavailable("no token side at " + path + ": " + LastError());
  TRY_ASSIGN(const auto uid, PeerUid(fd.get()));
  if (uid != expected_uid)
    return Forbidden("the token side at " + path + " runs as another user than configured", "peer-refused");
  return fd;
}

Result<uid_t> PeerUid(int fd) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
    return Io("cannot tell the peer's user: " + LastError());
  return peer.uid;
}

void SetSendTimeout(int fd, int milliseconds) {
  const timeval bound{milliseconds / 1000, (milliseconds % 1000) * 1000};
  (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &bound, sizeof bound);
}

void SetIoTimeout(int fd, int milliseconds) {
  const timeval bound{milliseconds / 1000, (milliseconds % 1000) * 1000};
  (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &bound, sizeof bound);
  SetSendTimeout(fd, milliseconds);
}

Result<void> WriteFrame(int fd, ByteView frame) {
  while (!frame.empty()) {
    const auto n = send(fd, frame.data(), frame.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return Unavailable("the token side closed the connection");
    frame = frame.subspan(static_cast<std::size_t>(n));
  }
  return {};
}

Result<void> ReadFrame(int fd, Frame& frame) {
  frame = Frame();
  std::array<std::uint8_t, 4> length{};
  TRY(ReadAll(fd, length));
  const std::size_t size = static_cast<std::size_t>(length[0]) << 24 | static_cast<std::size_t>(length[1]) << 16 |
                           static_cast<std::size_t>(length[2]) << 8 | length[3];
  if (size == 0 || size > kMaxFrame) return Invalid("a frame of " + std::to_string(size) + " bytes");
  // Where the rest is to lie is told by the first bytes, in which there is no secret.
  std::array<std::uint8_t, kFrameHead> start{};
  const auto head = std::span(start).first(std::min(size, start.size()));
  TRY(ReadAll(fd, head));
  const bool operations = IsOfOperations(head);
  if (operations && size > kMaxExecuteFrame) return Invalid("a frame of " + std::to_string(size) + " bytes");
  Frame read(operations ? Frame::Place::kLocked : Frame::Place::kHeap);
  auto room = read.Resize(size);
  if (!room) {
    TRY(Discard(fd, size - head.size()));
    frame.insert(nullptr, ByteView(head).begin(), ByteView(head).end());
    return std::move(room).error();
  }
  std::copy(head.begin(), head.end(), room->begin());
  TRY(ReadAll(fd, room->subspan(head.size())));
  frame = std::move(read);
  return {};
}

}  // namespace strongroom::hsm
