// What TokenKeyOps does with the ledger's record and keys in its token; the judgement is checkpoint_signer.h's.

#include <unistd.h>

#include "hsm/token_key_ops.h"
#include "hsm/vote_checks.h"

namespace strongroom::hsm {
namespace {
constexpr Millis kChainFor = 10 * crypto::kMinute;  // of our own time
constexpr Millis kKnownFor = 2'000;                 // another host may have changed the record
}  // namespace

Error TokenKeyOps::SignerFault(Error error) {
  // A write whose fate is not known, or another writer: this host does nothing more.
  if (signer_.store().ended()) {
    superseded_ = signer_.store().superseded();
    shared_.Break();
    return error;
  }
  if (error.ck_rv == CKR_OK) return error;
  return control_.Fault(error.ck_rv, error.where, nullptr);
}

template <class Call>
auto TokenKeyOps::OnLedgerRecord(Call call) -> decltype(call()) {
  const MutexLock lock(mutex_);
  if (Broken()) return Unavailable("the token has failed; its host is being replaced");
  auto done = call();
  if (!done) return SignerFault(std::move(done).error());
  return done;
}

Result<std::vector<CheckpointSignature>> TokenKeyOps::SignCheckpoint(const crypto::Checkpoint& head,
                                                                     std::span<const crypto::Digest> proof) {
  return OnLedgerRecord([&]() STRONGROOM_TSA(no_thread_safety_analysis) {
    shared_.Count();  // it makes and destroys objects like any other
    return signer_.Sign(control_.session(), head, proof);
  });
}

Result<std::vector<CheckpointKey>> TokenKeyOps::CheckpointKeys() {
  return OnLedgerRecord([&]() STRONGROOM_TSA(no_thread_safety_analysis) { return signer_.Keys(control_.session()); });
}

Result<crypto::LedgerRecord> TokenKeyOps::ReadLedgerRecord() {
  return OnLedgerRecord([&]() STRONGROOM_TSA(no_thread_safety_analysis) { return Learn(); });
}

Result<crypto::LedgerRecord> TokenKeyOps::Learn() {
  TRY_ASSIGN(auto record, signer_.Record(control_.session()));
  shared_.SetPending(record);
  return record;
}

Result<void> TokenKeyOps::ChangeLedgerRecord(crypto::ExecutionGrant grant) {
  const auto used = std::move(grant);
  TRY_ASSIGN(const auto operation, crypto::OperationOf(used.proposal()));
  return OnLedgerRecord([&]() STRONGROOM_TSA(no_thread_safety_analysis) -> Result<void> {
    TRY_ASSIGN(const auto next, JudgeChange(used));
    if (operation == crypto::Operation::kLedgerAdopt) {
      if (const auto& chain = Chain()) TRY(chain_file_.Continue(chain->roster(), chain->steps()));
      TRY(signer_.Adopt(control_.session(), used, Chain()));
    } else {
      // The copy first, and only what would be carried out: a step too many is cut off by the next one.
      if (operation == crypto::Operation::kRosterChange)
        TRY(chain_file_.Append(used.roster_text(), next.custody.roster_version, {used.text(), used.votes()}));
      TRY(signer_.Change(control_.session(), used));
    }
    // One that began before this change leads nowhere from here.
    chain_.reset();
    (void)Learn();
    sync();  // SoftHSM does not sync what it writes, and this is not to be forgotten in a power cut
    return {};
  });
}

// Whether an approved change would be carried out here, up to its first write; the record as it would be.
Result<crypto::LedgerRecord> TokenKeyOps::JudgeChange(const crypto::ExecutionGrant& used) {
  TRY(CheckMayChange(used.proposal()));
  if (!token_.IsNamed(used.proposal()))
    return Forbidden("the votes are for another token than " + token_.identity.serial, "grant-mismatch");
  TRY(CheckEnrolment(used.proposal(), token_.identity));
  TRY_ASSIGN(const auto keys, control_.ReadKeys());
  TRY(CheckChangeNamesKeyring(used.proposal(), keys));
  if (EnrolsEmpty(used.proposal()) && !keys.empty()) {
    TRY_ASSIGN(const auto record, signer_.Record(control_.session()));
    if (!record.custody.further)
      return Forbidden("an appliance's token is enrolled empty, and this one has keys", "token-inventory");
  }
  return signer_.Judge(control_.session(), used, Chain());
}

const std::optional<crypto::ChainWalk>& TokenKeyOps::Chain() {
  if (chain_ && clock_.Watched() - chain_at_ > kChainFor) chain_.reset();
  return chain_;
}

Result<RecordToAdopt> TokenKeyOps::ReadRecordToAdopt() {
  return OnLedgerRecord([&]() STRONGROOM_TSA(no_thread_safety_analysis) -> Result<RecordToAdopt> {
    TRY_ASSIGN(auto to, signer_.store().ReadToAdopt(control_.session()));
    return RecordToAdopt{std::move(to.record), to.lost     ? AdoptedFrom::kLost
                                               : to.forked ? AdoptedFrom::kForked
                                                           : AdoptedFrom::kInForce};
  });
}

Result<void> TokenKeyOps::JudgeProposal(crypto::ExecutionGrant grant) {
  const auto asked = std::move(grant);
  TRY_ASSIGN(const auto operation, crypto::OperationOf(asked.proposal()));
  return OnLedgerRecord([&]() STRONGROOM_TSA(no_thread_safety_analysis) -> Result<void> {
    // A keyring's move is a change of the token that it leaves and a KEK in the one that it goes to.
    const bool changes =
        crypto::MayChangeRecord(operation) && (!crypto::MayGenerate(operation) || token_.IsNamed(asked.proposal()));
    if (changes)
      TRY(JudgeChange(asked));
    else
      TRY(signer_.JudgeSpending(control_.session(), asked));
    return {};
  });
}

Result<crypto::RosterMark> TokenKeyOps::AdoptionRoster() {
  return OnLedgerRecord([&]() STRONGROOM_TSA(no_thread_safety_analysis) -> Result<crypto::RosterMark> {
    TRY_ASSIGN(const auto start, signer_.ChainStart(control_.session()));
    if (const auto& chain = Chain(); chain && chain->BeginsAt(start))
      return crypto::RosterMark{chain->roster().version(), chain->roster().hash()};
    return start;
  });
}

Result<void> TokenKeyOps::BeginChain(const std::string& roster) {
  return OnLedgerRecord([&]() STRONGROOM_TSA(no_thread_safety_analysis) -> Result<void> {
    chain_.reset();
    TRY_ASSIGN(const auto from, signer_.ChainStart(control_.session()));
    TRY_ASSIGN(auto walk, crypto::ChainWalk::Begin(from, roster));
    chain_.emplace(std::move(walk));
    chain_at_ = clock_.Watched();
    return {};
  });
}

Result<void> TokenKeyOps::AddChainStep(const crypto::RosterStep& step) {
  return OnLedgerRecord([&]() STRONGROOM_TSA(no_thread_safety_analysis) -> Result<void> {
    if (!Chain()) return Invalid("a chain of rosters is begun first");
    auto stepped = chain_->Step(step);
    if (!stepped) chain_.reset();
    return stepped;
  });
}

Result<void> TokenKeyOps::BringChain(const crypto::RosterChain& chain) {
  TRY(BeginChain(chain.first));
  for (const auto& step : chain.steps) TRY(AddChainStep(step));
  return {};
}

Result<crypto::RosterChain> TokenKeyOps::ReadChain() {
  const MutexLock lock(mutex_);
  return chain_file_.Read();
}

// What is allowed is remembered; what is not may have been allowed by another host meanwhile.
Result<void> TokenKeyOps::MayRelease(const KeyRef& key, const std::string& to) {
  return OnLedgerRecord([&]() STRONGROOM_TSA(no_thread_safety_analysis) -> Result<void> {
    const bool fresh = known_ && clock_.Steady() - known_at_ < kKnownFor;
    if (fresh && crypto::JudgeRelease(*known_, key.key, to, signer_.store().Time(*known_))) return {};
    TRY_ASSIGN(known_, Learn());
    known_at_ = clock_.Steady();
    return crypto::JudgeRelease(*known_, key.key, to, signer_.store().Time(*known_));
  });
}

Result<void> TokenKeyOps::Destroy(crypto::StandingGrant grant, const KeyRef& key) {
  const auto used = std::move(grant);
  TRY(CheckStanding(used, key, /*destroys=*/true));
  if (!token_.IsNamed(key.token)) return NotFound("this host serves token " + token_.identity.serial, "key-missing");
  // No operation is under way on another session: SoftHSM ends its process when a key goes that one of them uses.
  std::optional<SessionLanes::Still> still;
  if (lanes_) still.emplace(*lanes_);
  const MutexLock one(worker_mutex_);
  return OnLedgerRecord([&]() STRONGROOM_TSA(no_thread_safety_analysis) -> Result<void> {
    shared_.Count();
    // Written before it is done: whoever comes later only finishes it, and nobody cancels what has begun.
    TRY(signer_.BeginDestruction(control_.session(), key.key));
    TRY(control_.DestroyKek(key.key));
    TRY(signer_.Forget(control_.session(), key.key));
    (void)Learn();
    sync();
    return {};
  });
}

Result<void> TokenKeyOps::CancelDestruction(const KeyRef& key) {
  if (!token_.IsNamed(key.token)) return NotFound("this host serves token " + token_.identity.serial, "key-missing");
  return OnLedgerRecord([&]() STRONGROOM_TSA(no_thread_safety_analysis) -> Result<void> {
    shared_.Count();
    TRY(signer_.Cancel(control_.session(), key.key));
    (void)Learn();
    sync();
    return {};
  });
}

}  // namespace strongroom::hsm
