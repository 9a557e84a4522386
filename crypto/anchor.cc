#include "crypto/anchor.h"

#include <algorithm>

#include "crypto/merkle.h"
#include "crypto/text_rules.h"

namespace strongroom::crypto {
namespace {

constexpr std::size_t kMaxNodes = 16;
constexpr std::uint64_t kMaxOverlapDays = 400;

Error Changed(const std::string& what) { return Conflict(what + ": propose again", "stale"); }

Result<std::string> Param(const ProposalText& proposal, std::string_view name) {
  const auto at = proposal.params.find(name);
  if (at == proposal.params.end()) return Invalid("the proposal has no parameter '" + std::string(name) + "'");
  return at->second;
}
Result<std::uint64_t> NumberParam(const ProposalText& proposal, std::string_view name) {
  TRY_ASSIGN(const auto text, Param(proposal, name));
  return ParseNumber(text);
}
Result<Digest> RootOf(std::string_view hex) {
  const auto root = FromHexArray<32>(hex);
  if (!root) return Invalid("a root is 64 hex digits");
  return *root;
}

// "none", or "epoch <n> size <n> root <hex>".
Result<std::optional<Anchor>> ParseAnchorLine(std::string_view line, const InstanceId& instance, bool control) {
  if (line == "none") return std::optional<Anchor>();
  const auto words = SplitWords(line);
  if (words.size() != 6 || words[0] != "epoch" || words[2] != "size" || words[4] != "root")
    return Invalid("what the token remembers of a log is 'none' or 'epoch N size N root HEX'");
  TRY_ASSIGN(const auto epoch, ParseNumber(words[1]));
  Anchor anchor;
  anchor.origin = control ? ControlOrigin(instance, epoch) : EvidenceOrigin(instance, epoch);
  TRY_ASSIGN(anchor.size, ParseNumber(words[3]));
  TRY_ASSIGN(anchor.root, RootOf(words[5]));
  return std::optional<Anchor>(std::move(anchor));
}

}  // namespace

Result<LedgerRecord> AdvanceAnchors(const LedgerRecord& record, const Checkpoint& head, std::span<const Digest> proof) {
  TRY_ASSIGN(const auto asked, ParseOrigin(head.origin));
  if (asked.instance != record.instance)
    return Forbidden("this token keeps the logs of instance " + ToHex(record.instance), "foreign-origin");
  if (asked.epoch != record.epoch)
    return Forbidden("this token keeps the logs in epoch " + std::to_string(record.epoch), "foreign-origin");
  if (!asked.control && asked.node != record.node)
    return Forbidden("this host signs for " + record.node + " alone", "foreign-origin");
  if (head.size == 0) return Forbidden("an empty log is not signed", "log-rewound");
  auto next = record;
  const auto at =
      std::find_if(next.anchors.begin(), next.anchors.end(), [&](const Anchor& a) { return a.origin == head.origin; });
  const std::uint64_t before = at == next.anchors.end() ? 0 : at->size;
  if (head.size < before)
    return Forbidden("a head of " + std::to_string(head.size) + " entries is behind the " + std::to_string(before) +
                         " that were signed for " + head.origin,
                     "log-rewound");
  if (head.size - before > kMostGrowth)
    return Forbidden("a head of " + std::to_string(head.size) + " entries is more than " + std::to_string(kMostGrowth) +
                         " beyond the " + std::to_string(before) + " that were signed",
                     "log-jumps");
  if (at != next.anchors.end()) {
    if (!VerifyConsistency(before, head.size, at->root, head.root, proof))
      return Forbidden(
          "the head does not extend the one that was signed for " + head.origin + " at " + std::to_string(before),
          "log-forked");
    at->size = head.size;
    at->root = head.root;
    return next;
  }
  const bool listed = std::find(next.nodes.begin(), next.nodes.end(), asked.node) != next.nodes.end();
  if (listed)
    return Integrity("the token should have the evidence head of " + asked.node + " and has not: propose ledger.adopt",
                     "anchor-missing");
  if (!asked.control) {
    if (next.nodes.size() >= kMaxNodes) return Forbidden("this token keeps as many logs as it can", "foreign-origin");
    next.nodes.insert(std::lower_bound(next.nodes.begin(), next.nodes.end(), asked.node), asked.node);
  }
  next.anchors.push_back({head.origin, head.size, head.root});
  return next;
}

std::string AnchorLine(const std::optional<Anchor>& anchor) {
  if (!anchor) return "none";
  return "epoch " + anchor->origin.substr(anchor->origin.rfind('/') + 1) + " size " + std::to_string(anchor->size) +
         " root " + ToHex(anchor->root);
}

std::string KeptLine(const LedgerRecord& record) {
  const auto& c = record.custody;
  if (c.mandates.empty() && c.releases.empty()) return "none";
  // Those alone, as the record writes them: who reads the record can say what they are.
  LedgerRecord kept;
  kept.custody.mandates = c.mandates;
  kept.custody.releases = c.releases;
  return std::to_string(c.mandates.size() + c.releases.size()) + " " + ToHex(Sha256(EncodeRecord(kept)));
}

Result<Adoption> AdoptionOf(const ProposalText& proposal) {
  if (proposal.operation != "ledger.adopt") return Invalid("the proposal is not one of ledger.adopt");
  Adoption adoption;
  TRY_ASSIGN(adoption.epoch, NumberParam(proposal, "epoch"));
  TRY_ASSIGN(adoption.token, Param(proposal, "token"));
  if (adoption.epoch < 2) return Invalid("an adoption opens epoch 2 or a later one");
  if (proposal.control_size > 0)
    adoption.adopted.push_back(
        {ControlOrigin(proposal.instance, adoption.epoch), proposal.control_size, proposal.control_root});
  TRY_ASSIGN(const auto evidence, Param(proposal, "evidence-log"));
  const auto words = SplitWords(evidence);
  if (words.size() != 2) return Invalid("evidence-log is a size and a root");
  TRY_ASSIGN(const auto size, ParseNumber(words[0]));
  TRY_ASSIGN(const auto root, RootOf(words[1]));
  if (size > 0) adoption.adopted.push_back({EvidenceOrigin(proposal.instance, adoption.epoch), size, root});
  TRY_ASSIGN(const auto control_line, Param(proposal, "token-control"));
  TRY_ASSIGN(adoption.token_control, ParseAnchorLine(control_line, proposal.instance, true));
  TRY_ASSIGN(const auto evidence_line, Param(proposal, "token-evidence"));
  TRY_ASSIGN(adoption.token_evidence, ParseAnchorLine(evidence_line, proposal.instance, false));
  TRY_ASSIGN(adoption.state, Param(proposal, "state"));
  TRY_ASSIGN(adoption.keep, Param(proposal, "keep"));
  return adoption;
}

Result<LedgerRecord> AdoptRecord(const LedgerRecord& record, const Adoption& adoption) {
  if (adoption.adopted.empty()) return Invalid("an adoption without any entry to go on from");
  TRY_ASSIGN(const auto adopted, ParseOrigin(adoption.adopted.front().origin));
  if (adopted.instance != record.instance)
    return Forbidden("this token keeps the logs of instance " + ToHex(record.instance), "foreign-origin");
  if (AnchorOf(record, true) != adoption.token_control || AnchorOf(record, false) != adoption.token_evidence)
    return Changed("the token remembers other heads than the proposal names");
  // Later than its own is enough: a token that has forgotten an adoption is behind its ledger by more than one.
  if (adoption.epoch <= record.epoch || adoption.epoch - record.epoch > kMostEpochs)
    return Changed("the token is in epoch " + std::to_string(record.epoch) + ", the proposal opens " +
                   std::to_string(adoption.epoch));
  auto next = record;
  next.epoch = adoption.epoch;
  next.anchors = adoption.adopted;
  next.nodes.clear();
  auto& c = next.custody;
  c.most = 0;
  for (const auto& anchor : adoption.adopted) {
    TRY_ASSIGN(const auto origin, ParseOrigin(anchor.origin));
    if (origin.control) c.most = anchor.size;
    if (!origin.control) next.nodes.push_back(origin.node);
  }
  std::sort(next.nodes.begin(), next.nodes.end());
  // What was given up in a log that is lost is asked for again. The epoch does the floor's work.
  c.pending.clear();
  c.floor_set = false;
  c.floor = 0;
  if (adoption.keep == "none") {
    c.mandates.clear();
    c.releases.clear();
  } else if (adoption.keep != KeptLine(record)) {
    return Changed("the token has other mandates and releases than the proposal keeps");
  }
  return next;
}

Result<KeyRotation> KeyRotationOf(const ProposalText& proposal) {
  if (proposal.operation != "ledger.rotate-key") return Invalid("the proposal is not one of ledger.rotate-key");
  KeyRotation rotation;
  rotation.instance = proposal.instance;
  TRY_ASSIGN(rotation.token, Param(proposal, "token"));
  TRY_ASSIGN(const auto key, NumberParam(proposal, "checkpoint-key"));
  TRY_ASSIGN(const auto days, NumberParam(proposal, "overlap-days"));
  if (key < 2 || key > 0xFFFFFFFFU) return Invalid("the next checkpoint key has number 2 or a later one");
  if (days < 1 || days > kMaxOverlapDays)
    return Invalid("overlap-days is 1 to " + std::to_string(kMaxOverlapDays) + ": for so long both keys sign");
  rotation.key = static_cast<std::uint32_t>(key);
  rotation.overlap = static_cast<Millis>(days) * kDay;
  return rotation;
}

Result<LedgerRecord> RotateRecord(const LedgerRecord& record, const KeyRotation& rotation, Millis now) {
  if (rotation.instance != record.instance)
    return Forbidden("this token keeps the logs of instance " + ToHex(record.instance), "foreign-origin");
  if (record.anchors.empty()) return Changed("the token has not signed anything yet");
  if (rotation.key != record.key + 1)
    return Changed("the token's checkpoint key is number " + std::to_string(record.key) + " by now");
  auto next = record;
  next.key = rotation.key;
  next.former_until = now + rotation.overlap;
  return next;
}

std::string KeyEndorsement(const NoteKey& former, const NoteKey& next) {
  return "strongroom checkpoint key\nformer: " + former.Text() + "\nnext: " + next.Text() + "\n";
}

}  // namespace strongroom::crypto
