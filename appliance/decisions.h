#pragma once
// Decisions about custody, without I/O: (state, request, now) -> text, entries or a refusal. The shell is governance.h.

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "appliance/state.h"
#include "crypto/anchor.h"
#include "hsm/key_ops.h"
#include "ledger/ledger.h"

namespace strongroom::appliance {

inline constexpr Millis kApproveWithin = kDay;
inline constexpr Millis kExecuteWithin = 2 * kDay;

/// ProposalRequest is what a person asks for. Parameters that she may give: keyring.create: suite (kwp, gcm), custody
/// (token, keyring:install), grants; keyring.rotate: suite; ledger.rotate-key: overlap-days; roster.change:
/// crypto::RosterAfter; others: keyring_decisions.h, break_glass.h. Any may have `ceremony`, the SHA-256 of the script
/// that it is a step of. Everything else in the text is the appliance's.
struct ProposalRequest {
  std::string operation;
  std::string keyring;
  std::map<std::string, std::string, std::less<>> params;
  std::string reason;
};

/// Recovery is what an adoption has to know of token and database.
struct Recovery {
  bool rolled_back = false;     // the database does not extend what the token has signed, or the token's record is lost
  bool behind = false;          // the token is older than the database (token_past.h), or lacks a node's head
  crypto::LedgerRecord record;  // the one to go on from
  hsm::AdoptedFrom from = hsm::AdoptedFrom::kInForce;
  std::uint32_t key = 1;  // number of the token's checkpoint key
  std::vector<hsm::KeyRecord> keys;
  ledger::Head evidence;
  // How many entries of each log a checkpoint in the database signs: so much is known to be what was signed.
  std::uint64_t kept_control = 0;
  std::uint64_t kept_evidence = 0;
};

/// ReachableToken is a further token as it was seen just now.
struct ReachableToken {
  hsm::TokenIdentity identity;
  std::vector<hsm::KeyRecord> keys;
  bool obeys = false;  // its record says that it is enrolled
};

/// Drawn is what a decision may not make up itself: time, randomness, where the log stands, which token is there.
struct Drawn {
  Millis now = 0;
  std::array<std::uint8_t, 16> nonce{};
  crypto::KeyringId keyring_id{};
  ledger::Head control;
  std::string token;                                           // the main one's serial number
  std::map<std::string, ReachableToken, std::less<>> further;  // by serial number; for what is about tokens alone
  std::optional<Recovery> recovery;                            // for ledger.adopt alone
  std::optional<ledger::Head> archive;                         // for ledger.archive alone: what may go
  Millis host = 0;                                             // what the host's clock says
  Millis token_seen = 0;                       // the latest time that the token has seen; for clock.accept alone
  std::string clock_fault;                     // why it is not relied on; empty when it is
  std::set<std::string, std::less<>> failing;  // names of the checks that fail
};

/// DraftProposal checks a request against the state and fills in every field that custodians will sign. Fails with
/// kInvalid, kNotFound, kConflict (keyring-exists, no-own-kek) or kOverloaded (as CheckShares).
Result<crypto::ProposalText> DraftProposal(const State& state, const std::string& requester,
                                           const ProposalRequest& request, const Drawn& drawn);

/// StateAt names a proposal's state at a time: open, approved, rejected, expired, stale, withdrawn, executing,
/// executed, failed.
std::string_view StateAt(const State& state, const Proposal& proposal, Millis now);
/// CheckLive refuses an open proposal that an earlier version has left, in a text that no token executes any more:
/// kConflict (stale). Whoever reads the log judges what was done with such texts without it.
Result<void> CheckLive(const Proposal& proposal);
/// StateNow is StateAt as the appliance shows it: what CheckLive refuses is stale.
std::string_view StateNow(const State& state, const Proposal& proposal, Millis now);
/// Approvals counts the custodians who approved.
std::uint64_t Approvals(const Proposal& proposal);

/// AcceptsClock: `clock.accept`, and an adoption, are dated by the host's clock, which they accept.
bool AcceptsClock(const crypto::ProposalText& proposal);

/// CheckGrantees: those who get something must be services of the roster. kInvalid.
Result<void> CheckGrantees(const State& state, const Grants& grants);

/// MayVote is JudgeVote without the signature.
Result<void> MayVote(const State& state, const Proposal& proposal, std::string_view custodian, crypto::Verdict verdict,
                     Millis now);
/// JudgeVote decides whether a vote may be recorded: right person, right text, once, in time.
Result<void> JudgeVote(const State& state, const Proposal& proposal, const crypto::Vote& vote, Millis now);
/// JudgeWithdrawal: the requester alone, while nothing has happened yet.
Result<void> JudgeWithdrawal(const Proposal& proposal, const std::string& principal);

/// Effect is what an approved proposal does: perhaps a key to generate, and the entries that record it when that is
/// done.
struct Effect {
  std::optional<hsm::KeySpec> generate;
  bool changes_record = false;               // the token's ledger record
  std::vector<ledger::ControlBody> at_once;  // recorded before the token is asked
  std::vector<ledger::ControlBody> entries;
};
/// AsProposed takes out of an entry what no proposal can say because only token or inventory can: the notes of a former
/// epoch, new checkpoint keys, how far a job has come. EffectOf's entries are so.
ledger::ControlBody AsProposed(ledger::ControlBody body);
/// RotationOf is what a rotation of a keyring with a KEK of its own does: the next version, in the token that `custody`
/// names, and for `install` one of each keyring that it wraps for.
Effect RotationOf(const State& state, const Keyring& keyring, crypto::Suite suite, std::string_view custody);
/// The same in the token that the keyring is in.
Effect RotationOf(const State& state, const Keyring& keyring, crypto::Suite suite);
/// VersionAbove says for a keyring's next version which one it follows in its token, where the numbers between are gone
/// or lie elsewhere; empty when it follows at once. Rotations have it as parameter `above` (hsm/vote_checks.h).
std::string VersionAbove(const Keyring& keyring);
/// MovesText is how custodians read which keyrings move: names, or number and digest where there are too many.
std::string MovesText(const std::vector<std::string>& names);
/// EffectOf recomputes a proposal's effect on the state as it is now; kConflict (slug stale) when the state has moved
/// on since the text was signed.
Result<Effect> EffectOf(const State& state, const crypto::ProposalText& proposal);

/// JudgeExecution decides whether a proposal may run now and hands out its grant.
Result<crypto::ExecutionGrant> JudgeExecution(const State& state, const Proposal& proposal, Millis now);

/// RecordedToken is the serial number of the main token: the one that holds KEKs without having been enrolled. Empty
/// when no KEK is in it.
std::string RecordedToken(const State& state);

/// JudgeInventory compares what the token holds with what the state says (K3, K9). Returns lines for people, empty when
/// all is well: unknown keys, keys whose attributes drifted, duplicates, and versions whose KEK is gone.
std::vector<std::string> JudgeInventory(const State& state, const std::string& token,
                                        const std::vector<hsm::KeyRecord>& records);

}  // namespace strongroom::appliance
