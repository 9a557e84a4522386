// Votes as an outsider checks them, and with keys that custodians already have.

#include <filesystem>
#include <set>

#include "tests/support/dev_suite.h"
#include "tests/support/govern.h"

namespace strongroom::tests {
namespace {

using provisioning::RunProcess;
namespace fs = std::filesystem;

class Votes : public DevSuite<class VotesTag> {
 protected:
  TempDir where_;
};

// Q2: with nothing but an export and stock ssh-keygen: every vote verifies with the allowed_signers of its roster, and
// no longer after any one byte of what was signed has changed.
TEST_F(Votes, Q2_StockSshKeygenAcceptsEveryVoteOfAnExportAndNoChangedOne) {
  (void)Governed(f(), {"propose", "keyring.rotate", "--keyring", "org-a", "--reason", "votes under roster 1"});
  (void)Governed(f(), {"principal", "revoke", "monitor-1", "--reason", "a second roster"});
  const auto rejected = Filed(f(), {"propose", "keyring.rotate", "--keyring", "org-a", "--reason", "under roster 2"});
  ASSERT_EQ(f().Run("custodian-3", {"reject", rejected, "--key", f().Path("approvers/custodian-3")}).status, 0);
  ASSERT_EQ(f().Run("auditor-1", {"ledger", "export", "--out", where_.File("export")}).status, 0);
  const fs::path folder = where_.File("export");
  int votes = 0, flips = 0;
  std::set<std::string> rosters;
  for (const auto& file : fs::recursive_directory_iterator(folder / "votes")) {
    if (file.path().extension() != ".txt") continue;
    auto message = ReadFile(file.path());
    const auto at_roster = message.find("\nroster: ") + 9;
    const auto roster = message.substr(at_roster, message.find(' ', at_roster) - at_roster);
    rosters.insert(roster);
    auto signature = file.path();
    signature.replace_extension(".sig");
    const auto verify = [&](const std::string& text) {
      return RunProcess({"ssh-keygen", "-Y", "verify", "-f", folder / "rosters" / roster / "allowed_signers", "-I",
                         file.path().stem(), "-n", "vote@strongroom", "-s", signature},
                        text)
          ->status;
    };
    EXPECT_EQ(verify(message), 0) << file.path() << " under roster " << roster;
    // Every byte of one vote, some bytes of the others.
    for (std::size_t at = 0; at < message.size(); at += votes == 0 ? 1 : 97) {
      message[at] ^= 1;
      EXPECT_NE(verify(message), 0) << "byte " << at;
      message[at] ^= 1;
      ++flips;
    }
    ++votes;
  }
  EXPECT_EQ(rosters, (std::set<std::string>{"1", "2"}));
  const auto verified = f().Run("auditor-1", {"--json", "ledger", "verify", folder, "--vkey", f().Path("ledger.vkey")});
  EXPECT_NE(verified.out.find("\"votes\":" + std::to_string(votes) + ","), std::string::npos)
      << "each vote of the log is there: " << verified.out << verified.err;
  EXPECT_GE(votes, 11);
  // The very lines that the export's own README gives.
  const auto by_hand = RunProcess(
      {"bash", "-c", "set -e -o pipefail; cd \"$1\"; eval \"$(sed -n '/^  for text in/,/^  done/p' README.txt)\"",
       "by-hand", folder});
  EXPECT_EQ(by_hand->status, 0) << by_hand->out << by_hand->err;
  EXPECT_EQ(std::count(by_hand->out.begin(), by_hand->out.end(), '\n'), votes) << by_hand->out;
  EXPECT_GE(flips, 500);
}

// A custodian whose key is in a smart card (here a PKCS#11 token of her own, by ssh-agent's own helper): she shows that
// it is hers, comes into the roster, and votes with it, from the CLI and by hand.
TEST_F(Votes, Q3_ASmartCardVotesThroughTheAgent) {
  const auto script = R"sh(
set -e -o pipefail
cd ')sh" + where_.path() +
                      R"sh('
mkdir tokens
printf 'directories.tokendir = %s/tokens\nobjectstore.backend = file\n' "$PWD" > card.conf
export SOFTHSM2_CONF="$PWD/card.conf"
softhsm2-util --init-token --free --label card --pin 1234 --so-pin 1234 >/dev/null
pkcs11-tool --module /usr/lib/softhsm/libsofthsm2.so --login --pin 1234 --token-label card --keypairgen --key-type EC:prime256v1 --label custodian --id 01 >/dev/null 2>&1
eval "$(ssh-agent -P '/usr/lib/softhsm/*,/usr/lib/*/softhsm/*')" >/dev/null
trap 'ssh-agent -k >/dev/null' EXIT
printf '#!/bin/sh\necho 1234\n' > ask
chmod +x ask
SSH_ASKPASS="$PWD/ask" SSH_ASKPASS_REQUIRE=force ssh-add -s /usr/lib/softhsm/libsofthsm2.so </dev/null
ssh-add -L > custodian-4.pub
unset SOFTHSM2_CONF
PATH=')sh" + std::string(STRONGROOM_BIN_DIR) +
                      R"sh(':"$PATH"
dir=')sh" + f().Dir() +
                      R"sh('
eval "$(strongroom dev env --dir "$dir" --as operator-1)"
strongroom principal prove custodian-4 --key custodian-4.pub > proof
strongroom dev issue custodian-4 --dir "$dir" > certificate
strongroom principal add custodian-4 --role custodian --cert "$(cat certificate)" --ssh-key custodian-4.pub --proof proof --votes 3 --reason "a card" > p
id=$(head -1 p)
strongroom approve $id --key "$dir/approvers/custodian-1" </dev/null
strongroom approve $id --key "$dir/approvers/custodian-2" </dev/null
strongroom execute $id
strongroom propose keyring.rotate --keyring install --reason "with a card" > p
id=$(head -1 p)
strongroom approve $id --key custodian-4.pub </dev/null
strongroom approve $id --key "$dir/approvers/custodian-2" </dev/null
strongroom approve $id --key "$dir/approvers/custodian-3" </dev/null
strongroom execute $id
strongroom propose keyring.rotate --keyring install --reason "by hand" > p
id=$(head -1 p)
strongroom proposal show $id --text > vote.txt
echo "verdict: reject" >> vote.txt
ssh-keygen -Y sign -n vote@strongroom -f custodian-4.pub vote.txt
strongroom reject $id --signature vote.txt.sig --custodian custodian-4
)sh";
  const auto ran = RunProcess({"bash", "-c", script});
  EXPECT_EQ(ran->status, 0) << ran->out << ran->err;
  EXPECT_NE(ran->out.find("rejected: approved by -"), std::string::npos) << ran->out;
}

}  // namespace
}  // namespace strongroom::tests
