#pragma once
// What happened to a version that was compromised (F19): put together from the two logs alone.

#include <map>
#include <string>
#include <vector>

#include "appliance/state.h"
#include "ledger/ledger.h"

namespace strongroom::appliance {

/// EmergencyReport says what was under a version, what was done with it since its compromise, and when what happened.
struct EmergencyReport {
  struct Event {
    Millis time = 0;
    std::string what;
  };
  struct Used {
    std::uint64_t unwraps = 0;
    std::uint64_t rewraps = 0;
    Millis last = 0;
  };
  Millis opened = 0;
  Millis closed = 0;  // 0: open
  VersionState state = VersionState::kCompromised;
  ledger::KekCounters ever;           // all that its KEK has done for the keyring
  std::map<std::string, Used> since;  // by whom since the compromise; `-` is the appliance's own jobs
  std::uint64_t inventory_left = 0;
  std::vector<std::string> quarantined;  // ids, the first 1000
  std::uint64_t quarantined_count = 0;
  std::map<std::string, Acknowledgement> acknowledged;
  std::vector<std::string> awaited;
  std::vector<Event> timeline;
};

/// ReportOn reads the control log, and the evidence log from the compromise on. kConflict (no-emergency) when the
/// version was never compromised.
Result<EmergencyReport> ReportOn(const ledger::Ledger& ledger, const State& state, const Keyring& keyring,
                                 std::uint32_t version);

/// FirstSince finds the first evidence entry that may be of `time` or later (entries of one moment may stand in another
/// order: a second is allowed for).
std::uint64_t FirstSince(const ledger::Ledger& ledger, Millis time);

}  // namespace strongroom::appliance
