// Exports: what an auditor gets, and that two verifiers that share no code find every way of tampering with it (L9).

#include <gtest/gtest.h>

#include <boost/json/object.hpp>
#include <fstream>

#include "provisioning/export_audit.h"
#include "tests/support/dev_suite.h"

namespace strongroom::tests {
namespace {

namespace fs = std::filesystem;
using provisioning::AuditExport;
using provisioning::RunProcess;

// One bundle of entries, taken apart.
using Entries = std::vector<std::string>;
Entries Cut(const std::string& bundle) {
  Entries out;
  for (std::size_t at = 0; at + 2 <= bundle.size();) {
    const auto size = static_cast<std::size_t>(static_cast<unsigned char>(bundle[at])) << 8 |
                      static_cast<unsigned char>(bundle[at + 1]);
    out.push_back(bundle.substr(at + 2, size));
    at += 2 + size;
  }
  return out;
}
std::string Join(const Entries& entries) {
  std::string out;
  for (const auto& entry : entries) {
    out.push_back(static_cast<char>(entry.size() >> 8));
    out.push_back(static_cast<char>(entry.size() & 0xFF));
    out += entry;
  }
  return out;
}
void Write(const fs::path& file, const std::string& content) {
  std::ofstream(file, std::ios::binary | std::ios::trunc) << content;
}

class Export : public DevSuite<class ExportTag> {
 protected:
  // An appliance with some life behind it: three keyrings, a rotation, 700 data keys, refusals; and its export.
  static void SetUpTestSuite() {
    DevSuite<class ExportTag>::SetUpTestSuite();
    work_ = new TempDir();
    std::string lines;
    for (int i = 0; i < 300; ++i) lines += "{\"bytes\":32}\n";
    ASSERT_EQ(f().Run("service-1", {"datakey", "--keyring", "install", "--ndjson"}, lines).status, 0);
    const auto service = f().ClientFor("service-1");
    for (int i = 0; i < 300; ++i)
      ASSERT_EQ(service->Call("POST", "/v1/keyrings/install/datakey", R"({"bytes":32})")->status, 200U);
    ASSERT_EQ(service->Call("POST", "/v1/keyrings/org-a/datakey", R"({"bytes":32})")->status, 404U);
    const auto filed = f().Run("operator-1", {"--json", "propose", "keyring.rotate", "--keyring", "install", "--reason",
                                              "a rotation to look at"});
    const auto id = filed.out.substr(filed.out.find("\"id\":\"") + 6, 32);
    for (const std::string custodian : {"custodian-1", "custodian-3"})
      ASSERT_EQ(f().Run(custodian, {"approve", id, "--key", f().Path("approvers/" + custodian)}).status, 0);
    ASSERT_EQ(f().Run("operator-1", {"execute", id}).status, 0);
    const auto done = f().Run("auditor-1", {"ledger", "export", "--out", Whole()});
    ASSERT_EQ(done.status, 0) << done.err;
  }
  static void TearDownTestSuite() {
    delete work_;
    DevSuite<class ExportTag>::TearDownTestSuite();
  }
  static std::string Whole() { return work_->File("export"); }
  static std::string Vkey() { return f().Path("ledger.vkey"); }
  static crypto::NoteKey Key() {
    auto text = ReadFile(Vkey());
    text.pop_back();
    return *crypto::NoteKey::Parse(text);
  }
  // A copy to do harm to.
  std::string Copy() {
    std::error_code ignored;
    fs::remove_all(work_->File("copy"), ignored);
    fs::copy(Whole(), work_->File("copy"), fs::copy_options::recursive);
    return work_->File("copy");
  }
  // What the two verifiers say; "" for "verified".
  static std::string Ours(const std::string& folder) {
    const auto audit = AuditExport(folder, Key(), {});
    return audit ? "" : audit.error().Line();
  }
  static std::string Oracle(const std::string& folder, const std::string& vkey = Vkey()) {
    const auto ran =
        RunProcess({"python3", std::string(STRONGROOM_SOURCE_DIR) + "/tests/oracle/verify_export.py", folder, vkey});
    EXPECT_TRUE(ran->status == 0 || ran->status == 3) << ran->err;
    return ran->status == 0 ? "" : ran->out;
  }
  // Both find it, at this entry.
  static void ExpectFound(const std::string& folder, const std::string& what, const std::string& where) {
    const auto ours = Ours(folder), oracle = Oracle(folder);
    EXPECT_NE(ours.find(where), std::string::npos) << what << " at " << where << ": ours says '" << ours << "'";
    EXPECT_NE(oracle.find(where), std::string::npos)
        << what << " at " << where << ": the oracle says '" << oracle << "'";
  }
  // The bundle in which an entry lies.
  static std::pair<std::string, std::size_t> BundleOf(const std::string& log, std::size_t index) {
    const auto size = Size(log), first = index / 256 * 256;
    const auto width = std::min<std::size_t>(256, size - first);
    return {log + "/tile/" + ledger::BundlePath(index / 256, width), first};
  }
  static std::size_t Size(const std::string& log) {
    const auto note = ReadFile(Whole() + "/" + log + "/checkpoint");
    return std::stoul(note.substr(note.find('\n') + 1));
  }
  static inline TempDir* work_ = nullptr;
};

TEST_F(Export, L9_BothVerifiersAcceptWhatIsWhole) {
  EXPECT_EQ(Ours(Whole()), "");
  EXPECT_EQ(Oracle(Whole()), "");
  const auto ran = f().Run("auditor-1", {"--json", "ledger", "verify", Whole(), "--vkey", Vkey()});
  EXPECT_EQ(ran.status, 0) << ran.err;
  const auto audit = *netapi::ParseJson(ran.out.substr(0, ran.out.size() - 1));
  EXPECT_EQ(audit.at("votes").as_int64(), 8);
  EXPECT_EQ(audit.at("executions").as_int64(), 4);
  EXPECT_GT(Size("evidence"), 256U) << "more than one tile";
}

TEST_F(Export, L9_TheTamperMatrixIsFoundAtItsEntry) {
  for (const std::string log : {"control", "evidence"}) {
    const auto size = Size(log);
    for (const auto index : {std::size_t{0}, size / 2, size - 1}) {
      const auto where = log + " entry " + std::to_string(index);
      const auto found = BundleOf(log, index);
      const auto& bundle = found.first;
      const auto first = found.second;
      const auto at = static_cast<std::ptrdiff_t>(index - first);
      const auto whole = Cut(ReadFile(Whole() + "/" + bundle));
      const auto tamper = [&](const std::string& what, const std::string& place, const Entries& entries) {
        const auto folder = Copy();
        Write(folder + "/" + bundle, Join(entries));
        ExpectFound(folder, what, place);
      };
      auto entries = whole;
      entries[static_cast<std::size_t>(at)].back() ^= 1;
      tamper("edit", where, entries);
      entries = whole;
      auto stranger = whole[static_cast<std::size_t>(at)];
      stranger[5] ^= 1;
      entries.insert(entries.begin() + at, stranger);
      tamper("insert", where, entries);
      entries = whole;
      entries.erase(entries.begin() + at);
      tamper("delete", where, entries);
      if (at + 1 < static_cast<std::ptrdiff_t>(whole.size())) {
        entries = whole;
        std::swap(entries[static_cast<std::size_t>(at)], entries[static_cast<std::size_t>(at) + 1]);
        tamper("reorder", where, entries);
      }
      entries.assign(whole.begin(), whole.begin() + at);
      tamper("truncate", where, entries);
      // A fork: entry and hash changed together; only the signed root still knows.
      const auto folder = Copy();
      entries = whole;
      entries[static_cast<std::size_t>(at)].back() ^= 1;
      Write(folder + "/" + bundle, Join(entries));
      const auto tile = folder + "/" + log + "/tile/" + ledger::TilePath(0, index / 256, whole.size());
      auto hashes = ReadFile(tile);
      const auto leaf = crypto::LeafHash(AsBytes(entries[static_cast<std::size_t>(at)]));
      hashes.replace(static_cast<std::size_t>(at) * 32, 32, AsText(leaf));
      Write(tile, hashes);
      EXPECT_NE(Ours(folder), "") << "fork at " << where;
      EXPECT_NE(Oracle(folder), "") << "fork at " << where;
    }
  }
}

TEST_F(Export, L9_ADroppedVoteIsFound) {
  const auto [bundle, first] = BundleOf("control", 0);
  auto entries = Cut(ReadFile(Whole() + "/" + bundle));
  const auto vote = std::find_if(entries.begin(), entries.end(), [](const std::string& e) { return e[1] == 3; });
  ASSERT_NE(vote, entries.end());
  const auto index = vote - entries.begin();
  entries.erase(vote);
  const auto folder = Copy();
  Write(folder + "/" + bundle, Join(entries));
  ExpectFound(folder, "dropped vote", "control entry " + std::to_string(index));
}

TEST_F(Export, L9_WrongKeysSwappedCheckpointsAndEmptyExportsAreFound) {
  const DevFixture other;
  EXPECT_EQ(f().Run("auditor-1", {"ledger", "verify", Whole(), "--vkey", other.Path("ledger.vkey")}).status, 3);
  EXPECT_NE(Oracle(Whole(), other.Path("ledger.vkey")), "");
  auto folder = Copy();
  fs::copy_file(folder + "/evidence/checkpoint", folder + "/control/checkpoint", fs::copy_options::overwrite_existing);
  ExpectFound(folder, "swapped checkpoint", "control checkpoint");
  const TempDir empty;
  EXPECT_EQ(f().Run("auditor-1", {"ledger", "verify", empty.path(), "--vkey", Vkey()}).status, 3);
  EXPECT_NE(Oracle(empty.path()), "");
  folder = Copy();
  Write(folder + "/evidence/tile/entries/000", "");
  ExpectFound(folder, "empty bundle", "evidence entry 0");
  folder = Copy();
  Write(folder + "/evidence/more", "");
  EXPECT_NE(Ours(folder).find("evidence/more"), std::string::npos);
  EXPECT_NE(Oracle(folder).find("evidence/more"), std::string::npos);
  for (const std::string link : {"evil", "control/tile/x000"}) {
    folder = Copy();
    fs::create_directory_symlink("/etc", folder + "/" + link);
    EXPECT_NE(Ours(folder).find(link), std::string::npos);
    EXPECT_NE(Oracle(folder).find(link), std::string::npos);
  }
  folder = Copy();
  fs::rename(folder + "/keyrings.json", folder + "-kept");
  fs::create_symlink(folder + "-kept", folder + "/keyrings.json");
  EXPECT_NE(Ours(folder), "") << "a link is no file";
  EXPECT_NE(Oracle(folder), "");
  EXPECT_EQ(f().Run("auditor-1", {"ledger", "verify", Whole(), "--vkey", "no-key"}).status, 2);
  EXPECT_EQ(f().Run("auditor-1", {"ledger", "export", "--out", Whole()}).status, 1) << "nothing is written over";
}

// Any flipped byte of any file but the README: at twenty places of each by ours, at one by the oracle.
TEST_F(Export, L9_AnyFlippedByteIsFound) {
  int flips = 0;
  for (const auto& entry : fs::recursive_directory_iterator(Whole())) {
    if (entry.is_directory() || entry.path().filename() == "README.txt") continue;
    const auto name = fs::relative(entry.path(), Whole()).string();
    const auto content = ReadFile(entry.path().string());
    const auto folder = Copy();
    for (std::size_t i = 0; i < 20; ++i) {
      auto changed = content;
      changed[i * (content.size() - 1) / 19] ^= 1;
      Write(folder + "/" + name, changed);
      EXPECT_NE(Ours(folder), "") << name << " byte " << i * (content.size() - 1) / 19;
      ++flips;
    }
    EXPECT_NE(Oracle(folder), "") << name;
    fs::remove(folder + "/" + name);
    EXPECT_NE(Ours(folder), "") << name << " missing";
  }
  EXPECT_GT(flips, 150);
}

// Notes, tiles and proofs are what others take them for: golang.org/x/mod/sumdb reads them, and finds what was changed.
TEST_F(Export, L1_AThirdPartysToolAgrees) {
  const TempDir work;
  const auto built = RunProcess({"sh", "-c",
                                 "GO111MODULE=off GOPATH=/usr/share/gocode GOFLAGS= GOCACHE='" + work.File("cache") +
                                     "' go build -o '" + work.File("tlog_check") + "' '" + STRONGROOM_SOURCE_DIR +
                                     "/tests/oracle/tlog_check.go'"});
  ASSERT_EQ(built->status, 0) << built->err;
  const auto check = [&](const std::string& folder, const std::string& log, const std::string& proof) {
    return *RunProcess({work.File("tlog_check"), folder, Vkey(), log, proof});
  };
  for (const std::string log : {"control", "evidence"}) {
    const auto proof = work.File(log + ".proof");
    Write(proof, f().Run("auditor-1", {"ledger", "prove", log, "5"}).out);
    const auto whole = check(Whole(), log, proof);
    EXPECT_EQ(whole.status, 0) << whole.out << whole.err;
    EXPECT_NE(whole.out.find("verified " + std::to_string(Size(log)) + " entries"), std::string::npos) << whole.out;
    auto folder = Copy();
    const auto [bundle, first] = BundleOf(log, 0);
    auto entries = Cut(ReadFile(Whole() + "/" + bundle));
    entries[3].back() ^= 1;
    Write(folder + "/" + bundle, Join(entries));
    EXPECT_EQ(check(folder, log, proof).status, 3) << "a changed entry";
    auto other = ReadFile(proof);
    other[other.find('\n', other.find('\n') + 1) + 5] ^= 1;
    Write(proof, other);
    EXPECT_EQ(check(Whole(), log, proof).status, 3) << "a changed proof";
  }
}

// A proof that the service hands out verifies against the root that the token signed.
TEST_F(Export, L1_ProofsOfTheServiceVerify) {
  const auto key = Key();
  for (const std::string log : {"control", "evidence"})
    for (const std::uint64_t index : {std::uint64_t{0}, std::uint64_t{7}}) {
      const auto ran = f().Run("auditor-1", {"ledger", "prove", log, std::to_string(index)});
      ASSERT_EQ(ran.status, 0) << ran.err;
      const auto split = ran.out.find("\n\n");
      const auto note = crypto::OpenNote(ran.out.substr(split + 2), std::span(&key, 1));
      ASSERT_TRUE(note) << note.error().Line();
      const auto head = *crypto::Checkpoint::Parse(note->text);
      std::vector<crypto::Digest> path;
      std::istringstream lines(ran.out.substr(0, split));
      std::string line;
      std::getline(lines, line);
      EXPECT_EQ(line, "c2sp.org/tlog-proof@v1");
      std::getline(lines, line);
      EXPECT_EQ(line, "index " + std::to_string(index));
      while (std::getline(lines, line)) {
        const auto bytes = *DecodeBase64(line, Base64::kStandardPadded);
        path.emplace_back();
        std::copy(bytes.begin(), bytes.end(), path.back().begin());
      }
      const auto entry = Cut(ReadFile(Whole() + "/" + BundleOf(log, 0).first))[index];
      EXPECT_TRUE(crypto::VerifyInclusion(index, head.size, crypto::LeafHash(AsBytes(entry)), path, head.root));
    }
  EXPECT_EQ(f().Run("auditor-1", {"ledger", "prove", "control", "999999"}).status, 1);
}

}  // namespace
}  // namespace strongroom::tests
