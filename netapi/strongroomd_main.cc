// strongroomd: the appliance service. This file is the composition root: it makes the parts and connects them.

#include <signal.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>

#include "appliance/ledger_clock.h"
#include "appliance/rewrap_jobs.h"
#include "appliance/state_rows.h"
#include "crypto/base/secret.h"
#include "hsm/host_pool.h"
#include "hsm/identity_key.h"
#include "hsm/softhsm_guard.h"
#include "hsm/token_set.h"
#include "netapi/config.h"
#include "netapi/server.h"

namespace {

using namespace strongroom;

int Complain(const Error& error) {
  std::cerr << "strongroomd: " << error.Line() << "\n";
  return 1;
}

Result<std::string> ReadText(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return Io("cannot read " + path.string());
  return std::string((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
}

// First boot: roster.txt and one <custodian>.sig a custodian, all in one directory.
Result<void> FirstBoot(appliance::Governance& governance, const std::filesystem::path& directory) {
  TRY_ASSIGN(const auto roster, ReadText(directory / "roster.txt"));
  std::vector<std::pair<std::string, std::string>> signatures;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
    if (entry.path().extension() != ".sig") continue;
    TRY_ASSIGN(auto signature, ReadText(entry.path()));
    signatures.emplace_back(entry.path().stem().string(), std::move(signature));
  }
  if (error) return Io("cannot read the directory " + directory.string());
  std::sort(signatures.begin(), signatures.end());
  return governance.FirstBoot(roster, signatures);
}

sigset_t BlockStopSignals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  (void)pthread_sigmask(SIG_BLOCK, &set, nullptr);
  (void)signal(SIGPIPE, SIG_IGN);
  return set;
}

// Each connection is a descriptor: as many as the system allows this process.
void RaiseFileLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  (void)setrlimit(RLIMIT_NOFILE, &limit);
}

// Makes the identity token and its key unless they are there, and prints the public key for whoever certifies it.
Result<void> MakeIdentity(const netapi::ServerConfig& config) {
  if (config.identity.empty() || config.identity_so_pin_file.empty())
    return Invalid("--make-identity needs server.identity and server.identity-so-pin-file in the configuration");
  if (!config.identity_softhsm_conf.empty()) (void)setenv("SOFTHSM2_CONF", config.identity_softhsm_conf.c_str(), 1);
  TRY_ASSIGN(const auto uri, hsm::TokenUri::Parse(config.identity));
  TRY_ASSIGN(const auto spki, hsm::MakeIdentityKey(uri, config.identity_so_pin_file));
  std::cout << "-----BEGIN PUBLIC KEY-----\n";
  const auto text = EncodeBase64(spki, Base64::kStandardPadded);
  for (std::size_t i = 0; i < text.size(); i += 64) std::cout << text.substr(i, 64) << "\n";
  std::cout << "-----END PUBLIC KEY-----\n";
  return {};
}

Result<std::unique_ptr<hsm::IdentityKey>> OpenIdentity(const netapi::ServerConfig& config) {
  if (!config.identity_softhsm_conf.empty()) {
    (void)setenv("SOFTHSM2_CONF", config.identity_softhsm_conf.c_str(), 1);
    TRY(hsm::GuardTokenObjects(config.identity_softhsm_conf, config.identity_softhsm_conf + ".guard"));
  }
  TRY_ASSIGN(auto uri, hsm::TokenUri::Parse(config.identity));
  return hsm::IdentityKey::Open(std::move(uri));
}

hsm::TokenSet::Tokens ConnectFurther(const netapi::ServerConfig& config) {
  hsm::TokenSet::Tokens further;
  for (const auto& token : config.tokens) {
    hsm::RemoteKeyOps::Options remote;
    remote.socket_path = token.socket;
    remote.peer_uid = token.uid;
    further[token.serial] = std::make_unique<hsm::HostPool>(remote, token.hosts);
  }
  return further;
}

int Serve(const netapi::ServerConfig& config, const std::string& first_boot) {
  const auto stop_signals = BlockStopSignals();
  RaiseFileLimit();
  auto ledger = ledger::Ledger::Open({config.data_directory, config.map_bytes});
  if (!ledger) return Complain(ledger.error());
  auto state = appliance::LoadVerified(**ledger);
  if (!state) return Complain(state.error());
  const auto seen = (*ledger)->LastTime();
  if (!seen) return Complain(seen.error());
  appliance::LedgerClock clock(*seen, state->clock_frozen);
  hsm::RemoteKeyOps::Options remote;
  remote.socket_path = config.tokend_socket;
  remote.peer_uid = config.tokend_uid;
  // Three lanes, each with connections of its own: a host serves its connections in turn, so that none waits for
  // another's queue (P2).
  hsm::HostPool main_control(remote, config.token_hosts), main_interactive(remote, config.token_hosts),
      main_bulk(remote, config.token_hosts);
  hsm::TokenDoors doors;
  std::set<std::string, std::less<>> enrolled;
  for (const auto& [serial, token] : state->tokens) enrolled.insert(serial);
  doors.SetEnrolled(std::move(enrolled));
  hsm::TokenSet control(main_control, ConnectFurther(config), doors),
      interactive(main_interactive, ConnectFurther(config), doors), bulk(main_bulk, ConnectFurther(config), doors);
  appliance::Governance governance(**ledger, control, clock, std::move(*state), Millis{config.pace_minutes} * 60'000);
  if (!first_boot.empty()) {
    const auto done = FirstBoot(governance, first_boot);
    if (!done) return Complain(done.error());
    std::cout << "initialised: roster 1 is in the ledger\n";
    return 0;
  }
  appliance::Checkpointer checkpointer(
      **ledger, control, clock, [&] { return governance.Snapshot(); },
      {std::chrono::seconds(config.checkpoint_seconds), std::chrono::seconds(config.heartbeat_seconds)});
  const appliance::Lifecycle::Schedule schedule{std::chrono::seconds(config.canary_seconds),
                                                std::chrono::seconds(config.sweep_seconds),
                                                std::chrono::milliseconds(config.provider_slow_ms)};
  const appliance::FurtherWatch further(control, governance, doors, schedule);
  appliance::Lifecycle lifecycle(**ledger, control, governance, checkpointer, schedule,
                                 [&] { return further.Fault(); });
  const auto snapshot = [&] { return governance.Snapshot(); };
  const auto make_broker = [&](unsigned hosts, bool main_token) {
    appliance::Broker::Options broker_options;
    broker_options.gate = [&lifecycle, main_token](const appliance::DataRequest& request) {
      return lifecycle.Pass(request.keyring, request.operation, main_token);
    };
    broker_options.workers = 2 + hosts;  // one group in each host, others waiting for the disk
    return std::make_unique<appliance::Broker>(**ledger, appliance::Broker::TokenLanes{interactive, bulk}, clock,
                                               snapshot, broker_options);
  };
  appliance::Brokers::Further further_brokers;
  for (const auto& token : config.tokens) further_brokers[token.serial] = make_broker(token.hosts, false);
  appliance::Brokers brokers(make_broker(config.token_hosts, true), std::move(further_brokers), snapshot);
  appliance::RewrapJobs::Options job_options;
  job_options.batch = config.job_batch;
  job_options.hosts = config.token_hosts;
  job_options.concurrency = config.job_concurrency == 0 ? config.token_hosts + 1 : config.job_concurrency;
  job_options.busy = [&] { return brokers.InteractiveLately(); };
  job_options.hindrance = [&] {
    if (!lifecycle.DataPlaneOpen()) return "the appliance is " + std::string(appliance::ToString(lifecycle.State()));
    return lifecycle.ProviderPasses() ? std::string() : std::string("the token is not healthy");
  };
  appliance::RewrapJobs jobs(**ledger, bulk, clock, governance, job_options);
  std::unique_ptr<hsm::IdentityKey> identity;
  netapi::ServerTls tls{config.certificate, config.client_ca, {}, {}};
  if (config.identity.empty()) {
    auto lender = netapi::LendFromFile(config.key);
    if (!lender) return Complain(lender.error());
    tls.key = std::move(*lender);
  } else {
    auto opened = OpenIdentity(config);
    if (!opened) return Complain(opened.error());
    identity = std::move(*opened);
    tls.key = [&key = *identity] { return key.Take(); };
    tls.suspect = [&key = *identity] { key.Suspect(); };
  }
  netapi::Api api(
      **ledger, governance, brokers, lifecycle, checkpointer, jobs,
      [&] { return identity ? identity->Fault() : std::string(); }, [&] { return further.Report(); });
  netapi::Server::Options options;
  options.address = config.address;
  options.port = config.port;
  options.io_threads = config.io_threads;
  options.idle_deadline = std::chrono::seconds(config.idle_seconds);
  options.body_deadline = std::chrono::seconds(config.body_seconds);
  options.tls = std::move(tls);
  auto server = netapi::Server::Start(options, api);
  if (!server) return Complain(server.error());
  spdlog::info("listening on https://{}:{}", config.address, (*server)->port());
  (void)sd_notify(0, "READY=1");
  int signal_number = 0;
  (void)sigwait(&stop_signals, &signal_number);
  spdlog::info("stopping: requests under way are finished first");
  (void)sd_notify(0, "STOPPING=1");
  jobs.Stop();
  (*server)->Stop();
  spdlog::info("stopped");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  netapi::ForbidLingeringHeap();
  CLI::App app("Strongroom's appliance service: HTTPS front end, governance and ledger. KEKs stay on the token side.");
  std::string config_path, first_boot;
  bool check = false, make_identity = false;
  app.add_option("--config", config_path, "configuration file")->required();
  app.set_version_flag("--version", "strongroomd 0.1.0");
  app.add_flag("--check-config", check, "check the configuration and exit");
  app.add_flag("--make-identity", make_identity,
               "make the identity token and its TLS key unless they are there, print the public key, then exit");
  app.add_option("--first-boot", first_boot,
                 "write roster 1 from DIR (roster.txt and <custodian>.sig files) into an empty ledger, then exit")
      ->type_name("DIR");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  }
  spdlog::set_default_logger(spdlog::stderr_logger_mt("strongroomd"));
  spdlog::set_pattern("%Y-%m-%dT%H:%M:%S.%e %l %v");
  if (const auto safe = ForbidCoreDumps(); !safe) return Complain(safe.error());
  if (const auto arena = OpenSecretArena(4U << 20); !arena) return Complain(arena.error());
  const auto config = netapi::ReadServerConfig(config_path);
  if (!config) return Complain(config.error());
  if (check) {
    std::cout << config_path << ": good\n";
    return 0;
  }
  if (make_identity) {
    const auto made = MakeIdentity(*config);
    return made ? 0 : Complain(made.error());
  }
  return Serve(*config, first_boot);
}
