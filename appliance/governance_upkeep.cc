// What governance does by itself as time passes: destructions that are due, rotations by mandate.

#include "appliance/governance.h"
#include "appliance/keyring_decisions.h"
#include "appliance/ledger_decisions.h"
#include "appliance/policy_decisions.h"
#include "appliance/rewrap_decisions.h"
#include "crypto/custody.h"
#include "hsm/vote_checks.h"

namespace strongroom::appliance {
namespace {
constexpr Millis kRetryAfter = kHour;
constexpr Millis kWatchFirst = kDay;
}  // namespace

Result<int> Governance::RunMandates() {
  const MutexLock lock(mutex_);
  if (!clock_.Fault().empty() || !ledger_.CheckSpace()) return 0;
  TRY(ReconcileMandates());
  int rotated = 0;
  std::optional<Error> stuck;
  const auto state = Snapshot();
  for (const auto& [name, keyring] : state->keyrings) {
    const auto now = clock_.Now();
    if (keyring->policy.days == 0 || now < NextRotation(*keyring)) continue;
    if (const auto retry = mandate_retry_.find(keyring->id); retry != mandate_retry_.end() && now < retry->second)
      continue;
    // A rotation waits for the job of the one before it.
    if (!CheckNoJob(*state, *keyring)) continue;
    mandate_retry_[keyring->id] = now + kRetryAfter;
    const auto done = RunMandate(*keyring);
    rotated += done ? 1 : 0;
    if (done) continue;
    // The token counts in whole minutes, and in time that it has watched: it is asked again soon, and nobody alarmed.
    if (done.error().Slug() == "mandate-not-due") {
      mandate_retry_[keyring->id] = now + crypto::kMinute;
      continue;
    }
    stuck = done.error();
    if (!state->tokens.contains(keyring->Primary()->token)) break;  // a further token holds nobody else up
  }
  if (stuck) return *stuck;
  return rotated;
}

Result<void> Governance::RunMandate(const Keyring& keyring) {
  const auto state = Snapshot();
  TRY_ASSIGN(const auto effect, EffectOfMandate(*state, keyring, clock_.Now()));
  auto& token = key_ops_.Token(effect.generate->ref.token);
  TRY_ASSIGN(const auto records, token.Inventory());
  const auto faults = JudgeInventory(*state, effect.generate->ref.token, records);
  if (!faults.empty()) return Conflict("the token's keys are not as recorded: " + faults.front(), "token-inventory");
  // What the token would refuse is not begun.
  TRY(hsm::CheckMandateVersion(*effect.generate, records));
  if (!state->tokens.contains(effect.generate->ref.token)) TRY(CheckTokenPresent());
  TRY_ASSIGN(const auto record, token.ReadLedgerRecord());
  TRY_ASSIGN(auto grant, crypto::GrantByMandate(record, keyring.name, effect.generate->ref.key,
                                                effect.generate->ref.suite, crypto::EstimateTime(record, clock_)));
  const auto version = static_cast<std::uint32_t>(keyring.versions.size() + 1);
  TRY(RecordBodies({ledger::MandateUsed{keyring.id, version}}));
  const auto made = key_ops_.GenerateByMandate(std::move(grant), *effect.generate);
  // A token side that went away may have done it: asked once it is back.
  if (!made && made.error().code == Code::kUnavailable) return made;
  TRY(SettleMandate(keyring.id, version, made));
  return made;
}

Result<void> Governance::SettleMandate(const crypto::KeyringId& id, std::uint32_t version,
                                       const Result<void>& outcome) {
  const auto state = Snapshot();
  const auto& keyring = *state->FindKeyring(state->keyring_names.at(id));
  std::vector<ledger::ControlBody> bodies;
  if (outcome) bodies = RotationOf(*state, keyring, keyring.Primary()->suite).entries;
  bodies.emplace_back(ledger::MandateSettled{id, version, outcome.has_value(),
                                             outcome ? "" : std::string(outcome.error().Slug()),
                                             outcome ? "" : outcome.error().detail});
  return RecordBodies(std::move(bodies));
}

Result<int> Governance::ReconcileMandates() {
  int settled = 0;
  const auto state = Snapshot();
  for (const auto& [name, keyring] : state->keyrings) {
    if (keyring->mandated == 0) continue;
    const auto effect = RotationOf(*Snapshot(), *keyring, keyring->Primary()->suite);
    const auto asked = key_ops_.Token(effect.generate->ref.token).Find(effect.generate->ref.key);
    if (!asked && state->tokens.contains(effect.generate->ref.token)) continue;  // away, and nobody else waits for it
    TRY_ASSIGN(const auto found, asked);
    Result<void> outcome;
    if (!found)
      outcome = Conflict("the rotation was cut off before the token did it", "interrupted");
    else if (!found->fault.empty())
      outcome = Integrity("the key that a cut-off rotation left in the token is not as asked for: " + found->fault,
                          "key-drift");
    TRY(SettleMandate(keyring->id, keyring->mandated, outcome));
    ++settled;
  }
  return settled;
}

Result<int> Governance::RunDueDestructions() {
  const MutexLock lock(mutex_);
  if (!clock_.Fault().empty()) return 0;
  TRY(ledger_.CheckSpace());
  const auto state = Snapshot();
  int done = 0;
  std::optional<Error> stuck;
  bool asked = false;
  std::set<std::string> away;  // further tokens that have not answered: each is waited for once
  // What came due while this was down goes a day after the start: time for people to see what the clock says.
  const bool watched = clock_.Now() - began_ >= kWatchFirst;
  for (const auto& due : DueDestructions(*state, clock_.Now())) {
    if (due.version->due < began_ && !watched) continue;
    const hsm::KeyRef ref{due.version->token, due.version->kek, due.version->suite};
    // What was on its way into the inventory when the version was given up is seen here at the latest.
    TRY_ASSIGN(const auto facts, FactsOf(*state, *due.keyring, *due.version));
    if (facts.records != 0) {
      stuck = Conflict(std::to_string(facts.records) + " wrapped DEKs of the inventory are under version " +
                           std::to_string(due.version->number) + " of '" + due.keyring->name +
                           "': cancel the destruction, or delete them",
                       "census-inventory");
      continue;
    }
    // Destroyed is governed, too: not while the main token is older than the database (Q16).
    if (!std::exchange(asked, true)) TRY(CheckTokenPresent());
    const bool further = state->tokens.contains(ref.token);
    if (away.contains(ref.token)) continue;
    const auto ended = EndAtToken(ref);
    if (!ended) {
      if (ended.error().Slug() == "destruction-not-due") continue;  // the token's host goes by its own clock
      if (further && ended.error().Slug() != "destruction-not-pending") {
        stuck = ended.error();
        away.insert(ref.token);
        continue;
      }
      // What a crash cut off after the token did it is done.
      if (ended.error().Slug() != "destruction-not-pending") return ended.error();
      const auto found = key_ops_.Token(ref.token).Find(ref.key);
      if (!found && further) {
        stuck = found.error();
        away.insert(ref.token);
        continue;
      }
      TRY_ASSIGN(const auto there, found);
      if (there) {
        stuck = ended.error();
        stuck->detail += ": cancel the destruction and propose it again";
        continue;
      }
    }
    TRY(RecordBodies(MovesOf(*Snapshot(), *due.keyring, *due.version, ledger::VersionMoved::To::kDestroyed, 0, {})));
    ++done;
  }
  if (stuck) return *stuck;
  return done;
}

// By the token's own record, which it judges again.
Result<void> Governance::EndAtToken(const hsm::KeyRef& key) {
  // One that was put back to an earlier time may wait for a destruction that was taken back since (Q16).
  if (!Snapshot()->tokens.contains(key.token)) TRY(CheckTokenPresent());
  TRY_ASSIGN(const auto record, key_ops_.Token(key.token).ReadLedgerRecord());
  TRY_ASSIGN(auto grant, crypto::GrantDestruction(record, key.key, crypto::EstimateTime(record, clock_)));
  return key_ops_.Destroy(std::move(grant), key);
}

// What is open is counted in the evidence when it closes: so much stays.
Result<std::optional<ledger::Head>> Governance::ArchivableBefore(const State& state, Millis time) const {
  TRY_ASSIGN(const auto signed_head, ledger_.LatestCheckpoint(ledger::Log::kEvidence));
  if (!signed_head) return std::optional<ledger::Head>();
  constexpr Millis kSlack = 1000;  // entries of one moment may stand in another order
  for (const auto& [id, opened] : state.break_glass)
    if (opened->closed == 0) time = std::min(time, opened->opened - kSlack);
  for (const auto& [key, emergency] : state.emergencies)
    if (emergency.closed == 0) time = std::min(time, emergency.opened - kSlack);
  // One after the other: where a clock was accepted times go back.
  auto size = ledger_.FirstStored(ledger::Log::kEvidence);
  std::optional<Error> unreadable;
  TRY(ledger_.Read(ledger::Log::kEvidence, size, [&](std::uint64_t index, ByteView raw) {
    const auto entry = ledger::DecodeEvidence(raw);
    if (!entry) unreadable = entry.error();
    if (!entry || entry->time >= time || index >= signed_head->size) return false;
    size = index + 1;
    return true;
  }));
  if (unreadable) return *unreadable;
  size -= size % crypto::kTileWidth;
  // The last entry stays: it tells what time it was.
  if (size == ledger_.HeadOf(ledger::Log::kEvidence).size && size > 0) size -= crypto::kTileWidth;
  if (size <= state.ledger.archived) return std::optional<ledger::Head>();
  TRY_ASSIGN(const auto root, ledger_.RootAt(ledger::Log::kEvidence, size));
  return std::optional<ledger::Head>({size, root});
}

Result<void> Governance::CheckArchive(const State& state, const crypto::ProposalText& proposal) const {
  TRY_ASSIGN(const auto asked, ArchiveOf(proposal));
  const auto before = ParseTime(proposal.params.at("before"));
  if (!before) return Invalid("the proposal names no time");
  TRY_ASSIGN(const auto most, ArchivableBefore(state, *before));
  if (!most || most->size < asked.size)
    return Conflict("something is open that has to be counted in this evidence: close it first", "evidence-in-use");
  TRY_ASSIGN(const auto root, ledger_.RootAt(ledger::Log::kEvidence, asked.size));
  if (root != asked.root) return Conflict("the evidence is another by now: propose again", "stale");
  return {};
}

Result<void> Governance::TrimArchived() {
  const MutexLock lock(mutex_);
  constexpr auto kMoment = std::chrono::milliseconds(200);
  const auto until = std::chrono::steady_clock::now() + kMoment;
  while (std::chrono::steady_clock::now() < until) {
    const auto before = ledger_.FirstStored(ledger::Log::kEvidence);
    ledger::Submission submission;
    submission.trim = Snapshot()->ledger.archived;
    if (submission.trim <= before) return {};
    // Not before a signed head says so: who exports meanwhile could not show why something is missing.
    if (archive_seen_ != submission.trim) {
      archive_seen_ = submission.trim;
      archive_seen_at_ = ledger_.HeadOf(ledger::Log::kControl).size;
    }
    TRY_ASSIGN(const auto signed_head, ledger_.LatestCheckpoint(ledger::Log::kControl));
    if (!signed_head || signed_head->size < archive_seen_at_) return {};
    TRY(ledger_.Record(std::move(submission)));
    if (ledger_.FirstStored(ledger::Log::kEvidence) == before) return {};
  }
  return {};
}

std::vector<std::string> Governance::Overdue() const {
  std::vector<std::string> overdue;
  const auto state = Snapshot();
  const auto now = clock_.Now();
  for (const auto& [name, keyring] : state->keyrings)
    if (IsOverdue(*keyring, now)) overdue.push_back(name);
  return overdue;
}

bool Governance::EnforcedOverdue(std::string_view name) const {
  const auto state = Snapshot();
  const auto* keyring = state->FindKeyring(name);
  return keyring != nullptr && keyring->policy.enforce && IsOverdue(*keyring, clock_.Now());
}

}  // namespace strongroom::appliance
