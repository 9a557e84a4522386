#pragma once
// Mutex and condition variable with clang's thread-safety annotations: a member says which lock guards it, and the
// compiler (clang, -Werror=thread-safety) holds every caller to it.

#include <chrono>
#include <condition_variable>
#include <mutex>

#if defined(__clang__)
#define STRONGROOM_TSA(x) __attribute__((x))
#else
#define STRONGROOM_TSA(x)
#endif
#define GUARDED_BY(x) STRONGROOM_TSA(guarded_by(x))
#define REQUIRES(...) STRONGROOM_TSA(requires_capability(__VA_ARGS__))
#define EXCLUDES(...) STRONGROOM_TSA(locks_excluded(__VA_ARGS__))

namespace strongroom {

class STRONGROOM_TSA(capability("mutex")) Mutex {
 public:
  void lock() STRONGROOM_TSA(acquire_capability()) { mutex_.lock(); }
  void unlock() STRONGROOM_TSA(release_capability()) { mutex_.unlock(); }

 private:
  friend class CondVar;
  std::mutex mutex_;
};

class STRONGROOM_TSA(scoped_lockable) MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) STRONGROOM_TSA(acquire_capability(mutex)) : mutex_(mutex) { mutex_.lock(); }
  ~MutexLock() STRONGROOM_TSA(release_capability()) { mutex_.unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

/// CondVar waits with the mutex held by the caller; always wait in a loop over the condition. Where many wait for
/// little work, notify after the lock is released: who is woken before that wakes only to wait for the lock.
class CondVar {
 public:
  void Wait(Mutex& mutex) REQUIRES(mutex) {
    std::unique_lock<std::mutex> lock(mutex.mutex_, std::adopt_lock);
    condition_.wait(lock);
    (void)lock.release();
  }
  /// WaitUntil returns false when the deadline passed.
  bool WaitUntil(Mutex& mutex, std::chrono::steady_clock::time_point deadline) REQUIRES(mutex) {
    std::unique_lock<std::mutex> lock(mutex.mutex_, std::adopt_lock);
    const bool in_time = condition_.wait_until(lock, deadline) == std::cv_status::no_timeout;
    (void)lock.release();
    return in_time;
  }
  void NotifyOne() { condition_.notify_one(); }
  void NotifyAll() { condition_.notify_all(); }

 private:
  std::condition_variable condition_;
};

}  // namespace strongroom
