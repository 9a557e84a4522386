#pragma once
// Names for Asio and Beast that server and client share. Included by netapi's .cc files alone.

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>
#include <string>
#include <string_view>

#include "crypto/base/secret.h"

namespace strongroom::netapi {

namespace net = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using tcp = net::ip::tcp;
using TlsStream = net::ssl::stream<beast::tcp_stream>;
using SecretBuffer = beast::basic_flat_buffer<ZeroisingAllocator<char>>;
using SecretBody = http::basic_string_body<char, std::char_traits<char>, ZeroisingAllocator<char>>;
using RequestParser = http::request_parser<SecretBody>;
using ErrorCode = boost::system::error_code;

inline std::string_view View(beast::string_view s) { return {s.data(), s.size()}; }

}  // namespace strongroom::netapi
