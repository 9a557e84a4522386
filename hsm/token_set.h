#pragma once
// Several tokens behind one port: the main one, and further ones by their serial numbers.

#include <map>
#include <memory>
#include <set>
#include <string>

#include "crypto/base/mutex.h"
#include "hsm/key_ops.h"

namespace strongroom::hsm {

/// TokenDoors says which further tokens are enrolled, and which of those may be used for services' operations: closed
/// until somebody has verified them. Thread-safe.
class TokenDoors {
 public:
  /// SetEnrolled names all that are enrolled; the doors of others close.
  void SetEnrolled(std::set<std::string, std::less<>> serials) EXCLUDES(mutex_);
  void Open(const std::string& serial, bool open) EXCLUDES(mutex_);
  bool IsEnrolled(std::string_view serial) const EXCLUDES(mutex_);
  /// Any tells whether any token is enrolled.
  bool Any() const EXCLUDES(mutex_);
  bool IsOpen(std::string_view serial) const EXCLUDES(mutex_);

 private:
  mutable Mutex mutex_;
  std::map<std::string, bool, std::less<>> doors_ GUARDED_BY(mutex_);
};

/// TokenSet brings each operation to the token of its KEK; one whose door is closed answers kUnavailable
/// (token-not-verified), one that is not connected kUnavailable (token-not-connected), and never another in its place.
/// An operation between two tokens is two: the DEK is opened in the one, while its custody record allows that
/// (ReleaseOp), and wrapped in the other. What names no token goes to the main one; Token() is the way to a further
/// one. A serial number that is no enrolled or connected token's is the main one's to judge. Thread-safe.
class TokenSet final : public KeyOps {
 public:
  using Tokens = std::map<std::string, std::unique_ptr<KeyOps>, std::less<>>;
  /// `main` and `doors` must outlive the object.
  TokenSet(KeyOps& main, Tokens further, const TokenDoors& doors);
  ~TokenSet() override;

  std::vector<Result<KeyOpOutput>> Execute(std::span<const KeyOp> ops) override;
  KeyOps& Token(const std::string& serial) override;
  std::vector<std::string> Further() const override;

  Result<void> Generate(crypto::ExecutionGrant grant, const KeySpec& spec) override {
    return Token(spec.ref.token).Generate(std::move(grant), spec);
  }
  Result<void> GenerateByMandate(crypto::StandingGrant grant, const KeySpec& spec) override {
    return Token(spec.ref.token).GenerateByMandate(std::move(grant), spec);
  }
  Result<void> Destroy(crypto::StandingGrant grant, const KeyRef& key) override {
    return Token(key.token).Destroy(std::move(grant), key);
  }
  Result<void> CancelDestruction(const KeyRef& key) override { return Token(key.token).CancelDestruction(key); }
  Result<std::vector<KeyRecord>> Inventory() override { return main_.Inventory(); }
  Result<void> SelfTest() override { return main_.SelfTest(); }
  Result<TokenIdentity> Identity() override { return main_.Identity(); }
  Result<std::vector<CheckpointSignature>> SignCheckpoint(const crypto::Checkpoint& head,
                                                          std::span<const crypto::Digest> proof) override {
    return main_.SignCheckpoint(head, proof);
  }
  Result<std::vector<CheckpointKey>> CheckpointKeys() override { return main_.CheckpointKeys(); }
  Result<crypto::LedgerRecord> ReadLedgerRecord() override { return main_.ReadLedgerRecord(); }
  Result<RecordToAdopt> ReadRecordToAdopt() override { return main_.ReadRecordToAdopt(); }
  Result<void> JudgeProposal(crypto::ExecutionGrant grant) override { return main_.JudgeProposal(std::move(grant)); }
  Result<void> BringChain(const crypto::RosterChain& chain) override { return main_.BringChain(chain); }
  Result<crypto::RosterChain> ReadChain() override { return main_.ReadChain(); }
  Result<void> ChangeLedgerRecord(crypto::ExecutionGrant grant) override {
    return main_.ChangeLedgerRecord(std::move(grant));
  }
  std::vector<LinkState> Links() override { return main_.Links(); }

 private:
  struct Route {
    const std::string* from = nullptr;
    const std::string* to = nullptr;  // null: it ends where it begins
    bool operator==(const Route& other) const;
  };
  static Route RouteOf(const KeyOp& op);
  // The token that services' operations for this serial number go to, or why there is none now.
  Result<KeyOps*> Usable(const std::string& serial);
  std::vector<Result<KeyOpOutput>> ExecuteOn(const std::string& serial, std::span<const KeyOp> ops);
  std::vector<Result<KeyOpOutput>> ExecuteAcross(const Route& route, std::span<const KeyOp> ops);

  KeyOps& main_;
  const Tokens further_;
  const TokenDoors& doors_;
  const std::unique_ptr<KeyOps> absent_;
};

}  // namespace strongroom::hsm
