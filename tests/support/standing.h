#pragma once
#include <gtest/gtest.h>

#include "crypto/custody.h"
#include "hsm/key_ops.h"
#include "tests/support/custody_time.h"

namespace strongroom::tests {

/// MadeUpDestruction and MadeUpMandate are standing grants of a record that no token has: what a front end that was
/// taken over would come with.
inline crypto::StandingGrant MadeUpDestruction(const crypto::KeyId& key) {
  crypto::LedgerRecord record;
  record.custody.pending.push_back({key, 0, false});
  auto grant = crypto::GrantDestruction(record, key, At(record, 1000));
  EXPECT_TRUE(grant);
  return std::move(*grant);
}
inline crypto::StandingGrant MadeUpMandate(const hsm::KeySpec& spec) {
  crypto::LedgerRecord record;
  crypto::Mandate mandate;
  std::copy_n(spec.ref.key.begin(), mandate.keyring.size(), mandate.keyring.begin());
  mandate.share = crypto::ShareOf("any");
  mandate.suite = spec.ref.suite;
  mandate.until = 2000;
  record.custody.mandates.push_back(mandate);
  auto grant = crypto::GrantByMandate(record, "any", spec.ref.key, spec.ref.suite, At(record, 1000));
  EXPECT_TRUE(grant);
  return std::move(*grant);
}

}  // namespace strongroom::tests
