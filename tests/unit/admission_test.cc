#include "appliance/admission.h"

#include <gtest/gtest.h>

namespace strongroom::appliance {
namespace {

using Queue = AdmissionQueue<std::string>;

TEST(Admission, BoundsAreOneTenantsAndEveryones) {
  Queue queue({10, 6, 4});
  EXPECT_TRUE(queue.Admit("a", 6));
  EXPECT_EQ(queue.Admit("a", 7).error().Slug(), "tenant-over-share");
  queue.Push(Lane::kBulk, "a", 6, "a1");
  EXPECT_EQ(queue.Admit("a", 1).error().Slug(), "tenant-over-share");
  EXPECT_TRUE(queue.Admit("b", 4));
  queue.Push(Lane::kInteractive, "b", 4, "b1");
  EXPECT_EQ(queue.Admit("c", 1).error().Slug(), "overloaded");
  EXPECT_EQ(queue.Take(Lane::kBulk, 100), std::vector<std::string>{"a1"});
  EXPECT_EQ(queue.Take(Lane::kInteractive, 100), std::vector<std::string>{"b1"});
  EXPECT_TRUE(queue.empty());
  EXPECT_TRUE(queue.Admit("a", 6)) << "what has been taken counts no more";
}

TEST(Admission, P2_AGroupIsOfOneLane) {
  Queue queue({});
  queue.Push(Lane::kBulk, "a", 1, "bulk");
  EXPECT_TRUE(queue.Take(Lane::kInteractive, 10).empty());
  queue.Push(Lane::kInteractive, "a", 1, "now");
  EXPECT_EQ(queue.Take(Lane::kInteractive, 10), std::vector<std::string>{"now"});
  EXPECT_EQ(queue.Take(Lane::kBulk, 10), std::vector<std::string>{"bulk"});
}

// P3: a tenant who sends a hundred times as much gets no more than the others while they have work waiting.
TEST(Admission, P3_AHundredfoldFloodGetsAnEqualShare) {
  Queue queue({1U << 20, 1U << 20, 16});
  std::map<std::string, int> served;
  for (int i = 0; i < 100'000; ++i) queue.Push(Lane::kInteractive, "flood", 1, "flood");
  for (int i = 0; i < 1000; ++i)
    for (const auto* tenant : {"x", "y"}) queue.Push(Lane::kInteractive, tenant, 1, tenant);
  int taken = 0;
  while (served["x"] < 1000 || served["y"] < 1000) {
    for (const auto& tenant : queue.Take(Lane::kInteractive, 256)) {
      ++served[tenant];
      ++taken;
    }
    ASSERT_LT(taken, 5000);
  }
  EXPECT_NEAR(served["flood"], 1000, 100);
  EXPECT_NEAR(served["x"], 1000, 100);
}

// Large and small requests: turns are counted in items.
TEST(Admission, P3_TurnsAreCountedInItems) {
  Queue queue({1U << 20, 1U << 20, 16});
  for (int i = 0; i < 100; ++i) queue.Push(Lane::kBulk, "batches", 16, "batches");
  for (int i = 0; i < 1600; ++i) queue.Push(Lane::kBulk, "singles", 1, "singles");
  std::map<std::string, int> items;
  for (int round = 0; round < 5; ++round)
    for (const auto& tenant : queue.Take(Lane::kBulk, 256)) items[tenant] += tenant == "batches" ? 16 : 1;
  EXPECT_NEAR(items["batches"], items["singles"], 32);
}

// P3: ten times as much at once is ten times as long a wait, whether more of it stands behind or comes back each time.
TEST(Admission, P3_LargeRequestsArePaidFor) {
  for (const bool always_waiting : {true, false}) {
    Queue queue({1U << 20, 1U << 20, 16});
    std::map<std::string, int> items;
    for (int i = 0; i < 50 && always_waiting; ++i) queue.Push(Lane::kInteractive, "large", 1000, "large");
    for (int i = 0; i < 200; ++i) queue.Push(Lane::kInteractive, "small", 100, "small");
    for (int round = 0; round < 100; ++round) {
      if (!always_waiting && items["large"] <= items["small"]) queue.Push(Lane::kInteractive, "large", 1000, "large");
      for (const auto& tenant : queue.Take(Lane::kInteractive, 256)) items[tenant] += tenant == "large" ? 1000 : 100;
      if (items["small"] > 10000) break;
    }
    EXPECT_NEAR(items["large"], items["small"], 1100) << always_waiting;
  }
}

}  // namespace
}  // namespace strongroom::appliance
