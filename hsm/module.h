#pragma once
// A PKCS#11 module, a slot with a token in it, and sessions.

#include <memory>
#include <string>
#include <vector>

#include "crypto/base/result.h"
#include "crypto/base/secret.h"
#include "hsm/cryptoki.h"
#include "hsm/uri.h"

namespace strongroom::hsm {

/// Module is a loaded and initialised PKCS#11 module. The destructor finalises it: no call may be under way. It is
/// never unloaded: what a module leaves behind with other libraries at exit would be code that is gone.
class Module {
 public:
  /// Load opens the shared object and calls C_Initialize with OS locking. Fails with kTokenFault or kIo.
  static Result<std::unique_ptr<Module>> Load(const std::string& path);
  ~Module();
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  CK_FUNCTION_LIST& fn() const { return *functions_; }
  /// FindSlot returns the one slot whose initialised token matches. Fails with kNotFound or, when several do, kInvalid.
  Result<CK_SLOT_ID> FindSlot(const TokenUri& uri) const;
  /// FreeSlot returns a slot with an uninitialised token, kNotFound when there is none.
  Result<CK_SLOT_ID> FreeSlot() const;
  Result<CK_TOKEN_INFO> TokenInfo(CK_SLOT_ID slot) const;

 private:
  Module() = default;
  Result<std::vector<CK_SLOT_ID>> SlotsWithToken() const;
  void* library_ = nullptr;
  CK_FUNCTION_LIST* functions_ = nullptr;
  bool initialised_ = false;
};

/// Session owns one PKCS#11 session and closes it. Use by one thread at a time.
class Session {
 public:
  static Result<Session> Open(const Module& module, CK_SLOT_ID slot);
  ~Session();
  Session(Session&& other) noexcept;
  Session& operator=(Session&& other) noexcept;
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  /// Login presents the user PIN once; a user who is logged in already is success. PKCS#11 logs in all sessions of the
  /// process with this token.
  Result<void> Login(const SecretBytes& pin);
  CK_SESSION_HANDLE handle() const { return handle_; }

 private:
  Session(const Module& module, CK_SESSION_HANDLE handle) : module_(&module), handle_(handle) {}
  const Module* module_;
  CK_SESSION_HANDLE handle_;
};

/// Trimmed returns a fixed-size, blank-padded PKCS#11 text field without its padding.
template <std::size_t N>
std::string Trimmed(const unsigned char (&field)[N]) {
  std::string text(reinterpret_cast<const char*>(field), N);
  text.erase(text.find_last_not_of(std::string_view(" \0", 2)) + 1);
  return text;
}

/// ReadPinFile reads a PIN of 4 to 255 bytes, less one trailing line end, from a regular file that belongs to this user
/// and that nobody else can read. Fails with kInvalid or kIo, naming the file and what to do.
Result<SecretBytes> ReadPinFile(const std::string& path);

}  // namespace strongroom::hsm
