// The custody record as a value: its bytes, what a look at several of them finds, its room, and its time.

#include <gtest/gtest.h>

#include <limits>

#include "crypto/anchor.h"
#include "crypto/custody/chain.h"
#include "crypto/custody/course.h"
#include "crypto/custody/look.h"
#include "crypto/custody/record_former.h"
#include "crypto/custody/room.h"
#include "crypto/merkle.h"
#include "tests/support/custody_time.h"
#include "tests/support/quorum_fixture.h"
#include "tests/support/sample_record.h"

namespace strongroom::crypto {
namespace {

using tests::SampleRecord;
using tests::SharedQuorum;

constexpr Millis kToday = 1'800'000'000'000;

LedgerRecord Written(std::uint64_t count, std::uint64_t serial, bool settled, std::uint64_t roster = 1) {
  LedgerRecord r;
  r.token = "t";
  r.writer = {{1}, {static_cast<std::uint8_t>(count)}, count, settled};
  r.serial = serial;
  r.custody.roster_version = roster;
  return r;
}
Look LookAtAll(const std::vector<LedgerRecord>& records) {
  std::vector<StoredObject> objects;
  for (const auto& r : records) objects.push_back({EncodeRecord(r), false});
  return LookAt(objects);
}

// What a newer build would write: some bytes of a higher format, sealed as every one of them is.
Bytes Newer(ByteView body) {
  Bytes bytes(body.begin(), body.end());
  bytes[0] = 8;
  const auto digest = Sha256(bytes);
  bytes.insert(bytes.end(), digest.begin(), digest.end());
  return bytes;
}

// Does any byte of a record pass for another record, and has one record one encoding?
TEST(CustodyRecord, Q12_EveryByteCounts) {
  const auto record = SampleRecord();
  const auto bytes = EncodeRecord(record);
  auto read = DecodeRecord(bytes);
  ASSERT_TRUE(read) << read.error().Line();
  PutNodeHead(*read, *HeadOfNode(record));
  EXPECT_EQ(*read, record);
  EXPECT_EQ(EncodeRecord(*read), bytes);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    auto flipped = bytes;
    flipped[i] ^= 1;
    EXPECT_FALSE(DecodeRecord(flipped)) << i;
    EXPECT_FALSE(DecodeRecord(ByteView(bytes).first(i))) << i;
  }
  EXPECT_EQ(DecodeRecord(Newer(ByteView(bytes).first(bytes.size() - 32))).error().Slug(), "record-newer")
      << "never called lost";
}

// Is a record of each former format read, and what becomes of what it says?
TEST(CustodyRecord, Q12_FormerFormatsAreRead) {
  FormerParts parts;
  const auto instance = RandomArray<16>();
  parts.anchors = {{ControlOrigin(instance, 3), 7, Digest{1}}, {EvidenceOrigin(instance, 3), 9, Digest{2}}};
  parts.key = 2;
  parts.serial = 5;
  parts.roster_version = 4;
  parts.seen = 100 * kDay;
  parts.spent = {{Id16{1}, 101 * kDay}};
  parts.pending = {{KeyId{1}, 130 * kDay}, {KeyId{2}, 100 * kDay + 1}};
  parts.mandates = {{{7}, "install", Suite::kKwp, 30 * kDay, 200 * kDay, 120 * kDay}};
  parts.releases = {{{7}, "5678", 110 * kDay}};
  for (std::uint8_t format = 1; format <= 6; ++format) {
    const auto read = DecodeRecord(EncodeFormerParts(parts, format));
    ASSERT_TRUE(read) << int{format};
    EXPECT_EQ(read->instance, instance);
    EXPECT_EQ(read->epoch, 3U);
    EXPECT_TRUE(read->custody.spent.empty()) << "hosts execute none of the texts of then";
  }
  const auto read = *DecodeRecord(EncodeFormerParts(parts));
  ASSERT_EQ(read.custody.pending.size(), 2U);
  EXPECT_EQ(read.custody.pending[0].due, 30 * kDay) << "what was left of it";
  EXPECT_EQ(read.custody.pending[1].due, kDay) << "at least a day";
  EXPECT_EQ(read.custody.mandates[0].share, ShareOf("install"));
  EXPECT_EQ(read.custody.releases[0].end_watched, 10 * kDay);
}

// Q12: is a record that looks wrong ever taken for one that is lost?
TEST(CustodyRecord, Q12_AContradictionIsNoLoss) {
  auto one = Written(3, 8, true), other = Written(3, 8, true, 2);
  const auto look = LookAtAll({one, other});
  ASSERT_TRUE(look.problem);
  EXPECT_EQ(look.problem->Slug(), "custody-forked");
  EXPECT_FALSE(IsLost(*look.problem));
  EXPECT_EQ(look.forked.size(), 2U);
  std::vector<StoredObject> wrong = {{{}, true}};
  EXPECT_EQ(LookAt(wrong).problem->Slug(), "record-too-long");
  EXPECT_FALSE(IsLost(*LookAt(wrong).problem));
  wrong = {{Newer(Bytes{8, 1, 2}), false}};
  EXPECT_FALSE(IsLost(*LookAt(wrong).problem)) << "a newer build's";
  EXPECT_TRUE(IsLost(*LookAt({}).problem));
  wrong = {{Bytes{7, 1, 2}, false}};
  EXPECT_EQ(LookAt(wrong).problem->Slug(), "record-damaged");
  // The tombstone is no record, and to a build of before it is the newest there can be.
  wrong = {{Tombstone(), false}, {EncodeRecord(one), false}};
  EXPECT_EQ(LookAt(wrong).effective, one);
  EXPECT_EQ(DecodeFormerRecord(Tombstone())->serial, ~std::uint64_t{0});
}

// Q13: of the newest settled writer the highest serial counts: what a killed host wrote arrives late and is void.
TEST(CustodyRecord, Q13_ALateWriteIsVoid) {
  const auto old = Written(3, 9, true), settled = Written(4, 8, true), late = Written(3, 12, true, 5);
  auto look = LookAtAll({old, settled, late});
  EXPECT_EQ(look.effective, settled);
  EXPECT_EQ(look.older.size(), 2U) << "both go at the next write";
  // A claim hides nothing before it is settled, and is nobody else's to remove.
  const auto claim = Written(5, 10, false);
  look = LookAtAll({settled, claim});
  EXPECT_EQ(look.effective, settled);
  EXPECT_TRUE(look.older.empty());
  EXPECT_EQ(look.highest, OrderOf(claim));
  // The epoch stands first: what was written before a loss stays below the adoption.
  auto adopted = Written(1, 2, true);
  adopted.epoch = 2;
  EXPECT_EQ(LookAtAll({adopted, late}).effective, adopted);
}

// Q12: one object that is damaged, or longer than the bound, lies beside the record in force. Is custody off for it,
// and is a record that another profile or a newer build has written ever passed over?
TEST(CustodyRecord, Q12_ADamagedObjectDoesNotHideTheRecord) {
  const auto former = Written(4, 4, true), record = Written(4, 5, true), higher = Written(5, 6, true);
  const auto bytes = EncodeRecord(record);
  const auto beside = [&](StoredObject other) {
    return LookAt(std::vector<StoredObject>{{bytes, false}, std::move(other)});
  };
  for (const int bit : {3, 4, 5, 6, 7}) {
    auto flipped = EncodeRecord(former);
    flipped[0] ^= static_cast<std::uint8_t>(1 << bit);
    const auto look = beside({flipped, false});
    EXPECT_EQ(look.effective, record) << bit;
    EXPECT_EQ(look.older.size(), 1U) << "it goes with the next write";
    const std::vector<StoredObject> alone = {{flipped, false}};
    EXPECT_TRUE(IsLost(*LookAt(alone).problem)) << "nothing says that a newer build has written it";
  }
  EXPECT_EQ(beside({Newer(ByteView(bytes).first(bytes.size() - 32)), false}).problem->Slug(), "record-newer");
  // Too long for this profile: one that was not read, or is no record, hides nothing; one that is void, neither; one
  // that is in force is refused.
  for (const auto& over :
       {StoredObject{{}, true}, StoredObject{Bytes(100'000, 7), true}, StoredObject{EncodeRecord(former), true}}) {
    const auto look = beside(over);
    EXPECT_EQ(look.effective, record);
    EXPECT_EQ(look.older.size(), 1U);
  }
  const auto look = beside({EncodeRecord(higher), true});
  ASSERT_TRUE(look.problem);
  EXPECT_EQ(look.problem->Slug(), "record-too-long");
  EXPECT_FALSE(look.effective);
  // Alone: what was read and is no record is damage, as a shorter one; what was not read might be one.
  const std::vector<StoredObject> garbage = {{Bytes(100'000, 7), true}}, unread = {{{}, true}};
  EXPECT_EQ(LookAt(garbage).problem->Slug(), "record-damaged");
  EXPECT_EQ(LookAt(unread).problem->Slug(), "record-too-long");
}

// Q13: do claims that were cut off pile up, and is the newest of them, whose host may live, ever taken away?
TEST(CustodyRecord, Q13_OfClaimsTheHighestStays) {
  const auto settled = Written(4, 8, true);
  const auto look = LookAtAll({settled, Written(5, 9, false), Written(7, 9, false), Written(6, 9, false)});
  EXPECT_EQ(look.effective, settled);
  EXPECT_EQ(look.older, (std::vector<std::size_t>{1, 3}));
  EXPECT_EQ(look.highest_count, 7U);
  EXPECT_EQ(look.highest_installation, Id16{1});
}

// Q12: a former record with times that no calendar has: is anything computed from them that cannot be, and can what
// becomes of it be read back?
TEST(CustodyRecord, Q12_FormerTimesAreBounded) {
  constexpr Millis kMost = std::numeric_limits<Millis>::max(), kLeast = std::numeric_limits<Millis>::min();
  FormerParts parts;
  parts.anchors = {{ControlOrigin(RandomArray<16>(), 3), 7, Digest{1}}};
  parts.serial = 5;
  parts.roster_version = 4;
  for (const Millis seen : {Millis{0}, Millis{1}, Millis{1} << 53, kMost}) {
    parts.seen = seen;
    parts.pending = {{KeyId{1}, kLeast}, {KeyId{2}, kMost}, {KeyId{3}, 0}};
    parts.mandates = {{{7}, "install", Suite::kKwp, 1, kMost, kLeast}, {{8}, "other", Suite::kKwp, kMost, kLeast, 0}};
    parts.releases = {{{7}, "5678", kLeast}, {{8}, "5678", kMost}};
    const auto read = DecodeRecord(EncodeFormerParts(parts));
    ASSERT_TRUE(read) << seen;
    auto named = *read;
    named.token = "t";
    EXPECT_TRUE(DecodeRecord(EncodeRecord(named))) << seen;
    for (const auto& pending : read->custody.pending) EXPECT_GE(pending.due, kDay) << seen;
    EXPECT_EQ(read->custody.mandates[0].interval, 30 * kDay) << "never shorter than it was";
  }
  // What no record can hold is not half an upgrade's first step: it is unreadable.
  parts.pending = {{KeyId{1}, 0}, {KeyId{1}, 0}};
  EXPECT_EQ(DecodeRecord(EncodeFormerParts(parts)).error().Slug(), "record-damaged");
}

// A merge takes no permission that one of them lacks, and forgets nothing that one of them has done.
TEST(CustodyRecord, Q12_AMergeIsRestrictive) {
  auto one = Written(3, 8, true), other = Written(3, 8, true, 2);
  one.custody.spent = {{{1}, kMinute, {}}};
  other.custody.spent = {{{2}, kMinute, {}}};
  one.custody.pending = {{{5}, kDay, false}};
  const Mandate mandate{{7}, ShareOf("k"), Suite::kKwp, 30 * kDay, 9 * kDay, kDay, kDay};
  one.custody.mandates = {mandate};
  one.custody.watched = 5 * kDay;
  other.custody.watched = kDay;
  auto merged = *MergeForked(std::vector{one, other});
  EXPECT_EQ(merged.custody.spent.size(), 2U);
  EXPECT_TRUE(merged.custody.pending.empty());
  EXPECT_TRUE(merged.custody.mandates.empty());
  EXPECT_EQ(merged.custody.roster_version, 2U);
  EXPECT_EQ(merged.custody.watched, kDay) << "no waiting is shortened";
  other.custody.mandates = {mandate};
  other.custody.mandates[0].until = kDay;
  merged = *MergeForked(std::vector{one, other});
  ASSERT_EQ(merged.custody.mandates.size(), 1U);
  EXPECT_EQ(merged.custody.mandates[0].until, kDay);
  other.custody.roster_version = 1;
  other.custody.roster_hash = Digest{9};
  EXPECT_FALSE(MergeForked(std::vector{one, other})) << "two rosters of one version are not chosen between";
}

// Q14: do all lists at their caps fit, for each size of a token's objects, and is one more refused before?
TEST(CustodyRoom, Q14_AllAtOnceFit) {
  EXPECT_FALSE(RoomOf(7'679));
  for (const std::size_t bytes : {7'680UL, 49'152UL, 98'304UL}) {
    const auto room = *RoomOf(bytes);
    auto record = SampleRecord();
    auto& c = record.custody;
    const auto number = [](auto& array, std::size_t i) {
      array[0] = static_cast<std::uint8_t>(i >> 8);
      array[1] = static_cast<std::uint8_t>(i);
    };
    c.spent.assign(room.spent, {});
    for (std::size_t i = 0; i < room.spent; ++i) number(c.spent[i].id, i);
    c.pending.assign(room.pending, {});
    for (std::size_t i = 0; i < room.pending; ++i) number(c.pending[i].key, i);
    c.mandates.assign(room.mandates, {{}, {}, Suite::kKwp, 30 * kDay, 0, 0, 0});
    for (std::size_t i = 0; i < room.mandates; ++i) number(c.mandates[i].keyring, i);
    c.releases.assign(room.releases, {});
    for (std::size_t i = 0; i < room.releases; ++i) number(c.releases[i].keyring, i);
    c.members.assign(room.members, {std::string(16, 'a'), std::string(32, 'b'), std::string(16, 'c'),
                                    std::string(32, 'd'), record.token});
    for (std::size_t i = 0; i < room.members; ++i) c.members[i].serial.replace(0, 4, std::to_string(1000 + i));
    record.nodes.clear();
    for (std::size_t i = 0; i < room.nodes; ++i)
      record.nodes.push_back("node-" + std::string(57, 'x') + std::to_string(10 + i));
    record.token = std::string(64, 't');
    record.node = std::string(64, 'n');
    c.profile.name = std::string(64, 'p');
    const auto encoded = EncodeRecord(record);
    EXPECT_LE(encoded.size(), bytes);
    EXPECT_TRUE(CheckFits(encoded, room));
    EXPECT_TRUE(DecodeRecord(encoded)) << bytes;
    for (const auto& full :
         {CheckRoomForSpent(record, room, ShareOf("k"), KeptRoom::kNone),
          CheckRoomForSpent(record, room, Share{}, KeptRoom::kRecovery), CheckRoomForPending(record, room, KeyId{0xFF}),
          CheckRoomForMandate(record, room), CheckRoomForRelease(record, room), CheckRoomForMember(record, room)})
      EXPECT_EQ(full ? "" : full.error().Slug(), "record-full");
  }
}

// Q14: does one keyring's quorum fill the record for the others, or an ordinary flood the room of recovery?
TEST(CustodyRoom, Q14_SharesAndKeptRoom) {
  const auto room = *RoomOf(98'304);
  LedgerRecord record;
  const auto spend = [&](const std::string& keyring, KeptRoom kept, std::size_t most) {
    std::size_t done = 0;
    while (done < most && CheckRoomForSpent(record, room, ShareOf(keyring), kept)) {
      SpentProposal s;
      s.id = RandomArray<16>();
      s.share = ShareOf(keyring);
      record.custody.spent.push_back(s);
      ++done;
    }
    return done;
  };
  EXPECT_EQ(spend("org-a", KeptRoom::kNone, 5000), 16U);
  EXPECT_EQ(spend("org-a", KeptRoom::kEmergency, 5000), 2U) << "its emergencies have room of their own";
  EXPECT_EQ(spend("org-b", KeptRoom::kNone, 1), 1U);
  for (int i = 0; i < 200; ++i) (void)spend("k" + std::to_string(i), KeptRoom::kNone, 16);
  EXPECT_EQ(spend("fresh", KeptRoom::kNone, 1), 0U) << "the common room is full";
  EXPECT_EQ(spend("fresh", KeptRoom::kEmergency, 1), 1U);
  EXPECT_EQ(spend("", KeptRoom::kRoster, 1), 1U);
  EXPECT_EQ(spend("", KeptRoom::kRecovery, 1), 1U);
}

HostTime Host(Millis wall, std::uint8_t boot, Millis uptime, Millis watched = 0) {
  return {wall, {{boot}, uptime}, watched};
}

// Q15: what each thing that can happen to a clock does to the record's.
TEST(CustodyTime, Q15_TheRecordsClock) {
  LedgerRecord r;
  r.custody.seen = 1000 * kDay;
  r.custody.course = {{1}, 5 * kDay};
  const auto at = [&](const HostTime& host) { return TimeOf(r, host); };
  // A plain hour.
  auto time = at(Host(1000 * kDay + kHour, 1, 5 * kDay + kHour, kHour));
  EXPECT_EQ(time.floor, 1000 * kDay + kHour) << "it runs by boot time";
  EXPECT_FALSE(time.behind || time.stepped);
  EXPECT_EQ(time.watched, kHour);
  // A reboot that is not behind is no step, up to 31 days.
  EXPECT_FALSE(at(Host(1030 * kDay, 2, 0)).stepped);
  EXPECT_TRUE(at(Host(1032 * kDay, 2, 0)).stepped);
  // Set back, in one boot and over a reboot.
  EXPECT_TRUE(at(Host(1000 * kDay, 1, 5 * kDay + kHour)).behind);
  EXPECT_TRUE(at(Host(999 * kDay, 2, 0)).behind);
  EXPECT_FALSE(at(Host(1000 * kDay - 4 * kMinute, 2, 0)).behind) << "as far as hosts of one site differ";
  // Set forward within one boot: the record does not follow, whatever is written meanwhile.
  time = at(Host(1400 * kDay, 1, 5 * kDay + kHour, kHour));
  EXPECT_TRUE(time.stepped);
  EXPECT_EQ(time.late, 1400 * kDay) << "but what ends has ended";
  Touch(r, time);
  EXPECT_EQ(r.custody.seen, 1000 * kDay + kHour);
  EXPECT_TRUE(at(Host(1400 * kDay + kHour, 1, 5 * kDay + 2 * kHour, kHour)).stepped);
  EXPECT_FALSE(at(Host(1000 * kDay + 2 * kHour, 1, 5 * kDay + 2 * kHour, kHour)).stepped) << "the wall is back";
  EXPECT_FALSE(at(Host(1401 * kDay + kHour, 1, 6 * kDay + 2 * kHour, kDay + kHour)).stepped) << "a watched day";
  EXPECT_TRUE(at(Host(1401 * kDay + kHour, 2, kHour, 0)).stepped) << "which nobody has watched";
}

// Q15: do a hundred small steps bring anything nearer that waits in watched time?
TEST(CustodyTime, Q15_SmallStepsAddUpToNothing) {
  LedgerRecord r;
  r.custody.seen = 1000 * kDay;
  r.custody.course = {{1}, 0};
  r.custody.pending = {{{5}, 7 * kDay, false}};
  Millis wall = 1000 * kDay, boot = 0;
  for (int i = 0; i < 5000; ++i) {
    wall += 5 * kMinute;
    boot += 1000;
    Touch(r, TimeOf(r, Host(wall, 1, boot, 1000)));
  }
  EXPECT_LT(r.custody.watched, 2 * kHour);
  EXPECT_EQ(JudgeDestruction(r, KeyId{5}, TimeOf(r, Host(wall, 1, boot))).error().Slug(), "destruction-not-due");
  // A host killed every 30 seconds, and replaced at once, lengthens it.
  for (int i = 0; i < 1000; ++i) {
    boot += 30'000;
    Touch(r, TimeOf(r, Host(wall + boot, 1, boot, 0)));
  }
  EXPECT_LT(r.custody.watched, 2 * kHour);
}

// Q12: a chain leads from the roster that a token obeys, by votes, and by nothing else.
TEST(CustodyRecord, Q12_AChainIsFollowedByVotesAlone) {
  const auto& quorum = SharedQuorum();
  const auto now = SystemClock().Now();
  ProposalText change = quorum.Proposal("roster.change", "", {{"remove-service-2", "yes"}}, now);
  const auto after = *RosterAfter(quorum.roster(), change);
  change.params["new-roster"] = std::to_string(after.version()) + " " + ToHex(after.hash());
  const auto text = *change.Render();
  const RosterStep good{text, {quorum.Sign("custodian-1", text), quorum.Sign("custodian-2", text)}};
  const RosterMark from{1, quorum.roster().hash()};
  EXPECT_FALSE(ChainWalk::Begin({1, Digest{1}}, quorum.roster().text())) << "not where the token is";
  auto walk = *ChainWalk::Begin(from, quorum.roster().text());
  EXPECT_FALSE(walk.Step({text, {good.votes[0]}})) << "one vote";
  EXPECT_FALSE(walk.Step({text, {good.votes[0], good.votes[0]}})) << "twice the same";
  auto forged = good;
  forged.proposal.replace(forged.proposal.find("service-2"), 9, "service-1");
  EXPECT_FALSE(walk.Step(forged));
  EXPECT_EQ(walk.roster().version(), 1U);
  ASSERT_TRUE(walk.Step(good));
  EXPECT_EQ(walk.roster().hash(), after.hash());
  EXPECT_FALSE(walk.Step(good)) << "a step leads on once";
  EXPECT_EQ(*DecodeRosterStep(EncodeRosterStep(good)), good);
}

// A log whose entries are all the same has one hash a level: trees of any size, and proofs between them, cost nothing.
struct SameLog {
  SameLog() {
    for (unsigned level = 1; level < hashes.size(); ++level)
      hashes[level] = NodeHash(hashes[level - 1], hashes[level - 1]);
  }
  HashAt at() const {
    return [this](unsigned level, std::uint64_t) -> Result<Digest> { return hashes.at(level); };
  }
  Checkpoint Head(const std::string& origin, std::uint64_t size) const {
    return {origin, size, *TreeRoot(size, at()), {}};
  }
  std::string Signs(const LedgerRecord& record, const std::string& origin, std::uint64_t size) const {
    const auto control = origin == ControlOrigin(record.instance, record.epoch);
    const auto anchor = AnchorOf(record, control);
    const auto before = anchor ? anchor->size : 0;
    const auto proof =
        before > size ? Result<std::vector<Digest>>(std::vector<Digest>{}) : ConsistencyProof(before, size, at());
    EXPECT_TRUE(proof);
    const auto next = AdvanceAnchors(record, Head(origin, size), *proof);
    return !next                                    ? std::string(next.error().Slug())
           : AnchorOf(*next, control)->size == size ? "signed"
                                                    : "another size";
  }
  std::array<Digest, 64> hashes = {LeafHash(AsBytes("the same"))};
};

// L7: does a head get signed that leaps, so that nothing after it can be signed, or is one refused that does not?
TEST(CustodyRecord, L7_HeadsGrowByABoundedStep) {
  const SameLog log;
  constexpr auto kLast = ~std::uint64_t{0};
  for (const bool control : {true, false}) {
    LedgerRecord record;
    const auto origin = control ? ControlOrigin(record.instance) : EvidenceOrigin(record.instance);
    // The very first head, too.
    EXPECT_EQ(log.Signs(record, origin, kMostGrowth), "signed");
    EXPECT_EQ(log.Signs(record, origin, kMostGrowth + 1), "log-jumps");
    EXPECT_EQ(log.Signs(record, origin, kLast), "log-jumps");
    if (!control) record.nodes = {"node-1"};
    for (const std::uint64_t before : {std::uint64_t{1}, std::uint64_t{5}, kMostGrowth, std::uint64_t{1} << 40}) {
      record.anchors = {{origin, before, *TreeRoot(before, log.at())}};
      EXPECT_EQ(log.Signs(record, origin, before), "signed") << "the same again";
      EXPECT_EQ(log.Signs(record, origin, before + kMostGrowth), "signed") << before;
      EXPECT_EQ(log.Signs(record, origin, before + kMostGrowth + 1), "log-jumps") << before;
      EXPECT_EQ(log.Signs(record, origin, before - 1), "log-rewound") << before;
      // Sizes whose sum with the step, or with what was signed, would begin anew at 0.
      for (const auto huge : {kLast, kLast - kMostGrowth, kLast - kMostGrowth + 1, kLast - before + 1, kLast - before})
        EXPECT_EQ(log.Signs(record, origin, huge), "log-jumps") << huge;
    }
    // Where the numbers end the step is the same.
    record.anchors = {{origin, kLast - kMostGrowth, *TreeRoot(kLast - kMostGrowth, log.at())}};
    EXPECT_EQ(log.Signs(record, origin, kLast), "signed");
    record.anchors = {{origin, kLast - kMostGrowth - 1, *TreeRoot(kLast - kMostGrowth - 1, log.at())}};
    EXPECT_EQ(log.Signs(record, origin, kLast), "log-jumps");
    record.anchors = {{origin, kLast - 3, *TreeRoot(kLast - 3, log.at())}};
    EXPECT_EQ(log.Signs(record, origin, kLast), "signed");
    for (const std::uint64_t wrapped : {std::uint64_t{1}, std::uint64_t{3}, kMostGrowth - 4, kMostGrowth})
      EXPECT_EQ(log.Signs(record, origin, wrapped), "log-rewound") << wrapped;
  }
}

// A further token follows the largest size that it was told: is a text refused for ever once that is near the end of
// the numbers?
TEST(CustodyRecord, L7_NoSumOfSizesOverflows) {
  auto p = SharedQuorum().Proposal("clock.accept", "", {{"token", "t"}, {"clock", FormatTime(kToday)}}, kToday);
  p.control_size = std::uint64_t{1} << 30;
  const auto text = *p.Render();
  const auto grant =
      *GrantExecution(SharedQuorum().roster(), text,
                      {SharedQuorum().Sign("custodian-1", text), SharedQuorum().Sign("custodian-2", text)}, kToday);
  auto record = FirstRecord(RootOf(SharedQuorum().roster(), "t"), kToday);
  record.custody.further = true;
  EXPECT_EQ(tests::Spend(record, grant, kToday).error().Slug(), "stale") << "a leap";
  record.custody.most = p.control_size;
  EXPECT_TRUE(tests::Spend(record, grant, kToday));
  record.custody.most = ~std::uint64_t{0} - 5;
  const auto spent = tests::Spend(record, grant, kToday);
  EXPECT_TRUE(spent) << spent.error().Line();
}

}  // namespace
}  // namespace strongroom::crypto
