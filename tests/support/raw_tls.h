#pragma once
// A TLS connection that sends whatever bytes a test wants, and takes HTTP answers apart.

#include <openssl/ssl.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "tests/support/dev_fixture.h"

namespace strongroom::tests {

/// FreePort is a port of the loopback that nobody listened on a moment ago, for programs that must be told one.
int FreePort();

struct RawAnswer {
  int status = 0;
  std::string head;  // status line and fields
  std::string body;
  /// Field returns a header field's value, empty when absent. `name` in lower case.
  std::string Field(const std::string& name) const;
};

/// RawTlsContext is a principal's certificate and the CA, read once for many connections.
class RawTlsContext {
 public:
  RawTlsContext(const DevFixture& f, const std::string& principal);
  SSL_CTX* get() const { return context_.get(); }
  int port() const { return port_; }

 private:
  std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context_;
  int port_;
};

class RawTls {
 public:
  explicit RawTls(const RawTlsContext& context);
  ~RawTls();
  RawTls(RawTls&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)),
        ssl_(std::move(other.ssl_)),
        buffered_(std::move(other.buffered_)),
        closed_(other.closed_) {}
  RawTls(const RawTls&) = delete;
  bool connected() const { return ssl_ != nullptr; }
  /// Send writes everything; false when the peer has closed.
  bool Send(const std::string& bytes);
  /// Read returns what comes until `until` is in it, the peer closes, or the time is over.
  std::string Read(const std::string& until, std::chrono::milliseconds bound = std::chrono::seconds(10));
  /// Answer reads one HTTP answer; nullopt when the peer closes first.
  std::optional<RawAnswer> Answer(std::chrono::milliseconds bound = std::chrono::seconds(10));
  /// Closed tells whether the peer closes within the bound, throwing away what comes before.
  bool Closed(std::chrono::milliseconds bound = std::chrono::seconds(10));

 private:
  bool Fill(std::chrono::steady_clock::time_point until);  // false: closed or time over
  int fd_ = -1;
  std::unique_ptr<SSL, decltype(&SSL_free)> ssl_{nullptr, &SSL_free};
  std::string buffered_;
  bool closed_ = false;
};

}  // namespace strongroom::tests
