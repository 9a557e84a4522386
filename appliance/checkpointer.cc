#include "appliance/checkpointer.h"

#include <algorithm>

#include "appliance/token_past.h"

namespace strongroom::appliance {
namespace {

using ledger::Log;

std::string OriginOf(Log log, const State& state) {
  const auto& instance = state.roster->instance();
  return log == Log::kControl ? crypto::ControlOrigin(instance, state.ledger.epoch)
                              : crypto::EvidenceOrigin(instance, state.ledger.epoch);
}
std::optional<Log> LogOf(const std::string& origin, const State& state) {
  for (const auto log : {Log::kControl, Log::kEvidence})
    if (origin == OriginOf(log, state)) return log;
  return std::nullopt;
}

// The head in a note that was verified.
Result<crypto::Checkpoint> HeadIn(const std::string& note, std::span<const crypto::NoteKey> keys) {
  TRY_ASSIGN(const auto opened, crypto::OpenNote(note, keys));
  return crypto::Checkpoint::Parse(opened.text);
}

Error RolledBack(std::string detail) {
  return Integrity(std::move(detail) + ": this is not the database that the token has signed last", "rollback");
}

}  // namespace

Result<std::vector<crypto::NoteKey>> NoteKeysOf(const crypto::InstanceId& instance,
                                                const std::vector<hsm::CheckpointKey>& keys) {
  std::vector<crypto::NoteKey> out;
  for (const auto& key : keys) {
    TRY_ASSIGN(auto made, crypto::NoteKey::FromEcdsa("strongroom/" + ToHex(instance), key.spki));
    out.push_back(std::move(made));
  }
  return out;
}

Result<std::vector<crypto::NoteKey>> KeysThatSigned(const State& state, const std::vector<hsm::CheckpointKey>& keys) {
  std::vector<crypto::NoteKey> out;
  for (const auto& text : state.ledger.keys) {
    TRY_ASSIGN(auto key, crypto::NoteKey::Parse(text));
    out.push_back(std::move(key));
  }
  const auto name = "strongroom/" + ToHex(state.roster->instance());
  for (const auto& key : keys)
    for (const auto* spki : {&key.former, &key.spki}) {
      if (spki->empty()) continue;
      TRY_ASSIGN(auto made, crypto::NoteKey::FromEcdsa(name, *spki));
      if (std::find(out.begin(), out.end(), made) == out.end()) out.push_back(std::move(made));
    }
  return out;
}

Result<std::uint64_t> KeptSize(const ledger::Ledger& ledger, Log log, const State& state,
                               std::span<const crypto::NoteKey> keys) {
  TRY_ASSIGN(const auto latest, ledger.LatestCheckpoint(log));
  if (!latest) return 0;
  const auto head = HeadIn(latest->note, keys);
  if (!head || head->origin != OriginOf(log, state) || head->size > ledger.HeadOf(log).size) return 0;
  TRY_ASSIGN(const auto root, ledger.RootAt(log, head->size));
  return root == head->root ? head->size : 0;
}

Result<void> CompareWithAnchors(const ledger::Ledger& ledger, const State& state,
                                std::span<const crypto::Anchor> anchors) {
  for (const auto& anchor : anchors) {
    const auto log = LogOf(anchor.origin, state);
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

std::string Checkpointer::CustodyFault() const {
  const MutexLock lock(fault_mutex_);
  return custody_;
}

std::optional<std::string> Checkpointer::VerifierKey() const {
  const MutexLock lock(fault_mutex_);
  return verifier_key_;
}

Result<void> Checkpointer::ShowVerifier() {
  const auto state = snapshot_();
  if (!state->roster) return {};
  TRY_ASSIGN(const auto token_keys, key_ops_.CheckpointKeys());
  TRY_ASSIGN(const auto known, KeysThatSigned(*state, token_keys));
  TRY_ASSIGN(const auto latest, ledger_.LatestCheckpoint(Log::kControl));
  for (const auto& key : known)
    if (latest && crypto::OpenNote(latest->note, std::span(&key, 1))) {
      const MutexLock lock(fault_mutex_);
      verifier_key_ = key.Text();
    }
  return {};
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
    for (const auto log : {Log::kControl, Log::kEvidence})
      // A failed read is no damage: it is tried again.
      if (const auto sound = Patrol(log); !sound && !damage_ && sound.error().code == Code::kIntegrity)
        damage_ = sound.error();
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
    signed_both = damage_ ? Result<void>(*damage_) : Learn(*state);
    if (signed_both) signed_both = Sign(Log::kControl, OriginOf(Log::kControl, *state));
    if (signed_both) signed_both = Sign(Log::kEvidence, OriginOf(Log::kEvidence, *state));
  }
  const MutexLock lock(fault_mutex_);
  fault_ = signed_both ? "" : signed_both.error().Line();
  const bool custody = !signed_both && IsCustodyFault(signed_both.error());
  custody_ = custody ? fault_ : "";
  // What the token has lost says nothing of what is stored here, neither for it nor against it.
  if (!custody)
    tampered_ =
        !signed_both && (signed_both.error().code == Code::kIntegrity || signed_both.error().code == Code::kForbidden);
  if (!keys_.empty()) verifier_key_ = keys_.front().Text();
  return signed_both;
}

Result<void> Checkpointer::Learn(const State& state) {
  // A new epoch begins with other anchors, a new key with other signatures.
  if (!keys_.empty() && learnt_for_ == state.ledger) return {};
  keys_.clear();
  TRY_ASSIGN(const auto token_keys, key_ops_.CheckpointKeys());
  TRY_ASSIGN(auto keys, NoteKeysOf(state.roster->instance(), token_keys));
  TRY_ASSIGN(const auto record, key_ops_.ReadLedgerRecord());
  // Between the token's new key and its record in the ledger nothing is signed.
  if (token_keys.front().number == state.ledger.key + 1)
    return Unavailable("a rotation of the checkpoint key is being recorded", "not-anchored");
  if (token_keys.front().number != state.ledger.key)
    return Integrity("the token signs with checkpoint key " + std::to_string(token_keys.front().number) +
                         ", the ledger knows of " + std::to_string(state.ledger.key),
                     "checkpoint-key-changed");
  for (auto& progress : progress_) progress.anchored = 0;
  for (const auto& anchor : record.anchors)
    if (const auto log = LogOf(anchor.origin, state)) progress_[static_cast<std::size_t>(*log)].anchored = anchor.size;
  for (const auto log : {Log::kControl, Log::kEvidence}) {
    TRY_ASSIGN(const auto latest, ledger_.LatestCheckpoint(log));
    auto& noted = progress_[static_cast<std::size_t>(log)].noted;
    noted = 0;
    if (!latest) continue;
    // Keys that the log says are over have signed too. Any other key is another token's, or somebody has replaced it.
    TRY_ASSIGN(const auto known, KeysThatSigned(state, token_keys));
    const auto head = HeadIn(latest->note, known);
    if (!head)
      return Integrity(
          "the token's checkpoint key is not the one that has signed this ledger so far: " + head.error().detail,
          "checkpoint-key-changed");
    // What the key in force has not signed itself is signed again.
    const bool by_this_key = crypto::OpenNote(latest->note, std::span(keys.data(), 1)).has_value();
    if (by_this_key && head->origin == OriginOf(log, state)) noted = head->size;
  }
  // A head that an older token signed now would hide that it is older.
  NotedHeads signed_heads;
  TRY_ASSIGN(const auto known_keys, KeysThatSigned(state, token_keys));
  TRY_ASSIGN(signed_heads.control, KeptSize(ledger_, Log::kControl, state, known_keys));
  TRY_ASSIGN(signed_heads.evidence, KeptSize(ledger_, Log::kEvidence, state, known_keys));
  TRY(CheckTokenPast(state, record, signed_heads, clock_.Now()));
  numbers_.clear();
  for (const auto& key : token_keys) numbers_.push_back(key.number);
  keys_ = std::move(keys);
  learnt_for_ = state.ledger;
  return {};
}

// The entries as they are stored now against the root that grew with them: not against tiles, which may stem from a
// changed entry as well.
Result<void> Checkpointer::Rehash(Log log, const ledger::Head& head, Progress& progress) {
  auto tree = progress.rehashed;
  TRY(SkipArchived(log, tree));
  const auto from = tree.size();
  TRY(ledger_.Read(log, from, [&](std::uint64_t index, ByteView entry) {
    if (index != tree.size() || index >= head.size) return false;
    tree.Append(crypto::LeafHash(entry));
    return tree.size() < head.size;
  }));
  if (tree.size() != head.size && ledger_.FirstStored(log) > from)
    return Unavailable("evidence is being archived: what is left of it is read again", "not-anchored");
  if (tree.size() != head.size || tree.Root() != head.root)
    return Integrity(std::string("stored entries of the ") + (log == Log::kControl ? "control" : "evidence") +
                         " log between " + std::to_string(progress.rehashed.size()) + " and " +
                         std::to_string(head.size) + " are not what was recorded: nothing more is signed",
                     "ledger-damaged");
  progress.rehashed = std::move(tree);
  return {};
}

// What votes have archived is not here to be read: the tree goes on from its tiles, and the root that was signed tells
// whether those are what they were.
Result<void> Checkpointer::SkipArchived(Log log, crypto::MerkleFrontier& tree) const {
  const auto first = ledger_.FirstStored(log);
  if (tree.size() >= first) return {};
  TRY_ASSIGN(tree, ledger_.FrontierAt(log, first));
  return {};
}

// Of what is archived the hashes are all that is left to prove it by: they are read, tile by tile.
Result<void> Checkpointer::PatrolArchived(Log log, crypto::MerkleFrontier& tree, std::uint64_t until) const {
  const auto first = ledger_.FirstStored(log);
  while (tree.size() < first && tree.size() < until) {
    // A round that stands inside of a tile which was archived meanwhile begins anew.
    if (tree.size() % crypto::kTileWidth != 0) tree = {};
    TRY_ASSIGN(const auto tile, ledger_.Tile(log, 0, tree.size() / crypto::kTileWidth, crypto::kTileWidth));
    for (std::size_t i = 0; i < crypto::kTileWidth; ++i) {
      crypto::Digest leaf{};
      std::copy_n(tile.begin() + static_cast<std::ptrdiff_t>(i * leaf.size()), leaf.size(), leaf.begin());
      tree.Append(leaf);
    }
  }
  return {};
}

Result<void> Checkpointer::Patrol(Log log) {
  auto& progress = progress_[static_cast<std::size_t>(log)];
  if (progress.patrolled.size() >= progress.patrol_goal.size()) {
    progress.patrolled = {};
    progress.patrol_goal = progress.rehashed;
    if (progress.patrol_goal.size() == 0) return {};
  }
  auto& tree = progress.patrolled;
  const auto goal = progress.patrol_goal.size();
  TRY(PatrolArchived(log, tree, std::min(goal, tree.size() + options_.patrol)));
  if (tree.size() > goal) {  // all of the round, and more, is archived by now: the next one sees to it
    tree = progress.patrol_goal;
    return {};
  }
  const auto from = tree.size();
  const auto until = std::min(goal, from + options_.patrol);
  if (from < until)
    TRY(ledger_.Read(log, from, [&](std::uint64_t index, ByteView entry) {
      if (index != tree.size()) return false;
      tree.Append(crypto::LeafHash(entry));
      return tree.size() < until;
    }));
  if (tree.size() != until && ledger_.FirstStored(log) > from) return {};  // archived meanwhile: next time from there
  const bool whole_round = tree.size() == progress.patrol_goal.size();
  if (tree.size() != until || (whole_round && tree != progress.patrol_goal))
    return Integrity(std::string("stored entries of the ") + (log == Log::kControl ? "control" : "evidence") +
                         " log below " + std::to_string(progress.patrol_goal.size()) +
                         " are not what was signed: nothing more is signed; restore, or put the right database back",
                     "ledger-damaged");
  return {};
}

Result<void> Checkpointer::Sign(Log log, const std::string& origin) {
  auto& progress = progress_[static_cast<std::size_t>(log)];
  const auto head = ledger_.HeadOf(log);
  if (head.size == 0 || head.size == progress.noted) return {};
  TRY(Rehash(log, head, progress));
  const crypto::Checkpoint checkpoint{origin, head.size, progress.rehashed.Root(), {}};
  TRY_ASSIGN(const auto proof, ledger_.ConsistencyProof(log, progress.anchored, head.size));
  const auto signatures = key_ops_.SignCheckpoint(checkpoint, proof);
  if (!signatures) {
    keys_.clear();  // what the token remembers is learnt anew: a lost answer may have moved its anchor
    return signatures.error();
  }
  progress.anchored = head.size;
  std::vector<std::string> lines;
  for (const auto& signature : *signatures) {
    const auto at = std::find(numbers_.begin(), numbers_.end(), signature.key) - numbers_.begin();
    if (static_cast<std::size_t>(at) == numbers_.size()) {
      keys_.clear();
      return Unavailable("a rotation of the checkpoint key is being recorded", "not-anchored");
    }
    if (!keys_[static_cast<std::size_t>(at)].Verify(checkpoint.Text(), signature.der)) {
      keys_.clear();
      return Integrity("the token's signature does not fit its own key", "bad-note-signature");
    }
    lines.push_back(crypto::NoteSignatureLine(keys_[static_cast<std::size_t>(at)], signature.der));
  }
  ledger::Submission submission;
  submission.checkpoints.push_back({log, head.size, crypto::SealNote(checkpoint.Text(), lines)});
  TRY(ledger_.Record(std::move(submission)));
  progress.noted = head.size;
  return {};
}

}  // namespace strongroom::appliance
