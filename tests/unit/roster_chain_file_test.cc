// The token side's copy of the chain of rosters: does it lead to the roster that the token obeys, whatever was refused,
// cut off or brought meanwhile (Q12)?

#include "hsm/roster_chain_file.h"

#include <gtest/gtest.h>

#include "crypto/custody.h"
#include "tests/support/quorum_fixture.h"
#include "tests/support/temp_dir.h"

namespace strongroom::hsm {
namespace {

using crypto::Roster;
using crypto::RosterStep;
using tests::SharedQuorum;

// A change of `roster` that takes somebody out, approved; and the roster afterwards.
std::pair<RosterStep, Roster> Without(const Roster& roster, const std::string& name) {
  auto proposal =
      SharedQuorum().Proposal("roster.change", "", {{"remove-" + name, "yes"}, {"token", "t"}}, SystemClock().Now());
  proposal.roster_version = roster.version();
  proposal.roster_hash = roster.hash();
  proposal.params["new-roster"] = "x";
  auto after = *crypto::RosterAfter(roster, proposal);
  proposal.params["new-roster"] = std::to_string(after.version()) + " " + ToHex(after.hash());
  const auto text = *proposal.Render();
  return {{text, {SharedQuorum().Sign("custodian-1", text), SharedQuorum().Sign("custodian-2", text)}}, after};
}

class RosterChainFileTest : public testing::Test {
 protected:
  // Where the chain in the file leads to; 0 when it leads nowhere.
  std::uint64_t LeadsTo() const {
    const auto chain = file_.Read();
    if (!chain) return 0;
    auto walk = crypto::ChainWalk::Begin({1, first_.hash()}, chain->first);
    if (!walk) return 0;
    for (const auto& step : chain->steps)
      if (!walk->Step(step)) return 0;
    return walk->roster().version();
  }
  tests::TempDir dir_;
  RosterChainFile file_{dir_.File("chain")};
  const Roster& first_ = SharedQuorum().roster();
  const std::pair<RosterStep, Roster> second_ = Without(first_, "operator-2");
  const std::pair<RosterStep, Roster> other_ = Without(first_, "service-2");
  const std::pair<RosterStep, Roster> third_ = Without(other_.second, "operator-2");
};

TEST_F(RosterChainFileTest, Q12_AStepThatWasNotCarriedOutIsCutOff) {
  ASSERT_TRUE(file_.Begin(first_.text()));
  // The first was written, and its change refused or cut off; the other one was carried out, and one more.
  ASSERT_TRUE(file_.Append(first_.text(), 2, second_.first));
  ASSERT_TRUE(file_.Append(first_.text(), 2, second_.first));
  ASSERT_TRUE(file_.Append(first_.text(), 2, other_.first));
  EXPECT_EQ(file_.Read()->steps, std::vector<RosterStep>{other_.first}) << "it does not grow";
  ASSERT_TRUE(file_.Append(other_.second.text(), 3, third_.first));
  EXPECT_EQ(LeadsTo(), 3U);
}

TEST_F(RosterChainFileTest, Q12_AnApplianceOfBeforeTheFileBeginsItWithItsNextChange) {
  ASSERT_TRUE(file_.Append(first_.text(), 2, other_.first));
  EXPECT_EQ(LeadsTo(), 2U);
}

TEST_F(RosterChainFileTest, Q12_AChainThatWasBroughtFillsTheGap) {
  ASSERT_TRUE(file_.Begin(first_.text()));
  ASSERT_TRUE(file_.Append(first_.text(), 2, second_.first));
  ASSERT_TRUE(file_.Continue(third_.second, {other_.first, third_.first}));
  EXPECT_EQ(LeadsTo(), 3U);
  const auto fourth = Without(third_.second, "monitor-1");
  // A step behind a gap proves nothing: the file stays as it is.
  const auto fifth = Without(fourth.second, "service-1");
  ASSERT_TRUE(file_.Append(fourth.second.text(), 5, fifth.first));
  EXPECT_EQ(LeadsTo(), 3U);
}

}  // namespace
}  // namespace strongroom::hsm
