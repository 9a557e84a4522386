#include "appliance/overrides.h"

#include "appliance/break_glass.h"

namespace strongroom::appliance {

std::optional<std::string> Overrides::Use(std::string_view check, std::string_view scope) {
  const auto state = snapshot_();
  const auto now = clock_.Now();
  const auto* opened = clock_.Fault().empty() ? Covering(*state, check, scope, now) : nullptr;
  if (opened == nullptr) return std::nullopt;
  const MutexLock lock(mutex_);
  auto& uses = uses_[opened->id];
  if (!IsOpen(*opened, uses, now)) return std::nullopt;
  ++uses;
  return opened->id;
}

bool Overrides::Covers(std::string_view check, std::string_view scope) const {
  const auto state = snapshot_();
  const auto now = clock_.Now();
  const auto* opened = clock_.Fault().empty() ? Covering(*state, check, scope, now) : nullptr;
  return opened != nullptr && IsOpen(*opened, Uses(opened->id), now);
}

std::uint64_t Overrides::Uses(const std::string& id) const {
  const MutexLock lock(mutex_);
  const auto at = uses_.find(id);
  return at == uses_.end() ? 0 : at->second;
}

std::optional<std::string> Overrides::Open() const {
  const auto state = snapshot_();
  for (const auto& [id, opened] : state->break_glass)
    if (IsOpen(*opened, Uses(id), clock_.Now())) return id;
  return std::nullopt;
}

}  // namespace strongroom::appliance
