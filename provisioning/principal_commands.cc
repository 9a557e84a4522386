#include "provisioning/principal_commands.h"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <filesystem>
#include <iostream>

#include "crypto/custody.h"
#include "crypto/text_rules.h"
#include "provisioning/governance_commands.h"
#include "provisioning/pki.h"
#include "provisioning/process.h"

namespace strongroom::provisioning {

Result<std::string> SshKeyIn(const std::string& file) {
  TRY_ASSIGN(const auto text, ReadInput(file));
  std::string key(text.data(), text.size());
  while (key.ends_with('\n')) key.pop_back();
  const auto type_end = key.find(' ');
  if (type_end == std::string::npos) return Invalid(file + " is not an SSH public key");
  return key.substr(0, key.find(' ', type_end + 1));
}

namespace {

Result<std::string> Possession(const CliSession& session, const std::string& name, const std::string& key_file) {
  TRY_ASSIGN(const auto status, session.Ask("GET", "/v1/status"));
  const auto instance = FromHexArray<16>(TextOf(status, "instance"));
  if (!instance) return Unavailable("the appliance is uninitialised", "uninitialised");
  TRY_ASSIGN(const auto key, SshKeyIn(std::filesystem::exists(key_file + ".pub") ? key_file + ".pub" : key_file));
  TRY_ASSIGN(const auto armored,
             SshSign(key_file, std::string(crypto::kRosterNamespace), crypto::PossessionText(*instance, name, key)));
  std::string proof;
  for (std::size_t at = armored.find('\n') + 1; at < armored.size() && armored[at] != '-';
       at = armored.find('\n', at) + 1)
    proof += armored.substr(at, armored.find('\n', at) - at);
  return proof;
}

void AddPolicies(const PrincipalOptions& options, std::vector<std::string>& params) {
  if (options.votes == 0) return;
  for (const auto name : crypto::Roster::kClasses)
    params.push_back("policy-" + std::string(name) + "=" + std::to_string(options.votes));
}

Result<std::vector<std::string>> Addition(const PrincipalOptions& options) {
  TRY_ASSIGN(const auto spki, CertificateSpki(options.certificate));
  auto value = options.role + " " + ToHex(spki);
  std::vector<std::string> params;
  if (!options.ssh_key.empty()) {
    TRY_ASSIGN(const auto key, SshKeyIn(options.ssh_key));
    value += " " + key;
  }
  params.push_back("add-" + options.name + "=" + value);
  if (options.replace) params.push_back("remove-" + options.name + "=yes");
  if (!options.proof.empty()) {
    auto proof = options.proof;
    std::error_code ignored;
    if (std::filesystem::is_regular_file(proof, ignored)) {
      TRY_ASSIGN(const auto text, ReadInput(proof));
      proof.assign(text.data(), text.size());
    }
    while (proof.ends_with('\n')) proof.pop_back();
    params.push_back("proof-" + options.name + "=" + proof);
  }
  AddPolicies(options, params);
  return params;
}

Result<crypto::Roster> RosterInForce(const CliSession& session) {
  TRY_ASSIGN(const auto answer, session.Ask("GET", "/v1/roster"));
  return crypto::Roster::Parse(TextOf(answer, "text"));
}

}  // namespace

Result<std::vector<std::string>> PrincipalParams(const PrincipalOptions& options, bool revoke) {
  if (!revoke) return Addition(options);
  std::vector<std::string> params = {"remove-" + options.name + "=yes"};
  AddPolicies(options, params);
  return params;
}

int ListPrincipals(const CliSession& session) {
  const auto roster = RosterInForce(session);
  if (!roster) return Fail(roster.error());
  namespace bj = boost::json;
  bj::array principals;
  bj::object policies;
  for (const auto& p : roster->principals()) {
    bj::object row{{"name", p.name}, {"role", crypto::ToString(p.role)}, {"spki", ToHex(p.spki)}};
    if (!p.ssh_key.empty()) row["ssh_key"] = p.ssh_key;
    principals.push_back(std::move(row));
  }
  for (const auto& [name, votes] : roster->parts().policies) policies[name] = votes;
  bj::object organisations, groups, requirements;
  const auto names = [](const std::vector<std::string>& list) {
    bj::array out;
    for (const auto& name : list) out.push_back(bj::string(name));
    return out;
  };
  for (const auto& [name, organisation] : roster->parts().organisations) {
    bj::object votes;
    for (const auto& [of, needed] : organisation.policies) votes[of] = needed;
    organisations[name] = bj::object{{"policies", std::move(votes)}, {"custodians", names(organisation.custodians)}};
  }
  for (const auto& [name, members] : roster->parts().groups) groups[name] = names(members);
  for (const auto& [of, required] : roster->parts().requirements) requirements[of] = names(required);
  if (session.json) {
    PrintJson(bj::object{{"version", roster->version()},
                         {"hash", ToHex(roster->hash())},
                         {"policies", std::move(policies)},
                         {"organisations", std::move(organisations)},
                         {"groups", std::move(groups)},
                         {"requirements", std::move(requirements)},
                         {"principals", std::move(principals)}});
    return kExitDone;
  }
  std::cout << "roster " << roster->version() << ", " << roster->Custodians().size() << " custodians; votes needed:";
  for (const auto& [name, votes] : roster->parts().policies) std::cout << " " << name << " " << votes;
  std::cout << "\n";
  const auto joined = [](const std::vector<std::string>& list) {
    std::string text;
    for (const auto& name : list) text += (text.empty() ? "" : ", ") + name;
    return text;
  };
  for (const auto& [name, organisation] : roster->parts().organisations) {
    std::cout << "organisation " << name << " decides for itself:";
    for (const auto& [of, needed] : organisation.policies) std::cout << " " << of << " " << needed;
    std::cout << "; " << joined(organisation.custodians) << "\n";
  }
  for (const auto& [name, members] : roster->parts().groups)
    std::cout << "group " << name << ": " << joined(members) << "\n";
  for (const auto& [of, required] : roster->parts().requirements)
    std::cout << "every " << of << " needs one of: " << joined(required) << "\n";
  for (const auto& p : roster->principals())
    std::cout << "  " << p.name << std::string(p.name.size() < 20 ? 20 - p.name.size() : 1, ' ')
              << crypto::ToString(p.role) << "\n";
  return kExitDone;
}

int ProvePossession(const CliSession& session, const std::string& name, const std::string& key_file) {
  const auto proof = Possession(session, name, key_file);
  if (!proof) return Fail(proof.error());
  if (session.json)
    PrintJson(boost::json::object{{"principal", name}, {"proof", *proof}});
  else
    std::cout << *proof << "\n";
  return kExitDone;
}

int AddPrincipal(const CliSession& session, const PrincipalOptions& options) {
  auto params = PrincipalParams(options, /*revoke=*/false);
  if (!params) return Fail(params.error());
  return Propose(session, {"roster.change", {}, options.reason, std::move(*params)});
}

namespace {

Result<std::vector<std::string>> Additions(const std::string& file) {
  TRY_ASSIGN(const auto text, ReadInput(file));
  std::vector<std::string> params;
  std::size_t number = 0;
  for (const auto line : crypto::SplitWords({text.data(), text.size()}, '\n')) {
    ++number;
    if (line.empty() || line.front() == '#') continue;
    const auto at = file + ":" + std::to_string(number) + ": ";
    const auto words = crypto::SplitWords(line);
    const auto role = words.size() == 3 ? crypto::RoleFromString(words[1]) : std::nullopt;
    if (!role || !crypto::IsName(words[0]))
      return Invalid(at + "a line is 'NAME ROLE CERTIFICATE', not '" + std::string(line.substr(0, 80)) + "'", "usage");
    if (*role == crypto::Role::kCustodian)
      return Invalid(at + "custodians come one by one, with their proofs: strongroom principal add", "usage");
    auto spki = FromHexArray<32>(words[2]);
    if (!spki) {
      TRY_ASSIGN(spki, CertificateSpki(std::string(words[2])));
    }
    params.push_back("add-" + std::string(words[0]) + "=" + std::string(words[1]) + " " + ToHex(*spki));
  }
  if (params.empty()) return Invalid(file + " names nobody", "usage");
  return params;
}

}  // namespace

int ImportPrincipals(const CliSession& session, const std::string& file, const std::string& reason) {
  auto params = Additions(file);
  if (!params) return Fail(params.error());
  return Propose(session, {"roster.change", {}, reason, std::move(*params)});
}

int RevokePrincipal(const CliSession& session, const PrincipalOptions& options) {
  auto params = PrincipalParams(options, /*revoke=*/true);
  if (!params) return Fail(params.error());
  return Propose(session, {"roster.change", {}, options.reason, std::move(*params)});
}

Result<void> MakeFirstRoster(const std::string& directory, std::uint64_t votes,
                             const std::vector<std::string>& members) {
  crypto::RosterParts parts;
  for (const auto of : crypto::Roster::kClasses) parts.policies[std::string(of)] = votes;
  for (const auto& member : members) {
    const auto words = crypto::SplitWords(member);
    const auto role = words.size() < 2 ? std::nullopt : crypto::RoleFromString(words[1]);
    if (words.size() < 3 || words.size() > 4 || !role)
      return Invalid("a member is 'NAME ROLE CERTIFICATE', for custodians with an SSH public key behind it, not '" +
                         member.substr(0, 80) + "'",
                     "usage");
    crypto::Principal principal;
    principal.name = words[0];
    principal.role = *role;
    TRY_ASSIGN(principal.spki, CertificateSpki(std::string(words[2])));
    if (words.size() == 4) {
      TRY_ASSIGN(principal.ssh_key, SshKeyIn(std::string(words[3])));
    }
    parts.principals.push_back(std::move(principal));
  }
  const auto text = crypto::RosterText(crypto::RandomArray<16>(), 1, "none", std::move(parts));
  TRY_ASSIGN(const auto roster, crypto::Roster::Parse(text));
  TRY(roster.CheckKeys());
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  const auto file = directory + "/roster.txt";
  if (std::filesystem::exists(file)) return Conflict(file + " is there already", "file-exists");
  return WriteOutput(file, text);
}

}  // namespace strongroom::provisioning
