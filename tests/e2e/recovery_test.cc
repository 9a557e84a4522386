// Backups of a real appliance, restores into it, and what both refuse. The way that works is the recovery guide's,
// which guides_test runs.

#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <optional>
#include <sstream>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include "netapi/json.h"
#include "tests/support/dev_suite.h"

namespace strongroom::tests {
namespace {

namespace fs = std::filesystem;
using provisioning::RunProcess;

class Backups : public DevSuite<class BackupsTag> {
 protected:
  static void SetUpTestSuite() {
    DevSuite<class BackupsTag>::SetUpTestSuite();
    work_ = new TempDir();
    ASSERT_EQ(f().Run("service-1", {"datakey", "--keyring", "install"}).status, 0);
    const auto made = f().Run("auditor-1", {"backup", "--out", Whole()});
    ASSERT_EQ(made.status, 0) << made.err;
  }
  static void TearDownTestSuite() {
    delete work_;
    DevSuite<class BackupsTag>::TearDownTestSuite();
  }
  static std::string Whole() { return work_->File("whole.tar"); }
  static std::string Vkey() { return f().Path("ledger.vkey"); }
  provisioning::ProcessOutcome Restore(const std::string& file, const std::string& vkey = Vkey()) {
    std::error_code ignored;
    fs::remove_all(Target(), ignored);
    return f().Run("operator-1", {"restore", "--in", file, "--dir", Target(), "--vkey", vkey});
  }
  static std::string Target() { return work_->File("restored"); }
  // Nothing is left behind where a restore was refused.
  static std::size_t Left() {
    std::size_t count = 0;
    for (const auto& entry : fs::directory_iterator(work_->path()))
      count += entry.path().filename().string().find(".work-") != std::string::npos || entry.path() == Target();
    return count;
  }
  static inline TempDir* work_ = nullptr;
};

TEST_F(Backups, BackupsAreWrittenOverNothing) {
  const auto before = ReadFile(Whole());
  const auto again = f().Run("auditor-1", {"backup", "--out", Whole()});
  EXPECT_EQ(again.status, 1);
  EXPECT_NE(again.err.find("file-exists"), std::string::npos) << again.err;
  EXPECT_EQ(ReadFile(Whole()), before);
  EXPECT_EQ(f().Run("service-1", {"backup", "--out", work_->File("no.tar")}).status, 1) << "a service may not";
  EXPECT_FALSE(fs::exists(work_->File("no.tar")));
  EXPECT_EQ(fs::status(Whole()).permissions() & fs::perms::others_all, fs::perms::none);
  EXPECT_EQ(Left(), 0U);
}

TEST_F(Backups, L8_WhatIsNotThisInstancesWholeBackupIsRefused) {
  const DevFixture other;
  const auto foreign = Restore(Whole(), other.Path("ledger.vkey"));
  EXPECT_EQ(foreign.status, 3) << "another instance's backup";
  EXPECT_NE(foreign.err.find("no known key has signed"), std::string::npos) << foreign.err;
  const auto bytes = ReadFile(Whole());
  const auto cut = work_->File("cut.tar");
  for (const auto size : {bytes.size() / 2, std::size_t{100}, std::size_t{0}}) {
    std::ofstream(cut, std::ios::binary | std::ios::trunc) << bytes.substr(0, size);
    EXPECT_EQ(Restore(cut).status, 3) << size;
  }
  // A byte of an entry, and a file that leads out of the folder.
  const auto at = bytes.find("service-1");
  ASSERT_NE(at, std::string::npos);
  auto changed = bytes;
  changed[at] ^= 1;
  std::ofstream(cut, std::ios::binary | std::ios::trunc) << changed;
  const auto tampered = Restore(cut);
  EXPECT_EQ(tampered.status, 3);
  EXPECT_NE(tampered.err.find("entry "), std::string::npos) << tampered.err;
  const TempDir evil;
  fs::create_directories(evil.File("a"));
  fs::create_symlink("/etc/passwd", evil.File("a/control"));
  ASSERT_EQ(RunProcess({"tar", "--create", "--file", cut, "--overwrite", "-C", evil.File("a"), "."})->status, 0);
  EXPECT_EQ(Restore(cut).status, 3);
  EXPECT_EQ(Restore(work_->File("nowhere.tar")).status, 1);
  EXPECT_EQ(Left(), 0U) << "nothing is left of what was refused";
  EXPECT_EQ(f().Run("operator-1", {"restore", "--in", Whole(), "--dir", Target()}).status, 2) << "whose is it?";
  const auto held = f().Run("operator-1", {"restore", "--in", Whole(), "--dir", f().Dir()});
  EXPECT_EQ(held.status, 1);
  EXPECT_NE(held.err.find("directory-in-use"), std::string::npos) << held.err;
}

// A restored database is the log that was backed up: it verifies as it did, and its state follows.
TEST_F(Backups, L8_ARestoredDatabaseIsTheOneThatWasBackedUp) {
  const auto done = Restore(Whole());
  ASSERT_EQ(done.status, 0) << done.err;
  const auto rebuilt = f().Run("operator-1", {"--json", "ledger", "rebuild", "--data", Target()});
  EXPECT_NE(rebuilt.out.find("\"same_as_before\":true"), std::string::npos) << rebuilt.out << rebuilt.err;
}

// BoundInventory: what may be done to the inventory of a backup that is otherwise whole. One appliance, one backup of
// three wrapped DEKs in two keyrings, and one of before they were all there.
class BoundInventory : public DevSuite<class BoundInventoryTag> {
 protected:
  static void SetUpTestSuite() {
    DevSuite<class BoundInventoryTag>::SetUpTestSuite();
    work_ = new TempDir();
    Put("install", "db-alpha");
    Put("install", "db-beta");
    ASSERT_EQ(f().Run("auditor-1", {"backup", "--out", work_->File("earlier.tar")}).status, 0);
    Put("org-b", "db-gamma");
    ASSERT_EQ(f().Run("auditor-1", {"backup", "--out", work_->File("whole.tar")}).status, 0);
    Unpack("whole");
    Unpack("earlier");
  }
  static void TearDownTestSuite() {
    delete work_;
    DevSuite<class BoundInventoryTag>::TearDownTestSuite();
  }
  static void Put(const std::string& keyring, const std::string& id) {
    const auto wrapped = f().Run("service-1", {"datakey", "--keyring", keyring}).out;
    ASSERT_EQ(f().Run("service-1", {"dek", "put", id, "--keyring", keyring}, wrapped).status, 0);
  }
  static void Unpack(const std::string& name) {
    fs::create_directory(work_->File(name));
    ASSERT_EQ(RunProcess({"tar", "--extract", "--file", work_->File(name + ".tar"), "-C", work_->File(name)})->status,
              0);
  }
  static std::string Inventory(const std::string& name = "whole") {
    return ReadFile(work_->File(name) + "/inventory.ndjson");
  }
  // The backup with another inventory; without one for nullopt.
  static std::string With(const std::optional<std::string>& inventory) {
    const auto folder = work_->File("edited"), tar = work_->File("edited.tar");
    fs::remove_all(folder);
    fs::copy(work_->File("whole"), folder, fs::copy_options::recursive);
    fs::remove(folder + "/inventory.ndjson");
    if (inventory) std::ofstream(folder + "/inventory.ndjson", std::ios::binary) << *inventory;
    EXPECT_EQ(RunProcess({"tar", "--create", "--file", tar, "-C", folder, "."})->status, 0);
    return tar;
  }
  static provisioning::ProcessOutcome Restore(const std::string& tar, std::vector<std::string> more = {}) {
    std::error_code ignored;
    fs::remove_all(work_->File("restored"), ignored);
    std::vector<std::string> arguments = {
        "restore", "--in", tar, "--dir", work_->File("restored"), "--vkey", f().Path("ledger.vkey")};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return f().Run("operator-1", arguments);
  }
  // The second verifier's word on the folder that was edited last.
  static int Oracle(const std::string& folder) {
    return RunProcess({"python3", std::string(STRONGROOM_SOURCE_DIR) + "/tests/oracle/verify_export.py",
                       work_->File(folder), f().Path("ledger.vkey")})
        ->status;
  }
  static std::vector<std::string> Lines() {
    std::vector<std::string> lines;
    std::istringstream in(Inventory());
    for (std::string line; std::getline(in, line);)
      if (line.starts_with('{')) lines.push_back(line);
    return lines;
  }
  static std::string Joined(const std::vector<std::string>& lines) {
    std::string out;
    for (const auto& line : lines) out += line + "\n";
    return out + "# end, wrapped DEKs: " + std::to_string(lines.size()) + "\n";
  }
  static inline TempDir* work_ = nullptr;
};

TEST_F(BoundInventory, L15_ABackupHoldsWhatItsEvidenceSays) {
  ASSERT_EQ(Lines().size(), 3U);
  EXPECT_EQ(Joined(Lines()), Inventory());
  const auto whole = Restore(With(Inventory()));
  EXPECT_EQ(whole.status, 0) << whole.err;
  EXPECT_NE(whole.out.find("3 wrapped DEKs"), std::string::npos) << whole.out;
  EXPECT_EQ(Oracle("whole"), 0);
  const auto shown = f().Run("auditor-1", {"ledger", "show", "evidence", "--op", "backup"}).out;
  EXPECT_NE(shown.find("principal=auditor-1 operation=backup"), std::string::npos) << shown;
  EXPECT_NE(shown.find("items=3"), std::string::npos) << shown;
}

// Whatever is dropped, swapped, doubled, added, put back or taken away: is it refused by both verifiers?
TEST_F(BoundInventory, L15_AnInventoryThatWasTouchedIsRefused) {
  const auto lines = Lines();
  const auto swapped = [&] {
    auto out = lines;
    const auto exchange = [](std::string& text, const std::string& from, const std::string& to) {
      text.replace(text.find(from), from.size(), to);
    };
    for (auto& line : out)
      if (line.find("db-alpha") != std::string::npos)
        exchange(line, "db-alpha", "db-beta");
      else if (line.find("db-beta") != std::string::npos)
        exchange(line, "db-beta", "db-alpha");
    std::sort(out.begin(), out.end(), [&](const auto& a, const auto& b) {
      const auto place = [&](const std::string& line) {  // keyrings as they stood, then ids
        const bool has_gamma = line.find("db-gamma") != std::string::npos;
        const bool gamma_first = lines[0].find("db-gamma") != std::string::npos;
        return std::pair(has_gamma != gamma_first, line.substr(0, line.find(',')));
      };
      return place(a) < place(b);
    });
    return out;
  }();
  auto one = lines, doubled = lines, turned = lines, renamed = lines, dated = lines, held = lines;
  one.pop_back();
  doubled.push_back(lines.back());
  std::swap(turned.front(), turned.back());
  renamed[1].replace(renamed[1].find("db-"), 3, "dc-");
  const auto at = dated[0].find("\"stored\":\"") + 10;
  dated[0].replace(at, 4, "2020");
  held[0].insert(held[0].size() - 1, ",\"quarantine\":\"unwrap-failed\"");
  const std::map<std::string, std::optional<std::string>> edits = {
      {"dropped", Joined(one)},         {"swapped", Joined(swapped)}, {"doubled", Joined(doubled)},
      {"out of order", Joined(turned)}, {"renamed", Joined(renamed)}, {"dated", Joined(dated)},
      {"in quarantine", Joined(held)},  {"emptied", Joined({})},      {"an earlier backup's", Inventory("earlier")},
      {"removed", std::nullopt}};
  for (const auto& [what, inventory] : edits) {
    const auto refused = Restore(With(inventory));
    EXPECT_EQ(refused.status, 3) << what << refused.out << refused.err;
    EXPECT_NE(refused.err.find("inventory-"), std::string::npos) << what << refused.err;
    EXPECT_FALSE(fs::exists(work_->File("restored"))) << what;
    if (inventory) EXPECT_EQ(Oracle("edited"), 3) << what;
  }
}

// A line of 20 GiB in an archive of a few MB: is it refused in the memory of a line?
TEST_F(BoundInventory, L15_ALineWithoutEndTakesNoMemory) {
  const auto folder = work_->File("sparse"), tar = work_->File("sparse.tar");
  fs::copy(work_->File("whole"), folder, fs::copy_options::recursive);
  fs::resize_file(folder + "/inventory.ndjson", std::uintmax_t{20} << 30);
  ASSERT_EQ(RunProcess({"tar", "--create", "--sparse", "--file", tar, "-C", folder, "."})->status, 0);
  const auto refused =
      RunProcess({"prlimit", "--data=" + std::to_string(512U << 20), DevFixture::Program("strongroom"), "restore",
                  "--in", tar, "--dir", work_->File("restored"), "--vkey", f().Path("ledger.vkey")});
  EXPECT_EQ(refused->status, 3) << refused->out << refused->err;
  EXPECT_NE(refused->err.find("inventory-damaged"), std::string::npos) << refused->err;
}

// A file's name in an export erases the line that names it: does the terminal see it?
TEST_F(BoundInventory, L16_NamesInAnExportReachNoTerminal) {
  const auto folder = work_->File("named");
  fs::copy(work_->File("whole"), folder, fs::copy_options::recursive);
  fs::remove(folder + "/inventory.ndjson");
  const std::vector<std::string> verify = {"ledger", "verify", folder, "--vkey", f().Path("ledger.vkey")};
  ASSERT_EQ(f().Run("auditor-1", verify).status, 0);
  std::ofstream(folder + "/\x1b[2K\rverified: \xE2\x80\xAE") << "x";
  const auto refused = f().Run("auditor-1", verify);
  EXPECT_EQ(refused.status, 3);
  EXPECT_NE(refused.err.find("\\u{1B}[2K\\u{D}verified: \\u{202E}"), std::string::npos) << refused.err;
  EXPECT_EQ((refused.out + refused.err).find_first_of("\x1b\r"), std::string::npos);
}

// A backup of an earlier build has no such entry, and a touched one does not fit it: is either taken only when somebody
// says so, and does the log then say it, too?
TEST(UnboundInventory, L15_WhatNothingProvesIsTakenOnlyOnRecord) {
  DevFixture f;
  const TempDir work;
  const auto cli = DevFixture::Program("strongroom"), tar = work.File("backup.tar"), folder = work.File("backup");
  const auto wrapped = f.Run("service-1", {"datakey", "--keyring", "install"}).out;
  ASSERT_EQ(f.Run("service-1", {"dek", "put", "db-alpha", "--keyring", "install"}, wrapped).status, 0);
  // What an earlier build writes: an export, and an inventory that its log does not mention.
  ASSERT_EQ(f.Run("auditor-1", {"ledger", "export", "--out", folder}).status, 0);
  const auto listed = f.Run("auditor-1", {"--json", "dek", "list", "--keyring", "install"}).out;
  auto line = netapi::ParseJson(listed)->at("items").as_array().at(0).as_object();
  std::ofstream(folder + "/inventory.ndjson") << boost::json::serialize(line) << "\n# end, wrapped DEKs: 1\n";
  ASSERT_EQ(RunProcess({"tar", "--create", "--file", tar, "-C", folder, "."})->status, 0);
  const auto vkey = work.File("vkey");
  fs::copy(f.Path("ledger.vkey"), vkey);
  ASSERT_EQ(RunProcess({cli, "dev", "down", "--dir", f.Dir()})->status, 0);
  fs::rename(f.Path("data"), work.File("lost"));
  const std::vector<std::string> restore = {cli, "restore", "--in", tar, "--dir", f.Dir(), "--vkey", vkey};
  const auto refused = RunProcess(restore);
  EXPECT_EQ(refused->status, 3) << refused->out;
  EXPECT_NE(refused->err.find("inventory-unbound"), std::string::npos) << refused->err;
  EXPECT_NE(refused->err.find("--unbound-inventory"), std::string::npos) << "the way on: " << refused->err;
  auto unbound = restore;
  unbound.emplace_back("--unbound-inventory");
  const auto taken = RunProcess(unbound);
  ASSERT_EQ(taken->status, 0) << taken->err;
  EXPECT_NE(taken->err.find("nothing proves"), std::string::npos) << taken->err;
  ASSERT_EQ(RunProcess({cli, "dev", "up", "--dir", f.Dir()})->status, 0);
  const auto shown = f.Run("auditor-1", {"ledger", "show", "evidence"}).out;
  EXPECT_NE(shown.find("outcome=inventory-unbound"), std::string::npos) << shown;
}

// A database that was deleted and made anew by a first boot is rolled back too; nothing of it is used.
TEST(Recreated, L8_ADatabaseMadeAnewIsRolledBack) {
  DevFixture f;
  const std::string cli = DevFixture::Program("strongroom");
  ASSERT_EQ(RunProcess({cli, "dev", "down", "--dir", f.Dir()})->status, 0);
  fs::remove_all(f.Path("data"));
  fs::create_directory(f.Path("data"));
  ASSERT_EQ(RunProcess({DevFixture::Program("strongroomd"), "--config", f.Path("strongroom.toml"), "--first-boot",
                        f.Path("roster")})
                ->status,
            0);
  const auto up = RunProcess({cli, "dev", "up", "--dir", f.Dir()});
  EXPECT_EQ(up->status, 0) << up->err;
  EXPECT_NE(up->err.find("rollback"), std::string::npos) << up->err;
  EXPECT_NE(f.Run("operator-1", {"status"}).out.find("rollback"), std::string::npos);
  EXPECT_EQ(f.Run("operator-1", {"propose", "keyring.create", "--keyring", "install", "--reason", "r"}).status, 4);
  EXPECT_EQ(f.Run("service-1", {"datakey", "--keyring", "install"}).status, 4);
}

// A killed service whose journal went missing: is it refused with the way on, and does the way on leave its trace where
// both verifiers take it?
TEST(MissingJournal, L2_AKilledServiceIsNotStartedWithoutItsJournalUnlessThatIsOnRecord) {
  DevFixture f;
  const TempDir aside;
  const std::string cli = DevFixture::Program("strongroom");
  ASSERT_EQ(f.Run("service-1", {"datakey", "--keyring", "install"}).status, 0);
  ASSERT_EQ(kill(f.PidOf("strongroomd.pid"), SIGKILL), 0);
  ASSERT_EQ(RunProcess({cli, "dev", "down", "--dir", f.Dir()})->status, 0);
  fs::rename(f.Path("data/evidence.journal"), aside.File("kept"));
  const auto refused = RunProcess({cli, "dev", "up", "--dir", f.Dir()});
  EXPECT_EQ(refused->status, 4) << refused->out;
  EXPECT_NE(refused->err.find("journal-missing"), std::string::npos) << refused->err;
  EXPECT_NE(refused->err.find("--without-journal"), std::string::npos) << "the way on: " << refused->err;
  ASSERT_EQ(RunProcess({cli, "dev", "down", "--dir", f.Dir()})->status, 0);
  const auto plain = f.Run("operator-1", {"ledger", "rebuild", "--data", f.Path("data")});
  EXPECT_EQ(plain.status, 1) << "a rebuild by itself gives nothing up";
  EXPECT_NE(plain.err.find("journal-missing"), std::string::npos) << plain.err;

  // With the file back all is as it was; without it, what is missing is said in the log.
  fs::rename(aside.File("kept"), f.Path("data/evidence.journal"));
  f.Up();
  ASSERT_EQ(kill(f.PidOf("strongroomd.pid"), SIGKILL), 0);
  ASSERT_EQ(RunProcess({cli, "dev", "down", "--dir", f.Dir()})->status, 0);
  fs::remove(f.Path("data/evidence.journal"));
  const auto given_up = f.Run("operator-1", {"ledger", "rebuild", "--data", f.Path("data"), "--without-journal"});
  ASSERT_EQ(given_up.status, 0) << given_up.err;
  f.Up();
  EXPECT_EQ(f.Run("service-1", {"datakey", "--keyring", "install"}).status, 0);
  const auto shown = f.Run("auditor-1", {"--json", "ledger", "show", "evidence"}).out;
  EXPECT_NE(shown.find("\"journal-missing\""), std::string::npos) << shown;
  const auto folder = aside.File("export"), vkey = f.Path("ledger.vkey");
  ASSERT_EQ(f.Run("auditor-1", {"ledger", "export", "--out", folder}).status, 0);
  EXPECT_EQ(f.Run("auditor-1", {"ledger", "verify", folder, "--vkey", vkey}).status, 0);
  const auto oracle =
      RunProcess({"python3", std::string(STRONGROOM_SOURCE_DIR) + "/tests/oracle/verify_export.py", folder, vkey});
  EXPECT_EQ(oracle->status, 0) << oracle->err;
}

}  // namespace
}  // namespace strongroom::tests
