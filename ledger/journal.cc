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
constexpr std::size_t kBlock = 512;                               // a group begins at a multiple of it
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
  if (static_cast<std::size_t>(status.st_size) < journal->bytes_) TRY(journal->Fill());
  return journal;
}

Journal::~Journal() { (void)close(fd_); }

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
  if (fsync(fd_) != 0) return Failed(path_, "sync");
  const auto directory = path_.substr(0, path_.rfind('/'));
  const int parent = open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool synced = parent >= 0 && fsync(parent) == 0;
  if (parent >= 0) (void)close(parent);
  if (!synced) return Failed(directory, "sync");
  return {};
}

Result<std::vector<Bytes>> Journal::Unsettled(const Base& base) {
  Bytes file(bytes_);
  std::size_t read = 0;
  while (read < file.size()) {
    const auto n = pread(fd_, file.data() + read, file.size() - read, static_cast<off_t>(read));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Failed(path_, "read");
    if (n == 0) break;
    read += static_cast<std::size_t>(n);
  }
  std::vector<Bytes> unsettled;
  bool foreign = false;
  for (std::size_t at = 0; at < file.size();) {
    auto group = ReadGroup(ByteView(file).subspan(at));
    if (!group) {
      at += kBlock;
      continue;
    }
    at += group->bytes;
    if (group->base.size < base.size) continue;  // of an earlier round: the database has it
    if (group->base != base) {
      foreign = true;
      continue;
    }
    if (group->first != base.size + unsettled.size())
      return Integrity(path_ + ": entries from " + std::to_string(base.size + unsettled.size()) +
                           " on were acknowledged and cannot be read, while those from " +
                           std::to_string(group->first) +
                           " on can; restore a backup, or move the file away to go on "
                           "without them",
                       "journal-damaged");
    for (auto& entry : group->entries) unsettled.push_back(std::move(entry));
  }
  if (foreign) {
    if (rename(path_.c_str(), (path_ + ".foreign").c_str()) != 0) return Failed(path_, "set aside");
    const int fresh = open(path_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fresh < 0) return Failed(path_, "open");
    (void)close(std::exchange(fd_, fresh));
    TRY(Fill());
  }
  return unsettled;
}

void Journal::Begin(const Base& base) {
  base_ = base;
  next_ = base.size;
  at_ = 0;
}

bool Journal::Fits(std::size_t entries, std::size_t bytes) const {
  return at_ + Whole(kHead + 4 * entries + bytes + kTail) <= bytes_;
}

Result<void> Journal::Append(std::span<const Bytes> entries) {
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
