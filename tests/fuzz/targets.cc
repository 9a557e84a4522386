#include "tests/fuzz/targets.h"

#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "crypto/anchor.h"
#include "crypto/envelope.h"
#include "crypto/merkle.h"
#include "crypto/note.h"
#include "crypto/proposal_text.h"
#include "crypto/roster.h"
#include "crypto/sshsig.h"
#include "crypto/text_rules.h"
#include "hsm/frame.h"
#include "hsm/tokend_config.h"
#include "hsm/uri.h"
#include "ledger/control_entry.h"
#include "ledger/evidence_entry.h"
#include "ledger/inventory.h"
#include "ledger/log_folder.h"
#include "netapi/config.h"
#include "netapi/data_json.h"
#include "netapi/ndjson.h"
#include "netapi/router.h"
#include "provisioning/ceremony_script.h"
#include "tests/fuzz/samples.h"
#include "tests/support/sample_record.h"
#include "tests/support/temp_dir.h"

namespace strongroom::tests {
namespace {

void Require(bool holds, const char* promise) {
  if (holds) return;
  std::fprintf(stderr, "broken: %s\n", promise);
  std::abort();
}

Bytes Copy(ByteView bytes) { return {bytes.begin(), bytes.end()}; }
Bytes Copy(std::string_view text) { return Copy(AsBytes(text)); }

// A file that has no place in any folder, for readers that take a path.
std::string MemoryFile(ByteView content) {
  static const int fd = memfd_create("fuzz", 0);
  if (ftruncate(fd, 0) != 0 || pwrite(fd, content.data(), content.size(), 0) < 0) std::abort();
  return "/proc/self/fd/" + std::to_string(fd);
}

bool Envelope(ByteView input) {
  const auto text = AsText(input);
  const auto parsed = crypto::ParseEnvelope(text);
  if (parsed) Require(crypto::FormatEnvelope(*parsed) == text, "an envelope has one text");
  if (!parsed) Require(parsed.error().code == Code::kUnwrapFailed, "every bad envelope is the same answer (K5)");
  return parsed.has_value();
}

bool Proposal(ByteView input) {
  const auto text = AsText(input);
  const auto parsed = crypto::ProposalText::Parse(text);
  if (!parsed) return false;
  const auto again = parsed->Render();
  Require(again ? *again == text : !parsed->CheckReadable(),
          "what parses is canonical: it is what custodians sign (Q1), or of an earlier build and not filed any more");
  return true;
}

bool Roster(ByteView input) {
  const auto text = AsText(input);
  (void)crypto::ParseOrganisation(text);
  const auto parsed = crypto::Roster::Parse(text);
  if (!parsed) return false;
  Require(crypto::RosterText(parsed->instance(), parsed->version(), parsed->previous(), parsed->parts()) == text,
          "a roster has one text");
  (void)crypto::RosterAllowedSigners(*parsed);
  return true;
}

// First line: a public key; the rest: an armored signature over `message`.
bool SshSignature(ByteView input) {
  const auto text = AsText(input);
  const auto end = std::min(text.find('\n'), text.size());
  const auto key = text.substr(0, end);
  const auto armored = text.substr(std::min(end + 1, text.size()));
  const bool good_key = crypto::CheckSshPublicKey(key).has_value();
  const auto verified =
      crypto::VerifySshSignature(key, crypto::kVoteNamespace, AsBytes(kSignedSample), armored).has_value();
  Require(!verified || good_key, "a key that is refused verifies nothing");
  Require(!verified || key == kSampleKey, "nobody else's key verifies this message");
  Require(!crypto::VerifySshSignature(key, crypto::kRosterNamespace, AsBytes(kSignedSample), armored),
          "a signature is of one namespace");
  return verified;
}

bool Note(ByteView input) {
  const auto text = AsText(input);
  static const auto key = *crypto::NoteKey::Parse(kSampleNoteKey);
  if (const auto parsed = crypto::NoteKey::Parse(text)) Require(parsed->Text() == text, "a verifier key has one text");
  const auto note = crypto::OpenNote(text, std::span(&key, 1));
  if (note) Require(note->text == kSampleNoteText, "only what was signed opens");
  return note.has_value();
}

bool Checkpoint(ByteView input) {
  const auto text = AsText(input);
  const auto parsed = crypto::Checkpoint::Parse(text);
  if (parsed) Require(parsed->Text() == text, "a checkpoint has one text");
  return parsed.has_value();
}

bool ControlEntry(ByteView input) {
  const auto parsed = ledger::DecodeControl(input);
  if (parsed) Require(ledger::Encode(*parsed) == Copy(input), "an entry has one encoding");
  return parsed.has_value();
}

bool EvidenceEntry(ByteView input) {
  const auto parsed = ledger::DecodeEvidence(input);
  if (parsed) Require(ledger::Encode(*parsed) == Copy(input), "an entry has one encoding");
  return parsed.has_value();
}

// First byte: which of the database's and the token's records.
bool Record(ByteView input) {
  if (input.empty()) return false;
  const auto body = input.subspan(1);
  switch (input[0] % 4) {
    case 0: {
      const auto parsed = ledger::DecodeDek(body);
      if (parsed) Require(ledger::Encode(*parsed) == Copy(body), "a DEK's record has one encoding");
      return parsed.has_value();
    }
    case 1: {
      const auto parsed = ledger::DecodeCounters(body);
      if (parsed) Require(ledger::Encode(*parsed) == Copy(body), "counters have one encoding");
      return parsed.has_value();
    }
    case 2: {
      const auto parsed = crypto::MerkleFrontier::Decode(body);
      if (parsed) Require(parsed->Encode() == Copy(body), "a frontier has one encoding");
      return parsed.has_value();
    }
    default: {
      const auto parsed = crypto::DecodeRecord(body);
      // Former formats are read and never written again.
      if (parsed && crypto::FormatOf(body) == 7)
        Require(crypto::EncodeRecord(*parsed) == Copy(body), "a record has one encoding");
      return parsed.has_value();
    }
  }
}

bool RequestFrame(ByteView input) {
  const auto parsed = hsm::DecodeRequest(input);
  if (!parsed) return false;
  const auto again = hsm::EncodeRequest(*parsed);
  Require(std::equal(again.begin() + 4, again.end(), input.begin(), input.end()), "a request has one frame");
  return true;
}

bool ResponseFrame(ByteView input) {
  const auto parsed = hsm::DecodeResponse(input);
  if (!parsed) return false;
  const auto again = hsm::DecodeResponse(ByteView(hsm::EncodeResponse(*parsed)).subspan(4));
  Require(again.has_value(), "what a host can say can be said again");
  return true;
}

// First byte: the operation, and whether the body is one about a DEK of the inventory.
bool JsonRequest(ByteView input) {
  if (input.empty()) return false;
  using enum ledger::Operation;
  constexpr std::array kOperations = {kWrap, kUnwrap, kRewrap, kDataKey, kDekPut, kDekDelete};
  const auto operation = kOperations[input[0] % kOperations.size()];
  const auto text = AsText(input.subspan(1));
  const auto body =
      (input[0] & 0x80) != 0 ? netapi::ParseDekBody(operation, "dek-1", text) : netapi::ParseDataBody(operation, text);
  if (!body) return false;
  Require(!body->items.empty() && body->items.size() <= netapi::kMaxBatchItems, "a body has 1 to 1000 items");
  for (const auto& item : body->items) {
    Require(item.plaintext.size() <= crypto::kMaxDekBytes, "a DEK is at most 512 bytes");
    Require(item.aad.size() <= crypto::kMaxAadBytes, "AAD is at most 4096 bytes");
  }
  return true;
}

// First byte: how large the pieces are that the stream comes in.
bool NdjsonStream(ByteView input) {
  if (input.empty()) return false;
  const std::size_t piece = input[0] + std::size_t{1};
  const auto text = AsText(input.subspan(1));
  const auto split = [&](std::size_t size) {
    std::vector<std::pair<std::string, bool>> lines;
    const auto keep = [&](std::string_view line, bool too_long) {
      Require(line.size() <= netapi::kMaxLine, "a line is bounded");
      lines.emplace_back(line, too_long);
    };
    netapi::LineSplitter splitter;
    for (std::size_t at = 0; at < text.size(); at += size) splitter.Feed(text.substr(at, size), keep);
    splitter.Finish(keep);
    return lines;
  };
  const auto lines = split(piece);
  Require(lines == split(std::max<std::size_t>(1, text.size())), "lines do not depend on the pieces they come in");
  bool good = false;
  for (const auto& [line, too_long] : lines) {
    const auto item = netapi::ParseDataLine(ledger::Operation::kRewrap, line, too_long);
    good = good || !item.refused;
  }
  return good;
}

// One line a part of a request: method, target.
bool Target(ByteView input) {
  const auto text = AsText(input);
  const auto end = std::min(text.find(' '), text.size());
  const auto matched = netapi::Match(text.substr(0, end), text.substr(std::min(end + 1, text.size())));
  if (!matched) return false;
  for (const auto& value : matched->values) Require(value.find('%') == std::string::npos, "no segment is decoded");
  (void)netapi::QueryNumber(matched->query, "limit", 100, {"limit", "after"});
  (void)netapi::QueryText(matched->query, "after", {"limit", "after"});
  return true;
}

bool Configuration(ByteView input) {
  const auto path = MemoryFile(input);
  const bool server = netapi::ReadServerConfig(path).has_value();
  const bool tokend = hsm::ReadTokendConfig(path).has_value();
  return server && tokend;
}

bool Uri(ByteView input) { return hsm::TokenUri::Parse(std::string(AsText(input))).has_value(); }

bool Ceremony(ByteView input) {
  const auto text = AsText(input);
  const auto parsed = provisioning::CeremonyScript::Parse(text, "ceremony.toml");
  if (parsed) Require(parsed->text == text, "what is hashed is what is read");
  return parsed.has_value();
}

// A log's folder as an export has it: checkpoint, bundle and tile of one partial tile, each behind its 16-bit size.
bool LogFolder(ByteView input) {
  static const TempDir where;
  const auto folder = where.path();
  std::array<ByteView, 3> parts;
  for (auto& part : parts) {
    if (input.size() < 2) return false;
    const std::size_t size = std::size_t{input[0]} << 8 | input[1];
    part = input.subspan(2, std::min(size, input.size() - 2));
    input = input.subspan(2 + part.size());
  }
  const std::array paths = {folder + "/control/checkpoint",
                            folder + "/control/tile/" + ledger::BundlePath(0, kSampleLogSize),
                            folder + "/control/tile/" + ledger::TilePath(0, 0, kSampleLogSize)};
  for (std::size_t i = 0; i < parts.size(); ++i) {
    std::filesystem::create_directories(std::filesystem::path(paths[i]).parent_path());
    std::ofstream(paths[i], std::ios::binary)
        .write(reinterpret_cast<const char*>(parts[i].data()), static_cast<std::streamsize>(parts[i].size()));
  }
  std::uint64_t entries = 0;
  const auto visit = [&](std::uint64_t index, ByteView) -> Result<void> {
    Require(index == entries++, "entries come in order");
    return {};
  };
  (void)ledger::ReadLogFolder(folder, "control", visit);
  entries = 0;
  static const auto key = *crypto::NoteKey::Parse(kSampleNoteKey);
  std::set<std::string> files;
  const auto head = ledger::VerifyLogFolder(folder, "control", std::span(&key, 1), visit, files);
  if (head) Require(head->size == entries, "as many entries as the head says");
  return head.has_value();
}

std::vector<Bytes> Texts(std::initializer_list<std::string_view> texts) {
  std::vector<Bytes> out;
  for (const auto text : texts) out.push_back(Copy(text));
  return out;
}
Bytes Behind(std::uint8_t first, ByteView rest) {
  Bytes out = {first};
  Append(out, rest);
  return out;
}
Bytes Behind(std::uint8_t first, std::string_view rest) { return Behind(first, AsBytes(rest)); }

template <class Frame>
Bytes Body(const Frame& frame) {
  return Copy(ByteView(frame).subspan(4));
}

hsm::KeyRef SampleRef() { return {"0123456789abcdef", crypto::MakeKeyId({1, 2, 3}, 1), crypto::Suite::kKwp}; }

std::vector<Bytes> EvidenceSeeds() {
  ledger::EvidenceEntry entry;
  entry.time = 1'700'000'000'000;
  entry.request_id = "0123456789abcdef";
  entry.principal = "service-1";
  entry.operation = ledger::Operation::kWrap;
  entry.keyring = "install";
  entry.items = 3;
  entry.outcome = "ok";
  entry.uses = {{crypto::MakeKeyId({1}, 1), ledger::Use::kWrap, 3}};
  return {ledger::Encode(entry)};
}

std::vector<Bytes> RecordSeeds() {
  crypto::MerkleFrontier tree;
  for (int i = 0; i < 5; ++i) tree.Append(crypto::LeafHash(AsBytes("entry")));
  return {Behind(0, ledger::Encode(ledger::DekRecord{1, 1'700'000'000'000, "", Bytes(96, 7)})),
          Behind(1, ledger::Encode(ledger::KekCounters())), Behind(2, tree.Encode()),
          Behind(3, crypto::EncodeRecord(SampleRecord()))};
}

std::vector<Bytes> RequestSeeds() {
  const auto digest = crypto::Sha256(AsBytes("context"));
  const hsm::Context context{{1, 2, 3}, {4, 5, 6}, Bytes(7, 'a')};
  std::vector<hsm::KeyOp> ops;
  ops.emplace_back(hsm::WrapOp{SampleRef(), *SecretBytes::CopyOf(AsBytes("0123456789abcdef")), context});
  ops.emplace_back(hsm::UnwrapOp{SampleRef(), Bytes(60, 7), context, SampleRef()});
  ops.emplace_back(hsm::RewrapOp{SampleRef(), SampleRef(), Bytes(104, 9)});
  ops.emplace_back(hsm::DataKeyOp{SampleRef(), 64, context, true});
  ops.emplace_back(hsm::ReleaseOp{SampleRef(), "fedcba9876543210", Bytes(104, 9)});
  ops.emplace_back(hsm::AdmitOp{SampleRef(), *SecretBytes::CopyOf(AsBytes("0123456789abcdef")), digest});
  const hsm::ApprovedText approved{"text", {{"custodian-1", crypto::Verdict::kApprove, "signature"}}, "roster"};
  return {Body(hsm::EncodeExecute(7, ops)),
          Body(hsm::EncodeRequest({1, hsm::GenerateRequest{approved, {SampleRef(), "strongroom install v1"}}})),
          Body(hsm::EncodeRequest({2, hsm::InventoryRequest()})),
          Body(hsm::EncodeRequest({3, hsm::SignRequest{{"origin", 7, digest, {}}, {digest, digest}}})),
          Body(hsm::EncodeRequest({4, hsm::ChangeRecordRequest{approved}})),
          Body(hsm::EncodeRequest({5, hsm::EndDestructionRequest{SampleRef(), hsm::DestructionEnd::kDestroy}})),
          Body(hsm::EncodeRequest({6, hsm::MandateRequest{{SampleRef(), "strongroom install v2"}}}))};
}

std::vector<Bytes> ResponseSeeds() {
  hsm::ExecuteResponse results;
  results.emplace_back(hsm::KeyOpOutput{Bytes(40, 1), *SecretBytes::CopyOf(AsBytes("secret-secret-16"))});
  results.emplace_back(UnwrapFailed());
  using hsm::EncodeResponse;
  return {
      Body(EncodeResponse({7, std::move(results)})),
      Body(EncodeResponse({0, hsm::Notice{hsm::HostWord::kLeaving}})),
      Body(EncodeResponse({1, hsm::InventoryResponse{std::vector<hsm::KeyRecord>{
                                  {Bytes(20, 1), "strongroom install v1", crypto::Suite::kKwp, ""}}}})),
      Body(EncodeResponse({2, hsm::IdentityResponse{hsm::TokenIdentity{"serial", "label", "model", "maker", "p"}}})),
      Body(EncodeResponse({3, hsm::SignResponse{std::vector<hsm::CheckpointSignature>{{2, Bytes(70, 1)}}}})),
      Body(EncodeResponse({4, hsm::CheckpointKeysResponse{std::vector<hsm::CheckpointKey>{
                                  {2, Bytes(91, 1), Bytes(91, 2), Bytes(70)}}}})),
      Body(EncodeResponse({5, hsm::RecordResponse{hsm::RecordToAdopt{SampleRecord(), hsm::AdoptedFrom::kInForce}}})),
      Body(EncodeResponse({6, hsm::GenerateResponse{Result<void>(Conflict("stale"))}})),
  };
}

std::vector<Bytes> JsonSeeds() {
  constexpr std::string_view kDek = R"("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")";
  const auto wrap = R"({"plaintext":)" + std::string(kDek) + R"(,"aad":"YWFk"})";
  const auto wrapped = R"({"wrapped":")" + std::string(kSampleEnvelope) + R"("})";
  return {Behind(0, wrap),
          Behind(0, R"({"items":[)" + wrap + "," + wrap + "]}"),
          Behind(1, wrapped),
          Behind(2, wrapped),
          Behind(3, R"({"bytes":32,"plaintext":true})"),
          Behind(4, R"({"id":"dek-1",)" + wrapped.substr(1)),
          Behind(0x80 + 4, wrapped),
          Behind(0x80 + 1, R"({"aad":"YWFk"})")};
}

std::vector<Bytes> StreamSeeds() {
  const auto line = R"({"wrapped":")" + std::string(kSampleEnvelope) + "\"}";
  return {Behind(3, line + "\n" + line + "\r\n\n{}\n" + line), Behind(255, std::string(17000, 'a') + "\n" + line)};
}

std::vector<Bytes> FolderSeeds() {
  Bytes out;
  for (const auto part : {kSampleNote, kSampleBundle, kSampleTile}) {
    const auto bytes = *DecodeBase64(part, Base64::kStandardPadded);
    out.push_back(static_cast<std::uint8_t>(bytes.size() >> 8));
    out.push_back(static_cast<std::uint8_t>(bytes.size()));
    Append(out, bytes);
  }
  return {out};
}

}  // namespace

const std::vector<FuzzTarget>& FuzzTargets() {
  static const std::vector<FuzzTarget> targets = {
      {"envelope", Envelope, [] { return Texts({kSampleEnvelope}); }},
      {"proposal", Proposal,
       [] {
         return Texts({kSampleProposal, kSampleProposalV1});
       }},
      {"roster", Roster, [] { return Texts({kSampleRoster}); }},
      {"sshsig", SshSignature, [] { return Texts({kSampleSignature}); }},
      {"note", Note, [] { return std::vector<Bytes>{*DecodeBase64(kSampleNote, Base64::kStandardPadded)}; }},
      {"checkpoint", Checkpoint, [] { return Texts({kSampleNoteText}); }},
      {"control-entry", ControlEntry, [] { return std::vector<Bytes>(); }},
      {"evidence-entry", EvidenceEntry, EvidenceSeeds},
      {"record", Record, RecordSeeds},
      {"request-frame", RequestFrame, RequestSeeds},
      {"response-frame", ResponseFrame, ResponseSeeds},
      {"json-request", JsonRequest, JsonSeeds},
      {"ndjson", NdjsonStream, StreamSeeds},
      {"target", Target,
       [] {
         return Texts({"POST /v1/keyrings/install/wrap", "GET /v1/proposals?limit=10&after=abc"});
       }},
      {"configuration", Configuration, [] { return Texts({kSampleConfiguration}); }},
      {"uri", Uri, [] { return Texts({kSampleUri}); }},
      {"ceremony", Ceremony, [] { return Texts({kSampleCeremony}); }},
      {"log-folder", LogFolder, FolderSeeds},
  };
  return targets;
}

const FuzzTarget& FindFuzzTarget(std::string_view name) {
  for (const auto& target : FuzzTargets())
    if (target.name == name) return target;
  std::fprintf(stderr, "there is no fuzz target '%.*s'\n", static_cast<int>(name.size()), name.data());
  std::abort();
}

}  // namespace strongroom::tests
