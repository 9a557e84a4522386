// What must not compile: an ExecutionGrant that nobody voted for, a standing grant of no record, a second one made of
// it, an answer without its evidence. ATTEMPT 0 is the control: the same file without an attempt compiles.

#include "crypto/quorum.h"
#include "hsm/key_ops.h"
#include "ledger/staged.h"

using namespace strongroom;

[[maybe_unused]] static Result<void> Attempt(hsm::KeyOps& ops, crypto::ExecutionGrant& given, const hsm::KeySpec& spec,
                                             ledger::Staged<int>& staged) {
#if ATTEMPT == 1
  crypto::ExecutionGrant made;
  return ops.Generate(std::move(made), spec);
#elif ATTEMPT == 2
  return ops.Generate(given, spec);
#elif ATTEMPT == 3
  return ops.ChangeLedgerRecord({});
#elif ATTEMPT == 4
  const ledger::Committed committed(1);
  (void)std::move(staged).Open(committed);
#elif ATTEMPT == 5
  crypto::StandingGrant standing(spec.ref.key, true);
  return ops.Destroy(std::move(standing), spec.ref);
#elif ATTEMPT == 6
  return ops.GenerateByMandate({}, spec);
#endif
  (void)staged;
  return ops.Generate(std::move(given), spec);
}
