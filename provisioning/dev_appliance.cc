#include "provisioning/dev_appliance.h"

#include "provisioning/dev_layout.h"
#include "provisioning/dev_tokens.h"

namespace strongroom::provisioning {
namespace {

namespace fs = std::filesystem;
namespace bj = boost::json;

// A blank one stops before its first boot, which is left to a ceremony; afterwards it is started like any other.
Result<std::string> Up(const std::string& directory, unsigned short port, unsigned token_hosts, bool blank) {
  TRY_ASSIGN(auto dev, DevAppliance::In(directory));
  TRY(dev.CheckOurs());
  TRY_ASSIGN(const auto lock, dev.Lock());
  TRY_ASSIGN(const bool complete, dev.CheckComplete());
  if (blank) TRY(dev.MarkBlank());
  blank = dev.IsBlank();
  if (!complete || port != 0 || token_hosts != 0) TRY(dev.MakeFiles(port, token_hosts));
  if (!complete) TRY(dev.MakeToken());
  if (!complete) TRY(dev.MakeIdentity());
  bool started_tokend = false, started_daemon = false;
  const auto started = [&]() -> Result<bool> {
    if (blank && !dev.HasLedger()) return false;
    TRY_ASSIGN(started_tokend, dev.EnsureDaemon("strongroom-tokend", "tokend.pid", "log/tokend.log"));
    TRY(StartFurtherTokens(dev));
    if (!complete && !blank && dev.RunningPid("strongroomd", "strongroomd.pid") < 0) TRY(dev.FirstBoot());
    TRY_ASSIGN(started_daemon, dev.EnsureDaemon("strongroomd", "strongroomd.pid", "log/strongroomd.log"));
    return dev.AwaitReady();
  }();
  if (!started) {
    // What this run has started and what does not serve is not left running.
    if (started_daemon) dev.StopDaemon("strongroomd", "strongroomd.pid");
    if (started_tokend) dev.StopDaemon("strongroom-tokend", "tokend.pid");
    if (started_daemon) StopFurtherTokens(dev);
    return started.error();
  }
  if (blank) {
    if (!*started)
      std::cerr << "blank: it has certificates and SSH keys, and waits for its first boot, which makes its token and "
                   "its roster\n"
                   "next: strongroom ceremony run first-boot.toml; see docs/ceremonies.md\n";
    else
      TRY(dev.WriteVerifierKey());
    return dev.Url();
  }
  if (!*started) {
    std::cerr << "strongroom: the database is not the one that the token has signed last (state rollback): reading and "
                 "ledger.adopt are allowed\nnext: strongroom status; see the guide on recovery\n";
    return dev.Url();
  }
  TRY(dev.MakeKeyring("install", {"suite=kwp", "custody=token", "grants=service-1"}));
  TRY(dev.MakeKeyring("org-a", {"suite=gcm", "custody=token", "grants=service-2"}));
  TRY(dev.MakeKeyring("org-b", {"custody=keyring:install", "grants=service-1,service-2"}));
  TRY(dev.WriteVerifierKey());
  TRY(dev.MarkComplete());
  return dev.Url();
}

}  // namespace

int DevUp(const CliSession& session, const std::string& directory, unsigned short port, unsigned token_hosts,
          bool blank) {
  const auto url = Up(directory, port, token_hosts, blank);
  if (!url) return Fail(url.error());
  const auto absolute = fs::absolute(directory).lexically_normal().string();
  if (session.json) {
    PrintJson(bj::object{{"url", *url}, {"dir", absolute}});
    return kExitDone;
  }
  // A blank one waits for its first boot, as it has said.
  if (const auto dev = DevAppliance::In(directory); dev && dev->IsBlank() && !dev->HasLedger()) {
    std::cout << "Strongroom will be at " << *url << " (" << absolute << ")\n";
    return kExitDone;
  }
  std::cout << "Strongroom is up at " << *url << " (" << absolute << ")\n"
            << "One user runs every part here: the separation of token and network does not hold as it does on an "
               "appliance.\n\n"
            << "  eval \"$(strongroom dev env --dir " << ShellQuote(directory) << " --as service-1)\"\n"
            << "  strongroom datakey --keyring install --plaintext\n"
            << "  curl --cacert \"$STRONGROOM_CA\" --cert \"$STRONGROOM_CERT\" --key \"$STRONGROOM_KEY\" \\\n"
            << "    -H 'content-type: application/json' -d '{\"bytes\":32}' "
               "\"$STRONGROOM_SERVER/v1/keyrings/install/datakey\"\n";
  return kExitDone;
}

int DevDown(const CliSession& session, const std::string& directory) {
  const auto dev = DevAppliance::In(directory);
  if (!dev) return Fail(dev.error());
  if (!fs::exists(dev->Path("strongroom.toml"))) return Fail(NotFound("there is no dev appliance in " + directory));
  dev->StopDaemon("strongroomd", "strongroomd.pid");
  dev->StopDaemon("strongroom-tokend", "tokend.pid");
  StopFurtherTokens(*dev);
  if (session.json)
    PrintJson(bj::object{{"stopped", true}});
  else
    std::cout << "stopped; strongroom dev up --dir " << ShellQuote(directory) << " starts it again\n";
  return kExitDone;
}

int DevIssue(const CliSession& session, const std::string& directory, const std::string& name) {
  const auto dev = DevAppliance::In(directory);
  if (!dev) return Fail(dev.error());
  if (!crypto::IsName(name)) return FailUsage(Invalid("a principal's name is 1 to 64 characters of a-z, 0-9 and -"));
  if (!fs::exists(dev->Path("ca.key"))) return Fail(NotFound("there is no dev appliance in " + directory));
  const auto stem = dev->Path("clients/" + name);
  if (const auto made =
          EnsureClientCertificate(name, stem + ".pem", stem + ".key", dev->Path("ca.pem"), dev->Path("ca.key"));
      !made)
    return Fail(made.error());
  if (session.json)
    PrintJson(bj::object{{"certificate", stem + ".pem"}, {"key", stem + ".key"}});
  else
    std::cout << stem << ".pem\n";
  return kExitDone;
}

int DevEnv(const CliSession& session, const std::string& directory, const std::string& principal) {
  const auto dev = DevAppliance::In(directory);
  if (!dev) return Fail(dev.error());
  const auto url = dev->Url();
  if (!url)
    return Fail(NotFound("there is no dev appliance in " + directory + ": strongroom dev up --dir " +
                         ShellQuote(directory) + " makes one"));
  const auto stem = dev->Path("clients/" + principal);
  if (!fs::exists(stem + ".pem"))
    return Fail(NotFound("no principal '" + principal + "': see " + dev->Path("clients")));
  const std::array<std::pair<const char*, std::string>, 4> variables = {{{"STRONGROOM_SERVER", *url},
                                                                         {"STRONGROOM_CA", dev->Path("ca.pem")},
                                                                         {"STRONGROOM_CERT", stem + ".pem"},
                                                                         {"STRONGROOM_KEY", stem + ".key"}}};
  bj::object out;
  for (const auto& [name, value] : variables) {
    if (session.json)
      out[name] = value;
    else
      std::cout << "export " << name << "=" << ShellQuote(value) << "\n";
  }
  if (session.json) PrintJson(out);
  return kExitDone;
}

}  // namespace strongroom::provisioning
