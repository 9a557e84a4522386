#include "provisioning/dev_tokens.h"

namespace strongroom::provisioning {
namespace {

namespace fs = std::filesystem;
namespace bj = boost::json;

// Where the parts of one further token are, as names in the appliance's folder.
struct Places {
  explicit Places(const std::string& name) : folder("tokens/" + name) {}
  std::string In(const char* file) const { return folder + "/" + file; }
  std::string folder;
};

std::vector<std::string> Names(const DevAppliance& dev) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(dev.Path("tokens"), error))
    if (fs::exists(entry.path() / "strongroom-tokend.toml")) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

Result<void> MakeFiles(const DevAppliance& dev, const std::string& name, const Places& at) {
  std::error_code error;
  for (const auto& folder : {at.folder, at.In("tokens"), at.In("state")}) {
    fs::create_directories(dev.Path(folder), error);
    if (error) return Io("cannot create " + dev.Path(folder) + ": " + error.message());
    fs::permissions(dev.Path(folder), fs::perms::owner_all, error);
  }
  for (const auto* pin : {"kek.pin", "kek.so-pin"})
    if (!fs::exists(dev.Path(at.In(pin))))
      TRY(WriteText(dev.Path(at.In(pin)), ToHex(crypto::RandomArray<16>()) + "\n", 0600));
  TRY(WriteText(dev.Path(at.In("softhsm2.conf")),
                "directories.tokendir = " + dev.Path(at.In("tokens")) +
                    "\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n",
                0600));
  const auto quoted = [&](const char* file) { return "\"" + dev.Path(at.In(file)) + "\"\n"; };
  return WriteText(dev.Path(at.In("strongroom-tokend.toml")),
                   "[tokend]\nuri = \"pkcs11:token=" + name + "?module-path=" + std::string(kModule) +
                       "&pin-source=file:" + PercentEncode(dev.Path(at.In("kek.pin"))) +
                       "\"\nsocket = " + quoted("tokend.sock") + "state-dir = " + quoted("state") +
                       "softhsm-conf = " + quoted("softhsm2.conf") + "so-pin-file = " + quoted("kek.so-pin"),
                   0600);
}

Result<std::string> MakeToken(const DevAppliance& dev, const Places& at) {
  const auto run = [&](const char* what) {
    std::vector<std::string> command = {dev.Program("strongroom-tokend"), "--config",
                                        dev.Path(at.In("strongroom-tokend.toml")), what};
    if (what != std::string_view("--show-token"))
      command.insert(command.end(), {"--roster", dev.Path(at.In("roster"))});
    return RunProcess(command);
  };
  if (!fs::exists(dev.Path(at.In("made")))) {
    // It obeys the roster that is in force when it is made.
    TRY_ASSIGN(const auto client, dev.ClientFor("auditor-1"));
    TRY_ASSIGN(const auto answer, client->Call("GET", "/v1/roster"));
    TRY_ASSIGN(const auto roster, netapi::ParseAnswer(answer));
    TRY(WriteText(dev.Path(at.In("roster")), TextOf(roster, "text"), 0644));
    TRY_ASSIGN(const auto made, run("--init-token"));
    if (made.status != 0) {
      // A run that was cut off may have left it without its last key.
      if (made.err.find("token-exists") == std::string::npos)
        return Io("the token was not made: " + dev.LastLine(made.err));
      TRY_ASSIGN(const auto key, run("--make-checkpoint-key"));
      if (key.status != 0 && key.err.find("key-exists") == std::string::npos)
        return Io("the token was not finished: " + dev.LastLine(key.err));
    }
    TRY(WriteText(dev.Path(at.In("made")), "the token was initialised\n", 0600));
  }
  TRY_ASSIGN(const auto shown, run("--show-token"));
  constexpr std::string_view kSerial = "serial: ";
  const auto line = shown.out.find(kSerial);
  if (shown.status != 0 || line == std::string::npos) return Io("the token cannot be read: " + dev.LastLine(shown.err));
  const auto begin = line + kSerial.size();
  return shown.out.substr(begin, shown.out.find('\n', begin) - begin);
}

// True when the configuration was changed.
Result<bool> Connect(const DevAppliance& dev, const Places& at, const std::string& serial) {
  const auto path = dev.Path("strongroom.toml");
  TRY_ASSIGN(const auto config, netapi::ReadServerConfig(path));
  for (const auto& token : config.tokens)
    if (token.serial == serial) return false;
  TRY(WriteText(path,
                ReadText(path) + "\n[[token]]\nserial = \"" + serial + "\"\nsocket = \"" +
                    dev.Path(at.In("tokend.sock")) + "\"\n",
                0600));
  return true;
}

Result<std::string> Make(const std::string& directory, const std::string& name) {
  TRY_ASSIGN(auto dev, DevAppliance::In(directory));
  if (!crypto::IsName(name) || name.size() > 32)
    return Invalid("a token's name is 1 to 32 characters of a-z, 0-9 and -");
  if (!fs::exists(dev.Path("complete")))
    return NotFound("there is no complete dev appliance in " + directory + ": strongroom dev up --dir " +
                    ShellQuote(directory) + " makes one");
  const Places at(name);
  if (dev.Path(at.In("tokend.sock")).size() > kMaxSocketPath)
    return Invalid("the socket's path would be longer than " + std::to_string(kMaxSocketPath) +
                   " bytes: use a shorter name");
  TRY_ASSIGN(const auto lock, dev.Lock());
  TRY(MakeFiles(dev, name, at));
  TRY_ASSIGN(auto serial, MakeToken(dev, at));
  TRY_ASSIGN(const bool changed, Connect(dev, at, serial));
  TRY(StartFurtherTokens(dev));
  if (!changed || dev.RunningPid("strongroomd", "strongroomd.pid") < 0) return serial;
  dev.StopDaemon("strongroomd", "strongroomd.pid");
  TRY(dev.EnsureDaemon("strongroomd", "strongroomd.pid", "log/strongroomd.log"));
  TRY(dev.AwaitReady());
  return serial;
}

}  // namespace

Result<void> StartFurtherTokens(DevAppliance& dev) {
  for (const auto& name : Names(dev)) {
    const Places at(name);
    TRY(dev.EnsureDaemon("strongroom-tokend", at.In("tokend.pid"), at.In("tokend.log"),
                         at.In("strongroom-tokend.toml")));
  }
  return {};
}

void StopFurtherTokens(const DevAppliance& dev) {
  for (const auto& name : Names(dev)) {
    const Places at(name);
    dev.StopDaemon("strongroom-tokend", at.In("tokend.pid"), at.In("strongroom-tokend.toml"));
  }
}

int DevToken(const CliSession& session, const std::string& directory, const std::string& name) {
  const auto serial = Make(directory, name);
  if (!serial) return Fail(serial.error());
  if (session.json) {
    PrintJson(bj::object{{"serial", *serial}});
    return kExitDone;
  }
  std::cout << "serial: " << *serial << "\n";
  std::cerr << "it is connected, and used when it is enrolled\nnext: strongroom propose token.enrol --param token="
            << *serial << " --reason TEXT\n";
  return kExitDone;
}

}  // namespace strongroom::provisioning
