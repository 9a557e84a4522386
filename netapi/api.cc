#include "netapi/api.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <functional>

#include "appliance/policy_decisions.h"
#include "crypto/text_rules.h"
#include "netapi/keyring_json.h"
#include "netapi/problem.h"

namespace strongroom::netapi {
namespace {

namespace bj = boost::json;

// Page is where a list goes on, and how much of it is asked for.
struct Page {
  std::string after;
  std::size_t limit = 0;
};
Result<Page> PageOf(std::string_view query) {
  Page page;
  TRY_ASSIGN(page.after, QueryText(query, "after", {"after", "limit"}));
  TRY_ASSIGN(page.limit, QueryNumber(query, "limit", 100, {"after", "limit"}));
  if (page.limit < 1 || page.limit > 1000) return Invalid("limit is 1 to 1000");
  return page;
}

bj::object ProposalJson(const appliance::ProposalView& view) {
  const auto& p = *view.proposal;
  bj::object out;
  out["id"] = p.id;
  out["state"] = view.state;
  out["operation"] = p.parsed.operation;
  if (!p.parsed.keyring.empty()) out["keyring"] = p.parsed.keyring;
  out["requester"] = p.parsed.requester;
  out["reason"] = p.parsed.reason;
  out["text"] = p.text;
  out["approve_by"] = FormatTime(p.parsed.approve_by);
  out["execute_by"] = FormatTime(p.parsed.execute_by);
  std::uint64_t needed = 0;
  bj::array policy;
  for (const auto& part : p.parsed.policy) {
    needed = std::max(needed, part.needed);
    policy.push_back(bj::object{{"label", part.label}, {"needed", part.needed}, {"of", part.of}});
  }
  out["needed"] = needed;
  out["policy"] = std::move(policy);
  bj::array approvals, rejections;
  for (const auto& vote : p.votes)
    (vote.verdict == crypto::Verdict::kApprove ? approvals : rejections).push_back(bj::string(vote.custodian));
  out["approvals"] = std::move(approvals);
  out["rejections"] = std::move(rejections);
  if (!p.executor.empty()) out["executor"] = p.executor;
  if (!p.outcome.empty()) out["outcome"] = p.outcome;
  return out;
}

}  // namespace

namespace {

// The type of what is not JSON, empty for everything else.
std::string_view PlainTypeOf(Endpoint endpoint) {
  if (endpoint == Endpoint::kCheckpoint || endpoint == Endpoint::kProof) return "text/plain; charset=utf-8";
  if (endpoint == Endpoint::kTile) return "application/octet-stream";
  if (endpoint == Endpoint::kMetrics) return "text/plain; version=0.0.4; charset=utf-8";
  return {};
}

}  // namespace

namespace {
Error InRollback() {
  return Unavailable(
      "the appliance is in rollback: only reading and ledger.adopt are allowed; see /v1/status and the guide on "
      "recovery",
      "rollback");
}
Error NotComparedYet() {
  return Unavailable("the ledger has not been held against its token yet: see /v1/status", "not-operational");
}
}  // namespace

bj::object ListObject(bj::array items, bj::value next) {
  bj::object out;
  out["items"] = std::move(items);
  out["next"] = std::move(next);
  return out;
}

Reply ProblemReply(const Error& error, const std::string& request_id) {
  return {HttpStatusOf(error), true, WriteJson(ProblemObject(error, request_id))};
}

Result<Caller> Api::Identify(const crypto::Digest& spki, bool always) const {
  const auto state = governance_.Snapshot();
  if (!state->roster && always) return Caller{{"-", spki}, crypto::Role::kMonitor};
  if (!state->roster) return Unavailable("the appliance is uninitialised: run the first boot", "uninitialised");
  const auto* principal = state->roster->FindBySpki(spki);
  if (principal == nullptr) return Forbidden("this certificate's key is not in the roster", "unknown-principal");
  return Caller{{principal->name, spki}, principal->role};
}

Result<void> Api::StillKnown(const Caller& caller, bool always) const {
  TRY_ASSIGN(const auto now, Identify(caller.spki, always));
  if (now.name == caller.name && now.role == caller.role) return {};
  return Forbidden("this certificate's key has another place in the roster by now", "unknown-principal");
}

Result<void> Api::Admit(const Route& route, const Caller& caller) const {
  if (!Allows(route, caller.role))
    return Forbidden("role " + std::string(crypto::ToString(caller.role)) + " may not do this", "role-refused");
  const bool governs = route.endpoint == Endpoint::kProposalFile || route.endpoint == Endpoint::kProposalVote ||
                       route.endpoint == Endpoint::kProposalExecute || route.endpoint == Endpoint::kProposalWithdraw;
  // What becomes of a proposal depends on its operation: AdmitProposal judges that.
  if (governs) return {};
  if (route.method != "GET" && lifecycle_.RolledBack()) return InRollback();
  if (route.method != "GET" && !lifecycle_.Anchored()) return NotComparedYet();
  if (route.gate == Gate::kOpen && !lifecycle_.DataPlaneOpen()) return NotOperational();
  if (route.endpoint == Endpoint::kData && !lifecycle_.ProviderPasses())
    return Unavailable("the token is not healthy: see /v1/status", "provider-unhealthy");
  return {};
}

Error Api::NotOperational() const {
  return Unavailable("the appliance is " + std::string(appliance::ToString(lifecycle_.State())) + ": see /v1/status",
                     "not-operational");
}

Result<void> Api::AdmitProposal(const std::string& operation, bool executes) const {
  if (operation == "ledger.adopt") return {};
  if (lifecycle_.RolledBack()) return InRollback();
  if (!lifecycle_.Anchored()) return NotComparedYet();
  if (executes && !lifecycle_.DataPlaneOpen()) return NotOperational();
  return {};
}

Result<void> Api::AdmitProposalId(const std::string& id, bool executes) const {
  TRY_ASSIGN(const auto view, governance_.View(id));
  return AdmitProposal(view.proposal->parsed.operation, executes);
}

Result<void> Api::AdmitData(const Matched& matched, const Caller& caller) const {
  TRY(appliance::Authorise(*governance_.Snapshot(), caller, matched.values[0], matched.route->operation));
  return {};
}

void Api::Refused(const Matched* matched, const std::string& principal, const std::string& request_id,
                  const Error& error) {
  if (error.code != Code::kForbidden && error.code != Code::kNotFound && error.code != Code::kInvalid) return;
  const bool data = matched != nullptr && matched->route->endpoint == Endpoint::kData;
  brokers_.Main().RecordRefusal(request_id, principal, data ? matched->values[0] : std::string(),
                                data ? matched->route->operation : ledger::Operation::kOther, error.Slug());
}

Reply Api::Control(const Matched& matched, const Caller& caller, std::string_view body, const std::string& request_id) {
  unsigned status = 200;
  if (const auto known = StillKnown(caller, matched.route->gate == Gate::kAlways); !known) {
    Refused(&matched, "-", request_id, known.error());
    return ProblemReply(known.error(), request_id);
  }
  if (const auto type = PlainTypeOf(matched.route->endpoint); !type.empty()) {
    const auto text =
        matched.route->endpoint == Endpoint::kMetrics ? Result<std::string>(Metrics()) : Evidence(matched);
    if (!text) {
      Refused(&matched, caller.name, request_id, text.error());
      return ProblemReply(text.error(), request_id);
    }
    return {200, false, SecretText(text->begin(), text->end()), type};
  }
  const auto value = Answer(matched, caller, body, request_id, status);
  if (!value) {
    if (value.error().Slug() == "would-not-verify") spdlog::critical("{}", value.error().Line());
    // A name that was removed meanwhile may be somebody else's by now.
    Refused(&matched, value.error().Slug() == "unknown-principal" ? "-" : caller.name, request_id, value.error());
    return ProblemReply(value.error(), request_id);
  }
  return {status, false, WriteJson(*value)};
}

Result<bj::value> Api::Answer(const Matched& matched, const Caller& caller, std::string_view body,
                              const std::string& request_id, unsigned& status) {
  const auto view = [](Result<appliance::ProposalView> v) -> Result<bj::value> {
    if (!v) return std::move(v).error();
    return bj::value(ProposalJson(*v));
  };
  switch (matched.route->endpoint) {
    case Endpoint::kKeyringList:
      return Keyrings(matched.query, caller);
    case Endpoint::kKeyringShow:
      return KeyringShow(matched.values[0], caller);
    case Endpoint::kDekList:
    case Endpoint::kDekShow:
    case Endpoint::kPlan:
    case Endpoint::kCensus:
    case Endpoint::kAcknowledge:
    case Endpoint::kReport:
    case Endpoint::kCloseEmergency:
    case Endpoint::kAttest:
    case Endpoint::kJobList:
    case Endpoint::kJobShow:
    case Endpoint::kJobPause:
    case Endpoint::kJobResume:
    case Endpoint::kJobCancel:
      return AnswerRotation(matched, caller, body, request_id);
    case Endpoint::kProposalFile:
      status = 201;
      return FileProposal(body, caller);
    case Endpoint::kProposalList:
      return Proposals(matched.query);
    case Endpoint::kProposalShow:
      return view(governance_.View(matched.values[0]));
    case Endpoint::kProposalVote:
      return Vote(matched.values[0], body, caller);
    case Endpoint::kRoster: {
      const auto roster = governance_.Snapshot()->roster;
      return bj::value(
          bj::object{{"version", roster->version()}, {"hash", ToHex(roster->hash())}, {"text", roster->text()}});
    }
    case Endpoint::kProposalExecute:
      TRY(CheckNoBody(body));
      return Executed(matched.values[0], caller);
    case Endpoint::kProposalWithdraw:
      TRY(CheckNoBody(body));
      TRY(AdmitProposalId(matched.values[0]));
      return view(governance_.Withdraw(matched.values[0], caller));
    case Endpoint::kLedgerEntries:
      return Entries(matched);
    case Endpoint::kBackupBegin:
      TRY(CheckNoBody(body));
      status = 201;
      return bj::value(bj::object{{"id", backups_.Begin(caller.name)}});
    case Endpoint::kBackupNext:
      TRY(CheckNoBody(body));
      return BackupNext(matched.values[0], caller, request_id);
    case Endpoint::kLive:
      return bj::value(bj::object{{"live", true}});
    case Endpoint::kReady: {
      if (!lifecycle_.Ready())
        return Unavailable(
            "the appliance is " + std::string(appliance::ToString(lifecycle_.State())) + ": see /v1/status",
            "not-operational");
      return bj::value(bj::object{{"ready", true}});
    }
    case Endpoint::kStatus:
      return StatusJson();
    case Endpoint::kKeyringDisable:
      TRY(CheckNoBody(body));
      TRY(governance_.Disable(matched.values[0], caller));
      return KeyringShow(matched.values[0], caller);
    case Endpoint::kCancelDestruction: {
      TRY(CheckNoBody(body));
      TRY_ASSIGN(const auto number, crypto::ParseNumber(matched.values[1]));
      TRY(governance_.CancelDestruction(matched.values[0], number, caller));
      return KeyringShow(matched.values[0], caller);
    }
    case Endpoint::kBreakGlassList:
      return BreakGlassList();
    case Endpoint::kBreakGlassClose:
      TRY(CheckNoBody(body));
      TRY(governance_.CloseBreakGlass(matched.values[0], caller));
      return BreakGlassChanged(matched.values[0]);
    case Endpoint::kBreakGlassReview:
      return Review(matched.values[0], body, caller);
    case Endpoint::kCeremonyRecord:
      status = 201;
      return RecordCeremony(body, caller);
    case Endpoint::kData:
    case Endpoint::kCheckpoint:
    case Endpoint::kProof:
    case Endpoint::kTile:
    case Endpoint::kMetrics:
      break;
  }
  return NotFound("no such path", "no-such-path");
}

// A governed answer waits for the token's signature over it (L8).
Result<bj::value> Api::Executed(const std::string& id, const Caller& executor) {
  TRY(AdmitProposalId(id, /*executes=*/true));
  TRY_ASSIGN(const auto view, governance_.Execute(id, executor));
  if (view.proposal->parsed.operation == "ledger.adopt")
    if (const auto whole = lifecycle_.LookNow(); !whole)
      return Unavailable("executed, but the ledger does not extend its token's record yet (" + whole.error().detail +
                             "): see the proposal and /v1/status",
                         "not-anchored");
  if (const auto anchored = checkpointer_.Now(); !anchored)
    return Unavailable("executed and recorded, but the token has not signed the record yet (" +
                           anchored.error().detail + "): see the proposal",
                       "not-anchored");
  return bj::value(ProposalJson(view));
}

bj::object Api::KeyringJson(const appliance::Keyring& keyring, const Caller& caller) const {
  auto out = KeyringObject(keyring);
  const bool service = caller.role == crypto::Role::kService;
  if (service) {
    out.erase("id");
    out.erase("grants");
  }
  auto version = out.at("versions").get_array().begin();
  for (const auto& [number, v] : keyring.versions) {
    auto& object = (version++)->get_object();
    if (service) {
      for (const auto* hidden : {"custody", "kek", "token"}) object.erase(hidden);
    } else {
      PutUse(object, keyring, v);
    }
  }
  if (service) return out;
  const auto now = governance_.Now();
  out["age_seconds"] = (now - keyring.Primary()->announced) / 1000;
  const auto next = appliance::NextRotation(keyring);
  out["next_rotation"] = TimeOrNull(next);
  out["rotation_lag_seconds"] = next == 0 ? 0 : std::max<Millis>(0, now - next) / 1000;
  const auto state = governance_.Snapshot();
  if (const auto* job = state->LiveJob(keyring.id)) out["job"] = job->id;
  return out;
}

Result<bj::value> Api::Keyrings(std::string_view query, const Caller& caller) const {
  TRY_ASSIGN(const auto page, PageOf(query));
  (void)ledger_.AwaitSettled();  // once for all counts below; of a ledger that has failed they are the last known
  const auto state = governance_.Snapshot();
  bj::array items;
  std::string last;
  for (auto at = state->keyrings.upper_bound(page.after); at != state->keyrings.end(); ++at) {
    if (caller.role == crypto::Role::kService && !at->second->grants.Knows(caller.name)) continue;
    if (items.size() == page.limit) return bj::value(ListObject(std::move(items), bj::string(last)));
    items.push_back(KeyringJson(*at->second, caller));
    last = at->first;
  }
  return bj::value(ListObject(std::move(items), nullptr));
}

Result<bj::value> Api::KeyringShow(const std::string& name, const Caller& caller) const {
  (void)ledger_.AwaitSettled();  // for the counts below
  const auto state = governance_.Snapshot();
  const auto* keyring = state->FindKeyring(name);
  if (keyring == nullptr || (caller.role == crypto::Role::kService && !keyring->grants.Knows(caller.name)))
    return NotFound("no keyring of this name is granted to " + caller.name, "keyring-not-found");
  return bj::value(KeyringJson(*keyring, caller));
}

Result<bj::value> Api::FileProposal(std::string_view body, const Caller& caller) {
  TRY_ASSIGN(const auto value, ParseJson(body));
  TRY_ASSIGN(const auto in, Fields::Of(value, {"operation", "keyring", "params", "reason"}));
  appliance::ProposalRequest request;
  TRY_ASSIGN(request.operation, in.Text("operation", 64));
  TRY(AdmitProposal(request.operation));
  if (in.Has("keyring")) {
    TRY_ASSIGN(request.keyring, in.Text("keyring", 64));
  }
  TRY_ASSIGN(request.reason, in.Text("reason", crypto::kMaxReasonBytes));
  if (const auto* params = in.Find("params")) {
    const auto* object = params->if_object();
    if (object == nullptr) return Invalid("field 'params' is not an object");
    for (const auto& member : *object) {
      const auto* text = member.value().if_string();
      if (text == nullptr || text->size() > crypto::kMaxParamBytes) return Invalid("each of 'params' is a string");
      request.params[std::string(std::string_view(member.key()))] = std::string(std::string_view(*text));
    }
  }
  TRY_ASSIGN(const auto view, governance_.File(caller, request, lifecycle_.Failing()));
  return bj::value(ProposalJson(view));
}

Result<bj::value> Api::Vote(const std::string& id, std::string_view body, const Caller& caller) {
  TRY(AdmitProposalId(id));
  TRY_ASSIGN(const auto value, ParseJson(body));
  TRY_ASSIGN(const auto in, Fields::Of(value, {"custodian", "verdict", "signature"}));
  crypto::Vote vote;
  TRY_ASSIGN(vote.custodian, in.Text("custodian", 64));
  TRY_ASSIGN(const auto verdict, in.Text("verdict", 16));
  TRY_ASSIGN(vote.signature, in.Text("signature", 16384));
  const auto parsed = crypto::VerdictFromString(verdict);
  if (!parsed) return Invalid("field 'verdict' is approve or reject");
  vote.verdict = *parsed;
  TRY_ASSIGN(const auto view, governance_.Vote(caller, id, vote));
  return bj::value(ProposalJson(view));
}

Result<bj::value> Api::Review(const std::string& id, std::string_view body, const Caller& caller) {
  TRY_ASSIGN(const auto value, ParseJson(body));
  TRY_ASSIGN(const auto in, Fields::Of(value, {"reviewer", "finding", "signature"}));
  TRY_ASSIGN(const auto reviewer, in.Text("reviewer", 64));
  TRY_ASSIGN(const auto finding, in.Text("finding", crypto::kMaxReasonBytes));
  TRY_ASSIGN(const auto signature, in.Text("signature", 16384));
  TRY(governance_.Review(caller, id, reviewer, finding, signature));
  return BreakGlassChanged(id);
}

Result<bj::value> Api::RecordCeremony(std::string_view body, const Caller& caller) {
  TRY_ASSIGN(const auto value, ParseJson(body));
  TRY_ASSIGN(const auto in, Fields::Of(value, {"name", "script", "transcript", "markdown"}));
  ledger::CeremonyRecorded ceremony;
  TRY_ASSIGN(ceremony.name, in.Text("name", 64));
  TRY_ASSIGN(ceremony.script, in.Text("script", 32768));
  TRY_ASSIGN(ceremony.transcript, in.Text("transcript", 65536));
  TRY_ASSIGN(ceremony.markdown, in.Text("markdown", 65536));
  if (!crypto::IsName(ceremony.name)) return Invalid("a ceremony's name is 1 to 64 characters of a-z, 0-9 and -");
  TRY(ParseJson(ceremony.transcript));
  bj::object out{{"name", ceremony.name},
                 {"script_sha256", ToHex(crypto::Sha256(AsBytes(ceremony.script)))},
                 {"transcript_sha256", ToHex(crypto::Sha256(AsBytes(ceremony.transcript)))}};
  TRY(governance_.RecordCeremony(caller, std::move(ceremony)));
  if (const auto anchored = checkpointer_.Now(); !anchored)
    return Unavailable("recorded, but the token has not signed the record yet: " + anchored.error().detail,
                       "not-anchored");
  return bj::value(std::move(out));
}

// The newest comes first. A page goes on behind the proposal that its cursor names, whatever was filed meanwhile.
Result<bj::value> Api::Proposals(std::string_view query) const {
  TRY_ASSIGN(const auto page, PageOf(query));
  const auto state = governance_.Snapshot();
  using Key = std::pair<Millis, std::string>;
  const auto key_of = [](const appliance::Proposal& p) { return Key(p.parsed.approve_by, p.id); };
  std::optional<Key> after;
  if (!page.after.empty()) {
    const auto* proposal = state->FindProposal(page.after);
    if (proposal == nullptr) return Invalid("query parameter 'after' is no proposal's id", "bad-cursor");
    after = key_of(*proposal);
  }
  std::vector<Key> keys;
  for (const auto& [id, proposal] : state->proposals)
    if (!after || key_of(*proposal) < *after) keys.push_back(key_of(*proposal));
  std::sort(keys.begin(), keys.end(), std::greater<>());
  bj::array items;
  for (const auto& [time, id] : keys) {
    if (items.size() == page.limit)
      return bj::value(ListObject(std::move(items), bj::string(keys[page.limit - 1].second)));
    if (const auto view = governance_.View(id)) items.push_back(ProposalJson(*view));
  }
  return bj::value(ListObject(std::move(items), nullptr));
}

}  // namespace strongroom::netapi
