#pragma once
// TLS handshakes on threads of their own: a signature by a token blocks, and nobody who has a connection waits for it.

#include <openssl/ssl.h>

#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <chrono>
#include <functional>
#include <list>
#include <memory>
#include <thread>
#include <vector>

#include "crypto/base/freer.h"
#include "netapi/tls.h"

namespace strongroom::netapi {

using SslPtr = std::unique_ptr<SSL, Freer<SSL_free>>;

class Handshakes {
 public:
  using Socket = boost::asio::ip::tcp::socket;
  /// Done gets a socket's descriptor, which is then its, and the connection's SSL without a BIO; both -1 and null when
  /// the handshake failed or took too long. Called on a thread of the handshakes: it must not block.
  using Done = std::function<void(int fd, SslPtr ssl)>;
  struct Options {
    unsigned threads = 2;
    std::chrono::milliseconds deadline{10000};
    // How many may be under way at once. When they are, whoever has taken longer than `patience` makes room.
    std::size_t most = 2048;
    std::chrono::milliseconds patience{1000};
  };
  /// `context` and `tls` must outlive the object.
  Handshakes(SSL_CTX* context, const ServerTls& tls, ServerChain chain, Options options);
  /// Stops as Stop does.
  ~Handshakes();
  /// Begin takes a connected socket's descriptor over. Thread-safe.
  void Begin(boost::asio::ip::tcp protocol, int fd, Done done);
  /// Crowded tells whether as many are under way as may be; those that have lost their patience are then broken off, so
  /// that connections which say nothing keep nobody out for long. Ask again in a few milliseconds. Thread-safe.
  bool Crowded();
  /// Stop breaks off what is under way and joins the threads; every Done has been called then, but for a thread that
  /// hangs in the key's module for three seconds more: that one is left. Nobody may call Begin any more.
  void Stop();

 private:
  struct Loop;
  boost::asio::awaitable<void> Shake(Loop& loop, std::shared_ptr<Socket> socket, Done done);
  boost::asio::awaitable<SslPtr> Agree(Loop& loop, std::shared_ptr<Socket> socket);
  enum class Step { kDone, kWantsRead, kWantsWrite, kFailed };
  Step Advance(SSL* ssl) const;

  SSL_CTX* const context_;
  const ServerTls& tls_;
  const ServerChain chain_;
  const Options options_;
  std::vector<std::unique_ptr<Loop>> loops_;
  std::atomic<std::size_t> next_{0};
  // Held by each handshake, too: one that hangs in the key's module may end after this object.
  const std::shared_ptr<std::atomic<std::size_t>> under_way_ = std::make_shared<std::atomic<std::size_t>>(0);
  std::atomic<bool> stopping_{false};
};

}  // namespace strongroom::netapi
