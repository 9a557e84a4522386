// Whoever is removed from the roster does nothing more, whatever he has begun before: slow bodies and open streams end
// with the roster that revoked them, and the log stays one that verifies (Q17, L12, N1).

#include <gtest/gtest.h>

#include <boost/json/object.hpp>

#include "netapi/router.h"
#include "tests/support/dev_fixture.h"
#include "tests/support/raw_tls.h"

namespace strongroom::tests {
namespace {

using netapi::Endpoint;
using provisioning::RunProcess;

class Revocation : public testing::Test {
 protected:
  void SetUp() override {
    // Votes take their time on a busy machine: no body is cut off meanwhile.
    f_.Restart([](std::string text) {
      const std::string server = "[server]\n";
      return text.replace(text.find(server), server.size(), server + "idle-seconds = 900\nbody-seconds = 900\n");
    });
  }
  std::string Filed(const std::string& who, std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "--json");
    const auto filed = f_.Run(who, arguments);
    EXPECT_EQ(filed.status, 0) << filed.err;
    const auto at = filed.out.find("\"id\":\"");
    return at == std::string::npos ? "" : filed.out.substr(at + 6, 32);
  }
  void Remove(const std::string& first, const std::string& second) {
    const auto id = Filed("operator-1", {"propose", "roster.change", "--param", "remove-" + first + "=yes", "--param",
                                         "remove-" + second + "=yes", "--reason", "they leave"});
    for (const std::string custodian : {"custodian-1", "custodian-2"})
      ASSERT_EQ(f_.Run(custodian, {"approve", id, "--key", f_.Path("approvers/" + custodian)}).status, 0);
    const auto done = f_.Run("operator-1", {"execute", id});
    ASSERT_EQ(done.status, 0) << done.err;
  }
  std::uint64_t ControlSize() {
    const auto status = *netapi::ParseJson(f_.Run("operator-1", {"--json", "status"}).out);
    return status.at("ledger").at("control").at("size").to_number<std::uint64_t>();
  }
  void ExpectVerifies() {
    const auto folder = f_.Path("export");
    const auto exported = f_.Run("auditor-1", {"ledger", "export", "--out", folder});
    EXPECT_EQ(exported.status, 0) << exported.err;
    const auto ours = f_.Run("auditor-1", {"ledger", "verify", folder, "--vkey", f_.Path("ledger.vkey")});
    EXPECT_EQ(ours.status, 0) << ours.out << ours.err;
    const auto oracle = RunProcess({"python3", std::string(STRONGROOM_SOURCE_DIR) + "/tests/oracle/verify_export.py",
                                    folder, f_.Path("ledger.vkey")});
    EXPECT_EQ(oracle->status, 0) << oracle->out << oracle->err;
    const auto backup = f_.Run("auditor-1", {"backup", "--out", f_.Path("backup.tar")});
    EXPECT_EQ(backup.status, 0) << backup.err;
  }
  DevFixture f_;
};

// One request for each route that changes something, as somebody would send it who may.
struct Act {
  std::string who;
  std::string head;
  std::string body;
};
Act ActOf(const netapi::Route& route, const std::string& proposal) {
  Act act;
  act.who = netapi::Allows(route, crypto::Role::kOperator) ? "operator-2" : "service-2";
  std::string path(route.pattern);
  const auto fill = [&](const std::string& name, const std::string& value) {
    if (const auto at = path.find(name); at != std::string::npos) path.replace(at, name.size(), value);
  };
  fill("{keyring}", "org-a");
  fill("{version}", "1");
  fill("{dek}", "d1");
  fill("{id}", path.starts_with("/v1/proposals") ? proposal : "0123456789abcdef0123456789abcdef");
  fill("{backup}", "0123456789abcdef0123456789abcdef");
  act.body = "{ }";
  if (route.endpoint == Endpoint::kProposalFile)
    act.body = R"({"operation":"keyring.rotate","keyring":"org-a","reason":"by one who has left"})";
  if (route.endpoint == Endpoint::kCeremonyRecord)
    act.body = R"({"name":"left","script":"s","transcript":"{}","markdown":"m"})";
  if (route.endpoint == Endpoint::kProposalVote)
    act.body = R"({"custodian":"custodian-1","verdict":"approve","signature":"none"})";
  if (route.endpoint == Endpoint::kBreakGlassReview)
    act.body = R"({"reviewer":"custodian-1","finding":"f","signature":"none"})";
  if (route.endpoint == Endpoint::kAcknowledge) act.body = R"({"version":1,"count":1})";
  if (route.endpoint == Endpoint::kAttest) act.body = R"({"statement":"it is backed up"})";
  if (route.operation == ledger::Operation::kDataKey) act.body = R"({"bytes":32,"plaintext":true})";
  if (route.operation == ledger::Operation::kWrap) act.body = R"({"plaintext":"AAAAAAAAAAAAAAAAAAAAAA=="})";
  if (route.operation == ledger::Operation::kRewrap || route.operation == ledger::Operation::kDekPut)
    act.body = R"({"wrapped":"srw1.none"})";
  if (route.method == "POST" && route.operation == ledger::Operation::kDekPut)
    act.body = R"({"id":"d1","wrapped":"srw1.none"})";
  if (route.operation == ledger::Operation::kUnwrap && path.find("/deks/") == std::string::npos)
    act.body = R"({"wrapped":"srw1.none"})";
  act.head =
      std::string(route.method) + " " + path +
      " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(act.body.size()) +
      "\r\n\r\n";
  return act;
}

// Head and all but the last byte before the removal, the last byte after it, for every route that is no GET: is each
// refused, is nothing recorded, and can the ledger still be exported, verified and backed up?
TEST_F(Revocation, Q17_L12_ASlowBodyEndsWithTheRosterThatRevokedItsSender) {
  const auto proposal =
      Filed("operator-2", {"propose", "keyring.rotate", "--keyring", "org-a", "--reason", "asked before"});
  const RawTlsContext person(f_, "operator-2"), service(f_, "service-2");
  struct Begun {
    const netapi::Route* route;
    Act act;
    RawTls connection;
  };
  std::vector<Begun> all;
  for (const auto& route : netapi::Routes()) {
    if (route.method == "GET") continue;
    auto act = ActOf(route, proposal);
    all.push_back({&route, act, RawTls(act.who == "operator-2" ? person : service)});
    ASSERT_TRUE(all.back().connection.Send(act.head + act.body.substr(0, act.body.size() - 1))) << route.pattern;
  }
  ASSERT_GT(all.size(), 20U);
  // A head is judged as it comes: when this answer is there, the heads before it are read.
  ASSERT_EQ(f_.Run("operator-2", {"status"}).status, 0);
  ASSERT_EQ(f_.Run("service-2", {"keyring", "list"}).status, 0);
  Remove("operator-2", "service-2");
  const auto before = ControlSize();
  for (auto& begun : all) {
    ASSERT_TRUE(begun.connection.Send(begun.act.body.substr(begun.act.body.size() - 1)));
    const auto answer = begun.connection.Answer();
    ASSERT_TRUE(answer) << begun.route->pattern;
    EXPECT_EQ(answer->status, 403) << begun.route->method << " " << begun.route->pattern << ": " << answer->body;
    EXPECT_NE(answer->body.find("unknown-principal"), std::string::npos) << begun.route->pattern << answer->body;
  }
  EXPECT_EQ(ControlSize(), before) << "something was recorded";
  ExpectVerifies();
}

// A stream that was open: does it end at its next line, without the last chunk that says that all was answered, and
// without another DEK?
TEST_F(Revocation, Q17_AnOpenStreamEndsWithTheRosterThatRevokedItsSender) {
  const RawTlsContext service(f_, "service-2");
  RawTls stream(service), finished(service), silent(service);
  const std::string head =
      "POST /v1/keyrings/org-a/datakey HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\n"
      "Transfer-Encoding: chunked\r\n\r\n";
  const std::string line = "1e\r\n{\"bytes\":32,\"plaintext\":true}\n\r\n";
  for (auto* each : {&stream, &finished, &silent}) {
    ASSERT_TRUE(each->Send(head + line));
    ASSERT_NE(each->Read("\"plaintext\"").find("\"plaintext\""), std::string::npos);
  }
  Remove("operator-2", "service-2");
  ASSERT_TRUE(stream.Send(line));
  const auto rest = stream.Read("no such text");
  EXPECT_EQ(rest.find("plaintext\":"), std::string::npos) << rest;
  EXPECT_EQ(rest.find("\r\n0\r\n\r\n"), std::string::npos) << "it says that all was answered";
  EXPECT_TRUE(stream.Closed());
  // One that only ends after the removal does not end well either.
  ASSERT_TRUE(finished.Send("0\r\n\r\n"));
  EXPECT_EQ(finished.Read("no such text").find("\r\n0\r\n\r\n"), std::string::npos);
  EXPECT_TRUE(silent.Closed()) << "one on which nothing more is sent";
  const auto shown = f_.Run("auditor-1", {"--json", "ledger", "show", "evidence", "--since", "2026-01-01"});
  EXPECT_NE(shown.out.find("\"outcome\":\"unknown-principal\""), std::string::npos) << shown.out;
  ExpectVerifies();
}

}  // namespace
}  // namespace strongroom::tests
