#include "provisioning/ceremony.h"

#include <unistd.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <chrono>
#include <filesystem>
#include <iostream>
#include <set>
#include <thread>

#include "crypto/proposal_text.h"
#include "crypto/roster.h"
#include "crypto/spoken.h"
#include "crypto/sshsig.h"
#include "crypto/text_rules.h"
#include "provisioning/ceremony_script.h"
#include "provisioning/ceremony_transcript.h"
#include "provisioning/governance_commands.h"
#include "provisioning/pki.h"
#include "provisioning/principal_commands.h"
#include "provisioning/process.h"

namespace strongroom::provisioning {
namespace {

namespace bj = boost::json;
namespace fs = std::filesystem;

Error Stopped(const std::string& why) { return Conflict(why, "ceremony-stopped"); }

std::string Beside(const std::string& program) {
  std::error_code error;
  return (fs::read_symlink("/proc/self/exe", error).parent_path() / program).string();
}

Result<std::string> WholeFile(const std::string& file) {
  TRY_ASSIGN(const auto text, ReadInput(file));
  return std::string(text.data(), text.size());
}

struct Made {
  std::string id, text;
};

// Ceremony is one run of a script.
class Ceremony {
 public:
  Ceremony(const CliSession& session, const CeremonyOptions& options, CeremonyScript script)
      : session_(session), options_(options), script_(std::move(script)) {}

  // Takes what was given and asks for the rest.
  Result<void> Prepare() {
    TRY(TakeGiven());
    for (const auto& parameter : script_.parameters) {
      if (values_.contains(parameter.name)) continue;
      if (parameter.has_fallback) {
        values_[parameter.name] = parameter.fallback;
      } else if (options_.dry_run) {
        values_[parameter.name] = "<" + parameter.name + ">";
      } else {
        TRY_ASSIGN(values_[parameter.name], Ask(parameter.help + " (" + parameter.name + "): "));
      }
    }
    for (const auto& participant : script_.participants) {
      if (values_.contains(participant.label)) continue;
      if (options_.dry_run) {
        values_[participant.label] = "<" + participant.label + ">";
        continue;
      }
      TRY_ASSIGN(auto name, Ask("who is the " + participant.label + ", a " + participant.role + " (name): "));
      if (participant.role == "custodian") {
        TRY_ASSIGN(keys_[name], Ask("SSH key file of " + name + " on this machine, or nothing if she votes from hers: ",
                                    /*may_be_empty=*/true));
      }
      values_[participant.label] = name;
    }
    return CheckParticipants();
  }

  // Does the steps; the transcript says how far they went.
  Result<void> Run() {
    TRY_ASSIGN(script_.title, FillIn(script_.title, values_));
    Say(script_.title + "\nscript " + script_.name + ", SHA-256 " + ToHex(script_.hash) + ", spoken " +
        crypto::SpokenFingerprint(script_.hash) + "\n");
    started_ = SystemClock().Now();
    for (std::size_t i = 0; i < script_.steps.size(); ++i) {
      auto done = RunStep(i);
      if (done) continue;
      result_ = "stopped at step " + std::to_string(i + 1);
      return Error{done.error().code, "step " + std::to_string(i + 1) + ": " + done.error().detail,
                   std::string(done.error().slug), 0, __func__};
    }
    result_ = "completed";
    return {};
  }

  // What is looked at in a rehearsal; nothing is changed and nobody asked.
  Result<void> Rehearse() {
    TRY_ASSIGN(script_.title, FillIn(script_.title, values_));
    std::cout << script_.title << "\nscript " << script_.name << ", SHA-256 " << ToHex(script_.hash) << ", spoken "
              << crypto::SpokenFingerprint(script_.hash) << "\n";
    for (std::size_t i = 0; i < script_.steps.size(); ++i) {
      const auto& step = script_.steps[i];
      TRY_ASSIGN(const auto title, FillIn(step.title, values_));
      std::cout << i + 1 << ". " << title << " (" << ToString(step.kind) << ")\n";
      for (const auto& label : step.by) std::cout << "   by " << label << ": " << values_[label] << "\n";
      TRY_ASSIGN(const auto fields, Filled(step.fields));
      for (const auto& [name, value] : fields) std::cout << "   " << name << ": " << value << "\n";
      TRY_ASSIGN(const auto params, Filled(step.params));
      for (const auto& [name, value] : params) std::cout << "   param " << name << ": " << value << "\n";
      for (const auto& argument : step.arguments) {
        TRY_ASSIGN(const auto text, FillIn(argument, values_));
        std::cout << "   argument " << text << "\n";
      }
      const bool known = values_of(step).find('<') == std::string::npos;
      if (!session_.server.empty() && known && (step.kind == StepKind::kAbsent || step.kind == StepKind::kState)) {
        const auto looked = step.kind == StepKind::kAbsent ? DoAbsent(fields) : CheckState(fields);
        std::cout << "   now: " << (looked ? "as it must be" : looked.error().detail) << "\n";
      }
    }
    std::cout << "a rehearsal: nothing was changed\n";
    return {};
  }

  bj::object Transcript() const {
    bj::object parameters, participants;
    for (const auto& p : script_.parameters) parameters[p.name] = Value(p.name);
    for (const auto& p : script_.participants)
      participants[p.label] = bj::object{{"principal", Value(p.label)}, {"role", p.role}};
    return bj::object{{"ceremony", script_.name},
                      {"title", script_.title},
                      {"script_sha256", ToHex(script_.hash)},
                      {"script_spoken", crypto::SpokenFingerprint(script_.hash)},
                      {"server", session_.server},
                      {"result", result_},
                      {"started", FormatTime(started_)},
                      {"ended", FormatTime(SystemClock().Now())},
                      {"parameters", std::move(parameters)},
                      {"participants", std::move(participants)},
                      {"steps", steps_}};
  }

  const CeremonyScript& script() const { return script_; }

 private:
  std::string Value(const std::string& name) const {
    const auto at = values_.find(name);
    return at == values_.end() ? std::string() : at->second;
  }
  std::string values_of(const Step& step) const {
    std::string all;
    for (const auto& [name, text] : step.fields)
      if (const auto filled = FillIn(text, values_)) all += *filled;
    return all;
  }
  static void Say(const std::string& text) { std::cerr << text << std::flush; }
  static Result<std::string> Ask(const std::string& question, bool may_be_empty = false) {
    Say(question);
    std::string line;
    if (!std::getline(std::cin, line)) return Stopped("nobody answered");
    while (!line.empty() && (line.back() == ' ' || line.back() == '\r')) line.pop_back();
    if (line.empty() && !may_be_empty) return Stopped("the answer was empty");
    return line;
  }
  static Result<void> AskYes(const std::string& who, const std::string& what) {
    TRY_ASSIGN(const auto answer, Ask((who.empty() ? "" : who + ", ") + what + " (yes): "));
    if (answer != "yes") return Stopped((who.empty() ? "somebody" : who) + " did not say yes");
    return {};
  }

  Result<void> TakeGiven() {
    for (const auto& text : options_.set) {
      const auto equals = text.find('=');
      const auto name = text.substr(0, equals);
      if (equals == std::string::npos || std::none_of(script_.parameters.begin(), script_.parameters.end(),
                                                      [&](const Parameter& p) { return p.name == name; }))
        return Invalid("--set is NAME=VALUE with a name of the script's parameters, not '" + text + "'", "usage");
      values_[name] = text.substr(equals + 1);
    }
    for (const auto& text : options_.participants) {
      const auto equals = text.find('='), comma = text.find(',');
      const auto label = text.substr(0, equals);
      if (equals == std::string::npos || std::none_of(script_.participants.begin(), script_.participants.end(),
                                                      [&](const Participant& p) { return p.label == label; }))
        return Invalid("--participant is LABEL=PRINCIPAL[,KEY] with a label of the script's, not '" + text + "'",
                       "usage");
      const auto name = text.substr(equals + 1, comma == std::string::npos ? comma : comma - equals - 1);
      values_[label] = name;
      if (comma != std::string::npos) keys_[name] = text.substr(comma + 1);
    }
    return {};
  }

  // Two places at one ceremony are two people.
  Result<void> CheckParticipants() const {
    std::set<std::string> seen;
    for (const auto& participant : script_.participants) {
      const auto name = Value(participant.label);
      if (!options_.dry_run && !crypto::IsName(name)) return Invalid("'" + name + "' is not a principal's name");
      if (participant.role == "custodian" && !seen.insert(name).second)
        return Invalid(name + " cannot take two custodians' places");
    }
    return {};
  }

  Result<Values> Filled(const Values& texts) const {
    Values filled;
    for (const auto& [name, text] : texts) {
      TRY_ASSIGN(filled[name], FillIn(text, values_));
    }
    return filled;
  }

  Result<void> RunStep(std::size_t index) {
    const auto& step = script_.steps[index];
    TRY_ASSIGN(const auto title, FillIn(step.title, values_));
    Say("\nstep " + std::to_string(index + 1) + " of " + std::to_string(script_.steps.size()) + ": " + title + "\n");
    bj::object record{{"step", index + 1}, {"do", ToString(step.kind)}, {"title", title}};
    bj::array by;
    for (const auto& label : step.by) by.push_back(bj::string(values_[label]));
    if (!by.empty()) record["by"] = std::move(by);
    record["began"] = FormatTime(SystemClock().Now());
    details_.clear();
    const auto done = Do(step);
    record["ended"] = FormatTime(SystemClock().Now());
    record["result"] = done ? "done" : done.error().detail;
    for (auto& member : details_) record[member.key()] = member.value();
    steps_.push_back(std::move(record));
    if (done) Say("done\n");
    return done;
  }

  // A token that its vendor's tool has made is told whose it is; it is told once.
  Result<void> DoInitToken(const std::map<std::string, std::string, std::less<>>& fields) {
    const auto command = [&](const char* what) {
      return std::vector<std::string>{
          Beside("strongroom-tokend"),     "--config", fields.at("config"), what, "--roster",
          fields.at("dir") + "/roster.txt"};
    };
    auto made = DoProcess(command("--init-token"));
    if (made || made.error().detail.find("token-exists") == std::string::npos) return made;
    return DoProcess(command("--make-checkpoint-key"));
  }

  Result<void> Do(const Step& step) {
    TRY_ASSIGN(const auto fields, Filled(step.fields));
    switch (step.kind) {
      case StepKind::kConfirm:
        return DoConfirm(step, fields.at("text"));
      case StepKind::kAbsent:
        return DoAbsent(fields);
      case StepKind::kState:
        return DoState(fields);
      case StepKind::kExpect:
        return DoExpect(fields);
      case StepKind::kMakeRoster:
        return DoMakeRoster(step, fields);
      case StepKind::kSignRoster:
        return DoSignRoster(values_[step.by.front()], fields.at("dir"));
      case StepKind::kCompareFile: {
        TRY_ASSIGN(const auto text, WholeFile(fields.at("file")));
        Say(text);
        return DoCompare(step, crypto::Sha256(AsBytes(text)));
      }
      case StepKind::kInitToken:
        return DoInitToken(fields);
      case StepKind::kFirstBoot:
        return DoProcess({Beside("strongroomd"), "--config", fields.at("config"), "--first-boot", fields.at("dir")});
      case StepKind::kPropose:
        return DoPropose(step, fields);
      case StepKind::kPrincipal:
        return DoPrincipal(fields);
      case StepKind::kCompare:
        return DoCompare(step, crypto::Sha256(AsBytes(made_[fields.at("of")].text)));
      case StepKind::kApprove:
        return DoApprove(values_[step.by.front()], made_[fields.at("of")]);
      case StepKind::kExecute:
        return DoExecute(made_[fields.at("of")]);
      case StepKind::kReview:
        return DoReview(values_[step.by.front()], made_[fields.at("of")], fields.at("finding"));
      case StepKind::kCli: {
        std::vector<std::string> command = {Beside("strongroom"), "--server", session_.server, "--ca",
                                            session_.ca,          "--cert",   session_.cert,   "--key",
                                            session_.key};
        for (const auto& argument : step.arguments) {
          TRY_ASSIGN(auto text, FillIn(argument, values_));
          command.push_back(std::move(text));
        }
        const std::vector<std::string> given(command.begin() + 9, command.end());
        TRY(CheckHarmless(given));
        return DoProcess(command);
      }
    }
    return {};
  }

  Result<void> DoConfirm(const Step& step, const std::string& text) {
    Say(text + "\n");
    if (step.by.empty()) return AskYes({}, "is it so?");
    for (const auto& label : step.by) TRY(AskYes(values_[label], "is it so?"));
    return {};
  }

  // A fingerprint that each of them has read and said aloud.
  Result<void> DoCompare(const Step& step, const crypto::Digest& hash) {
    const auto spoken = crypto::SpokenFingerprint(hash);
    details_["sha256"] = ToHex(hash);
    details_["spoken"] = spoken;
    Say("read aloud: " + spoken + "\n");
    if (step.by.empty()) return AskYes({}, "does everybody read the same?");
    for (const auto& label : step.by) TRY(AskYes(values_[label], "do you read the same on your own screen or paper?"));
    return {};
  }

  Result<void> DoAbsent(const Values& fields) {
    TRY_ASSIGN(const auto client, session_.Connect());
    TRY_ASSIGN(const auto answer, client->Call("GET", "/v1/keyrings/" + fields.at("keyring")));
    if (answer.status == 404) return {};
    if (answer.status == 200) return Stopped("a keyring '" + fields.at("keyring") + "' exists already");
    TRY(netapi::ParseAnswer(answer));
    return Stopped("the appliance did not say whether the keyring is there");
  }

  Result<void> CheckState(const Values& fields) {
    TRY_ASSIGN(const auto status, session_.Ask("GET", "/v1/status"));
    if (const auto state = TextOf(status, "state"); state != fields.at("is"))
      return Stopped("the appliance is " + state + ", it should be " + fields.at("is"));
    details_["instance"] = TextOf(status, "instance");
    return {};
  }
  Result<void> DoState(const Values& fields) {
    const auto wait = fields.find("wait-seconds");
    TRY_ASSIGN(const auto seconds,
               wait == fields.end() ? Result<std::uint64_t>(std::uint64_t{0}) : crypto::ParseNumber(wait->second));
    return Until(std::chrono::seconds(seconds), [&] { return CheckState(fields); });
  }

  // Tries until it succeeds or the time is over; at once when there is none.
  template <class Try>
  Result<void> Until(std::chrono::seconds most, Try attempt) {
    const auto until = std::chrono::steady_clock::now() + most;
    while (true) {
      auto done = attempt();
      if (done || std::chrono::steady_clock::now() >= until) return done;
      std::this_thread::sleep_for(std::chrono::milliseconds(250));
    }
  }

  Result<void> DoExpect(const Values& fields) {
    TRY_ASSIGN(const auto keyring, session_.Ask("GET", "/v1/keyrings/" + fields.at("keyring")));
    for (const auto* name : {"primary", "state", "suite", "custody"}) {
      const auto wanted = fields.find(name);
      if (wanted == fields.end()) continue;
      details_[name] = TextOf(keyring, name);
      if (TextOf(keyring, name) != wanted->second)
        return Stopped(std::string(name) + " is " + TextOf(keyring, name) + ", it should be " + wanted->second);
    }
    const auto version = fields.find("version"), state = fields.find("version-state");
    if (version == fields.end() || state == fields.end()) return {};
    for (const auto& v : keyring.get_object().at("versions").get_array()) {
      if (TextOf(v, "version") != version->second) continue;
      details_["version_state"] = TextOf(v, "state");
      if (TextOf(v, "state") == state->second) return {};
      return Stopped("version " + version->second + " is " + TextOf(v, "state") + ", it should be " + state->second);
    }
    return Stopped("there is no version " + version->second);
  }

  Result<void> DoMakeRoster(const Step& step, const Values& fields) {
    std::vector<std::string> members;
    for (const auto& member : step.arguments) {
      TRY_ASSIGN(auto text, FillIn(member, values_));
      members.push_back(std::move(text));
    }
    TRY_ASSIGN(const auto votes, crypto::ParseNumber(fields.at("votes")));
    return MakeFirstRoster(fields.at("dir"), votes, members);
  }

  Result<void> DoSignRoster(const std::string& who, const std::string& dir) {
    TRY_ASSIGN(const auto text, WholeFile(dir + "/roster.txt"));
    TRY_ASSIGN(const auto roster, crypto::Roster::Parse(text));
    TRY(roster.CheckKeys());
    const auto* principal = roster.Find(who);
    if (principal == nullptr || principal->role != crypto::Role::kCustodian)
      return Stopped(who + " is not a custodian of this roster");
    const auto file = dir + "/" + who + ".sig";
    const auto key = keys_.find(who);
    if (key != keys_.end() && !key->second.empty()) {
      TRY(AskYes(who, "sign the roster with " + key->second + "?"));
      TRY_ASSIGN(const auto signature, SshSign(key->second, std::string(crypto::kRosterNamespace), text));
      TRY(WriteOutput(file, signature));
    } else {
      Say(who + " signs on her own machine: ssh-keygen -Y sign -n " + std::string(crypto::kRosterNamespace) +
          " -f KEY roster.txt; put the signature into " + file + "\n");
      TRY(Until(std::chrono::seconds(options_.wait_seconds), [&]() -> Result<void> {
        if (fs::exists(file)) return {};
        return Stopped("no signature came into " + file);
      }));
    }
    TRY_ASSIGN(const auto signature, WholeFile(file));
    return crypto::VerifySshSignature(principal->ssh_key, crypto::kRosterNamespace, AsBytes(text), signature);
  }

  Result<void> DoProcess(const std::vector<std::string>& command) {
    TRY_ASSIGN(const auto ran, RunProcess(command));
    Say(ran.out + ran.err);
    const auto last = ran.status == 0 ? ran.out : ran.err;
    details_["output"] = last.substr(0, 500);
    if (ran.status != 0) return Stopped("it ended with status " + std::to_string(ran.status));
    return {};
  }

  // What people are about to sign must be what the script asks for, whatever the server sent.
  Result<void> CheckFiled(const ProposeOptions& asked, const Made& made) const {
    const auto wrong = [](const std::string& what) {
      return Integrity("the server's text is not what the script asks for: " + what, "text-mismatch");
    };
    if (crypto::ProposalId(made.text) != made.id) return wrong("it has another id");
    TRY_ASSIGN(const auto text, crypto::ProposalText::Parse(made.text));
    TRY(text.CheckReadable());
    if (text.operation != asked.operation) return wrong("operation " + text.operation);
    if (text.keyring != asked.keyring) return wrong("keyring " + text.keyring);
    if (text.reason != asked.reason) return wrong("reason " + text.reason);
    for (const auto& param : asked.params) {
      const auto name = param.substr(0, param.find('=')), value = param.substr(param.find('=') + 1);
      const auto at = text.params.find(name);
      // The appliance writes some in full: the token's serial for `token`, all grants for a service's name.
      if (at == text.params.end() || (name != "custody" && name != "grants" && at->second != value))
        return wrong("param " + name);
    }
    return {};
  }

  Result<void> File(const std::string& as, ProposeOptions proposal) {
    proposal.params.push_back("ceremony=" + ToHex(script_.hash));
    TRY_ASSIGN(const auto client, session_.Connect());
    TRY_ASSIGN(const auto filed, FileProposal(*client, proposal));
    made_[as] = {TextOf(filed, "id"), TextOf(filed, "text")};
    TRY(CheckFiled(proposal, made_[as]));
    details_["proposal"] = made_[as].id;
    Say("proposal " + made_[as].id + "\n\n" + made_[as].text + "\n");
    return {};
  }
  Result<void> DoPropose(const Step& step, const Values& fields) {
    ProposeOptions proposal;
    proposal.operation = fields.at("operation");
    proposal.reason = fields.at("reason");
    if (const auto keyring = fields.find("keyring"); keyring != fields.end()) proposal.keyring = keyring->second;
    TRY_ASSIGN(const auto params, Filled(step.params));
    for (const auto& [name, value] : params) proposal.params.push_back(name + "=" + value);
    return File(fields.at("as"), std::move(proposal));
  }
  Result<void> DoPrincipal(const Values& fields) {
    const auto get = [&](const char* name) {
      const auto at = fields.find(name);
      return at == fields.end() ? std::string() : at->second;
    };
    PrincipalOptions change{get("name"),  get("role"),   get("cert"), get("ssh-key"),
                            get("proof"), get("reason"), 0,           false};
    if (!get("votes").empty()) {
      TRY_ASSIGN(const auto votes, crypto::ParseNumber(get("votes")));
      change.votes = static_cast<unsigned>(votes);
    }
    TRY_ASSIGN(auto params, PrincipalParams(change, get("change") == "revoke"));
    return File(get("as"), {"roster.change", {}, change.reason, std::move(params)});
  }

  Result<void> DoApprove(const std::string& who, const Made& made) {
    TRY_ASSIGN(const auto client, session_.Connect());
    details_["proposal"] = made.id;
    details_["custodian"] = who;
    if (crypto::ProposalId(made.text) != made.id)
      return Integrity("the server sent another text than the one with this id", "text-mismatch");
    const auto key = keys_.find(who);
    if (key != keys_.end() && !key->second.empty()) {
      Say("fingerprint of the text: " + crypto::SpokenFingerprint(crypto::Sha256(AsBytes(made.text))) + "\n");
      TRY(AskYes(who, "sign it with " + key->second + "?"));
      TRY_ASSIGN(auto signature, SshSign(key->second, std::string(crypto::kVoteNamespace),
                                         crypto::VoteMessage(made.text, crypto::Verdict::kApprove)));
      TRY(SubmitVote(*client, made.id, {who, crypto::Verdict::kApprove, std::move(signature)}));
      return {};
    }
    Say(who + " votes on her own machine: strongroom approve " + made.id + " --key KEY\n");
    bool rejected = false;
    TRY(Until(std::chrono::seconds(options_.wait_seconds), [&]() -> Result<void> {
      TRY_ASSIGN(const auto answer, client->Call("GET", "/v1/proposals/" + made.id));
      TRY_ASSIGN(const auto proposal, netapi::ParseAnswer(answer));
      const auto has = [&](const char* list) {
        const auto& names = proposal.get_object().at(list).get_array();
        return std::any_of(names.begin(), names.end(), [&](const bj::value& n) { return n.get_string() == who; });
      };
      rejected = has("rejections");
      if (has("approvals") || rejected) return {};
      return Stopped("no vote by " + who + " came");
    }));
    return rejected ? Result<void>(Stopped(who + " rejected it")) : Result<void>();
  }

  Result<void> DoExecute(const Made& made) {
    TRY_ASSIGN(const auto client, session_.Connect());
    TRY_ASSIGN(const auto done, ExecuteProposal(*client, made.id));
    details_["proposal"] = made.id;
    details_["state"] = TextOf(done, "state");
    if (TextOf(done, "state") != "executed") return Stopped(TextOf(done, "state") + ": " + TextOf(done, "outcome"));
    return {};
  }

  // Closes a break-glass, as a drill ends, and files somebody's review of it.
  Result<void> DoReview(const std::string& who, const Made& made, const std::string& finding) {
    const auto key = keys_.find(who);
    if (key == keys_.end() || key->second.empty())
      return Stopped("a review is signed here: --participant LABEL=" + who + ",KEY");
    const auto closed = session_.Ask("POST", "/v1/break-glass/" + made.id + "/close");
    if (!closed && closed.error().Slug() != "closed-already") return closed.error();
    TRY(AskYes(who, "sign the finding '" + finding + "' with " + key->second + "?"));
    return DoProcess({Beside("strongroom"), "--server", session_.server, "--ca", session_.ca, "--cert", session_.cert,
                      "--key", session_.key, "break-glass", "review", made.id, "--finding", finding, "--reviewer", who,
                      "--key", key->second});
  }

  const CliSession& session_;
  const CeremonyOptions& options_;
  CeremonyScript script_;
  Values values_;
  std::map<std::string, std::string, std::less<>> keys_;  // principal to SSH key file
  std::map<std::string, Made, std::less<>> made_;
  bj::array steps_;
  bj::object details_;
  std::string result_ = "not begun";
  Millis started_ = 0;
};

Result<std::string> Record(const CliSession& session, const CeremonyScript& script, const std::string& json,
                           const std::string& markdown) {
  const bj::object body{{"name", script.name}, {"script", script.text}, {"transcript", json}, {"markdown", markdown}};
  const auto text = netapi::WriteJson(body);
  TRY_ASSIGN(const auto answer, session.Ask("POST", "/v1/ceremonies", {text.data(), text.size()}));
  return TextOf(answer, "transcript_sha256");
}

}  // namespace

int RunCeremony(const CliSession& session, const CeremonyOptions& options) {
  const auto text = WholeFile(options.script);
  if (!text) return Fail(text.error());
  auto script = CeremonyScript::Parse(*text, options.script);
  if (!script) return Fail(script.error());
  Ceremony ceremony(session, options, std::move(*script));
  if (const auto prepared = ceremony.Prepare(); !prepared) return Fail(prepared.error());
  if (options.dry_run) {
    const auto rehearsed = ceremony.Rehearse();
    return rehearsed ? static_cast<int>(kExitDone) : Fail(rehearsed.error());
  }
  auto stamp = FormatTime(SystemClock().Now());
  std::erase_if(stamp, [](char c) { return c == '-' || c == ':'; });
  const auto stem = options.out + "/" + ceremony.script().name + "-" + stamp;
  auto base = stem;
  for (int n = 2; fs::exists(base + ".json") || fs::exists(base + ".md"); ++n) base = stem + "-" + std::to_string(n);
  const auto done = ceremony.Run();
  const auto transcript = ceremony.Transcript();
  const auto json = bj::serialize(transcript) + "\n";
  const auto markdown = MarkdownOf(transcript);
  for (const auto& [file, content] : {std::pair(base + ".json", json), std::pair(base + ".md", markdown)})
    if (const auto written = WriteOutput(file, content); !written) return Fail(written.error());
  const auto recorded = Record(session, ceremony.script(), json, markdown);
  if (session.json)
    std::cout << json;
  else
    std::cout << base << ".md\n" << base << ".json\n";
  if (!done) {
    if (!recorded) std::cerr << "the transcript is not in the ledger: " << recorded.error().detail << "\n";
    return Fail(done.error());
  }
  if (!recorded) return Fail(recorded.error());
  std::cerr << "the transcript is in the ledger; SHA-256 " << *recorded << "\n";
  return kExitDone;
}

}  // namespace strongroom::provisioning
