// A key counts once (Q3): whatever type, application, exponent or encoding it is written with.

#include <gtest/gtest.h>
#include <openssl/evp.h>

#include <functional>
#include <memory>

#include "crypto/base/freer.h"
#include "crypto/quorum.h"
#include "crypto/spki.h"
#include "crypto/sshsig.h"
#include "provisioning/process.h"
#include "tests/support/temp_dir.h"

namespace strongroom::crypto {
namespace {

constexpr Millis kSomeDay = 1'795'000'000'000;
const std::string kSkEd25519 = "sk-ssh-ed25519@openssh.com";
const std::string kSkEcdsa = "sk-ecdsa-sha2-nistp256@openssh.com";
using PkeyPtr = std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY_free>>;
using MdCtxPtr = std::unique_ptr<EVP_MD_CTX, Freer<EVP_MD_CTX_free>>;

// Wire is a key's blob: its type and the parts behind it.
struct Wire {
  std::string type;
  std::vector<Bytes> parts;
  Bytes Blob() const {
    WireWriter out;
    out.Text(type);
    for (const auto& part : parts) out.Blob(part);
    return std::move(out).Take();
  }
  std::string Text() const { return type + " " + EncodeBase64(Blob(), Base64::kStandardPadded); }
};
Bytes ToBytes(std::string_view text) { return {text.begin(), text.end()}; }
Wire Ed25519(const Bytes& point) { return {"ssh-ed25519", {point}}; }
Wire SkEd25519(const Bytes& point, std::string_view application) { return {kSkEd25519, {point, ToBytes(application)}}; }
Bytes PointOf(EVP_PKEY* key) {
  Bytes point(32);
  std::size_t size = point.size();
  EXPECT_EQ(EVP_PKEY_get_raw_public_key(key, point.data(), &size), 1);
  return point;
}

// The armor of a signature by a key in software, made as the type of `key` asks.
std::string Armored(const Wire& key, std::string_view message, const std::function<Bytes(ByteView)>& sign) {
  Bytes digest(64);
  EXPECT_EQ(EVP_Digest(message.data(), message.size(), digest.data(), nullptr, EVP_sha512(), nullptr), 1);
  WireWriter data;
  data.Raw(AsBytes("SSHSIG"));
  data.Text(kVoteNamespace);
  data.Blob({});
  data.Text("sha512");
  data.Blob(digest);
  Bytes to_sign = data.bytes();
  if (key.type == kSkEd25519) {
    Bytes assertion;
    Append(assertion, Sha256(key.parts[1]));
    Append(assertion, Bytes{1, 0, 0, 0, 1});
    Append(assertion, Sha256(data.bytes()));
    to_sign = assertion;
  }
  WireWriter inner;
  inner.Text(key.type);
  inner.Blob(sign(to_sign));
  if (key.type == kSkEd25519) inner.Raw(Bytes{1, 0, 0, 0, 1});
  WireWriter out;
  out.Raw(AsBytes("SSHSIG"));
  out.U32(1);
  out.Blob(key.Blob());
  out.Text(kVoteNamespace);
  out.Blob({});
  out.Text("sha512");
  out.Blob(inner.bytes());
  return "-----BEGIN SSH SIGNATURE-----\n" + EncodeBase64(out.bytes(), Base64::kStandardPadded) +
         "\n-----END SSH SIGNATURE-----\n";
}

RosterParts PartsOf(const std::vector<std::pair<std::string, std::string>>& custodians) {
  RosterParts parts;
  for (const auto of : Roster::kClasses) parts.policies[std::string(of)] = custodians.size() / 2 + 1;
  for (const auto& [name, key] : custodians)
    parts.principals.push_back({name, Role::kCustodian, Sha256(AsBytes(name)), key});
  parts.principals.push_back({"operator-1", Role::kOperator, Sha256(AsBytes("operator-1")), ""});
  return parts;
}
Result<Roster> RosterOf(const std::vector<std::pair<std::string, std::string>>& custodians) {
  return Roster::Parse(RosterText(RandomArray<16>(), 1, "none", PartsOf(custodians)));
}

// Does one private key in software, under three names, make three of five? The roster is one that an earlier build has
// recorded; the host counts by the same function.
TEST(RawKey, Q3_OneKeyUnderThreeNamesIsOneVote) {
  const PkeyPtr key(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
  const auto point = PointOf(key.get());
  const std::vector<Wire> wires = {Ed25519(point), SkEd25519(point, "ssh:"), SkEd25519(point, "ssh:work")};
  std::vector<std::pair<std::string, std::string>> custodians;
  for (const auto& wire : wires)
    custodians.emplace_back("custodian-" + std::to_string(custodians.size() + 1), wire.Text());
  for (const auto* name : {"custodian-4", "custodian-5"}) {
    const PkeyPtr other(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
    custodians.emplace_back(name, Ed25519(PointOf(other.get())).Text());
  }
  const auto roster = RosterOf(custodians);
  ASSERT_TRUE(roster) << roster.error().Line();
  ProposalText p;
  p.instance = roster->instance();
  p.operation = "keyring.create";
  p.keyring = "org-a";
  p.params = {{"keyring-id", std::string(32, 'a')}, {"version", "1"}, {"suite", "kwp"}, {"custody", "token:x"}};
  p.reason = "one key";
  p.requester = "operator-1";
  p.created = kSomeDay;
  p.approve_by = p.execute_by = kSomeDay + 3'600'000;
  p.roster_version = 1;
  p.roster_hash = roster->hash();
  p.policy = PolicyOf(*roster, p);
  const auto text = *p.Render();
  std::vector<Vote> votes;
  for (const auto& wire : wires)
    votes.push_back({"custodian-" + std::to_string(votes.size() + 1), Verdict::kApprove,
                     Armored(wire, VoteMessage(text, Verdict::kApprove), [&](ByteView data) {
                       const MdCtxPtr context(EVP_MD_CTX_new());
                       Bytes signature(64);
                       std::size_t size = signature.size();
                       EXPECT_EQ(EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key.get()), 1);
                       EXPECT_EQ(EVP_DigestSign(context.get(), signature.data(), &size, data.data(), data.size()), 1);
                       return signature;
                     })});
  for (const auto& vote : votes) EXPECT_TRUE(CheckVote(*roster, p, text, vote)) << vote.custodian;
  const auto granted = GrantExecution(*roster, text, votes, kSomeDay);
  ASSERT_FALSE(granted);
  EXPECT_EQ(granted.error().Slug(), "quorum-missing");
  EXPECT_NE(granted.error().detail.find("has 1"), std::string::npos) << granted.error().detail;
}

// Every encoding of a point of small order (RFC 8032; y of p to 2^255-1 stand for small y), each with both signs.
std::vector<Bytes> SmallOrderPoints() {
  std::vector<Bytes> points;
  for (const auto* hex : {"0000000000000000000000000000000000000000000000000000000000000000",
                          "0100000000000000000000000000000000000000000000000000000000000000",
                          "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
                          "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
                          "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
                          "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
                          "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"}) {
    auto point = *FromHex(hex);
    points.push_back(point);
    point.back() |= 0x80;
    points.push_back(point);
  }
  return points;
}

// With the neutral point as key, R neutral and S zero fit every message: does anybody's "signature" count?
TEST(RawKey, Q3_NobodySignsForAPointOfSmallOrder) {
  Bytes neutral(32);
  neutral.front() = 1;
  const auto key = Ed25519(neutral);
  const std::string message = "strongroom proposal v1\n";
  const auto forged = Armored(key, message, [&](ByteView) {
    Bytes signature(64);
    signature.front() = 1;
    return signature;
  });
  const auto verified = VerifySshSignature(key.Text(), kVoteNamespace, AsBytes(message), forged);
  ASSERT_FALSE(verified);
  EXPECT_EQ(verified.error().Slug(), "weak-key");
}

std::string Judged(const std::string& key) {
  const PkeyPtr other(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519")),
      third(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
  const auto roster = RosterOf({{"custodian-1", key},
                                {"custodian-2", Ed25519(PointOf(other.get())).Text()},
                                {"custodian-3", Ed25519(PointOf(third.get())).Text()}});
  if (!roster) return "not a key";
  const auto judged = roster->CheckKeys();
  return judged ? "good" : std::string(judged.error().Slug());
}

// Is a new roster with a weak key refused, and one that was recorded before still read?
TEST(RawKey, Q3_WeakKeysMakeNoNewRoster) {
  for (const auto& point : SmallOrderPoints()) {
    EXPECT_EQ(Judged(Ed25519(point).Text()), "weak-key") << ToHex(point);
    EXPECT_EQ(Judged(SkEd25519(point, "ssh:").Text()), "weak-key") << ToHex(point);
  }
  // y = p + 3 is another writing of y = 3; y = 2 is on no point of the curve.
  auto other_form = *FromHex("f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f");
  EXPECT_EQ(Judged(Ed25519(other_form).Text()), "weak-key");
  Bytes off_curve(32);
  off_curve.front() = 2;
  EXPECT_EQ(Judged(Ed25519(off_curve).Text()), "weak-key");
  // The base point's y, 4/5.
  EXPECT_EQ(Judged(Ed25519(*FromHex("5866666666666666666666666666666666666666666666666666666666666666")).Text()),
            "good");
}

Bytes Mpint(const std::string& hex) {
  auto bytes = *FromHex(hex);
  if ((bytes.front() & 0x80) != 0) bytes.insert(bytes.begin(), 0);
  return bytes;
}

TEST(RawKey, Q3_RsaKeysHaveOneModulusOfTwoLargePrimes) {
  tests::TempDir dir;
  ASSERT_EQ(provisioning::RunProcess(
                {"ssh-keygen", "-q", "-N", "", "-C", "", "-t", "rsa", "-b", "2048", "-f", dir.File("rsa")})
                ->status,
            0);
  auto text = tests::ReadFile(dir.File("rsa.pub"));
  while (text.ends_with('\n') || text.ends_with(' ')) text.pop_back();
  EXPECT_EQ(Judged(text), "good");
  const auto blob = *DecodeBase64(text.substr(8), Base64::kStandardPadded);
  WireReader in(blob);
  (void)in.Text();
  (void)in.Blob();
  const auto read = in.Blob();
  const Bytes modulus(read.begin(), read.end());
  const Wire other_exponent{"ssh-rsa", {{0x03}, modulus}};
  ASSERT_NE(other_exponent.Text(), text);
  EXPECT_EQ(*RawKey(other_exponent.Text()), *RawKey(text));
  auto even = modulus;
  even.back() &= 0xFE;
  EXPECT_EQ(Judged(Wire{"ssh-rsa", {{0x01, 0x00, 0x01}, even}}.Text()), "weak-key");
  // 2^2048 - 1 is divisible by 3; 2^2203 - 1 is a prime of Mersenne's.
  EXPECT_EQ(Judged(Wire{"ssh-rsa", {{0x01, 0x00, 0x01}, Mpint(std::string(512, 'f'))}}.Text()), "weak-key");
  EXPECT_EQ(Judged(Wire{"ssh-rsa", {{0x01, 0x00, 0x01}, Mpint("07" + std::string(550, 'f'))}}.Text()), "weak-key");
}

// One P-256 point as a plain key, as a FIDO key of two applications, and mirrored, which negates the private key.
TEST(RawKey, Q3_APointIsOneKeyWhateverItIsWrittenAs) {
  const auto g = *FromHex(
      "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c2964fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315e"
      "cecb"
      "b6406837bf51f5");
  auto mirrored = *FromHex(
      "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296b01cbd1c01e58065711814b583f061e9d431cca994cea1"
      "3134"
      "49bf97c840ae0a");
  const auto curve = ToBytes("nistp256");
  const std::vector<std::string> forms = {
      Wire{"ecdsa-sha2-nistp256", {curve, g}}.Text(), Wire{"ecdsa-sha2-nistp256", {curve, mirrored}}.Text(),
      Wire{kSkEcdsa, {curve, g, ToBytes("ssh:")}}.Text(), Wire{kSkEcdsa, {curve, g, ToBytes("ssh:work")}}.Text()};
  const PkeyPtr key(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
  for (std::size_t i = 0; i < forms.size(); ++i)
    for (std::size_t j = i + 1; j < forms.size(); ++j) {
      const auto roster = RosterOf(
          {{"custodian-1", forms[i]}, {"custodian-2", forms[j]}, {"custodian-3", Ed25519(PointOf(key.get())).Text()}});
      ASSERT_TRUE(roster) << "an earlier build's roster is read";
      EXPECT_EQ(roster->CheckKeys().error().Slug(), "shared-key") << i << " " << j;
    }
  EXPECT_EQ(Judged(forms[0]), "good");
  // Not on the curve, and the point at infinity in the one form that SEC 1 has for it.
  auto off = g;
  off.back() ^= 1;
  EXPECT_EQ(Judged(Wire{"ecdsa-sha2-nistp256", {curve, off}}.Text()), "not a key");
  EXPECT_EQ(Judged(Wire{"ecdsa-sha2-nistp256", {curve, {0}}}.Text()), "not a key");
  EXPECT_EQ(Judged(Wire{"ecdsa-sha2-nistp256", {curve, Bytes{4}}}.Text()), "not a key");
}

// The DER SubjectPublicKeyInfo that openssl writes of a key.
Bytes Spki(const std::vector<std::string>& make, const std::vector<std::string>& write) {
  tests::TempDir dir;
  auto arguments = make;
  arguments.insert(arguments.end(), {"-out", dir.File("key")});
  EXPECT_EQ(provisioning::RunProcess(arguments)->status, 0);
  arguments = {"openssl", "pkey", "-in", dir.File("key"), "-pubout", "-outform", "DER", "-out", dir.File("spki")};
  arguments.insert(arguments.end(), write.begin(), write.end());
  EXPECT_EQ(provisioning::RunProcess(arguments)->status, 0);
  const auto der = tests::ReadFile(dir.File("spki"));
  return {der.begin(), der.end()};
}

// Can the holder of one certificate key be two principals, by two hashes of it?
TEST(RawKey, Q3_ACertificatesKeyHasOneHash) {
  const auto slug = [](const Bytes& der) {
    const auto digest = SpkiDigest(der);
    return digest ? (*digest == Sha256(der) ? "good" : "another hash") : std::string(digest.error().Slug());
  };
  const std::vector<std::string> ec = {"openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"};
  EXPECT_EQ(slug(Spki(ec, {})), "good");
  EXPECT_EQ(slug(Spki(ec, {"-ec_conv_form", "compressed"})), "certificate-key");
  EXPECT_EQ(slug(Spki(ec, {"-ec_conv_form", "hybrid"})), "certificate-key");
  EXPECT_EQ(slug(Spki(ec, {"-ec_param_enc", "explicit"})), "certificate-key");
  EXPECT_EQ(slug(Spki({"openssl", "genpkey", "-algorithm", "ED25519"}, {})), "good");
  EXPECT_EQ(slug(Spki({"openssl", "genpkey", "-algorithm", "RSA"}, {})), "good");
  EXPECT_EQ(slug(Spki({"openssl", "genpkey", "-algorithm", "RSA-PSS"}, {})), "certificate-key");
  EXPECT_EQ(slug(Spki({"openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_pubexp:3"}, {})),
            "certificate-key");
  auto longer = Spki(ec, {});
  longer.push_back(0);
  EXPECT_EQ(slug(longer), "certificate-key");
}

}  // namespace
}  // namespace strongroom::crypto
