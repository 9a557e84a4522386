#pragma once
// How much a custody record may hold (Q14): one bound for reader and writer, caps that fit all at once, shares, and
// room that is kept. Pure.

#include <cstddef>

#include "crypto/custody/operation.h"
#include "crypto/custody/record.h"

namespace strongroom::crypto {

/// RecordRoom is what fits into a record of so many bytes. All lists at their caps make a record that fits.
struct RecordRoom {
  std::size_t bytes = 0;  // the bound of an object in the token
  std::size_t nodes = 0;
  std::size_t spent = 0;                                // all executed texts; of these are kept:
  std::size_t recovery = 0, roster = 0, emergency = 0;  // so many for each of these classes
  std::size_t spent_of_one = 0, emergency_of_one = 0;   // a keyring's share
  std::size_t spent_of_appliance = 0;                   // what is about no keyring and has no room kept
  std::size_t pending = 0, pending_of_one = 0;
  std::size_t mandates = 0, releases = 0, members = 0;
};
/// RoomOf picks the largest set of caps for a token whose objects hold so many bytes; kInvalid (record-too-small) when
/// that is no place for a record.
Result<RecordRoom> RoomOf(std::size_t max_bytes);
/// kDefaultRecordBytes is for a profile that says nothing else.
inline constexpr std::size_t kDefaultRecordBytes = 49'152;

/// Each of these tells whether one more entry fits, before anything is spent. kOverloaded (record-full) says which list
/// is full, who has most of it and when the next entry ends. `share` is the keyring's, or zeros.
Result<void> CheckRoomForSpent(const LedgerRecord& record, const RecordRoom& room, const Share& share, KeptRoom kept);
Result<void> CheckRoomForPending(const LedgerRecord& record, const RecordRoom& room, const KeyId& key);
Result<void> CheckRoomForMandate(const LedgerRecord& record, const RecordRoom& room);
Result<void> CheckRoomForRelease(const LedgerRecord& record, const RecordRoom& room);
Result<void> CheckRoomForMember(const LedgerRecord& record, const RecordRoom& room);
/// CheckFits tells whether a record's bytes may be written: within the bound, else kOverloaded (record-full), and such
/// that they can be read back, else kInvalid (record-invalid).
Result<void> CheckFits(const Bytes& encoded, const RecordRoom& room);

}  // namespace strongroom::crypto
