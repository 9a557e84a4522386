#include "appliance/checkpointer.h"

namespace strongroom::appliance {
namespace {

using ledger::Log;

std::optional<Log> LogOf(const std::string& origin, const crypto::InstanceId& instance) {
  if (origin == crypto::ControlOrigin(instance)) return Log::kControl;
  if (origin == crypto::EvidenceOrigin(instance)) return Log::kEvidence;
  return std::nullopt;
}

Error RolledBack(std::string detail) {
  return Integrity(std::move(detail) + ": this is not the database that the token has signed last", "rollback");
}

}  // namespace

Result<void> CompareWithAnchors(const ledger::Ledger& ledger, const crypto::InstanceId& instance,
                                std::span<const crypto::Anchor> anchors) {
  for (const auto& anchor : anchors) {
    const auto log = LogOf(anchor.origin, instance);
    if (!log) return RolledBack("the token keeps the log " + anchor.origin);
    const auto head = ledger.HeadOf(*log);
    if (head.size < anchor.size)
      return RolledBack(anchor.origin + " has " + std::to_string(head.size) + " entries, the token has signed " +
                        std::to_string(anchor.size));
    TRY_ASSIGN(const auto root, ledger.RootAt(*log, anchor.size));
    if (root != anchor.root)
      return RolledBack("the first " + std::to_string(anchor.size) + " entries of " + anchor.origin +
                        " are others than those that were signed");
  }
  return {};
}

Checkpointer::Checkpointer(ledger::Ledger& ledger, hsm::KeyOps& key_ops, const Clock& clock, Snapshot snapshot,
                           Options options)
    : ledger_(ledger),
      key_ops_(key_ops),
      clock_(clock),
      snapshot_(std::move(snapshot)),
      options_(options),
      thread_([this] { Loop(); }) {}

Checkpointer::~Checkpointer() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
    wake_.NotifyAll();
  }
  thread_.join();
}

void Checkpointer::Enable() {
  const MutexLock lock(mutex_);
  if (std::exchange(enabled_, true)) return;
  wake_.NotifyAll();
}

std::string Checkpointer::Fault() const {
  const MutexLock lock(fault_mutex_);
  return fault_;
}

bool Checkpointer::Tampered() const {
  const MutexLock lock(fault_mutex_);
  return tampered_;
}

std::optional<std::string> Checkpointer::VerifierKey() const {
  const MutexLock lock(fault_mutex_);
  return verifier_key_;
}

Result<void> Checkpointer::Now() {
  const MutexLock lock(mutex_);
  if (!enabled_) return Unavailable("the token's anchors have not been compared yet", "not-anchored");
  return SignBoth();
}

void Checkpointer::Loop() {
  const MutexLock lock(mutex_);
  while (!stopping_) {
    const auto until = std::chrono::steady_clock::now() + options_.interval;
    while (!stopping_ && wake_.WaitUntil(mutex_, until)) {
    }
    if (stopping_ || !enabled_) continue;
    Beat();
    (void)SignBoth();
  }
  if (enabled_) (void)SignBoth();  // what a last answer has left
}

void Checkpointer::Beat() {
  const auto size = ledger_.HeadOf(Log::kEvidence).size;
  const auto now = std::chrono::steady_clock::now();
  if (size != beat_size_) {
    beat_size_ = size;
    beat_at_ = now;
  }
  if (now - beat_at_ < options_.heartbeat) return;
  ledger::EvidenceEntry entry;
  entry.time = clock_.Now();
  entry.request_id = "-";
  entry.principal = "-";
  entry.operation = ledger::Operation::kOther;
  entry.outcome = "heartbeat";
  ledger::Submission submission;
  submission.evidence.push_back(std::move(entry));
  (void)ledger_.Record(std::move(submission));  // a ledger that cannot record says so to everyone
}

Result<void> Checkpointer::SignBoth() {
  const auto state = snapshot_();
  Result<void> signed_both;
  if (state->roster) {
    const auto& instance = state->roster->instance();
    signed_both = LearnKey(instance);
    if (signed_both) signed_both = Sign(Log::kControl, crypto::ControlOrigin(instance));
    if (signed_both) signed_both = Sign(Log::kEvidence, crypto::EvidenceOrigin(instance));
  }
  const MutexLock lock(fault_mutex_);
  fault_ = signed_both ? "" : signed_both.error().Line();
  tampered_ =
      !signed_both && (signed_both.error().code == Code::kIntegrity || signed_both.error().code == Code::kForbidden);
  if (key_) verifier_key_ = key_->Text();
  return signed_both;
}

Result<void> Checkpointer::LearnKey(const crypto::InstanceId& instance) {
  if (key_) return {};
  TRY_ASSIGN(const auto spki, key_ops_.CheckpointKey());
  TRY_ASSIGN(auto key, crypto::NoteKey::FromEcdsa("strongroom/" + ToHex(instance), spki));
  TRY_ASSIGN(const auto anchors, key_ops_.ReadAnchors());
  for (const auto& anchor : anchors)
    if (const auto log = LogOf(anchor.origin, instance))
      progress_[static_cast<std::size_t>(*log)].anchored = anchor.size;
  for (const auto log : {Log::kControl, Log::kEvidence}) {
    TRY_ASSIGN(const auto latest, ledger_.LatestCheckpoint(log));
    // Another key than the one that has signed so far is another token's, or somebody has replaced it.
    if (latest)
      if (const auto opened = crypto::OpenNote(latest->note, std::span(&key, 1)); !opened)
        return Integrity(
            "the token's checkpoint key is not the one that has signed this ledger so far: " + opened.error().detail,
            "checkpoint-key-changed");
    progress_[static_cast<std::size_t>(log)].noted = latest ? latest->size : 0;
  }
  key_ = std::move(key);
  return {};
}

// The entries as they are stored now against the root that grew with them: not against tiles, which may stem from a
// changed entry as well.
Result<void> Checkpointer::Rehash(Log log, const ledger::Head& head, Progress& progress) {
  auto tree = progress.rehashed;
  TRY(ledger_.Read(log, tree.size(), [&](std::uint64_t index, ByteView entry) {
    if (index != tree.size() || index >= head.size) return false;
    tree.Append(crypto::LeafHash(entry));
    return tree.size() < head.size;
  }));
  if (tree.size() != head.size || tree.Root() != head.root)
    return Integrity(std::string("stored entries of the ") + (log == Log::kControl ? "control" : "evidence") +
                         " log between " + std::to_string(progress.rehashed.size()) + " and " +
                         std::to_string(head.size) + " are not what was recorded: nothing more is signed",
                     "ledger-damaged");
  progress.rehashed = std::move(tree);
  return {};
}

Result<void> Checkpointer::Sign(Log log, const std::string& origin) {
  auto& progress = progress_[static_cast<std::size_t>(log)];
  const auto head = ledger_.HeadOf(log);
  if (head.size == 0 || head.size == progress.noted) return {};
  TRY(Rehash(log, head, progress));
  const crypto::Checkpoint checkpoint{origin, head.size, progress.rehashed.Root(), {}};
  TRY_ASSIGN(const auto proof, ledger_.ConsistencyProof(log, progress.anchored, head.size));
  const auto signature = key_ops_.SignCheckpoint(checkpoint, proof);
  if (!signature) {
    key_.reset();  // what the token remembers is learnt anew: a lost answer may have moved its anchor
    return signature.error();
  }
  progress.anchored = head.size;
  if (!key_->Verify(checkpoint.Text(), *signature))
    return Integrity("the token's signature does not fit its own key", "bad-note-signature");
  const auto line = crypto::NoteSignatureLine(*key_, *signature);
  ledger::Submission submission;
  submission.checkpoints.push_back({log, head.size, crypto::SealNote(checkpoint.Text(), std::span(&line, 1))});
  TRY(ledger_.Record(std::move(submission)));
  progress.noted = head.size;
  return {};
}

}  // namespace strongroom::appliance
