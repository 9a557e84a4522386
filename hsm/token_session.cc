#include "hsm/token_session.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "hsm/ckr.h"
#include "hsm/payload.h"
#include "hsm/session_calls.h"
#include "hsm/softhsm_guard.h"

namespace strongroom::hsm {
namespace {

constexpr std::size_t kIvBytes = 12;
constexpr std::size_t kKwpOverhead = 8;  // of a value whose length is a multiple of 8
constexpr std::size_t kDigestBytes = 32;

Error WrongSuite(const KeyRef& ref) {
  return Invalid("KEK " + ToHex(ref.key) + " is not of suite " + std::string(crypto::ToString(ref.suite)), "key-suite");
}

// Sizes and contents are no secret here: in what a good token returns there is no key.
bool Contains(ByteView bytes, ByteView part) {
  return std::search(bytes.begin(), bytes.end(), part.begin(), part.end()) != bytes.end();
}

}  // namespace

std::optional<SharedKeys::Known> SharedKeys::Find(const crypto::KeyId& key) const {
  const MutexLock lock(mutex_);
  const auto found = handles_.find(key);
  return found == handles_.end() ? std::nullopt : std::optional(found->second);
}
void SharedKeys::Keep(const KeyRef& key, CK_OBJECT_HANDLE handle) {
  const MutexLock lock(mutex_);
  if (gone_.contains(key.key)) return;
  handles_.insert_or_assign(key.key, Known{handle, key.suite});
  seen_.insert(key.key);
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
bool SharedKeys::Drew(const crypto::Digest& beginning) {
  const MutexLock lock(mutex_);
  return std::exchange(drawn_, beginning) != beginning;
}
void SharedKeys::SetPending(const crypto::LedgerRecord& record) {
  const MutexLock lock(mutex_);
  pending_.clear();
  for (const auto& pending : record.custody.pending) pending_.insert(pending.key);
}
Result<void> SharedKeys::CheckNotPending(const crypto::KeyId& key) const {
  const MutexLock lock(mutex_);
  if (!pending_.contains(key)) return {};
  return Conflict("KEK " + ToHex(key) + " has been given up: it wraps nothing any more", "key-pending");
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
  TRY_ASSIGN(const auto context, DigestOf(op.context));
  TRY_ASSIGN(out.blob, WrapDek(op.key, op.dek.Read(SecretAccess()), context));
  return out;
}

Result<KeyOpOutput> TokenSession::Run(const UnwrapOp& op) {
  if (op.rewrap_to) TRY(CheckOneKeyring(op.key, *op.rewrap_to));
  TRY_ASSIGN(const auto wanted, DigestOf(op.context));
  KeyOpOutput out;
  crypto::Digest context{};
  TRY_ASSIGN(out.plaintext, UnwrapDek(op.key, op.blob, context));
  if (!EqualConstantTime(context, wanted)) return UnwrapFailed();
  if (!op.rewrap_to) return out;
  if (token_.IsNamed(op.rewrap_to->token)) {
    TRY_ASSIGN(out.blob, WrapDek(*op.rewrap_to, out.plaintext.Read(SecretAccess()), context));
  } else if (may_release_(op.key, op.rewrap_to->token)) {
    out.blob.assign(context.begin(), context.end());
  }
  return out;
}

Result<KeyOpOutput> TokenSession::Run(const RewrapOp& op) {
  TRY(CheckOneKeyring(op.from, op.to));
  KeyOpOutput out;
  if (op.from.suite == crypto::Suite::kKwp && op.to.suite == crypto::Suite::kKwp) {
    TRY(shared_.CheckNotPending(op.to.key));
    TRY_ASSIGN(const auto to, Locate(op.to));
    TRY_ASSIGN(const auto object, UnwrapObject(op.from, op.blob, /*readable=*/false));
    auto blob = WrapObject(to, object, op.blob.size());
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
  TRY_ASSIGN(const auto context, DigestOf(op.context));
  KeyOpOutput out;
  TRY_ASSIGN(auto dek, SecretBytes::Allocate(op.bytes));
  const auto bytes = dek.Write(SecretAccess());
  TRY(DrawRandom(bytes));
  TRY_ASSIGN(out.blob, WrapDek(op.key, dek.Read(SecretAccess()), context));
  if (op.want_plaintext) out.plaintext = std::move(dek);
  return out;
}

Result<KeyOpOutput> TokenSession::Run(const AdmitOp& op) {
  KeyOpOutput out;
  TRY_ASSIGN(out.blob, WrapDek(op.key, op.dek.Read(SecretAccess()), op.context));
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
  TRY(shared_.CheckNotPending(key.key));
  TRY_ASSIGN(const auto kek, Locate(key));
  TRY_ASSIGN(const auto random, TokenRandom());
  if (key.suite == crypto::Suite::kKwp) {
    TRY_ASSIGN(const auto payload, BuildPayload(dek, context, random));
    TRY_ASSIGN(const auto object, CreateTransit(payload.Read(SecretAccess()), CKK_GENERIC_SECRET, CKA_EXTRACTABLE));
    auto blob = WrapObject(kek, object, payload.size() + kKwpOverhead);
    DestroyTransit(object);
    if (blob && Contains(*blob, dek)) return TokenLies("'s wrapped key shows the key", "C_WrapKey");
    return blob;
  }
  const ByteView iv = ByteView(random).first(kIvBytes);
  TRY_ASSIGN(const auto sealed, GcmEncrypt(kek, iv, context, dek));
  if (Contains(sealed, dek)) return TokenLies("'s ciphertext shows the key", "C_Encrypt");
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
    TRY(CheckLength(value.ulValueLen, room.size(), "C_GetAttributeValue"));
    TRY_ASSIGN(auto opened, OpenPayload(payload->Read(SecretAccess()).first(value.ulValueLen)));
    context = opened.context;
    return std::move(opened.dek);
  }
  TRY_ASSIGN(const auto kek, Locate(key));
  const std::size_t head = kDigestBytes + kIvBytes;
  if (blob.size() < head + crypto::kMinDekBytes + kGcmTagBytes ||
      blob.size() > head + crypto::kMaxDekBytes + kGcmTagBytes)
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
  if (size != sealed.size() - kGcmTagBytes) return UnwrapFailed();
  dek.Shrink(size);
  return dek;
}

Result<Bytes> TokenSession::WrapObject(CK_OBJECT_HANDLE kek, const Transit& object, std::size_t wanted) {
  CK_MECHANISM mechanism{token_.profile.kwp, nullptr, 0};
  Bytes blob(1024);
  CK_ULONG size = blob.size();
  if (const CK_RV rv =
          token_.module.fn().C_WrapKey(session_.handle(), &mechanism, kek, object.handle, blob.data(), &size);
      rv != CKR_OK)
    return Fault(rv, "C_WrapKey", nullptr);
  if (size != wanted) return TokenLies("has wrapped a key to an impossible length", "C_WrapKey");
  blob.resize(size);
  return blob;
}

Result<TokenSession::Transit> TokenSession::UnwrapObject(const KeyRef& key, ByteView blob, bool readable) {
  TRY_ASSIGN(const auto kek, Locate(key));
  if (blob.size() < 32 || blob.size() > 1024 || blob.size() % 8 != 0) return UnwrapFailed();
  auto attributes = TransitTemplate(readable);
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
  if (rv == CKR_OK || rv == CKR_OBJECT_HANDLE_INVALID) return;
  const auto kind = Classify(rv);
  // A token that is well and only refuses: the object goes with its session.
  const bool refused = kind == RvClass::kRefused || kind == RvClass::kCallersData;
  (void)Fault(refused ? CKR_SESSION_CLOSED : rv, "C_DestroyObject", nullptr);
}

Result<Bytes> TokenSession::GcmEncrypt(CK_OBJECT_HANDLE kek, ByteView iv, ByteView aad, ByteView plain) {
  auto params = GcmParams(iv, aad);
  CK_MECHANISM mechanism{token_.profile.gcm, &params, sizeof params};
  if (const CK_RV rv = token_.module.fn().C_EncryptInit(session_.handle(), &mechanism, kek); rv != CKR_OK)
    return Fault(rv, "C_EncryptInit", nullptr);
  Bytes sealed(plain.size() + kGcmTagBytes);
  CK_ULONG size = sealed.size();
  if (const CK_RV rv = token_.module.fn().C_Encrypt(session_.handle(), Ck(plain), plain.size(), sealed.data(), &size);
      rv != CKR_OK)
    return Fault(rv, "C_Encrypt", nullptr);
  if (size != sealed.size()) return TokenLies("has encrypted to an impossible length", "C_Encrypt");
  return sealed;
}

// A generator that is stuck or repeats would make one IV of two, or a DEK that is known. Whoever draws compares with
// what came before: no call more, and nothing that was drawn is kept but a digest.
Result<void> TokenSession::DrawRandom(std::span<std::uint8_t> out) {
  constexpr std::size_t kPiece = 8;
  std::fill(out.begin(), out.end(), std::uint8_t{0});
  if (const CK_RV rv = token_.module.fn().C_GenerateRandom(session_.handle(), out.data(), out.size()); rv != CKR_OK)
    return Fault(rv, "C_GenerateRandom", nullptr);
  bool repeats = false;
  for (std::size_t at = kPiece; at + kPiece <= out.size(); at += kPiece)
    repeats = repeats || CRYPTO_memcmp(&out[at], &out[at - kPiece], kPiece) == 0;
  if (shared_.Drew(crypto::Sha256(ByteView(out).first(std::min<std::size_t>(out.size(), 16)))) && !repeats) return {};
  Zeroise(out.data(), out.size());
  shared_.Break();
  return TokenLies("'s generator repeats itself", "C_GenerateRandom");
}

// Fetched for many operations at once: on a network HSM each call is a journey. What becomes a key (DataKeyOp) is never
// among it.
Result<std::array<std::uint8_t, 16>> TokenSession::TokenRandom() {
  if (random_left_ == 0) {
    TRY(DrawRandom(random_));
    random_left_ = random_.size() / 16;
  }
  std::array<std::uint8_t, 16> random{};
  std::memcpy(random.data(), random_.data() + --random_left_ * random.size(), random.size());
  return random;
}

Result<std::vector<CK_OBJECT_HANDLE>> TokenSession::FindObjects(std::vector<Attribute> pattern, std::size_t most) {
  auto found = FindAll(token_.module, session_, std::move(pattern), most);
  if (!found) return Judged(std::move(found).error());
  return found;
}

Error TokenSession::Judged(Error error) {
  return error.ck_rv == CKR_OK ? std::move(error) : Fault(error.ck_rv, error.where, nullptr);
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
    if (ck.ulValueLen == CK_UNAVAILABLE_INFORMATION) continue;
    TRY(CheckLength(ck.ulValueLen, attribute.value.size(), "C_GetAttributeValue"));
    attribute.value.resize(ck.ulValueLen);
    attributes.push_back(std::move(attribute));
  }
  return attributes;
}

Result<CK_OBJECT_HANDLE> TokenSession::Locate(const KeyRef& ref) {
  if (!token_.IsNamed(ref.token))
    return NotFound("the key is in token " + ref.token + ", this host serves " + token_.identity.serial, "key-missing");
  if (const auto known = shared_.Find(ref.key)) {
    if (known->suite != ref.suite) return WrongSuite(ref);
    return known->handle;
  }
  TRY_ASSIGN(const auto found, FindObjects(ById(ref.key)));
  if (found.empty() && shared_.Seen(ref.key)) {
    // It was here: SoftHSM, its directory gone, finds nothing and reports no fault, and finds nothing when the
    // directory is back either. Only a module that is loaded anew does.
    shared_.Break();
    return Unavailable("the token has lost sight of KEK " + ToHex(ref.key));
  }
  if (found.empty()) return NotFound("the token has no KEK " + ToHex(ref.key), "key-missing");
  if (found.size() > 1) return Integrity("the token has two objects with CKA_ID " + ToHex(ref.key), "key-drift");
  TRY_ASSIGN(const auto reported, ReadAttributes(found[0], KekReadBack(token_.profile)));
  if (const auto fault = JudgeKek(reported, ref, token_.profile); !fault.empty()) {
    auto other = ref;
    other.suite = ref.suite == crypto::Suite::kKwp ? crypto::Suite::kGcm : crypto::Suite::kKwp;
    if (JudgeKek(reported, other, token_.profile).empty()) return WrongSuite(ref);
    return Integrity("KEK " + ToHex(ref.key) + " is not as it was made: " + fault, "key-drift");
  }
  shared_.Keep(ref, found[0]);
  return found[0];
}

Result<void> TokenSession::Has(const KeyRef& ref) {
  TRY_ASSIGN(const auto found, FindObjects(ById(ref.key)));
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
    case RvClass::kRefused:
      // A handle that was given to another object meanwhile is refused like this, too: it is looked up anew.
      if (key != nullptr)
        shared_.ForgetHandle(key->key);
      else
        shared_.ForgetHandles();
      break;
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
  if (token_.profile.guard_token_object) TRY(SeeOthersObjects());
  TRY_ASSIGN(const auto objects,
             FindObjects({UlongAttribute(CKA_CLASS, CKO_SECRET_KEY), BoolAttribute(CKA_TOKEN, true)}));
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

}  // namespace strongroom::hsm
