#pragma once
// A token host: the only process that loads the module and knows the PIN.

#include <sys/types.h>

#include <functional>
#include <set>

#include "hsm/frame.h"
#include "hsm/frame_socket.h"
#include "hsm/key_ops.h"

namespace strongroom::hsm {

/// Exit statuses by which a host tells its supervisor what to do next.
enum HostExit : int {
  kHostDone = 0,          // asked to stop
  kHostRefused = 10,      // configuration or token refused: starting it again will not help
  kHostPinRejected = 11,  // the PIN was refused: latch, never start again by itself
  kHostBroken = 12,       // the token failed: start a new host
  kHostSuperseded = 13,   // another host writes the custody record: start none that does until somebody says so
};

/// Answer runs one request against the token. Votes that come with a Generate are counted here, by this process's own
/// clock, whatever the front end says (Q9).
///
/// Custody changes, signatures and anchors are one host's of a token, whatever the front end asks (Q9): with `custody`
/// false they are kForbidden, slug `not-custody-host`.
Response Answer(KeyOps& ops, const Clock& clock, Request request, bool custody = true);

/// HostDuties are what a host owes its supervisor around each request: say that it is inside one, and tell whether the
/// token is broken.
struct HostDuties {
  bool custody = true;  // this is the host that changes custody and signs
  std::function<void()> begin = [] {};
  std::function<void()> end = [] {};
  std::function<bool()> broken = [] { return false; };
  /// Called after each frame: what is worn asks its supervisor for leave here.
  std::function<void()> after = [] {};
};

/// ServeFrames accepts connections of `allowed_uids` on `listener` and answers their frames, one of each connection in
/// turn, so that a connection waits for at most one frame of each other (P2). Where `ops` runs several operations at
/// once, frames of operations are answered as they end, and a connection with 1024 operations under way is not read.
/// When `stop_fd` becomes readable it tells every connection that it leaves, answers what they have sent until they end
/// (5 seconds at most), and returns kHostDone: nobody is refused. Returns kHostBroken as soon as `duties.broken()` is
/// true after a frame. A connection that sends a malformed frame is closed.
HostExit ServeFrames(int listener, int stop_fd, const std::set<uid_t>& allowed_uids, KeyOps& ops, const Clock& clock,
                     const HostDuties& duties);

}  // namespace strongroom::hsm
