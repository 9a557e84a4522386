#pragma once
// The data plane's JSON: requests to items, answers to JSON. Pure.

#include <string>

#include "appliance/broker.h"
#include "netapi/json.h"

namespace strongroom::netapi {

inline constexpr std::size_t kMaxBatchItems = 1000;

/// DataBody is a parsed request body: one item, or a batch whose bad items carry their own error.
struct DataBody {
  bool batch = false;
  std::vector<appliance::DataItem> items;
};

/// ParseDataBody reads `{...}` or `{"items": [...]}`. A single item that is bad is the request's error; in a batch a
/// bad item fails only itself. Fails with kInvalid.
Result<DataBody> ParseDataBody(ledger::Operation operation, std::string_view body);

/// ParseDekBody reads the body of a request about one DEK of the inventory, whose id stands in its path: dek-put
/// {"wrapped"}, dek-delete nothing, unwrap {"aad"?}. Fails with kInvalid (bad-dek-id).
Result<DataBody> ParseDekBody(ledger::Operation operation, const std::string& id, std::string_view body);

/// ParseDataLine reads one line of a stream; a bad one becomes an item that carries its own error, so that the stream
/// goes on.
appliance::DataItem ParseDataLine(ledger::Operation operation, std::string_view line, bool too_long);

/// AppendDataLine renders one answer, or its problem as {"error": ...}, and a line end.
void AppendDataLine(SecretText& out, ledger::Operation operation, const Result<appliance::DataAnswer>& answer,
                    const std::string& request_id);

/// RenderDataReply renders the answers; of a single request the one, of a batch all, errors as problem documents.
SecretText RenderDataReply(ledger::Operation operation, bool batch, std::vector<Result<appliance::DataAnswer>>& answers,
                           const std::string& request_id);

}  // namespace strongroom::netapi
