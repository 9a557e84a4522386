#include "crypto/anchor.h"

#include <algorithm>

#include "crypto/base/wire.h"
#include "crypto/merkle.h"
#include "crypto/text_rules.h"

namespace strongroom::crypto {
namespace {

constexpr std::uint8_t kRecordFormat = 6;
constexpr std::size_t kMaxAnchors = 256;
constexpr std::uint64_t kMaxOverlapDays = 400;

struct Origin {
  std::string_view instance;
  std::string_view log;  // everything but the epoch
  std::uint64_t epoch = 0;
  bool control = false;
};

Result<Origin> ParseOrigin(std::string_view origin) {
  const auto parts = SplitWords(origin, '/');
  const bool control = parts.size() == 4 && parts[2] == "control";
  const bool evidence = parts.size() == 5 && parts[2] == "evidence" && parts[3] == "node-1";  // the one node there is
  const auto epoch = parts.empty() ? Result<std::uint64_t>(Invalid("")) : ParseNumber(parts.back());
  if ((!control && !evidence) || parts[0] != "strongroom" || !FromHexArray<16>(parts[1]) || !epoch || *epoch == 0)
    return Forbidden("'" + std::string(origin.substr(0, 100)) + "' is not the origin of a log", "foreign-origin");
  return Origin{parts[1], origin.substr(0, origin.rfind('/')), *epoch, control};
}

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

std::string ControlOrigin(const InstanceId& instance, std::uint64_t epoch) {
  return "strongroom/" + ToHex(instance) + "/control/" + std::to_string(epoch);
}
std::string EvidenceOrigin(const InstanceId& instance, std::uint64_t epoch) {
  return "strongroom/" + ToHex(instance) + "/evidence/node-1/" + std::to_string(epoch);
}

Result<std::vector<Anchor>> AdvanceAnchors(std::span<const Anchor> anchors, const Checkpoint& head,
                                           std::span<const Digest> proof) {
  TRY_ASSIGN(const auto asked, ParseOrigin(head.origin));
  if (head.size == 0) return Forbidden("an empty log is not signed", "log-rewound");
  std::vector<Anchor> next(anchors.begin(), anchors.end());
  for (auto& anchor : next) {
    TRY_ASSIGN(const auto known, ParseOrigin(anchor.origin));
    if (known.instance != asked.instance)
      return Forbidden("this token keeps the logs of instance " + std::string(known.instance), "foreign-origin");
    if (anchor.origin != head.origin) {
      if (known.log == asked.log || known.epoch != asked.epoch)
        return Forbidden("this token keeps the logs in epoch " + std::to_string(known.epoch), "foreign-origin");
      continue;
    }
    if (head.size < anchor.size)
      return Forbidden("a head of " + std::to_string(head.size) + " entries is behind the " +
                           std::to_string(anchor.size) + " that were signed for " + anchor.origin,
                       "log-rewound");
    if (!VerifyConsistency(anchor.size, head.size, anchor.root, head.root, proof))
      return Forbidden("the head does not extend the one that was signed for " + anchor.origin + " at " +
                           std::to_string(anchor.size),
                       "log-forked");
    anchor.size = head.size;
    anchor.root = head.root;
    return next;
  }
  if (next.size() >= kMaxAnchors) return Forbidden("this token keeps as many logs as it can", "foreign-origin");
  next.push_back({head.origin, head.size, head.root});
  return next;
}

std::string AnchorLine(const std::optional<Anchor>& anchor) {
  if (!anchor) return "none";
  return "epoch " + anchor->origin.substr(anchor->origin.rfind('/') + 1) + " size " + std::to_string(anchor->size) +
         " root " + ToHex(anchor->root);
}

std::optional<Anchor> AnchorOf(const LedgerRecord& record, bool control) {
  for (const auto& anchor : record.anchors)
    if (const auto origin = ParseOrigin(anchor.origin); origin && origin->control == control) return anchor;
  return std::nullopt;
}

Result<std::uint64_t> EpochOf(const LedgerRecord& record) {
  std::uint64_t epoch = 0;
  for (const auto& anchor : record.anchors) {
    TRY_ASSIGN(const auto origin, ParseOrigin(anchor.origin));
    epoch = std::max(epoch, origin.epoch);
  }
  return epoch;
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
  return adoption;
}

Result<LedgerRecord> AdoptRecord(const std::optional<LedgerRecord>& record, const Adoption& adoption) {
  LedgerRecord next = record.value_or(LedgerRecord());
  if (adoption.adopted.empty()) return Invalid("an adoption without any entry to go on from");
  TRY_ASSIGN(const auto adopted, ParseOrigin(adoption.adopted.front().origin));
  for (const auto& anchor : next.anchors) {
    TRY_ASSIGN(const auto known, ParseOrigin(anchor.origin));
    if (known.instance != adopted.instance)
      return Forbidden("this token keeps the logs of instance " + std::string(known.instance), "foreign-origin");
  }
  if (AnchorOf(next, true) != adoption.token_control || AnchorOf(next, false) != adoption.token_evidence)
    return Changed("the token remembers other heads than the proposal names");
  TRY_ASSIGN(const auto epoch, EpochOf(next));
  // Later than its own is enough: a token that has forgotten an adoption is behind its ledger by more than one.
  if (adoption.epoch <= epoch)
    return Changed("the token is in epoch " + std::to_string(epoch) + ", the proposal opens " +
                   std::to_string(adoption.epoch));
  next.anchors = adoption.adopted;
  // What was given up in a log that is lost is asked for again.
  next.custody.pending.clear();
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
  if (record.anchors.empty()) return Changed("the token has not signed anything yet");
  for (const auto& anchor : record.anchors) {
    TRY_ASSIGN(const auto known, ParseOrigin(anchor.origin));
    if (known.instance != ToHex(rotation.instance))
      return Forbidden("this token keeps the logs of instance " + std::string(known.instance), "foreign-origin");
  }
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

Result<LedgerRecord> NewerRecord(const LedgerRecord& a, const LedgerRecord& b) {
  if (a.serial != b.serial) return a.serial > b.serial ? a : b;
  if (a.serial > 0) {
    if (a == b) return a;
    return Integrity("the token has two records with one serial number that differ", "anchor-damaged");
  }
  const auto covers = [](const LedgerRecord& newer, const LedgerRecord& older) {
    if (newer.key < older.key || (newer.key == older.key && newer.former_until != older.former_until)) return false;
    const auto new_epoch = EpochOf(newer), old_epoch = EpochOf(older);
    if (!new_epoch || !old_epoch || *new_epoch < *old_epoch) return false;
    if (*new_epoch > *old_epoch) return true;
    return std::all_of(older.anchors.begin(), older.anchors.end(), [&](const Anchor& old) {
      return std::any_of(newer.anchors.begin(), newer.anchors.end(),
                         [&](const Anchor& n) { return n.origin == old.origin && (n.size > old.size || n == old); });
    });
  };
  if (covers(a, b)) return a;
  if (covers(b, a)) return b;
  return Integrity("the token has two anchor records that contradict each other", "anchor-damaged");
}

Bytes EncodeRecord(const LedgerRecord& record) {
  WireWriter out;
  out.U8(kRecordFormat);
  out.U16(static_cast<std::uint16_t>(record.anchors.size()));
  for (const auto& anchor : record.anchors) {
    out.Text(anchor.origin);
    out.U64(anchor.size);
    out.Raw(anchor.root);
  }
  out.U32(record.key);
  out.U64(static_cast<std::uint64_t>(record.former_until));
  out.U64(record.serial);
  out.U64(record.custody.roster_version);
  out.Raw(record.custody.roster_hash);
  out.U64(static_cast<std::uint64_t>(record.custody.seen));
  out.U16(static_cast<std::uint16_t>(record.custody.spent.size()));
  for (const auto& spent : record.custody.spent) {
    out.Raw(spent.id);
    out.U64(static_cast<std::uint64_t>(spent.until));
  }
  out.U64(record.custody.control_floor);
  out.U16(static_cast<std::uint16_t>(record.custody.pending.size()));
  for (const auto& pending : record.custody.pending) {
    out.Raw(pending.key);
    out.U64(static_cast<std::uint64_t>(pending.due));
  }
  out.U16(static_cast<std::uint16_t>(record.custody.mandates.size()));
  for (const auto& mandate : record.custody.mandates) {
    out.Raw(mandate.keyring);
    out.Text(mandate.name);
    out.U8(static_cast<std::uint8_t>(mandate.suite));
    for (const auto at : {mandate.interval, mandate.until, mandate.next}) out.U64(static_cast<std::uint64_t>(at));
  }
  out.U16(static_cast<std::uint16_t>(record.custody.releases.size()));
  for (const auto& release : record.custody.releases) {
    out.Raw(release.keyring);
    out.Text(release.to);
    out.U64(static_cast<std::uint64_t>(release.until));
  }
  out.U8(record.custody.further ? 1 : 0);
  out.U16(static_cast<std::uint16_t>(record.custody.members.size()));
  for (const auto& m : record.custody.members)
    for (const auto* text : {&m.serial, &m.label, &m.model, &m.manufacturer, &m.group}) out.Text(*text);
  return std::move(out).Take();
}

Result<LedgerRecord> DecodeRecord(ByteView bytes) {
  WireReader in(bytes);
  LedgerRecord record;
  const auto format = in.U8();
  const auto count = in.U16();
  for (unsigned i = 0; i < count && in.ok(); ++i) {
    Anchor anchor;
    anchor.origin = in.Text();
    anchor.size = in.U64();
    anchor.root = in.Array<32>();
    record.anchors.push_back(std::move(anchor));
  }
  if (format >= 2) {
    record.key = in.U32();
    record.former_until = static_cast<Millis>(in.U64());
  }
  if (format >= 3) {
    record.serial = in.U64();
    record.custody.roster_version = in.U64();
    record.custody.roster_hash = in.Array<32>();
    record.custody.seen = static_cast<Millis>(in.U64());
    for (int n = in.U16(); n > 0 && in.ok(); --n) {
      SpentProposal spent;
      spent.id = in.Array<16>();
      spent.until = static_cast<Millis>(in.U64());
      record.custody.spent.push_back(spent);
    }
  }
  if (format >= 4) {
    record.custody.control_floor = in.U64();
    for (int n = in.U16(); n > 0 && in.ok(); --n) {
      PendingDestruction pending;
      pending.key = in.Array<20>();
      pending.due = static_cast<Millis>(in.U64());
      record.custody.pending.push_back(pending);
    }
  }
  if (format >= 5) {
    for (int n = in.U16(); n > 0 && in.ok(); --n) {
      Mandate mandate;
      mandate.keyring = in.Array<16>();
      mandate.name = in.Text();
      const auto suite = in.U8();
      if (suite < 1 || suite > 2) in.Fail();
      mandate.suite = static_cast<Suite>(suite);
      for (auto* at : {&mandate.interval, &mandate.until, &mandate.next}) *at = static_cast<Millis>(in.U64());
      record.custody.mandates.push_back(mandate);
    }
  }
  if (format >= 6) {
    for (int n = in.U16(); n > 0 && in.ok(); --n) {
      Release release;
      release.keyring = in.Array<16>();
      release.to = in.Text();
      release.until = static_cast<Millis>(in.U64());
      record.custody.releases.push_back(release);
    }
    const auto further = in.U8();
    if (further > 1) in.Fail();
    record.custody.further = further == 1;
    for (int n = in.U16(); n > 0 && in.ok(); --n) {
      Member m;
      for (auto* text : {&m.serial, &m.label, &m.model, &m.manufacturer, &m.group}) *text = in.Text();
      record.custody.members.push_back(std::move(m));
    }
  }
  if (format < 1 || format > kRecordFormat || !in.Complete() || record.key == 0)
    return Integrity("the anchor record in the token cannot be read", "anchor-damaged");
  return record;
}

}  // namespace strongroom::crypto
