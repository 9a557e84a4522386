#include "hsm/token_setup.h"

#include <unistd.h>

#include <algorithm>
#include <array>

#include "hsm/checkpoint_signer.h"
#include "hsm/ckr.h"
#include "hsm/module.h"

namespace strongroom::hsm {

Result<void> MakeToken(const Module& module, const TokenUri& uri, const std::string& so_pin_file) {
  if (uri.label().empty() || uri.label().size() > 32)
    return Invalid("the token URI needs token=LABEL of at most 32 bytes");
  TRY_ASSIGN(const auto so_pin, ReadPinFile(so_pin_file));
  TRY_ASSIGN(const auto pin, ReadPinFile(uri.pin_file()));
  auto& fn = module.fn();
  const auto so = so_pin.Read(SecretAccess()), user = pin.Read(SecretAccess());
  if (const auto existing = module.FindSlot(uri)) {
    // A run that was cut off may have left it without its PIN: only that is finished here.
    TRY_ASSIGN(const auto info, module.TokenInfo(*existing));
    if ((info.flags & CKF_USER_PIN_INITIALIZED) != 0)
      return Conflict("the token '" + uri.label() + "' exists already", "token-exists");
  } else {
    TRY_ASSIGN(const auto slot, module.FreeSlot());
    std::array<CK_UTF8CHAR, 32> label{};
    label.fill(' ');
    std::copy(uri.label().begin(), uri.label().end(), label.begin());
    if (const CK_RV rv = fn.C_InitToken(slot, const_cast<CK_UTF8CHAR*>(so.data()), so.size(), label.data());
        rv != CKR_OK)
      return TokenError(rv, "C_InitToken");
  }
  // The slot of a token may change when it is initialised: find it anew.
  TRY_ASSIGN(const auto made, module.FindSlot(uri));
  TRY_ASSIGN(const auto session, Session::Open(module, made));
  if (const CK_RV rv = fn.C_Login(session.handle(), CKU_SO, const_cast<CK_UTF8CHAR*>(so.data()), so.size());
      rv != CKR_OK)
    return TokenError(rv, "C_Login");
  const CK_RV rv = fn.C_InitPIN(session.handle(), const_cast<CK_UTF8CHAR*>(user.data()), user.size());
  (void)fn.C_Logout(session.handle());
  if (rv != CKR_OK) return TokenError(rv, "C_InitPIN");
  return {};
}

Result<void> InitialiseToken(const TokenUri& uri, const std::string& so_pin_file, const crypto::Roster& roster) {
  {
    TRY_ASSIGN(const auto module, Module::Load(uri.module_path()));
    TRY(MakeToken(*module, uri, so_pin_file));
  }
  return AddCheckpointKey(uri, roster);
}

Result<TokenIdentity> ReadMarks(const TokenUri& uri) {
  TRY_ASSIGN(const auto module, Module::Load(uri.module_path()));
  TRY_ASSIGN(const auto slot, module->FindSlot(uri));
  TRY_ASSIGN(const auto info, module->TokenInfo(slot));
  return TokenIdentity{
      Trimmed(info.serialNumber), Trimmed(info.label), Trimmed(info.model), Trimmed(info.manufacturerID), {}};
}

namespace {
// Calls `work` with a session on the token that is logged in as user, and what the token says of itself.
template <class Work>
Result<void> OnToken(const TokenUri& uri, Work work) {
  TRY_ASSIGN(const auto pin, ReadPinFile(uri.pin_file()));
  TRY_ASSIGN(const auto module, Module::Load(uri.module_path()));
  TRY_ASSIGN(const auto slot, module->FindSlot(uri));
  TRY_ASSIGN(const auto info, module->TokenInfo(slot));
  TRY_ASSIGN(auto session, Session::Open(*module, slot));
  TRY(session.Login(pin));
  TRY(work(*module, session, info));
  sync();  // SoftHSM does not sync what it writes
  return {};
}
}  // namespace

Result<void> AddCheckpointKey(const TokenUri& uri, const crypto::Roster& roster) {
  return OnToken(uri, [&](const Module& module, const Session& session, const CK_TOKEN_INFO& info) {
    return MakeCheckpointKey(module, session, roster, Trimmed(info.serialNumber), SystemClock());
  });
}

Result<void> SetTokenRoot(const TokenUri& uri, const crypto::Roster& roster) {
  return OnToken(uri, [&](const Module& module, const Session& session, const CK_TOKEN_INFO& info) -> Result<void> {
    TRY_ASSIGN(const auto profile, ProfileFor(info));
    return SetRoot(module, session, roster, Trimmed(info.serialNumber), SystemClock(), StoreOptions(profile));
  });
}

}  // namespace strongroom::hsm
