#pragma once
// What the routes answer, without HTTP's machinery: principals, gates, control-plane calls. Blocking; knows JSON, not
// sockets.

#include <functional>
#include <optional>
#include <string>

#include "appliance/brokers.h"
#include "appliance/further_watch.h"
#include "appliance/governance.h"
#include "appliance/inventory_backups.h"
#include "appliance/lifecycle.h"
#include "appliance/rewrap_jobs.h"
#include "netapi/json.h"
#include "netapi/router.h"

namespace strongroom::netapi {

/// Reply is a finished answer: status, body, its type, and whether it is a problem document.
struct Reply {
  unsigned status = 200;
  bool problem = false;
  SecretText body;
  std::string_view content_type = "application/json";  // of an answer that is no problem
};

/// ListObject is the shape of every list: {"items", "next"}.
boost::json::object ListObject(boost::json::array items, boost::json::value next);

Reply ProblemReply(const Error& error, const std::string& request_id);

/// Caller is who stands behind a connection, looked up anew for each request (N1: revocation at once).
struct Caller : appliance::Caller {
  crypto::Role role = crypto::Role::kService;
};

class Api {
 public:
  Api(ledger::Ledger& ledger, appliance::Governance& governance, appliance::Brokers& brokers,
      appliance::Lifecycle& lifecycle, appliance::Checkpointer& checkpointer, appliance::RewrapJobs& jobs,
      std::function<std::string()> tls_fault, std::function<std::vector<appliance::FurtherReport>()> further)
      : ledger_(ledger),
        governance_(governance),
        brokers_(brokers),
        lifecycle_(lifecycle),
        checkpointer_(checkpointer),
        jobs_(jobs),
        tls_fault_(std::move(tls_fault)),
        further_(std::move(further)) {}

  /// Identify finds the principal of a certificate key; kForbidden (slug unknown-principal) when the roster has none.
  /// Before the first boot there is no roster: whoever has a certificate of the CA may then ask what is `always`
  /// answered.
  Result<Caller> Identify(const crypto::Digest& spki, bool always) const;
  /// StillKnown: whoever was identified when his request began is so still, now that its body or its turn has come, or
  /// while his stream goes on (Q17). kForbidden (unknown-principal).
  Result<void> StillKnown(const Caller& caller, bool always = false) const;
  /// Admit judges gate and role, before any body is read.
  Result<void> Admit(const Route& route, const Caller& caller) const;
  /// AdmitData judges the grant, also before any body is read.
  Result<void> AdmitData(const Matched& matched, const Caller& caller) const;
  /// Refused records a refusal as evidence (L5).
  void Refused(const Matched* matched, const std::string& principal, const std::string& request_id, const Error& error);

  /// Control answers every endpoint but the data plane. May block for ledger and token.
  Reply Control(const Matched& matched, const Caller& caller, std::string_view body, const std::string& request_id);

  appliance::Brokers& brokers() { return brokers_; }
  /// OpenBreakGlass is the id of what is open: every answer names it (G6). Empty when nothing is.
  std::string OpenBreakGlass() const { return governance_.overrides().Open().value_or(std::string()); }

 private:
  Result<boost::json::value> Answer(const Matched& matched, const Caller& caller, std::string_view body,
                                    const std::string& request_id, unsigned& status);
  Result<boost::json::value> AnswerRotation(const Matched& matched, const Caller& caller, std::string_view body,
                                            const std::string& request_id);
  Result<boost::json::value> Keyrings(std::string_view query, const Caller& caller) const;
  Result<boost::json::value> KeyringShow(const std::string& name, const Caller& caller) const;
  // In rollback, before the ledger was held against its token, and for what is to be executed also while no key may be
  // used, the only proposal that anyone may do something about is one of ledger.adopt, the way out (L8, Q16).
  Result<void> AdmitProposal(const std::string& operation, bool executes = false) const;
  Result<void> AdmitProposalId(const std::string& id, bool executes = false) const;
  Error NotOperational() const;
  Result<boost::json::value> Executed(const std::string& id, const Caller& executor);
  boost::json::object KeyringJson(const appliance::Keyring& keyring, const Caller& caller) const;
  Result<boost::json::value> FileProposal(std::string_view body, const Caller& caller);
  Result<boost::json::value> Vote(const std::string& id, std::string_view body, const Caller& caller);
  Result<boost::json::value> DekList(const Matched& matched, const Caller& caller) const;
  Result<boost::json::value> DekShow(const Matched& matched, const Caller& caller) const;
  Result<boost::json::value> Jobs(std::string_view query) const;
  Result<boost::json::value> SwitchJob(const std::string& id, appliance::JobState to, const Caller& caller);
  Result<boost::json::value> Plan(const std::string& keyring, const Caller& caller,
                                  const std::string& request_id) const;
  Result<boost::json::value> Census(const std::string& keyring, const Caller& caller) const;
  Result<boost::json::value> Acknowledge(const std::string& keyring, std::string_view body, const Caller& caller);
  Result<boost::json::object> Report(const std::string& keyring, const std::string& version) const;
  Result<boost::json::value> CloseEmergency(const Matched& matched, const Caller& caller);
  Result<boost::json::value> Attest(const Matched& matched, std::string_view body, const Caller& caller);
  void PutUse(boost::json::object& version, const appliance::Keyring& keyring, const appliance::Version& v) const;
  Result<boost::json::value> Proposals(std::string_view query) const;
  Result<boost::json::value> Entries(const Matched& matched) const;
  Result<boost::json::value> BackupNext(const std::string& id, const Caller& caller, const std::string& request_id);
  // Checkpoint, proof and tiles: text or bytes, not JSON.
  Result<std::string> Evidence(const Matched& matched);
  boost::json::value StatusJson() const;
  boost::json::object BreakGlassJson(const appliance::BreakGlass& b) const;
  Result<boost::json::value> BreakGlassList() const;
  Result<boost::json::value> BreakGlassChanged(const std::string& id);
  Result<boost::json::value> Review(const std::string& id, std::string_view body, const Caller& caller);
  Result<boost::json::value> RecordCeremony(std::string_view body, const Caller& caller);
  std::string Metrics() const;

  ledger::Ledger& ledger_;
  appliance::Governance& governance_;
  appliance::Brokers& brokers_;
  appliance::Lifecycle& lifecycle_;
  appliance::Checkpointer& checkpointer_;
  appliance::RewrapJobs& jobs_;
  appliance::InventoryBackups backups_{ledger_, governance_};
  const std::function<std::string()> tls_fault_;
  const std::function<std::vector<appliance::FurtherReport>()>
      further_;  // why no new connection can be made, empty when one can
};

}  // namespace strongroom::netapi
