// What is written for users holds: guides are run as they stand, the contract's examples are executed, pages are those
// of the programs.

#include <gtest/gtest.h>

#include <filesystem>
#include <sstream>

#include "tests/support/dev_fixture.h"

namespace strongroom::tests {
namespace {

using provisioning::RunProcess;
const std::string kSource = STRONGROOM_SOURCE_DIR;

// RunGuide runs every command of a guide in one shell that stops at the first failure, in a fresh directory with the
// programs on PATH. Yields the directory's files by their names.
class Guide {
 public:
  explicit Guide(const std::string& file, int least_commands) {
    std::istringstream guide(ReadFile(kSource + "/docs/" + file));
    const auto bin = std::filesystem::path(DevFixture::Program("x")).parent_path().string();
    std::filesystem::create_directories(dir_.File("build/release"));
    std::filesystem::create_directory_symlink(bin, dir_.File("build/release/bin"));
    std::string script = "set -e -o pipefail\nexport PATH='" + bin + "':\"$PATH\"\ncd '" + dir_.path() +
                         "'\nexport CEREMONIES='" + kSource +
                         "/provisioning/ceremonies'\ntrap 'for d in sr sr2; do strongroom dev down --dir ./$d "
                         ">/dev/null 2>&1 || true; done' EXIT\n",
                line;
    bool code = false, shown_only = false;  // what is marked sh takes more than one terminal
    int commands = 0;
    while (std::getline(guide, line)) {
      if (line == "```sh" || (shown_only && line == "```")) {
        shown_only = !shown_only;
      } else if (shown_only) {
        continue;
      } else if (line.starts_with("```")) {
        code = !code;
      } else if (code) {
        script += line + "\n";
        ++commands;
      }
    }
    EXPECT_GE(commands, least_commands);
    const auto ran = RunProcess({"bash", "-c", script});
    if (ran)
      EXPECT_EQ(ran->status, 0) << ran->out << ran->err;
    else
      ADD_FAILURE() << ran.error().Line();
  }
  std::string Made(const std::string& name) const { return ReadFile(dir_.File(name)); }

 private:
  TempDir dir_;
};

TEST(Guides, TheQuickstartRunsAsWritten) {
  const Guide guide("quickstart.md", 9);
  EXPECT_TRUE(guide.Made("rewrapped.txt").starts_with("srw1:"));
  EXPECT_TRUE(guide.Made("new.ndjson").starts_with("{\"wrapped\":\"srw1:"));
}

TEST(Guides, TheApiGuideRunsAsWritten) {
  const Guide guide("api.md", 35);
  EXPECT_TRUE(guide.Made("new.ndjson").starts_with("{\"wrapped\":\"srw1:"));
}

TEST(Guides, TheRecoveryGuideRunsAsWritten) {
  const Guide guide("recovery.md", 40);
  EXPECT_NE(guide.Made("export/ledger.vkey"), guide.Made("export-2/ledger.vkey"));
}

TEST(Guides, TheCustodiansGuideRunsAsWritten) {
  const Guide guide("custodians.md", 50);
  EXPECT_NE(guide.Made("vote.txt").find("verdict: approve\n"), std::string::npos);
}

TEST(Guides, TheTokensGuideRunsAsWritten) {
  const Guide guide("tokens.md", 20);
  EXPECT_TRUE(guide.Made("after.txt").starts_with("srw1:"));
  EXPECT_NE(guide.Made("after.txt"), guide.Made("before.txt"));
}

TEST(Guides, TheRotationGuideRunsAsWritten) {
  const Guide guide("rotation.md", 50);
  EXPECT_TRUE(guide.Made("moved.ndjson").starts_with("{\"wrapped\":\"srw1:"));
}

TEST(Guides, TheCeremoniesGuideRunsAsWritten) { const Guide guide("ceremonies.md", 6); }

TEST(Guides, TheAuditorsGuideRunsAsWritten) {
  const Guide guide("auditors.md", 14);
  EXPECT_TRUE(guide.Made("proof.txt").starts_with("c2sp.org/tlog-proof@v1\n"));
}

// The example clients, as they stand there: Python and Node, standard library only.
TEST(Guides, ExampleClientsRun) {
  DevFixture f;
  const auto env = RunProcess({DevFixture::Program("strongroom"), "dev", "env", "--dir", f.Dir(), "--as", "service-1"});
  for (const auto& example :
       {"python3 " + kSource + "/docs/examples/envelope.py", "node " + kSource + "/docs/examples/envelope.mjs"}) {
    const auto ran = RunProcess({"sh", "-c", env->out + example});
    EXPECT_EQ(ran->status, 0) << ran->err;
    EXPECT_NE(ran->out.find("without its AAD: urn:strongroom:problem:unwrap-failed"), std::string::npos) << ran->out;
    EXPECT_NE(ran->out.find("kept: srw1:"), std::string::npos) << ran->out;
  }
}

TEST(Guides, TheContractsExamplesAndSchemasHold) {
  DevFixture f;
  const auto ran = RunProcess(
      {"python3", kSource + "/tests/e2e/openapi_examples.py", kSource + "/netapi/openapi.yaml", f.Dir(), f.Url()});
  EXPECT_EQ(ran->status, 0) << ran->out << ran->err;
  EXPECT_NE(ran->out.find(" 0 not as documented"), std::string::npos);
}

// The checked-in pages are those that the program makes, and no option is without its words.
TEST(Guides, ManPageAndCompletionAreTheProgramsOwn) {
  const auto man = RunProcess({DevFixture::Program("strongroom"), "man"});
  EXPECT_EQ(man->out, ReadFile(kSource + "/docs/man/strongroom.1")) << "run: strongroom man > docs/man/strongroom.1";
  EXPECT_EQ(man->out.find("\n\n"), std::string::npos) << "an option or a command without a description";
  for (const auto* command : {".SS approve", ".SS ledger rebuild", ".SS dev up", ".B \\-\\-ndjson"})
    EXPECT_NE(man->out.find(command), std::string::npos) << command;
  const auto completion = RunProcess({DevFixture::Program("strongroom"), "completion"});
  EXPECT_EQ(completion->out, ReadFile(kSource + "/docs/man/strongroom.bash"))
      << "run: strongroom completion > docs/man/strongroom.bash";
}

// Are the pages man(7) that a formatter takes without a complaint?
TEST(Guides, ManPagesFormatCleanly) {
  for (const auto* page : {"strongroom.1", "strongroomd.8", "strongroom-tokend.8", "strongroom.toml.5"}) {
    const auto made = RunProcess({"groff", "-man", "-Tutf8", "-ww", "-z", kSource + "/docs/man/" + page});
    EXPECT_EQ(made->status, 0) << page;
    EXPECT_EQ(made->err, "") << page;
  }
}

// Every key that the daemons read stands in strongroom.toml(5), and the page names no other.
TEST(Guides, TheConfigurationPageNamesEveryKey) {
  const auto page = ReadFile(kSource + "/docs/man/strongroom.toml.5");
  for (const std::string& header : {kSource + "/netapi/config.cc", kSource + "/hsm/tokend_config.cc"}) {
    const auto source = ReadFile(header);
    for (std::size_t at = 0; (at = source.find("\"server.", at)) != std::string::npos; ++at) {
      auto key = source.substr(at + 8, source.find('"', at + 8) - at - 8);
      for (std::size_t dash = 0; (dash = key.find('-', dash)) != std::string::npos; dash += 2) key.insert(dash, "\\");
      EXPECT_NE(page.find(key), std::string::npos) << key;
    }
  }
}

// What bash offers after TAB.
TEST(Guides, BashCompletesCommandsAndOptions) {
  const auto offered = [](const std::string& words) {
    const auto script = "source '" + kSource + "/docs/man/strongroom.bash'; COMP_WORDS=(" + words +
                        "); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _strongroom; echo \"${COMPREPLY[*]}\"";
    return RunProcess({"bash", "-c", script})->out;
  };
  EXPECT_EQ(offered("strongroom appr"), "approve\n");
  EXPECT_EQ(offered("strongroom keyring ''"), "list show disable\n");
  EXPECT_EQ(offered("strongroom --json dev up --t"), "--token-hosts\n");
  EXPECT_EQ(offered("strongroom wrap --keyring install --nd"), "--ndjson\n");
  EXPECT_EQ(offered("strongroom wrap --serv"), "--server\n");
  EXPECT_EQ(offered("strongroom wrap --in /etc/debian_ver"), "/etc/debian_version\n");
  EXPECT_EQ(offered("strongroom wrap --keyring ''"), "\n");
}

// One line for what is wrong and one for what to do, also for the command line itself.
TEST(Guides, UsageErrorsAreTwoLines) {
  for (const auto& [arguments, words] :
       {std::pair<std::vector<std::string>, std::string>{{"no-such"}, "no such command"},
        {{"keyring", "no-such"}, "no such command"},
        {{"status", "more"}, "unexpected argument"},
        {{"wrap"}, "--keyring is required"},
        {{"status", "--no-such"}, "no such option: --no-such"},
        {{}, "a command is missing"}}) {
    std::vector<std::string> all = {DevFixture::Program("strongroom")};
    all.insert(all.end(), arguments.begin(), arguments.end());
    const auto ran = RunProcess(all);
    EXPECT_EQ(ran->status, 2);
    EXPECT_EQ(std::count(ran->err.begin(), ran->err.end(), '\n'), 2) << ran->err;
    EXPECT_NE(ran->err.find(words), std::string::npos) << ran->err;
    EXPECT_NE(ran->err.find("next: see strongroom"), std::string::npos) << ran->err;
    EXPECT_EQ(ran->out, "");
  }
}

}  // namespace
}  // namespace strongroom::tests
