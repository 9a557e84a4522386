#include "provisioning/export_audit.h"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <filesystem>
#include <set>

#include "appliance/decisions.h"
#include "crypto/quorum.h"
#include "crypto/sshsig.h"
#include "netapi/keyring_json.h"

namespace strongroom::provisioning {
namespace {

namespace fs = std::filesystem;
constexpr Millis kSilence = Millis{5} * 60 * 1000;

// ControlAuditor replays the control log: every entry must follow from what stood before it.
class ControlAuditor {
 public:
  Result<void> Take(std::uint64_t index, ByteView raw) {
    const auto taken = TakeChecked(raw);
    if (taken) return {};
    return Integrity("control entry " + std::to_string(index) + ": " + taken.error().detail,
                     std::string(taken.error().Slug()));
  }
  // At the end of the log: nothing may be left that no settlement covers.
  Result<void> Finish() const {
    if (changes_.empty()) return {};
    return Integrity("the control log ends with changes of keyrings that no execution settles", "unvoted-change");
  }
  const appliance::State& state() const { return state_; }
  const std::vector<crypto::Roster>& rosters() const { return rosters_; }
  std::uint64_t votes = 0, executions = 0;

 private:
  Result<void> TakeChecked(ByteView raw) {
    TRY_ASSIGN(const auto entry, ledger::DecodeControl(raw));
    if (ledger::Encode(entry) != Bytes(raw.begin(), raw.end())) return Integrity("it is not in its one form");
    if (const auto* genesis = std::get_if<ledger::Genesis>(&entry.body)) TRY(CheckGenesis(*genesis));
    if (const auto* cast = std::get_if<ledger::VoteCast>(&entry.body)) TRY(CheckVote(*cast, entry.time));
    if (const auto* consumed = std::get_if<ledger::ProposalConsumed>(&entry.body)) {
      const auto* proposal = state_.FindProposal(consumed->proposal);
      if (proposal == nullptr) return Integrity("it executes a proposal that was never filed");
      TRY(crypto::GrantExecution(*state_.roster, proposal->text, proposal->votes, entry.time));
      ++executions;
    }
    TRY(CheckEffect(entry));
    TRY(appliance::Apply(state_, entry));
    return {};
  }

  // What changes keyrings must be, entry for entry, the effect of the proposal that the next settlement names: votes
  // allowed this and nothing else.
  Result<void> CheckEffect(const ledger::ControlEntry& entry) {
    const bool changes = std::holds_alternative<ledger::KeyringCreated>(entry.body) ||
                         std::holds_alternative<ledger::VersionAnnounced>(entry.body) ||
                         std::holds_alternative<ledger::VersionActivated>(entry.body);
    if (changes) {
      if (changes_.empty()) before_ = state_;
      changes_.push_back(ledger::Encode({0, entry.body}));
      return {};
    }
    const auto* settled = std::get_if<ledger::ExecutionSettled>(&entry.body);
    if (settled == nullptr || !settled->ok) {
      if (!changes_.empty()) return Integrity("keyrings were changed before it without an execution", "unvoted-change");
      return {};
    }
    const auto* proposal = state_.FindProposal(settled->proposal);
    if (proposal == nullptr || proposal->fate != appliance::ProposalFate::kConsumed)
      return Integrity("it settles what was not executed", "unvoted-change");
    TRY_ASSIGN(const auto effect, appliance::EffectOf(changes_.empty() ? state_ : before_, proposal->parsed));
    std::vector<Bytes> wanted;
    for (const auto& body : effect.entries) wanted.push_back(ledger::Encode({0, body}));
    if (wanted != changes_) return Integrity("the changes before it are not what its proposal says", "unvoted-change");
    changes_.clear();
    return {};
  }

  Result<void> CheckGenesis(const ledger::Genesis& genesis) {
    TRY_ASSIGN(auto roster, crypto::Roster::Parse(genesis.roster_text));
    std::set<std::string> signers;
    for (const auto& [custodian, signature] : genesis.signatures) {
      const auto* principal = roster.Find(custodian);
      if (principal == nullptr || principal->role != crypto::Role::kCustodian)
        return Integrity(custodian + " signed the roster and is no custodian in it");
      TRY(crypto::VerifySshSignature(principal->ssh_key, crypto::kRosterNamespace, AsBytes(genesis.roster_text),
                                     signature));
      signers.insert(custodian);
    }
    if (signers.size() != roster.custodians()) return Integrity("not every custodian has signed the first roster");
    rosters_.push_back(std::move(roster));
    return {};
  }

  Result<void> CheckVote(const ledger::VoteCast& cast, Millis time) {
    const auto* proposal = state_.FindProposal(cast.proposal);
    if (proposal == nullptr) return Integrity("it is a vote for a proposal that was never filed");
    TRY(crypto::CheckVote(*state_.roster, proposal->parsed, proposal->text, cast.vote));
    if (time > proposal->parsed.approve_by) return Integrity("it is a vote after the time for votes");
    ++votes;
    return {};
  }

  appliance::State state_;
  appliance::State before_;     // as it was when `changes_` began
  std::vector<Bytes> changes_;  // entries that no settlement has covered yet
  std::vector<crypto::Roster> rosters_;
};

Result<void> Same(const std::string& folder, const std::string& file, const std::string& wanted,
                  std::set<std::string>& files) {
  files.insert(file);
  TRY_ASSIGN(const auto stored, ledger::ReadWholeFile(folder + "/" + file));
  if (stored != wanted) return Integrity(file + " does not follow from the control log", "projection-differs");
  return {};
}

// Nothing but the files that were checked and the folders that they lie in; links and other things are not files.
Result<void> NothingElse(const std::string& folder, const std::set<std::string>& files) {
  std::set<std::string> folders;
  for (const auto& file : files)
    for (auto parent = fs::path(file).parent_path(); !parent.empty(); parent = parent.parent_path())
      folders.insert(parent.string());
  std::error_code error;
  for (auto at = fs::recursive_directory_iterator(folder, error); !error && at != fs::recursive_directory_iterator();
       at.increment(error)) {
    const auto name = at->path().lexically_relative(folder).string();
    const auto type = at->symlink_status(error).type();
    if (!(type == fs::file_type::regular && files.contains(name)) &&
        !(type == fs::file_type::directory && folders.contains(name)))
      return Integrity(name + " is not part of the export", "unexpected-file");
  }
  if (error) return Io("cannot read " + folder + ": " + error.message());
  return {};
}

}  // namespace

Result<std::vector<crypto::Roster>> RostersOf(const std::string& folder, const crypto::NoteKey& key) {
  ControlAuditor auditor;
  std::set<std::string> files;
  TRY(ledger::VerifyLogFolder(
      folder, "control", key, [&](std::uint64_t index, ByteView raw) { return auditor.Take(index, raw); }, files));
  return auditor.rosters();
}

Result<Audit> AuditExport(const std::string& folder, const crypto::NoteKey& key,
                          const std::function<void(const char* log, std::uint64_t entries)>& progress) {
  if (!fs::is_directory(folder)) return Integrity("there is no export in " + folder, "file-missing");
  Audit audit;
  ControlAuditor auditor;
  std::set<std::string> files = {"README.txt"};
  TRY_ASSIGN(const auto control, ledger::VerifyLogFolder(
                                     folder, "control", key,
                                     [&](std::uint64_t index, ByteView raw) {
                                       if (progress) progress("control", index);
                                       return auditor.Take(index, raw);
                                     },
                                     files));
  TRY(auditor.Finish());
  if (!auditor.state().roster || "strongroom/" + ToHex(auditor.state().roster->instance()) != key.name())
    return Integrity("the control log is another instance's than the key", "foreign-origin");
  Millis last = 0;
  TRY_ASSIGN(const auto evidence,
             ledger::VerifyLogFolder(
                 folder, "evidence", key,
                 [&](std::uint64_t index, ByteView raw) -> Result<void> {
                   if (progress) progress("evidence", index);
                   const auto entry = ledger::DecodeEvidence(raw);
                   if (!entry)
                     return Integrity("evidence entry " + std::to_string(index) + ": " + entry.error().detail,
                                      "log-damaged");
                   if (ledger::Encode(*entry) != Bytes(raw.begin(), raw.end()))
                     return Integrity("evidence entry " + std::to_string(index) + ": it is not in its one form",
                                      "log-damaged");
                   if (last != 0 && entry->time - last > kSilence && audit.gaps.size() < 1000)
                     audit.gaps.push_back("from " + FormatTime(last) + " to " + FormatTime(entry->time));
                   last = entry->time;
                   return {};
                 },
                 files));
  boost::json::array keyrings;
  for (const auto& [name, keyring] : auditor.state().keyrings) keyrings.push_back(netapi::KeyringObject(*keyring));
  TRY(Same(folder, "keyrings.json", boost::json::serialize(keyrings) + "\n", files));
  TRY(Same(folder, "ledger.vkey", key.Text() + "\n", files));
  for (const auto& roster : auditor.rosters()) {
    const auto at = "rosters/" + std::to_string(roster.version()) + "/";
    TRY(Same(folder, at + "roster.txt", roster.text(), files));
    TRY(Same(folder, at + "allowed_signers", crypto::RosterAllowedSigners(roster), files));
  }
  TRY(NothingElse(folder, files));
  audit.instance = ToHex(auditor.state().roster->instance());
  audit.control = control.size;
  audit.evidence = evidence.size;
  audit.votes = auditor.votes;
  audit.executions = auditor.executions;
  return audit;
}

}  // namespace strongroom::provisioning
