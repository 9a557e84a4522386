#pragma once
// What other threads have for an event loop, at one wake-up for many.

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <functional>
#include <utility>
#include <vector>

#include "crypto/base/mutex.h"

namespace strongroom::netapi {

/// Mailbox runs tasks on an event loop, in the order in which they come. A loop that has been woken runs all that has
/// come meanwhile: so a hundred answers that one commit lets go cost a switch of tasks, not a hundred. Thread-safe; the
/// tasks must not throw. Outlive the loop.
class Mailbox {
 public:
  using Task = std::function<void()>;
  explicit Mailbox(boost::asio::io_context& loop) : loop_(loop) {}

  void Put(Task task) EXCLUDES(mutex_) {
    {
      const MutexLock lock(mutex_);
      tasks_.push_back(std::move(task));
      if (std::exchange(woken_, true)) return;
    }
    boost::asio::post(loop_, [this] { Empty(); });
  }

 private:
  void Empty() EXCLUDES(mutex_) {
    std::vector<Task> tasks;
    {
      const MutexLock lock(mutex_);
      tasks.swap(tasks_);
      woken_ = false;
    }
    for (auto& task : tasks) task();
  }

  boost::asio::io_context& loop_;
  Mutex mutex_;
  std::vector<Task> tasks_ GUARDED_BY(mutex_);
  bool woken_ GUARDED_BY(mutex_) = false;
};

}  // namespace strongroom::netapi
