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
  /// Append adds the step that leads to roster `version`, and has it on disk when it returns. Steps from there on, of
  /// changes that were not carried out, are cut off. A file that is not there yet begins with `roster`, the one that
  /// the step's votes are counted under; one with a gap before the step is left as it is. kIo.
  Result<void> Append(const std::string& roster, std::uint64_t version, const crypto::RosterStep& step) const;
  /// Continue adds the steps of a chain that was brought and has come to roster `to`: those that are not in the file.
  /// kIo.
  Result<void> Continue(const crypto::Roster& to, const std::vector<crypto::RosterStep>& steps) const;
  /// Read returns the whole chain; kNotFound (no-chain) where there is none, kIntegrity for another file.
  Result<crypto::RosterChain> Read() const;

 private:
  Result<void> Write(const crypto::RosterChain& chain) const;
  std::string path_;
};

}  // namespace strongroom::hsm
