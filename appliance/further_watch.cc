#include "appliance/further_watch.h"

#include <algorithm>

#include "appliance/token_decisions.h"

namespace strongroom::appliance {
namespace {

constexpr auto kSoon = std::chrono::milliseconds(250);

bool Away(const Error& error) { return error.code == Code::kUnavailable; }

}  // namespace

FurtherJudgement JudgeFurther(const State& state, const std::string& serial, const FurtherFindings& findings) {
  const auto links = JudgeToken({findings.links, false, false, findings.tested.has_value(), findings.sweep.empty()});
  const auto enrolled = state.tokens.find(serial);
  if (!findings.identity)
    return {links == TokenState::kReady ? TokenState::kVerifying : links, findings.identity.error().Line(),
            std::nullopt};
  const auto& seen = *findings.identity;
  if (!SameToken(state, serial, seen))
    return {TokenState::kImpostor,
            "the token in the slot is " + seen.serial + ", or has other marks than the enrolled one", false};
  if (enrolled == state.tokens.end())
    return {TokenState::kNotEnrolled, "it is connected and not enrolled: propose token.enrol", false};
  if (!findings.tested && Away(findings.tested.error()))
    return {TokenState::kVerifying, findings.tested.error().Line(), std::nullopt};
  if (!findings.tested) {
    const bool impostor = findings.tested.error().Slug() == "impostor";
    return {impostor ? TokenState::kImpostor : TokenState::kDegraded, findings.tested.error().Line(), false};
  }
  if (!findings.follows && Away(findings.follows.error()))
    return {TokenState::kVerifying, findings.follows.error().Line(), std::nullopt};
  const auto slug = findings.follows ? std::string() : std::string(findings.follows.error().Slug());
  if (slug == "token-without-record" || slug == "record-missing" || slug == "record-damaged" ||
      slug == "roots-differ" || slug == "root-damaged")
    return {TokenState::kImpostor, findings.follows.error().Line(), false};
  if (!findings.follows) return {TokenState::kDegraded, findings.follows.error().Line(), true};
  return {links, findings.sweep, true};
}

FurtherWatch::FurtherWatch(hsm::KeyOps& tokens, Governance& governance, hsm::TokenDoors& doors,
                           Lifecycle::Schedule schedule)
    : tokens_(tokens), governance_(governance), doors_(doors), schedule_(schedule) {
  const auto connected = tokens_.Further();
  {
    const MutexLock lock(mutex_);
    for (const auto& serial : connected) watched_[serial].report.serial = serial;
  }
  for (const auto& serial : connected) threads_.emplace_back([this, serial] { Loop(serial); });
}

FurtherWatch::~FurtherWatch() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
    wake_.NotifyAll();
  }
  for (auto& thread : threads_) thread.join();
}

void FurtherWatch::Loop(const std::string& serial) {
  while (true) {
    Look(serial);
    const MutexLock lock(mutex_);
    using enum TokenState;
    const auto at = watched_[serial].report.state;
    const bool waits = at == kDown || at == kConnecting || at == kVerifying;  // for something that may come any moment
    const auto until =
        std::chrono::steady_clock::now() + (waits ? std::min(schedule_.canary, kSoon) : schedule_.canary);
    while (!stopping_ && wake_.WaitUntil(mutex_, until)) {
    }
    if (stopping_) return;
  }
}

// Governance is asked only when there is something to do: it must not wait for a token that hangs.
Result<void> FurtherWatch::Follow(const std::string& serial) {
  const auto state = governance_.Snapshot();
  TRY_ASSIGN(const auto record, tokens_.Token(serial).ReadLedgerRecord());
  if (state->roster && record.custody.further && record.custody.roster_version == state->roster->version() &&
      record.custody.roster_hash == state->roster->hash())
    return {};
  return governance_.FollowRoster(serial);
}

void FurtherWatch::Look(const std::string& serial) {
  auto& token = tokens_.Token(serial);
  auto state = governance_.Snapshot();
  std::set<std::string, std::less<>> enrolled;
  for (const auto& [name, marks] : state->tokens) enrolled.insert(name);
  doors_.SetEnrolled(std::move(enrolled));
  FurtherFindings findings{token.Links(), {}, Unavailable("not asked"), {}, {}};
  findings.tested = token.SelfTest();
  findings.identity = token.Identity();
  const bool ours =
      findings.identity && SameToken(*state, serial, *findings.identity) && state->tokens.contains(serial);
  if (ours && findings.tested) {
    findings.follows = Follow(serial);
    if (findings.follows) Sweep(serial);
  }
  state = governance_.Snapshot();
  const MutexLock lock(mutex_);
  auto& watched = watched_[serial];
  findings.sweep = ours ? watched.sweep : "";
  auto judged = JudgeFurther(*state, serial, findings);
  // One that is away at two looks in a row is not waited for by services: they are told at once.
  watched.away = judged.open ? 0 : watched.away + 1;
  if (judged.open)
    doors_.Open(serial, *judged.open);
  else if (watched.away >= 2)
    doors_.Open(serial, false);
  watched.report.state = judged.state;
  watched.report.detail = std::move(judged.detail);
  watched.report.hosts = std::move(findings.links);
  if (findings.identity) watched.report.identity = std::move(*findings.identity);
}

// Held against a state that was the same before and after: no execution came in between.
void FurtherWatch::Sweep(const std::string& serial) {
  {
    const MutexLock lock(mutex_);
    const auto& watched = watched_[serial];
    if (watched.sweep.empty() && std::chrono::steady_clock::now() < watched.sweep_due) return;
  }
  const auto before = governance_.Snapshot();
  const auto keys = tokens_.Token(serial).Inventory();
  if (governance_.Snapshot() != before) return;
  std::vector<std::string> faults;
  if (!keys)
    faults = {keys.error().Line()};
  else
    faults = JudgeInventory(*before, serial, *keys);
  const MutexLock lock(mutex_);
  auto& watched = watched_[serial];
  watched.sweep = faults.empty() ? "" : faults.front();
  if (faults.size() > 1) watched.sweep += " (and " + std::to_string(faults.size() - 1) + " more)";
  watched.sweep_due = std::chrono::steady_clock::now() + schedule_.sweep;
  if (!keys) return;
  watched.report.offered = Foreseen(*before, serial, *keys);
}

std::vector<FurtherReport> FurtherWatch::Report() const {
  const auto state = governance_.Snapshot();
  std::vector<FurtherReport> reports;
  const MutexLock lock(mutex_);
  for (const auto& [serial, watched] : watched_) reports.push_back(watched.report);
  for (const auto& [serial, marks] : state->tokens) {
    if (watched_.contains(serial)) continue;
    reports.emplace_back();
    reports.back().serial = serial;
    reports.back().detail = "it is enrolled and no [[token]] of the configuration";
  }
  for (auto& report : reports) {
    const auto at = state->tokens.find(report.serial);
    report.customer = at != state->tokens.end() && at->second.customer;
    if (!report.customer) report.offered.clear();
  }
  return reports;
}

std::string FurtherWatch::Fault() const {
  std::string fault;
  const auto state = governance_.Snapshot();
  for (const auto& report : Report())
    if (state->tokens.contains(report.serial) && report.state != TokenState::kReady)
      fault += (fault.empty() ? "" : "; ") + report.serial + ": " +
               (report.detail.empty() ? std::string(ToString(report.state)) : report.detail);
  return fault;
}

}  // namespace strongroom::appliance
