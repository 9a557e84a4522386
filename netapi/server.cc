#include "netapi/server.h"

#include <spdlog/spdlog.h>

#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl/ssl_stream.hpp>
#include <thread>
#include <unordered_set>
#include <vector>

#include "crypto/text_rules.h"
#include "netapi/data_json.h"
#include "netapi/problem.h"

namespace strongroom::netapi {
namespace {

namespace net = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using tcp = net::ip::tcp;
using Stream = beast::ssl_stream<beast::tcp_stream>;
using Buffer = beast::basic_flat_buffer<ZeroisingAllocator<char>>;
using SecretBody = http::basic_string_body<char, std::char_traits<char>, ZeroisingAllocator<char>>;
using Parser = http::request_parser<SecretBody>;
using HttpResponse = http::response<SecretBody>;
using ErrorCode = boost::system::error_code;

constexpr std::uint32_t kHeaderLimit = 16384;
constexpr std::uint64_t kDataBodyLimit = std::uint64_t{8} << 20;
constexpr std::uint64_t kControlBodyLimit = std::uint64_t{64} << 10;

std::string_view View(beast::string_view s) { return {s.data(), s.size()}; }

std::string RequestIdFor(const Parser& parser) {
  const auto given = View(parser.get()["Request-Id"]);
  if (crypto::IsName(given)) return std::string(given);
  return ToHex(crypto::RandomArray<8>());
}

struct Connection {
  explicit Connection(tcp::socket socket, net::ssl::context& tls) : stream(beast::tcp_stream(std::move(socket)), tls) {}
  Stream stream;
  bool idle = false;  // waiting for a request: may be closed at once when the server stops
};

}  // namespace

class Server::Impl {
 public:
  Impl(Options options, Api& api)
      : options_(std::move(options)), api_(api), tls_(net::ssl::context::tls_server), control_pool_(4) {}

  Result<void> Listen() {
    TRY(ConfigureServerTls(tls_.native_handle(), options_.tls));
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
    net::co_spawn(loops_[0]->context, Accept(), net::detached);
    for (auto& loop : loops_) loop->thread = std::thread([&loop = *loop] { loop.context.run(); });
    return {};
  }

  unsigned short port() const { return port_; }

  void Stop() {
    if (stopping_.exchange(true)) return;
    net::post(loops_[0]->context, [this] { acceptor_->close(); });
    for (auto& loop : loops_)
      net::post(loop->context, [&loop = *loop] {
        for (auto* connection : loop.connections)
          if (connection->idle) beast::get_lowest_layer(connection->stream).cancel();
      });
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(15);
    {
      const MutexLock lock(mutex_);
      while (open_ > 0 && closed_.WaitUntil(mutex_, until)) {
      }
    }
    for (auto& loop : loops_) {
      loop->guard.reset();
      loop->context.stop();
      loop->thread.join();
    }
    control_pool_.join();
  }

 private:
  struct Loop {
    net::io_context context{1};
    net::executor_work_guard<net::io_context::executor_type> guard{net::make_work_guard(context)};
    std::unordered_set<Connection*> connections;  // of this loop's thread alone
    std::thread thread;
  };

  net::awaitable<void> Accept() {
    for (std::size_t next = 0;; ++next) {
      auto& loop = *loops_[next % loops_.size()];
      ErrorCode ec;
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
      net::co_spawn(loop.context, Serve(loop, std::move(socket)), net::detached);
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

  net::awaitable<void> Serve(Loop& loop, tcp::socket socket) {
    {
      Connection connection(std::move(socket), tls_);
      loop.connections.insert(&connection);
      try {
        co_await Converse(connection);
      } catch (const std::exception& e) {
        spdlog::error("connection ended by an exception: {}", e.what());
      }
      loop.connections.erase(&connection);
    }
    Leave();
  }

  net::awaitable<void> Converse(Connection& connection) {
    auto& stream = connection.stream;
    auto& socket = beast::get_lowest_layer(stream);
    ErrorCode ec;
    socket.expires_after(options_.handshake_deadline);
    co_await stream.async_handshake(net::ssl::stream_base::server, net::redirect_error(net::use_awaitable, ec));
    if (ec) co_return;
    const auto spki = PeerSpki(stream.native_handle());
    if (!spki) co_return;
    Buffer buffer;
    bool keep = true;
    while (keep && !stopping_) {
      Parser parser;
      parser.header_limit(kHeaderLimit);
      parser.body_limit(kDataBodyLimit);
      socket.expires_after(options_.idle_deadline);
      connection.idle = true;
      co_await http::async_read_header(stream, buffer, parser, net::redirect_error(net::use_awaitable, ec));
      connection.idle = false;
      keep = co_await Exchange(stream, buffer, parser, *spki, ec);
    }
    socket.expires_after(std::chrono::seconds(2));
    co_await stream.async_shutdown(net::redirect_error(net::use_awaitable, ec));
  }

  // Exchange answers one request whose header has been read; false when the connection is to be closed.
  net::awaitable<bool> Exchange(Stream& stream, Buffer& buffer, Parser& parser, const crypto::Digest& spki,
                                ErrorCode ec) {
    if (ec == http::error::header_limit)
      co_return co_await Refuse(stream, parser, ToHex(crypto::RandomArray<8>()),
                                Invalid("the headers are longer than 16 KiB", "header-too-large"));
    if (ec == http::error::body_limit)
      co_return co_await Refuse(stream, parser, RequestIdFor(parser),
                                Invalid("the body is longer than 8 MiB", "body-too-large"));
    if (ec && ec.category() == make_error_code(http::error::bad_method).category() &&
        ec != http::error::end_of_stream && ec != http::error::partial_message)
      co_return co_await Refuse(stream, parser, ToHex(crypto::RandomArray<8>()),
                                Invalid("not HTTP/1.1: " + ec.message(), "malformed-http"));
    if (ec) co_return false;
    const auto request_id = RequestIdFor(parser);
    const auto caller = api_.Identify(spki);
    if (!caller) {
      api_.Refused(nullptr, "-", request_id, caller.error());
      co_return co_await Refuse(stream, parser, request_id, caller.error());
    }
    const auto matched = Match(View(parser.get().method_string()), View(parser.get().target()));
    if (!matched) co_return co_await RefuseNamed(stream, parser, nullptr, *caller, request_id, matched.error());
    const auto admitted = Judge(*matched, *caller, parser);
    if (!admitted) co_return co_await RefuseNamed(stream, parser, &*matched, *caller, request_id, admitted.error());

    auto& socket = beast::get_lowest_layer(stream);
    socket.expires_after(options_.body_deadline);
    if (beast::iequals(parser.get()[http::field::expect], "100-continue")) {
      http::response<http::empty_body> go_on(http::status::continue_, 11);
      co_await http::async_write(stream, go_on, net::redirect_error(net::use_awaitable, ec));
      if (ec) co_return false;
    }
    if (matched->route->endpoint != Endpoint::kData) parser.body_limit(kControlBodyLimit);
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
    if (matched->route->endpoint == Endpoint::kData)
      reply = co_await AskBroker(*matched, *caller, parser.get().body(), request_id);
    else
      reply = co_await AskControl(*matched, *caller, parser.get().body(), request_id);
    co_return co_await Write(stream, std::move(reply), request_id, keep);
  }

  Result<void> Judge(const Matched& matched, const Caller& caller, const Parser& parser) const {
    TRY(api_.Admit(*matched.route, caller));
    if (matched.route->endpoint == Endpoint::kData) TRY(api_.AdmitData(matched, caller));
    const auto& request = parser.get();
    const bool has_body = parser.chunked() || parser.content_length_remaining().value_or(0) > 0;
    if (matched.route->method == "GET" && has_body) return Invalid("a GET has no body");
    const auto type = View(request[http::field::content_type]);
    if (has_body && type != "application/json" && type != "application/json; charset=utf-8")
      return Invalid("send content-type: application/json", "unsupported-media-type");
    return {};
  }

  net::awaitable<Reply> AskBroker(const Matched& matched, const Caller& caller, const SecretText& body,
                                  const std::string& request_id) {
    auto parsed = ParseDataBody(matched.route->operation, {body.data(), body.size()});
    if (!parsed) {
      api_.Refused(&matched, caller.name, request_id, parsed.error());
      co_return ProblemReply(parsed.error(), request_id);
    }
    appliance::DataRequest request;
    request.request_id = request_id;
    request.principal = caller.name;
    request.keyring = matched.values[0];
    request.operation = matched.route->operation;
    request.items = std::move(parsed->items);
    request.deadline = std::chrono::steady_clock::now() + options_.request_deadline;
    const bool batch = parsed->batch;
    const auto executor = co_await net::this_coro::executor;
    const auto reply =
        co_await net::async_initiate<const net::use_awaitable_t<>, void(std::shared_ptr<appliance::DataReply>)>(
            [&](auto handler) {
              const auto shared = std::make_shared<decltype(handler)>(std::move(handler));
              api_.broker().Submit(std::move(request), [shared, executor](appliance::DataReply result) {
                auto held = std::make_shared<appliance::DataReply>(std::move(result));
                net::post(executor, [shared, held] { std::move (*shared)(held); });
              });
            },
            net::use_awaitable);
    if (!*reply) co_return ProblemReply(reply->error(), request_id);
    auto& answers = **reply;
    if (!batch && !answers[0]) co_return ProblemReply(answers[0].error(), request_id);
    // A batch of which nothing could be done for want of the token is one 503, not a thousand errors in a 200.
    if (batch &&
        std::all_of(answers.begin(), answers.end(), [](const auto& a) { return !a && HttpStatusOf(a.error()) == 503; }))
      co_return ProblemReply(answers[0].error(), request_id);
    co_return Reply{200, false, RenderDataReply(matched.route->operation, batch, answers, request_id)};
  }

  net::awaitable<Reply> AskControl(const Matched& matched, const Caller& caller, const SecretText& body,
                                   const std::string& request_id) {
    const auto executor = co_await net::this_coro::executor;
    const auto reply = co_await net::async_initiate<const net::use_awaitable_t<>, void(std::shared_ptr<Reply>)>(
        [&](auto handler) {
          const auto shared = std::make_shared<decltype(handler)>(std::move(handler));
          net::post(control_pool_, [this, shared, executor, &matched, &caller, &body, &request_id] {
            auto held = std::make_shared<Reply>(api_.Control(matched, caller, {body.data(), body.size()}, request_id));
            net::post(executor, [shared, held] { std::move (*shared)(held); });
          });
        },
        net::use_awaitable);
    co_return std::move(*reply);
  }

  net::awaitable<bool> RefuseNamed(Stream& stream, const Parser& parser, const Matched* matched, const Caller& caller,
                                   const std::string& request_id, const Error& error) {
    api_.Refused(matched, caller.name, request_id, error);
    co_return co_await Refuse(stream, parser, request_id, error);
  }

  // Refuse answers with a problem without reading a body: the connection stays open only when there is none to read.
  net::awaitable<bool> Refuse(Stream& stream, const Parser& parser, std::string request_id, Error error) {
    const bool unread =
        !parser.is_header_done() || parser.chunked() || parser.content_length_remaining().value_or(0) > 0;
    co_return co_await Write(stream, ProblemReply(error, request_id), request_id,
                             !unread && parser.get().keep_alive() && !stopping_);
  }

  net::awaitable<bool> Write(Stream& stream, Reply reply, const std::string& request_id, bool keep) {
    HttpResponse response(static_cast<http::status>(reply.status), 11);
    response.set(http::field::content_type, reply.problem ? "application/problem+json" : "application/json");
    response.set(http::field::cache_control, "no-store");
    response.set("Request-Id", request_id);
    if (reply.status == 503 || reply.status == 429) response.set(http::field::retry_after, "1");
    response.keep_alive(keep);
    response.body() = std::move(reply.body);
    response.prepare_payload();
    ErrorCode ec;
    beast::get_lowest_layer(stream).expires_after(options_.body_deadline);
    co_await http::async_write(stream, response, net::redirect_error(net::use_awaitable, ec));
    co_return keep && !ec;
  }

  const Options options_;
  Api& api_;
  net::ssl::context tls_;
  net::thread_pool control_pool_;
  std::vector<std::unique_ptr<Loop>> loops_;
  std::unique_ptr<tcp::acceptor> acceptor_;
  unsigned short port_ = 0;
  std::atomic<bool> stopping_{false};
  Mutex mutex_;
  CondVar closed_;
  std::size_t open_ GUARDED_BY(mutex_) = 0;
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
