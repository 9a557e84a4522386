#include "hsm/tokend_config.h"

#include <unistd.h>

#define TOML_HEADER_ONLY 0
#include <toml++/toml.h>

namespace strongroom::hsm {

Result<TokendConfig> ReadTokendConfig(const std::string& path) {
  toml::table root;
  try {
    root = toml::parse_file(path);
  } catch (const toml::parse_error& e) {
    return Invalid(path + ":" + std::to_string(e.source().begin.line) + ": " + std::string(e.description()));
  }
  for (const auto& [key, value] : root) {
    if (key == "token" && value.is_array_of_tables()) continue;
    if ((key != "tokend" && key != "server" && key != "ledger" && key != "rotation") || !value.is_table())
      return Invalid(path + ": unknown entry '" + std::string(key.str()) + "'");
  }
  const auto* table = root["tokend"].as_table();
  if (table == nullptr) return Invalid(path + ": the table [tokend] is missing");
  TokendConfig config;
  for (const auto& [key, value] : *table) {
    std::string* text = key == "uri"            ? &config.uri
                        : key == "socket"       ? &config.socket
                        : key == "state-dir"    ? &config.state_dir
                        : key == "softhsm-conf" ? &config.softhsm_conf
                        : key == "so-pin-file"  ? &config.so_pin_file
                                                : nullptr;
    if (text != nullptr && value.is_string()) {
      *text = value.as_string()->get();
    } else if (key == "recycle-operations" && value.is_integer()) {
      if (value.as_integer()->get() < 1000) return Invalid(path + ": recycle-operations is 1000 or more");
      config.recycle_operations = static_cast<std::uint64_t>(value.as_integer()->get());
    } else if ((key == "hosts" || key == "sessions" || key == "hang-seconds") && value.is_integer()) {
      const auto number = value.as_integer()->get();
      const std::int64_t most = key == "hosts" ? 16 : key == "sessions" ? 64 : 600;
      if (number < 1 || number > most)
        return Invalid(path + ": " + std::string(key.str()) + " is 1 to " + std::to_string(most));
      if (key == "hosts")
        config.hosts = static_cast<unsigned>(number);
      else if (key == "sessions")
        config.sessions = static_cast<unsigned>(number);
      else
        config.hang_seconds = number;
    } else if (key == "allowed-uids" && value.is_array()) {
      for (const auto& uid : *value.as_array()) {
        if (!uid.is_integer() || uid.as_integer()->get() < 0)
          return Invalid(path + ": allowed-uids holds user numbers");
        config.allowed_uids.insert(static_cast<uid_t>(uid.as_integer()->get()));
      }
    } else {
      return Invalid(path + ":" + std::to_string(value.source().begin.line) + ": unknown or mistyped key tokend." +
                     std::string(key.str()));
    }
  }
  if (config.uri.empty() || config.socket.empty() || config.state_dir.empty())
    return Invalid(path + ": [tokend] needs uri, socket and state-dir");
  if (config.allowed_uids.empty()) config.allowed_uids.insert(geteuid());
  return config;
}

}  // namespace strongroom::hsm
