// K7: what is left in strongroomd's memory when the DEKs that went through it are gone.

#include <elf.h>
#include <gtest/gtest.h>

#include <array>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <cstring>
#include <fstream>
#include <random>
#include <sstream>
#include <unordered_set>

#include "netapi/json.h"
#include "tests/support/dev_fixture.h"
#include "tests/support/govern.h"

namespace strongroom::tests {
namespace {

namespace bj = boost::json;
constexpr std::size_t kDeks = 10000;
constexpr std::size_t kBatch = 500;
constexpr std::size_t kProbe = 16;  // so many bytes of a pattern in a row are no chance

// Needles finds any of many byte strings of at least 16 bytes: by their first eight, then by sixteen.
class Needles {
 public:
  void Add(ByteView needle) {
    Bytes head(needle.begin(), needle.begin() + kProbe);
    firsts_.insert(FirstOf(head.data()));
    heads_.insert(std::string(AsText(head)));
  }
  std::size_t CountIn(ByteView hay) const {
    static const std::array<std::uint8_t, 4096> kZeros{};
    std::size_t found = 0;
    for (std::size_t i = 0; i + kProbe <= hay.size(); ++i) {
      // Most of an image is pages that nobody has written; no needle begins with eight zeros.
      while (hay.size() - i > kZeros.size() + kProbe && std::memcmp(hay.data() + i, kZeros.data(), kZeros.size()) == 0)
        i += kZeros.size() - 8;
      if (Maybe(FirstOf(hay.data() + i)) && heads_.contains(std::string(AsText(hay.subspan(i, kProbe))))) ++found;
    }
    return found;
  }
  void Seal() {
    for (const auto first : firsts_) filter_[Slot(first)] = true;
  }

 private:
  static std::uint64_t FirstOf(const std::uint8_t* at) {
    std::uint64_t first = 0;
    std::memcpy(&first, at, sizeof first);
    return first;
  }
  static std::size_t Slot(std::uint64_t first) { return (first * 0x9e3779b97f4a7c15ULL) >> 40; }
  bool Maybe(std::uint64_t first) const { return filter_[Slot(first)] && firsts_.contains(first); }
  std::unordered_set<std::uint64_t> firsts_;
  std::unordered_set<std::string> heads_;
  std::vector<bool> filter_ = std::vector<bool>(std::size_t{1} << 24);
};

bj::array Batch(DevFixture& f, const std::string& keyring, const char* operation, bj::array items) {
  const auto client = f.ClientFor("service-1");
  const auto text = netapi::WriteJson(bj::object{{"items", std::move(items)}});
  const auto answer = client->Call("POST", "/v1/keyrings/" + keyring + "/" + operation, {text.data(), text.size()});
  EXPECT_TRUE(answer && answer->status == 200) << operation;
  return netapi::ParseAnswer(*answer)->as_object().at("items").as_array();
}

std::string ReadAll(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

// The address ranges that a core file holds bytes of.
std::vector<std::pair<std::uint64_t, std::uint64_t>> Loaded(const std::string& core) {
  Elf64_Ehdr header{};
  std::memcpy(&header, core.data(), sizeof header);
  std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges;
  for (unsigned i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr part{};
    std::memcpy(&part, core.data() + header.e_phoff + i * sizeof part, sizeof part);
    if (part.p_type == PT_LOAD && part.p_filesz > 0) ranges.emplace_back(part.p_vaddr, part.p_vaddr + part.p_filesz);
  }
  return ranges;
}

// The locked mappings of a process: where its secrets live.
std::vector<std::pair<std::uint64_t, std::uint64_t>> Locked(int pid) {
  std::istringstream smaps(ReadAll("/proc/" + std::to_string(pid) + "/smaps"));
  std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges;
  std::pair<std::uint64_t, std::uint64_t> range;
  for (std::string line; std::getline(smaps, line);) {
    unsigned long from = 0, to = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &from, &to) == 2) range = {from, to};
    if (line.starts_with("VmFlags:") && line.find(" lo") != std::string::npos) ranges.push_back(range);
  }
  return ranges;
}

// After ten thousand wraps, unwraps and rewraps, does the idle service's memory, all of it, the locked arena too, hold
// a single one of the DEKs, raw or as base64?
TEST(MemoryScan, K7_NoDekOutlivesItsRequest) {
  DevFixture f;
  f.Restart([](std::string text) {
    const std::string ledger = "[ledger]\n";
    return text.replace(text.find(ledger), ledger.size(), ledger + "map-gib = 1\n");
  });
  std::mt19937_64 random(std::random_device{}());
  Needles needles;
  std::vector<std::string> deks;
  for (std::size_t i = 0; i < kDeks; ++i) {
    Bytes dek(32);
    for (auto& byte : dek) byte = static_cast<std::uint8_t>(random());
    deks.push_back(EncodeBase64(dek, Base64::kStandardPadded));
    needles.Add(dek);
    needles.Add(AsBytes(deks.back()));
    needles.Add(AsBytes(EncodeBase64(dek, Base64::kUrlUnpadded)));
  }
  needles.Seal();
  const auto as_it_came = std::string(9'001, '\0') + "..." + deks[0] + std::string(10'000, '\0');
  ASSERT_EQ(needles.CountIn(AsBytes(as_it_came)), 1U) << "the search finds what is there";

  std::vector<bj::string> wrapped;
  for (std::size_t at = 0; at < kDeks; at += kBatch) {
    bj::array items;
    for (std::size_t i = at; i < at + kBatch; ++i) items.push_back(bj::object{{"plaintext", deks[i]}});
    for (auto& item : Batch(f, "install", "wrap", std::move(items)))
      wrapped.push_back(item.as_object().at("wrapped").as_string());
  }
  (void)Governed(f, {"propose", "keyring.rotate", "--keyring", "install", "--reason", "the scan"});
  std::size_t opened = 0;
  for (const auto* operation : {"rewrap", "unwrap"})
    for (std::size_t at = 0; at < kDeks; at += kBatch) {
      bj::array items;
      for (std::size_t i = at; i < at + kBatch; ++i) items.push_back(bj::object{{"wrapped", wrapped[i]}});
      const auto answers = Batch(f, "install", operation, std::move(items));
      for (std::size_t i = 0; i < answers.size(); ++i)
        if (const auto* plaintext = answers[i].as_object().if_contains("plaintext"))
          opened += plaintext->as_string() == deks[at + i] ? 1 : 0;
    }
  ASSERT_EQ(opened, kDeks);
  // One by one as well: another path through the JSON and the sockets, kept open.
  const auto client = f.ClientFor("service-1");
  for (std::size_t i = 0; i < 200; ++i)
    ASSERT_EQ(client->Call("POST", "/v1/keyrings/install/wrap", R"({"plaintext":")" + deks[i] + "\"}")->status, 200U);

  const auto pid = f.PidOf("strongroomd.pid");
  const auto locked = Locked(pid);
  ASSERT_FALSE(locked.empty()) << "the arena is locked";
  const auto dumped = provisioning::RunProcess({"gcore", "-a", "-o", f.Path("image"), std::to_string(pid)});
  ASSERT_TRUE(dumped && dumped->status == 0) << dumped->err;
  const auto image = ReadAll(f.Path("image." + std::to_string(pid)));
  const auto loaded = Loaded(image);
  for (const auto& [from, to] : locked) {
    const bool whole = std::any_of(loaded.begin(), loaded.end(), [&, from = from, to = to](const auto& r) {
      return r.first <= from && r.second >= to;
    });
    EXPECT_TRUE(whole) << "the image lacks locked memory: it would hide what it ought to show";
  }
  ASSERT_NE(image.find("service-1"), std::string::npos) << "an image of another process";
  EXPECT_EQ(needles.CountIn(AsBytes(image)), 0U) << "DEKs in " << image.size() << " bytes of memory";
}

}  // namespace
}  // namespace strongroom::tests
