// One operator and one service against everybody else (Q18), through the front door of a real appliance.

#include <gtest/gtest.h>

#include <boost/json/array.hpp>

#include "crypto/envelope.h"
#include "tests/support/dev_suite.h"
#include "tests/support/govern.h"

namespace strongroom::tests {
namespace {

namespace bj = boost::json;

class OnePerson : public DevSuite<OnePerson> {
 protected:
  struct Answered {
    unsigned status = 0;
    bj::value body;
    std::string Text(const char* name) const {
      const auto* found = body.is_object() ? body.get_object().if_contains(name) : nullptr;
      return found == nullptr ? "" : std::string(std::string_view(found->get_string()));
    }
    std::string Slug() const {
      const auto type = Text("type");
      return std::to_string(status) + (type.size() > 23 ? " " + type.substr(23) : "");
    }
  };
  static Answered Call(netapi::Client& client, const std::string& method, const std::string& target,
                       const std::string& body = {}) {
    const auto answer = client.Call(method, target, body);
    EXPECT_TRUE(answer) << answer.error().Line();
    if (!answer) return {};
    const auto value = netapi::ParseJson({answer->body.data(), answer->body.size()});
    return {answer->status, value ? *value : bj::value(nullptr)};
  }
  static std::string Proposal(const std::string& operation, const std::string& rest) {
    return R"({"operation":")" + operation + R"(","reason":"one of many")" + rest + "}";
  }
  static Answered Put(netapi::Client& client, const std::string& ring, const std::string& id,
                      const std::string& wrapped) {
    return Call(client, "PUT", "/v1/keyrings/" + ring + "/deks/" + id, R"({"wrapped":")" + wrapped + R"("})");
  }
  static std::string Drawn(const std::string& service, const std::string& ring) {
    const auto text = f().Run(service, {"datakey", "--keyring", ring}).out;
    return text.substr(0, text.size() - 1);
  }
};

TEST_F(OnePerson, Q18_AFloodOfProposalsStopsNobody) {
  const auto flooder = f().ClientFor("operator-2"), other = f().ClientFor("operator-1");
  const auto removal = Proposal("roster.change", R"(,"params":{"policy-rotation":"2","remove-auditor-1":"yes"})");
  const auto rotation = Proposal("keyring.rotate", R"(,"keyring":"install")");
  const auto flood = [&](const std::string& body) {
    std::vector<std::string> ids;
    Answered answered;
    while (ids.size() < 1100 && (answered = Call(*flooder, "POST", "/v1/proposals", body)).status == 201)
      ids.push_back(answered.Text("id"));
    EXPECT_EQ(answered.Slug(), "429 requester-over-share") << body;
    return ids;
  };
  EXPECT_LE(flood(removal).size(), 16U);
  const auto ids = flood(rotation);
  ASSERT_GT(ids.size(), 20U);
  EXPECT_LE(ids.size(), 100U);
  for (const auto& body : {Proposal("keyring.emergency-rotate", R"(,"keyring":"install")"),
                           Proposal("roster.change", R"(,"params":{"remove-service-2":"yes"})"),
                           Proposal("keyring.create", R"(,"keyring":"newring")")}) {
    const auto filed = Call(*other, "POST", "/v1/proposals", body);
    EXPECT_EQ(filed.status, 201U) << body << filed.Slug() << filed.Text("detail");
  }
  const auto refused = f().Run("operator-2", {"propose", "keyring.rotate", "--keyring", "install", "--reason", "more"});
  EXPECT_NE(refused.status, 0);
  EXPECT_NE(refused.err.find("next: withdraw some first"), std::string::npos) << refused.err;
  // One custodian ends it.
  const auto rejected = f().Run("custodian-1", {"reject", ids[3], "--key", f().Path("approvers/custodian-1")});
  ASSERT_EQ(rejected.status, 0) << rejected.err;
  std::size_t open = 0;
  for (const auto& id : ids) open += Call(*other, "GET", "/v1/proposals/" + id).Text("state") == "open" ? 1 : 0;
  EXPECT_EQ(open, 16U);
  // He goes on and off, and is stopped before the log has grown much.
  std::size_t rounds = 0;
  Answered answered;
  for (; rounds < 1100; ++rounds) {
    answered = Call(*flooder, "POST", "/v1/proposals", rotation);
    if (answered.status != 201) break;
    ASSERT_EQ(Call(*flooder, "POST", "/v1/proposals/" + answered.Text("id") + "/withdraw", "{}").status, 200U);
  }
  EXPECT_EQ(answered.Slug(), "429 too-many-filings") << rounds;
  const TempDir dir;
  ExportVerifies(f(), dir.File("export"));
}

TEST_F(OnePerson, Q18_AServiceNeitherDestroysNorHoldsUp) {
  const auto one = f().ClientFor("service-1"), two = f().ClientFor("service-2");
  const auto ours = Drawn("service-1", "org-b"), theirs = Drawn("service-2", "org-b");
  auto envelope = *crypto::ParseEnvelope(theirs);
  envelope.blob.back() ^= 1;
  const auto bad = crypto::FormatEnvelope(envelope);
  EXPECT_EQ(Put(*one, "org-b", "db-main", ours).Slug(), "200");
  EXPECT_EQ(Put(*two, "org-b", "db-main", bad).Slug(), "409 dek-of-another");
  EXPECT_EQ(Put(*two, "org-b", "db-main", theirs).Slug(), "409 dek-of-another");
  EXPECT_EQ(Call(*two, "DELETE", "/v1/keyrings/org-b/deks/db-main").Slug(), "409 dek-of-another");
  EXPECT_EQ(Put(*two, "org-b", "poison", bad).Slug(), "422 unwrap-failed");
  EXPECT_EQ(Call(*one, "POST", "/v1/keyrings/org-b/deks/db-main/unwrap", "{}").Slug(), "200");
  // Whose it is, people see, and of another's nothing is told to a service.
  const auto seen_by = [&](const std::string& who) {
    return Call(*f().ClientFor(who), "GET", "/v1/keyrings/org-b/deks/db-main").Text("owner");
  };
  EXPECT_EQ(seen_by("operator-1"), "service-1");
  EXPECT_EQ(seen_by("service-1"), "service-1");
  EXPECT_EQ(seen_by("service-2"), "");
  // A rotation, and envelopes of the former version again and again.
  (void)Governed(f(), {"propose", "keyring.rotate", "--keyring", "install", "--reason", "a test"});
  for (int i = 0; i < 200; ++i) ASSERT_EQ(Put(*two, "org-b", "n" + std::to_string(i), theirs).Slug(), "200");
  const auto jobs = netapi::ParseJson(f().Run("operator-1", {"--json", "job", "list"}).out);
  for (const auto& job : jobs->get_object().at("items").get_array()) {
    const auto id = std::string(std::string_view(job.get_object().at("id").get_string()));
    const auto ended = f().Run("operator-1", {"job", "watch", id});
    EXPECT_EQ(ended.status, 0) << ended.out << ended.err;
  }
  const auto shown = f().Run("operator-1", {"--json", "dek", "list", "--keyring", "org-b", "--version", "1"});
  EXPECT_EQ(netapi::ParseJson(shown.out)->get_object().at("items").get_array().size(), 0U) << shown.out;
  EXPECT_EQ(Filed(f(), {"propose", "version.destroy", "--keyring", "install", "--param", "version=1", "--param",
                        "waive=service-1,service-2", "--param", "quiet-hours=0", "--reason", "a test"})
                .size(),
            32U);
  (void)Governed(f(), {"propose", "keyring.rotate", "--keyring", "install", "--reason", "again"});
}

}  // namespace
}  // namespace strongroom::tests
