#include "crypto/custody/room.h"

#include <algorithm>
#include <map>

namespace strongroom::crypto {
namespace {

// Smallest first; hsm/CUSTODY.md has the sums.
constexpr RecordRoom kRooms[] = {
    {7'680, 4, 96, 8, 8, 16, 4, 1, 8, 16, 4, 64, 12, 4},
    {49'152, 16, 640, 16, 16, 48, 16, 2, 32, 128, 8, 512, 96, 16},
    {98'304, 16, 1'280, 32, 32, 96, 16, 2, 32, 256, 8, 1'024, 192, 32},
};

Error Full(const std::string& list, std::size_t count, std::size_t cap, const std::string& next) {
  return Overloaded("the token's custody record is full: " + std::to_string(count) + " of " + std::to_string(cap) +
                        " " + list + (next.empty() ? "" : "; " + next),
                    "record-full");
}

std::string Named(const Share& share) { return share == Share{} ? "the appliance" : "keyring share " + ToHex(share); }

// Who has most of a list of executed texts, and when its next entry ends.
std::string MostOf(const std::vector<SpentProposal>& spent) {
  std::map<Share, std::size_t> counts;
  Millis next = 0;
  for (const auto& s : spent) {
    ++counts[s.share];
    next = next == 0 ? s.until : std::min(next, s.until);
  }
  const auto most =
      std::max_element(counts.begin(), counts.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  if (most == counts.end()) return {};
  return "most of them of " + Named(most->first) + ", the next ends at " + FormatTime(next);
}

}  // namespace

Result<RecordRoom> RoomOf(std::size_t max_bytes) {
  const RecordRoom* best = nullptr;
  for (const auto& room : kRooms)
    if (room.bytes <= max_bytes) best = &room;
  if (best == nullptr)
    return Invalid("an object of " + std::to_string(max_bytes) + " bytes is no place for a custody record of " +
                       std::to_string(kRooms[0].bytes),
                   "record-too-small");
  return *best;
}

Result<void> CheckRoomForSpent(const LedgerRecord& record, const RecordRoom& room, const Share& share, KeptRoom kept) {
  const auto& spent = record.custody.spent;
  // What has room of its own takes that of nobody else; how an entry was counted is not kept with it, so the kept
  // parts are what the ordinary ones leave.
  const auto ordinary = room.spent - room.recovery - room.roster - room.emergency;
  const auto of_share = static_cast<std::size_t>(
      std::count_if(spent.begin(), spent.end(), [&](const SpentProposal& s) { return s.share == share; }));
  const auto most = MostOf(spent);
  std::size_t cap = ordinary, share_cap = share == Share{} ? room.spent_of_appliance : room.spent_of_one;
  switch (kept) {
    case KeptRoom::kNone:
      break;
    case KeptRoom::kEmergency:
      cap = ordinary + room.emergency;
      share_cap = room.spent_of_one + room.emergency_of_one;
      break;
    case KeptRoom::kRoster:
      cap = ordinary + room.emergency + room.roster;
      share_cap = room.spent_of_appliance + room.roster;
      break;
    case KeptRoom::kRecovery:
      cap = room.spent;
      share_cap = room.spent_of_appliance + room.roster + room.recovery;
      break;
  }
  if (of_share >= share_cap) return Full("executed proposals of " + Named(share), of_share, share_cap, most);
  if (spent.size() >= cap) return Full("executed proposals", spent.size(), cap, most);
  return {};
}

Result<void> CheckRoomForPending(const LedgerRecord& record, const RecordRoom& room, const KeyId& key) {
  const auto& pending = record.custody.pending;
  // A KEK that is given up again takes the place that it has.
  if (std::any_of(pending.begin(), pending.end(), [&](const PendingDestruction& p) { return p.key == key; })) return {};
  const auto of_one = static_cast<std::size_t>(std::count_if(
      pending.begin(), pending.end(), [&](const auto& p) { return KeyringIdOf(p.key) == KeyringIdOf(key); }));
  const std::string next = "a destruction that is cancelled makes room, without votes";
  if (of_one >= room.pending_of_one) return Full("destructions of the keyring", of_one, room.pending_of_one, next);
  if (pending.size() >= room.pending) return Full("pending destructions", pending.size(), room.pending, next);
  return {};
}

Result<void> CheckRoomForMandate(const LedgerRecord& record, const RecordRoom& room) {
  const auto count = record.custody.mandates.size();
  if (count < room.mandates) return {};
  return Full("rotation policies", count, room.mandates, "keyring.set-policy with rotate-days none makes room");
}

Result<void> CheckRoomForRelease(const LedgerRecord& record, const RecordRoom& room) {
  const auto count = record.custody.releases.size();
  if (count < room.releases) return {};
  Millis next = record.custody.releases.front().until;
  for (const auto& release : record.custody.releases) next = std::min(next, release.until);
  return Full("releases to another token", count, room.releases, "the next ends at " + FormatTime(next));
}

Result<void> CheckRoomForMember(const LedgerRecord& record, const RecordRoom& room) {
  const auto count = record.custody.members.size();
  if (count < room.members) return {};
  return Full("members of its group", count, room.members, {});
}

Result<void> CheckFits(const Bytes& encoded, const RecordRoom& room) {
  if (encoded.size() > room.bytes) return Full("bytes", encoded.size(), room.bytes, {});
  if (!DecodeRecord(encoded))
    return Invalid("the custody record that would be written could not be read back: nothing is done",
                   "record-invalid");
  return {};
}

}  // namespace strongroom::crypto
