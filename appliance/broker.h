#pragma once
// The data plane: wrap, unwrap, rewrap and data keys for services, each answer after its evidence.

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "appliance/admission.h"
#include "appliance/caller.h"
#include "appliance/gcm_budget.h"
#include "appliance/refusal_meter.h"
#include "appliance/state.h"
#include "crypto/base/mutex.h"
#include "hsm/key_ops.h"
#include "ledger/ledger.h"

namespace strongroom::appliance {

using ledger::Operation;

/// DataItem is one item of a request; which fields count depends on the operation. A `refused` item was found bad
/// before it came here and gets its error as the answer.
struct DataItem {
  SecretBytes plaintext;        // wrap
  std::string dek;              // dek-put, dek-delete: the inventory's id; unwrap: instead of `wrapped`
  std::string wrapped;          // unwrap, rewrap, dek-put
  Bytes aad;                    // wrap, unwrap, datakey; empty = none
  std::uint16_t bytes = 0;      // datakey
  bool want_plaintext = false;  // datakey
  std::optional<Error> refused;
};

struct DataRequest {
  std::string request_id;
  std::string principal;
  std::string keyring;
  Operation operation = Operation::kWrap;
  Lane lane = Lane::kInteractive;
  std::vector<DataItem> items;
  std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();
  crypto::Digest spki{};  // of the principal's key, by which he is judged
};

struct DataAnswer {
  std::string wrapped;    // wrap, rewrap, datakey
  SecretBytes plaintext;  // unwrap, datakey
  std::uint32_t kek_version = 0;
  std::uint32_t from_version = 0;  // rewrap
  std::string rewrapped;           // unwrap under an older version
  std::string dek;                 // dek-put, dek-delete
};
/// DataReply is the whole request's refusal, or one result for each item in order.
using DataReply = Result<std::vector<Result<DataAnswer>>>;

/// Authorise decides whether a service may do this with this keyring: the roster in force has its key, under its name,
/// and the keyring's grants have the name. A keyring that is not granted to it at all and one that does not exist are
/// the same answer (N5). kForbidden (unknown-principal, role-refused as JudgeActor says; operation-not-granted),
/// kNotFound (keyring-not-found), kConflict (keyring-disabled).
Result<std::shared_ptr<const Keyring>> Authorise(const State& state, const Caller& service, std::string_view keyring,
                                                 Operation operation);

/// CallerOf is who stands behind a request.
inline Caller CallerOf(const DataRequest& request) { return {request.principal, request.spki}; }

/// RefOf is a version's KEK, as the token is asked for it.
hsm::KeyRef RefOf(const Version& version);
/// EnvelopeOf is the wrapped DEK of a record of the inventory, as `version` of `keyring` makes it.
crypto::Envelope EnvelopeOf(const State& state, const Keyring& keyring, const Version& version, Bytes blob);

inline constexpr std::uint64_t kMaxKeyringDeks = 10'000'000;
inline constexpr std::uint64_t kMaxOwnerBytes = std::uint64_t{2} << 30;

/// Broker queues requests and brings them to the token in groups of one lane: one frame and one synced commit serve
/// many requests. Each lane has its own way to the token, so that an interactive group waits there for one bulk frame
/// at most; and while both lanes wait, bulk has one worker and interactive the others. Thread-safe.
class Broker {
 public:
  struct Options {
    unsigned workers = 3;  // groups under way at once: one at the token while others wait for the disk
    std::size_t group_items = 256;
    std::size_t queue_items = 8192;   // how many items may wait; over it 503
    std::size_t tenant_items = 4096;  // of one tenant; over it 429
    std::size_t quantum = 16;         // items of a tenant's turn
    // How many items may wait for the disk after their token work: over it nothing more goes to the token, so that what
    // was done there can be recorded, and what is counted (K4) lags behind by no more.
    std::size_t unreleased_items = 8192;
    std::uint64_t gcm_refuse = kGcmRefuse;
    // The inventory's bounds (Q18): how many DEKs a keyring may have, of which one service owns half at most, and
    // how many bytes of ids and wrapped DEKs it may own of all keyrings together. What is under way at once may go
    // beyond by as much.
    std::uint64_t keyring_deks = kMaxKeyringDeks;
    std::uint64_t owner_bytes = kMaxOwnerBytes;
    // Asked of each request as it goes to the token: the refusal, or the id of the break-glass that it goes by, empty
    // when it needs none. That use is an evidence entry of its own.
    std::function<Result<std::string>(const DataRequest&)> gate = nullptr;
  };
  using Snapshot = std::function<std::shared_ptr<const State>()>;
  using Done = std::function<void(DataReply)>;

  /// TokenLanes are the ways to the token; both may be the same.
  struct TokenLanes {
    hsm::KeyOps& interactive;
    hsm::KeyOps& bulk;
  };

  Broker(ledger::Ledger& ledger, TokenLanes token, const Clock& clock, Snapshot snapshot, Options options);
  /// Drains as Drain does.
  ~Broker();
  /// Drain answers every admitted request, then ends the workers; what is submitted afterwards is refused. Call while
  /// those who wait for answers can still take them.
  void Drain() EXCLUDES(mutex_);

  /// Submit admits a request; `done` is called once, from a thread of the broker's or of the ledger's, or, on refused
  /// admission, from the caller's. It must not block. With kLater the request may lie until the next Dispatch: whoever
  /// has several to submit lets them go together.
  enum class Start : std::uint8_t { kNow, kLater };
  void Submit(DataRequest request, Done done, Start start = Start::kNow) EXCLUDES(mutex_);
  void Dispatch();

  /// RecordRefusal records a refusal that never became a request here (authentication, authorisation), flood-bounded.
  /// Does not wait.
  void RecordRefusal(const std::string& request_id, const std::string& principal, const std::string& keyring,
                     Operation operation, std::string_view slug) EXCLUDES(meter_mutex_);

  /// InteractiveLately tells whether somebody waits, or waited within the last quarter of a second, for a single
  /// answer.
  bool InteractiveLately() const;
  /// Queued counts the items of a lane that wait.
  std::size_t Queued(Lane lane) const EXCLUDES(mutex_);
  /// Room judges whether `items` more of a tenant would be admitted now: a stream waits for it rather than fail its
  /// lines, and a body that would be refused need not be parsed.
  Result<void> Room(const std::string& tenant, std::size_t items) const EXCLUDES(mutex_);

 private:
  struct Pending {
    DataRequest request;
    Done done;
  };
  struct Worked;
  using Replies = std::vector<std::pair<Done, DataReply>>;
  std::optional<Lane> NextLane() const REQUIRES(mutex_);
  void WorkLoop() EXCLUDES(mutex_);
  void RunGroup(Lane lane, std::vector<Pending> group);
  // Claim is a DEK of the inventory that a change is under way for: until it is on disk nobody else changes it.
  using Claim = std::pair<crypto::KeyringId, std::string>;
  void Release(ledger::Staged<Replies> staged, const Result<ledger::Committed>& committed, std::size_t items)
      EXCLUDES(mutex_);
  void Released(std::size_t items) EXCLUDES(mutex_);
  Result<void> TakeClaim(const Claim& claim, const std::string& principal) EXCLUDES(claims_mutex_);
  void GiveBack(const std::vector<Claim>& claims) EXCLUDES(claims_mutex_);
  void Prepare(Worked& worked, std::vector<hsm::KeyOp>& ops);
  Result<hsm::KeyOp> PrepareItem(const Worked& worked, Operation operation, DataItem& item, DataAnswer& answer);
  Result<std::optional<hsm::KeyOp>> PrepareChange(Worked& worked, Operation operation, const DataItem& item,
                                                  DataAnswer& answer, std::optional<ledger::DekWrite>& change);
  Result<hsm::KeyOp> PreparePut(Worked& worked, const DataItem& item, const std::optional<ledger::DekRecord>& former,
                                DataAnswer& answer, ledger::DekWrite& write);
  Result<void> MeasureInventory(Worked& worked) const;
  Result<void> CheckOwner(const Worked& worked, const std::optional<ledger::DekRecord>& record) const;
  Result<crypto::Envelope> IncomingEnvelope(const Worked& worked, const DataItem& item);
  void Collect(Worked& worked, std::vector<Result<hsm::KeyOpOutput>>& outputs, ledger::Submission& submission);

  ledger::Ledger& ledger_;
  const TokenLanes token_;
  const Clock& clock_;
  const Snapshot snapshot_;
  const Options options_;

  std::atomic<std::chrono::steady_clock::time_point> last_interactive_{std::chrono::steady_clock::time_point()};
  mutable Mutex mutex_;
  CondVar work_;
  AdmissionQueue<Pending> queue_ GUARDED_BY(mutex_);
  unsigned bulk_groups_ GUARDED_BY(mutex_) = 0;  // groups of the bulk lane under way
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::size_t unreleased_ GUARDED_BY(mutex_) = 0;  // items whose evidence is on its way to the disk
  CondVar released_;
  Mutex claims_mutex_;
  std::map<Claim, std::pair<std::string, unsigned>> claims_ GUARDED_BY(claims_mutex_);  // who, and how many of his
  Mutex meter_mutex_;
  RefusalMeter meter_ GUARDED_BY(meter_mutex_);
  std::vector<std::thread> workers_;
};

}  // namespace strongroom::appliance
