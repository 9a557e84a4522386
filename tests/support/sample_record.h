#pragma once
#include "crypto/anchor.h"

namespace strongroom::tests {

/// SampleRecord is a token's record with something in every part of it.
inline crypto::LedgerRecord SampleRecord() {
  crypto::LedgerRecord record;
  record.serial = 9;
  record.anchors = {{"strongroom/x/control/2", 7, crypto::Sha256(AsBytes("root"))}};
  record.key = 3;
  record.former_until = 12345;
  record.custody = {2,
                    crypto::Sha256(AsBytes("roster")),
                    67890,
                    {{{1, 2, 3}, 4}},
                    11,
                    {{{5, 6}, 99}},
                    {{{7}, "install", crypto::Suite::kGcm, 30, 60, 45}},
                    {{{7}, "5678", 77}},
                    {{"1234", "hsm", "m", "v", "5678"}},
                    true};
  return record;
}

}  // namespace strongroom::tests
