#pragma once
#include <gtest/gtest.h>

#include "crypto/roster.h"

namespace strongroom::tests {

/// Policies asks for the same number of votes in each class.
inline crypto::RosterParts Policies(std::uint64_t needed) {
  crypto::RosterParts parts;
  for (const auto of : crypto::Roster::kClasses) parts.policies[std::string(of)] = needed;
  return parts;
}

/// OperatorOne is somebody who may ask, with a made-up certificate key.
inline crypto::Principal OperatorOne() {
  crypto::Principal p;
  p.name = "operator-1";
  p.role = crypto::Role::kOperator;
  p.spki = crypto::Sha256(AsBytes(p.name));
  return p;
}

/// MadeUpRoster adds operator-1, and custodian-1 to custodian-<n>, whose keys nobody has: for what takes votes whose
/// signatures were checked before.
inline crypto::Roster MadeUpRoster(crypto::RosterParts parts, std::size_t custodians, std::uint64_t version = 1,
                                   const std::string& previous = "none") {
  for (std::size_t i = 0; i < custodians; ++i) {
    crypto::Principal p;
    p.name = "custodian-" + std::to_string(i + 1);
    p.role = crypto::Role::kCustodian;
    p.spki = crypto::Sha256(AsBytes(p.name));
    // An Ed25519 key's wire form; any 32 bytes are a point as far as a roster knows.
    Bytes blob = {0, 0, 0, 11};
    Append(blob, AsBytes("ssh-ed25519"));
    Append(blob, Bytes{0, 0, 0, 32});
    Append(blob, crypto::Sha256(AsBytes("key of " + p.name)));
    p.ssh_key = "ssh-ed25519 " + EncodeBase64(blob, Base64::kStandardPadded);
    parts.principals.push_back(std::move(p));
  }
  parts.principals.push_back(OperatorOne());
  const auto roster =
      crypto::Roster::Parse(crypto::RosterText(crypto::InstanceId{}, version, previous, std::move(parts)));
  EXPECT_TRUE(roster) << (roster ? "" : roster.error().Line());
  return *roster;
}

}  // namespace strongroom::tests
