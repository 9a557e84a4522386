#pragma once
// One broker a token: what waits for one token keeps nobody waiting for another.

#include <map>
#include <memory>
#include <string>

#include "appliance/broker.h"

namespace strongroom::appliance {

/// Brokers knows which broker serves a keyring: the one of the token that its primary version's KEK is in. Thread-safe.
class Brokers {
 public:
  using Further = std::map<std::string, std::unique_ptr<Broker>, std::less<>>;  // by the token's serial number
  Brokers(std::unique_ptr<Broker> main, Further further, Broker::Snapshot snapshot)
      : main_(std::move(main)), further_(std::move(further)), snapshot_(std::move(snapshot)) {}

  /// For returns a keyring's broker; the main token's for one that does not exist, which refuses it.
  Broker& For(std::string_view keyring) {
    if (further_.empty()) return *main_;
    const auto state = snapshot_();
    const auto* found = state->FindKeyring(keyring);
    const auto* primary = found == nullptr ? nullptr : found->Primary();
    const auto at = primary == nullptr ? further_.end() : further_.find(primary->token);
    return at == further_.end() ? *main_ : *at->second;
  }
  /// Main records what never became a request.
  Broker& Main() { return *main_; }

  void Dispatch() {
    Each([](Broker& broker) { broker.Dispatch(); });
  }
  void Drain() {
    Each([](Broker& broker) { broker.Drain(); });
  }
  std::size_t Queued(Lane lane) {
    std::size_t queued = 0;
    Each([&](const Broker& broker) { queued += broker.Queued(lane); });
    return queued;
  }
  bool InteractiveLately() {
    bool lately = false;
    Each([&](const Broker& broker) { lately = lately || broker.InteractiveLately(); });
    return lately;
  }

 private:
  template <class Do>
  void Each(Do what) {
    what(*main_);
    for (auto& [serial, broker] : further_) what(*broker);
  }

  const std::unique_ptr<Broker> main_;
  const Further further_;
  const Broker::Snapshot snapshot_;
};

}  // namespace strongroom::appliance
