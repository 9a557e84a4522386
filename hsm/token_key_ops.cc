#include "hsm/token_key_ops.h"

#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>

#include "hsm/ckr.h"

namespace strongroom::hsm {
namespace {

// The ceiling that the token reports (P9): 0 is unlimited, all ones is unknown.
Result<void> CheckSessionCeiling(const CK_TOKEN_INFO& info, CK_ULONG needed) {
  for (const CK_ULONG most : {info.ulMaxSessionCount, info.ulMaxRwSessionCount})
    if (most != CK_EFFECTIVELY_INFINITE && most != CK_UNAVAILABLE_INFORMATION && most < needed)
      return Invalid("the token allows " + std::to_string(most) + " sessions, each host needs " +
                         std::to_string(needed) + ": raise the token's limit or lower [tokend] sessions",
                     "sessions-exhausted");
  return {};
}

TokenIdentity IdentityOf(const CK_TOKEN_INFO& info, const VendorProfile& profile) {
  return {Trimmed(info.serialNumber), Trimmed(info.label), Trimmed(info.model), Trimmed(info.manufacturerID),
          profile.name};
}

}  // namespace

Result<std::unique_ptr<TokenKeyOps>> TokenKeyOps::Open(TokenUri uri, const Clock& clock, Options options) {
  TRY_ASSIGN(const auto pin, ReadPinFile(uri.pin_file()));
  TRY_ASSIGN(auto module, Module::Load(uri.module_path()));
  TRY_ASSIGN(const auto slot, module->FindSlot(uri));
  TRY_ASSIGN(const auto info, module->TokenInfo(slot));
  TRY_ASSIGN(const auto profile, ProfileFor(info));
  if ((info.flags & (CKF_USER_PIN_FINAL_TRY | CKF_USER_PIN_LOCKED)) != 0)
    return Error{Code::kPinRejected,
                 "the token reports its last PIN try or a locked PIN: not tried; unlock it with the vendor's tool",
                 "pin-rejected", 0, __func__};
  // A refused PIN that nobody latched (its host was killed in that moment) still shows here.
  if ((info.flags & CKF_USER_PIN_COUNT_LOW) != 0 && !options.pin_count_may_be_low)
    return Error{Code::kPinRejected,
                 "the token reports a wrong PIN since the last login: not tried; correct the PIN file, then run "
                 "strongroom-tokend --clear-pin-latch",
                 "pin-rejected", 0, __func__};
  // A token stays logged in as long as any session of the process is open. Of many, one is always left while another is
  // replaced; of two it is safer to keep a third.
  const bool keeps = options.sessions == 1;
  TRY(CheckSessionCeiling(info, (keeps ? 2 : 1) + options.sessions));
  TRY_ASSIGN(auto control, Session::Open(*module, slot));
  TRY(control.Login(pin));
  std::optional<Session> keeper;
  if (keeps) {
    TRY_ASSIGN(keeper, Session::Open(*module, slot));
  }
  std::vector<Session> workers;
  for (unsigned i = 0; i < options.sessions; ++i) {
    TRY_ASSIGN(auto worker, Session::Open(*module, slot));
    workers.push_back(std::move(worker));
  }
  const auto identity = IdentityOf(info, profile);
  CustodyStore store(*module, clock, identity.serial, StoreOptions(profile, options.store));
  if (options.before_claim) TRY(options.before_claim(identity));
  // A token without a record is in no group; whatever else is wrong with it shows where the record is asked for.
  std::string group;
  if (const auto record = store.Read(control))
    for (const auto& member : record->custody.members)
      if (IsMember(member, identity)) group = record->token;
  std::unique_ptr<TokenKeyOps> ops(new TokenKeyOps(std::move(module), std::move(uri), slot, profile, identity,
                                                   std::move(group), std::move(keeper), std::move(control),
                                                   std::move(workers), std::move(store), std::move(options.chain_file),
                                                   clock, std::move(options.watch)));
  // First: a host whose module answers wrongly never becomes the record's writer. It writes nothing before its claim.
  TRY(ops->SelfTest());
  if (options.custody) TRY(ops->Claim());
  return ops;
}

Result<void> TokenKeyOps::Claim() {
  const MutexLock lock(mutex_);
  const auto claimed = signer_.Claim(control_.session());
  // Claimed or not, what was made for it is on disk before anything follows from it.
  if (claimed) {
    sync();
    (void)Learn();
    return {};
  }
  const auto& error = claimed.error();
  if (error.ck_rv != 0 || error.code == Code::kIo || signer_.store().ended() || error.Slug() == "token-in-use")
    return error;
  spdlog::warn("custody: {}", error.Line());
  return {};
}

TokenKeyOps::TokenKeyOps(std::unique_ptr<Module> module, TokenUri uri, CK_SLOT_ID slot, VendorProfile profile,
                         TokenIdentity identity, std::string group, std::optional<Session> keeper, Session control,
                         std::vector<Session> workers, CustodyStore store, std::string chain_file, const Clock& clock,
                         SessionLanes::Watch watch)
    : module_(std::move(module)),
      uri_(std::move(uri)),
      token_{*module_, slot, std::move(profile), std::move(identity), std::move(group)},
      clock_(clock),
      keeper_(std::move(keeper)),
      control_(
          token_, shared_, std::move(control), [](const KeyRef&) { return Result<void>(); },
          [](const KeyRef&, const std::string&) { return Result<void>(Invalid("not on this session")); }),
      signer_(*module_, std::move(store)),
      chain_file_(std::move(chain_file)) {
  const auto probe = [this](const KeyRef& key) -> Result<void> {
    const MutexLock lock(mutex_);
    return control_.Has(key);
  };
  const auto may_release = [this](const KeyRef& key, const std::string& to) { return MayRelease(key, to); };
  std::vector<std::unique_ptr<TokenSession>> sessions;
  for (auto& worker : workers)
    sessions.push_back(std::make_unique<TokenSession>(token_, shared_, std::move(worker), probe, may_release));
  if (sessions.size() > 1) {
    lanes_.emplace(std::move(sessions), std::move(watch));
    return;
  }
  const MutexLock lock(worker_mutex_);
  worker_ = std::move(sessions[0]);
}

std::vector<Result<KeyOpOutput>> TokenKeyOps::Execute(std::span<const KeyOp> ops) {
  if (lanes_) return lanes_->Execute(ops);
  const MutexLock lock(worker_mutex_);
  std::vector<Result<KeyOpOutput>> results;
  results.reserve(ops.size());
  for (const auto& op : ops) results.push_back(worker_->Execute(op));
  return results;
}

void TokenKeyOps::Start(std::uint64_t source, std::vector<KeyOp> ops, Done done) {
  if (lanes_) return lanes_->Start(source, std::move(ops), std::move(done));
  done(Execute(ops));
}

Result<std::vector<KeyRecord>> TokenKeyOps::Inventory() {
  const MutexLock lock(mutex_);
  if (Broken()) return Unavailable("the token has failed; its host is being replaced");
  return control_.ReadKeys();
}

Result<TokenIdentity> TokenKeyOps::Identity() {
  const MutexLock lock(mutex_);
  const auto info = module_->TokenInfo(token_.slot);
  if (!info) return control_.Fault(info.error().ck_rv, "C_GetTokenInfo", nullptr);
  return IdentityOf(*info, token_.profile);
}

Result<void> TokenKeyOps::SelfTest() {
  TRY_ASSIGN(const auto now, Identity());
  const MutexLock lock(mutex_);
  if (now != token_.identity) {
    shared_.Break();
    return Integrity("the token in the slot is another one than at start", "impostor");
  }
  auto known = control_.KnownAnswers();
  // A host that writes no record learns here what others have written. A token without a record has given up nothing;
  // what else is wrong with it shows where it is asked for.
  (void)Learn();
  // Asked for every few seconds: the record's clock moves on at least hourly, also where nothing is signed. A record
  // that cannot be relied on is no fault of the module: services go on, and it shows where the record is asked for
  // (Q16).
  const auto ticked = signer_.Tick(control_.session());
  if (!ticked && (ticked.error().ck_rv != CKR_OK || signer_.store().ended())) return SignerFault(ticked.error());
  // A module that answers wrongly is loaded anew; until it answers rightly nobody uses it. A session that was lost
  // meanwhile, and replaced, is no answer.
  if (!known && known.error().code != Code::kUnavailable) shared_.Break();
  return known;
}

}  // namespace strongroom::hsm
