#pragma once
// KeyOps over a local socket: the front end's side of the token.

#include <chrono>
#include <condition_variable>
#include <map>
#include <memory>
#include <thread>

#include "crypto/base/mutex.h"
#include "hsm/frame.h"
#include "hsm/frame_socket.h"
#include "hsm/key_ops.h"

namespace strongroom::hsm {

/// RemoteKeyOps sends each call as one frame and waits for its answer; many calls may be in flight from many threads. A
/// reader thread connects, reconnects and hands out answers. When the host dies, calls in flight fail with kUnavailable
/// and are never sent again; calls that come while it is away wait for its return, up to `patience`, unless its
/// supervisor says that the PIN is latched. A host that leaves in order still answers what was sent.
class RemoteKeyOps final : public KeyOps {
 public:
  struct Options {
    std::string socket_path;
    uid_t peer_uid = 0;
    std::chrono::milliseconds patience{3000};   // how long a call waits for a connection
    std::chrono::milliseconds deadline{10000};  // how long a sent call waits for its answer
  };
  explicit RemoteKeyOps(Options options);
  ~RemoteKeyOps() override;
  RemoteKeyOps(const RemoteKeyOps&) = delete;
  RemoteKeyOps& operator=(const RemoteKeyOps&) = delete;

  std::vector<Result<KeyOpOutput>> Execute(std::span<const KeyOp> ops) override;
  Result<void> Generate(crypto::ExecutionGrant grant, const KeySpec& spec) override;
  Result<std::vector<KeyRecord>> Inventory() override;
  Result<void> SelfTest() override;
  Result<TokenIdentity> Identity() override;
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

  std::vector<LinkState> Links() override { return {Link()}; }
  LinkState Link() const EXCLUDES(mutex_);

 private:
  Result<RecordToAdopt> AskRecord(bool to_adopt);
  Result<void> SendApproved(crypto::ExecutionGrant grant, bool judge_only);
  Result<crypto::RosterChain> AskChain(const ChainRequest& request);
  struct Pending {
    CondVar ready;
    bool done = false;
    std::optional<Result<ResponseBody>> answer;
  };
  // Wire is one connection. Who writes holds its mutex; after the host's last word nothing is written any more.
  struct Wire {
    explicit Wire(UniqueFd socket) : fd(std::move(socket)) {}
    const UniqueFd fd;
    Mutex mutex;
    bool leaving GUARDED_BY(mutex) = false;
  };
  // Send writes a frame; false when the host was leaving and not a byte of it was sent.
  static bool Send(Wire& wire, ByteView frame);
  // Call sends the frame that `encode` makes for a fresh id and returns the answer's body.
  template <class Encode>
  Result<ResponseBody> Call(Encode encode) EXCLUDES(mutex_);
  void ReadLoop();
  void Serve(Wire& wire) EXCLUDES(mutex_);
  void SetLink(LinkState state) EXCLUDES(mutex_);
  Result<std::shared_ptr<Wire>> AwaitWire(OpDeadline until) REQUIRES(mutex_);
  void FailAll(const Error& error) REQUIRES(mutex_);

  const Options options_;
  mutable Mutex mutex_;
  CondVar changed_;
  bool stopping_ GUARDED_BY(mutex_) = false;
  LinkState link_ GUARDED_BY(mutex_) = LinkState::kDown;
  std::shared_ptr<Wire> wire_ GUARDED_BY(mutex_);
  std::uint64_t next_id_ GUARDED_BY(mutex_) = 1;
  std::map<std::uint64_t, std::shared_ptr<Pending>> pending_ GUARDED_BY(mutex_);
  std::thread reader_;
};

}  // namespace strongroom::hsm
