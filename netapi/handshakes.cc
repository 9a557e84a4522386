#include "netapi/handshakes.h"

#include <openssl/err.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <future>

namespace strongroom::netapi {

namespace net = boost::asio;
using ErrorCode = boost::system::error_code;
constexpr auto kHangs = std::chrono::seconds(3);

struct Handshakes::Loop {
  net::io_context context{1};
  net::executor_work_guard<net::io_context::executor_type> guard{net::make_work_guard(context)};
  struct UnderWay {
    Socket* socket;
    std::chrono::steady_clock::time_point begun;
  };
  std::atomic<bool> clearing{false};
  std::list<UnderWay> under_way;  // oldest first; of this loop's thread alone
  std::promise<void> end;
  std::future<void> ended = end.get_future();
  std::thread thread;
};

Handshakes::Handshakes(SSL_CTX* context, const ServerTls& tls, ServerChain chain, Options options)
    : context_(context), tls_(tls), chain_(std::move(chain)), options_(options) {
  for (unsigned i = 0; i < options_.threads; ++i) {
    loops_.push_back(std::make_unique<Loop>());
    loops_.back()->thread = std::thread([&loop = *loops_.back()] {
      loop.context.run();
      loop.end.set_value();
    });
  }
}

Handshakes::~Handshakes() { Stop(); }

void Handshakes::Stop() {
  if (stopping_.exchange(true)) return;
  for (auto& loop : loops_) {
    net::post(loop->context, [&loop = *loop] {
      for (const auto& each : loop.under_way) each.socket->cancel();
      loop.guard.reset();  // what was broken off ends by itself, and then the loop
    });
  }
  for (auto& loop : loops_) {
    if (loop->ended.wait_for(kHangs) == std::future_status::ready) {
      loop->thread.join();
      continue;
    }
    spdlog::critical("a handshake hangs in the key's module and is left behind");
    loop->thread.detach();
    (void)loop.release();
  }
}

void Handshakes::Begin(net::ip::tcp protocol, int fd, Done done) {
  auto& loop = *loops_[next_++ % loops_.size()];
  ++*under_way_;
  auto ended = [under_way = under_way_, done = std::move(done)](int shaken, SslPtr ssl) {
    --*under_way;
    done(shaken, std::move(ssl));
  };
  net::post(loop.context, [this, &loop, protocol, fd, done = std::move(ended)]() mutable {
    const auto socket = std::make_shared<Socket>(loop.context);
    ErrorCode ec;
    (void)socket->assign(protocol, fd, ec);
    if (ec) (void)close(fd);
    if (!ec) (void)socket->native_non_blocking(true, ec);
    if (ec || stopping_) return done(-1, nullptr);
    net::co_spawn(loop.context, Shake(loop, socket, std::move(done)), net::detached);
  });
}

bool Handshakes::Crowded() {
  if (*under_way_ < options_.most) return false;
  const auto before = std::chrono::steady_clock::now() - options_.patience;
  for (auto& loop : loops_) {
    if (loop->clearing.exchange(true)) continue;  // one that hangs is not asked twice
    net::post(loop->context, [&loop = *loop, before] {
      loop.clearing = false;
      for (const auto& each : loop.under_way) {
        if (each.begun > before) break;
        each.socket->cancel();
      }
    });
  }
  return true;
}

net::awaitable<void> Handshakes::Shake(Loop& loop, std::shared_ptr<Socket> socket, Done done) {
  SslPtr ssl;
  const auto place = loop.under_way.insert(loop.under_way.end(), {socket.get(), std::chrono::steady_clock::now()});
  try {
    net::steady_timer deadline(loop.context, options_.deadline);
    deadline.async_wait([weak = std::weak_ptr(socket)](ErrorCode ec) {
      if (const auto held = ec ? nullptr : weak.lock()) held->cancel(ec);
    });
    ssl = co_await Agree(loop, socket);
  } catch (const std::exception& e) {
    spdlog::error("handshake ended by an exception: {}", e.what());
  }
  loop.under_way.erase(place);
  ErrorCode ec;
  const int fd = ssl ? socket->release(ec) : -1;  // closed by the socket when there is no SSL
  if (ec) ssl.reset();
  done(fd, std::move(ssl));
}

net::awaitable<SslPtr> Handshakes::Agree(Loop&, std::shared_ptr<Socket> socket) {
  SslPtr ssl(SSL_new(context_));
  if (!ssl || SSL_set_fd(ssl.get(), socket->native_handle()) != 1) co_return nullptr;
  SSL_set_accept_state(ssl.get());
  auto step = Step::kWantsRead;  // nobody signs for who has not said anything
  while (step == Step::kWantsRead || step == Step::kWantsWrite) {
    ErrorCode ec;
    co_await socket->async_wait(step == Step::kWantsRead ? Socket::wait_read : Socket::wait_write,
                                net::redirect_error(net::use_awaitable, ec));
    if (ec || stopping_) co_return nullptr;
    step = Advance(ssl.get());
  }
  // What was read beyond the handshake would be lost with the BIO: OpenSSL reads record by record, so there is none.
  if (step != Step::kDone || SSL_has_pending(ssl.get()) != 0) co_return nullptr;
  SSL_set_bio(ssl.get(), nullptr, nullptr);
  co_return ssl;
}

// One step, with the key lent for no longer than that: a client that stops in the middle holds nothing.
Handshakes::Step Handshakes::Advance(SSL* ssl) const {
  ERR_clear_error();
  int result = 0, error = SSL_ERROR_SSL;
  {
    const auto key = tls_.key();
    if (!key || !chain_.Use(ssl, key->get())) return Step::kFailed;
    result = SSL_accept(ssl);
    error = SSL_get_error(ssl, result);
    ServerChain::Forget(ssl);
  }
  if (result == 1) return Step::kDone;
  if (error == SSL_ERROR_WANT_READ) return Step::kWantsRead;
  if (error == SSL_ERROR_WANT_WRITE) return Step::kWantsWrite;
  // Most likely the client's own fault; whether it was the key's, the key's owner finds out.
  if (error == SSL_ERROR_SSL && tls_.suspect) tls_.suspect();
  ERR_clear_error();
  return Step::kFailed;
}

}  // namespace strongroom::netapi
