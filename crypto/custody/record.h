#pragma once
// The custody record: what a KEK token remembers, so that its host can refuse what a front end that was taken over
// would ask for. The formats are hsm/CUSTODY.md. Pure values.

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "crypto/base/bytes.h"
#include "crypto/base/clock.h"
#include "crypto/base/result.h"
#include "crypto/digest.h"
#include "crypto/envelope.h"
#include "crypto/roster.h"

namespace strongroom::crypto {

/// Id16 is 16 random bytes that name an installation, a host's start or a start of the machine.
using Id16 = std::array<std::uint8_t, 16>;
/// Share is whose room in the record an entry takes: the first 8 bytes of the SHA-256 of a keyring's name, or zeros for
/// the appliance.
using Share = std::array<std::uint8_t, 8>;
Share ShareOf(std::string_view keyring);
/// KeyringIdOf is the keyring that a KEK's CKA_ID begins with.
KeyringId KeyringIdOf(const KeyId& key);
/// TokenHash is how a release names the other token: the first 16 bytes of the SHA-256 of its name.
Id16 TokenHash(std::string_view token);

inline constexpr Millis kMinute = 60'000;
/// WholeMinutesUp and WholeMinutesDown round as the record keeps a limit that begins something, and one that ends it.
constexpr Millis WholeMinutesUp(Millis time) { return (time + kMinute - 1) / kMinute * kMinute; }
constexpr Millis WholeMinutesDown(Millis time) { return time / kMinute * kMinute; }

/// Anchor is the last head of a log that its token has signed. Origins are "strongroom/<instance>/control/<epoch>" and
/// "strongroom/<instance>/evidence/<node>/<epoch>"; the epoch is a number from 1.
struct Anchor {
  std::string origin;
  std::uint64_t size = 0;
  Digest root{};
  bool operator==(const Anchor&) const = default;
};

/// Writer says which host wrote a record. Writers are ordered by the record's epoch and term, then count, then start.
struct Writer {
  Id16 installation{};  // made once in a state directory
  Id16 start{};         // drawn at each start of a host
  std::uint64_t count = 0;
  bool settled = false;  // its claim was looked at twice; one that is not hides nothing
  bool operator==(const Writer&) const = default;
};

/// Course is what the record keeps of the clock that its last write was made by.
struct Course {
  Id16 boot_id{};   // which start of the machine
  Millis boot = 0;  // CLOCK_BOOTTIME
  bool operator==(const Course&) const = default;
};

/// SpentProposal is one that was executed and whose deadline has not passed.
struct SpentProposal {
  Id16 id{};         // the first half of its text's SHA-256
  Millis until = 0;  // whole minutes
  Share share{};
  bool operator==(const SpentProposal&) const = default;
};
/// PendingDestruction is a KEK that a quorum has given up: it may go when its waiting period was watched to its end.
struct PendingDestruction {
  KeyId key{};
  Millis due = 0;      // of watched time, whole minutes
  bool going = false;  // its destruction has begun: it is only finished, never cancelled
  bool operator==(const PendingDestruction&) const = default;
};
/// Mandate lets a keyring be rotated without further votes: at most one new version an interval, until a date (Q5).
struct Mandate {
  KeyringId keyring{};
  Share share{};  // its name's
  Suite suite = Suite::kKwp;
  Millis interval = 0;      // whole steps of 30 days
  Millis until = 0;         // whole minutes
  Millis next = 0;          // before this no version is made by it
  Millis next_watched = 0;  // nor before so much was watched: half the interval, whatever a clock is set to
  bool operator==(const Mandate&) const = default;
};
/// Release lets the DEKs that a keyring's KEKs in this token have wrapped be opened for another token (`rekey.start`),
/// until a date or for so much watched time, whichever ends first.
struct Release {
  KeyringId keyring{};
  Id16 to{};  // TokenHash
  Millis until = 0;
  Millis end_watched = 0;
  bool operator==(const Release&) const = default;
};
/// Member is another token of a high-availability group, which has the same objects under a serial number of its own.
struct Member {
  std::string serial;
  std::string label;
  std::string model;
  std::string manufacturer;
  std::string group;  // what KEKs and proposals name the group by: in a token's record, the record's own name
  bool operator==(const Member&) const = default;
};
/// ProfileMark names the vendor profile that was voted for; without a name none was.
struct ProfileMark {
  std::string name;
  Digest hash{};
  bool operator==(const ProfileMark&) const = default;
};

/// CustodyFacts is what a token enforces (crypto/custody.h).
struct CustodyFacts {
  std::uint64_t roster_version = 0;  // 0: none is obeyed yet, and nothing governed is done
  Digest roster_hash{};
  Millis seen = 0;         // the floor clock
  Course course{};         // of the last write
  Millis watched = 0;      // time that a living host has watched, ever
  Millis stepped = 0;      // watched time at which a step forward was noticed; 0: none
  bool floor_set = false;  // texts whose control size is not larger than `floor` are void
  std::uint64_t floor = 0;
  std::uint64_t most = 0;  // largest control size that an executed text had
  std::array<std::uint32_t, 3> box_floor{};
  ProfileMark profile{};
  std::uint8_t storage = 1;    // 1 in the device, 2 in files of the host, 3 with a service
  std::uint8_t freshness = 0;  // 0 none, 1 TPM, 2 peer, 3 witness
  std::uint64_t freshness_last = 0;
  bool further = false;  // enrolled beside the main token: it signs no logs
  std::vector<SpentProposal> spent;
  std::vector<PendingDestruction> pending;
  std::vector<Mandate> mandates;  // one a keyring at most
  std::vector<Release> releases;  // one a keyring at most
  std::vector<Member> members;
  bool operator==(const CustodyFacts&) const = default;
};

/// LedgerRecord is all that a token keeps about its ledger and who may change custody: the custody record, and in
/// `anchors` beside its own head of the control log the heads of the nodes' evidence logs, which are objects of their
/// own in the token.
struct LedgerRecord {
  InstanceId instance{};
  std::string token;  // its name: the serial number; what KEKs and proposals name it by
  std::uint64_t term = 0;
  std::string node = "node-1";
  Writer writer;
  std::uint64_t serial = 0;  // grows with each record that is written
  std::uint64_t epoch = 1;   // of the logs, and of proposals
  std::vector<Anchor> anchors;
  std::vector<std::string> nodes;  // whose evidence head must be there; sorted
  Millis node_seen = 0;            // the floor clock as the own node's head has it
  std::uint32_t key = 1;           // number of the checkpoint key that signs
  Millis former_until = 0;         // until then the key before it signs too
  CustodyFacts custody;
  bool operator==(const LedgerRecord&) const = default;
};

/// NodeHead is a node's evidence head as an object of its own (kind 2).
struct NodeHead {
  InstanceId instance{};
  std::string node;
  Writer writer;
  std::uint64_t serial = 0;
  Millis seen = 0;
  std::uint64_t epoch = 1;
  std::uint64_t size = 0;
  Digest root{};
  bool operator==(const NodeHead&) const = default;
};

/// CustodyRoot is written once beside the record and says whose token this is: instance, and the roster that was in
/// force then. Two that are equal are one.
struct CustodyRoot {
  InstanceId instance{};
  std::uint64_t roster_version = 0;
  Digest roster_hash{};
  std::string token;
  bool operator==(const CustodyRoot&) const = default;
};
/// RootOf is the root that a roster gives a token.
CustodyRoot RootOf(const Roster& roster, std::string_view token);
/// FirstRecord is the record of a token that has been given its root and has done nothing yet. `now` is its first time.
LedgerRecord FirstRecord(const CustodyRoot& root, Millis now);

inline constexpr std::size_t kMaxRootBytes = 160;
inline constexpr std::size_t kMaxNodeHeadBytes = 320;

/// EncodeRecord writes a record in format 7, kind 1, without the evidence heads; canonical: lists are sorted.
Bytes EncodeRecord(const LedgerRecord& record);
/// DecodeRecord reads formats 1 to 7. Failures are kIntegrity: `record-damaged` (not canonical, cut off, another
/// digest), `record-newer` (a format above 7, with the seal that every record of one has at its end: SHA-256 of all
/// before).
Result<LedgerRecord> DecodeRecord(ByteView bytes);
/// FormatOf is the first byte of a record, 0 for none.
std::uint8_t FormatOf(ByteView bytes);

Bytes EncodeNodeHead(const NodeHead& head);
Result<NodeHead> DecodeNodeHead(ByteView bytes);
Bytes EncodeRoot(const CustodyRoot& root);
Result<CustodyRoot> DecodeRoot(ByteView bytes);

/// Tombstone is a constant record of format 6 that closes a token to builds before format 7: to them it is the newest
/// record, obeys a roster that nobody has, and signs nothing. This build knows its bytes and passes over them.
const Bytes& Tombstone();

/// ControlOrigin and EvidenceOrigin name the two logs of an instance's only node. The epoch begins at 1 and grows by
/// `ledger.adopt` alone.
std::string ControlOrigin(const InstanceId& instance, std::uint64_t epoch = 1);
std::string EvidenceOrigin(const InstanceId& instance, std::uint64_t epoch = 1, std::string_view node = "node-1");

/// Origin is what a log's origin says.
struct Origin {
  InstanceId instance{};
  bool control = false;
  std::string node;  // empty for the control log
  std::uint64_t epoch = 0;
};
/// ParseOrigin reads what the two functions above write; kForbidden (foreign-origin) for anything else.
Result<Origin> ParseOrigin(std::string_view origin);

/// AnchorOf finds the anchor of a log, whatever its epoch.
std::optional<Anchor> AnchorOf(const LedgerRecord& record, bool control);
/// HeadOfNode is a node's evidence head as its object has it, nullopt when the record has none in `anchors`.
std::optional<NodeHead> HeadOfNode(const LedgerRecord& record);
/// WithNodeHead puts a node's evidence head among the record's anchors.
void PutNodeHead(LedgerRecord& record, const NodeHead& head);

/// SameCustody tells whether two records say the same but for who wrote them and when.
bool SameCustody(const LedgerRecord& a, const LedgerRecord& b);

}  // namespace strongroom::crypto
