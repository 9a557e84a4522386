#include "hsm/session_lanes.h"

#include <algorithm>
#include <future>

namespace strongroom::hsm {

SessionLanes::SessionLanes(std::vector<std::unique_ptr<TokenSession>> sessions, Watch watch)
    : sessions_(std::move(sessions)), watch_(std::move(watch)) {
  for (unsigned lane = 0; lane < sessions_.size(); ++lane)
    threads_.emplace_back([this, lane] { Work(lane, *sessions_[lane]); });
}

SessionLanes::~SessionLanes() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
    work_.NotifyAll();
  }
  for (auto& thread : threads_) thread.join();
}

void SessionLanes::Start(std::uint64_t source, std::vector<KeyOp> ops, Done done) {
  auto batch = std::make_shared<Batch>();
  batch->kept = std::move(ops);
  batch->ops = batch->kept;
  batch->done = std::move(done);
  Enter(source, std::move(batch));
}

std::vector<Result<KeyOpOutput>> SessionLanes::Execute(std::span<const KeyOp> ops) {
  std::promise<std::vector<Result<KeyOpOutput>>> promise;
  auto batch = std::make_shared<Batch>();
  batch->ops = ops;
  batch->done = [&](std::vector<Result<KeyOpOutput>> results) { promise.set_value(std::move(results)); };
  Enter(0, std::move(batch));
  return promise.get_future().get();
}

void SessionLanes::Enter(std::uint64_t source, std::shared_ptr<Batch> batch) {
  const auto size = batch->ops.size();
  if (size == 0) return batch->done({});
  batch->left = size;
  batch->results.resize(size);
  const MutexLock lock(mutex_);
  auto turn = std::find_if(turns_.begin(), turns_.end(), [&](const auto& each) { return each.first == source; });
  if (turn == turns_.end()) turn = turns_.insert(turns_.end(), {source, {}});
  turn->second.push_back(std::move(batch));
  if (size == 1)
    work_.NotifyOne();
  else
    work_.NotifyAll();
}

void SessionLanes::Hold() {
  const MutexLock lock(mutex_);
  while (held_) still_.Wait(mutex_);
  held_ = true;
  while (running_ > 0) still_.Wait(mutex_);
}

void SessionLanes::Go() {
  const MutexLock lock(mutex_);
  held_ = false;
  still_.NotifyAll();
  work_.NotifyAll();
}

void SessionLanes::Work(unsigned lane, TokenSession& session) {
  while (true) {
    std::shared_ptr<Batch> batch;
    std::size_t at = 0;
    {
      const MutexLock lock(mutex_);
      while (held_ || (turns_.empty() && !stopping_)) work_.Wait(mutex_);
      if (turns_.empty()) return;
      auto turn = std::move(turns_.front());
      turns_.pop_front();
      batch = turn.second.front();
      at = batch->next++;
      if (batch->next == batch->ops.size()) turn.second.pop_front();
      if (!turn.second.empty()) turns_.push_back(std::move(turn));
      ++running_;
    }
    watch_.begin(lane);
    auto result = session.Execute(batch->ops[at]);
    watch_.end(lane);
    {
      const MutexLock lock(mutex_);
      if (--running_ == 0) still_.NotifyAll();
      batch->results[at].emplace(std::move(result));
      if (--batch->left > 0) continue;
    }
    std::vector<Result<KeyOpOutput>> results;
    results.reserve(batch->results.size());
    for (auto& each : batch->results) results.push_back(std::move(*each));
    batch->done(std::move(results));
  }
}

}  // namespace strongroom::hsm
