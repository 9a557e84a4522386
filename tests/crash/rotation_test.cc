// A rotation with its job, while token hosts and the daemon are killed and services go on: every DEK is the same
// afterwards, none is lost, none is left behind, and the evidence adds up. `ci/soak rotation` runs it with a million.

#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <boost/json/array.hpp>
#include <cstdlib>
#include <iostream>
#include <random>
#include <thread>

#include "hsm/frame_socket.h"
#include "tests/support/govern.h"
#include "tests/support/inventory.h"

namespace strongroom::tests {
namespace {

namespace bj = boost::json;
using Clock = std::chrono::steady_clock;

std::size_t Setting(const char* name, std::size_t fallback) {
  const char* text = std::getenv(name);
  return text == nullptr ? fallback : static_cast<std::size_t>(std::atoll(text));
}

Result<bj::value> Ask(netapi::Client& client, const std::string& method, const std::string& target,
                      const std::string& body = {}) {
  TRY_ASSIGN(const auto answer, client.Call(method, target, body));
  return netapi::ParseAnswer(answer);
}

// Service wraps and unwraps one DEK after the other all the time; an answer may be missing, never wrong.
class Service {
 public:
  explicit Service(const DevFixture& f) : f_(f), thread_([this] { Loop(); }) {}
  ~Service() {
    stop_ = true;
    thread_.join();
  }
  std::atomic<long> answers{0}, missing{0}, wrong{0};

 private:
  void Loop() {
    std::mt19937 random(7);
    while (!stop_) {
      const auto client = f_.ClientFor("service-1");
      for (int i = 0; i < 200 && !stop_; ++i) {
        Bytes dek(32);
        for (auto& b : dek) b = static_cast<std::uint8_t>(random());
        const auto text = EncodeBase64(dek, Base64::kStandardPadded);
        const auto wrapped = Ask(*client, "POST", "/v1/keyrings/install/wrap", "{\"plaintext\":\"" + text + "\"}");
        if (!wrapped) {
          Missed(wrapped.error());
          continue;
        }
        const auto opened =
            Ask(*client, "POST", "/v1/keyrings/install/unwrap",
                "{\"wrapped\":\"" + std::string(std::string_view(wrapped->get_object().at("wrapped").get_string())) +
                    "\"}");
        if (!opened) {
          Missed(opened.error());
          continue;
        }
        ++(std::string_view(opened->get_object().at("plaintext").get_string()) == text ? answers : wrong);
      }
    }
  }
  void Missed(const Error& error) {
    // Killed parts may leave a request without an answer, and refuse the next ones; nothing else is allowed.
    ++(error.code == Code::kUnavailable || error.code == Code::kOverloaded ? missing : wrong);
  }
  const DevFixture& f_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

TEST(Rotation, F16_KilledHostsAndDaemonsLoseNoDek) {
  const auto deks = Setting("STRONGROOM_ROTATION_DEKS", 20'000);
  const auto host_kills = Setting("STRONGROOM_ROTATION_HOST_KILLS", 6);
  const auto daemon_kills = Setting("STRONGROOM_ROTATION_DAEMON_KILLS", 3);
  DevFixture f(2);
  // Small batches, so that there are many moments to be killed at.
  f.Restart([&](std::string text) {
    const std::string table = "[rotation]\n";
    return text.replace(text.find(table), table.size(),
                        table + (deks < 100'000 ? "batch = 16\nconcurrency = 2\n" : ""));
  });
  InventoryOf inventory(f, "install", "service-1");
  inventory.Fill(deks);
  if (testing::Test::HasFatalFailure()) return;
  Governed(f, {"propose", "keyring.rotate", "--keyring", "install", "--reason", "a rotation under fire"});

  std::mt19937 random(static_cast<unsigned>(Clock::now().time_since_epoch().count()));
  struct Kill {
    std::size_t at;
    bool daemon;
  };
  std::vector<Kill> kills;
  for (std::size_t i = 0; i < host_kills + daemon_kills; ++i) kills.push_back({random() % deks, i >= host_kills});
  std::sort(kills.begin(), kills.end(), [](const Kill& a, const Kill& b) { return a.at < b.at; });
  std::size_t hosts_killed = 0, daemons_killed = 0;
  std::string state, job;
  const auto begin = Clock::now();
  {
    Service service(f);
    auto client = f.ClientFor("operator-1");
    const auto until = Clock::now() + std::chrono::minutes(deks < 100'000 ? 4 : 60);
    std::size_t next = 0;
    while (Clock::now() < until && !testing::Test::HasFailure()) {
      const auto list = Ask(*client, "GET", "/v1/jobs");
      if (!list) {
        client = f.ClientFor("operator-1");
        continue;
      }
      const auto& items = list->get_object().at("items").get_array();
      if (items.empty()) continue;
      const auto& found = items[0].get_object();
      job = std::string_view(found.at("id").get_string());
      state = std::string_view(found.at("state").get_string());
      const auto done = found.at("done").to_number<std::size_t>();
      if (state != "running" && state != "queued" && state != "paused") break;
      if (next >= kills.size() || done < kills[next].at) continue;
      if (kills[next].daemon) {
        const auto pid = f.PidOf("strongroomd.pid");
        const hsm::UniqueFd process(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
        pollfd ended{process.get(), POLLIN, 0};
        if (kill(pid, SIGKILL) == 0) ++daemons_killed;
        // Its lock goes with its last thread, not with the signal.
        EXPECT_EQ(poll(&ended, 1, 30'000), 1);
        f.Up();
        client = f.ClientFor("operator-1");
      } else {
        const auto host = f.HostPid();
        if (host > 1 && kill(host, SIGKILL) == 0) ++hosts_killed;
      }
      ++next;
    }
    std::cout << deks << " DEKs, " << hosts_killed << " hosts and " << daemons_killed << " daemons killed, "
              << std::chrono::duration<double>(Clock::now() - begin).count() << " s; meanwhile " << service.answers
              << " right answers to a service, " << service.missing << " missing\n";
    EXPECT_EQ(service.wrong, 0);
    EXPECT_GT(service.answers, 0);
  }
  ASSERT_EQ(state, "complete");
  EXPECT_EQ(hosts_killed + daemons_killed, host_kills + daemon_kills) << "the job outran its killers";

  inventory.OpenAll(2);
  const auto client = f.ClientFor("auditor-1");
  const auto ended = *Ask(*client, "GET", "/v1/jobs/" + job);
  EXPECT_EQ(ended.get_object().at("done").to_number<std::size_t>(), deks) << "none twice";
  EXPECT_EQ(ended.get_object().at("total").to_number<std::size_t>(), deks);
  EXPECT_EQ(ended.get_object().at("quarantined").to_number<std::size_t>(), 0U);
  const auto plan = *Ask(*client, "POST", "/v1/keyrings/install/rewrap-plan");
  EXPECT_EQ(plan.get_object().at("records").to_number<int>(), 0) << "none is left behind";
  // The evidence of the job's batches adds up to every DEK once.
  std::size_t moved = 0;
  for (std::string from = "0"; !from.empty();) {
    const auto page = *Ask(*client, "GET", "/v1/ledger/evidence/entries?limit=1000&from=" + from);
    for (const auto& entry : page.get_object().at("items").get_array())
      if (std::string_view(entry.get_object().at("request_id").get_string()) == job)
        moved += entry.get_object().at("items").to_number<std::size_t>() -
                 entry.get_object().at("failed").to_number<std::size_t>();
    const auto& cursor = page.get_object().at("next");
    from = cursor.is_null() ? "" : bj::serialize(cursor);
  }
  EXPECT_EQ(moved, deks);
  const TempDir dir;
  ExportVerifies(f, dir.File("export"));
}

}  // namespace
}  // namespace strongroom::tests
