// NDJSON streams through the real thing: order, broken lines, killed hosts, readers that do not read, streams that are
// cut.

#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <boost/json/object.hpp>
#include <thread>

#include "netapi/ndjson.h"
#include "tests/support/dev_suite.h"

namespace strongroom::tests {
namespace {

using netapi::LineSplitter;

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> lines;
  LineSplitter splitter;
  const auto keep = [&](std::string_view line, bool too_long) { lines.emplace_back(too_long ? "<too long>" : line); };
  splitter.Feed(text, keep);
  splitter.Finish(keep);
  return lines;
}

std::string Field(const std::string& line, const char* name) {
  const auto value = netapi::ParseJson(line);
  if (!value) return "not JSON: " + line.substr(0, 80);
  const auto* member = value->get_object().if_contains(name);
  return member != nullptr && member->is_string() ? std::string(std::string_view(member->get_string())) : "";
}

TEST(LineFraming, PiecesOfAnySizeGiveTheSameLines) {
  const std::string text =
      "one\n\ntwo\r\n" + std::string(netapi::kMaxLine, 'x') + "\n" + std::string(netapi::kMaxLine + 1, 'y') + "\nlast";
  const auto whole = Lines(text);
  ASSERT_EQ(whole.size(), 6U);
  EXPECT_EQ(whole[1], "");
  EXPECT_EQ(whole[2], "two");
  EXPECT_EQ(whole[3].size(), netapi::kMaxLine);
  EXPECT_EQ(whole[4], "<too long>");
  EXPECT_EQ(whole[5], "last");
  for (const std::size_t piece : {std::size_t{1}, std::size_t{7}, std::size_t{4096}, std::size_t{65536}}) {
    std::vector<std::string> lines;
    LineSplitter splitter;
    const auto keep = [&](std::string_view line, bool too_long) { lines.emplace_back(too_long ? "<too long>" : line); };
    for (std::size_t at = 0; at < text.size(); at += piece)
      splitter.Feed(std::string_view(text).substr(at, piece), keep);
    splitter.Finish(keep);
    EXPECT_EQ(lines, whole) << piece;
  }
}

class Streams : public DevSuite<class StreamsTag> {
 protected:
  static std::vector<std::string> curl_prefix() {
    return {"curl",     "-s",
            "--cacert", f().Path("ca.pem"),
            "--cert",   f().Path("clients/service-1.pem"),
            "--key",    f().Path("clients/service-1.key"),
            "-H",       "content-type: application/x-ndjson"};
  }
  static long RssAnon() {
    const auto status = ReadFile("/proc/" + std::to_string(f().PidOf("strongroomd.pid")) + "/status");
    return std::stol(status.substr(status.find("RssAnon:") + 8));
  }
};

TEST_F(Streams, ABrokenLineFailsOnlyItselfAndOrderIsKept) {
  std::string input;
  for (int i = 0; i < 5000; ++i) {
    if (i == 2500)
      input += "{broken\n";
    else if (i == 2501)
      input += "\n";
    else if (i == 2502)
      input += std::string(20000, 'x') + "\n";
    else if (i == 2503)
      input += "{\"plaintext\":\"AAAA\"}\n";
    else
      input += "{\"plaintext\":\"" +
               EncodeBase64(AsBytes("dek-number-" + std::to_string(100000 + i)), Base64::kStandardPadded) + "\"}\n";
  }
  const auto wrapped = f().Run("service-1", {"wrap", "--keyring", "install", "--ndjson"}, input);
  EXPECT_EQ(wrapped.status, 0) << wrapped.err;
  const auto lines = Lines(wrapped.out);
  ASSERT_EQ(lines.size(), 5000U);
  std::string again;
  for (int i = 0; i < 5000; ++i) {
    const bool bad = i >= 2500 && i <= 2503;
    EXPECT_EQ(lines[static_cast<std::size_t>(i)].starts_with("{\"error\":"), bad)
        << i << " " << lines[static_cast<std::size_t>(i)].substr(0, 200);
    if (!bad) again += "{\"wrapped\":\"" + Field(lines[static_cast<std::size_t>(i)], "wrapped") + "\"}\n";
  }
  EXPECT_NE(lines[2502].find("line-too-long"), std::string::npos);
  const auto opened = Lines(f().Run("service-1", {"unwrap", "--keyring", "install", "--ndjson"}, again).out);
  ASSERT_EQ(opened.size(), 4996U);
  for (std::size_t i = 0; i < opened.size(); ++i)
    EXPECT_EQ(Field(opened[i], "plaintext"),
              EncodeBase64(AsBytes("dek-number-" + std::to_string(100000 + (i < 2500 ? i : i + 4))),
                           Base64::kStandardPadded));
}

// Hosts die while a stream runs: every line is answered, in order, rightly; F9: an old version's unwrap brings the
// fresh wrap.
TEST_F(Streams, F9_KilledHostsLeaveNoGapAndOldVersionsBringAFreshWrap) {
  std::string input;
  for (int i = 0; i < 20000; ++i) input += "{\"bytes\":32,\"plaintext\":true}\n";
  const auto keys = Lines(f().Run("service-1", {"datakey", "--keyring", "install", "--ndjson"}, input).out);
  ASSERT_EQ(keys.size(), 20000U);
  const auto proposed =
      f().Run("operator-1", {"propose", "keyring.rotate", "--keyring", "install", "--reason", "stream"});
  const auto id = proposed.out.substr(0, proposed.out.find('\n'));
  for (const std::string custodian : {"custodian-1", "custodian-2"})
    ASSERT_EQ(f().Run(custodian, {"approve", id, "--key", f().Path("approvers/" + custodian)}).status, 0);
  ASSERT_EQ(f().Run("operator-1", {"execute", id}).status, 0);
  std::string wrapped;
  for (const auto& key : keys) wrapped += "{\"wrapped\":\"" + Field(key, "wrapped") + "\"}\n";
  std::atomic<bool> done{false};
  std::atomic<int> kills{0};
  std::thread killer([&] {
    // A kill whenever a new host has begun to serve, as its entries show.
    int last = 0;
    while (!done) {
      const int host = f().HostPid();
      const auto ready = f().ClientFor("service-1")->Call("POST", "/v1/keyrings/install/datakey", "{\"bytes\":16}");
      if (done || kills >= 5 || host <= 1 || host == last || !ready || ready->status != 200) continue;
      (void)kill(host, SIGKILL);
      last = host;
      ++kills;
    }
  });
  const auto rewrapped = f().Run("service-1", {"rewrap", "--keyring", "install", "--ndjson"}, wrapped);
  const auto opened = f().Run("service-1", {"unwrap", "--keyring", "install", "--ndjson"}, wrapped);
  done = true;
  killer.join();
  EXPECT_GE(kills, 2);
  EXPECT_EQ(rewrapped.status, 0) << rewrapped.err;
  EXPECT_EQ(opened.status, 0) << opened.err;
  const auto moved = Lines(rewrapped.out), plain = Lines(opened.out);
  ASSERT_EQ(moved.size(), keys.size());
  ASSERT_EQ(plain.size(), keys.size());
  std::string fresh;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    ASSERT_EQ(Field(plain[i], "plaintext"), Field(keys[i], "plaintext")) << i;
    EXPECT_TRUE(Field(plain[i], "rewrapped").starts_with("srw1:"));
    ASSERT_TRUE(Field(moved[i], "wrapped").starts_with("srw1:")) << moved[i];
    fresh += "{\"wrapped\":\"" + Field(moved[i], "wrapped") + "\"}\n";
  }
  const auto again = Lines(f().Run("service-1", {"unwrap", "--keyring", "install", "--ndjson"}, fresh).out);
  ASSERT_EQ(again.size(), keys.size());
  for (std::size_t i = 0; i < keys.size(); ++i)
    ASSERT_EQ(Field(again[i], "plaintext"), Field(keys[i], "plaintext")) << i;
}

TEST_F(Streams, N3_AReaderThatHardlyReadsCostsNoMemory) {
  std::string input;
  for (int i = 0; i < 300000; ++i) input += "{\"bytes\":32}\n";
  const auto before = RssAnon();
  auto arguments = curl_prefix();
  for (const auto* more : {"--limit-rate", "20k", "--max-time", "4", "-o", "/dev/null", "-T", "-", "-X", "POST"})
    arguments.emplace_back(more);
  arguments.push_back(f().Url() + "/v1/keyrings/install/datakey");
  const auto slow = provisioning::RunProcess(arguments, input);
  EXPECT_EQ(slow->status, 28) << "curl gave up, as it was told to";
  EXPECT_LT(RssAnon() - before, 16 * 1024) << "KiB";
  EXPECT_EQ(f().Run("service-1", {"datakey", "--keyring", "install"}).status, 0);
}

TEST_F(Streams, ACutStreamIsCutAndTheServiceGoesOn) {
  // The body announces more than comes: answered is what came, and there is no last chunk.
  const std::string request =
      "POST /v1/keyrings/install/datakey HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\nContent-Length: "
      "100000\r\n\r\n{\"bytes\":32}\n{\"bytes\":32}\n";
  const auto cut =
      provisioning::RunProcess({"timeout", "20", "openssl", "s_client", "-quiet", "-no_ign_eof", "-verify_quiet",
                                "-CAfile", f().Path("ca.pem"), "-cert", f().Path("clients/service-1.pem"), "-key",
                                f().Path("clients/service-1.key"), "-connect", f().Url().substr(8)},
                               request);
  EXPECT_NE(cut->status, 124);
  EXPECT_EQ(cut->out.find("\r\n0\r\n\r\n"), std::string::npos) << "a stream that was cut must not look whole";
  auto arguments = curl_prefix();
  for (const auto* more : {"-o", "/dev/null", "-w", "%{http_code}", "-H", "transfer-encoding: chunked", "-d", "{}"})
    arguments.emplace_back(more);
  arguments.push_back(f().Url() + "/v1/keyrings/org-a/wrap");
  EXPECT_EQ(provisioning::RunProcess(arguments)->out, "404") << "grants are judged before the stream begins";
  const auto refused = f().Run("service-1", {"wrap", "--keyring", "org-a", "--ndjson"}, "{}\n");
  EXPECT_EQ(refused.status, 1);
  EXPECT_NE(refused.err.find("keyring-not-found"), std::string::npos) << refused.err;
  EXPECT_EQ(f().Run("service-1", {"datakey", "--keyring", "install"}).status, 0);
}

}  // namespace
}  // namespace strongroom::tests
