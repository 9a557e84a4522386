#include <gtest/gtest.h>

#include "tests/fuzz/corpus.h"

namespace strongroom::tests {
namespace {

class Corpora : public testing::TestWithParam<std::string> {};

// Does any input that fuzzing has ever kept, among them whatever once broke a parser, break a promise of it now? And
// is there a good one among them, without which fuzzing stays before the door?
TEST_P(Corpora, KeepEveryPromise) {
  const auto& target = FindFuzzTarget(GetParam());
  std::size_t good = 0;
  for (const auto& input : Corpus(target, STRONGROOM_CORPUS)) good += target.run(input) ? 1 : 0;
  EXPECT_GT(good, 0U);
}

// Is every input with one byte flipped, or cut anywhere, taken without a promise broken?
TEST_P(Corpora, SeedsCutAndFlippedKeepThem) {
  const auto& target = FindFuzzTarget(GetParam());
  const auto inputs = Corpus(target, STRONGROOM_CORPUS);
  const auto few = std::min<std::size_t>(inputs.size(), 3);
  std::size_t refused = 0;
  for (std::size_t n = 0; n < few; ++n)
    for (std::size_t at = 0; at < std::min<std::size_t>(inputs[n].size(), 300); ++at) {
      auto changed = inputs[n];
      changed[at] ^= 1U << (at % 8);
      refused += target.run(changed) ? 0 : 1;
      refused += target.run(ByteView(inputs[n]).first(at)) ? 0 : 1;
    }
  EXPECT_GT(refused, 0U);
}

std::vector<std::string> Names() {
  std::vector<std::string> names;
  for (const auto& target : FuzzTargets()) names.emplace_back(target.name);
  return names;
}
INSTANTIATE_TEST_SUITE_P(Fuzz, Corpora, testing::ValuesIn(Names()), [](const auto& each) {
  auto name = each.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

}  // namespace
}  // namespace strongroom::tests
