#pragma once
// A ceremony's script (F24): what people do, in which order, and what must come of it. Parsing and filling in, without
// I/O.

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/base/result.h"
#include "crypto/digest.h"

namespace strongroom::provisioning {

/// What can be done in a step. Fields in braces are those that the step must have; [..] may.
enum class StepKind : std::uint8_t {
  kConfirm,      // {text} [by]: somebody says that it is so
  kAbsent,       // {keyring}: no keyring of this name is there yet
  kState,        // {is} [wait-seconds]: the appliance is in this state
  kExpect,       // {keyring} and any of primary, state, suite, custody, version + version-state
  kMakeRoster,   // {dir, votes, members}: writes roster.txt for a first boot
  kSignRoster,   // {dir, by}: NAME.sig beside roster.txt
  kCompareFile,  // {file} [by]: its fingerprint is read aloud
  kInitToken,    // {dir, config}: strongroom-tokend --init-token --roster
  kFirstBoot,    // {dir, config}: strongroomd --first-boot
  kPropose,      // {as, operation, reason} [keyring, params]
  kPrincipal,    // {as, change (add, revoke), name, reason} [role, cert, ssh-key, proof, votes]
  kCompare,      // {of} [by]: a proposal's fingerprint is read aloud
  kApprove,      // {of, by}
  kExecute,      // {of}
  kReview,       // {of, by, finding}: closes a break-glass and files its review
  kCli,          // {arguments}: one of strongroom's own commands that change nothing in custody
};
std::string_view ToString(StepKind kind);

struct Step {
  StepKind kind = StepKind::kConfirm;
  std::string title;
  std::vector<std::string> by;                             // labels of participants
  std::map<std::string, std::string, std::less<>> fields;  // texts, with {names} to fill in
  std::map<std::string, std::string, std::less<>> params;  // of a proposal
  std::vector<std::string> arguments;                      // of a command; members of a roster
};

struct Participant {
  std::string label;
  std::string role;  // operator, custodian
};
struct Parameter {
  std::string name, help, fallback;
  bool has_fallback = false;
};

struct CeremonyScript {
  std::string name;   // IsName
  std::string title;  // for people
  std::string text;   // the file, as its hash is taken
  crypto::Digest hash{};
  std::vector<Parameter> parameters;
  std::vector<Participant> participants;
  std::vector<Step> steps;

  /// Parse reads TOML of at most 32 KiB:
  ///   name, title
  ///   [[parameter]] name, help, default?
  ///   [[participant]] label, role
  ///   [[step]] do, title, and what StepKind says
  /// Fails with kInvalid and the line: an unknown key, a step without what it needs, a participant or {name} that the
  /// script does not declare, a proposal that is approved or executed before it is made.
  static Result<CeremonyScript> Parse(std::string_view text, const std::string& file);
};

/// CheckHarmless: a script may call backup, restore, ledger, status, keyring list and keyring show; the rest are steps
/// of their own. Asked of the arguments as written and again as filled in.
Result<void> CheckHarmless(const std::vector<std::string>& arguments);

using Values = std::map<std::string, std::string, std::less<>>;
/// FillIn replaces each {name} by its value; kInvalid for one that has none.
Result<std::string> FillIn(std::string_view text, const Values& values);

}  // namespace strongroom::provisioning
