#pragma once
// Custody records of formats 1 to 6, which earlier builds have written (hsm/CUSTODY.md).

#include "crypto/custody/record.h"

namespace strongroom::crypto {

/// DecodeFormerRecord reads a record of format 1 to 6 as format 7 has it: nothing is spent (hosts execute none of the
/// texts of then), a destruction waits for what was left of it, at least a day; a time after the year 9999 is its end.
/// It has no writer, and neither token nor, without a signed head, instance. kIntegrity (record-damaged), also for what
/// format 7 could not hold.
Result<LedgerRecord> DecodeFormerRecord(ByteView bytes);

/// NewerFormerRecord picks of two former records of one serial the one that came later: equal, or, for those without a
/// serial, in nothing behind. kIntegrity (custody-forked) when neither is.
Result<LedgerRecord> NewerFormerRecord(const LedgerRecord& a, const LedgerRecord& b);

/// FormerParts are the fields of a former record, as it had them.
struct FormerParts {
  std::vector<Anchor> anchors;
  std::uint32_t key = 1;
  Millis former_until = 0;
  std::uint64_t serial = 0;
  std::uint64_t roster_version = 0;
  Digest roster_hash{};
  Millis seen = 0;
  std::vector<std::pair<Id16, Millis>> spent;
  std::uint64_t control_floor = 0;
  std::vector<std::pair<KeyId, Millis>> pending;
  struct NamedMandate {
    KeyringId keyring{};
    std::string name;
    Suite suite = Suite::kKwp;
    Millis interval = 0, until = 0, next = 0;
  };
  std::vector<NamedMandate> mandates;
  struct NamedRelease {
    KeyringId keyring{};
    std::string to;
    Millis until = 0;
  };
  std::vector<NamedRelease> releases;
  bool further = false;
  struct NamedMember {
    Member member;
    std::string group;
  };
  std::vector<NamedMember> members;
};
/// EncodeFormerParts writes them in format 1 to 6, for the tombstone and for tests of the upgrade; what a format did
/// not have is left out.
Bytes EncodeFormerParts(const FormerParts& parts, std::uint8_t format = 6);

}  // namespace strongroom::crypto
