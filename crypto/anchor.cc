#include "crypto/anchor.h"

#include <algorithm>

#include "crypto/base/wire.h"
#include "crypto/merkle.h"
#include "crypto/text_rules.h"

namespace strongroom::crypto {
namespace {

constexpr std::uint8_t kFormat = 1;
constexpr std::size_t kMaxAnchors = 256;

struct Origin {
  std::string_view instance;
  std::string_view log;  // everything but the epoch
};

Result<Origin> ParseOrigin(std::string_view origin) {
  const auto parts = SplitWords(origin, '/');
  const bool control = parts.size() == 4 && parts[2] == "control";
  const bool evidence = parts.size() == 5 && parts[2] == "evidence" && parts[3] == "node-1";  // the one node there is
  const auto epoch = parts.empty() ? Result<std::uint64_t>(Invalid("")) : ParseNumber(parts.back());
  if ((!control && !evidence) || parts[0] != "strongroom" || !FromHexArray<16>(parts[1]) || !epoch || *epoch == 0)
    return Forbidden("'" + std::string(origin.substr(0, 100)) + "' is not the origin of a log", "foreign-origin");
  return Origin{parts[1], origin.substr(0, origin.rfind('/'))};
}

}  // namespace

std::string ControlOrigin(const InstanceId& instance) { return "strongroom/" + ToHex(instance) + "/control/1"; }
std::string EvidenceOrigin(const InstanceId& instance) {
  return "strongroom/" + ToHex(instance) + "/evidence/node-1/1";
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
      if (known.log == asked.log) return Forbidden("this token keeps that log as " + anchor.origin, "foreign-origin");
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

Result<std::vector<Anchor>> NewerAnchors(const std::vector<Anchor>& a, const std::vector<Anchor>& b) {
  const auto covers = [](const std::vector<Anchor>& newer, const std::vector<Anchor>& older) {
    return std::all_of(older.begin(), older.end(), [&](const Anchor& old) {
      return std::any_of(newer.begin(), newer.end(),
                         [&](const Anchor& n) { return n.origin == old.origin && (n.size > old.size || n == old); });
    });
  };
  if (covers(a, b)) return a;
  if (covers(b, a)) return b;
  return Integrity("the token has two anchor records that contradict each other", "anchor-damaged");
}

Bytes EncodeAnchors(std::span<const Anchor> anchors) {
  WireWriter out;
  out.U8(kFormat);
  out.U16(static_cast<std::uint16_t>(anchors.size()));
  for (const auto& anchor : anchors) {
    out.Text(anchor.origin);
    out.U64(anchor.size);
    out.Raw(anchor.root);
  }
  return std::move(out).Take();
}

Result<std::vector<Anchor>> DecodeAnchors(ByteView record) {
  WireReader in(record);
  std::vector<Anchor> anchors;
  const auto format = in.U8();
  const auto count = in.U16();
  for (unsigned i = 0; i < count && in.ok(); ++i) {
    Anchor anchor;
    anchor.origin = in.Text();
    anchor.size = in.U64();
    anchor.root = in.Array<32>();
    anchors.push_back(std::move(anchor));
  }
  if (format != kFormat || !in.Complete())
    return Integrity("the anchor record in the token cannot be read", "anchor-damaged");
  return anchors;
}

}  // namespace strongroom::crypto
