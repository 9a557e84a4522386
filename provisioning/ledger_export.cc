#include "provisioning/ledger_export.h"

#include <unistd.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iostream>

#include "crypto/quorum.h"
#include "crypto/text_rules.h"
#include "netapi/keyring_json.h"
#include "provisioning/export_audit.h"
#include "provisioning/progress.h"

namespace strongroom::provisioning {
namespace {

namespace bj = boost::json;
namespace fs = std::filesystem;

// The delimiter is none that clang-format takes for another language.
constexpr const char* kReadme = R"readme(This folder is an export of a Strongroom ledger.

  control/, evidence/   the two logs as C2SP tlog-tiles: every entry, every hash, and the head that the token signed
  rosters/N/            the roster of version N, and an allowed_signers file of it for ssh-keygen
  votes/ID/             of each proposal the votes: NAME.txt is what the custodian signed, NAME.sig the signature
  keyrings.json         the keyrings as they follow from the control log
  ledger.vkey           the key that signed the heads. Compare it with the one that you were handed at the ceremony.

To verify it, with nothing but this folder and that key:

  strongroom ledger verify FOLDER --vkey VKEY

It hashes every entry, computes every tile and both roots, verifies the signatures under the heads, replays the control log,
and verifies every vote under the roster of its time. The votes by hand, with OpenSSH alone:

  for text in votes/*/*.txt; do
    roster=$(sed -n 's/^roster: \([0-9]*\) .*/\1/p' "$text")
    ssh-keygen -Y verify -f "rosters/$roster/allowed_signers" -I "$(basename "$text" .txt)" \
      -n vote@strongroom -s "${text%.txt}.sig" < "$text"
  done

The entries' format is ledger/FORMAT.md of Strongroom's source; c2sp.org describes checkpoints, signed notes and tiles.
)readme";

Result<void> WriteFile(const fs::path& path, std::string_view content) {
  std::error_code error;
  fs::create_directories(path.parent_path(), error);
  std::ofstream out(path, std::ios::binary);
  out.write(content.data(), static_cast<std::streamsize>(content.size()));
  out.close();
  if (!out) return Io("cannot write " + path.string());
  return {};
}

Result<std::string> Fetch(netapi::Client& client, const std::string& target) {
  TRY_ASSIGN(const auto answer, client.Call("GET", target));
  if (answer.status != 200) {
    const auto problem = netapi::ParseAnswer(answer);
    return problem ? Integrity("the server answered something else than was asked") : problem.error();
  }
  return std::string(answer.body);
}

// The head that is exported: signed for this export, or, when nothing may be signed (in a rollback) or the token is
// away, the newest that there is.
Result<void> FetchHead(netapi::Client& client, const std::string& log, std::string& note) {
  auto fresh = Fetch(client, "/v1/ledger/" + log + "/checkpoint?fresh=true");
  if (!fresh && fresh.error().code != Code::kUnavailable) return fresh.error();
  if (fresh) {
    note = std::move(*fresh);
    return {};
  }
  TRY_ASSIGN(note, Fetch(client, "/v1/ledger/" + log + "/checkpoint"));
  return {};
}

Result<std::uint64_t> ExportLog(netapi::Client& client, const fs::path& directory, const std::string& log,
                                const std::string& note, Progress& progress) {
  TRY_ASSIGN(const auto head, crypto::Checkpoint::Parse(note.substr(0, note.rfind("\n\n") + 1)));
  TRY(WriteFile(directory / log / "checkpoint", note));
  std::uint64_t files = 0;
  TRY(ledger::ForEachTile(head.size, [&](const std::string& path) -> Result<void> {
    auto fetched = Fetch(client, "/v1/ledger/" + log + "/tile/" + path);
    // What is archived stands in an earlier export; whether it may be missing the verification says.
    if (!fetched && fetched.error().Slug() == "entries-archived") return {};
    TRY_ASSIGN(const auto content, std::move(fetched));
    progress.Count(log.c_str(), ++files * crypto::kTileWidth);
    return WriteFile(directory / log / "tile" / path, content);
  }));
  return head.size;
}

Result<std::string> CheckpointKey(const CliSession& session) {
  TRY_ASSIGN(const auto status, session.Ask("GET", "/v1/status"));
  auto key = TextOf(status.get_object().at("ledger"), "vkey");
  if (key == "-") return Unavailable("the token has not been reached since the start: try again", "not-operational");
  return key;
}

}  // namespace

Result<bj::object> WriteExport(const CliSession& session, const std::string& to,
                               std::optional<ledger::BackedUp>* backup) {
  const fs::path directory(to);
  std::error_code error;
  if (fs::exists(directory) && !fs::is_empty(directory, error))
    return Conflict(directory.string() + " is not empty: an export is written into a new folder", "directory-in-use");
  TRY_ASSIGN(const auto client, session.Connect());
  Progress progress;
  std::string control_note, evidence_note;
  TRY(FetchHead(*client, "control", control_note));
  TRY(FetchHead(*client, "evidence", evidence_note));
  TRY_ASSIGN(const auto key, CheckpointKey(session));
  TRY_ASSIGN(const auto control, ExportLog(*client, directory, "control", control_note, progress));
  TRY_ASSIGN(const auto evidence, ExportLog(*client, directory, "evidence", evidence_note, progress));
  TRY(WriteFile(directory / "ledger.vkey", key + "\n"));
  TRY(WriteFile(directory / "README.txt", kReadme));
  // What was written is read and verified at once: votes, rosters and keyrings are taken from the verified log.
  TRY_ASSIGN(const auto vkey, crypto::NoteKey::Parse(key));
  TRY_ASSIGN(const auto derived, ReplayExport(directory.string(), vkey));
  for (const auto& [name, content] : derived) TRY(WriteFile(directory / name, content));
  TRY_ASSIGN(const auto audit, AuditExport(directory.string(), vkey, {}));
  if (backup != nullptr) *backup = audit.backup;
  return bj::object{{"dir", directory.string()}, {"control", control}, {"evidence", evidence}, {"vkey", key}};
}

Result<crypto::NoteKey> KeyFrom(const std::string& key) {
  std::error_code ignored;
  if (!fs::is_regular_file(key, ignored)) return crypto::NoteKey::Parse(key);
  TRY_ASSIGN(auto text, ledger::ReadWholeFile(key));
  while (text.ends_with('\n')) text.pop_back();
  return crypto::NoteKey::Parse(text);
}

int ExportLedger(const CliSession& session, const std::string& directory) {
  const auto done = WriteExport(session, directory);
  if (!done) return Fail(done.error());
  if (session.json) {
    PrintJson(*done);
    return kExitDone;
  }
  std::cout << "exported " << TextOf(*done, "control") << " control and " << TextOf(*done, "evidence")
            << " evidence entries to " << directory << "\n";
  std::cerr << "next: strongroom ledger verify " << directory << " --vkey FILE, with the key from the ceremony\n";
  return kExitDone;
}

int VerifyExport(const CliSession& session, const std::string& directory, const std::string& key,
                 const std::vector<std::string>& archives) {
  const auto vkey = KeyFrom(key);
  if (!vkey) return FailUsage(vkey.error());
  Progress progress;
  const auto audit = AuditExport(
      directory, *vkey, [&](const char* log, std::uint64_t n) { progress.Count(log, n); }, archives);
  if (!audit) {
    (void)Fail(audit.error());
    return kExitVerification;
  }
  if (session.json) {
    bj::array gaps;
    for (const auto& gap : audit->gaps) gaps.push_back(bj::string(gap));
    bj::array lost;
    for (const auto& line : audit->lost) lost.push_back(bj::string(line));
    bj::array findings;
    for (const auto& line : audit->findings) findings.push_back(bj::string(line));
    PrintJson(bj::object{{"verified", true},
                         {"instance", audit->instance},
                         {"control", audit->control},
                         {"evidence", audit->evidence},
                         {"votes", audit->votes},
                         {"executions", audit->executions},
                         {"epoch", audit->epoch},
                         {"lost", std::move(lost)},
                         {"findings", std::move(findings)},
                         {"checkpoint_keys", audit->keys},
                         {"archived", audit->archived},
                         {"unread", audit->unread},
                         {"gaps", std::move(gaps)},
                         {"silences", audit->silences},
                         {"last_evidence", audit->last}});
    return kExitDone;
  }
  std::cout << "verified: instance " << audit->instance << "\n  control   " << audit->control << " entries, "
            << audit->votes << " votes, " << audit->executions << " executions\n  evidence  " << audit->evidence
            << " entries, the last of " << audit->last << "\n";
  if (audit->epoch > 1) std::cout << "  epoch     " << audit->epoch << ", after restores\n";
  if (audit->keys > 1) std::cout << "  keys      " << audit->keys << " have signed, each named by the one before it\n";
  for (const auto& line : audit->lost) std::cout << "  LOST      " << crypto::Printable(line) << "\n";
  for (const auto& line : audit->findings) std::cout << "  FINDING   " << crypto::Printable(line) << "\n";
  if (audit->archived > 0)
    std::cout << "  archived  evidence before entry " << audit->archived
              << (audit->unread == 0 ? ", read from its archive"
                                     : ": hashes verified, " + std::to_string(audit->unread) +
                                           " entries not read (--archive names the export that has them)")
              << "\n";
  for (const auto& gap : audit->gaps) std::cout << "  silence   " << gap << "\n";
  if (audit->silences > audit->gaps.size())
    std::cout << "  silence   and " << audit->silences - audit->gaps.size() << " more\n";
  return kExitDone;
}

int ShowCheckpointKey(const CliSession& session, const std::string& file) {
  const auto key = CheckpointKey(session);
  if (!key) return Fail(key.error());
  std::error_code ignored;
  if (!file.empty() && fs::exists(file, ignored)) return Fail(Conflict(file + " is there already", "file-exists"));
  if (!file.empty())
    if (const auto written = WriteOutput(file, *key + "\n"); !written) return Fail(written.error());
  if (session.json)
    PrintJson(bj::object{{"vkey", *key}});
  else if (file.empty())
    std::cout << *key << "\n";
  return kExitDone;
}

int ProveEntry(const CliSession& session, const std::string& log, std::uint64_t index) {
  if (log != "control" && log != "evidence") return FailUsage(Invalid("the logs are 'control' and 'evidence'"));
  const auto client = session.Connect();
  if (!client) return Fail(client.error());
  const auto proof = Fetch(**client, "/v1/ledger/" + log + "/proof?index=" + std::to_string(index));
  if (!proof) return Fail(proof.error());
  if (session.json)
    PrintJson(bj::object{{"log", log}, {"index", index}, {"proof", *proof}});
  else
    std::cout << *proof;
  return kExitDone;
}

}  // namespace strongroom::provisioning
