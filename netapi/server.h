#pragma once
// The HTTPS front end. Coroutines that read, ask and write, and decide nothing.

#include <chrono>
#include <memory>
#include <string>

#include "crypto/base/result.h"
#include "netapi/api.h"
#include "netapi/tls.h"

namespace strongroom::netapi {

class Server {
 public:
  struct Options {
    std::string address;
    unsigned short port = 0;  // 0: the system picks
    unsigned io_threads = 2;
    ServerTls tls;
    unsigned handshake_threads = 2;
    std::size_t max_connections = 12000;
    std::chrono::milliseconds handshake_deadline{10000};
    std::chrono::milliseconds idle_deadline{60000};     // between requests, and for a request's headers
    std::chrono::milliseconds body_deadline{30000};     // for a body, and for a response to be taken
    std::chrono::milliseconds request_deadline{10000};  // how long a data-plane request may wait for the token
  };
  /// Start listens and serves in threads of its own. Fails with kIo (address in use, TLS files).
  static Result<std::unique_ptr<Server>> Start(Options options, Api& api);
  /// Stops as Stop does.
  ~Server();
  unsigned short port() const;
  /// Stop accepts nothing more, lets requests under way finish (at most 15 seconds), and closes.
  void Stop();

 private:
  class Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace strongroom::netapi
