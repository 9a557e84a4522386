#include "tests/bench/load.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <vector>

#include "tests/support/raw_tls.h"

namespace strongroom::tests {
namespace {

using Steady = std::chrono::steady_clock;

[[noreturn]] void Die(const std::string& what) {
  std::cerr << "bench: " << what << "\n";
  std::abort();
}

sockaddr_in Loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

// One connection, its handshake done blocking, then non-blocking.
class Line {
 public:
  explicit Line(const RawTlsContext& context) : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const auto address = Loopback(context.port());
    const int one = 1;
    (void)setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) Die("no connection");
    ssl_.reset(SSL_new(context.get()));
    (void)SSL_set_fd(ssl_.get(), fd_);
    if (SSL_connect(ssl_.get()) != 1) Die("no TLS");
    (void)fcntl(fd_, F_SETFL, O_NONBLOCK);
  }
  ~Line() {
    ssl_.reset();
    (void)close(fd_);
  }
  Line(const Line&) = delete;
  Line& operator=(const Line&) = delete;
  int fd() const { return fd_; }

  void Ask(const std::string& request) {
    // A request is far smaller than the socket's buffer, and the one before was answered: it goes at once.
    if (SSL_write(ssl_.get(), request.data(), static_cast<int>(request.size())) <= 0) Die("the connection broke");
  }
  // True when the answer is whole.
  bool Read() {
    while (true) {
      if (at_ == buffer_.size()) buffer_.resize(buffer_.size() * 2);
      const int n = SSL_read(ssl_.get(), buffer_.data() + at_, static_cast<int>(buffer_.size() - at_));
      if (n <= 0) {
        if (SSL_get_error(ssl_.get(), n) == SSL_ERROR_WANT_READ) return false;
        Die("the connection was closed");
      }
      at_ += static_cast<std::size_t>(n);
      const std::string_view text(buffer_.data(), at_);
      const auto end = text.find("\r\n\r\n");
      if (end == std::string_view::npos) continue;
      if (!text.starts_with("HTTP/1.1 200 ")) Die(std::string(text));
      const auto length = text.find("Content-Length: ");
      if (length == std::string_view::npos || length > end) Die("an answer without its length");
      const auto size = std::strtoul(buffer_.data() + length + 16, nullptr, 10);
      if (at_ < end + 4 + size) continue;
      at_ = 0;
      return true;
    }
  }

 private:
  int fd_;
  std::unique_ptr<SSL, decltype(&SSL_free)> ssl_{nullptr, &SSL_free};
  std::vector<char> buffer_ = std::vector<char>(16384);
  std::size_t at_ = 0;
};

}  // namespace

double Load(const DevFixture& f, const std::string& principal, unsigned connections, const std::string& method,
            const std::string& target, const std::string& body, std::chrono::milliseconds slice) {
  const RawTlsContext context(f, principal);
  std::string request = method + " " + target + " HTTP/1.1\r\nHost: localhost\r\n";
  if (!body.empty())
    request += "Content-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) + "\r\n";
  request += "\r\n" + body;
  const int poller = epoll_create1(EPOLL_CLOEXEC);
  std::vector<std::unique_ptr<Line>> lines;
  for (unsigned i = 0; i < connections; ++i) {
    lines.push_back(std::make_unique<Line>(context));
    epoll_event event{EPOLLIN, {.ptr = lines.back().get()}};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, lines.back()->fd(), &event) != 0) Die("epoll");
  }
  const auto begin = Steady::now();
  for (auto& line : lines) line->Ask(request);
  long done = 0;
  std::array<epoll_event, 256> ready{};
  for (std::size_t under_way = lines.size(); under_way > 0;) {
    const int count = epoll_wait(poller, ready.data(), ready.size(), 10'000);
    if (count <= 0) Die("no answer within ten seconds");
    const bool over = Steady::now() - begin >= slice;
    for (int i = 0; i < count; ++i) {
      auto& line = *static_cast<Line*>(ready[static_cast<std::size_t>(i)].data.ptr);
      if (!line.Read()) continue;
      ++done;
      if (over)
        --under_way;
      else
        line.Ask(request);
    }
  }
  const auto took = std::chrono::duration<double>(Steady::now() - begin).count();
  (void)close(poller);
  return static_cast<double>(done) / took;
}

PlainHttp::PlainHttp(int port) : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  const auto address = Loopback(port);
  if (connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) Die("no connection");
}

PlainHttp::~PlainHttp() { (void)close(fd_); }

int PlainHttp::Post(const std::string& target, const std::string& fields, const std::string& body) {
  const auto request = "POST " + target + " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" +
                       fields + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  if (send(fd_, request.data(), request.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(request.size()))
    Die("the connection broke");
  std::string text;
  std::array<char, 8192> buffer{};
  while (true) {
    const auto n = recv(fd_, buffer.data(), buffer.size(), 0);
    if (n <= 0) Die("the connection was closed");
    text.append(buffer.data(), static_cast<std::size_t>(n));
    const auto end = text.find("\r\n\r\n");
    if (end == std::string::npos) continue;
    const auto length = text.find("Content-Length: ");
    if (length == std::string::npos || length > end) Die("an answer without its length");
    if (text.size() >= end + 4 + std::strtoul(text.data() + length + 16, nullptr, 10))
      return std::stoi(text.substr(9, 3));
  }
}

}  // namespace strongroom::tests
