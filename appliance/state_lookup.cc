// What is asked of a state without changing it.

#include "appliance/state.h"

namespace strongroom::appliance {

std::string_view ToString(VersionState state) {
  switch (state) {
    case VersionState::kPreActive:
      return "pre-active";
    case VersionState::kActive:
      return "active";
    case VersionState::kDeactivated:
      return "deactivated";
    case VersionState::kArchived:
      return "archived";
    case VersionState::kCompromised:
      return "compromised";
    case VersionState::kPendingDestruction:
      return "pending-destruction";
    case VersionState::kDestroyed:
      return "destroyed";
  }
  return "unknown";
}

const Keyring* State::FindKeyring(std::string_view name) const {
  const auto at = keyrings.find(name);
  return at == keyrings.end() ? nullptr : at->second.get();
}

const Proposal* State::FindProposal(std::string_view id) const {
  const auto at = proposals.find(id);
  return at == proposals.end() ? nullptr : at->second.get();
}

const Keyring* State::FindKeyring(const crypto::KeyringId& id) const {
  const auto name = keyring_names.find(id);
  return name == keyring_names.end() ? nullptr : FindKeyring(name->second);
}

const Job* State::LiveJob(const crypto::KeyringId& keyring) const {
  for (const auto& [id, job] : jobs)
    if (job->keyring == keyring && job->Live()) return job.get();
  return nullptr;
}

bool State::EmergencyOpen(const crypto::KeyringId& keyring, std::uint32_t version) const {
  const auto at = emergencies.find({keyring, version});
  return at != emergencies.end() && at->second.closed == 0;
}

}  // namespace strongroom::appliance
