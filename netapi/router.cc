#include "netapi/router.h"

#include <algorithm>

#include "crypto/text_rules.h"

namespace strongroom::netapi {
namespace {

using crypto::Role;
using ledger::Operation;
constexpr unsigned Bit(Role role) { return 1U << static_cast<unsigned>(role); }
constexpr unsigned kService = Bit(Role::kService);
constexpr unsigned kGovern = Bit(Role::kOperator) | Bit(Role::kCustodian);
constexpr unsigned kRead = kGovern | Bit(Role::kAuditor);
constexpr unsigned kSee = kRead | Bit(Role::kMonitor);
constexpr unsigned kAll = kSee | kService;

}  // namespace

const std::vector<Route>& Routes() {
  static const std::vector<Route> kRoutes = {
      {"POST", "/v1/keyrings/{keyring}/wrap", Endpoint::kData, kService, Gate::kOpen, Operation::kWrap},
      {"POST", "/v1/keyrings/{keyring}/unwrap", Endpoint::kData, kService, Gate::kOpen, Operation::kUnwrap},
      {"POST", "/v1/keyrings/{keyring}/rewrap", Endpoint::kData, kService, Gate::kOpen, Operation::kRewrap},
      {"POST", "/v1/keyrings/{keyring}/datakey", Endpoint::kData, kService, Gate::kOpen, Operation::kDataKey},
      {"POST", "/v1/keyrings/{keyring}/deks", Endpoint::kData, kService, Gate::kOpen, Operation::kDekPut},
      {"PUT", "/v1/keyrings/{keyring}/deks/{dek}", Endpoint::kData, kService, Gate::kOpen, Operation::kDekPut},
      {"DELETE", "/v1/keyrings/{keyring}/deks/{dek}", Endpoint::kData, kService, Gate::kOpen, Operation::kDekDelete},
      {"POST", "/v1/keyrings/{keyring}/deks/{dek}/unwrap", Endpoint::kData, kService, Gate::kOpen, Operation::kUnwrap},
      {"GET", "/v1/keyrings/{keyring}/deks", Endpoint::kDekList, kRead | kService, Gate::kInitialised},
      {"GET", "/v1/keyrings/{keyring}/deks/{dek}", Endpoint::kDekShow, kRead | kService, Gate::kInitialised},
      {"GET", "/v1/keyrings", Endpoint::kKeyringList, kAll, Gate::kInitialised},
      {"GET", "/v1/keyrings/{keyring}", Endpoint::kKeyringShow, kAll, Gate::kInitialised},
      {"GET", "/v1/roster", Endpoint::kRoster, kRead, Gate::kInitialised},
      {"POST", "/v1/proposals", Endpoint::kProposalFile, kGovern, Gate::kInitialised},
      {"GET", "/v1/proposals", Endpoint::kProposalList, kRead, Gate::kInitialised},
      {"GET", "/v1/proposals/{id}", Endpoint::kProposalShow, kRead, Gate::kInitialised},
      {"POST", "/v1/proposals/{id}/votes", Endpoint::kProposalVote, kAll, Gate::kInitialised},
      {"POST", "/v1/proposals/{id}/execute", Endpoint::kProposalExecute, kGovern, Gate::kOpen},
      {"POST", "/v1/proposals/{id}/withdraw", Endpoint::kProposalWithdraw, kGovern, Gate::kInitialised},
      {"POST", "/v1/keyrings/{keyring}/disable", Endpoint::kKeyringDisable, kGovern, Gate::kInitialised},
      {"POST", "/v1/keyrings/{keyring}/versions/{version}/cancel-destruction", Endpoint::kCancelDestruction, kGovern,
       Gate::kOpen},
      {"POST", "/v1/keyrings/{keyring}/rewrap-plan", Endpoint::kPlan, kRead, Gate::kOpen},
      {"GET", "/v1/keyrings/{keyring}/census", Endpoint::kCensus, kRead | kService, Gate::kInitialised},
      {"POST", "/v1/keyrings/{keyring}/census", Endpoint::kAcknowledge, kService, Gate::kInitialised},
      {"GET", "/v1/keyrings/{keyring}/versions/{version}/report", Endpoint::kReport, kRead, Gate::kInitialised},
      {"POST", "/v1/keyrings/{keyring}/versions/{version}/close-emergency", Endpoint::kCloseEmergency, kGovern,
       Gate::kInitialised},
      {"POST", "/v1/keyrings/{keyring}/versions/{version}/attest", Endpoint::kAttest, kGovern, Gate::kOpen},
      {"GET", "/v1/jobs", Endpoint::kJobList, kSee, Gate::kInitialised},
      {"GET", "/v1/jobs/{id}", Endpoint::kJobShow, kSee, Gate::kInitialised},
      {"POST", "/v1/jobs/{id}/pause", Endpoint::kJobPause, kGovern, Gate::kInitialised},
      {"POST", "/v1/jobs/{id}/resume", Endpoint::kJobResume, kGovern, Gate::kInitialised},
      {"POST", "/v1/jobs/{id}/cancel", Endpoint::kJobCancel, kGovern, Gate::kInitialised},
      {"GET", "/v1/break-glass", Endpoint::kBreakGlassList, kSee, Gate::kInitialised},
      {"POST", "/v1/break-glass/{id}/close", Endpoint::kBreakGlassClose, kGovern, Gate::kInitialised},
      {"POST", "/v1/break-glass/{id}/review", Endpoint::kBreakGlassReview, kRead, Gate::kInitialised},
      {"POST", "/v1/ceremonies", Endpoint::kCeremonyRecord, kGovern, Gate::kInitialised},
      {"GET", "/v1/ledger/{log}/entries", Endpoint::kLedgerEntries, kRead, Gate::kInitialised},
      {"GET", "/v1/ledger/{log}/checkpoint", Endpoint::kCheckpoint, kSee, Gate::kInitialised},
      {"GET", "/v1/ledger/{log}/proof", Endpoint::kProof, kRead, Gate::kInitialised},
      {"GET", "/v1/ledger/{log}/tile/{path}", Endpoint::kTile, kRead, Gate::kInitialised, Operation::kOther, true},
      {"POST", "/v1/backups", Endpoint::kBackupBegin, kRead, Gate::kInitialised},
      {"POST", "/v1/backups/{backup}/next", Endpoint::kBackupNext, kRead, Gate::kInitialised},
      {"GET", "/v1/health/live", Endpoint::kLive, kAll, Gate::kAlways},
      {"GET", "/v1/health/ready", Endpoint::kReady, kAll, Gate::kAlways},
      {"GET", "/v1/status", Endpoint::kStatus, kSee, Gate::kAlways},
      {"GET", "/metrics", Endpoint::kMetrics, kSee, Gate::kAlways},
  };
  return kRoutes;
}

Result<Matched> Match(std::string_view method, std::string_view target) {
  // The absolute form (RFC 9112 section 3.2.2): whose it is, TLS has settled.
  if (const auto scheme = target.find("://"); scheme != std::string_view::npos && scheme < target.find('/')) {
    const auto path_at = target.find('/', scheme + 3);
    target = path_at == std::string_view::npos ? std::string_view("/") : target.substr(path_at);
  }
  const auto question = target.find('?');
  const auto path = target.substr(0, question);
  const auto query = question == std::string_view::npos ? std::string_view() : target.substr(question + 1);
  const auto segments = crypto::SplitWords(path, '/');
  bool path_known = false;
  for (const auto& route : Routes()) {
    const auto pattern = crypto::SplitWords(route.pattern, '/');
    if (route.open_end ? segments.size() < pattern.size() : segments.size() != pattern.size()) continue;
    Matched matched{&route, {}, std::string(query)};
    bool same = true;
    for (std::size_t i = 0; i < pattern.size() && same; ++i) {
      if (route.open_end && i + 1 == pattern.size()) {
        // Judged by who takes it; the views of the segments stand in one text.
        matched.values.emplace_back(path.substr(static_cast<std::size_t>(segments[i].data() - path.data())));
        break;
      }
      if (pattern[i].starts_with('{')) {
        // The id of a DEK is its service's: judged with the request, whatever it is.
        same = pattern[i] == "{dek}" ? !segments[i].empty() : crypto::IsName(segments[i]);
        matched.values.emplace_back(segments[i]);
      } else {
        same = pattern[i] == segments[i];
      }
    }
    if (!same) continue;
    if (route.method == method) return matched;
    path_known = true;
  }
  if (path_known) return Invalid("this path does not take " + std::string(method.substr(0, 16)), "method-not-allowed");
  return NotFound("no such path; the API is under /v1", "no-such-path");
}

bool Allows(const Route& route, crypto::Role role) { return (route.roles & Bit(role)) != 0; }

namespace {

// The value of `name`, nullopt when absent; refuses what is not allowed and what stands twice.
Result<std::optional<std::string_view>> QueryValue(std::string_view query, std::string_view name,
                                                   std::initializer_list<std::string_view> allowed) {
  std::optional<std::string_view> found;
  if (query.empty()) return found;
  for (const auto part : crypto::SplitWords(query, '&')) {
    const auto equals = part.find('=');
    const auto key = part.substr(0, equals);
    if (equals == std::string_view::npos || std::find(allowed.begin(), allowed.end(), key) == allowed.end())
      return Invalid("unknown query parameter '" + std::string(key.substr(0, 40)) + "'", "unknown-field");
    if (key != name) continue;
    if (found) return Invalid("query parameter '" + std::string(name) + "' stands twice");
    found = part.substr(equals + 1);
  }
  return found;
}

}  // namespace

Result<std::uint64_t> QueryNumber(std::string_view query, std::string_view name, std::uint64_t fallback,
                                  std::initializer_list<std::string_view> allowed) {
  TRY_ASSIGN(const auto value, QueryValue(query, name, allowed));
  if (!value) return fallback;
  return crypto::ParseNumber(*value);
}

Result<std::string> QueryWord(std::string_view query, std::string_view name,
                              std::initializer_list<std::string_view> allowed, bool (*judge)(std::string_view)) {
  TRY_ASSIGN(const auto value, QueryValue(query, name, allowed));
  if (!value) return std::string();
  if (!judge(*value)) return Invalid("query parameter '" + std::string(name) + "' is not one of ours");
  return std::string(*value);
}

Result<std::string> QueryText(std::string_view query, std::string_view name,
                              std::initializer_list<std::string_view> allowed) {
  return QueryWord(query, name, allowed, crypto::IsName);
}

}  // namespace strongroom::netapi
