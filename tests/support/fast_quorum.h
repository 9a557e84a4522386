#pragma once
// A quorum whose votes are signed in this process, as ssh-keygen signs them: for tests that need thousands.

#include <openssl/evp.h>

#include "crypto/base/freer.h"
#include "crypto/base/wire.h"
#include "crypto/quorum.h"
#include "tests/support/made_up_roster.h"

namespace strongroom::tests {

/// FastQuorum is a roster of custodian-1 to custodian-3, of whom two must agree to anything.
class FastQuorum {
 public:
  FastQuorum() {
    crypto::RosterParts parts;
    for (const auto of : crypto::Roster::kClasses) parts.policies[std::string(of)] = 2;
    for (std::size_t i = 0; i < keys_.size(); ++i) {
      keys_[i].reset(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
      crypto::Principal p;
      p.name = "custodian-" + std::to_string(i + 1);
      p.role = crypto::Role::kCustodian;
      p.spki = crypto::Sha256(AsBytes(p.name));
      p.ssh_key = "ssh-ed25519 " + EncodeBase64(PublicBlob(i), Base64::kStandardPadded);
      parts.principals.push_back(std::move(p));
    }
    parts.principals.push_back(OperatorOne());
    roster_ = *crypto::Roster::Parse(crypto::RosterText({1, 2, 3}, 1, "none", std::move(parts)));
  }
  const crypto::Roster& roster() const { return roster_; }
  /// Approve is the vote of custodian-<i + 1> for a text.
  crypto::Vote Approve(std::size_t i, const std::string& text) const {
    const auto digest = crypto::Sha256(AsBytes(crypto::VoteMessage(text, crypto::Verdict::kApprove)));
    WireWriter what;
    what.Raw(AsBytes("SSHSIG"));
    what.Text(crypto::kVoteNamespace);
    what.Text("");
    what.Text("sha256");
    what.Blob(digest);
    const auto signed_bytes = std::move(what).Take();
    Bytes raw(64);
    std::size_t size = raw.size();
    const std::unique_ptr<EVP_MD_CTX, Freer<EVP_MD_CTX_free>> context(EVP_MD_CTX_new());
    (void)EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, keys_.at(i).get());
    (void)EVP_DigestSign(context.get(), raw.data(), &size, signed_bytes.data(), signed_bytes.size());
    WireWriter body;
    body.Text("ssh-ed25519");
    body.Blob(raw);
    WireWriter out;
    out.Raw(AsBytes("SSHSIG"));
    out.U32(1);
    out.Blob(PublicBlob(i));
    out.Text(crypto::kVoteNamespace);
    out.Text("");
    out.Text("sha256");
    out.Blob(std::move(body).Take());
    return {"custodian-" + std::to_string(i + 1), crypto::Verdict::kApprove,
            "-----BEGIN SSH SIGNATURE-----\n" + EncodeBase64(std::move(out).Take(), Base64::kStandardPadded) +
                "\n-----END SSH SIGNATURE-----\n"};
  }

 private:
  Bytes PublicBlob(std::size_t i) const {
    Bytes point(32);
    std::size_t size = point.size();
    (void)EVP_PKEY_get_raw_public_key(keys_.at(i).get(), point.data(), &size);
    WireWriter out;
    out.Text("ssh-ed25519");
    out.Blob(point);
    return std::move(out).Take();
  }
  std::array<std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY_free>>, 3> keys_;
  crypto::Roster roster_;
};

}  // namespace strongroom::tests
