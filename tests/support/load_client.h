#pragma once
// A service that mixes all four operations and remembers what it was given, to compare it with what it gets back.

#include <atomic>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "crypto/digest.h"
#include "tests/support/dev_fixture.h"

namespace strongroom::tests {

struct Held {
  std::string wrapped;
  std::string dek;  // base64
};

inline std::string Text(const boost::json::value& v) { return std::string(std::string_view(v.get_string())); }

/// LoadClient calls one keyring until `stop`: every answer must be right, every refusal a 503 with Retry-After, and no
/// request without an answer unless `may_break`. What was not so stands in wrong_. Use by one thread; read afterwards.
class LoadClient {
 public:
  LoadClient(const DevFixture& f, unsigned seed, const std::atomic<bool>& stop, const std::atomic<bool>& may_break,
             std::size_t most_held = std::size_t{1} << 30)
      : principal_(seed % 2 == 0 ? "service-1" : "service-2"),
        keyring_(seed % 4 < 2 ? (seed % 2 == 0 ? "install" : "org-a") : "org-b"),
        random_(seed),
        client_(f.ClientFor(principal_)),
        stop_(stop),
        may_break_(may_break),
        most_held_(most_held) {}

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
  std::vector<crypto::Digest> digests_;  // of each answer, as its evidence entry has it
  long answers_ = 0, refused_ = 0, unanswered_ = 0;
  std::vector<std::string> wrong_;

 private:
  std::optional<boost::json::value> Call(const char* operation, const boost::json::value& body) {
    const auto text = netapi::WriteJson(body);
    const auto answer = client_->Call("POST", "/v1/keyrings/" + keyring_ + "/" + operation, {text.data(), text.size()});
    if (!answer) {
      ++unanswered_;
      if (!may_break_) wrong_.push_back("no answer though the daemon lives: " + answer.error().Line());
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
  std::vector<std::optional<boost::json::value>> Items(const char* operation,
                                                       const std::vector<boost::json::object>& items) {
    std::vector<std::optional<boost::json::value>> out;
    boost::json::value body = items[0];
    if (items.size() > 1) body = boost::json::object{{"items", boost::json::array(items.begin(), items.end())}};
    const auto answer = Call(operation, body);
    if (!answer) return std::vector<std::optional<boost::json::value>>(items.size());
    if (items.size() == 1) return {*answer};
    for (const auto& item : answer->get_object().at("items").get_array()) {
      const auto* error = item.get_object().if_contains("error");
      if (error == nullptr)
        out.emplace_back(item);
      else
        out.emplace_back();
      if (error != nullptr && error->get_object().at("status").to_number<int>() != 503)
        wrong_.push_back("item: " + boost::json::serialize(*error));
    }
    return out;
  }
  // Beyond the bound a new one takes the place of an old one.
  void Hold(Held held) {
    if (held_.size() < most_held_)
      held_.push_back(std::move(held));
    else
      held_[random_() % held_.size()] = std::move(held);
  }
  std::size_t Count() { return random_() % 3 == 0 ? 1 + random_() % 20 : 1; }
  void Digest(const std::vector<crypto::Digest>& items) {
    Bytes all;
    for (const auto& d : items) Append(all, d);
    digests_.push_back(crypto::Sha256(all));
  }
  void Wrap() {
    std::vector<boost::json::object> items(Count());
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
        const auto wrapped = Text(answers[i]->get_object().at("wrapped"));
        digest = crypto::Sha256(AsBytes(wrapped));
        Hold({wrapped, deks[i]});
      }
      digests.push_back(digest);
    }
    if (any) Digest(digests);
  }
  void DataKey() {
    const auto answers = Items("datakey", {boost::json::object{{"bytes", 32}, {"plaintext", true}}});
    if (!answers[0]) return;
    const auto wrapped = Text(answers[0]->get_object().at("wrapped"));
    Hold({wrapped, Text(answers[0]->get_object().at("plaintext"))});
    Digest({crypto::Sha256(AsBytes(wrapped))});
  }
  void Unwrap() {
    std::vector<std::size_t> picked(Count());
    std::vector<boost::json::object> items;
    for (auto& p : picked) {
      p = random_() % held_.size();
      items.push_back(boost::json::object{{"wrapped", held_[p].wrapped}});
    }
    const auto answers = Items("unwrap", items);
    std::vector<crypto::Digest> digests;
    bool any = false;
    for (std::size_t i = 0; i < answers.size(); ++i) {
      std::string rewrapped;
      if (answers[i]) {
        any = true;
        const auto& object = answers[i]->get_object();
        if (Text(object.at("plaintext")) != held_[picked[i]].dek) wrong_.push_back("unwrap gave another DEK");
        if (const auto* under_primary = object.if_contains("rewrapped")) rewrapped = Text(*under_primary);
      }
      digests.push_back(crypto::Sha256({AsBytes(held_[picked[i]].wrapped), AsBytes(rewrapped)}));
    }
    if (any) Digest(digests);
  }
  void Rewrap() {
    const auto pick = random_() % held_.size();
    const auto answers = Items("rewrap", {boost::json::object{{"wrapped", held_[pick].wrapped}}});
    if (!answers[0]) return;
    const auto wrapped = Text(answers[0]->get_object().at("wrapped"));
    Hold({wrapped, held_[pick].dek});
    Digest({crypto::Sha256(AsBytes(wrapped))});
  }

  std::mt19937 random_;
  std::unique_ptr<netapi::Client> client_;
  const std::atomic<bool>& stop_;
  const std::atomic<bool>& may_break_;  // whether a request may have no answer
  const std::size_t most_held_;
};

}  // namespace strongroom::tests
