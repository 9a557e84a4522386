#pragma once
// The load generator: one thread that keeps many connections busy, each with one request at a time.

#include <chrono>
#include <string>

#include "tests/support/dev_fixture.h"

namespace strongroom::tests {

/// Load keeps `connections` kept-alive connections of a principal busy with one request over and over for about
/// `slice`; each connection waits for its answer before it asks again. Returns requests a second, answered with 200.
/// Anything else ends the process: a figure over errors would be none. One thread, non-blocking sockets, epoll: it
/// takes as little as it can of the processors that it shares with what it measures.
double Load(const DevFixture& f, const std::string& principal, unsigned connections, const std::string& method,
            const std::string& target, const std::string& body, std::chrono::milliseconds slice);

/// PlainHttp is one kept-alive connection without TLS, blocking; one thread.
class PlainHttp {
 public:
  explicit PlainHttp(int port);
  ~PlainHttp();
  PlainHttp(const PlainHttp&) = delete;
  PlainHttp& operator=(const PlainHttp&) = delete;
  /// Post returns the answer's status; ends the process when there is none.
  int Post(const std::string& target, const std::string& fields, const std::string& body);

 private:
  int fd_;
};

}  // namespace strongroom::tests
