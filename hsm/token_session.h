#pragma once
// One PKCS#11 session and what is done on it: the operations of both suites, looking keys up, judging failures.

#include <atomic>
#include <functional>
#include <map>
#include <set>

#include "crypto/base/mutex.h"
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
};

/// SharedKeys is what the sessions of one host know together: handles of KEKs that were looked up and judged, and
/// whether the token has failed. Thread-safe.
class SharedKeys {
 public:
  std::optional<CK_OBJECT_HANDLE> Find(const crypto::KeyId& key) const EXCLUDES(mutex_);
  void Keep(const crypto::KeyId& key, CK_OBJECT_HANDLE handle) EXCLUDES(mutex_);
  /// Seen tells whether the host has found this key before, whether or not its handle is still known.
  bool Seen(const crypto::KeyId& key) const EXCLUDES(mutex_);
  void ForgetHandle(const crypto::KeyId& key) EXCLUDES(mutex_);
  void ForgetHandles() EXCLUDES(mutex_);
  /// Forget is for a key that is about to be destroyed: from here on no session keeps a handle of it, and none takes
  /// its absence for a fault. Recall is for one that could not be.
  void Forget(const crypto::KeyId& key) EXCLUDES(mutex_);
  void Recall(const crypto::KeyId& key) EXCLUDES(mutex_);

  void Break() { broken_ = true; }
  bool Broken() const { return broken_; }
  void Count() { ++operations_; }
  std::uint64_t Operations() const { return operations_; }

 private:
  mutable Mutex mutex_;
  std::map<crypto::KeyId, CK_OBJECT_HANDLE> handles_ GUARDED_BY(mutex_);
  std::set<crypto::KeyId> seen_ GUARDED_BY(mutex_);
  std::set<crypto::KeyId> gone_ GUARDED_BY(mutex_);
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
  Result<CK_OBJECT_HANDLE> Locate(const KeyRef& ref);
  Result<std::vector<CK_OBJECT_HANDLE>> FindObjects(std::vector<Attribute> pattern, std::size_t most);
  Result<std::vector<Attribute>> ReadAttributes(CK_OBJECT_HANDLE object, const std::vector<CK_ATTRIBUTE_TYPE>& types);
  /// ReadKeys returns every secret-key object that lives in the token, judged.
  Result<std::vector<KeyRecord>> ReadKeys();
  /// KnownAnswers runs known answers of both suites through the token (K9).
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
  Result<Bytes> WrapDek(const KeyRef& key, ByteView dek, const crypto::Digest& context);
  Result<SecretBytes> UnwrapDek(const KeyRef& key, ByteView blob, crypto::Digest& context);
  // Transit is an object that lives on this session for one operation, and goes with it when the session is replaced:
  // then its number may be another object's.
  struct Transit {
    CK_OBJECT_HANDLE handle;
    std::uint64_t session;  // which of those that this has had
  };
  Result<Bytes> WrapObject(CK_OBJECT_HANDLE kek, const Transit& object);
  Result<Transit> UnwrapObject(const KeyRef& key, ByteView blob, bool readable);
  Result<Transit> CreateTransit(ByteView value, CK_KEY_TYPE type, CK_ATTRIBUTE_TYPE use);
  void DestroyTransit(const Transit& object);
  Result<Bytes> GcmEncrypt(CK_OBJECT_HANDLE kek, ByteView iv, ByteView aad, ByteView plain);
  Result<std::array<std::uint8_t, 16>> TokenRandom();
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
