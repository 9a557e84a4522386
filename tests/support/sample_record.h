#pragma once
#include "crypto/anchor.h"

namespace strongroom::tests {

/// SampleRecord is a token's record with something in every part of it.
inline crypto::LedgerRecord SampleRecord() {
  crypto::LedgerRecord record;
  record.serial = 9;
  record.instance = {1, 2, 3};
  record.token = "5678";
  record.term = 4;
  record.writer = {{1}, {2}, 3, true};
  record.epoch = 2;
  record.anchors = {{crypto::ControlOrigin(record.instance, 2), 7, crypto::Sha256(AsBytes("root"))},
                    {crypto::EvidenceOrigin(record.instance, 2), 5, crypto::Sha256(AsBytes("evidence"))}};
  record.nodes = {"node-1"};
  record.node_seen = 60'000;
  record.key = 3;
  record.former_until = 12345;
  auto& c = record.custody;
  c.roster_version = 2;
  c.roster_hash = crypto::Sha256(AsBytes("roster"));
  c.seen = 67890;
  c.course = {{9, 9}, 1234};
  c.watched = 120'000;
  c.stepped = 60'000;
  c.floor_set = true;
  c.floor = 11;
  c.most = 12;
  c.box_floor = {1, 2, 3};
  c.profile = {"softhsm2", crypto::Sha256(AsBytes("profile"))};
  c.storage = 2;
  c.freshness = 1;
  c.freshness_last = 5;
  c.further = true;
  c.spent = {{{1, 2, 3}, 60'000, crypto::ShareOf("install")}};
  c.pending = {{{5, 6}, 120'000, true}};
  c.mandates = {{{7}, crypto::ShareOf("install"), crypto::Suite::kGcm, 30 * kDay, 60'000, 120'000, 180'000}};
  c.releases = {{{7}, crypto::TokenHash("5678"), 60'000, 120'000}};
  c.members = {{"1234", "hsm", "m", "v", "5678"}};
  return record;
}

}  // namespace strongroom::tests
