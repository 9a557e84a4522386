#pragma once
#include <gtest/gtest.h>

#include "appliance/ledger_clock.h"
#include "tests/support/world.h"

namespace strongroom::tests {

/// ClockWorld is a control plane, and its token, under clocks that the test moves: `reading_` is what the machine says.
class ClockWorld : public testing::Test {
 protected:
  static constexpr Millis kBegin = 1'800'000'000'000;
  ClockWorld() {
    w_.token.now = [this] { return reading_.host; };
    w_.token.steady = [this] { return reading_.steady; };
    Boot();
    (void)w_.FirstBoot();
    (void)*w_.Done("keyring.create", "install");
  }
  /// Boot starts the service anew on what is on disk, with the clocks as they are.
  void Boot() {
    w_.Close();
    w_.token.Restart();
    w_.ledger = *ledger::Ledger::Open({w_.dir.File("data"), std::size_t{1} << 30});
    auto state = *appliance::Load(*w_.ledger);
    clock_ = std::make_unique<appliance::LedgerClock>(*w_.ledger->LastTime(), state.clock_frozen,
                                                      [this] { return reading_; });
    w_.governance = std::make_unique<appliance::Governance>(*w_.ledger, w_.token, *clock_, std::move(state));
  }
  void Pass(Millis time) {
    reading_.host += time;
    reading_.steady += time;
  }
  /// CutOffAcceptance freezes the clock, has its acceptance voted for and done by the token, and leaves the ledger with
  /// the intent alone, as a crash in between does. Yields the proposal's id.
  std::string CutOffAcceptance() {
    reading_.host += Millis{3600} * 1000;
    EXPECT_TRUE(w_.governance->WatchClock());
    const auto id = *w_.Approved("clock.accept", "");
    const auto state = w_.governance->Snapshot();
    auto grant = appliance::JudgeExecution(*state, *state->FindProposal(id), reading_.host);
    EXPECT_TRUE(grant) << (grant ? "" : grant.error().Line());
    ledger::Submission intent;
    intent.control.push_back({clock_->Now(), ledger::ProposalConsumed{id, "operator-1"}});
    appliance::State next = *state;
    intent.rows = appliance::RowsOf(next, *appliance::Apply(next, intent.control[0]));
    EXPECT_TRUE(w_.ledger->Record(std::move(intent)));
    EXPECT_TRUE(w_.token.ChangeLedgerRecord(std::move(*grant)));
    return id;
  }
  World w_;
  appliance::ClockReading reading_{kBegin, 50 * kDay};
  std::unique_ptr<appliance::LedgerClock> clock_;
};

}  // namespace strongroom::tests
