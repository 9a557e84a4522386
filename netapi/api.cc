#include "netapi/api.h"

#include <algorithm>
#include <boost/json/array.hpp>
#include <functional>

#include "crypto/text_rules.h"
#include "netapi/entry_json.h"
#include "netapi/keyring_json.h"
#include "netapi/problem.h"

namespace strongroom::netapi {
namespace {

namespace bj = boost::json;

bj::value TimeOrNull(Millis time) { return time == 0 ? bj::value(nullptr) : bj::value(FormatTime(time)); }

bj::object ListOf(bj::array items, bj::value next) {
  bj::object out;
  out["items"] = std::move(items);
  out["next"] = std::move(next);
  return out;
}

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
  out["needed"] = p.parsed.needed;
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
  return {};
}

Result<ledger::Log> LogNamed(const std::string& name) {
  if (name == "control") return ledger::Log::kControl;
  if (name == "evidence") return ledger::Log::kEvidence;
  return NotFound("the logs are 'control' and 'evidence'", "log-not-found");
}

// A tile's path (C2SP tlog-tiles): "<level>/<index>[.p/<width>]", level "entries" for entries; the index in groups of
// three digits, all but the last with an x before them.
struct TilePath {
  bool entries = false;
  unsigned level = 0;
  std::uint64_t index = 0;
  std::uint64_t width = crypto::kTileWidth;
};
Result<TilePath> ParseTilePath(std::string_view path) {
  const auto none = [] { return NotFound("no such tile", "no-such-tile"); };
  auto parts = crypto::SplitWords(path, '/');
  TilePath tile;
  if (parts.size() >= 3 && parts[parts.size() - 2].ends_with(".p")) {
    const auto width = crypto::ParseNumber(parts.back());
    if (!width || *width == 0 || *width >= crypto::kTileWidth) return none();
    tile.width = *width;
    parts.pop_back();
    parts.back().remove_suffix(2);
  }
  if (parts.size() < 2 || parts.size() > 7) return none();
  tile.entries = parts[0] == "entries";
  if (!tile.entries) {
    const auto level = crypto::ParseNumber(parts[0]);
    if (!level || *level > 7) return none();
    tile.level = static_cast<unsigned>(*level);
  }
  for (std::size_t i = 1; i < parts.size(); ++i) {
    auto group = parts[i];
    const bool last = i + 1 == parts.size();
    if (!last && !group.starts_with('x')) return none();
    if (!last) group.remove_prefix(1);
    if (group.size() != 3) return none();
    for (const char c : group) {
      if (c < '0' || c > '9') return none();
      tile.index = tile.index * 10 + static_cast<unsigned>(c - '0');
    }
    if (i == 1 && !last && group == "000") return none();  // one path a tile
    if (tile.index >= (std::uint64_t{1} << 48)) return none();
  }
  return tile;
}

}  // namespace

namespace {
Error InRollback() {
  return Unavailable(
      "the appliance is in rollback: only reading and ledger.adopt are allowed; see /v1/status and the guide on "
      "recovery",
      "rollback");
}
}  // namespace

Reply ProblemReply(const Error& error, const std::string& request_id) {
  return {HttpStatusOf(error), true, WriteJson(ProblemObject(error, request_id))};
}

Result<Caller> Api::Identify(const crypto::Digest& spki, bool always) const {
  const auto state = governance_.Snapshot();
  if (!state->roster && always) return Caller{"-", crypto::Role::kMonitor};
  if (!state->roster) return Unavailable("the appliance is uninitialised: run the first boot", "uninitialised");
  const auto* principal = state->roster->FindBySpki(spki);
  if (principal == nullptr) return Forbidden("this certificate's key is not in the roster", "unknown-principal");
  return Caller{principal->name, principal->role};
}

Result<void> Api::Admit(const Route& route, const Caller& caller) const {
  if (!Allows(route, caller.role))
    return Forbidden("role " + std::string(crypto::ToString(caller.role)) + " may not do this", "role-refused");
  const bool governs = route.endpoint == Endpoint::kProposalFile || route.endpoint == Endpoint::kProposalVote ||
                       route.endpoint == Endpoint::kProposalExecute || route.endpoint == Endpoint::kProposalWithdraw;
  const bool rolled_back = lifecycle_.RolledBack();
  if (route.method != "GET" && rolled_back && !governs) return InRollback();
  if (route.method != "GET" && !rolled_back && !lifecycle_.Anchored())
    return Unavailable("the ledger has not been held against its token yet: see /v1/status", "not-operational");
  if (route.gate == Gate::kOpen && !(rolled_back && governs) && !lifecycle_.DataPlaneOpen())
    return Unavailable("the appliance is " + std::string(appliance::ToString(lifecycle_.State())) + ": see /v1/status",
                       "not-operational");
  return {};
}

Result<void> Api::AdmitProposal(const std::string& operation) const {
  if (operation != "ledger.adopt" && lifecycle_.RolledBack()) return InRollback();
  return {};
}

Result<void> Api::AdmitProposalId(const std::string& id) const {
  TRY_ASSIGN(const auto view, governance_.View(id));
  return AdmitProposal(view.proposal->parsed.operation);
}

Result<void> Api::AdmitData(const Matched& matched, const Caller& caller) const {
  TRY(appliance::Authorise(*governance_.Snapshot(), caller.name, matched.values[0], matched.route->operation));
  return {};
}

void Api::Refused(const Matched* matched, const std::string& principal, const std::string& request_id,
                  const Error& error) {
  if (error.code != Code::kForbidden && error.code != Code::kNotFound && error.code != Code::kInvalid) return;
  const bool data = matched != nullptr && matched->route->endpoint == Endpoint::kData;
  broker_.RecordRefusal(request_id, principal, data ? matched->values[0] : std::string(),
                        data ? matched->route->operation : ledger::Operation::kOther, error.Slug());
}

Reply Api::Control(const Matched& matched, const Caller& caller, std::string_view body, const std::string& request_id) {
  unsigned status = 200;
  if (const auto type = PlainTypeOf(matched.route->endpoint); !type.empty()) {
    const auto text = Evidence(matched);
    if (!text) {
      Refused(&matched, caller.name, request_id, text.error());
      return ProblemReply(text.error(), request_id);
    }
    return {200, false, SecretText(text->begin(), text->end()), type};
  }
  const auto value = Answer(matched, caller, body, status);
  if (!value) {
    Refused(&matched, caller.name, request_id, value.error());
    return ProblemReply(value.error(), request_id);
  }
  return {status, false, WriteJson(*value)};
}

Result<bj::value> Api::Answer(const Matched& matched, const Caller& caller, std::string_view body, unsigned& status) {
  const auto view = [](Result<appliance::ProposalView> v) -> Result<bj::value> {
    if (!v) return std::move(v).error();
    return bj::value(ProposalJson(*v));
  };
  const auto no_body = [&]() -> Result<void> {
    if (body.empty()) return {};
    TRY_ASSIGN(const auto value, ParseJson(body));
    TRY(Fields::Of(value, {}));
    return {};
  };
  switch (matched.route->endpoint) {
    case Endpoint::kKeyringList:
      return Keyrings(matched.query, caller);
    case Endpoint::kKeyringShow:
      return KeyringShow(matched.values[0], caller);
    case Endpoint::kProposalFile:
      status = 201;
      return FileProposal(body, caller);
    case Endpoint::kProposalList:
      return Proposals(matched.query);
    case Endpoint::kProposalShow:
      return view(governance_.View(matched.values[0]));
    case Endpoint::kProposalVote:
      return Vote(matched.values[0], body);
    case Endpoint::kProposalExecute:
      TRY(no_body());
      return Executed(matched.values[0], caller.name);
    case Endpoint::kProposalWithdraw:
      TRY(no_body());
      TRY(AdmitProposalId(matched.values[0]));
      return view(governance_.Withdraw(matched.values[0], caller.name));
    case Endpoint::kLedgerEntries:
      return Entries(matched);
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
    case Endpoint::kData:
    case Endpoint::kCheckpoint:
    case Endpoint::kProof:
    case Endpoint::kTile:
      break;
  }
  return NotFound("no such path", "no-such-path");
}

// A governed answer waits for the token's signature over it (L8).
Result<bj::value> Api::Executed(const std::string& id, const std::string& executor) {
  TRY(AdmitProposalId(id));
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
    } else if (const auto counts = ledger_.CountersOf(v.kek)) {
      // Counts are of the KEK: keyrings that the install keyring wraps for share its.
      object["kek_counts"] = bj::object{{"wraps", counts->wraps},
                                        {"unwraps", counts->unwraps},
                                        {"rewraps_to", counts->rewraps_to},
                                        {"rewraps_from", counts->rewraps_from},
                                        {"last_use", TimeOrNull(counts->last_use)}};
    }
  }
  return out;
}

Result<bj::value> Api::Keyrings(std::string_view query, const Caller& caller) const {
  TRY_ASSIGN(const auto page, PageOf(query));
  const auto state = governance_.Snapshot();
  bj::array items;
  std::string last;
  for (auto at = state->keyrings.upper_bound(page.after); at != state->keyrings.end(); ++at) {
    if (caller.role == crypto::Role::kService && !at->second->grants.Knows(caller.name)) continue;
    if (items.size() == page.limit) return bj::value(ListOf(std::move(items), bj::string(last)));
    items.push_back(KeyringJson(*at->second, caller));
    last = at->first;
  }
  return bj::value(ListOf(std::move(items), nullptr));
}

Result<bj::value> Api::KeyringShow(const std::string& name, const Caller& caller) const {
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
  TRY_ASSIGN(const auto view, governance_.File(caller.name, request));
  return bj::value(ProposalJson(view));
}

Result<bj::value> Api::Vote(const std::string& id, std::string_view body) {
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
  TRY_ASSIGN(const auto view, governance_.Vote(id, vote));
  return bj::value(ProposalJson(view));
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
    if (items.size() == page.limit) return bj::value(ListOf(std::move(items), bj::string(keys[page.limit - 1].second)));
    if (const auto view = governance_.View(id)) items.push_back(ProposalJson(*view));
  }
  return bj::value(ListOf(std::move(items), nullptr));
}

Result<bj::value> Api::Entries(const Matched& matched) const {
  const bool control = matched.values[0] == "control";
  if (!control && matched.values[0] != "evidence")
    return NotFound("the logs are 'control' and 'evidence'", "log-not-found");
  TRY_ASSIGN(const auto from, QueryNumber(matched.query, "from", 0, {"from", "limit"}));
  TRY_ASSIGN(const auto limit, QueryNumber(matched.query, "limit", 100, {"from", "limit"}));
  if (limit < 1 || limit > 1000) return Invalid("limit is 1 to 1000");
  bj::array items;
  bj::value next = nullptr;
  std::optional<Error> failure;
  TRY(ledger_.Read(control ? ledger::Log::kControl : ledger::Log::kEvidence, from,
                   [&](std::uint64_t index, ByteView raw) {
                     if (items.size() == limit) {
                       next = index;
                       return false;
                     }
                     const auto add = [&](const auto& entry) {
                       if (entry)
                         items.push_back(EntryJson(index, raw, *entry));
                       else
                         failure = entry.error();
                     };
                     if (control)
                       add(ledger::DecodeControl(raw));
                     else
                       add(ledger::DecodeEvidence(raw));
                     return !failure;
                   }));
  if (failure) return *failure;
  return bj::value(ListOf(std::move(items), std::move(next)));
}

Result<std::string> Api::Evidence(const Matched& matched) {
  TRY_ASSIGN(const auto log, LogNamed(matched.values[0]));
  if (matched.route->endpoint == Endpoint::kTile) {
    TRY_ASSIGN(const auto tile, ParseTilePath(matched.values[1]));
    if (!tile.entries) {
      TRY_ASSIGN(const auto bytes, ledger_.Tile(log, tile.level, tile.index, tile.width));
      return std::string(AsText(bytes));
    }
    std::string bundle;
    std::uint64_t count = 0;
    bool too_long = false;
    TRY(ledger_.Read(log, tile.index * crypto::kTileWidth, [&](std::uint64_t, ByteView entry) {
      too_long = too_long || entry.size() > 65535;
      bundle.push_back(static_cast<char>(entry.size() >> 8));
      bundle.push_back(static_cast<char>(entry.size() & 0xFF));
      bundle += AsText(entry);
      return ++count < tile.width;
    }));
    if (count < tile.width) return NotFound("the log is not long enough for this tile", "no-such-tile");
    if (too_long) return Integrity("an entry is longer than a bundle can hold");
    return bundle;
  }
  if (matched.route->endpoint == Endpoint::kCheckpoint) {
    TRY_ASSIGN(const auto fresh, QueryText(matched.query, "fresh", {"fresh"}));
    if (!fresh.empty() && fresh != "true") return Invalid("query parameter 'fresh' is true, or absent");
    if (!fresh.empty()) TRY(checkpointer_.Now());
  }
  TRY_ASSIGN(const auto latest, ledger_.LatestCheckpoint(log));
  if (!latest) return NotFound("nothing of this log has been signed yet", "no-checkpoint");
  if (matched.route->endpoint == Endpoint::kCheckpoint) return latest->note;
  // C2SP tlog-proof: index, audit path, checkpoint.
  if (matched.query.empty()) return Invalid("which entry? ?index=N");
  TRY_ASSIGN(const auto index, QueryNumber(matched.query, "index", 0, {"index"}));
  TRY_ASSIGN(const auto path, ledger_.InclusionProof(log, index, latest->size));
  std::string proof = "c2sp.org/tlog-proof@v1\nindex " + std::to_string(index) + "\n";
  for (const auto& hash : path) proof += EncodeBase64(hash, Base64::kStandardPadded) + "\n";
  return proof + "\n" + latest->note;
}

bj::value Api::StatusJson() const {
  const auto status = lifecycle_.Report();
  bj::object out;
  out["state"] = appliance::ToString(status.state);
  if (const auto state = governance_.Snapshot(); state->roster) {
    out["instance"] = ToHex(state->roster->instance());
    out["roster_version"] = state->roster->version();
  }
  bj::array checks;
  for (const auto& check : status.checks)
    checks.push_back(bj::object{{"name", check.name}, {"ok", check.ok}, {"detail", check.detail}});
  const auto tls = tls_fault_();
  checks.push_back(bj::object{{"name", "tls-identity"}, {"ok", tls.empty()}, {"detail", tls}});
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
  out["tokens"] = std::move(tokens);
  out["pool"] = bj::object{{"queued_interactive", broker_.Queued(appliance::Lane::kInteractive)},
                           {"queued_bulk", broker_.Queued(appliance::Lane::kBulk)}};
  const auto head = [](const ledger::Head& h) { return bj::object{{"size", h.size}, {"root", ToHex(h.root)}}; };
  out["ledger"] = bj::object{{"control", head(status.control)}, {"evidence", head(status.evidence)}};
  out["ledger"].get_object()["epoch"] = governance_.Snapshot()->ledger.epoch;
  if (const auto key = checkpointer_.VerifierKey()) out["ledger"].get_object()["vkey"] = *key;
  return out;
}

}  // namespace strongroom::netapi
