#pragma once
// One PKCS#11 session and what is done on it: the operations of both suites, looking keys up, judging failures.

#include <atomic>
#include <functional>
#include <map>
#include <set>

#include "crypto/base/mutex.h"
#include "hsm/find_objects.h"
#include "hsm/key_ops.h"
#include "hsm/key_template.h"
#include "hsm/module.h"
#include "hsm/profile.h"

namespace strongroom::hsm {

/// OpenToken is a token that a host has opened. Constant; outlives the sessions.
struct OpenToken {
  const Module& module;
  const CK_SLOT_ID slot;
  const VendorProfile profile;
  const TokenIdentity identity;
  const std::string group;  // the serial number that its group is named by, empty when it is the member of none
  /// IsNamed tells whether a serial number is this token's, or its group's.
  bool IsNamed(const std::string& serial) const {
    return serial == identity.serial || (!group.empty() && serial == group);
  }
  /// The same of a proposal that names the tokens it is for.
  bool IsNamed(const crypto::ProposalText& proposal) const {
    return crypto::NamesToken(proposal, identity.serial) || (!group.empty() && crypto::NamesToken(proposal, group));
  }
};

/// SharedKeys is what the sessions of one host know together: handles of KEKs that were looked up and judged, and
/// whether the token has failed. Thread-safe.
class SharedKeys {
 public:
  /// Known is a handle, and what the key behind it was judged as: it is used as nothing else (K12).
  struct Known {
    CK_OBJECT_HANDLE handle = 0;
    crypto::Suite suite = crypto::Suite::kKwp;
  };
  std::optional<Known> Find(const crypto::KeyId& key) const EXCLUDES(mutex_);
  void Keep(const KeyRef& key, CK_OBJECT_HANDLE handle) EXCLUDES(mutex_);
  /// Seen tells whether the host has found this key before, whether or not its handle is still known.
  bool Seen(const crypto::KeyId& key) const EXCLUDES(mutex_);
  void ForgetHandle(const crypto::KeyId& key) EXCLUDES(mutex_);
  void ForgetHandles() EXCLUDES(mutex_);
  /// Forget is for a key that is about to be destroyed: from here on no session keeps a handle of it, and none takes
  /// its absence for a fault. Recall is for one that could not be.
  void Forget(const crypto::KeyId& key) EXCLUDES(mutex_);
  void Recall(const crypto::KeyId& key) EXCLUDES(mutex_);
  /// Drew takes the digest of what begins a draw of random bytes; false when the draw before it, on whichever session,
  /// began with the same.
  bool Drew(const crypto::Digest& beginning) EXCLUDES(mutex_);
  /// SetPending takes over which KEKs the custody record, as last read, has given up. CheckNotPending: they wrap
  /// nothing, and still unwrap. kConflict (key-pending).
  void SetPending(const crypto::LedgerRecord& record) EXCLUDES(mutex_);
  Result<void> CheckNotPending(const crypto::KeyId& key) const EXCLUDES(mutex_);

  void Break() { broken_ = true; }
  bool Broken() const { return broken_; }
  void Count() { ++operations_; }
  std::uint64_t Operations() const { return operations_; }

 private:
  mutable Mutex mutex_;
  std::map<crypto::KeyId, Known> handles_ GUARDED_BY(mutex_);
  std::set<crypto::KeyId> seen_ GUARDED_BY(mutex_);
  std::set<crypto::KeyId> gone_ GUARDED_BY(mutex_);
  std::set<crypto::KeyId> pending_ GUARDED_BY(mutex_);
  crypto::Digest drawn_ GUARDED_BY(mutex_){};
  std::atomic<bool> broken_{false};
  std::atomic<std::uint64_t> operations_{0};
};

/// TokenSession runs one operation at a time on a session of its own, from start to end (P1). Use by one thread at a
/// time. A session that is lost is replaced; a token that has failed is marked broken and its host is to be replaced.
class TokenSession {
 public:
  /// Probe asks the token on another session whether it still has a key: SoftHSM says CKR_GENERAL_ERROR to bad
  /// ciphertext and to a vanished token alike. kNotFound when it has not.
  using Probe = std::function<Result<void>(const KeyRef&)>;
  /// MayRelease asks the custody record, on another session, whether a KEK's DEKs may be opened for another token.
  using MayRelease = std::function<Result<void>(const KeyRef&, const std::string& to)>;
  TokenSession(const OpenToken& token, SharedKeys& shared, Session session, Probe probe, MayRelease may_release)
      : token_(token),
        shared_(shared),
        session_(std::move(session)),
        probe_(std::move(probe)),
        may_release_(std::move(may_release)) {}

  /// Execute runs one operation, unless the token is broken or the operation's deadline has passed (P4).
  Result<KeyOpOutput> Execute(const KeyOp& op);

  const Session& session() const { return session_; }
  /// Has tells whether the token has a KEK, without judging it: kNotFound when not.
  Result<void> Has(const KeyRef& ref);
  /// Locate returns a KEK's handle, judged (K2). kNotFound (key-missing), kIntegrity (key-drift), kInvalid (key-suite)
  /// for one that is of another suite than whoever asked has said.
  Result<CK_OBJECT_HANDLE> Locate(const KeyRef& ref);
  /// FindObjects finds all that match, as FindAll does.
  Result<std::vector<CK_OBJECT_HANDLE>> FindObjects(std::vector<Attribute> pattern, std::size_t most = kMostFound);
  /// TakeKek judges a KEK that was generated a moment ago, found by its CKA_ID and not by the handle that the token
  /// gave (K2): one of that id, with every attribute as asked for, whose value is not told. Else it is destroyed, by
  /// its CKA_ID again, and the answer is kIntegrity (key-drift), or token-lies; kUnavailable when it is not known to be
  /// gone.
  Result<void> TakeKek(const KeyRef& ref);
  /// DestroyKek destroys every secret key with a KEK's CKA_ID and looks afterwards: token-lies when one is still there.
  Result<void> DestroyKek(const crypto::KeyId& key);
  Result<std::vector<Attribute>> ReadAttributes(CK_OBJECT_HANDLE object, const std::vector<CK_ATTRIBUTE_TYPE>& types);
  /// ReadKeys returns every secret-key object that lives in the token, judged.
  Result<std::vector<KeyRecord>> ReadKeys();
  /// KnownAnswers runs known answers of both suites through the token (K9), and looks whether its generator repeats and
  /// whether it keeps to itself what it was asked to (K12).
  Result<void> KnownAnswers();
  /// Fault judges a failed call and heals what can be healed: a new session, a forgotten handle. `key` is the KEK
  /// involved, if one is.
  Error Fault(CK_RV rv, const char* call, const KeyRef* key);

 private:
  Result<KeyOpOutput> Run(const WrapOp& op);
  Result<KeyOpOutput> Run(const UnwrapOp& op);
  Result<KeyOpOutput> Run(const RewrapOp& op);
  Result<KeyOpOutput> Run(const DataKeyOp& op);
  Result<KeyOpOutput> Run(const ReleaseOp& op);
  Result<KeyOpOutput> Run(const AdmitOp& op);
  Result<Bytes> WrapDek(const KeyRef& key, ByteView dek, const crypto::Digest& context);
  Result<SecretBytes> UnwrapDek(const KeyRef& key, ByteView blob, crypto::Digest& context);
  // Transit is an object that lives on this session for one operation, and goes with it when the session is replaced:
  // then its number may be another object's.
  struct Transit {
    CK_OBJECT_HANDLE handle;
    std::uint64_t session;  // which of those that this has had
  };
  // `size` is what the value and RFC 5649 make of it.
  Result<Bytes> WrapObject(CK_OBJECT_HANDLE kek, const Transit& object, std::size_t size);
  Result<Transit> UnwrapObject(const KeyRef& key, ByteView blob, bool readable);
  Result<Transit> CreateTransit(ByteView value, CK_KEY_TYPE type, CK_ATTRIBUTE_TYPE use);
  void DestroyTransit(const Transit& object);
  Result<Bytes> GcmEncrypt(CK_OBJECT_HANDLE kek, ByteView iv, ByteView aad, ByteView plain);
  Result<std::array<std::uint8_t, 16>> TokenRandom();
  // Fills `out` from the token's generator and compares what came with what came before it.
  Result<void> DrawRandom(std::span<std::uint8_t> out);
  Result<void> ProbeTransit();
  Result<void> ProbeDamaged();
  Error Judged(Error error);
  // Turns a refusal of the caller's blob into kUnwrapFailed, after making sure that the token is not the one at fault.
  Error BlobRefused(CK_RV rv, const char* call, const KeyRef& key);

  const OpenToken& token_;
  SharedKeys& shared_;
  Session session_;
  std::uint64_t sessions_ = 1;  // had so far
  const Probe probe_;
  const MayRelease may_release_;
  std::array<std::uint8_t, 1024> random_{};  // the token's, for IVs and payloads; each byte serves once
  std::size_t random_left_ = 0;              // in pieces of 16
};

}  // namespace strongroom::hsm
