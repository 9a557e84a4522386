// Every kind of bad input of the first issue against a real appliance: each gets its problem document or a closed
// connection, and the service goes on.

#include <gtest/gtest.h>

#include <boost/json/object.hpp>

#include "crypto/base/bytes.h"
#include "tests/support/dev_suite.h"

namespace strongroom::tests {
namespace {

class BadInput : public DevSuite<class BadInputTag> {
 protected:
  // The problem slug of a call, "" for success.
  static std::string Problem(netapi::Client& client, std::string_view method, const std::string& target,
                             const std::string& body, unsigned status) {
    const auto answer = client.Call(method, target, body);
    if (!answer) return "no answer: " + answer.error().detail;
    EXPECT_EQ(answer->status, status) << target << " " << body.substr(0, 100) << " -> " << answer->body;
    EXPECT_FALSE(answer->request_id.empty());
    if (answer->status < 400) return "";
    EXPECT_EQ(answer->content_type, "application/problem+json");
    if (status == 503) EXPECT_FALSE(answer->retry_after.empty());
    const auto parsed = netapi::ParseAnswer(*answer);
    return std::string(parsed.error().Slug());
  }
  static std::string Field(netapi::Client& client, const std::string& target, const std::string& body,
                           const char* name) {
    const auto answer = client.Call("POST", target, body);
    if (!answer) return "no answer: " + answer.error().Line();
    const auto value = netapi::ParseAnswer(*answer);
    return value ? std::string(std::string_view(value->get_object().at(name).get_string()))
                 : "refused: " + value.error().Line();
  }
  static void ServiceGoesOn() {
    const auto client = f().ClientFor("service-1");
    EXPECT_EQ(Problem(*client, "POST", "/v1/keyrings/install/datakey", R"({"bytes":32})", 200), "");
  }
};

TEST_F(BadInput, MalformedBodies) {
  const auto client = f().ClientFor("service-1");
  const std::string wrap = "/v1/keyrings/install/wrap";
  EXPECT_EQ(Problem(*client, "POST", wrap, "", 400), "malformed-json");
  EXPECT_EQ(Problem(*client, "POST", wrap, "{", 400), "malformed-json");
  EXPECT_EQ(Problem(*client, "POST", wrap, std::string(100000, '['), 400), "malformed-json");
  EXPECT_EQ(Problem(*client, "POST", wrap, std::string("{\"plaintext\":\"\0\"}", 17), 400), "malformed-json");
  EXPECT_EQ(Problem(*client, "POST", wrap,
                    R"({"plaintext":"AAAAAAAAAAAAAAAAAAAAAA==","plaintext":"AAAAAAAAAAAAAAAAAAAAAA=="})", 400),
            "malformed-json");
  EXPECT_EQ(Problem(*client, "POST", wrap, R"({"plain":"AAAA"})", 400), "unknown-field");
  EXPECT_EQ(Problem(*client, "POST", wrap, R"({"plaintext":"not base64!!"})", 400), "invalid-request");
  EXPECT_EQ(Problem(*client, "POST", wrap, R"({"plaintext":""})", 400), "invalid-request");
  EXPECT_EQ(Problem(*client, "POST", wrap, "{\"plaintext\":\"" + std::string(4000, 'A') + "\"}", 400),
            "invalid-request");
  EXPECT_EQ(Problem(*client, "POST", wrap, R"({"items":[]})", 400), "invalid-request");
  ServiceGoesOn();
}

TEST_F(BadInput, WrongKeyringAadAndFlippedBytes) {
  const auto client = f().ClientFor("service-1");
  const auto wrapped = Field(*client, "/v1/keyrings/install/wrap",
                             R"({"plaintext":"AAAAAAAAAAAAAAAAAAAAAA==","aad":"YQ=="})", "wrapped");
  ASSERT_TRUE(wrapped.starts_with("srw1:")) << wrapped;
  const auto body = [](const std::string& text, const std::string& aad) {
    return R"({"wrapped":")" + text + R"(","aad":")" + aad + "\"}";
  };
  EXPECT_EQ(Problem(*client, "POST", "/v1/keyrings/install/unwrap", body(wrapped, "YQ=="), 200), "");
  EXPECT_EQ(Problem(*client, "POST", "/v1/keyrings/install/unwrap", body(wrapped, "Yg=="), 422), "unwrap-failed");
  EXPECT_EQ(Problem(*client, "POST", "/v1/keyrings/install/unwrap", R"({"wrapped":")" + wrapped + "\"}", 422),
            "unwrap-failed");
  EXPECT_EQ(Problem(*client, "POST", "/v1/keyrings/org-b/unwrap", body(wrapped, "YQ=="), 422), "unwrap-failed");
  EXPECT_EQ(Problem(*client, "POST", "/v1/keyrings/install/unwrap", body("", "YQ=="), 422), "unwrap-failed");
  for (std::size_t i = 0; i < wrapped.size(); ++i) {
    auto changed = wrapped;
    changed[i] = changed[i] == 'Q' ? 'R' : 'Q';
    if (changed != wrapped)
      EXPECT_EQ(Problem(*client, "POST", "/v1/keyrings/install/unwrap", body(changed, "YQ=="), 422), "unwrap-failed")
          << i;
  }
  ServiceGoesOn();
}

TEST_F(BadInput, N5_UnknownAndUngrantedKeyringsLookAlike) {
  const auto client = f().ClientFor("service-1");
  const auto without_id = [](const netapi::HttpAnswer& answer) {
    std::string body(answer.body);
    return body.substr(0, body.find("request_id"));
  };
  const auto unknown =
      client->Call("POST", "/v1/keyrings/nothing-here/wrap", R"({"plaintext":"AAAAAAAAAAAAAAAAAAAAAA=="})");
  ASSERT_TRUE(unknown);
  EXPECT_EQ(unknown->status, 404U);
  const auto again = f().ClientFor("service-1");
  const auto ungranted = again->Call("POST", "/v1/keyrings/org-a/wrap", R"({"plaintext":"AAAAAAAAAAAAAAAAAAAAAA=="})");
  ASSERT_TRUE(ungranted);
  EXPECT_EQ(without_id(*unknown), without_id(*ungranted));
  const auto third = f().ClientFor("service-1");
  EXPECT_EQ(Problem(*third, "GET", "/v1/keyrings/org-a", "", 404), "keyring-not-found");
}

TEST_F(BadInput, N1_CertificatesThatAreNotInTheRosterOrNotThere) {
  // Signed by the same CA, but its key is nobody's.
  const auto run = [&](std::vector<std::string> arguments) {
    ASSERT_EQ(provisioning::RunProcess(arguments)->status, 0);
  };
  run({"openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=service-1",
       "-keyout", f().Path("stranger.key"), "-out", f().Path("stranger.csr")});
  run({"openssl", "x509", "-req", "-in", f().Path("stranger.csr"), "-CA", f().Path("ca.pem"), "-CAkey",
       f().Path("ca.key"), "-days", "1", "-out", f().Path("stranger.pem")});
  const auto stranger = f().ClientWith(f().Path("stranger.pem"), f().Path("stranger.key"));
  EXPECT_EQ(Problem(*stranger, "POST", "/v1/keyrings/install/datakey", R"({"bytes":32})", 403), "unknown-principal");
  // Signed by nobody whom the appliance knows, and none at all: no TLS.
  run({"openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
       "/CN=service-1", "-days", "1", "-keyout", f().Path("self.key"), "-out", f().Path("self.pem")});
  EXPECT_FALSE(f().ClientWith(f().Path("self.pem"), f().Path("self.key"))->Call("GET", "/v1/health/live"));
  EXPECT_FALSE(f().ClientWith("", "")->Call("GET", "/v1/health/live"));
  const auto old_tls = provisioning::RunProcess({"curl", "-s", "--tls-max", "1.2", "--cacert", f().Path("ca.pem"),
                                                 "--cert", f().Path("clients/service-1.pem"), "--key",
                                                 f().Path("clients/service-1.key"), f().Url() + "/v1/health/live"});
  EXPECT_NE(old_tls->status, 0) << "TLS 1.2 is refused";
  ServiceGoesOn();
}

TEST_F(BadInput, N2_RolesAndGrants) {
  const auto operator_1 = f().ClientFor("operator-1");
  EXPECT_EQ(Problem(*operator_1, "POST", "/v1/keyrings/install/datakey", "", 403), "role-refused");
  const auto service = f().ClientFor("service-1");
  EXPECT_EQ(Problem(*service, "GET", "/v1/status", "", 403), "role-refused");
  EXPECT_EQ(Problem(*service, "GET", "/v1/ledger/control/entries", "", 403), "role-refused");
  EXPECT_EQ(Problem(*f().ClientFor("service-1"), "POST", "/v1/proposals",
                    R"({"operation":"keyring.rotate","keyring":"install","reason":"x"})", 403),
            "role-refused");
  const auto auditor = f().ClientFor("auditor-1");
  EXPECT_EQ(Problem(*auditor, "GET", "/v1/ledger/control/entries?limit=5", "", 200), "");
  EXPECT_EQ(Problem(*auditor, "GET", "/v1/ledger/other/entries", "", 404), "log-not-found");
  EXPECT_EQ(Problem(*auditor, "GET", "/v1/ledger/control/entries?limit=0", "", 400), "invalid-request");
  EXPECT_EQ(Problem(*auditor, "GET", "/v1/nothing", "", 404), "no-such-path");
  EXPECT_EQ(Problem(*auditor, "DELETE", "/v1/keyrings", "", 405), "method-not-allowed");
}

TEST_F(BadInput, N3_OversizedBodiesAreRefusedUnread) {
  const auto curl = [&](std::vector<std::string> more, const std::string& input,
                        const std::string& type = "application/json") {
    std::vector<std::string> arguments = {"curl",
                                          "-s",
                                          "-o",
                                          "/dev/null",
                                          "-w",
                                          "%{http_code}",
                                          "--max-time",
                                          "20",
                                          "--cacert",
                                          f().Path("ca.pem"),
                                          "--cert",
                                          f().Path("clients/service-1.pem"),
                                          "--key",
                                          f().Path("clients/service-1.key"),
                                          "-H",
                                          "content-type: " + type,
                                          "--data-binary",
                                          "@-",
                                          f().Url() + "/v1/keyrings/install/wrap"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return provisioning::RunProcess(arguments, input)->out;
  };
  // 1 GiB announced: refused by its header, before a byte of it is read.
  const auto announced = curl({"-H", "content-length: 1073741824"}, "{}");
  EXPECT_EQ(announced, "413");
  // Nine MiB without a length, in chunks: cut off at the limit; the answer may or may not reach a client that is still
  // sending.
  const auto chunked = curl({"-H", "transfer-encoding: chunked"}, std::string(9U << 20, ' '));
  EXPECT_TRUE(chunked == "413" || chunked == "000") << chunked;
  const auto big_header = curl({"-H", "x-filler: " + std::string(20000, 'x')}, "{}");
  EXPECT_TRUE(big_header == "431" || big_header == "000") << big_header;
  const auto control = provisioning::RunProcess(
      {"curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "20", "--cacert", f().Path("ca.pem"),
       "--cert", f().Path("clients/operator-1.pem"), "--key", f().Path("clients/operator-1.key"), "-H",
       "content-type: application/json", "--data-binary", "@-", f().Url() + "/v1/proposals"},
      std::string(100000, ' '));
  EXPECT_EQ(control->out, "413") << "the control plane's bodies are small";
  const auto wrong_type = curl({}, "{}", "text/plain");
  EXPECT_EQ(wrong_type, "415");
  ServiceGoesOn();
}

TEST_F(BadInput, N3_AGibibyteBodyIsCutOff) {
  // A real gibibyte, streamed: the connection closes long before its end and the service's memory does not grow with
  // it.
  const auto rss = [&] {
    const auto status = ReadFile("/proc/" + std::to_string(f().PidOf("strongroomd.pid")) + "/status");
    return std::stol(status.substr(status.find("RssAnon:") + 8));
  };
  const auto before = rss();
  const auto sent = provisioning::RunProcess(
      {"sh", "-c",
       "head -c 1073741824 /dev/zero | curl -s -o /dev/null -w '%{http_code} %{size_upload}' --max-time 60 --cacert '" +
           f().Path("ca.pem") + "' --cert '" + f().Path("clients/service-1.pem") + "' --key '" +
           f().Path("clients/service-1.key") +
           "' -H 'content-type: application/json' -H 'transfer-encoding: chunked' -T - -X POST '" + f().Url() +
           "/v1/keyrings/install/wrap'"});
  const auto code = sent->out.substr(0, 3);
  EXPECT_TRUE(code == "413" || code == "000") << sent->out;
  EXPECT_LT(std::stod(sent->out.substr(4)), 100e6) << "most of it was never taken";
  EXPECT_LT(rss() - before, 40 * 1024);
  ServiceGoesOn();
}

TEST_F(BadInput, N4_GarbageInsteadOfHttp) {
  for (const std::string& garbage :
       {std::string("GARBAGE\r\n\r\n"), std::string("POST / HTTP/9.9\r\n\r\n"), std::string(50000, 'A'),
        std::string("GET /v1/health/live HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n"),
        std::string("\0\1\2\3", 4)}) {
    const auto sent = provisioning::RunProcess(
        {"timeout", "20", "openssl", "s_client", "-quiet", "-verify_quiet", "-CAfile", f().Path("ca.pem"), "-cert",
         f().Path("clients/service-1.pem"), "-key", f().Path("clients/service-1.key"), "-connect", f().Url().substr(8)},
        garbage);
    EXPECT_NE(sent->status, 124) << "the connection must end by itself";
    EXPECT_TRUE(sent->out.empty() || sent->out.starts_with("HTTP/1.1 4")) << sent->out.substr(0, 100);
  }
  ServiceGoesOn();
}

}  // namespace
}  // namespace strongroom::tests
