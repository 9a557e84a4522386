#include "appliance/break_glass.h"

#include <algorithm>

#include "appliance/proposal_params.h"
#include "crypto/sshsig.h"
#include "crypto/text_rules.h"

namespace strongroom::appliance {
namespace {

const Overridable* FindOverridable(std::string_view check) {
  const auto* at =
      std::find_if(kOverridable.begin(), kOverridable.end(), [&](const Overridable& o) { return o.check == check; });
  return at == kOverridable.end() ? nullptr : at;
}

Result<std::uint64_t> Bounded(const Params& params, const std::string& name, std::uint64_t most) {
  const auto at = params.find(name);
  const auto number = crypto::ParseNumber(at == params.end() ? "" : at->second);
  if (!number || *number < 1 || *number > most)
    return Invalid("parameter '" + name + "' is 1 to " + std::to_string(most));
  return *number;
}

Result<void> CheckScope(const State& state, const Overridable& overridable, const std::string& scope,
                        const std::string& token) {
  if (overridable.scope == "token" && scope == "token:" + token && !token.empty()) return {};
  if (overridable.scope == "keyring" && scope.starts_with("keyring:") && state.FindKeyring(scope.substr(8)) != nullptr)
    return {};
  if (overridable.scope == "ceremonies" && scope == "ceremonies") return {};
  return Invalid("scope of " + std::string(overridable.check) + " is " +
                 (overridable.scope == "token"     ? "token:" + (token.empty() ? "SERIAL" : token)
                  : overridable.scope == "keyring" ? "keyring:NAME"
                                                   : "ceremonies"));
}

// One at a time, and none while somebody owes a review of the last one (G7).
Result<void> NoneInTheWay(const State& state) {
  for (const auto& [id, opened] : state.break_glass) {
    if (opened->closed == 0) return Conflict("break-glass " + id + " is open: close it first", "break-glass-open");
    if (opened->reviewer.empty())
      return Conflict("break-glass " + id + " has not been reviewed yet: until then no other opens", "review-owed");
  }
  return {};
}

}  // namespace

Result<Params> DraftBreakGlass(const State& state, const ProposalRequest& request, const Drawn& drawn) {
  if (!request.keyring.empty()) return Invalid("break-glass.open has no keyring: name it in the scope");
  Params params = {{"minutes", "60"}, {"uses", "10000"}, {"drill", "no"}};
  for (const auto& [name, value] : request.params) {
    if (name != "check" && name != "scope" && !params.contains(name))
      return Invalid("unknown parameter '" + name.substr(0, 40) + "'", "unknown-parameter");
    params[name] = value;
  }
  const auto* overridable = FindOverridable(params["check"]);
  if (overridable == nullptr)
    return Invalid("check '" + params["check"].substr(0, 40) +
                       "' cannot be overridden; those that can: provider-health, rotation-overdue, witness",
                   "not-overridable");
  TRY(CheckScope(state, *overridable, params["scope"], drawn.token));
  TRY(Bounded(params, "minutes", kMaxBreakGlassMinutes));
  TRY(Bounded(params, "uses", kMaxBreakGlassUses));
  if (params["drill"] != "yes" && params["drill"] != "no") return Invalid("parameter 'drill' is yes or no");
  TRY(NoneInTheWay(state));
  if (params["drill"] == "no" && !drawn.failing.contains(params["check"]))
    return Conflict("check " + params["check"] + " passes: there is nothing to override; a drill takes drill=yes",
                    "nothing-to-override");
  return params;
}

Result<Effect> EffectOfBreakGlass(const State& state, const crypto::ProposalText& p) {
  const auto get = [&](const char* name) {
    const auto at = p.params.find(name);
    return at == p.params.end() ? std::string() : at->second;
  };
  const auto* overridable = FindOverridable(get("check"));
  if (overridable == nullptr) return Invalid("the check cannot be overridden", "not-overridable");
  TRY(NoneInTheWay(state));
  TRY_ASSIGN(const auto minutes, Bounded(p.params, "minutes", kMaxBreakGlassMinutes));
  TRY_ASSIGN(const auto uses, Bounded(p.params, "uses", kMaxBreakGlassUses));
  TRY_ASSIGN(const auto text, p.Render());
  Effect effect;
  effect.entries = {ledger::BreakGlassOpened{crypto::ProposalId(text), get("check"), get("scope"),
                                             static_cast<std::uint32_t>(minutes), uses, get("drill") == "yes"}};
  return effect;
}

bool IsOpen(const BreakGlass& opened, std::uint64_t uses, Millis now) {
  return opened.closed == 0 && Outlived(opened, uses, now).empty();
}

const BreakGlass* Covering(const State& state, std::string_view check, std::string_view scope, Millis now) {
  for (const auto& [id, opened] : state.break_glass)
    if (opened->check == check && opened->scope == scope && !opened->drill && IsOpen(*opened, 0, now))
      return opened.get();
  return nullptr;
}

std::string_view StateOf(const BreakGlass& opened, Millis now) {
  if (opened.closed == 0 && now < opened.until) return "open";
  return opened.reviewer.empty() ? "closed" : "reviewed";
}

std::string Outlived(const BreakGlass& opened, std::uint64_t uses, Millis now) {
  if (now >= opened.until) return "expired";
  return uses >= opened.most_uses ? "used-up" : "";
}

std::string ReviewText(const crypto::InstanceId& instance, const BreakGlass& closed, std::string_view finding) {
  return "strongroom break-glass review v1\ninstance: " + ToHex(instance) + "\nbreak-glass: " + closed.id +
         "\ncheck: " + closed.check + "\nscope: " + closed.scope + "\ndrill: " + (closed.drill ? "yes" : "no") +
         "\nopened: " + FormatTime(closed.opened) + "\nclosed: " + FormatTime(closed.closed) +
         "\nreason: " + closed.reason + "\nuses: " + std::to_string(closed.uses) +
         "\nfinding: " + std::string(finding) + "\n";
}

Result<void> MayReview(const State& state, std::string_view id, std::string_view reviewer) {
  const auto at = state.break_glass.find(id);
  if (at == state.break_glass.end()) return NotFound("no break-glass with this id", "break-glass-not-found");
  const auto& closed = *at->second;
  if (closed.closed == 0) return Conflict("it is still open: close it first", "still-open");
  if (!closed.reviewer.empty()) return Conflict(closed.reviewer + " has reviewed it already", "reviewed-already");
  const auto* principal = state.roster->Find(reviewer);
  if (principal == nullptr || principal->role != crypto::Role::kCustodian)
    return Forbidden("a review is a custodian's", "not-a-custodian");
  const auto* proposal = state.FindProposal(id);
  if (reviewer == closed.requester || (proposal != nullptr && reviewer == proposal->executor))
    return Forbidden(std::string(reviewer) + " asked for it or opened it: somebody else reviews it", "own-review");
  return {};
}

Result<void> JudgeReview(const State& state, std::string_view id, std::string_view reviewer, std::string_view finding,
                         std::string_view signature) {
  TRY(MayReview(state, id, reviewer));
  TRY(crypto::CheckRecordedLine(finding, crypto::kMaxReasonBytes));  // a log's may be of an earlier build
  return crypto::VerifySshSignature(
      state.roster->Find(reviewer)->ssh_key, crypto::kVoteNamespace,
      AsBytes(ReviewText(state.roster->instance(), *state.break_glass.find(id)->second, finding) +
              "verdict: reviewed\n"),
      std::string(signature));
}

}  // namespace strongroom::appliance
