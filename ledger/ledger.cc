#include "ledger/ledger.h"

#include <algorithm>
#include <filesystem>
#include <map>

#include "crypto/base/wire.h"
#include "ledger/ledger_keys.h"

namespace strongroom::ledger {
namespace {

constexpr std::string_view kDataFormatKey = "format";
// 2: acknowledged evidence may lie in the journal; a program that knows only 1 would go on without it. 3: the database
// names its journal.
constexpr std::uint32_t kDataFormat = 3;
constexpr std::size_t kGroupEntries = 4096;
constexpr std::uint64_t kTrimmedAtOnce = 32 * crypto::kTileWidth;
// Under load the writer waits this long for as many submissions as came last time: a commit costs two flushes of the
// disk.
constexpr auto kGather = std::chrono::microseconds(400);
// What the journal holds goes into the database after so many entries, or so long.
constexpr std::size_t kSettleEntries = 2048;

std::size_t EntriesOf(const Submission& s) {
  return s.control.size() + s.evidence.size() + s.checkpoints.size() + s.deks.size() + 1;
}
Head HeadFor(const crypto::MerkleFrontier& tree) { return {tree.size(), tree.Root()}; }

Result<void> CheckFormat(Txn& txn) {
  TRY_ASSIGN(const auto stored, txn.Get(Table::kMeta, AsBytes(kDataFormatKey)));
  if (stored) {
    WireReader in(*stored);
    const auto format = in.U32();
    if (format == 0 || format > kDataFormat || !in.Complete())
      return Integrity("the data directory has a format that this version does not know", "ledger-format");
    if (format == kDataFormat) return {};
  }
  WireWriter out;
  out.U32(kDataFormat);
  return txn.Put(Table::kMeta, AsBytes(kDataFormatKey), out.bytes());
}

}  // namespace

Result<std::unique_ptr<Ledger>> Ledger::Open(const Options& options) {
  if (options.must_exist && !std::filesystem::exists(options.directory + "/data.mdb"))
    return NotFound("there is no ledger in " + options.directory, "ledger-missing");
  TRY_ASSIGN(auto env, Env::Open(options.directory, options.map_bytes));
  std::unique_ptr<Ledger> ledger(new Ledger(std::move(env)));
  ledger->queue_entries_ = options.queue_entries;
  ledger->reserve_bytes_ = options.reserve_bytes;
  ledger->settle_after_ = options.settle_after;
  {
    TRY_ASSIGN(auto txn, ledger->env_->Write());
    TRY(CheckFormat(txn));
    TRY_ASSIGN(ledger->control_tree_, LogTree::Load(txn, Log::kControl));
    TRY_ASSIGN(ledger->evidence_tree_, LogTree::Load(txn, Log::kEvidence));
    crypto::MerkleFrontier recomputed;
    TRY(txn.Scan(Table::kControl, {}, [&](ByteView key, ByteView entry) {
      if (IndexOf(key) != recomputed.size()) return false;
      recomputed.Append(crypto::LeafHash(entry));
      return true;
    }));
    TRY_ASSIGN(const auto control_count, txn.Count(Table::kControl));
    TRY_ASSIGN(const auto evidence_count, txn.Count(Table::kEvidence));
    if (recomputed != ledger->control_tree_.frontier() || control_count != recomputed.size())
      return Integrity("the control log and its tree disagree: the database was changed from outside",
                       "ledger-damaged");
    TRY(txn.Scan(Table::kEvidence, {}, [&](ByteView key, ByteView) {
      ledger->trimmed_ = IndexOf(key);
      return false;
    }));
    if (ledger->trimmed_ + evidence_count != ledger->evidence_tree_.frontier().size() ||
        ledger->trimmed_ % crypto::kTileWidth != 0)
      return Integrity("the evidence log and its tree disagree: the database was changed from outside",
                       "ledger-damaged");
    TRY(txn.Commit());
  }
  TRY(ledger->RecoverJournal(options));
  {
    const MutexLock lock(ledger->mutex_);
    ledger->control_head_ = HeadFor(ledger->control_tree_.frontier());
    ledger->evidence_head_ = HeadFor(ledger->evidence_tree_.frontier());
    ledger->evidence_first_ = ledger->trimmed_;
  }
  ledger->writer_ = std::thread([l = ledger.get()] { l->WriteLoop(); });
  return ledger;
}

Ledger::~Ledger() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
    work_.NotifyAll();
  }
  if (!writer_.joinable()) return;
  writer_.join();
  // Everything lies in the database. Without the mark's end the next start wants the journal's file, no more.
  if (!Failed() && unsettled_.empty() && mark_) (void)SetMark({mark_->id, false});
}

Result<Ticket> Ledger::Submit(Submission submission) { return Queue(std::move(submission), nullptr); }

Result<void> Ledger::Submit(Submission submission, Then then) {
  TRY(Queue(std::move(submission), std::move(then)));
  return {};
}

Result<Ticket> Ledger::Queue(Submission submission, Then then) {
  std::uint64_t sequence = 0;
  bool enough = false;
  {
    const MutexLock lock(mutex_);
    if (failure_) return *failure_;
    if (stopping_) return Unavailable("the ledger is closing");
    const auto entries = EntriesOf(submission);
    // Governance hands in one submission at a time and a rotation may move thousands of keyrings: the bound is for the
    // data plane.
    if (submission.control.empty() && queued_entries_ + entries > queue_entries_)
      return Overloaded("too many entries wait to be recorded");
    queued_entries_ += entries;
    sequence = next_sequence_++;
    queue_.push_back({std::move(submission), sequence, std::move(then), {}});
    enough = queue_.size() == 1 || queue_.size() >= crowd_;
  }
  if (enough) work_.NotifyOne();
  return Ticket(sequence);
}

Result<Committed> Ledger::Wait(const Ticket& ticket) {
  const MutexLock lock(mutex_);
  while (durable_sequence_ < ticket.sequence()) {
    if (failure_) return *failure_;
    durable_.Wait(mutex_);
  }
  return Committed(durable_sequence_);
}

Result<Committed> Ledger::Record(Submission submission) {
  TRY_ASSIGN(const auto ticket, Submit(std::move(submission)));
  return Wait(ticket);
}

bool Ledger::Failed() const {
  const MutexLock lock(mutex_);
  return failure_.has_value();
}

Result<void> Ledger::CheckSpace() const {
  TRY_ASSIGN(const auto left, env_->Space());
  if (left > reserve_bytes_) return {};
  return Unavailable("the ledger has " + std::to_string(left >> 20) +
                         " MiB left and keeps them for its last records: free the disk, or raise map-gib and restart",
                     "ledger-full");
}

Head Ledger::HeadOf(Log log) const {
  if (log == Log::kEvidence) (void)AwaitSettled();
  return SettledHead(log);
}

Head Ledger::SettledHead(Log log) const {
  const MutexLock lock(mutex_);
  return log == Log::kControl ? control_head_ : evidence_head_;
}

Result<void> Ledger::AwaitSettled() const {
  if (std::this_thread::get_id() == writer_.get_id()) return {};  // it would wait for itself
  const MutexLock lock(mutex_);
  if (!has_unsettled_) return {};
  // Whatever settlement ends after this moment has all that was acknowledged before it.
  const auto seen = settlements_;
  settle_asked_ = true;
  work_.NotifyAll();
  while (settlements_ == seen && !failure_) settled_.Wait(mutex_);
  if (settlements_ == seen) return *failure_;  // the database lacks what was acknowledged last
  return {};
}

void Ledger::WriteLoop() {
  while (true) {
    auto group = NextGroup();
    const bool ends = group.empty() && unsettled_.empty();
    if (ends) {
      const MutexLock lock(mutex_);
      if (stopping_ && queue_.empty()) return;
      settle_asked_ = false;
      continue;
    }
    if (!TakeGroup(std::move(group))) return;
  }
}

// What to write next; nothing when it is time to settle, or to end.
std::vector<Ledger::Queued> Ledger::NextGroup() {
  std::vector<Queued> group;
  const MutexLock lock(mutex_);
  while (queue_.empty() && !stopping_ && !settle_asked_) {
    if (unsettled_.empty())
      work_.Wait(mutex_);
    else if (!work_.WaitUntil(mutex_, settle_by_))
      return group;
  }
  const auto until = std::chrono::steady_clock::now() + kGather;
  while (!queue_.empty() && queue_.size() < crowd_ && !stopping_ && work_.WaitUntil(mutex_, until)) {
  }
  std::size_t entries = 0;
  while (!queue_.empty() && entries < kGroupEntries) {
    entries += EntriesOf(queue_.front().submission);
    group.push_back(std::move(queue_.front()));
    queue_.pop_front();
  }
  queued_entries_ -= entries;
  if (!group.empty()) crowd_ = group.size();
  return group;
}

// Makes a group durable and lets it go; false when the ledger has failed.
bool Ledger::TakeGroup(std::vector<Queued> group) {
  if (group.empty()) return Settle({});
  if (!JournalTakes(group)) return Settle(std::move(group));
  if (const auto written = Journalled(group); !written) {
    // What was acknowledged before goes where it can still go.
    (void)Settle({});
    Fail(written.error(), group);
    return false;
  }
  const auto committed = Committed(group.back().sequence);
  bool asked = false;
  {
    const MutexLock lock(mutex_);
    durable_sequence_ = group.back().sequence;
    has_unsettled_ = true;
    for (const auto& queued : group)
      for (const auto& entry : queued.submission.evidence)
        for (const auto& use : entry.uses) unsettled_counts_[use.kek].Add(use, entry.time);
    asked = settle_asked_ || stopping_;
    durable_.NotifyAll();
  }
  for (auto& queued : group) {
    if (queued.then) queued.then(Ticket(queued.sequence), Result<Committed>(committed));
    queued.then = nullptr;
    unsettled_.push_back(std::move(queued));
  }
  const bool due = unsettled_entries_ >= kSettleEntries || std::chrono::steady_clock::now() >= settle_by_;
  return asked || due ? Settle({}) : true;
}

// Evidence alone may go through the journal: whatever changes state is one transaction with its entry (L2).
bool Ledger::JournalTakes(std::vector<Queued>& group) {
  if (!journal_) return false;
  std::size_t entries = 0, bytes = 0;
  for (const auto& queued : group) {
    const auto& s = queued.submission;
    if (!s.control.empty() || !s.rows.empty() || !s.checkpoints.empty() || !s.deks.empty() || !s.job.empty() ||
        s.trim != 0)
      return false;
  }
  for (auto& queued : group)
    for (const auto& entry : queued.submission.evidence) {
      queued.encoded.push_back(Encode(entry));
      bytes += queued.encoded.back().size();
      ++entries;
    }
  if (entries == 0 || !journal_->Fits(entries, bytes)) return false;
  if (unsettled_.empty()) settle_by_ = std::chrono::steady_clock::now() + settle_after_;
  unsettled_entries_ += entries;
  return true;
}

Result<void> Ledger::Journalled(const std::vector<Queued>& group) {
  std::vector<ByteView> entries;
  for (const auto& queued : group) entries.insert(entries.end(), queued.encoded.begin(), queued.encoded.end());
  return journal_->Append(entries);
}

// Puts into the database, in one transaction, what the journal holds and then the group; false when it has failed.
bool Ledger::Settle(std::vector<Queued> group) {
  auto all = std::exchange(unsettled_, {});
  unsettled_entries_ = 0;
  const auto before = evidence_tree_.frontier().size();
  for (auto& queued : group) all.push_back(std::move(queued));
  if (!all.empty()) {
    if (const auto written = WriteGroup(all); !written) {
      Fail(written.error(), all);
      return false;
    }
    if (journal_ && evidence_tree_.frontier().size() != before)
      journal_->Begin({evidence_tree_.frontier().size(), evidence_tree_.frontier().Root()});
  }
  {
    const MutexLock lock(mutex_);
    if (!all.empty()) durable_sequence_ = all.back().sequence;
    control_head_ = HeadFor(control_tree_.frontier());
    evidence_head_ = HeadFor(evidence_tree_.frontier());
    has_unsettled_ = settle_asked_ = false;
    unsettled_counts_.clear();
    ++settlements_;
    durable_.NotifyAll();
    settled_.NotifyAll();
  }
  for (const auto& queued : all)
    if (queued.then) queued.then(Ticket(queued.sequence), Result<Committed>(Committed(all.back().sequence)));
  return true;
}

// Nothing is taken any more; whoever still waits is told so. What the journal has acknowledged is found there by the
// next start.
void Ledger::Fail(const Error& error, std::vector<Queued>& group) {
  const Error failure = Unavailable(
      "the ledger cannot record and takes nothing more: " + error.detail + "; free the disk or restore, then restart",
      "ledger-failed");
  {
    const MutexLock lock(mutex_);
    failure_ = failure;
    group.insert(group.end(), std::move_iterator(queue_.begin()), std::move_iterator(queue_.end()));
    queue_.clear();
    durable_.NotifyAll();
    settled_.NotifyAll();
  }
  for (const auto& queued : group)
    if (queued.then) queued.then(Ticket(queued.sequence), Result<Committed>(failure));
}

Result<void> Ledger::WriteGroup(const std::vector<Queued>& group, const std::optional<JournalMark>& mark) {
  TRY_ASSIGN(auto txn, env_->Write());
  std::map<Bytes, KekCounters> counters;
  for (const auto& queued : group) {
    for (const auto& entry : queued.submission.control) TRY(control_tree_.Append(txn, Encode(entry)));
    for (const auto& row : queued.submission.rows) {
      if (row.value)
        TRY(txn.Put(Table::kState, AsBytes(row.key), *row.value));
      else
        TRY(txn.Delete(Table::kState, AsBytes(row.key)));
    }
    for (std::size_t i = 0; i < queued.submission.evidence.size(); ++i) {
      const auto& entry = queued.submission.evidence[i];
      TRY(evidence_tree_.Append(txn, queued.encoded.empty() ? Encode(entry) : queued.encoded[i]));
      for (const auto& use : entry.uses)
        for (const auto& key : {Bytes(use.kek.begin(), use.kek.end()), CountersKey(use.kek, entry.keyring_id)}) {
          auto [at, fresh] = counters.try_emplace(key);
          if (fresh) {
            TRY_ASSIGN(const auto stored, txn.Get(Table::kCounters, key));
            if (stored) {
              TRY_ASSIGN(at->second, DecodeCounters(*stored));
            }
          }
          at->second.Add(use, entry.time);
        }
    }
    if (queued.submission.trim != 0) TRY(Trim(txn, queued.submission.trim));
    if (!queued.submission.deks.empty()) {
      TRY_ASSIGN(const auto applied, ApplyDeks(txn, queued.submission.deks));
      if (!queued.submission.job.empty()) TRY(AddStep(txn, queued.submission.job, applied));
    }
  }
  for (const auto& queued : group)
    for (const auto& head : queued.submission.checkpoints) {
      // The newest is what is read: it covers all that the others did.
      TRY_ASSIGN(const auto last, txn.LastBefore(Table::kCheckpoints, CheckpointKey(head.log, ~std::uint64_t{0})));
      if (last && last->first[0] == static_cast<std::uint8_t>(head.log)) {
        const Bytes former(last->first.begin(), last->first.end());
        TRY(txn.Delete(Table::kCheckpoints, former));
      }
      TRY(txn.Put(Table::kCheckpoints, CheckpointKey(head.log, head.size), AsBytes(head.note)));
    }
  {
    // Known before it is so: who reads an entry that goes just now is told that it is archived.
    const MutexLock lock(mutex_);
    evidence_first_ = trimmed_;
  }
  for (const auto& [kek, value] : counters) TRY(txn.Put(Table::kCounters, kek, Encode(value)));
  TRY(control_tree_.Store(txn));
  TRY(evidence_tree_.Store(txn));
  if (mark) TRY(PutMark(txn, *mark));
  TRY(txn.Commit());
  if (mark) mark_ = *mark;
  return {};
}

// Whole tiles, and the last entry stays: what is in no whole tile is hashed from entries.
Result<void> Ledger::Trim(Txn& txn, std::uint64_t before) {
  const auto whole = evidence_tree_.frontier().size() / crypto::kTileWidth * crypto::kTileWidth;
  const auto until = std::min({before / crypto::kTileWidth * crypto::kTileWidth, whole, trimmed_ + kTrimmedAtOnce});
  if (until >= evidence_tree_.frontier().size()) return {};
  for (; trimmed_ < until; ++trimmed_) TRY(txn.Delete(Table::kEvidence, IndexKey(trimmed_)));
  return {};
}

}  // namespace strongroom::ledger
