#pragma once
// The custody record as objects in a token, and its one writer (hsm/CUSTODY.md).

#include <optional>
#include <string>
#include <vector>

#include "crypto/base/clock.h"
#include "crypto/custody/chain.h"
#include "crypto/custody/course.h"
#include "crypto/custody/look.h"
#include "crypto/custody/room.h"
#include "hsm/module.h"
#include "hsm/profile.h"

namespace strongroom::hsm {

inline constexpr const char* kRecordLabel = "strongroom-anchor";
inline constexpr const char* kRootLabel = "strongroom-root";

/// CustodyStore reads and writes a token's custody objects for one host, on a session that is handed in with each call.
/// Not thread-safe. A write is looked at before and after, and only then may the caller act on it: what a host that was
/// killed has sent may arrive late, and another host may have taken over (Q13). After a write whose fate is not known,
/// or when somebody else writes, the store has ended: every call fails, and the host is to be replaced.
class CustodyStore {
 public:
  struct Options {
    crypto::Id16 installation{};  // of the state directory
    bool take_token = false;      // claim a record that another installation has written (`--take-token`)
    std::size_t max_bytes = crypto::kDefaultRecordBytes;
    bool see_others = false;  // what other processes have written is seen by SeeOthersObjects alone (SoftHSM)
  };
  CustodyStore(const Module& module, const Clock& clock, std::string token, const Options& options);

  /// Claim makes this host the record's writer: an unsettled record, a second look, a settled one, a third look. It
  /// upgrades a record of a former format in place first. Failures: kConflict (token-in-use: another installation
  /// writes it, and the token was not taken; custody-superseded: another installation has taken it), kUnavailable
  /// (record-not-confirmed: a claim of this installation's landed late, above this one), kIntegrity as Read, and
  /// kConflict (token-without-root) for a token that nobody has told whose it is. After any but the first two the store
  /// can be read, and adopted where that is the way out.
  Result<void> Claim(const Session& session);

  /// Read returns the record in force with the node's evidence head. kIntegrity: record-missing, record-damaged,
  /// record-newer, record-too-long, custody-forked, root-missing, roots-differ; kConflict (token-without-root);
  /// kTokenFault (too-many-objects) for more than FindLabelled takes: no host leaves so many.
  Result<crypto::LedgerRecord> Read(const Session& session);
  /// ReadToAdopt returns the record that an adoption goes on from: the one in force, the merge of those that contradict
  /// each other, or, when it is lost, the root's first one, for which `lost` is set.
  struct ToAdopt {
    crypto::LedgerRecord record;
    bool lost = false;
    bool forked = false;
    std::vector<crypto::LedgerRecord> contradicting;
  };
  Result<ToAdopt> ReadToAdopt(const Session& session);

  /// Write puts `next` in the place of the record in force, as this host's. kOverloaded (record-full) before anything
  /// is done; kUnavailable when the store has ended by it.
  Result<void> Write(const Session& session, const crypto::LedgerRecord& next);
  /// WriteAdopted puts the record of an adoption in force, whatever is there: its epoch is above all of that. It claims
  /// first, as Claim does: what another host has sent, and lands late, stands below it.
  Result<void> WriteAdopted(const Session& session, const crypto::LedgerRecord& next);
  /// WriteNodeHead puts the node's evidence head in the place of its former one.
  Result<void> WriteNodeHead(const Session& session, const crypto::LedgerRecord& record);

  /// Time is this moment as a record judges it.
  crypto::CustodyTime Time(const crypto::LedgerRecord& record) const;
  /// IsDue tells whether the record is to be written again for its clock alone: an hour has passed.
  bool IsDue() const;
  const crypto::RecordRoom& room() const { return room_; }
  bool ended() const { return ended_; }
  bool superseded() const { return superseded_; }
  /// RosterInForce is the roster that the record obeys, with or without a root; of records that contradict each other
  /// the one of the lowest version. Version 0 when it names none or there is no record. Fails as Read does for what
  /// cannot be read.
  Result<crypto::RosterMark> RosterInForce(const Session& session);
  /// Root is the token's root; fails as Read does.
  Result<crypto::CustodyRoot> Root(const Session& session);

 private:
  struct Found {
    std::vector<CK_OBJECT_HANDLE> records;
    crypto::Look look;
    std::vector<CK_OBJECT_HANDLE> heads;
    std::vector<std::size_t> older_heads;
    std::optional<crypto::NodeHead> head;
    std::optional<crypto::CustodyRoot> root;
  };
  Result<Found> LookAround(const Session& session);
  Result<crypto::LedgerRecord> InForce(const Found& found) const;
  Result<crypto::LedgerRecord> MergedRecord(const Found& found) const;
  Result<void> Upgrade(const Session& session, const Found& found);
  Result<void> Put(const Session& session, const crypto::LedgerRecord& record, const Found& before);
  Result<void> Create(const Session& session, const std::string& label, const Bytes& value);
  Error End(const std::string& why);
  Error Overtaken(const crypto::Look& look);
  crypto::WriterOrder MyOrder(std::uint64_t epoch, std::uint64_t term) const;

  const Module& module_;
  const Clock& clock_;
  const std::string token_;
  const Options options_;
  const crypto::RecordRoom room_;
  crypto::Writer writer_;
  std::optional<Bytes> mine_;  // the record that this host wrote last
  Millis written_at_ = 0;      // Clock::Watched of that write
  bool ended_ = false, superseded_ = false;
  bool wrote_ = false;  // this process has written objects of the token
};

/// StoreOptions returns the options with what a token's profile says about its custody objects.
CustodyStore::Options StoreOptions(const VendorProfile& profile, CustodyStore::Options options = {});

/// WriteRoot writes a token's root, once: with an equal one it does nothing, with another it is kConflict
/// (root-exists). The object can be neither changed nor destroyed by the user.
Result<void> WriteRoot(const Module& module, const Session& session, const crypto::CustodyRoot& root);
/// ReadRoots returns the roots of a token, each once.
Result<std::vector<crypto::CustodyRoot>> ReadRoots(const Module& module, const Session& session);
/// WriteFirstRecord writes the record of a token that has none, settled and of no host.
Result<void> WriteFirstRecord(const Module& module, const Session& session, const crypto::LedgerRecord& record);

}  // namespace strongroom::hsm
