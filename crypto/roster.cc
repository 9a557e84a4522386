#include "crypto/roster.h"

#include <algorithm>
#include <set>

#include "crypto/sshsig.h"
#include "crypto/text_rules.h"

namespace strongroom::crypto {
namespace {
constexpr std::string_view kHeader = "strongroom roster v1\n";
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

std::string RosterText(const InstanceId& instance, std::uint64_t version, std::string_view previous,
                       const std::map<std::string, std::uint64_t, std::less<>>& policies,
                       std::vector<Principal> principals) {
  std::sort(principals.begin(), principals.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  std::string text = std::string(kHeader) + "instance: " + ToHex(instance) + "\nversion: " + std::to_string(version) +
                     "\nprevious: " + std::string(previous) + "\n";
  for (const auto& [name, needed] : policies) text += "policy: " + name + " " + std::to_string(needed) + "\n";
  for (const auto& p : principals)
    text += "principal: " + p.name + " " + std::string(ToString(p.role)) + " " + ToHex(p.spki) +
            (p.ssh_key.empty() ? "" : " " + p.ssh_key) + "\n";
  return text;
}

Result<Roster> Roster::Parse(std::string_view text) {
  if (text.size() > kMaxRosterBytes) return Invalid("a roster is at most 4 MiB");
  if (!text.starts_with(kHeader)) return Invalid("not a 'strongroom roster v1' text");
  TRY_ASSIGN(const auto lines, SplitLines(text.substr(kHeader.size())));
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
  std::set<std::string, std::less<>> ssh_keys;
  for (std::size_t i = 3; i < lines.size(); ++i) {
    const auto& [name, value] = lines[i];
    if (name == "policy") {
      const auto words = SplitWords(value);
      if (words.size() != 2) return Invalid("a policy is 'class votes'");
      TRY_ASSIGN(const auto needed, ParseNumber(words[1]));
      roster.policies_[std::string(words[0])] = needed;
    } else if (name == "principal") {
      TRY_ASSIGN(auto principal, ParsePrincipal(value));
      if (!principal.ssh_key.empty() && !ssh_keys.insert(principal.ssh_key).second)
        return Invalid(principal.name + ": this SSH key stands in the roster already");
      if (!roster.by_spki_.emplace(principal.spki, roster.principals_.size()).second)
        return Invalid(principal.name + ": this certificate key stands in the roster already");
      if (!roster.principals_.empty() && roster.principals_.back().name >= principal.name)
        return Invalid("principals are not sorted, or a name stands twice");
      roster.principals_.push_back(std::move(principal));
    } else {
      return Invalid("unknown roster line '" + std::string(name.substr(0, 40)) + "'");
    }
  }
  if (roster.policies_.size() != kClasses.size())
    return Invalid("a roster has one policy for each class of operations");
  const auto n = roster.custodians();
  for (const auto operation_class : kClasses) {
    const auto m = roster.Needed(operation_class);
    if (m < 2 || m >= n || n >= 2 * m)
      return Invalid("policy '" + std::string(operation_class) + "' asks for " + std::to_string(m) + " of " +
                     std::to_string(n) + " custodians: at least 2, fewer than all, more than half");
  }
  if (RosterText(roster.instance_, roster.version_, roster.previous_, roster.policies_, roster.principals_) != text)
    return Invalid("the roster's text is not canonical");
  roster.text_ = text;
  roster.hash_ = Sha256(AsBytes(text));
  return roster;
}

const Principal* Roster::Find(std::string_view name) const {
  const auto at = std::lower_bound(principals_.begin(), principals_.end(), name,
                                   [](const Principal& p, std::string_view n) { return p.name < n; });
  return at != principals_.end() && at->name == name ? &*at : nullptr;
}

const Principal* Roster::FindBySpki(const Digest& spki) const {
  const auto at = by_spki_.find(spki);
  return at == by_spki_.end() ? nullptr : &principals_[at->second];
}

std::size_t Roster::custodians() const {
  return static_cast<std::size_t>(
      std::count_if(principals_.begin(), principals_.end(), [](const auto& p) { return p.role == Role::kCustodian; }));
}

std::uint64_t Roster::Needed(std::string_view operation_class) const {
  const auto at = policies_.find(operation_class);
  return at == policies_.end() ? 0 : at->second;
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
