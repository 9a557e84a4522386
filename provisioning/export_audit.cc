#include "provisioning/export_audit.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "appliance/ledger_decisions.h"
#include "provisioning/control_files.h"
#include "provisioning/findings.h"

namespace strongroom::provisioning {
namespace {

namespace fs = std::filesystem;
constexpr std::uint64_t kMaxGaps = 1000;
constexpr Millis kSilence = Millis{5} * 60 * 1000;

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

// A use of a break-glass in the evidence: of one that there is, while it was open (with the time that a request may
// take).
Result<void> TakeUse(const appliance::State& state, const ledger::EvidenceEntry& entry, Millis control_last,
                     std::map<std::string, std::uint64_t, std::less<>>& uses) {
  constexpr std::string_view kUse = "break-glass ";
  constexpr Millis kUnderWay = 60'000;
  if (!entry.outcome.starts_with(kUse)) return {};
  const auto id = entry.outcome.substr(kUse.size());
  const auto at = state.break_glass.find(id);
  // Of what was opened after the control log's head that is in this export nothing is known.
  if (at == state.break_glass.end() && entry.time + kUnderWay >= control_last) return {};
  if (at == state.break_glass.end() || at->second->drill || entry.time + kUnderWay < at->second->opened ||
      entry.time > at->second->until + kUnderWay || ++uses[id] > at->second->most_uses)
    return Integrity(
        "evidence of " + FormatTime(entry.time) + " goes by break-glass " + id + ", which did not allow it",
        "unvoted-change");
  return {};
}

// The keys that may have signed: the one that was handed over, and those that follow from it by endorsement. Read from
// a log that is not verified yet, which is why only endorsements count.
std::vector<crypto::NoteKey> KeysFollowing(const std::string& folder, const crypto::NoteKey& first) {
  std::vector<crypto::NoteKey> keys = {first};
  (void)ledger::ReadLogFolder(folder, "control", [&](std::uint64_t, ByteView raw) -> Result<void> {
    const auto entry = ledger::DecodeControl(raw);
    const auto* changed = entry ? std::get_if<ledger::CheckpointKeyChanged>(&entry->body) : nullptr;
    if (changed == nullptr || changed->former != keys.back().Text()) return {};
    auto next = crypto::NoteKey::Parse(changed->next);
    if (next && next->name() == first.name() &&
        keys.back().Verify(crypto::KeyEndorsement(keys.back(), *next), changed->endorsement))
      keys.push_back(std::move(*next));
    return {};
  });
  return keys;
}

using Roots = std::map<std::uint64_t, crypto::Digest>;

// The head that a note in an epoch-opened entry signs; nullopt for none.
Result<std::optional<crypto::Checkpoint>> KeptHead(const AdoptedEpoch& epoch, bool control,
                                                   std::span<const crypto::NoteKey> keys) {
  const auto& note = control ? epoch.opened.control_note : epoch.opened.evidence_note;
  if (note.empty()) return std::optional<crypto::Checkpoint>();
  const auto name = "the checkpoint that closes epoch " + std::to_string(epoch.former) + ": ";
  const auto opened = crypto::OpenNote(note, keys);
  if (!opened) return Integrity(name + opened.error().detail, "bad-note-signature");
  const auto head = crypto::Checkpoint::Parse(opened->text);
  const auto ending = std::string(control ? "/control/" : "/evidence/node-1/") + std::to_string(epoch.former);
  if (!head || head->origin != keys.front().name() + ending)
    return Integrity(name + "it is of another log", "foreign-origin");
  return std::optional<crypto::Checkpoint>(*head);
}

Result<void> WantRoots(const std::vector<AdoptedEpoch>& epochs, bool control, std::span<const crypto::NoteKey> keys,
                       Roots& roots) {
  for (const auto& epoch : epochs) {
    TRY_ASSIGN(const auto kept, KeptHead(epoch, control, keys));
    if (kept) roots[kept->size] = {};
    for (const auto& head : epoch.adoption.adopted)
      if ((head.origin.find("/control/") != std::string::npos) == control) roots[head.size] = {};
  }
  return {};
}

// What each adoption kept and went on from must be this log's own beginning; what its token had signed beyond is lost.
Result<void> JudgeEpochs(const std::vector<AdoptedEpoch>& epochs, bool control, std::span<const crypto::NoteKey> keys,
                         const Roots& roots, std::vector<std::string>& lost) {
  const std::string log = control ? "control" : "evidence";
  for (const auto& epoch : epochs) {
    const auto which = "epoch " + std::to_string(epoch.opened.epoch) + " of the " + log + " log ";
    TRY_ASSIGN(const auto kept, KeptHead(epoch, control, keys));
    if (kept && roots.at(kept->size) != kept->root)
      return Integrity(which + "does not begin with what the token had signed before it", "log-forked");
    for (const auto& head : epoch.adoption.adopted)
      if ((head.origin.find("/control/") != std::string::npos) == control && roots.at(head.size) != head.root)
        return Integrity(which + "does not go on from the head that was voted for", "log-forked");
    const auto& anchor = control ? epoch.adoption.token_control : epoch.adoption.token_evidence;
    const auto from = kept ? kept->size : 0;
    if (!anchor)
      lost.push_back(log + ": the token of epoch " + std::to_string(epoch.former) +
                     " remembered nothing; what came after entry " + std::to_string(from) + " is not known");
    else if (const auto of = anchor->origin.substr(anchor->origin.rfind('/') + 1); of != std::to_string(epoch.former))
      lost.push_back(log + ": all of epoch " + of + ", which ended at entry " + std::to_string(anchor->size - 1));
    else if (anchor->size > from)
      lost.push_back(log + ": entries " + std::to_string(from) + " to " + std::to_string(anchor->size - 1) +
                     " of epoch " + std::to_string(epoch.former));
  }
  return {};
}

// A head is good when the newest key that the log names has signed it, in the log's last epoch.
Result<void> JudgeHead(const std::string& folder, bool control, const crypto::Checkpoint& head,
                       const appliance::State& state, const crypto::NoteKey& newest) {
  const std::string log = control ? "control" : "evidence";
  const auto& instance = state.roster->instance();
  const auto origin = control ? crypto::ControlOrigin(instance, state.ledger.epoch)
                              : crypto::EvidenceOrigin(instance, state.ledger.epoch);
  if (head.origin != origin)
    return Integrity(log + " checkpoint: it is of " + head.origin + ", the log is in " + origin, "foreign-origin");
  TRY_ASSIGN(const auto note, ledger::ReadWholeFile(folder + "/" + log + "/checkpoint"));
  if (!crypto::OpenNote(note, std::span(&newest, 1)))
    return Integrity(log + " checkpoint: the key in force has not signed it", "bad-note-signature");
  return {};
}

}  // namespace

Result<std::map<std::string, std::string>> ReplayExport(const std::string& folder, const crypto::NoteKey& key) {
  ControlFiles auditor;
  std::set<std::string> files;
  TRY(ledger::VerifyLogFolder(
      folder, "control", KeysFollowing(folder, key),
      [&](std::uint64_t index, ByteView raw) { return auditor.Take(index, raw); }, files));
  return auditor.Derived();
}

Result<Audit> AuditExport(const std::string& folder, const crypto::NoteKey& key,
                          const std::function<void(const char* log, std::uint64_t entries)>& progress,
                          const std::vector<std::string>& archives) {
  if (!fs::is_directory(folder)) return Integrity("there is no export in " + folder, "file-missing");
  Audit audit;
  ControlFiles auditor;
  std::set<std::string> files = {"README.txt"};
  const auto keys = KeysFollowing(folder, key);
  TRY_ASSIGN(const auto control, ledger::VerifyLogFolder(
                                     folder, "control", keys,
                                     [&](std::uint64_t index, ByteView raw) -> Result<void> {
                                       if (progress) progress("control", index);
                                       TRY(auditor.Take(index, raw));
                                       TRY_ASSIGN(const auto entry, ledger::DecodeControl(raw));
                                       TakeFindings(index, entry, auditor.state(), audit.findings);
                                       return {};
                                     },
                                     files));
  TRY(auditor.Finish());
  const auto& state = auditor.state();
  if (!state.roster || "strongroom/" + ToHex(state.roster->instance()) != key.name())
    return Integrity("the control log is another instance's than the key", "foreign-origin");
  TRY_ASSIGN(const auto newest, state.ledger.keys.empty() ? Result<crypto::NoteKey>(key)
                                                          : crypto::NoteKey::Parse(state.ledger.keys.back()));
  const auto& named = state.ledger.keys;
  if (!named.empty() && std::find(named.begin(), named.end(), key.Text()) == named.end())
    return Integrity("the key is none of those that the log names", "unverified-note");
  TRY(JudgeHead(folder, true, control, state, newest));
  std::vector<crypto::NoteKey> all_keys = {key};
  for (const auto& text : state.ledger.keys) {
    TRY_ASSIGN(auto each, crypto::NoteKey::Parse(text));
    all_keys.push_back(std::move(each));
  }
  Roots control_roots, evidence_roots;
  TRY(WantRoots(auditor.epochs(), true, all_keys, control_roots));
  TRY(WantRoots(auditor.epochs(), false, all_keys, evidence_roots));
  if (!control_roots.empty())
    TRY(ledger::VerifyLogFolder(
        folder, "control", keys, [](std::uint64_t, ByteView) { return Result<void>(); }, files, &control_roots));
  TRY(JudgeEpochs(auditor.epochs(), true, all_keys, control_roots, audit.lost));
  for (const auto& archive : auditor.archives()) evidence_roots[archive.size] = {};
  const ledger::Archived archived{state.ledger.archived, archives};
  std::uint64_t read = 0, last_index = 0;
  Millis last = 0;
  std::map<std::string, std::uint64_t, std::less<>> uses;
  TRY_ASSIGN(const auto evidence,
             ledger::VerifyLogFolder(
                 folder, "evidence", keys,
                 [&](std::uint64_t index, ByteView raw) -> Result<void> {
                   if (read > 0 && index != last_index + 1) last = 0;  // what is between was not read
                   last_index = index;
                   ++read;
                   if (progress) progress("evidence", index);
                   const auto entry = ledger::DecodeEvidence(raw);
                   if (!entry)
                     return Integrity("evidence entry " + std::to_string(index) + ": " + entry.error().detail,
                                      "log-damaged");
                   if (ledger::Encode(*entry) != Bytes(raw.begin(), raw.end()))
                     return Integrity("evidence entry " + std::to_string(index) + ": it is not in its one form",
                                      "log-damaged");
                   if (last != 0 && entry->time - last > kSilence && ++audit.silences <= kMaxGaps)
                     audit.gaps.push_back("from " + FormatTime(last) + " to " + FormatTime(entry->time));
                   last = entry->time;
                   if (auto backup = ledger::BackupIn(index, *entry)) audit.backup = backup;
                   return TakeUse(state, *entry, auditor.last(), uses);
                 },
                 files, &evidence_roots, archived));
  for (const auto& archive : auditor.archives())
    if (evidence_roots.at(archive.size) != archive.root)
      return Integrity("the evidence before entry " + std::to_string(archive.size) + " is not what votes have archived",
                       "log-forked");
  audit.archived = state.ledger.archived;
  audit.unread = evidence.size - read;
  for (const auto& [id, count] : uses)
    if (const auto& b = *state.break_glass.at(id); b.closed != 0 && count > b.uses)
      return Integrity("break-glass " + id + " was used " + std::to_string(count) + " times and closed with " +
                           std::to_string(b.uses),
                       "unvoted-change");
  TRY(JudgeHead(folder, false, evidence, state, newest));
  TRY(JudgeEpochs(auditor.epochs(), false, all_keys, evidence_roots, audit.lost));
  TRY(Same(folder, "ledger.vkey", newest.Text() + "\n", files));
  // Exports of the first builds have no votes as files; those that have some have all.
  std::error_code unreadable;
  const bool has_votes = fs::exists(fs::symlink_status(folder + "/votes", unreadable));
  for (const auto& [name, content] : auditor.Derived())
    if (has_votes || !name.starts_with(kVotesFolder)) TRY(Same(folder, name, content, files));
  TRY(NothingElse(folder, files));
  audit.instance = ToHex(state.roster->instance());
  audit.control = control.size;
  audit.evidence = evidence.size;
  audit.epoch = state.ledger.epoch;
  audit.keys = std::max<std::size_t>(1, state.ledger.keys.size());
  audit.votes = auditor.votes;
  audit.executions = auditor.executions;
  audit.last = FormatTime(last);
  return audit;
}

}  // namespace strongroom::provisioning
