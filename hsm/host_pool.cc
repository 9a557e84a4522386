#include "hsm/host_pool.h"

namespace strongroom::hsm {

std::string HostSocket(const std::string& first, unsigned host) {
  return host == 0 ? first : first + "." + std::to_string(host);
}

HostPool::HostPool(const RemoteKeyOps::Options& options, unsigned hosts) {
  for (unsigned i = 0; i < hosts; ++i) {
    auto each = options;
    each.socket_path = HostSocket(options.socket_path, i);
    lanes_.push_back(std::make_unique<Lane>());
    lanes_.back()->ops = std::make_unique<RemoteKeyOps>(std::move(each));
  }
}

HostPool::Lane& HostPool::Pick() {
  // Ties go round, so that idle hosts share the work; with nobody connected the turn's host is waited for.
  const auto first = turn_++;
  Lane* best = nullptr;
  for (std::size_t i = 0; i < lanes_.size(); ++i) {
    auto& lane = *lanes_[(first + i) % lanes_.size()];
    if (lane.ops->Link() == LinkState::kUp && (best == nullptr || lane.under_way < best->under_way)) best = &lane;
  }
  return best != nullptr ? *best : *lanes_[first % lanes_.size()];
}

std::vector<Result<KeyOpOutput>> HostPool::Execute(std::span<const KeyOp> ops) {
  auto& lane = Pick();
  ++lane.under_way;
  auto results = lane.ops->Execute(ops);
  --lane.under_way;
  return results;
}

Result<void> HostPool::Generate(crypto::ExecutionGrant grant, const KeySpec& spec) {
  return lanes_[0]->ops->Generate(std::move(grant), spec);
}
Result<std::vector<CheckpointSignature>> HostPool::SignCheckpoint(const crypto::Checkpoint& head,
                                                                  std::span<const crypto::Digest> proof) {
  return lanes_[0]->ops->SignCheckpoint(head, proof);
}
Result<std::vector<CheckpointKey>> HostPool::CheckpointKeys() { return lanes_[0]->ops->CheckpointKeys(); }
Result<crypto::LedgerRecord> HostPool::ReadLedgerRecord() { return lanes_[0]->ops->ReadLedgerRecord(); }
Result<RecordToAdopt> HostPool::ReadRecordToAdopt() { return lanes_[0]->ops->ReadRecordToAdopt(); }
Result<void> HostPool::JudgeProposal(crypto::ExecutionGrant grant) {
  return lanes_[0]->ops->JudgeProposal(std::move(grant));
}
Result<void> HostPool::BringChain(const crypto::RosterChain& chain) { return lanes_[0]->ops->BringChain(chain); }
Result<crypto::RosterChain> HostPool::ReadChain() { return lanes_[0]->ops->ReadChain(); }
Result<void> HostPool::ChangeLedgerRecord(crypto::ExecutionGrant grant) {
  return lanes_[0]->ops->ChangeLedgerRecord(std::move(grant));
}
Result<void> HostPool::GenerateByMandate(crypto::StandingGrant grant, const KeySpec& spec) {
  return lanes_[0]->ops->GenerateByMandate(std::move(grant), spec);
}
Result<void> HostPool::Destroy(crypto::StandingGrant grant, const KeyRef& key) {
  return lanes_[0]->ops->Destroy(std::move(grant), key);
}
Result<void> HostPool::CancelDestruction(const KeyRef& key) { return lanes_[0]->ops->CancelDestruction(key); }
Result<std::vector<KeyRecord>> HostPool::Inventory() { return Pick().ops->Inventory(); }

Result<TokenIdentity> HostPool::Identity() {
  std::optional<TokenIdentity> known;
  for (auto& lane : lanes_) {
    if (lane->ops->Link() != LinkState::kUp) continue;
    auto identity = lane->ops->Identity();
    if (!identity && identity.error().code == Code::kUnavailable) continue;
    if (!identity) return identity;
    if (known && *known != *identity)
      return Integrity("the hosts of this token see two: " + known->serial + " and " + identity->serial, "impostor");
    known = std::move(*identity);
  }
  if (known) return std::move(*known);
  return Pick().ops->Identity();
}

std::vector<LinkState> HostPool::Links() {
  std::vector<LinkState> links;
  for (auto& lane : lanes_) links.push_back(lane->ops->Link());
  return links;
}

Result<void> HostPool::SelfTest() {
  bool any = false;
  for (auto& lane : lanes_) {
    if (lane->ops->Link() != LinkState::kUp) continue;
    auto tested = lane->ops->SelfTest();
    // A host that goes away meanwhile is being replaced: the others decide.
    if (!tested && tested.error().code != Code::kUnavailable) return tested;
    any = any || tested.has_value();
  }
  return any ? Result<void>() : Pick().ops->SelfTest();
}

}  // namespace strongroom::hsm
