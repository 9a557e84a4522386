#pragma once
// One process straight on the module, doing the token calls of one wrap of suite kwp: create, wrap, destroy.

#include <array>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "hsm/key_template.h"
#include "hsm/token_key_ops.h"
#include "tests/support/quorum_fixture.h"
#include "tests/support/softhsm_fixture.h"

namespace strongroom::tests {

class RawWrap {
 public:
  /// Straight on `module`: SoftHSM's own, or one in between.
  explicit RawWrap(const std::string& module = kSoftHsmModule) {
    const auto ring = crypto::RandomArray<16>();
    const SystemClock clock;
    auto ops = std::move(*hsm::TokenKeyOps::Open(token_.uri(), clock));
    const auto serial = ops->Identity()->serial;
    const auto made = ops->Generate(SharedQuorum().Grant(ring, 1, crypto::Suite::kKwp, serial),
                                    {{serial, crypto::MakeKeyId(ring, 1), crypto::Suite::kKwp}, hsm::KekLabel("k", 1)});
    if (!made) std::abort();  // a loop over no key measures nothing
    ops.reset();
    module_ = std::move(*hsm::Module::Load(module));
    slot_ = *module_->FindSlot(token_.uri());
    keeper_.emplace(std::move(*hsm::Session::Open(*module_, slot_)));
    (void)keeper_->Login(*hsm::ReadPinFile(token_.uri().pin_file()));
    auto id = crypto::MakeKeyId(ring, 1);
    CK_ATTRIBUTE pattern{CKA_ID, id.data(), id.size()};
    CK_ULONG count = 0;
    (void)module_->fn().C_FindObjectsInit(keeper_->handle(), &pattern, 1);
    (void)module_->fn().C_FindObjects(keeper_->handle(), &kek_, 1, &count);
    (void)module_->fn().C_FindObjectsFinal(keeper_->handle());
  }

  /// Worker is one thread's work, with a session of its own: each call wraps once and returns 1. `as_default` leaves
  /// CKA_PRIVATE of what is wrapped at SoftHSM's default, true, so that the token encrypts it on its way in.
  std::function<int()> Worker(bool as_default) {
    auto session = std::make_shared<hsm::Session>(std::move(*hsm::Session::Open(*module_, slot_)));
    return [this, session, as_default] { return WrapOnce(*session, as_default); };
  }

 private:
  int WrapOnce(const hsm::Session& session, bool as_default) {
    std::vector<hsm::Attribute> attributes = {hsm::UlongAttribute(CKA_CLASS, CKO_SECRET_KEY),
                                              hsm::UlongAttribute(CKA_KEY_TYPE, CKK_GENERIC_SECRET),
                                              hsm::BoolAttribute(CKA_TOKEN, false),
                                              hsm::BoolAttribute(CKA_EXTRACTABLE, true),
                                              {CKA_VALUE, Bytes(88, 7)}};
    if (!as_default) attributes.push_back(hsm::BoolAttribute(CKA_PRIVATE, false));
    auto ck = hsm::ToCk(attributes);
    CK_OBJECT_HANDLE object = 0;
    auto& fn = module_->fn();
    if (fn.C_CreateObject(session.handle(), ck.data(), ck.size(), &object) != CKR_OK) std::abort();
    CK_MECHANISM mechanism{CKM_AES_KEY_WRAP_PAD, nullptr, 0};
    std::array<CK_BYTE, 256> out{};
    CK_ULONG size = out.size();
    if (fn.C_WrapKey(session.handle(), &mechanism, kek_, object, out.data(), &size) != CKR_OK) std::abort();
    if (fn.C_DestroyObject(session.handle(), object) != CKR_OK) std::abort();
    return 1;
  }

  SoftHsmFixture token_;
  std::unique_ptr<hsm::Module> module_;
  CK_SLOT_ID slot_ = 0;
  std::optional<hsm::Session> keeper_;
  CK_OBJECT_HANDLE kek_ = 0;
};

}  // namespace strongroom::tests
