#include "provisioning/governance_commands.h"

#include <unistd.h>

#include <algorithm>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <filesystem>
#include <iostream>

#include "crypto/spoken.h"
#include "crypto/text_rules.h"
#include "provisioning/process.h"
#include "provisioning/table.h"

namespace strongroom::provisioning {
namespace {

namespace bj = boost::json;

Result<bj::value> CallFor(netapi::Client& client, std::string_view method, std::string_view target,
                          const bj::object* body) {
  const auto text = body == nullptr ? netapi::SecretText() : netapi::WriteJson(*body);
  TRY_ASSIGN(const auto answer, client.Call(method, target, {text.data(), text.size()}));
  return netapi::ParseAnswer(answer);
}

const bj::array& Items(const bj::value& list) { return list.get_object().at("items").get_array(); }

std::vector<std::string> KeyringRow(const bj::value& k) {
  return {TextOf(k, "name"),         TextOf(k, "suite"),
          TextOf(k, "custody"),      TextOf(k, "state"),
          TextOf(k, "primary"),      std::to_string(k.get_object().at("versions").get_array().size()),
          TextOf(k, "last_rotation")};
}
const std::vector<std::string> kKeyringHead = {"NAME",    "SUITE",    "CUSTODY",      "STATE",
                                               "PRIMARY", "VERSIONS", "LAST ROTATION"};

// What a version has done for its keyring, as far as the caller may see it.
std::string CountsOf(const bj::value& version) {
  const auto* counts = version.get_object().if_contains("counts");
  if (counts == nullptr) return "-";
  std::string out;
  for (const auto* name : {"wraps", "unwraps", "rewraps_to", "rewraps_from"}) {
    const auto count = TextOf(*counts, name);
    if (count == "0") continue;
    std::string words = name;
    std::replace(words.begin(), words.end(), '_', ' ');
    out += (out.empty() ? "" : ", ") + count + " " + words;
  }
  return out.empty() ? "none" : out;
}

std::string InventoryOf(const bj::value& version) {
  const auto* inventory = version.get_object().if_contains("inventory");
  if (inventory == nullptr) return "-";
  const auto quarantined = TextOf(*inventory, "quarantined");
  return TextOf(*inventory, "records") + (quarantined == "0" ? "" : " (" + quarantined + " quarantined)");
}

void PrintPolicy(const bj::value& policy) {
  const auto has = [&](const char* name) { return policy.get_object().contains(name); };
  std::cout << "policy:";
  if (has("rotate_days"))
    std::cout << " rotated every " << TextOf(policy, "rotate_days") << " days until " << TextOf(policy, "until")
              << ", next " << TextOf(policy, "next_rotation")
              << (TextOf(policy, "enforce") == "true" ? "; when overdue, nothing new is wrapped" : "");
  if (has("rewrap")) std::cout << (has("rotate_days") ? ";" : "") << " no job follows a rotation";
  if (has("expire_days"))
    std::cout << (has("rotate_days") || has("rewrap") ? ";" : "") << " a version's time is "
              << TextOf(policy, "expire_days") << " days";
  if (has("attest")) std::cout << "; a new version waits for its attestation";
  std::cout << "\n";
}

// A proposal's text as it may go to a terminal, and whether it is what may be signed: what is not canonical, or another
// text than the one with this id, is a server's word and nothing more.
std::string ShownText(const bj::value& p) { return crypto::Printable(TextOf(p, "text"), true); }
Result<void> CheckText(const bj::value& p, const std::string& id) {
  const auto text = TextOf(p, "text");
  TRY_ASSIGN(const auto parsed, crypto::ProposalText::Parse(text));
  TRY(parsed.CheckReadable());
  if (crypto::ProposalId(text) != id)
    return Integrity("the server sent another text than the one with this id", "text-mismatch");
  return {};
}

void PrintProposal(const bj::value& p) {
  std::cout << "id:         " << TextOf(p, "id") << "\nstate:      " << TextOf(p, "state")
            << "\napprovals:  " << NamesOf(p, "approvals") << " (" << TextOf(p, "needed")
            << " needed)\nrejections: " << NamesOf(p, "rejections")
            << "\nspoken:     " << crypto::SpokenFingerprint(crypto::Sha256(AsBytes(TextOf(p, "text")))) << "\n";
  if (p.get_object().contains("outcome")) std::cout << "outcome:    " << TextOf(p, "outcome") << "\n";
  std::cout << "\n" << ShownText(p);
  if (const auto good = CheckText(p, TextOf(p, "id")); !good)
    std::cerr << "strongroom: NOT TO BE SIGNED: " << crypto::Printable(good.error().detail) << "\n";
}

void PrintToken(const bj::value& token) {
  std::cout << "token:    " << TextOf(token, "state") << ", hosts";
  for (const auto& host : token.get_object().at("hosts").get_array()) std::cout << " " << host.get_string().c_str();
  if (token.get_object().contains("serial"))
    std::cout << "; " << TextOf(token, "serial") << " '" << TextOf(token, "label") << "' (" << TextOf(token, "model")
              << ", profile " << TextOf(token, "profile") << ")";
  std::cout << "\n";
}

}  // namespace

int ShowStatus(const CliSession& session) {
  return PrintAnswer(session, session.Ask("GET", "/v1/status"), [](const bj::value& s) {
    std::cout << "state:    " << TextOf(s, "state") << "\ninstance: " << TextOf(s, "instance") << "\n";
    std::vector<std::vector<std::string>> rows = {{"CHECK", "OK", "DETAIL"}};
    for (const auto& check : s.get_object().at("checks").get_array())
      rows.push_back({TextOf(check, "name"), TextOf(check, "ok"),
                      TextOf(check, "ok") == "true"
                          ? TextOf(check, "detail")
                          : TextOf(check, "detail") + " (stops " + TextOf(check, "stops") + ")"});
    PrintTable(rows);
    if (s.get_object().contains("break_glass"))
      std::cout << "BREAK-GLASS " << TextOf(s, "break_glass") << " IS OPEN: strongroom break-glass list\n";
    for (const auto& token : s.get_object().at("tokens").get_array()) PrintToken(token);
    for (const auto* log : {"control", "evidence"}) {
      const auto& head = s.get_object().at("ledger").get_object().at(log);
      std::cout << "ledger:   " << log << " " << TextOf(head, "size") << " entries, root " << TextOf(head, "root")
                << "\n";
    }
  });
}

int ListKeyrings(const CliSession& session) {
  return PrintAnswer(session, AskAll(session, "/v1/keyrings"), [](const bj::value& list) {
    std::vector<std::vector<std::string>> rows = {kKeyringHead};
    for (const auto& k : Items(list)) rows.push_back(KeyringRow(k));
    PrintTable(rows);
  });
}

int ShowKeyring(const CliSession& session, const std::string& name) {
  return PrintAnswer(session, session.Ask("GET", "/v1/keyrings/" + name), [](const bj::value& k) {
    PrintTable({kKeyringHead, KeyringRow(k)});
    if (k.get_object().contains("grants")) std::cout << "grants: " << TextOf(k, "grants") << "\n";
    if (k.get_object().contains("policy")) PrintPolicy(k.get_object().at("policy"));
    if (TextOf(k, "rotation_lag_seconds") != "0" && k.get_object().contains("rotation_lag_seconds"))
      std::cout << "ROTATION IS DUE since " << TextOf(k, "next_rotation") << "\n";
    if (k.get_object().contains("age_seconds"))
      std::cout << "age of the primary: " << k.get_object().at("age_seconds").to_number<long>() / 86400 << " days\n";
    if (k.get_object().contains("job"))
      std::cout << "its inventory is being moved: strongroom job watch " << TextOf(k, "job") << "\n";
    std::vector<std::vector<std::string>> rows = {{"VERSION", "STATE", "SUITE", "ANNOUNCED", "ACTIVATED", "DEACTIVATED",
                                                   "EXPIRES", "INVENTORY", "USES", "LAST USE"}};
    for (const auto& v : k.get_object().at("versions").get_array())
      rows.push_back({TextOf(v, "version"), TextOf(v, "state"), TextOf(v, "suite"), TextOf(v, "announced"),
                      TextOf(v, "activated"), TextOf(v, "deactivated"),
                      v.get_object().contains("expires") ? TextOf(v, "expires") : "-", InventoryOf(v), CountsOf(v),
                      v.get_object().contains("counts") ? TextOf(v.get_object().at("counts"), "last_use") : "-"});
    PrintTable(rows);
  });
}

Result<bj::value> FileProposal(netapi::Client& client, const ProposeOptions& options) {
  bj::object body;
  body["operation"] = options.operation;
  if (!options.keyring.empty()) body["keyring"] = options.keyring;
  body["reason"] = options.reason;
  bj::object params;
  for (const auto& param : options.params) {
    const auto equals = param.find('=');
    if (equals == std::string::npos) return Invalid("--param is NAME=VALUE, not '" + param + "'", "usage");
    if (!params.emplace(param.substr(0, equals), param.substr(equals + 1)).second)
      return Invalid("--param " + param.substr(0, equals) + " stands twice");
  }
  if (!params.empty()) body["params"] = std::move(params);
  return CallFor(client, "POST", "/v1/proposals", &body);
}

Result<bj::value> SubmitVote(netapi::Client& client, const std::string& id, const crypto::Vote& vote) {
  bj::object body;
  body["custodian"] = vote.custodian;
  body["verdict"] = crypto::ToString(vote.verdict);
  body["signature"] = vote.signature;
  return CallFor(client, "POST", "/v1/proposals/" + id + "/votes", &body);
}

Result<bj::value> ExecuteProposal(netapi::Client& client, const std::string& id) {
  return CallFor(client, "POST", "/v1/proposals/" + id + "/execute", nullptr);
}

int Propose(const CliSession& session, const ProposeOptions& options) {
  const auto client = session.Connect();
  if (!client) return Fail(client.error());
  return PrintAnswer(session, FileProposal(**client, options), [](const bj::value& p) {
    std::cout << crypto::Printable(TextOf(p, "id")) << "\n";
    std::cout << "\n" << ShownText(p);
    std::cerr << "next: " << TextOf(p, "needed") << " custodians run strongroom approve " << TextOf(p, "id")
              << " --key FILE, then strongroom execute " << TextOf(p, "id") << "\n";
  });
}

int ListProposals(const CliSession& session) {
  return PrintAnswer(session, AskAll(session, "/v1/proposals"), [](const bj::value& list) {
    std::vector<std::vector<std::string>> rows = {
        {"ID", "STATE", "OPERATION", "KEYRING", "REQUESTER", "APPROVALS", "APPROVE BY"}};
    for (const auto& p : Items(list))
      rows.push_back({TextOf(p, "id"), TextOf(p, "state"), TextOf(p, "operation"), TextOf(p, "keyring"),
                      TextOf(p, "requester"),
                      std::to_string(p.get_object().at("approvals").get_array().size()) + "/" + TextOf(p, "needed"),
                      TextOf(p, "approve_by")});
    PrintTable(rows);
  });
}

int ShowProposal(const CliSession& session, const std::string& id, bool text_only) {
  const auto answer = session.Ask("GET", "/v1/proposals/" + id);
  if (answer && text_only && !session.json) {
    // It goes into a file and is signed by hand: what nobody may sign is not given out as if it were.
    if (const auto good = CheckText(*answer, id); !good) return Fail(good.error());
    std::cout << TextOf(*answer, "text");
    return kExitDone;
  }
  return PrintAnswer(session, answer, PrintProposal);
}

namespace {

// A person at a terminal says yes to what she has read; a script has said so by calling.
Result<void> Confirm(const VoteOptions& options) {
  if (!options.signature_file.empty() || isatty(STDIN_FILENO) != 1) return {};
  std::cerr << "type yes to sign this with verdict " << crypto::ToString(options.verdict) << ": ";
  std::string answer;
  std::getline(std::cin, answer);
  if (answer != "yes") return Conflict("nothing was signed", "not-confirmed");
  return {};
}

Result<bj::value> Vote(const CliSession& session, const VoteOptions& options) {
  if (options.signature_file.empty() && !std::filesystem::exists(options.key_file))
    return Invalid("there is no key file " + options.key_file, "usage");
  TRY_ASSIGN(const auto client, session.Connect());
  TRY_ASSIGN(const auto answer, client->Call("GET", "/v1/proposals/" + options.id));
  TRY_ASSIGN(const auto proposal, netapi::ParseAnswer(answer));
  const auto text = TextOf(proposal, "text");
  // What is signed is judged here, not taken on the server's word.
  TRY(CheckText(proposal, options.id));
  std::cerr << text << "verdict: " << crypto::ToString(options.verdict) << "\n";
  std::cerr << "fingerprint of the text: " << crypto::SpokenFingerprint(crypto::Sha256(AsBytes(text))) << "\n";
  TRY(Confirm(options));
  crypto::Vote vote;
  vote.verdict = options.verdict;
  vote.custodian =
      options.custodian.empty() ? std::filesystem::path(options.key_file).filename().string() : options.custodian;
  if (vote.custodian.ends_with(".pub")) vote.custodian.resize(vote.custodian.size() - 4);
  if (options.signature_file.empty()) {
    TRY_ASSIGN(vote.signature, SshSign(options.key_file, std::string(crypto::kVoteNamespace),
                                       crypto::VoteMessage(text, options.verdict)));
  } else {
    TRY_ASSIGN(const auto signature, ReadInput(options.signature_file));
    vote.signature = std::string(signature);
  }
  return SubmitVote(*client, options.id, vote);
}

}  // namespace

int CastVote(const CliSession& session, const VoteOptions& options) {
  if (options.key_file.empty() == options.signature_file.empty())
    return FailUsage(Invalid("give --key FILE, or --signature FILE with --custodian NAME"));
  if (!options.signature_file.empty() && options.custodian.empty())
    return FailUsage(Invalid("--signature needs --custodian NAME"));
  return PrintAnswer(session, Vote(session, options), [](const bj::value& p) {
    std::cout << TextOf(p, "state") << ": approved by " << NamesOf(p, "approvals") << " (" << TextOf(p, "needed")
              << " needed)\n";
  });
}

int Execute(const CliSession& session, const std::string& id) {
  const auto client = session.Connect();
  if (!client) return Fail(client.error());
  const auto answer = ExecuteProposal(**client, id);
  const int status = PrintAnswer(session, answer, [](const bj::value& p) {
    std::cout << TextOf(p, "state") << (p.get_object().contains("outcome") ? ": " + TextOf(p, "outcome") : "") << "\n";
  });
  return answer && TextOf(*answer, "state") != "executed" ? static_cast<int>(kExitRefused) : status;
}

int Withdraw(const CliSession& session, const std::string& id) {
  return PrintAnswer(session, session.Ask("POST", "/v1/proposals/" + id + "/withdraw"),
                     [](const bj::value& p) { std::cout << TextOf(p, "state") << "\n"; });
}

}  // namespace strongroom::provisioning
