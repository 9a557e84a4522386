// Votes are for one operation: each operation's against each call of a host, by the table of crypto/custody/operation.h
// and for every implementation of the port. It is what a front end that was taken over would try.

#include "hsm/vote_checks.h"

#include "crypto/merkle.h"
#include "tests/contract/key_ops_subjects.h"
#include "tests/support/standing.h"

namespace strongroom::hsm {
namespace {

using crypto::Operation;
using Params = std::map<std::string, std::string, std::less<>>;

class VoteCalls : public KeyOpsContract {
 protected:
  void SetUp() override {
    KeyOpsContract::SetUp();
    ASSERT_TRUE(ops().SignCheckpoint({crypto::ControlOrigin(quorum_.instance()), kSigned, leaf_, {}}, {}));
    ASSERT_TRUE(ops().SignCheckpoint({crypto::EvidenceOrigin(quorum_.instance()), 1, leaf_, {}}, {}));
  }
  void TearDown() override { ContractClock::Offset() = 0; }

  crypto::ExecutionGrant Grant(const std::string& operation, const std::string& keyring, Params params) {
    const auto now = ContractClock().Now();
    auto p = quorum_.Proposal(operation, keyring, std::move(params), now);
    // After the adoption nothing longer than what it adopted was signed.
    p.control_size = epoch_ == 1 ? ++size_ : size_;
    p.control_root = leaf_;
    p.epoch = epoch_;
    const auto text = *p.Render();
    return *crypto::GrantExecution(quorum_.roster(), text,
                                   {quorum_.Sign("custodian-1", text), quorum_.Sign("custodian-2", text)}, now);
  }
  Params KeyParams(const crypto::KeyringId& ring, std::uint32_t version) {
    return {{"keyring-id", ToHex(ring)},
            {"version", std::to_string(version)},
            {"suite", "kwp"},
            {"custody", "token:" + token_}};
  }
  std::string Generate(const std::string& operation, const std::string& keyring, const crypto::KeyringId& ring,
                       std::uint32_t version, const Params& more = {}) {
    auto params = KeyParams(ring, version);
    for (const auto& [name, value] : more) params[name] = value;
    const auto made = ops().Generate(Grant(operation, keyring, std::move(params)),
                                     {Ref(ring, version, Suite::kKwp), KekLabel(keyring, version)});
    return made ? "done" : std::string(made.error().Slug());
  }
  std::string Change(const std::string& operation, const std::string& keyring, Params params) {
    const auto changed = ops().ChangeLedgerRecord(Grant(operation, keyring, std::move(params)));
    return changed ? "done" : std::string(changed.error().Slug());
  }

  // What a text of each operation says when it is right: a new one does not compile until it is in here.
  Params Right(Operation operation, const crypto::KeyringId& ring) {
    const auto until = FormatTime(ContractClock().Now() / 1000 * 1000 + 90 * kDay);
    const Params about = {{"token", token_}, {"keyring-id", ToHex(ring)}, {"version", "1"}, {"suite", "kwp"}};
    const auto with = [](Params params, const Params& more) {
      for (const auto& [name, value] : more) params[name] = value;
      return params;
    };
    switch (operation) {
      case Operation::kKeyringCreate:
      case Operation::kKeyringRotate:
      case Operation::kKeyringEmergencyRotate:
        return with(about, {{"custody", "token:" + token_}});
      case Operation::kRekeyStart:
        return with(about, {{"from-version", "1"}, {"version", "2"}, {"custody", "token:x"}, {"release-days", "1"}});
      case Operation::kKeyringSetPolicy:
        return with(about, {{"rotate-days", "30"}, {"until", until}, {"enforce", "no"}});
      case Operation::kVersionDestroy:
        return with(about, {{"waiting-days", "7"}});
      case Operation::kVersionAdopt:
      case Operation::kRewrapReverse:
      case Operation::kBreakGlassOpen:
      case Operation::kGrantChange:
      case Operation::kKeyringEnable:
      case Operation::kLedgerArchive:
      case Operation::kRewrapStart:
      case Operation::kVersionArchive:
      case Operation::kVersionRestore:
        return about;
      case Operation::kTokenEnrol:
        return {{"token", token_}, {"member", "m"}, {"label", "l"}, {"model", "m"}, {"manufacturer", "m"}};
      case Operation::kLedgerRotateKey:
        return {{"token", token_}, {"checkpoint-key", "2"}, {"overlap-days", "1"}};
      case Operation::kClockAccept:
        return {{"token", token_}, {"clock", FormatTime(ContractClock().Now())}};
      case Operation::kLedgerAdopt: {
        const auto head = "epoch 1 size 1 root " + ToHex(leaf_);
        const auto control = "epoch 1 size " + std::to_string(kSigned) + " root " + ToHex(leaf_);
        return {{"token", token_},
                {"epoch", "2"},
                {"evidence-log", "1 " + ToHex(leaf_)},
                {"token-control", control},
                {"token-evidence", head},
                {"state", "rolled-back"},
                {"keep", "none"}};
      }
      case Operation::kRosterChange: {
        crypto::ProposalText change;
        change.operation = "roster.change";
        change.params = {{"remove-service-2", "yes"}};
        const auto next = *crypto::RosterAfter(quorum_.roster(), change);
        return {{"token", token_},
                {"remove-service-2", "yes"},
                {"new-roster", std::to_string(next.version()) + " " + ToHex(next.hash())}};
      }
    }
    return {};
  }

  const QuorumFixture& quorum_ = Quorum();
  const crypto::Digest leaf_ = crypto::LeafHash(AsBytes("entry"));
  static constexpr std::uint64_t kSigned = 1000;  // so long is the control log that a text may name
  std::uint64_t size_ = 0;
  std::uint64_t epoch_ = 1;
};

// Q20: is every operation's vote good for the calls that the table allows it, and for nothing else?
TEST_P(VoteCalls, Q20_EveryOperationsVotesAgainstEveryCall) {
  std::vector<Operation> operations;
  // Those that change what all others are judged by come last.
  const std::vector<Operation> last = {Operation::kLedgerRotateKey, Operation::kClockAccept, Operation::kLedgerAdopt,
                                       Operation::kRosterChange};
  for (std::size_t i = 0; i < crypto::kOperationCount; ++i)
    if (const auto operation = static_cast<Operation>(i); std::find(last.begin(), last.end(), operation) == last.end())
      operations.push_back(operation);
  operations.insert(operations.end(), last.begin(), last.end());
  ASSERT_EQ(operations.size(), crypto::kOperationCount);
  for (const auto operation : operations) {
    const auto name = std::string(crypto::ToString(operation));
    const auto rule = crypto::RuleOf(operation);
    const auto ring = crypto::RandomArray<16>();
    const auto keyring = "k" + std::to_string(static_cast<int>(operation));
    const bool creates = operation == Operation::kKeyringCreate;
    if (rule.about_a_keyring && !creates) ASSERT_EQ(Generate("keyring.create", keyring, ring, 1), "done");
    const auto of = rule.about_a_keyring ? keyring : "";
    const auto before = *ops().ReadLedgerRecord();
    const auto keys = ops().Inventory()->size();
    // The KEK that its votes would make: the first of a new keyring, the next of one that is there.
    const std::uint32_t next = rule.about_a_keyring && !creates ? 2 : 1;
    auto params = Right(operation, ring);
    if (rule.about_a_keyring && rule.version != crypto::VersionRule::kNamed) params["version"] = std::to_string(next);
    auto wanted = params;
    if (operation == Operation::kRekeyStart) {
      wanted["token"] = "left";
      wanted["custody"] = "token:" + token_;
    } else if (!crypto::MayGenerate(operation)) {
      for (const auto& [key, value] : KeyParams(ring, next)) wanted[key] = value;
    }
    const KeySpec spec{Ref(ring, next, Suite::kKwp), KekLabel(rule.about_a_keyring ? keyring : "", next)};
    const auto made = ops().Generate(Grant(name, of, wanted), spec);
    EXPECT_EQ(made ? "done" : made.error().Slug(), crypto::MayGenerate(operation) ? "done" : "grant-mismatch") << name;
    EXPECT_EQ(ops().Inventory()->size(), keys + (crypto::MayGenerate(operation) ? 1U : 0U)) << name;
    if (operation == Operation::kRekeyStart) params = Right(operation, ring), params["version"] = "3";
    params["token"] = token_;
    const auto changed = Change(name, of, params);
    EXPECT_EQ(changed, crypto::MayChangeRecord(operation) ? "done" : "grant-mismatch") << name;
    if (crypto::RuleOf(operation).call == crypto::HostCall::kNone)
      EXPECT_EQ(*ops().ReadLedgerRecord(), before) << name << " is remembered for nothing";
    if (operation == Operation::kLedgerAdopt) epoch_ = 2;
  }
}

// Q20: does each way to a new KEK make the one version that may follow, in the token that its keyring is in?
TEST_P(VoteCalls, Q20_TheVersionIsTheOneThatFollows) {
  const auto ring = crypto::RandomArray<16>(), other = crypto::RandomArray<16>();
  constexpr std::uint32_t kFar = 0xFFFFFFFFU;
  EXPECT_EQ(Generate("keyring.create", "k", ring, 2), "grant-mismatch") << "a creation makes version 1";
  EXPECT_EQ(Generate("keyring.rotate", "k", ring, 1), "key-missing") << "nothing of it is here to follow";
  EXPECT_EQ(Generate("keyring.emergency-rotate", "k", ring, 2), "key-missing") << "a rotation moves no custody";
  ASSERT_EQ(Generate("keyring.create", "k", ring, 1), "done");
  EXPECT_EQ(Generate("keyring.create", "l", ring, 1), "key-exists") << "the id is known";
  EXPECT_EQ(Generate("keyring.create", "k", other, 1), "key-exists") << "the name is known";
  for (const auto* operation : {"keyring.rotate", "keyring.emergency-rotate"}) {
    EXPECT_EQ(Generate(operation, "k", ring, kFar), "grant-mismatch") << operation;
    EXPECT_EQ(Generate(operation, "k", ring, 4), "grant-mismatch") << operation;
    EXPECT_EQ(Generate(operation, "k", ring, 4, {{"above", "2"}}), "grant-mismatch") << "not what is there";
  }
  EXPECT_EQ(Generate("keyring.rotate", "k", ring, 2), "done");
  EXPECT_EQ(Generate("keyring.emergency-rotate", "k", ring, 3), "done");
  EXPECT_EQ(Generate("keyring.rotate", "k", ring, 5, {{"above", "3"}}), "done") << "number 4 lies elsewhere";
  EXPECT_EQ(Generate("keyring.rotate", "k", ring, 4, {{"above", "3"}}), "grant-mismatch") << "never below";
  // A keyring that comes from another token goes on above all that it ever had here.
  const auto comes = [&](std::uint32_t version, const std::string& from, const std::string& token) {
    return Generate("rekey.start", "k", ring, version, {{"from-version", from}, {"token", token}});
  };
  EXPECT_EQ(comes(7, "6", token_), "grant-mismatch") << "it comes from where it is";
  EXPECT_EQ(comes(4, "3", "there"), "grant-mismatch") << "below what is here";
  EXPECT_EQ(comes(7, "7", "there"), "grant-mismatch");
  EXPECT_EQ(comes(7, "0", "there"), "grant-mismatch");
  EXPECT_EQ(comes(7, "6", "there"), "done");
  EXPECT_EQ(ops().Inventory()->size(), 5U);
}

// Q20: does a mandate, which nobody reads a version of, make anything but the next one?
TEST_P(VoteCalls, Q20_AMandateMakesTheNextVersionAlone) {
  const auto ring = crypto::RandomArray<16>();
  ASSERT_EQ(Generate("keyring.create", "k", ring, 1), "done");
  ASSERT_EQ(Change("keyring.set-policy", "k", Right(Operation::kKeyringSetPolicy, ring)), "done");
  ContractClock::Offset() = 31 * kDay;
  const auto make = [&](std::uint32_t version) {
    const KeySpec spec{Ref(ring, version, Suite::kKwp), KekLabel("k", version)};
    const auto record = *ops().ReadLedgerRecord();
    auto grant =
        crypto::GrantByMandate(record, "k", spec.ref.key, Suite::kKwp, crypto::EstimateTime(record, ContractClock()));
    const auto made = ops().GenerateByMandate(std::move(*grant), spec);
    return made ? std::string("done") : std::string(made.error().Slug());
  };
  for (const std::uint32_t version : {0xFFFFFFFFU, 3U}) EXPECT_EQ(make(version), "grant-mismatch") << version;
  EXPECT_EQ(make(2), "done") << "and nothing was used up by the others";
}

INSTANTIATE_TEST_SUITE_P(All, VoteCalls, testing::ValuesIn(kImplementations),
                         [](const auto& i) { return std::string(i.param.name); });

}  // namespace
}  // namespace strongroom::hsm
