#include "crypto/sshsig.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "crypto/base/bytes.h"
#include "provisioning/process.h"
#include "tests/support/temp_dir.h"

namespace strongroom::crypto {
namespace {

using provisioning::RunProcess;
using provisioning::SshSign;
constexpr const char* kSpace = "vote@strongroom";
const std::string kMessage = "strongroom proposal v1\nreason: a test\n";

struct Key {
  std::string file;
  std::string text;
};

class SshSig : public testing::Test {
 protected:
  Key Make(const std::string& name, const std::vector<std::string>& type) {
    std::vector<std::string> arguments = {"ssh-keygen", "-q", "-N", "", "-C", "", "-f", dir_.File(name)};
    arguments.insert(arguments.end(), type.begin(), type.end());
    const auto made = RunProcess(arguments);
    EXPECT_TRUE(made && made->status == 0) << (made ? made->err : "");
    auto text = tests::ReadFile(dir_.File(name + ".pub"));
    while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
    return {dir_.File(name), text};
  }
  tests::TempDir dir_;
};

// Does each accepted key type, signed by stock ssh-keygen, verify; and nothing about it when anything differs?
TEST_F(SshSig, StockSignaturesOfEachTypeVerifyAndNothingElse) {
  const Key keys[] = {Make("ed", {"-t", "ed25519"}), Make("ec", {"-t", "ecdsa", "-b", "256"}),
                      Make("rsa", {"-t", "rsa", "-b", "2048"})};
  for (const auto& key : keys) {
    const auto signature = SshSign(key.file, kSpace, kMessage);
    ASSERT_TRUE(signature) << signature.error().Line();
    const auto good = VerifySshSignature(key.text, kSpace, AsBytes(kMessage), *signature);
    EXPECT_TRUE(good) << key.text << (good ? "" : good.error().Line());
    EXPECT_FALSE(VerifySshSignature(key.text, kSpace, AsBytes(kMessage + " "), *signature));
    EXPECT_FALSE(VerifySshSignature(key.text, "file", AsBytes(kMessage), *signature));
    for (const auto& other : keys)
      if (other.text != key.text) EXPECT_FALSE(VerifySshSignature(other.text, kSpace, AsBytes(kMessage), *signature));
  }
}

// Is every flipped bit of an armored signature refused (those that leave base64 line structure alone aside)?
TEST_F(SshSig, EveryFlippedByteIsRefused) {
  const Key key = Make("ed", {"-t", "ed25519"});
  const auto signature = *SshSign(key.file, kSpace, kMessage);
  for (std::size_t i = 0; i < signature.size(); ++i)
    for (const int bit : {0, 3, 5}) {
      auto changed = signature;
      changed[i] = static_cast<char>(changed[i] ^ (1 << bit));
      EXPECT_FALSE(VerifySshSignature(key.text, kSpace, AsBytes(kMessage), changed)) << i << " bit " << bit;
    }
  EXPECT_FALSE(VerifySshSignature(key.text, kSpace, AsBytes(kMessage), ""));
  EXPECT_FALSE(VerifySshSignature(key.text, kSpace, AsBytes(kMessage), signature + "x"));
  EXPECT_FALSE(VerifySshSignature(key.text, kSpace, AsBytes(kMessage), signature + signature));
}

// The other direction: does stock ssh-keygen accept what we accept, by an allowed_signers line made from the same key
// text?
TEST_F(SshSig, StockVerifierAgrees) {
  const Key key = Make("ec", {"-t", "ecdsa", "-b", "256"});
  const auto signature = *SshSign(key.file, kSpace, kMessage);
  const auto signature_file = dir_.Write("sig", signature);
  const auto allowed = dir_.Write("allowed", "custodian-1 namespaces=\"vote@strongroom\" " + key.text + "\n");
  const auto verify = [&](const std::string& message) {
    return RunProcess(
               {"ssh-keygen", "-Y", "verify", "-f", allowed, "-I", "custodian-1", "-n", kSpace, "-s", signature_file},
               message)
        ->status;
  };
  EXPECT_EQ(verify(kMessage), 0);
  EXPECT_NE(verify(kMessage + "x"), 0);
}

// FIDO security keys, made and used by stock ssh-keygen through OpenSSH's own software authenticator.
TEST_F(SshSig, SecurityKeysVerifyAndEveryFlippedByteIsRefused) {
  const std::string provider = STRONGROOM_SK_DUMMY;
  ASSERT_TRUE(std::filesystem::exists(provider)) << "ci/setup fetches it from Debian's openssh-tests";
  for (const std::string type : {"ed25519-sk", "ecdsa-sk"}) {
    const Key key = Make(type, {"-t", type, "-w", provider});
    EXPECT_TRUE(CheckSshPublicKey(key.text)) << key.text;
    const auto signed_by = RunProcess(
        {"env", "SSH_SK_PROVIDER=" + provider, "ssh-keygen", "-Y", "sign", "-n", kSpace, "-f", key.file}, kMessage);
    ASSERT_EQ(signed_by->status, 0) << signed_by->err;
    const auto good = VerifySshSignature(key.text, kSpace, AsBytes(kMessage), signed_by->out);
    EXPECT_TRUE(good) << (good ? "" : good.error().Line());
    EXPECT_FALSE(VerifySshSignature(key.text, kSpace, AsBytes(kMessage + "x"), signed_by->out));
    for (std::size_t i = 0; i < signed_by->out.size(); ++i) {
      auto changed = signed_by->out;
      changed[i] = static_cast<char>(changed[i] ^ 1);
      EXPECT_FALSE(VerifySshSignature(key.text, kSpace, AsBytes(kMessage), changed)) << type << " " << i;
    }
    // The presence flag taken away: the first byte behind the inner signature.
    std::string body = signed_by->out.substr(signed_by->out.find('\n') + 1);
    body = body.substr(0, body.find("-----END"));
    body.erase(std::remove(body.begin(), body.end(), '\n'), body.end());
    auto blob = *DecodeBase64(body, Base64::kStandardPadded);
    ASSERT_EQ(blob[blob.size() - 5] & 1, 1);
    blob[blob.size() - 5] = 0;
    const auto refused =
        VerifySshSignature(key.text, kSpace, AsBytes(kMessage),
                           "-----BEGIN SSH SIGNATURE-----\n" + EncodeBase64(blob, Base64::kStandardPadded) +
                               "\n-----END SSH SIGNATURE-----\n");
    EXPECT_NE(refused.error().detail.find("present"), std::string::npos) << refused.error().detail;
  }
  // An application of the web is no ssh key.
  const Key web = Make("web", {"-t", "ed25519-sk", "-w", provider, "-O", "application=ssh:strongroom"});
  EXPECT_TRUE(CheckSshPublicKey(web.text));
  auto blob = *DecodeBase64(web.text.substr(web.text.find(' ') + 1), Base64::kStandardPadded);
  *std::search(blob.begin(), blob.end(), "ssh:strongroom", &"ssh:strongroom"[14]) = 'x';
  EXPECT_FALSE(CheckSshPublicKey("sk-ssh-ed25519@openssh.com " + EncodeBase64(blob, Base64::kStandardPadded)));
}

// Key types, curves and sizes that a roster must not hold.
TEST_F(SshSig, RefusesOtherKeys) {
  const Key p384 = Make("p384", {"-t", "ecdsa", "-b", "384"});
  EXPECT_FALSE(CheckSshPublicKey(p384.text));
  const Key small = Make("small", {"-t", "rsa", "-b", "1024"});
  EXPECT_FALSE(CheckSshPublicKey(small.text));
  const Key ed = Make("ed", {"-t", "ed25519"});
  EXPECT_TRUE(CheckSshPublicKey(ed.text));
  EXPECT_FALSE(CheckSshPublicKey("ecdsa-sha2-nistp256" + ed.text.substr(ed.text.find(' '))));
  EXPECT_FALSE(CheckSshPublicKey(ed.text + " comment"));
  EXPECT_FALSE(CheckSshPublicKey(ed.text.substr(0, ed.text.size() - 4)));
  EXPECT_FALSE(CheckSshPublicKey("ssh-ed25519"));
  EXPECT_FALSE(CheckSshPublicKey(""));
  // A P-256 key whose inner curve name says otherwise.
  const Key ec = Make("ec", {"-t", "ecdsa", "-b", "256"});
  auto blob = *DecodeBase64(ec.text.substr(ec.text.find(' ') + 1), Base64::kStandardPadded);
  auto at = std::search(blob.begin() + 23, blob.end(), "nistp256", &"nistp256"[8]);
  ASSERT_NE(at, blob.end());
  *(at + 5) = '3';
  EXPECT_FALSE(CheckSshPublicKey("ecdsa-sha2-nistp256 " + EncodeBase64(blob, Base64::kStandardPadded)));
}

// A certificate authority's signature is no custodian's.
TEST_F(SshSig, RefusesACertificatesKey) {
  const Key ca = Make("ca", {"-t", "ed25519"});
  const Key user = Make("user", {"-t", "ed25519"});
  ASSERT_EQ(RunProcess({"ssh-keygen", "-q", "-s", ca.file, "-I", "id", user.file + ".pub"})->status, 0);
  auto certificate = tests::ReadFile(user.file + "-cert.pub");
  certificate = certificate.substr(0, certificate.find(' ', certificate.find(' ') + 1));
  EXPECT_FALSE(CheckSshPublicKey(certificate));
  // A signature by the certificate, as an agent that holds both makes it, is refused under the key's own line, too.
  const auto signed_by =
      RunProcess({"sh", "-c",
                  "eval $(ssh-agent) >/dev/null; ssh-add -q " + user.file + " 2>/dev/null; ssh-keygen -q -Y sign -n " +
                      kSpace + " -f " + user.file + "-cert.pub; code=$?; kill $SSH_AGENT_PID; exit $code"},
                 kMessage);
  ASSERT_EQ(signed_by->status, 0) << signed_by->err;
  EXPECT_EQ(VerifySshSignature(user.text, kSpace, AsBytes(kMessage), signed_by->out).error().Slug(),
            "certificate-signature");
}

// Whoever signed in a wrong way is told which: each has a problem of its own.
TEST_F(SshSig, EachWrongWayHasItsOwnProblem) {
  const Key key = Make("ed", {"-t", "ed25519"});
  const auto refused = [&](const std::string& signature) {
    const auto judged = VerifySshSignature(key.text, kSpace, AsBytes(kMessage), signature);
    return judged ? std::string("accepted") : std::string(judged.error().Slug());
  };
  EXPECT_EQ(refused(*SshSign(key.file, "file", kMessage)), "wrong-namespace");
  EXPECT_EQ(refused(*SshSign(key.file, kSpace, kMessage + "x")), "bad-signature");
  EXPECT_EQ(refused("-----BEGIN SSH SIGNATURE-----"), "malformed-signature");
  // sha256 is the other hash of the format; one that is neither is refused by its name before anything is computed.
  const auto with_sha256 =
      RunProcess({"ssh-keygen", "-q", "-Y", "sign", "-n", kSpace, "-O", "hashalg=sha256", "-f", key.file}, kMessage);
  ASSERT_EQ(with_sha256->status, 0) << with_sha256->err;
  EXPECT_EQ(refused(with_sha256->out), "accepted");
  auto text = with_sha256->out;
  std::string body = text.substr(text.find('\n') + 1);
  body = body.substr(0, body.find("-----END"));
  body.erase(std::remove(body.begin(), body.end(), '\n'), body.end());
  auto blob = *DecodeBase64(body, Base64::kStandardPadded);
  const std::string_view hash = "sha256";
  const auto at = std::search(blob.begin(), blob.end(), hash.begin(), hash.end());
  ASSERT_NE(at, blob.end());
  *(at + 3) = '1';
  EXPECT_EQ(refused("-----BEGIN SSH SIGNATURE-----\n" + EncodeBase64(blob, Base64::kStandardPadded) +
                    "\n-----END SSH SIGNATURE-----\n"),
            "wrong-hash-algorithm");
}

}  // namespace
}  // namespace strongroom::crypto
