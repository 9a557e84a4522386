#pragma once
// The HTTPS client that the CLI and the tests use.

#include <chrono>
#include <memory>
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

 private:
  class Impl;
  explicit Client(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// ParseAnswer reads a JSON answer, or turns a problem document back into the Error that it was made of.
Result<boost::json::value> ParseAnswer(const HttpAnswer& answer);

}  // namespace strongroom::netapi
