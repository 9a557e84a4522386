#include "hsm/module.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "hsm/ckr.h"

namespace strongroom::hsm {
namespace {
constexpr CK_ULONG kMostSlots = 4096;
}  // namespace

Result<std::unique_ptr<Module>> Module::Load(const std::string& path) {
  std::unique_ptr<Module> module(new Module());
  module->library_ = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (module->library_ == nullptr)
    return Io("cannot load the PKCS#11 module " + path + ": is the vendor's package installed?", "token-module");
  const auto get_list = reinterpret_cast<CK_C_GetFunctionList>(dlsym(module->library_, "C_GetFunctionList"));
  if (get_list == nullptr) return Io(path + " is not a PKCS#11 module", "token-module");
  if (const CK_RV rv = get_list(&module->functions_); rv != CKR_OK) return TokenError(rv, "C_GetFunctionList");
  if (module->functions_ == nullptr) return Io(path + " has no functions", "token-module");
  CK_C_INITIALIZE_ARGS arguments{};
  arguments.flags = CKF_OS_LOCKING_OK;
  if (const CK_RV rv = module->fn().C_Initialize(&arguments); rv != CKR_OK) return TokenError(rv, "C_Initialize");
  module->initialised_ = true;
  return module;
}

Module::~Module() {
  if (initialised_) (void)functions_->C_Finalize(nullptr);
}

Result<std::vector<CK_SLOT_ID>> Module::SlotsWithToken() const {
  CK_ULONG count = 0;
  if (const CK_RV rv = fn().C_GetSlotList(CK_TRUE, nullptr, &count); rv != CKR_OK)
    return TokenError(rv, "C_GetSlotList");
  if (count > kMostSlots) return TokenLies("'s module tells of " + std::to_string(count) + " slots", "C_GetSlotList");
  std::vector<CK_SLOT_ID> slots(count);
  if (const CK_RV rv = fn().C_GetSlotList(CK_TRUE, slots.data(), &count); rv != CKR_OK)
    return TokenError(rv, "C_GetSlotList");
  if (count > slots.size()) return TokenLies("'s module tells of more slots than it was asked for", "C_GetSlotList");
  slots.resize(count);
  return slots;
}

Result<CK_TOKEN_INFO> Module::TokenInfo(CK_SLOT_ID slot) const {
  CK_TOKEN_INFO info{};
  if (const CK_RV rv = fn().C_GetTokenInfo(slot, &info); rv != CKR_OK) return TokenError(rv, "C_GetTokenInfo");
  return info;
}

Result<CK_SLOT_ID> Module::FindSlot(const TokenUri& uri) const {
  TRY_ASSIGN(const auto slots, SlotsWithToken());
  std::vector<CK_SLOT_ID> found;
  for (const auto slot : slots) {
    TRY_ASSIGN(const auto info, TokenInfo(slot));
    if ((info.flags & CKF_TOKEN_INITIALIZED) != 0 && uri.Matches(info)) found.push_back(slot);
  }
  if (found.empty())
    return NotFound("no token '" + uri.label() + "' in any slot of " + uri.module_path(), "token-missing");
  if (found.size() > 1) return Invalid("several tokens match '" + uri.label() + "': add serial= to the URI");
  return found.front();
}

Result<CK_SLOT_ID> Module::FreeSlot() const {
  TRY_ASSIGN(const auto slots, SlotsWithToken());
  for (const auto slot : slots) {
    TRY_ASSIGN(const auto info, TokenInfo(slot));
    if ((info.flags & CKF_TOKEN_INITIALIZED) == 0) return slot;
  }
  return NotFound("no slot with an uninitialised token", "token-missing");
}

Result<Session> Session::Open(const Module& module, CK_SLOT_ID slot) {
  CK_SESSION_HANDLE handle = 0;
  if (const CK_RV rv = module.fn().C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, nullptr, nullptr, &handle);
      rv != CKR_OK)
    return TokenError(rv, "C_OpenSession");
  return Session(module, handle);
}

Session::~Session() {
  if (handle_ != 0) (void)module_->fn().C_CloseSession(handle_);
}
Session::Session(Session&& other) noexcept : module_(other.module_), handle_(std::exchange(other.handle_, 0)) {}
Session& Session::operator=(Session&& other) noexcept {
  if (this != &other) {
    if (handle_ != 0) (void)module_->fn().C_CloseSession(handle_);
    module_ = other.module_;
    handle_ = std::exchange(other.handle_, 0);
  }
  return *this;
}

Result<void> Session::Login(const SecretBytes& pin) {
  const auto bytes = pin.Read(SecretAccess());
  const CK_RV rv = module_->fn().C_Login(handle_, CKU_USER, const_cast<CK_UTF8CHAR*>(bytes.data()), bytes.size());
  if (rv != CKR_OK && rv != CKR_USER_ALREADY_LOGGED_IN) return TokenError(rv, "C_Login");
  return {};
}

Result<SecretBytes> ReadPinFile(const std::string& path) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (file < 0)
    return Io("cannot read the PIN file " + path + ": " + std::generic_category().message(errno), "pin-missing");
  struct stat status {};
  const bool known = fstat(file, &status) == 0;
  if (!known || !S_ISREG(status.st_mode) || status.st_uid != geteuid() || (status.st_mode & 077) != 0) {
    (void)close(file);
    return Invalid("the PIN file " + path + " must be a regular file of this user with mode 0600", "pin-exposed");
  }
  auto pin = SecretBytes::Allocate(256);
  if (!pin) {
    (void)close(file);
    return std::move(pin).error();
  }
  const auto n = read(file, pin->Write(SecretAccess()).data(), 256);
  (void)close(file);
  if (n < 0) return Io("cannot read the PIN file " + path, "pin-missing");
  auto size = static_cast<std::size_t>(n);
  if (size > 0 && pin->Read(SecretAccess())[size - 1] == '\n') --size;
  if (size < 4 || size > 255) return Invalid("the PIN file " + path + " must hold 4 to 255 bytes", "pin-missing");
  pin->Shrink(size);
  return std::move(*pin);
}

}  // namespace strongroom::hsm
