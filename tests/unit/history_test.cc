// A million random steps of proposals, votes, rosters, clocks, epochs and break-glass, against a model that keeps
// nothing but what people would remember (Q3 to Q7, Q10, G1 to G7).

#include <gtest/gtest.h>

#include <random>

#include "appliance/break_glass.h"
#include "tests/support/made_up_roster.h"

namespace strongroom::appliance {
namespace {

constexpr Millis kStart = 1'800'000'000'000;
constexpr std::size_t kPeople = 5;

// What people remember of a proposal.
struct Remembered {
  std::string operation, requester;
  Millis created = 0;
  std::uint64_t roster = 0;
  std::map<std::string, bool> votes;  // who, for or against
  std::string settled;                // withdrawn, executed, failed, stale; empty: nothing
};
struct RememberedGlass {
  std::string requester, executor;
  Millis until = 0;
  std::uint64_t uses = 0, most = 0;
  bool drill = false, closed = false, reviewed = false;
};

class History {
 public:
  explicit History(std::uint64_t seed) : random_(seed) {
    auto parts = tests::Policies(3);
    needed_ = 3;
    const auto roster = tests::MadeUpRoster(parts, kPeople);
    Take(ledger::Genesis{roster.text(), {}});
    Take(ledger::KeyringCreated{{1}, "k", crypto::Suite::kKwp, "token:t", "none"});
    Take(ledger::VersionAnnounced{{1}, 1, crypto::Suite::kKwp, "token:t", crypto::MakeKeyId({1}, 1), "t"});
    Take(ledger::VersionActivated{{1}, 1});
  }

  void Step() {
    switch (Below(16)) {
      case 0:
      case 1:
        return File();
      case 2:
        now_ += static_cast<Millis>(Below(Below(8) == 0 ? 1800 : 30)) * 60'000;
        return;
      case 3:
        return Withdraw();
      case 4:
      case 5:
      case 6:
        return Execute();
      case 7:
        return Glass();
      case 8:
        return Glass();
      case 9:
        if (Below(frozen_ ? 4 : 40) == 0) return Rare();
        return;
      default:
        return Vote();
    }
  }
  // Everything that can be asked is answered as the model says.
  void Compare() {
    for (const auto& [id, p] : proposals_)
      ASSERT_EQ(StateAt(state_, *state_.FindProposal(id), now_), StateOf(p)) << p.operation << " " << id;
    std::size_t open = 0;
    for (const auto& [id, g] : glasses_) {
      const auto& b = *state_.break_glass.at(id);
      const bool is_open = !g.closed && now_ < g.until && g.uses < g.most;
      ASSERT_EQ(IsOpen(b, g.uses, now_), is_open);
      ASSERT_EQ(b.closed != 0, g.closed);
      ASSERT_EQ(!b.reviewer.empty(), g.reviewed);
      open += g.closed ? 0 : 1;
    }
    ASSERT_LE(open, 1U) << "one at most";
  }
  std::size_t executed = 0, rejected = 0, used = 0;

 private:
  std::uint64_t Below(std::uint64_t n) { return random_() % n; }
  std::string Person() {
    const auto i = Below(kPeople + 2);
    return i < kPeople ? "custodian-" + std::to_string(i + 1) : i == kPeople ? "operator-1" : "nobody";
  }
  const std::string* AnyId() {
    if (ids_.empty()) return nullptr;
    return &ids_[ids_.size() - 1 - Below(std::min<std::size_t>(ids_.size(), 6))];
  }
  void Take(ledger::ControlBody body) {
    const auto applied = Apply(state_, {now_, std::move(body)});
    ASSERT_TRUE(applied) << applied.error().Line();
  }

  std::string StateOf(const Remembered& p) const {
    if (!p.settled.empty()) return p.settled;
    const bool outlives = p.operation == "keyring.emergency-rotate";
    std::size_t yes = 0, no = 0;
    for (const auto& [who, is_for] : p.votes) (is_for ? yes : no) += 1;
    if (p.roster != rosters_) return no > 0 && !outlives ? "rejected" : "stale";
    const std::size_t voters = kPeople - (p.requester.starts_with("custodian-") ? 1 : 0);
    if (no > 0 && (!outlives || voters - no < needed_)) return "rejected";
    if (yes >= needed_) return now_ > p.created + 48 * kHour ? "expired" : "approved";
    return now_ > p.created + 24 * kHour ? "expired" : "open";
  }
  bool GlassInTheWay() const {
    return std::any_of(glasses_.begin(), glasses_.end(), [](const auto& g) { return !g.second.reviewed; });
  }

  void File() {
    const char* operations[] = {"keyring.rotate", "keyring.emergency-rotate", "break-glass.open", "ledger.rotate-key"};
    const std::string operation = operations[Below(4)];
    auto requester = Person();
    if (requester == "nobody") requester = "operator-1";
    Drawn drawn;
    drawn.now = now_;
    for (auto& byte : drawn.nonce) byte = static_cast<std::uint8_t>(Below(256));
    drawn.token = "t";
    drawn.clock_fault = frozen_ ? "frozen" : "";
    const bool failing = Below(2) == 0, drill = Below(2) == 0;
    if (failing) drawn.failing = {"witness"};
    ProposalRequest request{operation, operation.starts_with("keyring.") ? "k" : "", {}, "a reason"};
    if (operation == "break-glass.open")
      request.params = {{"check", "witness"},
                        {"scope", "ceremonies"},
                        {"minutes", std::to_string(1 + Below(240))},
                        {"uses", std::to_string(1 + Below(3))},
                        {"drill", drill ? "yes" : "no"}};
    const auto draft = DraftProposal(state_, requester, request, drawn);
    const bool refused = frozen_ || (operation == "break-glass.open" && (GlassInTheWay() || (!drill && !failing)));
    ASSERT_EQ(draft.has_value(), !refused) << operation << (draft ? "" : draft.error().Line());
    if (!draft) return;
    const auto text = *draft->Render();
    const auto id = crypto::ProposalId(text);
    Take(ledger::ProposalFiled{text});
    proposals_[id] = {operation, requester, now_ / 1000 * 1000, rosters_, {}, {}};
    ids_.push_back(id);
  }

  void Vote() {
    const auto* id = AnyId();
    if (id == nullptr) return;
    auto& p = proposals_.at(*id);
    const auto who = Person();
    const bool is_for = Below(12) != 0;
    const auto may = MayVote(state_, *state_.FindProposal(*id), who,
                             is_for ? crypto::Verdict::kApprove : crypto::Verdict::kReject, now_);
    const auto at = StateOf(p);
    const bool expected = (at == "open" || at == "approved") && (!is_for || now_ <= p.created + 24 * kHour) &&
                          who.starts_with("custodian-") && who != p.requester && !p.votes.contains(who);
    ASSERT_EQ(may.has_value(), expected) << who << " on " << at << (may ? "" : may.error().Line());
    if (!may) return;
    Take(ledger::VoteCast{*id, {who, is_for ? crypto::Verdict::kApprove : crypto::Verdict::kReject, "x"}});
    p.votes[who] = is_for;
    rejected += StateOf(p) == "rejected" ? 1 : 0;
  }

  void Withdraw() {
    const auto* id = AnyId();
    if (id == nullptr || Below(4) != 0) return;
    auto& p = proposals_.at(*id);
    const auto who = Person();
    const auto may = JudgeWithdrawal(*state_.FindProposal(*id), who);
    ASSERT_EQ(may.has_value(), who == p.requester && p.settled.empty());
    if (!may) return;
    Take(ledger::ProposalWithdrawn{*id, who});
    p.settled = "withdrawn";
  }

  // Signatures are another suite's: what is asked here is when something runs.
  void Execute() {
    const auto* id = AnyId();
    if (id == nullptr) return;
    auto& p = proposals_.at(*id);
    const auto& proposal = *state_.FindProposal(*id);
    const auto at = StateAt(state_, proposal, now_);
    ASSERT_EQ(at, StateOf(p));
    if (at != "approved") {
      ASSERT_FALSE(JudgeExecution(state_, proposal, now_)) << at;
      return;
    }
    ASSERT_EQ(JudgeExecution(state_, proposal, now_).error().Slug(), "malformed-signature") << "that is all it lacks";
    if (frozen_) return;
    const auto effect = EffectOf(state_, proposal.parsed);
    if (p.operation == "break-glass.open") {
      ASSERT_EQ(effect.has_value(), !GlassInTheWay());
    } else if (p.operation == "ledger.rotate-key") {
      ASSERT_TRUE(effect);
    }
    if (!effect) return;
    Take(ledger::ProposalConsumed{*id, Person()});
    ASSERT_EQ(StateAt(state_, *state_.FindProposal(*id), now_), "executing");
    if (p.operation != "break-glass.open") {
      // What rotations do to keyrings is not what this is about: settled without an effect.
      const bool ok = Below(8) != 0;
      Take(ledger::ExecutionSettled{*id, ok, ok ? "" : "x", ""});
      p.settled = ok ? "executed" : "failed";
      ++executed;
      return;
    }
    const auto opened = std::get<ledger::BreakGlassOpened>(effect->entries.front());
    Take(opened);
    Take(ledger::ExecutionSettled{*id, true, "", ""});
    p.settled = "executed";
    glasses_[*id] = {p.requester,
                     state_.FindProposal(*id)->executor,
                     now_ + Millis{opened.minutes} * 60'000,
                     0,
                     opened.uses,
                     opened.drill,
                     false,
                     false};
    ++executed;
  }

  void Glass() {
    for (auto& [id, g] : glasses_) {
      if (g.reviewed) continue;
      const auto what = Below(8);
      if (what < 4) {
        const auto* covering = Covering(state_, "witness", "ceremonies", now_);
        const bool covers = covering != nullptr && IsOpen(*covering, g.uses, now_);
        ASSERT_EQ(covers, !g.closed && !g.drill && now_ < g.until && g.uses < g.most);
        g.uses += covers ? 1 : 0;
        used += covers ? 1 : 0;
      } else if (what < 6) {
        const auto over = g.closed ? "" : Outlived(*state_.break_glass.at(id), g.uses, now_);
        ASSERT_EQ(!over.empty(), !g.closed && (now_ >= g.until || g.uses >= g.most));
        if (!g.closed && (!over.empty() || Below(4) == 0)) {
          Take(ledger::BreakGlassClosed{id, over.empty() ? "closed" : over, "", g.uses});
          g.closed = true;
        }
      } else {
        const auto who = Person();
        const auto may = MayReview(state_, id, who);
        ASSERT_EQ(may.has_value(),
                  g.closed && who.starts_with("custodian-") && who != g.requester && who != g.executor);
        if (!may) return;
        Take(ledger::BreakGlassReviewed{id, who, "f", "s"});
        g.reviewed = true;
      }
      return;
    }
  }

  void CloseAll(const char* reason) {
    for (auto& [id, g] : glasses_) {
      if (g.closed) continue;
      Take(ledger::BreakGlassClosed{id, reason, "", g.uses});
      g.closed = true;
    }
  }
  void Outdate() {
    for (auto& [id, p] : proposals_)
      if (p.settled.empty()) p.settled = "stale";
  }
  // A new roster with another quorum, an epoch, a clock that is frozen and accepted.
  void Rare() {
    switch (Below(3)) {
      case 0: {
        CloseAll("roster-changed");
        needed_ = needed_ == 3 ? 4 : 3;
        const auto next =
            tests::MadeUpRoster(tests::Policies(needed_), kPeople, ++rosters_ + 1, ToHex(state_.roster->hash()));
        return Take(ledger::RosterChanged{next.text()});
      }
      case 1:
        Take(ledger::EpochOpened{++epoch_, "", "", {}});
        return Outdate();
      default:
        if (frozen_) {
          now_ -= static_cast<Millis>(Below(100)) * kHour;  // the one place where time may go back
          Take(ledger::ClockAccepted{});
          Outdate();
        } else {
          CloseAll("clock");
          Take(ledger::ClockFrozen{now_, "x"});
        }
        frozen_ = !frozen_;
    }
  }

  std::mt19937_64 random_;
  State state_;
  Millis now_ = kStart;
  bool frozen_ = false;
  std::uint64_t needed_ = 3, rosters_ = 0, epoch_ = 1;
  std::map<std::string, Remembered> proposals_;
  std::map<std::string, RememberedGlass> glasses_;
  std::vector<std::string> ids_;
};

// Under a sanitizer, which makes it twenty times as slow, a twentieth: each history stands for itself.
#if defined(__clang__)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define STRONGROOM_SANITIZED
#endif
#endif
#ifdef STRONGROOM_SANITIZED
constexpr std::size_t kSteps = 50'000;
#else
constexpr std::size_t kSteps = 1'000'000;
#endif

TEST(RandomHistory, Q4_G4_AMillionStepsGoAsTheModelSays) {
  std::size_t steps = 0, executed = 0, rejected = 0, used = 0;
  for (std::uint64_t seed = 1; steps < kSteps; ++seed) {
    History history(seed);
    for (int i = 0; i < 1000; ++i) {
      history.Step();
      ++steps;
      if (i % 100 == 99) history.Compare();
      if (HasFatalFailure()) FAIL() << "seed " << seed << " step " << i;
    }
    executed += history.executed;
    rejected += history.rejected;
    used += history.used;
  }
  // The histories must have gone everywhere for this to say anything.
  EXPECT_GT(executed, kSteps / 250);
  EXPECT_GT(rejected, kSteps / 500);
  EXPECT_GT(used, kSteps / 5000);
}

}  // namespace
}  // namespace strongroom::appliance
