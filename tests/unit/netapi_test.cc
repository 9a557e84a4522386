#include <gtest/gtest.h>

#include <algorithm>
#include <boost/json/serialize.hpp>
#include <set>
#include <sstream>

#include "netapi/config.h"
#include "netapi/data_json.h"
#include "netapi/problem.h"
#include "netapi/router.h"
#include "tests/support/temp_dir.h"

namespace strongroom::netapi {
namespace {

using ledger::Operation;

TEST(StrictJson, RefusesWhatIsNotOneCleanDocument) {
  for (const std::string text :
       {"", " ", "{", "{}x", "{} {}", "{\"a\":1,}", "{\"a\":1,\"a\":2}", "{\"\\u0061\":1,\"a\":2}", "{a:1}", "// c\n{}",
        "[[[[[[[[[1]]]]]]]]]", "{\"a\":\"\xff\"}", "nul", "'a'", "{\"a\":01}", "{\"x\":{\"b\":1,\"b\":1}}"})
    EXPECT_FALSE(ParseJson(text)) << text;
  for (const std::string text : {"{}", " {\"a\":[1,2,{\"b\":null}]} ", "{\"a\":1,\"b\":{\"a\":1}}", "[1]"})
    EXPECT_TRUE(ParseJson(text)) << text;
}

TEST(StrictJson, LargeStringsComeBackWhole) {
  const std::string value(60000, 'x');
  const auto parsed = ParseJson("{\"a\":\"" + value + "\"}");
  ASSERT_TRUE(parsed);
  EXPECT_EQ(WriteJson(*parsed), SecretText(("{\"a\":\"" + value + "\"}").c_str()));
}

TEST(DataBodies, RefusesBadFieldsByName) {
  const std::pair<Operation, const char*> bad[] = {
      {Operation::kWrap, "{}"},
      {Operation::kWrap, "[]"},
      {Operation::kWrap, R"({"plaintext":"AAAAAAAAAAAAAAAAAAAAAA==","extra":1})"},
      {Operation::kWrap, R"({"plaintext":"AAAA"})"},
      {Operation::kWrap, R"({"plaintext":"AAAAAAAAAAAAAAAAAAAAAA"})"},
      {Operation::kWrap, R"({"plaintext":"AAAAAAAAAAAAAAAAAAAAA*=="})"},
      {Operation::kWrap, R"({"plaintext":7})"},
      {Operation::kWrap, R"({"plaintext":"AAAAAAAAAAAAAAAAAAAAAA==","aad":null})"},
      {Operation::kUnwrap, R"({"wrapped":1})"},
      {Operation::kRewrap, R"({"wrapped":"x","aad":"AA=="})"},
      {Operation::kDataKey, R"({"bytes":17})"},
      {Operation::kDataKey, R"({"bytes":-16})"},
      {Operation::kDataKey, R"({"bytes":32.0})"},
      {Operation::kDataKey, R"({"bytes":32,"plaintext":"yes"})"},
      {Operation::kWrap, R"({"items":[]})"},
      {Operation::kWrap, R"({"items":{}})"},
      {Operation::kWrap, R"({"items":[],"plaintext":"x"})"},
  };
  for (const auto& [operation, text] : bad)
    EXPECT_EQ(ParseDataBody(operation, text).error().code, Code::kInvalid) << text;
  EXPECT_FALSE(
      ParseDataBody(Operation::kWrap, "{\"plaintext\":\"" + EncodeBase64(Bytes(513), Base64::kStandardPadded) + "\"}"));
  EXPECT_FALSE(ParseDataBody(Operation::kWrap, "{\"plaintext\":\"" + EncodeBase64(Bytes(16), Base64::kStandardPadded) +
                                                   "\",\"aad\":\"" +
                                                   EncodeBase64(Bytes(4097), Base64::kStandardPadded) + "\"}"));
}

TEST(DataBodies, ABatchKeepsOrderAndItsBadItems) {
  const auto body =
      ParseDataBody(Operation::kDataKey, R"({"items":[{"bytes":16},{"bytes":5},{"bytes":64,"plaintext":true},3]})");
  ASSERT_TRUE(body);
  ASSERT_EQ(body->items.size(), 4U);
  EXPECT_TRUE(body->batch);
  EXPECT_EQ(body->items[0].bytes, 16);
  EXPECT_TRUE(body->items[1].refused);
  EXPECT_TRUE(body->items[2].want_plaintext);
  EXPECT_TRUE(body->items[3].refused);
  std::string many = "{\"items\":[";
  for (int i = 0; i < 1001; ++i) many += i == 0 ? "{\"bytes\":16}" : ",{\"bytes\":16}";
  EXPECT_FALSE(ParseDataBody(Operation::kDataKey, many + "]}"));
}

TEST(DataBodies, LimitsAreInclusive) {
  EXPECT_TRUE(ParseDataBody(Operation::kWrap, "{\"plaintext\":\"" + EncodeBase64(Bytes(512), Base64::kStandardPadded) +
                                                  "\",\"aad\":\"" + EncodeBase64(Bytes(4096), Base64::kStandardPadded) +
                                                  "\"}"));
  EXPECT_TRUE(
      ParseDataBody(Operation::kWrap, "{\"plaintext\":\"" + EncodeBase64(Bytes(16), Base64::kStandardPadded) + "\"}"));
}

TEST(Router, RefusesUnknownPathsAndMethods) {
  for (const auto* target : {"/", "", "/v1", "/v1/keyrings/", "/v1/keyrings/a/b/c", "/v2/keyrings",
                             "/v1/keyrings/a%2Fb/wrap", "/v1/keyrings/../wrap", "//v1/keyrings", "/v1/keyrings/A/wrap",
                             "*", "http://x", "/http://x/v1/keyrings", "http://x//v1/keyrings"})
    EXPECT_FALSE(Match("GET", target)) << target;
  EXPECT_TRUE(Match("GET", "https://x:1/v1/keyrings")) << "the absolute form";
  EXPECT_EQ(Match("DELETE", "/v1/keyrings").error().Slug(), "method-not-allowed");
  EXPECT_EQ(Match("GET", "/v1/keyrings/a/wrap").error().Slug(), "method-not-allowed");
  EXPECT_EQ(Match("get", "/v1/keyrings").error().Slug(), "method-not-allowed");
}

TEST(Router, FindsEachOfItsRoutes) {
  for (const auto& route : Routes()) {
    std::string target(route.pattern);
    for (auto at = target.find('{'); at != std::string::npos; at = target.find('{'))
      target.replace(at, target.find('}') - at + 1, "name-1");
    const auto matched = Match(route.method, target + "?x=1");
    ASSERT_TRUE(matched) << target;
    EXPECT_EQ(matched->route, &route);
    EXPECT_EQ(matched->query, "x=1");
  }
}

// N2: who may do what, written down a second time.
TEST(Router, N2_RolesAreAsTheContractSays) {
  using crypto::Role;
  for (const auto& route : Routes()) {
    const bool data = route.endpoint == Endpoint::kData;
    EXPECT_EQ(Allows(route, Role::kService),
              data || route.endpoint == Endpoint::kKeyringList || route.endpoint == Endpoint::kKeyringShow ||
                  route.endpoint == Endpoint::kProposalVote || route.endpoint == Endpoint::kLive ||
                  route.endpoint == Endpoint::kReady || route.endpoint == Endpoint::kDekList ||
                  route.endpoint == Endpoint::kDekShow || route.endpoint == Endpoint::kCensus ||
                  route.endpoint == Endpoint::kAcknowledge)
        << route.pattern;
    for (const auto role : {Role::kOperator, Role::kCustodian, Role::kAuditor, Role::kMonitor})
      EXPECT_FALSE(data && Allows(route, role)) << "only services use keys";
    const bool changes = route.endpoint == Endpoint::kProposalFile || route.endpoint == Endpoint::kProposalExecute ||
                         route.endpoint == Endpoint::kProposalWithdraw || route.endpoint == Endpoint::kKeyringDisable ||
                         route.endpoint == Endpoint::kCancelDestruction ||
                         route.endpoint == Endpoint::kBreakGlassClose || route.endpoint == Endpoint::kCeremonyRecord ||
                         route.endpoint == Endpoint::kJobPause || route.endpoint == Endpoint::kJobResume ||
                         route.endpoint == Endpoint::kJobCancel || route.endpoint == Endpoint::kCloseEmergency ||
                         route.endpoint == Endpoint::kAttest;
    for (const auto role : {Role::kAuditor, Role::kMonitor})
      EXPECT_FALSE(changes && Allows(route, role)) << route.pattern;
    EXPECT_EQ(route.gate == Gate::kOpen, data || route.endpoint == Endpoint::kProposalExecute ||
                                             route.endpoint == Endpoint::kCancelDestruction ||
                                             route.endpoint == Endpoint::kPlan || route.endpoint == Endpoint::kAttest)
        << route.pattern;
  }
}

TEST(Router, QueryNumbersAreStrict) {
  EXPECT_EQ(*QueryNumber("", "from", 7, {"from"}), 7U);
  EXPECT_EQ(*QueryNumber("from=12", "from", 7, {"from"}), 12U);
  for (const auto* query :
       {"from=", "from=-1", "from=1x", "from=01", "from", "from=1&from=2", "other=1", "from=99999999999999999999"})
    EXPECT_FALSE(QueryNumber(query, "from", 7, {"from"})) << query;
}

TEST(Problems, StatusesAndShape) {
  EXPECT_EQ(HttpStatusOf(UnwrapFailed()), 422U);
  EXPECT_EQ(HttpStatusOf(Unavailable("x")), 503U);
  EXPECT_EQ(HttpStatusOf(Overloaded("x")), 503U);
  EXPECT_EQ(HttpStatusOf(Invalid("x", "body-too-large")), 413U);
  const auto text = boost::json::serialize(ProblemObject(UnwrapFailed(), "abc"));
  EXPECT_EQ(
      text,
      R"({"type":"urn:strongroom:problem:unwrap-failed","title":"Unwrap failed","status":422,"detail":"the wrapped DEK does not unwrap with this keyring and AAD","request_id":"abc"})");
}

TEST(ServerConfigFile, RefusesByNameAndLine) {
  tests::TempDir dir;
  const std::string good =
      "[server]\nlisten = \"127.0.0.1:8443\"\ncertificate = \"c\"\nkey = \"k\"\nclient-ca = \"a\"\ntokend-socket = "
      "\"s\"\n[ledger]\ndirectory = \"d\"\n";
  const auto read = ReadServerConfig(dir.Write("good", good + "map-gib = 2\n[tokend]\nuri = \"x\"\n"));
  ASSERT_TRUE(read) << read.error().Line();
  EXPECT_EQ(read->port, 8443);
  EXPECT_EQ(read->map_bytes, std::size_t{2} << 30);
  for (const std::string& bad :
       {good + "map-gib = 0\n", good + "colour = 1\n", good + "[extra]\n", std::string("[server]\nlisten = \"8443\"\n"),
        std::string("[server]\nlisten = \"a:99999\"\n"), std::string("[server\n"), std::string("server = 1\n"),
        std::string("[server]\nlisten = \"127.0.0.1:1\"\n")})
    EXPECT_FALSE(ReadServerConfig(dir.Write("bad", bad))) << bad;
  const auto refused = ReadServerConfig(dir.Write("bad", good + "colour = 1\n"));
  EXPECT_NE(refused.error().detail.find("bad:9"), std::string::npos) << refused.error().detail;
}

}  // namespace
}  // namespace strongroom::netapi

namespace strongroom::netapi {
namespace {

// Does the contract name exactly the router's routes, with their roles, in both directions? Paths, methods and roles
// are read by their indentation.
TEST(OpenApi, NamesTheRoutersRoutesAndRolesAndNoOthers) {
  std::set<std::string> documented, routed;
  std::istringstream file(tests::ReadFile(STRONGROOM_OPENAPI));
  std::string line, path, method;
  bool in_paths = false;
  std::string roles;
  const auto close = [&] {
    if (!method.empty()) documented.insert(method + " " + path + roles);
    method.clear();
    roles.clear();
  };
  while (std::getline(file, line)) {
    if (!line.empty() && line[0] != ' ') {
      close();
      in_paths = line == "paths:";
    }
    if (!in_paths) continue;
    if (line.starts_with("  /")) {
      close();
      path = line.substr(2, line.find_last_of(':') - 2);
    }
    for (const auto* known : {"get", "post", "put", "delete"})
      if (line == std::string("    ") + known + ":") {
        close();
        method = known;
        std::transform(method.begin(), method.end(), method.begin(), [](unsigned char c) { return std::toupper(c); });
      }
    for (const auto* role : {"operator", "custodian", "auditor", "monitor", "service"})
      if (line == std::string("        - ") + role) roles += std::string(" ") + role;
  }
  for (const auto& route : Routes()) {
    auto text = std::string(route.method) + " " + std::string(route.pattern);
    using enum crypto::Role;
    for (const auto role : {kOperator, kCustodian, kAuditor, kMonitor, kService})
      if (Allows(route, role)) text += " " + std::string(crypto::ToString(role));
    routed.insert(text);
  }
  EXPECT_EQ(documented, routed);
  EXPECT_EQ(routed.size(), Routes().size());
}

}  // namespace
}  // namespace strongroom::netapi
