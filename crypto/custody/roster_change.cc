// A change of the roster, as its proposal writes it.

#include <algorithm>

#include "crypto/custody.h"
#include "crypto/sshsig.h"
#include "crypto/text_rules.h"

namespace strongroom::crypto {
namespace {

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

std::string PossessionText(const InstanceId& instance, std::string_view principal, std::string_view ssh_key) {
  return "strongroom key possession v1\ninstance: " + ToHex(instance) + "\nprincipal: " + std::string(principal) +
         "\nkey: " + std::string(ssh_key) + "\n";
}

namespace {

// RosterEdit is a roster's parts while a change is applied to them, one parameter after the other.
struct RosterEdit {
  const Roster& roster;
  const ProposalText& proposal;
  RosterParts parts;
  std::map<std::string, Principal, std::less<>> principals;

  RosterEdit(const Roster& r, const ProposalText& p) : roster(r), proposal(p), parts(r.parts()) {
    for (const auto& principal : r.principals()) principals[principal.name] = principal;
  }

  Result<void> Remove(std::string_view name, const std::string& value) {
    const auto at = principals.find(name);
    if (value != "yes" || at == principals.end())
      return Invalid("'" + std::string(name) + "' is not in roster " + std::to_string(roster.version()));
    principals.erase(at);
    return {};
  }

  Result<void> Add(std::string_view name, const std::string& value) {
    TRY_ASSIGN(auto principal, PrincipalOf(name, value));
    if (!principals.emplace(std::string(name), principal).second)
      return Invalid("'" + std::string(name) +
                     "' is in the roster already: remove it in the same change to replace it");
    if (principal.role != Role::kCustodian) return {};
    const auto proof = proposal.params.find("proof-" + std::string(name));
    if (proof == proposal.params.end())
      return Invalid(
          "'" + std::string(name) + "' has to show that the SSH key is hers: parameter proof-" + std::string(name),
          "proof-missing");
    return VerifySshSignature(principal.ssh_key, kRosterNamespace,
                              AsBytes(PossessionText(roster.instance(), name, principal.ssh_key)),
                              Armored(proof->second));
  }

  // A list of names, or "none" to take the entry out.
  static void Put(std::map<std::string, std::vector<std::string>, std::less<>>& lists, std::string_view name,
                  const std::string& value) {
    std::vector<std::string> names;
    for (const auto word : SplitWords(value, ',')) names.emplace_back(word);
    if (value == "none")
      lists.erase(std::string(name));
    else
      lists[std::string(name)] = std::move(names);
  }

  Result<void> Apply(std::string_view parameter, const std::string& value) {
    if (const auto name = NameBehind(parameter, "add-"); !name.empty()) return Add(name, value);
    if (const auto name = NameBehind(parameter, "proof-"); !name.empty()) {
      if (!proposal.params.contains("add-" + std::string(name))) return Invalid("a proof for nobody who is added");
      return {};
    }
    if (const auto name = NameBehind(parameter, "policy-"); !name.empty()) {
      const auto at = parts.policies.find(name);
      if (at == parts.policies.end()) return Invalid("there is no class of operations '" + std::string(name) + "'");
      TRY_ASSIGN(at->second, ParseNumber(value));
      return {};
    }
    if (const auto name = NameBehind(parameter, "organisation-"); !name.empty()) {
      parts.organisations.erase(std::string(name));
      if (value == "none") return {};
      TRY_ASSIGN(parts.organisations[std::string(name)], ParseOrganisation(value));
      return {};
    }
    if (const auto name = NameBehind(parameter, "group-"); !name.empty()) {
      Put(parts.groups, name, value);
      return {};
    }
    if (const auto name = NameBehind(parameter, "require-"); !name.empty()) {
      Put(parts.requirements, name, value);
      return {};
    }
    return Invalid("unknown parameter '" + std::string(parameter.substr(0, 40)) + "'", "unknown-parameter");
  }
};

// What the appliance fills in, and what binds a proposal to its ceremony.
bool IsAppliances(std::string_view parameter) {
  return parameter == "new-roster" || parameter == "token" || parameter == "further-tokens" || parameter == "ceremony";
}

}  // namespace

Result<Roster> RosterAfter(const Roster& roster, const ProposalText& proposal) {
  if (proposal.operation != "roster.change") return Invalid("the proposal is not one of roster.change");
  RosterEdit edit(roster, proposal);
  for (const auto& [parameter, value] : proposal.params)
    if (const auto name = NameBehind(parameter, "remove-"); !name.empty()) TRY(edit.Remove(name, value));
  for (const auto& [parameter, value] : proposal.params)
    if (!IsAppliances(parameter) && NameBehind(parameter, "remove-").empty()) TRY(edit.Apply(parameter, value));
  edit.parts.principals.clear();
  for (auto& [name, principal] : edit.principals) edit.parts.principals.push_back(std::move(principal));
  TRY_ASSIGN(auto next, Roster::Parse(RosterText(roster.instance(), roster.version() + 1, ToHex(roster.hash()),
                                                 std::move(edit.parts))));
  if (next.parts() == roster.parts()) return Invalid("the change leaves the roster as it is");
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
