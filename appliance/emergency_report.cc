#include "appliance/emergency_report.h"

#include <algorithm>

#include "appliance/rewrap_decisions.h"

namespace strongroom::appliance {
namespace {

constexpr Millis kSlack = 1000;
constexpr std::size_t kMostIds = 1000;

// Story tells what an entry has to do with one keyring, in words; empty when nothing.
struct Story {
  const State& state;
  const Keyring& keyring;
  std::string operator()(const ledger::ProposalFiled& e) const {
    return OfProposal(crypto::ProposalId(e.text), "filed");
  }
  std::string operator()(const ledger::VoteCast& e) const {
    return OfProposal(e.proposal, std::string(crypto::ToString(e.vote.verdict)) + " by " + e.vote.custodian);
  }
  std::string operator()(const ledger::ProposalConsumed& e) const {
    return OfProposal(e.proposal, "executed by " + e.executor);
  }
  std::string operator()(const ledger::ExecutionSettled& e) const {
    return OfProposal(e.proposal, e.ok ? "done" : "failed: " + e.slug);
  }
  std::string operator()(const ledger::VersionAnnounced& e) const {
    return e.keyring == keyring.id ? "version " + std::to_string(e.version) + " generated" : "";
  }
  std::string operator()(const ledger::VersionActivated& e) const {
    return e.keyring == keyring.id ? "version " + std::to_string(e.version) + " active" : "";
  }
  std::string operator()(const ledger::VersionMoved& e) const {
    if (e.keyring != keyring.id) return "";
    return "version " + std::to_string(e.version) + " " + std::string(ledger::ToString(e.to)) +
           (e.by.empty() ? "" : " by " + e.by);
  }
  std::string operator()(const ledger::JobStarted& e) const {
    if (e.keyring != keyring.id) return "";
    return "job " + e.id + " (" + std::string(ledger::ToString(e.kind)) + ") begins to move the inventory to version " +
           std::to_string(e.target);
  }
  std::string operator()(const ledger::JobSwitched& e) const {
    const auto at = state.jobs.find(e.id);
    if (at == state.jobs.end() || at->second->keyring != keyring.id) return "";
    return "job " + e.id + " " + std::string(ledger::ToString(e.to)) + ": " + std::to_string(e.done) + " rewrapped, " +
           std::to_string(e.quarantined) + " quarantined" + (e.by.empty() ? "" : ", by " + e.by);
  }
  std::string operator()(const ledger::CensusAcknowledged& e) const {
    if (e.keyring != keyring.id) return "";
    return e.service + " keeps nothing under version " + std::to_string(e.version) + ": " + std::to_string(e.count) +
           " rewrapped";
  }
  std::string operator()(const ledger::EmergencyClosed& e) const {
    return e.keyring == keyring.id ? "emergency of version " + std::to_string(e.version) + " closed by " + e.by : "";
  }
  template <class Other>
  std::string operator()(const Other&) const {
    return "";
  }

 private:
  std::string OfProposal(const std::string& id, const std::string& what) const {
    const auto* proposal = state.FindProposal(id);
    if (proposal == nullptr || proposal->parsed.keyring != keyring.name) return "";
    return proposal->parsed.operation + " " + id + " " + what;
  }
};

Result<void> TellUses(const ledger::Ledger& ledger, const Keyring& keyring, const crypto::KeyId& kek,
                      EmergencyReport& report) {
  Result<void> outcome;
  TRY(ledger.Read(ledger::Log::kEvidence, FirstSince(ledger, report.opened), [&](std::uint64_t, ByteView raw) {
    const auto entry = ledger::DecodeEvidence(raw);
    if (!entry) {
      outcome = entry.error();
      return false;
    }
    if (entry->time < report.opened || entry->keyring_id != keyring.id) return true;
    for (const auto& use : entry->uses) {
      if (use.kek != kek || (use.use != ledger::Use::kUnwrap && use.use != ledger::Use::kRewrapFrom)) continue;
      auto& used = report.since[entry->principal];
      (use.use == ledger::Use::kUnwrap ? used.unwraps : used.rewraps) += use.count;
      used.last = std::max(used.last, entry->time);
    }
    return true;
  }));
  return outcome;
}

}  // namespace

std::uint64_t FirstSince(const ledger::Ledger& ledger, Millis time) {
  const auto time_of = [&](std::uint64_t index) {
    Millis at = 0;
    (void)ledger.Read(ledger::Log::kEvidence, index, [&](std::uint64_t, ByteView raw) {
      if (const auto entry = ledger::DecodeEvidence(raw)) at = entry->time;
      return false;
    });
    return at;
  };
  std::uint64_t low = ledger.FirstStored(ledger::Log::kEvidence), high = ledger.HeadOf(ledger::Log::kEvidence).size;
  while (low < high) {
    const auto middle = low + (high - low) / 2;
    if (time_of(middle) + kSlack < time)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

Result<EmergencyReport> ReportOn(const ledger::Ledger& ledger, const State& state, const Keyring& keyring,
                                 std::uint32_t number) {
  const auto at = state.emergencies.find({keyring.id, number});
  const auto* version = keyring.Find(number);
  if (at == state.emergencies.end() || version == nullptr)
    return Conflict("version " + std::to_string(number) + " of '" + keyring.name + "' was never compromised",
                    "no-emergency");
  EmergencyReport report;
  report.opened = at->second.opened;
  report.closed = at->second.closed;
  report.state = version->state;
  TRY_ASSIGN(report.ever, ledger.CountersOf(version->kek, keyring.id));
  TRY(TellUses(ledger, keyring, version->kek, report));
  TRY_ASSIGN(const auto counts, ledger.Deks().Counts(keyring.id));
  if (const auto count = counts.find(number); count != counts.end()) {
    report.inventory_left = count->second.records;
    report.quarantined_count = count->second.quarantined;
  }
  TRY(ledger.Deks().ScanUnder(keyring.id, number, true, {}, [&](std::string_view id, const ledger::DekRecord&) {
    report.quarantined.emplace_back(id);
    return report.quarantined.size() < kMostIds;
  }));
  for (const auto& [service, mask] : keyring.grants.by_service())
    if (const auto said = state.acknowledged.find({keyring.id, service});
        said != state.acknowledged.end() && said->second.version >= number)
      report.acknowledged[service] = said->second;
  for (const auto& awaited : AwaitedServices(state, keyring, *version)) report.awaited.push_back(awaited.Text());
  Result<void> outcome;
  TRY(ledger.Read(ledger::Log::kControl, 0, [&](std::uint64_t, ByteView raw) {
    const auto entry = ledger::DecodeControl(raw);
    if (!entry) {
      outcome = entry.error();
      return false;
    }
    if (auto what = std::visit(Story{state, keyring}, entry->body); !what.empty())
      report.timeline.push_back({entry->time, std::move(what)});
    return true;
  }));
  TRY(outcome);
  if (const auto first = ledger.FirstStored(ledger::Log::kEvidence);
      first > 0 && FirstSince(ledger, report.opened) == first)
    report.timeline.push_back({report.opened, "evidence before entry " + std::to_string(first) +
                                                  " is archived: uses in it are not counted here"});
  return report;
}

}  // namespace strongroom::appliance
