// The ceremonies that come along, run as people run them, each with its transcript in the ledger; and what a script may
// not say.

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <thread>

#include "netapi/json.h"
#include "provisioning/ceremony_script.h"
#include "tests/support/dev_suite.h"
#include "tests/support/govern.h"

namespace strongroom::tests {
namespace {

namespace fs = std::filesystem;
using provisioning::CeremonyScript;
using provisioning::ProcessOutcome;
using provisioning::RunProcess;

std::string Script(const std::string& name) {
  return std::string(STRONGROOM_SOURCE_DIR) + "/provisioning/ceremonies/" + name + ".toml";
}
std::string Yes(int times) {
  std::string text;
  for (int i = 0; i < times; ++i) text += "yes\n";
  return text;
}

TEST(CeremonyScripts, WhatIsNoScriptIsRefusedWithItsPlace) {
  const std::string head = "name = \"x\"\ntitle = \"X\"\n";
  const std::string two = "[[participant]]\nlabel = \"a\"\nrole = \"custodian\"\n";
  const std::string propose =
      "[[step]]\ndo = \"propose\"\ntitle = \"t\"\nas = \"p\"\noperation = \"keyring.rotate\"\nreason = \"r\"\n";
  const std::vector<std::pair<std::string, std::string>> bad = {
      {"", "name"},
      {"name = 1\n", "string"},
      {head, "steps"},
      {"name = \"Not A Name\"\ntitle = \"X\"\n" + propose, "name"},
      {head + "what = \"ever\"\n", "unknown entry"},
      {head + "[[step]]\ndo = \"dance\"\ntitle = \"t\"\n", "dance"},
      {head + "[[step]]\ndo = \"confirm\"\ntitle = \"t\"\n", "needs 'text'"},
      {head + "[[step]]\ndo = \"confirm\"\ntext = \"t\"\n", "title"},
      {head + "[[step]]\ndo = \"confirm\"\ntitle = \"t\"\ntext = \"t\"\nloud = \"very\"\n", "no 'loud'"},
      {head + "[[step]]\ndo = \"confirm\"\ntitle = \"t\"\ntext = \"t\"\nby = [\"nobody\"]\n", "nobody"},
      {head + "[[step]]\ndo = \"confirm\"\ntitle = \"t\"\ntext = \"{what}\"\n", "{what}"},
      {head + two + "[[step]]\ndo = \"approve\"\ntitle = \"t\"\nof = \"p\"\nby = \"a\"\n", "no proposal 'p'"},
      {head + two + propose + "[[step]]\ndo = \"approve\"\ntitle = \"t\"\nof = \"p\"\n", "one participant"},
      {head + propose + propose, "made already"},
      {head + "[[step]]\ndo = \"cli\"\ntitle = \"t\"\narguments = [\"execute\", \"x\"]\n", "a script may call"},
      {head + "[[step]]\ndo = \"cli\"\ntitle = \"t\"\narguments = [\"keyring\", \"disable\", \"x\"]\n",
       "list and show"},
      {head + "[[step]]\ndo = \"cli\"\ntitle = \"t\"\n", "a script may call"},
      {head + "[[participant]]\nlabel = \"a\"\nrole = \"king\"\n" + propose, "operator or a custodian"},
      {head + "[[parameter]]\nname = \"a\"\n" + propose, "help"},
      {std::string(40000, '#'), "32 KiB"},
      {"name = [", "file:1"},
  };
  for (const auto& [text, expected] : bad) {
    const auto parsed = CeremonyScript::Parse(text, "file");
    ASSERT_FALSE(parsed) << text;
    EXPECT_NE(parsed.error().detail.find(expected), std::string::npos) << parsed.error().detail << " for\n" << text;
  }
  EXPECT_TRUE(CeremonyScript::Parse(head + propose, "file"));
}

TEST(CeremonyScripts, Q11_EveryScriptThatComesAlongIsGoodAndRehearses) {
  int scripts = 0;
  for (const auto& entry : fs::directory_iterator(std::string(STRONGROOM_SOURCE_DIR) + "/provisioning/ceremonies")) {
    ++scripts;
    const auto ran =
        RunProcess({DevFixture::Program("strongroom"), "ceremony", "run", entry.path().string(), "--dry-run"});
    EXPECT_EQ(ran->status, 0) << entry.path() << ran->err;
    EXPECT_NE(ran->out.find("nothing was changed"), std::string::npos);
  }
  EXPECT_EQ(scripts, 6);
}

class Ceremonies : public DevSuite<class CeremoniesTag> {
 protected:
  static std::string Key(const std::string& custodian) { return f().Path("approvers/" + custodian); }
  ProcessOutcome Run(const std::string& script, std::vector<std::string> more, const std::string& answers) {
    std::vector<std::string> all = {"--json", "ceremony", "run", Script(script), "--out", out_.path()};
    all.insert(all.end(), more.begin(), more.end());
    return f().Run("operator-1", all, answers);
  }
  static std::vector<std::string> Two(std::vector<std::string> more = {}) {
    more.insert(more.end(), {"--participant", "first-custodian=custodian-1," + Key("custodian-1"), "--participant",
                             "second-custodian=custodian-2," + Key("custodian-2")});
    return more;
  }
  static std::string Result(const ProcessOutcome& ran) {
    const auto value = netapi::ParseJson(ran.out);
    return value ? std::string(std::string_view(value->at("result").get_string())) : ran.err;
  }
  TempDir out_;
};

TEST_F(Ceremonies, Q11_ARotationLeavesItsTranscriptAndItsProposalCarriesTheScript) {
  const auto ran = Run("rotation", Two({"--set", "keyring=org-a", "--set", "next=2"}), Yes(4));
  ASSERT_EQ(ran.status, 0) << ran.err;
  EXPECT_EQ(Result(ran), "completed");
  const auto hash = ToHex(crypto::Sha256(AsBytes(ReadFile(Script("rotation")))));
  const auto shown = f().Run("auditor-1", {"--json", "ledger", "show", "--op", "ceremony-recorded"});
  const auto entry = netapi::ParseJson(shown.out)->at("items").as_array().back();
  EXPECT_EQ(std::string(std::string_view(entry.at("transcript").get_string())), ran.out) << "as it was printed";
  EXPECT_EQ(std::string(std::string_view(entry.at("script").get_string())), ReadFile(Script("rotation")));
  const auto proposals = f().Run("auditor-1", {"--json", "proposal", "list"}).out;
  EXPECT_NE(proposals.find("param ceremony: " + hash), std::string::npos)
      << "who votes sees of which script it is a step";
  int files = 0;
  for (const auto& file : fs::directory_iterator(out_.path())) {
    const auto text = ReadFile(file.path().string());
    EXPECT_NE(text.find(hash), std::string::npos);
    ++files;
  }
  EXPECT_EQ(files, 2) << "Markdown and JSON";
}

TEST_F(Ceremonies, Q11_ExistingNamesARefusalAndAMissingAnswerStopItAndAreInTheTranscript) {
  auto ran = Run("organisation-keyring", Two({"--set", "keyring=org-a", "--set", "grants=service-1"}), Yes(4));
  EXPECT_EQ(ran.status, 1);
  EXPECT_EQ(Result(ran), "stopped at step 2");
  EXPECT_NE(ran.err.find("exists already"), std::string::npos) << ran.err;
  ran = Run("organisation-keyring", Two({"--set", "keyring=org-n", "--set", "grants=service-1"}), "yes\nno\n");
  EXPECT_EQ(Result(ran), "stopped at step 4") << "the second custodian read something else";
  ran = Run("organisation-keyring", Two({"--set", "keyring=org-n", "--set", "grants=service-1"}), Yes(3));
  EXPECT_EQ(Result(ran), "stopped at step 6") << "nobody was there to answer";
  EXPECT_EQ(f().Run("operator-1", {"keyring", "show", "org-n"}).status, 1) << "nothing was made";
  EXPECT_EQ(Run("rotation",
                {"--participant", "first-custodian=custodian-1", "--participant", "second-custodian=custodian-1",
                 "--set", "keyring=org-a", "--set", "next=9"},
                "")
                .status,
            1)
      << "one person in two places";
  EXPECT_EQ(Run("rotation", {"--set", "colour=blue"}, "").status, 2);
  EXPECT_EQ(Run("rotation", {"--participant", "king=custodian-1"}, "").status, 2);
  const auto shown = f().Run("auditor-1", {"--json", "ledger", "show", "--op", "ceremony-recorded"}).out;
  EXPECT_NE(shown.find("stopped at step 4"), std::string::npos) << "what failed is recorded, too";
}

// A custodian who votes from her own machine, and one who rejects from there.
TEST_F(Ceremonies, ACustodianElsewhereVotesWhileTheCeremonyWaits) {
  const auto vote_elsewhere = [&](const char* verdict) {
    return std::thread([verdict] {
      const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
      while (std::chrono::steady_clock::now() < until) {
        const auto list = f().Run("custodian-2", {"--json", "proposal", "list"}).out;
        const auto value = netapi::ParseJson(list);
        if (!value) continue;
        for (const auto& p : value->at("items").as_array())
          if (p.at("state") == "open" && p.at("keyring") == "org-w" && p.at("approvals").as_array().size() == 1) {
            (void)f().Run("custodian-2", {verdict, std::string(std::string_view(p.at("id").get_string())), "--key",
                                          Key("custodian-2")});
            return;
          }
      }
    });
  };
  const std::vector<std::string> more = {"--set",          "keyring=org-w",
                                         "--set",          "grants=none",
                                         "--participant",  "first-custodian=custodian-1," + Key("custodian-1"),
                                         "--participant",  "second-custodian=custodian-2,",
                                         "--wait-seconds", "20"};
  auto elsewhere = vote_elsewhere("reject");
  auto ran = Run("organisation-keyring", more, Yes(3));
  elsewhere.join();
  EXPECT_NE(ran.err.find("rejected it"), std::string::npos) << ran.err;
  elsewhere = vote_elsewhere("approve");
  ran = Run("organisation-keyring", more, Yes(3));
  elsewhere.join();
  EXPECT_EQ(Result(ran), "completed") << ran.err;
}

TEST_F(Ceremonies, Q11_DestructionRosterChangeAndRecoveryDrill) {
  ASSERT_EQ(Run("rotation", Two({"--set", "keyring=install", "--set", "next=2"}), Yes(4)).status, 0);
  auto ran = Run("destruction",
                 Two({"--set", "keyring=install", "--set", "version=1", "--set", "waiting-days=7", "--set",
                      "waive=service-1,service-2", "--set", "quiet-hours=0", "--set", "reason=a test"}),
                 Yes(6));
  EXPECT_EQ(Result(ran), "completed") << ran.err;
  fs::create_directories(out_.File("drill"));
  ran = Run("recovery-drill",
            Two({"--participant", "reviewer=custodian-3," + Key("custodian-3"), "--set", "dir=" + out_.File("drill"),
                 "--set", "vkey=" + f().Path("ledger.vkey")}),
            Yes(5));
  EXPECT_EQ(Result(ran), "completed") << ran.err;
  const auto listed = f().Run("auditor-1", {"break-glass", "list"}).out;
  EXPECT_NE(listed.find("reviewed (drill)"), std::string::npos) << listed;
  ASSERT_EQ(RunProcess({"ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", Key("custodian-4")})->status, 0);
  ASSERT_EQ(RunProcess({DevFixture::Program("strongroom"), "dev", "issue", "custodian-4", "--dir", f().Dir()})->status,
            0);
  std::ofstream(out_.File("proof"))
      << f().Run("operator-1", {"principal", "prove", "custodian-4", "--key", Key("custodian-4")}).out;
  ran = Run("roster-change",
            Two({"--set", "name=custodian-4", "--set", "cert=" + f().Path("clients/custodian-4.pem"), "--set",
                 "ssh-key=" + Key("custodian-4") + ".pub", "--set", "proof=" + out_.File("proof"), "--set", "votes=3"}),
            Yes(6));
  EXPECT_EQ(Result(ran), "completed") << ran.err;
  ExportVerifies(f(), out_.File("export"));
}

// An appliance from nothing: a token, people's keys, and the first boot as a ceremony.
TEST(FirstBootCeremony, Q6_MakesAnApplianceThatItsCustodiansSigned) {
  const TempDir where;
  const auto program = DevFixture::Program("strongroom");
  const auto dir = where.File("sr");
  ASSERT_EQ(RunProcess({program, "dev", "up", "--blank", "--dir", dir})->status, 0);
  std::string participants;
  for (const auto* who :
       {"first-custodian=custodian-1", "second-custodian=custodian-2", "third-custodian=custodian-3"}) {
    const std::string text = who;
    participants += " --participant " + text + "," + dir + "/approvers/" + text.substr(text.find('=') + 1);
  }
  // Whoever is asked to start the service does so when she is asked.
  const auto ran = RunProcess(
      {"sh", "-c",
       "cd " + where.path() + " && eval \"$(" + program +
           " dev env --dir sr --as operator-1)\" && { for i in 1 2 3 4 5 6 7; do echo yes; done; "
           "until grep -q 'Start them now' err 2>/dev/null; do sleep 0.05; done; " +
           program + " dev up --dir sr >up.out 2>&1; for i in 1 2 3 4 5 6 7 8; do echo yes; done; } | " + program +
           " ceremony run " + Script("first-boot") +
           " --set dir=first --set config=sr/strongroom.toml --set certificates=sr/clients --set ssh-keys=sr/approvers"
           " --participant first-operator=operator-1 --participant second-operator=operator-2" +
           participants + " --out . 2>err"});
  EXPECT_EQ(ran->status, 0) << ReadFile(where.File("err")) << ReadFile(where.File("up.out"));
  const auto status =
      RunProcess({"sh", "-c",
                  "cd " + where.path() + " && eval \"$(" + program + " dev env --dir sr --as operator-1)\" && " +
                      program + " status && " + program + " keyring list"});
  EXPECT_NE(status->out.find("operational"), std::string::npos) << status->out << status->err;
  EXPECT_NE(status->out.find("install"), std::string::npos);
  EXPECT_EQ(status->out.find("org-a"), std::string::npos) << "nothing but what the ceremony made";
  // What the auditors are handed is the token's key, and the folder has it as any dev appliance has.
  const auto handed = ReadFile(where.File("first/ledger.vkey"));
  EXPECT_TRUE(handed.starts_with("strongroom/")) << handed;
  EXPECT_EQ(ReadFile(where.File("sr/ledger.vkey")), handed);
  (void)RunProcess({program, "dev", "down", "--dir", dir});
}

}  // namespace
}  // namespace strongroom::tests
