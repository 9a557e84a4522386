#include "hsm/frame.h"

#include <algorithm>

#include "crypto/base/wire.h"

namespace strongroom::hsm {
namespace {

using Writer = BasicWireWriter<Frame>;
enum Kind : std::uint8_t {
  kNotice = 0,
  kExecute = 1,
  kGenerate = 2,
  kInventory = 3,
  kSelfTest = 4,
  kIdentity = 5,
  kSign = 6,
  kCheckpointKeys = 7,
  kRecord = 8,
  kChangeRecord = 9,
  kEndDestruction = 10,
  kMandate = 11,
  kChain = 12
};
constexpr unsigned kMaxCheckpointKeys = 2;
constexpr unsigned kMaxProof = 128;  // hashes: two for each level of a tree
constexpr std::uint64_t kNoDeadline = ~std::uint64_t{0};
enum OpKind : std::uint8_t { kWrap = 1, kUnwrap = 2, kRewrap = 3, kDataKey = 4, kRelease = 5, kAdmit = 6 };

Writer Begin(std::uint64_t id, Kind kind, Frame::Place place = Frame::Place::kHeap, std::size_t size = 0) {
  Writer out{Frame(place)};
  if (size > 0) out.Reserve(size);
  out.U32(0);
  out.U64(id);
  out.U8(kind);
  return out;
}
Frame Finish(Writer&& out) {
  if (!out.bytes().ok()) return {};
  out.PatchU32(0, static_cast<std::uint32_t>(out.bytes().size() - 4));
  return std::move(out).Take();
}

void Put(Writer& out, const KeyRef& ref) {
  out.Text(ref.token);
  out.Raw(ref.key);
  out.U8(static_cast<std::uint8_t>(ref.suite));
}
crypto::Suite GetSuite(WireReader& in) {
  const auto suite = in.U8();
  if (suite < 1 || suite > 2) in.Fail();
  return static_cast<crypto::Suite>(suite);
}
KeyRef GetRef(WireReader& in) {
  KeyRef ref;
  ref.token = in.Text();
  ref.key = in.Array<20>();
  ref.suite = GetSuite(in);
  return ref;
}

void Put(Writer& out, OpDeadline deadline) {
  out.U64(deadline == OpDeadline::max()
              ? kNoDeadline
              : static_cast<std::uint64_t>(
                    std::chrono::duration_cast<std::chrono::milliseconds>(deadline.time_since_epoch()).count()));
}
OpDeadline GetDeadline(WireReader& in) {
  const auto millis = in.U64();
  if (millis == kNoDeadline) return OpDeadline::max();
  // More than the clock can hold is no time.
  if (millis >
      static_cast<std::uint64_t>(
          std::chrono::duration_cast<std::chrono::milliseconds>(OpDeadline::max().time_since_epoch()).count())) {
    in.Fail();
    return OpDeadline::max();
  }
  return OpDeadline(std::chrono::milliseconds(millis));
}

void Put(Writer& out, const Context& context) {
  out.Raw(context.instance);
  out.Raw(context.keyring);
  out.Blob(context.aad);
}
Bytes GetBytes(WireReader& in) {
  const auto view = in.Blob();
  return {view.begin(), view.end()};
}
Context GetContext(WireReader& in) {
  Context context;
  context.instance = in.Array<16>();
  context.keyring = in.Array<16>();
  context.aad = GetBytes(in);
  return context;
}

void Put(Writer& out, const KeyOp& op) {
  if (const auto* wrap = std::get_if<WrapOp>(&op)) {
    out.U8(kWrap);
    Put(out, wrap->key);
    out.Blob(wrap->dek.Read(SecretAccess()));
    Put(out, wrap->context);
  } else if (const auto* unwrap = std::get_if<UnwrapOp>(&op)) {
    out.U8(kUnwrap);
    Put(out, unwrap->key);
    out.Blob(unwrap->blob);
    Put(out, unwrap->context);
    out.U8(unwrap->rewrap_to ? 1 : 0);
    if (unwrap->rewrap_to) Put(out, *unwrap->rewrap_to);
  } else if (const auto* rewrap = std::get_if<RewrapOp>(&op)) {
    out.U8(kRewrap);
    Put(out, rewrap->from);
    Put(out, rewrap->to);
    out.Blob(rewrap->blob);
  } else if (const auto* datakey = std::get_if<DataKeyOp>(&op)) {
    out.U8(kDataKey);
    Put(out, datakey->key);
    out.U16(datakey->bytes);
    Put(out, datakey->context);
    out.U8(datakey->want_plaintext ? 1 : 0);
  } else if (const auto* release = std::get_if<ReleaseOp>(&op)) {
    out.U8(kRelease);
    Put(out, release->key);
    out.Text(release->to);
    out.Blob(release->blob);
  } else if (const auto* admit = std::get_if<AdmitOp>(&op)) {
    out.U8(kAdmit);
    Put(out, admit->key);
    out.Blob(admit->dek.Read(SecretAccess()));
    out.Raw(admit->context);
  }
  Put(out, DeadlineOf(op));
}

bool GetFlag(WireReader& in) {
  const auto flag = in.U8();
  if (flag > 1) in.Fail();
  return flag == 1;
}

Result<KeyOp> GetOpBody(WireReader& in) {
  switch (in.U8()) {
    case kWrap: {
      WrapOp op;
      op.key = GetRef(in);
      TRY_ASSIGN(op.dek, SecretBytes::CopyOf(in.Blob()));
      op.context = GetContext(in);
      return KeyOp(std::move(op));
    }
    case kAdmit: {
      AdmitOp op;
      op.key = GetRef(in);
      TRY_ASSIGN(op.dek, SecretBytes::CopyOf(in.Blob()));
      op.context = in.Array<32>();
      return KeyOp(std::move(op));
    }
    case kUnwrap: {
      UnwrapOp op;
      op.key = GetRef(in);
      op.blob = GetBytes(in);
      op.context = GetContext(in);
      if (GetFlag(in)) op.rewrap_to = GetRef(in);
      return KeyOp(std::move(op));
    }
    case kRewrap: {
      RewrapOp op;
      op.from = GetRef(in);
      op.to = GetRef(in);
      op.blob = GetBytes(in);
      return KeyOp(std::move(op));
    }
    case kDataKey: {
      DataKeyOp op;
      op.key = GetRef(in);
      op.bytes = in.U16();
      op.context = GetContext(in);
      op.want_plaintext = GetFlag(in);
      return KeyOp(std::move(op));
    }
    case kRelease: {
      ReleaseOp op;
      op.key = GetRef(in);
      op.to = in.Text();
      op.blob = GetBytes(in);
      return KeyOp(std::move(op));
    }
    default:
      return Invalid("a frame has an unknown operation");
  }
}

Result<KeyOp> GetOp(WireReader& in) {
  auto op = GetOpBody(in);
  if (op) DeadlineOf(*op) = GetDeadline(in);
  return op;
}

void Put(Writer& out, const ApprovedText& approved) {
  out.Text(approved.proposal);
  out.Text(approved.roster);
  out.U16(static_cast<std::uint16_t>(approved.votes.size()));
  for (const auto& vote : approved.votes) crypto::PutVote(out, vote);
}
ApprovedText GetApproved(WireReader& in) {
  ApprovedText approved;
  approved.proposal = in.Text();
  approved.roster = in.Text();
  const auto count = in.U16();
  for (unsigned i = 0; i < count && in.ok(); ++i) approved.votes.push_back(crypto::GetVote(in));
  return approved;
}

Result<ChainRequest> GetChainRequest(WireReader& in) {
  ChainRequest chain;
  const auto what = in.U8();
  if (what < 1 || what > 3) return Invalid("a chain of rosters is begun, added to or read");
  chain.what = static_cast<ChainRequest::What>(what);
  if (chain.what == ChainRequest::What::kBegin) chain.roster = in.Text();
  if (chain.what == ChainRequest::What::kRead) chain.from = in.U32();
  if (chain.what == ChainRequest::What::kStep) {
    TRY_ASSIGN(chain.step, crypto::DecodeRosterStep(in.Blob()));
  }
  return chain;
}

// A record with the evidence head of its node, which is an object of its own in the token.
void PutRecord(Writer& out, const RecordToAdopt& to) {
  out.U8(static_cast<std::uint8_t>(to.from));
  out.Blob(crypto::EncodeRecord(to.record));
  const auto head = crypto::HeadOfNode(to.record);
  out.Blob(head ? crypto::EncodeNodeHead(*head) : Bytes());
}
Result<RecordToAdopt> GetRecord(WireReader& in) {
  RecordToAdopt to;
  const auto from = in.U8();
  if (from > 2) in.Fail();
  to.from = static_cast<AdoptedFrom>(from);
  TRY_ASSIGN(to.record, crypto::DecodeRecord(in.Blob()));
  const auto head = in.Blob();
  if (head.empty()) return to;
  TRY_ASSIGN(const auto of_node, crypto::DecodeNodeHead(head));
  crypto::PutNodeHead(to.record, of_node);
  return to;
}

void PutStatus(Writer& out, const std::optional<Error>& error) {
  if (!error) {
    out.U8(0);
    return;
  }
  out.U8(static_cast<std::uint8_t>(static_cast<std::uint8_t>(error->code) + 1));
  out.Text(error->detail);
  out.Text(error->slug);
  out.U64(error->ck_rv);
}
// Returns true and fills `error` when the status is a failure.
bool GetFailure(WireReader& in, Error& error) {
  const auto status = in.U8();
  if (status == 0) return false;
  if (status > static_cast<std::uint8_t>(Code::kIo) + 1) in.Fail();
  error.code = static_cast<Code>(status - 1);
  error.detail = in.Text();
  error.slug = in.Text();
  error.ck_rv = in.U64();
  error.where = "token host";
  return true;
}
template <class T>
std::optional<Error> ErrorOf(const Result<T>& result) {
  if (result) return std::nullopt;
  return result.error();
}
Result<void> GetVoid(WireReader& in) {
  Error error;
  if (GetFailure(in, error)) return error;
  return {};
}

}  // namespace

std::size_t EncodedSize(const KeyOp& op) {
  const auto ref = [](const KeyRef& key) { return key.token.size() + 32; };
  const auto context = [](const Context& bound) { return bound.aad.size() + 40; };
  constexpr std::size_t kRest = 64;  // kind, lengths, digest, flags, deadline
  if (const auto* wrap = std::get_if<WrapOp>(&op))
    return kRest + ref(wrap->key) + wrap->dek.size() + context(wrap->context);
  if (const auto* unwrap = std::get_if<UnwrapOp>(&op))
    return kRest + ref(unwrap->key) + unwrap->blob.size() + context(unwrap->context) +
           (unwrap->rewrap_to ? ref(*unwrap->rewrap_to) : 0);
  if (const auto* rewrap = std::get_if<RewrapOp>(&op))
    return kRest + ref(rewrap->from) + ref(rewrap->to) + rewrap->blob.size();
  if (const auto* datakey = std::get_if<DataKeyOp>(&op)) return kRest + ref(datakey->key) + context(datakey->context);
  if (const auto* release = std::get_if<ReleaseOp>(&op))
    return kRest + ref(release->key) + release->to.size() + release->blob.size();
  const auto& admit = std::get<AdmitOp>(op);
  return kRest + ref(admit.key) + admit.dek.size();
}

bool IsOfOperations(ByteView frame) { return frame.size() > 8 && frame[8] == kExecute; }

Result<Response> Refusal(ByteView frame, const Error& error) {
  WireReader in(frame.first(std::min(frame.size(), kFrameHead)));
  Response response;
  response.id = in.U64();
  const bool operations = in.U8() == kExecute;
  const auto count = in.U16();
  if (!in.Complete() || !operations || count > kMaxOpsInFrame) return Invalid("a frame is not of operations");
  ExecuteResponse results;
  for (unsigned i = 0; i < count; ++i) results.emplace_back(error);
  response.body = std::move(results);
  return response;
}

Frame EncodeExecute(std::uint64_t id, std::span<const KeyOp> ops) {
  std::size_t size = 64;
  for (const auto& op : ops) size += EncodedSize(op);
  auto out = Begin(id, kExecute, Frame::Place::kLocked, size);
  out.U16(static_cast<std::uint16_t>(ops.size()));
  for (const auto& op : ops) Put(out, op);
  return Finish(std::move(out));
}

Frame EncodeRequest(const Request& request) {
  if (const auto* execute = std::get_if<ExecuteRequest>(&request.body)) return EncodeExecute(request.id, execute->ops);
  if (const auto* generate = std::get_if<GenerateRequest>(&request.body)) {
    auto out = Begin(request.id, kGenerate);
    Put(out, generate->approved);
    Put(out, generate->spec.ref);
    out.Text(generate->spec.label);
    return Finish(std::move(out));
  }
  if (const auto* change = std::get_if<ChangeRecordRequest>(&request.body)) {
    auto out = Begin(request.id, kChangeRecord);
    Put(out, change->approved);
    out.U8(change->judge_only ? 1 : 0);
    return Finish(std::move(out));
  }
  if (const auto* record = std::get_if<RecordRequest>(&request.body)) {
    auto out = Begin(request.id, kRecord);
    out.U8(record->to_adopt ? 1 : 0);
    return Finish(std::move(out));
  }
  if (const auto* chain = std::get_if<ChainRequest>(&request.body)) {
    auto out = Begin(request.id, kChain);
    out.U8(static_cast<std::uint8_t>(chain->what));
    if (chain->what == ChainRequest::What::kBegin) out.Text(chain->roster);
    if (chain->what == ChainRequest::What::kStep) out.Blob(crypto::EncodeRosterStep(chain->step));
    if (chain->what == ChainRequest::What::kRead) out.U32(chain->from);
    return Finish(std::move(out));
  }
  if (const auto* end = std::get_if<EndDestructionRequest>(&request.body)) {
    auto out = Begin(request.id, kEndDestruction);
    Put(out, end->key);
    out.U8(static_cast<std::uint8_t>(end->end));
    return Finish(std::move(out));
  }
  if (const auto* mandate = std::get_if<MandateRequest>(&request.body)) {
    auto out = Begin(request.id, kMandate);
    Put(out, mandate->spec.ref);
    out.Text(mandate->spec.label);
    return Finish(std::move(out));
  }
  if (const auto* sign = std::get_if<SignRequest>(&request.body)) {
    auto out = Begin(request.id, kSign);
    out.Text(sign->head.origin);
    out.U64(sign->head.size);
    out.Raw(sign->head.root);
    out.U16(static_cast<std::uint16_t>(sign->proof.size()));
    for (const auto& hash : sign->proof) out.Raw(hash);
    return Finish(std::move(out));
  }
  const Kind kind = std::holds_alternative<InventoryRequest>(request.body)        ? kInventory
                    : std::holds_alternative<SelfTestRequest>(request.body)       ? kSelfTest
                    : std::holds_alternative<CheckpointKeysRequest>(request.body) ? kCheckpointKeys
                                                                                  : kIdentity;
  return Finish(Begin(request.id, kind));
}

Result<Request> DecodeRequest(ByteView frame) {
  WireReader in(frame);
  Request request;
  request.id = in.U64();
  if (request.id == 0) return Invalid("a request has id 0");
  switch (in.U8()) {
    case kExecute: {
      ExecuteRequest execute;
      const auto count = in.U16();
      if (count > kMaxOpsInFrame) return Invalid("a frame has too many operations");
      for (unsigned i = 0; i < count && in.ok(); ++i) {
        TRY_ASSIGN(auto op, GetOp(in));
        execute.ops.push_back(std::move(op));
      }
      request.body = std::move(execute);
      break;
    }
    case kGenerate: {
      GenerateRequest generate;
      generate.approved = GetApproved(in);
      generate.spec.ref = GetRef(in);
      generate.spec.label = in.Text();
      request.body = std::move(generate);
      break;
    }
    case kChangeRecord: {
      ChangeRecordRequest change;
      change.approved = GetApproved(in);
      change.judge_only = GetFlag(in);
      request.body = std::move(change);
    } break;
    case kMandate: {
      MandateRequest mandate;
      mandate.spec.ref = GetRef(in);
      mandate.spec.label = in.Text();
      request.body = std::move(mandate);
      break;
    }
    case kEndDestruction: {
      EndDestructionRequest end;
      end.key = GetRef(in);
      const auto how = in.U8();
      if (how < 1 || how > 2) return Invalid("a destruction is carried out or cancelled");
      end.end = static_cast<DestructionEnd>(how);
      request.body = std::move(end);
      break;
    }
    case kInventory:
      request.body = InventoryRequest();
      break;
    case kSelfTest:
      request.body = SelfTestRequest();
      break;
    case kIdentity:
      request.body = IdentityRequest();
      break;
    case kSign: {
      SignRequest sign;
      sign.head.origin = in.Text();
      sign.head.size = in.U64();
      sign.head.root = in.Array<32>();
      const auto count = in.U16();
      if (count > kMaxProof) return Invalid("a proof has too many hashes");
      for (unsigned i = 0; i < count && in.ok(); ++i) sign.proof.push_back(in.Array<32>());
      request.body = std::move(sign);
      break;
    }
    case kCheckpointKeys:
      request.body = CheckpointKeysRequest();
      break;
    case kRecord:
      request.body = RecordRequest{GetFlag(in)};
      break;
    case kChain: {
      TRY_ASSIGN(auto chain, GetChainRequest(in));
      request.body = std::move(chain);
      break;
    }
    default:
      return Invalid("a frame has an unknown kind");
  }
  if (!in.Complete()) return Invalid("a frame's length and content disagree");
  return request;
}

namespace {
// Only where a DEK is among them is there anything to lock, so a refusal always finds room.
Frame EncodeResults(std::uint64_t id, const ExecuteResponse& results) {
  std::size_t size = 64;
  bool secret = false;
  for (const auto& result : results) {
    secret = secret || (result && !result->plaintext.empty());
    size += 32 + (result ? result->blob.size() + result->plaintext.size()
                         : result.error().detail.size() + result.error().slug.size());
  }
  auto out = Begin(id, kExecute, secret ? Frame::Place::kLocked : Frame::Place::kHeap, size);
  out.U16(static_cast<std::uint16_t>(results.size()));
  for (const auto& result : results) {
    PutStatus(out, ErrorOf(result));
    if (!result) continue;
    out.Blob(result->blob);
    out.Blob(result->plaintext.Read(SecretAccess()));
  }
  if (out.bytes().ok()) return Finish(std::move(out));
  ExecuteResponse lost;
  for (std::size_t i = 0; i < results.size(); ++i)
    lost.emplace_back(Unavailable("the token host's locked memory has no room for the answer: come again"));
  return EncodeResults(id, lost);
}
}  // namespace

Frame EncodeResponse(const Response& response) {
  if (const auto* notice = std::get_if<Notice>(&response.body)) {
    auto out = Begin(0, kNotice);
    out.U16(notice->version);
    out.U8(static_cast<std::uint8_t>(notice->word));
    return Finish(std::move(out));
  }
  if (const auto* results = std::get_if<ExecuteResponse>(&response.body)) return EncodeResults(response.id, *results);
  if (const auto* inventory = std::get_if<InventoryResponse>(&response.body)) {
    auto out = Begin(response.id, kInventory);
    PutStatus(out, ErrorOf(inventory->outcome));
    if (inventory->outcome) {
      out.U32(static_cast<std::uint32_t>(inventory->outcome->size()));
      for (const auto& record : *inventory->outcome) {
        out.Blob(record.id);
        out.Text(record.label);
        out.U8(static_cast<std::uint8_t>(record.suite));
        out.Text(record.fault);
      }
    }
    return Finish(std::move(out));
  }
  if (const auto* identity = std::get_if<IdentityResponse>(&response.body)) {
    auto out = Begin(response.id, kIdentity);
    PutStatus(out, ErrorOf(identity->outcome));
    if (identity->outcome) {
      const auto& value = *identity->outcome;
      for (const auto* field : {&value.serial, &value.label, &value.model, &value.manufacturer, &value.profile})
        out.Text(*field);
    }
    return Finish(std::move(out));
  }
  if (const auto* sign = std::get_if<SignResponse>(&response.body)) {
    auto out = Begin(response.id, kSign);
    PutStatus(out, ErrorOf(sign->outcome));
    if (sign->outcome) {
      out.U8(static_cast<std::uint8_t>(sign->outcome->size()));
      for (const auto& signature : *sign->outcome) {
        out.U32(signature.key);
        out.Blob(signature.der);
      }
    }
    return Finish(std::move(out));
  }
  if (const auto* keys = std::get_if<CheckpointKeysResponse>(&response.body)) {
    auto out = Begin(response.id, kCheckpointKeys);
    PutStatus(out, ErrorOf(keys->outcome));
    if (keys->outcome) {
      out.U8(static_cast<std::uint8_t>(keys->outcome->size()));
      for (const auto& key : *keys->outcome) {
        out.U32(key.number);
        out.Blob(key.spki);
        out.Blob(key.former);
        out.Blob(key.endorsement);
      }
    }
    return Finish(std::move(out));
  }
  if (const auto* record = std::get_if<RecordResponse>(&response.body)) {
    auto out = Begin(response.id, kRecord);
    PutStatus(out, ErrorOf(record->outcome));
    if (record->outcome) PutRecord(out, *record->outcome);
    return Finish(std::move(out));
  }
  if (const auto* chain = std::get_if<ChainResponse>(&response.body)) {
    auto out = Begin(response.id, kChain);
    PutStatus(out, ErrorOf(chain->outcome));
    if (chain->outcome) {
      out.Text(chain->outcome->first);
      out.U32(static_cast<std::uint32_t>(chain->outcome->steps.size()));
      for (const auto& step : chain->outcome->steps) out.Blob(crypto::EncodeRosterStep(step));
    }
    return Finish(std::move(out));
  }
  const auto plain = [&](Kind kind, const Result<void>& outcome) {
    auto out = Begin(response.id, kind);
    PutStatus(out, ErrorOf(outcome));
    return Finish(std::move(out));
  };
  if (const auto* generate = std::get_if<GenerateResponse>(&response.body)) return plain(kGenerate, generate->outcome);
  if (const auto* change = std::get_if<ChangeRecordResponse>(&response.body))
    return plain(kChangeRecord, change->outcome);
  if (const auto* mandate = std::get_if<MandateResponse>(&response.body)) return plain(kMandate, mandate->outcome);
  if (const auto* end = std::get_if<EndDestructionResponse>(&response.body))
    return plain(kEndDestruction, end->outcome);
  return plain(kSelfTest, std::get<SelfTestResponse>(response.body).outcome);
}

Result<Response> DecodeResponse(ByteView frame) {
  WireReader in(frame);
  Response response;
  response.id = in.U64();
  Error error;
  switch (in.U8()) {
    case kNotice: {
      const auto version = in.U16();
      const auto word = in.U8();
      if (response.id != 0 || word > static_cast<std::uint8_t>(HostWord::kLeaving)) in.Fail();
      response.body = Notice{static_cast<HostWord>(word), version};
      break;
    }
    case kExecute: {
      ExecuteResponse results;
      const auto count = in.U16();
      if (count > kMaxOpsInFrame) return Invalid("a frame has too many results");
      for (unsigned i = 0; i < count && in.ok(); ++i) {
        if (GetFailure(in, error)) {
          results.emplace_back(error);
          continue;
        }
        KeyOpOutput out;
        out.blob = GetBytes(in);
        auto plaintext = SecretBytes::CopyOf(in.Blob());
        if (!plaintext) {
          results.emplace_back(std::move(plaintext).error());
          continue;
        }
        out.plaintext = std::move(*plaintext);
        results.emplace_back(std::move(out));
      }
      response.body = std::move(results);
      break;
    }
    case kGenerate:
      response.body = GenerateResponse{GetVoid(in)};
      break;
    case kSelfTest:
      response.body = SelfTestResponse{GetVoid(in)};
      break;
    case kInventory: {
      if (GetFailure(in, error)) {
        response.body = InventoryResponse{error};
        break;
      }
      std::vector<KeyRecord> records;
      const auto count = in.U32();
      for (std::uint32_t i = 0; i < count && in.ok(); ++i) {
        KeyRecord record;
        record.id = GetBytes(in);
        record.label = in.Text();
        record.suite = GetSuite(in);
        record.fault = in.Text();
        records.push_back(std::move(record));
      }
      response.body = InventoryResponse{std::move(records)};
      break;
    }
    case kIdentity: {
      if (GetFailure(in, error)) {
        response.body = IdentityResponse{error};
        break;
      }
      TokenIdentity identity;
      for (auto* field :
           {&identity.serial, &identity.label, &identity.model, &identity.manufacturer, &identity.profile})
        *field = in.Text();
      response.body = IdentityResponse{std::move(identity)};
      break;
    }
    case kSign: {
      if (GetFailure(in, error)) {
        response.body = SignResponse{error};
        break;
      }
      std::vector<CheckpointSignature> signatures(in.U8());
      if (signatures.empty() || signatures.size() > kMaxCheckpointKeys) return Invalid("a frame has no signature");
      for (auto& signature : signatures) {
        signature.key = in.U32();
        signature.der = GetBytes(in);
      }
      response.body = SignResponse{std::move(signatures)};
      break;
    }
    case kCheckpointKeys: {
      if (GetFailure(in, error)) {
        response.body = CheckpointKeysResponse{error};
        break;
      }
      std::vector<CheckpointKey> keys(in.U8());
      if (keys.empty() || keys.size() > kMaxCheckpointKeys) return Invalid("a frame has no checkpoint key");
      for (auto& key : keys) {
        key.number = in.U32();
        key.spki = GetBytes(in);
        key.former = GetBytes(in);
        key.endorsement = GetBytes(in);
      }
      response.body = CheckpointKeysResponse{std::move(keys)};
      break;
    }
    case kRecord: {
      if (GetFailure(in, error))
        response.body = RecordResponse{error};
      else
        response.body = RecordResponse{GetRecord(in)};
      break;
    }
    case kChain: {
      if (GetFailure(in, error)) {
        response.body = ChainResponse{error};
        break;
      }
      crypto::RosterChain chain;
      chain.first = in.Text();
      const auto count = in.U32();
      for (std::uint32_t i = 0; i < count && in.ok(); ++i) {
        TRY_ASSIGN(auto step, crypto::DecodeRosterStep(in.Blob()));
        chain.steps.push_back(std::move(step));
      }
      response.body = ChainResponse{std::move(chain)};
      break;
    }
    case kMandate:
      response.body = MandateResponse{GetVoid(in)};
      break;
    case kEndDestruction:
      response.body = EndDestructionResponse{GetVoid(in)};
      break;
    case kChangeRecord:
      response.body = ChangeRecordResponse{GetVoid(in)};
      break;
    default:
      return Invalid("a frame has an unknown kind");
  }
  if (!in.Complete()) return Invalid("a frame's length and content disagree");
  return response;
}

}  // namespace strongroom::hsm
