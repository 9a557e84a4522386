// Jobs that move an inventory: whole, paused, cancelled, reversed, cut off, without a token, in an emergency.

#include "appliance/rewrap_jobs.h"

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <future>
#include <mutex>

#include "appliance/broker.h"
#include "appliance/proposal_params.h"
#include "appliance/rewrap_decisions.h"
#include "tests/support/world.h"

namespace strongroom::appliance {
namespace {

using tests::By;
using tests::World;
using namespace std::chrono_literals;

class RewrapJobsTest : public testing::Test {
 protected:
  void SetUp() override {
    w_.MakeDevKeyrings();
    token_ = w_.token.Identity()->serial;
  }
  void TearDown() override { jobs_.reset(); }

  // Jobs do not begin while a test holds them, and stand still before each frame that it wants to see.
  void Start(std::size_t batch = 10, unsigned concurrency = 1) {
    jobs_.reset();
    RewrapJobs::Options options;
    options.batch = batch;
    options.concurrency = concurrency;
    options.hindrance = [this] { return hindrance_; };
    jobs_ = std::make_unique<RewrapJobs>(*w_.ledger, w_.token, w_.clock, *w_.governance, options);
  }
  void Finish() {
    if (!jobs_) Start();
    w_.clock.now += 1000;
    ASSERT_TRUE(jobs_->WaitIdle(std::chrono::steady_clock::now() + 30s));
    w_.clock.now += 1000;
  }
  // The n-th frame from now on is not sent before `then` has returned; it runs in the job's thread.
  void AtFrame(int n, std::function<void()> then) {
    w_.token.before_execute = [n, then = std::move(then), count = std::make_shared<std::atomic<int>>(0)] {
      if (++*count == n) then();
    };
  }
  const Keyring& Of(const std::string& name) { return *w_.governance->Snapshot()->FindKeyring(name); }
  static std::string Dek(int i) { return "dek of sixteen b" + std::to_string(i); }
  static std::string Id(int i) { return "dek-" + std::to_string(1000 + i); }
  hsm::KeyRef RefOf(const Keyring& keyring, std::uint32_t version) {
    const auto& v = *keyring.Find(version);
    return {v.token, v.kek, v.suite};
  }
  hsm::Context Context(const Keyring& keyring) {
    return {w_.governance->Snapshot()->roster->instance(), keyring.id, {}};
  }
  void Fill(const std::string& name, int count, int from = 0) {
    const auto& keyring = Of(name);
    std::vector<hsm::KeyOp> ops;
    for (int i = from; i < from + count; ++i)
      ops.emplace_back(
          hsm::WrapOp{RefOf(keyring, keyring.primary), *SecretBytes::CopyOf(AsBytes(Dek(i))), Context(keyring)});
    auto outputs = w_.token.Execute(ops);
    ledger::Submission submission;
    for (int i = 0; i < count; ++i)
      submission.deks.push_back(
          {keyring.id, Id(from + i),
           ledger::DekRecord{keyring.primary, 1000, {}, outputs[static_cast<std::size_t>(i)]->blob}});
    ASSERT_TRUE(w_.ledger->Record(std::move(submission)));
  }
  // How many records there are under each version, quarantined ones apart; and every one of them opens as what it was.
  std::map<std::string, int> Census(const std::string& name) {
    const auto& keyring = Of(name);
    std::map<std::string, int> census;
    std::vector<hsm::KeyOp> ops;
    std::vector<std::string> ids;
    EXPECT_TRUE(w_.ledger->Deks().Scan(keyring.id, {}, [&](std::string_view id, const ledger::DekRecord& record) {
      ++census["v" + std::to_string(record.version) + (record.quarantine.empty() ? "" : " quarantined")];
      if (record.quarantine.empty()) {
        ops.emplace_back(hsm::UnwrapOp{RefOf(keyring, record.version), record.blob, Context(keyring), {}});
        ids.emplace_back(id);
      }
      return true;
    }));
    w_.token.before_execute = nullptr;
    const auto outputs = w_.token.Execute(ops);
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      EXPECT_TRUE(outputs[i]) << ids[i];
      if (outputs[i])
        EXPECT_EQ(AsText(outputs[i]->plaintext.Read(SecretAccess())), Dek(std::stoi(ids[i].substr(4)) - 1000))
            << ids[i];
    }
    // What is counted is what is there.
    const auto counts = w_.ledger->Deks().Counts(keyring.id);
    int counted = 0;
    for (const auto& [version, count] : *counts) {
      counted += static_cast<int>(count.records);
      EXPECT_EQ(static_cast<int>(count.quarantined), census["v" + std::to_string(version) + " quarantined"]);
    }
    int there = 0;
    for (auto at = census.begin(); at != census.end();) {
      there += at->second;
      at = at->second == 0 ? census.erase(at) : std::next(at);
    }
    EXPECT_EQ(counted, there);
    return census;
  }
  using Counted = std::map<std::string, int>;
  JobView Last() { return jobs_->List().front(); }
  std::string Rotated(const std::string& name, Params params = {}) {
    const auto done = w_.Done("keyring.rotate", name, std::move(params));
    return done ? *done : std::string(done.error().Slug());
  }
  std::string Slug(const Result<std::string>& result) { return result ? *result : std::string(result.error().Slug()); }
  void Damage(const std::string& name, int i) {
    const auto& keyring = Of(name);
    auto record = **w_.ledger->Deks().Find(keyring.id, Id(i));
    record.blob[record.blob.size() / 2] ^= 1;
    ledger::Submission submission;
    submission.deks.push_back({keyring.id, Id(i), record});
    ASSERT_TRUE(w_.ledger->Record(std::move(submission)));
  }

  World w_;
  std::string token_;
  std::string hindrance_;
  std::unique_ptr<RewrapJobs> jobs_;
};

// F16: after a rotation everything is moved, in batches that each have their entry.
TEST_F(RewrapJobsTest, F16_AfterARotationEverythingIsMoved) {
  Fill("install", 95);
  Fill("org-b", 7);
  ASSERT_EQ(Rotated("install"), "executed");
  Finish();
  EXPECT_EQ(Census("install"), (Counted{{"v2", 95}}));
  EXPECT_EQ(Census("org-b"), (Counted{{"v2", 7}})) << "what the install keyring wraps for has moved, too";
  ASSERT_EQ(jobs_->List().size(), 2U);
  std::uint64_t entries = 0, items = 0;
  for (const auto& job : jobs_->List()) {
    EXPECT_EQ(job.state, "complete");
    EXPECT_EQ(job.total, job.done);
    ASSERT_TRUE(w_.ledger->Read(ledger::Log::kEvidence, 0, [&](std::uint64_t, ByteView raw) {
      const auto entry = *ledger::DecodeEvidence(raw);
      if (entry.request_id != job.job->id) return true;
      ++entries;
      items += entry.items;
      EXPECT_NE(entry.digest, crypto::Digest{});
      return true;
    }));
  }
  EXPECT_EQ(entries, 11U) << "ten at a time";
  EXPECT_EQ(items, 102U);
  EXPECT_TRUE(LoadVerified(*w_.ledger));
}

TEST_F(RewrapJobsTest, F16_AnEmptyInventoryNeedsNoJob) {
  ASSERT_EQ(Rotated("install"), "executed");
  Finish();
  EXPECT_TRUE(jobs_->List().empty());
  const auto plan = jobs_->Plan("install", "r", "operator-1");
  ASSERT_TRUE(plan) << plan.error().Line();
  EXPECT_EQ(plan->records, 0U);
  EXPECT_EQ(plan->basis, "nothing to move");
  EXPECT_EQ(jobs_->Plan("no-such", "r", "operator-1").error().Slug(), "keyring-not-found");
}

TEST_F(RewrapJobsTest, F16_ByPolicyNoJobFollowsButByProposal) {
  Fill("org-a", 5);
  ASSERT_EQ(*w_.Done("keyring.set-policy", "org-a", {{"rotate-days", "none"}, {"rewrap", "no"}}), "executed");
  ASSERT_EQ(Rotated("org-a"), "executed");
  Finish();
  EXPECT_EQ(Census("org-a"), (Counted{{"v1", 5}}));
  ASSERT_EQ(*w_.Done("rewrap.start", "org-a"), "executed");
  Finish();
  EXPECT_EQ(Census("org-a"), (Counted{{"v2", 5}}));
  EXPECT_EQ(Last().state, "complete");
}

// What does not open is put aside with its reason; the job then never says "complete".
TEST_F(RewrapJobsTest, F16_WhatDoesNotOpenIsQuarantined) {
  Fill("install", 30);
  for (const int i : {3, 17, 29}) Damage("install", i);
  ASSERT_EQ(Rotated("install"), "executed");
  Finish();
  EXPECT_EQ(Census("install"), (Counted{{"v1 quarantined", 3}, {"v2", 27}}));
  EXPECT_EQ(Last().state, "complete-with-quarantine");
  EXPECT_EQ(Last().quarantined, 3U);
  EXPECT_EQ((*w_.ledger->Deks().Find(Of("install").id, Id(17)))->quarantine, "unwrap-failed");
  // Another attempt leaves them alone unless it is told to try them, and finds them as they were.
  ASSERT_EQ(*w_.Done("rewrap.start", "install"), "executed");
  Finish();
  EXPECT_EQ(Last().quarantined, 0U);
  EXPECT_EQ(Last().state, "complete-with-quarantine") << "what an earlier one put aside is still left";
  EXPECT_EQ(Last().job->reason, "3 records are quarantined");
  ASSERT_EQ(*w_.Done("rewrap.start", "install", {{"quarantined", "retry"}}), "executed");
  Finish();
  EXPECT_EQ(Last().quarantined, 3U);
  EXPECT_EQ(Last().state, "complete-with-quarantine");
  EXPECT_EQ(Census("install"), (Counted{{"v1 quarantined", 3}, {"v2", 27}}));
  // One that somebody has put anew is not a bad one any more.
  Fill("install", 1, 17);
  EXPECT_EQ(Census("install"), (Counted{{"v1 quarantined", 2}, {"v2", 28}}));
}

TEST_F(RewrapJobsTest, F16_PauseResumeAndCancelAtABatchAndOnlyOnce) {
  Fill("install", 100);
  ASSERT_EQ(Rotated("install"), "executed");
  std::string id;
  const auto learn = [&] { id = w_.governance->Snapshot()->jobs.begin()->first; };
  AtFrame(4, [&] {
    learn();
    EXPECT_TRUE(w_.governance->SwitchJob(id, JobState::kPaused, By("operator-1")));
  });
  Start();
  Finish();
  EXPECT_EQ(Census("install"), (Counted{{"v1", 60}, {"v2", 40}})) << "the batch under way is finished";
  EXPECT_EQ(Last().state, "paused");
  EXPECT_EQ(Last().done, 40U);
  EXPECT_EQ(Last().total, 100U);
  EXPECT_EQ(Rotated("install"), "job-running") << "paused is not ended";
  EXPECT_EQ(jobs_->Switch(id, JobState::kPaused, By("operator-1")).error().Slug(), "job-state");
  AtFrame(2, [&] { EXPECT_TRUE(w_.governance->SwitchJob(id, JobState::kCancelled, By("custodian-1"))); });
  ASSERT_TRUE(jobs_->Switch(id, JobState::kRunning, By("operator-2")));
  Finish();
  EXPECT_EQ(Census("install"), (Counted{{"v1", 40}, {"v2", 60}}));
  EXPECT_EQ(Last().state, "cancelled");
  for (const auto to : {JobState::kCancelled, JobState::kPaused, JobState::kRunning})
    EXPECT_EQ(jobs_->Switch(id, to, By("operator-1")).error().Slug(), "job-state") << static_cast<int>(to);
  EXPECT_EQ(jobs_->Switch("no-such", JobState::kPaused, By("operator-1")).error().Slug(), "job-not-found");
  Finish();
  EXPECT_EQ(jobs_->List().size(), 1U) << "a cancelled job is not begun again by itself";
}

// Done means: cancel at 40 %, reverse, forward again; the end state is exact at each step.
TEST_F(RewrapJobsTest, F16_CancelReverseAndForwardAgain) {
  Fill("install", 50);
  Fill("org-b", 4);
  ASSERT_EQ(Rotated("install"), "executed");
  w_.token.before_execute = [&] {
    for (const auto& [id, job] : w_.governance->Snapshot()->jobs)
      if (job->keyring == Of("install").id && job->Live() && w_.ledger->Deks().ProgressOf(id)->done == 10)
        EXPECT_TRUE(w_.governance->SwitchJob(id, JobState::kCancelled, By("operator-1")));
  };
  Start();
  Finish();
  const auto install = Census("install");
  ASSERT_EQ(install, (Counted{{"v1", 30}, {"v2", 20}}));
  EXPECT_EQ(Census("org-b"), (Counted{{"v2", 4}}));
  ASSERT_EQ(*w_.Done("rewrap.reverse", "install"), "executed");
  EXPECT_EQ(Of("install").primary, 1U);
  EXPECT_EQ(Of("org-b").primary, 1U) << "what shares the KEK goes with it";
  EXPECT_EQ(Of("install").Find(2)->state, VersionState::kDeactivated);
  Finish();
  EXPECT_EQ(Census("install"), (Counted{{"v1", 50}}));
  EXPECT_EQ(Census("org-b"), (Counted{{"v1", 4}}));
  EXPECT_EQ(Of("install").versions.size(), 2U) << "nothing new was made";
  ASSERT_EQ(*w_.Done("rewrap.reverse", "install", {{"version", "2"}}), "executed");
  Finish();
  EXPECT_EQ(Census("install"), (Counted{{"v2", 50}}));
  EXPECT_EQ(Census("org-b"), (Counted{{"v2", 4}}));
  ASSERT_EQ(Rotated("install"), "executed");
  Finish();
  EXPECT_EQ(Census("install"), (Counted{{"v3", 50}}));
  EXPECT_TRUE(LoadVerified(*w_.ledger));
}

TEST_F(RewrapJobsTest, F16_AReverseIsForAVersionThatLives) {
  EXPECT_EQ(Slug(w_.File("rewrap.reverse", "install")), "version-state") << "there is none";
  EXPECT_EQ(Slug(w_.File("rewrap.reverse", "org-b")), "no-own-kek");
  EXPECT_EQ(Slug(w_.File("rewrap.reverse", "no-such")), "keyring-not-found");
  EXPECT_EQ(Slug(w_.File("rewrap.start", "no-such")), "keyring-not-found");
  ASSERT_EQ(Rotated("org-a"), "executed");
  EXPECT_EQ(Slug(w_.File("rewrap.reverse", "org-a", {{"version", "2"}})), "version-state") << "it is primary";
  EXPECT_EQ(Slug(w_.File("rewrap.reverse", "org-a", {{"version", "7"}})), "version-not-found");
  EXPECT_EQ(Slug(w_.File("rewrap.reverse", "org-a", {{"version", "-1"}})), "invalid-request");
  EXPECT_EQ(Slug(w_.File("rewrap.reverse", "org-a", {{"token", "x"}})), "unknown-parameter");
  EXPECT_EQ(Slug(w_.File("rewrap.start", "org-a", {{"quarantined", "maybe"}})), "invalid-request");
  const auto approved = w_.Approved("rewrap.reverse", "org-a");
  ASSERT_EQ(*w_.Done("version.destroy", "org-a", {{"version", "1"}, {"waive", "service-2"}, {"quiet-hours", "0"}}),
            "executed");
  EXPECT_EQ(w_.governance->Execute(*approved, By("operator-1")).error().Slug(), "stale") << "it was given up meanwhile";
  EXPECT_EQ(Slug(w_.File("rewrap.reverse", "org-a", {{"version", "1"}})), "version-state");
}

TEST_F(RewrapJobsTest, F16_AnOutagePausesAndTheReturnResumes) {
  Fill("org-a", 40);
  ASSERT_EQ(Rotated("org-a"), "executed");
  AtFrame(2, [&] { w_.token.SetAway(true); });
  Start();
  const auto until = std::chrono::steady_clock::now() + 20s;
  while ((jobs_->List().empty() || Last().waiting.empty()) && std::chrono::steady_clock::now() < until)
    std::this_thread::yield();
  EXPECT_EQ(Last().state, "paused");
  EXPECT_NE(Last().waiting.find("away"), std::string::npos) << Last().waiting;
  EXPECT_EQ(Last().done, 10U) << "what did not come back is not counted";
  // Two batches after the return it does not call itself paused any more.
  std::string seen;
  AtFrame(3, [&] { seen = Last().state + Last().waiting; });
  w_.token.SetAway(false);
  Finish();
  EXPECT_EQ(seen, "running");
  EXPECT_EQ(Last().state, "complete");
  EXPECT_EQ(Census("org-a"), (Counted{{"v2", 40}}));
}

// A process that ends between any two batches loses nothing and does nothing twice.
TEST_F(RewrapJobsTest, F16_TheNextStartGoesOn) {
  Fill("install", 60);
  ASSERT_EQ(Rotated("install"), "executed");
  for (int round = 0; round < 3; ++round) {
    std::mutex mutex;
    std::condition_variable reached;
    bool there = false;
    AtFrame(1, [&] {
      const std::lock_guard lock(mutex);
      there = true;
      reached.notify_one();
    });
    Start();
    {
      std::unique_lock lock(mutex);
      ASSERT_TRUE(reached.wait_for(lock, 20s, [&] { return there; }));
    }
    jobs_.reset();
    w_.token.before_execute = nullptr;
    w_.Boot();
  }
  Start();
  Finish();
  EXPECT_EQ(Census("install"), (Counted{{"v2", 60}}));
  EXPECT_EQ(Last().done, 60U);
  EXPECT_EQ(Last().batches, 6U);
  ASSERT_EQ(jobs_->List().size(), 1U);
}

// What a service puts or deletes while its record is with the token stays as the service left it.
TEST_F(RewrapJobsTest, F16_AJobOverwritesNobodysChange) {
  Fill("install", 10);
  ASSERT_EQ(Rotated("install"), "executed");
  const auto id = Of("install").id;
  AtFrame(1, [&] {
    w_.token.before_execute = nullptr;
    ledger::Submission submission;
    submission.deks.push_back({id, Id(2), std::nullopt});
    EXPECT_TRUE(w_.ledger->Record(std::move(submission)));
    Fill("install", 1, 5);
  });
  Start();
  Finish();
  EXPECT_EQ(Census("install"), (Counted{{"v2", 9}}));
  EXPECT_EQ(Last().done, 8U) << "what was put or taken away meanwhile is not the job's doing";
  EXPECT_FALSE(*w_.ledger->Deks().Find(id, Id(2)));
}

TEST_F(RewrapJobsTest, F13_AKeyringIsRotatedOnceInSoLong) {
  w_.governance.reset();
  w_.governance = std::make_unique<Governance>(*w_.ledger, w_.token, w_.clock, *Load(*w_.ledger), 3600'000);
  ASSERT_EQ(Rotated("org-a"), "executed") << "creation does not count";
  EXPECT_EQ(Rotated("org-a"), "rotated-recently");
  const auto other = w_.Approved("keyring.rotate", "install");
  ASSERT_EQ(Rotated("install"), "executed");
  EXPECT_EQ(w_.governance->Execute(*other, By("operator-1")).error().Slug(), "stale");
  EXPECT_EQ(Slug(w_.Done("keyring.emergency-rotate", "org-a")), "executed") << "an emergency waits for nothing";
  w_.clock.now += 3600'001;
  EXPECT_EQ(Rotated("org-a"), "executed");
}

// F19: the emergency's job runs whatever the policy says, before others; what services keep may be rewrapped, not
// unwrapped, until the emergency is closed.
TEST_F(RewrapJobsTest, F19_AnEmergencyMovesWhatIsLeftAndThenCloses) {
  Fill("org-a", 25);
  ASSERT_EQ(*w_.Done("keyring.set-policy", "org-a", {{"rotate-days", "none"}, {"rewrap", "no"}}), "executed");
  Broker broker(*w_.ledger, {w_.token, w_.token}, w_.clock, [this] { return w_.governance->Snapshot(); }, {});
  const auto envelope = [&](int i) {
    const auto& keyring = Of("org-a");
    const auto record = **w_.ledger->Deks().Find(keyring.id, Id(i));
    return crypto::FormatEnvelope(
        EnvelopeOf(*w_.governance->Snapshot(), keyring, *keyring.Find(record.version), record.blob));
  };
  const auto outside = envelope(1);
  const auto ask = [&](Operation operation) -> std::string {
    std::promise<DataReply> promise;
    DataRequest request{"r", "service-2", "org-a", operation, Lane::kInteractive, {}};
    request.spki = tests::QuorumFixture::Spki("service-2");
    request.items.emplace_back().wrapped = outside;
    broker.Submit(std::move(request), [&](DataReply reply) { promise.set_value(std::move(reply)); });
    auto reply = promise.get_future().get();
    if (!reply) return std::string(reply.error().Slug());
    return (*reply)[0] ? "done" : std::string((*reply)[0].error().Slug());
  };
  ASSERT_EQ(*w_.Done("keyring.emergency-rotate", "org-a"), "executed");
  EXPECT_EQ(ask(Operation::kUnwrap), "version-compromised");
  EXPECT_EQ(ask(Operation::kRewrap), "done");
  hindrance_ = "held by the test";
  Start();
  const auto held = std::chrono::steady_clock::now() + 20s;
  while (w_.governance->Snapshot()->jobs.empty() && std::chrono::steady_clock::now() < held) std::this_thread::yield();
  EXPECT_EQ(w_.governance->CloseEmergency("org-a", 1, By("operator-1"), "{}").error().Slug(), "job-running");
  jobs_.reset();
  hindrance_.clear();
  Start();
  Finish();
  EXPECT_EQ(ledger::ToString(Last().job->kind), "emergency");
  EXPECT_EQ(Last().state, "complete");
  EXPECT_EQ(Census("org-a"), (Counted{{"v2", 25}}));
  EXPECT_EQ(w_.governance->CloseEmergency("org-a", 2, By("operator-1"), "{}").error().Slug(), "no-emergency");
  EXPECT_EQ(w_.governance->CloseEmergency("org-a", 1, By("operator-1"), "{}").error().Slug(), "census-awaited")
      << "what the service has not rewrapped would be lost";
  ASSERT_TRUE(w_.governance->Acknowledge(By("service-2"), "org-a", 1, 1));
  ledger::Submission late;
  late.deks.push_back({Of("org-a").id, "late", ledger::DekRecord{1, 1000, {}, Bytes{1, 2, 3}}});
  ASSERT_TRUE(w_.ledger->Record(std::move(late)));
  EXPECT_EQ(w_.governance->CloseEmergency("org-a", 1, By("operator-1"), "{}").error().Slug(), "census-inventory");
  ledger::Submission gone;
  gone.deks.push_back({Of("org-a").id, "late", std::nullopt});
  ASSERT_TRUE(w_.ledger->Record(std::move(gone)));
  ASSERT_TRUE(w_.governance->CloseEmergency("org-a", 1, By("operator-1"), "{}"));
  EXPECT_EQ(w_.governance->CloseEmergency("org-a", 1, By("operator-1"), "{}").error().Slug(), "no-emergency");
  EXPECT_EQ(ask(Operation::kRewrap), "version-compromised");
  EXPECT_TRUE(LoadVerified(*w_.ledger));
}

// A job whose version is lost under it has no aim: the emergency ends it and begins its own.
TEST_F(RewrapJobsTest, F19_AnEmergencyEndsTheJobUnderWay) {
  Fill("install", 20);
  ASSERT_EQ(Rotated("install"), "executed");
  ASSERT_EQ(w_.governance->Snapshot()->jobs.size(), 1U) << "who has rotated finds the job there";
  ASSERT_EQ(*w_.Done("keyring.emergency-rotate", "install"), "executed");
  Start();
  Finish();
  ASSERT_EQ(jobs_->List().size(), 2U);
  std::multiset<std::string> ends;
  for (const auto& job : jobs_->List()) ends.insert(std::string(ledger::ToString(job.job->kind)) + " " + job.state);
  EXPECT_EQ(ends, (std::multiset<std::string>{"emergency complete", "rewrap cancelled"}));
  EXPECT_EQ(Census("install"), (Counted{{"v3", 20}}));
}

// A job that stands still holds up no other one, and an emergency waits for neither a disabled keyring nor another job.
TEST_F(RewrapJobsTest, F19_WhoStandsStillLetsOthersBy) {
  Fill("install", 30);
  Fill("org-a", 10);
  ASSERT_EQ(Rotated("install"), "executed");
  ASSERT_EQ(Rotated("org-a"), "executed");
  ASSERT_TRUE(w_.governance->Disable("install", By("operator-1")));
  Start();
  const auto until = std::chrono::steady_clock::now() + 20s;
  const auto state_of = [&](const std::string& keyring) {
    for (const auto& job : jobs_->List())
      if (job.keyring == keyring) return job.state + (job.waiting.empty() ? "" : ": " + job.waiting);
    return std::string("none");
  };
  while (state_of("org-a") != "complete" && std::chrono::steady_clock::now() < until) std::this_thread::yield();
  EXPECT_EQ(state_of("org-a"), "complete");
  while (!state_of("install").starts_with("paused") && std::chrono::steady_clock::now() < until)
    std::this_thread::yield();
  EXPECT_EQ(state_of("install"), "paused: the keyring is disabled");
  ASSERT_EQ(*w_.Done("keyring.emergency-rotate", "install"), "executed");
  Finish();
  EXPECT_EQ(Census("install"), (Counted{{"v3", 30}}));
}

TEST_F(RewrapJobsTest, F19_AnEmergencyGoesBeforeTheJobUnderWay) {
  Fill("install", 40);
  Fill("org-a", 10);
  ASSERT_EQ(Rotated("install"), "executed");
  std::atomic<bool> declared{false};
  std::string order;
  w_.token.before_execute = [&] {
    const auto progress = [&](const char* name) {
      for (const auto& [id, job] : w_.governance->Snapshot()->jobs)
        if (job->keyring == Of(name).id) return w_.ledger->Deks().ProgressOf(id)->done;
      return std::uint64_t{0};
    };
    if (progress("install") == 10 && !declared.exchange(true)) {
      EXPECT_EQ(*w_.Done("keyring.emergency-rotate", "org-a"), "executed");
      order = "declared";
    } else if (declared && order == "declared") {
      // The batch under way is finished; the next one is the emergency's.
      order = progress("install") == 20 && progress("org-a") == 0 ? "emergency next" : "something else";
    }
  };
  Start();
  Finish();
  EXPECT_EQ(Census("org-a"), (Counted{{"v2", 10}}));
  EXPECT_EQ(Census("install"), (Counted{{"v2", 40}}));
  EXPECT_EQ(order, "emergency next");
}

// Where the policy asks for it, a new version wraps nothing before somebody has said that it is backed up.
TEST_F(RewrapJobsTest, F14_ANewVersionWaitsForItsAttestation) {
  Fill("install", 10);
  EXPECT_EQ(Slug(w_.File("keyring.set-policy", "install", {{"rotate-days", "none"}, {"attest", "maybe"}})),
            "invalid-request");
  ASSERT_EQ(*w_.Done("keyring.set-policy", "install", {{"rotate-days", "30"}, {"attest", "yes"}}), "executed");
  ASSERT_EQ(Rotated("install"), "executed");
  EXPECT_EQ(Of("install").Find(2)->state, VersionState::kPreActive);
  EXPECT_EQ(Of("install").primary, 1U);
  EXPECT_EQ(Of("org-b").primary, 1U);
  Finish();
  EXPECT_TRUE(jobs_->List().empty());
  EXPECT_EQ(Rotated("install"), "version-pending");
  EXPECT_EQ(Slug(w_.File("rewrap.reverse", "install")), "version-state");
  EXPECT_EQ(Slug(w_.File("keyring.create", "org-c", {{"grants", "service-1"}})), "version-pending")
      << "it would be left behind";
  w_.clock.now += 31 * kDay;
  EXPECT_EQ(w_.governance->RunMandates().error().Slug(), "version-pending") << "a mandate makes no second one";
  const auto attest = [&](const char* keyring, std::uint64_t version, const char* statement = "tape 7 has it") {
    const auto done = w_.governance->Attest(keyring, version, By("operator-1"), statement);
    return done ? std::string("done") : std::string(done.error().Slug());
  };
  EXPECT_EQ(attest("install", 1), "version-state");
  EXPECT_EQ(attest("install", 3), "version-state");
  EXPECT_EQ(attest("org-b", 2), "version-state") << "it goes with install's";
  EXPECT_EQ(attest("no-such", 2), "keyring-not-found");
  EXPECT_EQ(attest("install", 2, "two\nlines"), "invalid-request");
  EXPECT_EQ(attest("install", 2), "done");
  EXPECT_EQ(attest("install", 2), "version-state") << "once";
  EXPECT_EQ(Of("install").primary, 2U);
  EXPECT_EQ(Of("org-b").primary, 2U);
  Finish();
  EXPECT_EQ(Census("install"), (Counted{{"v2", 10}}));
  // An emergency waits for nobody; what was waiting is outdated by it.
  ASSERT_EQ(Rotated("install"), "executed");
  ASSERT_EQ(*w_.Done("keyring.emergency-rotate", "install"), "executed");
  EXPECT_EQ(Of("install").primary, 4U);
  EXPECT_EQ(attest("install", 3), "version-state");
  EXPECT_TRUE(LoadVerified(*w_.ledger));
}

// A clock that votes have set back makes no cancelled job begin again: what is owed goes by the log's order alone.
TEST_F(RewrapJobsTest, F16_ACancelHoldsWhateverTheClockSays) {
  Fill("install", 20);
  ASSERT_EQ(Rotated("install"), "executed");
  auto state = *w_.governance->Snapshot();
  const auto id = state.jobs.begin()->first;
  const ledger::JobSwitched cancelled{id, JobState::kCancelled, "operator-1", {}, 0, 0};
  ASSERT_TRUE(Apply(state, {w_.clock.now - 400 * kDay, cancelled}));
  EXPECT_FALSE(OwedJob(state, *state.FindKeyring("install")));
}

// F18: an acknowledgement is of what was; a version that wraps again needs a new one.
TEST_F(RewrapJobsTest, F18_AReverseTakesAcknowledgementsBack) {
  ASSERT_EQ(Rotated("org-a"), "executed");
  ASSERT_TRUE(w_.governance->Acknowledge(By("service-2"), "org-a", 1, 7));
  const auto entries = w_.ledger->HeadOf(ledger::Log::kControl).size;
  ASSERT_TRUE(w_.governance->Acknowledge(By("service-2"), "org-a", 1, 7));
  EXPECT_EQ(w_.ledger->HeadOf(ledger::Log::kControl).size, entries) << "it is known";
  EXPECT_EQ(w_.governance->Acknowledge(By("service-2"), "org-a", 1, 8).error().Slug(), "acknowledged-recently");
  ASSERT_EQ(*w_.Done("rewrap.reverse", "org-a"), "executed");
  Finish();
  EXPECT_EQ(w_.governance->Acknowledge(By("service-2"), "org-a", 2, 7).error().Slug(), "version-state")
      << "it would speak of version 1, which wraps now";
  ASSERT_EQ(*w_.Done("rewrap.reverse", "org-a", {{"version", "2"}}), "executed");
  Finish();
  const auto& keyring = Of("org-a");
  EXPECT_EQ(AwaitedServices(*w_.governance->Snapshot(), keyring, *keyring.Find(1)),
            (std::vector<Awaited>{{"service-2", "org-a"}}));
  EXPECT_EQ(Slug(w_.File("version.destroy", "org-a", {{"version", "1"}, {"quiet-hours", "0"}})), "census-awaited");
  EXPECT_TRUE(LoadVerified(*w_.ledger));
}

// F18: nothing in the inventory, everybody has said so or is named, and nobody has used it for a while.
TEST_F(RewrapJobsTest, F18_WhatIsStillUsedIsNeitherArchivedNorDestroyed) {
  Fill("org-a", 3);
  ASSERT_EQ(*w_.Done("keyring.set-policy", "org-a", {{"rotate-days", "none"}, {"rewrap", "no"}}), "executed");
  ASSERT_EQ(Rotated("org-a"), "executed");
  const auto attempt = [&](Params params = {}) {
    params["version"] = "1";
    return Slug(w_.File("version.destroy", "org-a", std::move(params)));
  };
  EXPECT_EQ(attempt({{"waive", "service-2"}}), "census-inventory");
  ASSERT_EQ(*w_.Done("rewrap.start", "org-a"), "executed");
  Finish();
  EXPECT_EQ(attempt(), "census-awaited");
  EXPECT_EQ(Slug(w_.File("version.archive", "org-a", {{"version", "1"}})), "census-awaited");
  EXPECT_EQ(w_.governance->Acknowledge(By("service-1"), "org-a", 1, 5).error().Slug(), "keyring-not-found")
      << "it is not granted to it";
  EXPECT_EQ(w_.governance->Acknowledge(By("service-2"), "no-such", 1, 5).error().Slug(), "keyring-not-found");
  EXPECT_EQ(w_.governance->Acknowledge(By("service-2"), "org-a", 2, 5).error().Slug(), "version-state");
  EXPECT_EQ(w_.governance->Acknowledge(By("service-2"), "org-a", 9, 5).error().Slug(), "version-not-found");
  ASSERT_TRUE(w_.governance->Acknowledge(By("service-2"), "org-a", 1, 5));
  EXPECT_EQ(attempt(), "census-quiet") << "the job has just used it";
  EXPECT_EQ(attempt({{"quiet-hours", "9000"}}), "invalid-request");
  EXPECT_EQ(attempt({{"waive", "Service 1"}}), "invalid-request");
  w_.clock.now += 25 * kHour;
  const auto approved = w_.Approved("version.destroy", "org-a", {{"version", "1"}});
  ASSERT_TRUE(approved) << approved.error().Line();
  // What comes between filing and execution counts.
  ledger::Submission late;
  late.deks.push_back({Of("org-a").id, "late", ledger::DekRecord{1, 1000, {}, Bytes{1, 2, 3}}});
  ASSERT_TRUE(w_.ledger->Record(std::move(late)));
  EXPECT_EQ(w_.governance->Execute(*approved, By("operator-1")).error().Slug(), "census-inventory");
  ledger::Submission gone;
  gone.deks.push_back({Of("org-a").id, "late", std::nullopt});
  ASSERT_TRUE(w_.ledger->Record(std::move(gone)));
  EXPECT_TRUE(w_.governance->Execute(*approved, By("operator-1")));
}

TEST_F(RewrapJobsTest, F15_APlanMeasuresAndNamesWhatStops) {
  Fill("install", 80);
  ASSERT_EQ(*w_.Done("keyring.set-policy", "install", {{"rotate-days", "none"}, {"rewrap", "no"}}), "executed");
  ASSERT_EQ(Rotated("install"), "executed");
  Damage("install", 70);
  Start();
  const auto evidence = w_.ledger->HeadOf(ledger::Log::kEvidence).size;
  auto plan = jobs_->Plan("install", "request-1", "operator-1");
  ASSERT_TRUE(plan) << plan.error().Line();
  EXPECT_EQ(plan->records, 80U);
  EXPECT_GT(plan->rate, 0);
  EXPECT_GE(plan->seconds, 1);
  ASSERT_EQ(plan->blockers.size(), 3U) << "the services of install and of what shares its KEK keep what they keep";
  EXPECT_EQ(plan->blockers[0].code, "census-unknown");
  EXPECT_EQ(w_.ledger->HeadOf(ledger::Log::kEvidence).size, evidence + 1) << "the sample used keys";
  EXPECT_EQ((*w_.ledger->Deks().Counts(Of("install").id))[1].records, 80U) << "and changed nothing";
  hindrance_ = "the token is away";
  plan = jobs_->Plan("install", "request-2", "operator-1");
  ASSERT_TRUE(plan);
  EXPECT_TRUE(std::any_of(plan->blockers.begin(), plan->blockers.end(),
                          [](const auto& b) { return b.code == "provider-down" && b.stops; }));
  EXPECT_EQ(plan->rate, 0);
}

TEST(DekIds, AreBoundedAndPlain) {
  EXPECT_TRUE(ledger::IsDekId("a"));
  EXPECT_TRUE(ledger::IsDekId("Invoice_17:eu-1@x.y+z"));
  EXPECT_TRUE(ledger::IsDekId(std::string(128, 'a')));
  for (const std::string& bad : {std::string(), std::string("a/b"), std::string("-a"), std::string(".."),
                                 std::string("a b"), std::string("a\n"), std::string("a%2F"), std::string("\xc3\xa4"),
                                 std::string(129, 'a'), std::string(10240, 'a'), std::string("a\0b", 3)})
    EXPECT_FALSE(ledger::IsDekId(bad)) << bad.substr(0, 20);
}

TEST(DekRecords, HaveOneForm) {
  for (const auto& quarantine : {"", "unwrap-failed"})
    for (const auto& owner : {"", "service-1"}) {
      const ledger::DekRecord record{7, 1'700'000'000'000, quarantine, Bytes{1, 2, 3}, owner};
      const auto bytes = ledger::Encode(record);
      EXPECT_EQ(*ledger::DecodeDek(bytes), record);
      for (std::size_t n = 0; n < (*quarantine == 0 && *owner == 0 ? 9 : bytes.size() - 3); ++n)
        EXPECT_FALSE(ledger::DecodeDek(ByteView(bytes).first(n))) << n;
    }
  EXPECT_FALSE(ledger::DecodeDek(Bytes{0x41, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 5})) << "an owner without a name";
  EXPECT_FALSE(ledger::DecodeDek(Bytes{2, 0, 0, 0, 1, 0, 0, 0, 1, 5}));
}

}  // namespace
}  // namespace strongroom::appliance
