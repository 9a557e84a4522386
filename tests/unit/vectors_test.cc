// Third parties' vectors, read from where they lie: Merkle probes, hasher, signed notes, checkpoints.

#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <filesystem>

#include "crypto/base/bytes.h"
#include "crypto/merkle.h"
#include "crypto/note.h"
#include "tests/support/temp_dir.h"

namespace strongroom::crypto {
namespace {

namespace bj = boost::json;
namespace fs = std::filesystem;
const fs::path kVectors = STRONGROOM_VECTORS;

bj::value Read(const fs::path& file) { return bj::parse(tests::ReadFile(file.string())); }
std::string Text(const bj::value& v) { return std::string(std::string_view(v.as_string())); }
std::uint64_t Number(const bj::value& v) {
  return v.is_uint64() ? v.as_uint64() : static_cast<std::uint64_t>(v.as_int64());
}
// Not every hash in a probe has 32 bytes: what has not is hashed, so that equal ones stay equal.
std::optional<Digest> Hash(const bj::value& v) {
  const auto bytes = DecodeBase64(v.is_null() ? std::string() : Text(v), Base64::kStandardPadded);
  if (!bytes || bytes->empty()) return std::nullopt;
  if (bytes->size() != 32) return Sha256(*bytes);
  Digest digest{};
  std::copy(bytes->begin(), bytes->end(), digest.begin());
  return digest;
}
std::optional<std::vector<Digest>> Proof(const bj::value& v) {
  std::vector<Digest> proof;
  if (v.is_null()) return proof;
  for (const auto& each : v.as_array()) {
    const auto hash = Hash(each);
    if (!hash) return std::nullopt;
    proof.push_back(*hash);
  }
  return proof;
}

template <class Judge>
int Probe(const fs::path& folder, Judge judge) {
  int probes = 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.path().extension() != ".json") continue;
    const auto probe = Read(entry.path());
    EXPECT_EQ(judge(probe), !probe.at("wantErr").as_bool()) << entry.path();
    ++probes;
  }
  return probes;
}

TEST(Vectors, L1_InclusionProbes) {
  EXPECT_GE(
      Probe(
          kVectors / "merkle_transparency_dev/testdata/inclusion",
          [](const bj::value& p) {
            const auto root = Hash(p.at("root")), leaf = Hash(p.at("leafHash"));
            const auto proof = Proof(p.at("proof"));
            return root && leaf && proof &&
                   VerifyInclusion(Number(p.at("leafIdx")), Number(p.at("treeSize")), *leaf, *proof, *root).has_value();
          }),
      80);
}

TEST(Vectors, L1_ConsistencyProbes) {
  EXPECT_GE(
      Probe(
          kVectors / "merkle_transparency_dev/testdata/consistency",
          [](const bj::value& p) {
            const auto root1 = Hash(p.at("root1")), root2 = Hash(p.at("root2"));
            const auto proof = Proof(p.at("proof"));
            return root1 && root2 && proof &&
                   VerifyConsistency(Number(p.at("size1")), Number(p.at("size2")), *root1, *root2, *proof).has_value();
          }),
      90);
}

TEST(Vectors, L1_Hasher) {
  const auto v = Read(kVectors / "rfc6962/hasher.json");
  EXPECT_EQ(ToHex(MerkleFrontier().Root()), Text(v.at("empty_root")));
  EXPECT_EQ(ToHex(LeafHash({})), Text(v.at("empty_leaf")));
  EXPECT_EQ(ToHex(LeafHash(AsBytes("L123456"))), Text(v.at("leaf_L123456")));
}

TEST(Vectors, L7_SignedNotes) {
  const auto v = Read(kVectors / "signed_note/note_vectors.json");
  int notes = 0;
  for (const auto& each : v.at("verify").as_array()) {
    const auto name = Text(each.at("name"));
    std::vector<NoteKey> keys;
    for (const auto& vkey : each.at("vkeys").as_array()) {
      auto key = NoteKey::Parse(Text(vkey));
      ASSERT_TRUE(key) << name;
      keys.push_back(std::move(*key));
    }
    const auto bytes = *DecodeBase64(Text(each.at("msg_b64")), Base64::kStandardPadded);
    const auto opened = OpenNote(AsText(bytes), keys);
    EXPECT_EQ(opened.has_value(), Text(each.at("want")) == "ok") << name;
    if (opened) {
      const auto& verified = each.at("verified").as_array();
      ASSERT_EQ(opened->verified.size(), verified.size()) << name;
      for (std::size_t i = 0; i < verified.size(); ++i) EXPECT_EQ(opened->verified[i], Text(verified[i])) << name;
    }
    ++notes;
  }
  EXPECT_EQ(notes, 15);
  for (const auto& bad : v.at("bad_vkeys").as_array()) EXPECT_FALSE(NoteKey::Parse(Text(bad))) << Text(bad);
  const auto good = Text(v.at("verify").at(0).at("vkeys").at(0));
  for (std::size_t i = 0; i < good.size(); ++i) {
    EXPECT_FALSE(NoteKey::Parse(good.substr(0, i))) << i;
    auto changed = good;
    ++changed[i];
    EXPECT_FALSE(NoteKey::Parse(changed)) << changed;
  }
}

TEST(Vectors, L7_Checkpoints) {
  const auto v = Read(kVectors / "signed_note/checkpoint_vectors.json");
  for (const auto& each : v.at("parse").as_array())
    if (!each.at("valid").as_bool()) EXPECT_FALSE(Checkpoint::Parse(Text(each.at("text")))) << Text(each.at("text"));
  const auto note = Text(v.at("c2sp_example_checkpoint"));
  const auto parsed = Checkpoint::Parse(note.substr(0, note.find("\n\n") + 1));
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->origin, "example.com/behind-the-sofa");
  EXPECT_EQ(parsed->size, 20852163U);
}

}  // namespace
}  // namespace strongroom::crypto
