#include "netapi/data_json.h"

#include <boost/json/array.hpp>

#include "netapi/problem.h"

namespace strongroom::netapi {
namespace {

namespace bj = boost::json;
using appliance::DataItem;
using ledger::Operation;

Result<DataItem> ParseItem(Operation operation, const bj::value& value) {
  DataItem item;
  switch (operation) {
    case Operation::kWrap: {
      TRY_ASSIGN(const auto in, Fields::Of(value, {"plaintext", "aad"}));
      TRY_ASSIGN(item.plaintext, in.Base64Secret("plaintext", crypto::kMaxDekBytes));
      if (item.plaintext.size() < crypto::kMinDekBytes || item.plaintext.size() > crypto::kMaxDekBytes)
        return Invalid("a DEK is 16 to 512 bytes");
      TRY_ASSIGN(item.aad, in.Base64Bytes("aad", crypto::kMaxAadBytes, true));
      break;
    }
    case Operation::kUnwrap: {
      TRY_ASSIGN(const auto in, Fields::Of(value, {"wrapped", "aad"}));
      TRY_ASSIGN(item.wrapped, in.Text("wrapped", crypto::kMaxEnvelopeText));
      TRY_ASSIGN(item.aad, in.Base64Bytes("aad", crypto::kMaxAadBytes, true));
      break;
    }
    case Operation::kRewrap: {
      TRY_ASSIGN(const auto in, Fields::Of(value, {"wrapped"}));
      TRY_ASSIGN(item.wrapped, in.Text("wrapped", crypto::kMaxEnvelopeText));
      break;
    }
    case Operation::kDataKey: {
      TRY_ASSIGN(const auto in, Fields::Of(value, {"bytes", "aad", "plaintext"}));
      TRY_ASSIGN(const auto bytes, in.Number("bytes"));
      if (bytes != 16 && bytes != 24 && bytes != 32 && bytes != 64) return Invalid("field 'bytes' is 16, 24, 32 or 64");
      item.bytes = static_cast<std::uint16_t>(bytes);
      TRY_ASSIGN(item.aad, in.Base64Bytes("aad", crypto::kMaxAadBytes, true));
      TRY_ASSIGN(item.want_plaintext, in.Flag("plaintext", false));
      break;
    }
    case Operation::kDekPut: {
      TRY_ASSIGN(const auto in, Fields::Of(value, {"id", "wrapped"}));
      TRY_ASSIGN(item.dek, in.Text("id", ledger::kMaxDekIdBytes));
      TRY_ASSIGN(item.wrapped, in.Text("wrapped", crypto::kMaxEnvelopeText));
      break;
    }
    case Operation::kDekDelete:
    case Operation::kBackup:
    case Operation::kOther:
      return Invalid("no such operation");
  }
  return item;
}

bj::string SecretString(const SecretBytes& secret) {
  bj::string text(SecretJsonStorage());
  const auto bytes = secret.Read(SecretAccess());
  text.resize(Base64Size(bytes.size(), Base64::kStandardPadded));
  EncodeBase64(bytes, Base64::kStandardPadded, text.data());
  return text;
}

bj::object AnswerObject(Operation operation, const appliance::DataAnswer& answer) {
  bj::object out(SecretJsonStorage());
  if (!answer.dek.empty()) out["id"] = answer.dek;
  const bool wraps = operation != Operation::kUnwrap && answer.dek.empty();
  if (wraps) out["wrapped"] = answer.wrapped;
  if (!answer.plaintext.empty()) out["plaintext"] = SecretString(answer.plaintext);
  out["kek_version"] = answer.kek_version;
  if (operation == Operation::kRewrap) out["from_version"] = answer.from_version;
  if (!answer.rewrapped.empty()) out["rewrapped"] = answer.rewrapped;
  return out;
}

}  // namespace

Result<DataBody> ParseDataBody(Operation operation, std::string_view body) {
  TRY_ASSIGN(const auto value, ParseJson(body));
  DataBody parsed;
  const auto* object = value.if_object();
  if (object != nullptr && object->contains("items")) {
    TRY_ASSIGN(const auto in, Fields::Of(value, {"items"}));
    const auto* items = in.Find("items")->if_array();
    if (items == nullptr || items->empty() || items->size() > kMaxBatchItems)
      return Invalid("field 'items' is an array of 1 to 1000 items");
    parsed.batch = true;
    for (const auto& each : *items) {
      auto item = ParseItem(operation, each);
      if (item) {
        parsed.items.push_back(std::move(*item));
        continue;
      }
      if (item.error().code == Code::kOverloaded) return item.error();
      parsed.items.emplace_back().refused = item.error();
    }
    return parsed;
  }
  TRY_ASSIGN(auto item, ParseItem(operation, value));
  parsed.items.push_back(std::move(item));
  return parsed;
}

Result<DataBody> ParseDekBody(Operation operation, const std::string& id, std::string_view body) {
  DataBody parsed;
  auto& item = parsed.items.emplace_back();
  if (operation == Operation::kDekDelete && body.empty()) body = "{}";
  TRY_ASSIGN(const auto value, ParseJson(body));
  if (operation == Operation::kDekPut) {
    TRY_ASSIGN(const auto in, Fields::Of(value, {"wrapped"}));
    TRY_ASSIGN(item.wrapped, in.Text("wrapped", crypto::kMaxEnvelopeText));
  } else if (operation == Operation::kUnwrap) {
    TRY_ASSIGN(const auto in, Fields::Of(value, {"aad"}));
    TRY_ASSIGN(item.aad, in.Base64Bytes("aad", crypto::kMaxAadBytes, true));
  } else {
    TRY(Fields::Of(value, {}));
  }
  if (!ledger::IsDekId(id))
    return Invalid(
        "the id of a DEK is 1 to 128 characters of A-Z, a-z, 0-9 and . _ - : @ +, the first a letter or digit",
        "bad-dek-id");
  item.dek = id;
  return parsed;
}

DataItem ParseDataLine(Operation operation, std::string_view line, bool too_long) {
  DataItem refused;
  if (too_long) {
    refused.refused = Invalid("the line is longer than 16 KiB", "line-too-long");
    return refused;
  }
  const auto value = ParseJson(line);
  auto item = value ? ParseItem(operation, *value) : Result<DataItem>(value.error());
  if (item) return std::move(*item);
  refused.refused = item.error();
  return refused;
}

void AppendDataLine(SecretText& out, Operation operation, const Result<appliance::DataAnswer>& answer,
                    const std::string& request_id) {
  bj::object object(SecretJsonStorage());
  if (answer)
    object = AnswerObject(operation, *answer);
  else
    object["error"] = ProblemObject(answer.error(), request_id);
  out += WriteJson(bj::value(std::move(object), SecretJsonStorage()));
  out += '\n';
}

SecretText RenderDataReply(Operation operation, bool batch, std::vector<Result<appliance::DataAnswer>>& answers,
                           const std::string& request_id) {
  if (!batch) return WriteJson(bj::value(AnswerObject(operation, *answers[0]), SecretJsonStorage()));
  bj::array items(SecretJsonStorage());
  items.reserve(answers.size());
  for (const auto& answer : answers) {
    if (answer) {
      items.emplace_back(AnswerObject(operation, *answer));
    } else {
      bj::object failed(SecretJsonStorage());
      failed["error"] = ProblemObject(answer.error(), request_id);
      items.emplace_back(std::move(failed));
    }
  }
  bj::object out(SecretJsonStorage());
  out["items"] = std::move(items);
  return WriteJson(bj::value(std::move(out), SecretJsonStorage()));
}

}  // namespace strongroom::netapi
