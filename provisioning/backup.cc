#include "provisioning/backup.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/json/object.hpp>
#include <filesystem>
#include <fstream>
#include <iostream>

#include "appliance/state_rows.h"
#include "hsm/frame_socket.h"
#include "netapi/config.h"
#include "provisioning/export_audit.h"
#include "provisioning/inventory_file.h"
#include "provisioning/ledger_export.h"
#include "provisioning/process.h"
#include "provisioning/progress.h"

namespace strongroom::provisioning {
namespace {

namespace bj = boost::json;
namespace fs = std::filesystem;
constexpr std::size_t kBatch = 2048;
const std::string kInventory = "inventory.ndjson";  // beside the files of the export

// A folder of this process's own beside a path; it goes with the object.
class WorkFolder {
 public:
  static Result<WorkFolder> Beside(const fs::path& path) {
    auto pattern = path.string() + ".work-XXXXXX";
    if (mkdtemp(pattern.data()) == nullptr)
      return Io("cannot make a folder beside " + path.string() + ": " + std::generic_category().message(errno));
    return WorkFolder(pattern);
  }
  ~WorkFolder() {
    std::error_code ignored;
    if (!path_.empty()) fs::remove_all(path_, ignored);
  }
  WorkFolder(WorkFolder&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  WorkFolder& operator=(WorkFolder&&) = delete;
  WorkFolder(const WorkFolder&) = delete;
  fs::path operator/(const char* name) const { return path_ / name; }

 private:
  explicit WorkFolder(fs::path path) : path_(std::move(path)) {}
  fs::path path_;
};

// Names are paths and never hosts, and nobody's environment adds options.
Result<std::string> RunTar(std::vector<std::string> arguments) {
  const std::vector<std::string> program = {"env", "-u", "TAR_OPTIONS", "LC_ALL=C", "tar", "--force-local"};
  arguments.insert(arguments.begin(), program.begin(), program.end());
  TRY_ASSIGN(const auto ran, RunProcess(arguments));
  if (ran.status == 0) return ran.out;
  return Io("tar failed: " + ran.err.substr(0, ran.err.find('\n')));
}

Result<bj::object> WriteBackup(const CliSession& session, const fs::path& file) {
  if (fs::exists(file)) return Conflict(file.string() + " exists: a backup is written into a new file", "file-exists");
  TRY_ASSIGN(const auto work, WorkFolder::Beside(file));
  // The inventory first: whatever it is under, and what it is, is in the log that is read after it.
  const auto inventory = work / "inventory";
  TRY_ASSIGN(const auto deks, WriteInventories(session, inventory));
  std::optional<ledger::BackedUp> covered;
  TRY_ASSIGN(auto done, WriteExport(session, (work / "ledger").string(), &covered));
  if (!covered || covered->digest != deks.digest || covered->records != deks.records)
    return Conflict(
        "the heads that were signed do not have this backup as the last one: another one was made meanwhile, or "
        "nothing can be signed now",
        "backup-not-covered");
  std::error_code moved;
  fs::rename(inventory, work / "ledger" / kInventory, moved);
  if (moved) return Io("cannot make the backup: " + moved.message());
  done["deks"] = deks.records;
  done["inventory_digest"] = ToHex(deks.digest);
  const auto archive = (work / "backup.tar").string();
  TRY(RunTar({"--create", "--file", archive, "--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mtime=@0",
              "--mode=go-rwx", "--directory", (work / "ledger").string(), "."}));
  const hsm::UniqueFd written(open(archive.c_str(), O_RDONLY | O_CLOEXEC));
  const hsm::UniqueFd folder(open(file.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  // What somebody has put there meanwhile stays.
  if (!written || !folder || fchmod(written.get(), 0600) != 0 || fsync(written.get()) != 0 ||
      renameat2(AT_FDCWD, archive.c_str(), AT_FDCWD, file.c_str(), RENAME_NOREPLACE) != 0 || fsync(folder.get()) != 0)
    return Io("cannot write " + file.string() + ": " + std::generic_category().message(errno));
  done["file"] = file.string();
  done.erase("dir");
  return done;
}

// A plain tar archive of files and folders: no compression that grows without bound, no links, no devices.
Result<void> CheckArchive(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  std::array<char, 512> head{};
  in.read(head.data(), head.size());
  if (!in || std::string_view(head.data() + 257, 5) != "ustar")
    return Integrity("the backup is not a plain tar archive", "log-damaged");
  const auto listed = RunTar({"--list", "--verbose", "--file", file});
  if (!listed) return Integrity("the backup cannot be read: " + listed.error().detail, "log-damaged");
  for (std::size_t at = 0; at < listed->size(); at = listed->find('\n', at) + 1)
    if ((*listed)[at] != '-' && (*listed)[at] != 'd')
      return Integrity("the backup has something else than files and folders in it", "unexpected-file");
  return {};
}

// Feeds a verified export into a new ledger, in batches.
class Rebuilder {
 public:
  explicit Rebuilder(ledger::Ledger& ledger) : ledger_(ledger) {}
  Result<void> TakeControl(ByteView raw) {
    TRY_ASSIGN(auto entry, ledger::DecodeControl(raw));
    TRY_ASSIGN(const auto changed, appliance::Apply(state_, entry));
    for (auto& row : appliance::RowsOf(state_, changed)) batch_.rows.push_back(std::move(row));
    batch_.control.push_back(std::move(entry));
    return batch_.control.size() < kBatch ? Result<void>() : Flush();
  }
  Result<void> TakeEvidence(ByteView raw) {
    TRY_ASSIGN(auto entry, ledger::DecodeEvidence(raw));
    batch_.evidence.push_back(std::move(entry));
    return batch_.evidence.size() < kBatch ? Result<void>() : Flush();
  }
  Result<void> Flush() {
    if (batch_.control.empty() && batch_.evidence.empty() && batch_.checkpoints.empty()) return {};
    TRY(ledger_.Record(std::exchange(batch_, {})));
    return {};
  }
  const appliance::State& state() const { return state_; }
  void TakeCheckpoint(ledger::Log log, std::uint64_t size, std::string note) {
    batch_.checkpoints.push_back({log, size, std::move(note)});
  }

 private:
  ledger::Ledger& ledger_;
  appliance::State state_;
  ledger::Submission batch_;
};

Result<Audit> Rebuild(const fs::path& folder, const fs::path& inventory, const crypto::NoteKey& key,
                      const fs::path& database, const RestoreOptions& restore, std::uint64_t& deks) {
  const auto& archives = restore.archives;
  const bool unbound = restore.unbound;
  Progress progress;
  TRY_ASSIGN(auto audit,
             AuditExport(
                 folder.string(), key, [&](const char* log, std::uint64_t n) { progress.Count(log, n); }, archives));
  ledger::Ledger::Options options;
  options.directory = database.string();
  TRY_ASSIGN(const auto ledger, ledger::Ledger::Open(options));
  Rebuilder rebuilder(*ledger);
  for (const auto log : {ledger::Log::kControl, ledger::Log::kEvidence}) {
    const std::string name = log == ledger::Log::kControl ? "control" : "evidence";
    TRY(ledger::ReadLogFolder(folder.string(), name,
                              [&](std::uint64_t index, ByteView raw) {
                                progress.Count("restored", index);
                                return log == ledger::Log::kControl ? rebuilder.TakeControl(raw)
                                                                    : rebuilder.TakeEvidence(raw);
                              },
                              {log == ledger::Log::kControl ? 0 : audit.archived, archives}));
    TRY(rebuilder.Flush());
    TRY_ASSIGN(auto note, ledger::ReadWholeFile((folder / name / "checkpoint").string()));
    TRY_ASSIGN(const auto head, crypto::Checkpoint::Parse(note.substr(0, note.rfind("\n\n") + 1)));
    // The files were verified a moment ago; what was read of them now must be the same.
    if (const auto stored = ledger->HeadOf(log); stored.size != head.size || stored.root != head.root)
      return Integrity("the backup changed while it was read", "log-damaged");
    rebuilder.TakeCheckpoint(log, head.size, std::move(note));
  }
  TRY(rebuilder.Flush());
  TRY_ASSIGN(deks, RestoreInventories(inventory, rebuilder.state(), *ledger, audit.backup, unbound));
  if (unbound) {
    // What nothing proves is said where it stays.
    ledger::EvidenceEntry mark;
    mark.time = SystemClock().Now();
    mark.request_id = mark.principal = "-";
    mark.operation = ledger::Operation::kOther;
    mark.items = static_cast<std::uint32_t>(std::min<std::uint64_t>(deks, 0xFFFFFFFFU));
    mark.outcome = "inventory-unbound";
    ledger::Submission submission;
    submission.evidence.push_back(std::move(mark));
    TRY(ledger->Record(std::move(submission)));
  }
  return audit;
}

Result<Audit> RestoreInto(const RestoreOptions& options, const fs::path& database, const crypto::NoteKey& key,
                          std::uint64_t& deks) {
  std::error_code error;
  if (fs::exists(database, error) && !fs::is_empty(database, error))
    return Conflict(
        database.string() + " holds a database: stop the service and move it away first; nothing is written over",
        "directory-in-use");
  if (!fs::is_regular_file(options.file, error)) return NotFound("there is no backup " + options.file, "file-missing");
  fs::create_directories(fs::absolute(database).parent_path(), error);
  TRY_ASSIGN(const auto work, WorkFolder::Beside(database));
  const auto folder = work / "ledger";
  fs::create_directory(folder, error);
  if (const auto plain = CheckArchive(options.file); !plain) return plain.error();
  if (const auto unpacked = RunTar({"--extract", "--file", options.file, "--no-same-owner", "--no-same-permissions",
                                    "--directory", folder.string()});
      !unpacked)
    return Integrity("the backup cannot be unpacked: " + unpacked.error().detail, "log-damaged");
  // The export in the backup is verified without what lies beside it: that is held against what its evidence says.
  const auto inventory = work / "inventory";
  if (fs::exists(folder / kInventory, error)) {
    fs::rename(folder / kInventory, inventory, error);
    if (error) return Io("cannot read the backup's inventory: " + error.message());
  }
  TRY_ASSIGN(const auto audit, Rebuild(folder, inventory, key, work / "data", options, deks));
  fs::rename(work / "data", database, error);
  if (error) return Io("cannot make " + database.string() + ": " + error.message());
  return audit;
}

}  // namespace

int Backup(const CliSession& session, const std::string& file) {
  const auto done = WriteBackup(session, fs::absolute(file));
  if (!done) return Fail(done.error());
  if (session.json) {
    PrintJson(*done);
    return kExitDone;
  }
  std::cout << "backed up " << TextOf(*done, "control") << " control and " << TextOf(*done, "evidence")
            << " evidence entries, " << TextOf(*done, "deks") << " wrapped DEKs to " << file << "\n";
  return kExitDone;
}

int Restore(const CliSession& session, const RestoreOptions& options) {
  const auto directory = fs::absolute(options.directory).lexically_normal();
  fs::path database = directory;
  if (const auto config_file = directory / "strongroom.toml"; fs::exists(config_file)) {
    const auto config = netapi::ReadServerConfig(config_file.string());
    if (!config) return Fail(config.error());
    database = config->data_directory;
  }
  auto key_text = options.key;
  if (key_text.empty() && fs::exists(directory / "ledger.vkey")) key_text = (directory / "ledger.vkey").string();
  if (key_text.empty())
    return FailUsage(
        Invalid("whose backup is it? --vkey names the checkpoint key that was handed out at the ceremony"));
  const auto key = KeyFrom(key_text);
  if (!key) return FailUsage(key.error());
  auto absolute = options;
  absolute.file = fs::absolute(options.file).string();
  std::uint64_t deks = 0;
  const auto audit = RestoreInto(absolute, database, *key, deks);
  if (!audit) {
    const auto status = Fail(audit.error());
    return audit.error().code == Code::kIntegrity ? kExitVerification : status;
  }
  if (session.json) {
    PrintJson(bj::object{{"directory", database.string()},
                         {"instance", audit->instance},
                         {"control", audit->control},
                         {"evidence", audit->evidence},
                         {"deks", deks},
                         {"inventory_bound", !options.unbound},
                         {"epoch", audit->epoch}});
    return kExitDone;
  }
  std::cout << "restored instance " << audit->instance << ": " << audit->control << " control and " << audit->evidence
            << " evidence entries, " << deks << " wrapped DEKs in " << database.string() << "\n";
  if (options.unbound)
    std::cerr
        << "strongroom: the inventory was taken as it is: nothing proves that no wrapped DEK was dropped, swapped, "
           "added or put back to an older state\n";
  std::cerr << "next: start the service; in state rollback, propose ledger.adopt and have it approved\n";
  return kExitDone;
}

}  // namespace strongroom::provisioning
