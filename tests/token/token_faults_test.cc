// What a token's failures do to operations: every CK_RV at every call, and what follows.

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <iostream>
#include <set>
#include <sstream>
#include <thread>

#include "hsm/ckr.h"
#include "hsm/token_key_ops.h"
#include "tests/support/faulty_module.h"
#include "tests/support/quorum_fixture.h"
#include "tests/support/softhsm_fixture.h"

namespace strongroom::hsm {
namespace {

using crypto::Suite;
using std::chrono::steady_clock;
constexpr std::string_view kPlainDek = "0123456789abcdef0123456789abcdef";

class TokenFaults : public testing::Test {
 protected:
  TokenFaults() : module_(token_.dir().path(), STRONGROOM_BIN_DIR) {}
  void SetUp() override {
    Open();
    ASSERT_TRUE(ops_);
    const auto& quorum = tests::SharedQuorum();
    const auto ring = crypto::RandomArray<16>();
    const auto serial = ops_->Identity()->serial;
    std::uint32_t version = 0;
    for (auto* ref : {&kwp_, &kwp_next_, &gcm_}) {
      const auto suite = ref == &gcm_ ? Suite::kGcm : Suite::kKwp;
      *ref = {serial, crypto::MakeKeyId(ring, ++version), suite};
      const auto made = ops_->Generate(quorum.Grant(ring, version, suite, serial), {*ref, KekLabel("k", version)});
      ASSERT_TRUE(made) << made.error().Line();
    }
    wrapped_kwp_ = One(WrapOp{kwp_, Dek(), context_})->blob;
    wrapped_gcm_ = One(WrapOp{gcm_, Dek(), context_})->blob;
  }
  Error Open() {
    ops_.reset();
    TokenKeyOps::Options options;
    options.sessions = sessions_;
    auto opened = TokenKeyOps::Open(*TokenUri::Parse(token_.uri_text(module_.path())), clock_, std::move(options));
    if (!opened) return opened.error();
    ops_ = std::move(*opened);
    return {};
  }
  static SecretBytes Dek() { return *SecretBytes::CopyOf(AsBytes(kPlainDek)); }
  template <class Op>
  Result<KeyOpOutput> One(Op op) {
    std::vector<KeyOp> list;
    list.emplace_back(std::move(op));
    return std::move(ops_->Execute(list)[0]);
  }
  // Everything once: both suites, every operation.
  std::vector<Result<KeyOpOutput>> All() {
    std::vector<KeyOp> list;
    list.emplace_back(WrapOp{kwp_, Dek(), context_});
    list.emplace_back(UnwrapOp{kwp_, wrapped_kwp_, context_, kwp_next_});
    list.emplace_back(RewrapOp{kwp_, kwp_next_, wrapped_kwp_});
    list.emplace_back(DataKeyOp{kwp_, 32, context_, true});
    list.emplace_back(WrapOp{gcm_, Dek(), context_});
    list.emplace_back(UnwrapOp{gcm_, wrapped_gcm_, context_});
    list.emplace_back(RewrapOp{gcm_, kwp_, wrapped_gcm_});
    return ops_->Execute(list);
  }
  // No failure of the token may look like a success: what opens is the DEK.
  static void ExpectNothingWrong(const std::vector<Result<KeyOpOutput>>& results, const std::string& when) {
    for (const std::size_t unwrap : {1U, 5U})
      if (results[unwrap]) EXPECT_EQ(AsText(results[unwrap]->plaintext.Read(SecretAccess())), kPlainDek) << when;
  }
  static int Failures(const std::vector<Result<KeyOpOutput>>& results) {
    return static_cast<int>(std::count_if(results.begin(), results.end(), [](const auto& r) { return !r; }));
  }

  tests::SoftHsmFixture token_;
  tests::FaultyModule module_;
  unsigned sessions_ = 1;
  SystemClock clock_;
  std::unique_ptr<TokenKeyOps> ops_;
  KeyRef kwp_, kwp_next_, gcm_;
  Context context_{{1, 2, 3}, {4, 5, 6}, Bytes(7, 'a')};
  Bytes wrapped_kwp_, wrapped_gcm_;
};

constexpr std::array kEveryRv = {CKR_GENERAL_ERROR,
                                 CKR_FUNCTION_FAILED,
                                 CKR_HOST_MEMORY,
                                 CKR_ARGUMENTS_BAD,
                                 CKR_ATTRIBUTE_VALUE_INVALID,
                                 CKR_DATA_INVALID,
                                 CKR_DATA_LEN_RANGE,
                                 CKR_DEVICE_ERROR,
                                 CKR_DEVICE_MEMORY,
                                 CKR_DEVICE_REMOVED,
                                 CKR_ENCRYPTED_DATA_INVALID,
                                 CKR_ENCRYPTED_DATA_LEN_RANGE,
                                 CKR_FUNCTION_CANCELED,
                                 CKR_KEY_HANDLE_INVALID,
                                 CKR_OBJECT_HANDLE_INVALID,
                                 CKR_OPERATION_ACTIVE,
                                 CKR_OPERATION_NOT_INITIALIZED,
                                 CKR_PIN_INCORRECT,
                                 CKR_PIN_LOCKED,
                                 CKR_SESSION_CLOSED,
                                 CKR_SESSION_HANDLE_INVALID,
                                 CKR_SESSION_COUNT,
                                 CKR_TOKEN_NOT_PRESENT,
                                 CKR_TOKEN_NOT_RECOGNIZED,
                                 CKR_USER_NOT_LOGGED_IN,
                                 CKR_WRAPPED_KEY_INVALID,
                                 CKR_WRAPPED_KEY_LEN_RANGE,
                                 CKR_WRAPPING_KEY_HANDLE_INVALID,
                                 CKR_UNWRAPPING_KEY_HANDLE_INVALID,
                                 CKR_BUFFER_TOO_SMALL,
                                 CKR_CRYPTOKI_NOT_INITIALIZED,
                                 CKR_KEY_FUNCTION_NOT_PERMITTED,
                                 CKR_KEY_TYPE_INCONSISTENT,
                                 CKR_RANDOM_NO_RNG,
                                 CK_RV{CKR_VENDOR_DEFINED | 77}};
constexpr std::array kCallsOfOperations = {
    "C_GenerateRandom", "C_CreateObject", "C_WrapKey",     "C_UnwrapKey", "C_GetAttributeValue", "C_DestroyObject",
    "C_EncryptInit",    "C_Encrypt",      "C_DecryptInit", "C_Decrypt",   "C_FindObjectsInit",   "C_FindObjects"};

// What the class of a value must end in. A look at the caller's bytes tells bad bytes from a bad token (P5).
struct Ending {
  std::set<Code> codes;  // that a failed operation may have
  bool breaks;           // whether the host is to be replaced (P6)
};
Ending EndingOf(const std::string& call, CK_RV rv) {
  const bool looks = call == "C_UnwrapKey" || call == "C_Decrypt";
  // The value that was wrapped is longer than any of ours: the caller's bytes again.
  if (call == "C_GetAttributeValue" && rv == CKR_BUFFER_TOO_SMALL) return {{Code::kUnwrapFailed}, false};
  switch (Classify(rv)) {
    case RvClass::kCallersData:
      return {{looks ? Code::kUnwrapFailed : Code::kTokenFault}, false};
    case RvClass::kRefused:
      return {{Code::kTokenFault}, false};
    case RvClass::kAmbiguous:
      return looks ? Ending{{Code::kUnwrapFailed}, false} : Ending{{Code::kUnavailable}, true};
    case RvClass::kSession:
    case RvClass::kHandle:
      return {{Code::kUnavailable}, false};
    case RvClass::kPin:
    case RvClass::kDevice:
      return {{Code::kUnavailable}, true};
  }
  return {};
}

// P5, P6, P10: each CK_RV at each call of an operation, at its first, second and third time, with one session and with
// four. Nothing wrong comes out, nothing crashes, every failure is of the class that the value calls for, a host breaks
// exactly when that class says so, and one that goes on works at once.
TEST_F(TokenFaults, P10_AnyReturnValueAtAnyCallAtAnyMoment) {
  int broken = 0, healed = 0, refused = 0, untouched = 0;
  for (const unsigned sessions : {1U, 4U}) {
    sessions_ = sessions;
    ASSERT_EQ(Open().detail, "");
    for (const std::string call : kCallsOfOperations) {
      const bool lookup = call.starts_with("C_FindObjects");
      int reached = 0;
      for (const CK_RV rv : kEveryRv)
        for (const int after : {0, 1, 2}) {
          // A host looks each key up once, so a new one for each moment.
          if (lookup) ASSERT_EQ(Open().detail, "");
          std::ostringstream when;
          when << call << " returns 0x" << std::hex << rv << " at call " << after + 1 << ", " << sessions
               << " sessions";
          const auto ending = EndingOf(call, rv);
          module_.Order(call + " return " + std::to_string(rv) + " after " + std::to_string(after) + " times 1");
          const auto during = All();
          module_.Heal();
          ExpectNothingWrong(during, when.str());
          refused += Failures(during);
          untouched += Failures(during) == 0 ? 1 : 0;
          reached += Failures(during) > 0 || ops_->Broken() ? 1 : 0;
          // A lookup happens once for each key, random bytes come for many: not every moment is reached. And an object
          // that would not go is no failure of the operation, which has its answer.
          if (ops_->Broken()) {
            EXPECT_TRUE(ending.breaks) << when.str();
            ++broken;
          } else if (Failures(during) > 0) {
            EXPECT_FALSE(ending.breaks) << when.str();
          }
          for (const auto& result : during)
            if (!result) {
              const bool replaced = ops_->Broken() && result.error().code == Code::kUnavailable;
              EXPECT_TRUE(replaced || ending.codes.contains(result.error().code))
                  << when.str() << ": " << result.error().Line();
            }
          if (ops_->Broken()) {
            ASSERT_EQ(Open().detail, "") << when.str();
          } else {
            ++healed;
          }
          const auto next = All();
          ExpectNothingWrong(next, when.str());
          EXPECT_EQ(Failures(next), 0) << when.str() << ": whoever goes on works, and so does who comes new";
        }
      // What is left over of an object that would not go breaks the host by half of the values, and nothing else.
      EXPECT_GT(reached, 30) << call;
    }
  }
  EXPECT_GT(broken, 500);
  EXPECT_GT(healed, 800);
  EXPECT_GT(refused, 1500);
  std::cout << broken << " hosts to replace, " << healed << " that went on, " << refused << " operations refused, "
            << untouched << " moments not reached\n";
}

// P11: what a token says of a key or of a call, and not of itself, costs no host. Every such value is named here, so
// that one more in the table of values is looked at.
TEST(TokenValues, P11_ARefusalOfWhatWasAskedForCostsNoHost) {
  for (const CK_RV rv : {CKR_KEY_FUNCTION_NOT_PERMITTED,
                         CKR_KEY_TYPE_INCONSISTENT,
                         CKR_KEY_NOT_WRAPPABLE,
                         CKR_KEY_UNEXTRACTABLE,
                         CKR_KEY_INDIGESTIBLE,
                         CKR_WRAPPING_KEY_SIZE_RANGE,
                         CKR_WRAPPING_KEY_TYPE_INCONSISTENT,
                         CKR_UNWRAPPING_KEY_SIZE_RANGE,
                         CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT,
                         CKR_MECHANISM_INVALID,
                         CKR_MECHANISM_PARAM_INVALID,
                         CKR_TEMPLATE_INCONSISTENT,
                         CKR_TEMPLATE_INCOMPLETE,
                         CKR_ATTRIBUTE_SENSITIVE,
                         CKR_ATTRIBUTE_TYPE_INVALID,
                         CKR_ATTRIBUTE_READ_ONLY,
                         CKR_ACTION_PROHIBITED,
                         CKR_ARGUMENTS_BAD,
                         CKR_BUFFER_TOO_SMALL,
                         CKR_FUNCTION_NOT_SUPPORTED,
                         CKR_FUNCTION_REJECTED,
                         CKR_TOKEN_WRITE_PROTECTED})
    EXPECT_EQ(Classify(rv), RvClass::kRefused) << std::hex << rv;
  for (const CK_RV rv : {CKR_WRAPPED_KEY_INVALID, CKR_WRAPPED_KEY_LEN_RANGE, CKR_KEY_SIZE_RANGE, CKR_DATA_INVALID,
                         CKR_DATA_LEN_RANGE, CKR_ENCRYPTED_DATA_INVALID, CKR_ENCRYPTED_DATA_LEN_RANGE})
    EXPECT_EQ(Classify(rv), RvClass::kCallersData) << std::hex << rv;
  for (const CK_RV rv : {CKR_DEVICE_ERROR, CKR_DEVICE_REMOVED, CKR_TOKEN_NOT_PRESENT, CKR_USER_NOT_LOGGED_IN,
                         CKR_CRYPTOKI_NOT_INITIALIZED, CKR_HOST_MEMORY, CKR_RANDOM_NO_RNG})
    EXPECT_EQ(Classify(rv), RvClass::kDevice) << std::hex << rv;
}

// P5, P9: a session is lost and the token gives no other: the host goes, whatever the reason, and the next one works.
TEST_F(TokenFaults, P5_ALostSessionThatCannotBeReplacedEndsTheHost) {
  for (const unsigned sessions : {1U, 4U}) {
    sessions_ = sessions;
    ASSERT_EQ(Open().detail, "");
    for (const CK_RV rv : kEveryRv) {
      module_.Order("C_WrapKey return " + std::to_string(CKR_SESSION_CLOSED) + " times 1\nC_OpenSession return " +
                    std::to_string(rv) + " times 1");
      ExpectNothingWrong(All(), "no session");
      EXPECT_TRUE(ops_->Broken()) << std::hex << rv;
      EXPECT_EQ(Failures(All()), 7) << std::hex << rv;
      module_.Heal();
      ASSERT_EQ(Open().detail, "");
      EXPECT_EQ(Failures(All()), 0);
    }
  }
}

// P10: the same at the calls of a start: a host that cannot begin says why and changes nothing; the next one works.
TEST_F(TokenFaults, P10_AnyReturnValueAtAStart) {
  int refused = 0;
  for (const std::string call : {"C_GetSlotList", "C_GetTokenInfo", "C_OpenSession", "C_Login"})
    for (const CK_RV rv : kEveryRv)
      for (const int after : {0, 1, 2}) {
        module_.Order(call + " return " + std::to_string(rv) + " after " + std::to_string(after) + " times 1");
        const auto error = Open();
        module_.Heal();
        if (error.detail.empty()) continue;  // no such moment in a start
        ++refused;
        const bool pin = call == "C_Login" && Classify(rv) == RvClass::kPin;
        if (call == "C_Login") EXPECT_EQ(error.code == Code::kPinRejected, pin) << error.Line();
        EXPECT_NE(error.ck_rv, CKR_OK) << error.Line();
        ASSERT_EQ(Open().detail, "");
        ASSERT_EQ(Failures(All()), 0);
      }
  EXPECT_GT(refused, 200);
}

// P5: SoftHSM answers CKR_GENERAL_ERROR to bad ciphertext; a thousand of them evict no session.
TEST_F(TokenFaults, P5_BadCiphertextEvictsNothing) {
  module_.Order("C_OpenSession log");
  auto bad_kwp = wrapped_kwp_, bad_gcm = wrapped_gcm_;
  bad_kwp[9] ^= 1;
  bad_gcm.back() ^= 1;
  for (int i = 0; i < 500; ++i) {
    EXPECT_EQ(One(UnwrapOp{kwp_, bad_kwp, context_}).error().code, Code::kUnwrapFailed);
    EXPECT_EQ(One(UnwrapOp{gcm_, bad_gcm, context_}).error().code, Code::kUnwrapFailed);
    EXPECT_EQ(One(RewrapOp{kwp_, kwp_next_, bad_kwp}).error().code, Code::kUnwrapFailed);
  }
  EXPECT_FALSE(ops_->Broken());
  EXPECT_EQ(module_.Logged("C_OpenSession"), 0U) << "no session was replaced";
  // And one that is lost is replaced alone.
  module_.Order("C_OpenSession log\nC_WrapKey return " + std::to_string(CKR_SESSION_HANDLE_INVALID) + " times 1");
  EXPECT_EQ(One(WrapOp{kwp_, Dek(), context_}).error().code, Code::kUnavailable);
  EXPECT_EQ(Failures(All()), 0);
  EXPECT_EQ(module_.Logged("C_OpenSession"), 1U);
}

// P1: an operation runs on the session that it began on; none asks for a second one, so none can wait for one, whatever
// runs beside it.
TEST_F(TokenFaults, P1_NoOperationAsksForASecondSession) {
  for (const unsigned sessions : {1U, 4U}) {
    sessions_ = sessions;
    ASSERT_EQ(Open().detail, "");
    module_.Order("C_OpenSession log\nC_OpenSession ceiling " + std::to_string(sessions + 2));
    std::vector<std::thread> threads;
    std::atomic<int> failed{0}, done{0};
    for (int t = 0; t < 6; ++t)
      threads.emplace_back([&, t] {
        for (int i = 0; i < 20; ++i) {
          if (t == 0) failed += ops_->SelfTest() ? 0 : 1;
          if (t == 1) failed += ops_->Inventory() ? 0 : 1;
          if (t > 1) failed += Failures(All());
          ++done;
        }
      });
    for (auto& t : threads) t.join();
    EXPECT_EQ(done, 120);
    EXPECT_EQ(failed, 0);
    EXPECT_EQ(module_.Logged("C_OpenSession"), 0U);
    module_.Heal();
  }
}

// P4: an operation whose deadline has passed, or passes while others of its frame run, never reaches the token.
TEST_F(TokenFaults, P4_ExpiredOperationsNeverReachTheToken) {
  module_.Order("C_WrapKey log");
  std::vector<KeyOp> list;
  const auto now = steady_clock::now();
  list.emplace_back(WrapOp{kwp_, Dek(), context_, now - std::chrono::milliseconds(1)});
  list.emplace_back(WrapOp{kwp_, Dek(), context_, now + std::chrono::hours(1)});
  list.emplace_back(RewrapOp{kwp_, kwp_next_, wrapped_kwp_, now - std::chrono::milliseconds(1)});
  const auto results = ops_->Execute(list);
  EXPECT_EQ(results[0].error().Slug(), "deadline");
  EXPECT_TRUE(results[1]);
  EXPECT_EQ(results[2].error().Slug(), "deadline");
  EXPECT_EQ(module_.Logged("C_WrapKey"), 1U);
}

// P9: the ceiling that a token reports is respected before any login, one that shows only in CKR_SESSION_COUNT is
// named, and a host needs no session more than it has, also when it replaces one.
TEST_F(TokenFaults, P9_TheSessionCeilingIsHonoured) {
  module_.Order("C_GetTokenInfo ceiling 2\nC_Login log");
  EXPECT_EQ(Open().Slug(), "sessions-exhausted");
  EXPECT_EQ(module_.Logged("C_Login"), 0U);
  module_.Order("C_OpenSession ceiling 2");
  EXPECT_EQ(Open().Slug(), "sessions-exhausted");
  module_.Order("C_OpenSession ceiling 3");
  ASSERT_EQ(Open().detail, "");
  EXPECT_EQ(Failures(All()), 0);
  module_.Order("C_OpenSession ceiling 3\nC_WrapKey return " + std::to_string(CKR_SESSION_CLOSED) + " times 1");
  EXPECT_FALSE(One(WrapOp{kwp_, Dek(), context_}));
  EXPECT_FALSE(ops_->Broken()) << "the lost session was given back before the new one was asked for";
  EXPECT_EQ(Failures(All()), 0);
  module_.Order("C_GetTokenInfo ceiling 0");
  EXPECT_EQ(Open().detail, "") << "0 is unlimited";
}

// K9: a module that answers a known question wrongly is not used any more.
TEST_F(TokenFaults, K9_AWrongKnownAnswerBreaksTheHost) {
  for (const auto* order : {"C_WrapKey corrupt", "C_Encrypt corrupt"}) {
    module_.Order(order);
    EXPECT_EQ(ops_->SelfTest().error().Slug(), "canary");
    EXPECT_TRUE(ops_->Broken());
    EXPECT_EQ(One(UnwrapOp{kwp_, wrapped_kwp_, context_}).error().code, Code::kUnavailable);
    EXPECT_EQ(Open().Slug(), "canary") << "nor does a new host begin";
    module_.Heal();
    ASSERT_EQ(Open().detail, "");
  }
  module_.Order("C_GetTokenInfo impostor");
  EXPECT_EQ(ops_->SelfTest().error().Slug(), "impostor");
}

}  // namespace
}  // namespace strongroom::hsm
