// Records entries in DIR and prints each acknowledged size; for tests that break the system calls of a commit.
// With a third argument it writes that many evidence entries a record and nothing else, as the data plane does; what it
// prints then is counted, not asked of the ledger, which would put it into the database.
// Ends with 0 after COUNT records, 3 when the ledger does not open, 4 when it takes nothing more.

#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "ledger/ledger.h"

int main(int argc, char** argv) {
  using namespace strongroom;
  using namespace strongroom::ledger;
  if (argc != 3 && argc != 4) return 2;
  const int entries = argc == 4 ? std::atoi(argv[3]) : 3;
  auto ledger = Ledger::Open({argv[1], std::size_t{1} << 30});
  if (!ledger) {
    (void)std::fprintf(stderr, "%s\n", ledger.error().Line().c_str());
    return 3;
  }
  auto acknowledged = (*ledger)->HeadOf(Log::kEvidence).size;
  for (int n = std::atoi(argv[2]); n > 0; --n) {
    Submission s;
    for (int i = 0; i < entries; ++i) {
      EvidenceEntry e;
      e.time = 1'795'000'000'000;
      e.principal = "service-1";
      e.request_id = "0123456789abcdef";
      e.outcome = "ok";
      s.evidence.push_back(std::move(e));
    }
    if (argc == 3) s.control.push_back({1, ProposalFiled{"p"}});
    if (argc == 3) s.checkpoints.push_back({Log::kControl, (*ledger)->HeadOf(Log::kControl).size, "a checkpoint"});
    if (const auto recorded = (*ledger)->Record(std::move(s)); !recorded) {
      (void)std::fprintf(stderr, "%s\n", recorded.error().Line().c_str());
      // Nothing follows a failure: not one more entry is acknowledged.
      Submission more;
      more.control.push_back({1, ProposalFiled{"p"}});
      return (*ledger)->Failed() && !(*ledger)->Record(std::move(more)) ? 4 : 5;
    }
    acknowledged += static_cast<std::uint64_t>(entries);
    (void)std::printf("%llu\n", static_cast<unsigned long long>(acknowledged));
    (void)std::fflush(stdout);
  }
  return 0;
}
