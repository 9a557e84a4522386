#include "tests/fuzz/corpus.h"

#include <cstdio>
#include <cstdlib>
#include <fstream>

namespace strongroom::tests {

std::vector<Bytes> Corpus(const FuzzTarget& target, const std::string& folder) {
  auto inputs = target.seeds();
  for (const auto* kind : {".b64", ".regressions.b64"}) {
    const auto path = folder + "/" + std::string(target.name) + kind;
    std::ifstream in(path);
    for (std::string line; std::getline(in, line);) {
      auto bytes = DecodeBase64(line, Base64::kStandardPadded);
      if (!bytes) {
        std::fprintf(stderr, "%s has a line that is not base64\n", path.c_str());
        std::abort();
      }
      inputs.push_back(std::move(*bytes));
    }
  }
  return inputs;
}

}  // namespace strongroom::tests
