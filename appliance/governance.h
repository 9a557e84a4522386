#pragma once
// Governance: the shell around the decisions. It alone changes the control plane's state.

#include <atomic>
#include <memory>
#include <string>

#include "appliance/audit/control_audit.h"
#include "appliance/break_glass.h"
#include "appliance/caller.h"
#include "appliance/decisions.h"
#include "appliance/overrides.h"
#include "appliance/rewrap_decisions.h"
#include "appliance/state.h"
#include "appliance/token_past.h"
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
/// plane is small, and order is what makes a proposal run once. Readers take snapshots and never wait. Whoever asks is
/// judged by his key, against the roster in force inside the lock that records (JudgeActor, Q17): each call that names
/// a Caller fails with kForbidden (unknown-principal, role-refused) as that does.
class Governance {
 public:
  /// A keyring is rotated at most once in `rotation_pace`, but in an emergency (F13).
  Governance(ledger::Ledger& ledger, hsm::KeyOps& key_ops, Clock& clock, State state, Millis rotation_pace = 0);

  std::shared_ptr<const State> Snapshot() const EXCLUDES(snapshot_mutex_);

  /// FirstBoot writes the genesis: roster 1, signed by every one of its custodians (Q6). kConflict when there is one
  /// already.
  Result<void> FirstBoot(const std::string& roster_text,
                         const std::vector<std::pair<std::string, std::string>>& signatures) EXCLUDES(mutex_);

  /// `failing` are the names of the checks that fail now: break-glass overrides what fails.
  Result<ProposalView> File(const Caller& requester, const ProposalRequest& request,
                            const std::set<std::string, std::less<>>& failing = {}) EXCLUDES(mutex_);
  /// Vote records a vote; whoever is in the roster may carry it here.
  Result<ProposalView> Vote(const Caller& carrier, const std::string& id, const crypto::Vote& vote) EXCLUDES(mutex_);
  Result<ProposalView> Withdraw(const std::string& id, const Caller& principal) EXCLUDES(mutex_);
  /// Execute runs an approved proposal, once. The consumption is durable before the token is asked; the outcome, good
  /// or bad, is an entry. A failure that leaves open whether the token has made the key is settled by Reconcile.
  Result<ProposalView> Execute(const std::string& id, const Caller& executor) EXCLUDES(mutex_);
  /// Reconcile settles executions that a crash or a lost token side cut off: the token is asked whether the key is
  /// there. Returns how many.
  Result<int> Reconcile() EXCLUDES(mutex_);

  /// ReconcileRecord settles only what changes the token's ledger record: an adoption is what makes the rest possible.
  Result<int> ReconcileRecord() EXCLUDES(mutex_);

  /// Sweep compares the token's keys with the record, with no execution in between; lines for people, empty when all is
  /// well (K3).
  Result<std::vector<std::string>> Sweep(const std::string& token) EXCLUDES(mutex_);
  /// CheckTokenPresent compares the main token's record with the database: kConflict (token-behind) when the token was
  /// put back to an earlier time (token_past.h).
  Result<void> CheckTokenPresent() const;

  /// FollowRoster brings a further token to the roster in force, by the votes for each change that it has missed. Fails
  /// with kIntegrity (roster-not-enforced, token-without-record) for a token that obeys another one or none, and as the
  /// token does.
  Result<void> FollowRoster(const std::string& serial) EXCLUDES(mutex_);

  Result<ProposalView> View(const std::string& id) const;
  /// StateOf names a proposal's state now.
  std::string_view StateOf(const Proposal& proposal) const;

  /// Disable stops a keyring at once, on one person's word (Q8); kConflict when it is disabled already.
  Result<void> Disable(std::string_view keyring, const Caller& by) EXCLUDES(mutex_);
  /// CancelDestruction takes a destruction back that has not happened yet: on one person's word (Q11).
  Result<void> CancelDestruction(std::string_view keyring, std::uint64_t version, const Caller& by) EXCLUDES(mutex_);
  /// RunDueDestructions destroys the KEKs whose waiting period is over, each with its entry. Returns how many.
  Result<int> RunDueDestructions() EXCLUDES(mutex_);

  /// TrimArchived lets go of evidence that votes have archived, for a moment at a time.
  Result<void> TrimArchived() EXCLUDES(mutex_);

  /// RunMandates rotates the keyrings whose policy asks for it now, each with its intent and outcome, and settles what
  /// was cut off. One that fails is tried again after an hour. Returns how many were rotated.
  Result<int> RunMandates() EXCLUDES(mutex_);
  /// Overdue names the keyrings whose rotation is overdue by their policy.
  std::vector<std::string> Overdue() const;
  /// EnforcedOverdue tells whether a keyring is overdue and its policy stops new wraps for that.
  bool EnforcedOverdue(std::string_view keyring) const;

  /// CloseBreakGlass closes an open one (G5). kNotFound, kConflict (closed-already).
  Result<void> CloseBreakGlass(const std::string& id, const Caller& by) EXCLUDES(mutex_);
  /// Review files somebody else's signed review (G7); who reads may carry it here.
  Result<void> Review(const Caller& carrier, const std::string& id, const std::string& reviewer,
                      const std::string& finding, const std::string& signature) EXCLUDES(mutex_);
  /// CloseOutlived closes what is over: its time, its uses, or for `reason` when that is not empty (G4: restart,
  /// token-identity).
  Result<void> CloseOutlived(const std::string& reason = {}) EXCLUDES(mutex_);
  Overrides& overrides() { return overrides_; }

  /// WatchClock records that the clock is frozen, once, and closes what was open (Q10, G4).
  Result<void> WatchClock() EXCLUDES(mutex_);
  /// ClockFault is why approvals and executions are frozen, empty when they are not.
  std::string ClockFault() const { return clock_.Fault(); }

  /// StartOwedJobs begins the jobs that rotations ask for, of keyrings that have something to move. Returns how many.
  Result<int> StartOwedJobs() EXCLUDES(mutex_);
  /// SwitchJob changes a job's state, with its progress so far. kNotFound, kConflict (job-state),
  /// kOverloaded (too-many-filings) for more than a day's share of one person; a cancellation has none.
  Result<void> SwitchJob(const std::string& id, JobState to, const Caller& by) EXCLUDES(mutex_);
  /// EndJob records what has become of a job by itself.
  Result<void> EndJob(const std::string& id, JobState to, const std::string& reason) EXCLUDES(mutex_);
  /// Acknowledge records a service's word that it keeps nothing under a version, or an older one, any more.
  Result<void> Acknowledge(const Caller& caller, std::string_view keyring, std::uint64_t version, std::uint64_t count)
      EXCLUDES(mutex_);
  /// Attest activates a version that waits for it, on one person's word that it is backed up or replicated: what was
  /// voted for is done then. kInvalid for a statement that is not one visible line, and as JudgeAttestation says.
  Result<void> Attest(std::string_view keyring, std::uint64_t version, const Caller& by, const std::string& statement)
      EXCLUDES(mutex_);
  /// CloseEmergency ends what a compromise still allowed, and keeps the report (JSON). kConflict as JudgeEmergencyClose
  /// says, and census-inventory while something is under the version.
  Result<void> CloseEmergency(std::string_view keyring, std::uint64_t version, const Caller& by,
                              const std::string& report) EXCLUDES(mutex_);
  /// FactsOf is what is known of a version's use: inventory and counts of all that share its KEK.
  Result<UseFacts> FactsOf(const State& state, const Keyring& keyring, const Version& version) const;

  /// Now is the ledger's time.
  Millis Now() const { return clock_.Now(); }
  /// Unverifiable is why the last entry that would not have verified was not recorded, empty while there was none. It
  /// is a fault of this program or of its database: everything that it stopped was refused.
  std::string Unverifiable() const EXCLUDES(snapshot_mutex_);
  /// RecordCeremony keeps a ceremony's script and transcript in the ledger, as recorded by `by`. kOverloaded
  /// (too-many-filings) for more than a day's share of one person.
  Result<void> RecordCeremony(const Caller& by, ledger::CeremonyRecorded ceremony) EXCLUDES(mutex_);

 private:
  // What one person may write into the log without a vote has a share, too (Q18).
  Result<void> TakeUpkeep(const std::string& by) REQUIRES(mutex_);
  Result<int> StartOwedJobsLocked() REQUIRES(mutex_);
  Result<void> RecordSwitch(const std::string& id, JobState to, const std::string& by, const std::string& reason)
      REQUIRES(mutex_);
  Result<void> FillProgress(std::vector<ledger::ControlBody>& bodies) const;
  Result<void> CheckNothingElsewhere(const Keyring& keyring) const;
  Result<void> CheckTurn(const State& state, const crypto::ProposalText& proposal, Millis now) const;
  Result<void> EndAtToken(const hsm::KeyRef& key) REQUIRES(mutex_);
  Result<void> RunMandate(const Keyring& keyring) REQUIRES(mutex_);
  Result<int> ReconcileMandates() REQUIRES(mutex_);
  Result<void> SettleMandate(const crypto::KeyringId& keyring, std::uint32_t version, const Result<void>& outcome)
      REQUIRES(mutex_);
  Result<std::uint64_t> UsesInEvidence(const BreakGlass& opened) const;
  std::vector<ledger::ControlBody> Closing(const State& state, const std::string& reason) const;
  std::uint64_t UsesOf(const std::string& id) const;
  Result<void> CheckClock(const std::string& operation) REQUIRES(mutex_);
  Result<void> WatchClockLocked() REQUIRES(mutex_);
  Millis TimeFor(const crypto::ProposalText& proposal) const;
  // `at` is the entries' time, the ledger's unless given. Each entry passes the auditor's rules first (L12): kIntegrity
  // (would-not-verify), and nothing is written.
  Result<void> RecordBodies(std::vector<ledger::ControlBody> bodies, std::optional<Millis> at = std::nullopt)
      REQUIRES(mutex_);
  Result<void> Audited(ControlAudit& audit, const ledger::ControlEntry& entry, std::vector<ledger::Row>& rows);
  Error WouldNotVerify(const std::string& what, const Error& why) EXCLUDES(snapshot_mutex_);
  Result<void> Settle(const Proposal& proposal, const Effect* effect, const Result<void>& outcome) REQUIRES(mutex_);
  Result<int> ReconcileLocked(bool record_only) REQUIRES(mutex_);
  // What token and database say of each other, for an adoption.
  Result<Recovery> LookForRecovery(const State& state, const std::string& token) REQUIRES(mutex_);
  Result<void> CheckAdoption(const State& state, const crypto::ProposalText& proposal) REQUIRES(mutex_);
  Result<void> RunEffect(const State& state, const Proposal& proposal, const Effect& effect) REQUIRES(mutex_);
  // The tokens that a request names or its keyring is in, beside the main one, as far as they answer.
  std::map<std::string, ReachableToken, std::less<>> Reach(const State& state, const ProposalRequest& request)
      REQUIRES(mutex_);
  Millis LatestSeen(const State& state) REQUIRES(mutex_);
  // The most of the evidence log that may be archived of what is older than a time.
  Result<std::optional<ledger::Head>> ArchivableBefore(const State& state, Millis time) const;
  Result<void> CheckArchive(const State& state, const crypto::ProposalText& proposal) const;
  // A further token must be the enrolled one and know that it is, before it is asked to do anything (K9).
  Result<void> CheckEnrolled(const State& state, const std::string& serial) REQUIRES(mutex_);
  static bool ConcernsFurther(const State& state, const crypto::ProposalText& proposal);
  static Result<void> CheckUnsettled(const State& state, const crypto::ProposalText& proposal);
  Result<crypto::Roster> RosterOfVersion(std::uint64_t version) const;
  // The changes that led from a roster of the log to the present one, with their votes.
  Result<crypto::RosterChain> ChainFrom(std::uint64_t version) const;
  Result<ledger::Head> PlaceFor(const std::string& operation) const;
  Result<void> BringChain(const State& state) REQUIRES(mutex_);
  // Before anything is consumed or worked out, of every operation.
  Result<void> CheckTokenFor(const std::string& operation) const;
  Result<void> AskFirst(const State& state, const Proposal& proposal, const Effect& effect) REQUIRES(mutex_);
  Result<NotedHeads> NotedBefore(const State& state) const;
  Result<void> AskOutcome(const crypto::ProposalText& proposal, const Effect& effect, Result<void>& outcome);
  // Adds what only the token can say to the entries of an effect.
  Result<void> Complete(const State& state, std::vector<ledger::ControlBody>& bodies);
  Result<const Proposal*> Find(const State& state, const std::string& id) const;

  ledger::Ledger& ledger_;
  hsm::KeyOps& key_ops_;
  Clock& clock_;
  const Millis rotation_pace_;
  const Millis began_;
  Overrides overrides_;
  std::map<std::string, std::uint64_t> earlier_uses_;                     // of what was open when this began
  Mutex mutex_;                                                           // one change at a time
  Result<Millis> last_ GUARDED_BY(mutex_);                                // time of the control log's last entry
  std::uint64_t archive_seen_ GUARDED_BY(mutex_) = 0;                     // the archive that is being let go of
  std::uint64_t archive_seen_at_ GUARDED_BY(mutex_) = 0;                  // size of the control log that says so
  std::map<crypto::KeyringId, Millis> mandate_retry_ GUARDED_BY(mutex_);  // not before this
  // Since when, and how many entries.
  std::map<std::string, std::pair<Millis, unsigned>, std::less<>> upkeep_ GUARDED_BY(mutex_);
  mutable Mutex snapshot_mutex_;
  std::shared_ptr<const State> snapshot_ GUARDED_BY(snapshot_mutex_);
  std::string unverifiable_ GUARDED_BY(snapshot_mutex_);
};

}  // namespace strongroom::appliance
