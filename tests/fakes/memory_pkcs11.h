#pragma once
// A PKCS#11 module that keeps data objects in memory and stops at each call to ask a test what becomes of it: a test
// can stand between any two calls of a host, kill it there, and have what it had sent arrive later. The test and the
// module are one build; the module is loaded as a vendor's is.

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "crypto/base/bytes.h"
#include "hsm/cryptoki.h"

namespace strongroom::tests {

/// MemoryToken is what is in the module's one slot. `memory_token` (a C symbol of the module) returns it.
struct MemoryToken {
  struct Object {
    std::string label;
    Bytes value;
  };
  enum class Fate {
    kHappens,
    kLost,  // the host is killed before it is sent; so is every later call of its session
    kLate,  // the host is killed when it was sent: it lands whenever the test calls Land
  };
  std::map<CK_OBJECT_HANDLE, Object> objects;
  /// Called before each call that looks at or changes objects.
  std::function<Fate(CK_SESSION_HANDLE)> before = nullptr;
  std::vector<std::function<void()>> late;
  std::map<CK_SESSION_HANDLE, bool> dead;
  /// The last record that a session has sent.
  std::map<CK_SESSION_HANDLE, Bytes> sent;

  void Land(std::size_t at) {
    const auto write = late.at(at);
    late.erase(late.begin() + static_cast<std::ptrdiff_t>(at));
    write();
  }
};

}  // namespace strongroom::tests
