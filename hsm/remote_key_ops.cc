#include "hsm/remote_key_ops.h"

#include <sys/socket.h>

namespace strongroom::hsm {

RemoteKeyOps::RemoteKeyOps(Options options) : options_(std::move(options)), reader_([this] { ReadLoop(); }) {}

RemoteKeyOps::~RemoteKeyOps() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
    if (wire_) (void)shutdown(wire_->fd.get(), SHUT_RDWR);
    changed_.NotifyAll();
  }
  reader_.join();
}

LinkState RemoteKeyOps::Link() const {
  const MutexLock lock(mutex_);
  return link_;
}

void RemoteKeyOps::SetLink(LinkState state) {
  const MutexLock lock(mutex_);
  link_ = state;
  changed_.NotifyAll();
}

void RemoteKeyOps::FailAll(const Error& error) {
  for (auto& [id, pending] : pending_) {
    pending->answer = Result<ResponseBody>(error);
    pending->done = true;
    pending->ready.NotifyAll();
  }
  pending_.clear();
}

void RemoteKeyOps::ReadLoop() {
  std::chrono::milliseconds pause{10};
  while (true) {
    {
      const MutexLock lock(mutex_);
      if (stopping_) return;
    }
    auto fd = ConnectLocal(options_.socket_path, options_.peer_uid);
    if (!fd) {
      SetLink(LinkState::kDown);
    } else {
      const auto wire = std::make_shared<Wire>(std::move(*fd));
      SetSendTimeout(wire->fd.get(), static_cast<int>(options_.deadline.count()));
      {
        const MutexLock lock(mutex_);
        if (stopping_) return;
        wire_ = wire;
        // What the supervisor has said holds until somebody says otherwise.
        if (link_ != LinkState::kPinLatched) link_ = LinkState::kConnecting;
      }
      Serve(*wire);
      const MutexLock lock(mutex_);
      if (link_ != LinkState::kPinLatched) {
        link_ = LinkState::kConnecting;
        pause = std::chrono::milliseconds(10);
      }
      (void)shutdown(wire->fd.get(), SHUT_RDWR);
      wire_.reset();
      FailAll(Unavailable("the token host went away while the operation ran"));
    }
    const MutexLock lock(mutex_);
    if (stopping_) return;
    (void)changed_.WaitUntil(mutex_, std::chrono::steady_clock::now() + pause);
    pause = std::min(pause * 2, std::chrono::milliseconds(200));
  }
}

void RemoteKeyOps::Serve(Wire& wire) {
  // The first word comes when a host accepts; until then the connection waits in the supervisor's backlog.
  bool greeted = false;
  while (true) {
    Frame frame;
    const auto read = ReadFrame(wire.fd.get(), frame);
    if (!read && read.error().code != Code::kOverloaded) return;
    // What was done is not known to whoever asked, for the arena had no room for the answer.
    auto response = read ? DecodeResponse(frame)
                         : Refusal(frame, Unavailable("locked memory has no room for the token's answer: come again"));
    frame.Reset();
    if (!response) return;
    if (const auto* notice = std::get_if<Notice>(&response->body)) {
      if (notice->version != kProtocolVersion) return;
      if (notice->word == HostWord::kLeaving) {
        // New calls wait for the next host. What was sent is still answered, up to the end of the stream.
        SetLink(LinkState::kConnecting);
        const MutexLock lock(wire.mutex);
        wire.leaving = true;
        (void)shutdown(wire.fd.get(), SHUT_WR);
        continue;
      }
      if (greeted) return;
      SetLink(notice->word == HostWord::kPinLatched ? LinkState::kPinLatched : LinkState::kUp);
      if (notice->word == HostWord::kPinLatched) return;
      greeted = true;
      continue;
    }
    if (!greeted) return;
    std::shared_ptr<Pending> answered;
    {
      const MutexLock lock(mutex_);
      const auto found = pending_.find(response->id);
      if (found == pending_.end()) continue;  // its caller's deadline has passed
      answered = std::move(found->second);
      answered->answer = std::move(response->body);
      answered->done = true;
      pending_.erase(found);
    }
    answered->ready.NotifyAll();
  }
}

bool RemoteKeyOps::Send(Wire& wire, ByteView frame) {
  const MutexLock lock(wire.mutex);
  if (wire.leaving) return false;
  // A broken write ends the connection: the reader then fails every call in flight, this one too.
  if (!WriteFrame(wire.fd.get(), frame)) (void)shutdown(wire.fd.get(), SHUT_RDWR);
  return true;
}

Result<std::shared_ptr<RemoteKeyOps::Wire>> RemoteKeyOps::AwaitWire(OpDeadline until) {
  while (link_ != LinkState::kUp && !stopping_) {
    if (link_ == LinkState::kPinLatched)
      return Unavailable(
          "the token has refused the PIN and it is not tried again: correct the PIN file, then run "
          "strongroom-tokend --config FILE --clear-pin-latch",
          "pin-latched");
    if (!changed_.WaitUntil(mutex_, until) && link_ != LinkState::kUp)
      return Unavailable("the token side is not connected");
  }
  if (stopping_) return Unavailable("the token side is closing");
  return wire_;
}

template <class Encode>
Result<ResponseBody> RemoteKeyOps::Call(Encode encode) {
  const auto patience = std::chrono::steady_clock::now() + options_.patience;
  while (true) {
    const auto pending = std::make_shared<Pending>();
    std::uint64_t id = 0;
    std::shared_ptr<Wire> wire;
    {
      const MutexLock lock(mutex_);
      TRY_ASSIGN(wire, AwaitWire(patience));
      id = next_id_++;
      pending_.emplace(id, pending);
    }
    const auto until = std::chrono::steady_clock::now() + options_.deadline;
    const Frame frame = encode(id);
    if (frame.empty()) {
      const MutexLock lock(mutex_);
      pending_.erase(id);
      return Overloaded("locked memory has no room for these operations: come again");
    }
    if (!Send(*wire, frame)) {
      // Nothing of it has left this process, so the next host may have it.
      const MutexLock lock(mutex_);
      pending_.erase(id);
      continue;
    }
    const MutexLock lock(mutex_);
    while (!pending->done) {
      if (!pending->ready.WaitUntil(mutex_, until) && !pending->done) {
        // The host hangs: this connection is over for everyone on it.
        pending_.erase(id);
        (void)shutdown(wire->fd.get(), SHUT_RDWR);
        return Unavailable("the token did not answer within its deadline");
      }
    }
    return std::move(*pending->answer);
  }
}

std::vector<Result<KeyOpOutput>> RemoteKeyOps::Execute(std::span<const KeyOp> ops) {
  std::vector<Result<KeyOpOutput>> results;
  results.reserve(ops.size());
  for (std::size_t at = 0; at < ops.size();) {
    std::size_t count = 0;
    for (std::size_t size = 0; at + count < ops.size() && count < kMaxOpsInFrame; ++count) {
      size += EncodedSize(ops[at + count]);
      if (count > 0 && size > kExecutePart) break;
    }
    const auto part = ops.subspan(at, count);
    at += count;
    auto body = Call([&](std::uint64_t id) { return EncodeExecute(id, part); });
    auto* answers = body ? std::get_if<ExecuteResponse>(&*body) : nullptr;
    if (answers != nullptr && answers->size() == part.size()) {
      for (auto& answer : *answers) results.push_back(std::move(answer));
      continue;
    }
    const Error error = body ? Integrity("the token side answered something else than was asked") : body.error();
    for (std::size_t i = 0; i < part.size(); ++i) results.emplace_back(error);
  }
  return results;
}

namespace {
template <class T>
Result<T> Expect(Result<ResponseBody> body) {
  // in_place: these values can themselves be made from an Error, so a plain return would not say which is meant.
  if (!body) return Result<T>(boost::system::in_place_error, body.error());
  if (auto* value = std::get_if<T>(&*body)) return std::move(*value);
  return Result<T>(boost::system::in_place_error, Integrity("the token side answered something else than was asked"));
}
}  // namespace

Result<void> RemoteKeyOps::Generate(crypto::ExecutionGrant grant, const KeySpec& spec) {
  const auto used = std::move(grant);
  TRY(CheckGrantNamesKey(used.proposal(), spec));
  TRY_ASSIGN(const auto response, Expect<GenerateResponse>(Call([&](std::uint64_t id) {
               return EncodeRequest({id, GenerateRequest{{used.text(), used.votes(), used.roster_text()}, spec}});
             })));
  return response.outcome;
}

Result<std::vector<KeyRecord>> RemoteKeyOps::Inventory() {
  TRY_ASSIGN(auto response, Expect<InventoryResponse>(Call([](std::uint64_t id) {
               return EncodeRequest({id, InventoryRequest()});
             })));
  return std::move(response.outcome);
}

Result<void> RemoteKeyOps::SelfTest() {
  TRY_ASSIGN(const auto response, Expect<SelfTestResponse>(Call([](std::uint64_t id) {
               return EncodeRequest({id, SelfTestRequest()});
             })));
  return response.outcome;
}

Result<std::vector<CheckpointSignature>> RemoteKeyOps::SignCheckpoint(const crypto::Checkpoint& head,
                                                                      std::span<const crypto::Digest> proof) {
  TRY_ASSIGN(auto response, Expect<SignResponse>(Call([&](std::uint64_t id) {
               return EncodeRequest({id, SignRequest{head, {proof.begin(), proof.end()}}});
             })));
  return std::move(response.outcome);
}

Result<std::vector<CheckpointKey>> RemoteKeyOps::CheckpointKeys() {
  TRY_ASSIGN(auto response, Expect<CheckpointKeysResponse>(Call([](std::uint64_t id) {
               return EncodeRequest({id, CheckpointKeysRequest()});
             })));
  return std::move(response.outcome);
}

Result<RecordToAdopt> RemoteKeyOps::AskRecord(bool to_adopt) {
  TRY_ASSIGN(auto response, Expect<RecordResponse>(Call([&](std::uint64_t id) {
               return EncodeRequest({id, RecordRequest{to_adopt}});
             })));
  return std::move(response.outcome);
}

Result<crypto::LedgerRecord> RemoteKeyOps::ReadLedgerRecord() {
  TRY_ASSIGN(auto to, AskRecord(false));
  return std::move(to.record);
}

Result<RecordToAdopt> RemoteKeyOps::ReadRecordToAdopt() { return AskRecord(true); }

Result<crypto::RosterChain> RemoteKeyOps::AskChain(const ChainRequest& request) {
  TRY_ASSIGN(auto response, Expect<ChainResponse>(Call([&](std::uint64_t id) {
               return EncodeRequest({id, request});
             })));
  return std::move(response.outcome);
}

// Each step is a frame of its own: none comes near what a host may take for one.
Result<void> RemoteKeyOps::BringChain(const crypto::RosterChain& chain) {
  TRY(AskChain({ChainRequest::What::kBegin, chain.first, {}, 0}));
  for (const auto& step : chain.steps) TRY(AskChain({ChainRequest::What::kStep, {}, step, 0}));
  return {};
}

Result<crypto::RosterChain> RemoteKeyOps::ReadChain() {
  crypto::RosterChain chain;
  while (true) {
    const auto from = static_cast<std::uint32_t>(chain.steps.size());
    TRY_ASSIGN(auto part, AskChain({ChainRequest::What::kRead, {}, {}, from}));
    if (from == 0) chain.first = std::move(part.first);
    if (part.steps.empty()) return chain;
    if (chain.steps.size() + part.steps.size() > crypto::kMaxChainSteps)
      return Integrity("the token side's chain of rosters does not end", "no-chain");
    std::move(part.steps.begin(), part.steps.end(), std::back_inserter(chain.steps));
  }
}

Result<void> RemoteKeyOps::JudgeProposal(crypto::ExecutionGrant grant) { return SendApproved(std::move(grant), true); }
Result<void> RemoteKeyOps::ChangeLedgerRecord(crypto::ExecutionGrant grant) {
  return SendApproved(std::move(grant), false);
}

Result<void> RemoteKeyOps::SendApproved(crypto::ExecutionGrant grant, bool judge_only) {
  const auto used = std::move(grant);
  TRY_ASSIGN(
      const auto response, Expect<ChangeRecordResponse>(Call([&](std::uint64_t id) {
        return EncodeRequest({id, ChangeRecordRequest{{used.text(), used.votes(), used.roster_text()}, judge_only}});
      })));
  return response.outcome;
}

Result<void> RemoteKeyOps::GenerateByMandate(crypto::StandingGrant grant, const KeySpec& spec) {
  const auto used = std::move(grant);
  TRY(CheckStanding(used, spec.ref, /*destroys=*/false));
  TRY_ASSIGN(const auto response, Expect<MandateResponse>(Call([&](std::uint64_t id) {
               return EncodeRequest({id, MandateRequest{spec}});
             })));
  return response.outcome;
}

Result<void> RemoteKeyOps::Destroy(crypto::StandingGrant grant, const KeyRef& key) {
  const auto used = std::move(grant);
  TRY(CheckStanding(used, key, /*destroys=*/true));
  TRY_ASSIGN(const auto response, Expect<EndDestructionResponse>(Call([&](std::uint64_t id) {
               return EncodeRequest({id, EndDestructionRequest{key, DestructionEnd::kDestroy}});
             })));
  return response.outcome;
}

Result<void> RemoteKeyOps::CancelDestruction(const KeyRef& key) {
  TRY_ASSIGN(const auto response, Expect<EndDestructionResponse>(Call([&](std::uint64_t id) {
               return EncodeRequest({id, EndDestructionRequest{key, DestructionEnd::kCancel}});
             })));
  return response.outcome;
}

Result<TokenIdentity> RemoteKeyOps::Identity() {
  TRY_ASSIGN(auto response, Expect<IdentityResponse>(Call([](std::uint64_t id) {
               return EncodeRequest({id, IdentityRequest()});
             })));
  return std::move(response.outcome);
}

}  // namespace strongroom::hsm
