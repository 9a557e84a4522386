#pragma once
// One process straight on the module, doing the token calls of one in-token rewrap of suite kwp: unwrap under one KEK,
// wrap under another, destroy.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <iostream>
#include <optional>
#include <thread>
#include <vector>

#include "hsm/key_template.h"
#include "hsm/token_key_ops.h"
#include "tests/support/quorum_fixture.h"
#include "tests/support/softhsm_fixture.h"

namespace strongroom::tests {

class RawRewrap {
 public:
  RawRewrap() {
    const auto ring = crypto::RandomArray<16>();
    const SystemClock clock;
    const QuorumFixture quorum;
    auto ops = std::move(*hsm::TokenKeyOps::Open(token_.uri(), clock));
    const auto serial = ops->Identity()->serial;
    for (const std::uint32_t version : {1U, 2U})
      if (!ops->Generate(
              quorum.Grant(ring, version, crypto::Suite::kKwp, serial),
              {{serial, crypto::MakeKeyId(ring, version), crypto::Suite::kKwp}, hsm::KekLabel("k", version)}))
        Die("generation");
    ops.reset();
    module_ = std::move(*hsm::Module::Load(kSoftHsmModule));
    slot_ = *module_->FindSlot(token_.uri());
    keeper_.emplace(std::move(*hsm::Session::Open(*module_, slot_)));
    (void)keeper_->Login(*hsm::ReadPinFile(token_.uri().pin_file()));
    for (const std::uint32_t version : {1U, 2U}) keks_[version - 1] = FindKek(crypto::MakeKeyId(ring, version));
    wrapped_ = WrapOne();
  }

  /// PerSecond is the better of one thread and two, over one slice each.
  double PerSecond(std::chrono::milliseconds slice) { return std::max(Loop(1, slice), Loop(2, slice)); }

 private:
  [[noreturn]] static void Die(const char* what) {
    std::cerr << "bench: " << what << " failed\n";
    std::abort();
  }
  CK_OBJECT_HANDLE FindKek(crypto::KeyId id) {
    CK_ATTRIBUTE pattern{CKA_ID, id.data(), id.size()};
    CK_ULONG count = 0;
    CK_OBJECT_HANDLE kek = 0;
    (void)module_->fn().C_FindObjectsInit(keeper_->handle(), &pattern, 1);
    (void)module_->fn().C_FindObjects(keeper_->handle(), &kek, 1, &count);
    (void)module_->fn().C_FindObjectsFinal(keeper_->handle());
    return kek;
  }
  Bytes WrapOne() {
    std::vector<hsm::Attribute> attributes = {
        hsm::UlongAttribute(CKA_CLASS, CKO_SECRET_KEY), hsm::UlongAttribute(CKA_KEY_TYPE, CKK_GENERIC_SECRET),
        hsm::BoolAttribute(CKA_TOKEN, false),           hsm::BoolAttribute(CKA_PRIVATE, false),
        hsm::BoolAttribute(CKA_EXTRACTABLE, true),      {CKA_VALUE, Bytes(88, 7)}};
    auto ck = hsm::ToCk(attributes);
    CK_OBJECT_HANDLE object = 0;
    auto& fn = module_->fn();
    if (fn.C_CreateObject(keeper_->handle(), ck.data(), ck.size(), &object) != CKR_OK) Die("a token call");
    CK_MECHANISM mechanism{CKM_AES_KEY_WRAP_PAD, nullptr, 0};
    Bytes out(256);
    CK_ULONG size = out.size();
    if (fn.C_WrapKey(keeper_->handle(), &mechanism, keks_[0], object, out.data(), &size) != CKR_OK) Die("a token call");
    (void)fn.C_DestroyObject(keeper_->handle(), object);
    out.resize(size);
    return out;
  }
  void RewrapOnce(const hsm::Session& session) {
    // As the token host does it: what is on its way cannot be read.
    std::vector<hsm::Attribute> attributes = {
        hsm::UlongAttribute(CKA_CLASS, CKO_SECRET_KEY), hsm::UlongAttribute(CKA_KEY_TYPE, CKK_GENERIC_SECRET),
        hsm::BoolAttribute(CKA_TOKEN, false),           hsm::BoolAttribute(CKA_PRIVATE, true),
        hsm::BoolAttribute(CKA_SENSITIVE, true),        hsm::BoolAttribute(CKA_EXTRACTABLE, true)};
    auto ck = hsm::ToCk(attributes);
    CK_OBJECT_HANDLE object = 0;
    auto& fn = module_->fn();
    CK_MECHANISM mechanism{CKM_AES_KEY_WRAP_PAD, nullptr, 0};
    if (fn.C_UnwrapKey(session.handle(), &mechanism, keks_[0], wrapped_.data(), wrapped_.size(), ck.data(), ck.size(),
                       &object) != CKR_OK)
      Die("C_UnwrapKey");
    std::array<CK_BYTE, 256> out{};
    CK_ULONG size = out.size();
    if (fn.C_WrapKey(session.handle(), &mechanism, keks_[1], object, out.data(), &size) != CKR_OK) Die("a token call");
    if (fn.C_DestroyObject(session.handle(), object) != CKR_OK) Die("a token call");
  }
  double Loop(unsigned threads, std::chrono::milliseconds slice) {
    std::atomic<bool> stop{false};
    std::atomic<long> done{0};
    std::vector<std::thread> running;
    const auto begin = std::chrono::steady_clock::now();
    for (unsigned i = 0; i < threads; ++i)
      running.emplace_back([&] {
        const auto session = std::move(*hsm::Session::Open(*module_, slot_));
        long mine = 0;
        for (; !stop; ++mine) RewrapOnce(session);
        done += mine;
      });
    std::this_thread::sleep_until(begin + slice);
    stop = true;
    for (auto& thread : running) thread.join();
    return static_cast<double>(done) / std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  }

  SoftHsmFixture token_;
  std::unique_ptr<hsm::Module> module_;
  CK_SLOT_ID slot_ = 0;
  std::optional<hsm::Session> keeper_;
  std::array<CK_OBJECT_HANDLE, 2> keks_{};
  Bytes wrapped_;
};

}  // namespace strongroom::tests
