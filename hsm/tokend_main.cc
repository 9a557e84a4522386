// strongroom-tokend: the supervisor of one KEK token, and its hosts.

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <CLI/CLI.hpp>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>

#include "crypto/base/secret.h"
#include "crypto/roster.h"
#include "hsm/roster_chain_file.h"
#include "hsm/supervisor.h"
#include "hsm/token_lock.h"
#include "hsm/token_setup.h"
#include "hsm/tokend_config.h"

namespace {

int Complain(const strongroom::Error& error) {
  std::cerr << "strongroom-tokend: " << error.Line() << "\n";
  return 1;
}

// The roster that a token is told to obey is given on its own machine, never by a front end.
strongroom::Result<strongroom::crypto::Roster> ReadRoster(const std::string& path) {
  using namespace strongroom;
  if (path.empty())
    return Invalid(
        "--roster FILE names the roster that the token is to obey: roster.txt of the first boot, or the text of GET "
        "/v1/roster");
  std::ifstream file(path, std::ios::binary);
  std::string text(crypto::kMaxRosterBytes + 1, '\0');
  if (!file) return Io("cannot read " + path);
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  return crypto::Roster::Parse(text);
}

// What a person compares before the token obeys it for good.
void Show(const strongroom::crypto::Roster& roster) {
  std::cout << "instance: " << strongroom::ToHex(roster.instance()) << "\nroster: " << roster.version() << " "
            << strongroom::ToHex(roster.hash()) << "\n";
  for (const auto& principal : roster.principals())
    if (principal.role == strongroom::crypto::Role::kCustodian)
      std::cout << "custodian: " << principal.name << " " << principal.ssh_key << "\n";
}

}  // namespace

int main(int argc, char** argv) {
  using namespace strongroom;
  CLI::App app(
      "The token side of Strongroom: loads one token's PKCS#11 module and runs key operations for strongroomd.");
  std::string config_path;
  int host = -1;
  bool pin_retry = false, init_token = false, make_key = false, show_token = false, clear_latch = false;
  bool set_root = false, take_token = false;
  std::string roster_path;
  app.add_option("--config", config_path, "configuration file; the table [tokend] is read")->required();
  app.set_version_flag("--version", "strongroom-tokend 0.1.0");
  app.add_flag("--init-token", init_token, "initialise the configured token in a free slot, then exit");
  app.add_flag("--make-checkpoint-key", make_key,
               "make the checkpoint key of a token that has none (--init-token does), then exit");
  app.add_flag("--set-root", set_root,
               "tell a token that an earlier build has used whose it is: roster 1, or the roster that it obeys; then "
               "exit");
  app.add_option("--roster", roster_path,
                 "text of the roster that the token is to obey (with --init-token, --make-checkpoint-key, --set-root)");
  app.add_flag("--take-token", take_token,
               "start although another installation has written the token's custody record: that one is gone");
  app.add_flag("--show-token", show_token, "print the configured token's marks, which need no PIN, then exit");
  app.add_flag("--clear-pin-latch", clear_latch,
               "forget that the token has refused the PIN, after the PIN file was corrected");
  app.add_option("--host", host, "")->group("");
  app.add_flag("--pin-retry", pin_retry, "")->group("");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  }
  spdlog::set_default_logger(spdlog::stderr_logger_st("tokend"));
  spdlog::set_pattern("%Y-%m-%dT%H:%M:%S.%e %P %l %v");
  if (const auto safe = ForbidCoreDumps(); !safe) return Complain(safe.error());
  if (const auto arena = OpenSecretArena(4U << 20); !arena) return Complain(arena.error());
  const auto config = hsm::ReadTokendConfig(config_path);
  if (!config) return Complain(config.error());
  if (host >= 0) return hsm::RunHost(*config, pin_retry, host == 0, take_token);
  if (clear_latch) {
    const auto cleared = hsm::ClearPinLatch(*config);
    if (!cleared) return Complain(cleared.error());
    std::cout << "cleared: the next start tries the PIN once more; start strongroom-tokend again if it has ended\n";
    return 0;
  }
  if (init_token || make_key || show_token || set_root) {
    if (!config->softhsm_conf.empty()) (void)setenv("SOFTHSM2_CONF", config->softhsm_conf.c_str(), 1);
    const auto uri = hsm::TokenUri::Parse(config->uri);
    if (!uri) return Complain(uri.error());
    if (show_token) {
      const auto marks = hsm::ReadMarks(*uri);
      if (!marks) return Complain(marks.error());
      std::cout << "serial: " << marks->serial << "\nlabel: " << marks->label << "\nmodel: " << marks->model
                << "\nmanufacturer: " << marks->manufacturer << "\n";
      return 0;
    }
    const auto roster = ReadRoster(roster_path);
    if (!roster) return Complain(roster.error());
    Show(*roster);
    const auto made = init_token ? hsm::InitialiseToken(*uri, config->so_pin_file, *roster)
                      : make_key ? hsm::AddCheckpointKey(*uri, *roster)
                                 : hsm::SetTokenRoot(*uri, *roster);
    if (!made) return Complain(made.error());
    const auto kept = hsm::RosterChainFile(hsm::ChainFile(*config)).Begin(roster->text());
    return kept ? 0 : Complain(kept.error());
  }
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error).string();
  return hsm::RunSupervisor(*config, std::filesystem::absolute(config_path).string(), error ? argv[0] : self,
                            take_token);
}
