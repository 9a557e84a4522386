#pragma once
#include <atomic>
#include <functional>
#include <map>

#include "crypto/base/mutex.h"
#include "hsm/key_ops.h"
#include "tests/support/software_signer.h"

namespace strongroom::tests {

/// FakeKeyOps keeps KEKs in memory and wraps with OpenSSL. It passes tests/contract/key_ops_contract_test.cc, the same
/// suite as the real token, and is for tests of what lies above the port. SetAway makes it answer kUnavailable.
class FakeKeyOps final : public hsm::KeyOps {
 public:
  explicit FakeKeyOps(std::string serial = "fake-token") : serial_(std::move(serial)) {}
  /// Init gives it its root, which names the roster, and its first record, as --init-token does. Set the clocks first:
  /// the record knows the boot time from then on.
  void Init(const crypto::Roster& roster);
  std::vector<Result<hsm::KeyOpOutput>> Execute(std::span<const hsm::KeyOp> ops) override;
  Result<void> Generate(crypto::ExecutionGrant grant, const hsm::KeySpec& spec) override;
  Result<std::vector<hsm::KeyRecord>> Inventory() override;
  Result<void> SelfTest() override;
  Result<hsm::TokenIdentity> Identity() override;
  Result<std::vector<hsm::CheckpointSignature>> SignCheckpoint(const crypto::Checkpoint& head,
                                                               std::span<const crypto::Digest> proof) override;
  Result<std::vector<hsm::CheckpointKey>> CheckpointKeys() override;
  Result<crypto::LedgerRecord> ReadLedgerRecord() override;
  Result<hsm::RecordToAdopt> ReadRecordToAdopt() override;
  Result<void> JudgeProposal(crypto::ExecutionGrant grant) override;
  Result<void> BringChain(const crypto::RosterChain& chain) override;
  Result<void> BeginChain(const std::string& roster) override;
  Result<void> AddChainStep(const crypto::RosterStep& step) override;
  Result<crypto::RosterChain> ReadChain() override;
  Result<crypto::RosterMark> AdoptionRoster() override;
  Result<void> ChangeLedgerRecord(crypto::ExecutionGrant grant) override;
  Result<void> GenerateByMandate(crypto::StandingGrant grant, const hsm::KeySpec& spec) override;
  Result<void> Destroy(crypto::StandingGrant grant, const hsm::KeyRef& key) override;
  Result<void> CancelDestruction(const hsm::KeyRef& key) override;
  void SetAway(bool away);
  /// Recall puts an earlier record back, as a token does that forgets; Lose destroys it; Fork makes it two that
  /// contradict each other and merge to what it was.
  void Recall(crypto::LedgerRecord record);
  void Lose();
  void Fork();
  /// Restart is another host in the place of this one: it has watched nothing yet.
  void Restart();
  /// The time by which an overlap of two checkpoint keys ends; the system's clock unless a test says otherwise.
  std::function<Millis()> now = [] { return SystemClock().Now(); };
  std::function<Millis()> steady = [] { return SystemClock().Steady(); };
  /// Room of its record.
  crypto::RecordRoom room = *crypto::RoomOf(98'304);
  /// Called before each Execute, in its thread; a test that wants to stand between two frames.
  std::function<void()> before_execute = nullptr;
  /// Called before each Generate, and when its key is made and not answered for yet.
  std::function<void()> before_generate = nullptr, after_generate = nullptr;
  /// The answer to CheckpointKeys alone is lost.
  std::atomic<bool> keys_away = false;
  /// PutKey is a key that somebody else has made in the token.
  void PutKey(const Bytes& id, const std::string& label);
  /// Generated counts the keys that were ever made.
  std::size_t Generated() const;

 private:
  std::vector<hsm::KeyRecord> Records() const REQUIRES(mutex_);
  hsm::TokenIdentity IdentityOf() const { return {serial_, "fake", "fake", "fake", "fake"}; }
  struct Kek {
    std::array<std::uint8_t, 32> key{};
    crypto::Suite suite{};
    std::string label;
  };
  crypto::CustodyTime Time() const REQUIRES(mutex_);
  void Write(crypto::LedgerRecord next) REQUIRES(mutex_);
  void WriteNow(crypto::LedgerRecord next) REQUIRES(mutex_);
  Result<crypto::LedgerRecord> JudgeChange(const crypto::ExecutionGrant& used) REQUIRES(mutex_);
  Result<void> Whole() const REQUIRES(mutex_);
  Result<crypto::LedgerRecord> Adopted(const crypto::ExecutionGrant& grant) const REQUIRES(mutex_);
  Result<hsm::KeyOpOutput> Run(const hsm::KeyOp& op) REQUIRES(mutex_);
  Result<const Kek*> Locate(const hsm::KeyRef& ref) REQUIRES(mutex_);
  Result<Bytes> WrapDek(const hsm::KeyRef& ref, ByteView dek, const crypto::Digest& context) REQUIRES(mutex_);
  Result<SecretBytes> UnwrapDek(const hsm::KeyRef& ref, ByteView blob, crypto::Digest& context) REQUIRES(mutex_);

  const std::string serial_;
  mutable Mutex mutex_;
  bool away_ GUARDED_BY(mutex_) = false;
  std::map<crypto::KeyId, Kek> keks_ GUARDED_BY(mutex_);
  std::vector<hsm::KeyRecord> strange_ GUARDED_BY(mutex_);
  crypto::LedgerRecord record_ GUARDED_BY(mutex_);
  crypto::CustodyRoot root_ GUARDED_BY(mutex_);
  crypto::RosterChain kept_ GUARDED_BY(mutex_);
  std::optional<crypto::ChainWalk> chain_ GUARDED_BY(mutex_);
  Millis written_at_ GUARDED_BY(mutex_) = 0;
  bool lost_ GUARDED_BY(mutex_) = false, forked_ GUARDED_BY(mutex_) = false;
  std::vector<SoftwareSigner> signers_ GUARDED_BY(mutex_) = std::vector<SoftwareSigner>(1);  // by number of the key
};

}  // namespace strongroom::tests
