#include "hsm/token_set.h"

#include <algorithm>

namespace strongroom::hsm {
namespace {

Error NotConnected() {
  return Unavailable("the token is not connected: it is no [[token]] of the configuration", "token-not-connected");
}

// AbsentToken is what a serial number leads to that nobody has.
class AbsentToken final : public KeyOps {
 public:
  std::vector<Result<KeyOpOutput>> Execute(std::span<const KeyOp> ops) override {
    std::vector<Result<KeyOpOutput>> results;
    for (std::size_t i = 0; i < ops.size(); ++i) results.emplace_back(NotConnected());
    return results;
  }
  Result<void> Generate(crypto::ExecutionGrant, const KeySpec&) override { return NotConnected(); }
  Result<void> GenerateByMandate(crypto::StandingGrant, const KeySpec&) override { return NotConnected(); }
  Result<std::vector<KeyRecord>> Inventory() override { return NotConnected(); }
  Result<void> SelfTest() override { return NotConnected(); }
  Result<TokenIdentity> Identity() override { return NotConnected(); }
  Result<std::vector<CheckpointSignature>> SignCheckpoint(const crypto::Checkpoint&,
                                                          std::span<const crypto::Digest>) override {
    return NotConnected();
  }
  Result<std::vector<CheckpointKey>> CheckpointKeys() override { return NotConnected(); }
  Result<crypto::LedgerRecord> ReadLedgerRecord() override { return NotConnected(); }
  Result<RecordToAdopt> ReadRecordToAdopt() override { return NotConnected(); }
  Result<void> JudgeProposal(crypto::ExecutionGrant) override { return NotConnected(); }
  Result<void> BringChain(const crypto::RosterChain&) override { return NotConnected(); }
  Result<crypto::RosterChain> ReadChain() override { return NotConnected(); }
  Result<void> ChangeLedgerRecord(crypto::ExecutionGrant) override { return NotConnected(); }
  Result<void> Destroy(crypto::StandingGrant, const KeyRef&) override { return NotConnected(); }
  Result<void> CancelDestruction(const KeyRef&) override { return NotConnected(); }
  std::vector<LinkState> Links() override { return {LinkState::kDown}; }
};

// The wrap in the second token of a DEK that the first has opened and released.
Result<AdmitOp> SecondHalf(const KeyOp& op, KeyOpOutput& opened) {
  AdmitOp wrap;
  wrap.deadline = DeadlineOf(op);
  if (opened.blob.size() != wrap.context.size())
    return Integrity("a token host has opened a DEK without its context", "malformed-response");
  std::copy(opened.blob.begin(), opened.blob.end(), wrap.context.begin());
  opened.blob.clear();
  if (const auto* unwrap = std::get_if<UnwrapOp>(&op)) {
    wrap.key = *unwrap->rewrap_to;
    TRY_ASSIGN(wrap.dek, SecretBytes::CopyOf(opened.plaintext.Read(SecretAccess())));
    return wrap;
  }
  wrap.key = std::get<RewrapOp>(op).to;
  wrap.dek = std::move(opened.plaintext);
  return wrap;
}
// Checks what a host on one token alone cannot: it never sees the second KEK of a rewrap.
Result<void> CheckOneKeyringOf(const KeyOp& op) {
  if (const auto* rewrap = std::get_if<RewrapOp>(&op)) return CheckOneKeyring(rewrap->from, rewrap->to);
  const auto& unwrap = std::get<UnwrapOp>(op);
  return CheckOneKeyring(unwrap.key, *unwrap.rewrap_to);
}

}  // namespace

void TokenDoors::SetEnrolled(std::set<std::string, std::less<>> serials) {
  const MutexLock lock(mutex_);
  std::erase_if(doors_, [&](const auto& door) { return !serials.contains(door.first); });
  for (const auto& serial : serials) doors_.try_emplace(serial, false);
}
void TokenDoors::Open(const std::string& serial, bool open) {
  const MutexLock lock(mutex_);
  if (const auto at = doors_.find(serial); at != doors_.end()) at->second = open;
}
bool TokenDoors::IsEnrolled(std::string_view serial) const {
  const MutexLock lock(mutex_);
  return doors_.contains(serial);
}
bool TokenDoors::Any() const {
  const MutexLock lock(mutex_);
  return !doors_.empty();
}
bool TokenDoors::IsOpen(std::string_view serial) const {
  const MutexLock lock(mutex_);
  const auto at = doors_.find(serial);
  return at != doors_.end() && at->second;
}

bool TokenSet::Route::operator==(const Route& other) const {
  return *from == *other.from && (to == nullptr ? other.to == nullptr : other.to != nullptr && *to == *other.to);
}

TokenSet::Route TokenSet::RouteOf(const KeyOp& op) {
  const auto other = [](const std::string& from, const std::string& to) { return from == to ? nullptr : &to; };
  if (const auto* wrap = std::get_if<WrapOp>(&op)) return {&wrap->key.token, nullptr};
  if (const auto* datakey = std::get_if<DataKeyOp>(&op)) return {&datakey->key.token, nullptr};
  if (const auto* release = std::get_if<ReleaseOp>(&op)) return {&release->key.token, nullptr};
  if (const auto* admit = std::get_if<AdmitOp>(&op)) return {&admit->key.token, nullptr};
  if (const auto* rewrap = std::get_if<RewrapOp>(&op))
    return {&rewrap->from.token, other(rewrap->from.token, rewrap->to.token)};
  const auto& unwrap = std::get<UnwrapOp>(op);
  return {&unwrap.key.token, unwrap.rewrap_to ? other(unwrap.key.token, unwrap.rewrap_to->token) : nullptr};
}

TokenSet::TokenSet(KeyOps& main, Tokens further, const TokenDoors& doors)
    : main_(main), further_(std::move(further)), doors_(doors), absent_(std::make_unique<AbsentToken>()) {}

TokenSet::~TokenSet() = default;

KeyOps& TokenSet::Token(const std::string& serial) {
  if (const auto at = further_.find(serial); at != further_.end()) return *at->second;
  return doors_.IsEnrolled(serial) ? *absent_ : main_;
}

std::vector<std::string> TokenSet::Further() const {
  std::vector<std::string> serials;
  for (const auto& [serial, token] : further_) serials.push_back(serial);
  return serials;
}

Result<KeyOps*> TokenSet::Usable(const std::string& serial) {
  if (!further_.contains(serial) || doors_.IsOpen(serial)) return &Token(serial);
  return Unavailable("token " + serial + " has not been verified, or is not well", "token-not-verified");
}

std::vector<Result<KeyOpOutput>> TokenSet::ExecuteOn(const std::string& serial, std::span<const KeyOp> ops) {
  const auto token = Usable(serial);
  if (token) return (*token)->Execute(ops);
  std::vector<Result<KeyOpOutput>> results;
  for (std::size_t i = 0; i < ops.size(); ++i) results.emplace_back(token.error());
  return results;
}

// A rewrap opens nothing in the one token that the other could not take; an unwrap does without its fresh wrap then.
std::vector<Result<KeyOpOutput>> TokenSet::ExecuteAcross(const Route& route, std::span<const KeyOp> ops) {
  const auto target = Usable(*route.to);
  std::vector<Result<KeyOpOutput>> results;
  std::vector<KeyOp> first;
  std::vector<std::size_t> asked;  // which operation each is the first half of
  for (const auto& op : ops) {
    results.emplace_back(target ? Unavailable("the operation has not begun") : target.error());
    const auto* rewrap = std::get_if<RewrapOp>(&op);
    if (rewrap != nullptr && !target) continue;
    if (auto one = CheckOneKeyringOf(op); !one) {
      results.back() = std::move(one).error();
      continue;
    }
    asked.push_back(results.size() - 1);
    if (rewrap != nullptr) {
      first.emplace_back(ReleaseOp{rewrap->from, *route.to, rewrap->blob, rewrap->deadline});
      continue;
    }
    const auto& unwrap = std::get<UnwrapOp>(op);
    first.emplace_back(
        UnwrapOp{unwrap.key, unwrap.blob, unwrap.context, target ? unwrap.rewrap_to : std::nullopt, unwrap.deadline});
  }
  if (first.empty()) return results;
  auto opened = ExecuteOn(*route.from, first);
  for (std::size_t n = 0; n < asked.size(); ++n) results[asked[n]] = std::move(opened[n]);
  if (!target) return results;
  std::vector<KeyOp> second;
  std::vector<std::size_t> of;  // which operation each is the second half of
  for (const auto i : asked) {
    if (!results[i]) continue;
    // An unwrap whose DEK may not go there: it is opened, and that is all.
    if (std::holds_alternative<UnwrapOp>(ops[i]) && results[i]->blob.empty()) continue;
    auto wrap = SecondHalf(ops[i], *results[i]);
    if (!wrap) {
      results[i] = std::move(wrap).error();
      continue;
    }
    second.emplace_back(std::move(*wrap));
    of.push_back(i);
  }
  if (second.empty()) return results;
  auto wrapped = (*target)->Execute(second);
  for (std::size_t n = 0; n < of.size(); ++n) {
    if (wrapped[n])
      results[of[n]]->blob = std::move(wrapped[n]->blob);
    else if (std::holds_alternative<RewrapOp>(ops[of[n]]))
      results[of[n]] = std::move(wrapped[n]).error();
  }
  return results;
}

std::vector<Result<KeyOpOutput>> TokenSet::Execute(std::span<const KeyOp> ops) {
  if (further_.empty() && !doors_.Any()) return main_.Execute(ops);
  std::vector<Result<KeyOpOutput>> results;
  for (std::size_t begin = 0; begin < ops.size();) {
    const auto route = RouteOf(ops[begin]);
    auto end = begin + 1;
    while (end < ops.size() && RouteOf(ops[end]) == route) ++end;
    const auto run = ops.subspan(begin, end - begin);
    auto part = route.to == nullptr ? ExecuteOn(*route.from, run) : ExecuteAcross(route, run);
    std::move(part.begin(), part.end(), std::back_inserter(results));
    begin = end;
  }
  return results;
}

}  // namespace strongroom::hsm
