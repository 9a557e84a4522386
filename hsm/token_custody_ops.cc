// How TokenKeyOps makes KEKs: by votes or by a mandate, spent in the custody record before anything is made.

#include <unistd.h>

#include "hsm/ckr.h"
#include "hsm/token_key_ops.h"
#include "hsm/vote_checks.h"

namespace strongroom::hsm {

Result<void> TokenKeyOps::Generate(crypto::ExecutionGrant grant, const KeySpec& spec) {
  const auto used = std::move(grant);
  TRY(CheckMayGenerate(used.proposal()));
  TRY(CheckGrantNamesKey(used.proposal(), spec));
  return Make(
      used.proposal().keyring, spec,
      [&](const std::vector<KeyRecord>& known) { return CheckVersionToMake(used.proposal(), spec, known); },
      [&]() STRONGROOM_TSA(no_thread_safety_analysis) { return signer_.Spend(control_.session(), used); });
}

Result<void> TokenKeyOps::GenerateByMandate(crypto::StandingGrant grant, const KeySpec& spec) {
  const auto used = std::move(grant);
  TRY(CheckStanding(used, spec.ref, /*destroys=*/false));
  TRY_ASSIGN(const auto keyring, KeyringOfLabel(spec));
  return Make(
      keyring, spec, [&](const std::vector<KeyRecord>& known) { return CheckMandateVersion(spec, known); },
      [&]() STRONGROOM_TSA(no_thread_safety_analysis) {
        return signer_.SpendMandate(control_.session(), keyring, spec.ref);
      });
}

template <class Judge, class Spend>
Result<void> TokenKeyOps::Make(const std::string& keyring, const KeySpec& spec, Judge judge, Spend spend) {
  const MutexLock lock(mutex_);
  if (Broken()) return Unavailable("the token has failed; its host is being replaced");
  if (!token_.IsNamed(spec.ref.token))
    return NotFound("this host serves token " + token_.identity.serial, "key-missing");
  TRY_ASSIGN(const auto existing, control_.FindObjects({{CKA_ID, Bytes(spec.ref.key.begin(), spec.ref.key.end())}}));
  if (!existing.empty())
    return Conflict("the token already has an object with CKA_ID " + ToHex(spec.ref.key), "key-exists");
  TRY_ASSIGN(const auto known, control_.ReadKeys());
  TRY(CheckSeries(keyring, ByteView(spec.ref.key).first(16), known));
  TRY(judge(known));
  // Spent before anything is made: the same votes never make a second key, whoever asks (Q5, Q9).
  if (const auto spent = spend(); !spent) return SignerFault(spent.error());
  auto attributes = KekTemplate(spec, token_.profile);
  auto ck = ToCk(attributes);
  CK_MECHANISM mechanism{CKM_AES_KEY_GEN, nullptr, 0};
  CK_OBJECT_HANDLE key = 0;
  if (const CK_RV rv = module_->fn().C_GenerateKey(control_.session().handle(), &mechanism, ck.data(), ck.size(), &key);
      rv != CKR_OK)
    return control_.Fault(rv, "C_GenerateKey", nullptr);
  TRY(control_.TakeKek(spec.ref));
  sync();  // as its sisters do: SoftHSM does not sync what it writes
  return {};
}

}  // namespace strongroom::hsm
