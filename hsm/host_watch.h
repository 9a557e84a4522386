#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <memory>

#include "crypto/base/result.h"
#include "hsm/frame_socket.h"

namespace strongroom::hsm {

/// HostWatch is one shared page in which a host says since when each of its lanes has been inside a request, so that
/// its supervisor can tell a hung call from an idle host (P7), and that it would leave. Lane 0 is the host's own
/// thread, the others are its sessions' when it has several. Made by the supervisor; the host maps it by the descriptor
/// that it inherits.
class HostWatch {
 public:
  static Result<HostWatch> Make();
  static Result<HostWatch> Map(int fd);
  int fd() const { return fd_.get(); }
  /// Begin and End are the host's, around each request; AskToLeave when it is worn. Clear is the supervisor's, for a
  /// new host.
  static constexpr unsigned kLanes = 65;
  void Begin(unsigned lane = 0);
  void End(unsigned lane = 0) { page_->busy_since[lane].store(0); }
  void AskToLeave() { page_->asks_to_leave.store(1); }
  void Clear();
  /// BusyMillis is how long the oldest request under way has run, 0 when there is none.
  std::int64_t BusyMillis() const;
  bool AsksToLeave() const { return page_->asks_to_leave.load() != 0; }

 private:
  struct Page {
    std::array<std::atomic<std::int64_t>, kLanes> busy_since;
    std::atomic<std::uint32_t> asks_to_leave;
  };
  struct Unmap {
    void operator()(Page* page) const;
  };
  UniqueFd fd_;
  std::unique_ptr<Page, Unmap> page_;
};

}  // namespace strongroom::hsm
