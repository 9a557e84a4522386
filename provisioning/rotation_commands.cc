#include "provisioning/rotation_commands.h"

#include <unistd.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <chrono>
#include <cmath>
#include <fstream>
#include <iostream>
#include <thread>

#include "ledger/inventory.h"
#include "provisioning/table.h"

namespace strongroom::provisioning {
namespace {

namespace bj = boost::json;

const bj::array& Array(const bj::value& object, std::string_view member) {
  return object.get_object().at(member).get_array();
}

std::string TargetOf(const DekOptions& options) {
  return "/v1/keyrings/" + options.data.keyring + "/deks/" + options.id;
}

// An id that could not stand in a path is not sent.
Result<void> CheckId(const DekOptions& options) {
  if (ledger::IsDekId(options.id)) return {};
  return Invalid("the id of a DEK is 1 to 128 characters of A-Z, a-z, 0-9 and . _ - : @ +, the first a letter or digit",
                 "bad-dek-id");
}

Result<bj::value> AskDek(const CliSession& session, const DekOptions& options, std::string_view method,
                         std::string_view tail, std::string_view body) {
  TRY(CheckId(options));
  return session.Ask(method, TargetOf(options) + std::string(tail), body);
}

std::string Seconds(double seconds) {
  const auto whole = static_cast<long>(std::ceil(seconds));
  if (whole < 120) return std::to_string(whole) + " s";
  if (whole < 7200) return std::to_string(whole / 60) + " min";
  return std::to_string(whole / 3600) + " h " + std::to_string(whole % 3600 / 60) + " min";
}

double Number(const bj::value& object, std::string_view member) {
  const auto* value = object.get_object().if_contains(member);
  if (value == nullptr || !value->is_number()) return 0;
  return value->to_number<double>();
}

// What is written here is wrapped, not secret.
std::string Json(bj::object object) {
  const auto text = netapi::WriteJson(bj::value(std::move(object)));
  return {text.data(), text.size()};
}

bool Ended(const bj::value& job) {
  const auto state = TextOf(job, "state");
  return state != "queued" && state != "running" && state != "paused";
}

std::vector<std::string> JobRow(const bj::value& j) {
  const auto* reason = j.get_object().if_contains("waiting_for");
  return {
      TextOf(j, "id"),
      TextOf(j, "kind"),
      TextOf(j, "keyring"),
      TextOf(j, "state"),
      TextOf(j, "to_version"),
      TextOf(j, "done") + "/" + TextOf(j, "total"),
      TextOf(j, "quarantined"),
      TextOf(j, "started"),
      reason == nullptr ? (j.get_object().contains("reason") ? TextOf(j, "reason") : "") : TextOf(j, "waiting_for")};
}
const std::vector<std::string> kJobHead = {"ID",   "KIND",        "KEYRING", "STATE", "TO VERSION",
                                           "DONE", "QUARANTINED", "STARTED", ""};

void PrintJob(const bj::value& j) {
  PrintTable({kJobHead, JobRow(j)});
  if (Number(j, "rate") > 0)
    std::cout << static_cast<long>(Number(j, "rate")) << " records a second, " << Seconds(Number(j, "seconds_left"))
              << " left\n";
}

void DrawBar(const bj::value& job) {
  const auto total = Number(job, "total"), done = Number(job, "done") + Number(job, "quarantined");
  const double part = total > 0 ? done / total : 1;
  const auto filled = static_cast<std::size_t>(std::min(30.0, part * 30));
  std::cerr << "\r[" << std::string(filled, '#') << std::string(30 - filled, ' ') << "] "
            << static_cast<long>(part * 100) << " %, " << TextOf(job, "state") << ", " << TextOf(job, "done") << " of "
            << TextOf(job, "total");
  if (Number(job, "rate") > 0)
    std::cerr << ", " << static_cast<long>(Number(job, "rate")) << " a second, " << Seconds(Number(job, "seconds_left"))
              << " left";
  std::cerr << "        ";
}

void PrintCensus(const bj::value& census) {
  std::vector<std::vector<std::string>> rows = {
      {"VERSION", "STATE", "IN THE INVENTORY", "LAST USE", "ACKNOWLEDGED", "AWAITED"}};
  for (const auto& v : Array(census, "versions")) {
    std::string acknowledged;
    for (const auto& a : Array(v, "acknowledged"))
      acknowledged += (acknowledged.empty() ? "" : ",") + TextOf(a, "service") + " (" + TextOf(a, "count") + ")";
    rows.push_back({TextOf(v, "version"), TextOf(v, "state"), TextOf(v, "inventory"), TextOf(v, "last_use"),
                    acknowledged.empty() ? "-" : acknowledged, NamesOf(v, "awaited")});
  }
  std::cout << "keyring " << TextOf(census, "keyring") << ", primary version " << TextOf(census, "primary") << "\n";
  PrintTable(rows);
}

void PrintReport(const bj::value& r) {
  std::cout << "version " << TextOf(r, "version") << " of " << TextOf(r, "keyring") << " was compromised at "
            << TextOf(r, "compromised") << ", is " << TextOf(r, "state") << "; emergency "
            << (TextOf(r, "closed") == "-" ? "open" : "closed at " + TextOf(r, "closed")) << "\n";
  const auto& ever = r.get_object().at("ever");
  std::cout << "it ever did: " << TextOf(ever, "wraps") << " wraps, " << TextOf(ever, "unwraps") << " unwraps, "
            << TextOf(ever, "rewraps_to") << " rewraps to it, " << TextOf(ever, "rewraps_from") << " from it\n";
  std::cout << "inventory left: " << TextOf(r, "inventory_left") << ", " << TextOf(r, "quarantined")
            << " of it quarantined\n";
  std::vector<std::vector<std::string>> rows = {{"SINCE THEN BY", "UNWRAPS", "REWRAPS", "LAST"}};
  for (const auto& member : r.get_object().at("since_compromise").get_object())
    rows.push_back({std::string(member.key()), TextOf(member.value(), "unwraps"), TextOf(member.value(), "rewraps"),
                    TextOf(member.value(), "last")});
  if (rows.size() > 1) PrintTable(rows);
  for (const auto& member : r.get_object().at("acknowledged").get_object())
    std::cout << std::string_view(member.key()) << " acknowledged " << TextOf(member.value(), "count") << " at "
              << TextOf(member.value(), "time") << "\n";
  std::cout << "awaited: " << NamesOf(r, "awaited") << "\n";
  std::vector<std::vector<std::string>> events = {{"TIME", "WHAT"}};
  for (const auto& event : Array(r, "timeline")) events.push_back({TextOf(event, "time"), TextOf(event, "what")});
  PrintTable(events);
}

void PrintPlan(const bj::value& p) {
  std::cout << TextOf(p, "records") << " records of " << TextOf(p, "keyring") << ", " << TextOf(p, "bytes")
            << " bytes, go to version " << TextOf(p, "to_version");
  if (Number(p, "rate") > 0)
    std::cout << " in about " << Seconds(Number(p, "seconds")) << " at " << static_cast<long>(Number(p, "rate"))
              << " a second";
  std::cout << " (" << TextOf(p, "basis") << ")\n";
  std::vector<std::vector<std::string>> rows = {{"VERSION", "STATE", "RECORDS", "QUARANTINED", "BYTES", "MOVES"}};
  for (const auto& v : Array(p, "versions"))
    rows.push_back({TextOf(v, "version"), TextOf(v, "state"), TextOf(v, "records"), TextOf(v, "quarantined"),
                    TextOf(v, "bytes"), TextOf(v, "moves") == "true" ? "yes" : "no"});
  PrintTable(rows);
  for (const auto& b : Array(p, "blockers"))
    std::cout << (TextOf(b, "stops") == "true" ? "STOPS: " : "note: ") << TextOf(b, "code") << ": "
              << TextOf(b, "detail") << "\n";
}

}  // namespace

int PutDek(const CliSession& session, const DekOptions& options) {
  if (options.data.ndjson) {
    if (!options.id.empty()) return FailUsage(Invalid("with --ndjson the ids stand in the lines"));
    return RunStream(session, ledger::Operation::kDekPut, options.data);
  }
  if (options.id.empty()) return FailUsage(Invalid("give the DEK's id, or --ndjson"));
  const auto put = [&]() -> Result<bj::value> {
    TRY(CheckId(options));
    TRY_ASSIGN(auto input, ReadInput(options.data.in));
    while (!input.empty() && (input.back() == '\n' || input.back() == '\r')) input.pop_back();
    bj::object body;
    body["wrapped"] = bj::string_view(input.data(), input.size());
    return AskDek(session, options, "PUT", "", Json(body));
  };
  return PrintAnswer(session, put(), [](const bj::value& dek) {
    std::cout << TextOf(dek, "id") << " is in the inventory, under version " << TextOf(dek, "kek_version") << "\n";
  });
}

int GetDek(const CliSession& session, const DekOptions& options) {
  return PrintAnswer(session, AskDek(session, options, "GET", "", {}),
                     [](const bj::value& dek) { std::cout << TextOf(dek, "wrapped") << "\n"; });
}

int DeleteDek(const CliSession& session, const DekOptions& options) {
  return PrintAnswer(session, AskDek(session, options, "DELETE", "", {}),
                     [](const bj::value& dek) { std::cout << TextOf(dek, "id") << " is gone\n"; });
}

int UnwrapDek(const CliSession& session, const DekOptions& options) {
  bj::object body;
  if (!options.data.aad.empty()) body["aad"] = options.data.aad;
  const auto answer = AskDek(session, options, "POST", "/unwrap", Json(body));
  if (!answer) return Fail(answer.error());
  netapi::SecretText out;
  if (session.json) {
    out = netapi::WriteJson(*answer);
  } else {
    const auto& text = answer->get_object().at("plaintext").get_string();
    out.append(text.data(), text.size());
  }
  out.push_back('\n');
  const auto written = WriteOutput(options.data.out, {out.data(), out.size()});
  return written ? static_cast<int>(kExitDone) : Fail(written.error());
}

int ListDeks(const CliSession& session, const DekOptions& options) {
  const std::string target = "/v1/keyrings/" + options.data.keyring + "/deks";
  std::string query;
  if (options.version != 0) query += "&kek_version=" + std::to_string(options.version);
  if (options.quarantined) query += "&quarantined=1";
  if (!options.data.ndjson) {
    return PrintAnswer(session, AskAll(session, target, query), [](const bj::value& list) {
      std::vector<std::vector<std::string>> rows = {{"ID", "VERSION", "STORED", "QUARANTINE", "OWNER"}};
      for (const auto& dek : Array(list, "items"))
        rows.push_back({TextOf(dek, "id"), TextOf(dek, "kek_version"), TextOf(dek, "stored"),
                        dek.get_object().contains("quarantine") ? TextOf(dek, "quarantine") : "-",
                        dek.get_object().contains("owner") ? TextOf(dek, "owner") : "-"});
      PrintTable(rows);
    });
  }
  const auto client = session.Connect();
  if (!client) return Fail(client.error());
  std::ofstream file;
  if (!options.data.out.empty()) {
    if (access(options.data.out.c_str(), F_OK) == 0)
      return Fail(Io("cannot make " + options.data.out + ": it exists; an export is a new file"));
    file.open(options.data.out, std::ios::binary);
    if (!file) return Fail(Io("cannot make " + options.data.out));
  }
  std::ostream& out = options.data.out.empty() ? std::cout : file;
  for (std::string after; true;) {
    const auto answer =
        (*client)->Call("GET", target + "?limit=1000" + query + (after.empty() ? "" : "&after=" + after));
    const auto page = answer ? netapi::ParseAnswer(*answer) : Result<bj::value>(answer.error());
    if (!page) return Fail(page.error());
    for (const auto& dek : Array(*page, "items"))
      out << Json({{"id", TextOf(dek, "id")}, {"wrapped", TextOf(dek, "wrapped")}}) << "\n";
    if (page->get_object().at("next").is_null()) break;
    after = TextOf(*page, "next");
  }
  out.flush();
  return out ? static_cast<int>(kExitDone) : Fail(Io("cannot write the export"));
}

int ShowPlan(const CliSession& session, const std::string& keyring) {
  return PrintAnswer(session, session.Ask("POST", "/v1/keyrings/" + keyring + "/rewrap-plan"), PrintPlan);
}

int ListJobs(const CliSession& session) {
  return PrintAnswer(session, AskAll(session, "/v1/jobs"), [](const bj::value& list) {
    std::vector<std::vector<std::string>> rows = {kJobHead};
    for (const auto& j : Array(list, "items")) rows.push_back(JobRow(j));
    PrintTable(rows);
  });
}

int ShowJob(const CliSession& session, const std::string& id) {
  return PrintAnswer(session, session.Ask("GET", "/v1/jobs/" + id), PrintJob);
}

namespace {
Result<std::string> NewestJob(netapi::Client& client) {
  TRY_ASSIGN(const auto answer, client.Call("GET", "/v1/jobs?limit=1"));
  TRY_ASSIGN(const auto list, netapi::ParseAnswer(answer));
  if (Array(list, "items").empty()) return NotFound("there is no job", "job-not-found");
  return TextOf(Array(list, "items")[0], "id");
}
}  // namespace

int WatchJob(const CliSession& session, const std::string& wanted) {
  const bool bar = isatty(STDERR_FILENO) == 1;
  const auto client = session.Connect();
  if (!client) return Fail(client.error());
  const auto newest = wanted.empty() ? NewestJob(**client) : Result<std::string>(wanted);
  if (!newest) return Fail(newest.error());
  const auto& id = *newest;
  bool drawn = false;
  while (true) {
    const auto answer = (*client)->Call("GET", "/v1/jobs/" + id);
    const auto job = answer ? netapi::ParseAnswer(*answer) : Result<bj::value>(answer.error());
    if (!job) {
      if (drawn) std::cerr << "\n";
      return Fail(job.error());
    }
    if (bar && (drawn || !Ended(*job))) {
      DrawBar(*job);
      drawn = true;
    }
    if (!Ended(*job)) {
      std::this_thread::sleep_for(std::chrono::milliseconds(500));
      continue;
    }
    if (drawn) std::cerr << "\n";
    const int status = PrintAnswer(session, *job, PrintJob);
    if (TextOf(*job, "state") == "complete") return status;
    std::cerr << "strongroom: the job ended " << TextOf(*job, "state") << ": " << TextOf(*job, "quarantined")
              << " quarantined\nnext: strongroom rewrap-plan " << TextOf(*job, "keyring") << "\n";
    return kExitRefused;
  }
}

int SwitchJob(const CliSession& session, const std::string& id, const std::string& verb) {
  return PrintAnswer(session, session.Ask("POST", "/v1/jobs/" + id + "/" + verb), PrintJob);
}

int ShowCensus(const CliSession& session, const std::string& keyring) {
  return PrintAnswer(session, session.Ask("GET", "/v1/keyrings/" + keyring + "/census"), PrintCensus);
}

int Acknowledge(const CliSession& session, const std::string& keyring, std::uint64_t version, std::uint64_t count) {
  const bj::object body{{"version", version}, {"count", count}};
  return PrintAnswer(session, session.Ask("POST", "/v1/keyrings/" + keyring + "/census", Json(body)), PrintCensus);
}

int ShowReport(const CliSession& session, const std::string& keyring, std::uint64_t version) {
  return PrintAnswer(session,
                     session.Ask("GET", "/v1/keyrings/" + keyring + "/versions/" + std::to_string(version) + "/report"),
                     PrintReport);
}

int Attest(const CliSession& session, const std::string& keyring, std::uint64_t version, const std::string& statement) {
  const auto answer =
      session.Ask("POST", "/v1/keyrings/" + keyring + "/versions/" + std::to_string(version) + "/attest",
                  Json({{"statement", statement}}));
  return PrintAnswer(session, answer, [](const bj::value& k) {
    std::cout << "version " << TextOf(k, "primary") << " of " << TextOf(k, "name") << " is active\n";
  });
}

int CloseEmergency(const CliSession& session, const std::string& keyring, std::uint64_t version) {
  return PrintAnswer(
      session,
      session.Ask("POST", "/v1/keyrings/" + keyring + "/versions/" + std::to_string(version) + "/close-emergency"),
      PrintReport);
}

}  // namespace strongroom::provisioning
