#include "crypto/custody.h"

#include <algorithm>

#include "crypto/sshsig.h"
#include "crypto/text_rules.h"

namespace strongroom::crypto {
namespace {

constexpr Millis kClockSlack = Millis{5} * 60 * 1000;
constexpr std::size_t kMaxSpent = 2000;  // twice what may be open at once
constexpr std::size_t kMaxPending = 200;
constexpr std::size_t kMaxMandates = 1000;
constexpr std::size_t kMaxMembers = 32;
constexpr Millis kMostLate = 90 * kDay;
constexpr std::size_t kArmorLine = 70;

std::string Armored(std::string_view base64) {
  std::string text = "-----BEGIN SSH SIGNATURE-----\n";
  for (std::size_t i = 0; i < base64.size(); i += kArmorLine) text += std::string(base64.substr(i, kArmorLine)) + "\n";
  return text + "-----END SSH SIGNATURE-----\n";
}

// The name behind a prefix, empty when the parameter has another one.
std::string_view NameBehind(std::string_view parameter, std::string_view prefix) {
  return parameter.starts_with(prefix) ? parameter.substr(prefix.size()) : std::string_view();
}

Result<Principal> PrincipalOf(std::string_view name, std::string_view value) {
  const auto words = SplitWords(value);
  const auto role = words.empty() ? std::nullopt : RoleFromString(words[0]);
  const auto spki = words.size() < 2 ? std::nullopt : FromHexArray<32>(words[1]);
  if (!role || !spki || (words.size() != 2 && words.size() != 4))
    return Invalid("add-" + std::string(name) +
                   " is a role, a key hash of 64 hex digits, and for custodians an SSH key");
  Principal principal{std::string(name), *role, *spki, {}};
  if (words.size() == 4) principal.ssh_key = std::string(words[2]) + " " + std::string(words[3]);
  return principal;
}

// Whether a proposal also accepts the clock that it names: clock.accept, and an adoption, which begins anew in every
// way.
bool AcceptsClock(const ProposalText& proposal) {
  return proposal.operation == "clock.accept" ||
         (proposal.operation == "ledger.adopt" && proposal.params.contains("clock"));
}

// A log cannot have grown further than this beyond what was last signed of it.
constexpr std::uint64_t kUnsignedEntries = 65536;

// The clock of the token's host, against what the record has seen and what the text says.
Result<void> CheckTime(const LedgerRecord& record, const ProposalText& proposal, Millis now) {
  const auto& custody = record.custody;
  if (AcceptsClock(proposal)) {
    // The one thing that a clock which went back does not stop (Q10): what the votes name is what this clock says.
    TRY_ASSIGN(const auto named, AcceptedClock(proposal));
    if (now + kClockSlack < named || now > proposal.execute_by)
      return Conflict(
          "the clock that the votes accept said " + FormatTime(named) + ", the token's host has " + FormatTime(now),
          "stale");
  } else {
    if (now + kClockSlack < custody.seen)
      return Unavailable("the token's host has seen " + FormatTime(custody.seen) + " and its clock says " +
                             FormatTime(now) + ": set the clock right, or propose clock.accept",
                         "clock-back");
    if (now + kClockSlack < proposal.created)
      return Unavailable("the proposal was made at " + FormatTime(proposal.created) +
                             " and the clock of the token's host says " + FormatTime(now) + ": set the clock right",
                         "clock-back");
  }
  if (proposal.operation == "ledger.adopt") return {};  // works once by its epoch, on whatever log is adopted
  if (custody.control_floor != 0 && proposal.control_size <= custody.control_floor)
    return Conflict("it was asked for before a clock was accepted: propose again", "stale");
  // A further token signs no logs and cannot tell.
  if (custody.further || proposal.operation == "token.enrol") return {};
  const auto signed_head = AnchorOf(record, true);
  if (proposal.control_size > (signed_head ? signed_head->size : 0) + kUnsignedEntries)
    return Conflict("it names a control log that is longer than any that was signed", "stale");
  return {};
}

}  // namespace

Result<LedgerRecord> SpendProposal(const LedgerRecord& record, const ExecutionGrant& grant, Millis now,
                                   bool after_loss) {
  auto next = record;
  auto& custody = next.custody;
  const auto& proposal = grant.proposal();
  TRY(CheckTime(record, proposal, now));
  custody.seen = AcceptsClock(proposal) ? now : std::max(custody.seen, now);
  TRY_ASSIGN(const auto roster, Roster::Parse(grant.roster_text()));
  const auto enforced = [&] {
    return Forbidden("the token enforces roster " + std::to_string(custody.roster_version) +
                         ", the votes were counted under another: restore a database that "
                         "has that roster",
                     "roster-not-enforced");
  };
  if (custody.roster_version == 0) {
    if (roster.version() != 1 && !after_loss && proposal.operation != "token.enrol")
      return Forbidden("the token knows no roster yet and takes roster 1 alone", "roster-not-enforced");
    custody.roster_version = roster.version();
    custody.roster_hash = roster.hash();
  }
  if (custody.roster_version != roster.version() || custody.roster_hash != roster.hash()) return enforced();
  const auto hash = Sha256(AsBytes(grant.text()));
  SpentProposal spent;
  std::copy_n(hash.begin(), spent.id.size(), spent.id.begin());
  spent.until = proposal.execute_by;
  // What has expired cannot be replayed: its deadline is in the text.
  std::erase_if(custody.spent, [&](const SpentProposal& s) { return s.until + kClockSlack < custody.seen; });
  for (const auto& s : custody.spent)
    if (s.id == spent.id) return Conflict("this proposal has been executed already", "already-executed");
  if (custody.spent.size() >= kMaxSpent)
    return Overloaded(
        "the token remembers " + std::to_string(kMaxSpent) + " executed proposals: wait for their deadlines",
        "too-many-proposals");
  custody.spent.push_back(spent);
  // From here on that clock counts, and what was asked for before is void. An adoption begins a log that may be
  // shorter.
  if (AcceptsClock(proposal))
    custody.control_floor = proposal.operation == "ledger.adopt"
                                ? proposal.control_size
                                : std::max(custody.control_floor, proposal.control_size);
  return next;
}

bool MayComeLate(const LedgerRecord& record, const ProposalText& proposal, Millis now) {
  return proposal.operation == "roster.change" && record.custody.further && now <= proposal.execute_by + kMostLate;
}

bool IsSpent(const LedgerRecord& record, std::string_view text) {
  const auto hash = Sha256(AsBytes(text));
  return std::any_of(record.custody.spent.begin(), record.custody.spent.end(),
                     [&](const SpentProposal& s) { return std::equal(s.id.begin(), s.id.end(), hash.begin()); });
}

Result<Millis> AcceptedClock(const ProposalText& proposal) {
  const auto at = proposal.params.find("clock");
  const auto time = at == proposal.params.end() ? std::nullopt : ParseTime(at->second);
  if (!time) return Invalid("the proposal names no clock to accept");
  return *time;
}

Result<Destruction> DestructionOf(const ProposalText& proposal) {
  if (proposal.operation != "version.destroy") return Invalid("the proposal is not one of version.destroy");
  Destruction destruction;
  TRY_ASSIGN(destruction.key, NamedKey(proposal));
  const auto days = proposal.params.find("waiting-days");
  TRY_ASSIGN(destruction.days, ParseNumber(days == proposal.params.end() ? "" : days->second));
  if (destruction.days < kMinWaitingDays || destruction.days > kMaxWaitingDays)
    return Invalid("waiting-days is " + std::to_string(kMinWaitingDays) + " to " + std::to_string(kMaxWaitingDays));
  return destruction;
}

Result<LedgerRecord> PendingRecord(const LedgerRecord& record, const ProposalText& proposal, Millis now) {
  TRY_ASSIGN(const auto destruction, DestructionOf(proposal));
  auto next = record;
  auto& pending = next.custody.pending;
  const auto due = now + static_cast<Millis>(destruction.days) * kDay;
  for (auto& p : pending) {
    if (p.key != destruction.key) continue;
    p.due = std::max(p.due, due);  // given up anew, it waits anew
    return next;
  }
  if (pending.size() >= kMaxPending)
    return Overloaded("the token remembers " + std::to_string(kMaxPending) + " destructions that are due",
                      "overloaded");
  pending.push_back({destruction.key, due});
  return next;
}

Result<LedgerRecord> WithoutPending(const LedgerRecord& record, const KeyId& key) {
  auto next = record;
  if (std::erase_if(next.custody.pending, [&](const PendingDestruction& p) { return p.key == key; }) == 0)
    return Forbidden("no quorum has given up KEK " + ToHex(key), "destruction-not-pending");
  return next;
}

Result<void> JudgeDestruction(const LedgerRecord& record, const KeyId& key, Millis now, Millis uptime) {
  for (const auto& p : record.custody.pending) {
    if (p.key != key) continue;
    if (now + kClockSlack < record.custody.seen)
      return Unavailable(
          "the token's host has seen " + FormatTime(record.custody.seen) + " and its clock says " + FormatTime(now),
          "clock-back");
    if (now < p.due) return Forbidden("KEK " + ToHex(key) + " may go at " + FormatTime(p.due), "destruction-not-due");
    if (p.due < now - uptime && uptime < kDay)
      return Forbidden("KEK " + ToHex(key) + " came due while the machine was down: it goes a day after its start",
                       "destruction-not-due");
    return {};
  }
  return Forbidden("no quorum has given up KEK " + ToHex(key), "destruction-not-pending");
}

namespace {
KeyringId KeyringOf(const KeyId& key) {
  KeyringId keyring{};
  std::copy_n(key.begin(), keyring.size(), keyring.begin());
  return keyring;
}
}  // namespace

Result<RotationPolicy> RotationPolicyOf(const ProposalText& proposal) {
  if (proposal.operation != "keyring.set-policy") return Invalid("the proposal is not one of keyring.set-policy");
  const auto get = [&](const char* name) {
    const auto at = proposal.params.find(name);
    return at == proposal.params.end() ? std::string() : at->second;
  };
  RotationPolicy policy;
  const auto keyring = FromHexArray<16>(get("keyring-id"));
  const auto suite = SuiteFromString(get("suite"));
  if (!keyring || !suite) return Invalid("the proposal names no keyring");
  policy.keyring = *keyring;
  policy.suite = *suite;
  if (get("enforce") != "yes" && get("enforce") != "no") return Invalid("enforce is yes or no");
  policy.enforce = get("enforce") == "yes";
  if (get("rotate-days") == "none") {
    if (policy.enforce) return Invalid("there is nothing to enforce without rotate-days");
    return policy;
  }
  const auto days = ParseNumber(get("rotate-days"));
  if (!days || *days < kMinRotateDays || *days > kMaxRotateDays || *days % kRotateStep != 0)
    return Invalid("rotate-days is 30 to 360 in steps of 30, or none");
  policy.days = *days;
  const auto until = ParseTime(get("until"));
  if (!until || *until <= proposal.created || *until > proposal.created + static_cast<Millis>(kMaxMandateDays) * kDay)
    return Invalid("until is a time like 2027-01-31T00:00:00Z, at most " + std::to_string(kMaxMandateDays) +
                   " days from now");
  policy.until = *until;
  return policy;
}

Result<LedgerRecord> MandateRecord(const LedgerRecord& record, const ProposalText& proposal, Millis now) {
  TRY_ASSIGN(const auto policy, RotationPolicyOf(proposal));
  auto next = record;
  auto& mandates = next.custody.mandates;
  std::erase_if(mandates, [&](const Mandate& m) { return m.keyring == policy.keyring || m.until < now; });
  if (policy.days == 0) return next;
  if (mandates.size() >= kMaxMandates)
    return Overloaded("the token keeps " + std::to_string(kMaxMandates) + " mandates", "overloaded");
  const auto interval = static_cast<Millis>(policy.days) * kDay;
  mandates.push_back({policy.keyring, proposal.keyring, policy.suite, interval, policy.until, now + interval});
  return next;
}

Result<LedgerRecord> UseMandate(const LedgerRecord& record, std::string_view keyring, const KeyId& key, Suite suite,
                                Millis now) {
  auto next = record;
  if (now + kClockSlack < next.custody.seen)
    return Unavailable(
        "the token's host has seen " + FormatTime(next.custody.seen) + " and its clock says " + FormatTime(now),
        "clock-back");
  for (auto& mandate : next.custody.mandates) {
    if (mandate.keyring != KeyringOf(key) || mandate.name != keyring || mandate.suite != suite) continue;
    if (now > mandate.until)
      return Forbidden("the mandate ended at " + FormatTime(mandate.until) + ": propose keyring.set-policy",
                       "mandate-over");
    if (now < mandate.next)
      return Forbidden("the mandate's next version is due at " + FormatTime(mandate.next), "mandate-not-due");
    mandate.next = now + mandate.interval;
    next.custody.seen = std::max(next.custody.seen, now);
    return next;
  }
  return Forbidden("no mandate lets this keyring be rotated without votes", "no-mandate");
}

Result<StandingGrant> GrantByMandate(const LedgerRecord& record, std::string_view keyring, const KeyId& key,
                                     Suite suite, Millis now) {
  TRY(UseMandate(record, keyring, key, suite, now));
  return StandingGrant(key, false);
}

Result<StandingGrant> GrantDestruction(const LedgerRecord& record, const KeyId& key, Millis now, Millis uptime) {
  TRY(JudgeDestruction(record, key, now, uptime));
  return StandingGrant(key, true);
}

LedgerRecord AfterRotation(LedgerRecord record, const KeyId& key, Millis now) {
  for (auto& mandate : record.custody.mandates)
    if (mandate.keyring == KeyringOf(key)) mandate.next = now + mandate.interval;
  return record;
}

Result<LedgerRecord> ReleaseRecord(const LedgerRecord& record, const ProposalText& proposal, Millis now) {
  if (proposal.operation != "rekey.start") return Invalid("the proposal is not one of rekey.start");
  const auto get = [&](const char* name) {
    const auto at = proposal.params.find(name);
    return at == proposal.params.end() ? std::string() : at->second;
  };
  const auto keyring = FromHexArray<16>(get("keyring-id"));
  const auto custody = get("custody");
  if (!keyring || !custody.starts_with(kTokenPrefix)) return Invalid("the proposal names no keyring and no token");
  const auto days = ParseNumber(get("release-days"));
  if (!days || *days < 1 || *days > kMaxReleaseDays)
    return Invalid("release-days is 1 to " + std::to_string(kMaxReleaseDays));
  auto next = record;
  auto& releases = next.custody.releases;
  std::erase_if(releases, [&](const Release& r) { return r.keyring == *keyring || r.until < now; });
  if (releases.size() >= kMaxMandates)
    return Overloaded("the token keeps " + std::to_string(kMaxMandates) + " releases", "overloaded");
  releases.push_back({*keyring, custody.substr(kTokenPrefix.size()), now + static_cast<Millis>(*days) * kDay});
  return next;
}

Result<void> JudgeRelease(const LedgerRecord& record, const KeyId& key, std::string_view to, Millis now) {
  if (now + kClockSlack < record.custody.seen)
    return Unavailable(
        "the token's host has seen " + FormatTime(record.custody.seen) + " and its clock says " + FormatTime(now),
        "clock-back");
  for (const auto& release : record.custody.releases)
    if (release.keyring == KeyringOf(key) && release.to == to && now <= release.until) return {};
  return Forbidden("no rekey.start lets this keyring's DEKs be opened for token " + std::string(to.substr(0, 64)),
                   "not-released");
}

std::string PossessionText(const InstanceId& instance, std::string_view principal, std::string_view ssh_key) {
  return "strongroom key possession v1\ninstance: " + ToHex(instance) + "\nprincipal: " + std::string(principal) +
         "\nkey: " + std::string(ssh_key) + "\n";
}

namespace {

// RosterEdit is a roster's parts while a change is applied to them, one parameter after the other.
struct RosterEdit {
  const Roster& roster;
  const ProposalText& proposal;
  RosterParts parts;
  std::map<std::string, Principal, std::less<>> principals;

  RosterEdit(const Roster& r, const ProposalText& p) : roster(r), proposal(p), parts(r.parts()) {
    for (const auto& principal : r.principals()) principals[principal.name] = principal;
  }

  Result<void> Remove(std::string_view name, const std::string& value) {
    const auto at = principals.find(name);
    if (value != "yes" || at == principals.end())
      return Invalid("'" + std::string(name) + "' is not in roster " + std::to_string(roster.version()));
    principals.erase(at);
    return {};
  }

  Result<void> Add(std::string_view name, const std::string& value) {
    TRY_ASSIGN(auto principal, PrincipalOf(name, value));
    if (!principals.emplace(std::string(name), principal).second)
      return Invalid("'" + std::string(name) +
                     "' is in the roster already: remove it in the same change to replace it");
    if (principal.role != Role::kCustodian) return {};
    const auto proof = proposal.params.find("proof-" + std::string(name));
    if (proof == proposal.params.end())
      return Invalid(
          "'" + std::string(name) + "' has to show that the SSH key is hers: parameter proof-" + std::string(name),
          "proof-missing");
    return VerifySshSignature(principal.ssh_key, kRosterNamespace,
                              AsBytes(PossessionText(roster.instance(), name, principal.ssh_key)),
                              Armored(proof->second));
  }

  // A list of names, or "none" to take the entry out.
  static void Put(std::map<std::string, std::vector<std::string>, std::less<>>& lists, std::string_view name,
                  const std::string& value) {
    std::vector<std::string> names;
    for (const auto word : SplitWords(value, ',')) names.emplace_back(word);
    if (value == "none")
      lists.erase(std::string(name));
    else
      lists[std::string(name)] = std::move(names);
  }

  Result<void> Apply(std::string_view parameter, const std::string& value) {
    if (const auto name = NameBehind(parameter, "add-"); !name.empty()) return Add(name, value);
    if (const auto name = NameBehind(parameter, "proof-"); !name.empty()) {
      if (!proposal.params.contains("add-" + std::string(name))) return Invalid("a proof for nobody who is added");
      return {};
    }
    if (const auto name = NameBehind(parameter, "policy-"); !name.empty()) {
      const auto at = parts.policies.find(name);
      if (at == parts.policies.end()) return Invalid("there is no class of operations '" + std::string(name) + "'");
      TRY_ASSIGN(at->second, ParseNumber(value));
      return {};
    }
    if (const auto name = NameBehind(parameter, "organisation-"); !name.empty()) {
      parts.organisations.erase(std::string(name));
      if (value == "none") return {};
      TRY_ASSIGN(parts.organisations[std::string(name)], ParseOrganisation(value));
      return {};
    }
    if (const auto name = NameBehind(parameter, "group-"); !name.empty()) {
      Put(parts.groups, name, value);
      return {};
    }
    if (const auto name = NameBehind(parameter, "require-"); !name.empty()) {
      Put(parts.requirements, name, value);
      return {};
    }
    return Invalid("unknown parameter '" + std::string(parameter.substr(0, 40)) + "'", "unknown-parameter");
  }
};

// What the appliance fills in, and what binds a proposal to its ceremony.
bool IsAppliances(std::string_view parameter) {
  return parameter == "new-roster" || parameter == "token" || parameter == "further-tokens" || parameter == "ceremony";
}

}  // namespace

Result<Roster> RosterAfter(const Roster& roster, const ProposalText& proposal) {
  if (proposal.operation != "roster.change") return Invalid("the proposal is not one of roster.change");
  RosterEdit edit(roster, proposal);
  for (const auto& [parameter, value] : proposal.params)
    if (const auto name = NameBehind(parameter, "remove-"); !name.empty()) TRY(edit.Remove(name, value));
  for (const auto& [parameter, value] : proposal.params)
    if (!IsAppliances(parameter) && NameBehind(parameter, "remove-").empty()) TRY(edit.Apply(parameter, value));
  edit.parts.principals.clear();
  for (auto& [name, principal] : edit.principals) edit.parts.principals.push_back(std::move(principal));
  TRY_ASSIGN(auto next, Roster::Parse(RosterText(roster.instance(), roster.version() + 1, ToHex(roster.hash()),
                                                 std::move(edit.parts))));
  if (next.parts() == roster.parts()) return Invalid("the change leaves the roster as it is");
  return next;
}

Result<LedgerRecord> RosterRecord(const LedgerRecord& record, const ExecutionGrant& grant) {
  TRY_ASSIGN(const auto roster, Roster::Parse(grant.roster_text()));
  TRY_ASSIGN(const auto after, RosterAfter(roster, grant.proposal()));
  const auto named = grant.proposal().params.find("new-roster");
  if (named == grant.proposal().params.end() ||
      named->second != std::to_string(after.version()) + " " + ToHex(after.hash()))
    return Invalid("the proposal names another roster than its change makes");
  auto next = record;
  next.custody.roster_version = after.version();
  next.custody.roster_hash = after.hash();
  return next;
}

namespace {
// The record of a group that gets another member.
Result<LedgerRecord> MemberRecord(const LedgerRecord& record, const ProposalText& proposal) {
  const auto get = [&](const char* name) {
    const auto at = proposal.params.find(name);
    return at == proposal.params.end() ? std::string() : at->second;
  };
  for (const auto* mark : {"member", "label", "model", "manufacturer", "token"}) TRY(CheckMark(get(mark)));
  auto next = record;
  auto& members = next.custody.members;
  std::erase_if(members, [&](const Member& m) { return m.serial == get("member"); });
  if (members.size() >= kMaxMembers)
    return Overloaded("the token remembers " + std::to_string(kMaxMembers) + " members of its group", "overloaded");
  members.push_back({get("member"), get("label"), get("model"), get("manufacturer"), get("token")});
  return next;
}
}  // namespace

Result<LedgerRecord> ChangedRecord(const LedgerRecord& spent, const ExecutionGrant& grant, Millis now) {
  const auto& proposal = grant.proposal();
  const auto& operation = proposal.operation;
  if (operation == "roster.change") return RosterRecord(spent, grant);
  if (operation == "keyring.set-policy") return MandateRecord(spent, proposal, now);
  if (operation == "version.destroy") return PendingRecord(spent, proposal, now);
  if (operation == "rekey.start") return ReleaseRecord(spent, proposal, now);
  if (operation == "token.enrol" && proposal.params.contains("member")) return MemberRecord(spent, proposal);
  if (operation == "token.enrol") {
    if (!spent.anchors.empty()) return Forbidden("this token signs the logs: it is the main one", "grant-mismatch");
    auto next = spent;
    next.custody.further = true;
    return next;
  }
  // Which version a keyring wraps under is no key's matter: the token remembers that it was asked for, once.
  if (operation == "clock.accept" || operation == "rewrap.reverse" || operation == "version.adopt") return spent;
  return Invalid("'" + operation.substr(0, 40) + "' is no change of a token's record");
}

}  // namespace strongroom::crypto
