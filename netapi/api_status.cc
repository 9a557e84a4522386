// Status, break-glass, metrics: what the appliance says of itself.

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <boost/json/array.hpp>

#include "appliance/gcm_budget.h"
#include "appliance/policy_decisions.h"
#include "netapi/api.h"

namespace strongroom::netapi {
namespace {

namespace bj = boost::json;

bj::object CheckObject(const appliance::Check& check) {
  bj::object out{{"name", check.name},
                 {"ok", check.ok},
                 {"detail", check.detail},
                 {"stops", check.stops},
                 {"overridable", check.overridable}};
  if (!check.overridden.empty()) out["overridden_by"] = check.overridden;
  return out;
}

using Labels = std::vector<prometheus::ClientMetric::Label>;

// Families is what a scrape sees, in the order in which it was added.
class Families {
 public:
  void Add(const char* name, const char* help, prometheus::MetricType type) {
    families_.push_back({});
    families_.back().name = name;
    families_.back().help = help;
    families_.back().type = type;
  }
  void Put(double value, Labels labels = {}) {
    prometheus::ClientMetric metric;
    metric.label = std::move(labels);
    if (families_.back().type == prometheus::MetricType::Counter)
      metric.counter.value = value;
    else
      metric.gauge.value = value;
    families_.back().metric.push_back(std::move(metric));
  }
  std::string Text() const { return prometheus::TextSerializer().Serialize(families_); }

 private:
  std::vector<prometheus::MetricFamily> families_;
};

constexpr double kMillis = 1000;

// What an operator has to be told in time: how old, how late, how much is left to move.
void AddRotation(Families& out, const appliance::State& state, Millis now, const ledger::Ledger& ledger) {
  using enum prometheus::MetricType;
  out.Add("strongroom_keyring_primary_age_seconds", "since the primary version was made", Gauge);
  for (const auto& [name, k] : state.keyrings)
    out.Put(static_cast<double>(now - k->Primary()->announced) / kMillis, {{"keyring", name}});
  out.Add("strongroom_keyring_rotation_lag_seconds", "how late a rotation is by its policy, 0 when it is not", Gauge);
  for (const auto& [name, k] : state.keyrings)
    if (const auto next = appliance::NextRotation(*k); next != 0)
      out.Put(static_cast<double>(std::max<Millis>(0, now - next)) / kMillis, {{"keyring", name}});
  out.Add("strongroom_version_expires_seconds",
          "until the time of a version that is in use is over; less than 0: it is", Gauge);
  for (const auto& [name, k] : state.keyrings)
    for (const auto& [number, v] : k->versions)
      if (const auto expires = appliance::ExpiryOf(*k, v);
          expires != 0 &&
          (v.state == appliance::VersionState::kActive || v.state == appliance::VersionState::kDeactivated))
        out.Put(static_cast<double>(expires - now) / kMillis, {{"keyring", name}, {"version", std::to_string(number)}});
  out.Add("strongroom_gcm_encryptions", "made by the primary version of a keyring of suite gcm; it stops at 2^31",
          Gauge);
  for (const auto& [name, k] : state.keyrings)
    if (appliance::CountsForGcm(*k->Primary()))
      if (const auto done = appliance::GcmEncryptions(ledger, *k->Primary()))
        out.Put(static_cast<double>(*done), {{"keyring", name}});
  out.Add("strongroom_emergency_open", "1 for a compromised version whose emergency is open", Gauge);
  for (const auto& [key, emergency] : state.emergencies)
    if (const auto* k = state.FindKeyring(key.first); k != nullptr && emergency.closed == 0)
      out.Put(1, {{"keyring", k->name}, {"version", std::to_string(key.second)}});
  out.Add("strongroom_inventory_deks", "wrapped DEKs of the inventory", Gauge);
  for (const auto& [name, k] : state.keyrings)
    if (const auto counts = ledger.Deks().Counts(k->id))
      for (const auto& [version, count] : *counts) {
        const Labels labels = {{"keyring", name}, {"version", std::to_string(version)}};
        auto open = labels, quarantined = labels;
        open.push_back({"quarantined", "no"});
        quarantined.push_back({"quarantined", "yes"});
        out.Put(static_cast<double>(count.records - count.quarantined), open);
        out.Put(static_cast<double>(count.quarantined), quarantined);
      }
}

bj::object FurtherObject(const appliance::FurtherReport& report) {
  bj::object token{{"state", appliance::ToString(report.state)}};
  bj::array hosts, offered;
  for (const auto host : report.hosts) hosts.push_back(bj::string(appliance::ToString(host)));
  token["hosts"] = std::move(hosts);
  token["serial"] = report.serial;
  token["further"] = true;
  token["owner"] = report.customer ? "customer" : "appliance";
  if (!report.detail.empty()) token["detail"] = report.detail;
  if (report.identity) {
    token["label"] = report.identity->label;
    token["model"] = report.identity->model;
    token["manufacturer"] = report.identity->manufacturer;
    token["profile"] = report.identity->profile;
  }
  for (const auto& key : report.offered)
    offered.push_back(bj::object{{"id", ToHex(key.id)}, {"label", key.label}, {"fault", key.fault}});
  if (!offered.empty()) token["offered"] = std::move(offered);
  return token;
}

}  // namespace

bj::value Api::StatusJson() const {
  const auto status = lifecycle_.Report();
  bj::object out;
  out["state"] = appliance::ToString(status.state);
  if (const auto state = governance_.Snapshot(); state->roster) {
    out["instance"] = ToHex(state->roster->instance());
    out["roster_version"] = state->roster->version();
  }
  bj::array checks;
  for (const auto& check : status.checks) checks.push_back(CheckObject(check));
  const auto tls = tls_fault_();
  checks.push_back(CheckObject({"tls-identity", tls.empty(), tls, "new connections", false, {}}));
  out["checks"] = std::move(checks);
  bj::array tokens;
  bj::object token{{"state", appliance::ToString(status.token_state)}};
  bj::array hosts;
  for (const auto host : status.hosts) hosts.push_back(bj::string(appliance::ToString(host)));
  token["hosts"] = std::move(hosts);
  if (status.token) {
    token["serial"] = status.token->serial;
    token["label"] = status.token->label;
    token["model"] = status.token->model;
    token["manufacturer"] = status.token->manufacturer;
    token["profile"] = status.token->profile;
  }
  tokens.push_back(std::move(token));
  for (const auto& report : further_ ? further_() : std::vector<appliance::FurtherReport>())
    tokens.push_back(FurtherObject(report));
  out["tokens"] = std::move(tokens);
  if (const auto opened = governance_.overrides().Open()) out["break_glass"] = *opened;
  out["pool"] = bj::object{{"queued_interactive", brokers_.Queued(appliance::Lane::kInteractive)},
                           {"queued_bulk", brokers_.Queued(appliance::Lane::kBulk)}};
  const auto head = [](const ledger::Head& h) { return bj::object{{"size", h.size}, {"root", ToHex(h.root)}}; };
  out["ledger"] = bj::object{{"control", head(status.control)}, {"evidence", head(status.evidence)}};
  out["ledger"].get_object()["epoch"] = governance_.Snapshot()->ledger.epoch;
  if (const auto key = checkpointer_.VerifierKey()) out["ledger"].get_object()["vkey"] = *key;
  return out;
}

bj::object Api::BreakGlassJson(const appliance::BreakGlass& b) const {
  const auto state = governance_.Snapshot();
  const auto uses = b.closed == 0 ? governance_.overrides().Uses(b.id) : b.uses;
  const auto open = governance_.overrides().Open();
  bj::object out{{"id", b.id},
                 {"state", open && *open == b.id ? "open"
                           : b.reviewer.empty()  ? "closed"
                                                 : "reviewed"},
                 {"check", b.check},
                 {"scope", b.scope},
                 {"drill", b.drill},
                 {"requester", b.requester},
                 {"opened", FormatTime(b.opened)},
                 {"until", FormatTime(b.until)},
                 {"uses", uses},
                 {"most_uses", b.most_uses}};
  if (b.closed != 0) {
    out["closed"] = FormatTime(b.closed);
    out["reason"] = b.reason;
    out["review_text"] = appliance::ReviewText(state->roster->instance(), b, "FINDING");
  }
  if (!b.closed_by.empty()) out["closed_by"] = b.closed_by;
  if (!b.reviewer.empty()) {
    out["reviewer"] = b.reviewer;
    out["finding"] = b.finding;
  }
  return out;
}

Result<bj::value> Api::BreakGlassList() const {
  const auto state = governance_.Snapshot();
  bj::array items;
  for (const auto& [id, b] : state->break_glass) items.push_back(BreakGlassJson(*b));
  return bj::value(ListObject(std::move(items), nullptr));
}

// Closing and reviewing are recorded and signed before they are answered (G6).
Result<bj::value> Api::BreakGlassChanged(const std::string& id) {
  if (const auto anchored = checkpointer_.Now(); !anchored)
    return Unavailable("recorded, but the token has not signed the record yet: " + anchored.error().detail,
                       "not-anchored");
  const auto state = governance_.Snapshot();
  return bj::value(BreakGlassJson(*state->break_glass.at(id)));
}

std::string Api::Metrics() const {
  using enum prometheus::MetricType;
  const auto status = lifecycle_.Report();
  const auto state = governance_.Snapshot();
  Families out;
  out.Add("strongroom_state", "1 for the state that the appliance is in", Gauge);
  out.Put(1, {{"state", std::string(appliance::ToString(status.state))}});
  out.Add("strongroom_check_ok", "1 while a check passes", Gauge);
  for (const auto& check : status.checks) out.Put(check.ok ? 1 : 0, {{"check", check.name}});
  out.Add("strongroom_break_glass_open", "1 while a break-glass is open", Gauge);
  const auto open = governance_.overrides().Open();
  if (!open) out.Put(0);
  if (open) {
    const auto& b = *state->break_glass.at(*open);
    out.Put(1, {{"check", b.check}, {"drill", b.drill ? "yes" : "no"}, {"id", b.id}, {"scope", b.scope}});
  }
  double owed = 0, opened = 0, uses = 0;
  for (const auto& [id, b] : state->break_glass) {
    ++opened;
    owed += b->reviewer.empty() ? 1 : 0;
    uses += static_cast<double>(b->closed == 0 ? governance_.overrides().Uses(id) : b->uses);
  }
  out.Add("strongroom_break_glass_unreviewed", "break-glasses that nobody has reviewed yet: red until then", Gauge);
  out.Put(owed);
  out.Add("strongroom_break_glass_opened_total", "break-glasses that were ever opened", Counter);
  out.Put(opened);
  out.Add("strongroom_break_glass_uses_total", "requests that went by a break-glass", Counter);
  out.Put(uses);
  out.Add("strongroom_ledger_entries", "entries of each log", Gauge);
  out.Put(static_cast<double>(status.control.size), {{"log", "control"}});
  out.Put(static_cast<double>(status.evidence.size), {{"log", "evidence"}});
  out.Add("strongroom_queued_items", "items that wait for the token", Gauge);
  out.Put(static_cast<double>(brokers_.Queued(appliance::Lane::kInteractive)), {{"lane", "interactive"}});
  out.Put(static_cast<double>(brokers_.Queued(appliance::Lane::kBulk)), {{"lane", "bulk"}});
  AddRotation(out, *state, governance_.Now(), ledger_);
  out.Add("strongroom_jobs", "jobs by state", Gauge);
  std::map<std::string, double> jobs;
  for (const auto& [id, job] : state->jobs) ++jobs[std::string(ledger::ToString(job->state))];
  for (const auto& [name, count] : jobs) out.Put(count, {{"state", name}});
  out.Add("strongroom_proposals", "proposals by state", Gauge);
  std::map<std::string, double> proposals;
  for (const auto& [id, p] : state->proposals) ++proposals[std::string(governance_.StateOf(*p))];
  for (const auto& [name, count] : proposals) out.Put(count, {{"state", name}});
  return out.Text();
}

}  // namespace strongroom::netapi
