// Random histories of a token's custody, against a model that keeps what people would remember: votes, clocks that
// step, hosts and machines that start again, mandates and destructions that wait, and a token or a database that is put
// back to an earlier time (Q9 to Q12, Q15, Q16).

#include <gtest/gtest.h>

#include <random>

#include "appliance/token_past.h"
#include "crypto/custody.h"
#include "crypto/merkle.h"
#include "tests/fakes/fake_key_ops.h"
#include "tests/support/fast_quorum.h"
#include "tests/support/standing.h"

namespace strongroom::appliance {
namespace {

using crypto::kMinute;
constexpr Millis kSlack = 5 * kMinute;
constexpr crypto::KeyringId kRing = {7};

// A log whose entries are all the same: its tree costs nothing, whatever its size.
crypto::HashAt SameLog() {
  return [](unsigned level, std::uint64_t) -> Result<crypto::Digest> {
    auto hash = crypto::LeafHash(AsBytes("the same"));
    for (unsigned i = 0; i < level; ++i) hash = crypto::NodeHash(hash, hash);
    return hash;
  };
}

struct Text {
  crypto::ProposalText parsed;
  std::string text, id;
  std::vector<crypto::Vote> votes;
};

// What people would remember of a token. Times ending in _real are of a clock that nobody can set.
struct Memory {
  std::uint64_t epoch = 1, size = 0, most = 0;
  std::optional<std::uint64_t> floor;
  std::set<std::string> done;  // texts, of this epoch and above the floor
  Millis seen = 0, written_real = 0, watched = 0;
  bool same_boot = true;
  Millis stepped = 0;
  struct Waiting {
    Millis due, since_real;
  };
  std::map<std::uint32_t, Waiting> waiting;  // by version
  struct Standing {
    Millis until, next, next_watched, made_real;
  };
  std::optional<Standing> mandate;
};
// What the database knows.
struct Database {
  std::uint64_t epoch = 1, size = 1, noted = 0;
  State state;
};

class CustodyHistory {
 public:
  explicit CustodyHistory(std::uint64_t seed) : random_(seed) {
    token_.now = [this] { return wall_; };
    token_.steady = [this] { return real_; };
    token_.Init(Quorum().roster());
    for (int i = 0; i < 4; ++i) PutKey();
    m_.seen = wall_;
    m_.written_real = watched_from_ = real_;
    (void)Apply(db_.state, {wall_, ledger::Genesis{Quorum().roster().text(), {}}});
  }

  void Step() {
    switch (Below(24)) {
      case 0:
      case 1:
      case 2:
        return Pass(static_cast<Millis>(1 + Below(Below(6) == 0 ? 20'000 : 60)) * kMinute);
      case 3:
        return SetClock();
      case 4:
        return Start();
      case 5:
      case 6:
      case 7:
        return Sign();
      case 8:
      case 9:
        return File();
      case 10:
      case 11:
      case 12:
        return Execute();
      case 13:
        return PutBack();
      case 14:
      case 15:
      case 16:
        return UseMandate();
      case 17:
      case 18:
        return Destroy();
      case 19:
        return Below(4) == 0 ? Cancel() : PutKey();
      default:
        return Compare();
    }
  }
  std::size_t executed = 0, refused = 0, made = 0, destroyed = 0, adopted = 0, behind = 0, stepped = 0;

 private:
  static const tests::FastQuorum& Quorum() {
    static const tests::FastQuorum quorum;
    return quorum;
  }
  std::uint64_t Below(std::uint64_t n) { return random_() % n; }
  template <class T>
  static std::string Slug(const Result<T>& result) {
    return result ? "ok" : std::string(result.error().Slug());
  }

  // --- what time it is, as the model says it
  Millis Floor() const { return m_.seen + (m_.same_boot ? real_ - m_.written_real : 0); }
  Millis Late() const { return std::max(wall_, Floor()); }
  Millis Watched() const { return m_.watched + real_ - watched_from_; }
  bool Behind() const { return wall_ + kSlack < Floor(); }
  bool Stepped() const {
    if (m_.stepped > 0) return wall_ > Floor() + kSlack && Watched() - m_.stepped < kDay;
    return wall_ > Floor() + (m_.same_boot ? kSlack : 31 * kDay);
  }
  // A write moves the clock on.
  void Written() {
    const auto floor = Floor(), late = Late(), watched = Watched();
    const bool step = Stepped();
    m_.stepped = !step ? 0 : m_.stepped > 0 ? m_.stepped : std::max<Millis>(watched, 1);
    stepped += step ? 1 : 0;
    m_.seen = step ? floor : late;
    m_.watched = watched;
    m_.written_real = watched_from_ = real_;
    m_.same_boot = true;
  }

  void Pass(Millis time) {
    wall_ += time;
    real_ += time;
    ledger_now_ = std::max(ledger_now_, wall_);
  }
  void SetClock() {
    constexpr Millis kBy[] = {kMinute, 4 * kMinute, 6 * kMinute, 2 * kHour, 3 * kDay, 40 * kDay};
    const auto by = kBy[Below(6)];
    // Mostly it is set right again.
    wall_ = Below(2) == 0 ? right_ + real_ : wall_ + (Below(2) == 0 ? by : -by);
    ledger_now_ = std::max(ledger_now_, wall_);
  }
  // What rotations by votes make; the newest is never given up.
  void PutKey() {
    if (keys_.size() >= 4) return;
    const auto version = keys_.empty() ? 1 : *keys_.rbegin() + 1;
    const auto key = crypto::MakeKeyId(kRing, version);
    token_.PutKey(Bytes(key.begin(), key.end()), hsm::KekLabel("k", version));
    keys_.insert(version);
  }
  // Another host, or another start of the machine, after which boot time tells nothing.
  void Start() {
    token_.Restart();
    Written();
    if (Below(3) != 0) return;
    auto record = *token_.ReadLedgerRecord();
    record.custody.course.boot_id[0] ^= 0x55;
    token_.Recall(record);
    m_.same_boot = false;
  }

  void Sign() {
    const auto root = *crypto::TreeRoot(db_.size, SameLog());
    const auto proof =
        db_.size >= m_.size ? *crypto::ConsistencyProof(m_.size, db_.size, SameLog()) : std::vector<crypto::Digest>();
    const auto origin = crypto::ControlOrigin(Quorum().roster().instance(), db_.epoch);
    const auto signed_head = token_.SignCheckpoint({origin, db_.size, root, {}}, proof);
    const std::string expected = db_.epoch != m_.epoch ? "foreign-origin" : db_.size < m_.size ? "log-rewound" : "ok";
    ASSERT_EQ(Slug(signed_head), expected);
    if (!signed_head) return;
    Written();
    m_.size = db_.noted = db_.size;
  }

  void File() {
    Text t;
    auto& p = t.parsed;
    p.instance = Quorum().roster().instance();
    p.params["token"] = "fake-token";
    const auto what = Below(12);
    if (what < 4) {
      p.operation = "keyring.set-policy";
      p.params.insert({{"keyring-id", ToHex(kRing)}, {"suite", "kwp"}, {"enforce", "no"}});
      p.params["rotate-days"] = what == 0 ? "none" : "30";
      if (what != 0) p.params["until"] = FormatTime(wall_ + static_cast<Millis>(1 + Below(120)) * kDay);
    } else if (what < 8) {
      if (keys_.size() < 2) return;
      p.operation = "version.destroy";
      p.params.insert(
          {{"keyring-id", ToHex(kRing)},
           {"version", std::to_string(*std::next(keys_.begin(), static_cast<int>(Below(keys_.size() - 1))))},
           {"waiting-days", std::to_string(7 + Below(20))}});
    } else if (what < 10) {
      p.operation = "clock.accept";
      p.params["clock"] = FormatTime(wall_);
    } else if (!Adoption(p)) {
      return;
    }
    p.keyring = what < 8 ? "k" : "";
    p.reason = "a test";
    p.requester = "operator-1";
    for (auto& byte : p.nonce) byte = static_cast<std::uint8_t>(Below(256));
    p.created = wall_ / 1000 * 1000;
    p.approve_by = p.created + kDay;
    p.execute_by = p.created + 2 * kDay;
    p.roster_version = 1;
    p.roster_hash = Quorum().roster().hash();
    p.policy = crypto::PolicyOf(Quorum().roster(), p);
    p.control_size = db_.size;
    p.control_root = *crypto::TreeRoot(db_.size, SameLog());
    p.epoch = db_.epoch;
    t.text = *p.Render();
    t.id = crypto::ProposalId(t.text);
    t.votes = {Quorum().Approve(Below(2), t.text), Quorum().Approve(2, t.text)};
    ASSERT_TRUE(Apply(db_.state, {ledger_now_, ledger::ProposalFiled{t.text}}));
    db_.size += 3;
    texts_.push_back(std::move(t));
  }
  // It names the token as it is now: done only while that is so.
  bool Adoption(crypto::ProposalText& p) {
    const auto record = *token_.ReadLedgerRecord();
    p.operation = "ledger.adopt";
    p.params["epoch"] = std::to_string(std::max(db_.epoch, m_.epoch) + 1);
    p.params["evidence-log"] = "0 " + ToHex(crypto::Digest{});
    p.params["token-control"] = crypto::AnchorLine(crypto::AnchorOf(record, true));
    p.params["token-evidence"] = "none";
    p.params["state"] = "behind";
    p.params["keep"] = Below(2) == 0 ? "none" : crypto::KeptLine(record);
    if (Below(2) == 0) p.params["clock"] = FormatTime(wall_);
    return true;
  }

  // What a token must say to votes, in the order in which it judges.
  std::string Expect(const Text& t) {
    const auto& p = t.parsed;
    const bool adopts = p.operation == "ledger.adopt";
    if (p.operation == "version.destroy" && !keys_.contains(VersionOf(t))) return "key-missing";
    if (const auto clock = p.params.find("clock"); clock != p.params.end()) {
      if (wall_ > p.execute_by) return "proposal-expired";
      if (wall_ + kSlack < *ParseTime(clock->second)) return "stale";
    } else {
      if (Behind() || Late() + kSlack < p.created) return "clock-back";
      if (Late() > p.execute_by) return "proposal-expired";
    }
    if (!adopts) {
      if (p.epoch != m_.epoch) return "stale";
      if (m_.floor && p.control_size <= *m_.floor) return "stale";
      if (p.control_size > (m_.size > 0 ? m_.size : m_.most + (1U << 20))) return "stale";
    }
    if (m_.done.contains(t.id)) return "already-executed";
    if (!adopts) return "ok";
    const auto record = *token_.ReadLedgerRecord();
    if (p.params.at("token-control") != crypto::AnchorLine(crypto::AnchorOf(record, true))) return "stale";
    if (EpochOf(t) <= m_.epoch) return "stale";
    if (p.params.at("keep") != "none" && p.params.at("keep") != crypto::KeptLine(Pruned(record))) return "stale";
    return "ok";
  }
  crypto::LedgerRecord Pruned(crypto::LedgerRecord record) const {
    std::erase_if(record.custody.mandates, [&](const auto& m) { return m.until < Late(); });
    return record;
  }
  static std::uint32_t VersionOf(const Text& t) {
    return static_cast<std::uint32_t>(std::stoul(t.parsed.params.at("version")));
  }
  static std::uint64_t EpochOf(const Text& t) { return std::stoull(t.parsed.params.at("epoch")); }

  // Whoever has the votes asks, once and again.
  void Execute() {
    if (texts_.empty()) return;
    const auto& t = texts_[texts_.size() - 1 - Below(std::min<std::size_t>(texts_.size(), 8))];
    const auto& p = t.parsed;
    const auto expected = Expect(t);
    auto grant = crypto::GrantExecution(Quorum().roster(), t.text, t.votes, p.created);
    ASSERT_TRUE(grant) << grant.error().Line();
    const auto done = token_.ChangeLedgerRecord(std::move(*grant));
    ASSERT_EQ(Slug(done), expected) << p.operation << (done ? "" : ": " + done.error().Line());
    if (!done) {
      ++refused;
      return;
    }
    ++executed;
    const bool adopts = p.operation == "ledger.adopt", clock = p.params.contains("clock");
    if (m_.mandate && m_.mandate->until < Late()) m_.mandate.reset();
    if (adopts) watched_from_ = real_;  // nobody has watched while the token was not known
    Written();
    if (adopts || clock) m_.done.clear();
    m_.done.insert(t.id);
    if (clock) {
      m_.seen = wall_;
      m_.stepped = 0;
      m_.floor = std::max({p.control_size, m_.most, m_.size});
      ledger_now_ = wall_;
    }
    m_.most = std::max(m_.most, p.control_size);
    if (p.operation == "version.destroy") {
      const auto due = crypto::WholeMinutesUp(Watched() + std::stoll(p.params.at("waiting-days")) * kDay);
      auto& waiting = m_.waiting.try_emplace(VersionOf(t), Memory::Waiting{0, 0}).first->second;
      waiting = {std::max(waiting.due, due), real_};
    } else if (p.operation == "keyring.set-policy") {
      m_.mandate.reset();
      if (p.params.contains("until"))
        m_.mandate = {crypto::WholeMinutesDown(*ParseTime(p.params.at("until"))),
                      crypto::WholeMinutesUp(Late() + 30 * kDay), crypto::WholeMinutesUp(Watched() + 15 * kDay), real_};
    } else if (adopts) {
      ++adopted;
      m_.epoch = EpochOf(t);
      m_.size = m_.most = p.control_size;
      m_.floor.reset();
      m_.waiting.clear();
      if (p.params.at("keep") == "none") m_.mandate.reset();
    }
    Record(t);
  }
  // The database hears of it, if it knows the text.
  void Record(const Text& t) {
    db_.size += 2;
    const auto* known = db_.state.FindProposal(t.id);
    if (known != nullptr && known->fate == ProposalFate::kPending) {
      ASSERT_TRUE(Apply(db_.state, {ledger_now_, ledger::ProposalConsumed{t.id, "operator-1"}}));
      ASSERT_TRUE(Apply(db_.state, {ledger_now_, ledger::ExecutionSettled{t.id, true, "", ""}}));
    }
    if (t.parsed.operation != "ledger.adopt" || EpochOf(t) <= db_.epoch) return;
    db_.epoch = EpochOf(t);
    db_.noted = 0;
    ASSERT_TRUE(Apply(db_.state, {ledger_now_, ledger::EpochOpened{db_.epoch, "", "", {}}}));
  }

  void UseMandate() {
    const auto version = *keys_.rbegin() + 1;
    const hsm::KeySpec spec{{"fake-token", crypto::MakeKeyId(kRing, version), crypto::Suite::kKwp},
                            hsm::KekLabel("k", version)};
    const std::string expected = Behind()                               ? "clock-back"
                                 : !m_.mandate                          ? "no-mandate"
                                 : Late() > m_.mandate->until           ? "mandate-over"
                                 : Stepped()                            ? "clock-stepped"
                                 : wall_ < m_.mandate->next             ? "mandate-not-due"
                                 : Watched() < m_.mandate->next_watched ? "mandate-not-due"
                                                                        : "ok";
    const auto done = token_.GenerateByMandate(tests::MadeUpMandate(spec), spec);
    ASSERT_EQ(Slug(done), expected) << (done ? "" : done.error().Line());
    if (!done) return;
    ++made;
    keys_.insert(version);
    // Whatever clocks were set to: half an interval has really gone by.
    ASSERT_GE(real_ - m_.mandate->made_real, 15 * kDay);
    m_.mandate = {m_.mandate->until, crypto::WholeMinutesUp(Late() + 30 * kDay),
                  crypto::WholeMinutesUp(Watched() + 15 * kDay), real_};
    Written();
  }

  void Destroy() {
    const auto version = static_cast<std::uint32_t>(1 + Below(*keys_.rbegin()));
    const auto key = crypto::MakeKeyId(kRing, version);
    const auto at = m_.waiting.find(version);
    const std::string expected = at == m_.waiting.end()       ? "destruction-not-pending"
                                 : Watched() < at->second.due ? "destruction-not-due"
                                                              : "ok";
    const auto done = token_.Destroy(tests::MadeUpDestruction(key), {"fake-token", key, crypto::Suite::kKwp});
    ASSERT_EQ(Slug(done), expected);
    if (!done) return;
    ++destroyed;
    // Whatever clocks were set to, and whoever was started again: the waiting period has really gone by.
    ASSERT_GE(real_ - at->second.since_real, 7 * kDay);
    m_.waiting.erase(at);
    keys_.erase(version);
    Written();
    Written();
  }
  void Cancel() {
    const auto version = static_cast<std::uint32_t>(1 + Below(*keys_.rbegin()));
    const auto done = token_.CancelDestruction({"fake-token", crypto::MakeKeyId(kRing, version), crypto::Suite::kKwp});
    ASSERT_EQ(Slug(done), m_.waiting.contains(version) ? "ok" : "destruction-not-pending");
    if (!done) return;
    m_.waiting.erase(version);
    Written();
  }

  // A vendor's restore, or a backup of ours: either may be older than the other.
  void PutBack() {
    crypto::LedgerRecord record;
    switch (Below(8)) {
      case 0:
      case 1:
        copies_.push_back({*token_.ReadLedgerRecord(), m_});
        return;
      case 2:
      case 3:
        backups_.push_back(db_);
        return;
      case 4:
        if (copies_.empty()) return;
        std::tie(record, m_) = copies_[Below(copies_.size())];
        token_.Recall(record);
        return;
      case 5:
        if (backups_.empty()) return;
        db_ = backups_[Below(backups_.size())];
        return;
      default:
        return;
    }
  }

  // Is a token that is older than the database known by that, and no other?
  void Compare() {
    bool older = m_.epoch < db_.epoch;
    if (m_.epoch == db_.epoch) {
      older = m_.size < db_.noted;
      for (const auto& t : texts_) {
        const auto* p = db_.state.FindProposal(t.id);
        older = older || (p != nullptr && p->fate == ProposalFate::kExecuted && t.parsed.epoch == db_.epoch &&
                          ledger_now_ <= t.parsed.execute_by && !(m_.floor && t.parsed.control_size <= *m_.floor) &&
                          !m_.done.contains(t.id));
      }
    }
    const auto judged = CheckTokenPast(db_.state, *token_.ReadLedgerRecord(), {db_.noted, 0}, ledger_now_);
    ASSERT_EQ(Slug(judged), older ? "token-behind" : "ok") << (judged ? "" : judged.error().Line());
    behind += older ? 1 : 0;
  }

  std::mt19937_64 random_;
  static constexpr Millis kBegin = 1'800'000'000'000, kUp = 100 * kDay;
  Millis wall_ = kBegin, real_ = kUp, ledger_now_ = kBegin, watched_from_ = kUp;
  const Millis right_ = kBegin - kUp;
  tests::FakeKeyOps token_;
  Memory m_;
  Database db_;
  std::set<std::uint32_t> keys_;
  std::vector<Text> texts_;
  std::vector<std::pair<crypto::LedgerRecord, Memory>> copies_;
  std::vector<Database> backups_;
};

TEST(RandomCustody, Q15_Q16_HistoriesGoAsTheModelSays) {
  constexpr std::size_t kSteps = 30'000;
  std::size_t steps = 0, executed = 0, refused = 0, made = 0, destroyed = 0, adopted = 0, behind = 0, stepped = 0;
  for (std::uint64_t seed = 1; steps < kSteps; ++seed) {
    CustodyHistory history(seed);
    for (int i = 0; i < 500; ++i, ++steps) {
      history.Step();
      if (testing::Test::HasFatalFailure()) FAIL() << "seed " << seed << " step " << i;
    }
    executed += history.executed;
    refused += history.refused;
    made += history.made;
    destroyed += history.destroyed;
    adopted += history.adopted;
    behind += history.behind;
    stepped += history.stepped;
  }
  // The histories must have gone everywhere for this to say anything.
  EXPECT_GT(executed, kSteps / 100);
  EXPECT_GT(refused, kSteps / 100);
  EXPECT_GT(made, kSteps / 2000);
  EXPECT_GT(destroyed, kSteps / 2000);
  EXPECT_GT(adopted, kSteps / 1000);
  EXPECT_GT(behind, kSteps / 200);
  EXPECT_GT(stepped, kSteps / 100);
}

}  // namespace
}  // namespace strongroom::appliance
