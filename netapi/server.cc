#include "netapi/server.h"

#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <map>
#include <thread>
#include <unordered_set>
#include <vector>

#include "crypto/text_rules.h"
#include "netapi/beast_types.h"
#include "netapi/body_budget.h"
#include "netapi/data_json.h"
#include "netapi/handshakes.h"
#include "netapi/mailbox.h"
#include "netapi/problem.h"
#include "netapi/stream_exchange.h"

namespace strongroom::netapi {
namespace {

constexpr std::uint32_t kHeaderLimit = 16384;
constexpr std::uint64_t kDataBodyLimit = std::uint64_t{8} << 20;
constexpr std::uint64_t kControlBodyLimit = std::uint64_t{64} << 10;

constexpr std::size_t kDrainLimit = std::size_t{256} << 10;
constexpr unsigned kControlQueue = 64;
constexpr auto kOverSharePause = std::chrono::milliseconds(250);  // before a 429

std::string RequestIdFor(const RequestParser& parser) {
  const auto given = View(parser.get()["Request-Id"]);
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
           c == '.';
  };
  if (!given.empty() && given.size() <= 64 && std::all_of(given.begin(), given.end(), allowed))
    return std::string(given);
  return ToHex(crypto::RandomArray<8>());
}

struct Connection {
  // The stream takes the SSL over.
  Connection(tcp::socket socket, SslPtr ssl) : stream(beast::tcp_stream(std::move(socket)), ssl.release()) {}
  TlsStream stream;
  bool idle = false;  // waiting for a request: may be closed at once when the server stops
};

}  // namespace

class Server::Impl {
 public:
  Impl(Options options, Api& api) : options_(std::move(options)), api_(api), tls_(net::ssl::context::tls_server) {}

  Result<void> Listen() {
    TRY(ConfigureServerTls(tls_.native_handle(), options_.tls.ca));
    TRY_ASSIGN(auto chain, ServerChain::Read(options_.tls));
    for (unsigned i = 0; i < options_.io_threads; ++i) loops_.push_back(std::make_unique<Loop>());
    ErrorCode ec;
    const auto address = net::ip::make_address(options_.address, ec);
    if (ec) return Invalid("'" + options_.address + "' is not an IP address to listen on");
    const tcp::endpoint endpoint(address, options_.port);
    acceptor_ = std::make_unique<tcp::acceptor>(loops_[0]->context);
    (void)acceptor_->open(endpoint.protocol(), ec);
    if (!ec) (void)acceptor_->set_option(net::socket_base::reuse_address(true), ec);
    if (!ec) (void)acceptor_->bind(endpoint, ec);
    if (!ec) (void)acceptor_->listen(4096, ec);
    if (ec)
      return Io("cannot listen on " + options_.address + ":" + std::to_string(options_.port) + ": " + ec.message(),
                "address-in-use");
    port_ = acceptor_->local_endpoint().port();
    handshakes_ =
        std::make_unique<Handshakes>(tls_.native_handle(), options_.tls, std::move(chain),
                                     Handshakes::Options{options_.handshake_threads, options_.handshake_deadline});
    {
      const MutexLock lock(mutex_);
      accepting_ = true;
    }
    net::co_spawn(loops_[0]->context, Accept(), [this](const std::exception_ptr&) {
      const MutexLock lock(mutex_);
      accepting_ = false;
      closed_.NotifyAll();
    });
    for (auto& loop : loops_) loop->thread = std::thread([&loop = *loop] { loop.context.run(); });
    return {};
  }

  unsigned short port() const { return port_; }

  void Stop() {
    if (stopping_.exchange(true)) return;
    net::post(loops_[0]->context, [this] { acceptor_->close(); });
    {
      const MutexLock lock(mutex_);
      while (accepting_) closed_.Wait(mutex_);
    }
    handshakes_->Stop();
    for (auto& loop : loops_)
      net::post(loop->context, [&loop = *loop] {
        for (auto* connection : loop.connections)
          if (connection->idle) beast::get_lowest_layer(connection->stream).cancel();
      });
    AwaitClosed(std::chrono::seconds(15));
    // Whoever still waits for the broker or the control plane gets an answer while the loops run to carry it.
    api_.brokers().Drain();
    control_.pool.join();
    metrics_.pool.join();
    AwaitClosed(std::chrono::seconds(3));
    for (auto& loop : loops_) {
      loop->guard.reset();
      loop->context.stop();
      loop->thread.join();
    }
  }

 private:
  void AwaitClosed(std::chrono::seconds bound) {
    const auto until = std::chrono::steady_clock::now() + bound;
    const MutexLock lock(mutex_);
    while (open_ > 0 && closed_.WaitUntil(mutex_, until)) {
    }
  }

  struct Loop {
    net::io_context context{1};
    net::executor_work_guard<net::io_context::executor_type> guard{net::make_work_guard(context)};
    Mailbox mailbox{context};
    std::unordered_set<Connection*> connections;  // of this loop's thread alone
    bool dispatches = false;  // requests wait for the end of this round; of this loop's thread alone
    std::thread thread;
  };

  net::awaitable<void> Accept() {
    for (std::size_t next = 0;; ++next) {
      auto& loop = *loops_[next % loops_.size()];
      ErrorCode ec;
      // Newcomers wait in the system's queue, in order, rather than be turned away.
      while (handshakes_->Crowded() && !stopping_) {
        net::steady_timer pause(loops_[0]->context, std::chrono::milliseconds(5));
        co_await pause.async_wait(net::redirect_error(net::use_awaitable, ec));
      }
      if (stopping_) co_return;
      auto socket = co_await acceptor_->async_accept(loop.context, net::redirect_error(net::use_awaitable, ec));
      if (stopping_) co_return;
      if (ec) {
        // Out of descriptors, most likely: wait for some to come back rather than spin.
        net::steady_timer pause(loops_[0]->context, std::chrono::milliseconds(50));
        co_await pause.async_wait(net::redirect_error(net::use_awaitable, ec));
        continue;
      }
      if (!Enter()) continue;  // over the bound: the socket closes
      (void)socket.set_option(tcp::no_delay(true), ec);
      const auto protocol = socket.local_endpoint(ec).protocol();
      const int fd = ec ? -1 : socket.release(ec);
      if (ec) {
        Leave();
        continue;
      }
      handshakes_->Begin(protocol, fd, [this, &loop, protocol](int shaken, SslPtr ssl) {
        if (!ssl) return Leave();
        net::post(loop.context, [this, &loop, protocol, shaken, held = std::make_shared<SslPtr>(std::move(ssl))] {
          tcp::socket agreed(loop.context);
          ErrorCode failed;
          (void)agreed.assign(protocol, shaken, failed);
          if (!failed)
            return net::co_spawn(loop.context, Serve(loop, std::move(agreed), std::move(*held)), net::detached);
          (void)close(shaken);
          Leave();
        });
      });
    }
  }

  bool Enter() {
    const MutexLock lock(mutex_);
    if (open_ >= options_.max_connections) return false;
    ++open_;
    return true;
  }
  void Leave() {
    const MutexLock lock(mutex_);
    --open_;
    closed_.NotifyAll();
  }

  net::awaitable<void> Serve(Loop& loop, tcp::socket socket, SslPtr ssl) {
    try {
      Connection connection(std::move(socket), std::move(ssl));
      loop.connections.insert(&connection);
      try {
        co_await Converse(loop, connection);
      } catch (const std::exception& e) {
        spdlog::error("connection ended by an exception: {}", e.what());
      }
      loop.connections.erase(&connection);
    } catch (const std::exception& e) {
      spdlog::error("connection not begun: {}", e.what());
    }
    Leave();
  }

  net::awaitable<void> Converse(Loop& loop, Connection& connection) {
    auto& stream = connection.stream;
    auto& socket = beast::get_lowest_layer(stream);
    ErrorCode ec;
    const auto spki = PeerSpki(stream.native_handle());
    if (!spki) {
      spdlog::warn("connection ended: {}", spki.error().Line());
      co_return;
    }
    SecretBuffer buffer;
    bool keep = true;
    while (keep && !stopping_) {
      RequestParser parser;
      parser.header_limit(kHeaderLimit);
      parser.body_limit(kDataBodyLimit);
      socket.expires_after(options_.idle_deadline);
      connection.idle = true;
      co_await http::async_read_header(stream, buffer, parser, net::redirect_error(net::use_awaitable, ec));
      connection.idle = false;
      keep = co_await Exchange(loop, stream, buffer, parser, *spki, ec);
      // What was read may hold DEKs: an idle connection keeps none of it.
      if (buffer.size() == 0) {
        buffer.clear();
        buffer.shrink_to_fit();
      }
    }
    co_await Close(stream);
  }

  // Close takes what the client is still sending, up to a bound: closing over unread bytes would reset the connection
  // and could destroy the answer on its way.
  net::awaitable<void> Close(TlsStream& stream) {
    auto& socket = beast::get_lowest_layer(stream);
    ErrorCode ec;
    socket.expires_after(std::chrono::seconds(2));
    (void)socket.socket().shutdown(tcp::socket::shutdown_send, ec);
    std::array<char, 16384> discarded{};
    for (std::size_t taken = 0; !ec && taken < kDrainLimit;)
      taken += co_await socket.async_read_some(net::buffer(discarded), net::redirect_error(net::use_awaitable, ec));
  }

  // Exchange answers one request whose header has been read; false when the connection is to be closed.
  net::awaitable<bool> Exchange(Loop& loop, TlsStream& stream, SecretBuffer& buffer, RequestParser& parser,
                                const crypto::Digest& spki, ErrorCode ec) {
    if (ec == http::error::header_limit)
      co_return co_await Refuse(stream, parser, ToHex(crypto::RandomArray<8>()),
                                Invalid("the headers are longer than 16 KiB", "header-too-large"));
    const bool too_large = ec == http::error::body_limit;
    if (too_large) ec = {};
    if (ec && ec.category() == make_error_code(http::error::bad_method).category() &&
        ec != http::error::end_of_stream && ec != http::error::partial_message)
      co_return co_await Refuse(stream, parser, ToHex(crypto::RandomArray<8>()),
                                Invalid("not HTTP/1.1: " + ec.message(), "malformed-http"));
    if (ec) co_return false;
    const auto request_id = RequestIdFor(parser);
    // Without exactly one Host a request of HTTP/1.1 is not one (RFC 9112 section 3.2).
    if (parser.get().version() != 10 && parser.get().count(http::field::host) != 1)
      co_return co_await Refuse(stream, parser, request_id,
                                Invalid("not HTTP/1.1: a request has one Host field", "malformed-http"), false);
    // What its sender takes for a body's end must be what is taken for it here.
    const auto codings = parser.get().count(http::field::transfer_encoding);
    if (codings > 1 || (codings == 1 && !beast::iequals(parser.get()[http::field::transfer_encoding], "chunked")))
      co_return co_await Refuse(stream, parser, request_id,
                                Invalid("the one transfer coding is chunked", "malformed-http"), false);
    auto matched = Match(View(parser.get().method_string()), View(parser.get().target()));
    const auto caller = api_.Identify(spki, matched && matched->route->gate == Gate::kAlways);
    if (!caller) {
      api_.Refused(nullptr, "-", request_id, caller.error());
      co_return co_await Refuse(stream, parser, request_id, caller.error());
    }
    if (!matched) co_return co_await RefuseNamed(stream, parser, nullptr, *caller, request_id, matched.error());
    const auto admitted = Judge(*matched, *caller, parser, too_large);
    if (!admitted) co_return co_await RefuseNamed(stream, parser, &*matched, *caller, request_id, admitted.error());

    if (IsStream(*matched, parser)) {
      StreamExchange exchange(stream, buffer, api_.brokers().For(matched->values[0]), stopping_, *matched, *caller,
                              request_id, {options_.idle_deadline, options_.body_deadline}, api_.OpenBreakGlass(),
                              [this, &caller = *caller, &matched = *matched, &request_id] {
                                auto known = api_.StillKnown(caller);
                                if (!known) api_.Refused(&matched, "-", request_id, known.error());
                                return known;
                              });
      co_return co_await exchange.Run(parser);
    }
    const Reservation body_memory(bodies_, caller->name, BodyBound(*matched, parser));
    if (!body_memory)
      co_return co_await RefuseNamed(stream, parser, &*matched, *caller, request_id,
                                     Overloaded("too many request bodies are being read"));
    auto& socket = beast::get_lowest_layer(stream);
    socket.expires_after(options_.body_deadline);
    if (beast::iequals(parser.get()[http::field::expect], "100-continue")) {
      http::response<http::empty_body> go_on(http::status::continue_, 11);
      co_await http::async_write(stream, go_on, net::redirect_error(net::use_awaitable, ec));
      if (ec) co_return false;
    }
    parser.body_limit(BodyLimit(*matched));
    co_await http::async_read(stream, buffer, parser, net::redirect_error(net::use_awaitable, ec));
    if (ec == http::error::body_limit)
      co_return co_await RefuseNamed(
          stream, parser, &*matched, *caller, request_id,
          Invalid("the body is too large: 8 MiB for operations, 64 KiB else", "body-too-large"));
    if (ec && ec != http::error::partial_message &&
        ec.category() == make_error_code(http::error::bad_method).category())
      co_return co_await Refuse(stream, parser, request_id, Invalid("not HTTP/1.1: " + ec.message(), "malformed-http"));
    if (ec) co_return false;
    socket.expires_never();  // from here on the token's own deadlines hold

    const bool keep = parser.get().keep_alive() && !stopping_;
    Reply reply;
    const auto endpoint = matched->route->endpoint;
    if (endpoint == Endpoint::kData)
      reply = co_await AskBroker(loop, *matched, *caller, parser.get().body(), request_id);
    else if (endpoint == Endpoint::kLive || endpoint == Endpoint::kReady || endpoint == Endpoint::kStatus)
      reply = api_.Control(*matched, *caller, {}, request_id);  // never blocks: it must answer when all else does not
    else
      reply = co_await AskControl(endpoint == Endpoint::kMetrics ? metrics_ : control_, *matched, *caller,
                                  parser.get().body(), request_id);
    co_return co_await Write(stream, std::move(reply), request_id, keep);
  }

  static bool IsStream(const Matched& matched, const RequestParser& parser) {
    return matched.route->endpoint == Endpoint::kData && matched.values.size() == 1 &&
           View(parser.get()[http::field::content_type]) == "application/x-ndjson";
  }

  static std::uint64_t BodyLimit(const Matched& matched) {
    return matched.route->endpoint == Endpoint::kData ? kDataBodyLimit : kControlBodyLimit;
  }
  // The most memory that reading this body can take.
  static std::uint64_t BodyBound(const Matched& matched, const RequestParser& parser) {
    return parser.chunked() ? BodyLimit(matched) : parser.content_length_remaining().value_or(0);
  }

  Result<void> Judge(const Matched& matched, const Caller& caller, const RequestParser& parser, bool too_large) const {
    TRY(api_.Admit(*matched.route, caller));
    if (matched.route->endpoint == Endpoint::kData) TRY(api_.AdmitData(matched, caller));
    if (IsStream(matched, parser)) return {};
    if (too_large || parser.content_length_remaining().value_or(0) > BodyLimit(matched))
      return Invalid("the body is too large: 8 MiB for operations, 64 KiB else", "body-too-large");
    const auto& request = parser.get();
    const bool has_body = parser.chunked() || parser.content_length_remaining().value_or(0) > 0;
    if (matched.route->method == "GET" && has_body) return Invalid("a GET has no body");
    const auto type = View(request[http::field::content_type]);
    if (has_body && type != "application/json" && type != "application/json; charset=utf-8")
      return Invalid("send content-type: application/json", "unsupported-media-type");
    return {};
  }

  net::awaitable<Reply> AskBroker(Loop& loop, const Matched& matched, const Caller& caller, const SecretText& body,
                                  const std::string& request_id) {
    // Every item is an object of its own, so their braces tell how many there are before anything is parsed.
    const auto braces = static_cast<std::size_t>(std::count(body.begin(), body.end(), '{'));
    // More than a batch may hold is refused as such, not as too much of a tenant.
    const auto items = std::clamp<std::size_t>(braces, 2, kMaxBatchItems + 1) - 1;
    auto& broker = api_.brokers().For(matched.values[0]);
    if (const auto room = broker.Room(caller.name, items); !room) co_return co_await Overload(room.error(), request_id);
    const std::string_view text(body.data(), body.size());
    auto parsed = matched.values.size() > 1 ? ParseDekBody(matched.route->operation, matched.values[1], text)
                                            : ParseDataBody(matched.route->operation, text);
    if (!parsed) {
      api_.Refused(&matched, caller.name, request_id, parsed.error());
      co_return ProblemReply(parsed.error(), request_id);
    }
    appliance::DataRequest request;
    request.request_id = request_id;
    request.principal = caller.name;
    request.spki = caller.spki;
    request.keyring = matched.values[0];
    request.operation = matched.route->operation;
    request.items = std::move(parsed->items);
    request.deadline = std::chrono::steady_clock::now() + options_.request_deadline;
    const bool batch = parsed->batch;
    const auto reply =
        co_await net::async_initiate<const net::use_awaitable_t<>, void(std::shared_ptr<appliance::DataReply>)>(
            [&](auto handler) {
              const auto shared = std::make_shared<decltype(handler)>(std::move(handler));
              const auto done = [shared, &mailbox = loop.mailbox](appliance::DataReply result) {
                auto held = std::make_shared<appliance::DataReply>(std::move(result));
                mailbox.Put([shared, held] { std::move (*shared)(held); });
              };
              broker.Submit(std::move(request), done, appliance::Broker::Start::kLater);
              DispatchSoon(loop);
            },
            net::use_awaitable);
    if (!*reply && HttpStatusOf(reply->error()) == 429) co_return co_await Overload(reply->error(), request_id);
    if (!*reply) co_return ProblemReply(reply->error(), request_id);
    auto& answers = **reply;
    if (!batch && !answers[0]) co_return ProblemReply(answers[0].error(), request_id);
    // A batch of which nothing could be done for want of the token is one 503, not a thousand errors in a 200.
    if (batch &&
        std::all_of(answers.begin(), answers.end(), [](const auto& a) { return !a && HttpStatusOf(a.error()) == 503; }))
      co_return ProblemReply(answers[0].error(), request_id);
    co_return Reply{200, false, RenderDataReply(matched.route->operation, batch, answers, request_id)};
  }

  // All sockets that are ready are read before the broker looks: the token's frames are as large as the crowd.
  void DispatchSoon(Loop& loop) {
    if (std::exchange(loop.dispatches, true)) return;
    net::post(loop.context, [this, &loop] {
      loop.dispatches = false;
      api_.brokers().Dispatch();
    });
  }

  // Who asks for more than his share at once and again would spend everyone's processor on being refused: a 429 waits.
  static net::awaitable<Reply> Overload(Error error, std::string request_id) {
    if (HttpStatusOf(error) == 429) {
      net::steady_timer pause(co_await net::this_coro::executor, kOverSharePause);
      ErrorCode ec;
      co_await pause.async_wait(net::redirect_error(net::use_awaitable, ec));
    }
    co_return ProblemReply(error, request_id);
  }

  // Offload is where calls run that may take their time: the loops carry everybody else's.
  struct Offload {
    explicit Offload(unsigned threads) : pool(threads) {}
    net::thread_pool pool;
    std::atomic<unsigned> waiting{0};
  };

  net::awaitable<Reply> AskControl(Offload& offload, const Matched& matched, const Caller& caller,
                                   const SecretText& body, const std::string& request_id) {
    if (offload.waiting >= kControlQueue) co_return ProblemReply(Overloaded("too many such calls wait"), request_id);
    ++offload.waiting;
    const auto executor = co_await net::this_coro::executor;
    const auto reply = co_await net::async_initiate<const net::use_awaitable_t<>, void(std::shared_ptr<Reply>)>(
        [&](auto handler) {
          const auto shared = std::make_shared<decltype(handler)>(std::move(handler));
          net::post(offload.pool, [this, &offload, shared, executor, &matched, &caller, &body, &request_id] {
            auto held = std::make_shared<Reply>(api_.Control(matched, caller, {body.data(), body.size()}, request_id));
            --offload.waiting;
            net::post(executor, [shared, held] { std::move (*shared)(held); });
          });
        },
        net::use_awaitable);
    co_return std::move(*reply);
  }

  net::awaitable<bool> RefuseNamed(TlsStream& stream, const RequestParser& parser, const Matched* matched,
                                   const Caller& caller, const std::string& request_id, const Error& error) {
    api_.Refused(matched, caller.name, request_id, error);
    co_return co_await Refuse(stream, parser, request_id, error);
  }

  // Refuse answers with a problem without reading a body: the connection stays open only when there is none to read.
  net::awaitable<bool> Refuse(TlsStream& stream, const RequestParser& parser, std::string request_id, Error error,
                              bool may_keep = true) {
    const bool unread =
        !parser.is_header_done() || parser.chunked() || parser.content_length_remaining().value_or(0) > 0;
    // An answer to HEAD has no body (RFC 9110 section 9.3.2), and none of our routes takes HEAD.
    const bool head = parser.is_header_done() && parser.get().method() == http::verb::head;
    auto reply = ProblemReply(error, request_id);
    if (head) reply.body.clear();
    const bool keep = may_keep && !unread && !head && parser.get().keep_alive() && !stopping_;
    co_return co_await Write(stream, std::move(reply), request_id, keep);
  }

  net::awaitable<bool> Write(TlsStream& stream, Reply reply, const std::string& request_id, bool keep) {
    // One zeroised text, written as one buffer: Beast and Asio gather several into memory of their own, uncleared.
    SecretText text = "HTTP/1.1 ";
    const auto reason = http::obsolete_reason(static_cast<http::status>(reply.status));
    const auto add = [&](std::string_view part) { text.append(part.data(), part.size()); };
    text.reserve(256 + reply.body.size());
    add(std::to_string(reply.status));
    add(" ");
    add(View(reason));
    add("\r\nContent-Type: ");
    add(reply.problem ? "application/problem+json" : reply.content_type);
    add("\r\nCache-Control: no-store\r\nRequest-Id: ");
    add(request_id);
    if (const auto opened = api_.OpenBreakGlass(); !opened.empty()) {
      add("\r\nStrongroom-Break-Glass: ");
      add(opened);
    }
    if (reply.status == 503 || reply.status == 429) add("\r\nRetry-After: 1");
    if (!keep) add("\r\nConnection: close");
    add("\r\nContent-Length: ");
    add(std::to_string(reply.body.size()));
    add("\r\n\r\n");
    add({reply.body.data(), reply.body.size()});
    co_return co_await WriteAll(stream, {text.data(), text.size()}, options_.body_deadline) && keep;
  }

  const Options options_;
  Api& api_;
  net::ssl::context tls_;
  std::unique_ptr<Handshakes> handshakes_;
  Offload control_{4};
  Offload metrics_{1};  // of their own: they are wanted most when everything else waits
  // What a connection's coroutine uses until its loop is gone.
  BodyBudget bodies_;
  Mutex mutex_;
  CondVar closed_;
  std::size_t open_ GUARDED_BY(mutex_) = 0;
  bool accepting_ GUARDED_BY(mutex_) = false;
  std::vector<std::unique_ptr<Loop>> loops_;
  std::unique_ptr<tcp::acceptor> acceptor_;
  unsigned short port_ = 0;
  std::atomic<bool> stopping_{false};
};

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() { impl_->Stop(); }
unsigned short Server::port() const { return impl_->port(); }
void Server::Stop() { impl_->Stop(); }

Result<std::unique_ptr<Server>> Server::Start(Options options, Api& api) {
  auto impl = std::make_unique<Impl>(std::move(options), api);
  TRY(impl->Listen());
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

}  // namespace strongroom::netapi
