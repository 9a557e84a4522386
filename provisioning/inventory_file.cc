#include "provisioning/inventory_file.h"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <fstream>
#include <vector>

#include "crypto/text_rules.h"
#include "ledger/inventory_digest.h"

namespace strongroom::provisioning {
namespace {

namespace bj = boost::json;
constexpr std::size_t kBatch = 2048;
const std::string kEnd = "# end, wrapped DEKs: ";

Error Damaged(std::uint64_t line, const std::string& what) {
  return Integrity("line " + std::to_string(line) + " of the backup's inventory " + what, "inventory-damaged");
}

struct Line {
  ledger::DekWrite write;
  std::string wrapped;
};

Result<Line> ReadLine(const appliance::State& state, const std::string& line, std::uint64_t number) {
  const auto value = netapi::ParseJson(line);
  if (!value) return Damaged(number, "is not JSON");
  const auto in = netapi::Fields::Of(*value, {"id", "wrapped", "kek_version", "stored", "quarantine", "owner"});
  if (!in) return Damaged(number, "has another form");
  const auto id = in->Text("id", ledger::kMaxDekIdBytes);
  const auto wrapped = in->Text("wrapped", crypto::kMaxEnvelopeText);
  const auto stored = in->Text("stored", 64);
  const auto at = stored ? ParseTime(*stored) : std::nullopt;
  const auto quarantine = in->Has("quarantine") ? in->Text("quarantine", 64) : Result<std::string>(std::string());
  const auto owner = in->Has("owner") ? in->Text("owner", 64) : Result<std::string>(std::string());
  auto envelope = wrapped ? crypto::ParseEnvelope(*wrapped) : Result<crypto::Envelope>(wrapped.error());
  if (!id || !ledger::IsDekId(*id) || !at || !quarantine || !owner || !envelope ||
      (!quarantine->empty() && !crypto::IsName(*quarantine)) || (!owner->empty() && !crypto::IsName(*owner)))
    return Damaged(number, "has another form");
  const auto* keyring = state.FindKeyring(envelope->keyring);
  const auto* version = keyring == nullptr ? nullptr : keyring->Find(envelope->version);
  if (!state.roster || envelope->instance != state.roster->instance() || version == nullptr ||
      version->kek != envelope->kek)
    return Damaged(number, "is under a KEK that its control log does not know");
  return Line{{envelope->keyring, *id,
               ledger::DekRecord{envelope->version, *at, *quarantine, std::move(envelope->blob), *owner}},
              *wrapped};
}

// A file's lines, none longer than one that was written: what is longer is none, however long it is.
class Lines {
 public:
  explicit Lines(std::ifstream& in) : in_(in), line_(kMaxLine) {}
  // nullopt at the end; kIntegrity for a line that is too long.
  Result<std::optional<std::string>> Next(std::uint64_t number) {
    in_.getline(line_.data(), static_cast<std::streamsize>(line_.size()));
    if (in_.eof() && in_.gcount() == 0) return std::optional<std::string>();
    if (in_.fail()) return Damaged(number, "is longer than a line of an inventory is");
    const auto size = static_cast<std::size_t>(in_.gcount()) - (in_.eof() ? 0 : 1);
    return std::optional(std::string(line_.data(), size));
  }

 private:
  static constexpr std::size_t kMaxLine = 8192;
  std::ifstream& in_;
  std::vector<char> line_;
};

Result<void> Compare(const InventoryFile& file, const ledger::BackedUp& recorded) {
  if (file.records == recorded.records && file.digest == recorded.digest) return {};
  return Integrity("the backup's inventory has " + std::to_string(file.records) + " wrapped DEKs with digest " +
                       ToHex(file.digest) + "; evidence entry " + std::to_string(recorded.index) + " says " +
                       std::to_string(recorded.records) + " with digest " + ToHex(recorded.digest),
                   "inventory-differs");
}

// Every line of the file into the ledger, and what they come to.
Result<InventoryFile> PutLines(std::ifstream& in, const appliance::State& state, ledger::Ledger& ledger, bool ordered) {
  InventoryFile file;
  ledger::InventoryDigest digest;
  ledger::Submission batch;
  Lines lines(in);
  bool ended = false;
  while (true) {
    TRY_ASSIGN(const auto line, lines.Next(file.records + 1));
    if (!line) break;
    if (ended) return Damaged(file.records, "is not the last one");
    if (*line == kEnd + std::to_string(file.records)) {
      ended = true;
      continue;
    }
    TRY_ASSIGN(auto read, ReadLine(state, *line, ++file.records));
    const auto& record = *read.write.next;
    if (ordered)
      if (const auto added = digest.Add(read.write.keyring, read.write.id, read.wrapped, record.stored,
                                        record.quarantine, record.owner);
          !added)
        return Damaged(file.records, "stands twice or out of order");
    batch.deks.push_back(std::move(read.write));
    if (batch.deks.size() == kBatch) TRY(ledger.Record(std::exchange(batch, {})));
  }
  if (!ended) return Damaged(file.records, "is not the last one of what was written: the rest is missing");
  if (!batch.deks.empty()) TRY(ledger.Record(std::move(batch)));
  file.digest = digest.Finish();
  return file;
}

}  // namespace

Result<InventoryFile> WriteInventories(const CliSession& session, const std::filesystem::path& file) {
  std::ofstream out(file, std::ios::binary);
  TRY_ASSIGN(const auto client, session.Connect());
  TRY_ASSIGN(const auto begun, client->Call("POST", "/v1/backups"));
  TRY_ASSIGN(const auto begin, netapi::ParseAnswer(begun));
  const auto target = "/v1/backups/" + TextOf(begin, "id") + "/next";
  ledger::InventoryDigest digest;
  while (true) {
    TRY_ASSIGN(const auto answer, client->Call("POST", target));
    TRY_ASSIGN(const auto page, netapi::ParseAnswer(answer));
    for (const auto& dek : page.get_object().at("items").get_array()) {
      const auto wrapped = TextOf(dek, "wrapped");
      const auto envelope = crypto::ParseEnvelope(wrapped);
      const auto stored = ParseTime(TextOf(dek, "stored"));
      if (!envelope || !stored)
        return Integrity("the server sent something else than wrapped DEKs", "inventory-differs");
      const auto optional = [&](const char* name) {
        return dek.get_object().contains(name) ? TextOf(dek, name) : std::string();
      };
      TRY(digest.Add(envelope->keyring, TextOf(dek, "id"), wrapped, *stored, optional("quarantine"),
                     optional("owner")));
      const auto line = netapi::WriteJson(dek);
      out << std::string_view(line.data(), line.size()) << "\n";
    }
    if (TextOf(page, "done") != "true") continue;
    // What was cut off on its way is told from what was short from the start.
    out << kEnd << digest.records() << "\n";
    out.flush();
    if (!out) return Io("cannot write " + file.string());
    const InventoryFile written{digest.records(), digest.Finish()};
    if (TextOf(page, "digest") != ToHex(written.digest) || TextOf(page, "records") != std::to_string(written.records))
      return Integrity("the appliance has recorded another inventory than it has sent", "inventory-differs");
    return written;
  }
}

Result<std::uint64_t> RestoreInventories(const std::filesystem::path& file, const appliance::State& state,
                                         ledger::Ledger& ledger, const std::optional<ledger::BackedUp>& recorded,
                                         bool unbound) {
  if (!recorded && !unbound)
    return Integrity("nothing in this backup's log says what its inventory is: an earlier build has made it",
                     "inventory-unbound");
  std::ifstream in(file, std::ios::binary);
  if (!in && unbound) return std::uint64_t{0};  // a backup of before there were inventories
  if (!in)
    return Integrity("the backup has no inventory; evidence entry " + std::to_string(recorded->index) + " says that " +
                         std::to_string(recorded->records) + " wrapped DEKs are in it",
                     "inventory-differs");
  TRY_ASSIGN(const auto put, PutLines(in, state, ledger, !unbound));
  if (!unbound) TRY(Compare(put, *recorded));
  return put.records;
}

}  // namespace strongroom::provisioning
