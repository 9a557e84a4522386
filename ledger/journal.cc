#include "ledger/journal.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <optional>
#include <system_error>

#include "crypto/base/wire.h"

namespace strongroom::ledger {
namespace {

constexpr std::string_view kMagic = "srjrnl01";
// A group begins at a multiple of it: no write touches a page, or a sector of any disk, that has another group.
constexpr std::size_t kBlock = 4096;
constexpr std::size_t kHead = 8 + 8 + 32 + 8 + 4 + 4;             // magic, base, first, count, length
constexpr std::size_t kTail = std::tuple_size_v<crypto::Digest>;  // SHA-256 of all before it
constexpr std::size_t kFillAtOnce = std::size_t{1} << 20;

std::size_t Whole(std::size_t bytes) { return (bytes + kBlock - 1) / kBlock * kBlock; }

Error Failed(const std::string& path, const char* what) {
  const int error = errno;
  auto detail = path + ": " + what + ": " + std::generic_category().message(error);
  return error == ENOSPC ? Unavailable(std::move(detail), "ledger-full") : Io(std::move(detail), "ledger-io");
}

Result<void> WriteAt(int fd, const std::string& path, ByteView bytes, std::size_t at) {
  while (!bytes.empty()) {
    const auto n = pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(at));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return Failed(path, "write");
    bytes = bytes.subspan(static_cast<std::size_t>(n));
    at += static_cast<std::size_t>(n);
  }
  return {};
}

struct Group {
  Journal::Base base;
  std::uint64_t first = 0;
  std::vector<Bytes> entries;
  std::size_t bytes = 0;  // with what fills its last block
};

// The group that begins here, if one does, whole.
std::optional<Group> ReadGroup(ByteView from) {
  WireReader in(from);
  if (AsText(in.Raw(kMagic.size())) != kMagic) return std::nullopt;
  Group group;
  group.base.size = in.U64();
  group.base.root = in.Array<32>();
  group.first = in.U64();
  const auto count = in.U32();
  const auto length = in.U32();
  const auto payload = in.Raw(length);
  const auto digest = in.Array<kTail>();
  if (!in.ok() || crypto::Sha256(from.first(kHead + length)) != digest) return std::nullopt;
  WireReader each(payload);
  for (std::uint32_t i = 0; i < count && each.ok(); ++i) {
    const auto entry = each.Blob();
    group.entries.emplace_back(entry.begin(), entry.end());
  }
  if (!each.Complete()) return std::nullopt;
  group.bytes = Whole(kHead + length + kTail);
  return group;
}

}  // namespace

Result<std::unique_ptr<Journal>> Journal::Open(const std::string& directory, std::size_t bytes) {
  auto path = directory + "/evidence.journal";
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return Failed(path, "open");
  std::unique_ptr<Journal> journal(new Journal(std::move(path), fd, Whole(bytes)));
  struct stat status {};
  if (fstat(fd, &status) != 0) return Failed(journal->path_, "look at");
  // One that is longer was made with another setting; what it has is read all the same.
  journal->bytes_ = std::max(journal->bytes_, static_cast<std::size_t>(status.st_size) / kBlock * kBlock);
  if (static_cast<std::size_t>(status.st_size) < journal->bytes_)
    if (const auto filled = journal->Fill(); !filled) {
      // No room for one that has nothing yet: none rather than a part of one.
      if (status.st_size == 0) (void)unlink(journal->path_.c_str());
      return filled.error();
    }
  TRY(journal->SyncWhole());
  return journal;
}

Journal::~Journal() { (void)close(fd_); }

// The file and its name, whatever an earlier start left undone.
Result<void> Journal::SyncWhole() const {
  if (fsync(fd_) != 0) return Failed(path_, "sync");
  const auto directory = path_.substr(0, path_.rfind('/'));
  const int parent = open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool synced = parent >= 0 && fsync(parent) == 0;
  if (parent >= 0) (void)close(parent);
  if (!synced) return Failed(directory, "sync");
  return {};
}

// Zeros from where the file ends; what it has stays.
Result<void> Journal::Fill() {
  struct stat status {};
  if (fstat(fd_, &status) != 0) return Failed(path_, "look at");
  const Bytes zeros(kFillAtOnce);
  for (auto at = static_cast<std::size_t>(status.st_size); at < bytes_;) {
    const auto n = std::min(zeros.size(), bytes_ - at);
    TRY(WriteAt(fd_, path_, ByteView(zeros).first(n), at));
    at += n;
  }
  return {};
}

namespace {

Result<Bytes> ReadWhole(int fd, const std::string& path, std::size_t bytes) {
  Bytes file(bytes);
  std::size_t read = 0;
  while (read < file.size()) {
    const auto n = pread(fd, file.data() + read, file.size() - read, static_cast<off_t>(read));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0)
      return Integrity(path + ": it cannot be read: " + std::generic_category().message(errno), "journal-damaged");
    if (n == 0) break;
    read += static_cast<std::size_t>(n);
  }
  return file;
}

std::vector<Group> GroupsIn(ByteView file) {
  std::vector<Group> groups;
  for (std::size_t at = 0; at < file.size();) {
    auto group = ReadGroup(file.subspan(at));
    at += group ? group->bytes : kBlock;
    if (group) groups.push_back(std::move(*group));
  }
  return groups;
}

// The entries of the groups of this base, in order.
Result<std::vector<Bytes>> EntriesOf(std::vector<Group> groups, const Journal::Base& base, const std::string& path) {
  std::vector<Bytes> unsettled;
  for (auto& group : groups) {
    // Of an earlier round: the database has it, or, of one whose write failed, nobody was told of it.
    if (group.base != base) continue;
    if (group.first != base.size + unsettled.size())
      return Integrity(path + ": entries from " + std::to_string(base.size + unsettled.size()) +
                           " on were acknowledged and cannot be read, while those from " + std::to_string(group.first) +
                           " on can",
                       "journal-damaged");
    for (auto& entry : group.entries) unsettled.push_back(std::move(entry));
  }
  return unsettled;
}

}  // namespace

std::string Journal::Aside(std::uint64_t size) const { return path_ + ".foreign-" + std::to_string(size); }

Result<std::vector<Bytes>> Journal::Unsettled(const Base& base) {
  TRY_ASSIGN(const auto file, ReadWhole(fd_, path_, bytes_));
  auto groups = GroupsIn(file);
  std::uint64_t newest = 0;
  const bool foreign = std::any_of(groups.begin(), groups.end(), [&](const Group& group) {
    newest = std::max(newest, group.base.size);
    return group.base.size > base.size || (group.base.size == base.size && group.base.root != base.root);
  });
  if (!foreign) {
    TRY_ASSIGN(auto unsettled, EntriesOf(std::move(groups), base, path_));
    if (!unsettled.empty()) return unsettled;
  } else {
    // One that lies there already is not written over: it may be the only one that has its entries.
    auto aside = Aside(newest);
    for (int n = 2; access(aside.c_str(), F_OK) == 0; ++n) aside = Aside(newest) + "." + std::to_string(n);
    if (link(path_.c_str(), aside.c_str()) != 0) return Failed(path_, "set aside");
    // At no moment is there none: a database that was not closed in order is not opened without.
    const auto next = path_ + ".new";
    const int fresh = open(next.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fresh < 0) return Failed(next, "open");
    (void)close(std::exchange(fd_, fresh));
    TRY(Fill());
    if (fsync(fd_) != 0) return Failed(next, "sync");
    if (rename(next.c_str(), path_.c_str()) != 0) return Failed(path_, "begin anew");
    TRY(SyncWhole());
  }
  // The database may be the one that an older copy had replaced for a while.
  const int kept = open(Aside(base.size).c_str(), O_RDONLY | O_CLOEXEC);
  if (kept < 0) return std::vector<Bytes>();
  const auto aside = ReadWhole(kept, Aside(base.size), bytes_);
  (void)close(kept);
  if (!aside) return aside.error();
  return EntriesOf(GroupsIn(*aside), base, Aside(base.size));
}

void Journal::Begin(const Base& base) {
  base_ = base;
  next_ = base.size;
  at_ = 0;
}

bool Journal::Fits(std::size_t entries, std::size_t bytes) const {
  return at_ + Whole(kHead + 4 * entries + bytes + kTail) <= bytes_;
}

Result<void> Journal::Append(std::span<const ByteView> entries) {
  WireWriter out;
  std::size_t length = 4 * entries.size();
  for (const auto& entry : entries) length += entry.size();
  out.Reserve(Whole(kHead + length + kTail));
  out.Raw(AsBytes(kMagic));
  out.U64(base_.size);
  out.Raw(base_.root);
  out.U64(next_);
  out.U32(static_cast<std::uint32_t>(entries.size()));
  out.U32(static_cast<std::uint32_t>(length));
  for (const auto& entry : entries) out.Blob(entry);
  out.Raw(crypto::Sha256(out.bytes()));
  auto group = std::move(out).Take();
  group.resize(Whole(group.size()));
  TRY(WriteAt(fd_, path_, group, at_));
  if (fdatasync(fd_) != 0) return Failed(path_, "sync");
  at_ += group.size();
  next_ += entries.size();
  return {};
}

}  // namespace strongroom::ledger
