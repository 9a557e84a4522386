// What becomes of keyrings and versions after they are made: disable and enable, grants, archive, destruction,
// emergency.

#include <gtest/gtest.h>

#include "appliance/broker.h"
#include "appliance/keyring_decisions.h"
#include "tests/support/standing.h"
#include "tests/support/world.h"

namespace strongroom::appliance {
namespace {

using tests::By;
using tests::World;

class KeyringChange : public testing::Test {
 protected:
  KeyringChange() {
    w_.MakeDevKeyrings();
    (void)*w_.Done("keyring.rotate", "org-a");
  }
  const Version& At(const std::string& keyring, std::uint32_t version) {
    return *w_.governance->Snapshot()->FindKeyring(keyring)->Find(version);
  }
  std::string Refused(const std::string& operation, const std::string& keyring,
                      std::map<std::string, std::string, std::less<>> params = {}) {
    const auto filed = w_.File(operation, keyring, std::move(params));
    return filed ? "filed" : std::string(filed.error().Slug());
  }
  World w_;
};

TEST_F(KeyringChange, WhatDoesNotFollowFromTheStateIsNotFiled) {
  EXPECT_EQ(Refused("keyring.enable", "org-a"), "keyring-enabled");
  EXPECT_EQ(Refused("keyring.enable", "org-x"), "keyring-not-found");
  EXPECT_EQ(Refused("grant.change", "org-a", {{"grants", "custodian-1"}}), "invalid-request");
  EXPECT_EQ(Refused("grant.change", "org-a", {{"grants", "service-2"}}), "nothing-changes");
  EXPECT_EQ(Refused("grant.change", "org-a"), "invalid-request");
  EXPECT_EQ(
      Refused("version.archive", "org-a", {{"version", "2"}, {"waive", "service-1,service-2"}, {"quiet-hours", "0"}}),
      "version-state")
      << "it is active";
  EXPECT_EQ(
      Refused("version.archive", "org-a", {{"version", "9"}, {"waive", "service-1,service-2"}, {"quiet-hours", "0"}}),
      "version-not-found");
  EXPECT_EQ(Refused("version.archive", "org-a", {{"version", "-1"}}), "version-not-found");
  EXPECT_EQ(Refused("version.archive", "org-a"), "version-not-found");
  EXPECT_EQ(Refused("version.restore", "org-a", {{"version", "1"}}), "version-state");
  EXPECT_EQ(
      Refused("version.destroy", "org-a", {{"version", "2"}, {"waive", "service-1,service-2"}, {"quiet-hours", "0"}}),
      "version-state");
  EXPECT_EQ(Refused("version.destroy", "org-a",
                    {{"version", "1"}, {"waive", "service-1,service-2"}, {"quiet-hours", "0"}, {"waiting-days", "6"}}),
            "invalid-request");
  EXPECT_EQ(
      Refused("version.destroy", "org-a",
              {{"version", "1"}, {"waive", "service-1,service-2"}, {"quiet-hours", "0"}, {"waiting-days", "366"}}),
      "invalid-request");
  EXPECT_EQ(
      Refused("version.destroy", "org-b", {{"version", "1"}, {"waive", "service-1,service-2"}, {"quiet-hours", "0"}}),
      "no-own-kek");
  EXPECT_EQ(Refused("version.destroy", "org-a",
                    {{"version", "1"}, {"waive", "service-1,service-2"}, {"quiet-hours", "0"}, {"token", "x"}}),
            "unknown-parameter");
  EXPECT_EQ(Refused("keyring.emergency-rotate", "org-b"), "no-own-kek");
  EXPECT_EQ(Refused("keyring.rotate", "org-a", {{"ceremony", "abc"}}), "invalid-request") << "no script's hash";
}

// Q8: stopping takes one person, starting again takes a quorum.
TEST_F(KeyringChange, Q8_DisablingTakesOnePersonAndEnablingAQuorum) {
  ASSERT_TRUE(w_.governance->Disable("org-a", By("operator-1")));
  EXPECT_EQ(w_.governance->Disable("org-a", By("operator-1")).error().Slug(), "keyring-disabled");
  EXPECT_EQ(Authorise(*w_.governance->Snapshot(), By("service-2"), "org-a", Operation::kWrap).error().Slug(),
            "keyring-disabled");
  EXPECT_EQ(Authorise(*w_.governance->Snapshot(), By("service-1"), "org-a", Operation::kWrap).error().Slug(),
            "keyring-not-found")
      << "no secret of another tenant's";
  w_.Boot();
  EXPECT_FALSE(w_.governance->Snapshot()->FindKeyring("org-a")->enabled);
  ASSERT_EQ(*w_.Done("keyring.enable", "org-a"), "executed");
  EXPECT_TRUE(Authorise(*w_.governance->Snapshot(), By("service-2"), "org-a", Operation::kWrap));
  EXPECT_TRUE(LoadVerified(*w_.ledger));
}

TEST_F(KeyringChange, F11_GrantsChangeByQuorum) {
  const auto stale = *w_.Approved("grant.change", "org-a", {{"grants", "service-1"}});
  ASSERT_EQ(*w_.Done("grant.change", "org-a", {{"grants", "service-2=unwrap"}}), "executed");
  EXPECT_EQ(w_.governance->Execute(stale, By("operator-1")).error().Slug(), "stale")
      << "signed for other grants before";
  EXPECT_EQ(w_.governance->Snapshot()->FindKeyring("org-a")->grants.Text(), "service-2=unwrap");
  EXPECT_TRUE(LoadVerified(*w_.ledger));
}

TEST_F(KeyringChange, ArchivedVersionsComeBackByQuorum) {
  ASSERT_EQ(
      *w_.Done("version.archive", "org-a", {{"version", "1"}, {"waive", "service-1,service-2"}, {"quiet-hours", "0"}}),
      "executed");
  EXPECT_EQ(At("org-a", 1).state, VersionState::kArchived);
  ASSERT_EQ(*w_.Done("version.restore", "org-a", {{"version", "1"}}), "executed");
  EXPECT_EQ(At("org-a", 1).state, VersionState::kDeactivated);
  EXPECT_TRUE(LoadVerified(*w_.ledger));
}

// Q11: a waiting period that one person may end for good, and nothing gone before it is over.
TEST_F(KeyringChange, Q11_DestructionWaitsAndCanBeTakenBack) {
  ASSERT_EQ(*w_.Done("version.destroy", "org-a",
                     {{"version", "1"}, {"waive", "service-1,service-2"}, {"quiet-hours", "0"}, {"waiting-days", "7"}}),
            "executed");
  EXPECT_EQ(At("org-a", 1).state, VersionState::kPendingDestruction);
  EXPECT_EQ(*w_.governance->RunDueDestructions(), 0);
  EXPECT_EQ(
      Refused("version.destroy", "org-a", {{"version", "1"}, {"waive", "service-1,service-2"}, {"quiet-hours", "0"}}),
      "version-state")
      << "it waits already";
  ASSERT_TRUE(w_.governance->CancelDestruction("org-a", 1, By("custodian-3")));
  EXPECT_EQ(w_.governance->CancelDestruction("org-a", 1, By("custodian-3")).error().Slug(), "version-state") << "twice";
  EXPECT_EQ(At("org-a", 1).state, VersionState::kArchived);
  w_.clock.now += 8 * kDay;
  EXPECT_EQ(*w_.governance->RunDueDestructions(), 0);
  ASSERT_EQ(*w_.Done("version.destroy", "org-a",
                     {{"version", "1"}, {"waive", "service-1,service-2"}, {"quiet-hours", "0"}, {"waiting-days", "7"}}),
            "executed");
  w_.clock.now += 7 * kDay + 1000;
  EXPECT_EQ(*w_.governance->RunDueDestructions(), 1);
  EXPECT_EQ(*w_.governance->RunDueDestructions(), 0) << "once";
  EXPECT_EQ(At("org-a", 1).state, VersionState::kDestroyed);
  EXPECT_EQ(w_.governance->CancelDestruction("org-a", 1, By("custodian-3")).error().Slug(), "version-state")
      << "too late";
  EXPECT_TRUE(w_.governance->Sweep("fake-token")->empty()) << "a KEK that is gone is missed by nobody";
  EXPECT_TRUE(LoadVerified(*w_.ledger));
}

// L4: cut off between the token's doing and the entry, a destruction is found at the next look.
TEST_F(KeyringChange, L4_ADestructionThatWasCutOffIsSettledOnce) {
  ASSERT_EQ(*w_.Done("version.destroy", "org-a",
                     {{"version", "1"}, {"waive", "service-1,service-2"}, {"quiet-hours", "0"}, {"waiting-days", "7"}}),
            "executed");
  w_.clock.now += 7 * kDay + 1000;
  const auto& version = At("org-a", 1);
  ASSERT_TRUE(w_.token.Destroy(tests::MadeUpDestruction(version.kek), {version.token, version.kek, version.suite}));
  w_.Boot();
  EXPECT_EQ(w_.governance->CancelDestruction("org-a", 1, By("operator-1")).error().Slug(), "version-destroyed");
  EXPECT_EQ(*w_.governance->RunDueDestructions(), 0) << "it came due while this was down: a day for people to look";
  w_.clock.now += kDay;
  EXPECT_EQ(*w_.governance->RunDueDestructions(), 1);
  EXPECT_EQ(At("org-a", 1).state, VersionState::kDestroyed);
}

// A token that remembers nothing of it (its record was made anew) destroys nothing.
TEST_F(KeyringChange, Q9_WithoutTheTokensRecordNothingIsDestroyed) {
  ASSERT_EQ(*w_.Done("version.destroy", "org-a",
                     {{"version", "1"}, {"waive", "service-1,service-2"}, {"quiet-hours", "0"}, {"waiting-days", "7"}}),
            "executed");
  auto record = *w_.token.ReadLedgerRecord();
  record.custody.pending.clear();
  w_.token.Recall(record);
  w_.clock.now += 7 * kDay + 1000;
  EXPECT_EQ(w_.governance->RunDueDestructions().error().Slug(), "destruction-not-pending");
  EXPECT_EQ(At("org-a", 1).state, VersionState::kPendingDestruction);
  ASSERT_TRUE(w_.governance->CancelDestruction("org-a", 1, By("operator-1")));
}

// The install keyring's KEK goes with every version that it wraps for, and only when none of them is in use.
TEST_F(KeyringChange, DestructionTakesWhatSharesTheKek) {
  ASSERT_EQ(*w_.Done("keyring.rotate", "install"), "executed");
  ASSERT_EQ(*w_.Done("version.destroy", "install",
                     {{"version", "1"}, {"waive", "service-1,service-2"}, {"quiet-hours", "0"}}),
            "executed");
  EXPECT_EQ(At("org-b", 1).state, VersionState::kPendingDestruction);
  EXPECT_EQ(w_.governance->CancelDestruction("org-b", 1, By("operator-1")).error().Slug(), "no-own-kek");
  ASSERT_TRUE(w_.governance->CancelDestruction("install", 1, By("operator-1")));
  EXPECT_EQ(At("org-b", 1).state, VersionState::kArchived);
  EXPECT_TRUE(LoadVerified(*w_.ledger));
}

// An emergency compromises the old version before the token is asked for a new one, and whatever becomes of that.
TEST_F(KeyringChange, F19_AnEmergencyCompromisesFirst) {
  const auto id = *w_.Approved("keyring.emergency-rotate", "install");
  w_.token.SetAway(true);
  EXPECT_FALSE(w_.governance->Execute(id, By("operator-1")));
  EXPECT_EQ(At("install", 1).state, VersionState::kActive) << "nothing was consumed: the inventory could not be read";
  w_.token.SetAway(false);
  ASSERT_TRUE(w_.governance->Execute(id, By("operator-1")));
  EXPECT_EQ(At("install", 1).state, VersionState::kCompromised);
  EXPECT_EQ(At("install", 2).state, VersionState::kActive);
  EXPECT_EQ(At("org-b", 1).state, VersionState::kCompromised);
  EXPECT_EQ(At("org-b", 2).state, VersionState::kActive);
  EXPECT_EQ(Refused("version.restore", "install", {{"version", "1"}}), "version-state");
  // Cancelled, the destruction of a compromised version makes it compromised again, never anything that unwraps.
  ASSERT_EQ(*w_.Done("version.destroy", "install",
                     {{"version", "1"}, {"waive", "service-1,service-2"}, {"quiet-hours", "0"}}),
            "executed");
  ASSERT_TRUE(w_.governance->CancelDestruction("install", 1, By("operator-1")));
  EXPECT_EQ(At("install", 1).state, VersionState::kCompromised);
  EXPECT_EQ(At("org-b", 1).state, VersionState::kCompromised);
  EXPECT_TRUE(LoadVerified(*w_.ledger));
}

// L4: cut off after the old version was compromised, is an emergency carried out once its token answers, within its
// time, and is it over without it?
TEST_F(KeyringChange, L4_AnEmergencyThatWasCutOffIsCarriedOutWithinItsTime) {
  const auto id = *w_.Approved("keyring.emergency-rotate", "org-a");
  const auto state = w_.governance->Snapshot();
  const auto effect = EffectOf(*state, state->FindProposal(id)->parsed);
  ASSERT_TRUE(effect);
  ledger::Submission intent;
  State next = *state;
  std::vector<ledger::ControlBody> bodies = {ledger::ProposalConsumed{id, "operator-1"}};
  bodies.insert(bodies.end(), effect->at_once.begin(), effect->at_once.end());
  for (auto& body : bodies) {
    ledger::ControlEntry entry{w_.clock.Now(), std::move(body)};
    for (auto& row : RowsOf(next, *Apply(next, entry))) intent.rows.push_back(std::move(row));
    intent.control.push_back(std::move(entry));
  }
  ASSERT_TRUE(w_.ledger->Record(std::move(intent)));
  w_.Boot();
  EXPECT_EQ(At("org-a", 2).state, VersionState::kCompromised);
  EXPECT_EQ(Refused("keyring.rotate", "org-a"), "version-state") << "an ordinary rotation does not end an emergency";
  w_.token.SetAway(true);
  EXPECT_FALSE(w_.governance->Reconcile()) << "nobody can tell whether the token has done it";
  w_.token.SetAway(false);
  EXPECT_EQ(*w_.governance->Reconcile(), 1);
  EXPECT_EQ(w_.governance->View(id)->state, "executed");
  EXPECT_EQ(At("org-a", 2).state, VersionState::kCompromised);
  EXPECT_EQ(At("org-a", 3).state, VersionState::kActive);
  EXPECT_TRUE(LoadVerified(*w_.ledger));
}

}  // namespace
}  // namespace strongroom::appliance
