#include "appliance/broker.h"

#include <algorithm>

#include "appliance/broker_work.h"

namespace strongroom::appliance {

Broker::Broker(ledger::Ledger& ledger, TokenLanes token, const Clock& clock, Snapshot snapshot, Options options)
    : ledger_(ledger),
      token_(token),
      clock_(clock),
      snapshot_(std::move(snapshot)),
      options_(options),
      queue_({options.queue_items, options.tenant_items, options.quantum}) {
  for (unsigned i = 0; i < options_.workers; ++i) workers_.emplace_back([this] { WorkLoop(); });
}

Broker::~Broker() { Drain(); }

void Broker::Drain() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
    work_.NotifyAll();
  }
  for (auto& worker : workers_)
    if (worker.joinable()) worker.join();
  const MutexLock lock(mutex_);
  while (unreleased_ > 0) released_.Wait(mutex_);
}

void Broker::Submit(DataRequest request, Done done, Start start) {
  const auto items = std::max<std::size_t>(1, request.items.size());
  if (request.lane == Lane::kInteractive) last_interactive_ = std::chrono::steady_clock::now();
  std::optional<Error> refused;
  {
    const MutexLock lock(mutex_);
    if (stopping_)
      refused = Unavailable("the appliance is stopping");
    else if (const auto admitted = queue_.Admit(request.principal, items); !admitted)
      refused = admitted.error();
    if (!refused) {
      const auto lane = request.lane;
      const auto tenant = request.principal;
      queue_.Push(lane, tenant, items, {std::move(request), std::move(done)});
    }
  }
  if (refused)
    done(*refused);
  else if (start == Start::kNow)
    work_.NotifyOne();
}

void Broker::Dispatch() { work_.NotifyOne(); }

bool Broker::InteractiveLately() const {
  return std::chrono::steady_clock::now() - last_interactive_.load() < std::chrono::milliseconds(250);
}

std::size_t Broker::Queued(Lane lane) const {
  const MutexLock lock(mutex_);
  return queue_.ItemsOf(lane);
}

Result<void> Broker::Room(const std::string& tenant, std::size_t items) const {
  const MutexLock lock(mutex_);
  if (stopping_) return {};  // Submit says so
  return queue_.Admit(tenant, items);
}

// One worker is kept from bulk work, so that an interactive request finds one that is free or soon will be; and bulk
// keeps one while interactive work waits, so that neither lane starves the other.
std::optional<Lane> Broker::NextLane() const {
  if (unreleased_ >= options_.unreleased_items && !stopping_) return std::nullopt;
  const bool bulk = queue_.Has(Lane::kBulk) && (bulk_groups_ + 1 < options_.workers || stopping_);
  const bool interactive = queue_.Has(Lane::kInteractive);
  if (bulk && (bulk_groups_ == 0 || !interactive)) return Lane::kBulk;
  if (interactive) return Lane::kInteractive;
  return std::nullopt;
}

void Broker::WorkLoop() {
  while (true) {
    std::vector<Pending> group;
    std::optional<Lane> lane;
    bool more = false;
    {
      const MutexLock lock(mutex_);
      while (!(lane = NextLane()) && !(stopping_ && queue_.empty())) work_.Wait(mutex_);
      if (!lane) return;
      group = queue_.Take(*lane, options_.group_items);
      if (*lane == Lane::kBulk) ++bulk_groups_;
      more = NextLane().has_value();
    }
    if (more) work_.NotifyOne();  // one Dispatch may have come for many requests
    RunGroup(*lane, std::move(group));
    if (*lane != Lane::kBulk) continue;
    {
      const MutexLock lock(mutex_);
      --bulk_groups_;
    }
    work_.NotifyOne();
  }
}

void Broker::RunGroup(Lane lane, std::vector<Pending> group) {
  const auto state = snapshot_();
  std::vector<Worked> all(group.size());
  std::vector<hsm::KeyOp> ops;
  // What could not be recorded is not done (L11).
  const auto space = ledger_.CheckSpace();
  for (std::size_t i = 0; i < group.size(); ++i) {
    all[i].pending = std::move(group[i]);
    all[i].state = state;
    if (space)
      Prepare(all[i], ops);
    else
      all[i].refused = space.error();
  }
  auto outputs = ops.empty() ? std::vector<Result<hsm::KeyOpOutput>>()
                             : (lane == Lane::kBulk ? token_.bulk : token_.interactive).Execute(ops);
  const auto now = snapshot_();
  for (auto& worked : all)
    if (now->roster != state->roster && !worked.refused)
      if (auto still = JudgeActor(*now, CallerOf(worked.pending.request), kServes); !still)
        worked.revoked = std::move(still).error();
  ledger::Submission submission;
  std::vector<Claim> claims;
  for (auto& worked : all) {
    Collect(worked, outputs, submission);
    std::move(worked.claims.begin(), worked.claims.end(), std::back_inserter(claims));
  }

  // Token work is done and the session is back; only now is the disk waited for.
  Replies replies;
  for (auto& worked : all) {
    if (worked.refused || worked.revoked) {
      replies.emplace_back(std::move(worked.pending.done), worked.refused ? *worked.refused : *worked.revoked);
      continue;
    }
    std::vector<Result<DataAnswer>> answers;
    for (auto& item : worked.items)
      answers.push_back(item.error ? Result<DataAnswer>(*item.error) : Result<DataAnswer>(std::move(item.answer)));
    replies.emplace_back(std::move(worked.pending.done), std::move(answers));
  }
#ifdef STRONGROOM_BENCH_EVIDENCE_OFF
  submission.evidence.clear();  // of the bench's own daemon alone (B6)
#endif
  if (submission.evidence.empty()) {  // nothing but suppressed refusals: nothing leaves that needs evidence
    GiveBack(claims);
    for (auto& [done, reply] : replies) done(std::move(reply));
    return;
  }
  std::size_t items = 0;
  for (const auto& worked : all) items += std::max<std::size_t>(1, worked.items.size());
  {
    const MutexLock lock(mutex_);
    unreleased_ += items;
  }
  // The worker goes on with the next group meanwhile; the ledger's writer lets these answers go.
  const auto held = std::make_shared<Replies>(std::move(replies));
  const auto claimed = std::make_shared<std::vector<Claim>>(std::move(claims));
  const auto submitted = ledger_.Submit(
      std::move(submission),
      [this, held, items, claimed](const ledger::Ticket& ticket, const Result<ledger::Committed>& committed) {
        GiveBack(*claimed);
        Release(ledger::Staged(std::move(*held), ticket), committed, items);
      });
  if (submitted) return;
  GiveBack(*claimed);
  for (auto& [done, reply] : *held) done(submitted.error());
  Released(items);
}

void Broker::Release(ledger::Staged<Replies> staged, const Result<ledger::Committed>& committed, std::size_t items) {
  if (committed) {
    for (auto& [done, reply] : std::move(staged).Open(*committed)) done(std::move(reply));
  } else {
    // The answers stay staged for ever: no answer rather than an unrecorded one.
    std::move(staged).Discard([&](const Replies& unopened) {
      for (const auto& [done, reply] : unopened) done(committed.error());
    });
  }
  Released(items);
}

void Broker::Released(std::size_t items) {
  const MutexLock lock(mutex_);
  const bool held_up = unreleased_ >= options_.unreleased_items;
  unreleased_ -= items;
  released_.NotifyAll();
  if (held_up) work_.NotifyAll();
}

void Broker::RecordRefusal(const std::string& request_id, const std::string& principal, const std::string& keyring,
                           Operation operation, std::string_view slug) {
  ledger::EvidenceEntry entry;
  entry.time = clock_.Now();
  entry.request_id = request_id;
  entry.principal = principal;
  entry.operation = operation;
  entry.keyring = keyring.substr(0, 64);
  entry.outcome = slug;
  {
    const MutexLock lock(meter_mutex_);
    if (!meter_.Take(entry.time, entry.suppressed)) return;
  }
  ledger::Submission submission;
  submission.evidence.push_back(std::move(entry));
  (void)ledger_.Submit(std::move(submission));
}

}  // namespace strongroom::appliance
