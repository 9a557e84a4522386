#include "provisioning/custody_commands.h"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <filesystem>
#include <iostream>

#include "crypto/roster.h"
#include "crypto/text_rules.h"
#include "provisioning/process.h"

namespace strongroom::provisioning {
namespace {

namespace bj = boost::json;

int Done(const CliSession& session, const Result<bj::value>& answer, const std::string& line) {
  if (!answer) return Fail(answer.error());
  if (session.json)
    PrintJson(*answer);
  else
    std::cout << line << "\n";
  return kExitDone;
}

Result<bj::value> Find(netapi::Client& client, const std::string& id) {
  TRY_ASSIGN(const auto answer, client.Call("GET", "/v1/break-glass"));
  TRY_ASSIGN(const auto list, netapi::ParseAnswer(answer));
  for (const auto& item : list.get_object().at("items").get_array())
    if (TextOf(item, "id") == id) return item;
  return NotFound("no break-glass with this id", "break-glass-not-found");
}

// What the reviewer signs: the server's text with her finding in the place that it leaves for one.
Result<std::string> ReviewMessage(const bj::value& item, const std::string& finding) {
  TRY(crypto::CheckSignedLine(finding, 1000));
  if (!item.get_object().contains("review_text")) return Conflict("it is still open: close it first", "still-open");
  auto text = TextOf(item, "review_text");
  const std::string place = "\nfinding: FINDING\n";
  if (!text.starts_with("strongroom break-glass review v1\n") || !text.ends_with(place) ||
      text.find("\nbreak-glass: " + TextOf(item, "id") + "\n") == std::string::npos)
    return Integrity("the server sent another text than a review's: not signed", "text-mismatch");
  text.resize(text.size() - place.size());
  return text + "\nfinding: " + finding + "\nverdict: reviewed\n";
}

Result<bj::value> Review(const CliSession& session, const ReviewOptions& options) {
  TRY_ASSIGN(const auto client, session.Connect());
  TRY_ASSIGN(const auto item, Find(*client, options.id));
  TRY_ASSIGN(const auto message, ReviewMessage(item, options.finding));
  bj::object body;
  auto reviewer =
      options.reviewer.empty() ? std::filesystem::path(options.key_file).filename().string() : options.reviewer;
  if (reviewer.ends_with(".pub")) reviewer.resize(reviewer.size() - 4);
  body["reviewer"] = reviewer;
  body["finding"] = options.finding;
  std::cerr << message;
  if (options.signature_file.empty()) {
    TRY_ASSIGN(const auto signature, SshSign(options.key_file, std::string(crypto::kVoteNamespace), message));
    body["signature"] = signature;
  } else {
    TRY_ASSIGN(const auto signature, ReadInput(options.signature_file));
    body["signature"] = std::string(signature);
  }
  const auto text = netapi::WriteJson(body);
  TRY_ASSIGN(const auto answer,
             client->Call("POST", "/v1/break-glass/" + options.id + "/review", {text.data(), text.size()}));
  return netapi::ParseAnswer(answer);
}

}  // namespace

int DisableKeyring(const CliSession& session, const std::string& name) {
  return Done(session, session.Ask("POST", "/v1/keyrings/" + name + "/disable"),
              "disabled; enabling it again takes votes: strongroom propose keyring.enable --keyring " + name);
}

int CancelDestruction(const CliSession& session, const std::string& keyring, std::uint64_t version) {
  return Done(
      session,
      session.Ask("POST", "/v1/keyrings/" + keyring + "/versions/" + std::to_string(version) + "/cancel-destruction"),
      "version " + std::to_string(version) + " of " + keyring + " stays");
}

int ListBreakGlass(const CliSession& session) {
  const auto answer = session.Ask("GET", "/v1/break-glass");
  if (!answer) return Fail(answer.error());
  if (session.json) {
    PrintJson(*answer);
    return kExitDone;
  }
  for (const auto& b : answer->get_object().at("items").get_array()) {
    std::cout << TextOf(b, "id") << "  " << TextOf(b, "state") << (TextOf(b, "drill") == "true" ? " (drill)" : "")
              << "  " << TextOf(b, "check") << " for " << TextOf(b, "scope") << ", opened " << TextOf(b, "opened")
              << " until " << TextOf(b, "until") << ", used " << TextOf(b, "uses") << " of " << TextOf(b, "most_uses");
    if (b.get_object().contains("reason")) std::cout << "; " << TextOf(b, "reason") << " " << TextOf(b, "closed");
    if (b.get_object().contains("reviewer"))
      std::cout << "; " << TextOf(b, "reviewer") << ": " << TextOf(b, "finding");
    else if (TextOf(b, "state") == "closed")
      std::cout << "; a review is owed";
    std::cout << "\n";
  }
  return kExitDone;
}

int CloseBreakGlass(const CliSession& session, const std::string& id) {
  return Done(session, session.Ask("POST", "/v1/break-glass/" + id + "/close"),
              "closed; somebody else reviews it: strongroom break-glass review " + id + " --finding TEXT --key FILE");
}

int ReviewBreakGlass(const CliSession& session, const ReviewOptions& options) {
  if (options.text_only) {
    const auto client = session.Connect();
    if (!client) return Fail(client.error());
    const auto item = Find(**client, options.id);
    if (!item) return Fail(item.error());
    const auto message = ReviewMessage(*item, options.finding);
    if (!message) return Fail(message.error());
    std::cout << *message;
    return kExitDone;
  }
  if (options.key_file.empty() == options.signature_file.empty())
    return FailUsage(Invalid("give --key FILE, or --signature FILE with --reviewer NAME"));
  if (!options.signature_file.empty() && options.reviewer.empty())
    return FailUsage(Invalid("--signature needs --reviewer NAME"));
  return Done(session, Review(session, options), "reviewed");
}

}  // namespace strongroom::provisioning
