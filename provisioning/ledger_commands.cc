#include "provisioning/ledger_commands.h"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <iostream>
#include <set>

#include "appliance/state_rows.h"

namespace strongroom::provisioning {
namespace {

namespace bj = boost::json;

// An entry's operation: of evidence its own; of a filed proposal the one in its text, and so of everything that became
// of that proposal: votes, execution, outcome.
bool Concerns(const bj::value& entry, const std::string& operation, std::set<std::string>& proposals) {
  if (operation.empty() || TextOf(entry, "kind") == operation || TextOf(entry, "operation") == operation) return true;
  const auto proposal = TextOf(entry, "proposal");
  if (TextOf(entry, "text").find("\noperation: " + operation + "\n") != std::string::npos) proposals.insert(proposal);
  return proposals.contains(proposal);
}

std::string Summary(const bj::object& entry) {
  std::string line;
  for (const auto& member : entry) {
    const std::string_view key = member.key();
    if (key == "index" || key == "kind" || key == "time" || key == "leaf_hash" || key == "text" || key == "signature" ||
        key == "signatures" || key == "roster" || key == "uses")
      continue;
    line += (line.empty() ? "" : " ") + std::string(key) + "=" + TextOf(entry, key);
  }
  return line;
}

Result<void> Show(const CliSession& session, const LedgerShowOptions& options) {
  TRY_ASSIGN(const auto client, session.Connect());
  bj::array all;
  std::set<std::string> proposals;
  std::string next = std::to_string(options.from);
  while (next != "-") {
    TRY_ASSIGN(const auto answer,
               client->Call("GET", "/v1/ledger/" + options.log + "/entries?limit=1000&from=" + next));
    TRY_ASSIGN(const auto page, netapi::ParseAnswer(answer));
    for (const auto& entry : page.get_object().at("items").get_array()) {
      // Times are RFC 3339 in UTC, so their texts are in the order of the times.
      if (!Concerns(entry, options.operation, proposals) || TextOf(entry, "time") < options.since) continue;
      if (session.json)
        all.push_back(entry);
      else
        std::cout << TextOf(entry, "index") << "  " << TextOf(entry, "time") << "  " << TextOf(entry, "kind") << "  "
                  << Summary(entry.get_object()) << "\n";
    }
    next = TextOf(page, "next");
  }
  if (session.json) PrintJson(bj::object{{"items", std::move(all)}, {"next", nullptr}});
  return {};
}

struct Rebuilt {
  std::size_t rows = 0;
  bool same = false;
  bool gave_up_journal = false;
};

Result<std::unique_ptr<ledger::Ledger>> OpenExisting(const std::string& directory, bool without_journal) {
  ledger::Ledger::Options options;
  options.directory = directory;
  options.must_exist = true;
  if (without_journal) options.journal_lost = SystemClock().Now();
  return ledger::Ledger::Open(options);
}

Result<Rebuilt> Rebuild(const std::string& directory, bool without_journal) {
  TRY_ASSIGN(const auto ledger, OpenExisting(directory, without_journal));
  TRY_ASSIGN(const auto state, appliance::Replay(*ledger));
  const auto rows = appliance::AllRows(state);
  std::map<std::string, Bytes> wanted, stored;
  for (const auto& row : rows) wanted[row.key] = *row.value;
  TRY(ledger->ReadState([&](std::string_view key, ByteView value) {
    stored[std::string(key)] = Bytes(value.begin(), value.end());
    return true;
  }));
  TRY(ledger->ReplaceState(rows));
  return Rebuilt{rows.size(), wanted == stored, ledger->GaveUpJournal()};
}

}  // namespace

int ShowLedger(const CliSession& session, const LedgerShowOptions& options) {
  if (options.log != "control" && options.log != "evidence")
    return FailUsage(Invalid("the logs are 'control' and 'evidence'"));
  constexpr std::string_view kForm = "0000-00-00T00:00:00Z";
  for (std::size_t i = 0; i < options.since.size(); ++i) {
    const bool digit = options.since[i] >= '0' && options.since[i] <= '9';
    if (i >= kForm.size() || (kForm[i] == '0' ? !digit : options.since[i] != kForm[i]))
      return FailUsage(Invalid("--since is a day or a time in UTC, like 2026-01-31 or 2026-01-31T12:00:00Z"));
  }
  const auto shown = Show(session, options);
  return shown ? kExitDone : Fail(shown.error());
}

int RebuildState(const CliSession& session, const std::string& data_directory, bool without_journal) {
  const auto rebuilt = Rebuild(data_directory, without_journal);
  if (!rebuilt) return Fail(rebuilt.error());
  if (session.json)
    PrintJson(bj::object{
        {"rows", rebuilt->rows}, {"same_as_before", rebuilt->same}, {"gave_up_journal", rebuilt->gave_up_journal}});
  else {
    if (rebuilt->gave_up_journal)
      std::cout << "the journal was given up: an entry of the evidence log says so, and it is not taken back\n";
    else if (without_journal)
      std::cout << "no journal was missing: nothing was given up\n";
    std::cout << rebuilt->rows << " rows made from the control log; "
              << (rebuilt->same ? "byte for byte the same as before" : "they DIFFERED from what was stored") << "\n";
  }
  return kExitDone;
}

}  // namespace strongroom::provisioning
