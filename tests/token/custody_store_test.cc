// The custody record's one writer, on a real token: two installations, late writes, its root, and its upgrade.

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "crypto/custody/record_former.h"
#include "hsm/checkpoint_signer.h"
#include "hsm/ec_key.h"
#include "hsm/token_key_ops.h"
#include "hsm/token_lock.h"
#include "hsm/token_setup.h"
#include "tests/support/hostile_module.h"
#include "tests/support/quorum_fixture.h"
#include "tests/support/softhsm_fixture.h"

namespace strongroom::hsm {
namespace {

using tests::SharedQuorum;

// OtherProcess is one that waits until it is told to go on; it is made before this one loads a module.
class OtherProcess {
 public:
  template <class Work>
  explicit OtherProcess(Work work) {
    int go[2];
    if (pipe(go) != 0 || (pid_ = fork()) < 0) std::abort();
    if (pid_ != 0) {
      close(go[0]);
      go_ = go[1];
      return;
    }
    close(go[1]);
    char byte = 0;
    if (read(go[0], &byte, 1) != 1) _exit(0);
    const bool failed_before = testing::Test::HasFailure();
    work();
    _exit(testing::Test::HasFailure() && !failed_before ? 1 : 0);
  }
  /// Run returns when its work is done.
  void Run() {
    int status = 1;
    ASSERT_EQ(write(go_, "x", 1), 1);
    ASSERT_EQ(waitpid(std::exchange(pid_, -1), &status, 0) > 0 ? status : -1, 0);
  }
  ~OtherProcess() {
    close(go_);
    if (pid_ > 0) (void)waitpid(pid_, nullptr, 0);
  }

 private:
  pid_t pid_ = -1;
  int go_ = -1;
};

class CustodyStoreTest : public testing::Test {
 protected:
  static TokenKeyOps::Options As(std::uint8_t installation, bool take = false) {
    TokenKeyOps::Options options;
    options.store.installation = {installation};
    options.store.take_token = take;
    return options;
  }
  Result<std::unique_ptr<TokenKeyOps>> Open(tests::SoftHsmFixture& token, std::uint8_t installation = 1,
                                            bool take = false) {
    return TokenKeyOps::Open(token.uri(), clock_, As(installation, take));
  }
  // Works on the token's objects as whoever has the PIN can.
  static void Meddle(tests::SoftHsmFixture& token, const std::function<void(const Module&, const Session&)>& work) {
    const auto module = *Module::Load(tests::kSoftHsmModule);
    auto session = *Session::Open(*module, *module->FindSlot(token.uri()));
    ASSERT_TRUE(session.Login(*ReadPinFile(token.uri().pin_file())));
    work(*module, session);
  }
  static void Put(const Module& module, const Session& session, const Bytes& value) {
    std::vector<Attribute> attributes = {UlongAttribute(CKA_CLASS, CKO_DATA),
                                         BoolAttribute(CKA_TOKEN, true),
                                         BoolAttribute(CKA_PRIVATE, true),
                                         TextAttribute(CKA_LABEL, kRecordLabel),
                                         {CKA_VALUE, value}};
    auto ck = ToCk(attributes);
    CK_OBJECT_HANDLE object = 0;
    ASSERT_EQ(module.fn().C_CreateObject(session.handle(), ck.data(), ck.size(), &object), CKR_OK);
  }
  static std::vector<CK_OBJECT_HANDLE> Records(const Module& module, const Session& session) {
    return *FindLabelled(module, session, CKO_DATA, kRecordLabel);
  }
  static std::size_t CountRecords(tests::SoftHsmFixture& token) {
    std::size_t count = 0;
    Meddle(token, [&](const Module& module, const Session& session) { count = Records(module, session).size(); });
    return count;
  }
  // The record of the newest settled writer.
  static crypto::LedgerRecord Newest(const Module& module, const Session& session) {
    std::vector<crypto::StoredObject> stored;
    for (const auto object : Records(module, session))
      stored.push_back({*ReadValue(module, session, object, CKA_VALUE), false});
    return *crypto::LookAt(stored).effective;
  }
  static std::string SlugOf(const Result<void>& r) { return r ? "ok" : std::string(r.error().Slug()); }
  Result<void> Govern(TokenKeyOps& ops, const tests::QuorumFixture& by) {
    auto p = by.Proposal("clock.accept", "", {{"token", ops.Identity()->serial}, {"clock", FormatTime(clock_.Now())}},
                         clock_.Now());
    p.control_size = ++size_;
    const auto text = *p.Render();
    return ops.ChangeLedgerRecord(*crypto::GrantExecution(
        by.roster(), text, {by.Sign("custodian-1", text), by.Sign("custodian-2", text)}, clock_.Now()));
  }
  std::uint64_t size_ = 100;  // an accepted clock voids what was asked for before
  SystemClock clock_;
};

// Q13: does a second installation get to write a token that another one writes, unless it is told to take it, and does
// the former one get it back by itself?
TEST_F(CustodyStoreTest, Q13_TwoInstallationsDoNotTakeTurns) {
  tests::SoftHsmFixture token;
  {
    auto first = Open(token, 1);
    ASSERT_TRUE(first) << first.error().Line();
    EXPECT_EQ(SlugOf(Govern(**first, SharedQuorum())), "ok");
  }
  EXPECT_EQ(Open(token, 2).error().Slug(), "token-in-use");
  ASSERT_TRUE(Open(token, 1)) << "nothing was taken from it";
  {
    auto second = Open(token, 2, /*take=*/true);
    ASSERT_TRUE(second) << second.error().Line();
    EXPECT_EQ(SlugOf(Govern(**second, SharedQuorum())), "ok");
  }
  EXPECT_EQ(Open(token, 1).error().Slug(), "token-in-use");
}

// Q13: a write of a host that was killed lands after its successor has settled. Does it count, and does it stay?
TEST_F(CustodyStoreTest, Q13_AWriteThatLandsLateIsVoid) {
  tests::SoftHsmFixture token;
  crypto::LedgerRecord killed;
  {
    auto first = *Open(token);
    killed = *first->ReadLedgerRecord();
  }
  crypto::LedgerRecord before;
  {
    auto second = *Open(token);
    before = *second->ReadLedgerRecord();
  }
  killed.serial += 50;
  killed.custody.roster_version = 9;
  Meddle(token,
         [&](const Module& module, const Session& session) { Put(module, session, crypto::EncodeRecord(killed)); });
  {
    auto third = *Open(token);
    EXPECT_TRUE(crypto::SameCustody(*third->ReadLedgerRecord(), before));
    EXPECT_EQ(SlugOf(Govern(*third, SharedQuorum())), "ok");
    EXPECT_EQ(SlugOf(Govern(*third, SharedQuorum())), "ok");
  }
  Meddle(token, [&](const Module& module, const Session& session) {
    for (const auto object : *FindLabelled(module, session, CKO_DATA, kRecordLabel))
      EXPECT_NE(*ReadValue(module, session, object, CKA_VALUE), crypto::EncodeRecord(killed)) << "it was removed";
  });
}

// Q13: host 0 starts again and again, and nothing governed is done. Does the record stay readable, and the token clean?
TEST_F(CustodyStoreTest, Q13_StartsPileUpNothing) {
  tests::SoftHsmFixture token;
  for (int start = 0; start < 100; ++start) {
    auto ops = Open(token);
    ASSERT_TRUE(ops) << ops.error().Line();
    const auto record = (*ops)->ReadLedgerRecord();
    ASSERT_TRUE(record) << start << ": " << record.error().Line();
  }
  EXPECT_LE(CountRecords(token), 4U);
}

// Q13: and when each of these starts was cut off in its claim? What is too much to be ours is a reason to clean as long
// as it can be found, and never called damage.
TEST_F(CustodyStoreTest, Q13_ClaimsThatWereCutOffPileUpNothing) {
  tests::SoftHsmFixture token;
  const auto put_claims = [&](int count) {
    Meddle(token, [&](const Module& module, const Session& session) {
      auto claim = Newest(module, session);
      claim.writer.settled = false;
      for (int i = 0; i < count; ++i) {
        claim.writer.count += 1;
        claim.writer.start = crypto::RandomArray<16>();
        Put(module, session, crypto::EncodeRecord(claim));
      }
    });
  };
  put_claims(100);
  {
    auto ops = *Open(token);
    const auto record = ops->ReadLedgerRecord();
    ASSERT_TRUE(record) << record.error().Line();
    EXPECT_EQ(record->writer.count, 101U);
    EXPECT_EQ(SlugOf(Govern(*ops, SharedQuorum())), "ok");
  }
  EXPECT_LE(CountRecords(token), 4U);
  put_claims(300);
  auto ops = *Open(token);
  EXPECT_EQ(ops->ReadLedgerRecord().error().Slug(), "too-many-objects");
  EXPECT_EQ(ops->ReadRecordToAdopt().error().Slug(), "too-many-objects");
}

// Q13: a module that answers wrongly after its login: does its host become the record's writer first, each time?
TEST_F(CustodyStoreTest, Q13_AHostThatFailsItsSelfTestClaimsNothing) {
  tests::SoftHsmFixture token;
  const tests::HostileModule module(token.dir().path(), STRONGROOM_BIN_DIR);
  const auto before = CountRecords(token);
  module.Tell("random-zero");
  const auto opened = TokenKeyOps::Open(*TokenUri::Parse(token.uri_text(module.path())), clock_, As(1));
  EXPECT_EQ(opened.error().Slug(), "token-lies");
  EXPECT_EQ(CountRecords(token), before);
}

// Q13: another installation takes the token between a host's look and its write. SoftHSM shows a process that has just
// written nothing of what another wrote before: does the look after the write see it all the same?
TEST_F(CustodyStoreTest, Q13_TheLookAfterAWriteSeesAnotherProcess) {
  tests::SoftHsmFixture token;
  (void)SharedQuorum();
  OtherProcess other([&] {
    auto taken = Open(token, 2, /*take=*/true);
    ASSERT_TRUE(taken) << taken.error().Line();
  });
  Meddle(token, [&](const Module& module, const Session& session) {
    const auto info = *module.TokenInfo(*module.FindSlot(token.uri()));
    CustodyStore store(module, clock_, Trimmed(info.serialNumber), StoreOptions(*ProfileFor(info), As(1).store));
    ASSERT_EQ(SlugOf(store.Claim(session)), "ok");
    auto next = *store.Read(session);
    other.Run();
    next.serial += 1;  // what Write does between its two looks
    Put(module, session, crypto::EncodeRecord(next));
    const auto after = store.Read(session);
    ASSERT_TRUE(after) << after.error().Line();
    EXPECT_EQ(after->writer.installation, crypto::Id16{2}) << "its own record is not in force";
    EXPECT_EQ(SlugOf(store.Write(session, next)), "custody-superseded");
    EXPECT_TRUE(store.superseded());
  });
}

// Q13: a claim of this installation's own killed host lands late, above the host that lives. Is it replaced, or is host
// 0 gone for good?
TEST_F(CustodyStoreTest, Q13_ALateClaimOfItsOwnReplacesTheHost) {
  tests::SoftHsmFixture token;
  (void)SharedQuorum();
  OtherProcess late([&] {
    Meddle(token, [&](const Module& module, const Session& session) {
      auto claim = Newest(module, session);
      claim.writer.settled = false;
      claim.writer.start.fill(0xFF);
      claim.serial -= 1;
      Put(module, session, crypto::EncodeRecord(claim));
    });
  });
  {
    auto ops = *Open(token);
    late.Run();
    const auto done = Govern(*ops, SharedQuorum());
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().Slug(), "record-not-confirmed");
    EXPECT_EQ(done.error().code, Code::kUnavailable);
    EXPECT_TRUE(ops->Broken());
    EXPECT_FALSE(ops->Superseded()) << "the next host claims above it";
  }
  auto next = *Open(token);
  EXPECT_EQ(SlugOf(Govern(*next, SharedQuorum())), "ok");
}

// Q12: can whoever has the PIN destroy or replace the root, and what does a made-up quorum get from a token whose
// record is gone, or contradicts itself?
TEST_F(CustodyStoreTest, Q12_AMadeUpRosterIsNeverObeyed) {
  tests::SoftHsmFixture token;
  const tests::QuorumFixture made_up;
  {
    auto ops = *Open(token);
    EXPECT_EQ(SlugOf(Govern(*ops, made_up)), "roster-not-enforced");
  }
  Meddle(token, [&](const Module& module, const Session& session) {
    for (const auto object : *FindLabelled(module, session, CKO_DATA, kRootLabel)) {
      EXPECT_NE(module.fn().C_DestroyObject(session.handle(), object), CKR_OK);
      auto value = *ReadValue(module, session, object, CKA_VALUE);
      CK_ATTRIBUTE change{CKA_VALUE, value.data(), value.size()};
      EXPECT_NE(module.fn().C_SetAttributeValue(session.handle(), object, &change, 1), CKR_OK);
    }
    EXPECT_EQ(WriteRoot(module, session, crypto::RootOf(made_up.roster(), "t")).error().Slug(), "root-exists");
    // Two records of one writer and serial that differ: a contradiction, made by hand.
    const auto records = *FindLabelled(module, session, CKO_DATA, kRecordLabel);
    auto newest = *crypto::DecodeRecord(*ReadValue(module, session, records.back(), CKA_VALUE));
    for (const auto object : records)
      if (const auto r = crypto::DecodeRecord(*ReadValue(module, session, object, CKA_VALUE));
          r && r->serial > newest.serial)
        newest = *r;
    newest.custody.seen += 1;
    Put(module, session, crypto::EncodeRecord(newest));
  });
  {
    auto ops = *Open(token);
    EXPECT_EQ(ops->ReadLedgerRecord().error().Slug(), "custody-forked");
    EXPECT_EQ(ops->ReadRecordToAdopt()->from, AdoptedFrom::kForked);
    EXPECT_EQ(SlugOf(Govern(*ops, SharedQuorum())), "custody-forked");
    EXPECT_EQ(ops->BringChain({made_up.roster().text(), {}}).error().Slug(), "roster-not-enforced");
  }
  Meddle(token, [&](const Module& module, const Session& session) {
    for (const auto object : *FindLabelled(module, session, CKO_DATA, kRecordLabel))
      ASSERT_EQ(module.fn().C_DestroyObject(session.handle(), object), CKR_OK);
  });
  auto ops = *Open(token);
  EXPECT_EQ(ops->ReadLedgerRecord().error().Slug(), "record-missing");
  EXPECT_EQ(ops->BringChain({made_up.roster().text(), {}}).error().Slug(), "roster-not-enforced");
  const auto to = *ops->ReadRecordToAdopt();
  EXPECT_EQ(to.from, AdoptedFrom::kLost);
  EXPECT_EQ(to.record.custody.roster_hash, SharedQuorum().roster().hash()) << "the root remembers";
  // By the made-up roster nothing is adopted; by the root's it is.
  const auto adopt = [&](const tests::QuorumFixture& by) {
    auto p = by.Proposal("ledger.adopt", "",
                         {{"token", ops->Identity()->serial},
                          {"epoch", "2"},
                          {"evidence-log", "0 " + ToHex(crypto::Digest{})},
                          {"token-control", "none"},
                          {"token-evidence", "none"},
                          {"state", "lost"},
                          {"keep", "none"}},
                         clock_.Now());
    p.control_size = 1;
    const auto text = *p.Render();
    return SlugOf(ops->ChangeLedgerRecord(*crypto::GrantExecution(
        by.roster(), text, {by.Sign("custodian-1", text), by.Sign("custodian-2", text)}, clock_.Now())));
  };
  EXPECT_EQ(adopt(made_up), "roster-not-enforced");
  EXPECT_EQ(adopt(SharedQuorum()), "ok");
  EXPECT_EQ(ops->ReadLedgerRecord()->epoch, 2U);
}

// Q12: is a token of an earlier build upgraded in place at its first start, wherever that was cut off, and closed to
// the build before?
TEST_F(CustodyStoreTest, Q12_AFormerRecordIsUpgradedInPlace) {
  const auto& roster = SharedQuorum().roster();
  crypto::FormerParts parts;
  parts.anchors = {{crypto::ControlOrigin(roster.instance(), 2), 5, crypto::Digest{1}},
                   {crypto::EvidenceOrigin(roster.instance(), 2), 9, crypto::Digest{2}}};
  parts.serial = 7;
  parts.roster_version = 1;
  parts.roster_hash = roster.hash();
  parts.seen = clock_.Now() - kDay;
  parts.pending = {{crypto::KeyId{1}, clock_.Now() + 20 * kDay}};
  // What the upgrade has done already when it was cut off.
  for (const int done : {0, 1, 2}) {
    tests::SoftHsmFixture token(/*bare=*/true);
    Meddle(token, [&](const Module& module, const Session& session) {
      ASSERT_TRUE(GenerateEcKey(module, session, "strongroom-checkpoint", {0, 0, 0, 1}));
      Put(module, session, crypto::EncodeFormerParts(parts));
      if (done > 0) Put(module, session, crypto::Tombstone());
      const auto info = *module.TokenInfo(*module.FindSlot(token.uri()));
      if (done > 1) ASSERT_TRUE(WriteRoot(module, session, crypto::RootOf(roster, Trimmed(info.serialNumber))));
    });
    for (int start = 0; start < 2; ++start) {
      auto ops = Open(token);
      ASSERT_TRUE(ops) << ops.error().Line();
      const auto record = (*ops)->ReadLedgerRecord();
      ASSERT_TRUE(record) << record.error().Line();
      EXPECT_EQ(record->epoch, 2U);
      EXPECT_EQ(record->anchors.size(), 2U);
      EXPECT_EQ(record->custody.roster_hash, roster.hash());
      EXPECT_EQ(record->custody.pending.size(), 1U);
      EXPECT_EQ(record->token, (*ops)->Identity()->serial);
    }
    auto ops = *Open(token);
    EXPECT_EQ(SlugOf(Govern(*ops, SharedQuorum())), "stale") << "of epoch 1";
    ops.reset();
    Meddle(token, [&](const Module& module, const Session& session) {
      std::size_t tombstones = 0;
      for (const auto object : *FindLabelled(module, session, CKO_DATA, kRecordLabel))
        tombstones += *ReadValue(module, session, object, CKA_VALUE) == crypto::Tombstone() ? 1 : 0;
      EXPECT_EQ(tombstones, 1U) << "an earlier build finds it closed";
    });
  }
}

// Q12: two former records of one serial contradict each other. Is the merge that a quorum adopts a whole record, closed
// to the build before, with a root, however the token was left?
TEST_F(CustodyStoreTest, Q12_FormerRecordsThatContradictAreAdopted) {
  const auto& roster = SharedQuorum().roster();
  crypto::FormerParts parts;
  parts.anchors = {{crypto::ControlOrigin(roster.instance(), 1), 5, crypto::Digest{1}}};
  parts.serial = 7;
  parts.roster_version = 1;
  parts.roster_hash = roster.hash();
  parts.seen = clock_.Now() - kDay;
  for (const bool rooted : {true, false}) {
    tests::SoftHsmFixture token(/*bare=*/true);
    Meddle(token, [&](const Module& module, const Session& session) {
      ASSERT_TRUE(GenerateEcKey(module, session, "strongroom-checkpoint", {0, 0, 0, 1}));
      const auto info = *module.TokenInfo(*module.FindSlot(token.uri()));
      if (rooted) ASSERT_TRUE(WriteRoot(module, session, crypto::RootOf(roster, Trimmed(info.serialNumber))));
      for (const Millis seen : {parts.seen, parts.seen + 1}) {
        auto one = parts;
        one.seen = seen;
        Put(module, session, crypto::EncodeFormerParts(one));
      }
    });
    {
      auto ops = *Open(token);
      EXPECT_EQ(ops->ReadLedgerRecord().error().Slug(), "custody-forked") << rooted;
      const auto to = ops->ReadRecordToAdopt();
      ASSERT_TRUE(to) << to.error().Line();
      EXPECT_EQ(to->record.token, ops->Identity()->serial);
      EXPECT_TRUE(crypto::DecodeRecord(crypto::EncodeRecord(to->record)));
      auto p = SharedQuorum().Proposal("ledger.adopt", "",
                                       {{"token", ops->Identity()->serial},
                                        {"epoch", "2"},
                                        {"evidence-log", "0 " + ToHex(crypto::Digest{})},
                                        {"token-control", crypto::AnchorLine(crypto::AnchorOf(to->record, true))},
                                        {"token-evidence", "none"},
                                        {"state", "forked"},
                                        {"keep", "none"}},
                                       clock_.Now());
      p.control_size = 6;
      const auto text = *p.Render();
      EXPECT_EQ(SlugOf(ops->ChangeLedgerRecord(*crypto::GrantExecution(
                    roster, text, {SharedQuorum().Sign("custodian-1", text), SharedQuorum().Sign("custodian-2", text)},
                    clock_.Now()))),
                "ok")
          << rooted;
    }
    auto ops = *Open(token);
    const auto record = ops->ReadLedgerRecord();
    ASSERT_TRUE(record) << record.error().Line();
    EXPECT_EQ(record->epoch, 2U);
    ops.reset();
    Meddle(token, [&](const Module& module, const Session& session) {
      std::size_t tombstones = 0;
      for (const auto object : Records(module, session))
        tombstones += *ReadValue(module, session, object, CKA_VALUE) == crypto::Tombstone() ? 1 : 0;
      EXPECT_EQ(tombstones, 1U);
      EXPECT_EQ(ReadRoots(module, session)->size(), 1U);
    });
  }
}

// Q12: a token that lost its record has a key: is it ever taken for a new one?
TEST_F(CustodyStoreTest, Q12_ATokenWithAKeyGetsNoOther) {
  tests::SoftHsmFixture token;
  Meddle(token, [&](const Module& module, const Session& session) {
    for (const auto object : Records(module, session))
      ASSERT_EQ(module.fn().C_DestroyObject(session.handle(), object), CKR_OK);
  });
  EXPECT_EQ(SlugOf(AddCheckpointKey(token.uri(), SharedQuorum().roster())), "key-exists");
  Meddle(token, [&](const Module& module, const Session& session) {
    EXPECT_TRUE(Records(module, session).empty()) << "no record without votes";
    EXPECT_EQ(FindLabelled(module, session, CKO_PRIVATE_KEY, "strongroom-checkpoint")->size(), 1U);
    // A run that was cut off left root and record, and no key.
    for (const auto kind : {CKO_PRIVATE_KEY, CKO_PUBLIC_KEY})
      for (const auto object : *FindLabelled(module, session, kind, "strongroom-checkpoint"))
        ASSERT_EQ(module.fn().C_DestroyObject(session.handle(), object), CKR_OK);
    const auto root = ReadRoots(module, session)->front();
    ASSERT_TRUE(WriteFirstRecord(module, session, crypto::FirstRecord(root, clock_.Now())));
  });
  EXPECT_EQ(SlugOf(AddCheckpointKey(token.uri(), SharedQuorum().roster())), "ok");
}

// Q12: the root of a token whose record is as long as its profile allows is gone. Does the way out read that record?
TEST_F(CustodyStoreTest, Q12_ALongRecordGetsItsRootBack) {
  const auto& roster = SharedQuorum().roster();
  tests::SoftHsmFixture token(/*bare=*/true);
  Meddle(token, [&](const Module& module, const Session& session) {
    ASSERT_TRUE(GenerateEcKey(module, session, "strongroom-checkpoint", {0, 0, 0, 1}));
    const auto info = *module.TokenInfo(*module.FindSlot(token.uri()));
    auto record = crypto::FirstRecord(crypto::RootOf(roster, Trimmed(info.serialNumber)), clock_.Now());
    record.custody.spent.resize(2000);
    for (auto& spent : record.custody.spent) spent.id = crypto::RandomArray<16>();
    ASSERT_GT(crypto::EncodeRecord(record).size(), crypto::kDefaultRecordBytes);
    ASSERT_TRUE(WriteFirstRecord(module, session, record));
  });
  EXPECT_EQ(SlugOf(SetTokenRoot(token.uri(), roster)), "ok");
  auto ops = *Open(token);
  EXPECT_TRUE(ops->ReadLedgerRecord());
}

// Q13: any user of the machine may write where the machine's locks lie. Does one who was there first keep the
// supervisor from starting, and are two of one state directory still kept apart?
TEST_F(CustodyStoreTest, Q13_AStrangersLockStopsNobody) {
  const tests::TempDir state, machine;
  const TokenIdentity identity{"serial", "label", "model", "manufacturer", {}};
  const auto squatted = machine.File("squatted");
  std::ofstream(squatted) << "a stranger's";
  {
    const auto locked = LockToken(identity, state.path(), squatted, {});
    ASSERT_TRUE(locked) << locked.error().Line();
    EXPECT_EQ(LockToken(identity, state.path(), squatted, {}).error().Slug(), "token-in-use");
  }
  const auto common = machine.File("common");
  const tests::TempDir elsewhere;
  const auto locked = LockToken(identity, state.path(), common, {});
  ASSERT_TRUE(locked) << locked.error().Line();
  EXPECT_EQ(LockToken(identity, elsewhere.path(), common, {}).error().Slug(), "token-in-use");
  EXPECT_TRUE(LockToken({"other", {}, {}, {}, {}}, elsewhere.path(), common, {}));
}

// Q12: a record of before that obeys no roster says nothing of whose token it is: does the front end get to say it?
TEST_F(CustodyStoreTest, Q12_TheFirstRosterIsSaidAtTheToken) {
  tests::SoftHsmFixture token(/*bare=*/true);
  Meddle(token, [&](const Module& module, const Session& session) {
    ASSERT_TRUE(GenerateEcKey(module, session, "strongroom-checkpoint", {0, 0, 0, 1}));
    Put(module, session, crypto::EncodeFormerParts({}));
  });
  {
    auto ops = *Open(token);
    EXPECT_EQ(SlugOf(Govern(*ops, SharedQuorum())), "token-without-root");
  }
  ASSERT_TRUE(SetTokenRoot(token.uri(), SharedQuorum().roster()));
  EXPECT_EQ(SetTokenRoot(token.uri(), tests::QuorumFixture().roster()).error().Slug(), "root-exists");
  auto ops = *Open(token);
  EXPECT_EQ(SlugOf(Govern(*ops, SharedQuorum())), "ok");
}

}  // namespace
}  // namespace strongroom::hsm
