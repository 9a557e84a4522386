#pragma once
// The HTTPS client that the CLI and the tests use.

#include <chrono>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "crypto/base/result.h"
#include "netapi/json.h"
#include "netapi/tls.h"

namespace strongroom::netapi {

struct HttpAnswer {
  unsigned status = 0;
  std::string request_id;
  std::string retry_after;
  std::string content_type;
  std::string break_glass;  // id of the one that is open at the appliance, empty: none
  SecretText body;
};

/// Client keeps one connection alive and makes one call at a time. It never sends a call again: a call that failed
/// half-way may have taken effect. Not thread-safe.
class Client {
 public:
  struct Options {
    std::string url;  // https://host:port
    TlsFiles tls;     // ca needed; certificate and key may be empty
    std::chrono::milliseconds deadline{30000};
  };
  /// Make checks the options and reads the files; it does not connect yet. Fails with kInvalid or kIo.
  static Result<std::unique_ptr<Client>> Make(Options options);
  ~Client();
  /// Call sends one request; an empty body sends none. kUnavailable when there is no answer.
  Result<HttpAnswer> Call(std::string_view method, std::string_view target, std::string_view body = {});

  /// Source fills a buffer and returns how much, 0 at the end of input; called from a thread of its own, so it may
  /// block.
  using Source = std::function<Result<std::size_t>(std::span<char> buffer)>;
  /// Sink takes one answered line, without its end, in order; an error ends the stream.
  using Sink = std::function<Result<void>(std::string_view line)>;
  /// Interrupt makes a source that blocks return soon; called when the stream has failed.
  using Interrupt = std::function<void()>;
  /// Stream posts NDJSON and hands back the answers while input still flows. Memory is bounded by what both sides hold
  /// in flight. Fails with the server's problem, the source's or the sink's error, or kUnavailable when the connection
  /// broke: then what the sink has taken is what was answered.
  Result<void> Stream(std::string_view target, Source source, Sink sink, Interrupt interrupt);

 private:
  class Impl;
  explicit Client(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// ParseAnswer reads a JSON answer, or turns a problem document back into the Error that it was made of.
Result<boost::json::value> ParseAnswer(const HttpAnswer& answer);

}  // namespace strongroom::netapi
