#include "hsm/host.h"

#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "crypto/base/mutex.h"
#include "hsm/vote_checks.h"

namespace strongroom::hsm {
namespace {

constexpr std::size_t kMaxConnections = 64;
constexpr auto kLeaveBound = std::chrono::seconds(5);
constexpr std::size_t kMostUnderWay = 1024;  // operations of a connection; while there are more it is not read

// Unread is what was presented, judged as far as nothing costs more than its bytes do: the roster's hash is compared
// before the roster is parsed, and both before any signature is verified.
struct Unread {
  crypto::ProposalText proposal;
  crypto::Roster roster;
};

// Whether votes were counted under the roster that the token obeys, or that an adoption's chain has led to.
Result<void> CheckRosterHash(KeyOps& ops, const crypto::ProposalText& proposal, std::string_view roster) {
  const bool adopts = proposal.operation == crypto::ToString(crypto::Operation::kLedgerAdopt);
  crypto::RosterMark mark;
  if (adopts) {
    TRY_ASSIGN(mark, ops.AdoptionRoster());
  } else {
    TRY_ASSIGN(const auto record, ops.ReadLedgerRecord());
    mark = {record.custody.roster_version, record.custody.roster_hash};
  }
  const auto hash = crypto::Sha256(AsBytes(roster));
  if (mark.hash != hash)
    return Forbidden("the token enforces roster " + std::to_string(mark.version) +
                         ", the votes were counted under another: restore a database that has that roster",
                     "roster-not-enforced");
  if (proposal.roster_hash != hash) return Conflict("the proposal was made under another roster", "stale");
  return {};
}

// What may be asked about is what may be asked for, one way or the other.
Result<void> CheckMayAsk(const crypto::ProposalText& proposal) {
  if (CheckMayGenerate(proposal)) return {};
  return CheckMayChange(proposal);
}

using MayCall = Result<void> (*)(const crypto::ProposalText&);
Result<Unread> ReadApproved(KeyOps& ops, const ApprovedText& approved, MayCall may_call) {
  TRY_ASSIGN(auto proposal, crypto::ProposalText::Parse(approved.proposal));
  TRY(crypto::CheckFormat(proposal));
  TRY(CheckRosterHash(ops, proposal, approved.roster));
  TRY_ASSIGN(auto roster, crypto::Roster::Parse(approved.roster));
  TRY(crypto::CheckVoteList(roster, approved.votes));
  TRY(may_call(proposal));
  return Unread{std::move(proposal), std::move(roster)};
}

// The record judges a text's deadline by its own clock; votes are counted as of a time that is within it.
Millis CountedAt(const Clock& clock, const crypto::ProposalText& proposal) {
  return std::min(clock.Now(), proposal.execute_by);
}

Result<void> CountAndGenerate(KeyOps& ops, const Clock& clock, GenerateRequest request) {
  auto& approved = request.approved;
  TRY_ASSIGN(const auto read, ReadApproved(ops, approved, CheckMayGenerate));
  TRY_ASSIGN(auto grant, crypto::GrantExecution(read.roster, approved.proposal, std::move(approved.votes),
                                                CountedAt(clock, read.proposal)));
  return ops.Generate(std::move(grant), request.spec);
}
// The standing grants are made of the token's own record, whatever the front end has made its of.
Result<void> GenerateStanding(KeyOps& ops, const Clock& clock, const KeySpec& spec) {
  TRY_ASSIGN(const auto record, ops.ReadLedgerRecord());
  TRY_ASSIGN(const auto keyring, KeyringOfLabel(spec));
  TRY_ASSIGN(auto grant, crypto::GrantByMandate(record, keyring, spec.ref.key, spec.ref.suite,
                                                crypto::EstimateTime(record, clock)));
  return ops.GenerateByMandate(std::move(grant), spec);
}
Result<void> EndDestruction(KeyOps& ops, const Clock& clock, const EndDestructionRequest& request) {
  if (request.end == DestructionEnd::kCancel) return ops.CancelDestruction(request.key);
  TRY_ASSIGN(const auto record, ops.ReadLedgerRecord());
  TRY_ASSIGN(auto grant, crypto::GrantDestruction(record, request.key.key, crypto::EstimateTime(record, clock)));
  return ops.Destroy(std::move(grant), request.key);
}

// Votes count for as long as their text says; whether a roster may come later is for the record to say.
Result<void> CountAndChange(KeyOps& ops, const Clock& clock, ChangeRecordRequest request) {
  auto& approved = request.approved;
  const auto may_call = request.judge_only ? CheckMayAsk : CheckMayChange;
  TRY_ASSIGN(const auto read, ReadApproved(ops, approved, may_call));
  TRY_ASSIGN(auto grant, crypto::GrantExecution(read.roster, approved.proposal, std::move(approved.votes),
                                                CountedAt(clock, read.proposal)));
  if (request.judge_only) return ops.JudgeProposal(std::move(grant));
  return ops.ChangeLedgerRecord(std::move(grant));
}

Result<RecordToAdopt> ReadRecord(KeyOps& ops, bool to_adopt) {
  if (to_adopt) return ops.ReadRecordToAdopt();
  TRY_ASSIGN(auto record, ops.ReadLedgerRecord());
  return RecordToAdopt{std::move(record), AdoptedFrom::kInForce};
}

// Of the host's own copy as many steps as a frame takes.
Result<crypto::RosterChain> ServeChain(KeyOps& ops, const ChainRequest& request) {
  constexpr std::size_t kMostOfAFrame = kMaxFrame / 2;
  crypto::RosterChain answer;
  switch (request.what) {
    case ChainRequest::What::kBegin: {
      TRY(ops.BeginChain(request.roster));
      return answer;
    }
    case ChainRequest::What::kStep: {
      TRY(ops.AddChainStep(request.step));
      return answer;
    }
    case ChainRequest::What::kRead:
      break;
  }
  TRY_ASSIGN(auto chain, ops.ReadChain());
  if (request.from == 0) answer.first = std::move(chain.first);
  std::size_t bytes = answer.first.size();
  for (std::size_t i = request.from; i < chain.steps.size(); ++i) {
    bytes += crypto::EncodeRosterStep(chain.steps[i]).size();
    if (!answer.steps.empty() && bytes > kMostOfAFrame) break;
    answer.steps.push_back(std::move(chain.steps[i]));
  }
  return answer;
}

// Connection is one peer. Answers may be written by any thread, whole.
struct Connection {
  explicit Connection(UniqueFd socket) : fd(std::move(socket)) {}
  // One that could not be written whole ends the connection for both sides: nothing may follow half a frame.
  Result<void> Write(ByteView frame) EXCLUDES(mutex) {
    const MutexLock lock(mutex);
    auto written = WriteFrame(fd.get(), frame);
    if (!written) (void)shutdown(fd.get(), SHUT_RDWR);
    return written;
  }
  const UniqueFd fd;
  Mutex mutex;
  std::atomic<std::size_t> under_way{0};  // operations that are not answered yet
};

// UnderWay counts the operations of frames that are answered later, and wakes the host's own thread when it has
// something to look at.
class UnderWay {
 public:
  explicit UnderWay(const HostDuties& duties) : duties_(duties), wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
  int fd() const { return wake_.get(); }
  void Enter(Connection& connection, std::size_t operations) EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    operations_ += operations;
    connection.under_way += operations;
  }
  void Leave(Connection& connection, std::size_t operations) EXCLUDES(mutex_) {
    duties_.after();
    const MutexLock lock(mutex_);
    const bool was_full = connection.under_way >= kMostUnderWay;
    operations_ -= operations;
    connection.under_way -= operations;
    ended_.NotifyAll();
    if (was_full || duties_.broken()) (void)eventfd_write(wake_.get(), 1);
  }
  void AwaitNone() EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    while (operations_ > 0) ended_.Wait(mutex_);
  }
  void TakeWake() const {
    eventfd_t ignored = 0;
    (void)eventfd_read(wake_.get(), &ignored);
  }

 private:
  const HostDuties& duties_;
  const UniqueFd wake_;
  Mutex mutex_;
  CondVar ended_;
  std::size_t operations_ GUARDED_BY(mutex_) = 0;
};

// Reads one frame and answers it, now or when its operations have ended; false when the connection is to be closed.
bool ServeOne(const std::shared_ptr<Connection>& connection, KeyOps& ops, const Clock& clock, const HostDuties& duties,
              UnderWay& under_way) {
  Frame frame;
  const auto read = ReadFrame(connection->fd.get(), frame);
  auto request = read ? DecodeRequest(frame) : Result<Request>(read.error());
  if (!request && request.error().code == Code::kOverloaded) {
    // The arena is full: its operations have not begun, and the next frame may find room (P11).
    const auto refused = Refusal(frame, request.error());
    frame.Reset();
    return refused && connection->Write(EncodeResponse(*refused)).has_value();
  }
  frame.Reset();
  if (!request) {
    if (request.error().code != Code::kUnavailable) spdlog::warn("connection closed: {}", request.error().Line());
    return false;
  }
  duties.begin();
  if (auto* execute = std::get_if<ExecuteRequest>(&request->body)) {
    const auto count = execute->ops.size();
    under_way.Enter(*connection, count);
    // Where operations run one at a time they have ended before Start returns, and so has what the supervisor watches.
    const auto own_thread = std::this_thread::get_id();
    // A connection whose peer has gone is kept until its last answer has tried to leave.
    const auto source = static_cast<std::uint64_t>(connection->fd.get());
    ops.Start(source, std::move(execute->ops),
              [connection, &under_way, &duties, own_thread, count, id = request->id](ExecuteResponse results) {
                if (std::this_thread::get_id() == own_thread) duties.end();
                (void)connection->Write(EncodeResponse({id, std::move(results)}));
                under_way.Leave(*connection, count);
              });
    duties.end();
    return true;
  }
  const auto answer = EncodeResponse(Answer(ops, clock, std::move(*request), duties.custody));
  duties.end();
  duties.after();
  return connection->Write(answer).has_value();
}

UniqueFd AcceptChecked(int listener, const std::set<uid_t>& allowed_uids) {
  UniqueFd fd(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
  if (!fd) return {};
  const auto uid = PeerUid(fd.get());
  if (!uid || !allowed_uids.contains(*uid)) {
    spdlog::warn("connection refused: its user is not one that may use this token");
    return {};
  }
  SetIoTimeout(fd.get(), 5000);
  if (!WriteFrame(fd.get(), EncodeResponse({0, Notice{HostWord::kServing}}))) return {};
  return fd;
}

}  // namespace

Response Answer(KeyOps& ops, const Clock& clock, Request request, bool custody) {
  Response response{request.id, {}};
  // Two hosts that write the token's records at once would ruin them.
  const Error elsewhere = Forbidden("custody and checkpoints are the first host's alone", "not-custody-host");
  if (!custody && std::holds_alternative<GenerateRequest>(request.body)) {
    response.body = GenerateResponse{elsewhere};
    return response;
  }
  if (!custody && std::holds_alternative<SignRequest>(request.body)) {
    response.body = SignResponse{elsewhere};
    return response;
  }
  if (!custody && std::holds_alternative<ChangeRecordRequest>(request.body)) {
    response.body = ChangeRecordResponse{elsewhere};
    return response;
  }
  if (!custody && std::holds_alternative<MandateRequest>(request.body)) {
    response.body = MandateResponse{elsewhere};
    return response;
  }
  if (!custody && std::holds_alternative<ChainRequest>(request.body)) {
    response.body = ChainResponse{elsewhere};
    return response;
  }
  if (!custody && std::holds_alternative<EndDestructionRequest>(request.body)) {
    response.body = EndDestructionResponse{elsewhere};
    return response;
  }
  if (auto* generate = std::get_if<GenerateRequest>(&request.body))
    response.body = GenerateResponse{CountAndGenerate(ops, clock, std::move(*generate))};
  else if (std::holds_alternative<InventoryRequest>(request.body))
    response.body = InventoryResponse{ops.Inventory()};
  else if (std::holds_alternative<SelfTestRequest>(request.body))
    response.body = SelfTestResponse{ops.SelfTest()};
  else if (const auto* sign = std::get_if<SignRequest>(&request.body))
    response.body = SignResponse{ops.SignCheckpoint(sign->head, sign->proof)};
  else if (std::holds_alternative<CheckpointKeysRequest>(request.body))
    response.body = CheckpointKeysResponse{ops.CheckpointKeys()};
  else if (const auto* record = std::get_if<RecordRequest>(&request.body))
    response.body = RecordResponse{ReadRecord(ops, record->to_adopt)};
  else if (const auto* chain = std::get_if<ChainRequest>(&request.body))
    response.body = ChainResponse{ServeChain(ops, *chain)};
  else if (auto* change = std::get_if<ChangeRecordRequest>(&request.body))
    response.body = ChangeRecordResponse{CountAndChange(ops, clock, std::move(*change))};
  else if (const auto* mandate = std::get_if<MandateRequest>(&request.body))
    response.body = MandateResponse{GenerateStanding(ops, clock, mandate->spec)};
  else if (const auto* end = std::get_if<EndDestructionRequest>(&request.body))
    response.body = EndDestructionResponse{EndDestruction(ops, clock, *end)};
  else
    response.body = IdentityResponse{ops.Identity()};
  return response;
}

HostExit ServeFrames(int listener, int stop_fd, const std::set<uid_t>& allowed_uids, KeyOps& ops, const Clock& clock,
                     const HostDuties& duties) {
  using Now = std::chrono::steady_clock;
  UnderWay under_way(duties);
  std::vector<std::shared_ptr<Connection>> connections;
  std::optional<Now::time_point> leave_by;
  const auto end = [&](HostExit how) {
    under_way.AwaitNone();
    return how;
  };
  while (true) {
    const bool accepts = !leave_by && connections.size() < kMaxConnections;
    std::vector<pollfd> polls = {
        {leave_by ? -1 : stop_fd, POLLIN, 0}, {accepts ? listener : -1, POLLIN, 0}, {under_way.fd(), POLLIN, 0}};
    for (const auto& connection : connections)
      polls.push_back({connection->under_way >= kMostUnderWay ? -1 : connection->fd.get(), POLLIN, 0});
    const auto wait = leave_by ? std::chrono::duration_cast<std::chrono::milliseconds>(*leave_by - Now::now()).count()
                               : std::int64_t{-1};
    if (poll(polls.data(), polls.size(), leave_by ? static_cast<int>(std::max<std::int64_t>(0, wait)) : -1) < 0 &&
        errno != EINTR)
      return end(kHostBroken);
    if (polls[2].revents != 0) under_way.TakeWake();
    if (duties.broken()) return end(kHostBroken);
    std::vector<std::shared_ptr<Connection>> kept;
    for (std::size_t i = 0; i < connections.size(); ++i) {
      if (polls[i + 3].revents == 0 || ServeOne(connections[i], ops, clock, duties, under_way))
        kept.push_back(std::move(connections[i]));
      if (duties.broken()) return end(kHostBroken);
    }
    connections = std::move(kept);
    if (polls[1].revents != 0)
      if (auto fd = AcceptChecked(listener, allowed_uids))
        connections.push_back(std::make_shared<Connection>(std::move(fd)));
    if (polls[0].revents != 0) {
      leave_by = Now::now() + kLeaveBound;
      const auto notice = EncodeResponse({0, Notice{HostWord::kLeaving}});
      std::erase_if(connections, [&](const auto& connection) { return !connection->Write(notice); });
    }
    if (leave_by && (connections.empty() || Now::now() >= *leave_by)) return end(kHostDone);
  }
}

}  // namespace strongroom::hsm
