#include "hsm/ckr.h"
#include "hsm/ec_key.h"
#include "hsm/identity_key.h"
#include "hsm/token_setup.h"

namespace strongroom::hsm {

Result<Bytes> MakeIdentityKey(const TokenUri& uri, const std::string& so_pin_file) {
  TRY_ASSIGN(const auto pin, ReadPinFile(uri.pin_file()));
  TRY_ASSIGN(const auto module, Module::Load(uri.module_path()));
  if (const auto made = MakeToken(*module, uri, so_pin_file); !made && made.error().Slug() != "token-exists")
    return made.error();
  TRY_ASSIGN(const auto slot, module->FindSlot(uri));
  TRY_ASSIGN(auto session, Session::Open(*module, slot));
  TRY(session.Login(pin));
  TRY_ASSIGN(auto found, FindLabelled(*module, session, CKO_PUBLIC_KEY, kIdentityLabel));
  TRY_ASSIGN(const auto secret, FindLabelled(*module, session, CKO_PRIVATE_KEY, kIdentityLabel));
  if (found.size() > 1 || secret.size() != found.size())
    return Integrity("the identity token has keys labelled strongroom-tls that are not one pair", "key-drift");
  if (found.empty()) {
    TRY(GenerateEcKey(*module, session, kIdentityLabel, {1}));
    TRY_ASSIGN(found, FindLabelled(*module, session, CKO_PUBLIC_KEY, kIdentityLabel));
    if (found.size() != 1) return Integrity("the new TLS key is not found again", "key-drift");
  }
  return EcSpki(*module, session, found[0]);
}

}  // namespace strongroom::hsm
