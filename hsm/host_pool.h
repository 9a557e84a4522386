#pragma once
// Several hosts of one token behind one port.

#include <atomic>
#include <memory>
#include <optional>
#include <vector>

#include "hsm/remote_key_ops.h"

namespace strongroom::hsm {

/// HostPool spreads operations over the hosts of one token: each call goes whole to the connected host with the fewest
/// under way. Custody changes go to the first host alone (Q9). A host that is away is passed over; when all are, a call
/// waits for the first to come back, as RemoteKeyOps does. Thread-safe.
class HostPool final : public KeyOps {
 public:
  /// One connection a host: the first at `options.socket_path`, the others at that path with ".1", ".2" ... behind it.
  HostPool(const RemoteKeyOps::Options& options, unsigned hosts);

  std::vector<Result<KeyOpOutput>> Execute(std::span<const KeyOp> ops) override;
  Result<void> Generate(crypto::ExecutionGrant grant, const KeySpec& spec) override;
  Result<std::vector<KeyRecord>> Inventory() override;
  /// SelfTest asks every connected host; the first failure is the answer.
  Result<void> SelfTest() override;
  /// Identity asks every connected host: one that sees another token than the others is kIntegrity, slug `impostor`.
  Result<TokenIdentity> Identity() override;
  /// Signing and the anchors are the first host's, like custody.
  Result<std::vector<CheckpointSignature>> SignCheckpoint(const crypto::Checkpoint& head,
                                                          std::span<const crypto::Digest> proof) override;
  Result<std::vector<CheckpointKey>> CheckpointKeys() override;
  Result<crypto::LedgerRecord> ReadLedgerRecord() override;
  Result<RecordToAdopt> ReadRecordToAdopt() override;
  Result<void> JudgeProposal(crypto::ExecutionGrant grant) override;
  Result<void> BringChain(const crypto::RosterChain& chain) override;
  Result<crypto::RosterChain> ReadChain() override;
  Result<void> ChangeLedgerRecord(crypto::ExecutionGrant grant) override;
  Result<void> GenerateByMandate(crypto::StandingGrant grant, const KeySpec& spec) override;
  Result<void> Destroy(crypto::StandingGrant grant, const KeyRef& key) override;
  Result<void> CancelDestruction(const KeyRef& key) override;
  std::vector<LinkState> Links() override;

 private:
  struct Lane {
    std::unique_ptr<RemoteKeyOps> ops;
    std::atomic<unsigned> under_way{0};
  };
  Lane& Pick();
  std::vector<std::unique_ptr<Lane>> lanes_;
  std::atomic<unsigned> turn_{0};
};

/// HostSocket is the path where the n-th host of a token listens.
std::string HostSocket(const std::string& first, unsigned host);

}  // namespace strongroom::hsm
