#pragma once
// The port to a token. Each operation is whole: a caller never sees a session, a handle or a PKCS#11 call.

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "crypto/anchor.h"
#include "crypto/base/result.h"
#include "crypto/base/secret.h"
#include "crypto/custody.h"
#include "crypto/custody/chain.h"
#include "crypto/digest.h"
#include "crypto/envelope.h"
#include "crypto/quorum.h"

namespace strongroom::hsm {

/// KeyRef names one KEK: the token by its serial number, the key by its CKA_ID, and the suite of that version.
struct KeyRef {
  std::string token;
  crypto::KeyId key{};
  crypto::Suite suite = crypto::Suite::kKwp;
  bool operator==(const KeyRef&) const = default;
};

/// An operation that is still waiting at its `deadline` is not run any more: kUnavailable, slug `deadline` (P4). The
/// clock is CLOCK_MONOTONIC, one for all processes of a machine.
using OpDeadline = std::chrono::steady_clock::time_point;

/// Context is what a DEK is bound to (K4). The token side itself makes the digest of it: whoever has read a digest, and
/// does not know what it is of, opens nothing (K11). The keyring is named, for several may share one KEK.
struct Context {
  crypto::InstanceId instance{};
  crypto::KeyringId keyring{};
  Bytes aad;  // at most crypto::kMaxAadBytes, else kInvalid
  bool operator==(const Context&) const = default;
};

/// WrapOp wraps a DEK of 16 to 512 bytes, bound to its context. Yields `blob`.
struct WrapOp {
  KeyRef key;
  SecretBytes dek;
  Context context;
  OpDeadline deadline = OpDeadline::max();
};
/// UnwrapOp yields `plaintext`; with `rewrap_to` also `blob`, the same DEK freshly wrapped under that key, which is one
/// of the same keyring, else kForbidden (other-keyring). When that key is in another token, `blob` is what AdmitOp
/// needs there, as ReleaseOp yields it, and empty when the custody record does not allow the DEK to go there.
struct UnwrapOp {
  KeyRef key;
  Bytes blob;
  Context context;
  std::optional<KeyRef> rewrap_to = std::nullopt;
  OpDeadline deadline = OpDeadline::max();
};
/// RewrapOp moves a blob from one KEK to another of the same keyring and token, else kForbidden (other-keyring) or
/// kNotFound, and yields `blob`. kwp to kwp stays inside the token (K6).
struct RewrapOp {
  KeyRef from;
  KeyRef to;
  Bytes blob;
  OpDeadline deadline = OpDeadline::max();
};
/// DataKeyOp draws a DEK from the token's generator and wraps it. Yields `blob`, and `plaintext` if wanted.
struct DataKeyOp {
  KeyRef key;
  std::uint16_t bytes = 32;
  Context context;
  bool want_plaintext = false;
  OpDeadline deadline = OpDeadline::max();
};
/// ReleaseOp opens a DEK for another token that its keyring moves to, while the custody record allows it
/// (crypto::JudgeRelease). Yields `plaintext`, and the context digest as `blob`.
struct ReleaseOp {
  KeyRef key;
  std::string to;  // serial number
  Bytes blob;
  OpDeadline deadline = OpDeadline::max();
};
/// AdmitOp wraps a DEK that another token has released, bound to the digest that came with it. Yields `blob`. A wrap
/// opens nothing: whoever has a DEK in plaintext may bind it to whatever he likes.
struct AdmitOp {
  KeyRef key;
  SecretBytes dek;
  crypto::Digest context{};
  OpDeadline deadline = OpDeadline::max();
};
using KeyOp = std::variant<WrapOp, UnwrapOp, RewrapOp, DataKeyOp, ReleaseOp, AdmitOp>;

struct KeyOpOutput {
  Bytes blob;
  SecretBytes plaintext;
};

/// KeySpec is a KEK to generate (K1). `label` is for people who look at the token with other tools.
struct KeySpec {
  KeyRef ref;
  std::string label;
};

/// KeyRecord is one secret-key object as found in the token. `fault` is empty when it is a KEK whose attributes are as
/// K1 and K2 want them.
struct KeyRecord {
  Bytes id;
  std::string label;
  crypto::Suite suite = crypto::Suite::kKwp;
  std::string fault;
};

/// TokenIdentity is what K9 compares.
struct TokenIdentity {
  std::string serial;
  std::string label;
  std::string model;
  std::string manufacturer;
  std::string profile;  // the vendor profile in force
  bool operator==(const TokenIdentity&) const = default;
};

/// CheckpointKey is a key that signs the ledger's heads (ECDSA P-256).
struct CheckpointKey {
  std::uint32_t number = 1;
  Bytes spki;         // SubjectPublicKeyInfo, DER
  Bytes former;       // SubjectPublicKeyInfo of the key before it; empty for the first key
  Bytes endorsement;  // by that key, DER, over crypto::KeyEndorsement; empty for the first key
};
/// CheckpointSignature is one key's DER signature over a checkpoint's text.
struct CheckpointSignature {
  std::uint32_t key = 1;
  Bytes der;
};

/// RecordToAdopt is the record that an adoption goes on from: the one in force; the root's first one, when it is lost;
/// the merge of those that contradict each other.
enum class AdoptedFrom : std::uint8_t { kInForce = 0, kLost = 1, kForked = 2 };
struct RecordToAdopt {
  crypto::LedgerRecord record;
  AdoptedFrom from = AdoptedFrom::kInForce;
};

enum class DestructionEnd : std::uint8_t { kDestroy = 1, kCancel = 2 };

/// LinkState says how a token host can be reached. In the process itself it is always kUp.
enum class LinkState : std::uint8_t {
  kDown,        // nobody listens
  kConnecting,  // its supervisor is there, the host is not ready yet
  kPinLatched,  // its supervisor does not try the PIN again (P8)
  kUp,
};

/// KeyOps is thread-safe and blocking. Common failures: kUnwrapFailed (every cryptographic one, K5), kNotFound (no such
/// KEK in the token), kInvalid (sizes), kUnavailable (token side away; whether an operation ran is not known, and it
/// must not be sent again for the caller), kOverloaded, kTokenFault.
class KeyOps {
 public:
  virtual ~KeyOps() = default;

  /// Execute runs the operations in order, one result each; one failure does not stop the others.
  virtual std::vector<Result<KeyOpOutput>> Execute(std::span<const KeyOp> ops) = 0;
  /// Start runs them as Execute does and hands the results to `done`: before it returns where operations run one at a
  /// time, else whenever the last has ended, from another thread. What comes from one `source` is begun in order;
  /// sources take turns.
  using Done = std::function<void(std::vector<Result<KeyOpOutput>>)>;
  virtual void Start(std::uint64_t /*source*/, std::vector<KeyOp> ops, Done done) { done(Execute(ops)); }
  /// Generate makes one KEK, non-exportable, reads it back and destroys it again if any attribute differs (K2). The
  /// grant's proposal must be of an operation that makes KEKs and name this key and suite, and the version that may be
  /// made next (hsm/vote_checks.h); its roster must be the one that the token obeys, and it works once
  /// (crypto/custody.h). An id that exists already is kConflict.
  virtual Result<void> Generate(crypto::ExecutionGrant grant, const KeySpec& spec) = 0;
  /// GenerateByMandate makes the next KEK of a keyring that a standing mandate lets be rotated (`keyring.set-policy`):
  /// at most one an interval, until the mandate's date, by the host's own record and clock. kForbidden: no-mandate,
  /// mandate-over, mandate-not-due.
  virtual Result<void> GenerateByMandate(crypto::StandingGrant grant, const KeySpec& spec) = 0;
  /// Inventory lists every secret-key object that lives in the token.
  virtual Result<std::vector<KeyRecord>> Inventory() = 0;
  /// SelfTest runs known answers of both suites through the token and compares its identity (K9).
  virtual Result<void> SelfTest() = 0;
  virtual Result<TokenIdentity> Identity() = 0;
  /// SignCheckpoint signs a log's head, shown by a consistency proof from the last one signed to extend it, and
  /// remembers it in the token (L7, L8). Yields a signature by the checkpoint key in force, and one by the key before
  /// it while their overlap lasts. kForbidden for what would fork or rewind a log or is another instance's
  /// (crypto/anchor.h), kNotFound (no-checkpoint-key).
  virtual Result<std::vector<CheckpointSignature>> SignCheckpoint(const crypto::Checkpoint& head,
                                                                  std::span<const crypto::Digest> proof) = 0;
  /// CheckpointKeys returns the keys that sign now, the one in force first.
  virtual Result<std::vector<CheckpointKey>> CheckpointKeys() = 0;
  /// ReadLedgerRecord returns what the token remembers of the ledger and of custody. kIntegrity when it should and does
  /// not: record-missing, record-damaged, record-newer, record-too-long, custody-forked, root-missing, roots-differ;
  /// kConflict: token-without-root.
  virtual Result<crypto::LedgerRecord> ReadLedgerRecord() = 0;
  /// ReadRecordToAdopt returns the record that a `ledger.adopt` goes on from; fails as ReadLedgerRecord for what no
  /// adoption mends.
  virtual Result<RecordToAdopt> ReadRecordToAdopt() = 0;
  /// ChangeLedgerRecord carries out an approved `ledger.adopt`, `ledger.rotate-key`, or one of crypto::ChangedRecord's
  /// operations. kConflict (stale) when the record is not what the proposal says: so each works once.
  virtual Result<void> ChangeLedgerRecord(crypto::ExecutionGrant grant) = 0;
  /// JudgeProposal says what the host would say of an approved proposal, by its own record, clock and room, and changes
  /// nothing: asked before a proposal is consumed, so that what the token would refuse changes nothing.
  virtual Result<void> JudgeProposal(crypto::ExecutionGrant grant) = 0;
  /// BringChain shows the host by which votes the roster that it obeys, or its root names, has become the one that an
  /// adoption is voted on under: the next `ledger.adopt` within ten minutes may be under the chain's last one.
  /// kForbidden (roster-not-enforced) when it does not begin there; a step fails as crypto::ChainWalk::Step.
  virtual Result<void> BringChain(const crypto::RosterChain& chain) = 0;
  /// BeginChain and AddChainStep are BringChain in parts: how it comes over a socket. Where a chain is brought whole
  /// they are kInvalid.
  virtual Result<void> BeginChain(const std::string& /*roster*/) { return Invalid("a chain is brought whole here"); }
  virtual Result<void> AddChainStep(const crypto::RosterStep& /*step*/) {
    return Invalid("a chain is brought whole here");
  }
  /// ReadChain returns the token side's own copy of the chain, from the root's roster on. It needs no protection:
  /// hashes and votes prove it. kNotFound (no-chain) where none is kept.
  virtual Result<crypto::RosterChain> ReadChain() = 0;
  /// AdoptionRoster is the roster that an adoption's votes must be under: the end of a chain that was brought, else the
  /// record's, else the root's.
  virtual Result<crypto::RosterMark> AdoptionRoster() {
    TRY_ASSIGN(const auto to, ReadRecordToAdopt());
    return crypto::RosterMark{to.record.custody.roster_version, to.record.custody.roster_hash};
  }
  /// Destroy ends a KEK whose waiting period is over by the host's own clock and record. kForbidden:
  /// destruction-not-pending, destruction-not-due, grant-mismatch. A KEK that is gone already is no failure. From its
  /// beginning on it is only finished.
  virtual Result<void> Destroy(crypto::StandingGrant grant, const KeyRef& key) = 0;
  /// CancelDestruction takes back that a KEK may go: always safe. kForbidden: destruction-not-pending; kConflict:
  /// destruction-under-way.
  virtual Result<void> CancelDestruction(const KeyRef& key) = 0;
  /// Token is the way to one of several tokens, by its serial number; it answers kUnavailable (token-not-connected)
  /// when there is none. Where only one can be reached it is that, whatever it is asked for.
  virtual KeyOps& Token(const std::string& /*serial*/) { return *this; }
  /// Further lists the serial numbers of the tokens beside the main one that there is a way to.
  virtual std::vector<std::string> Further() const { return {}; }
  /// Links tells of each host of the token whether it can be reached now. Does not block.
  virtual std::vector<LinkState> Links() { return {LinkState::kUp}; }

  /// Find returns the record of one key, nullopt when the token has none with this id.
  Result<std::optional<KeyRecord>> Find(const crypto::KeyId& key) {
    TRY_ASSIGN(auto records, Inventory());
    for (auto& record : records)
      if (record.id.size() == key.size() && std::equal(key.begin(), key.end(), record.id.begin()))
        return std::optional<KeyRecord>(std::move(record));
    return std::optional<KeyRecord>();
  }
};

/// DeadlineOf returns an operation's deadline, whichever it is.
inline OpDeadline& DeadlineOf(KeyOp& op) {
  return std::visit([](auto& o) -> OpDeadline& { return o.deadline; }, op);
}
inline OpDeadline DeadlineOf(const KeyOp& op) {
  return std::visit([](const auto& o) { return o.deadline; }, op);
}

/// KeyringIdOf is the id of the keyring that a KEK was made for: its CKA_ID begins with it.
inline crypto::KeyringId KeyringIdOf(const KeyRef& key) {
  crypto::KeyringId id{};
  std::copy_n(key.key.begin(), id.size(), id.begin());
  return id;
}

/// DigestOf makes the digest of a context; kInvalid when the AAD is too long.
inline Result<crypto::Digest> DigestOf(const Context& context) {
  if (context.aad.size() > crypto::kMaxAadBytes) return Invalid("AAD is at most 4096 bytes");
  return crypto::ContextDigest(context.instance, context.keyring, context.aad);
}

/// CheckOneKeyring: no operation spans two keyrings (K11). kForbidden (other-keyring).
inline Result<void> CheckOneKeyring(const KeyRef& from, const KeyRef& to) {
  if (KeyringIdOf(from) == KeyringIdOf(to)) return {};
  return Forbidden(
      "KEK " + ToHex(to.key) + " is another keyring's than KEK " + ToHex(from.key) + ": a DEK stays in its keyring",
      "other-keyring");
}

/// KekLabel is the CKA_LABEL of a KEK; it cannot be changed, so it tells for good whose key it is.
inline std::string KekLabel(std::string_view keyring, std::uint32_t version) {
  return "strongroom " + std::string(keyring) + " v" + std::to_string(version);
}

/// KeyringOfLabel is the keyring that a KEK's label names; kForbidden (grant-mismatch) when it is not the label of this
/// very version.
inline Result<std::string> KeyringOfLabel(const KeySpec& spec) {
  std::uint32_t version = 0;
  for (std::size_t i = spec.ref.key.size() - 4; i < spec.ref.key.size(); ++i) version = version << 8 | spec.ref.key[i];
  const std::string_view head = "strongroom ";
  const auto tail = " v" + std::to_string(version);
  if (!spec.label.starts_with(head) || !spec.label.ends_with(tail) || spec.label.size() <= head.size() + tail.size())
    return Forbidden("the label is not that of a KEK", "grant-mismatch");
  return spec.label.substr(head.size(), spec.label.size() - head.size() - tail.size());
}

/// CheckStanding: a standing grant is for one key and one thing.
inline Result<void> CheckStanding(const crypto::StandingGrant& grant, const KeyRef& key, bool destroys) {
  if (grant.key() == key.key && grant.destroys() == destroys) return {};
  return Forbidden("the standing grant is for another key", "grant-mismatch");
}

/// CheckSeries: every KEK in the token that has a keyring's id must bear the keyring's name. Who may vote is told by
/// the name that custodians read, what is done by the id: they must belong together. kForbidden (grant-mismatch).
inline Result<void> CheckSeries(std::string_view keyring, ByteView keyring_id, const std::vector<KeyRecord>& records) {
  const auto label = "strongroom " + std::string(keyring) + " v";
  for (const auto& record : records)
    if (record.id.size() > keyring_id.size() && std::equal(keyring_id.begin(), keyring_id.end(), record.id.begin()) &&
        !record.label.starts_with(label))
      return Forbidden("keyring id " + ToHex(keyring_id) + " is not that of keyring '" + std::string(keyring) +
                           "': the token has '" + record.label + "'",
                       "grant-mismatch");
  return {};
}

/// CheckGrantNamesKey is what every implementation asks before it generates.
inline Result<void> CheckGrantNamesKey(const crypto::ProposalText& proposal, const KeySpec& spec) {
  TRY_ASSIGN(const auto named, crypto::NamedKey(proposal));
  const auto suite = proposal.params.find("suite");
  const auto custody = proposal.params.find("custody");
  const auto version = proposal.params.find("version");
  if (named != spec.ref.key || suite == proposal.params.end() || suite->second != crypto::ToString(spec.ref.suite) ||
      custody == proposal.params.end() || custody->second != std::string(crypto::kTokenPrefix) + spec.ref.token ||
      spec.label != "strongroom " + proposal.keyring + " v" + version->second)
    return Forbidden("the votes are for another key than the one to generate", "grant-mismatch");
  return {};
}

/// MarkOf is how a proposal names one of a token's marks: an empty one as "-".
inline std::string MarkOf(const std::string& mark) { return mark.empty() ? "-" : mark; }
/// EnrolsEmpty tells whether a proposal enrols a token that must not have keys of unknown making.
inline bool EnrolsEmpty(const crypto::ProposalText& proposal) {
  const auto owner = proposal.params.find("owner");
  return proposal.operation == "token.enrol" && owner != proposal.params.end() && owner->second == "appliance";
}
/// IsMember tells whether a token is the member of a group that was enrolled, by every mark.
inline bool IsMember(const crypto::Member& member, const TokenIdentity& identity) {
  return member.serial == identity.serial && member.label == MarkOf(identity.label) &&
         member.model == MarkOf(identity.model) && member.manufacturer == MarkOf(identity.manufacturer);
}
/// CheckEnrolment: a token that is enrolled must be the one that custodians have read of, by every mark.
inline Result<void> CheckEnrolment(const crypto::ProposalText& proposal, const TokenIdentity& identity) {
  // Of a group's new member the token itself can say nothing: it is not there.
  if (proposal.operation != "token.enrol" || proposal.params.contains("member")) return {};
  const auto is = [&](const char* name, const std::string& value) {
    const auto at = proposal.params.find(name);
    return at != proposal.params.end() && at->second == MarkOf(value);
  };
  if (is("token", identity.serial) && is("label", identity.label) && is("model", identity.model) &&
      is("manufacturer", identity.manufacturer))
    return {};
  return Forbidden("the votes are for another token than " + identity.serial, "grant-mismatch");
}

}  // namespace strongroom::hsm
