#include "provisioning/data_commands.h"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <filesystem>
#include <iostream>

#include "crypto/envelope.h"
#include "crypto/note.h"
#include "crypto/text_rules.h"

namespace strongroom::provisioning {
namespace {

namespace bj = boost::json;
using ledger::Operation;

Result<bj::value> BodyFor(Operation operation, const DataOptions& options) {
  bj::object body(netapi::SecretJsonStorage());
  if (operation == Operation::kDataKey) {
    body["bytes"] = options.bytes;
    body["plaintext"] = options.plaintext;
  } else {
    TRY_ASSIGN(auto input, ReadInput(options.in));
    while (!input.empty() && (input.back() == '\n' || input.back() == '\r')) input.pop_back();
    body[operation == Operation::kWrap ? "plaintext" : "wrapped"] = bj::string_view(input.data(), input.size());
  }
  if (!options.aad.empty() && operation != Operation::kRewrap) body["aad"] = options.aad;
  return bj::value(std::move(body), netapi::SecretJsonStorage());
}

Result<void> Run(const CliSession& session, Operation operation, const DataOptions& options) {
  TRY_ASSIGN(const auto body, BodyFor(operation, options));
  const auto text = netapi::WriteJson(body);
  TRY_ASSIGN(const auto answer,
             session.Ask("POST", "/v1/keyrings/" + options.keyring + "/" + std::string(ledger::ToString(operation)),
                         {text.data(), text.size()}));
  if (session.json) {
    auto document = netapi::WriteJson(answer);
    document.push_back('\n');
    return WriteOutput(options.out, {document.data(), document.size()});
  }
  netapi::SecretText out;
  for (const auto* member : {"wrapped", "plaintext"})
    if (const auto* value = answer.get_object().if_contains(member)) {
      const auto& line = value->get_string();
      out.append(line.data(), line.size());
      out.push_back('\n');
    }
  if (const auto* fresh = answer.get_object().if_contains("rewrapped"))
    std::cerr << "note: this DEK is wrapped under version " << TextOf(answer, "kek_version")
              << ", which is not the primary; keep this instead: " << std::string_view(fresh->get_string()) << "\n";
  return WriteOutput(options.out, {out.data(), out.size()});
}

}  // namespace

int RunData(const CliSession& session, Operation operation, const DataOptions& options) {
  const auto done = Run(session, operation, options);
  return done ? kExitDone : Fail(done.error());
}

namespace {

int PrintFields(const CliSession& session, const bj::object& out) {
  if (session.json) {
    PrintJson(out);
    return kExitDone;
  }
  for (const auto& member : out)
    std::cout << std::string(12 - std::min<std::size_t>(12, member.key().size()), ' ') << std::string_view(member.key())
              << "  " << TextOf(out, std::string_view(member.key())) << "\n";
  return kExitDone;
}

// A checkpoint's text may be inspected by anyone; whether the signatures are good only its key tells.
int InspectCheckpoint(const CliSession& session, const std::string& note) {
  const auto split = note.rfind("\n\n");
  const auto head = crypto::Checkpoint::Parse(note.substr(0, split == std::string::npos ? 0 : split + 1));
  if (!head)
    return Fail(
        Invalid("neither a wrapped DEK (one whole text that begins with srw1:) nor a checkpoint (a file or its text)"));
  bj::array signers;
  for (auto line : crypto::SplitWords(std::string_view(note).substr(split + 2), '\n')) {
    const auto words = crypto::SplitWords(line);
    const auto bytes = words.size() == 3 ? DecodeBase64(words[2], Base64::kStandardPadded) : std::nullopt;
    if (bytes && bytes->size() > 4)
      signers.push_back(bj::string(std::string(words[1]) + "+" + ToHex(ByteView(*bytes).first(4))));
  }
  bj::object out;
  out["format"] = "checkpoint (not verified)";
  out["origin"] = head->origin;
  out["size"] = head->size;
  out["root"] = ToHex(head->root);
  out["signed_by"] = std::move(signers);
  return PrintFields(session, out);
}

}  // namespace

int Inspect(const CliSession& session, const std::string& text) {
  const auto envelope = crypto::ParseEnvelope(text);
  if (!envelope) {
    std::error_code ignored;
    if (!std::filesystem::is_regular_file(text, ignored)) return InspectCheckpoint(session, text);
    const auto file = ReadInput(text);
    return file ? InspectCheckpoint(session, {file->data(), file->size()}) : Fail(file.error());
  }
  bj::object out;
  out["format"] = "srw1";
  out["suite"] = crypto::ToString(envelope->suite);
  out["instance"] = ToHex(envelope->instance);
  out["keyring_id"] = ToHex(envelope->keyring);
  out["version"] = envelope->version;
  out["kek"] = ToHex(envelope->kek);
  out["blob_bytes"] = envelope->blob.size();
  if (envelope->suite == crypto::Suite::kGcm && envelope->blob.size() >= 60)
    out["dek_bytes"] = envelope->blob.size() - 60;
  return PrintFields(session, out);
}

}  // namespace strongroom::provisioning
