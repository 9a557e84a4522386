// fuzz_corpus: between the project's corpora (one input a line) and libFuzzer's (one input a file).
//   fuzz_corpus targets              the targets' names
//   fuzz_corpus unpack TARGET DIR    writes a target's seeds and corpus as files
//   fuzz_corpus pack TARGET DIR      writes DIR's files as the target's corpus

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "crypto/base/secret.h"
#include "crypto/digest.h"
#include "tests/fuzz/corpus.h"

namespace {

using namespace strongroom;

int Unpack(const tests::FuzzTarget& target, const std::filesystem::path& directory) {
  std::filesystem::create_directories(directory);
  for (const auto& input : tests::Corpus(target, STRONGROOM_CORPUS)) {
    std::ofstream out(directory / ToHex(crypto::Sha256(input)).substr(0, 32), std::ios::binary);
    out.write(reinterpret_cast<const char*>(input.data()), static_cast<std::streamsize>(input.size()));
    if (!out) return 1;
  }
  return 0;
}

int Pack(const tests::FuzzTarget& target, const std::filesystem::path& directory) {
  std::vector<std::string> lines;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    std::ifstream in(entry.path(), std::ios::binary);
    const std::string bytes((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
    lines.push_back(EncodeBase64(AsBytes(bytes), Base64::kStandardPadded));
  }
  std::sort(lines.begin(), lines.end(),
            [](const auto& a, const auto& b) { return a.size() != b.size() ? a.size() < b.size() : a < b; });
  std::ofstream out(std::string(STRONGROOM_CORPUS) + "/" + std::string(target.name) + ".b64");
  for (const auto& line : lines) out << line << "\n";
  return out ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string verb = argc > 1 ? argv[1] : "";
  if (verb == "targets" && argc == 2) {
    for (const auto& target : tests::FuzzTargets()) std::printf("%s\n", std::string(target.name).c_str());
    return 0;
  }
  if (!OpenSecretArena(4U << 20)) return 1;
  if (verb == "unpack" && argc == 4) return Unpack(tests::FindFuzzTarget(argv[2]), argv[3]);
  if (verb == "pack" && argc == 4) return Pack(tests::FindFuzzTarget(argv[2]), argv[3]);
  std::fprintf(stderr, "usage: fuzz_corpus targets | unpack TARGET DIR | pack TARGET DIR\n");
  return 2;
}
