#include "netapi/config.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>

#define TOML_HEADER_ONLY 0
#include <toml++/toml.h>

namespace strongroom::netapi {
namespace {

Error At(const std::string& path, const toml::node& node, const std::string& what) {
  return Invalid(path + ":" + std::to_string(node.source().begin.line) + ": " + what);
}

Result<void> ReadNumber(const std::string& path, const toml::node& node, std::string_view key, std::int64_t low,
                        std::int64_t high, unsigned& out) {
  if (!node.is_integer() || node.as_integer()->get() < low || node.as_integer()->get() > high)
    return At(path, node,
              std::string(key) + " is a number from " + std::to_string(low) + " to " + std::to_string(high));
  out = static_cast<unsigned>(node.as_integer()->get());
  return {};
}

Result<void> ReadListen(const std::string& path, const toml::node& node, ServerConfig& config) {
  const auto text = node.value_or(std::string());
  const auto colon = text.rfind(':');
  unsigned port = 0;
  const auto digits = colon == std::string::npos ? std::string() : text.substr(colon + 1);
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (digits.empty() || error != std::errc() || end != digits.data() + digits.size() || port > 65535 || colon == 0)
    return At(path, node, "listen is like \"127.0.0.1:8443\"");
  config.address = text.substr(0, colon);
  if (config.address.starts_with('[') && config.address.ends_with(']'))
    config.address = config.address.substr(1, config.address.size() - 2);
  config.port = static_cast<unsigned short>(port);
  return {};
}

Result<void> ReadTokens(const std::string& path, const toml::node& node, ServerConfig& config) {
  if (!node.is_array_of_tables()) return At(path, node, "further tokens are tables: [[token]]");
  for (const auto& each : *node.as_array()) {
    FurtherTokenConfig token;
    token.uid = geteuid();
    for (const auto& [key, value] : *each.as_table()) {
      if (key == "serial" || key == "socket") {
        if (!value.is_string()) return At(path, value, "token." + std::string(key.str()) + " is a string");
        (key == "serial" ? token.serial : token.socket) = value.as_string()->get();
      } else if (key == "hosts") {
        TRY(ReadNumber(path, value, "token.hosts", 1, 16, token.hosts));
      } else if (key == "uid") {
        TRY(ReadNumber(path, value, "token.uid", 0, 4294967295, token.uid));
      } else {
        return At(path, value, "unknown key token." + std::string(key.str()));
      }
    }
    if (token.serial.empty() || token.socket.empty()) return At(path, each, "a [[token]] needs serial and socket");
    for (const auto& other : config.tokens)
      if (other.serial == token.serial || other.socket == token.socket)
        return At(path, each, "this serial or socket is another [[token]]'s");
    config.tokens.push_back(std::move(token));
  }
  return {};
}

}  // namespace

Result<ServerConfig> ReadServerConfig(const std::string& path) {
  toml::table root;
  try {
    root = toml::parse_file(path);
  } catch (const toml::parse_error& e) {
    return Invalid(path + ":" + std::to_string(e.source().begin.line) + ": " + std::string(e.description()));
  }
  ServerConfig config;
  config.tokend_uid = geteuid();
  unsigned map_gib = 64;
  struct Number {
    std::string_view key;
    std::int64_t low, high;
    unsigned* to;
  };
  const std::array<Number, 14> numbers = {{{"server.io-threads", 1, 16, &config.io_threads},
                                           {"server.token-hosts", 1, 16, &config.token_hosts},
                                           {"server.canary-seconds", 1, 60, &config.canary_seconds},
                                           {"server.sweep-seconds", 1, 3600, &config.sweep_seconds},
                                           {"server.provider-slow-ms", 100, 60000, &config.provider_slow_ms},
                                           {"server.idle-seconds", 1, 3600, &config.idle_seconds},
                                           {"server.body-seconds", 1, 3600, &config.body_seconds},
                                           {"server.tokend-uid", 0, 4294967295, &config.tokend_uid},
                                           {"ledger.checkpoint-seconds", 1, 3600, &config.checkpoint_seconds},
                                           {"ledger.heartbeat-seconds", 1, 3600, &config.heartbeat_seconds},
                                           {"ledger.map-gib", 1, 4096, &map_gib},
                                           {"rotation.pace-minutes", 0, 10080, &config.pace_minutes},
                                           {"rotation.batch", 1, 1000, &config.job_batch},
                                           {"rotation.concurrency", 0, 16, &config.job_concurrency}}};
  for (const auto& [name, value] : root) {
    if (name == "token") {
      TRY(ReadTokens(path, value, config));
      continue;
    }
    if ((name != "tokend" && name != "server" && name != "ledger" && name != "rotation") || !value.is_table())
      return At(path, value, "unknown entry '" + std::string(name.str()) + "'");
    if (name == "tokend") continue;
    for (const auto& [key, node] : *value.as_table()) {
      const auto full = std::string(name.str()) + "." + std::string(key.str());
      std::string* text = full == "server.certificate"             ? &config.certificate
                          : full == "server.key"                   ? &config.key
                          : full == "server.identity"              ? &config.identity
                          : full == "server.identity-so-pin-file"  ? &config.identity_so_pin_file
                          : full == "server.identity-softhsm-conf" ? &config.identity_softhsm_conf
                          : full == "server.client-ca"             ? &config.client_ca
                          : full == "server.tokend-socket"         ? &config.tokend_socket
                          : full == "ledger.directory"             ? &config.data_directory
                                                                   : nullptr;
      if (text != nullptr) {
        if (!node.is_string()) return At(path, node, full + " is a string");
        *text = node.as_string()->get();
      } else if (full == "server.listen") {
        TRY(ReadListen(path, node, config));
      } else if (const auto number =
                     std::find_if(numbers.begin(), numbers.end(), [&](const Number& n) { return n.key == full; });
                 number != numbers.end()) {
        TRY(ReadNumber(path, node, full, number->low, number->high, *number->to));
      } else {
        return At(path, node, "unknown key " + full);
      }
    }
  }
  for (const auto& [name, text] : {std::pair<const char*, const std::string*>{"server.listen", &config.address},
                                   {"server.certificate", &config.certificate},
                                   {"server.client-ca", &config.client_ca},
                                   {"server.tokend-socket", &config.tokend_socket},
                                   {"ledger.directory", &config.data_directory}})
    if (text->empty()) return Invalid(path + ": " + name + " is missing");
  for (const auto& token : config.tokens)
    if (token.socket == config.tokend_socket)
      return Invalid(path + ": the socket of [[token]] " + token.serial + " is the main token's");
  if (config.key.empty() == config.identity.empty())
    return Invalid(path + ": the TLS key is in a token (server.identity) or in a file (server.key): one of the two");
  config.map_bytes = static_cast<std::size_t>(map_gib) << 30;
  return config;
}

}  // namespace strongroom::netapi
