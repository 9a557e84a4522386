#include "hsm/token_session.h"

#include <algorithm>
#include <cstring>

#include "hsm/ckr.h"
#include "hsm/known_answers.h"
#include "hsm/payload.h"

namespace strongroom::hsm {
namespace {

constexpr std::size_t kIvBytes = 12;
constexpr std::size_t kTagBytes = 16;
constexpr std::size_t kDigestBytes = 32;

CK_BYTE* Ck(ByteView bytes) { return const_cast<CK_BYTE*>(bytes.data()); }

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

std::optional<CK_OBJECT_HANDLE> SharedKeys::Find(const crypto::KeyId& key) const {
  const MutexLock lock(mutex_);
  const auto found = handles_.find(key);
  return found == handles_.end() ? std::nullopt : std::optional(found->second);
}
void SharedKeys::Keep(const crypto::KeyId& key, CK_OBJECT_HANDLE handle) {
  const MutexLock lock(mutex_);
  if (gone_.contains(key)) return;
  handles_.insert_or_assign(key, handle);
  seen_.insert(key);
}
bool SharedKeys::Seen(const crypto::KeyId& key) const {
  const MutexLock lock(mutex_);
  return seen_.contains(key);
}
void SharedKeys::ForgetHandle(const crypto::KeyId& key) {
  const MutexLock lock(mutex_);
  handles_.erase(key);
}
void SharedKeys::ForgetHandles() {
  const MutexLock lock(mutex_);
  handles_.clear();
}
void SharedKeys::Forget(const crypto::KeyId& key) {
  const MutexLock lock(mutex_);
  handles_.erase(key);
  seen_.erase(key);
  gone_.insert(key);
}
void SharedKeys::Recall(const crypto::KeyId& key) {
  const MutexLock lock(mutex_);
  gone_.erase(key);
}

Result<KeyOpOutput> TokenSession::Execute(const KeyOp& op) {
  if (shared_.Broken()) return Unavailable("the token has failed; its host is being replaced");
  if (DeadlineOf(op) != OpDeadline::max() && std::chrono::steady_clock::now() > DeadlineOf(op))
    return Unavailable("the request waited longer than its deadline", "deadline");
  shared_.Count();
  return std::visit([this](const auto& o) { return Run(o); }, op);
}

Result<KeyOpOutput> TokenSession::Run(const WrapOp& op) {
  KeyOpOutput out;
  TRY_ASSIGN(out.blob, WrapDek(op.key, op.dek.Read(SecretAccess()), op.context));
  return out;
}

Result<KeyOpOutput> TokenSession::Run(const UnwrapOp& op) {
  KeyOpOutput out;
  crypto::Digest context{};
  TRY_ASSIGN(out.plaintext, UnwrapDek(op.key, op.blob, context));
  if (!EqualConstantTime(context, op.context)) return UnwrapFailed();
  if (op.rewrap_to) {
    TRY_ASSIGN(out.blob, WrapDek(*op.rewrap_to, out.plaintext.Read(SecretAccess()), context));
  }
  return out;
}

Result<KeyOpOutput> TokenSession::Run(const RewrapOp& op) {
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

Result<KeyOpOutput> TokenSession::Run(const DataKeyOp& op) {
  if (op.bytes < crypto::kMinDekBytes || op.bytes > crypto::kMaxDekBytes) return Invalid("a DEK is 16 to 512 bytes");
  KeyOpOutput out;
  TRY_ASSIGN(auto dek, SecretBytes::Allocate(op.bytes));
  const auto bytes = dek.Write(SecretAccess());
  if (const CK_RV rv = token_.module.fn().C_GenerateRandom(session_.handle(), bytes.data(), bytes.size()); rv != CKR_OK)
    return Fault(rv, "C_GenerateRandom", nullptr);
  TRY_ASSIGN(out.blob, WrapDek(op.key, dek.Read(SecretAccess()), op.context));
  if (op.want_plaintext) out.plaintext = std::move(dek);
  return out;
}

Result<KeyOpOutput> TokenSession::Run(const ReleaseOp& op) {
  TRY(may_release_(op.key, op.to));
  KeyOpOutput out;
  crypto::Digest context{};
  TRY_ASSIGN(out.plaintext, UnwrapDek(op.key, op.blob, context));
  out.blob.assign(context.begin(), context.end());
  return out;
}

Result<Bytes> TokenSession::WrapDek(const KeyRef& key, ByteView dek, const crypto::Digest& context) {
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

Result<SecretBytes> TokenSession::UnwrapDek(const KeyRef& key, ByteView blob, crypto::Digest& context) {
  if (key.suite == crypto::Suite::kKwp) {
    TRY_ASSIGN(const auto object, UnwrapObject(key, blob, /*readable=*/true));
    auto payload = SecretBytes::Allocate(1024);
    if (!payload) {
      DestroyTransit(object);
      return std::move(payload).error();
    }
    const auto room = payload->Write(SecretAccess());
    CK_ATTRIBUTE value{CKA_VALUE, room.data(), room.size()};
    const CK_RV rv = token_.module.fn().C_GetAttributeValue(session_.handle(), object.handle, &value, 1);
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
  CK_MECHANISM mechanism{token_.profile.gcm, &params, sizeof params};
  if (const CK_RV rv = token_.module.fn().C_DecryptInit(session_.handle(), &mechanism, kek); rv != CKR_OK)
    return Fault(rv, "C_DecryptInit", &key);
  CK_ULONG size = sealed.size();
  if (const CK_RV rv = token_.module.fn().C_Decrypt(session_.handle(), Ck(sealed), sealed.size(),
                                                    dek.Write(SecretAccess()).data(), &size);
      rv != CKR_OK)
    return BlobRefused(rv, "C_Decrypt", key);
  if (size != sealed.size() - kTagBytes) return UnwrapFailed();
  dek.Shrink(size);
  return dek;
}

Result<Bytes> TokenSession::WrapObject(CK_OBJECT_HANDLE kek, const Transit& object) {
  CK_MECHANISM mechanism{token_.profile.kwp, nullptr, 0};
  Bytes blob(1024);
  CK_ULONG size = blob.size();
  if (const CK_RV rv =
          token_.module.fn().C_WrapKey(session_.handle(), &mechanism, kek, object.handle, blob.data(), &size);
      rv != CKR_OK)
    return Fault(rv, "C_WrapKey", nullptr);
  blob.resize(size);
  return blob;
}

Result<TokenSession::Transit> TokenSession::UnwrapObject(const KeyRef& key, ByteView blob, bool readable) {
  TRY_ASSIGN(const auto kek, Locate(key));
  if (blob.size() < 32 || blob.size() > 1024 || blob.size() % 8 != 0) return UnwrapFailed();
  std::vector<Attribute> attributes = {
      UlongAttribute(CKA_CLASS, CKO_SECRET_KEY), UlongAttribute(CKA_KEY_TYPE, CKK_GENERIC_SECRET),
      BoolAttribute(CKA_TOKEN, false),           BoolAttribute(CKA_PRIVATE, !readable),
      BoolAttribute(CKA_SENSITIVE, !readable),   BoolAttribute(CKA_EXTRACTABLE, true)};
  auto ck = ToCk(attributes);
  CK_MECHANISM mechanism{token_.profile.kwp, nullptr, 0};
  CK_OBJECT_HANDLE object = 0;
  if (const CK_RV rv = token_.module.fn().C_UnwrapKey(session_.handle(), &mechanism, kek, Ck(blob), blob.size(),
                                                      ck.data(), ck.size(), &object);
      rv != CKR_OK)
    return BlobRefused(rv, "C_UnwrapKey", key);
  return Transit{object, sessions_};
}

Result<TokenSession::Transit> TokenSession::CreateTransit(ByteView value, CK_KEY_TYPE type, CK_ATTRIBUTE_TYPE use) {
  std::vector<Attribute> attributes = {UlongAttribute(CKA_CLASS, CKO_SECRET_KEY), UlongAttribute(CKA_KEY_TYPE, type),
                                       BoolAttribute(CKA_TOKEN, false), BoolAttribute(CKA_PRIVATE, false),
                                       BoolAttribute(use, true)};
  if (use != CKA_EXTRACTABLE) attributes.push_back(BoolAttribute(CKA_EXTRACTABLE, false));
  auto ck = ToCk(attributes);
  ck.push_back({CKA_VALUE, Ck(value), value.size()});
  CK_OBJECT_HANDLE object = 0;
  if (const CK_RV rv = token_.module.fn().C_CreateObject(session_.handle(), ck.data(), ck.size(), &object);
      rv != CKR_OK)
    return Fault(rv, "C_CreateObject", nullptr);
  return Transit{object, sessions_};
}

void TokenSession::DestroyTransit(const Transit& object) {
  if (object.session != sessions_) return;
  // One that is gone already went with its session. One that will not go would pile up unseen: a fault like any other.
  const CK_RV rv = token_.module.fn().C_DestroyObject(session_.handle(), object.handle);
  if (rv != CKR_OK && rv != CKR_OBJECT_HANDLE_INVALID) (void)Fault(rv, "C_DestroyObject", nullptr);
}

Result<Bytes> TokenSession::GcmEncrypt(CK_OBJECT_HANDLE kek, ByteView iv, ByteView aad, ByteView plain) {
  auto params = GcmParams(iv, aad);
  CK_MECHANISM mechanism{token_.profile.gcm, &params, sizeof params};
  if (const CK_RV rv = token_.module.fn().C_EncryptInit(session_.handle(), &mechanism, kek); rv != CKR_OK)
    return Fault(rv, "C_EncryptInit", nullptr);
  Bytes sealed(plain.size() + kTagBytes);
  CK_ULONG size = sealed.size();
  if (const CK_RV rv = token_.module.fn().C_Encrypt(session_.handle(), Ck(plain), plain.size(), sealed.data(), &size);
      rv != CKR_OK)
    return Fault(rv, "C_Encrypt", nullptr);
  if (size != sealed.size())
    return Error{Code::kTokenFault, "the token's GCM output has an unexpected length", {}, 0, __func__};
  return sealed;
}

// Fetched for many operations at once: on a network HSM each call is a journey. What becomes a key (DataKeyOp) is never
// among it.
Result<std::array<std::uint8_t, 16>> TokenSession::TokenRandom() {
  if (random_left_ == 0) {
    if (const CK_RV rv = token_.module.fn().C_GenerateRandom(session_.handle(), random_.data(), random_.size());
        rv != CKR_OK)
      return Fault(rv, "C_GenerateRandom", nullptr);
    random_left_ = random_.size() / 16;
  }
  std::array<std::uint8_t, 16> random{};
  std::memcpy(random.data(), random_.data() + --random_left_ * random.size(), random.size());
  return random;
}

Result<std::vector<CK_OBJECT_HANDLE>> TokenSession::FindObjects(std::vector<Attribute> pattern, std::size_t most) {
  auto ck = ToCk(pattern);
  if (const CK_RV rv = token_.module.fn().C_FindObjectsInit(session_.handle(), ck.data(), ck.size()); rv != CKR_OK)
    return Fault(rv, "C_FindObjectsInit", nullptr);
  std::vector<CK_OBJECT_HANDLE> found(most);
  CK_ULONG count = 0;
  const CK_RV rv = token_.module.fn().C_FindObjects(session_.handle(), found.data(), found.size(), &count);
  (void)token_.module.fn().C_FindObjectsFinal(session_.handle());
  if (rv != CKR_OK) return Fault(rv, "C_FindObjects", nullptr);
  found.resize(count);
  return found;
}

Result<std::vector<Attribute>> TokenSession::ReadAttributes(CK_OBJECT_HANDLE object,
                                                            const std::vector<CK_ATTRIBUTE_TYPE>& types) {
  std::vector<Attribute> attributes;
  for (const auto type : types) {
    Attribute attribute{type, Bytes(256)};
    CK_ATTRIBUTE ck{type, attribute.value.data(), attribute.value.size()};
    const CK_RV rv = token_.module.fn().C_GetAttributeValue(session_.handle(), object, &ck, 1);
    if (rv == CKR_ATTRIBUTE_TYPE_INVALID || rv == CKR_ATTRIBUTE_SENSITIVE || rv == CKR_BUFFER_TOO_SMALL)
      continue;  // not reported: JudgeKek says so
    if (rv != CKR_OK) return Fault(rv, "C_GetAttributeValue", nullptr);
    attribute.value.resize(ck.ulValueLen);
    attributes.push_back(std::move(attribute));
  }
  return attributes;
}

Result<CK_OBJECT_HANDLE> TokenSession::Locate(const KeyRef& ref) {
  if (!token_.IsNamed(ref.token))
    return NotFound("the key is in token " + ref.token + ", this host serves " + token_.identity.serial, "key-missing");
  if (const auto known = shared_.Find(ref.key)) return *known;
  TRY_ASSIGN(
      const auto found,
      FindObjects({UlongAttribute(CKA_CLASS, CKO_SECRET_KEY), {CKA_ID, Bytes(ref.key.begin(), ref.key.end())}}, 2));
  if (found.empty() && shared_.Seen(ref.key)) {
    // It was here: SoftHSM, its directory gone, finds nothing and reports no fault, and finds nothing when the
    // directory is back either. Only a module that is loaded anew does.
    shared_.Break();
    return Unavailable("the token has lost sight of KEK " + ToHex(ref.key));
  }
  if (found.empty()) return NotFound("the token has no KEK " + ToHex(ref.key), "key-missing");
  if (found.size() > 1) return Integrity("the token has two objects with CKA_ID " + ToHex(ref.key), "key-drift");
  TRY_ASSIGN(const auto reported, ReadAttributes(found[0], KekReadBack(token_.profile)));
  if (const auto fault = JudgeKek(reported, ref, token_.profile); !fault.empty())
    return Integrity("KEK " + ToHex(ref.key) + " is not as it was made: " + fault, "key-drift");
  shared_.Keep(ref.key, found[0]);
  return found[0];
}

Result<void> TokenSession::Has(const KeyRef& ref) {
  TRY_ASSIGN(
      const auto found,
      FindObjects({UlongAttribute(CKA_CLASS, CKO_SECRET_KEY), {CKA_ID, Bytes(ref.key.begin(), ref.key.end())}}, 1));
  if (found.empty()) return NotFound("the token has no KEK " + ToHex(ref.key), "key-missing");
  return {};
}

Error TokenSession::Fault(CK_RV rv, const char* call, const KeyRef* key) {
  auto error = TokenError(rv, call);
  switch (Classify(rv)) {
    case RvClass::kHandle:
      if (key != nullptr)
        shared_.ForgetHandle(key->key);
      else
        shared_.ForgetHandles();
      error.code = Code::kUnavailable;
      break;
    case RvClass::kSession: {
      {
        const Session gone = std::move(session_);  // first: the token's session ceiling may be reached (P9)
      }
      auto fresh = Session::Open(token_.module, token_.slot);
      ++sessions_;
      if (fresh)
        session_ = std::move(*fresh);
      else
        shared_.Break();
      error.code = Code::kUnavailable;
      break;
    }
    case RvClass::kCallersData:
      break;
    case RvClass::kPin:
    case RvClass::kAmbiguous:
    case RvClass::kDevice:
      shared_.Break();
      error.code = Code::kUnavailable;
      break;
  }
  return error;
}

Error TokenSession::BlobRefused(CK_RV rv, const char* call, const KeyRef& key) {
  switch (Classify(rv)) {
    case RvClass::kCallersData:
      return UnwrapFailed();
    case RvClass::kAmbiguous: {
      // SoftHSM says CKR_GENERAL_ERROR to bad ciphertext and to a vanished token alike: ask it for the key once more,
      // on another session, for this one may be in the middle of something.
      const auto there = probe_(key);
      if (there) return UnwrapFailed();
      // Whoever asked was unlucky, not the token.
      if (there.error().code == Code::kUnavailable && !shared_.Broken()) return there.error();
      shared_.Break();
      return Error{Code::kUnavailable, "the token does not answer", {}, rv, call};
    }
    default:
      return Fault(rv, call, &key);
  }
}

Result<std::vector<KeyRecord>> TokenSession::ReadKeys() {
  TRY_ASSIGN(const auto objects,
             FindObjects({UlongAttribute(CKA_CLASS, CKO_SECRET_KEY), BoolAttribute(CKA_TOKEN, true)}, 65536));
  std::vector<KeyRecord> records;
  for (const auto object : objects) {
    TRY_ASSIGN(const auto reported, ReadAttributes(object, KekReadBack(token_.profile)));
    KeyRecord record;
    bool wraps = false;
    for (const auto& a : reported) {
      if (a.type == CKA_ID) record.id = a.value;
      if (a.type == CKA_LABEL) record.label = AsText(a.value);
      if (a.type == CKA_WRAP) wraps = a.value == Bytes{CK_TRUE};
    }
    record.suite = wraps ? crypto::Suite::kKwp : crypto::Suite::kGcm;
    KeyRef ref{token_.identity.serial, {}, record.suite};
    if (record.id.size() == ref.key.size()) {
      std::copy(record.id.begin(), record.id.end(), ref.key.begin());
      record.fault = JudgeKek(reported, ref, token_.profile);
    } else {
      record.fault = "CKA_ID is not a KEK's";
    }
    records.push_back(std::move(record));
  }
  return records;
}

Result<void> TokenSession::KnownAnswers() {
  static const auto known = MakeKnownAnswers();
  TRY_ASSIGN(const auto wrapper, CreateTransit(known.key, CKK_AES, CKA_WRAP));
  auto object = CreateTransit(known.value, CKK_GENERIC_SECRET, CKA_EXTRACTABLE);
  if (!object) return std::move(object).error();
  const auto wrapped = WrapObject(wrapper.handle, *object);
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
  return {};
}

}  // namespace strongroom::hsm
