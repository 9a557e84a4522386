#include "provisioning/control_files.h"

#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>

#include "crypto/custody.h"
#include "crypto/quorum.h"
#include "netapi/keyring_json.h"

namespace strongroom::provisioning {
namespace {

std::string KeyringsJson(const appliance::State& state) {
  boost::json::array keyrings;
  for (const auto& [name, keyring] : state.keyrings) keyrings.push_back(netapi::KeyringObject(*keyring));
  return boost::json::serialize(keyrings) + "\n";
}

}  // namespace

Result<void> ControlFiles::Take(std::uint64_t index, ByteView raw) {
  const auto taken = TakeChecked(raw);
  if (taken) return {};
  return Integrity("control entry " + std::to_string(index) + ": " + taken.error().detail,
                   std::string(taken.error().Slug()));
}

const std::map<std::string, std::string>& ControlFiles::Derived() {
  derived_["keyrings.json"] = KeyringsJson(state());
  return derived_;
}

void ControlFiles::TakeVote(const ledger::VoteCast& cast) {
  ++votes;
  const auto at = std::string(kVotesFolder) + cast.proposal + "/" + cast.vote.custodian;
  derived_[at + ".txt"] = crypto::VoteMessage(state().FindProposal(cast.proposal)->text, cast.vote.verdict);
  derived_[at + ".sig"] = cast.vote.signature;
}

Result<void> ControlFiles::TakeChecked(ByteView raw) {
  TRY_ASSIGN(const auto entry, ledger::DecodeControl(raw));
  if (ledger::Encode(entry) != Bytes(raw.begin(), raw.end())) return Integrity("it is not in its one form");
  const auto former_epoch = state().ledger.epoch;
  TRY_ASSIGN(const auto changed, audit_.Take(entry));
  if (changed.roster) {
    const auto& roster = *state().roster;
    const auto at = "rosters/" + std::to_string(roster.version()) + "/";
    derived_[at + "roster.txt"] = roster.text();
    derived_[at + "allowed_signers"] = crypto::RosterAllowedSigners(roster);
  }
  if (const auto* cast = std::get_if<ledger::VoteCast>(&entry.body)) TakeVote(*cast);
  if (std::holds_alternative<ledger::ProposalConsumed>(entry.body)) ++executions;
  if (const auto* opened = std::get_if<ledger::EpochOpened>(&entry.body))
    epochs_.push_back({former_epoch, *opened, {}});
  if (const auto* archived = std::get_if<ledger::EvidenceArchived>(&entry.body)) archives_.push_back(*archived);
  if (const auto* settled = std::get_if<ledger::ExecutionSettled>(&entry.body); settled != nullptr && settled->ok) {
    const auto& proposal = state().FindProposal(settled->proposal)->parsed;
    if (proposal.operation != "ledger.adopt") return {};
    TRY_ASSIGN(epochs_.back().adoption, crypto::AdoptionOf(proposal));
  }
  return {};
}

}  // namespace strongroom::provisioning
