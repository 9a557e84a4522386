#pragma once
// What a token remembers of each log (the anchor), and what it will sign next. Pure: the token host and its fake use
// it.

#include <span>
#include <string>
#include <vector>

#include "crypto/base/bytes.h"
#include "crypto/base/result.h"
#include "crypto/digest.h"
#include "crypto/note.h"

namespace strongroom::crypto {

/// Anchor is the last head of a log that its token has signed. Origins are "strongroom/<instance>/control/<epoch>" and
/// "strongroom/<instance>/evidence/<node>/<epoch>"; the epoch is a number from 1.
struct Anchor {
  std::string origin;
  std::uint64_t size = 0;
  Digest root{};
  bool operator==(const Anchor&) const = default;
};

/// ControlOrigin and EvidenceOrigin name the two logs of an instance's only node, in their first epoch.
std::string ControlOrigin(const InstanceId& instance);
std::string EvidenceOrigin(const InstanceId& instance);

/// AdvanceAnchors judges a head that is to be signed and returns the anchors as they will be (L7): it must extend the
/// last one of its origin, shown by a consistency proof. An origin that is not known is taken at its first sight if it
/// is of the same instance and no epoch of that log is known. Refusals are kForbidden: `foreign-origin`, `log-rewound`
/// (smaller), `log-forked` (not an extension).
Result<std::vector<Anchor>> AdvanceAnchors(std::span<const Anchor> anchors, const Checkpoint& head,
                                           std::span<const Digest> proof);

/// NewerAnchors picks, of two records that a crash between writing one and removing the other has left, the one that
/// came later: of no log is it behind. kIntegrity when neither is.
Result<std::vector<Anchor>> NewerAnchors(const std::vector<Anchor>& a, const std::vector<Anchor>& b);

/// EncodeAnchors and DecodeAnchors are the record in the token: u8 format 1, u16 n, n x (Text origin, u64 size, 32
/// bytes root). Decode fails with kIntegrity.
Bytes EncodeAnchors(std::span<const Anchor> anchors);
Result<std::vector<Anchor>> DecodeAnchors(ByteView record);

}  // namespace strongroom::crypto
