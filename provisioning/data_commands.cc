#include "provisioning/data_commands.h"

#include <boost/json/object.hpp>
#include <iostream>

#include "crypto/envelope.h"

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

int Inspect(const CliSession& session, const std::string& text) {
  const auto envelope = crypto::ParseEnvelope(text);
  if (!envelope) return Fail(Invalid("not a wrapped DEK: expected one whole text that begins with srw1:"));
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
  if (session.json) {
    PrintJson(out);
    return kExitDone;
  }
  for (const auto& member : out)
    std::cout << std::string(12 - std::min<std::size_t>(12, member.key().size()), ' ') << std::string_view(member.key())
              << "  " << TextOf(out, std::string_view(member.key())) << "\n";
  return kExitDone;
}

}  // namespace strongroom::provisioning
