// The map behind the control plane's state, against std::map.

#include "appliance/shared_map.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>
#include <string_view>

namespace strongroom::appliance {
namespace {

using Map = SharedMap<std::string, int>;
using Model = std::map<std::string, int, std::less<>>;

void Same(const Map& map, const Model& model) {
  ASSERT_EQ(map.size(), model.size());
  auto at = map.begin();
  for (const auto& [key, value] : model) {
    ASSERT_NE(at, map.end());
    ASSERT_EQ(at->first, key);
    ASSERT_EQ(at->second, value);
    ++at;
  }
  ASSERT_EQ(at, map.end());
}

TEST(SharedMap, AnEmptyOneHasNothing) {
  const Map map;
  EXPECT_TRUE(map.empty());
  EXPECT_EQ(map.begin(), map.end());
  EXPECT_EQ(map.find("x"), map.end());
  EXPECT_EQ(map.upper_bound(""), map.end());
  EXPECT_THROW((void)map.at("x"), std::out_of_range);
}

// Is it the map that std::map would be, after any history, at every bound; and do copies stay as they were?
TEST(SharedMap, GoesAsStdMapDoesAndCopiesStayAsTheyWere) {
  std::mt19937 random(7);
  Map map;
  Model model;
  std::vector<std::pair<Map, Model>> copies;
  for (int i = 0; i < 20000; ++i) {
    const auto key = std::to_string(random() % 5000);
    const auto value = static_cast<int>(random());
    const auto what = random() % 5;
    if (what == 0) {
      ASSERT_EQ(map.erase(std::string_view(key)), model.erase(key) > 0) << key;
    } else if (what < 3) {
      ASSERT_EQ(map.emplace(key, value), model.emplace(key, value).second) << key;
    } else {
      map.insert_or_assign(key, value);
      model.insert_or_assign(key, value);
    }
    const auto asked = std::to_string(random() % 5000);
    const std::string_view view = asked;
    const auto same = [&](auto ours, auto theirs) {
      return (ours == map.end()) == (theirs == model.end()) && (ours == map.end() || ours->first == theirs->first);
    };
    ASSERT_TRUE(same(map.find(view), model.find(view))) << asked;
    ASSERT_TRUE(same(map.lower_bound(view), model.lower_bound(view))) << asked;
    ASSERT_TRUE(same(map.upper_bound(view), model.upper_bound(view))) << asked;
    ASSERT_EQ(map.contains(view), model.contains(view));
    if (i % 1000 == 0) copies.emplace_back(map, model);
  }
  Same(map, model);
  for (const auto& [copy, as_it_was] : copies) Same(copy, as_it_was);
}

TEST(SharedMap, OneThatWasMovedFromIsEmpty) {
  Map map;
  map.insert_or_assign("a", 1);
  const Map taken = std::move(map);
  EXPECT_EQ(taken.size(), 1U);
  map = Map();
  EXPECT_TRUE(map.empty());
  EXPECT_EQ(map.begin(), map.end());
}

// Sorted input, the way a boot reads its rows, in both directions.
TEST(SharedMap, TakesSortedInput) {
  Map up, down;
  Model model;
  for (int i = 1000; i < 3000; ++i) {
    up.insert_or_assign(std::to_string(i), i);
    down.insert_or_assign(std::to_string(3999 - i), 3999 - i);
    model[std::to_string(i)] = i;
  }
  Same(up, model);
  Same(down, model);
}

}  // namespace
}  // namespace strongroom::appliance
