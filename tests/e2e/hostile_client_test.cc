// Clients that know HTTP better, or worse, than is good: limits (N3), malformed and ambiguous requests (N4), keep-alive
// and pipelining, many and slow connections.

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <boost/json/object.hpp>
#include <thread>

#include "tests/support/dev_suite.h"
#include "tests/support/raw_tls.h"

namespace strongroom::tests {
namespace {

using namespace std::chrono_literals;

std::string Get(const std::string& path, const std::string& more = {}) {
  return "GET " + path + " HTTP/1.1\r\nHost: localhost\r\n" + more + "\r\n";
}
const std::string kBody = R"({"bytes":32})";
std::string Post(const std::string& more, const std::string& body = kBody) {
  return "POST /v1/keyrings/install/datakey HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" + more +
         "\r\n" + body;
}
std::string Length(const std::string& body) { return "Content-Length: " + std::to_string(body.size()) + "\r\n"; }

class Http : public DevSuite<class HttpTag> {
 protected:
  static RawTls Connect(const std::string& principal = "service-1") { return RawTls(RawTlsContext(f(), principal)); }
};

// One connection, many requests, before any answer is read: answered in order, each under its own id.
TEST_F(Http, PipelinedRequestsAreAnsweredInOrder) {
  auto c = Connect();
  std::string all;
  for (int i = 0; i < 20; ++i)
    all += i % 3 == 0 ? Get("/v1/keyrings/org-a", "Request-Id: r-" + std::to_string(i) + "\r\n")  // 404
                      : Post(Length(kBody) + "Request-Id: r-" + std::to_string(i) + "\r\n");
  ASSERT_TRUE(c.Send(all));
  for (int i = 0; i < 20; ++i) {
    const auto answer = c.Answer();
    ASSERT_TRUE(answer) << i;
    EXPECT_EQ(answer->status, i % 3 == 0 ? 404 : 200) << i;
    EXPECT_EQ(answer->Field("request-id"), "r-" + std::to_string(i));
  }
}

// A request that comes in pieces of one byte is a request.
TEST_F(Http, BytesMayComeOneByOne) {
  auto c = Connect();
  for (const char byte : Post(Length(kBody))) ASSERT_TRUE(c.Send(std::string(1, byte)));
  EXPECT_EQ(c.Answer()->status, 200);
  ASSERT_TRUE(
      c.Send(Post("Transfer-Encoding: chunked\r\n", "5\r\n{\"byt\r\n7;ext=1\r\nes\":32}\r\n0\r\nX: y\r\n\r\n")));
  EXPECT_EQ(c.Answer()->status, 200) << "chunks, an extension and a trailer";
}

TEST_F(Http, RequestIdsAreEchoedWhenTheyAreNamesAndMadeOtherwise) {
  auto c = Connect();
  ASSERT_TRUE(c.Send(Get("/v1/keyrings", "Request-Id: 8F14E45F-ceea-467f_a.b\r\n")));
  EXPECT_EQ(c.Answer()->Field("request-id"), "8F14E45F-ceea-467f_a.b");
  for (const std::string& bad : {std::string("a b"), std::string("<script>"), std::string(65, 'x'), std::string()}) {
    ASSERT_TRUE(c.Send(Get("/v1/keyrings", "Request-Id: " + bad + "\r\n")));
    const auto answer = c.Answer();
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->status, 200);
    EXPECT_EQ(answer->Field("request-id").size(), 16U) << "made here";
  }
}

TEST_F(Http, ConnectionsEndWhenTheyAreAskedTo) {
  for (const auto& [request, status] : {std::pair<std::string, int>{Get("/v1/keyrings", "Connection: close\r\n"), 200},
                                        {"GET /v1/keyrings HTTP/1.0\r\n\r\n", 200},
                                        {"HEAD /v1/keyrings HTTP/1.1\r\nHost: localhost\r\n\r\n", 405}}) {
    auto c = Connect();
    ASSERT_TRUE(c.Send(request));
    const auto answer = c.Answer(2s);
    ASSERT_TRUE(answer) << request;
    EXPECT_EQ(answer->status, status) << request;
    EXPECT_TRUE(c.Closed(5s)) << request;
  }
  auto head = Connect();
  ASSERT_TRUE(head.Send("HEAD /v1/keyrings HTTP/1.1\r\nHost: localhost\r\n\r\n"));
  EXPECT_FALSE(head.Read("never", 2s).find("{") != std::string::npos) << "an answer to HEAD has no body";
  auto c = Connect();
  ASSERT_TRUE(c.Send(Get("https://localhost:1/v1/keyrings")));
  EXPECT_EQ(c.Answer()->status, 200) << "the absolute form is a form (RFC 9112 section 3.2.2)";
  ASSERT_TRUE(c.Send("GET /v1/keyrings HTTP/1.1\r\n\r\n"));
  EXPECT_EQ(c.Answer()->status, 400) << "HTTP/1.1 needs Host (RFC 9112 section 3.2)";
}

// N4: whatever leaves open where a request ends gets one refusal and the end of the connection, and what was hidden
// behind it is not answered.
TEST_F(Http, N4_AmbiguousRequestsSmuggleNothing) {
  const auto hidden = Get("/v1/keyrings", "Request-Id: smuggled\r\n");
  const std::string chunked = "0\r\n\r\n";
  const std::string huge(20, 'F');
  const std::vector<std::pair<std::string, std::string>> shapes = {
      {"length and chunked", Post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", chunked)},
      {"chunked and length", Post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", chunked)},
      {"two lengths", Post("Content-Length: 12\r\nContent-Length: 5\r\n")},
      {"a list of lengths", Post("Content-Length: 12, 5\r\n")},
      {"a signed length", Post("Content-Length: +12\r\n")},
      {"a negative length", Post("Content-Length: -1\r\n")},
      {"a length in hex", Post("Content-Length: 0xC\r\n")},
      {"a length beyond 64 bits", Post("Content-Length: 99999999999999999999999\r\n")},
      {"an unknown coding", Post("Transfer-Encoding: xchunked\r\n", chunked)},
      {"chunked twice", Post("Transfer-Encoding: chunked, chunked\r\n", chunked)},
      {"chunked not last", Post("Transfer-Encoding: chunked, identity\r\n", chunked)},
      {"chunked after a tab and a letter", Post("Transfer-Encoding: \tchunkedx\r\n", chunked)},
      {"a blank before the colon", Post("Content-Length : 12\r\n")},
      {"a NUL in a field", Post(std::string("X: a\0b\r\n", 8) + Length(kBody))},
      {"a bare CR in a field", Post("X: a\rContent-Length: 5\r\n" + Length(kBody))},
      {"a chunk size in words", Post("Transfer-Encoding: chunked\r\n", "five\r\n12345\r\n" + chunked)},
      {"a negative chunk", Post("Transfer-Encoding: chunked\r\n", "-5\r\n12345\r\n" + chunked)},
      {"a chunk beyond 64 bits", Post("Transfer-Encoding: chunked\r\n", huge + "\r\n12345\r\n" + chunked)},
      {"a chunk longer than it says", Post("Transfer-Encoding: chunked\r\n", "2\r\n12345\r\n" + chunked)},
      {"a request line with two targets", "GET /v1/keyrings /v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n"},
      {"no method", " /v1/keyrings HTTP/1.1\r\nHost: localhost\r\n\r\n"},
      {"another protocol", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
      {"two hosts", "GET /v1/keyrings HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"},
  };
  for (const auto& [name, shape] : shapes) {
    auto c = Connect();
    ASSERT_TRUE(c.Send(shape + hidden)) << name;
    const auto all = c.Read("no such text", 5s);
    EXPECT_EQ(all.find("smuggled"), std::string::npos) << name << ": " << all;
    if (!all.empty()) EXPECT_TRUE(all.starts_with("HTTP/1.1 4")) << name << ": " << all;
    EXPECT_EQ(all.find("HTTP/1.1 ", 1), std::string::npos) << name << " got two answers";
    EXPECT_TRUE(c.Closed(5s)) << name;
  }
  // A folded field is one field, its line end a blank (RFC 9112 section 5.2): the length in it is none.
  auto c = Connect();
  ASSERT_TRUE(c.Send(Post("X: a\r\n Content-Length: 5\r\n" + Length(kBody))));
  EXPECT_EQ(c.Answer()->status, 200);
}

// N3: headers are bounded in number and size, whichever way they grow; the memory too.
TEST_F(Http, N3_HugeHeadersAreRefused) {
  const auto before = AnonymousKib(f().PidOf("strongroomd.pid"));
  for (const auto& [name, request] :
       {std::pair<std::string, std::string>{"one long field",
                                            Get("/v1/keyrings", "X: " + std::string(1 << 20, 'x') + "\r\n")},
        {"a long target", Get("/" + std::string(1 << 20, 'x'))},
        {"many fields", [] {
           std::string many;
           for (int i = 0; i < 50000; ++i) many += "X-" + std::to_string(i) + ": y\r\n";
           return Get("/v1/keyrings", many);
         }()}}) {
    auto c = Connect();
    (void)c.Send(request);
    const auto answer = c.Answer();
    if (answer) EXPECT_EQ(answer->status, 431) << name;
    EXPECT_TRUE(c.Closed()) << name;
  }
  EXPECT_LT(AnonymousKib(f().PidOf("strongroomd.pid")) - before, 16 * 1024);
}

// N5: does the time of a refusal tell whether the keyring that it is about exists?
TEST_F(Http, N5_RefusalsTakeTheSameTime) {
  auto c = Connect();
  std::vector<double> ungranted, unknown;
  for (int i = 0; i < 1500; ++i)
    for (auto* times : {&ungranted, &unknown}) {
      const std::string name = times == &ungranted ? "org-a" : "org-x";
      const auto request = "POST /v1/keyrings/" + name +
                           "/wrap HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: "
                           "0\r\n\r\n";
      const auto begin = std::chrono::steady_clock::now();
      ASSERT_TRUE(c.Send(request));
      const auto answer = c.Answer();
      times->push_back(std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin).count());
      ASSERT_TRUE(answer);
      ASSERT_EQ(answer->status, 404);
    }
  const auto median = [](std::vector<double>& v) {
    std::nth_element(v.begin(), v.begin() + static_cast<long>(v.size() / 2), v.end());
    return v[v.size() / 2];
  };
  const double a = median(ungranted), b = median(unknown);
  EXPECT_LT(std::abs(a - b), 0.15 * std::max(a, b)) << "medians of " << a << " and " << b << " microseconds";
}

// N3, P3: a tenant that announces bodies and sends none spends its own part of the memory for bodies.
TEST_F(Http, N3_AnnouncedBodiesCostNobodyElse) {
  const RawTlsContext context(f(), "service-1");
  std::vector<RawTls> idle;
  for (int i = 0; i < 40; ++i) {
    idle.emplace_back(context);
    ASSERT_TRUE(idle.back().Send(Post("Content-Length: 8388608\r\n", "{")));
  }
  const auto other = f().ClientFor("service-2");
  for (int i = 0; i < 20; ++i)
    EXPECT_EQ(other->Call("POST", "/v1/keyrings/org-a/datakey", kBody)->status, 200U) << "a tenant that does nothing";
  int refused = 0;
  for (auto& c : idle)
    if (const auto answer = c.Answer(std::chrono::milliseconds(50)); answer && answer->status == 503) ++refused;
  EXPECT_GT(refused, 20) << "what is over its part is refused";
}

// An oversized batch is the caller's mistake, not a load that passes.
TEST_F(Http, N3_AnOversizedBatchIsRefusedForWhatItIs) {
  std::string batch = "{\"items\":[";
  for (int i = 0; i < 6000; ++i) batch += std::string(i == 0 ? "" : ",") + kBody;
  batch += "]}";
  auto c = Connect();
  ASSERT_TRUE(c.Send(Post(Length(batch), batch)));
  EXPECT_EQ(c.Answer()->status, 400);
}

class ManyConnections : public testing::Test {
 protected:
  static void RaiseFileLimit() {
    rlimit limit{};
    (void)getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    ASSERT_GE(limit.rlim_cur, 11000U) << "this test needs as many open files";
  }
};

// N3: ten thousand connections that do nothing cost memory in proportion, and the eleven-thousandth request is answered
// like the first.
TEST_F(ManyConnections, N3_TenThousandIdleOnesLeaveTheServiceServing) {
  RaiseFileLimit();
  DevFixture f;
  const auto pid = f.PidOf("strongroomd.pid");
  const auto before = AnonymousKib(pid);
  const RawTlsContext context(f, "service-1");
  std::vector<std::vector<RawTls>> idle(4);
  std::vector<std::thread> threads;
  for (auto& mine : idle)
    threads.emplace_back([&] {
      while (mine.size() < 2500) {
        mine.emplace_back(context);
        if (!mine.back().connected()) return;
      }
    });
  for (auto& t : threads) t.join();
  for (const auto& mine : idle) ASSERT_EQ(mine.size(), 2500U);
  const auto grown = AnonymousKib(pid) - before;
  RecordProperty("kib_each", std::to_string(grown / 10000));
  EXPECT_LT(grown, 10000L * 128) << "KiB for ten thousand connections";
  const auto client = f.ClientFor("service-1");
  for (int i = 0; i < 200; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_EQ(client->Call("POST", "/v1/keyrings/install/datakey", kBody)->status, 200U);
    EXPECT_LT(std::chrono::steady_clock::now() - begin, 2s);
  }
  EXPECT_TRUE(idle[0][0].Send(Get("/v1/keyrings")));
  EXPECT_EQ(idle[0][0].Answer()->status, 200) << "and an idle one wakes up";
}

// N3: clients that send a byte now and then are cut off at the deadline, wherever they are, and cost a socket.
TEST_F(ManyConnections, N3_SlowClientsAreCutOff) {
  DevFixture f;
  f.Restart([](std::string text) {
    const std::string server = "[server]\n";
    return text.replace(text.find(server), server.size(), server + "idle-seconds = 3\nbody-seconds = 3\n");
  });
  const RawTlsContext context(f, "service-1");
  const std::string request = Post("Content-Length: 1000\r\n", std::string(990, ' '));
  std::vector<RawTls> slow;
  for (std::size_t i = 0; i < 200; ++i) {
    slow.emplace_back(context);
    // Each stands somewhere else in its request.
    ASSERT_TRUE(slow.back().Send(request.substr(0, i * 5)));
  }
  const auto begin = std::chrono::steady_clock::now();
  const auto client = f.ClientFor("service-1");
  while (std::chrono::steady_clock::now() < begin + 7s) {
    for (auto& c : slow) (void)c.Send(" ");
    EXPECT_EQ(client->Call("POST", "/v1/keyrings/install/datakey", kBody)->status, 200U);
    std::this_thread::sleep_for(1s);  // the rate that the test is about
  }
  for (auto& c : slow) EXPECT_TRUE(c.Closed(1s));
}

}  // namespace
}  // namespace strongroom::tests
