// What the routes under /v1/ledger answer.

#include <boost/json/array.hpp>

#include "crypto/text_rules.h"
#include "netapi/api.h"
#include "netapi/entry_json.h"

namespace strongroom::netapi {
namespace {

namespace bj = boost::json;

Result<ledger::Log> LogNamed(const std::string& name) {
  if (name == "control") return ledger::Log::kControl;
  if (name == "evidence") return ledger::Log::kEvidence;
  return NotFound("the logs are 'control' and 'evidence'", "log-not-found");
}

// A tile's path (C2SP tlog-tiles): "<level>/<index>[.p/<width>]", level "entries" for entries; the index in groups of
// three digits, all but the last with an x before them.
struct TilePath {
  bool entries = false;
  unsigned level = 0;
  std::uint64_t index = 0;
  std::uint64_t width = crypto::kTileWidth;
};
Result<TilePath> ParseTilePath(std::string_view path) {
  const auto none = [] { return NotFound("no such tile", "no-such-tile"); };
  auto parts = crypto::SplitWords(path, '/');
  TilePath tile;
  if (parts.size() >= 3 && parts[parts.size() - 2].ends_with(".p")) {
    const auto width = crypto::ParseNumber(parts.back());
    if (!width || *width == 0 || *width >= crypto::kTileWidth) return none();
    tile.width = *width;
    parts.pop_back();
    parts.back().remove_suffix(2);
  }
  if (parts.size() < 2 || parts.size() > 7) return none();
  tile.entries = parts[0] == "entries";
  if (!tile.entries) {
    const auto level = crypto::ParseNumber(parts[0]);
    if (!level || *level > 7) return none();
    tile.level = static_cast<unsigned>(*level);
  }
  for (std::size_t i = 1; i < parts.size(); ++i) {
    auto group = parts[i];
    const bool last = i + 1 == parts.size();
    if (!last && !group.starts_with('x')) return none();
    if (!last) group.remove_prefix(1);
    if (group.size() != 3) return none();
    for (const char c : group) {
      if (c < '0' || c > '9') return none();
      tile.index = tile.index * 10 + static_cast<unsigned>(c - '0');
    }
    if (i == 1 && !last && group == "000") return none();  // one path a tile
    if (tile.index >= (std::uint64_t{1} << 48)) return none();
  }
  return tile;
}

}  // namespace

Result<bj::value> Api::Entries(const Matched& matched) const {
  const bool control = matched.values[0] == "control";
  if (!control && matched.values[0] != "evidence")
    return NotFound("the logs are 'control' and 'evidence'", "log-not-found");
  TRY_ASSIGN(const auto from, QueryNumber(matched.query, "from", 0, {"from", "limit"}));
  TRY_ASSIGN(const auto limit, QueryNumber(matched.query, "limit", 100, {"from", "limit"}));
  if (limit < 1 || limit > 1000) return Invalid("limit is 1 to 1000");
  bj::array items;
  bj::value next = nullptr;
  std::optional<Error> failure;
  TRY(ledger_.Read(control ? ledger::Log::kControl : ledger::Log::kEvidence, from,
                   [&](std::uint64_t index, ByteView raw) {
                     if (items.size() == limit) {
                       next = index;
                       return false;
                     }
                     const auto add = [&](const auto& entry) {
                       if (entry)
                         items.push_back(EntryJson(index, raw, *entry));
                       else
                         failure = entry.error();
                     };
                     if (control)
                       add(ledger::DecodeControl(raw));
                     else
                       add(ledger::DecodeEvidence(raw));
                     return !failure;
                   }));
  if (failure) return *failure;
  return bj::value(ListObject(std::move(items), std::move(next)));
}

Result<bj::value> Api::BackupNext(const std::string& id, const Caller& caller, const std::string& request_id) {
  TRY_ASSIGN(const auto page, backups_.Next(id, caller.name, request_id));
  bj::array items;
  for (const auto& item : page.items) {
    bj::object object{
        {"id", item.id}, {"wrapped", item.wrapped}, {"kek_version", item.version}, {"stored", FormatTime(item.stored)}};
    if (!item.quarantine.empty()) object["quarantine"] = item.quarantine;
    if (!item.owner.empty()) object["owner"] = item.owner;
    items.push_back(std::move(object));
  }
  bj::object out{{"items", std::move(items)}, {"done", page.done.has_value()}};
  if (page.done) {
    out["records"] = page.done->records;
    out["digest"] = ToHex(page.done->digest);
  }
  return bj::value(std::move(out));
}

Result<std::string> Api::Evidence(const Matched& matched) {
  TRY_ASSIGN(const auto log, LogNamed(matched.values[0]));
  if (matched.route->endpoint == Endpoint::kTile) {
    TRY_ASSIGN(const auto tile, ParseTilePath(matched.values[1]));
    if (!tile.entries) {
      TRY_ASSIGN(const auto bytes, ledger_.Tile(log, tile.level, tile.index, tile.width));
      return std::string(AsText(bytes));
    }
    std::string bundle;
    std::uint64_t count = 0;
    bool too_long = false;
    if (tile.index * crypto::kTileWidth < ledger_.FirstStored(log))
      return NotFound("these entries are archived: their hashes are here, and they are in an earlier export",
                      "entries-archived");
    TRY(ledger_.Read(log, tile.index * crypto::kTileWidth, [&](std::uint64_t index, ByteView entry) {
      if (index != tile.index * crypto::kTileWidth + count) return false;  // archived just now
      too_long = too_long || entry.size() > 65535;
      bundle.push_back(static_cast<char>(entry.size() >> 8));
      bundle.push_back(static_cast<char>(entry.size() & 0xFF));
      bundle += AsText(entry);
      return ++count < tile.width;
    }));
    if (count < tile.width) return NotFound("the log is not long enough for this tile", "no-such-tile");
    if (too_long) return Integrity("an entry is longer than a bundle can hold");
    return bundle;
  }
  if (matched.route->endpoint == Endpoint::kCheckpoint) {
    TRY_ASSIGN(const auto fresh, QueryText(matched.query, "fresh", {"fresh"}));
    if (!fresh.empty() && fresh != "true") return Invalid("query parameter 'fresh' is true, or absent");
    if (!fresh.empty()) TRY(checkpointer_.Now());
  }
  TRY_ASSIGN(const auto latest, ledger_.LatestCheckpoint(log));
  if (!latest) return NotFound("nothing of this log has been signed yet", "no-checkpoint");
  if (matched.route->endpoint == Endpoint::kCheckpoint) return latest->note;
  // C2SP tlog-proof: index, audit path, checkpoint.
  if (matched.query.empty()) return Invalid("which entry? ?index=N");
  TRY_ASSIGN(const auto index, QueryNumber(matched.query, "index", 0, {"index"}));
  TRY_ASSIGN(const auto path, ledger_.InclusionProof(log, index, latest->size));
  std::string proof = "c2sp.org/tlog-proof@v1\nindex " + std::to_string(index) + "\n";
  for (const auto& hash : path) proof += EncodeBase64(hash, Base64::kStandardPadded) + "\n";
  return proof + "\n" + latest->note;
}

}  // namespace strongroom::netapi
