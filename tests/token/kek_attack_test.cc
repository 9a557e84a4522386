// K1 and K2 on the real token: what the template promises, the token must refuse. Each attack is first shown to succeed
// on a key with SoftHSM's default template, so that a pass means something.

#include <gtest/gtest.h>

#include "hsm/ckr.h"
#include "hsm/key_template.h"
#include "hsm/token_key_ops.h"
#include "tests/support/quorum_fixture.h"
#include "tests/support/softhsm_fixture.h"

namespace strongroom::hsm {
namespace {

using crypto::Suite;

class KekAttack : public testing::Test {
 protected:
  void SetUp() override {
    auto uri = token_.uri();
    {
      auto ops = TokenKeyOps::Open(token_.uri(), clock_);
      ASSERT_TRUE(ops) << ops.error().Line();
      serial_ = (*ops)->Identity()->serial;
      for (const auto suite : {Suite::kKwp, Suite::kGcm}) {
        const std::uint32_t version = suite == Suite::kKwp ? 1 : 2;
        const auto made =
            (*ops)->Generate(quorum_.Grant(ring_, version, suite, serial_),
                             {{serial_, crypto::MakeKeyId(ring_, version), suite}, KekLabel("k", version)});
        ASSERT_TRUE(made) << made.error().Line();
      }
    }
    auto module = Module::Load(uri.module_path());
    ASSERT_TRUE(module);
    module_ = std::move(*module);
    slot_ = *module_->FindSlot(uri);
    session_.emplace(*Session::Open(*module_, slot_));
    ASSERT_TRUE(session_->Login(*ReadPinFile(uri.pin_file())));
    profile_ = *ProfileFor(*module_->TokenInfo(slot_));
    kwp_ = Find(1);
    gcm_ = Find(2);
  }
  void TearDown() override { session_.reset(); }

  CK_FUNCTION_LIST& fn() { return module_->fn(); }
  CK_SESSION_HANDLE s() { return session_->handle(); }
  CK_OBJECT_HANDLE Find(std::uint32_t version) {
    auto id = crypto::MakeKeyId(ring_, version);
    CK_ATTRIBUTE pattern{CKA_ID, id.data(), id.size()};
    CK_OBJECT_HANDLE found = 0;
    CK_ULONG count = 0;
    EXPECT_EQ(fn().C_FindObjectsInit(s(), &pattern, 1), CKR_OK);
    EXPECT_EQ(fn().C_FindObjects(s(), &found, 1, &count), CKR_OK);
    EXPECT_EQ(fn().C_FindObjectsFinal(s()), CKR_OK);
    EXPECT_EQ(count, 1U);
    return found;
  }
  // An AES key as SoftHSM makes it when nobody says what it may do.
  CK_OBJECT_HANDLE DefaultKey() {
    std::vector<Attribute> attributes = {UlongAttribute(CKA_VALUE_LEN, 32), BoolAttribute(CKA_TOKEN, false)};
    auto ck = ToCk(attributes);
    CK_MECHANISM mechanism{CKM_AES_KEY_GEN, nullptr, 0};
    CK_OBJECT_HANDLE key = 0;
    EXPECT_EQ(fn().C_GenerateKey(s(), &mechanism, ck.data(), ck.size(), &key), CKR_OK);
    return key;
  }
  CK_OBJECT_HANDLE Transit(ByteView value) {
    std::vector<Attribute> attributes = {UlongAttribute(CKA_CLASS, CKO_SECRET_KEY),
                                         UlongAttribute(CKA_KEY_TYPE, CKK_GENERIC_SECRET),
                                         BoolAttribute(CKA_TOKEN, false), BoolAttribute(CKA_EXTRACTABLE, true),
                                         Attribute{CKA_VALUE, Bytes(value.begin(), value.end())}};
    auto ck = ToCk(attributes);
    CK_OBJECT_HANDLE object = 0;
    EXPECT_EQ(fn().C_CreateObject(s(), ck.data(), ck.size(), &object), CKR_OK);
    return object;
  }
  // Wraps a known DEK under `kek` and then uses the same KEK as a plain AES-ECB key to decrypt the wrapping: RFC 5649
  // is AES-ECB in rounds, so a KEK that decrypts hands the DEK out. Returns whether the token let both halves happen.
  bool WrapThenDecryptEcb(CK_OBJECT_HANDLE kek) {
    CK_MECHANISM wrap{profile_.kwp, nullptr, 0}, ecb{CKM_AES_ECB, nullptr, 0};
    Bytes wrapped(256), plain(256);
    CK_ULONG size = wrapped.size();
    const Bytes dek(32, 0x5A);
    if (fn().C_WrapKey(s(), &wrap, kek, Transit(dek), wrapped.data(), &size) != CKR_OK) return false;
    if (fn().C_DecryptInit(s(), &ecb, kek) != CKR_OK) return false;
    CK_ULONG plain_size = plain.size();
    return fn().C_Decrypt(s(), wrapped.data(), 16, plain.data(), &plain_size) == CKR_OK;
  }
  bool WrapOut(CK_OBJECT_HANDLE by, CK_MECHANISM_TYPE type, CK_OBJECT_HANDLE target) {
    CK_MECHANISM mechanism{type, nullptr, 0};
    Bytes out(4096);
    CK_ULONG size = out.size();
    return fn().C_WrapKey(s(), &mechanism, by, target, out.data(), &size) == CKR_OK;
  }
  bool SetBool(CK_OBJECT_HANDLE key, CK_ATTRIBUTE_TYPE type, bool value) {
    auto attribute = BoolAttribute(type, value);
    CK_ATTRIBUTE ck{type, attribute.value.data(), 1};
    return fn().C_SetAttributeValue(s(), key, &ck, 1) == CKR_OK;
  }
  bool Copies(CK_OBJECT_HANDLE key) {
    auto attribute = BoolAttribute(CKA_TOKEN, false);
    CK_ATTRIBUTE ck{CKA_TOKEN, attribute.value.data(), 1};
    CK_OBJECT_HANDLE copy = 0;
    return fn().C_CopyObject(s(), key, &ck, 1, &copy) == CKR_OK;
  }
  bool ReadsValue(CK_OBJECT_HANDLE key) {
    Bytes value(64);
    CK_ATTRIBUTE ck{CKA_VALUE, value.data(), value.size()};
    return fn().C_GetAttributeValue(s(), key, &ck, 1) == CKR_OK;
  }
  bool Encrypts(CK_OBJECT_HANDLE key, CK_MECHANISM_TYPE type) {
    Bytes iv(16, 1), aad(8, 2);
    CK_GCM_PARAMS gcm{};
    gcm.pIv = iv.data();
    gcm.ulIvLen = 12;
    gcm.ulIvBits = 96;
    gcm.pAAD = aad.data();
    gcm.ulAADLen = aad.size();
    gcm.ulTagBits = 128;
    CK_MECHANISM mechanism{type, nullptr, 0};
    if (type == CKM_AES_GCM) mechanism = {type, &gcm, sizeof gcm};
    if (type == CKM_AES_CBC || type == CKM_AES_CBC_PAD) mechanism = {type, iv.data(), iv.size()};
    if (fn().C_EncryptInit(s(), &mechanism, key) != CKR_OK) return false;
    Bytes in(16, 3), out(64);
    CK_ULONG size = out.size();
    (void)fn().C_Encrypt(s(), in.data(), in.size(), out.data(), &size);
    return true;
  }

  tests::SoftHsmFixture token_;
  const tests::QuorumFixture& quorum_ = tests::SharedQuorum();
  SystemClock clock_;
  crypto::KeyringId ring_ = crypto::RandomArray<16>();
  std::string serial_;
  std::unique_ptr<Module> module_;
  CK_SLOT_ID slot_ = 0;
  std::optional<Session> session_;
  VendorProfile profile_;
  CK_OBJECT_HANDLE kwp_ = 0, gcm_ = 0;
};

TEST_F(KekAttack, K2_WrapThenEcbDecrypt) {
  EXPECT_TRUE(WrapThenDecryptEcb(DefaultKey()))
      << "the attack itself must work on a default template, or this test proves nothing";
  EXPECT_FALSE(WrapThenDecryptEcb(kwp_));
  EXPECT_FALSE(WrapThenDecryptEcb(gcm_));
}

TEST_F(KekAttack, K2_ExportByWrapping) {
  const auto thief = DefaultKey();
  EXPECT_TRUE(WrapOut(thief, profile_.kwp, Transit(Bytes(32, 1)))) << "the thief's key wraps what may be wrapped";
  for (const auto kek : {kwp_, gcm_}) {
    EXPECT_FALSE(WrapOut(thief, profile_.kwp, kek));
    EXPECT_FALSE(WrapOut(thief, CKM_AES_KEY_WRAP, kek));
    EXPECT_FALSE(WrapOut(kwp_, profile_.kwp, kek)) << "not under themselves either";
    EXPECT_FALSE(ReadsValue(kek));
  }
}

TEST_F(KekAttack, K2_AttributeFlipAndCopy) {
  const auto soft = DefaultKey();
  EXPECT_TRUE(SetBool(soft, CKA_DERIVE, true) || SetBool(soft, CKA_DECRYPT, false))
      << "a default key's attributes move";
  EXPECT_TRUE(Copies(soft));
  for (const auto kek : {kwp_, gcm_}) {
    for (const auto& [type, value] : {std::pair<CK_ATTRIBUTE_TYPE, bool>{CKA_EXTRACTABLE, true},
                                      {CKA_SENSITIVE, false},
                                      {CKA_ENCRYPT, true},
                                      {CKA_DECRYPT, true},
                                      {CKA_WRAP, true},
                                      {CKA_UNWRAP, true},
                                      {CKA_SIGN, true},
                                      {CKA_DERIVE, true},
                                      {CKA_MODIFIABLE, true},
                                      {CKA_COPYABLE, true}})
      EXPECT_FALSE(SetBool(kek, type, value)) << AttributeName(type);
    EXPECT_FALSE(Copies(kek));
  }
}

TEST_F(KekAttack, K8_OtherMechanisms) {
  for (const auto mechanism : {CKM_AES_ECB, CKM_AES_CBC, CKM_AES_CBC_PAD, CKM_AES_CTR, CKM_AES_GCM})
    EXPECT_FALSE(Encrypts(kwp_, mechanism)) << mechanism;
  for (const auto mechanism : {CKM_AES_ECB, CKM_AES_CBC, CKM_AES_CBC_PAD, CKM_AES_CTR})
    EXPECT_FALSE(Encrypts(gcm_, mechanism)) << mechanism;
  EXPECT_TRUE(Encrypts(gcm_, CKM_AES_GCM)) << "its one mechanism works";
  EXPECT_FALSE(WrapOut(kwp_, CKM_AES_KEY_WRAP, Transit(Bytes(32, 1)))) << "the unpadded wrap is another mechanism";
}

// Does the judge see each single attribute that differs?
TEST_F(KekAttack, K2_JudgeSeesEveryDifference) {
  const KeyRef ref{serial_, crypto::MakeKeyId(ring_, 1), Suite::kKwp};
  auto perfect = KekTemplate({ref, "x"}, profile_);
  for (const auto type : {CKA_LOCAL, CKA_ALWAYS_SENSITIVE, CKA_NEVER_EXTRACTABLE})
    perfect.push_back(BoolAttribute(type, true));
  EXPECT_EQ(JudgeKek(perfect, ref, profile_), "");
  for (std::size_t i = 0; i < perfect.size(); ++i) {
    if (perfect[i].type == CKA_LABEL) continue;
    auto changed = perfect;
    changed[i].value[0] ^= 1;
    EXPECT_NE(JudgeKek(changed, ref, profile_), "") << AttributeName(perfect[i].type);
    changed.erase(changed.begin() + static_cast<long>(i));
    EXPECT_NE(JudgeKek(changed, ref, profile_), "") << AttributeName(perfect[i].type) << " missing";
  }
}

// A key that someone else put under our CKA_ID is not used, and the sweep names it.
TEST_F(KekAttack, K3_ADriftedKeyIsRefusedAtUse) {
  const auto planted_id = crypto::MakeKeyId(ring_, 9);
  std::vector<Attribute> attributes = {UlongAttribute(CKA_VALUE_LEN, 32), BoolAttribute(CKA_TOKEN, true),
                                       BoolAttribute(CKA_WRAP, true), BoolAttribute(CKA_UNWRAP, true),
                                       Attribute{CKA_ID, Bytes(planted_id.begin(), planted_id.end())}};
  auto ck = ToCk(attributes);
  CK_MECHANISM mechanism{CKM_AES_KEY_GEN, nullptr, 0};
  CK_OBJECT_HANDLE key = 0;
  ASSERT_EQ(fn().C_GenerateKey(s(), &mechanism, ck.data(), ck.size(), &key), CKR_OK);
  session_.reset();
  module_.reset();
  auto ops = TokenKeyOps::Open(token_.uri(), clock_);
  ASSERT_TRUE(ops);
  std::vector<KeyOp> list;
  list.emplace_back(WrapOp{{serial_, planted_id, Suite::kKwp}, *SecretBytes::Allocate(32), {}});
  EXPECT_EQ((*ops)->Execute(list)[0].error().Slug(), "key-drift");
  int faulty = 0;
  for (const auto& record : *(*ops)->Inventory()) faulty += record.fault.empty() ? 0 : 1;
  EXPECT_EQ(faulty, 1);
}

TEST_F(KekAttack, P8_AWrongPinIsTriedOnce) {
  session_.reset();
  module_.reset();
  (void)token_.dir().Write("kek.pin", "wrong-pin\n");
  const auto refused = TokenKeyOps::Open(token_.uri(), clock_);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kPinRejected);
  (void)token_.dir().Write("kek.pin", token_.pin() + "\n");
  EXPECT_EQ(TokenKeyOps::Open(token_.uri(), clock_).error().code, Code::kPinRejected)
      << "the token reports a wrong PIN since the last login: not tried without leave, though the PIN is right by now";
  TokenKeyOps::Options options;
  options.pin_count_may_be_low = true;
  EXPECT_TRUE(TokenKeyOps::Open(token_.uri(), clock_, std::move(options)));
  EXPECT_TRUE(TokenKeyOps::Open(token_.uri(), clock_)) << "a login clears the count";
  std::filesystem::permissions(token_.dir().File("kek.pin"), std::filesystem::perms::group_read,
                               std::filesystem::perm_options::add);
  EXPECT_EQ(TokenKeyOps::Open(token_.uri(), clock_).error().Slug(), "pin-exposed");
}

}  // namespace
}  // namespace strongroom::hsm
