// What a module's lies end in (K12): each is refused or named, none is obeyed, and the truth afterwards is served
// again.

#include <dlfcn.h>
#include <gtest/gtest.h>

#include <functional>
#include <set>

#include "crypto/merkle.h"
#include "hsm/token_key_ops.h"
#include "provisioning/process.h"
#include "tests/support/hostile_module.h"
#include "tests/support/quorum_fixture.h"
#include "tests/support/softhsm_fixture.h"
#include "tests/support/standing.h"

namespace strongroom::hsm {
namespace {

using crypto::Suite;
constexpr std::string_view kDek = "0123456789abcdef0123456789abcdef";
constexpr Millis kDay = 86'400'000;

class AgedClock final : public Clock {
 public:
  Millis Now() const override { return SystemClock().Now() + offset; }
  Millis Steady() const override { return SystemClock().Steady() + offset; }
  Millis Watched() const override { return SystemClock().Watched() + offset; }
  Millis offset = 0;
};

const tests::QuorumFixture& Quorum() { return tests::SharedQuorum(); }

template <class T>
std::string SlugOf(const Result<T>& result) {
  return result ? "ok" : std::string(result.error().Slug());
}

class HostileModuleTest : public testing::Test {
 protected:
  HostileModuleTest() : module_(token_.dir().path(), STRONGROOM_BIN_DIR) {}
  void SetUp() override {
    ASSERT_EQ(Open(), "ok");
    serial_ = ops_->Identity()->serial;
    kwp_ = Ref(1, Suite::kKwp);
    kwp_next_ = Ref(2, Suite::kKwp);
    gcm_ = Ref(3, Suite::kGcm);
    for (const auto& ref : {kwp_, kwp_next_, gcm_}) ASSERT_EQ(Generate(ref), "ok");
    wrapped_kwp_ = One(WrapOp{kwp_, Dek(), context_})->blob;
    wrapped_gcm_ = One(WrapOp{gcm_, Dek(), context_})->blob;
    ASSERT_EQ(SlugOf(ops_->ChangeLedgerRecord(GivenUp(4))), "key-missing");
  }
  std::string Open() {
    ops_.reset();
    auto opened = TokenKeyOps::Open(*TokenUri::Parse(token_.uri_text(module_.path())), clock_);
    if (!opened) return std::string(opened.error().Slug());
    ops_ = std::move(*opened);
    return "ok";
  }
  KeyRef Ref(std::uint32_t version, Suite suite) const { return {serial_, crypto::MakeKeyId(ring_, version), suite}; }
  std::string Generate(const KeyRef& ref) {
    const std::uint32_t version = ref.key[19];
    return SlugOf(ops_->Generate(quorum_.Grant(ring_, version, ref.suite, serial_), {ref, KekLabel("k", version)}));
  }
  crypto::ExecutionGrant GivenUp(std::uint32_t version) {
    const auto text = *quorum_
                           .Proposal("version.destroy", "k",
                                     {{"token", serial_},
                                      {"keyring-id", ToHex(ring_)},
                                      {"version", std::to_string(version)},
                                      {"waiting-days", "7"}},
                                     clock_.Now())
                           .Render();
    return *crypto::GrantExecution(
        quorum_.roster(), text, {quorum_.Sign("custodian-1", text), quorum_.Sign("custodian-2", text)}, clock_.Now());
  }
  std::string Sign() {
    return SlugOf(ops_->SignCheckpoint(
        {crypto::ControlOrigin(quorum_.instance(), 1), 1, crypto::LeafHash(AsBytes("entry")), {}}, {}));
  }
  static SecretBytes Dek() { return *SecretBytes::CopyOf(AsBytes(kDek)); }
  template <class Op>
  Result<KeyOpOutput> One(Op op) {
    std::vector<KeyOp> list;
    list.emplace_back(std::move(op));
    return std::move(ops_->Execute(list)[0]);
  }
  std::size_t Keys() {
    const auto keys = ops_->Inventory();
    return keys ? keys->size() : 0;
  }
  // The module tells the truth again, and all that there was is there.
  void Served(const std::string& after) {
    module_.Tell("");
    ASSERT_EQ(Open(), "ok") << after;
    EXPECT_EQ(Keys(), 3U) << after;
    for (const auto& [key, blob] : {std::pair(kwp_, wrapped_kwp_), std::pair(gcm_, wrapped_gcm_)}) {
      const auto opened = One(UnwrapOp{key, blob, context_});
      ASSERT_TRUE(opened) << after << ": " << opened.error().Line();
      EXPECT_EQ(AsText(opened->plaintext.Read(SecretAccess())), kDek) << after;
    }
  }

  tests::SoftHsmFixture token_;
  tests::HostileModule module_;
  const tests::QuorumFixture& quorum_ = Quorum();
  AgedClock clock_;
  std::unique_ptr<TokenKeyOps> ops_;
  crypto::KeyringId ring_ = crypto::RandomArray<16>();
  std::string serial_;
  KeyRef kwp_, kwp_next_, gcm_;
  const decltype(WrapOp::context) context_{};
  Bytes wrapped_kwp_, wrapped_gcm_;
};

// Does a host begin on a module that lies in what a start looks at, and does one that runs notice by its self-test?
TEST_F(HostileModuleTest, K12_ALiarIsFoundOutByTheSelfTest) {
  struct Row {
    const char* lie;
    const char* at_a_start;
    const char* at_a_self_test;
  };
  for (const auto& row : std::vector<Row>{{"slots-many", "token-lies", "ok"},
                                          {"serial", "impostor", "impostor"},
                                          {"random-zero", "token-lies", "token-lies"},
                                          {"random-same", "token-lies", "token-lies"},
                                          {"wrap-clear", "canary", "canary"},
                                          {"wrap-long", "token-lies", "token-lies"},
                                          {"wrap-huge", "token-lies", "token-lies"},
                                          {"encrypt-clear", "canary", "canary"},
                                          {"encrypt-long", "token-lies", "token-lies"},
                                          {"tell-transit", "token-lies", "token-lies"},
                                          {"decrypt-any", "canary", "canary"}}) {
    module_.Tell(row.lie);
    EXPECT_EQ(SlugOf(ops_->SelfTest()), row.at_a_self_test) << row.lie;
    EXPECT_EQ(Open(), row.at_a_start) << row.lie;
    Served(row.lie);
  }
}

// Is an operation's answer ever made of a lie that began after the host did?
TEST_F(HostileModuleTest, K12_NoOperationBelievesALie) {
  using Act = std::function<Result<KeyOpOutput>()>;
  const Act wrap_kwp = [&] { return One(WrapOp{kwp_, Dek(), context_}); };
  const Act wrap_gcm = [&] { return One(WrapOp{gcm_, Dek(), context_}); };
  const Act data_key = [&] { return One(DataKeyOp{kwp_, 32, context_, true}); };
  const Act unwrap = [&] { return One(UnwrapOp{kwp_, wrapped_kwp_, context_}); };
  const Act rewrap = [&] { return One(RewrapOp{kwp_, kwp_next_, wrapped_kwp_}); };
  struct Row {
    const char* lie;
    Act act;
    const char* slug;
    bool looked_up;  // whether the KEK's handle is known already
  };
  for (const auto& row : std::vector<Row>{{"find-one", wrap_kwp, "ok", false},
                                          {"find-one", rewrap, "ok", false},
                                          {"find-endless", wrap_kwp, "too-many-objects", false},
                                          {"find-again", wrap_kwp, "token-lies", false},
                                          {"find-more", wrap_kwp, "token-lies", false},
                                          {"find-none", wrap_kwp, "key-missing", false},
                                          {"length-huge", wrap_kwp, "token-lies", false},
                                          {"length-none", wrap_kwp, "key-drift", false},
                                          {"swap", wrap_kwp, "key-drift", false},
                                          {"value-huge", unwrap, "token-lies", true},
                                          {"length-huge", unwrap, "token-lies", true},
                                          {"wrap-clear", wrap_kwp, "token-lies", true},
                                          {"wrap-long", wrap_kwp, "token-lies", true},
                                          {"wrap-huge", wrap_kwp, "token-lies", true},
                                          {"wrap-long", rewrap, "token-lies", true},
                                          {"wrap-huge", rewrap, "token-lies", true},
                                          {"encrypt-clear", wrap_gcm, "token-lies", true},
                                          {"encrypt-long", wrap_gcm, "token-lies", true},
                                          {"random-zero", data_key, "token-lies", true}}) {
    if (!row.looked_up) ASSERT_EQ(Open(), "ok");
    module_.Tell(row.lie);
    EXPECT_EQ(SlugOf(row.act()), row.slug) << row.lie;
    Served(row.lie);
  }
}

// The generator goes bad in the middle of a host's life: is a repeated IV, or a DEK that somebody knows, ever used?
TEST_F(HostileModuleTest, K12_AGeneratorThatRepeatsIsNoticed) {
  for (const auto* lie : {"random-zero", "random-same"}) {
    std::set<Bytes> ivs;
    module_.Tell(lie);
    std::string slug = "ok";
    for (int i = 0; i < 300 && slug == "ok"; ++i) {
      const auto wrapped = One(WrapOp{gcm_, Dek(), context_});
      slug = SlugOf(wrapped);
      if (!wrapped) break;
      EXPECT_TRUE(ivs.insert(Bytes(wrapped->blob.begin() + 32, wrapped->blob.begin() + 44)).second) << "a repeated IV";
    }
    EXPECT_EQ(slug, "token-lies") << lie;
    EXPECT_TRUE(ops_->Broken()) << lie;
    Served(lie);
  }
}

// K2: is a KEK ever taken that is not as it was asked for, or another one harmed that is there already?
TEST_F(HostileModuleTest, K2_AKekThatIsNotAsAskedForIsNotTaken) {
  struct Row {
    const char* lie;
    const char* slug;
  };
  for (const auto& row : std::vector<Row>{{"tell", "token-lies"},
                                          {"weak", "token-lies"},
                                          {"swap", "key-drift"},
                                          {"length-none", "key-missing"},
                                          {"old-key", "token-lies"},
                                          {"no-key", "token-lies"}}) {
    module_.Tell(row.lie);
    EXPECT_EQ(Generate(Ref(4, Suite::kKwp)), row.slug) << row.lie;
    Served(row.lie);
  }
  module_.Tell("find-one");
  EXPECT_EQ(Keys(), 3U);
  EXPECT_EQ(Generate(kwp_next_), "key-exists") << "found although it is not the first";
}

// A destruction that the token only says it has done: is it ever reported as done, and is it done when the token can?
TEST_F(HostileModuleTest, K12_ADestructionIsLookedAt) {
  const auto wrapped_next = One(WrapOp{kwp_next_, Dek(), context_})->blob;
  ASSERT_EQ(SlugOf(ops_->ChangeLedgerRecord(GivenUp(2))), "ok");
  clock_.offset = 8 * kDay;
  module_.Tell("destroy-nothing");
  const auto destroyed = ops_->Destroy(tests::MadeUpDestruction(kwp_next_.key), kwp_next_);
  EXPECT_EQ(SlugOf(destroyed), "token-lies") << (destroyed ? "" : destroyed.error().Line());
  EXPECT_EQ(Keys(), 3U);
  EXPECT_TRUE(One(RewrapOp{kwp_next_, kwp_, wrapped_next})) << "what is there is served until it is not";
  module_.Tell("find-one");
  EXPECT_EQ(SlugOf(ops_->Destroy(tests::MadeUpDestruction(kwp_next_.key), kwp_next_)), "ok");
  EXPECT_EQ(Keys(), 2U);
}

// The custody record and the keys that sign: does a module that gives what it is not asked for sign anything?
TEST_F(HostileModuleTest, K12_TheRecordIsReadWholeOrNotAtAll) {
  ASSERT_EQ(Sign(), "ok");
  struct Row {
    const char* lie;
    const char* slug;
  };
  for (const auto& row : std::vector<Row>{{"find-one", "ok"},
                                          {"find-endless", "too-many-objects"},
                                          {"find-again", "token-lies"},
                                          {"find-more", "token-lies"},
                                          {"length-huge", "root-damaged"},
                                          {"length-none", "root-damaged"},
                                          {"sign-long", "token-lies"}}) {
    module_.Tell(row.lie);
    EXPECT_EQ(Sign(), row.slug) << row.lie;
    Served(row.lie);
  }
}

// K3: SoftHSM shows a process that has written something nothing of what another process wrote just before. Does the
// inventory, by which unknown keys are found, have the other's key all the same?
TEST_F(HostileModuleTest, K3_AKeyThatAnotherProcessHasMadeIsSeen) {
  ASSERT_EQ(Keys(), 3U);
  const auto foreign = crypto::MakeKeyId(crypto::RandomArray<16>(), 1);
  const auto made = provisioning::RunProcess({std::string(STRONGROOM_BIN_DIR) + "/make_kek", tests::kSoftHsmModule,
                                              "kek-test", token_.uri().pin_file(), ToHex(foreign), "somebody's"});
  ASSERT_TRUE(made && made->status == 0) << (made ? made->err : made.error().Line());
  // This process writes before it looks, as the host of number 0 does with each checkpoint.
  void* library = dlopen(tests::kSoftHsmModule, RTLD_NOW | RTLD_NOLOAD);
  ASSERT_NE(library, nullptr);
  CK_FUNCTION_LIST* fn = nullptr;
  ASSERT_EQ(reinterpret_cast<CK_C_GetFunctionList>(dlsym(library, "C_GetFunctionList"))(&fn), CKR_OK);
  CK_SLOT_ID slots[8];
  CK_ULONG count = 8;
  ASSERT_EQ(fn->C_GetSlotList(CK_TRUE, slots, &count), CKR_OK);
  CK_SESSION_HANDLE session = 0;
  ASSERT_EQ(fn->C_OpenSession(slots[0], CKF_SERIAL_SESSION | CKF_RW_SESSION, nullptr, nullptr, &session), CKR_OK);
  std::vector<Attribute> record = {
      UlongAttribute(CKA_CLASS, CKO_DATA), BoolAttribute(CKA_TOKEN, true), {CKA_LABEL, Bytes(4, 'x')}};
  auto ck = ToCk(record);
  CK_OBJECT_HANDLE written = 0;
  ASSERT_EQ(fn->C_CreateObject(session, ck.data(), ck.size(), &written), CKR_OK);
  EXPECT_EQ(fn->C_CloseSession(session), CKR_OK);
  (void)dlclose(library);
  EXPECT_EQ(Keys(), 4U);
}

}  // namespace
}  // namespace strongroom::hsm
