#include "tests/support/raw_tls.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>

namespace strongroom::tests {

int FreePort() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  EXPECT_EQ(bind(fd, reinterpret_cast<const sockaddr*>(&address), size), 0);
  EXPECT_EQ(getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size), 0);
  (void)close(fd);
  return ntohs(address.sin_port);
}

std::string RawAnswer::Field(const std::string& name) const {
  std::string lower = head;
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
  const auto at = lower.find("\r\n" + name + ": ");
  if (at == std::string::npos) return {};
  const auto from = at + name.size() + 4;
  return head.substr(from, head.find("\r\n", from) - from);
}

RawTlsContext::RawTlsContext(const DevFixture& f, const std::string& principal)
    : context_(SSL_CTX_new(TLS_client_method()), &SSL_CTX_free),
      port_(std::stoi(f.Url().substr(f.Url().rfind(':') + 1))) {
  const auto stem = f.Path("clients/" + principal);
  EXPECT_EQ(SSL_CTX_use_certificate_file(get(), (stem + ".pem").c_str(), SSL_FILETYPE_PEM), 1);
  EXPECT_EQ(SSL_CTX_use_PrivateKey_file(get(), (stem + ".key").c_str(), SSL_FILETYPE_PEM), 1);
  EXPECT_EQ(SSL_CTX_load_verify_locations(get(), f.Path("ca.pem").c_str(), nullptr), 1);
  SSL_CTX_set_verify(get(), SSL_VERIFY_PEER, nullptr);
  SSL_CTX_set_mode(get(), SSL_MODE_RELEASE_BUFFERS);
}

RawTls::RawTls(const RawTlsContext& context) : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(context.port()));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int one = 1;
  (void)setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (fd_ < 0 || connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) return;
  ssl_.reset(SSL_new(context.get()));
  (void)SSL_set_fd(ssl_.get(), fd_);
  if (SSL_connect(ssl_.get()) != 1) ssl_.reset();
}

RawTls::~RawTls() {
  ssl_.reset();
  if (fd_ >= 0) (void)close(fd_);
}

bool RawTls::Send(const std::string& bytes) {
  std::size_t sent = 0;
  while (ssl_ && sent < bytes.size()) {
    const int n = SSL_write(ssl_.get(), bytes.data() + sent, static_cast<int>(bytes.size() - sent));
    if (n <= 0) return false;
    sent += static_cast<std::size_t>(n);
  }
  return ssl_ != nullptr;
}

bool RawTls::Fill(std::chrono::steady_clock::time_point until) {
  if (closed_ || !ssl_) return false;
  while (SSL_pending(ssl_.get()) == 0) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
    pollfd ready{fd_, POLLIN, 0};
    if (left.count() <= 0 || poll(&ready, 1, static_cast<int>(left.count())) <= 0) return false;
    break;
  }
  std::array<char, 16384> buffer{};
  const int n = SSL_read(ssl_.get(), buffer.data(), buffer.size());
  if (n <= 0) {
    closed_ = true;
    return false;
  }
  buffered_.append(buffer.data(), static_cast<std::size_t>(n));
  return true;
}

std::string RawTls::Read(const std::string& until, std::chrono::milliseconds bound) {
  const auto end = std::chrono::steady_clock::now() + bound;
  while (buffered_.find(until) == std::string::npos && Fill(end)) {
  }
  const auto at = buffered_.find(until);
  const auto size = at == std::string::npos ? buffered_.size() : at + until.size();
  auto out = buffered_.substr(0, size);
  buffered_.erase(0, size);
  return out;
}

std::optional<RawAnswer> RawTls::Answer(std::chrono::milliseconds bound) {
  const auto end = std::chrono::steady_clock::now() + bound;
  RawAnswer answer;
  answer.head = Read("\r\n\r\n", bound);
  if (!answer.head.starts_with("HTTP/1.1 ") || !answer.head.ends_with("\r\n\r\n")) return std::nullopt;
  answer.status = std::stoi(answer.head.substr(9, 3));
  const auto length = answer.Field("content-length");
  const auto size = length.empty() ? 0 : std::stoul(length);
  while (buffered_.size() < size && Fill(end)) {
  }
  answer.body = buffered_.substr(0, size);
  buffered_.erase(0, size);
  return answer;
}

bool RawTls::Closed(std::chrono::milliseconds bound) {
  const auto end = std::chrono::steady_clock::now() + bound;
  while (Fill(end)) buffered_.clear();
  return closed_;
}

}  // namespace strongroom::tests
