// The inventory, jobs, plans and census.

#include <algorithm>
#include <boost/json/array.hpp>

#include "appliance/emergency_report.h"
#include "appliance/policy_decisions.h"
#include "crypto/text_rules.h"
#include "netapi/api.h"
#include "netapi/keyring_json.h"

namespace strongroom::netapi {
namespace {

namespace bj = boost::json;
constexpr std::size_t kMostReport = 48 * 1024;

// A keyring that the caller may see (N5: of a service, one that is granted to it).
Result<const appliance::Keyring*> Visible(const appliance::State& state, const std::string& name,
                                          const Caller& caller) {
  const auto* keyring = state.FindKeyring(name);
  if (keyring == nullptr || (caller.role == crypto::Role::kService && !keyring->grants.Knows(caller.name)))
    return NotFound("no keyring of this name is granted to " + caller.name, "keyring-not-found");
  return keyring;
}

Result<bj::object> DekObject(const appliance::State& state, const appliance::Keyring& keyring, std::string_view id,
                             const ledger::DekRecord& record, const Caller& caller) {
  const auto* version = keyring.Find(record.version);
  if (version == nullptr) return Integrity("a DEK of the inventory is under a version that there is not");
  bj::object out{{"id", id},
                 {"wrapped", crypto::FormatEnvelope(appliance::EnvelopeOf(state, keyring, *version, record.blob))},
                 {"kek_version", record.version},
                 {"stored", FormatTime(record.stored)}};
  if (!record.quarantine.empty()) out["quarantine"] = record.quarantine;
  // Who else has a keyring is not for a service to know.
  if (!record.owner.empty() && (caller.role != crypto::Role::kService || caller.name == record.owner))
    out["owner"] = record.owner;
  return out;
}

}  // namespace

Result<bj::value> Api::DekList(const Matched& matched, const Caller& caller) const {
  const std::initializer_list<std::string_view> allowed = {"after", "limit", "kek_version", "quarantined"};
  TRY_ASSIGN(const auto after, QueryWord(matched.query, "after", allowed, ledger::IsDekId));
  TRY_ASSIGN(const auto limit, QueryNumber(matched.query, "limit", 100, allowed));
  TRY_ASSIGN(const auto under, QueryNumber(matched.query, "kek_version", 0, allowed));
  TRY_ASSIGN(const auto quarantined, QueryNumber(matched.query, "quarantined", 0, allowed));
  if (limit < 1 || limit > 1000) return Invalid("limit is 1 to 1000");
  if (under > 0xFFFFFFFFU || quarantined > 1 || (quarantined == 1 && under == 0))
    return Invalid("kek_version is a version's number; quarantined is 0 or 1, and 1 goes with kek_version");
  const auto state = governance_.Snapshot();
  TRY_ASSIGN(const auto* keyring, Visible(*state, matched.values[0], caller));
  std::vector<std::pair<std::string, ledger::DekRecord>> found;
  bool more = false;
  const auto visit = [&](std::string_view id, const ledger::DekRecord& record) {
    if (found.size() == limit) {
      more = true;
      return false;
    }
    found.emplace_back(id, record);
    return true;
  };
  const auto deks = ledger_.Deks();
  if (under == 0)
    TRY(deks.Scan(keyring->id, after, visit));
  else
    TRY(deks.ScanUnder(keyring->id, static_cast<std::uint32_t>(under), quarantined == 1, after, visit));
  // A rotation in between has made versions that the records may be under: the state is looked at behind them.
  const auto later = governance_.Snapshot();
  bj::array items;
  for (const auto& [id, record] : found) {
    TRY_ASSIGN(auto object, DekObject(*later, *later->FindKeyring(keyring->id), id, record, caller));
    items.push_back(std::move(object));
  }
  return bj::value(ListObject(std::move(items), more ? bj::value(bj::string(found.back().first)) : bj::value(nullptr)));
}

Result<bj::value> Api::DekShow(const Matched& matched, const Caller& caller) const {
  const auto state = governance_.Snapshot();
  TRY_ASSIGN(const auto* keyring, Visible(*state, matched.values[0], caller));
  if (!ledger::IsDekId(matched.values[1])) return Invalid("this is not the id of a DEK", "bad-dek-id");
  TRY_ASSIGN(const auto record, ledger_.Deks().Find(keyring->id, matched.values[1]));
  if (!record) return NotFound("the inventory has no DEK of this id", "dek-not-found");
  const auto later = governance_.Snapshot();
  TRY_ASSIGN(auto object, DekObject(*later, *later->FindKeyring(keyring->id), matched.values[1], *record, caller));
  return bj::value(std::move(object));
}

namespace {

bj::object JobObject(const appliance::JobView& view) {
  const auto& job = *view.job;
  bj::object out{{"id", job.id},
                 {"kind", ledger::ToString(job.kind)},
                 {"keyring", view.keyring},
                 {"state", view.state},
                 {"to_version", job.target},
                 {"done", view.done},
                 {"total", view.total},
                 {"quarantined", view.quarantined},
                 {"batches", view.batches},
                 {"started", FormatTime(job.started)},
                 {"changed", FormatTime(job.switched)}};
  if (view.rate > 0) {
    out["rate"] = view.rate;
    out["seconds_left"] = view.seconds_left;
  }
  if (!view.waiting.empty()) out["waiting_for"] = view.waiting;
  if (!job.by.empty()) out["by"] = job.by;
  if (!job.reason.empty()) out["reason"] = job.reason;
  return out;
}

bj::object CountsObject(const ledger::KekCounters& counts) {
  return {{"wraps", counts.wraps},
          {"unwraps", counts.unwraps},
          {"rewraps_to", counts.rewraps_to},
          {"rewraps_from", counts.rewraps_from},
          {"last_use", TimeOrNull(counts.last_use)}};
}

bj::object InventoryObject(const ledger::DekCounts& counts) {
  return {{"records", counts.records}, {"quarantined", counts.quarantined}, {"bytes", counts.bytes}};
}

bj::array Names(const std::vector<std::string>& names) {
  bj::array out;
  for (const auto& name : names) out.push_back(bj::string(name));
  return out;
}

}  // namespace

Result<bj::value> Api::AnswerRotation(const Matched& matched, const Caller& caller, std::string_view body,
                                      const std::string& request_id) {
  switch (matched.route->endpoint) {
    case Endpoint::kDekList:
      return DekList(matched, caller);
    case Endpoint::kDekShow:
      return DekShow(matched, caller);
    case Endpoint::kPlan:
      TRY(CheckNoBody(body));
      return Plan(matched.values[0], caller, request_id);
    case Endpoint::kCensus:
      return Census(matched.values[0], caller);
    case Endpoint::kAcknowledge:
      return Acknowledge(matched.values[0], body, caller);
    case Endpoint::kReport: {
      TRY_ASSIGN(auto report, Report(matched.values[0], matched.values[1]));
      return bj::value(std::move(report));
    }
    case Endpoint::kCloseEmergency:
      TRY(CheckNoBody(body));
      return CloseEmergency(matched, caller);
    case Endpoint::kAttest:
      return Attest(matched, body, caller);
    case Endpoint::kJobList:
      return Jobs(matched.query);
    case Endpoint::kJobShow: {
      TRY_ASSIGN(const auto view, jobs_.View(matched.values[0]));
      return bj::value(JobObject(view));
    }
    case Endpoint::kJobPause:
      TRY(CheckNoBody(body));
      return SwitchJob(matched.values[0], appliance::JobState::kPaused, caller);
    case Endpoint::kJobResume:
      TRY(CheckNoBody(body));
      return SwitchJob(matched.values[0], appliance::JobState::kRunning, caller);
    case Endpoint::kJobCancel:
      TRY(CheckNoBody(body));
      return SwitchJob(matched.values[0], appliance::JobState::kCancelled, caller);
    default:
      break;
  }
  return NotFound("no such path", "no-such-path");
}

Result<bj::value> Api::Jobs(std::string_view query) const {
  const std::initializer_list<std::string_view> allowed = {"after", "limit"};
  TRY_ASSIGN(const auto after, QueryText(query, "after", allowed));
  TRY_ASSIGN(const auto limit, QueryNumber(query, "limit", 100, allowed));
  if (limit < 1 || limit > 1000) return Invalid("limit is 1 to 1000");
  const auto all = jobs_.List();
  auto at = all.begin();
  if (!after.empty()) {
    at = std::find_if(all.begin(), all.end(), [&](const auto& view) { return view.job->id == after; });
    if (at == all.end()) return Invalid("query parameter 'after' is no job's id", "bad-cursor");
    ++at;
  }
  bj::array items;
  for (; at != all.end() && items.size() < limit; ++at) items.push_back(JobObject(*at));
  bj::value next = nullptr;
  if (at != all.end()) next = bj::string(std::prev(at)->job->id);
  return bj::value(ListObject(std::move(items), std::move(next)));
}

Result<bj::value> Api::SwitchJob(const std::string& id, appliance::JobState to, const Caller& caller) {
  TRY_ASSIGN(const auto view, jobs_.Switch(id, to, caller));
  return bj::value(JobObject(view));
}

Result<bj::value> Api::Plan(const std::string& keyring, const Caller& caller, const std::string& request_id) const {
  TRY_ASSIGN(const auto plan, jobs_.Plan(keyring, request_id, caller.name));
  bj::array versions, blockers;
  for (const auto& line : plan.lines) {
    auto version = InventoryObject(line.counts);
    version["version"] = line.version;
    version["state"] = appliance::ToString(line.state);
    version["moves"] = line.moves;
    versions.push_back(std::move(version));
  }
  for (const auto& blocker : plan.blockers)
    blockers.push_back(bj::object{{"code", blocker.code}, {"detail", blocker.detail}, {"stops", blocker.stops}});
  return bj::value(bj::object{{"keyring", plan.keyring},
                              {"to_version", plan.to_version},
                              {"records", plan.records},
                              {"bytes", plan.bytes},
                              {"versions", std::move(versions)},
                              {"rate", plan.rate},
                              {"seconds", plan.seconds},
                              {"basis", plan.basis},
                              {"blockers", std::move(blockers)}});
}

void Api::PutUse(bj::object& version, const appliance::Keyring& keyring, const appliance::Version& v) const {
  // What the keyring asked of the version; the KEK may serve other keyrings, too.
  if (const auto counts = ledger_.SettledCounters(v.kek, keyring.id)) version["counts"] = CountsObject(*counts);
  if (const auto counts = ledger_.SettledCounters(v.kek)) version["kek_counts"] = CountsObject(*counts);
  ledger::DekCounts inventory;
  if (const auto counts = ledger_.Deks().Counts(keyring.id))
    if (const auto at = counts->find(v.number); at != counts->end()) inventory = at->second;
  version["inventory"] = InventoryObject(inventory);
  if (const auto expires = appliance::ExpiryOf(keyring, v); expires != 0) version["expires"] = FormatTime(expires);
  if (const auto state = governance_.Snapshot(); state->EmergencyOpen(keyring.id, v.number))
    version["emergency"] = "open";
}

// Inventory, acknowledgements and last use of every former version, side by side.
Result<bj::value> Api::Census(const std::string& name, const Caller& caller) const {
  const auto state = governance_.Snapshot();
  TRY_ASSIGN(const auto* keyring, Visible(*state, name, caller));
  bj::array versions;
  for (const auto& [number, v] : keyring->versions) {
    if (number == keyring->primary) continue;
    // A service sees what is its keyring's; that others share the KEK is none of its business (N5).
    const bool asks_for_itself = caller.role == crypto::Role::kService;
    appliance::UseFacts facts;
    if (asks_for_itself) {
      TRY_ASSIGN(const auto counts, ledger_.Deks().Counts(keyring->id));
      if (const auto at = counts.find(number); at != counts.end()) facts.records = at->second.records;
      TRY_ASSIGN(const auto uses, ledger_.CountersOf(v.kek, keyring->id));
      facts.last_use = uses.last_use;
    } else {
      TRY_ASSIGN(facts, governance_.FactsOf(*state, *keyring, v));
    }
    bj::object version{{"version", number},
                       {"state", appliance::ToString(v.state)},
                       {"inventory", facts.records},
                       {"last_use", TimeOrNull(facts.last_use)}};
    bj::array acknowledged;
    for (const auto& [service, mask] : keyring->grants.by_service())
      if (const auto at = state->acknowledged.find({keyring->id, service});
          at != state->acknowledged.end() && at->second.version >= number)
        acknowledged.push_back(
            bj::object{{"service", service}, {"count", at->second.count}, {"time", FormatTime(at->second.time)}});
    version["acknowledged"] = std::move(acknowledged);
    bj::array awaited;
    for (const auto& each : appliance::AwaitedServices(*state, *keyring, v))
      if (!asks_for_itself || each.keyring == name) awaited.push_back(bj::string(each.Text()));
    version["awaited"] = std::move(awaited);
    versions.push_back(std::move(version));
  }
  return bj::value(bj::object{{"keyring", name}, {"primary", keyring->primary}, {"versions", std::move(versions)}});
}

Result<bj::value> Api::Acknowledge(const std::string& keyring, std::string_view body, const Caller& caller) {
  TRY_ASSIGN(const auto value, ParseJson(body));
  TRY_ASSIGN(const auto in, Fields::Of(value, {"version", "count"}));
  TRY_ASSIGN(const auto version, in.Number("version"));
  TRY_ASSIGN(const auto count, in.Number("count"));
  TRY(governance_.Acknowledge(caller, keyring, version, count));
  return Census(keyring, caller);
}

Result<bj::object> Api::Report(const std::string& name, const std::string& number) const {
  const auto state = governance_.Snapshot();
  const auto* keyring = state->FindKeyring(name);
  if (keyring == nullptr) return NotFound("no keyring '" + name + "'", "keyring-not-found");
  TRY_ASSIGN(const auto version, crypto::ParseNumber(number));
  if (version > 0xFFFFFFFFU) return Invalid("a version is a number");
  TRY_ASSIGN(const auto report, appliance::ReportOn(ledger_, *state, *keyring, static_cast<std::uint32_t>(version)));
  bj::object since;
  for (const auto& [principal, used] : report.since)
    since[principal == "-" ? "jobs" : principal] =
        bj::object{{"unwraps", used.unwraps}, {"rewraps", used.rewraps}, {"last", TimeOrNull(used.last)}};
  bj::object acknowledged;
  for (const auto& [service, said] : report.acknowledged)
    acknowledged[service] = bj::object{{"count", said.count}, {"time", FormatTime(said.time)}};
  bj::array timeline;
  for (const auto& event : report.timeline)
    timeline.push_back(bj::object{{"time", FormatTime(event.time)}, {"what", event.what}});
  return bj::object{{"keyring", name},
                    {"version", version},
                    {"state", appliance::ToString(report.state)},
                    {"compromised", FormatTime(report.opened)},
                    {"closed", TimeOrNull(report.closed)},
                    {"ever", CountsObject(report.ever)},
                    {"since_compromise", std::move(since)},
                    {"inventory_left", report.inventory_left},
                    {"quarantined", report.quarantined_count},
                    {"quarantined_ids", Names(report.quarantined)},
                    {"acknowledged", std::move(acknowledged)},
                    {"awaited", Names(report.awaited)},
                    {"timeline", std::move(timeline)}};
}

Result<bj::value> Api::Attest(const Matched& matched, std::string_view body, const Caller& caller) {
  TRY_ASSIGN(const auto value, ParseJson(body));
  TRY_ASSIGN(const auto in, Fields::Of(value, {"statement"}));
  TRY_ASSIGN(const auto statement, in.Text("statement", crypto::kMaxReasonBytes));
  TRY_ASSIGN(const auto version, crypto::ParseNumber(matched.values[1]));
  TRY(governance_.Attest(matched.values[0], version, caller, statement));
  if (const auto anchored = checkpointer_.Now(); !anchored)
    return Unavailable("recorded, but the token has not signed the record yet: " + anchored.error().detail,
                       "not-anchored");
  return KeyringShow(matched.values[0], caller);
}

// Closing is recorded with the report as it is then, and signed before it is answered.
Result<bj::value> Api::CloseEmergency(const Matched& matched, const Caller& caller) {
  TRY_ASSIGN(const auto version, crypto::ParseNumber(matched.values[1]));
  TRY_ASSIGN(auto report, Report(matched.values[0], matched.values[1]));
  // The ids are in the inventory; the entry keeps to what it can hold.
  report.erase("quarantined_ids");
  auto text = WriteJson(report);
  if (text.size() > kMostReport) {
    report.erase("timeline");
    text = WriteJson(report);
  }
  TRY(governance_.CloseEmergency(matched.values[0], version, caller, {text.data(), text.size()}));
  if (const auto anchored = checkpointer_.Now(); !anchored)
    return Unavailable("recorded, but the token has not signed the record yet: " + anchored.error().detail,
                       "not-anchored");
  TRY_ASSIGN(auto closed, Report(matched.values[0], matched.values[1]));
  return bj::value(std::move(closed));
}

}  // namespace strongroom::netapi
