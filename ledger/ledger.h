#pragma once
// The ledger: two Merkle logs, the state that follows from them, and one writer with group commit.

#include <atomic>
#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "crypto/base/mutex.h"
#include "crypto/merkle.h"
#include "ledger/control_entry.h"
#include "ledger/env.h"
#include "ledger/evidence_entry.h"
#include "ledger/inventory.h"
#include "ledger/journal.h"
#include "ledger/log_tree.h"
#include "ledger/staged.h"

namespace strongroom::ledger {

/// Row is a change of the state table; no value means the row goes.
struct Row {
  std::string key;
  std::optional<Bytes> value;
};

/// SignedHead is a checkpoint: a signed note over a log's head.
struct SignedHead {
  Log log = Log::kControl;
  std::uint64_t size = 0;
  std::string note;
};

/// Submission is what goes into one transaction, whole or not at all.
struct Submission {
  std::vector<ControlEntry> control;
  std::vector<Row> rows;  // what `control` does to the state
  std::vector<EvidenceEntry> evidence;
  std::vector<SignedHead> checkpoints;
  std::vector<DekWrite> deks;  // carried out in order
  std::string job;             // whose progress they are, empty: no job's
  std::uint64_t trim = 0;      // evidence entries before this go, some whole tiles of them at a time
};

struct Head {
  std::uint64_t size = 0;
  crypto::Digest root{};
};

/// JournalMark is what the database says of its journal: whose entries may be ahead of it, from a start to its orderly
/// end.
struct JournalMark {
  Journal::Id id{};
  bool in_use = false;
  bool operator==(const JournalMark&) const = default;
};

/// Ledger is thread-safe. After a failed commit it takes nothing more (`Failed()`): no answer rather than an unrecorded
/// one.
class Ledger {
 public:
  struct Options {
    std::string directory;
    std::size_t map_bytes = std::size_t{64} << 30;
    std::size_t queue_entries = 16384;                      // entries that may wait for the writer
    std::uint64_t reserve_bytes = std::uint64_t{16} << 20;  // kept for what a full ledger still has to record
    std::size_t journal_bytes = std::size_t{4} << 20;       // 0: every group is committed at once
    std::chrono::milliseconds settle_after{25};             // what the journal holds goes into the database then
    bool must_exist = false;                                // refuse a directory without a ledger instead of making one
    std::optional<Millis> journal_lost = std::nullopt;  // go on without a journal that is missing, recorded as of then
  };
  /// Open opens or creates the database and recomputes the control log's tree from its entries. Fails with kIntegrity
  /// when tree and entries disagree, and (journal-missing, journal-damaged) when the database was not closed in order
  /// and the journal that may have its last acknowledged evidence is not beside it, or not whole. With `journal_lost`
  /// it goes on without one that is missing: an entry of evidence, outcome `journal-missing`, says so.
  static Result<std::unique_ptr<Ledger>> Open(const Options& options);
  ~Ledger();

  /// Submit queues; kOverloaded when the queue is full, kUnavailable when the ledger has failed. Order of tickets is
  /// order in the logs.
  Result<Ticket> Submit(Submission submission) EXCLUDES(mutex_);
  /// Then is told what became of a submission.
  using Then = std::function<void(const Ticket&, const Result<Committed>&)>;
  /// Submit with `then` calls it once, when the entries are synced to disk or the ledger has failed, from the writer's
  /// own thread: it must not block, nor call the ledger's Wait or Record. When Submit itself fails it is never called.
  Result<void> Submit(Submission submission, Then then) EXCLUDES(mutex_);
  /// Wait blocks until the ticket's entries are synced to disk.
  Result<Committed> Wait(const Ticket& ticket) EXCLUDES(mutex_);
  /// Record is Submit and Wait.
  Result<Committed> Record(Submission submission) EXCLUDES(mutex_);

  bool Failed() const EXCLUDES(mutex_);
  /// GaveUpJournal tells whether this Open went on without the journal that the database needed.
  bool GaveUpJournal() const { return gave_up_journal_; }
  /// CheckSpace fails with kUnavailable, slug `ledger-full`, when map or disk leave no more than the reserve: whoever
  /// wants to do something that has to be recorded asks before he does it (L11). What is submitted anyway, such as the
  /// refusal itself, goes into the reserve.
  Result<void> CheckSpace() const;
  /// HeadOf is the durable head of a log. What reads evidence, this, Read, RootAt, proofs, tiles and counters, first
  /// has the writer put what the journal holds into the database: whatever was acknowledged before is seen.
  Head HeadOf(Log log) const EXCLUDES(mutex_);
  /// AwaitSettled has the writer put what the journal holds into the database, and waits for it. kUnavailable when the
  /// ledger has failed and the database lacks what was acknowledged last.
  Result<void> AwaitSettled() const EXCLUDES(mutex_);
  /// SettledHead is HeadOf without waiting for anybody, not even for a disk that hangs: what was acknowledged within
  /// the last moment may be missing from it.
  Head SettledHead(Log log) const EXCLUDES(mutex_);
  /// LastTime is the latest time that was recorded: that of the logs' last entries. 0 of an empty ledger.
  Result<Millis> LastTime() const;
  /// FirstStored is the index of the first entry of a log that is stored: 0 unless what was before it is archived.
  std::uint64_t FirstStored(Log log) const EXCLUDES(mutex_);
  /// FrontierAt is the frontier of a log's first `size` entries, from tiles.
  Result<crypto::MerkleFrontier> FrontierAt(Log log, std::uint64_t size) const;
  /// CountersOf tells what a KEK has done: all of it, or what one keyring has asked of it.
  Result<KekCounters> CountersOf(const crypto::KeyId& kek) const;
  Result<KekCounters> CountersOf(const crypto::KeyId& kek, const crypto::KeyringId& keyring) const;
  /// SettledCounters is CountersOf without waiting, for whoever asks for many after one AwaitSettled.
  Result<KekCounters> SettledCounters(const crypto::KeyId& kek) const;
  Result<KekCounters> SettledCounters(const crypto::KeyId& kek, const crypto::KeyringId& keyring) const;
  /// CountersNow is CountersOf without waiting. It never tells less than what was acknowledged; uses that are on their
  /// way from the journal into the database at this moment may be in it twice.
  Result<KekCounters> CountersNow(const crypto::KeyId& kek) const EXCLUDES(mutex_);
  Inventory Deks() const { return Inventory(*env_); }

  /// Read visits entries from index `from` on, in order, until `visit` returns false. Bytes are as stored.
  Result<void> Read(Log log, std::uint64_t from,
                    const std::function<bool(std::uint64_t index, ByteView entry)>& visit) const;
  /// RootAt is the root of a log's first `size` entries; kNotFound (index-past-head) beyond its end.
  Result<crypto::Digest> RootAt(Log log, std::uint64_t size) const;
  /// InclusionProof and ConsistencyProof are RFC 6962's, for durable entries (crypto/merkle.h).
  Result<std::vector<crypto::Digest>> InclusionProof(Log log, std::uint64_t index, std::uint64_t size) const;
  Result<std::vector<crypto::Digest>> ConsistencyProof(Log log, std::uint64_t old_size, std::uint64_t size) const;
  /// Tile returns the first `width` hashes of a tile (C2SP tlog-tiles); kNotFound when the log is not that long.
  Result<Bytes> Tile(Log log, unsigned level, std::uint64_t index, std::uint64_t width) const;
  /// LatestCheckpoint returns the newest signed head of a log that is stored.
  Result<std::optional<SignedHead>> LatestCheckpoint(Log log) const;
  /// ReadState visits every row of the state table in key order.
  Result<void> ReadState(const std::function<bool(std::string_view key, ByteView value)>& visit) const;
  /// ReplaceState swaps the whole state table, in one transaction; for `ledger rebuild` alone, with no writer at work.
  Result<void> ReplaceState(const std::vector<Row>& rows);

 private:
  struct Queued {
    Submission submission;
    std::uint64_t sequence;
    Then then;                   // may be empty
    std::vector<Bytes> encoded;  // the evidence as it is stored, when it went through the journal
  };
  explicit Ledger(std::unique_ptr<Env> env) : env_(std::move(env)) {}
  Result<Ticket> Queue(Submission submission, Then then) EXCLUDES(mutex_);
  void WriteLoop() EXCLUDES(mutex_);
  std::vector<Queued> NextGroup() EXCLUDES(mutex_);
  bool TakeGroup(std::vector<Queued> group) EXCLUDES(mutex_);
  bool JournalTakes(std::vector<Queued>& group);
  Result<void> Journalled(const std::vector<Queued>& group);
  bool Settle(std::vector<Queued> group) EXCLUDES(mutex_);
  void Fail(const Error& error, std::vector<Queued>& group) EXCLUDES(mutex_);
  Result<void> RecoverJournal(const Options& options);
  Result<void> BeginJournal(std::unique_ptr<Journal> own, std::size_t bytes);
  Result<void> GiveUpJournal(std::optional<Millis> at);
  Result<void> ReadMark();
  Result<void> SetMark(const JournalMark& mark);
  static Result<void> PutMark(Txn& txn, const JournalMark& mark);
  Result<void> WriteGroup(const std::vector<Queued>& group, const std::optional<JournalMark>& mark = std::nullopt)
      EXCLUDES(mutex_);
  Result<void> Trim(Txn& txn, std::uint64_t before);
  Result<KekCounters> CountersAt(ByteView key) const;
  Result<void> CheckSize(Log log, std::uint64_t size) const EXCLUDES(mutex_);

  const std::unique_ptr<Env> env_;
  std::size_t queue_entries_ = 0;
  std::uint64_t reserve_bytes_ = 0;
  std::chrono::milliseconds settle_after_{0};

  // Touched by the writer thread alone once it runs.
  LogTree control_tree_{Log::kControl};
  LogTree evidence_tree_{Log::kEvidence};
  std::uint64_t trimmed_ = 0;  // evidence entries that are not stored any more
  std::unique_ptr<Journal> journal_;
  std::optional<JournalMark> mark_;
  bool gave_up_journal_ = false;
  std::vector<Queued> unsettled_;  // acknowledged, in the journal, not in the database
  std::size_t unsettled_entries_ = 0;
  std::chrono::steady_clock::time_point settle_by_;

  mutable Mutex mutex_;
  mutable CondVar work_;
  CondVar durable_;
  mutable CondVar settled_;
  bool has_unsettled_ GUARDED_BY(mutex_) = false;
  mutable bool settle_asked_ GUARDED_BY(mutex_) = false;
  std::uint64_t settlements_ GUARDED_BY(mutex_) = 0;
  std::map<crypto::KeyId, KekCounters> unsettled_counts_ GUARDED_BY(mutex_);
  std::deque<Queued> queue_ GUARDED_BY(mutex_);
  std::size_t crowd_ GUARDED_BY(mutex_) = 0;  // submissions worth waiting for a moment
  std::size_t queued_entries_ GUARDED_BY(mutex_) = 0;
  std::uint64_t next_sequence_ GUARDED_BY(mutex_) = 1;
  std::uint64_t durable_sequence_ GUARDED_BY(mutex_) = 0;
  std::optional<Error> failure_ GUARDED_BY(mutex_);
  bool stopping_ GUARDED_BY(mutex_) = false;
  Head control_head_ GUARDED_BY(mutex_);
  Head evidence_head_ GUARDED_BY(mutex_);
  std::uint64_t evidence_first_ GUARDED_BY(mutex_) = 0;
  std::thread writer_;
};

}  // namespace strongroom::ledger
