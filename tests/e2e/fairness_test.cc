// A tenant that floods, in the running service.

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "tests/support/dev_fixture.h"

namespace strongroom::tests {
namespace {

using namespace std::chrono_literals;

std::string Batch(int items) {
  std::string body = "{\"items\":[";
  for (int i = 0; i < items; ++i) body += std::string(i == 0 ? "" : ",") + R"({"bytes":32})";
  return body + "]}";
}

// Demand keeps a number of connections of one tenant busy with batches, and counts what was answered and what refused.
// `progress` is told of every answer.
class Demand {
 public:
  Demand(const DevFixture& f, const std::string& principal, int connections, int items,
         const std::function<void()>& progress)
      : body_(Batch(items)) {
    for (int i = 0; i < connections; ++i)
      threads_.emplace_back([this, items, progress, client = std::shared_ptr<netapi::Client>(f.ClientFor(principal))] {
        while (!stop_) {
          const auto answer = client->Call("POST", "/v1/keyrings/org-b/datakey", body_);
          if (answer && answer->status == 200)
            answered += items;
          else if (answer && answer->status == 429)
            ++over_share;
          else if (answer && answer->status == 503)
            ++overloaded;
          else
            ++other;
          progress();
        }
      });
  }
  ~Demand() {
    stop_ = true;
    for (auto& t : threads_) t.join();
  }
  std::atomic<long> answered{0}, over_share{0}, overloaded{0}, other{0};

 private:
  const std::string body_;
  std::atomic<bool> stop_{false};
  std::vector<std::thread> threads_;
};

// P3: two tenants that both want more than there is get the same, though one asks for a hundred times as much; what the
// other asks for is never refused for it. The quiet one always has as much waiting as a tenant may (5 x 800 of 4096),
// and batches are small against what is counted, so that neither the clients' own turns nor whole batches decide.
TEST(Fairness, P3_AHundredfoldFloodTakesNoMoreThanItsShare) {
  constexpr int kItems = 800;
  const DevFixture f;
  std::mutex mutex;
  std::condition_variable answered;
  const auto progress = [&] {
    { const std::lock_guard lock(mutex); }
    answered.notify_one();
  };
  Demand quiet(f, "service-1", 5, kItems, progress);
  Demand flood(f, "service-2", 500, kItems, progress);
  const auto wait_for = [&](long items) {
    std::unique_lock lock(mutex);
    answered.wait_for(lock, 90s, [&] { return quiet.answered + flood.answered >= items; });
  };
  wait_for(20000);  // both have settled
  const long quiet_before = quiet.answered, flood_before = flood.answered;
  wait_for(quiet_before + flood_before + 100000);
  const auto quiet_share = static_cast<double>(quiet.answered - quiet_before);
  const auto flood_share = static_cast<double>(flood.answered - flood_before);
  EXPECT_GE(quiet_share + flood_share, 100000);
  EXPECT_GT(quiet_share, 0.9 * flood_share)
      << quiet_share << " to " << flood_share << "within a tenth, or better for who asks for little";
  EXPECT_EQ(quiet.over_share + quiet.overloaded + quiet.other, 0);
  EXPECT_GT(flood.over_share, 0) << "the flood was over its share";
  EXPECT_EQ(flood.overloaded + flood.other, 0) << "429 is its own fault, 503 would be everyone's";
}

// P2: while a tenant floods the bulk lane, governance and one waiting service are answered within a bound.
TEST(Fairness, P2_AFloodDelaysNeitherControlNorInteractiveBeyondABound) {
  const DevFixture f;
  std::string lines;
  for (int i = 0; i < 25000; ++i) lines += "{\"bytes\":32}\n";
  std::atomic<int> streaming{8};
  std::vector<std::thread> bulk;
  for (int i = 0; i < 8; ++i)
    bulk.emplace_back([&] {
      (void)f.Run("service-2", {"datakey", "--keyring", "org-b", "--ndjson"}, lines);
      --streaming;
    });
  const auto operator_1 = f.ClientFor("operator-1"), service = f.ClientFor("service-1");
  const auto timed = [](netapi::Client& client, const std::string& method, const std::string& target,
                        const std::string& body, unsigned status) {
    const auto begin = std::chrono::steady_clock::now();
    const auto answer = client.Call(method, target, body);
    EXPECT_TRUE(answer && answer->status == status) << (answer ? std::string(answer->body) : answer.error().Line());
    return std::chrono::steady_clock::now() - begin;
  };
  std::vector<std::chrono::steady_clock::duration> control, interactive;
  while (streaming > 6 && control.size() < 60) {
    interactive.push_back(timed(*service, "POST", "/v1/keyrings/install/datakey", R"({"bytes":32})", 200));
    // A proposal is recorded; a sweep and a canary ask the token meanwhile.
    const auto begin = std::chrono::steady_clock::now();
    const auto filed = operator_1->Call(
        "POST", "/v1/proposals", R"({"operation":"keyring.rotate","keyring":"install","reason":"under a flood"})");
    control.push_back(std::chrono::steady_clock::now() - begin);
    ASSERT_TRUE(filed);
    const auto id = std::string(filed->body).substr(7, 32);
    (void)timed(*operator_1, "POST", "/v1/proposals/" + id + "/withdraw", "", 200);
  }
  ASSERT_GE(control.size(), 20U) << "the flood lasted long enough";
  for (auto* times : {&control, &interactive}) {
    std::sort(times->begin(), times->end());
    EXPECT_LT((*times)[times->size() * 9 / 10], 500ms) << (times == &control ? "control" : "interactive");
    EXPECT_LT(times->back(), 2s);
  }
  for (auto& t : bulk) t.join();
}

}  // namespace
}  // namespace strongroom::tests
