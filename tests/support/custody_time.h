#pragma once
#include "crypto/custody.h"

namespace strongroom::tests {

/// At is a moment of a host that has lived as long as the wall clock has moved since the record's last write: no step,
/// and every minute watched.
inline crypto::CustodyTime At(const crypto::LedgerRecord& record, Millis wall) {
  const auto since = record.custody.seen > 0 && wall > record.custody.seen ? wall - record.custody.seen : Millis{0};
  return crypto::TimeOf(record, {wall, {record.custody.course.boot_id, record.custody.course.boot + since}, since});
}
/// Spend spends a grant's proposal in a record with the most room.
inline Result<crypto::LedgerRecord> Spend(const crypto::LedgerRecord& record, const crypto::ExecutionGrant& grant,
                                          Millis wall) {
  return crypto::SpendProposal(record, grant, At(record, wall), *crypto::RoomOf(98'304));
}

}  // namespace strongroom::tests
