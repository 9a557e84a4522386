#pragma once
// The front end's own TLS key, in a token of its own, through libp11.

#include <openssl/types.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "crypto/base/bytes.h"
#include "crypto/base/mutex.h"
#include "crypto/base/result.h"
#include "hsm/uri.h"

namespace strongroom::hsm {

/// The label of the key in the identity token.
inline constexpr const char* kIdentityLabel = "strongroom-tls";

/// IdentityKey lends the key as an EVP_PKEY. libp11 keeps one context of the module for the whole process, and a token
/// that failed under it heals only by a context that is loaded anew, once nobody holds the key any more: so the key is
/// lent for one step at a time. A thread tests it every `period` and whenever somebody suspects it, and loads it anew
/// until it signs rightly. A PIN that the token refuses is not tried again by this process, and not at all while the
/// token reports a low count (P8). Thread-safe.
class IdentityKey {
 public:
  /// Open loads the module, logs in with the URI's PIN file and finds the one key labelled kIdentityLabel. Fails with
  /// kNotFound, kPinRejected or kTokenFault, what to do in its detail.
  static Result<std::unique_ptr<IdentityKey>> Open(TokenUri uri,
                                                   std::chrono::milliseconds period = std::chrono::seconds(2));
  ~IdentityKey();
  IdentityKey(const IdentityKey&) = delete;
  IdentityKey& operator=(const IdentityKey&) = delete;

  /// Take lends the key until the last copy of what it returns is gone: keep it for as long as one signature takes.
  /// kUnavailable while the key is being loaded anew.
  Result<std::shared_ptr<EVP_PKEY>> Take() EXCLUDES(mutex_);
  /// Suspect says that a signature may have failed. Does not block.
  void Suspect() EXCLUDES(mutex_);
  /// Fault is why the key is not there, empty when it is.
  std::string Fault() const EXCLUDES(mutex_);

 private:
  struct Loaded;
  explicit IdentityKey(TokenUri uri, std::chrono::milliseconds period);
  static Result<std::unique_ptr<Loaded>> Load(const TokenUri& uri);
  void Watch() EXCLUDES(mutex_);
  void Testing(bool begins) EXCLUDES(mutex_);
  std::string FaultLocked() const REQUIRES(mutex_);
  void LoadAnew() EXCLUDES(mutex_);

  const TokenUri uri_;
  const std::chrono::milliseconds period_;
  mutable Mutex mutex_;
  CondVar changed_;
  std::unique_ptr<Loaded> loaded_ GUARDED_BY(mutex_);
  unsigned lent_ GUARDED_BY(mutex_) = 0;
  bool suspected_ GUARDED_BY(mutex_) = false;
  std::optional<std::chrono::steady_clock::time_point> testing_since_ GUARDED_BY(mutex_);
  bool stopping_ GUARDED_BY(mutex_) = false;
  bool watching_ GUARDED_BY(mutex_) = false;
  std::string fault_ GUARDED_BY(mutex_);  // not empty: the key is not lent
  std::thread watcher_;
};

/// MakeIdentityKey makes the identity token, unless it is there, and in it an EC P-256 key for signing alone that
/// cannot leave it, unless that is there. Yields its public key, SubjectPublicKeyInfo in DER. To be called in a process
/// of its own: it uses the module without libp11.
Result<Bytes> MakeIdentityKey(const TokenUri& uri, const std::string& so_pin_file);

}  // namespace strongroom::hsm
