// An adoption writes three objects, a claim, the evidence head and the record. Is there a moment at which a fault
// between them leaves a token that can neither go on nor adopt again (L8, Q13)?

#include <gtest/gtest.h>

#include "hsm/token_key_ops.h"
#include "tests/contract/contract_log.h"
#include "tests/support/faulty_module.h"

namespace strongroom::hsm {
namespace {

using tests::SharedQuorum;

TEST(AdoptionCutOff, L8_AFaultAtAnyWriteLeavesAWayOn) {
  const auto instance = SharedQuorum().instance();
  const SystemClock clock;
  int adopted_at_once = 0;
  for (int passed = 0; passed < 4; ++passed) {
    tests::SoftHsmFixture token;
    const tests::FaultyModule module(token.dir().path(), STRONGROOM_BIN_DIR);
    const auto open = [&] {
      TokenKeyOps::Options options;
      options.store.installation = {1};
      return *TokenKeyOps::Open(*TokenUri::Parse(token.uri_text(module.path())), clock, std::move(options));
    };
    Log control(crypto::ControlOrigin(instance)), evidence(crypto::EvidenceOrigin(instance));
    control.Grow(6);
    evidence.Grow(4);
    auto ops = open();
    ASSERT_TRUE(ops->SignCheckpoint(control.Head(), {}));
    ASSERT_TRUE(ops->SignCheckpoint(evidence.Head(), {}));
    const auto adopt = [&] {
      auto proposal = SharedQuorum().Proposal("ledger.adopt", "",
                                              {{"token", ops->Identity()->serial},
                                               {"epoch", "2"},
                                               {"evidence-log", "4 " + ToHex(evidence.Head().root)},
                                               {"token-control", "epoch 1 size 6 root " + ToHex(control.Head().root)},
                                               {"token-evidence", "epoch 1 size 4 root " + ToHex(evidence.Head().root)},
                                               {"state", "behind"},
                                               {"keep", "none"}},
                                              clock.Now());
      proposal.control_size = 6;
      proposal.control_root = control.Head().root;
      const auto text = *proposal.Render();
      return ops->ChangeLedgerRecord(*crypto::GrantExecution(
          SharedQuorum().roster(), text,
          {SharedQuorum().Sign("custodian-1", text), SharedQuorum().Sign("custodian-2", text)}, clock.Now()));
    };
    module.Order("C_CreateObject return 0x30 after " + std::to_string(passed) + " times 1");
    const auto first = adopt();
    adopted_at_once += first ? 1 : 0;
    module.Heal();
    ops.reset();
    ops = open();
    if (ops->ReadLedgerRecord()->epoch == 1) ASSERT_TRUE(adopt()) << passed;
    Log next(crypto::EvidenceOrigin(instance, 2));
    next.Grow(5);
    const auto signs = ops->SignCheckpoint(next.Head(), next.ProofFrom(4));
    EXPECT_TRUE(signs) << passed << ": " << signs.error().Line();
    EXPECT_EQ(ops->ReadLedgerRecord()->anchors.size(), 2U) << passed;
  }
  EXPECT_EQ(adopted_at_once, 1) << "the fault was behind the last write once, and at each of the three before";
}

}  // namespace
}  // namespace strongroom::hsm
