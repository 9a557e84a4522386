#include "appliance/gcm_budget.h"

namespace strongroom::appliance {

Result<std::uint64_t> GcmEncryptions(const ledger::Ledger& ledger, const Version& version) {
  TRY_ASSIGN(const auto counters, ledger.CountersNow(version.kek));
  return counters.wraps + counters.rewraps_to;
}

bool CountsForGcm(const Version& version) {
  return version.suite == crypto::Suite::kGcm && version.custody.starts_with(kTokenPrefix);
}

Result<void> CheckGcmBudget(const ledger::Ledger& ledger, const Version& version, std::uint64_t more,
                            std::uint64_t refuse) {
  if (version.suite != crypto::Suite::kGcm) return {};
  TRY_ASSIGN(const auto done, GcmEncryptions(ledger, version));
  if (done + more < refuse) return {};
  return Conflict("this version has done as many GCM encryptions as are safe: rotate the keyring", "gcm-exhausted");
}

std::string GcmBudgetFault(const State& state, const ledger::Ledger& ledger, std::uint64_t warn) {
  std::string fault;
  for (const auto& [name, keyring] : state.keyrings) {
    const auto& primary = *keyring->Primary();
    if (!CountsForGcm(primary)) continue;
    const auto done = GcmEncryptions(ledger, primary);
    if (done && *done < warn) continue;
    fault += (fault.empty() ? "rotate: " : ", ") + name + " v" + std::to_string(primary.number) +
             (done ? " has made " + std::to_string(*done) + " GCM encryptions of at most " + std::to_string(kGcmRefuse)
                   : " cannot be counted: " + done.error().Line());
  }
  return fault;
}

}  // namespace strongroom::appliance
