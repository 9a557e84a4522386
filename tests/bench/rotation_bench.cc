#include "tests/bench/rotation_bench.h"

#include <sys/stat.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <cstdio>
#include <filesystem>
#include <iostream>

#include "tests/bench/median.h"
#include "tests/bench/raw_rewrap.h"
#include "tests/support/govern.h"
#include "tests/support/inventory.h"

namespace strongroom::tests {
namespace {

namespace bj = boost::json;
using Steady = std::chrono::steady_clock;
using namespace std::chrono_literals;
constexpr auto kSlice = 1500ms;
constexpr std::size_t kSmall = 10'000;
const std::string kWrap = R"({"plaintext":"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="})";

struct Seen {
  std::string id, state;
  double done = 0, total = 0;
};

// The newest job of the appliance.
Seen Look(netapi::Client& client) {
  const auto answer = client.Call("GET", "/v1/jobs?limit=1");
  const auto list = answer ? netapi::ParseAnswer(*answer) : Result<bj::value>(answer.error());
  if (!list) std::abort();
  const auto& items = list->get_object().at("items").get_array();
  if (items.empty()) return {};
  const auto& job = items[0].get_object();
  return {std::string(std::string_view(job.at("id").get_string())),
          std::string(std::string_view(job.at("state").get_string())), job.at("done").to_number<double>(),
          job.at("total").to_number<double>()};
}

// Follow watches a job from `from` records on until `until` records or its end, and adds what it saw to `records` and
// `seconds`.
Seen Follow(netapi::Client& client, const std::string& former, double until, double& records, double& seconds) {
  Seen first, last;
  Steady::time_point begin, end;
  while (true) {
    const auto seen = Look(client);
    const auto now = Steady::now();
    if (!seen.id.empty() && seen.id != former && seen.done > 0) {
      if (first.id.empty()) {
        first = seen;
        begin = now;
      }
      if (seen.done > last.done) {
        last = seen;
        end = now;
      }
      last.state = seen.state;
      if (seen.done >= until || (seen.state != "running" && seen.state != "queued")) break;
    }
    std::this_thread::sleep_for(5ms);
  }
  records += last.done - first.done;
  seconds += std::chrono::duration<double>(end - begin).count();
  return last;
}

// P99 of single wraps over four kept connections, in milliseconds.
double P99(const DevFixture& f, std::chrono::seconds time) {
  std::vector<std::vector<double>> seen(4);
  std::vector<std::thread> threads;
  const auto until = Steady::now() + time;
  for (auto& mine : seen)
    threads.emplace_back([&f, &mine, until] {
      const auto client = f.ClientFor("service-1");
      while (Steady::now() < until) {
        const auto begin = Steady::now();
        const auto answer = client->Call("POST", "/v1/keyrings/org-b/wrap", kWrap);
        if (!answer || answer->status != 200) std::abort();
        mine.push_back(std::chrono::duration<double, std::milli>(Steady::now() - begin).count());
      }
    });
  for (auto& thread : threads) thread.join();
  std::vector<double> all;
  for (const auto& mine : seen) all.insert(all.end(), mine.begin(), mine.end());
  std::sort(all.begin(), all.end());
  std::cerr << "  " << all.size() << " wraps, p50 " << all[all.size() / 2] << " ms, p99 " << all[all.size() * 99 / 100]
            << " ms\n";
  return all[all.size() * 99 / 100];
}

double DiskOf(const DevFixture& f) {
  struct stat status {};
  (void)stat(f.Path("data/data.mdb").c_str(), &status);
  return static_cast<double>(status.st_blocks) * 512;
}

double AnonymousMiB(int pid) {
  const auto text = ReadFile("/proc/" + std::to_string(pid) + "/status");
  const auto at = text.find("RssAnon:");
  return at == std::string::npos ? 0 : std::atof(text.c_str() + at + 8) / 1024;
}

struct Figure {
  std::string id, what;
  double ours, other, ratio;
};

}  // namespace

int RunRotation(std::size_t deks, unsigned hosts, bool json) {
  RawRewrap raw;
  std::vector<Figure> figures;
  std::vector<double> raw_seen, small;
  {
    const DevFixture f(hosts);
    InventoryOf inventory(f, "install", "service-1");
    inventory.Fill(kSmall);
    const auto client = f.ClientFor("operator-1");
    std::string former;
    for (int round = 0; round < 5; ++round) {
      Governed(f, {"propose", "keyring.rotate", "--keyring", "install", "--reason", "bench"});
      double records = 0, seconds = 0;
      former = Follow(*client, former, 1e18, records, seconds).id;
      small.push_back(records / seconds);
      std::cerr << "10,000 DEKs, round " << round + 1 << ": " << static_cast<long>(small.back()) << " a second\n";
    }
  }
  const DevFixture f(hosts);
  const auto empty = DiskOf(f);
  InventoryOf inventory(f, "install", "service-1");
  std::cerr << "filling " << deks << "\n";
  inventory.Fill(deks);
  std::cerr << "filled: " << (DiskOf(f) - empty) / static_cast<double>(deks) << " bytes of disk a DEK\n";
  const auto idle = P99(f, 10s);
  raw_seen.push_back(raw.PerSecond(kSlice));
  const auto client = f.ClientFor("operator-1");
  Governed(f, {"propose", "keyring.rotate", "--keyring", "install", "--reason", "bench"});
  double records = 0, seconds = 0, peak = 0;
  const auto total = static_cast<double>(deks);
  const auto pid = f.PidOf("strongroomd.pid");
  auto seen = Follow(*client, "", total * 0.4, records, seconds);
  peak = std::max(peak, AnonymousMiB(pid));
  (void)client->Call("POST", "/v1/jobs/" + seen.id + "/pause");
  raw_seen.push_back(raw.PerSecond(kSlice));
  (void)client->Call("POST", "/v1/jobs/" + seen.id + "/resume");
  const auto before_load = Look(*client).done;
  const auto load_begin = Steady::now();
  const auto busy = P99(f, 10s);
  const double load_rate =
      (Look(*client).done - before_load) / std::chrono::duration<double>(Steady::now() - load_begin).count();
  peak = std::max(peak, AnonymousMiB(pid));
  seen = Follow(*client, "", 1e18, records, seconds);
  peak = std::max(peak, AnonymousMiB(pid));
  raw_seen.push_back(raw.PerSecond(kSlice));
  if (seen.state != "complete") std::cerr << "bench: the job is " << seen.state << "\n";
  const double rate = records / seconds, raw_rate = Median(raw_seen);
  std::cerr << "while it was loaded the job did " << static_cast<long>(load_rate) << " a second\n";
  const auto n = std::to_string(deks);
  figures = {
      {"B3", "rewrap of " + n + " inventory DEKs / raw in-token rewrap, a second", rate, raw_rate, rate / raw_rate},
      {"B4", "interactive wrap p99 during it / idle, ms", busy, idle, busy / idle},
      {"B8", "anonymous memory of strongroomd, peak seen, MiB / 128", peak, 128, peak / 128},
      {"B9", "disk a DEK after it, bytes / 500", (DiskOf(f) - empty) / total, 500, (DiskOf(f) - empty) / total / 500},
      {"B11", "time a DEK at " + n + " / at 10,000, us", 1e6 / rate, 1e6 / Median(small), Median(small) / rate}};
  bj::array out;
  if (!json) std::printf("%-6s %-64s %12s %12s %8s\n", "id", "figure", "ours", "other", "ratio");
  for (const auto& figure : figures) {
    if (json)
      out.push_back(bj::object{{"id", figure.id},
                               {"figure", figure.what},
                               {"ours", figure.ours},
                               {"other", figure.other},
                               {"ratio", figure.ratio}});
    else
      std::printf("%-6s %-64s %12.1f %12.1f %8.2f\n", figure.id.c_str(), figure.what.c_str(), figure.ours, figure.other,
                  figure.ratio);
  }
  if (json) std::cout << bj::serialize(out) << "\n";
  return seen.state == "complete" ? 0 : 1;
}

}  // namespace strongroom::tests
