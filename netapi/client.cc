#include "netapi/client.h"

#include <array>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <cstdio>
#include <vector>

#include "netapi/beast_types.h"
#include "netapi/ndjson.h"

namespace strongroom::netapi {
namespace {

struct Target {
  std::string host;
  std::string port;
};
Result<Target> ParseUrl(std::string_view url) {
  constexpr std::string_view kScheme = "https://";
  if (!url.starts_with(kScheme)) return Invalid("the server is like https://127.0.0.1:8443", "usage");
  url.remove_prefix(kScheme.size());
  if (url.ends_with('/')) url.remove_suffix(1);
  const auto colon = url.rfind(':');
  Target target;
  target.host = url.substr(0, url.ends_with(']') ? std::string_view::npos : colon);
  target.port = colon == std::string_view::npos || url.ends_with(']') ? "443" : std::string(url.substr(colon + 1));
  if (target.host.starts_with('[') && target.host.ends_with(']'))
    target.host = target.host.substr(1, target.host.size() - 2);
  if (target.host.empty() || target.host.find('/') != std::string::npos)
    return Invalid("the server is like https://127.0.0.1:8443", "usage");
  return target;
}

}  // namespace

class Client::Impl {
 public:
  explicit Impl(Options options) : options_(std::move(options)), tls_(net::ssl::context::tls_client) {}

  Result<void> Prepare() {
    TRY_ASSIGN(target_, ParseUrl(options_.url));
    return ConfigureClientTls(tls_.native_handle(), options_.tls);
  }

  Result<HttpAnswer> Call(std::string_view method, std::string_view target, std::string_view body) {
    std::optional<Result<HttpAnswer>> outcome;
    context_.restart();
    net::co_spawn(context_, Run(method, target, body, outcome), net::detached);
    context_.run();
    if (!outcome) return Unavailable("the call did not run");
    return std::move(*outcome);
  }

  Result<void> Stream(std::string_view target, Source source, Sink sink, Interrupt interrupt) {
    StreamState state{std::string(target), std::move(source), std::move(sink), std::move(interrupt), {}, false};
    context_.restart();
    net::thread_pool input(1);
    net::co_spawn(context_, RunStream(state, input), net::detached);
    context_.run();
    stream_.reset();
    buffer_.clear();
    if (state.failure) return *state.failure;
    return {};
  }

 private:
  struct StreamState {
    std::string target;
    Source source;
    Sink sink;
    Interrupt interrupt;
    std::optional<Error> failure;
    bool answered = false;  // the response has ended
  };

  static void FailStream(StreamState& state, Error error) {
    if (!state.failure) state.failure = std::move(error);
  }

  net::awaitable<void> RunStream(StreamState& state, net::thread_pool& input) {
    if (!stream_)
      if (auto connected = co_await Connect(); !connected) {
        FailStream(state, connected.error());
        co_return;
      }
    auto& socket = beast::get_lowest_layer(*stream_);
    http::request<http::empty_body> request(http::verb::post, {state.target.data(), state.target.size()}, 11);
    request.set(http::field::host, target_.host + ":" + target_.port);
    request.set(http::field::content_type, "application/x-ndjson");
    request.chunked(true);
    http::request_serializer<http::empty_body> serializer(request);
    ErrorCode ec;
    socket.expires_after(options_.deadline);
    co_await http::async_write_header(*stream_, serializer, net::redirect_error(net::use_awaitable, ec));
    if (ec) {
      FailStream(state, Unavailable("no answer from " + options_.url + ": " + ec.message()));
      co_return;
    }
    net::co_spawn(context_, ReadAnswers(state), net::detached);
    co_await SendInput(state, input);
  }

  net::awaitable<void> SendInput(StreamState& state, net::thread_pool& input) {
    auto& socket = beast::get_lowest_layer(*stream_);
    std::vector<char, ZeroisingAllocator<char>> block(65536);
    while (!state.failure && !state.answered) {
      const auto got = co_await net::co_spawn(
          input, [&]() -> net::awaitable<Result<std::size_t>> { co_return state.source(block); }, net::use_awaitable);
      if (!got) {
        FailStream(state, got.error());
        break;
      }
      std::array<char, 24> size{};
      (void)std::snprintf(size.data(), size.size(), "%zx\r\n", *got);
      SecretText chunk = size.data();
      chunk.append(block.data(), *got);
      chunk += "\r\n";
      ErrorCode ec;
      socket.expires_after(options_.deadline);
      co_await net::async_write(*stream_, net::buffer(chunk.data(), chunk.size()),
                                net::redirect_error(net::use_awaitable, ec));
      if (ec || *got == 0) co_return;  // a broken connection is the reader's to report: it may hold the server's reason
    }
    if (state.failure) socket.cancel();
  }

  net::awaitable<void> ReadAnswers(StreamState& state) {
    auto& socket = beast::get_lowest_layer(*stream_);
    http::response_parser<http::buffer_body> parser;
    parser.body_limit(boost::none);
    ErrorCode ec;
    // Answers may be long in coming when the input is: no deadline of their own.
    socket.expires_never();
    co_await http::async_read_header(*stream_, buffer_, parser, net::redirect_error(net::use_awaitable, ec));
    HttpAnswer refusal;
    if (!ec) refusal.status = parser.get().result_int();
    LineSplitter splitter;
    std::vector<char, ZeroisingAllocator<char>> block(65536);
    while (!ec && !state.failure && !parser.is_done()) {
      parser.get().body().data = block.data();
      parser.get().body().size = block.size();
      socket.expires_never();  // each time: the writer's deadline sets the reader's too while that is idle
      co_await http::async_read_some(*stream_, buffer_, parser, net::redirect_error(net::use_awaitable, ec));
      if (ec == http::error::need_buffer) ec = {};
      const std::string_view got(block.data(), block.size() - parser.get().body().size);
      if (refusal.status != 200) {
        refusal.body.append(got.data(), got.size());
        continue;
      }
      splitter.Feed(got, [&](std::string_view line, bool too_long) {
        if (state.failure) return;
        const auto taken =
            too_long ? Result<void>(Integrity("the server sent a line that is too long")) : state.sink(line);
        if (!taken) FailStream(state, taken.error());
      });
    }
    if (refusal.status != 0 && refusal.status != 200) {
      if (const auto reason = ParseAnswer(refusal); !reason) FailStream(state, reason.error());
    }
    if (ec || !parser.is_done())
      FailStream(state, Unavailable("the stream from " + options_.url + " ended before every line was answered" +
                                    (ec ? ": " + ec.message() : "")));
    state.answered = true;
    if (state.failure) {
      socket.cancel();
      state.interrupt();
    }
  }

  net::awaitable<void> Run(std::string_view method, std::string_view target, std::string_view body,
                           std::optional<Result<HttpAnswer>>& outcome) {
    if (!stream_)
      if (auto connected = co_await Connect(); !connected) {
        stream_.reset();
        outcome = Result<HttpAnswer>(connected.error());
        co_return;
      }
    http::request<SecretBody> request;
    request.method_string({method.data(), method.size()});
    request.target({target.data(), target.size()});
    request.version(11);
    request.set(http::field::host, target_.host + ":" + target_.port);
    if (!body.empty() || method == "POST") {
      request.set(http::field::content_type, "application/json");
      request.body().assign(body.data(), body.size());
      request.prepare_payload();
    }
    ErrorCode ec;
    auto& socket = beast::get_lowest_layer(*stream_);
    socket.expires_after(options_.deadline);
    co_await http::async_write(*stream_, request, net::redirect_error(net::use_awaitable, ec));
    http::response_parser<SecretBody> parser;
    parser.body_limit(std::uint64_t{64} << 20);
    // A server that refuses early answers before it has read all: its answer is worth reading also after a failed
    // write.
    ErrorCode read_ec;
    co_await http::async_read(*stream_, buffer_, parser, net::redirect_error(net::use_awaitable, read_ec));
    socket.expires_never();
    if (read_ec) {
      stream_.reset();
      buffer_.clear();
      outcome = Result<HttpAnswer>(NoAnswer(read_ec));
      co_return;
    }
    auto& response = parser.get();
    HttpAnswer answer;
    answer.status = response.result_int();
    answer.request_id = std::string(response["Request-Id"]);
    answer.break_glass = std::string(response["Strongroom-Break-Glass"]);
    answer.retry_after = std::string(response[http::field::retry_after]);
    answer.content_type = std::string(response[http::field::content_type]);
    answer.body = std::move(response.body());
    if (!response.keep_alive() || ec) {
      stream_.reset();
      buffer_.clear();
    }
    outcome = Result<HttpAnswer>(std::move(answer));
  }

  // In TLS 1.3 the server's word on a client certificate comes with the first read.
  Error NoAnswer(const ErrorCode& ec) const {
    if (ec.category() == net::error::get_ssl_category() && ec != net::ssl::error::stream_truncated)
      return Forbidden("the server refused this certificate: " + ec.message(), "tls-refused");
    return Unavailable("no answer from " + options_.url + ": " + ec.message());
  }

  net::awaitable<Result<void>> Connect() {
    ErrorCode ec;
    tcp::resolver resolver(context_);
    const auto endpoints =
        co_await resolver.async_resolve(target_.host, target_.port, net::redirect_error(net::use_awaitable, ec));
    if (ec) co_return Unavailable("cannot find " + target_.host + ": " + ec.message());
    stream_ = std::make_unique<TlsStream>(beast::tcp_stream(context_), tls_);
    auto& socket = beast::get_lowest_layer(*stream_);
    socket.expires_after(options_.deadline);
    co_await socket.async_connect(endpoints, net::redirect_error(net::use_awaitable, ec));
    if (ec) co_return Unavailable("cannot reach " + options_.url + ": " + ec.message() + "; is the appliance running?");
    socket.socket().set_option(tcp::no_delay(true), ec);
    if (auto named = ExpectServerName(stream_->native_handle(), target_.host); !named) co_return named.error();
    co_await stream_->async_handshake(net::ssl::stream_base::client, net::redirect_error(net::use_awaitable, ec));
    if (ec && ec.category() == net::error::get_ssl_category())
      co_return Forbidden("no TLS with " + options_.url + ": " + ec.message(), "tls-refused");
    if (ec) co_return Unavailable("no TLS with " + options_.url + ": " + ec.message());
    co_return Result<void>();
  }

  const Options options_;
  Target target_;
  net::io_context context_{1};
  net::ssl::context tls_;
  std::unique_ptr<TlsStream> stream_;
  beast::flat_buffer buffer_;
};

Client::Client(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Client::~Client() = default;

Result<std::unique_ptr<Client>> Client::Make(Options options) {
  auto impl = std::make_unique<Impl>(std::move(options));
  TRY(impl->Prepare());
  return std::unique_ptr<Client>(new Client(std::move(impl)));
}

Result<HttpAnswer> Client::Call(std::string_view method, std::string_view target, std::string_view body) {
  return impl_->Call(method, target, body);
}

Result<void> Client::Stream(std::string_view target, Source source, Sink sink, Interrupt interrupt) {
  return impl_->Stream(target, std::move(source), std::move(sink), std::move(interrupt));
}

Result<boost::json::value> ParseAnswer(const HttpAnswer& answer) {
  TRY_ASSIGN(auto value, ParseJson({answer.body.data(), answer.body.size()}));
  if (answer.status < 400) return value;
  Error error;
  error.code = answer.status == 503   ? Code::kUnavailable
               : answer.status == 422 ? Code::kUnwrapFailed
               : answer.status == 404 ? Code::kNotFound
               : answer.status == 403 ? Code::kForbidden
                                      : Code::kConflict;
  error.where = "server";
  if (const auto* object = value.if_object()) {
    constexpr std::string_view kUrn = "urn:strongroom:problem:";
    if (const auto* type = object->if_contains("type"); type != nullptr && type->is_string()) {
      error.slug = std::string(std::string_view(type->get_string()));
      if (error.slug.starts_with(kUrn)) error.slug.erase(0, kUrn.size());
    }
    if (const auto* detail = object->if_contains("detail"); detail != nullptr && detail->is_string())
      error.detail = std::string(std::string_view(detail->get_string()));
  }
  return error;
}

}  // namespace strongroom::netapi
