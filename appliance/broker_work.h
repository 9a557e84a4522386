#pragma once
// For the broker's own files.

#include "appliance/broker.h"

namespace strongroom::appliance {

// Worked is one request on its way through a group.
struct Broker::Worked {
  Pending pending;
  std::shared_ptr<const State> state;
  std::shared_ptr<const Keyring> keyring;
  std::optional<Error> refused;
  std::string break_glass;      // id of what it goes by, empty: nothing was overridden for it
  Result<void> primary_budget;  // whether the primary may encrypt once more (K4), asked once a request
  struct Item {
    DataAnswer answer;
    std::optional<Error> error;
    std::ptrdiff_t op = -1;                  // index into the group's operations, -1: none
    std::uint32_t from = 0;                  // version that the item came in under
    bool rewraps = false;                    // an unwrap that also wraps under the primary
    std::optional<ledger::DekWrite> change;  // of the inventory
  };
  std::vector<Item> items;
};

}  // namespace strongroom::appliance
