#pragma once
// For the audit's own files.

#include "appliance/audit/control_audit.h"

namespace strongroom::appliance {

// Rules has one judgement for each kind of entry. There is no general one: a new kind does not compile until somebody
// says whose word it needs.
struct ControlAudit::Rules {
  ControlAudit& audit;
  Millis time;

  Result<Word> operator()(const ledger::Genesis& e) const;
  Result<Word> operator()(const ledger::ProposalFiled& e) const;
  Result<Word> operator()(const ledger::VoteCast& e) const;
  Result<Word> operator()(const ledger::ProposalWithdrawn& e) const;
  Result<Word> operator()(const ledger::ProposalConsumed& e) const;
  Result<Word> operator()(const ledger::ExecutionSettled& e) const;

  Result<Word> operator()(const ledger::KeyringCreated&) const { return Word::kVotes; }
  Result<Word> operator()(const ledger::VersionAnnounced&) const { return Word::kVotes; }
  Result<Word> operator()(const ledger::VersionActivated&) const { return Word::kVotes; }
  Result<Word> operator()(const ledger::GrantsChanged&) const { return Word::kVotes; }
  Result<Word> operator()(const ledger::PolicySet&) const { return Word::kVotes; }
  Result<Word> operator()(const ledger::RosterChanged&) const { return Word::kVotes; }
  Result<Word> operator()(const ledger::RosterAdvanced&) const { return Word::kVotes; }
  Result<Word> operator()(const ledger::TokenEnrolled&) const { return Word::kVotes; }
  Result<Word> operator()(const ledger::EvidenceArchived&) const { return Word::kVotes; }
  Result<Word> operator()(const ledger::EpochOpened&) const { return Word::kVotes; }
  Result<Word> operator()(const ledger::ClockAccepted&) const { return Word::kVotes; }
  Result<Word> operator()(const ledger::BreakGlassOpened&) const { return Word::kVotes; }
  Result<Word> operator()(const ledger::CheckpointKeyChanged& e) const;

  Result<Word> operator()(const ledger::KeyringSwitched& e) const;
  Result<Word> operator()(const ledger::VersionMoved& e) const;
  Result<Word> operator()(const ledger::VersionAttested& e) const;
  Result<Word> operator()(const ledger::EmergencyClosed& e) const;
  Result<Word> operator()(const ledger::CensusAcknowledged& e) const;
  Result<Word> operator()(const ledger::BreakGlassClosed& e) const;
  Result<Word> operator()(const ledger::BreakGlassReviewed& e) const;
  Result<Word> operator()(const ledger::CeremonyRecorded& e) const;
  Result<Word> operator()(const ledger::ClockFrozen&) const { return Word::kAppliance; }

  Result<Word> operator()(const ledger::ProposalsClosed& e) const;
  // Which ones follows from the state; the time is judged by Apply.
  Result<Word> operator()(const ledger::ProposalsForgotten&) const { return Word::kAppliance; }

  Result<Word> operator()(const ledger::MandateUsed& e) const;
  Result<Word> operator()(const ledger::MandateSettled& e) const;
  Result<Word> operator()(const ledger::JobStarted& e) const;
  Result<Word> operator()(const ledger::JobSwitched& e) const;

 private:
  const State& state() const { return audit.state_; }
  // The state as it was before the changes that no settlement has covered yet.
  const State& before() const { return audit.changes_.empty() ? audit.state_ : audit.before_; }
  void Announce(const ledger::ControlBody& body) const { audit.announced_.push_back(ledger::Encode({0, body})); }
  // The changes so far are these and no others; they are covered now.
  Result<void> Cover(const std::vector<ledger::ControlBody>& wanted, const char* otherwise) const;
  // One person's doing has a person behind it.
  Result<void> CheckPerson(const std::string& by) const;
  // A service speaks for itself.
  Result<void> CheckService(const std::string& name) const;
};

}  // namespace strongroom::appliance
