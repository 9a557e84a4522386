// Can one service stop the others by the inventory (Q18)? What it may put, replace and delete, and what a job has to
// move.

#include <gtest/gtest.h>

#include <future>

#include "appliance/broker.h"
#include "appliance/rewrap_jobs.h"
#include "tests/support/world.h"

namespace strongroom::appliance {
namespace {

using tests::World;
using namespace std::chrono_literals;

class InventoryOwner : public testing::Test {
 protected:
  void SetUp() override {
    w_.MakeDevKeyrings();
    Start({});
  }
  void Start(const Broker::Options& options) {
    broker_.reset();
    broker_ = std::make_unique<Broker>(
        *w_.ledger, Broker::TokenLanes{w_.token, w_.token}, w_.clock, [this] { return w_.governance->Snapshot(); },
        options);
  }
  std::future<DataReply> Begin(const std::string& principal, const std::string& keyring, Operation operation,
                               std::vector<DataItem> items) {
    DataRequest request;
    request.request_id = "test-request";
    request.principal = principal;
    request.spki = tests::QuorumFixture::Spki(principal);
    request.keyring = keyring;
    request.operation = operation;
    request.items = std::move(items);
    auto promise = std::make_shared<std::promise<DataReply>>();
    auto future = promise->get_future();
    broker_->Submit(std::move(request), [promise](DataReply reply) { promise->set_value(std::move(reply)); });
    return future;
  }
  Result<DataAnswer> Ask(const std::string& principal, const std::string& keyring, Operation operation, DataItem item) {
    std::vector<DataItem> items;
    items.push_back(std::move(item));
    auto reply = Begin(principal, keyring, operation, std::move(items)).get();
    if (!reply) return reply.error();
    return std::move((*reply)[0]);
  }
  std::string Wrapped(const std::string& principal, const std::string& keyring, std::string_view dek,
                      std::string_view aad = {}) {
    DataItem item;
    item.plaintext = *SecretBytes::CopyOf(AsBytes(dek));
    item.aad = Bytes(AsBytes(aad).begin(), AsBytes(aad).end());
    return Ask(principal, keyring, Operation::kWrap, std::move(item))->wrapped;
  }
  static DataItem PutItem(const std::string& id, const std::string& wrapped) {
    DataItem item;
    item.dek = id;
    item.wrapped = wrapped;
    return item;
  }
  std::string Put(const std::string& principal, const std::string& keyring, const std::string& id,
                  const std::string& wrapped) {
    const auto put = Ask(principal, keyring, Operation::kDekPut, PutItem(id, wrapped));
    return put ? "put under " + std::to_string(put->kek_version) : std::string(put.error().Slug());
  }
  std::string Delete(const std::string& principal, const std::string& keyring, const std::string& id) {
    const auto gone = Ask(principal, keyring, Operation::kDekDelete, PutItem(id, {}));
    return gone ? "deleted" : std::string(gone.error().Slug());
  }
  // What the inventory's DEK opens as.
  std::string Opened(const std::string& principal, const std::string& keyring, const std::string& id,
                     std::string_view aad = {}) {
    DataItem item;
    item.dek = id;
    item.aad = Bytes(AsBytes(aad).begin(), AsBytes(aad).end());
    const auto opened = Ask(principal, keyring, Operation::kUnwrap, std::move(item));
    return opened ? std::string(AsText(opened->plaintext.Read(SecretAccess()))) : std::string(opened.error().Slug());
  }
  static std::string Garbled(const std::string& wrapped) {
    auto envelope = *crypto::ParseEnvelope(wrapped);
    envelope.blob.back() ^= 1;
    return crypto::FormatEnvelope(envelope);
  }
  std::optional<ledger::DekRecord> Find(const std::string& keyring, const std::string& id) {
    return *w_.ledger->Deks().Find(w_.governance->Snapshot()->FindKeyring(keyring)->id, id);
  }
  // A row as an earlier build left it: nobody's.
  void PutAsBefore(const std::string& keyring, const std::string& id, const std::string& wrapped) {
    auto envelope = *crypto::ParseEnvelope(wrapped);
    ledger::Submission submission;
    submission.deks.push_back({envelope.keyring, id, ledger::DekRecord{envelope.version, 1000, {}, envelope.blob}});
    ASSERT_TRUE(w_.ledger->Record(std::move(submission)));
    ASSERT_TRUE(Find(keyring, id));
  }
  static constexpr const char* kOne = "service-1's dek!";
  static constexpr const char* kTwo = "service-2's dek!";
  World w_;
  std::unique_ptr<Broker> broker_;
};

TEST_F(InventoryOwner, Q18_WhatDoesNotOpenIsRefusedAndReplacesNothing) {
  const auto good = Wrapped("service-1", "install", kOne, "aad");
  ASSERT_EQ(Put("service-1", "install", "db", good), "put under 1");
  EXPECT_EQ(Put("service-1", "install", "db", Garbled(good)), "unwrap-failed");
  EXPECT_EQ(Put("service-1", "install", "new", Garbled(good)), "unwrap-failed");
  // A DEK of another keyring under the same KEK, with this one's id written over its own, does not open here.
  EXPECT_EQ(Opened("service-1", "install", "db", "aad"), kOne);
  EXPECT_EQ(Opened("service-1", "install", "new", "aad"), "dek-not-found");
  const auto gcm = Wrapped("service-2", "org-a", kTwo);
  EXPECT_EQ(Put("service-2", "org-a", "db", Garbled(gcm)), "unwrap-failed");
  EXPECT_EQ(Put("service-2", "org-a", "db", gcm), "put under 1");
  EXPECT_EQ(Opened("service-2", "org-a", "db"), kTwo);
}

TEST_F(InventoryOwner, Q18_APutOfAFormerVersionComesInUnderThePrimary) {
  const auto former = Wrapped("service-1", "install", kOne, "aad");
  const auto former_gcm = Wrapped("service-2", "org-a", kTwo, "aad");
  ASSERT_EQ(*w_.Done("keyring.rotate", "install"), "executed");
  ASSERT_EQ(*w_.Done("keyring.rotate", "org-a"), "executed");
  EXPECT_EQ(Put("service-1", "install", "db", former), "put under 2");
  EXPECT_EQ(Find("install", "db")->version, 2U);
  EXPECT_EQ(Opened("service-1", "install", "db", "aad"), kOne);
  EXPECT_EQ(Put("service-1", "install", "bad", Garbled(former)), "unwrap-failed");
  EXPECT_EQ(Put("service-2", "org-a", "db", former_gcm), "put under 2");
  EXPECT_EQ(Opened("service-2", "org-a", "db", "aad"), kTwo);
  // Both uses are counted: the token has opened under the one and wrapped under the other (K4).
  const auto& keyring = *w_.governance->Snapshot()->FindKeyring("org-a");
  EXPECT_EQ(w_.ledger->CountersOf(keyring.Find(1)->kek)->rewraps_from, 1U);
  EXPECT_EQ(w_.ledger->CountersOf(keyring.Find(2)->kek)->rewraps_to, 1U);
}

TEST_F(InventoryOwner, Q18_AnotherServicesDekIsNeitherReplacedNorDeleted) {
  const auto one = Wrapped("service-1", "org-b", kOne), two = Wrapped("service-2", "org-b", kTwo);
  ASSERT_EQ(Put("service-1", "org-b", "db", one), "put under 1");
  EXPECT_EQ(Put("service-2", "org-b", "db", two), "dek-of-another");
  EXPECT_EQ(Delete("service-2", "org-b", "db"), "dek-of-another");
  EXPECT_EQ(Opened("service-1", "org-b", "db"), kOne);
  EXPECT_EQ(Opened("service-2", "org-b", "db"), kOne) << "reading is what the keyring's grants say";
  EXPECT_EQ(Put("service-1", "org-b", "db", one), "put under 1") << "its owner may";
  EXPECT_EQ(Delete("service-1", "org-b", "db"), "deleted");
  EXPECT_EQ(Put("service-2", "org-b", "db", two), "put under 1") << "it is nobody's any more";
}

// Two at once: one of them owns it, the other is told.
TEST_F(InventoryOwner, Q18_OfTwoAtOnceOneIsTheOwner) {
  const auto one = Wrapped("service-1", "org-b", kOne), two = Wrapped("service-2", "org-b", kTwo);
  for (int round = 0; round < 40; ++round) {
    const auto id = "race-" + std::to_string(round);
    std::vector<DataItem> first, second;
    first.push_back(PutItem(id, one));
    second.push_back(PutItem(id, two));
    auto a = Begin("service-1", "org-b", Operation::kDekPut, std::move(first));
    auto b = Begin("service-2", "org-b", Operation::kDekPut, std::move(second));
    const auto of_one = a.get(), of_two = b.get();
    ASSERT_TRUE(of_one && of_two);
    ASSERT_NE((*of_one)[0].has_value(), (*of_two)[0].has_value()) << "round " << round;
    EXPECT_EQ(Opened("service-1", "org-b", id), (*of_one)[0] ? kOne : kTwo) << "who was told so has it";
  }
}

// Rows from before have no owner: whoever holds the grant and replaces one becomes it.
TEST_F(InventoryOwner, Q18_ARowFromBeforeBelongsToWhoReplacesIt) {
  const auto one = Wrapped("service-1", "org-b", kOne), two = Wrapped("service-2", "org-b", kTwo);
  PutAsBefore("org-b", "old", one);
  PutAsBefore("org-b", "older", one);
  EXPECT_EQ(Opened("service-2", "org-b", "old"), kOne);
  EXPECT_EQ(Put("service-2", "org-b", "old", two), "put under 1");
  EXPECT_EQ(Put("service-1", "org-b", "old", one), "dek-of-another");
  EXPECT_EQ(Delete("service-1", "org-b", "older"), "deleted");
}

// The way out of what nobody who is left may touch: a quorum grants `manage`.
TEST_F(InventoryOwner, Q18_AGrantSaysOtherwise) {
  const auto one = Wrapped("service-1", "org-b", kOne), two = Wrapped("service-2", "org-b", kTwo);
  ASSERT_EQ(Put("service-1", "org-b", "db", one), "put under 1");
  ASSERT_EQ(Put("service-1", "org-b", "more", one), "put under 1");
  ASSERT_EQ(*w_.Done("grant.change", "org-b", {{"grants", "service-2=manage+wrap"}}), "executed");
  EXPECT_EQ(Put("service-2", "org-b", "db", two), "put under 1");
  EXPECT_EQ(Delete("service-2", "org-b", "more"), "deleted");
  ASSERT_EQ(*w_.Done("grant.change", "org-b", {{"grants", "service-1,service-2=manage"}}), "executed");
  EXPECT_EQ(Put("service-1", "org-b", "db", one), "dek-of-another") << "who has put it last owns it";
  EXPECT_EQ(Put("service-2", "org-b", "x", two), "operation-not-granted") << "to manage is not to wrap";
  EXPECT_EQ(Delete("service-2", "org-b", "db"), "deleted");
}

// Does one service, with a keyring shared with others, take the room of all of them? It gets half at most.
TEST_F(InventoryOwner, Q18_OneServiceTakesNoMoreThanHalfOfAKeyring) {
  const auto one = Wrapped("service-1", "org-b", kOne), two = Wrapped("service-2", "org-b", kTwo);
  Broker::Options ten;
  ten.keyring_deks = 10;
  Start(ten);
  for (int i = 0; i < 5; ++i) ASSERT_EQ(Put("service-1", "org-b", "a" + std::to_string(i), one), "put under 1");
  EXPECT_EQ(Put("service-1", "org-b", "a5", one), "inventory-over-share");
  EXPECT_EQ(Put("service-1", "org-b", "a0", one), "put under 1") << "to replace takes no room";
  EXPECT_EQ(Put("service-1", "install", "a5", Wrapped("service-1", "install", kOne)), "put under 1")
      << "each keyring has its own room";
  for (int i = 0; i < 5; ++i) ASSERT_EQ(Put("service-2", "org-b", "b" + std::to_string(i), two), "put under 1");
  EXPECT_EQ(Put("service-2", "org-b", "b5", two), "inventory-full");
  // Within one request, too.
  ASSERT_EQ(Delete("service-1", "org-b", "a0"), "deleted");
  std::vector<DataItem> items;
  for (const auto* id : {"x", "y"}) items.push_back(PutItem(id, one));
  const auto reply = Begin("service-1", "org-b", Operation::kDekPut, std::move(items)).get();
  ASSERT_TRUE(reply);
  EXPECT_TRUE((*reply)[0]);
  EXPECT_FALSE((*reply)[1]);
  const auto ring = w_.governance->Snapshot()->FindKeyring("org-b")->id;
  EXPECT_EQ(w_.ledger->Deks().OwnedBy(ring, "service-1")->records, 5U) << "counted as it is";
}

// A keyring has so much room, and a service so much of all; what is there may always be replaced.
TEST_F(InventoryOwner, Q18_TheRoomIsBounded) {
  const auto one = Wrapped("service-1", "org-b", kOne), two = Wrapped("service-2", "org-b", kTwo);
  Broker::Options few;
  few.keyring_deks = 4;
  Start(few);
  PutAsBefore("org-b", "nobody-1", one);
  PutAsBefore("org-b", "nobody-2", one);
  for (const auto* id : {"a", "b"}) ASSERT_EQ(Put("service-1", "org-b", id, one), "put under 1");
  EXPECT_EQ(Put("service-2", "org-b", "d", two), "inventory-full");
  EXPECT_EQ(Put("service-1", "org-b", "a", one), "put under 1") << "to replace takes no room";
  EXPECT_EQ(Put("service-1", "install", "a", Wrapped("service-1", "install", kOne)), "put under 1");
  ASSERT_EQ(Delete("service-1", "org-b", "b"), "deleted");
  EXPECT_EQ(Put("service-2", "org-b", "d", two), "put under 1");
  Broker::Options small;
  small.owner_bytes = w_.ledger->Deks().OwnedBy("service-1")->bytes + 10;
  Start(small);
  EXPECT_EQ(Put("service-1", "org-b", "more", one), "inventory-over-share");
  EXPECT_EQ(Put("service-1", "org-b", "a", one), "put under 1");
  EXPECT_EQ(Put("service-2", "org-b", "more", two), "put under 1") << "the others go on";
  ASSERT_EQ(Delete("service-1", "install", "a"), "deleted");
  EXPECT_EQ(Put("service-1", "org-b", "more-of-it", one), "put under 1");
  // What is counted is what there is.
  ledger::OwnerCounts owned;
  for (const auto* keyring : {"install", "org-a", "org-b"})
    ASSERT_TRUE(w_.ledger->Deks().Scan(w_.governance->Snapshot()->FindKeyring(keyring)->id, {},
                                       [&](std::string_view id, const ledger::DekRecord& record) {
                                         if (record.owner != "service-1") return true;
                                         ++owned.records;
                                         owned.bytes += id.size() + record.blob.size();
                                         return true;
                                       }));
  EXPECT_EQ(*w_.ledger->Deks().OwnedBy("service-1"), owned);
  EXPECT_EQ(owned.records, 2U);
}

// What a job has to do is fixed when it begins: a flood of puts does not keep it running, nor what waits for it.
TEST_F(InventoryOwner, Q18_AFloodOfPutsDoesNotKeepAJobRunning) {
  const auto former = Wrapped("service-1", "org-b", kOne);
  for (int i = 0; i < 30; ++i) ASSERT_EQ(Put("service-1", "org-b", "dek-" + std::to_string(i), former), "put under 1");
  ASSERT_EQ(*w_.Done("keyring.rotate", "install"), "executed");
  RewrapJobs::Options options;
  options.batch = 1;
  options.concurrency = 1;
  int frames = 0;
  options.hindrance = [] { return std::string(); };
  RewrapJobs jobs(*w_.ledger, w_.token, w_.clock, *w_.governance, options);
  // As fast as the job moves one, somebody puts one of the version that is left.
  std::thread flood([&] {
    for (frames = 0; frames < 100; ++frames) (void)Put("service-1", "org-b", "flood-" + std::to_string(frames), former);
  });
  flood.join();
  ASSERT_TRUE(jobs.WaitIdle(std::chrono::steady_clock::now() + 30s));
  const auto all = jobs.List();
  ASSERT_FALSE(all.empty());
  EXPECT_EQ(all.front().state, "complete");
  EXPECT_EQ(all.front().total, 30U) << "what came later came in under the primary version";
  const auto counts = *w_.ledger->Deks().Counts(w_.governance->Snapshot()->FindKeyring("org-b")->id);
  EXPECT_FALSE(counts.contains(1));
  EXPECT_EQ(counts.at(2).records, 130U);
}

}  // namespace
}  // namespace strongroom::appliance
