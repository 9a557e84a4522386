// How TokenSession finds out what a token is worth: known answers, what it must refuse, and each new KEK.

#include <algorithm>
#include <array>
#include <optional>

#include "hsm/ckr.h"
#include "hsm/known_answers.h"
#include "hsm/session_calls.h"
#include "hsm/token_session.h"

namespace strongroom::hsm {

Result<void> TokenSession::TakeKek(const KeyRef& ref) {
  TRY_ASSIGN(const auto found, FindObjects({{CKA_ID, Bytes(ref.key.begin(), ref.key.end())}}));
  if (found.empty()) return TokenLies("says that it has made a KEK, and does not find it", "C_GenerateKey");
  std::optional<Error> wrong;
  if (found.size() > 1) wrong = TokenLies("has made more than one object of one CKA_ID", "C_GenerateKey");
  if (!wrong) {
    const auto reported = ReadAttributes(found[0], KekReadBack(token_.profile));
    const auto fault = reported ? JudgeKek(*reported, ref, token_.profile) : reported.error().Line();
    if (!fault.empty()) wrong = Integrity("the new KEK was destroyed: " + fault, "key-drift");
  }
  if (!wrong)
    if (auto sensitive = CheckSensitive(token_.module, session_, found[0]); !sensitive)
      wrong = std::move(sensitive).error();
  if (!wrong) return {};
  // Only a key that is known to be gone may be called so; else whoever asked has to look once the token is back.
  if (const auto gone = DestroyAll(token_.module, session_, {{CKA_ID, Bytes(ref.key.begin(), ref.key.end())}}); !gone) {
    shared_.Break();
    return Error{
        Code::kUnavailable,
        "a new KEK that is not as asked for could not be destroyed: " + wrong->detail + "; " + gone.error().detail,
        {},
        gone.error().ck_rv,
        __func__};
  }
  return std::move(*wrong);
}

Result<void> TokenSession::DestroyKek(const crypto::KeyId& key) {
  shared_.Forget(key);
  auto gone = DestroyAll(token_.module, session_, ById(key));
  if (gone) return gone;
  shared_.Recall(key);
  return Judged(std::move(gone).error());
}

Result<void> TokenSession::KnownAnswers() {
  static const auto known = MakeKnownAnswers();
  TRY_ASSIGN(const auto wrapper, CreateTransit(known.key, CKK_AES, CKA_WRAP));
  auto object = CreateTransit(known.value, CKK_GENERIC_SECRET, CKA_EXTRACTABLE);
  if (!object) return std::move(object).error();
  const auto wrapped = WrapObject(wrapper.handle, *object, known.kwp.size());
  DestroyTransit(*object);
  DestroyTransit(wrapper);
  if (!wrapped) return wrapped.error();
  if (*wrapped != known.kwp)
    return Error{
        Code::kTokenFault,
        "known answer failed: mechanism " + std::to_string(token_.profile.kwp) + " of this token is not RFC 5649",
        "canary", 0, __func__};

  TRY_ASSIGN(const auto sealer, CreateTransit(known.key, CKK_AES, CKA_ENCRYPT));
  const auto sealed = GcmEncrypt(sealer.handle, known.iv, known.key, known.value);
  DestroyTransit(sealer);
  if (!sealed) return sealed.error();
  if (*sealed != known.gcm) return Error{Code::kTokenFault, "known answer failed: AES-GCM", "canary", 0, __func__};
  std::array<std::uint8_t, 64> drawn{};
  for (int draw = 0; draw < 2; ++draw) TRY(DrawRandom(drawn));
  TRY(ProbeTransit());
  return ProbeDamaged();
}

// A transit object of the kind that a rewrap uses: does the token keep its value to itself?
Result<void> TokenSession::ProbeTransit() {
  static const auto known = MakeKnownAnswers();
  TRY_ASSIGN(const auto kek, CreateTransit(known.key, CKK_AES, CKA_UNWRAP));
  auto attributes = TransitTemplate(/*readable=*/false);
  auto ck = ToCk(attributes);
  CK_MECHANISM mechanism{token_.profile.kwp, nullptr, 0};
  CK_OBJECT_HANDLE object = 0;
  const CK_RV rv = token_.module.fn().C_UnwrapKey(session_.handle(), &mechanism, kek.handle, Ck(known.kwp),
                                                  known.kwp.size(), ck.data(), ck.size(), &object);
  DestroyTransit(kek);
  if (rv != CKR_OK) return Fault(rv, "C_UnwrapKey", nullptr);
  const Transit made{object, sessions_};
  auto sensitive = CheckSensitive(token_.module, session_, object);
  DestroyTransit(made);
  if (!sensitive) return Judged(std::move(sensitive).error());
  return {};
}

// What was damaged must not open: a token that does not look would take anything for a DEK.
Result<void> TokenSession::ProbeDamaged() {
  static const auto known = MakeKnownAnswers();
  auto& fn = token_.module.fn();
  const auto judge = [&](CK_RV rv, const char* call) -> Result<void> {
    if (rv == CKR_OK) return Error{Code::kTokenFault, "the token opens what was damaged", "canary", 0, __func__};
    const auto kind = Classify(rv);
    if (kind == RvClass::kCallersData || kind == RvClass::kAmbiguous) return {};
    return Fault(rv, call, nullptr);
  };
  auto wrapped = known.kwp;
  wrapped[9] ^= 1;
  TRY_ASSIGN(const auto unwrapper, CreateTransit(known.key, CKK_AES, CKA_UNWRAP));
  auto attributes = TransitTemplate(/*readable=*/false);
  auto ck = ToCk(attributes);
  CK_MECHANISM kwp{token_.profile.kwp, nullptr, 0};
  CK_OBJECT_HANDLE object = 0;
  CK_RV rv = fn.C_UnwrapKey(session_.handle(), &kwp, unwrapper.handle, wrapped.data(), wrapped.size(), ck.data(),
                            ck.size(), &object);
  if (rv == CKR_OK) DestroyTransit({object, sessions_});
  DestroyTransit(unwrapper);
  TRY(judge(rv, "C_UnwrapKey"));

  auto sealed = known.gcm;
  sealed.back() ^= 1;
  Bytes plain(sealed.size());
  TRY_ASSIGN(const auto opener, CreateTransit(known.key, CKK_AES, CKA_DECRYPT));
  auto params = GcmParams(known.iv, known.key);
  CK_MECHANISM gcm{token_.profile.gcm, &params, sizeof params};
  CK_ULONG size = plain.size();
  rv = fn.C_DecryptInit(session_.handle(), &gcm, opener.handle);
  const bool began = rv == CKR_OK;
  if (began) rv = fn.C_Decrypt(session_.handle(), sealed.data(), sealed.size(), plain.data(), &size);
  DestroyTransit(opener);
  if (!began) return Fault(rv, "C_DecryptInit", nullptr);
  return judge(rv, "C_Decrypt");
}

}  // namespace strongroom::hsm
