#pragma once
#include <atomic>
#include <cstdint>
#include <memory>

#include "crypto/base/result.h"
#include "hsm/frame_socket.h"

namespace strongroom::hsm {

/// HostWatch is one shared page in which a host says since when it has been inside a request, so that its supervisor
/// can tell a hung call from an idle host (P7). Made by the supervisor; the host maps it by the descriptor that it
/// inherits.
class HostWatch {
 public:
  static Result<HostWatch> Make();
  static Result<HostWatch> Map(int fd);
  int fd() const { return fd_.get(); }
  /// Begin and End are the host's, around each request; Idle is the supervisor's, for a new host.
  void Begin();
  void End() { busy_since_->store(0); }
  /// BusyMillis is how long the present request has run, 0 when there is none.
  std::int64_t BusyMillis() const;

 private:
  struct Unmap {
    void operator()(std::atomic<std::int64_t>* page) const;
  };
  UniqueFd fd_;
  std::unique_ptr<std::atomic<std::int64_t>, Unmap> busy_since_;
};

}  // namespace strongroom::hsm
