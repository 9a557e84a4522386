// Inventory, jobs, reverse, emergency and census through the real thing, and in an export that two verifiers accept.

#include <gtest/gtest.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <fstream>

#include "tests/support/dev_suite.h"
#include "tests/support/govern.h"
#include "tests/support/inventory.h"

namespace strongroom::tests {
namespace {

namespace bj = boost::json;

bj::value Json(const provisioning::ProcessOutcome& ran) {
  EXPECT_EQ(ran.status, 0) << ran.err;
  const auto value = netapi::ParseJson(ran.out.substr(0, ran.out.find_last_not_of('\n') + 1));
  EXPECT_TRUE(value) << ran.out;
  return value ? *value : bj::value(nullptr);
}
std::string Text(const bj::value& object, const char* name) {
  return std::string(std::string_view(object.get_object().at(name).get_string()));
}
std::size_t Number(const bj::value& object, const char* name) {
  return object.get_object().at(name).to_number<std::size_t>();
}

class RotationE2e : public testing::Test {
 protected:
  // One record a batch: there are as many moments to step in as there are records.
  void SetUp() override {
    f_.Restart([](std::string text) {
      const std::string table = "[rotation]\n";
      return text.replace(text.find(table), table.size(), table + "batch = 1\nconcurrency = 1\n");
    });
  }
  void Op(const std::string& operation, const std::string& keyring, const std::vector<std::string>& params = {}) {
    std::vector<std::string> arguments = {"propose", operation, "--keyring", keyring, "--reason", "a test"};
    for (const auto& param : params) arguments.insert(arguments.end(), {"--param", param});
    (void)Governed(f_, arguments);
  }
  // Follows every job to its end; the newest of install's.
  bj::value Watched() {
    bj::value newest;
    const auto list = Json(f_.Run("operator-1", {"--json", "job", "list"}));
    for (const auto& job : list.get_object().at("items").get_array()) {
      const auto ran = f_.Run("operator-1", {"--json", "job", "watch", Text(job, "id")});
      if (newest.is_null() && Text(job, "keyring") == "install") newest = Json(ran);
    }
    return newest;
  }
  // How many records of install's inventory are under each version.
  std::size_t Under(std::size_t version) {
    const auto keyring = Json(f_.Run("operator-1", {"--json", "keyring", "show", "install"}));
    return Number(keyring.get_object().at("versions").get_array().at(version - 1).get_object().at("inventory"),
                  "records");
  }
  provisioning::ProcessOutcome Refused(const std::string& who, const std::vector<std::string>& arguments) {
    auto ran = f_.Run(who, arguments);
    EXPECT_EQ(ran.status, 1) << ran.out;
    return ran;
  }
  DevFixture f_;
};

// Cancel at about 40 %, reverse, forward, an emergency: the end state is exact at each step, the report adds up, and
// the whole log verifies.
TEST_F(RotationE2e, F16_F19_CancelReverseForwardAndAnEmergencyAddUp) {
  constexpr std::size_t kMovedDeks = 500;
  InventoryOf inventory(f_, "install", "service-1"), other(f_, "org-b", "service-2");
  inventory.Fill(kMovedDeks);
  other.Fill(20);
  const auto outside = f_.Run("service-1", {"datakey", "--keyring", "install"}).out;
  Op("keyring.rotate", "install");
  const auto client = f_.ClientFor("operator-1");
  bj::value job;
  do {
    const auto list = *netapi::ParseAnswer(*client->Call("GET", "/v1/jobs"));
    const auto& jobs = list.get_object().at("items").get_array();
    job = *std::find_if(jobs.begin(), jobs.end(), [](const auto& j) { return Text(j, "keyring") == "install"; });
    ASSERT_NE(Text(job, "state"), "complete") << "it was too fast for this test";
  } while (Number(job, "done") < kMovedDeks * 4 / 10);
  const auto id = Text(job, "id");
  const auto early = Refused("operator-2", {"propose", "keyring.rotate", "--keyring", "install", "--reason", "again"});
  EXPECT_NE(early.err.find("job-running"), std::string::npos) << early.err;
  EXPECT_EQ(f_.Run("custodian-1", {"job", "cancel", id}).status, 0);
  EXPECT_NE(Refused("custodian-1", {"job", "cancel", id}).err.find("job-state"), std::string::npos);
  const auto rest = Json(f_.Run("operator-1", {"--json", "job", "list"}));
  for (const auto& other_job : rest.get_object().at("items").get_array())
    (void)f_.Run("operator-1", {"job", "watch", Text(other_job, "id")});
  const auto cancelled = Json(f_.Run("operator-1", {"--json", "job", "show", id}));
  EXPECT_EQ(Text(cancelled, "state"), "cancelled");
  EXPECT_EQ(Text(cancelled, "by"), "custodian-1");
  EXPECT_EQ(Under(2), Number(cancelled, "done"));
  EXPECT_EQ(Under(1), kMovedDeks - Number(cancelled, "done"));

  Op("rewrap.reverse", "install");
  const auto reversed = Watched();
  EXPECT_EQ(Text(reversed, "kind"), "reverse");
  EXPECT_EQ(Number(reversed, "done"), Number(cancelled, "done"));
  inventory.OpenAll(1);
  other.OpenAll(1);
  Op("rewrap.reverse", "install", {"version=2"});
  EXPECT_EQ(Number(Watched(), "done"), kMovedDeks);
  inventory.OpenAll(2);

  Op("keyring.set-policy", "install", {"rotate-days=none", "rewrap=no", "expire-days=400"});
  Op("keyring.emergency-rotate", "install");
  const auto forced = Watched();
  EXPECT_EQ(Text(forced, "kind"), "emergency");
  EXPECT_EQ(Text(forced, "state"), "complete");
  inventory.OpenAll(3);
  // Version 2 wrapped nothing that is kept outside; version 1 did, and still serves.
  EXPECT_EQ(f_.Run("service-1", {"rewrap", "--keyring", "install"}, outside).status, 0);
  const auto report = Json(f_.Run("auditor-1", {"--json", "version", "report", "install", "2"}));
  const auto& since = report.get_object().at("since_compromise").get_object();
  EXPECT_EQ(Number(since.at("jobs"), "rewraps"), kMovedDeks);
  EXPECT_EQ(since.size(), 1U) << bj::serialize(since);
  EXPECT_EQ(Number(report, "inventory_left"), 0U);
  EXPECT_FALSE(report.get_object().at("timeline").get_array().empty());
  EXPECT_EQ(f_.Run("service-1", {"census", "acknowledge", "install", "--version", "2", "--count", "1"}).status, 0);
  EXPECT_NE(Refused("service-2", {"census", "acknowledge", "install", "--version", "2", "--count", "0"})
                .err.find("keyring-not-found"),
            std::string::npos)
      << "it is not granted to it";
  EXPECT_NE(Refused("operator-2", {"version", "close-emergency", "install", "2"}).err.find("service-1 for org-b"),
            std::string::npos)
      << "one person may not take away what a service may still keep";
  EXPECT_EQ(f_.Run("service-1", {"census", "acknowledge", "org-b", "--version", "2", "--count", "0"}).status, 0);
  const auto seen = f_.Run("service-2", {"census", "acknowledge", "org-b", "--version", "2", "--count", "20"});
  EXPECT_EQ(seen.status, 0) << seen.err;
  EXPECT_EQ(seen.out.find("install"), std::string::npos) << "which others share the KEK is not its business";
  EXPECT_EQ(f_.Run("operator-2", {"version", "close-emergency", "install", "2"}).status, 0);
  EXPECT_NE(Refused("operator-2", {"version", "close-emergency", "install", "2"}).err.find("no-emergency"),
            std::string::npos);
  // After a reverse the primary is not the newest: an emergency is of it all the same, and of what shares its KEK.
  Op("keyring.rotate", "install");
  (void)Watched();  // by its policy install has no job; org-b has
  Op("rewrap.reverse", "install", {"version=3"});
  (void)Watched();
  Op("keyring.emergency-rotate", "install");
  EXPECT_EQ(Text(Watched(), "state"), "complete");
  inventory.OpenAll(5);
  other.OpenAll(5);
  Op("rewrap.start", "install", {"quarantined=retry"});
  EXPECT_EQ(Text(Watched(), "state"), "complete");
  EXPECT_NE(Refused("operator-1",
                    {"propose", "version.destroy", "--keyring", "install", "--param", "version=3", "--reason", "x"})
                .err.find("service-1 for install, service-1 for org-b, service-2 for org-b"),
            std::string::npos);
  Op("keyring.set-policy", "install", {"rotate-days=none", "attest=yes"});
  Op("keyring.rotate", "install");
  EXPECT_NE(Refused("operator-1", {"propose", "keyring.rotate", "--keyring", "install", "--reason", "x"})
                .err.find("version-pending"),
            std::string::npos);
  const auto attested =
      f_.Run("custodian-3", {"version", "attest", "install", "6", "--statement", "tape 7 in safe 2 has it"});
  EXPECT_EQ(attested.out, "version 6 of install is active\n") << attested.err;
  EXPECT_EQ(Text(Watched(), "state"), "complete");
  inventory.OpenAll(6);
  other.OpenAll(6);
  Op("version.archive", "install", {"version=1", "waive=service-1,service-2", "quiet-hours=0"});
  Op("version.destroy", "install", {"version=2", "waive=service-1,service-2", "quiet-hours=0"});
  EXPECT_NE(Refused("operator-1",
                    {"propose", "rewrap.reverse", "--keyring", "install", "--param", "version=2", "--reason", "x"})
                .err.find("version-state"),
            std::string::npos);
  const TempDir dir;
  ExportVerifies(f_, dir.File("export"));
  // A backup holds the inventories, and a database made of it has them.
  const auto backup = Json(f_.Run("operator-1", {"--json", "backup", "--out", dir.File("backup.tar")}));
  EXPECT_EQ(Number(backup, "deks"), kMovedDeks + 20);
  const auto restored = Json(f_.Run("operator-1", {"--json", "restore", "--in", dir.File("backup.tar"), "--dir",
                                                   dir.File("data"), "--vkey", f_.Path("ledger.vkey")}));
  EXPECT_EQ(Number(restored, "deks"), kMovedDeks + 20);
}

// What is bad is named, and everything else goes in.
TEST_F(RotationE2e, F10_ABadLineOfAnImportIsNamedAndTheRestIsIn) {
  constexpr int kLines = 3000;
  const auto wrapped = f_.Run("service-1", {"datakey", "--keyring", "install"}).out;
  const TempDir dir;
  {
    std::ofstream out(dir.File("import"));
    for (int i = 1; i <= kLines; ++i)
      if (i == kLines - 1)
        out << "{\"id\":\"a/b\",\"wrapped\":\"" << wrapped.substr(0, wrapped.size() - 1) << "\"}\n";
      else
        out << "{\"id\":\"d" << i << "\",\"wrapped\":\"" << wrapped.substr(0, wrapped.size() - 1) << "\"}\n";
  }
  const auto put = Refused("service-1", {"dek", "put", "--keyring", "install", "--ndjson", "--in", dir.File("import"),
                                         "--out", dir.File("answers")});
  EXPECT_NE(put.err.find("line 2999: the id of a DEK is"), std::string::npos) << put.err;
  EXPECT_NE(put.err.find("1 of 3000 lines were refused"), std::string::npos) << put.err;
  EXPECT_EQ(Under(1), static_cast<std::size_t>(kLines - 1));
  // An export is an import.
  ASSERT_EQ(
      f_.Run("auditor-1", {"dek", "list", "--keyring", "install", "--ndjson", "--out", dir.File("export")}).status, 0);
  ASSERT_EQ(f_.Run("service-1", {"dek", "put", "--keyring", "install", "--ndjson", "--in", dir.File("export"), "--out",
                                 dir.File("again")})
                .status,
            0);
  EXPECT_EQ(Under(1), static_cast<std::size_t>(kLines - 1));
}

TEST_F(RotationE2e, F10_IdsGrantsAndTenantsAreHeldApart) {
  const auto wrapped = f_.Run("service-1", {"datakey", "--keyring", "org-b"}).out;
  const auto body = "{\"wrapped\":\"" + wrapped.substr(0, wrapped.size() - 1) + "\"}";
  const auto one = f_.ClientFor("service-1"), two = f_.ClientFor("service-2"), operator_1 = f_.ClientFor("operator-1");
  const auto slug = [](netapi::Client& client, const std::string& method, const std::string& target,
                       const std::string& text = {}) {
    const auto answer = client.Call(method, target, text);
    if (!answer) return answer.error().Line();
    if (answer->status == 200) return std::string("200");
    const auto value = netapi::ParseJson({answer->body.data(), answer->body.size()});
    return std::to_string(answer->status) + " " + Text(*value, "type").substr(23);
  };
  const std::string deks = "/v1/keyrings/org-b/deks";
  EXPECT_EQ(slug(*one, "PUT", deks + "/a%2Fb", body), "400 bad-dek-id");
  EXPECT_EQ(slug(*one, "PUT", deks + "/a/b", body), "404 no-such-path");
  EXPECT_EQ(slug(*one, "PUT", deks + "/", body), "404 no-such-path");
  EXPECT_EQ(slug(*one, "PUT", deks + "/..", body), "400 bad-dek-id");
  EXPECT_EQ(slug(*one, "PUT", deks + "/" + std::string(10240, 'x'), body), "400 bad-dek-id");
  EXPECT_EQ(slug(*one, "PUT", deks + "/x", "{\"wrapped\":\"srw1:AAAA\"}"), "422 unwrap-failed");
  EXPECT_EQ(slug(*one, "PUT", "/v1/keyrings/install/deks/x", body), "422 unwrap-failed") << "it is org-b's";
  EXPECT_EQ(slug(*one, "PUT", deks + "/x", "{\"wrapped\":1}"), "400 invalid-request");
  EXPECT_EQ(slug(*one, "PUT", deks + "/x", "{}"), "400 invalid-request");
  EXPECT_EQ(slug(*one, "PUT", deks + "/x", ""), "400 malformed-json");
  EXPECT_EQ(slug(*one, "PUT", deks + "/x", body), "200");
  EXPECT_EQ(slug(*two, "GET", deks + "/x"), "200") << "who shares the keyring shares its inventory";
  EXPECT_EQ(slug(*two, "GET", "/v1/keyrings/install/deks/x"), "404 keyring-not-found");
  EXPECT_EQ(slug(*two, "GET", "/v1/keyrings/install/deks"), "404 keyring-not-found");
  EXPECT_EQ(slug(*two, "GET", "/v1/keyrings/install/census"), "404 keyring-not-found");
  EXPECT_EQ(slug(*operator_1, "PUT", deks + "/y", body), "403 role-refused");
  EXPECT_EQ(slug(*operator_1, "POST", deks + "/x/unwrap", "{}"), "403 role-refused");
  EXPECT_EQ(slug(*one, "POST", deks + "/x/unwrap", "{}"), "200");
  EXPECT_EQ(slug(*one, "POST", deks + "/x/unwrap", "{\"aad\":\"YQ==\"}"), "422 unwrap-failed");
  EXPECT_EQ(slug(*one, "POST", deks + "/none/unwrap", "{}"), "404 dek-not-found");
  EXPECT_EQ(slug(*one, "DELETE", deks + "/none"), "404 dek-not-found");
  EXPECT_EQ(slug(*one, "DELETE", deks + "/x"), "200");
  EXPECT_EQ(slug(*one, "DELETE", deks + "/x"), "404 dek-not-found");
  EXPECT_EQ(slug(*one, "GET", deks + "?limit=0"), "400 invalid-request");
  EXPECT_EQ(slug(*one, "GET", deks + "?quarantined=1"), "400 invalid-request");
  EXPECT_EQ(slug(*one, "GET", deks + "?after=a/b"), "400 invalid-request");
  EXPECT_EQ(slug(*operator_1, "POST", "/v1/keyrings/no-such/rewrap-plan"), "404 keyring-not-found");
  EXPECT_EQ(slug(*operator_1, "POST", "/v1/keyrings/org-a/rewrap-plan"), "200") << "an empty one";
}

}  // namespace
}  // namespace strongroom::tests
