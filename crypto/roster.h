#pragma once
// The roster: who may do what, with which keys, and how many must agree. A value parsed from its canonical text.

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/base/result.h"
#include "crypto/digest.h"

namespace strongroom::crypto {

enum class Role : std::uint8_t { kOperator, kCustodian, kAuditor, kMonitor, kService };
std::string_view ToString(Role role);
std::optional<Role> RoleFromString(std::string_view text);

struct Principal {
  std::string name;
  Role role = Role::kService;
  Digest spki{};        // SHA-256 of the certificate's SubjectPublicKeyInfo
  std::string ssh_key;  // "TYPE BASE64", custodians only
  bool operator==(const Principal&) const = default;
};

/// Organisation has custodians of its own: they alone vote on what concerns the keyring of its name.
struct Organisation {
  std::map<std::string, std::uint64_t, std::less<>> policies;  // votes for each of Roster::kOrganisationClasses
  std::vector<std::string> custodians;                         // sorted
  bool operator==(const Organisation&) const = default;
};

/// RosterParts is what a roster says, without where it stands in the series of them.
struct RosterParts {
  std::map<std::string, std::uint64_t, std::less<>> policies;  // votes for each of Roster::kClasses
  std::map<std::string, Organisation, std::less<>> organisations;
  std::map<std::string, std::vector<std::string>, std::less<>> groups;        // custodians, sorted
  std::map<std::string, std::vector<std::string>, std::less<>> requirements;  // class to groups, sorted
  std::vector<Principal> principals;                                          // sorted by name
  bool operator==(const RosterParts&) const = default;
};

/// Roster is immutable once parsed. Its canonical text is
///   strongroom roster v1
///   instance: <32 hex>
///   version: <n>
///   previous: <64 hex of the former roster's hash> | none
///   policy: <class> <m>                          sorted by class, one for each class
///   organisation: <keyring> <class>=<m>,... <custodian>,...        sorted by name; each list sorted
///   group: <name> <custodian>,...                sorted by name
///   requires: <class> <group>,...                at least one approval from each of these groups; sorted by class
///   principal: <name> <role> <64 hex SPKI hash>[ <key type> <key base64>]    sorted by name
/// and everything signed refers to the SHA-256 of it.
class Roster {
 public:
  /// The classes of operations; each has its own policy (Q8).
  static constexpr std::array<std::string_view, 7> kClasses = {"break-glass", "ceremony", "destruction", "emergency",
                                                               "recovery",    "roster",   "rotation"};
  /// Those that can concern the keyring of an organisation.
  static constexpr std::array<std::string_view, 4> kOrganisationClasses = {"ceremony", "destruction", "emergency",
                                                                           "rotation"};

  /// Parse accepts canonical text only and enforces the floors: at least 2 votes, fewer than there are custodians, more
  /// than half of them (Q3), for the appliance's custodians and for those of each organisation; nobody belongs to two
  /// organisations; names, SPKIs and texts of SSH keys unique. Fails with kInvalid. It takes what an earlier build has
  /// recorded: whoever brings a new roster asks CheckKeys, too.
  static Result<Roster> Parse(std::string_view text);
  /// CheckKeys holds a new roster to one key a custodian (Q3): kInvalid, slug `shared-key` when two custodians have one
  /// private key in whatever form, `weak-key` for a key that others can sign with (crypto/sshsig.h).
  Result<void> CheckKeys() const;

  const std::string& text() const { return text_; }
  const Digest& hash() const { return hash_; }
  const InstanceId& instance() const { return instance_; }
  std::uint64_t version() const { return version_; }
  /// previous is the hash of the roster before, in hex, or "none".
  const std::string& previous() const { return previous_; }
  const RosterParts& parts() const { return parts_; }
  const std::vector<Principal>& principals() const { return parts_.principals; }
  const Principal* Find(std::string_view name) const;
  const Principal* FindBySpki(const Digest& spki) const;
  /// Custodians are the appliance's: those that belong to no organisation. Sorted.
  const std::vector<std::string>& Custodians() const { return custodians_; }
  /// RawKeyOf is the key of a custodian whatever form it is written in (RawKey); empty for anybody else. Votes are
  /// counted by it: a key counts once (Q3).
  const std::string& RawKeyOf(std::string_view custodian) const;
  /// OrganisationOf returns the organisation that a custodian belongs to, nullptr for the appliance's own.
  const std::string* OrganisationOf(std::string_view custodian) const;
  /// Needed is the number of approvals that a class asks of the appliance's custodians.
  std::uint64_t Needed(std::string_view operation_class) const;

 private:
  Result<void> CheckPeople();
  Result<void> CheckPolicies() const;

  std::string text_;
  Digest hash_{};
  InstanceId instance_{};
  std::uint64_t version_ = 0;
  std::string previous_;
  RosterParts parts_;
  std::map<Digest, std::size_t> by_spki_;
  std::map<std::string, std::string, std::less<>> organisation_of_;
  std::map<std::string, std::string, std::less<>> raw_keys_;  // by custodian
  std::vector<std::string> custodians_;
};

/// RosterText renders canonical text from parts, sorting what is to be sorted; Roster::Parse judges it.
std::string RosterText(const InstanceId& instance, std::uint64_t version, std::string_view previous, RosterParts parts);

/// ParseOrganisation reads what stands behind an organisation's name: "<class>=<m>,... <custodian>,...". kInvalid.
Result<Organisation> ParseOrganisation(std::string_view text);

/// RosterAllowedSigners renders OpenSSH's allowed_signers file of a roster's custodians, without dates, for the
/// namespaces that Strongroom signs in.
std::string RosterAllowedSigners(const Roster& roster);

/// Rosters travel in token-host frames, which are larger than this.
inline constexpr std::size_t kMaxRosterBytes = std::size_t{4} << 20;
inline constexpr std::string_view kRosterNamespace = "roster@strongroom";
inline constexpr std::string_view kVoteNamespace = "vote@strongroom";

}  // namespace strongroom::crypto
