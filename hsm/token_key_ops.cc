#include "hsm/token_key_ops.h"

#include <algorithm>

#include "hsm/ckr.h"
#include "hsm/known_answers.h"
#include "hsm/payload.h"

namespace strongroom::hsm {
namespace {

constexpr std::size_t kIvBytes = 12;
constexpr std::size_t kTagBytes = 16;
constexpr std::size_t kDigestBytes = 32;
constexpr CK_ULONG kSessionsOfAHost = 3;

// The ceiling that the token reports (P9): 0 is unlimited, all ones is unknown.
Result<void> CheckSessionCeiling(const CK_TOKEN_INFO& info) {
  for (const CK_ULONG most : {info.ulMaxSessionCount, info.ulMaxRwSessionCount})
    if (most != CK_EFFECTIVELY_INFINITE && most != CK_UNAVAILABLE_INFORMATION && most < kSessionsOfAHost)
      return Invalid("the token allows " + std::to_string(most) + " sessions, each host needs " +
                         std::to_string(kSessionsOfAHost) + ": raise the token's limit",
                     "sessions-exhausted");
  return {};
}

CK_BYTE* Ck(ByteView bytes) { return const_cast<CK_BYTE*>(bytes.data()); }

TokenIdentity IdentityOf(const CK_TOKEN_INFO& info, const VendorProfile& profile) {
  return {Trimmed(info.serialNumber), Trimmed(info.label), Trimmed(info.model), Trimmed(info.manufacturerID),
          profile.name};
}

CK_GCM_PARAMS GcmParams(ByteView iv, ByteView aad) {
  CK_GCM_PARAMS params{};
  params.pIv = Ck(iv);
  params.ulIvLen = iv.size();
  params.ulIvBits = iv.size() * 8;
  params.pAAD = Ck(aad);
  params.ulAADLen = aad.size();
  params.ulTagBits = kTagBytes * 8;
  return params;
}

}  // namespace

Result<std::unique_ptr<TokenKeyOps>> TokenKeyOps::Open(TokenUri uri, const Clock& clock, bool pin_count_may_be_low) {
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
  if ((info.flags & CKF_USER_PIN_COUNT_LOW) != 0 && !pin_count_may_be_low)
    return Error{Code::kPinRejected,
                 "the token reports a wrong PIN since the last login: not tried; correct the PIN file, then run "
                 "strongroom-tokend --clear-pin-latch",
                 "pin-rejected", 0, __func__};
  TRY(CheckSessionCeiling(info));
  TRY_ASSIGN(auto keeper, Session::Open(*module, slot));
  TRY(keeper.Login(pin));
  TRY_ASSIGN(auto worker, Session::Open(*module, slot));
  TRY_ASSIGN(auto control, Session::Open(*module, slot));
  const auto identity = IdentityOf(info, profile);
  std::unique_ptr<TokenKeyOps> ops(new TokenKeyOps(std::move(module), std::move(uri), slot, profile, identity,
                                                   std::move(keeper), std::move(worker), std::move(control), clock));
  TRY(ops->SelfTest());
  return ops;
}

TokenKeyOps::TokenKeyOps(std::unique_ptr<Module> module, TokenUri uri, CK_SLOT_ID slot, VendorProfile profile,
                         TokenIdentity identity, Session keeper, Session worker, Session control, const Clock& clock)
    : module_(std::move(module)),
      uri_(std::move(uri)),
      slot_(slot),
      profile_(std::move(profile)),
      identity_(std::move(identity)),
      clock_(clock),
      began_host_(clock.Now()),
      began_steady_(clock.Steady()),
      keeper_(std::move(keeper)),
      worker_(std::move(worker)),
      control_(std::move(control)),
      signer_(*module_) {}

std::uint64_t TokenKeyOps::Operations() const {
  const MutexLock lock(mutex_);
  return operations_;
}

bool TokenKeyOps::Broken() const {
  const MutexLock lock(mutex_);
  return broken_;
}

std::vector<Result<KeyOpOutput>> TokenKeyOps::Execute(std::span<const KeyOp> ops) {
  const MutexLock lock(mutex_);
  std::vector<Result<KeyOpOutput>> results;
  results.reserve(ops.size());
  for (const auto& op : ops) {
    if (broken_) {
      results.emplace_back(Unavailable("the token has failed; its host is being replaced"));
      continue;
    }
    if (DeadlineOf(op) != OpDeadline::max() && std::chrono::steady_clock::now() > DeadlineOf(op)) {
      results.emplace_back(Unavailable("the request waited longer than its deadline", "deadline"));
      continue;
    }
    ++operations_;
    results.push_back(
        std::visit([this](const auto& o) STRONGROOM_TSA(no_thread_safety_analysis) { return Run(o); }, op));
  }
  return results;
}

Result<KeyOpOutput> TokenKeyOps::Run(const WrapOp& op) {
  KeyOpOutput out;
  TRY_ASSIGN(out.blob, WrapDek(op.key, op.dek.Read(SecretAccess()), op.context));
  return out;
}

Result<KeyOpOutput> TokenKeyOps::Run(const UnwrapOp& op) {
  KeyOpOutput out;
  crypto::Digest context{};
  TRY_ASSIGN(out.plaintext, UnwrapDek(op.key, op.blob, context));
  if (!EqualConstantTime(context, op.context)) return UnwrapFailed();
  if (op.rewrap_to) {
    TRY_ASSIGN(out.blob, WrapDek(*op.rewrap_to, out.plaintext.Read(SecretAccess()), context));
  }
  return out;
}

Result<KeyOpOutput> TokenKeyOps::Run(const RewrapOp& op) {
  KeyOpOutput out;
  if (op.from.suite == crypto::Suite::kKwp && op.to.suite == crypto::Suite::kKwp) {
    TRY_ASSIGN(const auto to, Locate(op.to));
    TRY_ASSIGN(const auto object, UnwrapObject(op.from, op.blob, /*readable=*/false));
    auto blob = WrapObject(to, object);
    DestroyTransit(object);
    if (!blob) return std::move(blob).error();
    out.blob = std::move(*blob);
    return out;
  }
  crypto::Digest context{};
  TRY_ASSIGN(const auto dek, UnwrapDek(op.from, op.blob, context));
  TRY_ASSIGN(out.blob, WrapDek(op.to, dek.Read(SecretAccess()), context));
  return out;
}

Result<KeyOpOutput> TokenKeyOps::Run(const DataKeyOp& op) {
  if (op.bytes < crypto::kMinDekBytes || op.bytes > crypto::kMaxDekBytes) return Invalid("a DEK is 16 to 512 bytes");
  KeyOpOutput out;
  TRY_ASSIGN(auto dek, SecretBytes::Allocate(op.bytes));
  const auto bytes = dek.Write(SecretAccess());
  if (const CK_RV rv = module_->fn().C_GenerateRandom(at_->handle(), bytes.data(), bytes.size()); rv != CKR_OK)
    return Fault(rv, "C_GenerateRandom", nullptr);
  TRY_ASSIGN(out.blob, WrapDek(op.key, dek.Read(SecretAccess()), op.context));
  if (op.want_plaintext) out.plaintext = std::move(dek);
  return out;
}

Result<Bytes> TokenKeyOps::WrapDek(const KeyRef& key, ByteView dek, const crypto::Digest& context) {
  if (dek.size() < crypto::kMinDekBytes || dek.size() > crypto::kMaxDekBytes)
    return Invalid("a DEK is 16 to 512 bytes");
  TRY_ASSIGN(const auto kek, Locate(key));
  TRY_ASSIGN(const auto random, TokenRandom());
  if (key.suite == crypto::Suite::kKwp) {
    TRY_ASSIGN(const auto payload, BuildPayload(dek, context, random));
    TRY_ASSIGN(const auto object, CreateTransit(payload.Read(SecretAccess()), CKK_GENERIC_SECRET, CKA_EXTRACTABLE));
    auto blob = WrapObject(kek, object);
    DestroyTransit(object);
    return blob;
  }
  const ByteView iv = ByteView(random).first(kIvBytes);
  TRY_ASSIGN(const auto sealed, GcmEncrypt(kek, iv, context, dek));
  Bytes blob(context.begin(), context.end());
  Append(blob, iv);
  Append(blob, sealed);
  return blob;
}

Result<SecretBytes> TokenKeyOps::UnwrapDek(const KeyRef& key, ByteView blob, crypto::Digest& context) {
  if (key.suite == crypto::Suite::kKwp) {
    TRY_ASSIGN(const auto object, UnwrapObject(key, blob, /*readable=*/true));
    auto payload = SecretBytes::Allocate(1024);
    if (!payload) {
      DestroyTransit(object);
      return std::move(payload).error();
    }
    const auto room = payload->Write(SecretAccess());
    CK_ATTRIBUTE value{CKA_VALUE, room.data(), room.size()};
    const CK_RV rv = module_->fn().C_GetAttributeValue(at_->handle(), object, &value, 1);
    DestroyTransit(object);
    if (rv == CKR_BUFFER_TOO_SMALL) return UnwrapFailed();
    if (rv != CKR_OK) return Fault(rv, "C_GetAttributeValue", nullptr);
    TRY_ASSIGN(auto opened, OpenPayload(payload->Read(SecretAccess()).first(value.ulValueLen)));
    context = opened.context;
    return std::move(opened.dek);
  }
  TRY_ASSIGN(const auto kek, Locate(key));
  const std::size_t head = kDigestBytes + kIvBytes;
  if (blob.size() < head + crypto::kMinDekBytes + kTagBytes || blob.size() > head + crypto::kMaxDekBytes + kTagBytes)
    return UnwrapFailed();
  std::memcpy(context.data(), blob.data(), kDigestBytes);
  const auto iv = blob.subspan(kDigestBytes, kIvBytes);
  const auto sealed = blob.subspan(head);
  TRY_ASSIGN(auto dek, SecretBytes::Allocate(sealed.size()));  // before the Init: nothing may fail between the two
  auto params = GcmParams(iv, context);
  CK_MECHANISM mechanism{profile_.gcm, &params, sizeof params};
  if (const CK_RV rv = module_->fn().C_DecryptInit(at_->handle(), &mechanism, kek); rv != CKR_OK)
    return Fault(rv, "C_DecryptInit", &key);
  CK_ULONG size = sealed.size();
  if (const CK_RV rv =
          module_->fn().C_Decrypt(at_->handle(), Ck(sealed), sealed.size(), dek.Write(SecretAccess()).data(), &size);
      rv != CKR_OK)
    return BlobRefused(rv, "C_Decrypt", key);
  if (size != sealed.size() - kTagBytes) return UnwrapFailed();
  dek.Shrink(size);
  return dek;
}

Result<Bytes> TokenKeyOps::WrapObject(CK_OBJECT_HANDLE kek, CK_OBJECT_HANDLE object) {
  CK_MECHANISM mechanism{profile_.kwp, nullptr, 0};
  Bytes blob(1024);
  CK_ULONG size = blob.size();
  if (const CK_RV rv = module_->fn().C_WrapKey(at_->handle(), &mechanism, kek, object, blob.data(), &size);
      rv != CKR_OK)
    return Fault(rv, "C_WrapKey", nullptr);
  blob.resize(size);
  return blob;
}

Result<CK_OBJECT_HANDLE> TokenKeyOps::UnwrapObject(const KeyRef& key, ByteView blob, bool readable) {
  TRY_ASSIGN(const auto kek, Locate(key));
  if (blob.size() < 32 || blob.size() > 1024 || blob.size() % 8 != 0) return UnwrapFailed();
  std::vector<Attribute> attributes = {
      UlongAttribute(CKA_CLASS, CKO_SECRET_KEY), UlongAttribute(CKA_KEY_TYPE, CKK_GENERIC_SECRET),
      BoolAttribute(CKA_TOKEN, false),           BoolAttribute(CKA_PRIVATE, !readable),
      BoolAttribute(CKA_SENSITIVE, !readable),   BoolAttribute(CKA_EXTRACTABLE, true)};
  auto ck = ToCk(attributes);
  CK_MECHANISM mechanism{profile_.kwp, nullptr, 0};
  CK_OBJECT_HANDLE object = 0;
  if (const CK_RV rv = module_->fn().C_UnwrapKey(at_->handle(), &mechanism, kek, Ck(blob), blob.size(), ck.data(),
                                                 ck.size(), &object);
      rv != CKR_OK)
    return BlobRefused(rv, "C_UnwrapKey", key);
  return object;
}

Result<CK_OBJECT_HANDLE> TokenKeyOps::CreateTransit(ByteView value, CK_KEY_TYPE type, CK_ATTRIBUTE_TYPE use) {
  std::vector<Attribute> attributes = {UlongAttribute(CKA_CLASS, CKO_SECRET_KEY), UlongAttribute(CKA_KEY_TYPE, type),
                                       BoolAttribute(CKA_TOKEN, false), BoolAttribute(CKA_PRIVATE, false),
                                       BoolAttribute(use, true)};
  if (use != CKA_EXTRACTABLE) attributes.push_back(BoolAttribute(CKA_EXTRACTABLE, false));
  auto ck = ToCk(attributes);
  ck.push_back({CKA_VALUE, Ck(value), value.size()});
  CK_OBJECT_HANDLE object = 0;
  if (const CK_RV rv = module_->fn().C_CreateObject(at_->handle(), ck.data(), ck.size(), &object); rv != CKR_OK)
    return Fault(rv, "C_CreateObject", nullptr);
  return object;
}

void TokenKeyOps::DestroyTransit(CK_OBJECT_HANDLE object) {
  // One that is gone already went with its session. One that will not go would pile up unseen: a fault like any other.
  const CK_RV rv = module_->fn().C_DestroyObject(at_->handle(), object);
  if (rv != CKR_OK && rv != CKR_OBJECT_HANDLE_INVALID) (void)Fault(rv, "C_DestroyObject", nullptr);
}

Result<Bytes> TokenKeyOps::GcmEncrypt(CK_OBJECT_HANDLE kek, ByteView iv, ByteView aad, ByteView plain) {
  auto params = GcmParams(iv, aad);
  CK_MECHANISM mechanism{profile_.gcm, &params, sizeof params};
  if (const CK_RV rv = module_->fn().C_EncryptInit(at_->handle(), &mechanism, kek); rv != CKR_OK)
    return Fault(rv, "C_EncryptInit", nullptr);
  Bytes sealed(plain.size() + kTagBytes);
  CK_ULONG size = sealed.size();
  if (const CK_RV rv = module_->fn().C_Encrypt(at_->handle(), Ck(plain), plain.size(), sealed.data(), &size);
      rv != CKR_OK)
    return Fault(rv, "C_Encrypt", nullptr);
  if (size != sealed.size())
    return Error{Code::kTokenFault, "the token's GCM output has an unexpected length", {}, 0, __func__};
  return sealed;
}

Result<std::array<std::uint8_t, 16>> TokenKeyOps::TokenRandom() {
  std::array<std::uint8_t, 16> random{};
  if (const CK_RV rv = module_->fn().C_GenerateRandom(at_->handle(), random.data(), random.size()); rv != CKR_OK)
    return Fault(rv, "C_GenerateRandom", nullptr);
  return random;
}

Result<std::vector<CK_OBJECT_HANDLE>> TokenKeyOps::FindObjects(std::vector<Attribute> pattern, std::size_t most) {
  auto ck = ToCk(pattern);
  if (const CK_RV rv = module_->fn().C_FindObjectsInit(at_->handle(), ck.data(), ck.size()); rv != CKR_OK)
    return Fault(rv, "C_FindObjectsInit", nullptr);
  std::vector<CK_OBJECT_HANDLE> found(most);
  CK_ULONG count = 0;
  const CK_RV rv = module_->fn().C_FindObjects(at_->handle(), found.data(), found.size(), &count);
  (void)module_->fn().C_FindObjectsFinal(at_->handle());
  if (rv != CKR_OK) return Fault(rv, "C_FindObjects", nullptr);
  found.resize(count);
  return found;
}

Result<std::vector<Attribute>> TokenKeyOps::ReadAttributes(CK_OBJECT_HANDLE object,
                                                           const std::vector<CK_ATTRIBUTE_TYPE>& types) {
  std::vector<Attribute> attributes;
  for (const auto type : types) {
    Attribute attribute{type, Bytes(256)};
    CK_ATTRIBUTE ck{type, attribute.value.data(), attribute.value.size()};
    const CK_RV rv = module_->fn().C_GetAttributeValue(at_->handle(), object, &ck, 1);
    if (rv == CKR_ATTRIBUTE_TYPE_INVALID || rv == CKR_ATTRIBUTE_SENSITIVE || rv == CKR_BUFFER_TOO_SMALL)
      continue;  // not reported: JudgeKek says so
    if (rv != CKR_OK) return Fault(rv, "C_GetAttributeValue", nullptr);
    attribute.value.resize(ck.ulValueLen);
    attributes.push_back(std::move(attribute));
  }
  return attributes;
}

Result<CK_OBJECT_HANDLE> TokenKeyOps::Locate(const KeyRef& ref) {
  if (ref.token != identity_.serial)
    return NotFound("the key is in token " + ref.token + ", this host serves " + identity_.serial, "key-missing");
  if (const auto cached = handles_.find(ref.key); cached != handles_.end()) return cached->second;
  TRY_ASSIGN(
      const auto found,
      FindObjects({UlongAttribute(CKA_CLASS, CKO_SECRET_KEY), {CKA_ID, Bytes(ref.key.begin(), ref.key.end())}}, 2));
  if (found.empty() && seen_.contains(ref.key)) {
    // It was here: SoftHSM, its directory gone, finds nothing and reports no fault, and finds nothing when the
    // directory is back either. Only a module that is loaded anew does.
    broken_ = true;
    return Unavailable("the token has lost sight of KEK " + ToHex(ref.key));
  }
  if (found.empty()) return NotFound("the token has no KEK " + ToHex(ref.key), "key-missing");
  if (found.size() > 1) return Integrity("the token has two objects with CKA_ID " + ToHex(ref.key), "key-drift");
  TRY_ASSIGN(const auto reported, ReadAttributes(found[0], KekReadBack(profile_)));
  if (const auto fault = JudgeKek(reported, ref, profile_); !fault.empty())
    return Integrity("KEK " + ToHex(ref.key) + " is not as it was made: " + fault, "key-drift");
  handles_.emplace(ref.key, found[0]);
  seen_.insert(ref.key);
  return found[0];
}

Error TokenKeyOps::Fault(CK_RV rv, const char* call, const KeyRef* key) {
  auto error = TokenError(rv, call);
  switch (Classify(rv)) {
    case RvClass::kHandle:
      if (key != nullptr)
        handles_.erase(key->key);
      else
        handles_.clear();
      error.code = Code::kUnavailable;
      break;
    case RvClass::kSession: {
      {
        const Session gone = std::move(*at_);  // first: the token's session ceiling may be reached (P9)
      }
      auto fresh = Session::Open(*module_, slot_);
      if (fresh)
        *at_ = std::move(*fresh);
      else
        broken_ = true;
      error.code = Code::kUnavailable;
      break;
    }
    case RvClass::kCallersData:
      break;
    case RvClass::kPin:
    case RvClass::kAmbiguous:
    case RvClass::kDevice:
      broken_ = true;
      error.code = Code::kUnavailable;
      break;
  }
  return error;
}

Error TokenKeyOps::BlobRefused(CK_RV rv, const char* call, const KeyRef& key) {
  switch (Classify(rv)) {
    case RvClass::kCallersData:
      return UnwrapFailed();
    case RvClass::kAmbiguous: {
      // SoftHSM says CKR_GENERAL_ERROR to bad ciphertext and to a vanished token alike: ask it for the key once more.
      handles_.erase(key.key);
      const OnControl session(*this);  // the worker's may be in the middle of something
      const auto still_there = Locate(key);
      if (still_there) return UnwrapFailed();
      broken_ = true;
      return Error{Code::kUnavailable, "the token does not answer", {}, rv, call};
    }
    default:
      return Fault(rv, call, &key);
  }
}

Result<std::vector<KeyRecord>> TokenKeyOps::Inventory() {
  const MutexLock lock(mutex_);
  const OnControl session(*this);
  if (broken_) return Unavailable("the token has failed; its host is being replaced");
  return ReadKeys();
}

Result<std::vector<KeyRecord>> TokenKeyOps::ReadKeys() {
  TRY_ASSIGN(const auto objects,
             FindObjects({UlongAttribute(CKA_CLASS, CKO_SECRET_KEY), BoolAttribute(CKA_TOKEN, true)}, 65536));
  std::vector<KeyRecord> records;
  for (const auto object : objects) {
    TRY_ASSIGN(const auto reported, ReadAttributes(object, KekReadBack(profile_)));
    KeyRecord record;
    bool wraps = false;
    for (const auto& a : reported) {
      if (a.type == CKA_ID) record.id = a.value;
      if (a.type == CKA_LABEL) record.label = AsText(a.value);
      if (a.type == CKA_WRAP) wraps = a.value == Bytes{CK_TRUE};
    }
    record.suite = wraps ? crypto::Suite::kKwp : crypto::Suite::kGcm;
    KeyRef ref{identity_.serial, {}, record.suite};
    if (record.id.size() == ref.key.size()) {
      std::copy(record.id.begin(), record.id.end(), ref.key.begin());
      record.fault = JudgeKek(reported, ref, profile_);
    } else {
      record.fault = "CKA_ID is not a KEK's";
    }
    records.push_back(std::move(record));
  }
  return records;
}

Result<TokenIdentity> TokenKeyOps::Identity() {
  const MutexLock lock(mutex_);
  const OnControl session(*this);
  const auto info = module_->TokenInfo(slot_);
  if (!info) return Fault(info.error().ck_rv, "C_GetTokenInfo", nullptr);
  return IdentityOf(*info, profile_);
}

Result<void> TokenKeyOps::SelfTest() {
  TRY_ASSIGN(const auto now, Identity());
  const MutexLock lock(mutex_);
  const OnControl session(*this);
  if (now != identity_) {
    broken_ = true;
    return Integrity("the token in the slot is another one than at start", "impostor");
  }
  auto known = KnownAnswers();
  // A module that answers wrongly is loaded anew; until it answers rightly nobody uses it.
  if (!known) broken_ = true;
  return known;
}

Result<void> TokenKeyOps::KnownAnswers() {
  static const auto known = MakeKnownAnswers();
  TRY_ASSIGN(const auto wrapper, CreateTransit(known.key, CKK_AES, CKA_WRAP));
  auto object = CreateTransit(known.value, CKK_GENERIC_SECRET, CKA_EXTRACTABLE);
  if (!object) return std::move(object).error();
  const auto wrapped = WrapObject(wrapper, *object);
  DestroyTransit(*object);
  DestroyTransit(wrapper);
  if (!wrapped) return wrapped.error();
  if (*wrapped != known.kwp)
    return Error{Code::kTokenFault,
                 "known answer failed: mechanism " + std::to_string(profile_.kwp) + " of this token is not RFC 5649",
                 "canary", 0, __func__};

  TRY_ASSIGN(const auto sealer, CreateTransit(known.key, CKK_AES, CKA_ENCRYPT));
  const auto sealed = GcmEncrypt(sealer, known.iv, known.key, known.value);
  DestroyTransit(sealer);
  if (!sealed) return sealed.error();
  if (*sealed != known.gcm) return Error{Code::kTokenFault, "known answer failed: AES-GCM", "canary", 0, __func__};
  return {};
}

}  // namespace strongroom::hsm
