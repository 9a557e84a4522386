#include "hsm/remote_key_ops.h"

#include <sys/socket.h>

namespace strongroom::hsm {

RemoteKeyOps::RemoteKeyOps(Options options) : options_(std::move(options)), reader_([this] { ReadLoop(); }) {}

RemoteKeyOps::~RemoteKeyOps() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
    if (socket_) (void)shutdown(socket_->get(), SHUT_RDWR);
    changed_.NotifyAll();
  }
  reader_.join();
}

bool RemoteKeyOps::Connected() const {
  const MutexLock lock(mutex_);
  return connected_;
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
    if (auto fd = ConnectLocal(options_.socket_path, options_.peer_uid)) {
      const auto socket = std::make_shared<UniqueFd>(std::move(*fd));
      SetSendTimeout(socket->get(), static_cast<int>(options_.deadline.count()));
      {
        const MutexLock lock(mutex_);
        if (stopping_) return;
        socket_ = socket;
      }
      Serve(socket->get());
      const MutexLock lock(mutex_);
      if (connected_) pause = std::chrono::milliseconds(10);
      connected_ = false;
      (void)shutdown(socket->get(), SHUT_RDWR);
      socket_.reset();
      FailAll(Unavailable("the token host went away while the operation ran"));
    }
    const MutexLock lock(mutex_);
    if (stopping_) return;
    (void)changed_.WaitUntil(mutex_, std::chrono::steady_clock::now() + pause);
    pause = std::min(pause * 2, std::chrono::milliseconds(200));
  }
}

void RemoteKeyOps::Serve(int fd) {
  ScratchBytes frame;
  // The greeting comes when a host accepts; until then the connection waits in the supervisor's backlog.
  if (!ReadFrame(fd, frame)) return;
  const auto greeting = DecodeResponse(frame);
  const auto* hello = greeting ? std::get_if<Greeting>(&greeting->body) : nullptr;
  if (hello == nullptr || hello->version != kProtocolVersion) return;
  {
    const MutexLock lock(mutex_);
    connected_ = true;
    changed_.NotifyAll();
  }
  while (ReadFrame(fd, frame)) {
    auto response = DecodeResponse(frame);
    Zeroise(frame.data(), frame.size());
    if (!response) return;
    const MutexLock lock(mutex_);
    const auto found = pending_.find(response->id);
    if (found == pending_.end()) continue;  // its caller's deadline has passed
    found->second->answer = std::move(response->body);
    found->second->done = true;
    found->second->ready.NotifyAll();
    pending_.erase(found);
  }
}

template <class Encode>
Result<ResponseBody> RemoteKeyOps::Call(Encode encode) {
  const auto pending = std::make_shared<Pending>();
  std::uint64_t id = 0;
  std::shared_ptr<UniqueFd> socket;
  {
    const auto until = std::chrono::steady_clock::now() + options_.patience;
    const MutexLock lock(mutex_);
    while (!connected_ && !stopping_)
      if (!changed_.WaitUntil(mutex_, until) && !connected_) return Unavailable("the token side is not connected");
    if (stopping_) return Unavailable("the token side is closing");
    id = next_id_++;
    pending_.emplace(id, pending);
    socket = socket_;
  }
  {
    const auto frame = encode(id);
    const MutexLock lock(write_mutex_);
    // A broken write ends the connection: the reader then fails every call in flight, this one too.
    if (!WriteFrame(socket->get(), frame)) (void)shutdown(socket->get(), SHUT_RDWR);
  }
  const auto until = std::chrono::steady_clock::now() + options_.deadline;
  const MutexLock lock(mutex_);
  while (!pending->done) {
    if (!pending->ready.WaitUntil(mutex_, until) && !pending->done) {
      // The host hangs or the frame would run after its caller has gone (P4): this connection is over for everyone on
      // it.
      pending_.erase(id);
      (void)shutdown(socket->get(), SHUT_RDWR);
      return Unavailable("the token did not answer within its deadline");
    }
  }
  return std::move(*pending->answer);
}

std::vector<Result<KeyOpOutput>> RemoteKeyOps::Execute(std::span<const KeyOp> ops) {
  std::vector<Result<KeyOpOutput>> results;
  results.reserve(ops.size());
  for (std::size_t at = 0; at < ops.size();) {
    const auto part = ops.subspan(at, std::min(kMaxOpsInFrame, ops.size() - at));
    at += part.size();
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
               return EncodeRequest({id, GenerateRequest{used.text(), used.votes(), used.roster_text(), spec}});
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

Result<TokenIdentity> RemoteKeyOps::Identity() {
  TRY_ASSIGN(auto response, Expect<IdentityResponse>(Call([](std::uint64_t id) {
               return EncodeRequest({id, IdentityRequest()});
             })));
  return std::move(response.outcome);
}

}  // namespace strongroom::hsm
