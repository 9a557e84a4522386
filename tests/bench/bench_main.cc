// strongroom_bench: figures as ratios, both sides in one run, interleaved, median of the rounds. `ci/bench` runs it.

#include <signal.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <iostream>
#include <thread>

#include "crypto/base/secret.h"
#include "tests/bench/load.h"
#include "tests/bench/median.h"
#include "tests/bench/raw_wrap.h"
#include "tests/bench/rotation_bench.h"
#include "tests/bench/scale_bench.h"
#include "tests/support/dev_fixture.h"
#include "tests/support/faulty_module.h"
#include "tests/support/inventory.h"
#include "tests/support/raw_tls.h"

namespace strongroom::tests {
namespace {

namespace bj = boost::json;
using Steady = std::chrono::steady_clock;
std::chrono::milliseconds slice{1500};

// Loop runs `work` in `threads` threads for one slice; `work` returns how many operations one call did. Yields
// operations a second.
double Loop(unsigned threads, const std::function<std::function<int()>(unsigned)>& make_work) {
  std::atomic<bool> stop{false};
  std::atomic<long> done{0};
  std::vector<std::function<int()>> works;
  for (unsigned i = 0; i < threads; ++i) works.push_back(make_work(i));
  std::vector<std::thread> running;
  const auto begin = Steady::now();
  for (auto& work : works)
    running.emplace_back([&] {
      long mine = 0;
      while (!stop) mine += work();
      done += mine;
    });
  std::this_thread::sleep_until(begin + slice);
  stop = true;
  for (auto& thread : running) thread.join();
  return static_cast<double>(done) / std::chrono::duration<double>(Steady::now() - begin).count();
}

// WithoutEvidence is a dev appliance whose strongroomd is the bench's own build, which records no operation: the other
// side of B6. It is never installed.
class WithoutEvidence {
 public:
  explicit WithoutEvidence(unsigned hosts) : f_(hosts) {
    (void)kill(f_.PidOf("strongroomd.pid"), SIGTERM);
    while (kill(f_.PidOf("strongroomd.pid"), 0) == 0) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    const auto program = std::string(STRONGROOM_BENCH_DIR) + "/strongroomd";
    if (!provisioning::StartDaemon({program, "--config", f_.Path("strongroom.toml")}, f_.Path("log/strongroomd.log"),
                                   f_.Path("strongroomd.pid")))
      std::abort();
    f_.Up();  // waits until it is ready
  }
  const DevFixture& fixture() const { return f_; }

 private:
  DevFixture f_;
};

// FileKey is a dev appliance whose TLS key lies in a file: the other side of B7.
class FileKey {
 public:
  FileKey() {
    const auto run = [](std::vector<std::string> arguments) {
      if (const auto ran = provisioning::RunProcess(std::move(arguments)); !ran || ran->status != 0) std::abort();
    };
    run({"openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
         "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", f_.Path("server.key"), "-out",
         dir_.File("file.csr")});
    run({"openssl", "x509", "-req", "-in", dir_.File("file.csr"), "-copy_extensions", "copy", "-CA", f_.Path("ca.pem"),
         "-CAkey", f_.Path("ca.key"), "-days", "2", "-out", dir_.File("file.pem")});
    f_.Restart([&](std::string text) {
      const auto replace = [&](const std::string& key, const std::string& line) {
        const auto at = text.find("\n" + key + " = ") + 1;
        text.replace(at, text.find('\n', at) - at, line);
      };
      replace("certificate", "certificate = \"" + dir_.File("file.pem") + "\"");
      replace("identity", "key = \"" + f_.Path("server.key") + "\"");
      return text;
    });
  }
  const DevFixture& fixture() const { return f_; }

 private:
  TempDir dir_;
  DevFixture f_;
};

// NewConnections makes a connection, asks one thing and closes it.
double NewConnections(const DevFixture& f) {
  return Loop(8, [&](unsigned) {
    return [&f] {
      const auto client = f.ClientFor("monitor-1");
      const auto answer = client->Call("GET", "/v1/health/live");
      if (!answer || answer->status != 200) std::abort();
      return 1;
    };
  });
}

// BigLedger is a dev appliance with a million evidence entries, and its export.
class BigLedger {
 public:
  /// With `deks` DEKs in an inventory, too.
  explicit BigLedger(bool fill, std::size_t deks = 0) {
    if (!fill) return;
    if (deks != 0) InventoryOf(f_, "install", "service-1").Fill(deks);
    Stop();
    const auto filled = provisioning::RunProcess(
        {std::string(STRONGROOM_BIN_DIR) + "/ledger_recorder", f_.Path("data"), "250", std::to_string(kEntries / 250)});
    if (!filled || filled->status != 0) std::abort();
    f_.Up();
  }
  double MillisToReady() {
    Stop();
    const auto begin = Steady::now();
    f_.Up();
    return std::chrono::duration<double, std::milli>(Steady::now() - begin).count();
  }
  double ExportedPerSecond() {
    std::filesystem::remove_all(Export());
    return PerSecond([&] {
      const auto ran = f_.Run("auditor-1", {"ledger", "export", "--out", Export()});
      std::cerr << ran.err;
      return ran.status;
    });
  }
  double VerifiedPerSecond() {
    if (!std::filesystem::exists(Export())) (void)ExportedPerSecond();
    return PerSecond([&] {
      return f_.Run("auditor-1", {"ledger", "verify", Export(), "--vkey", f_.Path("ledger.vkey")}).status;
    });
  }
  double VerifiedByOraclePerSecond() {
    if (!std::filesystem::exists(Export())) (void)ExportedPerSecond();
    return PerSecond([&] {
      return provisioning::RunProcess({"python3", std::string(STRONGROOM_SOURCE_DIR) + "/tests/oracle/verify_export.py",
                                       Export(), f_.Path("ledger.vkey")})
          ->status;
    });
  }

 private:
  static constexpr int kEntries = 1'000'000;
  void Stop() {
    (void)provisioning::RunProcess({std::string(STRONGROOM_BIN_DIR) + "/strongroom", "dev", "down", "--dir", f_.Dir()});
  }
  std::string Export() const { return dir_.File("export"); }
  static double PerSecond(const std::function<int()>& work) {
    const auto begin = Steady::now();
    if (work() != 0) std::abort();
    return kEntries / std::chrono::duration<double>(Steady::now() - begin).count();
  }
  TempDir dir_;
  DevFixture f_;
};

// Barbican is OpenStack's key service on the same SoftHSM (tests/bench/peer_barbican), over plain HTTP: the other side
// of B12. It writes its database for each secret, as we write the ledger; it keeps no evidence log.
class Barbican {
 public:
  Barbican() : port_(FreePort()) {
    const auto ran = provisioning::RunProcess(
        {std::string(STRONGROOM_SOURCE_DIR) + "/tests/bench/peer_barbican", dir_.File("b"), std::to_string(port_)});
    if (!ran || ran->status != 0) {
      std::cerr << "bench: " << (ran ? ran->err : "no peer_barbican") << "\n";
      std::abort();
    }
  }
  ~Barbican() {
    const auto pid = std::stoi(ReadFile(dir_.File("b/pid")));
    (void)kill(pid, SIGTERM);
    const auto until = Steady::now() + std::chrono::seconds(10);
    while (kill(pid, 0) == 0 && Steady::now() < until) std::this_thread::yield();
  }
  Barbican(const Barbican&) = delete;
  Barbican& operator=(const Barbican&) = delete;
  double StoresPerSecond() {
    return Loop(8, [this](unsigned) {
      return [connection = std::make_shared<PlainHttp>(port_)] {
        const std::string body = R"({"payload":"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",)"
                                 R"("payload_content_type":"application/octet-stream",)"
                                 R"("payload_content_encoding":"base64"})";
        const auto status = connection->Post("/v1/secrets", "X-Project-Id: bench\r\n", body);
        if (status != 201) {
          std::cerr << "bench: Barbican answered " << status << "\n";
          std::abort();
        }
        return 1;
      };
    });
  }

 private:
  TempDir dir_;
  int port_;
};

// NetworkHsm is a token that is far away: every call takes two milliseconds more, and there are 32 sessions. On one
// side a dev appliance whose host has them, less the one that control keeps, on the other 32 threads with one each.
class NetworkHsm {
 public:
  NetworkHsm() : near_(near_where_.path(), STRONGROOM_BIN_DIR), far_(far_where_.path(), STRONGROOM_BIN_DIR) {
    f_.Restart([&](std::string text) {
      const std::string real = kSoftHsmModule, tokend = "[tokend]\n";
      text.replace(text.find(real, text.find(tokend)), real.size(), far_.path());
      text.replace(text.find(tokend), tokend.size(), tokend + "sessions = 31\n");
      return text;
    });
    near_.Order("* delay 2");
    far_.Order("* delay 2");
  }
  double Ours() {
    return Load(f_, "service-1", 256, "POST", "/v1/keyrings/install/wrap",
                R"({"plaintext":"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="})", slice);
  }
  // A process of its own: SoftHSM is loaded once in each.
  double Ideal() {
    const auto ran = provisioning::RunProcess({"/proc/self/exe", "--slice-ms", std::to_string(slice.count()),
                                               "--ideal-sessions", "32", "--module", near_.path()});
    if (!ran || ran->status != 0) std::abort();
    return std::stod(ran->out);
  }

 private:
  TempDir near_where_, far_where_;
  FaultyModule near_, far_;
  DevFixture f_;
};

struct Row {
  std::string id, what;
  std::function<double()> ours;
  std::function<double()> other;
  std::vector<double> ours_seen = {}, other_seen = {}, ratios = {};
};

struct Options {
  bool json = false;
  int rounds = 5;
  unsigned hosts = 2;
  std::string only;
};

int Run(const Options& options) {
  RawWrap raw;
  const DevFixture f(options.hosts);
  std::optional<WithoutEvidence> unrecorded;
  const std::string wrap = R"({"plaintext":"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="})";
  std::string batch = "{\"items\":[";
  for (int i = 0; i < 100; ++i) batch += (i == 0 ? "" : ",") + wrap;
  batch += "]}";
  const std::string path = "/v1/keyrings/install/wrap";
  std::optional<FileKey> file_key;
  std::optional<NetworkHsm> network;
  std::optional<Barbican> barbican;
  std::optional<BigLedger> big, empty;
  // The raw side is taken at the thread count that is best for it.
  const auto raw_loop = [&](bool as_default) {
    const auto with = [&](unsigned threads) { return Loop(threads, [&](unsigned) { return raw.Worker(as_default); }); };
    return std::max(with(1), with(2));
  };
  const auto raw_side = [&] { return raw_loop(false); };
  const auto singles = [&](const DevFixture& at, unsigned connections) {
    return Load(at, "service-1", connections, "POST", path, wrap, slice);
  };
  std::vector<Row> rows = {
      {"B1", "single wrap, 16 connections / raw wrap", [&] { return singles(f, 16); }, raw_side},
      {"B1-64", "single wrap, 64 connections / raw wrap", [&] { return singles(f, 64); }, raw_side},
      {"B2", "batch wrap, 100 items, 8 connections / raw wrap",
       [&] { return 100 * Load(f, "service-1", 8, "POST", path, batch, slice); }, raw_side},
      {"B5", "wraps, network HSM of 2 ms a call / 32 ideal sessions", [&] { return network->Ours(); },
       [&] { return network->Ideal(); }},
      {"B6", "single wrap, 64 connections / the same, evidence off", [&] { return singles(f, 64); },
       [&] { return singles(unrecorded->fixture(), 64); }},
      {"B12", "single wrap, 8 connections / Barbican 15 storing one secret", [&] { return singles(f, 8); },
       [&] { return barbican->StoresPerSecond(); }},
      {"B7", "new TLS connections, key in a token / in a file", [&] { return NewConnections(f); },
       [&] { return NewConnections(file_key->fixture()); }},
      {"B10", "start to ready, 1,000,000 DEKs and entries / none, ms", [&] { return big->MillisToReady(); },
       [&] { return empty->MillisToReady(); }},
      {"export", "entries exported, 1,000,000 / verified by the oracle", [&] { return big->ExportedPerSecond(); },
       [&] { return big->VerifiedByOraclePerSecond(); }},
      {"verify", "entries verified, 1,000,000 / by the oracle", [&] { return big->VerifiedPerSecond(); },
       [&] { return big->VerifiedByOraclePerSecond(); }},
      {"floor", "constant answer, 16 connections / raw wrap",
       [&] { return Load(f, "service-1", 16, "GET", "/v1/health/live", "", slice); }, raw_side},
      {"floor-64", "constant answer, 64 connections / raw wrap",
       [&] { return Load(f, "service-1", 64, "GET", "/v1/health/live", "", slice); }, raw_side},
      {"raw", "raw wrap, transit object as SoftHSM makes it by default / as ours", [&] { return raw_loop(true); },
       raw_side},
  };
  if (!options.only.empty()) std::erase_if(rows, [&](const Row& row) { return row.id != options.only; });
  const auto has = [&](std::string_view id) {
    return std::any_of(rows.begin(), rows.end(), [&](const Row& row) { return row.id == id; });
  };
  if (has("B5")) network.emplace();
  if (has("B12")) barbican.emplace();
  if (has("B6")) unrecorded.emplace(options.hosts);
  if (has("B7")) file_key.emplace();
  if (has("B10") || has("export") || has("verify")) big.emplace(true, has("B10") ? 1'000'000 : 0);
  if (has("B10")) empty.emplace(false);
  for (int round = 0; round < options.rounds; ++round) {
    for (auto& row : rows) {
      // The two sides stand next to each other in each round.
      const double other = row.other(), ours = row.ours();
      row.other_seen.push_back(other);
      row.ours_seen.push_back(ours);
      row.ratios.push_back(ours / other);
    }
    std::cerr << "round " << round + 1 << " of " << options.rounds << "\n";
  }
  bj::array out;
  if (!options.json)
    std::printf("%-8s %-56s %12s %12s %8s  (a second, unless it says otherwise)\n", "id", "figure", "ours", "other",
                "ratio");
  for (const auto& row : rows) {
    if (options.json)
      out.push_back(bj::object{{"id", row.id},
                               {"figure", row.what},
                               {"ours", Median(row.ours_seen)},
                               {"other", Median(row.other_seen)},
                               {"ratio", Median(row.ratios)}});
    else
      std::printf("%-8s %-56s %12.1f %12.1f %8.2f\n", row.id.c_str(), row.what.c_str(), Median(row.ours_seen),
                  Median(row.other_seen), Median(row.ratios));
  }
  if (options.json) std::cout << bj::serialize(out) << "\n";
  return 0;
}

}  // namespace
}  // namespace strongroom::tests

int main(int argc, char** argv) {
  using namespace strongroom;
  CLI::App app("Strongroom's figures as ratios, both sides in one run; docs/performance.md says what they mean.");
  tests::Options options;
  int slice_ms = 1500;
  app.add_flag("--json", options.json, "one JSON document");
  app.add_option("--rounds", options.rounds, "rounds, the median counts")->check(CLI::Range(1, 100));
  app.add_option("--hosts", options.hosts, "token hosts of the service")->check(CLI::Range(1, 16));
  app.add_option("--only", options.only, "one row, by its id; B12 installs Barbican");
  std::size_t rotation = 0;
  app.add_option("--rotation", rotation, "instead: B3, B4, B8, B9 and B11, one pass over an inventory of so many DEKs");
  app.add_option("--slice-ms", slice_ms, "how long each side runs in a round")->check(CLI::Range(100, 600000));
  std::size_t principals = 0;
  app.add_option("--principals", principals, "instead: what so many principals cost beside ten, one pass");
  std::size_t keyrings = 0;
  app.add_option("--keyrings", keyrings, "instead: what so many keyrings cost beside ten, one pass")
      ->check(CLI::Range(11, 1000000));
  unsigned ideal_sessions = 0;
  std::string module;
  app.add_option("--ideal-sessions", ideal_sessions, "")->group("");
  app.add_option("--module", module, "")->group("");
  CLI11_PARSE(app, argc, argv);
  tests::slice = std::chrono::milliseconds(slice_ms);
  if (!OpenSecretArena(4U << 20)) return 1;
  if (ideal_sessions != 0) {
    tests::RawWrap raw(module);
    std::cout << tests::Loop(ideal_sessions, [&](unsigned) { return raw.Worker(false); }) << "\n";
    return 0;
  }
  if (principals != 0) return tests::RunPrincipals(principals, options.json);
  if (keyrings != 0) return tests::RunScale(keyrings, options.json);
  if (rotation != 0) return tests::RunRotation(rotation, options.hosts, options.json);
  return tests::Run(options);
}
