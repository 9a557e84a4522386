// 64 clients mix all four operations while the token host is killed every few seconds, then the daemon itself: every
// answer that was given is right, every refusal is a 503 with Retry-After, and after the restart every wrapped DEK that
// was handed out opens and has its entry.

#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <set>
#include <thread>

#include "tests/support/load_client.h"

namespace strongroom::tests {
namespace {

namespace bj = boost::json;
using Clock = std::chrono::steady_clock;

std::set<std::string> EvidenceDigests(DevFixture& f) {
  std::set<std::string> digests;
  const auto auditor = f.ClientFor("auditor-1");
  std::string next = "0";
  while (!next.empty()) {
    const auto page =
        *netapi::ParseAnswer(*auditor->Call("GET", "/v1/ledger/evidence/entries?limit=1000&from=" + next));
    for (const auto& entry : page.get_object().at("items").get_array())
      digests.insert(Text(entry.get_object().at("digest")));
    const auto& cursor = page.get_object().at("next");
    next = cursor.is_null() ? "" : bj::serialize(cursor);
  }
  return digests;
}

TEST(MixedLoad, L3_KilledHostsAndDaemonLoseNothingAndAnswerNothingWrong) {
  const char* seconds_text = std::getenv("STRONGROOM_LOAD_SECONDS");
  const int seconds = seconds_text == nullptr ? 60 : std::atoi(seconds_text);
  DevFixture f;
  std::atomic<bool> stop{false}, daemon_killed{false};
  std::vector<std::unique_ptr<LoadClient>> clients;
  for (unsigned i = 0; i < 64; ++i) clients.push_back(std::make_unique<LoadClient>(f, i, stop, daemon_killed));
  std::vector<std::thread> threads;
  for (auto& client : clients) threads.emplace_back([&client] { client->Run(); });

  std::mutex mutex;
  std::condition_variable never;
  const auto daemon_pid = f.PidOf("strongroomd.pid");
  const auto begin = Clock::now();
  int kills = 0;
  for (auto next = begin + std::chrono::seconds(5); next < begin + std::chrono::seconds(seconds);
       next += std::chrono::seconds(5)) {
    std::unique_lock lock(mutex);
    (void)never.wait_until(lock, next);
    const auto host = f.HostPid();
    if (host > 1 && kill(host, SIGKILL) == 0) ++kills;
  }
  {
    std::unique_lock lock(mutex);
    (void)never.wait_until(lock, begin + std::chrono::seconds(seconds));
  }
  EXPECT_EQ(f.PidOf("strongroomd.pid"), daemon_pid);
  EXPECT_EQ(kill(daemon_pid, 0), 0) << "the daemon has lived through all of it";
  daemon_killed = true;
  (void)kill(daemon_pid, SIGKILL);
  stop = true;
  for (auto& thread : threads) thread.join();

  int answers = 0, refused = 0;
  std::size_t held = 0;
  for (const auto& client : clients) {
    answers += client->answers_;
    refused += client->refused_;
    held += client->held_.size();
    for (const auto& wrong : client->wrong_)
      ADD_FAILURE() << client->principal_ << " " << client->keyring_ << ": " << wrong;
  }
  std::cout << answers << " answers, " << refused << " refused with 503, " << held << " wrapped DEKs, " << kills
            << " hosts killed in " << seconds << " s\n";
  EXPECT_GE(kills, seconds / 5 - 2);
  EXPECT_GT(answers, 1000);

  f.Up();
  const auto digests = EvidenceDigests(f);
  for (const auto& client : clients) {
    for (const auto& digest : client->digests_)
      EXPECT_TRUE(digests.contains(ToHex(digest))) << "an answer without its entry";
    const auto reader = f.ClientFor(client->principal_);
    for (std::size_t at = 0; at < client->held_.size(); at += 1000) {
      bj::array items;
      const auto end = std::min(client->held_.size(), at + 1000);
      for (std::size_t i = at; i < end; ++i) items.push_back(bj::object{{"wrapped", client->held_[i].wrapped}});
      const auto text = netapi::WriteJson(bj::object{{"items", std::move(items)}});
      const auto answer = netapi::ParseAnswer(
          *reader->Call("POST", "/v1/keyrings/" + client->keyring_ + "/unwrap", {text.data(), text.size()}));
      ASSERT_TRUE(answer) << answer.error().Line();
      const auto& opened = answer->get_object().at("items").get_array();
      for (std::size_t i = at; i < end; ++i) {
        const auto* plaintext = opened[i - at].get_object().if_contains("plaintext");
        ASSERT_NE(plaintext, nullptr) << bj::serialize(opened[i - at]);
        EXPECT_EQ(Text(*plaintext), client->held_[i].dek);
      }
    }
  }
}

}  // namespace
}  // namespace strongroom::tests
