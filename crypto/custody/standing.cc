// What stands in a record for longer than one call: destructions that wait, mandates, releases.

#include <algorithm>

#include "crypto/custody.h"
#include "crypto/text_rules.h"

namespace strongroom::crypto {
namespace {

std::string ParamOf(const ProposalText& proposal, const char* name) {
  const auto at = proposal.params.find(name);
  return at == proposal.params.end() ? std::string() : at->second;
}

Error NotPending(const KeyId& key) {
  return Forbidden("no quorum has given up KEK " + ToHex(key), "destruction-not-pending");
}
Error UnderWay(const KeyId& key) {
  return Conflict("the destruction of KEK " + ToHex(key) + " has begun and is only finished", "destruction-under-way");
}

}  // namespace

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

Result<LedgerRecord> PendingRecord(const LedgerRecord& record, const ProposalText& proposal, const CustodyTime& time,
                                   const RecordRoom& room) {
  TRY_ASSIGN(const auto destruction, DestructionOf(proposal));
  TRY(CheckRoomForPending(record, room, destruction.key));
  auto next = record;
  auto& pending = next.custody.pending;
  const auto due = WholeMinutesUp(time.watched + static_cast<Millis>(destruction.days) * kDay);
  for (auto& p : pending) {
    if (p.key != destruction.key) continue;
    if (p.going) return UnderWay(p.key);
    p.due = std::max(p.due, due);  // given up anew, it waits anew
    return next;
  }
  pending.push_back({destruction.key, due, false});
  return next;
}

bool IsPending(const LedgerRecord& record, const KeyId& key) {
  const auto& pending = record.custody.pending;
  return std::any_of(pending.begin(), pending.end(), [&](const auto& p) { return p.key == key; });
}

Result<LedgerRecord> WithoutPending(const LedgerRecord& record, const KeyId& key) {
  auto next = record;
  if (std::erase_if(next.custody.pending, [&](const PendingDestruction& p) { return p.key == key; }) == 0)
    return NotPending(key);
  return next;
}

Result<LedgerRecord> CancelledRecord(const LedgerRecord& record, const KeyId& key) {
  for (const auto& p : record.custody.pending)
    if (p.key == key && p.going) return UnderWay(key);
  return WithoutPending(record, key);
}

Result<void> JudgeDestruction(const LedgerRecord& record, const KeyId& key, const CustodyTime& time) {
  for (const auto& p : record.custody.pending) {
    if (p.key != key) continue;
    if (p.going || time.watched >= p.due) return {};
    return Forbidden("KEK " + ToHex(key) + " may go about " + FormatTime(time.wall + (p.due - time.watched)) +
                         ", if the appliance stays on",
                     "destruction-not-due");
  }
  return NotPending(key);
}

Result<LedgerRecord> GoingRecord(const LedgerRecord& record, const KeyId& key, const CustodyTime& time) {
  TRY(JudgeDestruction(record, key, time));
  auto next = record;
  for (auto& p : next.custody.pending)
    if (p.key == key) p.going = true;
  return next;
}

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

Result<LedgerRecord> MandateRecord(const LedgerRecord& record, const ProposalText& proposal, const CustodyTime& time,
                                   const RecordRoom& room) {
  TRY_ASSIGN(const auto policy, RotationPolicyOf(proposal));
  auto next = record;
  auto& mandates = next.custody.mandates;
  std::erase_if(mandates, [&](const Mandate& m) { return m.keyring == policy.keyring || m.until < time.late; });
  if (policy.days == 0) return next;
  TRY(CheckRoomForMandate(next, room));
  const auto interval = static_cast<Millis>(policy.days) * kDay;
  mandates.push_back({policy.keyring, ShareOf(proposal.keyring), policy.suite, interval, WholeMinutesDown(policy.until),
                      WholeMinutesUp(time.late + interval), WholeMinutesUp(time.watched + interval / 2)});
  return next;
}

Result<LedgerRecord> UseMandate(const LedgerRecord& record, std::string_view keyring, const KeyId& key, Suite suite,
                                const CustodyTime& time) {
  TRY(CheckNotBehind(time));
  auto next = record;
  for (auto& mandate : next.custody.mandates) {
    if (mandate.keyring != KeyringIdOf(key) || mandate.share != ShareOf(keyring) || mandate.suite != suite) continue;
    if (time.late > mandate.until)
      return Forbidden("the mandate ended at " + FormatTime(mandate.until) + ": propose keyring.set-policy",
                       "mandate-over");
    TRY(CheckNotStepped(time));
    if (time.wall < mandate.next || time.watched < mandate.next_watched)
      return Forbidden(
          "the mandate's next version is due at " +
              FormatTime(std::max(mandate.next, time.wall + std::max<Millis>(mandate.next_watched - time.watched, 0))),
          "mandate-not-due");
    return AfterRotation(std::move(next), key, time);
  }
  return Forbidden("no mandate lets this keyring be rotated without votes", "no-mandate");
}

Result<StandingGrant> GrantByMandate(const LedgerRecord& record, std::string_view keyring, const KeyId& key,
                                     Suite suite, const CustodyTime& time) {
  TRY(UseMandate(record, keyring, key, suite, time));
  return StandingGrant(key, false);
}

Result<StandingGrant> GrantDestruction(const LedgerRecord& record, const KeyId& key, const CustodyTime& time) {
  TRY(JudgeDestruction(record, key, time));
  return StandingGrant(key, true);
}

LedgerRecord AfterRotation(LedgerRecord record, const KeyId& key, const CustodyTime& time) {
  for (auto& mandate : record.custody.mandates) {
    if (mandate.keyring != KeyringIdOf(key)) continue;
    mandate.next = WholeMinutesUp(time.late + mandate.interval);
    mandate.next_watched = WholeMinutesUp(time.watched + mandate.interval / 2);
  }
  return record;
}

Result<LedgerRecord> ReleaseRecord(const LedgerRecord& record, const ProposalText& proposal, const CustodyTime& time,
                                   const RecordRoom& room) {
  if (proposal.operation != "rekey.start") return Invalid("the proposal is not one of rekey.start");
  const auto keyring = FromHexArray<16>(ParamOf(proposal, "keyring-id"));
  const auto custody = ParamOf(proposal, "custody");
  if (!keyring || !custody.starts_with(kTokenPrefix)) return Invalid("the proposal names no keyring and no token");
  const auto days = ParseNumber(ParamOf(proposal, "release-days"));
  if (!days || *days < 1 || *days > kMaxReleaseDays)
    return Invalid("release-days is 1 to " + std::to_string(kMaxReleaseDays));
  auto next = record;
  auto& releases = next.custody.releases;
  std::erase_if(releases, [&](const Release& r) { return r.keyring == *keyring || r.until < time.late; });
  TRY(CheckRoomForRelease(next, room));
  const auto length = static_cast<Millis>(*days) * kDay;
  releases.push_back({*keyring, TokenHash(custody.substr(kTokenPrefix.size())), WholeMinutesDown(time.late + length),
                      WholeMinutesDown(time.watched + length)});
  return next;
}

Result<void> JudgeRelease(const LedgerRecord& record, const KeyId& key, std::string_view to, const CustodyTime& time) {
  for (const auto& release : record.custody.releases)
    if (release.keyring == KeyringIdOf(key) && release.to == TokenHash(to) && time.late <= release.until &&
        time.watched <= release.end_watched)
      return {};
  return Forbidden("no rekey.start lets this keyring's DEKs be opened for token " + std::string(to.substr(0, 64)),
                   "not-released");
}

}  // namespace strongroom::crypto
