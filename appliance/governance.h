#pragma once
// Governance: the shell around the decisions. It alone changes the control plane's state.

#include <atomic>
#include <memory>
#include <string>

#include "appliance/decisions.h"
#include "appliance/state.h"
#include "crypto/base/mutex.h"
#include "hsm/key_ops.h"
#include "ledger/ledger.h"

namespace strongroom::appliance {

/// ProposalView is a proposal with its state at the time of asking.
struct ProposalView {
  std::shared_ptr<const Proposal> proposal;
  std::string state;
};

/// Governance is thread-safe; its calls block for the ledger and the token. They run one after another: the control
/// plane is small, and order is what makes a proposal run once. Readers take snapshots and never wait.
class Governance {
 public:
  Governance(ledger::Ledger& ledger, hsm::KeyOps& key_ops, const Clock& clock, State state);

  std::shared_ptr<const State> Snapshot() const EXCLUDES(snapshot_mutex_);

  /// FirstBoot writes the genesis: roster 1, signed by every one of its custodians (Q6). kConflict when there is one
  /// already.
  Result<void> FirstBoot(const std::string& roster_text,
                         const std::vector<std::pair<std::string, std::string>>& signatures) EXCLUDES(mutex_);

  Result<ProposalView> File(const std::string& requester, const ProposalRequest& request) EXCLUDES(mutex_);
  Result<ProposalView> Vote(const std::string& id, const crypto::Vote& vote) EXCLUDES(mutex_);
  Result<ProposalView> Withdraw(const std::string& id, const std::string& principal) EXCLUDES(mutex_);
  /// Execute runs an approved proposal, once. The consumption is durable before the token is asked; the outcome, good
  /// or bad, is an entry. A failure that leaves open whether the token has made the key is settled by Reconcile.
  Result<ProposalView> Execute(const std::string& id, const std::string& executor) EXCLUDES(mutex_);
  /// Reconcile settles executions that a crash or a lost token side cut off: the token is asked whether the key is
  /// there. Returns how many.
  Result<int> Reconcile() EXCLUDES(mutex_);

  /// ReconcileRecord settles only what changes the token's ledger record: an adoption is what makes the rest possible.
  Result<int> ReconcileRecord() EXCLUDES(mutex_);

  /// Sweep compares the token's keys with the record, with no execution in between; lines for people, empty when all is
  /// well (K3).
  Result<std::vector<std::string>> Sweep(const std::string& token) EXCLUDES(mutex_);

  Result<ProposalView> View(const std::string& id) const;

 private:
  Result<void> RecordBodies(std::vector<ledger::ControlBody> bodies) REQUIRES(mutex_);
  Result<void> Settle(const Proposal& proposal, const Effect* effect, const Result<void>& outcome) REQUIRES(mutex_);
  Result<int> ReconcileLocked(bool record_only) REQUIRES(mutex_);
  // What token and database say of each other, for an adoption.
  Result<Recovery> LookForRecovery(const State& state, const std::string& token) REQUIRES(mutex_);
  Result<void> CheckAdoption(const State& state, const crypto::ProposalText& proposal) REQUIRES(mutex_);
  Result<void> RunEffect(crypto::ExecutionGrant grant, const Effect& effect);
  Result<void> AskOutcome(const crypto::ProposalText& proposal, const Effect& effect, Result<void>& outcome);
  // Adds what only the token can say to the entries of an effect.
  Result<void> Complete(const State& state, std::vector<ledger::ControlBody>& bodies);
  Result<const Proposal*> Find(const State& state, const std::string& id) const;

  ledger::Ledger& ledger_;
  hsm::KeyOps& key_ops_;
  const Clock& clock_;
  Mutex mutex_;  // one change at a time
  mutable Mutex snapshot_mutex_;
  std::shared_ptr<const State> snapshot_ GUARDED_BY(snapshot_mutex_);
};

}  // namespace strongroom::appliance
