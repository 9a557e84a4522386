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
#include <random>
#include <set>
#include <thread>

#include "crypto/digest.h"
#include "tests/support/dev_fixture.h"

namespace strongroom::tests {
namespace {

namespace bj = boost::json;
using Clock = std::chrono::steady_clock;

struct Held {
  std::string wrapped;
  std::string dek;  // base64
};

std::string Text(const bj::value& v) { return std::string(std::string_view(v.get_string())); }

class LoadClient {
 public:
  LoadClient(DevFixture& f, unsigned seed, const std::atomic<bool>& stop, const std::atomic<bool>& daemon_killed)
      : principal_(seed % 2 == 0 ? "service-1" : "service-2"),
        keyring_(seed % 4 < 2 ? (seed % 2 == 0 ? "install" : "org-a") : "org-b"),
        random_(seed),
        client_(f.ClientFor(principal_)),
        stop_(stop),
        daemon_killed_(daemon_killed) {}

  void Run() {
    while (!stop_) {
      switch (held_.empty() ? 0 : random_() % 4) {
        case 0:
          Wrap();
          break;
        case 1:
          DataKey();
          break;
        case 2:
          Unwrap();
          break;
        default:
          Rewrap();
          break;
      }
    }
  }

  const std::string principal_;
  const std::string keyring_;
  std::vector<Held> held_;
  std::vector<std::string> digests_;  // of each answer, as its evidence entry has it
  int answers_ = 0, refused_ = 0;
  std::vector<std::string> wrong_;

 private:
  std::optional<bj::value> Call(const char* operation, const bj::value& body) {
    const auto text = netapi::WriteJson(body);
    const auto answer = client_->Call("POST", "/v1/keyrings/" + keyring_ + "/" + operation, {text.data(), text.size()});
    if (!answer) {
      if (!daemon_killed_) wrong_.push_back("no answer though the daemon lives: " + answer.error().Line());
      return std::nullopt;
    }
    if (answer->status == 503 && !answer->retry_after.empty()) {
      ++refused_;
      return std::nullopt;
    }
    if (answer->status != 200) {
      wrong_.push_back(std::string(operation) + " -> " + std::to_string(answer->status) + " " +
                       std::string(answer->body));
      return std::nullopt;
    }
    ++answers_;
    return *netapi::ParseAnswer(*answer);
  }
  // One item or a batch; of a batch, an item that failed must be a 503.
  std::vector<std::optional<bj::value>> Items(const char* operation, const std::vector<bj::object>& items) {
    std::vector<std::optional<bj::value>> out;
    bj::value body = items[0];
    if (items.size() > 1) body = bj::object{{"items", bj::array(items.begin(), items.end())}};
    const auto answer = Call(operation, body);
    if (!answer) return std::vector<std::optional<bj::value>>(items.size());
    if (items.size() == 1) return {*answer};
    for (const auto& item : answer->get_object().at("items").get_array()) {
      const auto* error = item.get_object().if_contains("error");
      if (error == nullptr)
        out.emplace_back(item);
      else
        out.emplace_back();
      if (error != nullptr && error->get_object().at("status").to_number<int>() != 503)
        wrong_.push_back("item: " + bj::serialize(*error));
    }
    return out;
  }
  std::size_t Count() { return random_() % 3 == 0 ? 1 + random_() % 20 : 1; }
  void Digest(const std::vector<crypto::Digest>& items) {
    Bytes all;
    for (const auto& d : items) Append(all, d);
    digests_.push_back(ToHex(crypto::Sha256(all)));
  }
  void Wrap() {
    std::vector<bj::object> items(Count());
    std::vector<std::string> deks;
    for (auto& item : items) {
      Bytes dek(16 + random_() % 49);
      for (auto& b : dek) b = static_cast<std::uint8_t>(random_());
      deks.push_back(EncodeBase64(dek, Base64::kStandardPadded));
      item["plaintext"] = deks.back();
    }
    const auto answers = Items("wrap", items);
    std::vector<crypto::Digest> digests;
    bool any = false;
    for (std::size_t i = 0; i < answers.size(); ++i) {
      crypto::Digest digest{};
      if (answers[i]) {
        any = true;
        held_.push_back({Text(answers[i]->get_object().at("wrapped")), deks[i]});
        digest = crypto::Sha256(AsBytes(held_.back().wrapped));
      }
      digests.push_back(digest);
    }
    if (any) Digest(digests);
  }
  void DataKey() {
    const auto answers = Items("datakey", {bj::object{{"bytes", 32}, {"plaintext", true}}});
    if (!answers[0]) return;
    held_.push_back({Text(answers[0]->get_object().at("wrapped")), Text(answers[0]->get_object().at("plaintext"))});
    Digest({crypto::Sha256(AsBytes(held_.back().wrapped))});
  }
  void Unwrap() {
    std::vector<std::size_t> picked(Count());
    std::vector<bj::object> items;
    for (auto& p : picked) {
      p = random_() % held_.size();
      items.push_back(bj::object{{"wrapped", held_[p].wrapped}});
    }
    const auto answers = Items("unwrap", items);
    for (std::size_t i = 0; i < answers.size(); ++i)
      if (answers[i] && Text(answers[i]->get_object().at("plaintext")) != held_[picked[i]].dek)
        wrong_.push_back("unwrap gave another DEK");
  }
  void Rewrap() {
    const auto pick = random_() % held_.size();
    const auto answers = Items("rewrap", {bj::object{{"wrapped", held_[pick].wrapped}}});
    if (!answers[0]) return;
    held_.push_back({Text(answers[0]->get_object().at("wrapped")), held_[pick].dek});
    Digest({crypto::Sha256(AsBytes(held_.back().wrapped))});
  }

  std::mt19937 random_;
  std::unique_ptr<netapi::Client> client_;
  const std::atomic<bool>& stop_;
  const std::atomic<bool>& daemon_killed_;
};

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
    for (const auto& digest : client->digests_) EXPECT_TRUE(digests.contains(digest)) << "an answer without its entry";
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
