// What a token remembers of the ledger, when somebody destroys it or a run was cut off while it was written.

#include <gtest/gtest.h>

#include "crypto/merkle.h"
#include "hsm/ec_key.h"
#include "hsm/token_key_ops.h"
#include "tests/support/softhsm_fixture.h"
#include "tests/support/world.h"

namespace strongroom::hsm {
namespace {

class LedgerRecordInToken : public testing::Test {
 protected:
  void Open() {
    auto opened = TokenKeyOps::Open(token_.uri(), clock_);
    ASSERT_TRUE(opened) << opened.error().Line();
    ops_ = std::move(*opened);
  }
  // Works on the token's objects as whoever has the PIN can. The host is gone meanwhile.
  void Meddle(const std::function<void(const Module&, const Session&)>& work) {
    ops_.reset();
    const auto module = *Module::Load(tests::kSoftHsmModule);
    auto session = *Session::Open(*module, *module->FindSlot(token_.uri()));
    ASSERT_TRUE(session.Login(*ReadPinFile(token_.uri().pin_file())));
    work(*module, session);
  }
  static void DestroyRecords(const Module& module, const Session& session) {
    for (const auto object : *FindLabelled(module, session, CKO_DATA, "strongroom-anchor"))
      ASSERT_EQ(module.fn().C_DestroyObject(session.handle(), object), CKR_OK);
  }
  Result<void> Govern(const std::string& operation, std::map<std::string, std::string, std::less<>> params) {
    params["token"] = ops_->Identity()->serial;
    auto proposal = quorum_.Proposal(operation, "", std::move(params), clock_.Now());
    proposal.control_size = 1;
    proposal.control_root = crypto::LeafHash(AsBytes("entry"));
    const auto text = *proposal.Render();
    return ops_->ChangeLedgerRecord(*crypto::GrantExecution(
        quorum_.roster(), text, {quorum_.Sign("custodian-1", text), quorum_.Sign("custodian-2", text)}, clock_.Now()));
  }
  Result<std::vector<CheckpointSignature>> Sign(std::uint64_t epoch) {
    return ops_->SignCheckpoint(
        {crypto::ControlOrigin(quorum_.instance(), epoch), 1, crypto::LeafHash(AsBytes("entry")), {}}, {});
  }
  const tests::QuorumFixture& quorum_ = tests::SharedQuorum();
  tests::SoftHsmFixture token_;
  SystemClock clock_;
  std::unique_ptr<TokenKeyOps> ops_;
};

// L8: a token whose record was destroyed signs nothing until a quorum has said what to go on from.
TEST_F(LedgerRecordInToken, L8_ADestroyedRecordIsMadeAnewByVotesAlone) {
  Open();
  ASSERT_TRUE(Sign(1));
  ASSERT_TRUE(Govern("ledger.rotate-key", {{"checkpoint-key", "2"}, {"overlap-days", "1"}}));
  ASSERT_TRUE(Sign(1));
  Meddle([](const Module& module, const Session& session) { DestroyRecords(module, session); });
  Open();
  EXPECT_EQ(ops_->ReadLedgerRecord().error().Slug(), "record-missing");
  EXPECT_EQ(Sign(1).error().Slug(), "record-missing");
  EXPECT_EQ(Govern("ledger.rotate-key", {{"checkpoint-key", "3"}, {"overlap-days", "1"}}).error().Slug(),
            "record-missing");
  const auto nothing = ToHex(crypto::Sha256(ByteView()));
  EXPECT_EQ(Govern("ledger.adopt", {{"epoch", "2"},
                                    {"evidence-log", "0 " + nothing},
                                    {"token-control", "epoch 1 size 1 root " + nothing},
                                    {"token-evidence", "none"},
                                    {"state", "lost"},
                                    {"keep", "none"}})
                .error()
                .Slug(),
            "stale")
      << "it remembers nothing, and the votes say that it does";
  ASSERT_TRUE(Govern("ledger.adopt", {{"epoch", "2"},
                                      {"evidence-log", "0 " + nothing},
                                      {"token-control", "none"},
                                      {"token-evidence", "none"},
                                      {"state", "lost"},
                                      {"keep", "none"}}));
  EXPECT_EQ(Sign(1).error().Slug(), "foreign-origin");
  EXPECT_TRUE(Sign(2));
  EXPECT_EQ(ops_->ReadLedgerRecord()->key, 2U) << "the newest key in the token is in force";
}

// A record that was cut off while it was written does not count, and neither does a key that no record names.
TEST_F(LedgerRecordInToken, L7_WhatACutOffRunLeftDoesNotCount) {
  Open();
  ASSERT_TRUE(Sign(1));
  const auto before = *ops_->ReadLedgerRecord();
  Meddle([](const Module& module, const Session& session) {
    ASSERT_TRUE(GenerateEcKey(module, session, "strongroom-checkpoint", {0, 0, 0, 2}));
    std::vector<Attribute> half = {UlongAttribute(CKA_CLASS, CKO_DATA),
                                   BoolAttribute(CKA_TOKEN, true),
                                   BoolAttribute(CKA_PRIVATE, true),
                                   TextAttribute(CKA_LABEL, "strongroom-anchor"),
                                   {CKA_VALUE, Bytes{2, 0, 9}}};
    auto ck = ToCk(half);
    CK_OBJECT_HANDLE object = 0;
    ASSERT_EQ(module.fn().C_CreateObject(session.handle(), ck.data(), ck.size(), &object), CKR_OK);
  });
  Open();
  EXPECT_TRUE(crypto::SameCustody(*ops_->ReadLedgerRecord(), before));
  EXPECT_EQ(ops_->CheckpointKeys()->size(), 1U);
  ASSERT_TRUE(Sign(1));
  ASSERT_TRUE(Govern("ledger.rotate-key", {{"checkpoint-key", "2"}, {"overlap-days", "1"}}));
  EXPECT_EQ(Sign(1)->size(), 2U) << "the stray key was replaced, not used";
  for (const auto* next : {"3", "4"})
    ASSERT_TRUE(Govern("ledger.rotate-key", {{"checkpoint-key", next}, {"overlap-days", "1"}}));
  Meddle([](const Module& module, const Session& session) {
    EXPECT_EQ(FindLabelled(module, session, CKO_PRIVATE_KEY, "strongroom-checkpoint")->size(), 2U)
        << "the one in force and the one before it";
  });
}

}  // namespace
}  // namespace strongroom::hsm
