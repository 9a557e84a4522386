// What governance asks of the main token's custody record: whether it is as new as the database, what it would say of a
// proposal, and what there is to adopt.

#include <algorithm>
#include <set>

#include "appliance/checkpointer.h"
#include "appliance/governance.h"
#include "appliance/ledger_decisions.h"
#include "appliance/proposal_params.h"
#include "crypto/custody.h"

namespace strongroom::appliance {
namespace {

// Whether a node is without the evidence head that the record says it has: nothing of its log is signed any more.
bool LacksHead(const crypto::LedgerRecord& record) {
  return std::any_of(record.nodes.begin(), record.nodes.end(), [&](const std::string& node) {
    const auto origin = crypto::EvidenceOrigin(record.instance, record.epoch, node);
    return std::none_of(record.anchors.begin(), record.anchors.end(),
                        [&](const crypto::Anchor& anchor) { return anchor.origin == origin; });
  });
}

}  // namespace

// Taken before the record is read: what is signed meanwhile is in the record then, and no sign that it is older.
Result<NotedHeads> Governance::NotedBefore(const State& state) const {
  NotedHeads noted;
  TRY_ASSIGN(const auto keys, key_ops_.CheckpointKeys());  // without them nobody can tell what was signed
  TRY_ASSIGN(const auto known, KeysThatSigned(state, keys));
  TRY_ASSIGN(noted.control, KeptSize(ledger_, ledger::Log::kControl, state, known));
  TRY_ASSIGN(noted.evidence, KeptSize(ledger_, ledger::Log::kEvidence, state, known));
  return noted;
}

Result<void> Governance::CheckTokenPresent() const {
  const auto state = Snapshot();
  TRY_ASSIGN(const auto noted, NotedBefore(*state));
  TRY_ASSIGN(const auto record, key_ops_.ReadLedgerRecord());
  return CheckTokenPast(*state, record, noted, clock_.Now());
}

// A token that was put back, or whose record cannot be relied on, stops all that is governed, also what it is not asked
// for itself (Q16); ledger.adopt is the way out. One that does not answer at all holds up neither an emergency nor what
// opens because it does not answer.
Result<void> Governance::CheckTokenFor(const std::string& operation) const {
  if (operation == "ledger.adopt") return {};
  auto present = CheckTokenPresent();
  const bool waits = operation != "keyring.emergency-rotate" && operation != "break-glass.open";
  if (!present && !waits && IsAway(present.error())) return {};
  return present;
}

// What the token would refuse changes nothing: its host's own judgement is asked before anything is consumed. That it
// does not answer is no refusal of an emergency.
Result<void> Governance::AskFirst(const State& state, const Proposal& proposal, const Effect& effect) {
  const auto& p = proposal.parsed;
  std::set<std::string> tokens;
  if (effect.changes_record) tokens.insert(Get(p.params, "token"));
  if (effect.generate) tokens.insert(effect.generate->ref.token);
  if (tokens.empty()) return {};
  // An adoption is judged under the database's roster: the token is shown by which votes its own has become that.
  if (p.operation == "ledger.adopt") TRY(BringChain(state));
  const auto asked = [&]() -> Result<void> {
    for (const auto& token : tokens) {
      TRY_ASSIGN(auto grant, crypto::GrantExecution(*state.roster, proposal.text, proposal.votes,
                                                    std::min(clock_.Now(), p.execute_by)));
      TRY(key_ops_.Token(token).JudgeProposal(std::move(grant)));
    }
    return {};
  }();
  if (!asked && IsAway(asked.error()) && p.operation == "keyring.emergency-rotate") return {};
  return asked;
}

Result<Recovery> Governance::LookForRecovery(const State& state, const std::string& token) {
  if (token.empty()) return Unavailable("the token does not answer: what it remembers is part of the proposal");
  Recovery recovery;
  TRY_ASSIGN(const auto noted, NotedBefore(state));
  TRY_ASSIGN(auto to, key_ops_.ReadRecordToAdopt());
  const auto compared = CompareWithAnchors(ledger_, state, to.record.anchors);
  if (!compared && compared.error().code != Code::kIntegrity) return compared.error();
  recovery.rolled_back = !compared || to.from != hsm::AdoptedFrom::kInForce;
  recovery.behind = !CheckTokenPast(state, to.record, noted, clock_.Now()) || LacksHead(to.record);
  recovery.record = std::move(to.record);
  recovery.from = to.from;
  TRY_ASSIGN(const auto token_keys, key_ops_.CheckpointKeys());
  TRY_ASSIGN(const auto keys, KeysThatSigned(state, token_keys));
  recovery.key = token_keys.front().number;
  // A rotation that the token did and the ledger knows nothing of is adopted like everything else that was lost.
  recovery.rolled_back = recovery.rolled_back || recovery.key > state.ledger.key;
  TRY_ASSIGN(recovery.keys, key_ops_.Inventory());
  recovery.evidence = ledger_.HeadOf(ledger::Log::kEvidence);
  TRY_ASSIGN(recovery.kept_control, KeptSize(ledger_, ledger::Log::kControl, state, keys));
  TRY_ASSIGN(recovery.kept_evidence, KeptSize(ledger_, ledger::Log::kEvidence, state, keys));
  return recovery;
}

// What the proposal says of token and database must still be so: the token checks its own part itself.
Result<void> Governance::CheckAdoption(const State& state, const crypto::ProposalText& proposal) {
  TRY_ASSIGN(const auto adoption, crypto::AdoptionOf(proposal));
  for (const auto& head : adoption.adopted) {
    const bool control = head.origin == crypto::ControlOrigin(proposal.instance, adoption.epoch);
    const auto root = ledger_.RootAt(control ? ledger::Log::kControl : ledger::Log::kEvidence, head.size);
    if (!root || *root != head.root) return Conflict("the database is another than the one proposed", "stale");
  }
  TRY_ASSIGN(const auto records, key_ops_.Inventory());
  TRY_ASSIGN(const auto keys, KeysToAdopt(state, adoption.token, records));
  for (const auto& [name, value] : keys)
    if (const auto at = proposal.params.find(name); at == proposal.params.end() || at->second != value)
      return Conflict("the token's keys are others than those proposed: propose again", "stale");
  return {};
}

}  // namespace strongroom::appliance
