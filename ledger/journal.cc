#include "ledger/journal.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <optional>
#include <system_error>

#include "crypto/base/wire.h"

namespace strongroom::ledger {
namespace {

constexpr std::string_view kMagic = "srjrnl01";  // of a group
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

// The first block: whose file it is, and how long.
constexpr std::string_view kFileMagic = "srjrnl02";
struct Name {
  Journal::Id id{};
  std::uint64_t bytes = 0;
};

Bytes Encode(const Name& name) {
  WireWriter out;
  out.Raw(AsBytes(kFileMagic));
  out.Raw(name.id);
  out.U64(name.bytes);
  out.Raw(crypto::Sha256(out.bytes()));
  auto block = std::move(out).Take();
  block.resize(kBlock);
  return block;
}

std::optional<Name> ReadName(ByteView file) {
  WireReader in(file);
  if (AsText(in.Raw(kFileMagic.size())) != kFileMagic) return std::nullopt;
  Name name;
  name.id = in.Array<16>();
  name.bytes = in.U64();
  const auto digest = in.Array<32>();
  if (!in.ok() || crypto::Sha256(file.first(kFileMagic.size() + 16 + 8)) != digest) return std::nullopt;
  return name;
}

Result<Bytes> ReadWhole(const std::string& path, int fd, std::size_t bytes) {
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
  file.resize(read);
  return file;
}

struct Opened {
  int fd = -1;
  Bytes file;
};
Result<Opened> OpenWhole(const std::string& path) {
  Opened opened{open(path.c_str(), O_RDWR | O_CLOEXEC), {}};
  if (opened.fd < 0) return Failed(path, "open");
  struct stat status {};
  auto file = fstat(opened.fd, &status) == 0 ? ReadWhole(path, opened.fd, static_cast<std::size_t>(status.st_size))
                                             : Result<Bytes>(Failed(path, "look at"));
  if (!file) {
    (void)close(opened.fd);
    return file.error();
  }
  opened.file = std::move(*file);
  return opened;
}

std::vector<Group> GroupsIn(ByteView file) {
  std::vector<Group> groups;
  for (std::size_t at = 0; at < file.size();) {
    auto group = ReadGroup(file.subspan(at));
    at += group ? group->bytes : kBlock;
    if (group && at <= Whole(file.size())) groups.push_back(std::move(*group));
  }
  return groups;
}

struct Left {
  std::vector<Bytes> entries;
  bool ahead = false;
};

// What a database that ends at `base` lacks of these groups.
Result<Left> LeftIn(std::vector<Group> groups, const Journal::Base& base, const std::string& path) {
  Left left;
  left.ahead = std::any_of(groups.begin(), groups.end(), [&](const Group& group) {
    return group.base.size > base.size || (group.base.size == base.size && group.base.root != base.root);
  });
  if (left.ahead) return left;
  for (auto& group : groups) {
    // Of an earlier round: the database has it, or, of one whose write failed, nobody was told of it.
    if (group.base != base) continue;
    const auto known = base.size + left.entries.size();
    if (group.first != known)
      return Integrity(path + ": entries from " + std::to_string(known) +
                           " on were acknowledged and cannot be read, while those from " + std::to_string(group.first) +
                           " on can",
                       "journal-damaged");
    for (auto& entry : group.entries) left.entries.push_back(std::move(entry));
  }
  return left;
}

std::string InPlace(const std::string& directory) { return directory + "/evidence.journal"; }

Result<void> SyncFolder(const std::string& directory) {
  const int parent = open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool synced = parent >= 0 && fsync(parent) == 0;
  const auto failed = synced ? Result<void>() : Failed(directory, "sync");
  if (parent >= 0) (void)close(parent);
  return failed;
}

// Gives the place to the next one: what has groups is kept under its id, whoever's it is.
Result<void> SetAside(const std::string& directory) {
  const auto path = InPlace(directory);
  if (access(path.c_str(), F_OK) != 0) return {};
  TRY_ASSIGN(const auto opened, OpenWhole(path));
  (void)close(opened.fd);
  const auto name = ReadName(opened.file);
  if (GroupsIn(opened.file).empty()) return {};  // it is written over
  const auto kept = path + "." + (name ? ToHex(name->id) : "unnamed");
  auto aside = kept;
  for (int n = 2; access(aside.c_str(), F_OK) == 0; ++n) aside = kept + "." + std::to_string(n);
  if (rename(path.c_str(), aside.c_str()) != 0) return Failed(path, "set aside");
  return {};
}

}  // namespace

Journal::~Journal() { (void)close(fd_); }

Result<Journal::Found> Journal::Find(const std::string& directory, const std::optional<Id>& id, const Base& base) {
  std::vector<std::string> paths;
  std::error_code ec;
  for (std::filesystem::directory_iterator at(directory, ec), end; !ec && at != end; at.increment(ec)) {
    const auto file = at->path().filename().string();
    if (id ? file.starts_with("evidence.journal") && !file.ends_with(".new") : file == "evidence.journal")
      paths.push_back(at->path().string());
  }
  if (ec) return Io(directory + ": " + ec.message(), "ledger-io");
  Found best;
  bool ahead = false;
  std::optional<Error> damaged, unreadable;  // of a copy; of a file that may be one
  for (const auto& path : paths) {
    auto read = OpenWhole(path);
    if (!read) {
      unreadable = read.error();
      continue;
    }
    const auto name = ReadName(read->file);
    const bool usable = id && path == InPlace(directory);
    std::unique_ptr<Journal> journal(new Journal(path, read->fd,
                                                 name ? static_cast<std::size_t>(name->bytes) : read->file.size(),
                                                 name ? name->id : Id{}, usable));
    auto groups = GroupsIn(read->file);
    if (id ? !name || name->id != *id : name || groups.empty()) continue;
    auto left = read->file.size() >= journal->bytes_
                    ? LeftIn(std::move(groups), base, path)
                    : Result<Left>(Integrity(path + ": it has " + std::to_string(read->file.size()) + " of its " +
                                                 std::to_string(journal->bytes_) + " bytes",
                                             "journal-damaged"));
    if (!left) {
      damaged = left.error();
    } else if (left->ahead) {
      ahead = true;
    } else if (!best.journal || left->entries.size() > best.entries.size() ||
               (usable && left->entries.size() == best.entries.size())) {
      best = {std::move(journal), std::move(left->entries)};
    }
  }
  if (!best.entries.empty()) return best;
  // A copy that has nothing of this round is no better than none where another is damaged, or went on elsewhere.
  if (damaged) return *damaged;
  if (ahead) return Found();
  if (!best.journal && unreadable) return *unreadable;
  return best;
}

Result<std::unique_ptr<Journal>> Journal::Create(const std::string& directory, std::size_t bytes) {
  const auto path = InPlace(directory), fresh = path + ".new";
  const int fd = open(fresh.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return Failed(fresh, "open");
  std::unique_ptr<Journal> journal(
      new Journal(path, fd, std::max(Whole(bytes), 2 * kBlock), crypto::RandomArray<16>(), true));
  const auto made = [&]() -> Result<void> {
    TRY(journal->Fill());
    // Whoever makes it, it is the database's owner's: root mends, the service goes on with it.
    struct stat owner {};
    if (geteuid() == 0 && stat((directory + "/data.mdb").c_str(), &owner) == 0 &&
        fchown(fd, owner.st_uid, owner.st_gid) != 0)
      return Failed(fresh, "give to its owner");
    if (fsync(fd) != 0) return Failed(fresh, "sync");
    TRY(SetAside(directory));
    if (rename(fresh.c_str(), path.c_str()) != 0) return Failed(path, "begin");
    return SyncFolder(directory);
  }();
  if (made) return journal;
  (void)unlink(fresh.c_str());
  return made.error();
}

Result<void> Journal::Fill() const {
  TRY(WriteAt(fd_, path_, Encode(Name{id_, bytes_}), 0));
  const Bytes zeros(kFillAtOnce);
  for (auto at = kBlock; at < bytes_;) {
    const auto n = std::min(zeros.size(), bytes_ - at);
    TRY(WriteAt(fd_, path_, ByteView(zeros).first(n), at));
    at += n;
  }
  return {};
}

Result<void> Journal::Remove() {
  if (unlink(path_.c_str()) != 0 && errno != ENOENT) return Failed(path_, "remove");
  return {};
}

void Journal::Begin(const Base& base) {
  base_ = base;
  next_ = base.size;
  at_ = kBlock;
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
