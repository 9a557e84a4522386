#pragma once
// What a dev appliance's folder holds and how each part of it is made. Shared by the dev commands.

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <algorithm>
#include <array>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include "crypto/roster.h"
#include "crypto/text_rules.h"
#include "hsm/frame_socket.h"
#include "netapi/config.h"
#include "provisioning/governance_commands.h"
#include "provisioning/pki.h"
#include "provisioning/process.h"

namespace strongroom::provisioning {

inline constexpr std::size_t kMaxSocketPath = 107;
inline constexpr const char* kModule = "/usr/lib/softhsm/libsofthsm2.so";
inline constexpr std::array<const char*, 3> kCustodians = {"custodian-1", "custodian-2", "custodian-3"};
inline constexpr std::array<const char*, 9> kPrincipals = {"operator-1",  "operator-2",  "custodian-1",
                                                           "custodian-2", "custodian-3", "auditor-1",
                                                           "monitor-1",   "service-1",   "service-2"};

inline std::string ReadText(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

inline Result<void> WriteText(const std::filesystem::path& path, std::string_view text, mode_t mode) {
  const auto temporary = path.string() + ".new";
  const hsm::UniqueFd file(open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode));
  if (!file || write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) ||
      fsync(file.get()) != 0)
    return Io("cannot write " + temporary);
  std::error_code error;
  std::filesystem::rename(temporary, path, error);
  if (error) return Io("cannot write " + path.string());
  return {};
}

inline std::string PercentEncode(const std::string& path) {
  std::string out;
  for (const char c : path) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '/' ||
                       c == '-' || c == '_' || c == '.' || c == '~';
    if (plain)
      out.push_back(c);
    else
      out += "%" + ToHex(AsBytes(std::string_view(&c, 1)));
  }
  return out;
}

inline std::string ShellQuote(const std::string& text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

inline Result<unsigned short> FreePort() {
  const hsm::UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (!fd || bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0)
    return Io("no free port");
  return ntohs(address.sin_port);
}

inline void Pause(int milliseconds) { (void)poll(nullptr, 0, milliseconds); }

/// DevAppliance is a dev appliance as it lies in its folder: what is there, what runs, and how the rest is made. Not
/// thread-safe; one process at a time holds its Lock.
class DevAppliance {
 public:
  /// In names one by its folder, which need not be there. kInvalid for a path that cannot be used; kForbidden
  /// (directory-not-yours) for a folder that is somebody else's, a link, or no folder: whoever owns it owns what is
  /// made in it.
  static Result<DevAppliance> In(const std::string& directory) {
    std::error_code error;
    const auto absolute = std::filesystem::absolute(directory, error).lexically_normal();
    auto text = absolute.string();
    if (text.size() > 1 && text.ends_with('/')) text.pop_back();
    if (directory.empty()) return Invalid("--dir is empty");
    // Quotes would end a TOML string; '#' and '=' have a meaning in SoftHSM's own configuration.
    for (const char c : text)
      if (c == '"' || c == '\\' || c == '#' || c == '=' || static_cast<unsigned char>(c) < 0x20)
        return Invalid("the directory's path has one of \" \\ # = or a control character: use another");
    if (text.size() + std::string_view("/token/tokend.sock").size() > kMaxSocketPath)
      return Invalid("the directory's path is longer than " + std::to_string(kMaxSocketPath - 18) +
                     " bytes, too long for the socket in it: use a shorter one");
    if (struct stat found{}; lstat(text.c_str(), &found) == 0 && (!S_ISDIR(found.st_mode) || found.st_uid != geteuid()))
      return Forbidden(text + " is not a folder of the user that runs this: a link, or somebody else's",
                       "directory-not-yours");
    return DevAppliance(text);
  }

  std::string Path(const std::string& name) const { return (dir_ / name).string(); }

  // A complete appliance is never mended by making parts anew: a new PIN or an empty database in the place of a lost
  // one would do harm. True when it is complete; kNotFound names what is gone.
  Result<bool> CheckComplete() const {
    if (!std::filesystem::exists(Path("complete"))) return false;
    std::vector<std::string> files = {"strongroom.toml", "ca.pem",       "server.pem",   "token/softhsm2.conf",
                                      "token/kek.pin",   "token/tokens", "data/data.mdb"};
    std::vector<std::string> tokens = {"token/tokens"};
    // One of an earlier version has its TLS key in a file, and keeps it.
    if (ReadText(Path("strongroom.toml")).find("\nidentity = ") != std::string::npos) {
      files.insert(files.end(), {"token/identity.conf", "token/identity.pin", "token/identity"});
      tokens.emplace_back("token/identity");
    } else {
      files.emplace_back("server.key");
    }
    for (const auto& name : files)
      if (!std::filesystem::exists(Path(name)))
        return NotFound(
            Path(name) + " is missing: put it back; dev up makes no new one for an appliance that was complete",
            "file-missing");
    for (const auto& name : tokens)
      if (std::filesystem::is_empty(Path(name)))
        return NotFound(Path(name) + " holds no token: put it back; dev up makes no new one", "token-missing");
    return true;
  }
  bool IsBlank() const { return std::filesystem::exists(Path("blank")); }
  bool HasLedger() const { return std::filesystem::exists(Path("data/data.mdb")); }
  Result<void> MarkBlank() {
    if (IsBlank()) return {};
    if (std::filesystem::exists(Path("strongroom.toml")))
      return Conflict("there is an appliance in " + dir_.string() + " already: a blank one takes a new folder",
                      "directory-in-use");
    std::error_code error;
    std::filesystem::create_directories(dir_, error);
    return WriteText(Path("blank"), "no first boot yet\n", 0644);
  }
  Result<void> MarkComplete() {
    if (std::filesystem::exists(Path("complete"))) return {};
    return WriteText(Path("complete"),
                     "dev up has made everything here; what goes missing from now on is not made anew\n", 0600);
  }

  // Only an empty directory, or one that an earlier run has begun, is used. It is closed to everybody else before it is
  // searched for what others have planted, so that nobody plants anything behind the look.
  Result<void> CheckOurs() const {
    constexpr std::array<std::string_view, 18> kOurs = {
        "ca.pem",     "ca.key",      "server.pem", "server.key", "clients",         "approvers",
        "roster",     "token",       "data",       "log",        "strongroom.toml", "strongroomd.pid",
        "tokend.pid", "ledger.vkey", "complete",   "lock",       "blank",           "tokens"};
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(dir_, error)) {
      auto name = entry.path().filename().string();
      if (name.ends_with(".new")) name.resize(name.size() - 4);
      if (std::find(kOurs.begin(), kOurs.end(), name) == kOurs.end())
        return Conflict(Path(entry.path().filename().string()) + " is not ours: give dev up an empty directory",
                        "directory-in-use");
    }
    std::filesystem::permissions(dir_, std::filesystem::perms::owner_all, error);
    if (!std::filesystem::exists(dir_, error)) return {};
    for (auto at = std::filesystem::recursive_directory_iterator(dir_, error);
         !error && at != std::filesystem::recursive_directory_iterator(); at.increment(error)) {
      struct stat found {};
      const auto& path = at->path();
      if (lstat(path.c_str(), &found) == 0 && (S_ISLNK(found.st_mode) || found.st_uid != geteuid()))
        return Forbidden(path.string() + " is a link or somebody else's: dev up uses neither", "directory-not-yours");
    }
    if (error) return Io("cannot read " + dir_.string() + ": " + error.message());
    return {};
  }

  // One dev up at a time.
  Result<hsm::UniqueFd> Lock() {
    std::error_code error;
    std::filesystem::create_directories(dir_, error);
    hsm::UniqueFd lock(open(Path("lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (!lock) return Io("cannot write in " + dir_.string() + ": " + std::generic_category().message(errno));
    if (flock(lock.get(), LOCK_EX | LOCK_NB) != 0)
      return Conflict("another strongroom dev command works on " + dir_.string() + ": let it finish",
                      "already-running");
    return lock;
  }

  Result<void> MakeFiles(unsigned short port, unsigned token_hosts) {
    std::error_code error;
    for (const auto* name : {"", "clients", "approvers", "token", "token/tokens", "token/identity", "token/state",
                             "data", "log", "roster"}) {
      std::filesystem::create_directories(dir_ / name, error);
      if (error) return Io("cannot create " + Path(name) + ": " + error.message());
      std::filesystem::permissions(dir_ / name, std::filesystem::perms::owner_all, error);
    }
    TRY(MakeConfig(port, token_hosts));
    TRY(EnsureCa(Path("ca.pem"), Path("ca.key")));
    for (const auto* name : kPrincipals) {
      const auto stem = Path("clients/" + std::string(name));
      TRY(EnsureClientCertificate(name, stem + ".pem", stem + ".key", Path("ca.pem"), Path("ca.key")));
    }
    for (const auto* name : kCustodians) {
      const auto file = Path("approvers/" + std::string(name));
      if (std::filesystem::exists(file) && std::filesystem::exists(file + ".pub")) continue;
      std::filesystem::remove(file, error);
      TRY_ASSIGN(const auto made, RunProcess({"ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", file}));
      if (made.status != 0) return Io("ssh-keygen did not make " + file);
    }
    return IsBlank() ? Result<void>() : MakeRoster();
  }

  Result<void> MakeToken() {
    if (std::filesystem::exists(Path("token/made"))) {
      if (!std::filesystem::exists(Path("token/kek.pin")))
        return NotFound(Path("token/kek.pin") + " is missing: put it back; the token was made with it", "pin-missing");
      return {};
    }
    for (const auto* name : {"token/kek.pin", "token/kek.so-pin"})
      if (!std::filesystem::exists(Path(name)))
        TRY(WriteText(Path(name), ToHex(crypto::RandomArray<16>()) + "\n", 0600));
    if (!std::filesystem::exists(Path("token/softhsm2.conf")))
      TRY(WriteText(Path("token/softhsm2.conf"),
                    "directories.tokendir = " + Path("token/tokens") +
                        "\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n",
                    0600));
    // A blank one's token is initialised in its first-boot ceremony, once there is a roster.
    if (IsBlank() && !HasLedger()) return {};
    if (IsBlank()) return WriteText(Path("token/made"), "the KEK token was initialised by a ceremony\n", 0600);
    // Whose token it is for good: the roster that it obeys from its first moment on.
    const auto roster = Path("roster/roster.txt");
    TRY_ASSIGN(const auto made, RunProcess({Program("strongroom-tokend"), "--config", Path("strongroom.toml"),
                                            "--init-token", "--roster", roster}));
    if (made.status != 0) {
      // A token that is there already was made by a run that was cut off right after, perhaps before its last key.
      if (made.err.find("token-exists") == std::string::npos)
        return Io("the token was not made: " + LastLine(made.err));
      TRY_ASSIGN(const auto key, RunProcess({Program("strongroom-tokend"), "--config", Path("strongroom.toml"),
                                             "--make-checkpoint-key", "--roster", roster}));
      if (key.status != 0 && key.err.find("key-exists") == std::string::npos)
        return Io("the checkpoint key was not made: " + LastLine(key.err));
    }
    return WriteText(Path("token/made"), "the KEK token was initialised\n", 0600);
  }

  // The front end's own token: its TLS key is made there, and only certified here.
  Result<void> MakeIdentity() {
    for (const auto* name : {"token/identity.pin", "token/identity.so-pin"})
      if (!std::filesystem::exists(Path(name)))
        TRY(WriteText(Path(name), ToHex(crypto::RandomArray<16>()) + "\n", 0600));
    if (!std::filesystem::exists(Path("token/identity.conf")))
      TRY(WriteText(Path("token/identity.conf"),
                    "directories.tokendir = " + Path("token/identity") +
                        "\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n",
                    0600));
    TRY_ASSIGN(const auto made,
               RunProcess({Program("strongroomd"), "--config", Path("strongroom.toml"), "--make-identity"}));
    if (made.status != 0) return Io("the identity token was not made: " + LastLine(made.err));
    return EnsureServerCertificate(made.out, Path("server.pem"), Path("ca.pem"), Path("ca.key"));
  }

  Result<void> FirstBoot() {
    TRY_ASSIGN(const auto booted, RunProcess({Program("strongroomd"), "--config", Path("strongroom.toml"),
                                              "--first-boot", Path("roster")}));
    if (booted.status != 0 && booted.err.find("already-initialised") == std::string::npos)
      return Io("strongroomd did not start: " + LastLine(booted.err), "not-started");
    return {};
  }

  // Starts one daemon unless it runs.
  Result<bool> EnsureDaemon(const std::string& program, const std::string& pid_file, const std::string& log,
                            const std::string& config = "strongroom.toml") {
    if (RunningPid(program, pid_file, config) > 0) return false;
    TRY(StartDaemon({Program(program), "--config", Path(config)}, Path(log), Path(pid_file)));
    return true;
  }

  // True when it serves, false when it waits for people: in rollback for ledger.adopt.
  Result<bool> AwaitReady() {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    std::string last = "no answer";
    while (std::chrono::steady_clock::now() < until) {
      for (const auto& [file, log] : {std::pair<std::string, std::string>{"tokend.pid", "log/tokend.log"},
                                      std::pair<std::string, std::string>{"strongroomd.pid", "log/strongroomd.log"}})
        if (PidIn(file) > 0 && !Alive(PidIn(file))) return Unavailable(LastLine(ReadText(Path(log))), "not-started");
      TRY_ASSIGN(const auto client, ClientFor("operator-1"));
      const auto answer = client->Call("GET", "/v1/status");
      const auto status = answer ? netapi::ParseAnswer(*answer) : Result<boost::json::value>(answer.error());
      if (status) {
        last.clear();
        for (const auto& check : status->get_object().at("checks").get_array()) {
          if (TextOf(check, "ok") == "true") continue;
          last += (last.empty() ? "" : "; ") + TextOf(check, "name") + ": " + TextOf(check, "detail");
          // Waiting turns no impostor into the right token, and no refused PIN into the right one.
          const auto detail = TextOf(check, "detail");
          if (detail.starts_with("impostor") || detail.starts_with("pin-latched"))
            return Unavailable(last, "not-started");
        }
        const auto ready = client->Call("GET", "/v1/health/ready");
        if (ready && ready->status == 200) return true;
        if (TextOf(*status, "state") == "rollback") return false;
      } else {
        last = status.error().detail;
      }
      Pause(20);
    }
    return Unavailable("the appliance did not become ready: " + last, "not-started");
  }

  // The keyrings of a dev appliance, made as anyone makes them: proposed, voted for by two custodians, executed once.
  Result<void> MakeKeyring(const std::string& name, std::vector<std::string> params) {
    TRY_ASSIGN(const auto client, ClientFor("operator-1"));
    TRY_ASSIGN(const auto known, client->Call("GET", "/v1/keyrings/" + name));
    if (known.status == 200) return {};
    TRY_ASSIGN(const auto proposal,
               FileProposal(*client, {"keyring.create", name, "dev up: keyring " + name, std::move(params)}));
    const auto id = TextOf(proposal, "id");
    const auto text = TextOf(proposal, "text");
    for (const auto* custodian : {kCustodians[0], kCustodians[1]}) {
      TRY_ASSIGN(auto signature,
                 SshSign(Path("approvers/" + std::string(custodian)), std::string(crypto::kVoteNamespace),
                         crypto::VoteMessage(text, crypto::Verdict::kApprove)));
      TRY(SubmitVote(*client, id, {custodian, crypto::Verdict::kApprove, std::move(signature)}));
    }
    TRY_ASSIGN(const auto executed, ExecuteProposal(*client, id));
    if (TextOf(executed, "state") != "executed")
      return Conflict("keyring " + name + " was not made: " + TextOf(executed, "outcome"));
    return {};
  }

  // The key that auditors are handed; one that is there already is left alone.
  Result<void> WriteVerifierKey() {
    if (std::filesystem::exists(Path("ledger.vkey"))) return {};
    TRY_ASSIGN(const auto client, ClientFor("operator-1"));
    // It is known once the token has been asked, a moment after the start.
    for (int i = 0; i < 500; ++i) {
      TRY_ASSIGN(const auto answer, client->Call("GET", "/v1/status"));
      TRY_ASSIGN(const auto status, netapi::ParseAnswer(answer));
      const auto key = TextOf(status.get_object().at("ledger"), "vkey");
      if (key != "-") return WriteText(Path("ledger.vkey"), key + "\n", 0644);
      Pause(20);
    }
    return Unavailable("the token has not told its checkpoint key", "not-started");
  }

  Result<std::unique_ptr<netapi::Client>> ClientFor(const std::string& principal) const {
    TRY_ASSIGN(const auto url, Url());
    return netapi::Client::Make(
        {url,
         {Path("clients/" + principal + ".pem"), Path("clients/" + principal + ".key"), Path("ca.pem")},
         std::chrono::seconds(30)});
  }

  Result<std::string> Url() const {
    TRY_ASSIGN(const auto config, netapi::ReadServerConfig(Path("strongroom.toml")));
    return "https://" + config.address + ":" + std::to_string(config.port);
  }

  // Stops one daemon and waits until it is gone; a daemon that does not go within its time is killed.
  void StopDaemon(const std::string& program, const std::string& pid_file,
                  const std::string& config = "strongroom.toml") const {
    const auto pid = RunningPid(program, pid_file, config);
    if (pid > 0) {
      const hsm::UniqueFd process(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
      (void)kill(pid, SIGTERM);
      pollfd gone{process.get(), POLLIN, 0};
      if (process && poll(&gone, 1, 20000) == 0) {
        (void)kill(pid, SIGKILL);
        (void)poll(&gone, 1, 5000);
      }
    }
    std::error_code ignored;
    std::filesystem::remove(Path(pid_file), ignored);
  }

  // The running process of a pid file, -1 if none: the number must still belong to our program.
  pid_t RunningPid(const std::string& program, const std::string& pid_file,
                   const std::string& config = "strongroom.toml") const {
    const auto pid = PidIn(pid_file);
    if (pid < 0 || !Alive(pid)) return -1;
    const auto command = ReadText("/proc/" + std::to_string(pid) + "/cmdline");
    const bool ours = command.find(program) != std::string::npos && command.find(Path(config)) != std::string::npos;
    return ours ? pid : -1;
  }

  static std::string Program(const std::string& name) {
    std::error_code error;
    return (std::filesystem::read_symlink("/proc/self/exe", error).parent_path() / name).string();
  }
  static std::string LastLine(std::string text) {
    text.erase(text.find_last_not_of('\n') + 1);
    return text.substr(text.rfind('\n') + 1);
  }

 private:
  explicit DevAppliance(std::string directory) : dir_(std::move(directory)) {}

  pid_t PidIn(const std::string& pid_file) const {
    const auto pid = static_cast<pid_t>(std::strtol(ReadText(Path(pid_file)).c_str(), nullptr, 10));
    return pid > 1 ? pid : -1;
  }
  static bool Alive(pid_t pid) {
    // Not by its first thread, which may be gone while others still hold the database.
    const hsm::UniqueFd process(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
    pollfd ended{process.get(), POLLIN, 0};
    return process && poll(&ended, 1, 0) == 0;
  }
  Result<void> MakeConfig(unsigned short port, unsigned token_hosts) {
    const auto path = Path("strongroom.toml");
    if (std::filesystem::exists(path)) {
      TRY_ASSIGN(const auto config, netapi::ReadServerConfig(path));
      if (token_hosts != 0 && token_hosts != config.token_hosts)
        return Conflict("this appliance has " + std::to_string(config.token_hosts) +
                        " token hosts; change hosts and token-hosts in " + path);
      if (port != 0 && port != config.port)
        return Conflict("this appliance uses port " + std::to_string(config.port) + "; change listen in " + path);
      return {};
    }
    if (port == 0) {
      TRY_ASSIGN(port, FreePort());
    }
    const auto hosts = std::to_string(std::max(1U, token_hosts)) + "\n";
    const auto quoted = [&](const std::string& name) { return "\"" + Path(name) + "\"\n"; };
    std::string text =
        "# A development appliance: every part runs as one user, so the token side is separated from the network by "
        "processes only.\n\n";
    text += "[server]\nlisten = \"127.0.0.1:" + std::to_string(port) + "\"\ncertificate = " + quoted("server.pem") +
            "client-ca = " + quoted("ca.pem") +
            "identity = \"pkcs11:token=strongroom-identity?module-path=" + std::string(kModule) +
            "&pin-source=file:" + PercentEncode(Path("token/identity.pin")) + "\"\n" +
            "identity-so-pin-file = " + quoted("token/identity.so-pin") +
            "identity-softhsm-conf = " + quoted("token/identity.conf") +
            "tokend-socket = " + quoted("token/tokend.sock") + "token-hosts = " + hosts;
    text += "\n[ledger]\ndirectory = " + quoted("data");
    text +=
        "\n[rotation]\n# Elsewhere a keyring is rotated once an hour at most; here as often as a developer "
        "likes.\npace-minutes = 0\n";
    text += "\n[tokend]\nuri = \"pkcs11:token=strongroom-kek?module-path=" + std::string(kModule) +
            "&pin-source=file:" + PercentEncode(Path("token/kek.pin")) + "\"\n";
    text += "socket = " + quoted("token/tokend.sock") + "state-dir = " + quoted("token/state") +
            "softhsm-conf = " + quoted("token/softhsm2.conf") + "so-pin-file = " + quoted("token/kek.so-pin") +
            "hosts = " + hosts;
    return WriteText(path, text, 0600);
  }

  Result<void> MakeRoster() {
    const auto path = Path("roster/roster.txt");
    if (!std::filesystem::exists(path)) {
      std::vector<crypto::Principal> principals;
      for (const std::string name : kPrincipals) {
        crypto::Principal p;
        p.name = name;
        p.role = *crypto::RoleFromString(name.substr(0, name.rfind('-')));
        TRY_ASSIGN(p.spki, CertificateSpki(Path("clients/" + name + ".pem")));
        if (p.role == crypto::Role::kCustodian) {
          const auto key = ReadText(Path("approvers/" + name + ".pub"));
          p.ssh_key = key.substr(0, key.find(' ', key.find(' ') + 1));
        }
        principals.push_back(std::move(p));
      }
      crypto::RosterParts parts;
      for (const auto operation_class : crypto::Roster::kClasses) parts.policies[std::string(operation_class)] = 2;
      parts.principals = std::move(principals);
      const auto text = crypto::RosterText(crypto::RandomArray<16>(), 1, "none", std::move(parts));
      TRY(crypto::Roster::Parse(text));
      TRY(WriteText(path, text, 0644));
    }
    const auto text = ReadText(path);
    for (const auto* name : kCustodians) {
      const auto signature_file = Path("roster/" + std::string(name) + ".sig");
      if (std::filesystem::exists(signature_file)) continue;
      TRY_ASSIGN(const auto signature,
                 SshSign(Path("approvers/" + std::string(name)), std::string(crypto::kRosterNamespace), text));
      TRY(WriteText(signature_file, signature, 0644));
    }
    return {};
  }

  std::filesystem::path dir_;
};

}  // namespace strongroom::provisioning
