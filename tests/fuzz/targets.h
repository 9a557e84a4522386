#pragma once
// Every parser of outside bytes, as a function of bytes. libFuzzer drives them (fuzz_main.cc), and so does corpus_test,
// over what fuzzing has kept, in every build.

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/base/bytes.h"

namespace strongroom::tests {

/// FuzzTarget is one parser. `run` ends the process when a promise of the parser is broken; it tells whether the input
/// was taken as good.
struct FuzzTarget {
  std::string_view name;
  bool (*run)(ByteView input);
  std::vector<Bytes> (*seeds)();  // good inputs to begin with
};

const std::vector<FuzzTarget>& FuzzTargets();
/// FindFuzzTarget ends the process for a name that there is not.
const FuzzTarget& FindFuzzTarget(std::string_view name);

}  // namespace strongroom::tests
