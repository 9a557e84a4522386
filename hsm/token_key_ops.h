#pragma once
// KeyOps in this process, straight on a PKCS#11 module: what a token host runs.

#include <map>
#include <memory>
#include <set>

#include "crypto/base/clock.h"
#include "crypto/base/mutex.h"
#include "hsm/checkpoint_signer.h"
#include "hsm/key_ops.h"
#include "hsm/key_template.h"
#include "hsm/module.h"
#include "hsm/profile.h"

namespace strongroom::hsm {

/// TokenKeyOps serves one token with three sessions: a keeper that stays logged in, one for the operations of services,
/// and one that is reserved for control (P2). A call holds its session from start to end (P1); calls from several
/// threads queue. After a device-level fault `Broken()` is true and stays so: the process is to
/// be replaced, some modules heal only by being loaded anew.
class TokenKeyOps final : public KeyOps {
 public:
  /// Open loads the module, finds the token, reads the PIN file, logs in once and runs the self-test. Fails with
  /// kPinRejected (do not try again; also when the token reports a low PIN count, unless `pin_count_may_be_low`, which
  /// an operator asks for after correcting the PIN file: P8), kNotFound (no such token), kInvalid (configuration),
  /// kTokenFault.
  static Result<std::unique_ptr<TokenKeyOps>> Open(TokenUri uri, const Clock& clock, bool pin_count_may_be_low = false);

  std::vector<Result<KeyOpOutput>> Execute(std::span<const KeyOp> ops) override EXCLUDES(mutex_);
  Result<void> Generate(crypto::ExecutionGrant grant, const KeySpec& spec) override EXCLUDES(mutex_);
  Result<std::vector<KeyRecord>> Inventory() override EXCLUDES(mutex_);
  Result<void> SelfTest() override EXCLUDES(mutex_);
  Result<TokenIdentity> Identity() override EXCLUDES(mutex_);
  Result<std::vector<CheckpointSignature>> SignCheckpoint(const crypto::Checkpoint& head,
                                                          std::span<const crypto::Digest> proof) override
      EXCLUDES(mutex_);
  Result<std::vector<CheckpointKey>> CheckpointKeys() override EXCLUDES(mutex_);
  Result<crypto::LedgerRecord> ReadLedgerRecord() override EXCLUDES(mutex_);
  Result<void> ChangeLedgerRecord(crypto::ExecutionGrant grant) override EXCLUDES(mutex_);
  Result<void> GenerateByMandate(crypto::StandingGrant grant, const KeySpec& spec) override EXCLUDES(mutex_);
  Result<void> Destroy(crypto::StandingGrant grant, const KeyRef& key) override EXCLUDES(mutex_);
  Result<void> CancelDestruction(const KeyRef& key) override EXCLUDES(mutex_);

  bool Broken() const EXCLUDES(mutex_);
  /// Operations counts what has been executed since Open.
  std::uint64_t Operations() const EXCLUDES(mutex_);

 private:
  TokenKeyOps(std::unique_ptr<Module> module, TokenUri uri, CK_SLOT_ID slot, VendorProfile profile,
              TokenIdentity identity, Session keeper, Session worker, Session control, const Clock& clock);

  // OnControl puts the calls of its scope on the control session.
  class OnControl {
   public:
    explicit OnControl(TokenKeyOps& ops) STRONGROOM_TSA(no_thread_safety_analysis) : ops_(ops) {
      ops_.at_ = &ops_.control_;
    }
    ~OnControl() STRONGROOM_TSA(no_thread_safety_analysis) { ops_.at_ = &ops_.worker_; }
    OnControl(const OnControl&) = delete;
    OnControl& operator=(const OnControl&) = delete;

   private:
    TokenKeyOps& ops_;
  };
  // Runs a call of the signer on the control session.
  template <class Call>
  auto OnLedgerRecord(Call call) -> decltype(call());
  // Judges the failure of a call that the signer made.
  template <class Spend>
  Result<void> Make(const std::string& keyring, const KeySpec& spec, Spend spend) EXCLUDES(mutex_);
  Result<std::vector<KeyRecord>> ReadKeys() REQUIRES(mutex_);
  Result<void> CheckCourse() const;
  Error SignerFault(Error error) REQUIRES(mutex_);
  Result<KeyOpOutput> Run(const WrapOp& op) REQUIRES(mutex_);
  Result<KeyOpOutput> Run(const UnwrapOp& op) REQUIRES(mutex_);
  Result<KeyOpOutput> Run(const RewrapOp& op) REQUIRES(mutex_);
  Result<KeyOpOutput> Run(const DataKeyOp& op) REQUIRES(mutex_);

  Result<Bytes> WrapDek(const KeyRef& key, ByteView dek, const crypto::Digest& context) REQUIRES(mutex_);
  Result<SecretBytes> UnwrapDek(const KeyRef& key, ByteView blob, crypto::Digest& context) REQUIRES(mutex_);
  Result<Bytes> WrapObject(CK_OBJECT_HANDLE kek, CK_OBJECT_HANDLE object) REQUIRES(mutex_);
  Result<CK_OBJECT_HANDLE> UnwrapObject(const KeyRef& key, ByteView blob, bool readable) REQUIRES(mutex_);
  Result<CK_OBJECT_HANDLE> CreateTransit(ByteView value, CK_KEY_TYPE type, CK_ATTRIBUTE_TYPE use) REQUIRES(mutex_);
  void DestroyTransit(CK_OBJECT_HANDLE object) REQUIRES(mutex_);
  Result<Bytes> GcmEncrypt(CK_OBJECT_HANDLE kek, ByteView iv, ByteView aad, ByteView plain) REQUIRES(mutex_);
  Result<std::array<std::uint8_t, 16>> TokenRandom() REQUIRES(mutex_);

  Result<CK_OBJECT_HANDLE> Locate(const KeyRef& ref) REQUIRES(mutex_);
  Result<std::vector<CK_OBJECT_HANDLE>> FindObjects(std::vector<Attribute> pattern, std::size_t most) REQUIRES(mutex_);
  Result<std::vector<Attribute>> ReadAttributes(CK_OBJECT_HANDLE object, const std::vector<CK_ATTRIBUTE_TYPE>& types)
      REQUIRES(mutex_);
  // Judges a failed call and heals what can be healed: a new session, a forgotten handle. `key` is the KEK involved.
  Error Fault(CK_RV rv, const char* call, const KeyRef* key) REQUIRES(mutex_);
  // Turns a refusal of the caller's blob into kUnwrapFailed, after making sure that the token is not the one at fault.
  Error BlobRefused(CK_RV rv, const char* call, const KeyRef& key) REQUIRES(mutex_);
  Result<void> KnownAnswers() REQUIRES(mutex_);

  const std::unique_ptr<Module> module_;
  const TokenUri uri_;
  const CK_SLOT_ID slot_;
  const VendorProfile profile_;
  const TokenIdentity identity_;
  const Clock& clock_;
  const Millis began_host_, began_steady_;  // both clocks when this host began

  mutable Mutex mutex_;
  Session keeper_ GUARDED_BY(mutex_);
  Session worker_ GUARDED_BY(mutex_);
  Session control_ GUARDED_BY(mutex_);
  Session* at_ GUARDED_BY(mutex_) = &worker_;  // the session of the call under way
  std::uint64_t operations_ GUARDED_BY(mutex_) = 0;
  CheckpointSigner signer_ GUARDED_BY(mutex_);
  std::map<crypto::KeyId, CK_OBJECT_HANDLE> handles_ GUARDED_BY(mutex_);
  std::set<crypto::KeyId> seen_ GUARDED_BY(mutex_);  // keys that this host has found before
  bool broken_ GUARDED_BY(mutex_) = false;
};

}  // namespace strongroom::hsm
