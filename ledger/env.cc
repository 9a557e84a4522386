#include "ledger/env.h"

#include <fcntl.h>
#include <lmdb.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

namespace strongroom::ledger {
namespace {

Error MdbError(int rc, const char* what) {
  std::string detail = std::string("the ledger's database: ") + what + ": " + mdb_strerror(rc);
  if (rc == MDB_MAP_FULL || rc == ENOSPC) return Unavailable(std::move(detail), "ledger-full");
  if (rc == MDB_CORRUPTED || rc == MDB_INVALID || rc == MDB_PAGE_NOTFOUND || rc == MDB_VERSION_MISMATCH)
    return Integrity(std::move(detail), "ledger-damaged");
  return Io(std::move(detail), "ledger-io");
}

MDB_val ToVal(ByteView bytes) { return {bytes.size(), const_cast<std::uint8_t*>(bytes.data())}; }
ByteView FromVal(const MDB_val& val) { return {static_cast<const std::uint8_t*>(val.mv_data), val.mv_size}; }

constexpr std::array<const char*, kTables> kNames = {"control",    "evidence",   "state",       "counters",
                                                     "meta",       "tiles",      "checkpoints", "deks",
                                                     "deks-under", "dek-counts", "jobs",        "dek-owners"};

}  // namespace

Txn::Txn(Txn&& other) noexcept : txn_(std::exchange(other.txn_, nullptr)), tables_(other.tables_) {}
Txn::~Txn() {
  if (txn_ != nullptr) mdb_txn_abort(txn_);
}

Result<std::optional<ByteView>> Txn::Get(Table table, ByteView key) const {
  auto k = ToVal(key);
  MDB_val v{};
  const int rc = mdb_get(txn_, tables_[static_cast<unsigned>(table)], &k, &v);
  if (rc == MDB_NOTFOUND) return std::optional<ByteView>();
  if (rc != 0) return MdbError(rc, "read");
  return std::optional<ByteView>(FromVal(v));
}

Result<void> Txn::Put(Table table, ByteView key, ByteView value) {
  auto k = ToVal(key), v = ToVal(value);
  if (const int rc = mdb_put(txn_, tables_[static_cast<unsigned>(table)], &k, &v, 0); rc != 0)
    return MdbError(rc, "write");
  return {};
}

Result<void> Txn::Append(Table table, ByteView key, ByteView value) {
  auto k = ToVal(key), v = ToVal(value);
  if (const int rc = mdb_put(txn_, tables_[static_cast<unsigned>(table)], &k, &v, MDB_APPEND); rc != 0)
    return MdbError(rc, "append");
  return {};
}

Result<void> Txn::Delete(Table table, ByteView key) {
  auto k = ToVal(key);
  if (const int rc = mdb_del(txn_, tables_[static_cast<unsigned>(table)], &k, nullptr); rc != 0 && rc != MDB_NOTFOUND)
    return MdbError(rc, "delete");
  return {};
}

Result<void> Txn::Clear(Table table) {
  if (const int rc = mdb_drop(txn_, tables_[static_cast<unsigned>(table)], 0); rc != 0) return MdbError(rc, "clear");
  return {};
}

Result<void> Txn::Scan(Table table, ByteView from, const std::function<bool(ByteView, ByteView)>& visit) const {
  MDB_cursor* cursor = nullptr;
  if (const int rc = mdb_cursor_open(txn_, tables_[static_cast<unsigned>(table)], &cursor); rc != 0)
    return MdbError(rc, "scan");
  const std::unique_ptr<MDB_cursor, decltype(&mdb_cursor_close)> closer(cursor, mdb_cursor_close);
  auto k = ToVal(from);
  MDB_val v{};
  int rc = mdb_cursor_get(cursor, &k, &v, from.empty() ? MDB_FIRST : MDB_SET_RANGE);
  while (rc == 0 && visit(FromVal(k), FromVal(v))) rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT);
  if (rc != 0 && rc != MDB_NOTFOUND) return MdbError(rc, "scan");
  return {};
}

Result<std::optional<std::pair<ByteView, ByteView>>> Txn::LastBefore(Table table, ByteView key) const {
  MDB_cursor* cursor = nullptr;
  if (const int rc = mdb_cursor_open(txn_, tables_[static_cast<unsigned>(table)], &cursor); rc != 0)
    return MdbError(rc, "read");
  const std::unique_ptr<MDB_cursor, decltype(&mdb_cursor_close)> closer(cursor, mdb_cursor_close);
  auto k = ToVal(key);
  MDB_val v{};
  int rc = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
  if (rc == MDB_NOTFOUND)
    rc = mdb_cursor_get(cursor, &k, &v, MDB_LAST);
  else if (rc == 0 && (k.mv_size != key.size() || std::memcmp(k.mv_data, key.data(), key.size()) != 0))
    rc = mdb_cursor_get(cursor, &k, &v, MDB_PREV);
  if (rc == MDB_NOTFOUND) return std::optional<std::pair<ByteView, ByteView>>();
  if (rc != 0) return MdbError(rc, "read");
  return std::optional(std::pair(FromVal(k), FromVal(v)));
}

Result<std::uint64_t> Txn::Count(Table table) const {
  MDB_stat stat{};
  if (const int rc = mdb_stat(txn_, tables_[static_cast<unsigned>(table)], &stat); rc != 0)
    return MdbError(rc, "count");
  return static_cast<std::uint64_t>(stat.ms_entries);
}

Result<void> Txn::Commit() {
  if (const int rc = mdb_txn_commit(std::exchange(txn_, nullptr)); rc != 0) return MdbError(rc, "commit");
  return {};
}

Result<std::unique_ptr<Env>> Env::Open(const std::string& directory, std::size_t map_bytes) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) return Io("cannot create the data directory " + directory + ": " + error.message(), "data-directory");
  std::unique_ptr<Env> env(new Env());
  env->directory_ = directory;
  env->lock_fd_ = open((directory + "/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (env->lock_fd_ < 0)
    return Io("cannot write in the data directory " + directory + ": " + std::generic_category().message(errno),
              "data-directory");
  if (flock(env->lock_fd_, LOCK_EX | LOCK_NB) != 0)
    return Conflict("another strongroomd uses the data directory " + directory + ": stop it first", "already-running");
  (void)chmod(directory.c_str(), 0700);
  if (const int rc = mdb_env_create(&env->env_); rc != 0) return MdbError(rc, "open");
  (void)mdb_env_set_maxdbs(env->env_, kTables);
  (void)mdb_env_set_mapsize(env->env_, map_bytes);
  // NOTLS: read transactions belong to objects, not to threads. Syncing stays at LMDB's safest: every commit, data and
  // meta page.
  if (const int rc = mdb_env_open(env->env_, directory.c_str(), MDB_NOTLS, 0600); rc != 0)
    return MdbError(rc, ("open " + directory).c_str());
  MDB_txn* txn = nullptr;
  if (const int rc = mdb_txn_begin(env->env_, nullptr, 0, &txn); rc != 0) return MdbError(rc, "begin");
  for (unsigned i = 0; i < kNames.size(); ++i)
    if (const int rc = mdb_dbi_open(txn, kNames[i], MDB_CREATE, &env->tables_[i]); rc != 0) {
      mdb_txn_abort(txn);
      return MdbError(rc, "open table");
    }
  if (const int rc = mdb_txn_commit(txn); rc != 0) return MdbError(rc, "commit");
  return env;
}

Env::~Env() {
  if (env_ != nullptr) mdb_env_close(env_);
  if (lock_fd_ >= 0) (void)close(lock_fd_);
}

Result<Txn> Env::Read() const {
  MDB_txn* txn = nullptr;
  if (const int rc = mdb_txn_begin(env_, nullptr, MDB_RDONLY, &txn); rc != 0) return MdbError(rc, "begin");
  return Txn(txn, tables_);
}

Result<std::uint64_t> Env::Space() const {
  MDB_envinfo info{};
  MDB_stat stat{};
  struct statvfs disk {};
  if (mdb_env_info(env_, &info) != 0 || mdb_env_stat(env_, &stat) != 0 || statvfs(directory_.c_str(), &disk) != 0)
    return Io("cannot tell how much space is left in " + directory_, "ledger-io");
  const auto used = (static_cast<std::uint64_t>(info.me_last_pgno) + 1) * stat.ms_psize;
  const auto map = info.me_mapsize > used ? info.me_mapsize - used : 0;
  return std::min<std::uint64_t>(map, static_cast<std::uint64_t>(disk.f_bavail) * disk.f_frsize);
}

Result<void> Env::Sync() {
  if (const int rc = mdb_env_sync(env_, 1); rc != 0) return MdbError(rc, "sync");
  return {};
}

Result<Txn> Env::Write() {
  MDB_txn* txn = nullptr;
  if (const int rc = mdb_txn_begin(env_, nullptr, 0, &txn); rc != 0) return MdbError(rc, "begin");
  return Txn(txn, tables_);
}

std::array<std::uint8_t, 8> IndexKey(std::uint64_t index) {
  std::array<std::uint8_t, 8> key{};
  for (std::size_t i = 0; i < 8; ++i) key[i] = static_cast<std::uint8_t>(index >> (56 - 8 * i));
  return key;
}

std::uint64_t IndexOf(ByteView key) {
  std::uint64_t index = 0;
  for (const auto byte : key) index = index << 8 | byte;
  return index;
}

}  // namespace strongroom::ledger
