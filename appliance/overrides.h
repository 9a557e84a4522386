#pragma once
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "appliance/state.h"
#include "crypto/base/clock.h"
#include "crypto/base/mutex.h"

namespace strongroom::appliance {

/// Overrides counts the uses of what is open. The counts are of this run: a restart closes everything (G4).
/// Thread-safe.
class Overrides {
 public:
  using Snapshot = std::function<std::shared_ptr<const State>()>;
  Overrides(Snapshot snapshot, const Clock& clock) : snapshot_(std::move(snapshot)), clock_(clock) {}

  /// Use takes one use of the override that covers a check and a scope now and returns its id; nullopt when none does
  /// (G4: judged at each use). A clock that cannot be relied on covers nothing.
  std::optional<std::string> Use(std::string_view check, std::string_view scope) EXCLUDES(mutex_);
  /// Covers tells whether Use would succeed, without using.
  bool Covers(std::string_view check, std::string_view scope) const EXCLUDES(mutex_);
  std::uint64_t Uses(const std::string& id) const EXCLUDES(mutex_);
  /// Open is the id of the one that is open now, drill or not, nullopt when none is.
  std::optional<std::string> Open() const EXCLUDES(mutex_);

 private:
  const Snapshot snapshot_;
  const Clock& clock_;
  mutable Mutex mutex_;
  std::map<std::string, std::uint64_t> uses_ GUARDED_BY(mutex_);
};

}  // namespace strongroom::appliance
