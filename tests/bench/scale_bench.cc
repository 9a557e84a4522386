#include "tests/bench/scale_bench.h"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <chrono>
#include <cstdio>
#include <functional>
#include <iostream>
#include <random>

#include "appliance/broker.h"
#include "tests/support/world.h"

namespace strongroom::tests {
namespace {

namespace bj = boost::json;
using Steady = std::chrono::steady_clock;

double Seconds(const std::function<void()>& work) {
  const auto begin = Steady::now();
  work();
  return std::chrono::duration<double>(Steady::now() - begin).count();
}

[[noreturn]] void Die(const char* what) {
  std::cerr << "bench: " << what << " failed\n";
  std::abort();
}

std::string Name(std::size_t n) { return "keyring-" + std::to_string(n); }

struct Cost {
  double lookup = 0, page = 0, boot = 0, change = 0;
};

class Scale {
 public:
  Scale() {
    if (!world_.FirstBoot() || !world_.Done("keyring.create", "install")) Die("the first boot");
  }
  // Grows to so many keyrings and measures there.
  Cost At(std::size_t keyrings) {
    Cost cost;
    while (made_ < keyrings) {
      world_.clock.now += Millis{4} * 60'000;  // 360 a day, fewer than one operator may file
      cost.change = Seconds([&] {
        if (!world_.Done("keyring.create", Name(made_), {{"grants", "service-1"}})) Die("a keyring");
      });
      ++made_;
    }
    const auto state = world_.governance->Snapshot();
    const auto service = tests::By("service-1");
    constexpr int kLookups = 200'000;
    std::mt19937 random(1);
    std::vector<std::string> names;
    for (int i = 0; i < 1000; ++i) names.push_back(Name(random() % keyrings));
    cost.lookup = Seconds([&] {
                    for (int i = 0; i < kLookups; ++i)
                      if (!appliance::Authorise(*state, service, names[static_cast<std::size_t>(i) % names.size()],
                                                ledger::Operation::kWrap))
                        Die("a lookup");
                  }) /
                  kLookups;
    constexpr int kPages = 2000;
    std::size_t seen = 0;
    cost.page = Seconds([&] {
                  for (int i = 0; i < kPages; ++i) {
                    std::size_t listed = 0;
                    auto at = state->keyrings.upper_bound(names[static_cast<std::size_t>(i) % names.size()]);
                    for (; at != state->keyrings.end() && listed < 100; ++at) listed += at->second->enabled ? 1 : 0;
                    seen += listed;
                  }
                }) /
                kPages;
    if (seen == 0) Die("a page");
    cost.boot = Seconds([&] { world_.Boot(); });
    return cost;
  }

 private:
  World world_;
  std::size_t made_ = 0;
};

struct Growth {
  std::string id, what;
  double many, few;
};
void Print(const std::vector<Growth>& rows, bool json) {
  bj::array out;
  if (!json) std::printf("%-8s %-62s %10s %10s %8s\n", "id", "figure", "many", "few", "ratio");
  for (const auto& row : rows) {
    if (json)
      out.push_back(bj::object{
          {"id", row.id}, {"figure", row.what}, {"ours", row.many}, {"other", row.few}, {"ratio", row.many / row.few}});
    else
      std::printf("%-8s %-62s %10.2f %10.2f %8.2f\n", row.id.c_str(), row.what.c_str(), row.many, row.few,
                  row.many / row.few);
  }
  if (json) std::cout << bj::serialize(out) << "\n";
}

// Services in the roster: by proposals of some hundred each, as an operator brings them in.
class People {
 public:
  People() {
    if (!world_.FirstBoot() || !world_.Done("keyring.create", "install", {{"grants", "service-1"}}))
      Die("the first boot");
  }
  Cost At(std::size_t principals) {
    Cost cost;
    while (made_ < principals) {
      std::map<std::string, std::string, std::less<>> params;
      for (std::size_t i = 0; i < 400 && made_ < principals; ++i, ++made_)
        params["add-" + Name(made_)] = "service " + ToHex(Spki(made_));
      if (!world_.Done("roster.change", "", params)) Die("a change of the roster");
    }
    cost.change = Seconds([&] {
      if (!world_.Done("keyring.create", "ring-" + std::to_string(principals))) Die("a keyring");
    });
    const auto state = world_.governance->Snapshot();
    const auto service = tests::By("service-1");
    constexpr int kLookups = 200'000;
    std::mt19937 random(1);
    std::vector<crypto::Digest> keys;
    for (int i = 0; i < 1000; ++i) keys.push_back(Spki(random() % principals));
    cost.lookup = Seconds([&] {
                    for (int i = 0; i < kLookups; ++i)
                      if (state->roster->FindBySpki(keys[static_cast<std::size_t>(i) % keys.size()]) == nullptr)
                        Die("a lookup");
                  }) /
                  kLookups;
    cost.boot = Seconds([&] { world_.Boot(); });
    return cost;
  }

 private:
  static std::string Name(std::size_t n) { return "service-of-" + std::to_string(n); }
  static crypto::Digest Spki(std::size_t n) { return crypto::Sha256(AsBytes(Name(n))); }
  World world_;
  std::size_t made_ = 0;
};

}  // namespace

int RunPrincipals(std::size_t principals, bool json) {
  People people;
  const auto few = people.At(10);
  const auto many = people.At(principals);
  const auto text = std::to_string(principals);
  Print(
      {{"lookup", "who a certificate is, of " + text + " principals / of 10, us", many.lookup * 1e6, few.lookup * 1e6},
       {"change", "one keyring by two votes, " + text + " / 10, ms", many.change * 1e3, few.change * 1e3},
       {"boot", "opening ledger and state, " + text + " / 10, ms", many.boot * 1e3, few.boot * 1e3}},
      json);
  return 0;
}

int RunScale(std::size_t keyrings, bool json) {
  Scale scale;
  const auto few = scale.At(10);
  const auto many = scale.At(keyrings);
  const auto text = std::to_string(keyrings);
  const std::vector<Growth> rows = {
      {"lookup", "authorising one request, " + text + " keyrings / 10, us", many.lookup * 1e6, few.lookup * 1e6},
      {"page", "a page of 100 keyrings, " + text + " / 10, us", many.page * 1e6, few.page * 1e6},
      {"change", "one keyring by two votes, the last of " + text + " / of 10, ms", many.change * 1e3, few.change * 1e3},
      {"boot", "opening ledger and state a keyring, " + text + " / 10, us",
       many.boot / static_cast<double>(keyrings) * 1e6, few.boot / 10 * 1e6},
  };
  Print(rows, json);
  return 0;
}

}  // namespace strongroom::tests
