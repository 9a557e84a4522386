#pragma once
// What contract tests ask signatures and changes of custody with.

#include <map>
#include <string>
#include <vector>

#include "crypto/merkle.h"
#include "tests/contract/key_ops_subjects.h"

namespace strongroom::hsm {

/// Log is a log in this process, to ask signatures for.
class Log {
 public:
  explicit Log(std::string origin) : origin_(std::move(origin)) {}
  void Grow(int entries, const std::string& what = "entry") {
    for (int i = 0; i < entries; ++i)
      leaves_.push_back(crypto::LeafHash(AsBytes(what + std::to_string(leaves_.size()))));
  }
  crypto::Checkpoint Head() const { return {origin_, leaves_.size(), *crypto::TreeRoot(leaves_.size(), Hash()), {}}; }
  std::vector<crypto::Digest> ProofFrom(std::uint64_t size) const {
    return *crypto::ConsistencyProof(size, leaves_.size(), Hash());
  }

 private:
  crypto::HashAt Hash() const {
    return [this](unsigned level, std::uint64_t index) -> Result<crypto::Digest> {
      const auto width = std::size_t{1} << level;
      return crypto::SubtreeHash(std::span(leaves_).subspan(index * width, width));
    };
  }
  std::string origin_;
  std::vector<crypto::Digest> leaves_;
};

/// Approved is a proposal of a moment ago that two custodians have approved; `control` is the log that its text names.
inline crypto::ExecutionGrant Approved(const QuorumFixture& quorum, const std::string& operation,
                                       std::map<std::string, std::string, std::less<>> params,
                                       const Log* control = nullptr) {
  const auto now = ContractClock().Now();
  auto proposal = quorum.Proposal(operation, operation == "version.destroy" ? "k" : "", std::move(params), now);
  if (control != nullptr) {
    proposal.control_size = control->Head().size;
    proposal.control_root = control->Head().root;
  }
  const auto text = *proposal.Render();
  return *crypto::GrantExecution(quorum.roster(), text,
                                 {quorum.Sign("custodian-1", text), quorum.Sign("custodian-2", text)}, now);
}

}  // namespace strongroom::hsm
