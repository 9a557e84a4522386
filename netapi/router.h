#pragma once
// The routes: one table, pure. State and role are judged from it before a body is read (N2).

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/base/result.h"
#include "crypto/roster.h"
#include "ledger/evidence_entry.h"

namespace strongroom::netapi {

enum class Endpoint : std::uint8_t {
  kData,
  kDekList,
  kDekShow,
  kPlan,
  kCensus,
  kAcknowledge,
  kReport,
  kCloseEmergency,
  kAttest,
  kJobList,
  kJobShow,
  kJobPause,
  kJobResume,
  kJobCancel,
  kKeyringList,
  kKeyringShow,
  kRoster,
  kProposalFile,
  kProposalList,
  kProposalShow,
  kProposalVote,
  kProposalExecute,
  kProposalWithdraw,
  kLedgerEntries,
  kCheckpoint,
  kProof,
  kTile,
  kBackupBegin,
  kBackupNext,
  kLive,
  kReady,
  kStatus,
  kKeyringDisable,
  kCancelDestruction,
  kBreakGlassList,
  kBreakGlassClose,
  kBreakGlassReview,
  kCeremonyRecord,
  kMetrics
};

/// Gate says when an endpoint answers at all.
enum class Gate : std::uint8_t {
  kAlways,       // also uninitialised, locked, failed
  kInitialised,  // there is a roster
  kOpen,         // keys may be used
};

struct Route {
  std::string_view method;
  std::string_view pattern;  // segments; {x} takes one
  Endpoint endpoint;
  unsigned roles;  // bit of each crypto::Role that may
  Gate gate;
  ledger::Operation operation = ledger::Operation::kOther;  // of kData
  bool open_end = false;                                    // the last {x} takes all that follows
};

/// Routes is the whole table.
const std::vector<Route>& Routes();

struct Matched {
  const Route* route;
  std::vector<std::string> values;  // of the {x} segments
  std::string query;
};

/// Match finds the route of a request target. Fails with kNotFound or kInvalid (slug method-not-allowed). Segments are
/// taken as they are: a percent sign matches nothing, since no name holds one.
Result<Matched> Match(std::string_view method, std::string_view target);

/// QueryText reads a value of a query string, empty when absent; one that stands twice and names other than `allowed`
/// are refused, as are values that are not names (text_rules.h).
Result<std::string> QueryText(std::string_view query, std::string_view name,
                              std::initializer_list<std::string_view> allowed);

/// QueryWord is QueryText for values that `judge` knows.
Result<std::string> QueryWord(std::string_view query, std::string_view name,
                              std::initializer_list<std::string_view> allowed, bool (*judge)(std::string_view));

/// Allows tells whether a role may use the route.
bool Allows(const Route& route, crypto::Role role);

/// QueryNumber reads a number of a query string, `fallback` when absent; kInvalid for anything that is not a number or
/// stands twice. Names other than `allowed` are refused.
Result<std::uint64_t> QueryNumber(std::string_view query, std::string_view name, std::uint64_t fallback,
                                  std::initializer_list<std::string_view> allowed);

}  // namespace strongroom::netapi
