#include "provisioning/cli_session.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <cerrno>
#include <cstdio>
#include <iostream>
#include <system_error>

namespace strongroom::provisioning {
namespace {

struct NextStep {
  std::string_view slug, text;
};
constexpr auto kNextSteps = std::to_array<NextStep>({
    {"unavailable",
     "try again in a moment; if it stays so, see whether the appliance runs (strongroom dev up --dir DIR starts a dev "
     "one)"},
    {"not-operational", "see strongroom status for the check that fails"},
    {"overloaded", "try again in a moment, or send larger batches"},
    {"keyring-not-found", "see strongroom keyring list for what this principal may use"},
    {"operation-not-granted", "ask for it in the keyring's grants"},
    {"role-refused", "use the certificate of a principal whose role may do this (--cert, --key)"},
    {"unknown-principal", "use a certificate whose key is in the roster (--cert, --key)"},
    {"unwrap-failed", "check keyring, AAD and that the text is whole: strongroom inspect TEXT"},
    {"quorum-missing", "let another custodian approve it: strongroom approve ID --key FILE"},
    {"stale", "propose it again: the state it was signed for is gone"},
    {"proposal-expired", "propose it again"},
    {"proposal-not-found", "see strongroom proposal list"},
    {"vote-exists", "nothing is left to do for this custodian"},
    {"rejected", "a rejection is final: propose again if the reason for it is gone"},
    {"already-executed", "see strongroom proposal show ID for the outcome"},
    {"no-own-kek", "propose keyring.rotate --keyring install"},
    {"uninitialised", "run the first boot: strongroomd --first-boot DIR"},
    {"ledger-full", "free disk space or raise map-gib; strongroom status names the check"},
    {"not-anchored", "it is done; see strongroom status for why the token has not signed it yet"},
    {"not-rolled-back", "nothing is left to do: strongroom status says operational when all is well"},
    {"foreign-instance", "put in this instance's token, or restore a backup of the instance that the token belongs to"},
    {"checkpoint-key-changed", "restore a newer backup, or put the right token back"},
    {"too-many-keys", "restore a newer backup: strongroom restore"},
    {"file-exists", "name a new file"},
    {"roster-not-enforced", "restore the newest backup, which has the roster that the token obeys"},
    {"proof-missing", "she runs: strongroom principal prove NAME --key FILE; give its output as --proof"},
    {"ceremony-stopped", "the transcript says how far it came; what was proposed stands until it is settled"},
    {"not-confirmed", "run it again when the text is what you want to sign"},
    {"concerned-vote", "let another custodian vote"},
    {"clock-back", "set the token host's clock right"},
    {"rollback", "put the newest database back, or adopt this one: strongroom propose ledger.adopt --reason WHY"},
    {"no-checkpoint-key", "run strongroom-tokend --config FILE --make-checkpoint-key"},
    {"ledger-failed", "free disk space, then restart strongroomd"},
    {"already-running", "stop the other one first, or use another directory"},
    {"tls-refused", "use a certificate of the appliance's CA (--cert, --key) and that CA (--ca)"},
    {"not-started", "see log/ in the directory, mend what it says, then run strongroom dev up again"},
    {"file-missing", "nothing was changed; with the file back in its place run strongroom dev up again"},
    {"token-missing", "nothing was changed; with the token back in its place run strongroom dev up again"},
    {"pin-missing", "nothing was changed; with the PIN file back in its place run strongroom dev up again"},
    {"directory-in-use", "name a new folder, or move what is there away first"},
    {"ledger-missing", "name the data directory of an appliance (of a dev appliance: DIR/data)"},
    {"tls-setup", "check that the files named by --ca, --cert and --key are there and readable"},
    {"bad-signature", "sign the exact text of strongroom proposal show ID --text with the key that is in the roster"},
    {"not-a-custodian", "name the custodian with --custodian, or use the key file that bears the custodian's name"},
    {"not-open", "see strongroom proposal show ID for what became of it"},
    {"unknown-operation", "take one of those: docs/custodians.md says what each does"},
    {"unknown-parameter", "docs/custodians.md has the parameters of each operation"},
    {"other-organisation", "let a custodian of that organisation vote: strongroom principal list"},
    {"keyring-disabled", "a quorum enables it: strongroom propose keyring.enable --keyring NAME --reason WHY"},
    {"version-state", "see strongroom keyring show NAME for what each version is"},
    {"version-archived", "a quorum brings it back: strongroom propose version.restore"},
    {"version-compromised", "rewrap what was wrapped under it: strongroom rewrap"},
    {"version-destroyed", "nothing opens it any more; data under it is lost unless it was rewrapped before"},
    {"version-pending-destruction", "strongroom version cancel-destruction NAME N, then propose version.restore"},
    {"destruction-not-pending", "strongroom version cancel-destruction NAME N, then propose version.destroy again"},
    {"provider-unhealthy", "see strongroom status; if the check is wrong, a quorum overrides it: break-glass.open"},
    {"clock-frozen", "set the host's clock right, then: strongroom propose clock.accept --reason WHY"},
    {"clock-not-frozen", "nothing is left to do"},
    {"not-overridable", "mend what fails: strongroom status says what it is"},
    {"nothing-to-override", "nothing is stopped; to practise give --param drill=yes"},
    {"break-glass-open", "strongroom break-glass list shows it, strongroom break-glass close ID closes it"},
    {"review-owed", "somebody else reviews the last one: strongroom break-glass review ID --finding TEXT --key FILE"},
    {"still-open", "strongroom break-glass close ID"},
    {"own-review", "let a custodian review it who neither asked for it nor opened it"},
    {"break-glass-not-found", "see strongroom break-glass list"},
    {"job-running", "strongroom job list shows it; strongroom job watch ID waits for it, job cancel ID ends it"},
    {"job-not-found", "see strongroom job list"},
    {"job-state", "see strongroom job show ID for what became of it"},
    {"rotated-recently", "wait, or in an emergency: strongroom propose keyring.emergency-rotate"},
    {"dek-not-found", "see strongroom dek list --keyring NAME"},
    {"bad-dek-id", "give it another id"},
    {"census-inventory", "strongroom propose rewrap.start moves them; see strongroom rewrap-plan NAME"},
    {"census-awaited", "they run strongroom census acknowledge, or the proposal names them: --param waive=NAME,NAME"},
    {"census-quiet", "wait, or propose it with --param quiet-hours=N and say why"},
    {"version-pending", "strongroom version attest NAME N --statement TEXT, when it is backed up"},
    {"acknowledged-recently", "wait a minute and acknowledge again"},
    {"no-emergency", "nothing is left to do: strongroom keyring show NAME"},
    {"gcm-exhausted", "rotate the keyring: strongroom propose keyring.rotate"},
    {"token-not-enrolled", "strongroom propose token.enrol --param token=SERIAL --reason WHY; see docs/tokens.md"},
    {"token-not-connected", "see strongroom status; a further token needs a [[token]] in strongroom.toml"},
    {"token-not-verified", "see strongroom status for what is wrong with the token"},
    {"token-without-record", "see whether it is the right token; an emptied one is enrolled again"},
    {"roster-not-enforced", "see strongroom status; docs/tokens.md says how a token follows the roster"},
    {"execution-unsettled", "bring its token back (strongroom status); what was cut off is settled by itself then"},
    {"policy-set", "strongroom propose keyring.set-policy --keyring NAME --param rotate-days=none --reason WHY"},
    {"not-released", "unwrap it with its AAD: that wraps it under the primary version"},
    {"nothing-to-adopt", "have the token's owner make that key with her own tool; see docs/tokens.md"},
    {"not-a-further-token", "strongroom propose keyring.rotate --keyring NAME --reason WHY"},
    {"nothing-to-archive", "strongroom ledger show evidence has what is there; name a later time"},
    {"evidence-in-use", "close the break-glass or emergency first: strongroom status"},
    {"archive-missing", "name the folder of the export that has it: --archive DIR"},
    {"entries-archived", "they are in the export that the proposal of ledger.archive names"},
    {"token-inventory", "have the key removed or explained before any ceremony goes on: strongroom status"},
});

}  // namespace

Result<std::unique_ptr<netapi::Client>> CliSession::Connect() const {
  for (const auto& [name, value] : {std::pair<const char*, const std::string*>{"--server", &server},
                                    {"--ca", &ca},
                                    {"--cert", &cert},
                                    {"--key", &key}})
    if (value->empty())
      return Invalid(
          std::string(name) +
              " is missing (or its STRONGROOM_ variable): eval \"$(strongroom dev env --dir DIR)\" sets all four",
          "usage");
  return netapi::Client::Make({server, {cert, key, ca}, std::chrono::seconds(30)});
}

Result<boost::json::value> CliSession::Ask(std::string_view method, std::string_view target,
                                           std::string_view body) const {
  TRY_ASSIGN(const auto client, Connect());
  TRY_ASSIGN(const auto answer, client->Call(method, target, body));
  return netapi::ParseAnswer(answer);
}

Result<boost::json::value> AskAll(const CliSession& session, const std::string& target, const std::string& query) {
  boost::json::array items;
  std::string cursor;
  do {
    TRY_ASSIGN(auto page,
               session.Ask("GET", target + "?limit=1000" + query + (cursor.empty() ? "" : "&after=" + cursor)));
    const auto* list = page.is_object() ? page.get_object().if_contains("items") : nullptr;
    if (list == nullptr || !list->is_array()) return Integrity("the server answered something else than a list");
    for (auto& item : page.get_object().at("items").get_array()) items.push_back(std::move(item));
    cursor = TextOf(page, "next");
  } while (cursor != "-");
  return boost::json::value(boost::json::object{{"items", std::move(items)}, {"next", nullptr}});
}

namespace {
void PrintError(const Error& error) {
  std::cerr << "strongroom: " << error.Line() << "\n";
  for (const auto& next : kNextSteps)
    if (next.slug == error.Slug()) std::cerr << "next: " << next.text << "\n";
}
}  // namespace

int PrintAnswer(const CliSession& session, const Result<boost::json::value>& answer,
                void (*print)(const boost::json::value&)) {
  if (!answer) return Fail(answer.error());
  if (session.json)
    PrintJson(*answer);
  else
    print(*answer);
  return kExitDone;
}

int FailUsage(const Error& error) {
  PrintError(error);
  return kExitUsage;
}

int Fail(const Error& error) {
  PrintError(error);
  if (error.slug == "usage") return kExitUsage;
  switch (error.code) {
    case Code::kUnavailable:
    case Code::kOverloaded:
    case Code::kTokenFault:
      return kExitUnavailable;
    default:
      return kExitRefused;
  }
}

void PrintJson(const boost::json::value& value) { std::cout << netapi::WriteJson(value) << "\n"; }

std::string TextOf(const boost::json::value& object, std::string_view member) {
  const auto* value = object.is_object() ? object.get_object().if_contains(member) : nullptr;
  if (value == nullptr || value->is_null()) return "-";
  if (const auto* text = value->if_string()) return std::string(std::string_view(*text));
  return boost::json::serialize(*value);
}

std::string NamesOf(const boost::json::value& object, std::string_view member) {
  const auto* value = object.is_object() ? object.get_object().if_contains(member) : nullptr;
  std::string out;
  if (value != nullptr && value->is_array())
    for (const auto& name : value->get_array())
      out += (out.empty() ? "" : ", ") + (name.is_string() ? std::string(std::string_view(name.get_string())) : "?");
  return out.empty() ? "-" : out;
}

Result<netapi::SecretText> ReadInput(const std::string& file) {
  const int fd = file.empty() ? STDIN_FILENO : open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return Io("cannot read " + file + ": " + std::generic_category().message(errno));
  netapi::SecretText text;
  std::array<char, 65536> part{};
  ssize_t n = 0;
  while ((n = read(fd, part.data(), part.size())) > 0 && text.size() <= (16U << 20))
    text.append(part.data(), static_cast<std::size_t>(n));
  Zeroise(part.data(), part.size());
  if (fd != STDIN_FILENO) (void)close(fd);
  if (n < 0) return Io("cannot read " + (file.empty() ? std::string("standard input") : file));
  if (text.size() > (16U << 20)) return Invalid("the input is longer than 16 MiB");
  return text;
}

Result<void> WriteOutput(const std::string& file, std::string_view text) {
  if (file.empty()) {
    std::cout << text << std::flush;
    return std::cout ? Result<void>() : Result<void>(Io("cannot write to standard output"));
  }
  // Written beside and renamed: the file may hold the only copy of what is read from it.
  const auto temporary = file + ".new";
  const int fd = open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return Io("cannot write " + temporary + ": " + std::generic_category().message(errno));
  const bool written = write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()) && fsync(fd) == 0;
  const bool closed = close(fd) == 0;
  if (!written || !closed || rename(temporary.c_str(), file.c_str()) != 0) return Io("cannot write " + file);
  return {};
}

}  // namespace strongroom::provisioning
