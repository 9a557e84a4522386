#pragma once
#include <atomic>
#include <cstdint>
#include <memory>

#include "crypto/base/result.h"
#include "hsm/frame_socket.h"

namespace strongroom::hsm {

/// HostWatch is one shared page in which a host says since when it has been inside a request, so that its supervisor
/// can tell a hung call from an idle host (P7), and that it would leave. Made by the supervisor; the host maps it by
/// the descriptor that it inherits.
class HostWatch {
 public:
  static Result<HostWatch> Make();
  static Result<HostWatch> Map(int fd);
  int fd() const { return fd_.get(); }
  /// Begin and End are the host's, around each request; AskToLeave when it is worn. Clear is the supervisor's, for a
  /// new host.
  void Begin();
  void End() { page_->busy_since.store(0); }
  void AskToLeave() { page_->asks_to_leave.store(1); }
  void Clear();
  /// BusyMillis is how long the present request has run, 0 when there is none.
  std::int64_t BusyMillis() const;
  bool AsksToLeave() const { return page_->asks_to_leave.load() != 0; }

 private:
  struct Page {
    std::atomic<std::int64_t> busy_since;
    std::atomic<std::uint32_t> asks_to_leave;
  };
  struct Unmap {
    void operator()(Page* page) const;
  };
  UniqueFd fd_;
  std::unique_ptr<Page, Unmap> page_;
};

}  // namespace strongroom::hsm
