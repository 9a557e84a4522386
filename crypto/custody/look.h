#pragma once
// What a look at a token's custody objects finds: which record is in force, who writes, what may go (Q12, Q13). Pure.

#include <span>
#include <tuple>

#include "crypto/custody/record.h"

namespace strongroom::crypto {

/// WriterOrder compares writers: a later epoch first, then term, count and start. A record's serial comes after it.
using WriterOrder = std::tuple<std::uint64_t, std::uint64_t, std::uint64_t, Id16>;
WriterOrder OrderOf(const LedgerRecord& record);

/// kMostReadBytes is how much of an object is read at all: more than any profile's bound, so that a record which was
/// written under another profile is known for one.
inline constexpr std::size_t kMostReadBytes = 262'144;

/// StoredObject is one object of the custody label as the token gave it; `too_long` when it is longer than the
/// profile's bound. Its value is empty when it is longer than kMostReadBytes: then it was not read.
struct StoredObject {
  Bytes value;
  bool too_long = false;
};

/// Look is what all of them together say.
struct Look {
  /// The record in force: of the newest settled writer the one with the highest serial; of former formats the newest.
  std::optional<LedgerRecord> effective;
  /// Why there is none: kIntegrity, slugs record-missing, record-damaged, record-newer, record-too-long,
  /// custody-forked.
  std::optional<Error> problem;
  /// The highest writer seen, whether or not it has settled.
  WriterOrder highest{};
  std::uint64_t highest_count = 0;
  Id16 highest_installation{};
  Bytes bytes;          // of the record in force
  bool former = false;  // it is of format 1 to 6
  bool any_former = false;
  bool tombstone = false;
  /// Objects by their place that the next write takes away: below the record in force, what cannot be read, and claims
  /// of a higher writer than that, but for the highest: it tells all others to end.
  std::vector<std::size_t> older;
  /// The records that contradict each other, when they do.
  std::vector<LedgerRecord> forked;
};
Look LookAt(std::span<const StoredObject> objects);

/// IsLost tells whether a look's problem is that of a record which is gone; contradiction is none (Q12).
bool IsLost(const Error& problem);

/// MergeForked is the record that an adoption goes on from when records contradict each other: everything spent and
/// seen in either counts, nothing stays pending, a mandate or a release only if it is in both. kIntegrity
/// (custody-forked) when they differ in what is not guessed: instance, token, group, profile.
Result<LedgerRecord> MergeForked(std::span<const LedgerRecord> records);

}  // namespace strongroom::crypto
