#pragma once
// The journal: evidence on the disk before the database has it (ledger/FORMAT.md).

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "crypto/base/bytes.h"
#include "crypto/base/result.h"
#include "crypto/digest.h"

namespace strongroom::ledger {

/// Journal takes groups of evidence entries with one write and one flush each, where a commit of the database costs two
/// flushes and a dozen pages. What it has goes into the database soon afterwards, many groups at once; a start takes
/// over what a crash left in it. It holds nothing but entries: no state, no order of its own. Used by one thread at a
/// time.
class Journal {
 public:
  /// Base is the end of the evidence log in the database, which the groups of a round go on from.
  struct Base {
    std::uint64_t size = 0;
    crypto::Digest root{};
    bool operator==(const Base&) const = default;
  };

  /// Open opens or makes the file in the data directory. A new one is `bytes` long, each of them written and synced
  /// once, so that a later write changes nothing but data. kIo.
  static Result<std::unique_ptr<Journal>> Open(const std::string& directory, std::size_t bytes);
  ~Journal();
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  /// Unsettled returns the entries, in order and as stored, that were acknowledged and that a database which ends at
  /// `base` lacks. A group that was cut off by a crash was never acknowledged and is left out. Groups that go on from
  /// another database's end are not this one's: the file is then set aside beside (its name with ".foreign-" and that
  /// size), and a new one begun; when that database comes back, so do they. kIntegrity (journal-damaged) when a group
  /// behind an unreadable one shows that acknowledged entries cannot be read: nothing is dropped silently.
  Result<std::vector<Bytes>> Unsettled(const Base& base);
  /// Begin starts a round: all that the journal has lies in the database, durably, which ends at `base`.
  void Begin(const Base& base);
  /// Fits tells whether a group of entries of so many bytes in all has room in this round.
  bool Fits(std::size_t entries, std::size_t bytes) const;
  /// Append writes a group and syncs it. After a failure the journal must not be used any more: what the disk holds is
  /// known after a restart.
  Result<void> Append(std::span<const ByteView> entries);

 private:
  Journal(std::string path, int fd, std::size_t bytes) : path_(std::move(path)), fd_(fd), bytes_(bytes) {}
  Result<void> Fill();
  Result<void> SyncWhole() const;
  std::string Aside(std::uint64_t size) const;

  const std::string path_;
  int fd_;
  std::size_t bytes_;
  Base base_;
  std::uint64_t next_ = 0;  // index of the next entry
  std::size_t at_ = 0;      // where the next group goes
};

}  // namespace strongroom::ledger
