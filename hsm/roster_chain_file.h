#pragma once
// The token side's copy of the chain of rosters: without it an older database under a newer roster could never adopt.

#include <string>

#include "crypto/base/result.h"
#include "crypto/custody/chain.h"

namespace strongroom::hsm {

/// RosterChainFile keeps the root's roster and each executed `roster.change` with its votes, in order, in one file. It
/// needs no protection: hashes and votes prove what is in it. An end that was cut off is dropped. Use by one thread at
/// a time.
///   file = "strongroom roster chain 1\n"  then records: u8 kind (1 the root's roster, 2 a step), u32 length, bytes
class RosterChainFile {
 public:
  /// `path` empty: nothing is kept, and Read is kNotFound.
  explicit RosterChainFile(std::string path) : path_(std::move(path)) {}
  /// Begin writes the root's roster, in the place of whatever is there unless it begins with the same one. kIo.
  Result<void> Begin(const std::string& roster) const;
  /// Append adds a step and has it on disk when it returns. A step that is the last already is not added again. kIo.
  Result<void> Append(const crypto::RosterStep& step) const;
  /// Read returns the whole chain; kNotFound (no-chain) where there is none, kIntegrity for another file.
  Result<crypto::RosterChain> Read() const;

 private:
  Result<void> Write(const Bytes& bytes) const;
  std::string path_;
};

}  // namespace strongroom::hsm
