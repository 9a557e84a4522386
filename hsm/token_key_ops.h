#pragma once
// KeyOps in this process, straight on a PKCS#11 module: what a token host runs.

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "crypto/base/clock.h"
#include "crypto/base/mutex.h"
#include "hsm/checkpoint_signer.h"
#include "hsm/key_ops.h"
#include "hsm/roster_chain_file.h"
#include "hsm/session_lanes.h"
#include "hsm/token_session.h"

namespace strongroom::hsm {

/// TokenKeyOps serves one token with a session that is reserved for control (P2) and one or more for the operations of
/// services. With one of those there is a third, which only keeps the token logged in, and calls from several threads
/// queue for it; with more, operations run beside each other. An operation holds its session from start to end (P1).
/// After a device-level fault `Broken()` is true and stays so: the process is to be replaced, some modules heal only by
/// being loaded anew.
class TokenKeyOps final : public KeyOps {
 public:
  struct Options {
    bool pin_count_may_be_low = false;
    unsigned sessions = 1;  // for services' operations; more than one loses on SoftHSM, and is what a network HSM needs
    SessionLanes::Watch watch;  // of those, when they are more than one
    bool custody = true;        // this host changes custody and signs: it claims the record
    CustodyStore::Options store;
    /// Called with the token's marks before its record is claimed; a failure ends Open.
    std::function<Result<void>(const TokenIdentity&)> before_claim = nullptr;
    std::string chain_file;  // the token side's copy of the chain of rosters; empty: none is kept
  };
  /// Open loads the module, finds the token, reads the PIN file, logs in once and runs the self-test. Fails with
  /// kPinRejected (do not try again; also when the token reports a low PIN count, unless `pin_count_may_be_low`, which
  /// an operator asks for after correcting the PIN file: P8), kNotFound (no such token), kInvalid (configuration),
  /// kConflict and kUnavailable (CustodyStore::Claim), kTokenFault. Whatever else is wrong with the
  /// custody record is no failure: services are served, and what is governed says why it is not done.
  static Result<std::unique_ptr<TokenKeyOps>> Open(TokenUri uri, const Clock& clock, Options options);
  static Result<std::unique_ptr<TokenKeyOps>> Open(TokenUri uri, const Clock& clock) {
    return Open(std::move(uri), clock, Options());
  }
  std::vector<Result<KeyOpOutput>> Execute(std::span<const KeyOp> ops) override EXCLUDES(mutex_, worker_mutex_);
  void Start(std::uint64_t source, std::vector<KeyOp> ops, Done done) override EXCLUDES(mutex_, worker_mutex_);
  Result<void> Generate(crypto::ExecutionGrant grant, const KeySpec& spec) override EXCLUDES(mutex_);
  Result<std::vector<KeyRecord>> Inventory() override EXCLUDES(mutex_);
  Result<void> SelfTest() override EXCLUDES(mutex_);
  Result<TokenIdentity> Identity() override EXCLUDES(mutex_);
  Result<std::vector<CheckpointSignature>> SignCheckpoint(const crypto::Checkpoint& head,
                                                          std::span<const crypto::Digest> proof) override
      EXCLUDES(mutex_);
  Result<std::vector<CheckpointKey>> CheckpointKeys() override EXCLUDES(mutex_);
  Result<crypto::LedgerRecord> ReadLedgerRecord() override EXCLUDES(mutex_);
  Result<RecordToAdopt> ReadRecordToAdopt() override EXCLUDES(mutex_);
  Result<void> JudgeProposal(crypto::ExecutionGrant grant) override EXCLUDES(mutex_);
  Result<void> BringChain(const crypto::RosterChain& chain) override EXCLUDES(mutex_);
  Result<crypto::RosterChain> ReadChain() override EXCLUDES(mutex_);
  Result<crypto::RosterMark> AdoptionRoster() override EXCLUDES(mutex_);
  /// BeginChain and AddChainStep are BringChain in parts, as frames bring them.
  Result<void> BeginChain(const std::string& roster) override EXCLUDES(mutex_);
  Result<void> AddChainStep(const crypto::RosterStep& step) override EXCLUDES(mutex_);
  Result<void> ChangeLedgerRecord(crypto::ExecutionGrant grant) override EXCLUDES(mutex_);
  Result<void> GenerateByMandate(crypto::StandingGrant grant, const KeySpec& spec) override EXCLUDES(mutex_);
  Result<void> Destroy(crypto::StandingGrant grant, const KeyRef& key) override EXCLUDES(mutex_, worker_mutex_);
  Result<void> CancelDestruction(const KeyRef& key) override EXCLUDES(mutex_);

  bool Broken() const { return shared_.Broken(); }
  /// Superseded tells whether another host writes the custody record now: this one must not be replaced by itself.
  bool Superseded() const { return superseded_; }
  /// Operations counts what has been executed since Open.
  std::uint64_t Operations() const { return shared_.Operations(); }

 private:
  TokenKeyOps(std::unique_ptr<Module> module, TokenUri uri, CK_SLOT_ID slot, VendorProfile profile,
              TokenIdentity identity, std::string group, std::optional<Session> keeper, Session control,
              std::vector<Session> workers, CustodyStore store, std::string chain_file, const Clock& clock,
              SessionLanes::Watch watch);

  // Claims the custody record; what services do not need is no failure.
  Result<void> Claim() EXCLUDES(mutex_);
  // Runs a call of the signer on the control session.
  template <class Call>
  auto OnLedgerRecord(Call call) -> decltype(call());
  template <class Judge, class Spend>
  Result<void> Make(const std::string& keyring, const KeySpec& spec, Judge judge, Spend spend) EXCLUDES(mutex_);
  Result<crypto::LedgerRecord> JudgeChange(const crypto::ExecutionGrant& used) REQUIRES(mutex_);
  const std::optional<crypto::ChainWalk>& Chain() REQUIRES(mutex_);
  // Reads the record; what it says about KEKs that are given up holds from then on.
  Result<crypto::LedgerRecord> Learn() REQUIRES(mutex_);
  Result<void> MayRelease(const KeyRef& key, const std::string& to) EXCLUDES(mutex_);
  // Judges the failure of a call that the signer made.
  Error SignerFault(Error error) REQUIRES(mutex_);

  const std::unique_ptr<Module> module_;
  const TokenUri uri_;
  const OpenToken token_;
  const Clock& clock_;

  SharedKeys shared_;
  mutable Mutex mutex_;                  // of the control session; taken after worker_mutex_ where both are
  const std::optional<Session> keeper_;  // open, and never used
  TokenSession control_ GUARDED_BY(mutex_);
  CheckpointSigner signer_ GUARDED_BY(mutex_);
  const RosterChainFile chain_file_;
  std::optional<crypto::ChainWalk> chain_ GUARDED_BY(mutex_);  // brought for an adoption
  Millis chain_at_ GUARDED_BY(mutex_) = 0;
  std::atomic<bool> superseded_{false};
  std::optional<crypto::LedgerRecord> known_ GUARDED_BY(mutex_);  // as last read for a release
  Millis known_at_ GUARDED_BY(mutex_) = 0;
  Mutex worker_mutex_;
  std::unique_ptr<TokenSession> worker_ GUARDED_BY(worker_mutex_);  // when there is one
  std::optional<SessionLanes> lanes_;                               // when there are more
};

}  // namespace strongroom::hsm
