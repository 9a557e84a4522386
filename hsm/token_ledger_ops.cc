// What TokenKeyOps does with the ledger's record and keys in its token; the judgement is checkpoint_signer.h's.

#include <unistd.h>

#include "hsm/token_key_ops.h"

namespace strongroom::hsm {
namespace {
constexpr Millis kMostStep = 15'000;
constexpr Millis kKnownFor = 2'000;  // another host may have changed the record
}  // namespace

Error TokenKeyOps::SignerFault(Error error) {
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
    return signer_.Sign(control_.session(), head, proof, clock_.Now());
  });
}

Result<std::vector<CheckpointKey>> TokenKeyOps::CheckpointKeys() {
  return OnLedgerRecord(
      [&]() STRONGROOM_TSA(no_thread_safety_analysis) { return signer_.Keys(control_.session(), clock_.Now()); });
}

Result<crypto::LedgerRecord> TokenKeyOps::ReadLedgerRecord() {
  return OnLedgerRecord([&]() STRONGROOM_TSA(no_thread_safety_analysis) { return signer_.Record(control_.session()); });
}

Result<void> TokenKeyOps::ChangeLedgerRecord(crypto::ExecutionGrant grant) {
  const auto used = std::move(grant);
  if (!crypto::NamesToken(used.proposal(), token_.identity.serial) &&
      (token_.group.empty() || !crypto::NamesToken(used.proposal(), token_.group)))
    return Forbidden("the votes are for another token than " + token_.identity.serial, "grant-mismatch");
  TRY(CheckEnrolment(used.proposal(), token_.identity));
  return OnLedgerRecord([&]() STRONGROOM_TSA(no_thread_safety_analysis) -> Result<void> {
    if (clock_.Now() > used.proposal().execute_by) {
      const Error expired = Expired("the proposal's time for execution has passed", "proposal-expired");
      if (used.proposal().operation != "roster.change") return expired;
      TRY_ASSIGN(const auto record, signer_.Record(control_.session()));
      if (!crypto::MayComeLate(record, used.proposal(), clock_.Now())) return expired;
    }
    TRY_ASSIGN(const auto keys, control_.ReadKeys());
    TRY(CheckChangeNamesKeyring(used.proposal(), keys));
    if (EnrolsEmpty(used.proposal()) && !keys.empty()) {
      TRY_ASSIGN(const auto record, signer_.Record(control_.session()));
      if (!record.custody.further)
        return Forbidden("an appliance's token is enrolled empty, and this one has keys", "token-inventory");
    }
    auto changed = signer_.Change(control_.session(), used, clock_.Now());
    if (changed) sync();  // SoftHSM does not sync what it writes, and this is not to be forgotten in a power cut
    return changed;
  });
}

// What is allowed is remembered; what is not may have been allowed by another host meanwhile.
Result<void> TokenKeyOps::MayRelease(const KeyRef& key, const std::string& to) {
  return OnLedgerRecord([&]() STRONGROOM_TSA(no_thread_safety_analysis) -> Result<void> {
    const auto now = clock_.Now();
    const bool fresh = known_ && clock_.Steady() - known_at_ < kKnownFor;
    if (fresh && crypto::JudgeRelease(*known_, key.key, to, now)) return {};
    TRY_ASSIGN(known_, signer_.Record(control_.session()));
    known_at_ = clock_.Steady();
    return crypto::JudgeRelease(*known_, key.key, to, now);
  });
}

// A clock that was set while this host runs brings nothing nearer.
Result<void> TokenKeyOps::CheckCourse() const {
  const auto off = (clock_.Now() - began_host_) - (clock_.Steady() - began_steady_);
  if (off > kMostStep || off < -kMostStep)
    return Unavailable("the host's clock was set by " + std::to_string(off / 1000) +
                           " s since it began: nothing is destroyed by it until the host is started again",
                       "clock-stepped");
  return {};
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
    TRY(CheckCourse());
    TRY(signer_.JudgeDestruction(control_.session(), key.key, clock_.Now(), clock_.Steady()));
    // The key first: one that is gone while its record says that it may go is found by the next attempt.
    TRY_ASSIGN(const auto found,
               control_.FindObjects(
                   {UlongAttribute(CKA_CLASS, CKO_SECRET_KEY), {CKA_ID, Bytes(key.key.begin(), key.key.end())}}, 2));
    shared_.Forget(key.key);
    for (const auto object : found)
      if (const CK_RV rv = module_->fn().C_DestroyObject(control_.session().handle(), object); rv != CKR_OK) {
        shared_.Recall(key.key);
        return control_.Fault(rv, "C_DestroyObject", nullptr);
      }
    TRY(signer_.Forget(control_.session(), key.key));
    sync();
    return {};
  });
}

Result<void> TokenKeyOps::CancelDestruction(const KeyRef& key) {
  if (!token_.IsNamed(key.token)) return NotFound("this host serves token " + token_.identity.serial, "key-missing");
  return OnLedgerRecord([&]() STRONGROOM_TSA(no_thread_safety_analysis) -> Result<void> {
    shared_.Count();
    TRY(signer_.Forget(control_.session(), key.key));
    sync();
    return {};
  });
}

}  // namespace strongroom::hsm
