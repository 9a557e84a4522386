#pragma once
// The control plane's state: a value that follows from the control log, and from nothing else.

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "appliance/grants.h"
#include "crypto/base/clock.h"
#include "crypto/envelope.h"
#include "crypto/proposal_text.h"
#include "crypto/quorum.h"
#include "crypto/roster.h"
#include "ledger/control_entry.h"

namespace strongroom::appliance {

/// VersionState follows NIST SP 800-57 part 1; what each allows is in docs and product terms: active wraps and unwraps,
/// deactivated unwraps only, pre-active nothing yet.
enum class VersionState : std::uint8_t { kPreActive = 1, kActive = 2, kDeactivated = 3 };
std::string_view ToString(VersionState state);

struct Version {
  std::uint32_t number = 0;
  VersionState state = VersionState::kPreActive;
  crypto::Suite suite = crypto::Suite::kKwp;
  std::string custody;  // "token:<serial>" or "keyring:install"
  crypto::KeyId kek{};
  std::string token;  // serial of the token that holds `kek`
  Millis announced = 0;
  Millis activated = 0;
  Millis deactivated = 0;
};

struct Keyring {
  crypto::KeyringId id{};
  std::string name;
  std::string custody;
  Grants grants;
  Millis created = 0;
  Millis last_rotation = 0;  // 0: never rotated
  std::uint32_t primary = 0;
  std::map<std::uint32_t, Version> versions;
  const Version* Find(std::uint32_t number) const {
    const auto at = versions.find(number);
    return at == versions.end() ? nullptr : &at->second;
  }
  const Version* Primary() const { return Find(primary); }
};

/// ProposalFate is what the log says happened to a proposal (outdated: an adoption came before it was executed); the
/// rest (approved, expired, stale) is judged at a time.
enum class ProposalFate : std::uint8_t {
  kPending = 1,
  kWithdrawn = 2,
  kConsumed = 3,
  kExecuted = 4,
  kFailed = 5,
  kOutdated = 6
};

struct Proposal {
  std::string id;
  std::string text;
  crypto::ProposalText parsed;
  std::vector<crypto::Vote> votes;
  ProposalFate fate = ProposalFate::kPending;
  std::string executor;
  std::string outcome;  // slug and detail of a failure
};

/// LedgerFacts is what the log says about itself: its epoch, and the keys that sign it.
struct LedgerFacts {
  std::uint64_t epoch = 1;
  std::uint32_t key = 1;          // number of the checkpoint key in force
  std::vector<std::string> keys;  // all of them as verifier keys, oldest first; empty before a rotation
  std::set<Bytes> unused_keys;    // CKA_IDs that an adoption found and no keyring has
  bool operator==(const LedgerFacts&) const = default;
};

/// State is copied on change; its parts are shared and never modified in place.
struct State {
  std::shared_ptr<const crypto::Roster> roster;  // null before first boot
  std::map<std::string, std::shared_ptr<const Keyring>, std::less<>> keyrings;
  std::map<crypto::KeyringId, std::string> keyring_names;
  std::map<std::string, std::shared_ptr<const Proposal>, std::less<>> proposals;

  LedgerFacts ledger;

  const Keyring* FindKeyring(std::string_view name) const;
  const Proposal* FindProposal(std::string_view id) const;
};

/// Changed names what an entry touched, so that its rows can be written.
struct Changed {
  bool roster = false;
  std::vector<std::string> keyrings;
  std::vector<std::string> proposals;
  bool ledger = false;
};

/// Apply changes the state by one entry of the log. kIntegrity when the entry does not fit the state: the log is then
/// not this state's.
Result<Changed> Apply(State& state, const ledger::ControlEntry& entry);

}  // namespace strongroom::appliance
