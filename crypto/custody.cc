#include "crypto/custody.h"

#include <algorithm>

#include "crypto/sshsig.h"
#include "crypto/text_rules.h"

namespace strongroom::crypto {
namespace {

constexpr Millis kClockSlack = Millis{5} * 60 * 1000;
constexpr std::size_t kMaxSpent = 2000;  // twice what may be open at once
constexpr std::size_t kArmorLine = 70;

std::string Armored(std::string_view base64) {
  std::string text = "-----BEGIN SSH SIGNATURE-----\n";
  for (std::size_t i = 0; i < base64.size(); i += kArmorLine) text += std::string(base64.substr(i, kArmorLine)) + "\n";
  return text + "-----END SSH SIGNATURE-----\n";
}

// The name behind a prefix, empty when the parameter has another one.
std::string_view NameBehind(std::string_view parameter, std::string_view prefix) {
  return parameter.starts_with(prefix) ? parameter.substr(prefix.size()) : std::string_view();
}

Result<Principal> PrincipalOf(std::string_view name, std::string_view value) {
  const auto words = SplitWords(value);
  const auto role = words.empty() ? std::nullopt : RoleFromString(words[0]);
  const auto spki = words.size() < 2 ? std::nullopt : FromHexArray<32>(words[1]);
  if (!role || !spki || (words.size() != 2 && words.size() != 4))
    return Invalid("add-" + std::string(name) +
                   " is a role, a key hash of 64 hex digits, and for custodians an SSH key");
  Principal principal{std::string(name), *role, *spki, {}};
  if (words.size() == 4) principal.ssh_key = std::string(words[2]) + " " + std::string(words[3]);
  return principal;
}

}  // namespace

Result<LedgerRecord> SpendProposal(const LedgerRecord& record, const ExecutionGrant& grant, Millis now,
                                   bool after_loss) {
  auto next = record;
  auto& custody = next.custody;
  if (now + kClockSlack < custody.seen)
    return Unavailable("the token's host has seen " + FormatTime(custody.seen) + " and its clock says " +
                           FormatTime(now) + ": set the clock right",
                       "clock-back");
  custody.seen = std::max(custody.seen, now);
  TRY_ASSIGN(const auto roster, Roster::Parse(grant.roster_text()));
  const auto enforced = [&] {
    return Forbidden("the token enforces roster " + std::to_string(custody.roster_version) +
                         ", the votes were counted under another: restore a database that "
                         "has that roster",
                     "roster-not-enforced");
  };
  if (custody.roster_version == 0) {
    if (roster.version() != 1 && !after_loss)
      return Forbidden("the token knows no roster yet and takes roster 1 alone", "roster-not-enforced");
    custody.roster_version = roster.version();
    custody.roster_hash = roster.hash();
  }
  if (custody.roster_version != roster.version() || custody.roster_hash != roster.hash()) return enforced();
  const auto hash = Sha256(AsBytes(grant.text()));
  SpentProposal spent;
  std::copy_n(hash.begin(), spent.id.size(), spent.id.begin());
  spent.until = grant.proposal().execute_by;
  // What has expired cannot be replayed: its deadline is in the text.
  std::erase_if(custody.spent, [&](const SpentProposal& s) { return s.until + kClockSlack < custody.seen; });
  for (const auto& s : custody.spent)
    if (s.id == spent.id) return Conflict("this proposal has been executed already", "already-executed");
  if (custody.spent.size() >= kMaxSpent)
    return Overloaded(
        "the token remembers " + std::to_string(kMaxSpent) + " executed proposals: wait for their deadlines",
        "too-many-proposals");
  custody.spent.push_back(spent);
  return next;
}

std::string PossessionText(const InstanceId& instance, std::string_view principal, std::string_view ssh_key) {
  return "strongroom key possession v1\ninstance: " + ToHex(instance) + "\nprincipal: " + std::string(principal) +
         "\nkey: " + std::string(ssh_key) + "\n";
}

Result<Roster> RosterAfter(const Roster& roster, const ProposalText& proposal) {
  if (proposal.operation != "roster.change") return Invalid("the proposal is not one of roster.change");
  std::map<std::string, Principal, std::less<>> principals;
  for (const auto& p : roster.principals()) principals[p.name] = p;
  std::map<std::string, std::uint64_t, std::less<>> policies;
  for (const auto name : Roster::kClasses) policies[std::string(name)] = roster.Needed(name);
  for (const auto& [parameter, value] : proposal.params) {
    const auto name = NameBehind(parameter, "remove-");
    if (name.empty()) continue;
    const auto at = principals.find(name);
    if (value != "yes" || at == principals.end())
      return Invalid("'" + std::string(name) + "' is not in roster " + std::to_string(roster.version()));
    principals.erase(at);
  }
  for (const auto& [parameter, value] : proposal.params) {
    if (parameter == "new-roster" || parameter == "token" || !NameBehind(parameter, "remove-").empty()) continue;
    if (const auto name = NameBehind(parameter, "add-"); !name.empty()) {
      TRY_ASSIGN(auto principal, PrincipalOf(name, value));
      if (!principals.emplace(std::string(name), principal).second)
        return Invalid("'" + std::string(name) +
                       "' is in the roster already: remove it in the same change to replace it");
      if (principal.role != Role::kCustodian) continue;
      const auto proof = proposal.params.find("proof-" + std::string(name));
      if (proof == proposal.params.end())
        return Invalid(
            "'" + std::string(name) + "' has to show that the SSH key is hers: parameter proof-" + std::string(name),
            "proof-missing");
      TRY(VerifySshSignature(principal.ssh_key, kRosterNamespace,
                             AsBytes(PossessionText(roster.instance(), name, principal.ssh_key)),
                             Armored(proof->second)));
    } else if (const auto proof = NameBehind(parameter, "proof-"); !proof.empty()) {
      if (!proposal.params.contains("add-" + std::string(proof))) return Invalid("a proof for nobody who is added");
    } else if (const auto policy = NameBehind(parameter, "policy-"); !policy.empty()) {
      const auto at = policies.find(policy);
      if (at == policies.end()) return Invalid("there is no class of operations '" + std::string(policy) + "'");
      TRY_ASSIGN(at->second, ParseNumber(value));
    } else {
      return Invalid("unknown parameter '" + parameter.substr(0, 40) + "'", "unknown-parameter");
    }
  }
  std::vector<Principal> list;
  for (auto& [name, principal] : principals) list.push_back(std::move(principal));
  TRY_ASSIGN(auto next, Roster::Parse(RosterText(roster.instance(), roster.version() + 1, ToHex(roster.hash()),
                                                 policies, std::move(list))));
  if (next.policies() == roster.policies() && next.principals() == roster.principals())
    return Invalid("the change leaves the roster as it is");
  return next;
}

Result<LedgerRecord> RosterRecord(const LedgerRecord& record, const ExecutionGrant& grant) {
  TRY_ASSIGN(const auto roster, Roster::Parse(grant.roster_text()));
  TRY_ASSIGN(const auto after, RosterAfter(roster, grant.proposal()));
  const auto named = grant.proposal().params.find("new-roster");
  if (named == grant.proposal().params.end() ||
      named->second != std::to_string(after.version()) + " " + ToHex(after.hash()))
    return Invalid("the proposal names another roster than its change makes");
  auto next = record;
  next.custody.roster_version = after.version();
  next.custody.roster_hash = after.hash();
  return next;
}

}  // namespace strongroom::crypto
