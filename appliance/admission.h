#pragma once
// Admission: the one place where the data plane's queue is bounded, and shared fairly. Pure; the broker guards it with
// its lock.

#include <algorithm>
#include <cstddef>
#include <deque>
#include <list>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "crypto/base/result.h"

namespace strongroom::appliance {

/// Lane says how urgent a request is: a person or service waits for one answer (interactive), or streams many (bulk).
/// Control calls do not queue here: they go to the token by themselves.
enum class Lane : std::uint8_t { kInteractive = 0, kBulk = 1 };

/// AdmissionQueue holds what waits, per lane and tenant. Tenants of a lane take turns, a quantum of items each; a
/// request larger than that is paid for with the turns that follow, also by a tenant who comes back later. So one who
/// floods, or asks for much at once, waits for himself. `T` is the broker's pending request.
template <class T>
class AdmissionQueue {
 public:
  struct Limits {
    std::size_t items = 8192;         // of all tenants and lanes together
    std::size_t tenant_items = 4096;  // of one tenant
    std::size_t quantum = 16;         // items of one tenant's turn
  };
  explicit AdmissionQueue(Limits limits) : limits_(limits) {}

  /// Admit judges whether `items` more of a tenant may wait: kOverloaded, slug `tenant-over-share` (429) for the
  /// tenant's own bound, `overloaded` (503) for everyone's.
  Result<void> Admit(const std::string& tenant, std::size_t items) const {
    const auto at = tenant_items_.find(tenant);
    if ((at == tenant_items_.end() ? 0 : at->second) + items > limits_.tenant_items)
      return Overloaded("too many operations of " + tenant + " wait for the token", "tenant-over-share");
    if (items_ + items > limits_.items) return Overloaded("too many operations wait for the token");
    return {};
  }

  /// Push queues an admitted request of `items` items.
  void Push(Lane lane, const std::string& tenant, std::size_t items, T request) {
    auto& line = lanes_[static_cast<std::size_t>(lane)];
    auto at = line.index.find(tenant);
    if (at == line.index.end()) {
      line.turns.push_back({tenant, {}, 0});
      if (const auto debt = line.debts.find(tenant); debt != line.debts.end()) {
        line.turns.back().credit = debt->second;
        line.debts.erase(debt);
      }
      at = line.index.emplace(tenant, std::prev(line.turns.end())).first;
    }
    at->second->waiting.push_back({items, std::move(request)});
    line.items += items;
    items_ += items;
    tenant_items_[tenant] += items;
  }

  /// Take removes up to about `most` items of one lane (whole requests; at least one request when any waits). Tenants
  /// take turns.
  std::vector<T> Take(Lane lane, std::size_t most) {
    std::vector<T> taken;
    std::size_t count = 0;
    TakeFrom(lanes_[static_cast<std::size_t>(lane)], most, count, taken);
    return taken;
  }

  std::size_t items() const { return items_; }
  bool empty() const { return items_ == 0; }
  bool Has(Lane lane) const { return lanes_[static_cast<std::size_t>(lane)].items > 0; }
  std::size_t ItemsOf(Lane lane) const { return lanes_[static_cast<std::size_t>(lane)].items; }

 private:
  struct Waiting {
    std::size_t items;
    T request;
  };
  struct Turn {
    std::string tenant;
    std::deque<Waiting> waiting;
    std::int64_t credit;  // items left of this turn; below zero: what is owed
  };
  struct Line {
    std::list<Turn> turns;  // front: whose turn it is
    std::map<std::string, typename std::list<Turn>::iterator, std::less<>> index;
    std::map<std::string, std::int64_t, std::less<>> debts;  // of tenants with nothing waiting
    std::size_t items = 0;
  };

  void TakeFrom(Line& line, std::size_t most, std::size_t& count, std::vector<T>& taken) {
    while (count < most && !line.turns.empty()) {
      auto& turn = line.turns.front();
      if (turn.credit <= 0) turn.credit += static_cast<std::int64_t>(limits_.quantum);
      if (turn.credit <= 0) {  // still paying
        line.turns.splice(line.turns.end(), line.turns, line.turns.begin());
        continue;
      }
      auto& next = turn.waiting.front();
      const auto items = next.items;
      count += items;
      line.items -= items;
      items_ -= items;
      if (auto at = tenant_items_.find(turn.tenant); (at->second -= items) == 0) tenant_items_.erase(at);
      taken.push_back(std::move(next.request));
      turn.waiting.pop_front();
      turn.credit -= static_cast<std::int64_t>(items);
      if (turn.waiting.empty()) {
        if (turn.credit < 0) line.debts[turn.tenant] = turn.credit;
        line.index.erase(turn.tenant);
        line.turns.pop_front();
        if (line.turns.empty()) line.debts.clear();  // nobody waited for what was taken
      } else if (turn.credit <= 0) {
        line.turns.splice(line.turns.end(), line.turns, line.turns.begin());
      }
    }
  }

  const Limits limits_;
  Line lanes_[2];
  std::map<std::string, std::size_t, std::less<>> tenant_items_;
  std::size_t items_ = 0;
};

}  // namespace strongroom::appliance
