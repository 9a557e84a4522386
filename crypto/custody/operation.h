#pragma once
// Every operation that votes can allow, and what each may do: the one table that the appliance, the token host and the
// canonical text go by. Pure.

#include <cstdint>
#include <optional>
#include <string_view>

namespace strongroom::crypto {

/// Operation is one governed operation. Its number stands nowhere outside of a process: texts have its name. A new one
/// does not compile until RuleOf, ChangedRecord and the other switches say what it is.
enum class Operation : std::uint8_t {
  kBreakGlassOpen,
  kClockAccept,
  kGrantChange,
  kKeyringCreate,
  kKeyringEmergencyRotate,
  kKeyringEnable,
  kKeyringRotate,
  kKeyringSetPolicy,
  kLedgerAdopt,
  kLedgerArchive,
  kLedgerRotateKey,
  kRekeyStart,
  kRewrapReverse,
  kRewrapStart,
  kRosterChange,
  kTokenEnrol,
  kVersionAdopt,
  kVersionArchive,
  kVersionDestroy,
  kVersionRestore,
};

/// HostCall is what an operation's votes may be presented for to a token host.
enum class HostCall : std::uint8_t {
  kNone,          // nothing: they count in the appliance alone
  kChangeRecord,  // KeyOps::ChangeLedgerRecord in the token that parameter `token` names (or `further-tokens`)
  kGenerate,      // KeyOps::Generate in the token that parameter `custody` names
  kMove,          // the record of the token that a keyring leaves (`token`), a KEK in the one it goes to (`custody`)
};

/// VersionRule says which version of a keyring a text may name, seen from the token that carries it out.
enum class VersionRule : std::uint8_t {
  kNone,   // it is about no version
  kFirst,  // 1, of a keyring whose id and name the token does not know
  kNext,   // the one after the highest that the token has a KEK of; it has one
  kMoved,  // kNext in the token that the keyring leaves; above all that are in the one it goes to
  kNamed,  // one that the token has a KEK of
};

/// KeptRoom is the part of a token's list of executed proposals that an operation may use beside the common one.
enum class KeptRoom : std::uint8_t { kNone, kRecovery, kRoster, kEmergency };

/// OperationRule is a row of the table.
struct OperationRule {
  std::string_view name;
  std::string_view policy_class;  // who votes (Q8), one of Roster::kClasses
  bool about_a_keyring = false;   // it names one; else it may name none
  HostCall call = HostCall::kNone;
  VersionRule version = VersionRule::kNone;
  KeptRoom room = KeptRoom::kNone;
};

/// RuleOf returns the row of an operation; for a number that is none, a row without a name.
constexpr OperationRule RuleOf(Operation operation) {
  using enum HostCall;
  using V = VersionRule;
  using R = KeptRoom;
  switch (operation) {  // no default: what is not in here does not compile
    case Operation::kBreakGlassOpen:
      return {"break-glass.open", "break-glass", false, kNone, V::kNone, R::kNone};
    case Operation::kClockAccept:
      return {"clock.accept", "recovery", false, kChangeRecord, V::kNone, R::kRecovery};
    case Operation::kGrantChange:
      return {"grant.change", "ceremony", true, kNone, V::kNone, R::kNone};
    case Operation::kKeyringCreate:
      return {"keyring.create", "ceremony", true, kGenerate, V::kFirst, R::kNone};
    case Operation::kKeyringEmergencyRotate:
      return {"keyring.emergency-rotate", "emergency", true, kGenerate, V::kNext, R::kEmergency};
    case Operation::kKeyringEnable:
      return {"keyring.enable", "ceremony", true, kNone, V::kNone, R::kNone};
    case Operation::kKeyringRotate:
      return {"keyring.rotate", "rotation", true, kGenerate, V::kNext, R::kNone};
    case Operation::kKeyringSetPolicy:
      return {"keyring.set-policy", "rotation", true, kChangeRecord, V::kNone, R::kNone};
    case Operation::kLedgerAdopt:
      return {"ledger.adopt", "recovery", false, kChangeRecord, V::kNone, R::kRecovery};
    case Operation::kLedgerArchive:
      return {"ledger.archive", "destruction", false, kNone, V::kNone, R::kNone};
    case Operation::kLedgerRotateKey:
      return {"ledger.rotate-key", "rotation", false, kChangeRecord, V::kNone, R::kNone};
    case Operation::kRekeyStart:
      return {"rekey.start", "ceremony", true, kMove, V::kMoved, R::kNone};
    case Operation::kRewrapReverse:
      return {"rewrap.reverse", "rotation", true, kChangeRecord, V::kNamed, R::kNone};
    case Operation::kRewrapStart:
      return {"rewrap.start", "rotation", true, kNone, V::kNone, R::kNone};
    case Operation::kRosterChange:
      return {"roster.change", "roster", false, kChangeRecord, V::kNone, R::kRoster};
    case Operation::kTokenEnrol:
      return {"token.enrol", "ceremony", false, kChangeRecord, V::kNone, R::kNone};
    case Operation::kVersionAdopt:
      return {"version.adopt", "rotation", true, kChangeRecord, V::kNamed, R::kNone};
    case Operation::kVersionArchive:
      return {"version.archive", "destruction", true, kNone, V::kNone, R::kNone};
    case Operation::kVersionDestroy:
      return {"version.destroy", "destruction", true, kChangeRecord, V::kNamed, R::kNone};
    case Operation::kVersionRestore:
      return {"version.restore", "ceremony", true, kNone, V::kNone, R::kNone};
  }
  return {};
}

/// kOperationCount is how many there are; their numbers run from 0.
inline constexpr std::size_t kOperationCount = [] {
  std::size_t count = 0;
  while (!RuleOf(static_cast<Operation>(count)).name.empty()) ++count;
  return count;
}();
static_assert(kOperationCount == static_cast<std::size_t>(Operation::kVersionRestore) + 1,
              "operations are numbered without a gap, kVersionRestore is the last");

/// ToString returns an operation's name as texts have it.
constexpr std::string_view ToString(Operation operation) { return RuleOf(operation).name; }
/// OperationFromString returns the operation of a name; nullopt for one that this version does not execute.
std::optional<Operation> OperationFromString(std::string_view name);

/// MayGenerate and MayChangeRecord tell which of a host's two calls an operation's votes may be presented for.
constexpr bool MayGenerate(Operation operation) {
  const auto call = RuleOf(operation).call;
  return call == HostCall::kGenerate || call == HostCall::kMove;
}
constexpr bool MayChangeRecord(Operation operation) {
  const auto call = RuleOf(operation).call;
  return call == HostCall::kChangeRecord || call == HostCall::kMove;
}

}  // namespace strongroom::crypto
