#pragma once
// What travels between strongroomd and a token host: length-prefixed frames, big-endian (crypto/base/wire.h).
//
//   frame    = length (u32, of what follows, 1 to kMaxFrame)  id (u64)  kind (u8)  body
//   request  : 1 Execute, 2 Generate, 3 Inventory, 4 SelfTest, 5 Identity, 6 SignCheckpoint, 7 CheckpointKey, 8
//   LedgerRecord, 9 ChangeLedgerRecord, 10 EndDestruction, 11
//   GenerateByMandate, 12 Chain; ids are the client's and not 0 response : the request's id
//   and kind; body = status, and the kind's value when the status is ok an operation ends with its deadline (u64,
//   milliseconds of CLOCK_MONOTONIC, all ones = none) notice   : id 0, kind 0, body = protocol version (u16)  word
//   (u8): 0 I serve, 1 the PIN is latched, 2 I leave.
//              0 is a host's first frame on a connection; 1 is the supervisor's, who then closes; after 2 the client
//              sends nothing more, ends its side, and has every answer that it is owed before the host ends the other
//   status   = 0 | code + 1 (u8)  detail (text)  slug (text)  ck_rv (u64)
//   a frame of kind 1 is at most kMaxExecuteFrame long and lies in locked memory on both sides, for there are DEKs in
//   it
// Every parse is total: an unknown kind, a wrong length or a left-over byte is kInvalid and closes the connection.

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "crypto/base/result.h"
#include "crypto/base/secret.h"
#include "hsm/frame_bytes.h"
#include "hsm/key_ops.h"

namespace strongroom::hsm {

inline constexpr std::uint16_t kProtocolVersion = 7;
inline constexpr std::size_t kMaxFrame = 16U << 20;
inline constexpr std::size_t kMaxOpsInFrame = 256;
/// A frame of operations, or of their results, lies in the locked arena and is smaller. Whoever sends operations puts
/// no more of them into one than EncodedSize says fit into kExecutePart.
inline constexpr std::size_t kMaxExecuteFrame = 512U << 10;
inline constexpr std::size_t kExecutePart = 128U << 10;
/// What stands before the operations: id, kind, how many.
inline constexpr std::size_t kFrameHead = 11;

struct ExecuteRequest {
  std::vector<KeyOp> ops;
};
/// ApprovedText carries a proposal with its votes and the roster: the host counts for itself.
struct ApprovedText {
  std::string proposal;
  std::vector<crypto::Vote> votes;
  std::string roster;
};
struct GenerateRequest {
  ApprovedText approved;
  KeySpec spec;
};
struct ChangeRecordRequest {
  ApprovedText approved;
  bool judge_only = false;  // KeyOps::JudgeProposal
};
struct EndDestructionRequest {
  KeyRef key;
  DestructionEnd end = DestructionEnd::kCancel;
};
struct MandateRequest {
  KeySpec spec;
};
struct InventoryRequest {};
struct SelfTestRequest {};
struct IdentityRequest {};
struct SignRequest {
  crypto::Checkpoint head;  // without extensions
  std::vector<crypto::Digest> proof;
};
struct CheckpointKeysRequest {};
struct RecordRequest {
  bool to_adopt = false;
};
/// ChainRequest begins a chain of rosters, adds a step to it, or reads some steps of the host's own copy.
struct ChainRequest {
  enum class What : std::uint8_t { kBegin = 1, kStep = 2, kRead = 3 } what = What::kRead;
  std::string roster;       // kBegin
  crypto::RosterStep step;  // kStep
  std::uint32_t from = 0;   // kRead: the first step wanted
};
using RequestBody = std::variant<ExecuteRequest, GenerateRequest, InventoryRequest, SelfTestRequest, IdentityRequest,
                                 SignRequest, CheckpointKeysRequest, RecordRequest, ChangeRecordRequest,
                                 EndDestructionRequest, MandateRequest, ChainRequest>;
struct Request {
  std::uint64_t id = 0;
  RequestBody body;
};

using ExecuteResponse = std::vector<Result<KeyOpOutput>>;
struct GenerateResponse {
  Result<void> outcome;
};
struct SelfTestResponse {
  Result<void> outcome;
};
struct InventoryResponse {
  Result<std::vector<KeyRecord>> outcome;
};
struct IdentityResponse {
  Result<TokenIdentity> outcome;
};
struct SignResponse {
  Result<std::vector<CheckpointSignature>> outcome;
};
struct CheckpointKeysResponse {
  Result<std::vector<CheckpointKey>> outcome;
};
struct RecordResponse {
  Result<RecordToAdopt> outcome;
};
/// ChainResponse has steps for a read alone, as many as fit; `first` only from step 0 on.
struct ChainResponse {
  Result<crypto::RosterChain> outcome;
};
struct ChangeRecordResponse {
  Result<void> outcome;
};
struct EndDestructionResponse {
  Result<void> outcome;
};
struct MandateResponse {
  Result<void> outcome;
};
enum class HostWord : std::uint8_t { kServing = 0, kPinLatched = 1, kLeaving = 2 };
struct Notice {
  HostWord word = HostWord::kServing;
  std::uint16_t version = kProtocolVersion;
};
using ResponseBody = std::variant<Notice, ExecuteResponse, GenerateResponse, InventoryResponse, SelfTestResponse,
                                  IdentityResponse, SignResponse, CheckpointKeysResponse, RecordResponse,
                                  ChangeRecordResponse, EndDestructionResponse, MandateResponse, ChainResponse>;
struct Response {
  std::uint64_t id = 0;
  ResponseBody body;
};

/// Encoders return the whole frame, length included. A request of operations for which the locked arena has no room is
/// empty; results are kUnavailable then, each of them: they are lost.
Frame EncodeExecute(std::uint64_t id, std::span<const KeyOp> ops);
Frame EncodeRequest(const Request& request);
Frame EncodeResponse(const Response& response);
/// EncodedSize is the most that an operation takes in a frame.
std::size_t EncodedSize(const KeyOp& op);
/// IsOfOperations tells from a frame's first bytes, without its length, whether it is of operations or their results.
bool IsOfOperations(ByteView frame);
/// Refusal answers each operation of a frame, of which only the head need be there, with one error; kInvalid when it is
/// not of operations.
Result<Response> Refusal(ByteView frame, const Error& error);
/// Decoders take a frame without its length. kOverloaded when a DEK in it finds no room in the locked arena.
Result<Request> DecodeRequest(ByteView frame);
Result<Response> DecodeResponse(ByteView frame);

}  // namespace strongroom::hsm
