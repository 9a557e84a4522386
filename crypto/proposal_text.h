#pragma once
// The canonical text of a proposal: what a custodian reads is byte for byte what she signs (Q1).

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/base/clock.h"
#include "crypto/base/result.h"
#include "crypto/custody/operation.h"
#include "crypto/digest.h"

namespace strongroom::crypto {

/// kTokenPrefix is how the custody of a KEK begins that lies in a token: "token:" and the token's serial number.
inline constexpr std::string_view kTokenPrefix = "token:";

/// PolicyPart says how many of some custodians must approve.
struct PolicyPart {
  std::string label;  // a class, <organisation>/<class>, or a group that is required
  std::uint64_t needed = 0;
  std::uint64_t of = 0;
  bool operator==(const PolicyPart&) const = default;
};

/// ProposalText holds every field that a vote binds. Canonical form, lines in this order, each ended by '\n':
///   strongroom proposal v2
///   instance: <32 hex>
///   operation: <name>
///   keyring: <name>                    only when the operation has one
///   param <name>: <value>              sorted by name, every parameter
///   reason: <one visible line, at most 1000 bytes>
///   requester: <principal>
///   nonce: <32 hex>
///   created: <time>
///   approve-by: <time>
///   execute-by: <time>
///   roster: <version> <64 hex>
///   policy: <label> <needed> of <custodians>[; <label> <needed> of <custodians>]...   each must be met
///   control-log: <size> <64 hex root>
///   epoch: <number>                    of the logs that it was asked for in, from 1
/// Texts of format 1 begin with `strongroom proposal v1`, have no line `epoch` and up to 31 days in place of 7. They
/// parse for ever, for the logs are full of them; none is filed or executed any more.
struct ProposalText {
  std::uint32_t format = 2;
  InstanceId instance{};
  std::string operation;
  std::string keyring;
  std::map<std::string, std::string, std::less<>> params;
  std::string reason;
  std::string requester;
  std::array<std::uint8_t, 16> nonce{};
  Millis created = 0;
  Millis approve_by = 0;
  Millis execute_by = 0;
  std::uint64_t roster_version = 0;
  Digest roster_hash{};
  std::vector<PolicyPart> policy;
  std::uint64_t control_size = 0;
  Digest control_root{};
  std::uint64_t epoch = 1;  // 0 in format 1, which names none

  /// Render returns the canonical text; kInvalid when a field may not stand in one, or is not CheckReadable.
  Result<std::string> Render() const;
  /// CheckReadable holds reason and parameters to CheckSignedLine (text_rules.h): what is filed, and what somebody is
  /// about to sign. kInvalid.
  Result<void> CheckReadable() const;
  /// Parse accepts exactly what Render makes, and such texts of earlier builds as are not CheckReadable: they stand in
  /// logs.
  static Result<ProposalText> Parse(std::string_view text);
  /// Class is the policy class of the operation; empty for an operation that does not exist.
  std::string Class() const;
  bool operator==(const ProposalText&) const = default;
};

/// kProposalFormat is what is filed and executed now.
inline constexpr std::uint32_t kProposalFormat = 2;
inline constexpr std::size_t kMaxTextBytes = 65536;  // of a whole text
inline constexpr std::size_t kMaxReasonBytes = 1000;
inline constexpr std::size_t kMaxParamBytes = 4096;

/// ProposalId is the first 128 bits of the text's SHA-256, in hex: the text cannot change under its id.
std::string ProposalId(std::string_view text);

/// NamedKey returns the CKA_ID of the KEK that a proposal of a new version names by its parameters `keyring-id` and
/// `version`; kInvalid when it names none.
Result<KeyId> NamedKey(const ProposalText& proposal);

/// NamesToken tells whether a proposal says that a token, by its serial number, is to change its record: it is the one
/// of parameter `token`, or among those of `further-tokens` (which all follow a `roster.change` or a `clock.accept`).
bool NamesToken(const ProposalText& proposal, std::string_view serial);

/// CheckMark: a token's serial number or another of its marks, as a proposal may name it: 1 to 64 visible ASCII
/// characters without comma and slash. kInvalid.
Result<void> CheckMark(std::string_view mark);

/// ClassOf returns the policy class that an operation falls under; kInvalid for an operation that does not exist (yet).
Result<std::string> ClassOf(std::string_view operation);
/// OperationOf returns the operation of a proposal; kInvalid (unknown-operation), which no parsed text fails with.
Result<Operation> OperationOf(const ProposalText& proposal);

/// CheckFormat refuses texts that are not executed any more: kConflict (stale).
Result<void> CheckFormat(const ProposalText& proposal);
/// CheckEpoch tells whether a text was asked for in the logs' present epoch, or is the adoption that ends it.
/// `present` is 0 where no epoch is known yet: then only the first counts. kConflict (stale).
Result<void> CheckEpoch(std::uint64_t present, const ProposalText& proposal);

}  // namespace strongroom::crypto
