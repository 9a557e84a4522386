#pragma once
// Control entries: changes of custody as they stand in the control log (ledger/FORMAT.md).

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "crypto/base/clock.h"
#include "crypto/base/result.h"
#include "crypto/envelope.h"
#include "crypto/quorum.h"

namespace strongroom::ledger {

/// An entry is at most this long: exports hold its length in two bytes (FORMAT.md).
inline constexpr std::size_t kMaxEntryBytes = 65535;

struct Genesis {
  std::string roster_text;
  std::vector<std::pair<std::string, std::string>> signatures;  // custodian, armored SSHSIG
};
struct ProposalFiled {
  std::string text;
};
struct VoteCast {
  std::string proposal;
  crypto::Vote vote;
};
struct ProposalWithdrawn {
  std::string proposal;
  std::string by;
};
struct ProposalConsumed {
  std::string proposal;
  std::string executor;
};
struct KeyringCreated {
  crypto::KeyringId keyring{};
  std::string name;
  crypto::Suite suite = crypto::Suite::kKwp;
  std::string custody;
  std::string grants;
};
struct VersionAnnounced {
  crypto::KeyringId keyring{};
  std::uint32_t version = 0;
  crypto::Suite suite = crypto::Suite::kKwp;
  std::string custody;
  crypto::KeyId kek{};
  std::string token;
};
struct VersionActivated {
  crypto::KeyringId keyring{};
  std::uint32_t version = 0;
};
struct ExecutionSettled {
  std::string proposal;
  bool ok = false;
  std::string slug;
  std::string detail;
};
using ControlBody = std::variant<Genesis, ProposalFiled, VoteCast, ProposalWithdrawn, ProposalConsumed, KeyringCreated,
                                 VersionAnnounced, VersionActivated, ExecutionSettled>;

struct ControlEntry {
  Millis time = 0;
  ControlBody body;
};

/// KindName is the entry's name in FORMAT.md, for people and JSON.
std::string_view KindName(const ControlBody& body);
Bytes Encode(const ControlEntry& entry);
/// DecodeControl accepts exactly what Encode makes; kIntegrity otherwise.
Result<ControlEntry> DecodeControl(ByteView bytes);

}  // namespace strongroom::ledger
