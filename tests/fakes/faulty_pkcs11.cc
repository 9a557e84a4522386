// A PKCS#11 module that passes every call on to another, and does harm where it is told to, so that tests can have any
// CK_RV at any call, a hang, a crash, a wrong byte, another token, a session ceiling, a token that is gone, or the
// latency of a network HSM (P10).
//
// The other module is SoftHSM, or the one whose path stands in the file "<path of this .so>.module". Orders stand in
// the file "<path of this .so>.faults", which is looked at again at each call; a line is
//   <function, or * for all but C_GetFunctionList> <action> [pid N] [after K] [times N]
//   action: return 0xNN | hang (for as long as the order stands) | delay MS | crash | corrupt | impostor | ceiling N |
//   gone | log
// `after` lets K calls of the function pass first, `times` is how often it then happens; both count in this process.
// `ceiling` is for C_OpenSession (CKR_SESSION_COUNT beyond N open ones) and C_GetTokenInfo (reported). `corrupt` flips
// a bit of what C_WrapKey or C_Encrypt returns. `impostor` changes the reported serial. `gone` is a token that was
// pulled: no slot has it, and every other call says CKR_TOKEN_NOT_PRESENT. `log` appends a line to "<path>.log".

#include <dlfcn.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <map>
#include <mutex>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "hsm/cryptoki.h"

namespace {

struct Order {
  std::string line, function, action;
  unsigned long value = 0;
  long pid = 0;
  int after = 0;
  int times = -1;
};

CK_FUNCTION_LIST* real = nullptr;
CK_FUNCTION_LIST functions;
std::atomic<long> open_sessions{0};
std::mutex mutex;
std::vector<Order> orders;  // as of `seen`
struct stat seen {};
std::map<std::string, int> calls;  // of each line, how often it applied in this process

const std::string& OwnPath() {
  static const std::string path = [] {
    Dl_info info{};
    return std::string(dladdr(reinterpret_cast<void*>(&OwnPath), &info) != 0 ? info.dli_fname : "");
  }();
  return path;
}

std::optional<Order> Parse(const std::string& line) {
  std::istringstream in(line);
  Order order;
  order.line = line;
  if (!(in >> order.function >> order.action)) return std::nullopt;
  if (order.action == "return" || order.action == "ceiling" || order.action == "delay") {
    std::string number;
    in >> number;
    order.value = std::stoul(number, nullptr, 0);
  }
  long number = 0;
  for (std::string word; in >> word >> number;) {
    if (word == "pid") order.pid = number;
    if (word == "after") order.after = static_cast<int>(number);
    if (word == "times") order.times = static_cast<int>(number);
  }
  return order;
}

// Orders are put in place by renaming, so a new file is another inode.
void LookForOrders() {
  static const std::string path = OwnPath() + ".faults";
  struct stat now {};
  if (stat(path.c_str(), &now) != 0) now = {};
  if (now.st_ino == seen.st_ino && now.st_mtim.tv_sec == seen.st_mtim.tv_sec &&
      now.st_mtim.tv_nsec == seen.st_mtim.tv_nsec)
    return;
  seen = now;
  orders.clear();
  calls.clear();  // a module is never unloaded: new orders are counted anew
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);)
    if (auto order = Parse(line)) orders.push_back(std::move(*order));
}

// The first order that applies to a call and has one of the wanted actions.
std::optional<Order> OrderFor(const std::string& function, std::string_view wanted) {
  const std::scoped_lock lock(mutex);
  LookForOrders();
  for (const auto& order : orders) {
    if ((order.function != function && order.function != "*") || wanted.find(order.action) == std::string_view::npos)
      continue;
    if (order.pid != 0 && order.pid != getpid()) continue;
    if (order.after > 0 || order.times >= 0) {
      const int call = calls[order.line]++;
      if (call < order.after || (order.times >= 0 && call >= order.after + order.times)) continue;
    }
    return order;
  }
  return std::nullopt;
}

std::optional<CK_RV> Harm(const char* function) {
  if (OrderFor(function, "log")) std::ofstream(OwnPath() + ".log", std::ios::app) << function << "\n";
  if (const auto slow = OrderFor(function, "delay")) (void)usleep(static_cast<useconds_t>(slow->value * 1000));
  const auto order = OrderFor(function, "return hang crash gone");
  if (!order) return std::nullopt;
  if (order->action == "gone") return CKR_TOKEN_NOT_PRESENT;
  if (order->action == "crash") (void)raise(SIGSEGV);
  if (order->action == "hang")
    while (OrderFor(function, "hang")) (void)usleep(5000);  // for as long as the order stands
  return order->value;
}

#define PASS_ON(name, parameters, arguments)          \
  CK_RV name parameters {                             \
    if (const auto rv = Harm("C_" #name)) return *rv; \
    return real->C_##name arguments;                  \
  }
CK_RV GetSlotList(CK_BBOOL a, CK_SLOT_ID* b, CK_ULONG* c) {
  if (OrderFor("C_GetSlotList", "gone")) {
    *c = 0;
    return CKR_OK;
  }
  if (const auto rv = Harm("C_GetSlotList")) return *rv;
  return real->C_GetSlotList(a, b, c);
}
PASS_ON(Login, (CK_SESSION_HANDLE a, CK_USER_TYPE b, CK_UTF8CHAR* c, CK_ULONG d), (a, b, c, d))
PASS_ON(CreateObject, (CK_SESSION_HANDLE a, CK_ATTRIBUTE* b, CK_ULONG c, CK_OBJECT_HANDLE* d), (a, b, c, d))
PASS_ON(DestroyObject, (CK_SESSION_HANDLE a, CK_OBJECT_HANDLE b), (a, b))
PASS_ON(GetAttributeValue, (CK_SESSION_HANDLE a, CK_OBJECT_HANDLE b, CK_ATTRIBUTE* c, CK_ULONG d), (a, b, c, d))
PASS_ON(FindObjectsInit, (CK_SESSION_HANDLE a, CK_ATTRIBUTE* b, CK_ULONG c), (a, b, c))
PASS_ON(FindObjects, (CK_SESSION_HANDLE a, CK_OBJECT_HANDLE* b, CK_ULONG c, CK_ULONG* d), (a, b, c, d))
PASS_ON(FindObjectsFinal, (CK_SESSION_HANDLE a), (a))
PASS_ON(EncryptInit, (CK_SESSION_HANDLE a, CK_MECHANISM* b, CK_OBJECT_HANDLE c), (a, b, c))
PASS_ON(DecryptInit, (CK_SESSION_HANDLE a, CK_MECHANISM* b, CK_OBJECT_HANDLE c), (a, b, c))
PASS_ON(GenerateKey, (CK_SESSION_HANDLE a, CK_MECHANISM* b, CK_ATTRIBUTE* c, CK_ULONG d, CK_OBJECT_HANDLE* e),
        (a, b, c, d, e))
PASS_ON(UnwrapKey,
        (CK_SESSION_HANDLE a, CK_MECHANISM* b, CK_OBJECT_HANDLE c, CK_BYTE* d, CK_ULONG e, CK_ATTRIBUTE* f, CK_ULONG g,
         CK_OBJECT_HANDLE* h),
        (a, b, c, d, e, f, g, h))
PASS_ON(GenerateRandom, (CK_SESSION_HANDLE a, CK_BYTE* b, CK_ULONG c), (a, b, c))

PASS_ON(SignInit, (CK_SESSION_HANDLE a, CK_MECHANISM* b, CK_OBJECT_HANDLE c), (a, b, c))
// As with C_Encrypt, a failed C_Sign ends its operation.
CK_RV Sign(CK_SESSION_HANDLE a, CK_BYTE* b, CK_ULONG c, CK_BYTE* d, CK_ULONG* e) {
  const auto harm = Harm("C_Sign");
  const CK_RV rv = real->C_Sign(a, b, c, d, e);
  return harm.value_or(rv);
}
CK_RV WrapKey(CK_SESSION_HANDLE a, CK_MECHANISM* b, CK_OBJECT_HANDLE c, CK_OBJECT_HANDLE d, CK_BYTE* e, CK_ULONG* f) {
  if (const auto rv = Harm("C_WrapKey")) return *rv;
  const CK_RV rv = real->C_WrapKey(a, b, c, d, e, f);
  if (rv == CKR_OK && OrderFor("C_WrapKey", "corrupt")) e[0] ^= 1;
  return rv;
}
// A failed C_Encrypt or C_Decrypt ends its operation (PKCS#11 v2.40 section 5.8.2): so it is really called.
CK_RV Decrypt(CK_SESSION_HANDLE a, CK_BYTE* b, CK_ULONG c, CK_BYTE* d, CK_ULONG* e) {
  const auto harm = Harm("C_Decrypt");
  const CK_RV rv = real->C_Decrypt(a, b, c, d, e);
  return harm.value_or(rv);
}
CK_RV Encrypt(CK_SESSION_HANDLE a, CK_BYTE* b, CK_ULONG c, CK_BYTE* d, CK_ULONG* e) {
  if (const auto harm = Harm("C_Encrypt")) {
    (void)real->C_Encrypt(a, b, c, d, e);
    return *harm;
  }
  const CK_RV rv = real->C_Encrypt(a, b, c, d, e);
  if (rv == CKR_OK && OrderFor("C_Encrypt", "corrupt")) d[0] ^= 1;
  return rv;
}
CK_RV OpenSession(CK_SLOT_ID a, CK_FLAGS b, void* c, CK_NOTIFY d, CK_SESSION_HANDLE* e) {
  if (const auto rv = Harm("C_OpenSession")) return *rv;
  const auto ceiling = OrderFor("C_OpenSession", "ceiling");
  if (ceiling && open_sessions >= static_cast<long>(ceiling->value)) return CKR_SESSION_COUNT;
  const CK_RV rv = real->C_OpenSession(a, b, c, d, e);
  if (rv == CKR_OK) ++open_sessions;
  return rv;
}
CK_RV CloseSession(CK_SESSION_HANDLE a) {
  if (const auto rv = Harm("C_CloseSession")) return *rv;
  const CK_RV rv = real->C_CloseSession(a);
  if (rv == CKR_OK) --open_sessions;
  return rv;
}
CK_RV GetTokenInfo(CK_SLOT_ID a, CK_TOKEN_INFO* b) {
  if (const auto rv = Harm("C_GetTokenInfo")) return *rv;
  const CK_RV rv = real->C_GetTokenInfo(a, b);
  if (rv == CKR_OK && OrderFor("C_GetTokenInfo", "impostor")) b->serialNumber[0] ^= 1;
  if (const auto ceiling = OrderFor("C_GetTokenInfo", "ceiling"); rv == CKR_OK && ceiling)
    b->ulMaxSessionCount = b->ulMaxRwSessionCount = ceiling->value;
  return rv;
}

}  // namespace

extern "C" __attribute__((visibility("default"))) CK_RV C_GetFunctionList(CK_FUNCTION_LIST** list) {
  if (real == nullptr) {
    std::string path = "/usr/lib/softhsm/libsofthsm2.so";
    if (std::ifstream other(OwnPath() + ".module"); other) std::getline(other, path);
    void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) return CKR_GENERAL_ERROR;
    const auto get = reinterpret_cast<CK_C_GetFunctionList>(dlsym(library, "C_GetFunctionList"));
    if (get == nullptr || get(&real) != CKR_OK) return CKR_GENERAL_ERROR;
    functions = *real;
    functions.C_GetSlotList = GetSlotList;
    functions.C_GetTokenInfo = GetTokenInfo;
    functions.C_OpenSession = OpenSession;
    functions.C_CloseSession = CloseSession;
    functions.C_Login = Login;
    functions.C_CreateObject = CreateObject;
    functions.C_DestroyObject = DestroyObject;
    functions.C_GetAttributeValue = GetAttributeValue;
    functions.C_FindObjectsInit = FindObjectsInit;
    functions.C_FindObjects = FindObjects;
    functions.C_FindObjectsFinal = FindObjectsFinal;
    functions.C_EncryptInit = EncryptInit;
    functions.C_Encrypt = Encrypt;
    functions.C_DecryptInit = DecryptInit;
    functions.C_Decrypt = Decrypt;
    functions.C_GenerateKey = GenerateKey;
    functions.C_WrapKey = WrapKey;
    functions.C_UnwrapKey = UnwrapKey;
    functions.C_SignInit = SignInit;
    functions.C_Sign = Sign;
    functions.C_GenerateRandom = GenerateRandom;
  }
  *list = &functions;
  return CKR_OK;
}
