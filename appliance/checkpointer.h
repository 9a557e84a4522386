#pragma once
// The checkpointer: has the token sign the heads of both logs, after it has read again what they are made of.

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "appliance/state.h"
#include "crypto/anchor.h"
#include "crypto/base/clock.h"
#include "crypto/base/mutex.h"
#include "hsm/key_ops.h"
#include "ledger/ledger.h"

namespace strongroom::appliance {

/// CompareWithAnchors holds the ledger against what its token remembers (L8): each log must extend its anchor, and no
/// other instance's and no other epoch's may be there. kIntegrity, slug `rollback`, with what is missing.
Result<void> CompareWithAnchors(const ledger::Ledger& ledger, const State& state,
                                std::span<const crypto::Anchor> anchors);

/// KeptSize is how many of a log's entries are known to be what the token has signed: those under the newest checkpoint
/// in the database, when one of `keys` has signed it in the state's epoch and the entries fit. 0 when there is none.
Result<std::uint64_t> KeptSize(const ledger::Ledger& ledger, ledger::Log log, const State& state,
                               std::span<const crypto::NoteKey> keys);

/// KeysThatSigned are all that may have signed this ledger: the token's, those before them, those that the log names.
Result<std::vector<crypto::NoteKey>> KeysThatSigned(const State& state, const std::vector<hsm::CheckpointKey>& keys);

/// NoteKeysOf makes verifier keys of a token's checkpoint keys, in their order.
Result<std::vector<crypto::NoteKey>> NoteKeysOf(const crypto::InstanceId& instance,
                                                const std::vector<hsm::CheckpointKey>& keys);

/// Checkpointer signs when a log has grown and `interval` has passed, and on request. Before each signature every leaf
/// since the last one is hashed again from its stored bytes, at first since the log's beginning: a changed byte stops
/// signing (L7). What was signed before is read and hashed again in the background, `patrol` entries an interval, round
/// and round: a byte that changes there stops signing too. An idle evidence log gets a heartbeat entry every
/// `heartbeat` (L10). Thread-safe.
class Checkpointer {
 public:
  struct Options {
    std::chrono::milliseconds interval{2000};
    std::chrono::milliseconds heartbeat{60000};
    std::uint64_t patrol = 8192;
  };
  using Snapshot = std::function<std::shared_ptr<const State>()>;
  Checkpointer(ledger::Ledger& ledger, hsm::KeyOps& key_ops, const Clock& clock, Snapshot snapshot, Options options);
  ~Checkpointer();
  Checkpointer(const Checkpointer&) = delete;
  Checkpointer& operator=(const Checkpointer&) = delete;

  /// Now signs what has not been signed yet and waits for it. Fails with what the ledger or the token says.
  Result<void> Now() EXCLUDES(mutex_);
  /// Enable starts signing; before the anchors have been compared nothing is signed.
  void Enable() EXCLUDES(mutex_);
  /// Fault is what stopped the last attempt, empty when it went well.
  std::string Fault() const EXCLUDES(fault_mutex_);
  /// Tampered tells whether it was no outage that stopped it: stored entries have changed, or the token refuses the
  /// head or signs with another key.
  bool Tampered() const EXCLUDES(fault_mutex_);
  /// CustodyFault is why the token's custody record cannot be relied on (token_past.h), as the last attempt met it;
  /// empty when it met nothing of the kind. It is no tampering.
  std::string CustodyFault() const EXCLUDES(fault_mutex_);
  /// ShowVerifier learns which key has signed what is stored, without signing: for a ledger that may not be signed.
  Result<void> ShowVerifier() EXCLUDES(mutex_);
  /// VerifierKey is the key in force as a signed note's verifier key; nullopt before the first signature.
  std::optional<std::string> VerifierKey() const EXCLUDES(fault_mutex_);

 private:
  struct Progress {
    crypto::MerkleFrontier rehashed;
    std::uint64_t anchored = 0;
    std::uint64_t noted = 0;  // size of the newest stored checkpoint
    // The round under way: from the log's beginning to what had been rehashed when it began.
    crypto::MerkleFrontier patrolled;
    crypto::MerkleFrontier patrol_goal;
  };
  void Loop() EXCLUDES(mutex_);
  Result<void> SignBoth() REQUIRES(mutex_);
  Result<void> Sign(ledger::Log log, const std::string& origin) REQUIRES(mutex_);
  Result<void> Rehash(ledger::Log log, const ledger::Head& head, Progress& progress) REQUIRES(mutex_);
  Result<void> Learn(const State& state) REQUIRES(mutex_);
  Result<void> Patrol(ledger::Log log) REQUIRES(mutex_);
  Result<void> PatrolArchived(ledger::Log log, crypto::MerkleFrontier& tree, std::uint64_t until) const;
  Result<void> SkipArchived(ledger::Log log, crypto::MerkleFrontier& tree) const;
  void Beat() REQUIRES(mutex_);

  ledger::Ledger& ledger_;
  hsm::KeyOps& key_ops_;
  const Clock& clock_;
  const Snapshot snapshot_;
  const Options options_;

  mutable Mutex mutex_;  // one signature at a time
  CondVar wake_;
  bool stopping_ GUARDED_BY(mutex_) = false;
  bool enabled_ GUARDED_BY(mutex_) = false;
  std::array<Progress, 2> progress_ GUARDED_BY(mutex_);
  std::vector<crypto::NoteKey> keys_ GUARDED_BY(mutex_);  // that sign now, the one in force first; empty: to be learnt
  std::vector<std::uint32_t> numbers_ GUARDED_BY(mutex_);
  LedgerFacts learnt_for_ GUARDED_BY(mutex_);
  std::optional<Error> damage_ GUARDED_BY(mutex_);  // found in what was signed: nothing more is signed until a restart
  std::uint64_t beat_size_ GUARDED_BY(mutex_) = 0;
  std::chrono::steady_clock::time_point beat_at_ GUARDED_BY(mutex_) = std::chrono::steady_clock::now();

  mutable Mutex fault_mutex_;
  std::string fault_ GUARDED_BY(fault_mutex_) = "nothing signed yet";
  bool tampered_ GUARDED_BY(fault_mutex_) = false;
  std::string custody_ GUARDED_BY(fault_mutex_);
  std::optional<std::string> verifier_key_ GUARDED_BY(fault_mutex_);
  std::thread thread_;
};

}  // namespace strongroom::appliance
