#include "hsm/host_watch.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

namespace strongroom::hsm {
namespace {

constexpr std::size_t kPage = 4096;

// CLOCK_MONOTONIC, the same in every process of the machine. Never 0: that says idle.
std::int64_t Now() {
  return 1 + std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now().time_since_epoch())
                 .count();
}

}  // namespace

void HostWatch::Unmap::operator()(Page* page) const { (void)munmap(static_cast<void*>(page), kPage); }

Result<HostWatch> HostWatch::Make() {
  UniqueFd fd(memfd_create("strongroom-host-watch", MFD_CLOEXEC));
  if (!fd || ftruncate(fd.get(), kPage) != 0) return Io("no shared memory for watching hosts");
  TRY_ASSIGN(auto watch, Map(fd.get()));
  watch.fd_ = std::move(fd);
  return watch;
}

Result<HostWatch> HostWatch::Map(int fd) {
  void* page = mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (page == MAP_FAILED) return Io("no shared memory for watching hosts");
  HostWatch watch;
  static_assert(std::atomic<std::int64_t>::is_always_lock_free && std::atomic<std::uint32_t>::is_always_lock_free);
  watch.page_.reset(static_cast<Page*>(page));
  return watch;
}

void HostWatch::Begin(unsigned lane) { page_->busy_since[lane].store(Now()); }

void HostWatch::Clear() {
  for (auto& since : page_->busy_since) since.store(0);
  page_->asks_to_leave.store(0);
}

std::int64_t HostWatch::BusyMillis() const {
  const auto now = Now();
  std::int64_t longest = 0;
  for (const auto& each : page_->busy_since)
    if (const auto since = each.load(); since != 0) longest = std::max(longest, now - since);
  return longest;
}

}  // namespace strongroom::hsm
