// The dry run of a job: what it would do, how long that takes, what would stop it (F15).

#include <algorithm>
#include <cmath>

#include "appliance/broker.h"
#include "appliance/gcm_budget.h"
#include "appliance/rewrap_decisions.h"
#include "appliance/rewrap_jobs.h"

namespace strongroom::appliance {
namespace {
using Steady = std::chrono::steady_clock;
constexpr std::size_t kSample = 64;
}  // namespace

Result<PlanView> RewrapJobs::Plan(const std::string& name, const std::string& request_id,
                                  const std::string& principal) const {
  const auto state = governance_.Snapshot();
  const auto* keyring = state->FindKeyring(name);
  if (keyring == nullptr) return NotFound("no keyring '" + name.substr(0, 64) + "'", "keyring-not-found");
  PlanView plan;
  plan.keyring = name;
  plan.to_version = keyring->primary;
  const auto block = [&](const char* code, std::string detail, bool stops) {
    plan.blockers.push_back({code, std::move(detail), stops});
  };
  TRY_ASSIGN(const auto counts, ledger_.Deks().Counts(keyring->id));
  const Version* largest = nullptr;
  for (const auto& [number, version] : keyring->versions) {
    PlanView::Line line{number, version.state, {}, false};
    if (const auto at = counts.find(number); at != counts.end()) line.counts = at->second;
    line.moves = number != keyring->primary && MayRewrapFrom(*state, *keyring, version);
    const auto moving = line.counts.records - line.counts.quarantined;
    if (line.moves) {
      plan.records += moving;
      plan.bytes += line.counts.bytes;
      if (moving > 0 && (largest == nullptr || moving > counts.at(largest->number).records)) largest = &version;
    } else if (number != keyring->primary && line.counts.records > 0) {
      block("version-state",
            std::to_string(line.counts.records) + " records are under version " + std::to_string(number) +
                ", which is " + std::string(ToString(version.state)),
            false);
    }
    if (line.counts.quarantined > 0)
      block("quarantined",
            std::to_string(line.counts.quarantined) + " records under version " + std::to_string(number) +
                " do not open: put or delete them",
            false);
    if (number != keyring->primary && version.state == VersionState::kDeactivated)
      for (const auto& awaited : AwaitedServices(*state, *keyring, version))
        block("census-unknown",
              awaited.Text() + " has not acknowledged to keep nothing under version " + std::to_string(number), false);
    plan.lines.push_back(line);
  }
  if (keyring->Primary()->state != VersionState::kActive)
    block("version-state",
          "version " + std::to_string(keyring->primary) + " is " + std::string(ToString(keyring->Primary()->state)),
          true);
  if (!keyring->enabled) block("keyring-disabled", "the keyring is disabled", true);
  if (const auto* job = state->LiveJob(keyring->id)) block("job-running", "job " + job->id + " is at it", true);
  if (const auto open = governance_.overrides().Open()) block("break-glass-open", "break-glass " + *open, false);
  const auto hindrance = options_.hindrance ? options_.hindrance() : std::string();
  if (!hindrance.empty()) block("provider-down", hindrance, true);
  if (largest == nullptr || !hindrance.empty() || keyring->Primary()->state != VersionState::kActive) {
    plan.basis = plan.records == 0 ? "nothing to move" : "nothing could be measured";
    return plan;
  }
  TRY(ledger_.CheckSpace());
  TRY(CheckGcmBudget(ledger_, *keyring->Primary(), kSample));
  std::vector<hsm::KeyOp> ops;
  TRY(ledger_.Deks().ScanUnder(
      keyring->id, largest->number, false, {}, [&](std::string_view, const ledger::DekRecord& record) {
        ops.emplace_back(hsm::RewrapOp{RefOf(*largest), RefOf(*keyring->Primary()), record.blob});
        return ops.size() < kSample;
      }));
  const auto begin = Steady::now();
  const auto outputs = bulk_.Execute(ops);
  const double seconds = std::chrono::duration<double>(Steady::now() - begin).count();
  const auto tried = static_cast<std::uint32_t>(ops.size());
  const auto failed = static_cast<std::uint32_t>(
      std::count_if(outputs.begin(), outputs.end(), [](const auto& output) { return !output; }));
  auto entry = EntryFor(*keyring, request_id);
  entry.principal = principal;
  entry.operation = ledger::Operation::kOther;
  entry.items = tried;
  entry.failed = failed;
  entry.outcome = "rewrap-plan";
  entry.uses = {{largest->kek, ledger::Use::kRewrapFrom, tried},
                {keyring->Primary()->kek, ledger::Use::kRewrapTo, tried}};
  ledger::Submission submission;
  submission.evidence.push_back(std::move(entry));
  TRY(ledger_.Record(std::move(submission)));
  const auto lanes = std::min(options_.hosts, options_.concurrency);
  plan.rate = seconds > 0 ? static_cast<double>(tried) / seconds * lanes : 0;
  plan.seconds = plan.rate > 0 ? std::ceil(static_cast<double>(plan.records) / plan.rate) : 0;
  plan.basis = std::to_string(tried) + " rewraps in the token took " +
               std::to_string(static_cast<long>(std::lround(seconds * 1e6))) + " us, on " + std::to_string(lanes) +
               (lanes == 1 ? " host" : " hosts");
  if (failed > 0)
    plan.blockers.push_back(
        {"sample-failed",
         std::to_string(failed) + " of " + std::to_string(tried) + " sampled records could not be rewrapped", false});
  return plan;
}

}  // namespace strongroom::appliance
