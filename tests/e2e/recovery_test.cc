// Backups of a real appliance, restores into it, and what both refuse. The way that works is the recovery guide's,
// which guides_test runs.

#include <gtest/gtest.h>
#include <signal.h>

#include <fstream>

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
