// What a customer's own tool does in her own token: `make_kek MODULE TOKEN PIN-FILE CKA_ID LABEL [extractable]` makes
// an AES-256 key for suite kwp there. SoftHSM alone; the appliance has no such way.

#include <iostream>

#include "hsm/key_template.h"
#include "hsm/module.h"
#include "hsm/profile.h"

namespace {

using namespace strongroom;

Result<void> Make(const std::string& module_path, const std::string& token, const std::string& pin_file,
                  const std::string& id, const std::string& label, bool extractable) {
  TRY_ASSIGN(const auto uri, hsm::TokenUri::Parse("pkcs11:token=" + token + "?module-path=" + module_path +
                                                  "&pin-source=file:" + pin_file));
  TRY_ASSIGN(const auto pin, hsm::ReadPinFile(pin_file));
  TRY_ASSIGN(const auto module, hsm::Module::Load(module_path));
  TRY_ASSIGN(const auto slot, module->FindSlot(uri));
  TRY_ASSIGN(const auto info, module->TokenInfo(slot));
  TRY_ASSIGN(const auto profile, hsm::ProfileFor(info));
  TRY_ASSIGN(auto session, hsm::Session::Open(*module, slot));
  TRY(session.Login(pin));
  const auto key = FromHexArray<20>(id);
  if (!key) return Invalid("the CKA_ID is 40 hex digits");
  auto attributes = hsm::KekTemplate({{"", *key, crypto::Suite::kKwp}, label}, profile);
  for (auto& attribute : attributes)
    if (extractable && attribute.type == CKA_EXTRACTABLE) attribute.value = {CK_TRUE};
  auto ck = hsm::ToCk(attributes);
  CK_MECHANISM mechanism{CKM_AES_KEY_GEN, nullptr, 0};
  CK_OBJECT_HANDLE made = 0;
  const CK_RV rv = module->fn().C_GenerateKey(session.handle(), &mechanism, ck.data(), ck.size(), &made);
  if (rv != CKR_OK) return Io("C_GenerateKey: " + std::to_string(rv));
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 6) return 2;
  if (const auto arena = OpenSecretArena(1U << 16); !arena) return 1;
  const auto made = Make(argv[1], argv[2], argv[3], argv[4], argv[5], argc > 6);
  if (!made) std::cerr << made.error().Line() << "\n";
  return made ? 0 : 1;
}
