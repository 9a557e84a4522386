#include "provisioning/export_audit.h"

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <deque>
#include <filesystem>
#include <map>
#include <set>

#include "appliance/break_glass.h"
#include "appliance/keyring_decisions.h"
#include "appliance/ledger_decisions.h"
#include "appliance/policy_decisions.h"
#include "appliance/rewrap_decisions.h"
#include "crypto/custody.h"
#include "crypto/quorum.h"
#include "crypto/sshsig.h"
#include "netapi/keyring_json.h"

namespace strongroom::provisioning {
namespace {

namespace fs = std::filesystem;
constexpr std::uint64_t kMaxGaps = 1000;
constexpr Millis kClockSlack = Millis{5} * 60 * 1000;
constexpr Millis kSilence = Millis{5} * 60 * 1000;

// Epoch is an adoption as the log tells it.
struct Epoch {
  std::uint64_t former = 0;  // the epoch that it ended
  ledger::EpochOpened opened;
  crypto::Adoption adoption;
};

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
    if (changes_.empty() && announced_.empty()) return {};
    return Integrity("the control log ends with changes of keyrings that no execution settles", "unvoted-change");
  }
  const appliance::State& state() const { return state_; }
  Millis last() const { return last_; }
  const std::vector<crypto::Roster>& rosters() const { return rosters_; }
  const std::vector<Epoch>& epochs() const { return epochs_; }
  const std::vector<ledger::EvidenceArchived>& archives() const { return archives_; }
  std::uint64_t votes = 0, executions = 0;

 private:
  Result<void> TakeChecked(ByteView raw) {
    TRY_ASSIGN(const auto entry, ledger::DecodeControl(raw));
    if (ledger::Encode(entry) != Bytes(raw.begin(), raw.end())) return Integrity("it is not in its one form");
    if (const auto* genesis = std::get_if<ledger::Genesis>(&entry.body)) TRY(CheckGenesis(*genesis));
    TRY(CheckTime(entry));
    if (!announced_.empty()) {
      if (ledger::Encode({0, appliance::AsProposed(entry.body)}) != announced_.front())
        return Integrity("it is not what the execution before it does at once", "unvoted-change");
      announced_.pop_front();
      return Applied(entry);
    }
    if (const auto* cast = std::get_if<ledger::VoteCast>(&entry.body)) TRY(CheckVote(*cast, entry.time));
    if (const auto* consumed = std::get_if<ledger::ProposalConsumed>(&entry.body)) {
      const auto* proposal = state_.FindProposal(consumed->proposal);
      if (proposal == nullptr) return Integrity("it executes a proposal that was never filed");
      TRY(appliance::JudgeExecution(state_, *proposal, JudgedAt(*proposal, entry.time)));
      TRY_ASSIGN(const auto effect, appliance::EffectOf(state_, proposal->parsed));
      for (const auto& body : effect.at_once) announced_.push_back(ledger::Encode({0, body}));
      ++executions;
    }
    if (const auto* changed = std::get_if<ledger::CheckpointKeyChanged>(&entry.body)) TRY(CheckKey(*changed));
    if (const auto* opened = std::get_if<ledger::EpochOpened>(&entry.body)) TRY(CheckEpoch(*opened));
    if (const auto* reviewed = std::get_if<ledger::BreakGlassReviewed>(&entry.body))
      TRY(appliance::JudgeReview(state_, reviewed->id, reviewed->reviewer, reviewed->finding, reviewed->signature));
    TRY(CheckEffect(entry));
    return Applied(entry);
  }

  Result<void> Applied(const ledger::ControlEntry& entry) {
    TRY(appliance::Apply(state_, entry));
    if (std::holds_alternative<ledger::RosterChanged>(entry.body)) rosters_.push_back(*state_.roster);
    if (const auto* archived = std::get_if<ledger::EvidenceArchived>(&entry.body)) archives_.push_back(*archived);
    return {};
  }

  // What changes keyrings must be, entry for entry, the effect of the proposal that the next settlement names: votes
  // allowed this and nothing else.
  Result<void> CheckEffect(const ledger::ControlEntry& entry) {
    TRY_ASSIGN(const bool changes, NeedsVotes(entry));
    if (changes) {
      if (changes_.empty()) before_ = state_;
      changes_.push_back(ledger::Encode({0, appliance::AsProposed(entry.body)}));
      return {};
    }
    if (const auto* used = std::get_if<ledger::MandateUsed>(&entry.body)) TRY(CheckMandate(used->keyring, entry.time));
    if (const auto* mandate = std::get_if<ledger::MandateSettled>(&entry.body)) {
      // The rotation of the keyring as it was before these changes, or nothing.
      const auto& before = changes_.empty() ? state_ : before_;
      const auto name = before.keyring_names.find(mandate->keyring);
      if (name == before.keyring_names.end()) return Integrity("it settles a mandate of no keyring", "unvoted-change");
      const auto& keyring = *before.FindKeyring(name->second);
      std::vector<Bytes> wanted;
      if (mandate->ok)
        for (const auto& body : appliance::RotationOf(before, keyring, keyring.Primary()->suite).entries)
          wanted.push_back(ledger::Encode({0, body}));
      if (wanted != changes_ || keyring.mandated != mandate->version)
        return Integrity("the changes before it are not what its mandate allows", "unvoted-change");
      changes_.clear();
      return {};
    }
    const auto* settled = std::get_if<ledger::ExecutionSettled>(&entry.body);
    // Nothing needs a vote that closes, freezes or is told: but it does not stand among what does.
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
    if (proposal->parsed.operation == "ledger.adopt") {
      TRY_ASSIGN(epochs_.back().adoption, crypto::AdoptionOf(proposal->parsed));
    }
    return {};
  }

  // Times do not go back, but where votes have accepted a clock; and then to a time that they were for.
  Result<void> CheckTime(const ledger::ControlEntry& entry) {
    const bool accepts = std::holds_alternative<ledger::ClockAccepted>(entry.body) ||
                         std::holds_alternative<ledger::EpochOpened>(entry.body);
    if (entry.time < last_ && !accepts)
      return Integrity("its time is before the one of the entry before it, and no clock was accepted", "time-back");
    if (const bool back = entry.time < last_; back || std::holds_alternative<ledger::ClockAccepted>(entry.body)) {
      const auto at = std::find_if(state_.proposals.begin(), state_.proposals.end(), [](const auto& p) {
        return p.second->fate == appliance::ProposalFate::kConsumed && appliance::AcceptsClock(p.second->parsed);
      });
      const auto named =
          at == state_.proposals.end() ? Result<Millis>(Integrity("")) : crypto::AcceptedClock(at->second->parsed);
      if (!named || entry.time + kClockSlack < *named || entry.time > at->second->parsed.execute_by)
        return Integrity("it accepts another clock than the one voted for", "time-back");
    }
    last_ = entry.time;
    return {};
  }

  // One person's doing has a person behind it.
  Result<void> CheckPerson(const std::string& by) const {
    const auto* principal = state_.roster ? state_.roster->Find(by) : nullptr;
    if (principal == nullptr ||
        (principal->role != crypto::Role::kOperator && principal->role != crypto::Role::kCustodian))
      return Integrity("it is by '" + by.substr(0, 64) + "', who is no operator or custodian", "unvoted-change");
    return {};
  }

  // What accepts a clock is dated by that clock, not by the ledger's frozen time.
  static Millis JudgedAt(const appliance::Proposal& proposal, Millis time) {
    return appliance::AcceptsClock(proposal.parsed) ? proposal.parsed.created : time;
  }

  // Whether an entry may only stand in a settlement. kIntegrity for one that may not stand at all.
  Result<bool> NeedsVotes(const ledger::ControlEntry& entry) {
    if (const auto* switched = std::get_if<ledger::KeyringSwitched>(&entry.body)) {
      if (switched->enabled) return true;
      TRY(CheckPerson(switched->by));  // whoever disables needs nobody else
      return false;
    }
    if (const auto* moved = std::get_if<ledger::VersionMoved>(&entry.body)) {
      using To = ledger::VersionMoved::To;
      if (moved->to != To::kKept && moved->to != To::kDestroyed) return true;
      if (moved->to == To::kKept) TRY(CheckPerson(moved->by));
      const auto name = state_.keyring_names.find(moved->keyring);
      const auto* keyring = name == state_.keyring_names.end() ? nullptr : state_.FindKeyring(name->second);
      const auto* version = keyring == nullptr ? nullptr : keyring->Find(moved->version);
      if (version == nullptr || !version->custody.starts_with("token:"))
        return Integrity("it moves a version that goes with another one's KEK", "unvoted-change");
      if (moved->to == To::kDestroyed && (version->due == 0 || entry.time < version->due))
        return Integrity("it destroys a KEK before its time", "unvoted-change");
      // All that share the KEK move with it, at once.
      auto moves = appliance::MovesOf(state_, *keyring, *version, moved->to, 0, moved->by);
      for (std::size_t i = 1; i < moves.size(); ++i) announced_.push_back(ledger::Encode({0, moves[i]}));
      return false;
    }
    if (const auto* started = std::get_if<ledger::JobStarted>(&entry.body)) {
      // One that was asked for has its proposal's id; after a rotation the appliance begins one by itself.
      if (const auto* proposal = state_.FindProposal(started->id)) {
        if (proposal->fate != appliance::ProposalFate::kConsumed)
          return Integrity("it begins a job by a proposal that is not being executed", "unvoted-change");
        return true;
      }
      const auto* keyring = state_.FindKeyring(started->keyring);
      if (keyring == nullptr || started->retry || appliance::OwedJob(state_, *keyring) != started->kind)
        return Integrity("it begins a job that nobody voted for and no rotation owes", "unvoted-change");
      return false;
    }
    if (const auto* switched = std::get_if<ledger::JobSwitched>(&entry.body)) {
      if (!switched->by.empty()) TRY(CheckPerson(switched->by));
      return false;
    }
    if (const auto* attested = std::get_if<ledger::VersionAttested>(&entry.body)) {
      TRY(CheckPerson(attested->by));
      const auto name = state_.keyring_names.find(attested->keyring);
      if (name == state_.keyring_names.end()) return Integrity("it is of no keyring", "unvoted-change");
      const auto activations = appliance::JudgeAttestation(state_, name->second, attested->version);
      if (!activations) return Integrity("it attests what does not wait for it", "unvoted-change");
      for (const auto& body : *activations) announced_.push_back(ledger::Encode({0, body}));
      return false;
    }
    if (const auto* closed = std::get_if<ledger::EmergencyClosed>(&entry.body)) {
      TRY(CheckPerson(closed->by));
      const auto name = state_.keyring_names.find(closed->keyring);
      if (name == state_.keyring_names.end()) return Integrity("it is of no keyring", "unvoted-change");
      if (const auto judged = appliance::JudgeEmergencyClose(state_, name->second, closed->version); !judged)
        return Integrity("it closes an emergency that was not over: " + judged.error().detail, "unvoted-change");
      return false;
    }
    if (const auto* said = std::get_if<ledger::CensusAcknowledged>(&entry.body)) {
      const auto* keyring = state_.FindKeyring(said->keyring);
      if (keyring == nullptr || !keyring->grants.Knows(said->service))
        return Integrity("it is by '" + said->service.substr(0, 64) + "', to whom the keyring is not granted",
                         "unvoted-change");
      return false;
    }
    return std::holds_alternative<ledger::KeyringCreated>(entry.body) ||
           std::holds_alternative<ledger::VersionAnnounced>(entry.body) ||
           std::holds_alternative<ledger::VersionActivated>(entry.body) ||
           std::holds_alternative<ledger::EpochOpened>(entry.body) ||
           std::holds_alternative<ledger::CheckpointKeyChanged>(entry.body) ||
           std::holds_alternative<ledger::RosterChanged>(entry.body) ||
           std::holds_alternative<ledger::GrantsChanged>(entry.body) ||
           std::holds_alternative<ledger::BreakGlassOpened>(entry.body) ||
           std::holds_alternative<ledger::ClockAccepted>(entry.body) ||
           std::holds_alternative<ledger::PolicySet>(entry.body) ||
           std::holds_alternative<ledger::TokenEnrolled>(entry.body) ||
           std::holds_alternative<ledger::EvidenceArchived>(entry.body);
  }

  // A mandate is used when it is due and no sooner.
  Result<void> CheckMandate(const crypto::KeyringId& id, Millis time) const {
    const auto name = state_.keyring_names.find(id);
    if (name == state_.keyring_names.end()) return Integrity("it uses a mandate of no keyring", "unvoted-change");
    const auto effect = appliance::EffectOfMandate(state_, *state_.FindKeyring(name->second), time);
    if (!effect)
      return Integrity("it uses a mandate that does not allow it: " + effect.error().detail, "unvoted-change");
    return {};
  }

  // Only a token's own key can say which one follows it.
  Result<void> CheckKey(const ledger::CheckpointKeyChanged& changed) const {
    const auto former = crypto::NoteKey::Parse(changed.former), next = crypto::NoteKey::Parse(changed.next);
    const auto name = state_.roster ? "strongroom/" + ToHex(state_.roster->instance()) : std::string();
    if (!former || !next || former->name() != name || next->name() != name)
      return Integrity("it names checkpoint keys that are none", "bad-endorsement");
    if (!former->Verify(crypto::KeyEndorsement(*former, *next), changed.endorsement))
      return Integrity("the former checkpoint key does not vouch for the next one", "bad-endorsement");
    return {};
  }

  Result<void> CheckEpoch(const ledger::EpochOpened& opened) {
    epochs_.push_back({state_.ledger.epoch, opened, {}});
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
    const auto custodians = std::count_if(roster.principals().begin(), roster.principals().end(),
                                          [](const auto& p) { return p.role == crypto::Role::kCustodian; });
    if (signers.size() != static_cast<std::size_t>(custodians))
      return Integrity("not every custodian has signed the first roster");
    rosters_.push_back(std::move(roster));
    return {};
  }

  Result<void> CheckVote(const ledger::VoteCast& cast, Millis time) {
    const auto* proposal = state_.FindProposal(cast.proposal);
    if (proposal == nullptr) return Integrity("it is a vote for a proposal that was never filed");
    TRY(crypto::CheckVote(*state_.roster, proposal->parsed, proposal->text, cast.vote));
    // Saying no is possible for as long as there is something to stop.
    const bool late = JudgedAt(*proposal, time) > proposal->parsed.approve_by;
    if (late && cast.vote.verdict == crypto::Verdict::kApprove)
      return Integrity("it is an approval after the time for votes");
    ++votes;
    return {};
  }

  Millis last_ = 0;
  std::deque<Bytes> announced_;  // what the entries after an execution must be
  std::vector<Epoch> epochs_;
  appliance::State state_;
  appliance::State before_;     // as it was when `changes_` began
  std::vector<Bytes> changes_;  // entries that no settlement has covered yet
  std::vector<crypto::Roster> rosters_;
  std::vector<ledger::EvidenceArchived> archives_;
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

std::string KeyringsJson(const appliance::State& state) {
  boost::json::array keyrings;
  for (const auto& [name, keyring] : state.keyrings) keyrings.push_back(netapi::KeyringObject(*keyring));
  return boost::json::serialize(keyrings) + "\n";
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
Result<std::optional<crypto::Checkpoint>> KeptHead(const Epoch& epoch, bool control,
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

Result<void> WantRoots(const std::vector<Epoch>& epochs, bool control, std::span<const crypto::NoteKey> keys,
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
Result<void> JudgeEpochs(const std::vector<Epoch>& epochs, bool control, std::span<const crypto::NoteKey> keys,
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

Result<Replayed> ReplayExport(const std::string& folder, const crypto::NoteKey& key) {
  ControlAuditor auditor;
  std::set<std::string> files;
  TRY(ledger::VerifyLogFolder(
      folder, "control", KeysFollowing(folder, key),
      [&](std::uint64_t index, ByteView raw) { return auditor.Take(index, raw); }, files));
  return Replayed{auditor.rosters(), KeyringsJson(auditor.state())};
}

Result<Audit> AuditExport(const std::string& folder, const crypto::NoteKey& key,
                          const std::function<void(const char* log, std::uint64_t entries)>& progress,
                          const std::vector<std::string>& archives) {
  if (!fs::is_directory(folder)) return Integrity("there is no export in " + folder, "file-missing");
  Audit audit;
  ControlAuditor auditor;
  std::set<std::string> files = {"README.txt"};
  const auto keys = KeysFollowing(folder, key);
  TRY_ASSIGN(const auto control, ledger::VerifyLogFolder(
                                     folder, "control", keys,
                                     [&](std::uint64_t index, ByteView raw) {
                                       if (progress) progress("control", index);
                                       return auditor.Take(index, raw);
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
  TRY(Same(folder, "keyrings.json", KeyringsJson(state), files));
  TRY(Same(folder, "ledger.vkey", newest.Text() + "\n", files));
  for (const auto& roster : auditor.rosters()) {
    const auto at = "rosters/" + std::to_string(roster.version()) + "/";
    TRY(Same(folder, at + "roster.txt", roster.text(), files));
    TRY(Same(folder, at + "allowed_signers", crypto::RosterAllowedSigners(roster), files));
  }
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
