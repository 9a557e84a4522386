#include "hsm/vote_checks.h"

#include <algorithm>

#include "crypto/text_rules.h"

namespace strongroom::hsm {
namespace {

using crypto::Operation;

std::string Param(const crypto::ProposalText& proposal, std::string_view name) {
  const auto at = proposal.params.find(name);
  return at == proposal.params.end() ? std::string() : at->second;
}

Error Mismatch(std::string detail) { return Forbidden(std::move(detail), "grant-mismatch"); }

bool IsOf(const KeyRecord& record, ByteView keyring) {
  return record.id.size() == crypto::KeyId().size() && std::equal(keyring.begin(), keyring.end(), record.id.begin());
}

std::uint32_t VersionOf(ByteView id) {
  std::uint32_t version = 0;
  for (const auto byte : id.subspan(id.size() - 4)) version = version << 8 | byte;
  return version;
}

crypto::KeyringId KeyringOf(const crypto::KeyId& key) {
  crypto::KeyringId keyring{};
  std::copy_n(key.begin(), keyring.size(), keyring.begin());
  return keyring;
}

const KeyRecord* Find(const std::vector<KeyRecord>& records, ByteView id) {
  const auto at = std::find_if(records.begin(), records.end(), [&](const KeyRecord& record) {
    return std::equal(id.begin(), id.end(), record.id.begin(), record.id.end());
  });
  return at == records.end() ? nullptr : &*at;
}

Result<void> CheckFirst(const crypto::ProposalText& proposal, const KeySpec& spec,
                        const std::vector<KeyRecord>& records) {
  if (VersionOf(spec.ref.key) != 1) return Mismatch("a keyring is created with version 1");
  const auto keyring = KeyringOf(spec.ref.key);
  if (HighestVersion(keyring, records) != 0)
    return Conflict("the token has a KEK of keyring id " + ToHex(keyring) + " already", "key-exists");
  const auto label = "strongroom " + proposal.keyring + " v";
  for (const auto& record : records)
    if (record.label.starts_with(label))
      return Conflict("the token has '" + record.label + "', of another keyring id: choose another name", "key-exists");
  return {};
}

Result<void> CheckNext(const crypto::ProposalText& proposal, const KeySpec& spec,
                       const std::vector<KeyRecord>& records) {
  const std::uint64_t version = VersionOf(spec.ref.key), highest = HighestVersion(KeyringOf(spec.ref.key), records);
  if (highest == 0) return NotFound("the token has no KEK of keyring '" + proposal.keyring + "'", "key-missing");
  if (version == highest + 1) return {};
  if (version > highest && Param(proposal, "above") == std::to_string(highest)) return {};
  return Mismatch("the votes are for version " + std::to_string(version) + ", the token's highest is " +
                  std::to_string(highest));
}

Result<void> CheckMovedHere(const crypto::ProposalText& proposal, const KeySpec& spec,
                            const std::vector<KeyRecord>& records) {
  const auto version = VersionOf(spec.ref.key);
  const auto from = crypto::ParseNumber(Param(proposal, "from-version"));
  if (Param(proposal, "token") == spec.ref.token) return Mismatch("the keyring is to leave this token");
  if (!from || *from == 0 || version <= *from || version <= HighestVersion(KeyringOf(spec.ref.key), records))
    return Mismatch("a keyring that moves goes on with a version above all that it had");
  return {};
}

Result<void> CheckMovesAway(const crypto::ProposalText& proposal, const crypto::KeyringId& keyring,
                            const std::vector<KeyRecord>& records) {
  const auto from = crypto::ParseNumber(Param(proposal, "from-version"));
  const auto next = crypto::ParseNumber(Param(proposal, "version"));
  if (!from || !next || *from == 0 || *from > 0xFFFFFFFFU)
    return Mismatch("the votes name no version that the keyring leaves, or none that it goes on with");
  const auto key = crypto::MakeKeyId(keyring, static_cast<std::uint32_t>(*from));
  if (Find(records, key) == nullptr) return NotFound("the token has no KEK " + ToHex(key), "key-missing");
  if (*next <= HighestVersion(keyring, records) ||
      Param(proposal, "custody") == std::string(crypto::kTokenPrefix) + Param(proposal, "token"))
    return Mismatch("a keyring that moves goes on in another token, with a version above all that it had");
  return {};
}

Result<void> CheckNamed(Operation operation, const crypto::ProposalText& proposal,
                        const std::vector<KeyRecord>& records) {
  TRY_ASSIGN(const auto key, crypto::NamedKey(proposal));
  const auto* record = Find(records, key);
  if (record == nullptr) return NotFound("the token has no KEK " + ToHex(key), "key-missing");
  if (operation != Operation::kVersionAdopt) return {};
  if (!record->fault.empty())
    return Integrity("KEK " + ToHex(key) + " cannot be adopted: " + record->fault, "key-drift");
  if (Param(proposal, "suite") != crypto::ToString(record->suite))
    return Mismatch("KEK " + ToHex(key) + " is of another suite");
  return {};
}

}  // namespace

Result<void> CheckMayGenerate(const crypto::ProposalText& proposal) {
  TRY_ASSIGN(const auto operation, crypto::OperationOf(proposal));
  if (crypto::MayGenerate(operation)) return {};
  return Mismatch("votes for " + proposal.operation + " make no KEK");
}

Result<void> CheckMayChange(const crypto::ProposalText& proposal) {
  TRY_ASSIGN(const auto operation, crypto::OperationOf(proposal));
  if (crypto::MayChangeRecord(operation)) return {};
  return Mismatch("votes for " + proposal.operation + " change no token's record");
}

std::uint32_t HighestVersion(const crypto::KeyringId& keyring, const std::vector<KeyRecord>& records) {
  std::uint32_t highest = 0;
  for (const auto& record : records)
    if (IsOf(record, keyring)) highest = std::max(highest, VersionOf(record.id));
  return highest;
}

Result<void> CheckVersionToMake(const crypto::ProposalText& proposal, const KeySpec& spec,
                                const std::vector<KeyRecord>& records) {
  TRY_ASSIGN(const auto operation, crypto::OperationOf(proposal));
  switch (crypto::RuleOf(operation).version) {
    case crypto::VersionRule::kFirst:
      return CheckFirst(proposal, spec, records);
    case crypto::VersionRule::kNext:
      return CheckNext(proposal, spec, records);
    case crypto::VersionRule::kMoved:
      return CheckMovedHere(proposal, spec, records);
    case crypto::VersionRule::kNone:
    case crypto::VersionRule::kNamed:
      break;
  }
  return Mismatch("votes for " + proposal.operation + " make no version");
}

Result<void> CheckMandateVersion(const KeySpec& spec, const std::vector<KeyRecord>& records) {
  const auto keyring = KeyringOf(spec.ref.key);
  const std::uint64_t highest = HighestVersion(keyring, records);
  if (highest == 0) return NotFound("the token has no KEK of keyring id " + ToHex(keyring), "key-missing");
  if (VersionOf(spec.ref.key) != highest + 1)
    return Mismatch("a mandate makes version " + std::to_string(highest + 1) + ", the one after the token's highest");
  const auto key = crypto::MakeKeyId(keyring, static_cast<std::uint32_t>(highest));
  if (Find(records, key)->suite != spec.ref.suite) return Mismatch("a mandate goes on with the suite of the keyring");
  return {};
}

Result<void> CheckChangeNamesKeyring(const crypto::ProposalText& proposal, const std::vector<KeyRecord>& records) {
  TRY(CheckMayChange(proposal));
  TRY_ASSIGN(const auto operation, crypto::OperationOf(proposal));
  const auto rule = crypto::RuleOf(operation);
  if (!rule.about_a_keyring) return {};
  const auto id = FromHexArray<16>(Param(proposal, "keyring-id"));
  if (!id) return Invalid("the proposal names no keyring id");
  TRY(CheckSeries(proposal.keyring, *id, records));
  switch (rule.version) {
    case crypto::VersionRule::kNamed:
      return CheckNamed(operation, proposal, records);
    case crypto::VersionRule::kMoved:
      return CheckMovesAway(proposal, *id, records);
    case crypto::VersionRule::kNone:
      if (HighestVersion(*id, records) != 0) return {};
      return NotFound("the token has no KEK of keyring '" + proposal.keyring + "'", "key-missing");
    case crypto::VersionRule::kFirst:
    case crypto::VersionRule::kNext:
      break;
  }
  return Mismatch("votes for " + proposal.operation + " change no token's record");
}

}  // namespace strongroom::hsm
