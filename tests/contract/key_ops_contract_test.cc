// What every implementation of the port does with keys.

#include "tests/contract/key_ops_subjects.h"

namespace strongroom::hsm {
namespace {

TEST_P(KeyOpsContract, AWrongContextBlobOrKeyIsTheOneAnswer) {
  for (const auto suite : {Suite::kKwp, Suite::kGcm}) {
    const auto key = MakeKey(suite, suite == Suite::kKwp ? 1 : 3);
    const auto other = MakeKey(suite, suite == Suite::kKwp ? 2 : 4);
    const auto wrapped = One(WrapOp{key, Dek(32), context_});
    ASSERT_TRUE(wrapped) << wrapped.error().Line();
    EXPECT_EQ(One(UnwrapOp{key, wrapped->blob, Bound("other"), {}}).error().code, Code::kUnwrapFailed);
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
      EXPECT_EQ(One(UnwrapOp{to, moved->blob, Bound("x"), {}}).error().code, Code::kUnwrapFailed);
    }
}

// K11: is there an operation that moves a DEK from one keyring to another? A front end that was taken over would move
// it to a keyring whose wrapped DEKs show their context.
TEST_P(KeyOpsContract, K11_ADekStaysInItsKeyring) {
  const auto home = ring_;
  const KeyRef from[] = {MakeKey(Suite::kKwp, 1), MakeKey(Suite::kGcm, 2)};
  ring_ = crypto::RandomArray<16>();
  std::vector<KeyRef> abroad;
  for (const auto suite : {Suite::kKwp, Suite::kGcm}) {
    const auto version = suite == Suite::kKwp ? 1U : 2U;
    abroad.push_back(Ref(ring_, version, suite));
    ASSERT_TRUE(ops().Generate(Quorum().Grant(ring_, version, suite, token_, "abroad"),
                               {abroad.back(), KekLabel("abroad", version)}));
  }
  ASSERT_NE(home, ring_);
  for (const auto& key : from) {
    const auto wrapped = One(WrapOp{key, Dek(32), context_});
    ASSERT_TRUE(wrapped) << wrapped.error().Line();
    for (const auto& to : abroad) {
      const auto moved = One(RewrapOp{key, to, wrapped->blob});
      EXPECT_EQ(moved ? "moved" : moved.error().Slug(), "other-keyring");
      const auto both = One(UnwrapOp{key, wrapped->blob, context_, to});
      EXPECT_EQ(both ? "opened" : both.error().Slug(), "other-keyring");
    }
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

// P11, K12: does a caller who names a KEK with another suite than its own cost anybody anything, whether its handle is
// known or not?
TEST_P(KeyOpsContract, P11_AKeyIsUsedAsWhatItIsAndNothingElse) {
  const KeyRef keys[] = {MakeKey(Suite::kKwp, 1), MakeKey(Suite::kGcm, 2)};
  for (const bool known : {false, true})
    for (const auto& key : keys) {
      auto other = key;
      other.suite = key.suite == Suite::kKwp ? Suite::kGcm : Suite::kKwp;
      const auto slug = [](const Result<KeyOpOutput>& result) {
        return result ? std::string("done") : std::string(result.error().Slug());
      };
      EXPECT_EQ(slug(One(WrapOp{other, Dek(32), context_})), "key-suite") << known;
      EXPECT_EQ(slug(One(DataKeyOp{other, 32, context_, true})), "key-suite") << known;
      EXPECT_EQ(slug(One(UnwrapOp{other, Bytes(96, 1), context_, {}})), "key-suite") << known;
      EXPECT_EQ(slug(One(RewrapOp{other, other, Bytes(96, 1)})), "key-suite") << known;
      const auto wrapped = One(WrapOp{key, Dek(32), context_});
      ASSERT_TRUE(wrapped) << wrapped.error().Line();
      EXPECT_EQ(slug(One(UnwrapOp{key, wrapped->blob, context_, other})), "key-suite") << known;
      EXPECT_EQ(slug(One(RewrapOp{key, other, wrapped->blob})), "key-suite") << known;
      EXPECT_TRUE(One(UnwrapOp{key, wrapped->blob, context_, {}}));
    }
}

// K11: is a digest, as every wrapped DEK of suite gcm shows one, worth as much as what it is of?
TEST_P(KeyOpsContract, K11_ADigestOpensNothing) {
  const auto key = MakeKey(Suite::kGcm);
  const auto wrapped = One(WrapOp{key, Dek(32), context_});
  ASSERT_TRUE(wrapped) << wrapped.error().Line();
  const ByteView digest = ByteView(wrapped->blob).first(32);
  ASSERT_TRUE(EqualConstantTime(digest, *DigestOf(context_))) << "the blob shows it";
  auto context = context_;
  context.aad.assign(digest.begin(), digest.end());
  EXPECT_EQ(One(UnwrapOp{key, wrapped->blob, context, {}}).error().code, Code::kUnwrapFailed);
  context = context_;
  context.keyring[0] ^= 1;
  EXPECT_EQ(One(UnwrapOp{key, wrapped->blob, context, {}}).error().code, Code::kUnwrapFailed);
  context = context_;
  context.aad.resize(crypto::kMaxAadBytes + 1);
  EXPECT_EQ(One(UnwrapOp{key, wrapped->blob, context, {}}).error().code, Code::kInvalid);
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
  EXPECT_EQ(ops().Generate(Quorum().Grant(ring_, 1, Suite::kKwp, token_), {key, KekLabel("k", 1)}).error().code,
            Code::kConflict);
  const auto records = ops().Inventory();
  ASSERT_TRUE(records);
  ASSERT_EQ(records->size(), 1U);
  EXPECT_EQ((*records)[0].fault, "");
  EXPECT_EQ((*records)[0].label, KekLabel("k", 1));
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
