// Who writes the custody record (Q13): random histories of hosts of two installations that are paused between any two
// calls to the token, killed at any of them, and what they had sent arrives at any time later; against a model that
// keeps nothing but what was answered.

#include <dlfcn.h>
#include <gtest/gtest.h>

#include <random>
#include <set>

#include "hsm/custody_store.h"
#include "tests/fakes/memory_pkcs11.h"

namespace strongroom::hsm {
namespace {

using crypto::LedgerRecord;
using tests::MemoryToken;
using Fate = MemoryToken::Fate;

class StillClock final : public Clock {
 public:
  Millis Now() const override { return kNow; }
  Millis Steady() const override { return kDay; }
  Millis Watched() const override { return kDay; }
  std::array<std::uint8_t, 16> BootId() const override { return {7}; }
  static constexpr Millis kNow = 1'800'000'000'000;
};

class WritersWorld {
 public:
  WritersWorld() {
    const std::string path = STRONGROOM_BIN_DIR "/memory_pkcs11.so";
    module_ = *Module::Load(path);
    const auto get = reinterpret_cast<MemoryToken* (*)()>(
        dlsym(dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD), "memory_token"));
    token_ = get();
    *token_ = {};
    const crypto::CustodyRoot root{{1, 2, 3}, 1, {4}, "t"};
    auto session = *Session::Open(*module_, 0);
    EXPECT_TRUE(WriteRoot(*module_, session, root));
    EXPECT_TRUE(WriteFirstRecord(*module_, session, crypto::FirstRecord(root, StillClock::kNow)));
  }
  struct Host {
    Host(const WritersWorld& w, std::uint8_t of, bool takes)
        : session(*Session::Open(*w.module_, 0)),
          store(*w.module_, w.clock_, "t", {{of}, takes, crypto::kDefaultRecordBytes}),
          installation(of),
          take(takes) {}
    Session session;
    CustodyStore store;
    std::uint8_t installation;
    bool take, claimed = false;
    std::size_t knows = 0;  // so many attempts had ended when it began
  };
  MemoryToken& token() { return *token_; }
  // The records that can be read, and which of them is in force, as the rules say it in one sentence: of the newest
  // settled writer, by epoch, term, count, start, the highest serial.
  std::vector<LedgerRecord> Records() const {
    std::vector<LedgerRecord> records;
    for (const auto& [handle, object] : token_->objects)
      if (object.label == kRecordLabel)
        if (auto record = crypto::DecodeRecord(object.value)) records.push_back(std::move(*record));
    return records;
  }
  static auto Rank(const LedgerRecord& r) {
    return std::tuple(r.epoch, r.term, r.writer.count, r.writer.start, r.serial);
  }
  std::optional<LedgerRecord> InForce() const {
    std::optional<LedgerRecord> best;
    for (auto& record : Records())
      if (record.writer.settled && (!best || Rank(record) > Rank(*best))) best = std::move(record);
    return best;
  }

 protected:
  StillClock clock_;
  std::unique_ptr<Module> module_;
  MemoryToken* token_ = nullptr;
};

// A change is one number: carried out, it stands in the list of what was executed.
crypto::SpentProposal Change(std::uint32_t number) {
  crypto::SpentProposal spent;
  for (int i = 0; i < 4; ++i) spent.id[static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(number >> (24 - 8 * i));
  spent.until = StillClock::kNow + kDay;
  return spent;
}
bool Has(const LedgerRecord& record, std::uint32_t number) {
  const auto id = Change(number).id;
  for (const auto& s : record.custody.spent)
    if (s.id == id) return true;
  return false;
}
crypto::KeyId KeyOf(std::uint32_t number) { return crypto::MakeKeyId({9}, number); }

class History : public WritersWorld {
 public:
  explicit History(std::uint64_t seed) : random_(seed) {
    token_->before = [this](CK_SESSION_HANDLE) { return Between(); };
  }
  ~History() { token_->before = nullptr; }

  void Step() {
    quiet_ = Below(2) == 0;
    disturbed_ = false;
    Operate(0);
    Check();
    // Whoever has seen that another writes, or does not know what became of a write, is replaced.
    std::erase_if(hosts_, [&](const auto& h) { return h->store.ended() || token_->dead[h->session.handle()]; });
  }
  std::size_t acknowledged = 0, refused = 0, late = 0, adopted = 0, lost = 0;

 private:
  std::uint64_t Below(std::uint64_t n) { return random_() % n; }

  // Between any two calls of a host something else may happen, or this host is killed.
  Fate Between() {
    if (quiet_) return Fate::kHappens;
    const auto what = Below(60);
    if (what > 7) return Fate::kHappens;
    disturbed_ = true;
    if (what == 0) return Fate::kLost;
    if (what < 3) return Fate::kLate;
    if (what < 6) Land();
    if (what >= 6 && depth_ < 2) Operate(depth_ + 1);
    return Fate::kHappens;
  }
  void Land() {
    if (token_->late.empty()) return;
    token_->Land(Below(token_->late.size()));
    ++late;
  }

  void Operate(int depth) {
    const auto before = std::exchange(depth_, depth);
    const auto what = Below(40);
    if (what < 8)
      Start();
    else if (what < 12)
      Land();
    else if (what < 13)
      Adopt();
    else if (what < 16)
      Ask();
    else if (what == 16 && depth == 0 && Below(4) == 0)
      Lose();
    else
      Write();
    depth_ = before;
  }
  // A host that is in the middle of a call takes no other; it is paused.
  std::shared_ptr<Host> Any() {
    std::vector<std::shared_ptr<Host>> free;
    for (const auto& host : hosts_)
      if (!busy_.contains(host.get())) free.push_back(host);
    return free.empty() ? nullptr : free[Below(free.size())];
  }
  struct Busy {
    Busy(std::set<const Host*>& all, const Host* one) : busy(all), host(one) { busy.insert(host); }
    ~Busy() { busy.erase(host); }
    std::set<const Host*>& busy;
    const Host* host;
  };

  void Start() {
    if (hosts_.size() > 4) return;
    const auto host = std::make_shared<Host>(*this, static_cast<std::uint8_t>(1 + Below(2)), Below(3) == 0);
    hosts_.push_back(host);
    const Busy busy(busy_, host.get());
    const auto began = attempts_ended_;
    const auto record = InForce();
    const auto highest = Highest();
    const auto claimed = host->store.Claim(host->session);
    host->claimed = claimed.has_value();
    host->knows = began;
    if (disturbed_) return;
    // Nobody was in the way: it is the writer, if it may be.
    if (!record) {
      ASSERT_FALSE(claimed);
      return;
    }
    const bool others = record->writer.installation != crypto::Id16{} &&
                        record->writer.installation != crypto::Id16{host->installation};
    // A claim of a higher epoch or term than the record's is an adoption's that was cut off.
    const bool above =
        highest && std::pair(std::get<0>(*highest), std::get<1>(*highest)) > std::pair(record->epoch, record->term);
    const std::string expected = others && !host->take ? "token-in-use" : above ? "custody-superseded" : "ok";
    ASSERT_EQ(claimed ? "ok" : std::string(claimed.error().Slug()), expected);
    if (claimed) ASSERT_EQ(crypto::EncodeRecord(*InForce()), token_->sent[host->session.handle()]);
  }
  std::optional<std::tuple<std::uint64_t, std::uint64_t, std::uint64_t, crypto::Id16>> Highest() const {
    std::optional<std::tuple<std::uint64_t, std::uint64_t, std::uint64_t, crypto::Id16>> highest;
    for (const auto& r : Records()) {
      const std::tuple order(r.epoch, r.term, r.writer.count, r.writer.start);
      if (!highest || order > *highest) highest = order;
    }
    return highest;
  }

  // One governed change: a number is executed; a KEK is given up, kept after all, or begins to go.
  void Write() {
    const auto host = Any();
    if (!host) return;
    const Busy busy(busy_, host.get());
    const auto record = host->store.Read(host->session);
    if (!record) return;
    auto next = *record;
    const auto number = ++numbers_;
    next.custody.spent.push_back(Change(number));
    std::function<void()> then = [] {};
    auto& pending = next.custody.pending;
    const auto what = Below(4);
    if (what == 0 && pending.size() < 8) {
      pending.push_back({KeyOf(number), kDay, false});
    } else if (!pending.empty()) {
      const auto at = Below(pending.size());
      const auto key = pending[at].key;
      if (what == 1 && !pending[at].going) {
        pending.erase(pending.begin() + static_cast<std::ptrdiff_t>(at));
        then = [this, key] { kept_.insert(key); };
      } else if (what == 2 && !pending[at].going) {
        pending[at].going = true;
        then = [this, key] { gone_.insert(key); };
      }
    }
    const auto before = InForce();
    const auto mine = token_->sent.contains(host->session.handle()) ? token_->sent[host->session.handle()] : Bytes();
    const auto highest = Highest();
    attempts_[number] = next.epoch;
    const auto written = host->store.Write(host->session, next);
    if (written) {
      ++acknowledged;
      acknowledged_[number] = next.epoch;
      then();  // only now is it acted upon
    } else {
      ++refused;
      ended_.push_back(number);
      attempts_ended_ = ended_.size();
    }
    if (disturbed_) return;
    // Nobody was in the way: exactly the writer in force writes, unless it sees a higher one's claim.
    const bool in_force = before && crypto::EncodeRecord(*before) == mine && host->claimed;
    const bool superseded =
        before && highest &&
        *highest > std::tuple(before->epoch, before->term, before->writer.count, before->writer.start);
    ASSERT_EQ(written.has_value(), in_force && !superseded) << (written ? "" : written.error().Line());
  }

  // A new host is asked what became of what it does not know: "not done" is an answer.
  void Ask() {
    const auto host = Any();
    if (!host || !host->claimed) return;
    const Busy busy(busy_, host.get());
    const auto in_force = InForce();
    const auto record = host->store.Read(host->session);
    // A front end asks the host that it is connected to: the one that writes.
    if (disturbed_ || !record || !in_force || crypto::EncodeRecord(*in_force) != token_->sent[host->session.handle()])
      return;
    for (std::size_t i = 0; i < host->knows; ++i)
      if (!Has(*record, ended_[i])) never_.insert(ended_[i]);
  }

  void Adopt() {
    const auto host = Any();
    if (!host) return;
    const Busy busy(busy_, host.get());
    const auto to = host->store.ReadToAdopt(host->session);
    if (!to) return;
    auto next = to->record;
    const auto from = next.epoch;
    next.epoch = from + 1;
    const auto number = ++numbers_;
    next.custody.pending.clear();
    next.custody.spent = {Change(number)};
    attempts_[number] = next.epoch;
    const auto done = host->store.WriteAdopted(host->session, next);
    if (done) {
      ++adopted;
      host->claimed = true;
      acknowledged_[number] = next.epoch;
    } else {
      ended_.push_back(number);
      attempts_ended_ = ended_.size();
    }
    if (!disturbed_) ASSERT_TRUE(done) << done.error().Line();
  }

  // Somebody with the PIN destroys all records: what is left is the root, and an adoption.
  void Lose() {
    std::erase_if(token_->objects, [](const auto& o) { return o.second.label == kRecordLabel; });
    token_->late.clear();  // what lands of it after a loss is a record that was in force once, and no loss
    acknowledged_.clear();
    ended_.clear();
    attempts_ended_ = 0;
    attempts_.clear();
    ++lost;
    disturbed_ = true;
  }

  void Check() {
    const auto record = InForce();
    if (!record) return;
    // An adoption voids what was of the epochs before its own.
    for (const auto& [number, epoch] : acknowledged_)
      if (epoch == record->epoch) ASSERT_TRUE(Has(*record, number)) << "a settled change was lost: " << number;
    for (const auto& [number, epoch] : attempts_)
      if (epoch < record->epoch && Has(*record, number)) FAIL() << "a change of a former epoch: " << number;
    for (const auto number : never_)
      ASSERT_FALSE(Has(*record, number)) << "done after it was said not to be: " << number;
    for (const auto& p : record->custody.pending) ASSERT_FALSE(kept_.contains(p.key)) << "given up again by itself";
    for (const auto& key : gone_) ASSERT_FALSE(kept_.contains(key)) << "kept, and destroyed";
    ASSERT_LE(record->epoch, epoch_ + 3) << "epochs are not skipped";
    ASSERT_GE(record->epoch, lost > 0 ? 1 : epoch_) << "no epoch comes back";
    epoch_ = record->epoch;
    const auto size = std::count_if(token_->objects.begin(), token_->objects.end(),
                                    [](const auto& o) { return o.second.label == kRecordLabel; });
    ASSERT_LE(size, 40) << "what is left behind is removed";
  }

  std::mt19937_64 random_;
  bool quiet_ = true, disturbed_ = false;
  int depth_ = 0;
  std::uint32_t numbers_ = 0;
  std::uint64_t epoch_ = 1;
  std::vector<std::shared_ptr<Host>> hosts_;
  std::set<const Host*> busy_;
  std::map<std::uint32_t, std::uint64_t> attempts_, acknowledged_;  // number: epoch
  std::vector<std::uint32_t> ended_;                                // attempts that were not answered with yes
  std::size_t attempts_ended_ = 0;
  std::set<std::uint32_t> never_;
  std::set<crypto::KeyId> kept_, gone_;
};

TEST(CustodyWriters, Q13_RandomHistoriesGoAsTheModelSays) {
  constexpr std::size_t kSteps = 10'000;
  std::size_t steps = 0, acknowledged = 0, refused = 0, late = 0, adopted = 0, lost = 0;
  for (std::uint64_t seed = 1; steps < kSteps; ++seed) {
    History history(seed);
    for (int i = 0; i < 200; ++i, ++steps) {
      history.Step();
      if (testing::Test::HasFatalFailure()) FAIL() << "seed " << seed << " step " << i;
    }
    acknowledged += history.acknowledged;
    refused += history.refused;
    late += history.late;
    adopted += history.adopted;
    lost += history.lost;
  }
  // The histories must have gone everywhere for this to say anything.
  EXPECT_GT(acknowledged, kSteps / 20);
  EXPECT_GT(refused, kSteps / 100);
  EXPECT_GT(late, kSteps / 200);
  EXPECT_GT(adopted, kSteps / 400);
  EXPECT_GT(lost, kSteps / 2000);
}

// An adoption after a loss, of a host that never was the writer, arrives when the next host has adopted and gone on:
// does it take back what that one has carried out?
TEST(CustodyWriters, Q13_AnAdoptionThatLandsLateTakesNothingBack) {
  for (int round = 0; round < 16; ++round) {  // whose start is the higher one is chance
    WritersWorld w;
    std::erase_if(w.token().objects, [](const auto& o) { return o.second.label == kRecordLabel; });
    const auto adopt = [](WritersWorld::Host& host, std::uint32_t number) {
      EXPECT_FALSE(host.store.Claim(host.session));
      const auto to = host.store.ReadToAdopt(host.session);
      EXPECT_TRUE(to && to->lost);
      auto next = to->record;
      next.epoch = 2;
      next.custody.spent = {Change(number)};
      return host.store.WriteAdopted(host.session, next);
    };
    WritersWorld::Host killed(w, 1, false), second(w, 1, false);
    // Killed with its adoption on the way, at whichever write that is.
    w.token().before = [&](CK_SESSION_HANDLE session) {
      const auto sent = crypto::DecodeRecord(w.token().sent[session]);
      return sent && sent->epoch == 2 && sent->writer.settled ? Fate::kLate : Fate::kHappens;
    };
    EXPECT_FALSE(adopt(killed, 1));
    w.token().before = nullptr;
    ASSERT_EQ(w.token().late.size(), 1U);
    ASSERT_TRUE(adopt(second, 2));
    auto next = *second.store.Read(second.session);
    next.custody.spent.push_back(Change(3));
    ASSERT_TRUE(second.store.Write(second.session, next));
    w.token().Land(0);
    ASSERT_TRUE(Has(*w.InForce(), 3)) << "round " << round;
    EXPECT_TRUE(second.store.Write(second.session, *second.store.Read(second.session))) << "and the writer stays";
  }
}

}  // namespace
}  // namespace strongroom::hsm
