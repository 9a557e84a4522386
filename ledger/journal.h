#pragma once
// The journal: evidence on the disk before the database has it (ledger/FORMAT.md).

#include <memory>
#include <optional>
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
///
/// Each has an id of its own, by which its database knows it again: in `evidence.journal`, or set aside beside it under
/// its id while another database lies in the folder.
class Journal {
 public:
  using Id = std::array<std::uint8_t, 16>;
  /// Base is the end of the evidence log in the database, which the groups of a round go on from.
  struct Base {
    std::uint64_t size = 0;
    crypto::Digest root{};
    bool operator==(const Base&) const = default;
  };
  struct Found {
    std::unique_ptr<Journal> journal;  // null: it is not there
    std::vector<Bytes> entries;        // acknowledged and not in the database, in order and as stored
  };

  /// Find opens the journal with this id, wherever in the folder it lies, and reads what a database that ends at `base`
  /// lacks; without an id, one in place that an earlier build left without a name. A group that was cut off by a crash
  /// was never acknowledged and is left out. A journal that went on with a newer database than this one, or another, is
  /// as if it were not there: nothing of it is taken. Of several copies it is the one that has most of what is lacking.
  /// kIntegrity (journal-damaged) when a part of its file is missing, or a group behind an unreadable one shows that
  /// acknowledged entries cannot be read, and no other copy has them: nothing is dropped silently.
  static Result<Found> Find(const std::string& directory, const std::optional<Id>& id, const Base& base);
  /// Create makes an empty one in `evidence.journal`, `bytes` long, each of them written and synced once, so that a
  /// later write changes nothing but data. Whatever has groups there is set aside under its id. kUnavailable
  /// (ledger-full) without room for it, and then everything is as it was; kIo.
  static Result<std::unique_ptr<Journal>> Create(const std::string& directory, std::size_t bytes);
  ~Journal();
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  const Id& id() const { return id_; }
  /// Usable tells whether it can be written: it has an id and lies in `evidence.journal`.
  bool Usable() const { return usable_; }
  /// Remove deletes the file, which nothing needs any more.
  Result<void> Remove();
  /// Begin starts a round: all that the journal has lies in the database, durably, which ends at `base`.
  void Begin(const Base& base);
  /// Fits tells whether a group of entries of so many bytes in all has room in this round.
  bool Fits(std::size_t entries, std::size_t bytes) const;
  /// Append writes a group and syncs it. After a failure the journal must not be used any more: what the disk holds is
  /// known after a restart.
  Result<void> Append(std::span<const ByteView> entries);

 private:
  Journal(std::string path, int fd, std::size_t bytes, const Id& id, bool usable)
      : path_(std::move(path)), fd_(fd), bytes_(bytes), id_(id), usable_(usable) {}
  Result<void> Fill() const;

  const std::string path_;
  const int fd_;
  const std::size_t bytes_;
  const Id id_;
  const bool usable_;
  Base base_;
  std::uint64_t next_ = 0;  // index of the next entry
  std::size_t at_ = 0;      // where the next group goes
};

}  // namespace strongroom::ledger
