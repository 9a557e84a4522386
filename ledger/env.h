#pragma once
// LMDB, kept to what the ledger needs. The only place where MDB return values become errors.

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "crypto/base/bytes.h"
#include "crypto/base/result.h"

struct MDB_env;
struct MDB_txn;

namespace strongroom::ledger {

/// Table is one of the environment's tables; FORMAT.md says what each holds.
enum class Table : unsigned {
  kControl,
  kEvidence,
  kState,
  kCounters,
  kMeta,
  kTiles,
  kCheckpoints,
  kDeks,
  kDeksUnder,
  kDekCounts,
  kJobs,
  kDekOwners
};
inline constexpr unsigned kTables = 12;

/// Txn is a transaction; it aborts when it goes unless Commit was called. Views that it returns live as long as it
/// does.
class Txn {
 public:
  Txn(Txn&& other) noexcept;
  Txn& operator=(Txn&&) = delete;
  Txn(const Txn&) = delete;
  ~Txn();

  /// Get returns nullopt for an absent key.
  Result<std::optional<ByteView>> Get(Table table, ByteView key) const;
  Result<void> Put(Table table, ByteView key, ByteView value);
  /// Append is Put for a key greater than all others in the table.
  Result<void> Append(Table table, ByteView key, ByteView value);
  Result<void> Delete(Table table, ByteView key);
  Result<void> Clear(Table table);
  /// Scan visits rows from `from` on in key order until `visit` returns false.
  Result<void> Scan(Table table, ByteView from, const std::function<bool(ByteView key, ByteView value)>& visit) const;
  /// LastBefore returns the row with the greatest key that is at most `key`.
  Result<std::optional<std::pair<ByteView, ByteView>>> LastBefore(Table table, ByteView key) const;
  Result<std::uint64_t> Count(Table table) const;
  /// Commit returns when everything is synced to disk.
  Result<void> Commit();

 private:
  friend class Env;
  Txn(MDB_txn* txn, const unsigned* tables) : txn_(txn), tables_(tables) {}
  MDB_txn* txn_;
  const unsigned* tables_;
};

/// Env is the open environment, held exclusively by this process.
class Env {
 public:
  /// Open creates the directory (mode 0700) and the tables if need be. `map_bytes` bounds the database's size. Fails
  /// with kConflict (slug already-running) when another process has it, kIo when the directory cannot be written.
  static Result<std::unique_ptr<Env>> Open(const std::string& directory, std::size_t map_bytes);
  ~Env();
  Env(const Env&) = delete;
  Env& operator=(const Env&) = delete;
  const std::string& directory() const { return directory_; }
  Result<Txn> Read() const;
  /// Sync has everything that was committed on the disk.
  Result<void> Sync();
  /// Space tells how many bytes the database may still grow by: what its map and what its disk leave, whichever is
  /// less.
  Result<std::uint64_t> Space() const;
  /// Write takes LMDB's one write lock; use by the ledger's writer alone.
  Result<Txn> Write();

 private:
  Env() = default;
  std::string directory_;
  MDB_env* env_ = nullptr;
  int lock_fd_ = -1;
  unsigned tables_[kTables] = {};
};

/// IndexKey is the big-endian key of a log entry.
std::array<std::uint8_t, 8> IndexKey(std::uint64_t index);
std::uint64_t IndexOf(ByteView key);

}  // namespace strongroom::ledger
