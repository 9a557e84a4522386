// L2: a process that records and tells its parent what was acknowledged is killed at a random moment; nothing
// acknowledged is missing.

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <functional>
#include <random>
#include <sstream>

#include "ledger/ledger.h"
#include "provisioning/process.h"
#include "tests/support/temp_dir.h"

namespace strongroom::ledger {
namespace {

TEST(LedgerCrash, L2_KilledAtAnyMomentNothingAcknowledgedIsLost) {
  tests::TempDir dir;
  std::mt19937 random(42);
  std::uint64_t known = 0;
  for (int round = 0; round < 25; ++round) {
    std::array<int, 2> acks{};
    ASSERT_EQ(pipe(acks.data()), 0);
    const pid_t child = fork();
    if (child == 0) {
      (void)close(acks[0]);
      auto ledger = Ledger::Open({dir.File("data"), std::size_t{1} << 30});
      if (!ledger) _exit(3);
      while (true) {
        Submission s;
        for (int i = 0; i < 3; ++i) {
          EvidenceEntry e;
          e.request_id = "r";
          e.outcome = "ok";
          s.evidence.push_back(e);
        }
        s.control.push_back({1, ProposalFiled{"p"}});
        if (!(*ledger)->Record(std::move(s))) _exit(4);
        const auto size = (*ledger)->HeadOf(Log::kEvidence).size;
        if (write(acks[1], &size, sizeof size) != static_cast<ssize_t>(sizeof size)) _exit(5);
      }
    }
    (void)close(acks[1]);
    // Let it acknowledge a random number of records, then kill it wherever it is.
    const auto until = 1 + random() % 40;
    std::uint64_t size = 0, acknowledged = known;
    for (unsigned i = 0; i < until && read(acks[0], &size, sizeof size) == static_cast<ssize_t>(sizeof size); ++i)
      acknowledged = size;
    (void)kill(child, SIGKILL);
    while (read(acks[0], &size, sizeof size) == static_cast<ssize_t>(sizeof size)) acknowledged = size;
    (void)close(acks[0]);
    int status = 0;
    (void)waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the child ended by itself with " << WEXITSTATUS(status);
    const auto ledger = Ledger::Open({dir.File("data"), std::size_t{1} << 30});
    ASSERT_TRUE(ledger) << ledger.error().Line();
    EXPECT_GE((*ledger)->HeadOf(Log::kEvidence).size, acknowledged);
    EXPECT_EQ((*ledger)->HeadOf(Log::kEvidence).size, 3 * (*ledger)->HeadOf(Log::kControl).size)
        << "a submission is whole or not there";
    known = (*ledger)->HeadOf(Log::kEvidence).size;
  }
  EXPECT_GT(known, 100U);
}

struct Tally {
  int failed = 0, killed = 0;
};
using Judge = std::function<void(Ledger&, const Head&, const std::string& what)>;

// A run of the recorder with one of its system calls broken once, and what is there afterwards.
void BreakOnce(const std::string& call, const std::string& harm, int when, const std::string& records,
               const std::vector<std::string>& kind, Tally& tally, const Judge& judge) {
  const auto what = call + " " + harm + " at call " + std::to_string(when);
  tests::TempDir dir;
  const auto data = dir.File("data");
  std::vector<std::string> command = {STRONGROOM_RECORDER, data, "2"};
  command.insert(command.end(), kind.begin(), kind.end());
  const auto whole = provisioning::RunProcess(command);
  ASSERT_EQ(whole->status, 0) << whole->err;
  command[2] = records;
  const auto inject = "inject=" + call + ":" + harm + ":when=" + std::to_string(when);
  const std::vector<std::string> strace = {"strace",        "-f", "-qq", "-o", "/dev/null", "-e",
                                           "trace=" + call, "-e", inject};
  command.insert(command.begin(), strace.begin(), strace.end());
  const auto broken = provisioning::RunProcess(command);
  // The last size that the recorder told, or of the whole run before it: two records of three entries.
  std::uint64_t acknowledged = 6;
  std::istringstream lines(broken->out);
  for (std::uint64_t size = 0; lines >> size;) acknowledged = size;
  tally.failed += broken->status == 4 ? 1 : 0;
  tally.killed += broken->status > 128 ? 1 : 0;
  EXPECT_NE(broken->status, 5) << what << ": it went on after a failure";
  const auto ledger = Ledger::Open({data, std::size_t{1} << 30});
  ASSERT_TRUE(ledger) << what << ": " << ledger.error().Line();
  const auto head = (*ledger)->HeadOf(Log::kEvidence);
  EXPECT_GE(head.size, acknowledged) << what;
  EXPECT_EQ(*(*ledger)->RootAt(Log::kEvidence, head.size), head.root) << what;
  judge(**ledger, head, what);
}

// Each system call of opening and committing fails once with EIO and with ENOSPC, or the process dies in it: after a
// restart nothing acknowledged is missing, what is there is whole, and the ledger goes on.
TEST(LedgerCrash, L2_AnyFailedWriteOrSyncLosesNothingAcknowledged) {
  Tally tally;
  for (const std::string call : {"pwrite64", "pwritev", "fdatasync"})
    for (const std::string harm : {"error=EIO", "error=ENOSPC", "signal=KILL"})
      for (int when = 1; when <= (call == "pwrite64" ? 24 : 8); ++when)
        BreakOnce(call, harm, when, "6", {}, tally, [](Ledger& ledger, const Head& head, const std::string& what) {
          EXPECT_EQ(head.size, 3 * ledger.HeadOf(Log::kControl).size) << what << ": a submission is whole or not there";
          Submission more;
          more.control.push_back({1, ProposalFiled{"p"}});
          EXPECT_TRUE(ledger.Record(std::move(more))) << what << ": it goes on";
        });
  EXPECT_GT(tally.failed, 25);
  EXPECT_GT(tally.killed, 12);
}

// L3 where the journal takes it: between two acknowledgements there is a write and a flush that has ended. As the
// kernel sees it: each line of the trace is a system call, in the order of their ends.
TEST(LedgerCrash, L3_EachAcknowledgementFollowsItsFlush) {
  tests::TempDir dir;
  ASSERT_EQ(provisioning::RunProcess({STRONGROOM_RECORDER, dir.File("data"), "1", "3"})->status, 0);
  const auto traced = provisioning::RunProcess({"strace", "-f", "-qq", "-y", "-o", dir.File("trace"), "-e",
                                                "trace=pwrite64,pwritev,fdatasync,write", STRONGROOM_RECORDER,
                                                dir.File("data"), "40", "3"});
  ASSERT_EQ(traced->status, 0) << traced->err;
  std::istringstream lines(tests::ReadFile(dir.File("trace")));
  int acknowledged = 0;
  bool written = false, flushed = false;
  std::string flushing;  // the thread whose flush of the journal has begun and not ended
  for (std::string line; std::getline(lines, line);) {
    const auto has = [&](const char* text) { return line.find(text) != std::string::npos; };
    const auto thread = line.substr(0, line.find(' '));
    const bool ends = has(" = 0") && (has("fdatasync resumed") ? thread == flushing : has("evidence.journal"));
    if (has(" write(1<")) {
      ++acknowledged;
      EXPECT_TRUE(written && flushed) << "acknowledgement " << acknowledged;
      written = flushed = false;
    } else if (has("pwrite64(") && has("evidence.journal")) {
      written = true;
    } else if (has("fdatasync")) {
      if (has("evidence.journal") && has("<unfinished")) flushing = thread;
      if (ends) flushed = written;
    }
  }
  EXPECT_EQ(acknowledged, 40);
}

// The same of evidence alone, which the journal takes: killed at any moment, and with each of its system calls broken.
TEST(LedgerCrash, L2_WhatTheJournalAcknowledgedIsThereAfterAnyHarm) {
  Tally tally;
  for (const std::string call : {"pwrite64", "pwritev", "fdatasync"})
    for (const std::string harm : {"error=EIO", "error=ENOSPC", "signal=KILL"})
      for (int when = 1; when <= 12; ++when)
        BreakOnce(call, harm, when, "200", {"3"}, tally, [](Ledger&, const Head& head, const std::string& what) {
          EXPECT_LE(head.size, 606U) << what << ": nothing twice";
          EXPECT_EQ(head.size % 3, 0U) << what << ": a submission is whole or not there";
        });
  EXPECT_GT(tally.failed, 25);
  EXPECT_GT(tally.killed, 20);
}

// A start in a folder where another database's journal is in the place, broken at each of its steps: the first start of
// a new database, and one that takes over its own journal from where it was set aside. The next start works, what was
// acknowledged is there once, and the other's journal has not gone.
TEST(LedgerCrash, L2_AStartThatBreaksHidesNothing) {
  namespace fs = std::filesystem;
  // As a killed service leaves it: three entries in the journal alone.
  const auto killed = [](const tests::TempDir& dir) {
    Ledger::Options options{dir.File("data"), std::size_t{1} << 30};
    options.settle_after = std::chrono::hours(1);
    options.journal_bytes = std::size_t{64} << 10;
    const auto ledger = *Ledger::Open(options);
    Submission s;
    s.evidence.resize(3);
    for (auto& entry : s.evidence) entry.outcome = "ok";
    EXPECT_TRUE(ledger->Record(std::move(s)));
    for (const auto* name : {"/data.mdb", "/evidence.journal"}) fs::copy(dir.File("data") + name, dir.path() + name);
  };
  tests::TempDir strange, own;
  killed(strange);
  killed(own);
  const auto theirs = tests::ReadFile(strange.path() + "/evidence.journal");
  const auto start = [&](const std::string& data, const std::vector<std::string>& inject, bool takes_over) {
    fs::create_directory(data);
    std::ofstream(data + "/evidence.journal", std::ios::binary) << theirs;
    if (takes_over) {
      fs::copy(own.path() + "/data.mdb", data);
      fs::copy(own.path() + "/evidence.journal", data + "/evidence.journal.aside");
    }
    std::vector<std::string> command = {"strace", "-f", "-qq", "-o", "/dev/null"};
    command.insert(command.end(), inject.begin(), inject.end());
    command.insert(command.end(), {STRONGROOM_RECORDER, data, "5", "3"});
    return *provisioning::RunProcess(command);
  };
  const auto judge = [&](const std::string& data, const std::string& told, bool takes_over, const std::string& what) {
    std::uint64_t acknowledged = takes_over ? 3 : 0;
    const std::uint64_t all = acknowledged + 15;
    std::istringstream lines(told);
    for (std::uint64_t size = 0; lines >> size;) acknowledged = size;
    const auto ledger = Ledger::Open({data, std::size_t{1} << 30});
    ASSERT_TRUE(ledger) << what << ": " << ledger.error().Line();
    EXPECT_GE((*ledger)->HeadOf(Log::kEvidence).size, acknowledged) << what;
    EXPECT_LE((*ledger)->HeadOf(Log::kEvidence).size, all) << what << ": nothing twice";
    int kept = 0;
    for (const auto& entry : fs::directory_iterator(data))
      kept += entry.file_size() == theirs.size() && tests::ReadFile(entry.path().string()) == theirs ? 1 : 0;
    EXPECT_EQ(kept, 1) << what << ": the other database's journal";
  };
  for (const bool takes_over : {false, true}) {
    tests::TempDir whole;
    const auto unbroken = start(whole.File("data"), {"-e", "trace=rename"}, takes_over);
    ASSERT_EQ(unbroken.status, 0) << unbroken.err;
    judge(whole.File("data"), unbroken.out, takes_over, "unbroken");
    int failed = 0, killed_in = 0;
    for (const std::string call : {"pwrite64", "fsync", "rename", "unlink", "fdatasync"})
      for (const std::string harm : {"error=EIO", "error=ENOSPC", "signal=KILL"})
        for (int when = 1; when <= (call == "pwrite64" ? 8 : 3); ++when) {
          const auto what =
              call + " " + harm + " at call " + std::to_string(when) + (takes_over ? ", taking over" : "");
          tests::TempDir dir;
          const auto ran =
              start(dir.File("data"),
                    {"-e", "trace=" + call, "-e", "inject=" + call + ":" + harm + ":when=" + std::to_string(when)},
                    takes_over);
          failed += ran.status == 3 || ran.status == 4 ? 1 : 0;
          killed_in += ran.status > 128 ? 1 : 0;
          judge(dir.File("data"), ran.out, takes_over, what);
        }
    EXPECT_GT(failed, 10) << takes_over;
    EXPECT_GT(killed_in, 8) << takes_over;
  }
}

}  // namespace
}  // namespace strongroom::ledger
