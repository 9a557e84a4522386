#pragma once
// Several sessions of one host at work at once: for tokens whose time is latency, not this machine's processor.

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <thread>
#include <vector>

#include "crypto/base/mutex.h"
#include "hsm/token_session.h"

namespace strongroom::hsm {

/// SessionLanes has a thread for each session. Sources take turns, an operation each: one with a small batch is not
/// held up by one with a large one. The batches of a source are begun in order. Thread-safe.
class SessionLanes {
 public:
  using Done = std::function<void(std::vector<Result<KeyOpOutput>>)>;
  /// Around each operation, with the number of its lane, from 0.
  struct Watch {
    std::function<void(unsigned)> begin = [](unsigned) {};
    std::function<void(unsigned)> end = [](unsigned) {};
  };
  SessionLanes(std::vector<std::unique_ptr<TokenSession>> sessions, Watch watch);
  /// Ends when all that was started is done; nothing may be started any more.
  ~SessionLanes();

  /// Start queues a batch; `done` is called once, with a result for each operation in order, from the thread that ends
  /// the last of them; of an empty batch, from the caller's.
  void Start(std::uint64_t source, std::vector<KeyOp> ops, Done done) EXCLUDES(mutex_);
  /// Still holds the lanes between two operations: while it lives none begins and none runs. Waits for those that run.
  class Still {
   public:
    explicit Still(SessionLanes& lanes) : lanes_(lanes) { lanes_.Hold(); }
    ~Still() { lanes_.Go(); }
    Still(const Still&) = delete;
    Still& operator=(const Still&) = delete;

   private:
    SessionLanes& lanes_;
  };
  /// Execute starts a batch that the caller keeps, of source 0, and waits for its results.
  std::vector<Result<KeyOpOutput>> Execute(std::span<const KeyOp> ops) EXCLUDES(mutex_);

 private:
  struct Batch {
    std::vector<KeyOp> kept;
    std::span<const KeyOp> ops;
    std::vector<std::optional<Result<KeyOpOutput>>> results;
    std::size_t next = 0;
    std::size_t left = 0;
    Done done;
  };
  void Enter(std::uint64_t source, std::shared_ptr<Batch> batch) EXCLUDES(mutex_);
  void Work(unsigned lane, TokenSession& session) EXCLUDES(mutex_);
  void Hold() EXCLUDES(mutex_);
  void Go() EXCLUDES(mutex_);

  const std::vector<std::unique_ptr<TokenSession>> sessions_;
  const Watch watch_;
  Mutex mutex_;
  CondVar work_;
  // Sources with operations that nobody has begun, whose turn it is first; each with its batches.
  std::deque<std::pair<std::uint64_t, std::deque<std::shared_ptr<Batch>>>> turns_ GUARDED_BY(mutex_);
  bool stopping_ GUARDED_BY(mutex_) = false;
  CondVar still_;
  bool held_ GUARDED_BY(mutex_) = false;
  unsigned running_ GUARDED_BY(mutex_) = 0;  // operations
  std::vector<std::thread> threads_;
};

}  // namespace strongroom::hsm
