#pragma once
// For the broker's own files.

#include "appliance/broker.h"

namespace strongroom::appliance {

// VersionFor is the version that an incoming wrapped DEK names, if it still serves for the operation.
Result<const Version*> VersionFor(const State& state, const Keyring& keyring, const crypto::Envelope& envelope,
                                  Operation operation);

// Worked is one request on its way through a group.
struct Broker::Worked {
  Pending pending;
  std::shared_ptr<const State> state;
  std::shared_ptr<const Keyring> keyring;
  std::optional<Error> refused;
  std::optional<Error> revoked;  // the principal was removed while the token worked: it was used, and nothing leaves
  std::string break_glass;       // id of what it goes by, empty: nothing was overridden for it
  Result<void> primary_budget;   // whether the primary may encrypt once more (K4), asked once a request
  struct Item {
    DataAnswer answer;
    std::optional<Error> error;
    std::ptrdiff_t op = -1;                  // index into the group's operations, -1: none
    std::uint32_t from = 0;                  // version that the item came in under
    bool rewraps = false;                    // an unwrap that also wraps under the primary
    std::optional<ledger::DekWrite> change;  // of the inventory
  };
  std::vector<Item> items;
  std::vector<Claim> claims;       // of what it changes in the inventory
  std::uint64_t keyring_deks = 0;  // in the inventory, with what this request adds
  std::uint64_t owner_deks = 0;    // likewise what its principal owns of this keyring
  std::uint64_t owner_bytes = 0;   // and of all
};

}  // namespace strongroom::appliance
