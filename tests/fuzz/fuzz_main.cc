// libFuzzer's entry points: one program a target (STRONGROOM_FUZZ_TARGET).

#include <cstdint>

#include "crypto/base/secret.h"
#include "tests/fuzz/targets.h"

extern "C" int LLVMFuzzerInitialize(int*, char***) { return strongroom::OpenSecretArena(4U << 20) ? 0 : 1; }

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const auto& target = strongroom::tests::FindFuzzTarget(STRONGROOM_FUZZ_TARGET);
  (void)target.run({data, size});
  return 0;
}
