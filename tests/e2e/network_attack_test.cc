// Stock attack tools against the TLS port: slowhttptest, behind stunnel because it has no client certificate of its
// own, and sslscan. N1, N3, N4.

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>

#include "tests/support/dev_suite.h"
#include "tests/support/raw_tls.h"

namespace strongroom::tests {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

std::size_t OpenFiles(int pid) {
  const std::filesystem::directory_iterator files("/proc/" + std::to_string(pid) + "/fd");
  return static_cast<std::size_t>(std::distance(begin(files), end(files)));
}

// A stunnel that speaks TLS to the appliance as service-1 and plain TCP to whoever comes.
class Tunnel {
 public:
  explicit Tunnel(const DevFixture& f) : port_(FreePort()), pid_file_(f.Path("stunnel.pid")) {
    std::ofstream(f.Path("stunnel.conf"))
        << "foreground = yes\nsyslog = no\npid =\n[appliance]\nclient = yes\naccept = 127.0.0.1:" << port_
        << "\nconnect = 127.0.0.1:" << f.Url().substr(f.Url().rfind(':') + 1)
        << "\ncert = " << f.Path("clients/service-1.pem") << "\nkey = " << f.Path("clients/service-1.key")
        << "\nCAfile = " << f.Path("ca.pem") << "\nverifyChain = yes\n";
    EXPECT_TRUE(provisioning::StartDaemon({"stunnel4", f.Path("stunnel.conf")}, f.Path("stunnel.log"), pid_file_));
    // It serves when it takes a connection.
    const auto until = steady_clock::now() + 10s;
    while (!Takes() && steady_clock::now() < until) std::this_thread::yield();
    EXPECT_TRUE(Takes()) << ReadFile(f.Path("stunnel.log"));
  }
  ~Tunnel() { (void)kill(std::stoi(ReadFile(pid_file_)), SIGKILL); }
  Tunnel(const Tunnel&) = delete;
  Tunnel& operator=(const Tunnel&) = delete;
  std::string Url(const std::string& path) const { return "http://127.0.0.1:" + std::to_string(port_) + path; }

 private:
  bool Takes() const {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port_));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const bool takes = connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
    (void)close(fd);
    return takes;
  }
  int port_;
  std::string pid_file_;
};

class NetworkAttacks : public DevSuite<class NetworkAttacksTag> {
 protected:
  // What a data key is answered with; 0, and why, when there was no answer.
  static unsigned DataKey(netapi::Client& client, std::string& why) {
    const auto answer = client.Call("POST", "/v1/keyrings/install/datakey", R"({"bytes":32})");
    if (!answer) why = answer.error().Line();
    return answer ? answer->status : 0;
  }
  static sockaddr_in Address() {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(std::stoi(f().Url().substr(f().Url().rfind(':') + 1))));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
  }
};

// N3, N4: while hundreds of connections dribble headers, dribble a body, or do not read their answers, is every honest
// request answered in time, does memory stay bounded, and are the attackers' sockets given back?
TEST_F(NetworkAttacks, N3_SlowHttpTestHurtsNobodyElse) {
  f().Restart([](std::string text) {
    const std::string server = "[server]\n";
    return text.replace(text.find(server), server.size(), server + "idle-seconds = 5\nbody-seconds = 5\n");
  });
  const Tunnel tunnel(f());
  const auto pid = f().PidOf("strongroomd.pid");
  const auto url = tunnel.Url("/v1/keyrings/install/datakey");
  const std::vector<std::pair<std::string, std::vector<std::string>>> attacks = {
      {"slow headers", {"-H", "-i", "1", "-x", "24", "-t", "GET"}},
      {"slow bodies", {"-B", "-i", "1", "-s", "8192", "-x", "10", "-f", "application/json"}},
      {"slow reading", {"-X", "-w", "1", "-y", "8", "-n", "1", "-z", "4", "-k", "3"}},
  };
  for (const auto& [name, options] : attacks) {
    const auto before = OpenFiles(pid);
    const auto memory = AnonymousKib(pid);
    std::vector<std::string> command = {"slowhttptest", "-c", "400", "-r", "200", "-l", "8", "-p", "3", "-u", url};
    command.insert(command.end(), options.begin(), options.end());
    std::atomic<bool> over{false};
    Result<provisioning::ProcessOutcome> attack = provisioning::ProcessOutcome();
    std::thread attacker([&] {
      attack = provisioning::RunProcess(command);
      over = true;
    });
    const auto client = f().ClientFor("service-2");
    std::vector<double> took;
    std::size_t most = 0;
    long peak = 0;
    while (!over) {
      const auto begin = steady_clock::now();
      const auto answer = client->Call("POST", "/v1/keyrings/org-b/datakey", R"({"bytes":32})");
      EXPECT_TRUE(answer && answer->status == 200) << name;
      took.push_back(std::chrono::duration<double>(steady_clock::now() - begin).count());
      most = std::max(most, OpenFiles(pid));
      peak = std::max(peak, AnonymousKib(pid));
    }
    attacker.join();
    ASSERT_TRUE(attack && attack->status == 0) << name << attack->err;
    EXPECT_GE(most, before + 100) << name << ": the attack has come through";
    EXPECT_LT(*std::max_element(took.begin(), took.end()), 2.0) << name;
    EXPECT_GT(took.size(), 100U) << name;
    EXPECT_LT(peak - memory, 400L * 256) << name << ": KiB";
    // Whoever attacked is cut off at the deadline.
    const auto until = steady_clock::now() + 15s;
    while (OpenFiles(pid) > before + 20 && steady_clock::now() < until)
      EXPECT_EQ(client->Call("POST", "/v1/keyrings/org-b/datakey", R"({"bytes":32})")->status, 200U);
    EXPECT_LE(OpenFiles(pid), before + 20) << name;
  }
}

// N1: does anything but TLS 1.3 get in, or renegotiation?
TEST_F(NetworkAttacks, N1_SslscanFindsTls13Alone) {
  const auto port = f().Url().substr(f().Url().rfind(':') + 1);
  const auto scanned =
      provisioning::RunProcess({"sslscan", "--no-colour", "--certs=" + f().Path("clients/service-1.pem"),
                                "--pk=" + f().Path("clients/service-1.key"), "127.0.0.1:" + port});
  ASSERT_TRUE(scanned && scanned->status == 0) << scanned->err;
  const auto has = [&](const std::string& line) { return scanned->out.find(line) != std::string::npos; };
  for (const auto* off : {"SSLv2     disabled", "SSLv3     disabled", "TLSv1.0   disabled", "TLSv1.1   disabled",
                          "TLSv1.2   disabled", "Session renegotiation not supported"})
    EXPECT_TRUE(has(off)) << off << "\n" << scanned->out;
  EXPECT_TRUE(has("TLSv1.3   enabled")) << scanned->out;
  EXPECT_TRUE(has("Accepted  TLSv1.3  256 bits  TLS_AES_256_GCM_SHA384")) << "the scan has got through\n"
                                                                          << scanned->out;
  EXPECT_FALSE(has("Accepted  TLSv1.2") || has("Preferred TLSv1.2")) << scanned->out;
}

// N1: early data could be replayed: is a session ever resumed, or early data taken?
TEST_F(NetworkAttacks, N1_NoResumptionAndNoEarlyData) {
  const auto port = f().Url().substr(f().Url().rfind(':') + 1);
  const auto session = f().Path("session.pem");
  const auto connect = [&](std::vector<std::string> more) {
    std::vector<std::string> command = {"openssl",  "s_client",
                                        "-connect", "127.0.0.1:" + port,
                                        "-cert",    f().Path("clients/service-1.pem"),
                                        "-key",     f().Path("clients/service-1.key"),
                                        "-CAfile",  f().Path("ca.pem"),
                                        "-ign_eof"};
    command.insert(command.end(), more.begin(), more.end());
    return provisioning::RunProcess(command,
                                    "GET /v1/health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
  };
  const auto first = connect({"-sess_out", session});
  ASSERT_TRUE(first);
  EXPECT_NE(first->out.find("HTTP/1.1 200"), std::string::npos) << first->out << first->err;
  EXPECT_EQ(first->out.find("Max Early Data: 1"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(session)) << "no ticket, so nothing to resume";
  for (const auto* old : {"-tls1_2", "-tls1_1", "-tls1"})
    EXPECT_EQ(connect({old})->out.find("HTTP/1.1"), std::string::npos) << old;
}

// N3: does a flood of connections, each gone before its handshake or in the middle of it, hold up who is served?
TEST_F(NetworkAttacks, N3_AFloodOfHalfOpenConnections) {
  const auto pid = f().PidOf("strongroomd.pid");
  const auto memory = AnonymousKib(pid);
  const auto client = f().ClientFor("service-1");
  std::string why;
  ASSERT_EQ(DataKey(*client, why), 200U) << why;
  const auto address = Address();
  std::atomic<bool> stop{false};
  std::atomic<int> tried{0};
  std::vector<std::thread> flood;
  for (int t = 0; t < 4; ++t)
    flood.emplace_back([&, t] {
      const std::string part("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11);  // of a ClientHello
      std::vector<int> held;
      while (!stop) {
        const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0) continue;
        if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
          (void)close(fd);
          continue;
        }
        ++tried;
        if (t % 2 == 0) (void)send(fd, part.data(), part.size(), MSG_NOSIGNAL);
        held.push_back(fd);
        if (held.size() > 200) {
          (void)close(held.front());
          held.erase(held.begin());
        }
      }
      for (const int fd : held) (void)close(fd);
    });
  double longest = 0;
  for (int i = 0; i < 2000; ++i) {
    const auto begin = steady_clock::now();
    EXPECT_EQ(DataKey(*client, why), 200U) << why;
    longest = std::max(longest, std::chrono::duration<double>(steady_clock::now() - begin).count());
  }
  stop = true;
  for (auto& thread : flood) thread.join();
  EXPECT_GT(tried, 1000);
  EXPECT_LT(longest, 2.0);
  EXPECT_LT(AnonymousKib(pid) - memory, 200L * 1024);
  EXPECT_EQ(DataKey(*f().ClientFor("service-1"), why), 200U) << "and newcomers are served: " << why;
}

// N3: do as many half-open connections as there may be connections at all keep out who comes afterwards?
TEST_F(NetworkAttacks, N3_HalfOpenConnectionsKeepNobodyOut) {
  rlimit limit{};
  (void)getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  (void)setrlimit(RLIMIT_NOFILE, &limit);
  ASSERT_GE(limit.rlim_cur, 11000U) << "this test needs as many open files";
  // More than the service takes at all, where this machine allows so many.
  const auto all = std::min<std::size_t>(12500, limit.rlim_cur - 300);
  const auto memory = AnonymousKib(f().PidOf("strongroomd.pid"));
  const auto address = Address();
  std::vector<int> held;
  const auto begin = steady_clock::now();
  while (held.size() < all && steady_clock::now() < begin + 60s) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ASSERT_GE(fd, 0);
    if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0)
      held.push_back(fd);
    else
      (void)close(fd);
  }
  EXPECT_EQ(held.size(), all);
  const auto came = steady_clock::now();
  std::string why;
  EXPECT_EQ(DataKey(*f().ClientFor("service-1"), why), 200U) << why;
  EXPECT_LT(steady_clock::now() - came, 8s);
  EXPECT_LT(AnonymousKib(f().PidOf("strongroomd.pid")) - memory, 200L * 1024);
  for (const int fd : held) (void)close(fd);
}

}  // namespace
}  // namespace strongroom::tests
