// What every implementation of the port does with the custody record: heads, keys, rosters, clocks, destructions.

#include "tests/contract/contract_log.h"
#include "tests/contract/key_ops_subjects.h"
#include "tests/support/custody_time.h"
#include "tests/support/standing.h"

namespace strongroom::hsm {
namespace {

class CustodyContract : public KeyOpsContract {
 protected:
  void TearDown() override {
    ContractClock::Offset() = 0;
    ContractClock::Step() = 0;
  }
};

// L7: a compromised front end asks for a fork, a smaller size, a head without proof, another instance's log and another
// epoch: refused, and what was signed stays what is remembered.
TEST_P(CustodyContract, L7_OnlyWhatExtendsTheLogIsSigned) {
  const auto instance = tests::SharedQuorum().instance();
  const auto keys = ops().CheckpointKeys();
  ASSERT_TRUE(keys) << keys.error().Line();
  ASSERT_EQ(keys->size(), 1U);
  EXPECT_TRUE(ops().ReadLedgerRecord()->anchors.empty());
  Log log(crypto::ControlOrigin(instance)), fork(crypto::ControlOrigin(instance));
  log.Grow(5);
  fork.Grow(5);
  const auto key = crypto::NoteKey::FromEcdsa("any", keys->front().spki);
  ASSERT_TRUE(key);
  const auto signs = [&](const Log& asked, const std::vector<crypto::Digest>& proof) -> std::string {
    const auto signatures = ops().SignCheckpoint(asked.Head(), proof);
    if (!signatures) return std::string(signatures.error().Slug());
    if (signatures->size() != 1) return "not one signature";
    return key->Verify(asked.Head().Text(), signatures->front().der) ? "good" : "bad signature";
  };
  EXPECT_EQ(signs(log, {}), "good");
  EXPECT_EQ(signs(log, {}), "good") << "the same head again is no news";
  const auto five = log.Head();
  log.Grow(8);
  fork.Grow(8, "other");
  EXPECT_EQ(signs(log, {}), "log-forked") << "no proof";
  EXPECT_EQ(signs(fork, log.ProofFrom(5)), "log-forked");
  auto wrong = log.ProofFrom(5);
  wrong[0][0] ^= 1;
  EXPECT_EQ(signs(log, wrong), "log-forked");
  EXPECT_EQ(signs(log, log.ProofFrom(4)), "log-forked");
  EXPECT_EQ(signs(log, log.ProofFrom(5)), "good");
  EXPECT_EQ(ops().SignCheckpoint(five, {}).error().Slug(), "log-rewound");
  Log replaced(crypto::ControlOrigin(instance));
  replaced.Grow(13, "other");
  EXPECT_EQ(signs(replaced, {}), "log-forked") << "the same size, another root";
  for (const auto& origin :
       {crypto::ControlOrigin(crypto::RandomArray<16>()), std::string("another.example/log"),
        "strongroom/" + ToHex(instance) + "/control/2", "strongroom/" + ToHex(instance) + "/x/1", std::string()}) {
    Log foreign(origin);
    foreign.Grow(20);
    EXPECT_EQ(signs(foreign, {}), "foreign-origin") << origin;
  }
  Log evidence(crypto::EvidenceOrigin(instance));
  evidence.Grow(3);
  EXPECT_EQ(signs(evidence, {}), "good") << "the instance's other log, at its first sight";
  const auto record = ops().ReadLedgerRecord();
  ASSERT_TRUE(record);
  EXPECT_EQ(record->anchors, (std::vector<crypto::Anchor>{{log.Head().origin, 13, log.Head().root},
                                                          {evidence.Head().origin, 3, evidence.Head().root}}));
}

// L8: an adoption moves the anchors to the heads that were voted for, in the next epoch, once; whatever is not exactly
// what the token remembers is refused and changes nothing.
TEST_P(CustodyContract, L8_AnAdoptionOpensTheNextEpochOnce) {
  const auto& quorum = tests::SharedQuorum();
  const auto instance = quorum.instance();
  const auto token = ops().Identity()->serial;
  Log lost(crypto::ControlOrigin(instance)), kept(crypto::ControlOrigin(instance)),
      evidence(crypto::EvidenceOrigin(instance));
  lost.Grow(9);
  kept.Grow(6);
  evidence.Grow(4);
  ASSERT_TRUE(ops().SignCheckpoint(lost.Head(), {}));
  ASSERT_TRUE(ops().SignCheckpoint(evidence.Head(), {}));
  const auto before = *ops().ReadLedgerRecord();
  using Params = std::map<std::string, std::string, std::less<>>;
  const Params right = {{"epoch", "2"},
                        {"token", token},
                        {"evidence-log", "4 " + ToHex(evidence.Head().root)},
                        {"token-control", "epoch 1 size 9 root " + ToHex(lost.Head().root)},
                        {"token-evidence", "epoch 1 size 4 root " + ToHex(evidence.Head().root)},
                        {"state", "rolled-back"},
                        {"keep", "none"}};
  const auto with = [&](const std::string& name, const std::string& value) {
    auto params = right;
    params[name] = value;
    return params;
  };
  const auto adopt = [&](const QuorumFixture& by, const Params& params) {
    const auto done = ops().ChangeLedgerRecord(Approved(by, "ledger.adopt", params, &kept));
    return done ? std::string("done") : std::string(done.error().Slug());
  };
  EXPECT_EQ(adopt(quorum, with("token", "another")), "grant-mismatch");
  EXPECT_EQ(adopt(quorum, with("epoch", "1")), "invalid-request");
  EXPECT_EQ(adopt(quorum, with("token-control", "none")), "stale");
  EXPECT_EQ(adopt(quorum, with("token-control", "epoch 1 size 8 root " + ToHex(lost.Head().root))), "stale");
  EXPECT_EQ(adopt(quorum, with("token-evidence", "what")), "invalid-request");
  EXPECT_EQ(adopt(QuorumFixture(), right), "roster-not-enforced") << "another instance's quorum";
  EXPECT_EQ(adopt(quorum, with("state", "lost")), "stale") << "nothing is lost";
  EXPECT_EQ(adopt(quorum, with("epoch", "1002")), "stale") << "an epoch out of reach";
  EXPECT_EQ(*ops().ReadLedgerRecord(), before);
  EXPECT_EQ(adopt(quorum, right), "done");
  EXPECT_EQ(adopt(quorum, right), "stale") << "a replay";
  const auto after = *ops().ReadLedgerRecord();
  EXPECT_EQ(after.anchors,
            (std::vector<crypto::Anchor>{{crypto::ControlOrigin(instance, 2), 6, kept.Head().root},
                                         {crypto::EvidenceOrigin(instance, 2), 4, evidence.Head().root}}));
  // The former epoch is over; the new one goes on from the head that was adopted and from nothing else.
  lost.Grow(1);
  EXPECT_EQ(ops().SignCheckpoint(lost.Head(), lost.ProofFrom(9)).error().Slug(), "foreign-origin");
  Log next(crypto::ControlOrigin(instance, 2)), fork(crypto::ControlOrigin(instance, 2));
  next.Grow(8);
  fork.Grow(8, "other");
  EXPECT_EQ(ops().SignCheckpoint(fork.Head(), fork.ProofFrom(6)).error().Slug(), "log-forked");
  EXPECT_TRUE(ops().SignCheckpoint(next.Head(), next.ProofFrom(6)));
}

// L10: a rotated checkpoint key is vouched for by the one before it, both sign while they overlap, and the numbers go
// up by one.
TEST_P(CustodyContract, L10_ARotatedCheckpointKeyIsVouchedFor) {
  const auto& quorum = tests::SharedQuorum();
  const auto token = ops().Identity()->serial;
  const auto name = "strongroom/" + ToHex(quorum.instance());
  Log log(crypto::ControlOrigin(quorum.instance()));
  log.Grow(3);
  const auto rotate = [&](const QuorumFixture& by, const std::string& number, const std::string& days) {
    const auto done = ops().ChangeLedgerRecord(
        Approved(by, "ledger.rotate-key", {{"token", token}, {"checkpoint-key", number}, {"overlap-days", days}}));
    return done ? std::string("done") : std::string(done.error().Slug());
  };
  EXPECT_EQ(rotate(quorum, "2", "1"), "stale") << "nothing was signed yet, so there is nothing to follow";
  ASSERT_TRUE(ops().SignCheckpoint(log.Head(), {}));
  const auto first = *crypto::NoteKey::FromEcdsa(name, ops().CheckpointKeys()->front().spki);
  EXPECT_EQ(rotate(quorum, "3", "1"), "stale");
  EXPECT_EQ(rotate(quorum, "2", "0"), "invalid-request");
  EXPECT_EQ(rotate(quorum, "2", "401"), "invalid-request");
  EXPECT_EQ(rotate(QuorumFixture(), "2", "1"), "roster-not-enforced");
  ASSERT_EQ(rotate(quorum, "2", "1"), "done");
  EXPECT_EQ(rotate(quorum, "2", "1"), "stale") << "a replay";
  const auto keys = *ops().CheckpointKeys();
  ASSERT_EQ(keys.size(), 2U);
  const auto second = *crypto::NoteKey::FromEcdsa(name, keys[0].spki);
  EXPECT_EQ(*crypto::NoteKey::FromEcdsa(name, keys[0].former), first);
  EXPECT_NE(second, first);
  EXPECT_TRUE(first.Verify(crypto::KeyEndorsement(first, second), keys[0].endorsement));
  log.Grow(2);
  const auto signatures = ops().SignCheckpoint(log.Head(), log.ProofFrom(3));
  ASSERT_TRUE(signatures) << signatures.error().Line();
  ASSERT_EQ(signatures->size(), 2U);
  EXPECT_TRUE(second.Verify(log.Head().Text(), (*signatures)[0].der));
  EXPECT_TRUE(first.Verify(log.Head().Text(), (*signatures)[1].der));
  ASSERT_EQ(rotate(quorum, "3", "1"), "done");
  const auto third = *ops().CheckpointKeys();
  EXPECT_EQ(third[0].number, 3U);
  EXPECT_EQ(*crypto::NoteKey::FromEcdsa(name, third[0].former), second);
}

// Q5, Q9: a token obeys the roster that it saw first and no other, carries a proposal out once, and does not believe a
// clock that went back. Whoever asks: this is what a front end that was taken over would try.
TEST_P(CustodyContract, Q9_TheTokenObeysItsRosterAndEachProposalOnce) {
  const auto& quorum = tests::SharedQuorum();
  const auto token = ops().Identity()->serial;
  const auto ring = crypto::RandomArray<16>();
  const auto make = [&](const QuorumFixture& by, std::uint32_t version) {
    return ops().Generate(by.Grant(ring, version, Suite::kKwp, token),
                          {Ref(ring, version, Suite::kKwp), KekLabel("k", version)});
  };
  ASSERT_TRUE(make(quorum, 1));
  const QuorumFixture made_up;  // a roster of the same form with keys of one's own
  EXPECT_EQ(make(made_up, 2).error().Slug(), "roster-not-enforced");
  auto lowered = quorum.roster().text();
  for (auto at = lowered.find("custodian-3 "); at != std::string::npos; at = lowered.find("custodian-3 ")) {
    const auto begin = lowered.rfind('\n', at) + 1;
    lowered.erase(begin, lowered.find('\n', begin) + 1 - begin);
  }
  EXPECT_FALSE(crypto::Roster::Parse(lowered)) << "the floor is compiled in";
  // The very same votes again: for a key that is gone, they would make it anew.
  const auto now = SystemClock().Now();
  const auto text =
      *quorum
           .Proposal("keyring.rotate", "k",
                     {{"keyring-id", ToHex(ring)}, {"version", "2"}, {"suite", "kwp"}, {"custody", "token:" + token}},
                     now)
           .Render();
  const std::vector<crypto::Vote> votes = {quorum.Sign("custodian-1", text), quorum.Sign("custodian-2", text)};
  const auto again = [&] {
    return ops().Generate(*crypto::GrantExecution(quorum.roster(), text, votes, now),
                          {Ref(ring, 2, Suite::kKwp), KekLabel("k", 2)});
  };
  ASSERT_TRUE(again());
  const auto record = *ops().ReadLedgerRecord();
  EXPECT_EQ(again().error().code, Code::kConflict);
  EXPECT_EQ(record.custody.spent.size(), 2U);
  EXPECT_EQ(tests::Spend(record, *crypto::GrantExecution(quorum.roster(), text, votes, now), now).error().Slug(),
            "already-executed");
  const auto other = *quorum.Proposal("ledger.rotate-key", "", {}, now).Render();
  const std::vector<crypto::Vote> more = {quorum.Sign("custodian-1", other), quorum.Sign("custodian-2", other)};
  const auto back = now - 3600'000;
  EXPECT_EQ(tests::Spend(record, *crypto::GrantExecution(quorum.roster(), other, more, back), back).error().Slug(),
            "clock-back");
}

// Q9, Q11: a KEK goes only after a quorum has given it up and its waiting period is over by the host's own clock, and
// stays when that is taken back. What a front end that was taken over would try comes first.
TEST_P(CustodyContract, Q11_AKekGoesOnlyWhenItsWaitingPeriodIsOver) {
  const auto& quorum = tests::SharedQuorum();
  const auto ring = crypto::RandomArray<16>();
  for (const std::uint32_t version : {1U, 2U})
    ASSERT_TRUE(ops().Generate(quorum.Grant(ring, version, Suite::kKwp, token_),
                               {Ref(ring, version, Suite::kKwp), KekLabel("k", version)}));
  const auto key = Ref(ring, 1, Suite::kKwp), other = Ref(ring, 2, Suite::kKwp);
  const auto end = [&](const KeyRef& ref, DestructionEnd how) {
    const auto ended = how == DestructionEnd::kDestroy ? ops().Destroy(tests::MadeUpDestruction(ref.key), ref)
                                                       : ops().CancelDestruction(ref);
    return ended ? std::string("done") : std::string(ended.error().Slug());
  };
  const auto give_up = [&](const QuorumFixture& by, const std::string& days, const std::string& token) {
    const auto done = ops().ChangeLedgerRecord(
        Approved(by, "version.destroy",
                 {{"token", token}, {"keyring-id", ToHex(ring)}, {"version", "1"}, {"waiting-days", days}}));
    return done ? std::string("done") : std::string(done.error().Slug());
  };
  EXPECT_EQ(end(key, DestructionEnd::kDestroy), "destruction-not-pending") << "nobody has voted";
  EXPECT_EQ(give_up(quorum, "6", token_), "invalid-request") << "the floor is compiled in";
  EXPECT_EQ(give_up(quorum, "7", "another"), "grant-mismatch");
  EXPECT_EQ(give_up(QuorumFixture(), "7", token_), "roster-not-enforced");
  const auto wrapped = One(WrapOp{key, Dek(32), context_});
  ASSERT_EQ(give_up(quorum, "7", token_), "done");
  EXPECT_EQ(give_up(quorum, "7", token_), "done") << "given up again, it waits anew";
  EXPECT_EQ(One(WrapOp{key, Dek(32), context_}).error().Slug(), "key-pending") << "it wraps nothing any more";
  EXPECT_EQ(One(DataKeyOp{key, 32, context_}).error().Slug(), "key-pending");
  EXPECT_EQ(One(RewrapOp{other, key, One(WrapOp{other, Dek(32), context_})->blob}).error().Slug(), "key-pending");
  EXPECT_TRUE(One(UnwrapOp{key, wrapped->blob, context_, {}})) << "and still opens what it has wrapped";
  EXPECT_EQ(end(key, DestructionEnd::kDestroy), "destruction-not-due");
  EXPECT_EQ(end(other, DestructionEnd::kDestroy), "destruction-not-pending");
  EXPECT_EQ(ops().Destroy(tests::MadeUpDestruction(other.key), key).error().Slug(), "grant-mismatch");
  ContractClock::Offset() = 7 * kDay - 60'000;
  EXPECT_EQ(end(key, DestructionEnd::kDestroy), "destruction-not-due");
  ContractClock::Step() = 400 * kDay;
  EXPECT_EQ(end(key, DestructionEnd::kDestroy), "destruction-not-due") << "no clock brings it nearer";
  ContractClock::Step() = -400 * kDay;
  EXPECT_EQ(end(key, DestructionEnd::kDestroy), "destruction-not-due");
  ContractClock::Step() = 0;
  EXPECT_EQ(end(key, DestructionEnd::kCancel), "done") << "but staying is always safe";
  EXPECT_TRUE(One(WrapOp{key, Dek(32), context_})) << "and it wraps again";
  ContractClock::Offset() = 8 * kDay;
  EXPECT_EQ(end(key, DestructionEnd::kDestroy), "destruction-not-pending") << "it was taken back";
  ASSERT_TRUE(*ops().Find(key.key));
  ASSERT_EQ(give_up(quorum, "7", token_), "done");
  ContractClock::Offset() = 15 * kDay + 60'000;
  ASSERT_EQ(end(key, DestructionEnd::kDestroy), "done");
  EXPECT_FALSE(*ops().Find(key.key));
  EXPECT_TRUE(*ops().Find(other.key)) << "and nothing else";
  EXPECT_EQ(end(key, DestructionEnd::kDestroy), "destruction-not-pending") << "once";
  EXPECT_EQ(One(WrapOp{key, Dek(32), context_}).error().Slug(), "key-missing");
  EXPECT_TRUE(One(WrapOp{other, Dek(32), context_}));
}

// Keys come and go while every session is busy, one of them with the very key that goes: whoever asks gets the right
// answer or, of the one that goes, that it is missing, and from the moment its destruction is answered nothing else.
TEST_P(CustodyContract, Q11_KeysAreMadeAndDestroyedBesideRunningWork) {
  const auto& quorum = tests::SharedQuorum();
  const auto ring = crypto::RandomArray<16>();
  const auto make = [&](std::uint32_t version) {
    const auto ref = Ref(ring, version, Suite::kKwp);
    EXPECT_TRUE(ops().Generate(quorum.Grant(ring, version, Suite::kKwp, token_), {ref, KekLabel("k", version)}));
    return ref;
  };
  const auto stays = make(1), goes = make(2);
  std::atomic<bool> stop{false}, gone{false};
  std::atomic<int> served{0}, missing{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 6; ++t)
    threads.emplace_back([&, t] {
      const auto key = t % 2 == 0 ? stays : goes;
      for (std::uint8_t i = 0; !stop; ++i) {
        const bool after = gone;
        const auto wrapped = One(WrapOp{key, Dek(32, i), context_});
        const auto opened = wrapped ? One(UnwrapOp{key, wrapped->blob, context_, {}}) : wrapped.error();
        if (opened) {
          EXPECT_TRUE(Same(opened->plaintext, Dek(32, i)));
          EXPECT_FALSE(after && t % 2 == 1) << "a destroyed key answers";
          ++served;
        } else {
          EXPECT_EQ(t % 2, 1) << "another key's work is refused";
          // One that was given up wraps nothing before it goes.
          if (opened.error().Slug() == "key-pending" && !after) continue;
          EXPECT_EQ(opened.error().Slug(), "key-missing") << opened.error().Line();
          ++missing;
        }
      }
    });
  const auto until = [&](const std::atomic<int>& count, int more) {
    const int goal = count + more;
    const auto bound = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (count < goal && std::chrono::steady_clock::now() < bound) std::this_thread::yield();
    EXPECT_GE(count, goal);
  };
  until(served, 30);
  for (const std::uint32_t version : {3U, 4U}) EXPECT_TRUE(One(WrapOp{make(version), Dek(32), context_}));
  EXPECT_TRUE(ops().ChangeLedgerRecord(
      Approved(quorum, "version.destroy",
               {{"token", token_}, {"keyring-id", ToHex(ring)}, {"version", "2"}, {"waiting-days", "7"}})));
  ContractClock::Offset() = 7 * kDay + 60'000;
  const auto destroyed = ops().Destroy(tests::MadeUpDestruction(goes.key), goes);
  EXPECT_TRUE(destroyed) << destroyed.error().Line();
  gone = true;
  until(missing, 6);
  until(served, 30);
  stop = true;
  for (auto& thread : threads) thread.join();
  EXPECT_FALSE(*ops().Find(goes.key));
  EXPECT_TRUE(*ops().Find(stays.key));
}

// Q10: by a clock that went back nothing is carried out but the acceptance of that very clock; what was asked for
// before it is void, whenever its deadline is.
TEST_P(CustodyContract, Q10_AClockThatWentBackIsAcceptedByQuorumAlone) {
  const auto& quorum = tests::SharedQuorum();
  const auto ring = crypto::RandomArray<16>();
  const auto make = [&](std::uint32_t version, Millis at, std::uint64_t control_size) {
    auto proposal = quorum.Proposal(version == 1 ? "keyring.create" : "keyring.rotate", "k",
                                    {{"keyring-id", ToHex(ring)},
                                     {"version", std::to_string(version)},
                                     {"suite", "kwp"},
                                     {"custody", "token:" + token_}},
                                    at);
    proposal.control_size = control_size;
    const auto text = *proposal.Render();
    const auto done = ops().Generate(
        *crypto::GrantExecution(quorum.roster(), text,
                                {quorum.Sign("custodian-1", text), quorum.Sign("custodian-2", text)}, at),
        {Ref(ring, version, Suite::kKwp), KekLabel("k", version)});
    return done ? std::string("done") : std::string(done.error().Slug());
  };
  const auto accept = [&](Millis named, Millis at, std::uint64_t control_size) {
    auto proposal = quorum.Proposal("clock.accept", "", {{"token", token_}, {"clock", FormatTime(named)}}, at);
    proposal.control_size = control_size;
    const auto text = *proposal.Render();
    const auto done = ops().ChangeLedgerRecord(*crypto::GrantExecution(
        quorum.roster(), text, {quorum.Sign("custodian-1", text), quorum.Sign("custodian-2", text)}, at));
    return done ? std::string("done") : std::string(done.error().Slug());
  };
  constexpr Millis kYear = 365 * kDay;
  const auto now = SystemClock().Now();
  ContractClock::Offset() = kYear;  // a year passes, and something is done in it
  ASSERT_EQ(make(1, now + kYear, 10), "done");
  ContractClock::Step() = -kYear;  // and the clock is set back
  EXPECT_EQ(make(2, now, 12), "clock-back");
  EXPECT_EQ(make(2, now + kYear, 12), "clock-back") << "nor what is dated by the clock that was wrong";
  EXPECT_EQ(accept(now - kYear, now - kYear, 12), "proposal-expired") << "of a year ago";
  EXPECT_EQ(accept(now + kYear, now, 12), "stale") << "a clock that is not this one";
  ASSERT_EQ(accept(now, now, 12), "done");
  EXPECT_EQ(make(2, now, 11), "stale") << "asked for before the clock was accepted";
  EXPECT_EQ(make(2, now, 13), "done");
  ContractClock::Step() = 0;
  EXPECT_EQ(make(3, now + kYear, 11), "stale") << "also when the time of its date has come";
}

// Q9: does a token tell a DEK without its context to anybody before its record allows it, and when it does, for that
// keyring, that token and that time alone?
TEST_P(CustodyContract, Q9_ADekIsReleasedByTheRecordAlone) {
  const auto& quorum = Quorum();
  const auto token = ops().Identity()->serial;
  const std::vector<KeyRef> keys = {MakeKey(Suite::kKwp, 1), MakeKey(Suite::kGcm, 2)};
  std::vector<Bytes> blobs;
  for (const auto& key : keys) blobs.push_back(One(WrapOp{key, Dek(33), context_})->blob);
  const auto refused = [&](const std::string& to, const char* when) {
    for (std::size_t i = 0; i < keys.size(); ++i) {
      const auto released = One(ReleaseOp{keys[i], to, blobs[i]});
      EXPECT_FALSE(released) << when;
      EXPECT_EQ(released ? "" : released.error().Slug(), "not-released") << when;
    }
  };
  using Params = std::map<std::string, std::string, std::less<>>;
  const auto rekey = [&](const Params& change) {
    const auto now = ContractClock().Now();
    Params params = {{"keyring-id", ToHex(ring_)}, {"from-version", "2"}, {"version", "3"}, {"suite", "kwp"},
                     {"custody", "token:there"},   {"release-days", "1"}, {"token", token}};
    for (const auto& [name, value] : change) params[name] = value;
    const auto text = *quorum.Proposal("rekey.start", "k", std::move(params), now).Render();
    const auto done = ops().ChangeLedgerRecord(*crypto::GrantExecution(
        quorum.roster(), text, {quorum.Sign("custodian-1", text), quorum.Sign("custodian-2", text)}, now));
    return done ? std::string("done") : std::string(done.error().Slug());
  };
  refused("there", "nobody has voted");
  EXPECT_EQ(rekey({{"token", "there"}}), "grant-mismatch");
  EXPECT_EQ(rekey({{"release-days", "366"}}), "invalid-request");
  EXPECT_EQ(rekey({{"custody", "keyring:install"}}), "invalid-request");
  EXPECT_EQ(rekey({{"keyring-id", ToHex(crypto::RandomArray<16>())}}), "key-missing") << "a keyring that is not here";
  refused("there", "another keyring was asked for");
  EXPECT_EQ(rekey({}), "done");
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const auto released = One(ReleaseOp{keys[i], "there", blobs[i]});
    ASSERT_TRUE(released) << released.error().Line();
    EXPECT_TRUE(Same(released->plaintext, Dek(33)));
    const auto context = *DigestOf(context_);
    EXPECT_EQ(released->blob, Bytes(context.begin(), context.end())) << "its context goes with it";
    auto damaged = blobs[i];
    damaged[damaged.size() - 5] ^= 1;
    EXPECT_EQ(One(ReleaseOp{keys[i], "there", damaged}).error().code, Code::kUnwrapFailed);
  }
  refused("elsewhere", "it moves there and nowhere else");
  ContractClock::Offset() = 25 * kHour;
  refused("there", "its days are over");
}

// K9, Q6: does a token let itself be enrolled that is another than the one read of, or that signs the logs already?
TEST_P(CustodyContract, K9_OnlyTheTokenThatWasReadOfIsEnrolled) {
  const auto& quorum = tests::SharedQuorum();
  const auto identity = *ops().Identity();
  using Params = std::map<std::string, std::string, std::less<>>;
  const Params right = {{"token", identity.serial},
                        {"label", MarkOf(identity.label)},
                        {"model", MarkOf(identity.model)},
                        {"manufacturer", MarkOf(identity.manufacturer)},
                        {"owner", "appliance"}};
  const auto enrol = [&](const Params& params) {
    const auto done = ops().ChangeLedgerRecord(Approved(quorum, "token.enrol", params));
    return done ? std::string("done") : std::string(done.error().Slug());
  };
  for (const auto* mark : {"token", "label", "model", "manufacturer"}) {
    auto wrong = right;
    wrong[mark] = "another";
    EXPECT_EQ(enrol(wrong), "grant-mismatch") << mark;
  }
  EXPECT_TRUE(ops().ReadLedgerRecord()->custody.spent.empty()) << "it was told nothing";
  EXPECT_FALSE(ops().ReadLedgerRecord()->custody.further);
  EXPECT_EQ(enrol(right), "done");
  EXPECT_TRUE(ops().ReadLedgerRecord()->custody.further);
  EXPECT_EQ(ops().ReadLedgerRecord()->custody.roster_version, quorum.roster().version());
  EXPECT_EQ(*crypto::DecodeRecord(crypto::EncodeRecord(*ops().ReadLedgerRecord())), *ops().ReadLedgerRecord());
}

INSTANTIATE_TEST_SUITE_P(All, CustodyContract, testing::ValuesIn(kImplementations),
                         [](const auto& i) { return std::string(i.param.name); });

}  // namespace
}  // namespace strongroom::hsm
