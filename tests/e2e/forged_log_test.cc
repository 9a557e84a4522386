// A compromised front end writes what it likes into the control log, and the token signs it, for it extends the log.
// What does an auditor see?

#include <gtest/gtest.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <fstream>

#include "netapi/keyring_json.h"
#include "provisioning/export_audit.h"
#include "provisioning/process.h"
#include "tests/support/software_signer.h"
#include "tests/support/world.h"

namespace strongroom::tests {
namespace {

namespace fs = std::filesystem;
using ledger::Log;

class ForgedLog : public testing::Test {
 protected:
  void SetUp() override {
    w_.MakeDevKeyrings();
    ledger::Submission one;
    one.evidence.emplace_back();
    one.evidence.back().outcome = "ok";
    ASSERT_TRUE(w_.ledger->Record(std::move(one)));
  }
  const crypto::InstanceId& instance() { return World::quorum().instance(); }
  crypto::NoteKey Key() { return *crypto::NoteKey::FromEcdsa("strongroom/" + ToHex(instance()), signer_.spki()); }
  void Record(std::vector<ledger::ControlBody> bodies) {
    ledger::Submission submission;
    for (auto& body : bodies) submission.control.push_back({w_.clock.Now(), std::move(body)});
    ASSERT_TRUE(w_.ledger->Record(std::move(submission)));
  }
  static void Write(const fs::path& path, const std::string& content) {
    fs::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << content;
  }
  // An export as the service would write it, of whatever stands in the ledger.
  std::string Export() {
    const auto folder = fs::path(w_.dir.File("export"));
    fs::remove_all(folder);
    appliance::State state;
    for (const auto log : {Log::kControl, Log::kEvidence}) {
      const std::string name = log == Log::kControl ? "control" : "evidence";
      const auto head = w_.ledger->HeadOf(log);
      const crypto::Checkpoint checkpoint{
          log == Log::kControl ? crypto::ControlOrigin(instance()) : crypto::EvidenceOrigin(instance()),
          head.size,
          head.root,
          {}};
      const auto line = crypto::NoteSignatureLine(Key(), signer_.Sign(checkpoint.Text()));
      Write(folder / name / "checkpoint", crypto::SealNote(checkpoint.Text(), std::span(&line, 1)));
      for (std::uint64_t first = 0; first < head.size; first += 256) {
        const auto width = std::min<std::uint64_t>(256, head.size - first);
        Write(folder / name / "tile" / ledger::TilePath(0, first / 256, width),
              std::string(AsText(*w_.ledger->Tile(log, 0, first / 256, width))));
        std::string bundle;
        std::uint64_t count = 0;
        EXPECT_TRUE(w_.ledger->Read(log, first, [&](std::uint64_t, ByteView entry) {
          bundle.push_back(static_cast<char>(entry.size() >> 8));
          bundle.push_back(static_cast<char>(entry.size() & 0xFF));
          bundle += AsText(entry);
          if (log == Log::kControl) (void)appliance::Apply(state, *ledger::DecodeControl(entry));
          return ++count < width;
        }));
        Write(folder / name / "tile" / ledger::BundlePath(first / 256, width), bundle);
      }
    }
    boost::json::array keyrings;
    for (const auto& [name, keyring] : state.keyrings) keyrings.push_back(netapi::KeyringObject(*keyring));
    Write(folder / "keyrings.json", boost::json::serialize(keyrings) + "\n");
    Write(folder / "ledger.vkey", Key().Text() + "\n");
    Write(folder / "rosters/1/roster.txt", state.roster->text());
    Write(folder / "rosters/1/allowed_signers", crypto::RosterAllowedSigners(*state.roster));
    return folder.string();
  }
  void ExpectFound(const std::string& what, std::uint64_t index) {
    const auto folder = Export();
    const auto audit = provisioning::AuditExport(folder, Key(), {});
    EXPECT_FALSE(audit) << what;
    const auto where = "control entry " + std::to_string(index);
    if (!audit) EXPECT_NE(audit.error().detail.find(where), std::string::npos) << what << ": " << audit.error().Line();
    const auto oracle =
        provisioning::RunProcess({"python3", std::string(STRONGROOM_SOURCE_DIR) + "/tests/oracle/verify_export.py",
                                  folder, folder + "/ledger.vkey"});
    EXPECT_EQ(oracle->status, 3) << what << ": " << oracle->out << oracle->err;
    EXPECT_NE(oracle->out.find(where), std::string::npos) << what << ": " << oracle->out;
  }
  std::uint64_t Size() { return w_.ledger->HeadOf(Log::kControl).size; }
  static ledger::KeyringCreated Created() {
    return {{9}, "org-z", crypto::Suite::kKwp, "token:fake-token", "service-1=unwrap"};
  }

  World w_;
  SoftwareSigner signer_;
};

TEST_F(ForgedLog, L9_AWholeLogIsAccepted) {
  const auto audit = provisioning::AuditExport(Export(), Key(), {});
  EXPECT_TRUE(audit) << audit.error().Line();
}

TEST_F(ForgedLog, Q9_ChangesWithoutVotesAreFound) {
  const auto size = Size();
  // A keyring that nobody asked for, and an innocent proposal behind it.
  Record({Created(), ledger::VersionAnnounced{{9}, 1, crypto::Suite::kKwp, "token:fake-token", {9}, "fake-token"},
          ledger::VersionActivated{{9}, 1}});
  ASSERT_TRUE(w_.File("keyring.rotate", "install"));
  ExpectFound("a keyring without a proposal", size + 3);
}

TEST_F(ForgedLog, Q9_MoreThanTheVotesAllowIsFound) {
  // A rotation that was voted for, and a grant slipped into its settlement.
  const auto id = *w_.Approved("keyring.rotate", "org-a");
  const auto size = Size();
  Record({ledger::ProposalConsumed{id, "operator-1"}, Created(),
          ledger::VersionAnnounced{{9}, 1, crypto::Suite::kKwp, "token:fake-token", {9}, "fake-token"},
          ledger::VersionActivated{{9}, 1}, ledger::ExecutionSettled{id, true, {}, {}}});
  ExpectFound("another effect than the votes'", size + 4);
}

TEST_F(ForgedLog, Q9_AnExecutionWithoutItsVotesIsFound) {
  const auto id = *w_.File("keyring.rotate", "org-a");
  ASSERT_TRUE(w_.Approve(id, "custodian-1"));
  const auto size = Size();
  Record({ledger::ProposalConsumed{id, "operator-1"}});
  ExpectFound("one vote of two", size);
}

}  // namespace
}  // namespace strongroom::tests
