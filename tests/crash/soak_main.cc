// The soak (`ci/soak`): an hour of mixed load while everything that can happen to an appliance does. Token hosts and
// the service are killed, the token is pulled and put back, calls hang and crawl, the disk fills and is freed, the
// clock is stepped. At the end: no wrong answer, no lost entry, both verifiers pass, memory flat. Its report is
// Markdown.

#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <condition_variable>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <map>
#include <mutex>
#include <thread>

#include "hsm/frame_socket.h"
#include "ledger/evidence_entry.h"
#include "ledger/log_folder.h"
#include "tests/support/faulty_module.h"
#include "tests/support/govern.h"
#include "tests/support/load_client.h"
#include "tests/support/moved_clock.h"

namespace strongroom::tests {
namespace {

namespace bj = boost::json;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
constexpr unsigned kClients = 24;

long Setting(const char* name, long fallback) {
  const char* text = std::getenv(name);
  return text == nullptr ? fallback : std::atol(text);
}

// Nothing wakes it: a pause of the given length.
void Pause(std::chrono::milliseconds length) {
  std::mutex mutex;
  std::condition_variable never;
  std::unique_lock lock(mutex);
  const auto until = Clock::now() + length;
  while (Clock::now() < until) (void)never.wait_until(lock, until);
}

// OwnDisk puts a folder on a file system of its own, which can be filled without harm to others.
class OwnDisk {
 public:
  OwnDisk(const std::string& folder, const std::string& image) : folder_(folder) {
    std::filesystem::rename(folder, folder + ".former");
    std::filesystem::create_directory(folder);
    std::ofstream(image).close();
    std::filesystem::resize_file(image, std::uintmax_t{12} << 30);
    for (const auto& command : {std::vector<std::string>{"mkfs.ext4", "-q", "-F", image},
                                {"mount", "-o", "loop", image, folder},
                                {"cp", "-a", folder + ".former/.", folder}}) {
      const auto ran = provisioning::RunProcess(command);
      if (!ran || ran->status != 0) {
        std::cerr << "soak: " << command[0] << ": " << (ran ? ran->err : "missing") << "\n";
        std::exit(1);
      }
    }
  }
  ~OwnDisk() { (void)provisioning::RunProcess({"umount", "-l", folder_}); }
  OwnDisk(const OwnDisk&) = delete;
  OwnDisk& operator=(const OwnDisk&) = delete;
  // Leaves about this many bytes.
  void Fill(std::uint64_t left) const {
    struct statvfs space {};
    ASSERT_EQ(statvfs(folder_.c_str(), &space), 0);
    const auto free = std::uint64_t{space.f_bavail} * space.f_frsize;
    if (free > left)
      (void)provisioning::RunProcess({"fallocate", "-l", std::to_string(free - left), folder_ + "/ballast"});
  }
  void Free() const { std::filesystem::remove(folder_ + "/ballast"); }

 private:
  std::string folder_;
};

class Soak : public testing::Test {
 protected:
  Soak() : module_(where_.path(), STRONGROOM_BIN_DIR), f_(2) {
    f_.Restart([&](std::string text) {
      const std::string real = "/usr/lib/softhsm/libsofthsm2.so", tokend = "[tokend]\n", server = "[server]\n";
      text.replace(text.find(real, text.find(tokend)), real.size(), module_.path());
      text.replace(text.find(tokend), tokend.size(), tokend + "hang-seconds = 2\nrecycle-operations = 200000\n");
      text.replace(text.find(server), server.size(), server + "canary-seconds = 1\n");
      return text;
    });
    EndDaemon(SIGTERM);
    disk_.emplace(f_.Path("data"), where_.File("disk.img"));
    clock_.StartDaemon(f_);
  }
  ~Soak() override { EndDaemon(SIGTERM); }

  void EndDaemon(int signal) const {
    const auto pid = f_.PidOf("strongroomd.pid");
    const auto end = hsm::UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
    if (kill(pid, signal) != 0) return;
    pollfd gone{end.get(), POLLIN, 0};
    if (end) ASSERT_EQ(poll(&gone, 1, 30000), 1);
  }
  std::vector<int> Hosts() const {
    const auto pid = std::to_string(f_.PidOf("tokend.pid"));
    std::istringstream in(ReadFile("/proc/" + pid + "/task/" + pid + "/children"));
    std::vector<int> pids;
    for (int p = 0; in >> p;) pids.push_back(p);
    return pids;
  }
  // How long until services are served again; nullopt when not within a minute.
  std::optional<double> Recovers() const {
    const auto begin = Clock::now();
    while (Clock::now() < begin + 60s) {
      const auto answer = f_.ClientFor("service-1")->Call("POST", "/v1/keyrings/install/datakey", R"({"bytes":32})");
      if (answer && answer->status == 200) return std::chrono::duration<double>(Clock::now() - begin).count();
    }
    return std::nullopt;
  }
  void AcceptClock() {
    const auto id = Filed(f_, {"propose", "clock.accept", "--reason", "the soak has stepped it"});
    ApproveBy(f_, id, {"custodian-1", "custodian-2"});
    EXPECT_EQ(f_.Run("operator-1", {"execute", id}).status, 0);
  }

  // One harm, by name; with what it leaves undone. Harms of the service itself end early in the soak, so that its
  // memory can be watched.
  void Harm(const std::string& name) {
    const auto tokens = f_.Path("token/tokens");
    if (name == "token host killed") {
      const auto hosts = Hosts();
      if (!hosts.empty()) (void)kill(hosts[random_() % hosts.size()], SIGKILL);
    } else if (name == "service killed") {
      EndDaemon(SIGKILL);
      clock_.StartDaemon(f_);
    } else if (name == "token pulled") {
      module_.Order("* gone");
      Pause(2s);
      module_.Heal();
    } else if (name == "call hangs") {
      const auto hosts = Hosts();
      if (hosts.empty()) return;
      const auto hung = hosts[random_() % hosts.size()];
      module_.Order("C_WrapKey hang pid " + std::to_string(hung));
      const auto until = Clock::now() + 10s;
      while (kill(hung, 0) == 0 && Clock::now() < until) Pause(50ms);
      EXPECT_NE(kill(hung, 0), 0) << "a hung call is ended with its host";
      module_.Heal();
    } else if (name == "token slow") {
      module_.Order("* delay 20");
      Pause(3s);
      module_.Heal();
    } else if (name == "token says CKR_DEVICE_ERROR") {
      module_.Order("C_UnwrapKey return 0x30 times 5");
      Pause(1s);
      module_.Heal();
    } else if (name == "disk full") {
      disk_->Fill(std::uint64_t{8} << 20);
      Pause(3s);
      disk_->Free();
    } else if (name == "clock stepped") {
      clock_.Set(-120);
      Pause(3s);
      clock_.Set(0);
      Pause(1s);
      AcceptClock();
    }
  }

  TempDir where_;
  FaultyModule module_;
  DevFixture f_;
  std::optional<OwnDisk> disk_;
  const SteppedClock clock_{where_.path()};  // strongroomd's alone; the token's hosts keep the machine's
  std::mt19937 random_{20261122};
};

std::vector<crypto::Digest> EvidenceOf(const std::string& folder) {
  std::vector<crypto::Digest> digests;
  const auto read = ledger::ReadLogFolder(folder, "evidence", [&](std::uint64_t, ByteView bytes) -> Result<void> {
    TRY_ASSIGN(const auto entry, ledger::DecodeEvidence(bytes));
    digests.push_back(entry.digest);
    return {};
  });
  EXPECT_TRUE(read);
  std::sort(digests.begin(), digests.end());
  return digests;
}

TEST_F(Soak, MixedLoadUnderEveryHarm) {
  const auto seconds = Setting("STRONGROOM_SOAK_SECONDS", 3600);
  std::ofstream report(std::getenv("STRONGROOM_SOAK_REPORT") == nullptr ? where_.File("report.md")
                                                                        : std::getenv("STRONGROOM_SOAK_REPORT"));
  std::atomic<bool> stop{false}, may_break{false};
  std::vector<std::unique_ptr<LoadClient>> clients;
  for (unsigned i = 0; i < kClients; ++i) clients.push_back(std::make_unique<LoadClient>(f_, i, stop, may_break, 500));
  std::vector<std::thread> threads;
  ASSERT_TRUE(Recovers()) << "it does not even start";
  for (auto& client : clients) threads.emplace_back([&client] { client->Run(); });

  const auto begin = Clock::now();
  const auto end = begin + std::chrono::seconds(seconds);
  const auto last_kill = begin + std::chrono::seconds(seconds * 2 / 5);
  struct Tally {
    int times = 0;
    double slowest = 0;
  };
  std::map<std::string, Tally> tallies;
  std::vector<std::pair<double, long>> memory;  // minutes, KiB of one life of the service
  const std::array harms = {
      "service killed",    "token host killed", "call hangs",        "token pulled",
      "disk full",         "clock stepped",     "token slow",        "token says CKR_DEVICE_ERROR",
      "token host killed", "token host killed", "token host killed", "service killed"};
  std::size_t turn = 0;
  while (Clock::now() < end) {
    Pause(std::chrono::milliseconds(3000 + random_() % 3000));
    // Every harm has had its turn before chance decides.
    const std::string name = harms[turn < harms.size() ? turn : random_() % harms.size()];
    ++turn;
    if (name == "service killed" && Clock::now() > last_kill) continue;
    // A killed service leaves requests without an answer; nothing else may.
    may_break = name == "service killed";
    Harm(name);
    const auto recovered = Recovers();
    if (may_break) Pause(2s);
    may_break = false;
    EXPECT_TRUE(recovered) << name << ": not served again within a minute";
    auto& tally = tallies[name];
    ++tally.times;
    tally.slowest = std::max(tally.slowest, recovered.value_or(60));
    const auto at = std::chrono::duration<double>(Clock::now() - begin).count();
    if (Clock::now() > last_kill) memory.emplace_back(at / 60, AnonymousKib(f_.PidOf("strongroomd.pid")));
    std::cout << static_cast<int>(at) << " s: " << name << ", served again after " << recovered.value_or(-1) << " s"
              << std::endl;
  }
  stop = true;
  for (auto& thread : threads) thread.join();

  long answers = 0, refused = 0, unanswered = 0, recorded = 0, held = 0, lost = 0, wrong = 0;
  for (const auto& client : clients) {
    answers += client->answers_;
    refused += client->refused_;
    unanswered += client->unanswered_;
    wrong += static_cast<long>(client->wrong_.size());
    for (std::size_t i = 0; i < std::min<std::size_t>(client->wrong_.size(), 5); ++i)
      ADD_FAILURE() << client->wrong_[i];
  }
  // What was handed out opens, and is what it was.
  for (const auto& client : clients) {
    const auto reader = f_.ClientFor(client->principal_);
    bj::array items;
    for (const auto& each : client->held_) items.push_back(bj::object{{"wrapped", each.wrapped}});
    if (items.empty()) continue;
    const auto text = netapi::WriteJson(bj::object{{"items", std::move(items)}});
    const auto answer = netapi::ParseAnswer(
        *reader->Call("POST", "/v1/keyrings/" + client->keyring_ + "/unwrap", {text.data(), text.size()}));
    ASSERT_TRUE(answer) << answer.error().Line();
    const auto& opened = answer->get_object().at("items").get_array();
    for (std::size_t i = 0; i < opened.size(); ++i, ++held) {
      const auto* plaintext = opened[i].get_object().if_contains("plaintext");
      if (plaintext == nullptr || Text(*plaintext) != client->held_[i].dek) ++wrong;
    }
  }
  ExportVerifies(f_, where_.File("export"));
  const auto evidence = EvidenceOf(where_.File("export"));
  for (const auto& client : clients)
    for (const auto& digest : client->digests_) {
      ++recorded;
      lost += std::binary_search(evidence.begin(), evidence.end(), digest) ? 0 : 1;
    }
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(lost, 0) << "answers without their entry";
  EXPECT_GT(answers, seconds * 50);
  ASSERT_GE(memory.size(), 2U);
  const auto third = memory.size() / 3;
  const auto peak = [](auto from, auto to) {
    return std::max_element(from, to, [](const auto& a, const auto& b) { return a.second < b.second; })->second;
  };
  const auto early = peak(memory.begin(), memory.begin() + static_cast<std::ptrdiff_t>(third) + 1);
  const auto late = peak(memory.end() - static_cast<std::ptrdiff_t>(third) - 1, memory.end());
  EXPECT_LT(late, early + early / 4 + 4096) << "KiB: the heap grows";

  report << "| what | how often | slowest until served again, s |\n|---|---|---|\n";
  for (const auto& [name, tally] : tallies) {
    std::array<char, 32> slowest{};
    (void)std::snprintf(slowest.data(), slowest.size(), "%.1f", tally.slowest);
    report << "| " << name << " | " << tally.times << " | " << slowest.data() << " |\n";
  }
  report << "\n"
         << seconds << " s, " << kClients << " services: " << answers << " answers, " << wrong << " wrong; " << refused
         << " refused with 503, " << unanswered << " without an answer (the service was killed under them). "
         << recorded << " answers looked up in " << evidence.size() << " evidence entries, " << lost << " missing; "
         << held
         << " wrapped DEKs opened at the end. Both verifiers pass. Anonymous memory of the service over the last "
         << static_cast<int>(memory.back().first - memory.front().first) << " minutes, of one life: peak " << early
         << " KiB in the first third, " << late << " KiB in the last.\n";
}

}  // namespace
}  // namespace strongroom::tests
