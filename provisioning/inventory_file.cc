#include "provisioning/inventory_file.h"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <fstream>

namespace strongroom::provisioning {
namespace {

namespace bj = boost::json;
constexpr std::size_t kBatch = 2048;
const std::string kEnd = "# end, wrapped DEKs: ";

Error Damaged(std::uint64_t line, const std::string& what) {
  return Integrity("line " + std::to_string(line) + " of the backup's inventory " + what, "inventory-damaged");
}

Result<ledger::DekWrite> ReadLine(const appliance::State& state, const std::string& line, std::uint64_t number) {
  const auto value = netapi::ParseJson(line);
  if (!value) return Damaged(number, "is not JSON");
  const auto in = netapi::Fields::Of(*value, {"id", "wrapped", "kek_version", "stored", "quarantine"});
  if (!in) return Damaged(number, "has another form");
  const auto id = in->Text("id", ledger::kMaxDekIdBytes);
  const auto wrapped = in->Text("wrapped", crypto::kMaxEnvelopeText);
  const auto stored = in->Text("stored", 64);
  const auto at = stored ? ParseTime(*stored) : std::nullopt;
  const auto quarantine = in->Has("quarantine") ? in->Text("quarantine", 64) : Result<std::string>(std::string());
  auto envelope = wrapped ? crypto::ParseEnvelope(*wrapped) : Result<crypto::Envelope>(wrapped.error());
  if (!id || !ledger::IsDekId(*id) || !at || !quarantine || !envelope) return Damaged(number, "has another form");
  const auto* keyring = state.FindKeyring(envelope->keyring);
  const auto* version = keyring == nullptr ? nullptr : keyring->Find(envelope->version);
  if (!state.roster || envelope->instance != state.roster->instance() || version == nullptr ||
      version->kek != envelope->kek)
    return Damaged(number, "is under a KEK that its control log does not know");
  return ledger::DekWrite{envelope->keyring, *id,
                          ledger::DekRecord{envelope->version, *at, *quarantine, std::move(envelope->blob)}};
}

}  // namespace

Result<std::uint64_t> WriteInventories(const CliSession& session, const std::filesystem::path& file) {
  std::ofstream out(file, std::ios::binary);
  std::uint64_t written = 0;
  TRY_ASSIGN(const auto keyrings, AskAll(session, "/v1/keyrings"));
  TRY_ASSIGN(const auto client, session.Connect());
  for (const auto& keyring : keyrings.get_object().at("items").get_array()) {
    const auto target = "/v1/keyrings/" + TextOf(keyring, "name") + "/deks?limit=1000";
    for (std::string after; true;) {
      TRY_ASSIGN(const auto answer, client->Call("GET", target + (after.empty() ? "" : "&after=" + after)));
      TRY_ASSIGN(const auto page, netapi::ParseAnswer(answer));
      for (const auto& dek : page.get_object().at("items").get_array()) {
        const auto line = netapi::WriteJson(dek);
        out << std::string_view(line.data(), line.size()) << "\n";
        ++written;
      }
      if (page.get_object().at("next").is_null()) break;
      after = TextOf(page, "next");
    }
  }
  // What was cut off on its way is told from what was short from the start.
  out << kEnd << written << "\n";
  out.flush();
  if (!out) return Io("cannot write " + file.string());
  return written;
}

Result<std::uint64_t> RestoreInventories(const std::filesystem::path& file, const appliance::State& state,
                                         ledger::Ledger& ledger) {
  std::ifstream in(file, std::ios::binary);
  if (!in) return std::uint64_t{0};  // a backup of before there were inventories
  std::uint64_t number = 0;
  ledger::Submission batch;
  bool ended = false;
  for (std::string line; std::getline(in, line);) {
    if (ended) return Damaged(number, "is not the last one");
    if (line == kEnd + std::to_string(number)) {
      ended = true;
      continue;
    }
    TRY_ASSIGN(auto write, ReadLine(state, line, ++number));
    batch.deks.push_back(std::move(write));
    if (batch.deks.size() == kBatch) TRY(ledger.Record(std::exchange(batch, {})));
  }
  if (!ended) return Damaged(number, "is not the last one of what was written: the rest is missing");
  if (!batch.deks.empty()) TRY(ledger.Record(std::move(batch)));
  return number;
}

}  // namespace strongroom::provisioning
