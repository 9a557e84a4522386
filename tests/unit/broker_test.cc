#include "appliance/broker.h"

#include <gtest/gtest.h>
#include <lmdb.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <future>

#include "tests/support/world.h"

namespace strongroom::appliance {
namespace {

using tests::By;
using tests::World;
using namespace std::chrono_literals;

class BrokerTest : public testing::Test {
 protected:
  void SetUp() override {
    w.MakeDevKeyrings();
    Start({});
  }
  void Start(Broker::Options options) {
    broker.reset();
    broker = std::make_unique<Broker>(
        *w.ledger, Broker::TokenLanes{w.token, w.token}, w.clock, [this] { return w.governance->Snapshot(); }, options);
  }
  DataRequest Request(const std::string& principal, const std::string& keyring, Operation operation,
                      std::vector<DataItem> items) {
    DataRequest r;
    r.request_id = "test-request";
    r.principal = principal;
    r.spki = tests::QuorumFixture::Spki(principal);
    r.keyring = keyring;
    r.operation = operation;
    r.items = std::move(items);
    return r;
  }
  std::future<DataReply> Begin(DataRequest request) {
    auto promise = std::make_shared<std::promise<DataReply>>();
    auto future = promise->get_future();
    broker->Submit(std::move(request), [promise](DataReply reply) { promise->set_value(std::move(reply)); });
    return future;
  }
  DataReply Ask(DataRequest request) { return Begin(std::move(request)).get(); }
  static DataItem Wrap(std::string_view dek, std::string_view aad = {}) {
    DataItem item;
    item.plaintext = *SecretBytes::CopyOf(AsBytes(dek));
    item.aad = Bytes(AsBytes(aad).begin(), AsBytes(aad).end());
    return item;
  }
  static DataItem Unwrap(const std::string& wrapped, std::string_view aad = {}) {
    DataItem item;
    item.wrapped = wrapped;
    item.aad = Bytes(AsBytes(aad).begin(), AsBytes(aad).end());
    return item;
  }
  static std::vector<DataItem> One(DataItem item) {
    std::vector<DataItem> items;
    items.push_back(std::move(item));
    return items;
  }
  std::string WrappedIn(const std::string& principal, const std::string& keyring, std::string_view aad = {}) {
    const auto reply = Ask(Request(principal, keyring, Operation::kWrap, One(Wrap(kDek, aad))));
    EXPECT_TRUE(reply && (*reply)[0]);
    return (*reply)[0]->wrapped;
  }
  Error UnwrapError(const std::string& principal, const std::string& keyring, const std::string& wrapped,
                    std::string_view aad = {}) {
    auto reply = Ask(Request(principal, keyring, Operation::kUnwrap, One(Unwrap(wrapped, aad))));
    if (!reply) return reply.error();
    return (*reply)[0] ? Error{Code::kInvalid, "it unwrapped", "it-unwrapped", 0, ""} : (*reply)[0].error();
  }
  ledger::EvidenceEntry LastEvidence() {
    ledger::EvidenceEntry last;
    EXPECT_TRUE(w.ledger->Read(ledger::Log::kEvidence, 0, [&](std::uint64_t, ByteView raw) {
      last = *ledger::DecodeEvidence(raw);
      return true;
    }));
    return last;
  }
  static constexpr std::string_view kDek = "0123456789abcdef0123456789abcdef";
  World w;
  std::unique_ptr<Broker> broker;
};

TEST_F(BrokerTest, N5_AnUngrantedKeyringAndNoneAreTheSameAnswer) {
  const auto ungranted = Ask(Request("service-1", "org-a", Operation::kWrap, One(Wrap(kDek))));
  const auto absent = Ask(Request("service-1", "org-z", Operation::kWrap, One(Wrap(kDek))));
  ASSERT_FALSE(ungranted || absent);
  EXPECT_EQ(ungranted.error().Line(), absent.error().Line());
  EXPECT_EQ(Ask(Request("service-1", "org-b", Operation::kRewrap, One(Unwrap("x")))).error().Slug(),
            "operation-not-granted");
}

TEST_F(BrokerTest, K5_EveryWrongInputIsTheOneAnswer) {
  const auto wrapped = WrappedIn("service-1", "install", "aad");
  const auto expected = UnwrapFailed().Line();
  EXPECT_EQ(UnwrapError("service-1", "install", wrapped, "other").Line(), expected);
  EXPECT_EQ(UnwrapError("service-1", "install", wrapped).Line(), expected);
  EXPECT_EQ(UnwrapError("service-1", "org-b", wrapped, "aad").Line(), expected)
      << "the same KEK wraps for org-b: only the context tells them apart";
  EXPECT_EQ(UnwrapError("service-2", "org-a", wrapped, "aad").Line(), expected);
  EXPECT_EQ(UnwrapError("service-1", "install", "", "aad").Line(), expected);
  EXPECT_EQ(UnwrapError("service-1", "install", "srw1:", "aad").Line(), expected);
  for (std::size_t i = 0; i < wrapped.size(); ++i) {
    auto changed = wrapped;
    changed[i] = changed[i] == 'A' ? 'B' : 'A';
    if (changed != wrapped) EXPECT_EQ(UnwrapError("service-1", "install", changed, "aad").Line(), expected) << i;
  }
  EXPECT_EQ(UnwrapError("service-1", "install", wrapped, "aad").Slug(), "it-unwrapped");
}

// A wrapped DEK of keyring org-b with install's id written over its own: the header matches, the payload does not.
TEST_F(BrokerTest, K4_AHeaderRewrittenForAnotherKeyringOfTheSameKekFails) {
  auto envelope = *crypto::ParseEnvelope(WrappedIn("service-1", "org-b"));
  envelope.keyring = w.governance->Snapshot()->FindKeyring("install")->id;
  EXPECT_EQ(UnwrapError("service-1", "install", crypto::FormatEnvelope(envelope)).Line(), UnwrapFailed().Line());
}

TEST_F(BrokerTest, EachBadItemOfABatchFailsOnlyItself) {
  std::vector<DataItem> items;
  items.push_back(Wrap(kDek));
  items.push_back(Wrap("short"));
  items.emplace_back().refused = Invalid("bad from the start");
  items.push_back(Wrap(std::string(512, 'x')));
  items.push_back(Wrap(std::string(513, 'x')));
  const auto reply = Ask(Request("service-1", "install", Operation::kWrap, std::move(items)));
  ASSERT_TRUE(reply);
  ASSERT_EQ(reply->size(), 5U);
  for (const std::size_t good : {0, 3}) EXPECT_TRUE((*reply)[good]);
  for (const std::size_t bad : {1, 2, 4}) EXPECT_EQ((*reply)[bad].error().code, Code::kInvalid);
  const auto entry = LastEvidence();
  EXPECT_EQ(entry.items, 5U);
  EXPECT_EQ(entry.failed, 3U);
}

TEST_F(BrokerTest, F9_UnwrapUnderAnOldVersionReturnsAFreshWrap) {
  const auto old_text = WrappedIn("service-1", "install", "a");
  ASSERT_EQ(*w.Done("keyring.rotate", "install"), "executed");
  const auto reply = Ask(Request("service-1", "install", Operation::kUnwrap, One(Unwrap(old_text, "a"))));
  ASSERT_TRUE(reply && (*reply)[0]);
  EXPECT_EQ((*reply)[0]->kek_version, 1U);
  const auto fresh = (*reply)[0]->rewrapped;
  EXPECT_EQ(crypto::ParseEnvelope(fresh)->version, 2U);
  const auto again = Ask(Request("service-1", "install", Operation::kUnwrap, One(Unwrap(fresh, "a"))));
  ASSERT_TRUE(again && (*again)[0]);
  EXPECT_EQ((*again)[0]->kek_version, 2U);
  EXPECT_TRUE((*again)[0]->rewrapped.empty());
  EXPECT_TRUE(EqualConstantTime((*again)[0]->plaintext.Read(SecretAccess()), AsBytes(kDek)));
  const auto moved = Ask(Request("service-1", "install", Operation::kRewrap, One(Unwrap(old_text))));
  ASSERT_TRUE(moved && (*moved)[0]);
  EXPECT_EQ((*moved)[0]->from_version, 1U);
  EXPECT_EQ((*moved)[0]->kek_version, 2U);
}

TEST_F(BrokerTest, F27_EachAnswersDigestIsInItsEntry) {
  const auto wrapped = WrappedIn("service-2", "org-a");
  const auto entry = LastEvidence();
  const auto item = crypto::Sha256(AsBytes(wrapped));
  EXPECT_EQ(entry.digest, crypto::Sha256(item));
  EXPECT_EQ(entry.principal, "service-2");
  EXPECT_EQ(entry.operation, Operation::kWrap);
  ASSERT_EQ(entry.uses.size(), 1U);
  EXPECT_EQ(entry.uses[0].kek, w.governance->Snapshot()->FindKeyring("org-a")->Primary()->kek);
}

TEST_F(BrokerTest, L5_RefusalsAreEntriesToo) {
  (void)Ask(Request("service-1", "org-a", Operation::kWrap, One(Wrap(kDek))));
  EXPECT_EQ(LastEvidence().outcome, "keyring-not-found");
  (void)UnwrapError("service-1", "install", "srw1:AAAA");
  EXPECT_EQ(LastEvidence().outcome, "unwrap-failed");
  EXPECT_EQ(LastEvidence().failed, 1U);
}

TEST_F(BrokerTest, K4_AGcmVersionStopsAtItsCount) {
  Broker::Options options;
  options.gcm_refuse = 5;
  Start(options);
  std::string last;
  for (int i = 0; i < 5; ++i) last = WrappedIn("service-2", "org-a");
  const auto refused = Ask(Request("service-2", "org-a", Operation::kWrap, One(Wrap(kDek))));
  ASSERT_TRUE(refused);
  EXPECT_EQ((*refused)[0].error().Slug(), "gcm-exhausted");
  EXPECT_EQ(UnwrapError("service-2", "org-a", last).Slug(), "it-unwrapped") << "what is wrapped stays readable";
  ASSERT_EQ(*w.Done("keyring.rotate", "org-a"), "executed");
  EXPECT_EQ(crypto::ParseEnvelope(WrappedIn("service-2", "org-a"))->version, 2U);
}

// Is a keyring named in time, before its version stops, and no other one?
TEST_F(BrokerTest, K4_AGcmVersionIsNamedBeforeItStops) {
  const auto fault = [&] { return GcmBudgetFault(*w.governance->Snapshot(), *w.ledger, 3); };
  for (int i = 0; i < 5; ++i) (void)WrappedIn("service-1", "install");  // kwp has no such limit
  for (int i = 0; i < 2; ++i) (void)WrappedIn("service-2", "org-a");
  EXPECT_EQ(fault(), "");
  (void)WrappedIn("service-2", "org-a");
  EXPECT_NE(fault().find("org-a v1 has made 3 GCM encryptions"), std::string::npos) << fault();
  EXPECT_EQ(fault().find("install"), std::string::npos) << fault();
  ASSERT_EQ(*w.Done("keyring.rotate", "org-a"), "executed");
  EXPECT_EQ(fault(), "") << "the new version begins at nothing";
  auto shared = *w.governance->Snapshot()->FindKeyring("org-a")->Primary();
  EXPECT_TRUE(CountsForGcm(shared));
  shared.custody = "keyring:install";
  EXPECT_FALSE(CountsForGcm(shared)) << "it would be told to rotate what only goes with install";
}

TEST_F(BrokerTest, P4_AnExpiredRequestNeverReachesTheToken) {
  auto request = Request("service-1", "install", Operation::kWrap, One(Wrap(kDek)));
  request.deadline = std::chrono::steady_clock::now() - 1ms;
  EXPECT_EQ(Ask(std::move(request)).error().Slug(), "deadline");
  EXPECT_TRUE(LastEvidence().uses.empty());
}

TEST_F(BrokerTest, AdmissionIsBounded) {
  Broker::Options options;
  options.queue_items = 2;
  Start(options);
  std::vector<DataItem> items;
  for (int i = 0; i < 3; ++i) items.push_back(Wrap(kDek));
  EXPECT_EQ(Ask(Request("service-1", "install", Operation::kWrap, std::move(items))).error().code, Code::kOverloaded);
  EXPECT_TRUE(Ask(Request("service-1", "install", Operation::kWrap, One(Wrap(kDek)))));
}

TEST_F(BrokerTest, AnAwayTokenIsUnavailableForEachItem) {
  w.token.SetAway(true);
  const auto reply = Ask(Request("service-1", "install", Operation::kWrap, One(Wrap(kDek))));
  ASSERT_TRUE(reply);
  EXPECT_EQ((*reply)[0].error().code, Code::kUnavailable);
}

TEST_F(BrokerTest, DrainAnswersWhatWasAdmittedAndRefusesTheRest) {
  std::vector<std::future<DataReply>> replies;
  for (int i = 0; i < 50; ++i)
    replies.push_back(Begin(Request("service-1", "install", Operation::kWrap, One(Wrap(kDek)))));
  broker->Drain();
  for (auto& reply : replies) {
    ASSERT_EQ(reply.wait_for(0ms), std::future_status::ready);
    EXPECT_TRUE(reply.get());
  }
  EXPECT_EQ(Ask(Request("service-1", "install", Operation::kWrap, One(Wrap(kDek)))).error().code, Code::kUnavailable);
}

// A corrupted old wrap must not eat the primary's count of encryptions.
TEST_F(BrokerTest, K4_ARefusedUnwrapIsNotCountedAsAnEncryption) {
  const auto old_text = WrappedIn("service-2", "org-a", "a");
  ASSERT_EQ(*w.Done("keyring.rotate", "org-a"), "executed");
  EXPECT_EQ(UnwrapError("service-2", "org-a", old_text, "b").code, Code::kUnwrapFailed);
  EXPECT_EQ(LastEvidence().uses.size(), 1U);
  EXPECT_EQ(UnwrapError("service-2", "org-a", old_text, "a").Slug(), "it-unwrapped");
  EXPECT_EQ(LastEvidence().uses.size(), 2U);
}

// L3: while the writer is stalled (another process holds LMDB's write lock), nothing is answered; when it goes on,
// everything is.
// What the journal takes is another matter: LedgerCrash.L3_EachAcknowledgementFollowsItsFlush.
TEST_F(BrokerTest, L3_AStalledWriterMeansNoResponses) {
  broker.reset();
  w.governance.reset();
  w.ledger.reset();
  ledger::Ledger::Options unjournalled{w.dir.File("data"), std::size_t{1} << 30};
  unjournalled.journal_bytes = 0;
  w.ledger = *ledger::Ledger::Open(unjournalled);
  w.governance = std::make_unique<Governance>(*w.ledger, w.token, w.clock, *Load(*w.ledger));
  Start({});
  std::array<int, 2> to_child{}, from_child{};
  ASSERT_EQ(pipe(to_child.data()), 0);
  ASSERT_EQ(pipe(from_child.data()), 0);
  const auto data = w.dir.File("data");
  const pid_t child = fork();
  if (child == 0) {
    MDB_env* env = nullptr;
    MDB_txn* txn = nullptr;
    (void)mdb_env_create(&env);
    (void)mdb_env_set_mapsize(env, std::size_t{1} << 30);
    char byte =
        mdb_env_open(env, data.c_str(), MDB_NOTLS, 0600) == 0 && mdb_txn_begin(env, nullptr, 0, &txn) == 0 ? 'y' : 'n';
    (void)!write(from_child[1], &byte, 1);
    (void)!read(to_child[0], &byte, 1);
    if (txn != nullptr) mdb_txn_abort(txn);
    _exit(0);
  }
  char byte = 0;
  ASSERT_EQ(read(from_child[0], &byte, 1), 1);
  ASSERT_EQ(byte, 'y') << "the other process holds the write lock";
  std::vector<std::future<DataReply>> replies;
  for (int i = 0; i < 10; ++i)
    replies.push_back(Begin(Request("service-1", "install", Operation::kWrap, One(Wrap(kDek)))));
  EXPECT_EQ(replies[0].wait_for(500ms), std::future_status::timeout);
  for (auto& reply : replies) EXPECT_EQ(reply.wait_for(0ms), std::future_status::timeout);
  ASSERT_EQ(write(to_child[1], &byte, 1), 1);
  for (auto& reply : replies) {
    const auto answer = reply.get();
    EXPECT_TRUE(answer && (*answer)[0]);
  }
  int status = 0;
  (void)waitpid(child, &status, 0);
  for (const int fd : {to_child[0], to_child[1], from_child[0], from_child[1]}) (void)close(fd);
}

// L11: with no more space than the reserve nothing reaches the token, the refusal is still recorded, and the ledger has
// not failed: with more space it goes on.
TEST_F(BrokerTest, L11_AFullLedgerRefusesBeforeTheTokenIsAsked) {
  broker.reset();
  w.governance.reset();
  w.ledger.reset();
  ledger::Ledger::Options tight{w.dir.File("data"), std::size_t{1} << 30};
  tight.reserve_bytes = std::uint64_t{1} << 62;
  w.ledger = *ledger::Ledger::Open(tight);
  w.governance = std::make_unique<Governance>(*w.ledger, w.token, w.clock, *Load(*w.ledger));
  Start({});
  const auto before = w.ledger->HeadOf(ledger::Log::kEvidence).size;
  w.token.SetAway(true);  // whoever asks it now gets another answer
  const auto reply = Ask(Request("service-1", "install", Operation::kWrap, One(Wrap(kDek))));
  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().Slug(), "ledger-full");
  EXPECT_EQ(w.ledger->HeadOf(ledger::Log::kEvidence).size, before + 1);
  EXPECT_EQ(LastEvidence().outcome, "ledger-full");
  EXPECT_FALSE(w.ledger->Failed());
  w.token.SetAway(false);
  const auto id = *w.Approved("keyring.rotate", "org-a");
  EXPECT_EQ(w.governance->Execute(id, By("operator-1")).error().Slug(), "ledger-full");
  EXPECT_EQ(w.governance->View(id)->state, "approved") << "nothing was consumed";
}

}  // namespace
}  // namespace strongroom::appliance
