#include "crypto/proposal_text.h"

#include <algorithm>
#include <array>

#include "crypto/text_rules.h"

namespace strongroom::crypto {
namespace {

constexpr std::string_view kHeaderV1 = "strongroom proposal v1\n";
constexpr std::string_view kHeaderV2 = "strongroom proposal v2\n";

// Votes are for soon: nobody signs for what runs in a year.
constexpr Millis kMostTimeV1 = 31 * kDay;
constexpr Millis kMostTime = 7 * kDay;

std::string RenderUnchecked(const ProposalText& p) {
  std::string text(p.format == 1 ? kHeaderV1 : kHeaderV2);
  const auto line = [&](std::string_view name, std::string_view value) {
    text += name;
    text += ": ";
    text += value;
    text += '\n';
  };
  line("instance", ToHex(p.instance));
  line("operation", p.operation);
  if (!p.keyring.empty()) line("keyring", p.keyring);
  for (const auto& [name, value] : p.params) line("param " + name, value);
  line("reason", p.reason);
  line("requester", p.requester);
  line("nonce", ToHex(p.nonce));
  line("created", FormatTime(p.created));
  line("approve-by", FormatTime(p.approve_by));
  line("execute-by", FormatTime(p.execute_by));
  line("roster", std::to_string(p.roster_version) + " " + ToHex(p.roster_hash));
  std::string policy;
  for (const auto& part : p.policy)
    policy += (policy.empty() ? "" : "; ") + part.label + " " + std::to_string(part.needed) + " of " +
              std::to_string(part.of);
  line("policy", policy);
  line("control-log", std::to_string(p.control_size) + " " + ToHex(p.control_root));
  if (p.format != 1) line("epoch", std::to_string(p.epoch));
  return text;
}

// The lines that somebody has written; `check` is one of text_rules.h.
Result<void> CheckLines(const ProposalText& p, Result<void> (*check)(std::string_view, std::size_t)) {
  for (const auto& [name, value] : p.params)
    if (const auto line = check(value, kMaxParamBytes); !line)
      return Invalid("parameter " + name.substr(0, 64) + ": " + line.error().detail);
  if (const auto reason = check(p.reason, kMaxReasonBytes); !reason) return Invalid("reason: " + reason.error().detail);
  return {};
}

Result<void> Check(const ProposalText& p) {
  TRY_ASSIGN(const auto operation, OperationOf(p));
  const auto rule = RuleOf(operation);
  if (p.format != 1 && p.format != kProposalFormat) return Invalid("a proposal's format is 1 or 2");
  if ((p.format == 1) != (p.epoch == 0)) return Invalid("a proposal names its epoch, from 1");
  if (p.policy.empty()) return Invalid("a proposal names its policy");
  const auto& label = p.policy.front().label;
  if (label.substr(label.find('/') + 1) != rule.policy_class) return Invalid("operation and policy class disagree");
  if (rule.about_a_keyring == p.keyring.empty())
    return Invalid(p.operation + (p.keyring.empty() ? " is about a keyring: name it" : " has no keyring"));
  if (!p.keyring.empty() && !IsName(p.keyring))
    return Invalid("'" + p.keyring.substr(0, 64) + "' is not a keyring name (a-z, 0-9, -, at most 64)");
  for (const auto& [name, value] : p.params)
    if (!IsName(name)) return Invalid("a parameter's name is a-z, 0-9 and -");
  TRY(CheckLines(p, CheckRecordedLine));
  if (!IsName(p.requester)) return Invalid("the requester is not a principal's name");
  if (p.created > p.approve_by || p.approve_by > p.execute_by) return Invalid("the deadlines are not in order");
  if (p.execute_by - p.created > (p.format == 1 ? kMostTimeV1 : kMostTime))
    return Invalid(std::string("a proposal is executed within ") + (p.format == 1 ? "31" : "7") + " days");
  return {};
}

// Cursor walks the lines in their fixed order; a missing or misplaced one fails everything after it.
class Cursor {
 public:
  explicit Cursor(std::vector<std::pair<std::string_view, std::string_view>> lines) : lines_(std::move(lines)) {}
  bool Next(std::string_view name) const { return at_ < lines_.size() && lines_[at_].first == name; }
  bool NextParam() const { return at_ < lines_.size() && lines_[at_].first.starts_with("param "); }
  std::pair<std::string_view, std::string_view> Take() { return lines_[at_++]; }
  std::string_view Take(std::string_view name) {
    if (!Next(name)) {
      ok_ = false;
      return {};
    }
    return lines_[at_++].second;
  }
  bool Complete() const { return ok_ && at_ == lines_.size(); }

 private:
  std::vector<std::pair<std::string_view, std::string_view>> lines_;
  std::size_t at_ = 0;
  bool ok_ = true;
};

template <std::size_t N>
Result<void> ParseNumberAndHash(std::string_view text, std::uint64_t& number, std::array<std::uint8_t, N>& hash) {
  const auto words = SplitWords(text);
  const auto parsed = words.size() == 2 ? FromHexArray<N>(words[1]) : std::nullopt;
  if (!parsed) return Invalid("a number and a hash are expected");
  TRY_ASSIGN(number, ParseNumber(words[0]));
  hash = *parsed;
  return {};
}

Result<std::vector<PolicyPart>> ParsePolicy(std::string_view text) {
  std::vector<PolicyPart> policy;
  while (true) {
    const auto end = text.find("; ");
    const auto words = SplitWords(text.substr(0, end));
    if (words.size() != 4 || words[2] != "of") return Invalid("a policy is 'class needed of custodians'");
    PolicyPart part;
    part.label = words[0];
    TRY_ASSIGN(part.needed, ParseNumber(words[1]));
    TRY_ASSIGN(part.of, ParseNumber(words[3]));
    policy.push_back(std::move(part));
    if (end == std::string_view::npos) return policy;
    text.remove_prefix(end + 2);
  }
}

Result<Millis> ParseDeadline(std::string_view text) {
  const auto time = ParseTime(text);
  if (!time) return Invalid("a time is like 2026-01-31T12:00:00Z");
  return *time;
}

}  // namespace

Result<void> ProposalText::CheckReadable() const { return CheckLines(*this, CheckSignedLine); }

Result<std::string> ProposalText::Render() const {
  TRY(Check(*this));
  TRY(CheckReadable());
  return RenderUnchecked(*this);
}

Result<ProposalText> ProposalText::Parse(std::string_view text) {
  const bool first = text.starts_with(kHeaderV1);
  if (text.size() > kMaxTextBytes || (!first && !text.starts_with(kHeaderV2)))
    return Invalid("not a 'strongroom proposal v2' text");
  TRY_ASSIGN(auto lines, SplitLines(text.substr(kHeaderV2.size())));
  Cursor in(std::move(lines));
  ProposalText p;
  p.format = first ? 1 : kProposalFormat;
  const auto instance = FromHexArray<16>(in.Take("instance"));
  p.operation = in.Take("operation");
  if (in.Next("keyring")) p.keyring = in.Take("keyring");
  while (in.NextParam()) {
    const auto [name, value] = in.Take();
    p.params[std::string(name.substr(6))] = value;
  }
  p.reason = in.Take("reason");
  p.requester = in.Take("requester");
  const auto nonce = FromHexArray<16>(in.Take("nonce"));
  const auto created = in.Take("created"), approve_by = in.Take("approve-by"), execute_by = in.Take("execute-by");
  const auto roster = in.Take("roster"), policy = in.Take("policy"), control = in.Take("control-log");
  const auto epoch = first ? std::string_view("0") : in.Take("epoch");
  if (!in.Complete() || !instance || !nonce) return Invalid("the proposal's lines are not the canonical ones");
  p.instance = *instance;
  p.nonce = *nonce;
  TRY_ASSIGN(p.created, ParseDeadline(created));
  TRY_ASSIGN(p.approve_by, ParseDeadline(approve_by));
  TRY_ASSIGN(p.execute_by, ParseDeadline(execute_by));
  TRY(ParseNumberAndHash(roster, p.roster_version, p.roster_hash));
  TRY(ParseNumberAndHash(control, p.control_size, p.control_root));
  TRY_ASSIGN(p.epoch, ParseNumber(epoch));
  TRY_ASSIGN(p.policy, ParsePolicy(policy));
  TRY(Check(p));
  if (RenderUnchecked(p) != text) return Invalid("the proposal's text is not canonical");
  return p;
}

std::string ProposalText::Class() const {
  const auto operation_class = ClassOf(operation);
  return operation_class ? *operation_class : std::string();
}

std::string ProposalId(std::string_view text) {
  const auto hash = Sha256(AsBytes(text));
  return ToHex(ByteView(hash).first(16));
}

Result<KeyId> NamedKey(const ProposalText& proposal) {
  const auto keyring = proposal.params.find("keyring-id");
  const auto version = proposal.params.find("version");
  if (keyring == proposal.params.end() || version == proposal.params.end()) return Invalid("the proposal names no key");
  const auto id = FromHexArray<16>(keyring->second);
  TRY_ASSIGN(const auto number, ParseNumber(version->second));
  if (!id || number == 0 || number > 0xFFFFFFFFU) return Invalid("the proposal names no key");
  return MakeKeyId(*id, static_cast<std::uint32_t>(number));
}

bool NamesToken(const ProposalText& proposal, std::string_view serial) {
  const auto token = proposal.params.find("token");
  if (token != proposal.params.end() && token->second == serial) return true;
  const auto further = proposal.params.find("further-tokens");
  if (further == proposal.params.end()) return false;
  const auto words = SplitWords(further->second, ',');
  return std::find(words.begin(), words.end(), serial) != words.end();
}

Result<void> CheckMark(std::string_view mark) {
  constexpr std::size_t kMostBytes = 64;
  const bool plain =
      std::all_of(mark.begin(), mark.end(), [](char c) { return c >= ' ' && c < 0x7F && c != ',' && c != '/'; });
  if (!mark.empty() && mark.size() <= kMostBytes && plain) return {};
  return Invalid(
      "serial number, label, model and manufacturer of a token are 1 to 64 visible characters without , and /");
}

namespace {
Result<Operation> KnownOperation(std::string_view name) {
  if (const auto operation = OperationFromString(name)) return *operation;
  std::string known;
  for (std::size_t i = 0; i < kOperationCount; ++i)
    known += (known.empty() ? "" : ", ") + std::string(ToString(static_cast<Operation>(i)));
  return Invalid("operation '" + std::string(name.substr(0, 40)) + "' is not one that this version executes: " + known,
                 "unknown-operation");
}
}  // namespace

Result<std::string> ClassOf(std::string_view operation) {
  TRY_ASSIGN(const auto known, KnownOperation(operation));
  return std::string(RuleOf(known).policy_class);
}

Result<Operation> OperationOf(const ProposalText& proposal) { return KnownOperation(proposal.operation); }

Result<void> CheckFormat(const ProposalText& proposal) {
  if (proposal.format == kProposalFormat) return {};
  return Conflict("it is a text of an earlier version, which names no epoch: propose again", "stale");
}

Result<void> CheckEpoch(std::uint64_t present, const ProposalText& proposal) {
  const auto expected = present == 0 ? 1 : present;
  if (proposal.operation == ToString(Operation::kLedgerAdopt) || proposal.epoch == expected) return {};
  return Conflict("it was asked for in epoch " + std::to_string(proposal.epoch) + " of the logs, which are in epoch " +
                      std::to_string(expected) + ": propose again",
                  "stale");
}

}  // namespace strongroom::crypto
