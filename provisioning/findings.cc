#include "provisioning/findings.h"

#include "crypto/proposal_text.h"
#include "crypto/text_rules.h"

namespace strongroom::provisioning {
namespace {

constexpr std::size_t kMostFindings = 1000;

// Why a new entry of this kind would be refused; the first reason.
Result<void> Judge(const ledger::ControlEntry& entry, const appliance::State& state) {
  if (std::holds_alternative<ledger::Genesis>(entry.body) ||
      std::holds_alternative<ledger::RosterChanged>(entry.body) ||
      std::holds_alternative<ledger::RosterAdvanced>(entry.body))
    return state.roster->CheckKeys();
  if (const auto* filed = std::get_if<ledger::ProposalFiled>(&entry.body)) {
    TRY_ASSIGN(const auto proposal, crypto::ProposalText::Parse(filed->text));
    return proposal.CheckReadable();
  }
  if (const auto* reviewed = std::get_if<ledger::BreakGlassReviewed>(&entry.body))
    return crypto::CheckSignedLine(reviewed->finding, crypto::kMaxReasonBytes);
  if (const auto* attested = std::get_if<ledger::VersionAttested>(&entry.body))
    return crypto::CheckSignedLine(attested->statement, crypto::kMaxReasonBytes);
  return {};
}

}  // namespace

void TakeFindings(std::uint64_t index, const ledger::ControlEntry& entry, const appliance::State& state,
                  std::vector<std::string>& findings) {
  if (findings.size() == kMostFindings) return;
  if (const auto judged = Judge(entry, state); !judged)
    findings.push_back("control entry " + std::to_string(index) + ": " + judged.error().detail);
}

}  // namespace strongroom::provisioning
