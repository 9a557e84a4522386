#include "hsm/identity_key.h"

#include <dlfcn.h>
#include <libp11.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "crypto/base/freer.h"
#include "crypto/digest.h"
#include "hsm/module.h"

namespace strongroom::hsm {
namespace {

constexpr auto kHangs = std::chrono::seconds(5);
constexpr auto kDrain = std::chrono::seconds(20);
constexpr auto kEnd = std::chrono::seconds(3);           // that a call may take while the program ends
constexpr auto kPause = std::chrono::milliseconds(250);  // between two attempts to load anew

// The newest error of libp11, which keeps PKCS#11's return value in OpenSSL's queue.
Error P11Error(const std::string& what) {
  const auto code = ERR_peek_last_error();
  const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  const auto rv = static_cast<CK_RV>(ERR_GET_REASON(code));
  ERR_clear_error();
  return Error{Code::kTokenFault,
               "identity token: " + what + (reason == nullptr ? "" : std::string(": ") + reason),
               {},
               rv,
               __func__};
}

template <std::size_t N>
void Pad(unsigned char (&field)[N], const char* text) {
  std::fill(std::begin(field), std::end(field), ' ');
  if (text != nullptr) std::copy_n(text, std::min(N, std::strlen(text)), field);
}

bool Matches(const TokenUri& uri, const PKCS11_TOKEN& token) {
  CK_TOKEN_INFO info{};
  Pad(info.label, token.label);
  Pad(info.manufacturerID, token.manufacturer);
  Pad(info.model, token.model);
  Pad(info.serialNumber, token.serialnr);
  return uri.Matches(info);
}

Result<void> Login(PKCS11_SLOT* slot, const TokenUri& uri) {
  const auto& token = *slot->token;
  if (token.userPinCountLow != 0 || token.userPinFinalTry != 0 || token.userPinLocked != 0)
    return Error{Code::kPinRejected,
                 "the identity token reports a wrong PIN or its last try: not tried; correct " + uri.pin_file() +
                     " and reset the count with the vendor's tool",
                 "pin-rejected", 0, __func__};
  TRY_ASSIGN(const auto pin, ReadPinFile(uri.pin_file()));
  // libp11 wants it as a C string.
  TRY_ASSIGN(auto text, SecretBytes::Allocate(pin.size() + 1));
  const auto from = pin.Read(SecretAccess());
  const auto to = text.Write(SecretAccess());
  std::copy(from.begin(), from.end(), to.begin());
  to.back() = 0;
  if (PKCS11_login(slot, 0, reinterpret_cast<const char*>(to.data())) == 0) return {};
  auto error = P11Error("the login failed");
  if (error.ck_rv == CKR_PIN_INCORRECT || error.ck_rv == CKR_PIN_LOCKED || error.ck_rv == CKR_PIN_EXPIRED ||
      error.ck_rv == CKR_PIN_INVALID || error.ck_rv == CKR_PIN_LEN_RANGE) {
    error.code = Code::kPinRejected;
    error.slug = "pin-rejected";
  }
  return error;
}

// A signature that verifies with the key's own public half.
bool Signs(EVP_PKEY* key) {
  const auto message = crypto::RandomArray<32>();
  std::array<unsigned char, 128> signature{};
  std::size_t size = signature.size();
  const std::unique_ptr<EVP_MD_CTX, Freer<EVP_MD_CTX_free>> sign(EVP_MD_CTX_new()), verify(EVP_MD_CTX_new());
  const bool good = EVP_DigestSignInit(sign.get(), nullptr, EVP_sha256(), nullptr, key) == 1 &&
                    EVP_DigestSign(sign.get(), signature.data(), &size, message.data(), message.size()) == 1 &&
                    EVP_DigestVerifyInit(verify.get(), nullptr, EVP_sha256(), nullptr, key) == 1 &&
                    EVP_DigestVerify(verify.get(), signature.data(), size, message.data(), message.size()) == 1;
  ERR_clear_error();
  return good;
}

}  // namespace

// A context of libp11 with everything that was found through it; goes in the order that libp11 wants.
struct IdentityKey::Loaded {
  PKCS11_CTX* context = PKCS11_CTX_new();
  bool module = false;
  PKCS11_SLOT* slots = nullptr;
  unsigned slot_count = 0;
  EVP_PKEY* key = nullptr;

  Loaded() = default;
  Loaded(const Loaded&) = delete;
  Loaded& operator=(const Loaded&) = delete;
  ~Loaded() {
    EVP_PKEY_free(key);
    if (slots != nullptr) PKCS11_release_all_slots(context, slots, slot_count);
    if (module) PKCS11_CTX_unload(context);
    PKCS11_CTX_free(context);
    ERR_clear_error();
  }
};

Result<std::unique_ptr<IdentityKey::Loaded>> IdentityKey::Load(const TokenUri& uri) {
  auto loaded = std::make_unique<Loaded>();
  // libp11 unloads a module with its context. What the module has left behind with other libraries would then be code
  // that is gone: it is kept.
  (void)dlopen(uri.module_path().c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (PKCS11_CTX_load(loaded->context, uri.module_path().c_str()) != 0)
    return P11Error("the module " + uri.module_path() + " cannot be loaded");
  loaded->module = true;
  if (PKCS11_enumerate_slots(loaded->context, &loaded->slots, &loaded->slot_count) != 0)
    return P11Error("the module tells of no slots");
  PKCS11_SLOT* slot = nullptr;
  for (unsigned i = 0; i < loaded->slot_count; ++i) {
    auto& each = loaded->slots[i];
    if (each.token == nullptr || each.token->initialized == 0 || !Matches(uri, *each.token)) continue;
    if (slot != nullptr) return Invalid("several tokens match the identity's URI");
    slot = &each;
  }
  if (slot == nullptr)
    return NotFound("no token matches the identity's URI: strongroomd --make-identity makes it", "identity-missing");
  TRY(Login(slot, uri));
  PKCS11_KEY* keys = nullptr;
  unsigned count = 0;
  if (PKCS11_enumerate_keys(slot->token, &keys, &count) != 0) return P11Error("its keys cannot be listed");
  PKCS11_KEY* found = nullptr;
  for (unsigned i = 0; i < count; ++i) {
    if (keys[i].label == nullptr || std::string_view(keys[i].label) != kIdentityLabel) continue;
    if (found != nullptr) return Integrity("the identity token has several keys labelled strongroom-tls", "key-drift");
    found = &keys[i];
  }
  if (found == nullptr)
    return NotFound("the identity token has no key labelled strongroom-tls: strongroomd --make-identity makes it",
                    "identity-missing");
  loaded->key = PKCS11_get_private_key(found);
  if (loaded->key == nullptr || EVP_PKEY_get_base_id(loaded->key) != EVP_PKEY_EC)
    return P11Error("its key is no EC key");
  if (!Signs(loaded->key)) return P11Error("its key does not sign");
  return loaded;
}

Result<std::unique_ptr<IdentityKey>> IdentityKey::Open(TokenUri uri, std::chrono::milliseconds period) {
  TRY_ASSIGN(auto loaded, Load(uri));
  std::unique_ptr<IdentityKey> key(new IdentityKey(std::move(uri), period));
  {
    const MutexLock lock(key->mutex_);
    key->loaded_ = std::move(loaded);
    key->watching_ = true;
  }
  key->watcher_ = std::thread([k = key.get()] {
    k->Watch();
    const MutexLock lock(k->mutex_);
    k->watching_ = false;
    k->changed_.NotifyAll();
  });
  return key;
}

IdentityKey::IdentityKey(TokenUri uri, std::chrono::milliseconds period) : uri_(std::move(uri)), period_(period) {}

IdentityKey::~IdentityKey() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
    changed_.NotifyAll();
    const auto until = std::chrono::steady_clock::now() + kEnd;
    while (watching_ && changed_.WaitUntil(mutex_, until)) {
    }
    // A call that hangs in the module cannot be ended. Everything that was answered is on disk: only the process is
    // left.
    if (watching_ || lent_ > 0) {
      spdlog::critical("the identity token's module hangs: ending without it");
      std::_Exit(1);
    }
  }
  if (watcher_.joinable()) watcher_.join();
}

Result<std::shared_ptr<EVP_PKEY>> IdentityKey::Take() {
  const MutexLock lock(mutex_);
  if (const auto fault = FaultLocked(); !fault.empty()) return Unavailable("the TLS key is not there: " + fault);
  ++lent_;
  return std::shared_ptr<EVP_PKEY>(loaded_->key, [this](EVP_PKEY*) {
    const MutexLock back(mutex_);
    --lent_;
    changed_.NotifyAll();
  });
}

void IdentityKey::Suspect() {
  const MutexLock lock(mutex_);
  suspected_ = true;
  changed_.NotifyAll();
}

std::string IdentityKey::Fault() const {
  const MutexLock lock(mutex_);
  return FaultLocked();
}

// A test that does not come back says the same as one that fails, and nobody else should get stuck behind it.
std::string IdentityKey::FaultLocked() const {
  if (fault_.empty() && testing_since_ && std::chrono::steady_clock::now() - *testing_since_ > kHangs)
    return "a test signature has not come back for " + std::to_string(kHangs.count()) +
           " s: the module hangs; restart strongroomd if it stays so";
  return fault_;
}

void IdentityKey::Watch() {
  while (true) {
    {
      const MutexLock lock(mutex_);
      const auto now = std::chrono::steady_clock::now();
      while (!stopping_ && !suspected_ && changed_.WaitUntil(mutex_, now + period_)) {
      }
      // Anybody can make a handshake fail: suspicion asks for one signature a pause, not for one each.
      while (!stopping_ && changed_.WaitUntil(mutex_, now + kPause)) {
      }
      if (stopping_) return;
      suspected_ = false;
    }
    bool signs = false;
    if (const auto key = Take()) {
      Testing(true);
      signs = Signs(key->get());
      Testing(false);
    }
    if (!signs) LoadAnew();
  }
}

void IdentityKey::Testing(bool begins) {
  const MutexLock lock(mutex_);
  testing_since_ = begins ? std::optional(std::chrono::steady_clock::now()) : std::nullopt;
}

void IdentityKey::LoadAnew() {
  spdlog::error("the TLS key does not sign: its context is loaded anew");
  {
    const MutexLock lock(mutex_);
    fault_ = "it does not sign";
    // Drained first: the old context takes the module with it when it goes.
    const auto until = std::chrono::steady_clock::now() + kDrain;
    while (!stopping_ && lent_ > 0)
      if (!changed_.WaitUntil(mutex_, until) && lent_ > 0) {
        fault_ = "a signature has not come back for " + std::to_string(kDrain.count()) +
                 " s: the module hangs; restart strongroomd";
        spdlog::critical("{}", fault_);
        while (!stopping_ && lent_ > 0) changed_.Wait(mutex_);
      }
    if (stopping_) return;
    loaded_.reset();
  }
  while (true) {
    auto loaded = Load(uri_);
    const MutexLock lock(mutex_);
    if (loaded) {
      loaded_ = std::move(*loaded);
      fault_.clear();
      spdlog::info("the TLS key signs again");
      return;
    }
    fault_ = loaded.error().Line();
    // A refused PIN is not tried again: until somebody restarts this program nothing more is done.
    const bool refused = loaded.error().code == Code::kPinRejected;
    if (refused) spdlog::error("{}", fault_);
    const auto until = std::chrono::steady_clock::now() + kPause;
    while (!stopping_ && (refused || changed_.WaitUntil(mutex_, until)))
      if (refused) changed_.Wait(mutex_);
    if (stopping_) return;
  }
}

}  // namespace strongroom::hsm
