// What the broker does with changes of the inventory: whose a wrapped DEK is, whether it opens, and how much there may
// be (Q18).

#include "appliance/broker_work.h"

namespace strongroom::appliance {

// How much there is before this request; what it adds is counted as its items are taken.
Result<void> Broker::MeasureInventory(Worked& worked) const {
  TRY_ASSIGN(const auto counts, ledger_.Deks().Counts(worked.keyring->id));
  for (const auto& [version, count] : counts) worked.keyring_deks += count.records;
  const auto& who = worked.pending.request.principal;
  TRY_ASSIGN(const auto here, ledger_.Deks().OwnedBy(worked.keyring->id, who));
  worked.owner_deks = here.records;
  TRY_ASSIGN(const auto owned, ledger_.Deks().OwnedBy(who));
  worked.owner_bytes = owned.bytes;
  return {};
}

Result<void> Broker::TakeClaim(const Claim& claim, const std::string& principal) {
  const MutexLock lock(claims_mutex_);
  auto& [who, count] = claims_[claim];
  if (count > 0 && who != principal)
    return Unavailable("another service is changing this DEK at this moment: come again", "dek-busy");
  who = principal;
  ++count;
  return {};
}

void Broker::GiveBack(const std::vector<Claim>& claims) {
  if (claims.empty()) return;
  const MutexLock lock(claims_mutex_);
  for (const auto& claim : claims)
    if (const auto at = claims_.find(claim); at != claims_.end() && --at->second.second == 0) claims_.erase(at);
}

// What was put belongs to who put it; a row of before belongs to nobody.
Result<void> Broker::CheckOwner(const Worked& worked, const std::optional<ledger::DekRecord>& record) const {
  const auto& who = worked.pending.request.principal;
  if (!record || record->owner.empty() || record->owner == who || worked.keyring->grants.Manages(who)) return {};
  return Conflict("another service has put the DEK of this id: it alone replaces or deletes it", "dek-of-another");
}

Result<std::optional<hsm::KeyOp>> Broker::PrepareChange(Worked& worked, Operation operation, const DataItem& item,
                                                        DataAnswer& answer, std::optional<ledger::DekWrite>& change) {
  if (item.refused) return *item.refused;
  if (!ledger::IsDekId(item.dek))
    return Invalid(
        "the id of a DEK is 1 to 128 characters of A-Z, a-z, 0-9 and . _ - : @ +, the first a letter or digit",
        "bad-dek-id");
  const auto& keyring = *worked.keyring;
  const auto& who = worked.pending.request.principal;
  answer.dek = item.dek;
  // Looked at only when nobody else's change of it is on its way to the disk any more.
  Claim claim(keyring.id, item.dek);
  TRY(TakeClaim(claim, who));
  worked.claims.push_back(std::move(claim));
  TRY_ASSIGN(const auto record, ledger_.Deks().Find(keyring.id, item.dek));
  if (operation == Operation::kDekDelete && !record)
    return NotFound("the inventory has no DEK of this id", "dek-not-found");
  TRY(CheckOwner(worked, record));
  ledger::DekWrite write{keyring.id, item.dek, std::nullopt};
  if (!keyring.grants.Manages(who)) write.only_of = who;
  if (operation == Operation::kDekDelete) {
    answer.kek_version = record->version;
    change = std::move(write);
    return std::optional<hsm::KeyOp>();
  }
  TRY_ASSIGN(auto op, PreparePut(worked, item, record, answer, write));
  change = std::move(write);
  return std::optional(std::move(op));
}

// A put is rewrapped on its way in: what does not open in the token replaces nothing, and a former version gets nothing
// new that a job would have to move.
Result<hsm::KeyOp> Broker::PreparePut(Worked& worked, const DataItem& item,
                                      const std::optional<ledger::DekRecord>& former, DataAnswer& answer,
                                      ledger::DekWrite& write) {
  const auto& keyring = *worked.keyring;
  const auto& primary = *keyring.Primary();
  TRY_ASSIGN(auto envelope, crypto::ParseEnvelope(item.wrapped));
  // What a compromised version has wrapped may still be moved to another: it is taken in.
  TRY_ASSIGN(const Version* version, VersionFor(*worked.state, keyring, envelope, Operation::kRewrap));
  TRY(worked.primary_budget);
  if (!former && worked.keyring_deks >= options_.keyring_deks)
    return Overloaded("the inventory of '" + keyring.name + "' has " + std::to_string(worked.keyring_deks) +
                          " DEKs, as many as it may",
                      "inventory-full");
  const auto& who = worked.pending.request.principal;
  const bool more = !former || former->owner != who;  // of what is hers; who replaces another's takes it over
  if (more && worked.owner_deks >= options_.keyring_deks / 2)
    return Overloaded(who + " has put " + std::to_string(worked.owner_deks) + " DEKs into '" + keyring.name +
                          "', half of what the keyring may have",
                      "inventory-over-share");
  const std::uint64_t size = item.dek.size() + envelope.blob.size();
  const std::uint64_t was = former && former->owner == who ? item.dek.size() + former->blob.size() : 0;
  const std::uint64_t bytes = size > was ? size - was : 0;
  if (worked.owner_bytes + bytes > options_.owner_bytes)
    return Overloaded(who + " has " + std::to_string(worked.owner_bytes) + " bytes in the inventory, of " +
                          std::to_string(options_.owner_bytes) + " that one service may have",
                      "inventory-over-share");
  worked.keyring_deks += former ? 0 : 1;
  worked.owner_deks += more ? 1 : 0;
  worked.owner_bytes += bytes;
  answer.kek_version = primary.number;
  answer.from_version = version->number;
  const auto now = clock_.Now() / 1000 * 1000;
  write.next = ledger::DekRecord{primary.number, now, {}, {}, who};
  return hsm::KeyOp(hsm::RewrapOp{RefOf(*version), RefOf(primary), std::move(envelope.blob)});
}

}  // namespace strongroom::appliance
