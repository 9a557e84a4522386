// The main job through the real thing: both suites, single and batch, rotation by votes, org keyrings that move with
// install.

#include <gtest/gtest.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include <sstream>

#include "crypto/digest.h"
#include "crypto/envelope.h"
#include "tests/support/dev_fixture.h"

namespace strongroom::tests {
namespace {

namespace bj = boost::json;

bj::value Post(netapi::Client& client, const std::string& target, const bj::value& body) {
  const auto text = netapi::WriteJson(body);
  const auto answer = client.Call("POST", target, {text.data(), text.size()});
  EXPECT_TRUE(answer) << (answer ? "" : answer.error().Line());
  if (!answer) return nullptr;
  const auto value = netapi::ParseAnswer(*answer);
  EXPECT_TRUE(value) << target << ": " << (value ? "" : value.error().Line());
  return value ? *value : bj::value(nullptr);
}

std::string B64(const std::string& bytes) { return EncodeBase64(AsBytes(bytes), Base64::kStandardPadded); }

std::string Rotate(DevFixture& f, const std::string& keyring) {
  const auto proposed =
      f.Run("operator-1", {"--json", "propose", "keyring.rotate", "--keyring", keyring, "--reason", "test rotation"});
  EXPECT_EQ(proposed.status, 0) << proposed.err;
  const std::string text = proposed.out.substr(0, proposed.out.size() - 1);
  const auto id = std::string(std::string_view(netapi::ParseJson(text)->get_object().at("id").get_string()));
  for (const auto* custodian : {"custodian-1", "custodian-3"}) {
    const auto voted = f.Run(custodian, {"approve", id, "--key", f.Path("approvers/" + std::string(custodian))});
    EXPECT_EQ(voted.status, 0) << voted.err;
  }
  const auto executed = f.Run("operator-2", {"execute", id});
  EXPECT_EQ(executed.status, 0) << executed.err;
  EXPECT_EQ(executed.out, "executed\n");
  return id;
}

TEST(MainJob, EverySuiteSingleAndBatchOverARotation) {
  DevFixture f;
  struct Case {
    const char *principal, *keyring, *rotated;
  };
  for (const auto& [principal, keyring, rotated] :
       {Case{"service-1", "install", "install"}, Case{"service-2", "org-a", "org-a"},
        Case{"service-1", "org-b", "install"}}) {
    const auto client = f.ClientFor(principal);
    const auto path = "/v1/keyrings/" + std::string(keyring);
    const auto version_before =
        netapi::ParseAnswer(*client->Call("GET", path))->get_object().at("primary").to_number<int>();
    // A batch of the most items there may be, with DEKs of all sizes and AADs of their own.
    bj::array plain;
    std::vector<std::string> deks;
    for (int i = 0; i < 1000; ++i) {
      deks.push_back(B64(std::string(static_cast<std::size_t>(16 + i % 497), static_cast<char>(i))));
      plain.push_back(bj::object{{"plaintext", deks.back()}, {"aad", B64("aad-" + std::to_string(i))}});
    }
    const auto wrapped = Post(*client, path + "/wrap", bj::object{{"items", plain}});
    ASSERT_TRUE(wrapped.is_object());
    const auto data_key = Post(*client, path + "/datakey", bj::object{{"bytes", 64}, {"plaintext", true}});
    const auto silent_key = Post(*client, path + "/datakey", bj::object{{"bytes", 16}});
    EXPECT_FALSE(silent_key.get_object().contains("plaintext"));

    (void)Rotate(f, rotated);

    bj::array to_rewrap, to_unwrap;
    const auto& items = wrapped.get_object().at("items").get_array();
    ASSERT_EQ(items.size(), 1000U);
    for (const auto& item : items) to_rewrap.push_back(bj::object{{"wrapped", item.get_object().at("wrapped")}});
    const auto rewrapped = Post(*client, path + "/rewrap", bj::object{{"items", to_rewrap}});
    for (std::size_t i = 0; i < 1000; ++i) {
      const auto& item = rewrapped.get_object().at("items").get_array()[i].get_object();
      EXPECT_EQ(item.at("from_version").to_number<int>(), version_before);
      EXPECT_EQ(item.at("kek_version").to_number<int>(), version_before + 1);
      to_unwrap.push_back(bj::object{{"wrapped", item.at("wrapped")}, {"aad", B64("aad-" + std::to_string(i))}});
    }
    const auto opened = Post(*client, path + "/unwrap", bj::object{{"items", to_unwrap}});
    for (std::size_t i = 0; i < 1000; ++i) {
      const auto& item = opened.get_object().at("items").get_array()[i].get_object();
      ASSERT_TRUE(item.contains("plaintext")) << bj::serialize(item);
      EXPECT_EQ(std::string_view(item.at("plaintext").get_string()), deks[i]);
      EXPECT_FALSE(item.contains("rewrapped"));
    }
    // F9: the old text still opens, and brings its successor along.
    const auto old_one = Post(*client, path + "/unwrap", bj::object{{"wrapped", data_key.get_object().at("wrapped")}});
    EXPECT_EQ(old_one.get_object().at("plaintext"), data_key.get_object().at("plaintext"));
    EXPECT_TRUE(old_one.get_object().contains("rewrapped"));
  }
}

// The same certificate keys over curl: the API is for clients that services already have.
TEST(MainJob, CurlIsClientEnough) {
  DevFixture f;
  const auto env = provisioning::RunProcess(
      {DevFixture::Program("strongroom"), "dev", "env", "--dir", f.Dir(), "--as", "service-1"});
  ASSERT_EQ(env->status, 0);
  const auto done = provisioning::RunProcess(
      {"sh", "-c",
       "set -e\n" + env->out +
           "call() { curl -sS --fail-with-body --cacert \"$STRONGROOM_CA\" --cert \"$STRONGROOM_CERT\" --key "
           "\"$STRONGROOM_KEY\" -H 'content-type: application/json' -d \"$2\" "
           "\"$STRONGROOM_SERVER/v1/keyrings/install/$1\"; }\n"
           "made=$(call datakey '{\"bytes\":32,\"plaintext\":true}')\n"
           "opened=$(call unwrap \"{\\\"wrapped\\\":\\\"$(echo \"$made\" | jq -r .wrapped)\\\"}\")\n"
           "test \"$(echo \"$made\" | jq -r .plaintext)\" = \"$(echo \"$opened\" | jq -r .plaintext)\" && echo same"});
  EXPECT_EQ(done->out, "same\n") << done->err;
}

// What dev up made: K1 as pkcs11-tool sees it, the layout that interface.md promises, nothing readable by others.
TEST(MainJob, K1_PkcsToolSeesSealedKeysAndTheLayoutIsAsPromised) {
  DevFixture f;
  for (const auto* name :
       {"ca.pem", "server.pem", "clients/service-1.pem", "clients/service-1.key", "approvers/custodian-1",
        "approvers/custodian-1.pub", "strongroom.toml", "token/softhsm2.conf", "token/kek.pin", "data/data.mdb",
        "log/strongroomd.log", "strongroomd.pid"})
    EXPECT_TRUE(std::filesystem::exists(f.Path(name))) << name;
  for (const auto* name : {"token/kek.pin", "token/kek.so-pin", "clients/service-1.key", "ca.key", "token/identity.pin",
                           "token/identity.so-pin", "approvers/custodian-1"})
    EXPECT_EQ(std::filesystem::status(f.Path(name)).permissions() &
                  (std::filesystem::perms::group_all | std::filesystem::perms::others_all),
              std::filesystem::perms::none)
        << name;
  // The PIN goes through the environment of this one test process only, never on a command line.
  const auto listed = provisioning::RunProcess(
      {"sh", "-c",
       "SOFTHSM2_CONF='" + f.Path("token/softhsm2.conf") + "' PIN=$(cat '" + f.Path("token/kek.pin") +
           "') pkcs11-tool --module /usr/lib/softhsm/libsofthsm2.so --token-label strongroom-kek --login --pin env:PIN "
           "--list-objects --type secrkey"});
  ASSERT_EQ(listed->status, 0) << listed->err;
  std::size_t keys = 0, sealed = 0;
  for (std::size_t at = 0; (at = listed->out.find("Secret Key Object; AES", at)) != std::string::npos; ++at) ++keys;
  for (std::size_t at = 0;
       (at = listed->out.find("sensitive, always sensitive, never extractable, local", at)) != std::string::npos; ++at)
    ++sealed;
  EXPECT_EQ(keys, 2U) << listed->out;
  EXPECT_EQ(sealed, 2U) << listed->out;
  EXPECT_EQ(listed->out.find("sign"), std::string::npos);
  EXPECT_EQ(listed->out.find("derive"), std::string::npos);
}

TEST(MainJob, EvidenceOfEachAnswerIsInTheLog) {
  DevFixture f;
  const auto client = f.ClientFor("service-1");
  const auto made = Post(*client, "/v1/keyrings/install/datakey", bj::object{{"bytes", 32}});
  const auto wrapped = std::string(std::string_view(made.get_object().at("wrapped").get_string()));
  const auto digest = ToHex(crypto::Sha256(crypto::Sha256(AsBytes(wrapped))));
  const auto shown = f.Run("auditor-1", {"ledger", "show", "evidence", "--op", "datakey"});
  EXPECT_EQ(shown.status, 0) << shown.err;
  EXPECT_NE(shown.out.find(digest), std::string::npos) << shown.out;
  EXPECT_NE(shown.out.find("principal=service-1"), std::string::npos);
}

}  // namespace
}  // namespace strongroom::tests
