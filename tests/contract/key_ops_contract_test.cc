// One suite for every implementation of the port: the fake, the real token in this process, and the real token behind a
// socket.

#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <thread>

#include "crypto/custody.h"
#include "crypto/merkle.h"
#include "hsm/host.h"
#include "hsm/host_pool.h"
#include "hsm/remote_key_ops.h"
#include "hsm/token_key_ops.h"
#include "tests/fakes/fake_key_ops.h"
#include "tests/support/quorum_fixture.h"
#include "tests/support/softhsm_fixture.h"
#include "tests/support/world.h"

namespace strongroom::hsm {
namespace {

using crypto::Suite;
using tests::QuorumFixture;

class Subject {
 public:
  virtual ~Subject() = default;
  virtual KeyOps& ops() = 0;
};

class FakeSubject final : public Subject {
 public:
  KeyOps& ops() override { return fake_; }

 private:
  tests::FakeKeyOps fake_;
};

class TokenSubject final : public Subject {
 public:
  TokenSubject() {
    auto opened = TokenKeyOps::Open(token_.uri(), clock_);
    if (!opened) {
      ADD_FAILURE() << opened.error().Line();
      return;
    }
    ops_ = std::move(*opened);
  }
  KeyOps& ops() override { return *ops_; }
  TokenKeyOps& token_ops() { return *ops_; }

 private:
  tests::SoftHsmFixture token_;
  SystemClock clock_;
  std::unique_ptr<TokenKeyOps> ops_;
};

class RemoteSubject final : public Subject {
 public:
  RemoteSubject() : stop_(eventfd(0, EFD_CLOEXEC)) {
    auto listener = ListenLocal(dir_.File("tokend.sock"));
    EXPECT_TRUE(listener);
    listener_ = std::move(*listener);
    server_ =
        std::thread([this] { (void)ServeFrames(listener_.get(), stop_.get(), {geteuid()}, token_.ops(), clock_, {}); });
    RemoteKeyOps::Options options;
    options.socket_path = dir_.File("tokend.sock");
    options.peer_uid = geteuid();
    remote_ = std::make_unique<RemoteKeyOps>(options);
  }
  ~RemoteSubject() override {
    remote_.reset();
    const std::uint64_t one = 1;
    EXPECT_EQ(write(stop_.get(), &one, sizeof one), static_cast<ssize_t>(sizeof one));
    server_.join();
  }
  KeyOps& ops() override { return *remote_; }

 private:
  TokenSubject token_;
  tests::TempDir dir_;
  SystemClock clock_;
  UniqueFd stop_;
  UniqueFd listener_;
  std::thread server_;
  std::unique_ptr<RemoteKeyOps> remote_;
};

// Two connections to two serving threads, as a pool of two hosts has them.
class PoolSubject final : public Subject {
 public:
  PoolSubject() : stop_(eventfd(0, EFD_CLOEXEC)) {
    for (unsigned i = 0; i < 2; ++i) {
      listeners_.push_back(*ListenLocal(HostSocket(dir_.File("tokend.sock"), i)));
      servers_.emplace_back(
          [this, i] { (void)ServeFrames(listeners_[i].get(), stop_.get(), {geteuid()}, token_.ops(), clock_, {}); });
    }
    RemoteKeyOps::Options options;
    options.socket_path = dir_.File("tokend.sock");
    options.peer_uid = geteuid();
    pool_ = std::make_unique<HostPool>(options, 2);
  }
  ~PoolSubject() override {
    pool_.reset();
    const std::uint64_t one = 1;
    EXPECT_EQ(write(stop_.get(), &one, sizeof one), static_cast<ssize_t>(sizeof one));
    for (auto& server : servers_) server.join();
  }
  KeyOps& ops() override { return *pool_; }

 private:
  TokenSubject token_;
  tests::TempDir dir_;
  SystemClock clock_;
  UniqueFd stop_;
  std::vector<UniqueFd> listeners_ = Reserved();
  std::vector<std::thread> servers_;
  std::unique_ptr<HostPool> pool_;
  static std::vector<UniqueFd> Reserved() {
    std::vector<UniqueFd> fds;
    fds.reserve(2);
    return fds;
  }
};

using Factory = std::unique_ptr<Subject> (*)();
struct Implementation {
  const char* name;
  Factory make;
};
void PrintTo(const Implementation& i, std::ostream* out) { *out << i.name; }

const QuorumFixture& Quorum() {
  static const QuorumFixture fixture;
  return fixture;
}

class KeyOpsContract : public testing::TestWithParam<Implementation> {
 protected:
  void SetUp() override {
    subject_ = GetParam().make();
    const auto identity = subject_->ops().Identity();
    ASSERT_TRUE(identity) << identity.error().Line();
    token_ = identity->serial;
  }
  KeyOps& ops() { return subject_->ops(); }
  KeyRef Ref(const crypto::KeyringId& ring, std::uint32_t version, Suite suite) {
    return {token_, crypto::MakeKeyId(ring, version), suite};
  }
  KeyRef MakeKey(Suite suite, std::uint32_t version = 1) {
    const auto ref = Ref(ring_, version, suite);
    const auto made = ops().Generate(Quorum().Grant(ring_, version, suite, token_), {ref, "contract key"});
    EXPECT_TRUE(made) << (made ? "" : made.error().Line());
    return ref;
  }
  template <class Op>
  Result<KeyOpOutput> One(Op op) {
    std::vector<KeyOp> list;
    list.emplace_back(std::move(op));
    auto results = ops().Execute(list);
    EXPECT_EQ(results.size(), 1U);
    return std::move(results[0]);
  }
  static SecretBytes Dek(std::size_t n, std::uint8_t seed = 3) {
    auto dek = *SecretBytes::Allocate(n);
    auto bytes = dek.Write(SecretAccess());
    for (std::size_t i = 0; i < n; ++i) bytes[i] = static_cast<std::uint8_t>(seed + i);
    return dek;
  }
  static bool Same(const SecretBytes& a, const SecretBytes& b) {
    return EqualConstantTime(a.Read(SecretAccess()), b.Read(SecretAccess()));
  }

  crypto::KeyringId ring_ = crypto::RandomArray<16>();
  crypto::Digest context_ = crypto::Sha256(AsBytes("context"));
  std::string token_;
  std::unique_ptr<Subject> subject_;
};

TEST_P(KeyOpsContract, AWrongContextBlobOrKeyIsTheOneAnswer) {
  for (const auto suite : {Suite::kKwp, Suite::kGcm}) {
    const auto key = MakeKey(suite, suite == Suite::kKwp ? 1 : 2);
    const auto other = MakeKey(suite, suite == Suite::kKwp ? 3 : 4);
    const auto wrapped = One(WrapOp{key, Dek(32), context_});
    ASSERT_TRUE(wrapped) << wrapped.error().Line();
    EXPECT_EQ(One(UnwrapOp{key, wrapped->blob, crypto::Sha256(AsBytes("other")), {}}).error().code,
              Code::kUnwrapFailed);
    EXPECT_EQ(One(UnwrapOp{other, wrapped->blob, context_, {}}).error().code, Code::kUnwrapFailed);
    EXPECT_EQ(One(RewrapOp{other, key, wrapped->blob}).error().code, Code::kUnwrapFailed);
    for (std::size_t i = 0; i < wrapped->blob.size(); ++i) {
      auto blob = wrapped->blob;
      blob[i] ^= 0x40;
      EXPECT_EQ(One(UnwrapOp{key, blob, context_, {}}).error().code, Code::kUnwrapFailed)
          << crypto::ToString(suite) << " byte " << i;
    }
    for (const std::size_t n : {0UL, 1UL, 8UL, 31UL, 32UL, wrapped->blob.size() - 8, wrapped->blob.size() - 1})
      EXPECT_EQ(
          One(UnwrapOp{key, Bytes(wrapped->blob.begin(), wrapped->blob.begin() + static_cast<long>(n)), context_, {}})
              .error()
              .code,
          Code::kUnwrapFailed)
          << n;
    EXPECT_EQ(One(UnwrapOp{key, Bytes(5000, 1), context_, {}}).error().code, Code::kUnwrapFailed);
    EXPECT_TRUE(One(UnwrapOp{key, wrapped->blob, context_, {}})) << "bad input must not harm the next caller";
  }
}

TEST_P(KeyOpsContract, EveryDekLengthComesBackInBothSuites) {
  for (const auto suite : {Suite::kKwp, Suite::kGcm}) {
    const auto key = MakeKey(suite, suite == Suite::kKwp ? 1 : 2);
    for (const std::size_t n : {16, 17, 20, 24, 31, 32, 33, 48, 64, 100, 255, 256, 511, 512}) {
      const auto wrapped = One(WrapOp{key, Dek(n), context_});
      ASSERT_TRUE(wrapped) << n << wrapped.error().Line();
      const auto again = One(WrapOp{key, Dek(n), context_});
      EXPECT_NE(wrapped->blob, again->blob) << "equal DEKs must not look equal";
      EXPECT_EQ(wrapped->blob.size(), again->blob.size());
      const auto opened = One(UnwrapOp{key, wrapped->blob, context_, {}});
      ASSERT_TRUE(opened) << n << opened.error().Line();
      EXPECT_TRUE(Same(opened->plaintext, Dek(n))) << n;
    }
    for (const std::size_t n : {0, 1, 15, 513})
      EXPECT_EQ(One(WrapOp{key, Dek(n), context_}).error().code, Code::kInvalid) << n;
  }
}

TEST_P(KeyOpsContract, K6_RewrapCarriesDekAndContextBetweenAllSuites) {
  const KeyRef keys[] = {MakeKey(Suite::kKwp, 1), MakeKey(Suite::kKwp, 2), MakeKey(Suite::kGcm, 3),
                         MakeKey(Suite::kGcm, 4)};
  for (const auto& from : keys)
    for (const auto& to : keys) {
      const auto wrapped = One(WrapOp{from, Dek(40), context_});
      ASSERT_TRUE(wrapped);
      const auto moved = One(RewrapOp{from, to, wrapped->blob});
      ASSERT_TRUE(moved) << moved.error().Line();
      EXPECT_TRUE(moved->plaintext.empty());
      const auto opened = One(UnwrapOp{to, moved->blob, context_, {}});
      ASSERT_TRUE(opened) << opened.error().Line();
      EXPECT_TRUE(Same(opened->plaintext, Dek(40)));
      EXPECT_EQ(One(UnwrapOp{to, moved->blob, crypto::Sha256(AsBytes("x")), {}}).error().code, Code::kUnwrapFailed);
    }
}

TEST_P(KeyOpsContract, UnwrapCanRewrapInTheSameCall) {
  const auto old_key = MakeKey(Suite::kKwp, 1), new_key = MakeKey(Suite::kKwp, 2);
  const auto wrapped = One(WrapOp{old_key, Dek(32), context_});
  const auto opened = One(UnwrapOp{old_key, wrapped->blob, context_, new_key});
  ASSERT_TRUE(opened);
  EXPECT_TRUE(Same(opened->plaintext, Dek(32)));
  const auto again = One(UnwrapOp{new_key, opened->blob, context_, {}});
  ASSERT_TRUE(again);
  EXPECT_TRUE(Same(again->plaintext, Dek(32)));
}

TEST_P(KeyOpsContract, DataKeysAreFreshAndWrappedAsPromised) {
  const auto key = MakeKey(Suite::kKwp);
  const auto silent = One(DataKeyOp{key, 32, context_, false});
  ASSERT_TRUE(silent);
  EXPECT_TRUE(silent->plaintext.empty());
  for (const std::uint16_t n : {16, 24, 32, 64}) {
    const auto a = One(DataKeyOp{key, n, context_, true}), b = One(DataKeyOp{key, n, context_, true});
    ASSERT_TRUE(a && b);
    EXPECT_EQ(a->plaintext.size(), n);
    EXPECT_FALSE(Same(a->plaintext, b->plaintext));
    const auto opened = One(UnwrapOp{key, a->blob, context_, {}});
    ASSERT_TRUE(opened);
    EXPECT_TRUE(Same(opened->plaintext, a->plaintext));
  }
  EXPECT_EQ(One(DataKeyOp{key, 15, context_, true}).error().code, Code::kInvalid);
}

TEST_P(KeyOpsContract, AMissingKeyOrForeignTokenIsNotFound) {
  const auto key = MakeKey(Suite::kKwp);
  auto absent = key;
  absent.key[19] ^= 1;
  EXPECT_EQ(One(WrapOp{absent, Dek(32), context_}).error().code, Code::kNotFound);
  auto foreign = key;
  foreign.token = "another";
  EXPECT_EQ(One(WrapOp{foreign, Dek(32), context_}).error().code, Code::kNotFound);
  const auto found = ops().Find(absent.key);
  ASSERT_TRUE(found);
  EXPECT_FALSE(*found);
}

TEST_P(KeyOpsContract, OneFailureOfABatchFailsOnlyItself) {
  const auto key = MakeKey(Suite::kKwp);
  const auto wrapped = One(WrapOp{key, Dek(32), context_});
  std::vector<KeyOp> ops_list;
  for (int i = 0; i < 600; ++i)
    ops_list.emplace_back(UnwrapOp{key, i % 3 == 1 ? Bytes(wrapped->blob.size(), 9) : wrapped->blob, context_, {}});
  const auto results = ops().Execute(ops_list);
  ASSERT_EQ(results.size(), 600U);
  for (std::size_t i = 0; i < results.size(); ++i) EXPECT_EQ(results[i].has_value(), i % 3 != 1) << i;
}

TEST_P(KeyOpsContract, Q9_GenerateNeedsVotesForThisVeryKey) {
  const auto other_ring = crypto::RandomArray<16>();
  EXPECT_EQ(ops()
                .Generate(Quorum().Grant(other_ring, 1, Suite::kKwp, token_), {Ref(ring_, 1, Suite::kKwp), "x"})
                .error()
                .Slug(),
            "grant-mismatch");
  EXPECT_EQ(
      ops().Generate(Quorum().Grant(ring_, 2, Suite::kKwp, token_), {Ref(ring_, 1, Suite::kKwp), "x"}).error().Slug(),
      "grant-mismatch");
  EXPECT_EQ(
      ops().Generate(Quorum().Grant(ring_, 1, Suite::kGcm, token_), {Ref(ring_, 1, Suite::kKwp), "x"}).error().Slug(),
      "grant-mismatch");
  EXPECT_EQ(ops()
                .Generate(Quorum().Grant(ring_, 1, Suite::kKwp, "another"), {Ref(ring_, 1, Suite::kKwp), "x"})
                .error()
                .Slug(),
            "grant-mismatch");
  const auto records = ops().Inventory();
  ASSERT_TRUE(records);
  EXPECT_TRUE(records->empty());
}

TEST_P(KeyOpsContract, K3_AnExistingIdIsNeverMadeAgain) {
  const auto key = MakeKey(Suite::kKwp);
  EXPECT_EQ(ops().Generate(Quorum().Grant(ring_, 1, Suite::kKwp, token_), {key, "again"}).error().code,
            Code::kConflict);
  const auto records = ops().Inventory();
  ASSERT_TRUE(records);
  ASSERT_EQ(records->size(), 1U);
  EXPECT_EQ((*records)[0].fault, "");
  EXPECT_EQ((*records)[0].label, "contract key");
}

TEST_P(KeyOpsContract, ManyThreadsGetTheirOwnAnswers) {
  const auto key = MakeKey(Suite::kKwp);
  std::vector<std::thread> threads;
  std::atomic<int> right{0};
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 20; ++i) {
        const auto seed = static_cast<std::uint8_t>(t * 20 + i);
        const auto wrapped = One(WrapOp{key, Dek(32, seed), context_});
        const auto opened = wrapped ? One(UnwrapOp{key, wrapped->blob, context_, {}}) : wrapped.error();
        if (opened && Same(opened->plaintext, Dek(32, seed))) ++right;
      }
    });
  for (auto& t : threads) t.join();
  EXPECT_EQ(right, 160);
}

TEST_P(KeyOpsContract, SelfTestPasses) { EXPECT_TRUE(ops().SelfTest()); }

// A log in this process, to ask signatures for.
class Log {
 public:
  explicit Log(std::string origin) : origin_(std::move(origin)) {}
  void Grow(int entries, const std::string& what = "entry") {
    for (int i = 0; i < entries; ++i)
      leaves_.push_back(crypto::LeafHash(AsBytes(what + std::to_string(leaves_.size()))));
  }
  crypto::Checkpoint Head() const { return {origin_, leaves_.size(), *crypto::TreeRoot(leaves_.size(), Hash()), {}}; }
  std::vector<crypto::Digest> ProofFrom(std::uint64_t size) const {
    return *crypto::ConsistencyProof(size, leaves_.size(), Hash());
  }

 private:
  crypto::HashAt Hash() const {
    return [this](unsigned level, std::uint64_t index) -> Result<crypto::Digest> {
      const auto width = std::size_t{1} << level;
      return crypto::SubtreeHash(std::span(leaves_).subspan(index * width, width));
    };
  }
  std::string origin_;
  std::vector<crypto::Digest> leaves_;
};

// L7: a compromised front end asks for a fork, a smaller size, a head without proof, another instance's log and another
// epoch: refused, and what was signed stays what is remembered.
TEST_P(KeyOpsContract, L7_OnlyWhatExtendsTheLogIsSigned) {
  const auto instance = crypto::RandomArray<16>();
  const auto keys = ops().CheckpointKeys();
  ASSERT_TRUE(keys) << keys.error().Line();
  ASSERT_EQ(keys->size(), 1U);
  EXPECT_EQ(*ops().ReadLedgerRecord(), crypto::LedgerRecord());
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

crypto::ExecutionGrant Approved(const QuorumFixture& quorum, const std::string& operation,
                                std::map<std::string, std::string, std::less<>> params, const Log* control = nullptr) {
  const auto now = SystemClock().Now();
  auto proposal = quorum.Proposal(operation, "", std::move(params), now);
  if (control != nullptr) {
    proposal.control_size = control->Head().size;
    proposal.control_root = control->Head().root;
  }
  const auto text = *proposal.Render();
  return *crypto::GrantExecution(quorum.roster(), text,
                                 {quorum.Sign("custodian-1", text), quorum.Sign("custodian-2", text)}, now);
}

// L8: an adoption moves the anchors to the heads that were voted for, in the next epoch, once; whatever is not exactly
// what the token remembers is refused and changes nothing.
TEST_P(KeyOpsContract, L8_AnAdoptionOpensTheNextEpochOnce) {
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
                        {"token-evidence", "epoch 1 size 4 root " + ToHex(evidence.Head().root)}};
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
  EXPECT_EQ(adopt(QuorumFixture(), right), "foreign-origin") << "another instance's quorum";
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
TEST_P(KeyOpsContract, L10_ARotatedCheckpointKeyIsVouchedFor) {
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
  EXPECT_EQ(rotate(QuorumFixture(), "2", "1"), "foreign-origin");
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
TEST_P(KeyOpsContract, Q9_TheTokenObeysItsRosterAndEachProposalOnce) {
  const auto& quorum = tests::SharedQuorum();
  const auto token = ops().Identity()->serial;
  const auto ring = crypto::RandomArray<16>();
  const auto make = [&](const QuorumFixture& by, std::uint32_t version) {
    return ops().Generate(by.Grant(ring, version, Suite::kKwp, token), {Ref(ring, version, Suite::kKwp), "k"});
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
           .Proposal("keyring.create", "k",
                     {{"keyring-id", ToHex(ring)}, {"version", "7"}, {"suite", "kwp"}, {"custody", "token:" + token}},
                     now)
           .Render();
  const std::vector<crypto::Vote> votes = {quorum.Sign("custodian-1", text), quorum.Sign("custodian-2", text)};
  const auto again = [&] {
    return ops().Generate(*crypto::GrantExecution(quorum.roster(), text, votes, now), {Ref(ring, 7, Suite::kKwp), "k"});
  };
  ASSERT_TRUE(again());
  const auto record = *ops().ReadLedgerRecord();
  EXPECT_EQ(again().error().code, Code::kConflict);
  EXPECT_EQ(record.custody.spent.size(), 2U);
  EXPECT_EQ(
      crypto::SpendProposal(record, *crypto::GrantExecution(quorum.roster(), text, votes, now), now).error().Slug(),
      "already-executed");
  const auto other = *quorum.Proposal("ledger.rotate-key", "", {}, now).Render();
  const std::vector<crypto::Vote> more = {quorum.Sign("custodian-1", other), quorum.Sign("custodian-2", other)};
  const auto back = now - 3600'000;
  EXPECT_EQ(
      crypto::SpendProposal(record, *crypto::GrantExecution(quorum.roster(), other, more, back), back).error().Slug(),
      "clock-back");
}

const Implementation kImplementations[] = {
    {"Fake", [] { return std::unique_ptr<Subject>(new FakeSubject()); }},
    {"Token", [] { return std::unique_ptr<Subject>(new TokenSubject()); }},
    {"Remote", [] { return std::unique_ptr<Subject>(new RemoteSubject()); }},
    {"Pool", [] { return std::unique_ptr<Subject>(new PoolSubject()); }},
};
// P4, on every implementation: what has expired is not run.
TEST_P(KeyOpsContract, P4_AnExpiredOperationIsNotRun) {
  const auto ref = MakeKey(Suite::kKwp);
  WrapOp late{ref, *SecretBytes::Allocate(32), {}, std::chrono::steady_clock::now() - std::chrono::milliseconds(5)};
  EXPECT_EQ(One(std::move(late)).error().Slug(), "deadline");
  WrapOp early{ref, *SecretBytes::Allocate(32), {}, std::chrono::steady_clock::now() + std::chrono::hours(1)};
  EXPECT_TRUE(One(std::move(early)));
}

INSTANTIATE_TEST_SUITE_P(All, KeyOpsContract, testing::ValuesIn(kImplementations),
                         [](const auto& i) { return std::string(i.param.name); });

}  // namespace
}  // namespace strongroom::hsm
