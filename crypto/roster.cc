#include "crypto/roster.h"

#include <algorithm>
#include <set>

#include "crypto/sshsig.h"
#include "crypto/text_rules.h"

namespace strongroom::crypto {
namespace {
constexpr std::string_view kRosterHeader = "strongroom roster v1\n";
constexpr std::array<std::pair<Role, std::string_view>, 5> kRoles = {{{Role::kOperator, "operator"},
                                                                      {Role::kCustodian, "custodian"},
                                                                      {Role::kAuditor, "auditor"},
                                                                      {Role::kMonitor, "monitor"},
                                                                      {Role::kService, "service"}}};

Result<Principal> ParsePrincipal(std::string_view line) {
  const auto words = SplitWords(line);
  if (words.size() != 3 && words.size() != 5) return Invalid("a principal is 'name role spki [ssh key]'");
  Principal principal;
  if (!IsName(words[0])) return Invalid("'" + std::string(words[0].substr(0, 64)) + "' is not a name (a-z, 0-9, -)");
  principal.name = words[0];
  const auto role = RoleFromString(words[1]);
  if (!role) return Invalid("unknown role of " + principal.name);
  principal.role = *role;
  const auto spki = FromHexArray<32>(words[2]);
  if (!spki) return Invalid("the SPKI hash of " + principal.name + " is not 64 hex digits");
  principal.spki = *spki;
  if ((words.size() == 5) != (*role == Role::kCustodian))
    return Invalid(principal.name + ": custodians, and they alone, have an SSH key");
  if (words.size() == 5) {
    principal.ssh_key = std::string(words[3]) + " " + std::string(words[4]);
    TRY(CheckSshPublicKey(principal.ssh_key));
  }
  return principal;
}
}  // namespace

std::string_view ToString(Role role) {
  for (const auto& [r, text] : kRoles)
    if (r == role) return text;
  return "unknown";
}

std::optional<Role> RoleFromString(std::string_view text) {
  for (const auto& [role, name] : kRoles)
    if (name == text) return role;
  return std::nullopt;
}

Result<Organisation> ParseOrganisation(std::string_view text) {
  const auto words = SplitWords(text);
  if (words.size() != 2) return Invalid("an organisation is 'class=votes,... custodian,...'");
  Organisation organisation;
  for (const auto part : SplitWords(words[0], ',')) {
    const auto equals = part.find('=');
    if (equals == std::string_view::npos) return Invalid("an organisation's policy is 'class=votes'");
    TRY_ASSIGN(const auto needed, ParseNumber(part.substr(equals + 1)));
    organisation.policies[std::string(part.substr(0, equals))] = needed;
  }
  for (const auto name : SplitWords(words[1], ',')) organisation.custodians.emplace_back(name);
  std::sort(organisation.custodians.begin(), organisation.custodians.end());
  return organisation;
}

std::string RosterText(const InstanceId& instance, std::uint64_t version, std::string_view previous,
                       RosterParts parts) {
  const auto joined = [](std::vector<std::string> names) {
    std::sort(names.begin(), names.end());
    std::string text;
    for (const auto& name : names) text += (text.empty() ? "" : ",") + name;
    return text;
  };
  std::sort(parts.principals.begin(), parts.principals.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  std::string text = std::string(kRosterHeader) + "instance: " + ToHex(instance) +
                     "\nversion: " + std::to_string(version) + "\nprevious: " + std::string(previous) + "\n";
  for (const auto& [name, needed] : parts.policies) text += "policy: " + name + " " + std::to_string(needed) + "\n";
  for (const auto& [name, organisation] : parts.organisations) {
    std::vector<std::string> policies;
    for (const auto& [of, needed] : organisation.policies) policies.push_back(of + "=" + std::to_string(needed));
    text += "organisation: " + name + " " + joined(policies) + " " + joined(organisation.custodians) + "\n";
  }
  for (const auto& [name, members] : parts.groups) text += "group: " + name + " " + joined(members) + "\n";
  for (const auto& [of, groups] : parts.requirements) text += "requires: " + of + " " + joined(groups) + "\n";
  for (const auto& p : parts.principals)
    text += "principal: " + p.name + " " + std::string(ToString(p.role)) + " " + ToHex(p.spki) +
            (p.ssh_key.empty() ? "" : " " + p.ssh_key) + "\n";
  return text;
}

namespace {

std::vector<std::string> ListOf(std::string_view text) {
  std::vector<std::string> list;
  for (const auto word : SplitWords(text, ',')) list.emplace_back(word);
  return list;
}

Result<void> CheckFloor(const std::string& policy, std::uint64_t needed, std::size_t custodians) {
  if (needed < 2 || needed >= custodians || custodians >= 2 * needed)
    return Invalid("policy '" + policy + "' asks for " + std::to_string(needed) + " of " + std::to_string(custodians) +
                   " custodians: at least 2, fewer than all, more than half");
  return {};
}

Result<void> ParseLine(std::string_view name, std::string_view value, RosterParts& parts) {
  const auto words = SplitWords(value);
  if (name == "principal") {
    TRY_ASSIGN(auto principal, ParsePrincipal(value));
    if (!parts.principals.empty() && parts.principals.back().name >= principal.name)
      return Invalid("principals are not sorted, or a name stands twice");
    parts.principals.push_back(std::move(principal));
    return {};
  }
  if (words.size() < 2 || words[0].empty()) return Invalid("a line of the roster is cut off");
  const std::string key(words[0]);
  if (name == "policy") {
    TRY_ASSIGN(parts.policies[key], ParseNumber(words[1]));
  } else if (name == "organisation") {
    TRY_ASSIGN(parts.organisations[key], ParseOrganisation(value.substr(key.size() + 1)));
  } else if (name == "group") {
    parts.groups[key] = ListOf(words[1]);
  } else if (name == "requires") {
    parts.requirements[key] = ListOf(words[1]);
  } else {
    return Invalid("unknown roster line '" + std::string(name.substr(0, 40)) + "'");
  }
  return {};
}

}  // namespace

Result<Roster> Roster::Parse(std::string_view text) {
  if (text.size() > kMaxRosterBytes) return Invalid("a roster is at most 4 MiB");
  if (!text.starts_with(kRosterHeader)) return Invalid("not a 'strongroom roster v1' text");
  TRY_ASSIGN(const auto lines, SplitLines(text.substr(kRosterHeader.size())));
  if (lines.size() < 3 || lines[0].first != "instance" || lines[1].first != "version" || lines[2].first != "previous")
    return Invalid("a roster begins with instance, version and previous");
  Roster roster;
  const auto instance = FromHexArray<16>(lines[0].second);
  if (!instance) return Invalid("the roster's instance is not 32 hex digits");
  roster.instance_ = *instance;
  TRY_ASSIGN(roster.version_, ParseNumber(lines[1].second));
  roster.previous_ = lines[2].second;
  if (roster.version_ == 0 || (roster.version_ == 1) != (roster.previous_ == "none"))
    return Invalid("roster 1, and it alone, has no previous one");
  if (roster.version_ > 1 && !FromHexArray<32>(roster.previous_))
    return Invalid("the previous roster's hash is not 64 hex digits");
  for (std::size_t i = 3; i < lines.size(); ++i) TRY(ParseLine(lines[i].first, lines[i].second, roster.parts_));
  TRY(roster.CheckPeople());
  TRY(roster.CheckPolicies());
  if (RosterText(roster.instance_, roster.version_, roster.previous_, roster.parts_) != text)
    return Invalid("the roster's text is not canonical");
  roster.text_ = text;
  roster.hash_ = Sha256(AsBytes(text));
  return roster;
}

Result<void> Roster::CheckPeople() {
  std::set<std::string, std::less<>> ssh_keys;
  for (const auto& principal : principals()) {
    if (!principal.ssh_key.empty() && !ssh_keys.insert(principal.ssh_key).second)
      return Invalid(principal.name + ": this SSH key stands in the roster already");
    if (!by_spki_.emplace(principal.spki, by_spki_.size()).second)
      return Invalid(principal.name + ": this certificate key stands in the roster already");
    if (principal.ssh_key.empty()) continue;
    TRY_ASSIGN(raw_keys_[principal.name], RawKey(principal.ssh_key));
  }
  const auto all_custodians = [&](const std::vector<std::string>& names, const std::string& where) -> Result<void> {
    std::set<std::string, std::less<>> seen;
    for (const auto& name : names) {
      const auto* principal = Find(name);
      if (principal == nullptr || principal->role != Role::kCustodian || !seen.insert(name).second)
        return Invalid(where + ": '" + name.substr(0, 64) + "' is not a custodian, or stands twice");
    }
    return {};
  };
  for (const auto& [name, organisation] : parts_.organisations) {
    if (!IsName(name)) return Invalid("an organisation has its keyring's name (a-z, 0-9, -)");
    TRY(all_custodians(organisation.custodians, "organisation " + name));
    for (const auto& custodian : organisation.custodians)
      if (!organisation_of_.emplace(custodian, name).second)
        return Invalid(custodian + " belongs to two organisations");
  }
  for (const auto& p : principals())
    if (p.role == Role::kCustodian && !organisation_of_.contains(p.name)) custodians_.push_back(p.name);
  for (const auto& [name, members] : parts_.groups) {
    if (!IsName(name)) return Invalid("a group's name is a-z, 0-9 and -");
    TRY(all_custodians(members, "group " + name));
  }
  return {};
}

Result<void> Roster::CheckKeys() const {
  std::map<std::string_view, std::string_view> holders;
  for (const auto& [name, raw] : raw_keys_) {
    if (const auto [holder, first] = holders.emplace(raw, name); !first)
      return Invalid(
          name + " has the key of " + std::string(holder->second) + ", written in another form: a key counts once",
          "shared-key");
    if (const auto strong = CheckKeyStrength(Find(name)->ssh_key); !strong)
      return Invalid("the key of " + name + " is refused: " + strong.error().detail,
                     std::string(strong.error().Slug()));
  }
  return {};
}

Result<void> Roster::CheckPolicies() const {
  const auto is_class = [](std::string_view name) {
    return std::find(kClasses.begin(), kClasses.end(), name) != kClasses.end();
  };
  if (parts_.policies.size() != kClasses.size()) return Invalid("a roster has one policy for each class of operations");
  const auto n = Custodians().size();
  for (const auto of : kClasses) TRY(CheckFloor(std::string(of), Needed(of), n));
  for (const auto& [name, organisation] : parts_.organisations) {
    if (organisation.policies.size() != kOrganisationClasses.size())
      return Invalid("organisation " + name + " has one policy for each of ceremony, destruction, emergency, rotation");
    for (const auto of : kOrganisationClasses) {
      const auto at = organisation.policies.find(of);
      TRY(CheckFloor(name + "/" + std::string(of), at == organisation.policies.end() ? 0 : at->second,
                     organisation.custodians.size()));
    }
  }
  for (const auto& [of, groups] : parts_.requirements) {
    if (!is_class(of)) return Invalid("there is no class of operations '" + of.substr(0, 40) + "'");
    for (const auto& group : groups)
      // One person who is needed and gone would lock everybody out.
      if (const auto at = parts_.groups.find(group); at == parts_.groups.end() || at->second.size() < 2)
        return Invalid("class " + of + " requires group '" + group.substr(0, 40) +
                       "', which is not there or has fewer than two members");
  }
  return {};
}

const Principal* Roster::Find(std::string_view name) const {
  const auto at = std::lower_bound(principals().begin(), principals().end(), name,
                                   [](const Principal& p, std::string_view n) { return p.name < n; });
  return at != principals().end() && at->name == name ? &*at : nullptr;
}

const Principal* Roster::FindBySpki(const Digest& spki) const {
  const auto at = by_spki_.find(spki);
  return at == by_spki_.end() ? nullptr : &principals()[at->second];
}

const std::string& Roster::RawKeyOf(std::string_view custodian) const {
  static const std::string kNone;
  const auto at = raw_keys_.find(custodian);
  return at == raw_keys_.end() ? kNone : at->second;
}

const std::string* Roster::OrganisationOf(std::string_view custodian) const {
  const auto at = organisation_of_.find(custodian);
  return at == organisation_of_.end() ? nullptr : &at->second;
}

std::uint64_t Roster::Needed(std::string_view operation_class) const {
  const auto at = parts_.policies.find(operation_class);
  return at == parts_.policies.end() ? 0 : at->second;
}

std::string RosterAllowedSigners(const Roster& roster) {
  std::string text;
  for (const auto& p : roster.principals())
    if (p.role == Role::kCustodian)
      text += p.name + " namespaces=\"" + std::string(kVoteNamespace) + "," + std::string(kRosterNamespace) + "\" " +
              p.ssh_key + "\n";
  return text;
}

}  // namespace strongroom::crypto
