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

/// Roster is immutable once parsed. Its canonical text is
///   strongroom roster v1
///   instance: <32 hex>
///   version: <n>
///   previous: <64 hex of the former roster's hash> | none
///   policy: <class> <m>                          sorted by class, one for each class
///   principal: <name> <role> <64 hex SPKI hash>[ <key type> <key base64>]    sorted by name
/// and everything signed refers to the SHA-256 of it.
class Roster {
 public:
  /// The classes of operations; each has its own policy (Q8).
  static constexpr std::array<std::string_view, 7> kClasses = {"break-glass", "ceremony", "destruction", "emergency",
                                                               "recovery",    "roster",   "rotation"};

  /// Parse accepts canonical text only and enforces the floors: at least 2 votes, fewer than there are custodians, more
  /// than half of them (Q3); names, SPKIs and SSH keys unique. Fails with kInvalid.
  static Result<Roster> Parse(std::string_view text);

  const std::string& text() const { return text_; }
  const Digest& hash() const { return hash_; }
  const InstanceId& instance() const { return instance_; }
  std::uint64_t version() const { return version_; }
  /// previous is the hash of the roster before, in hex, or "none".
  const std::string& previous() const { return previous_; }
  const std::vector<Principal>& principals() const { return principals_; }
  const std::map<std::string, std::uint64_t, std::less<>>& policies() const { return policies_; }
  const Principal* Find(std::string_view name) const;
  const Principal* FindBySpki(const Digest& spki) const;
  std::size_t custodians() const;
  /// Needed is the number of approvals that a class asks for.
  std::uint64_t Needed(std::string_view operation_class) const;

 private:
  std::string text_;
  Digest hash_{};
  InstanceId instance_{};
  std::uint64_t version_ = 0;
  std::string previous_;
  std::map<std::string, std::uint64_t, std::less<>> policies_;
  std::vector<Principal> principals_;
  std::map<Digest, std::size_t> by_spki_;
};

/// RosterText renders canonical text from parts; Roster::Parse judges it.
std::string RosterText(const InstanceId& instance, std::uint64_t version, std::string_view previous,
                       const std::map<std::string, std::uint64_t, std::less<>>& policies,
                       std::vector<Principal> principals);

/// RosterAllowedSigners renders OpenSSH's allowed_signers file of a roster's custodians, without dates, for the
/// namespaces that Strongroom signs in.
std::string RosterAllowedSigners(const Roster& roster);

/// Rosters travel in token-host frames, which are larger than this.
inline constexpr std::size_t kMaxRosterBytes = std::size_t{4} << 20;
inline constexpr std::string_view kRosterNamespace = "roster@strongroom";
inline constexpr std::string_view kVoteNamespace = "vote@strongroom";

}  // namespace strongroom::crypto
