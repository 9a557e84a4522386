#include "netapi/entry_json.h"

#include <boost/json/array.hpp>

#include "crypto/merkle.h"

namespace strongroom::netapi {
namespace {

namespace bj = boost::json;

bj::object Head(std::uint64_t index, ByteView raw, std::string_view kind, Millis time) {
  bj::object out;
  out["index"] = index;
  out["kind"] = kind;
  out["time"] = FormatTime(time);
  out["leaf_hash"] = ToHex(crypto::LeafHash(raw));
  return out;
}

struct Body {
  bj::object& out;
  void operator()(const ledger::Genesis& e) const {
    out["roster"] = e.roster_text;
    bj::array signatures;
    for (const auto& [name, signature] : e.signatures)
      signatures.push_back(bj::object{{"custodian", name}, {"signature", signature}});
    out["signatures"] = std::move(signatures);
  }
  void operator()(const ledger::ProposalFiled& e) const {
    out["proposal"] = crypto::ProposalId(e.text);
    out["text"] = e.text;
  }
  void operator()(const ledger::VoteCast& e) const {
    out["proposal"] = e.proposal;
    out["custodian"] = e.vote.custodian;
    out["verdict"] = crypto::ToString(e.vote.verdict);
    out["signature"] = e.vote.signature;
  }
  void operator()(const ledger::ProposalWithdrawn& e) const {
    out["proposal"] = e.proposal;
    out["by"] = e.by;
  }
  void operator()(const ledger::ProposalConsumed& e) const {
    out["proposal"] = e.proposal;
    out["executor"] = e.executor;
  }
  void operator()(const ledger::KeyringCreated& e) const {
    out["keyring_id"] = ToHex(e.keyring);
    out["keyring"] = e.name;
    out["suite"] = crypto::ToString(e.suite);
    out["custody"] = e.custody;
    out["grants"] = e.grants;
  }
  void operator()(const ledger::VersionAnnounced& e) const {
    out["keyring_id"] = ToHex(e.keyring);
    out["version"] = e.version;
    out["suite"] = crypto::ToString(e.suite);
    out["custody"] = e.custody;
    out["kek"] = ToHex(e.kek);
    out["token"] = e.token;
  }
  void operator()(const ledger::VersionActivated& e) const {
    out["keyring_id"] = ToHex(e.keyring);
    out["version"] = e.version;
  }
  void operator()(const ledger::ExecutionSettled& e) const {
    out["proposal"] = e.proposal;
    out["ok"] = e.ok;
    if (!e.ok) {
      out["problem"] = e.slug;
      out["detail"] = e.detail;
    }
  }
  void operator()(const ledger::EpochOpened& e) const {
    out["epoch"] = e.epoch;
    out["control_checkpoint"] = e.control_note;
    out["evidence_checkpoint"] = e.evidence_note;
    bj::array keys;
    for (const auto& key : e.unused_keys) keys.push_back(bj::string(ToHex(key)));
    out["unused_keys"] = std::move(keys);
  }
  void operator()(const ledger::CheckpointKeyChanged& e) const {
    out["number"] = e.number;
    out["former"] = e.former;
    out["next"] = e.next;
    out["endorsement"] = EncodeBase64(e.endorsement, Base64::kStandardPadded);
  }
  void operator()(const ledger::RosterChanged& e) const { out["roster"] = e.roster_text; }
  void operator()(const ledger::RosterAdvanced& e) const {
    out["version"] = e.version;
    out["hash"] = ToHex(e.hash);
  }
  void operator()(const ledger::KeyringSwitched& e) const {
    out["keyring_id"] = ToHex(e.keyring);
    out["enabled"] = e.enabled;
    if (!e.by.empty()) out["by"] = e.by;
  }
  void operator()(const ledger::GrantsChanged& e) const {
    out["keyring_id"] = ToHex(e.keyring);
    out["grants"] = e.grants;
  }
  void operator()(const ledger::VersionMoved& e) const {
    out["keyring_id"] = ToHex(e.keyring);
    out["version"] = e.version;
    out["to"] = ledger::ToString(e.to);
    if (e.days != 0) out["days"] = e.days;
    if (!e.by.empty()) out["by"] = e.by;
  }
  void operator()(const ledger::BreakGlassOpened& e) const {
    out["proposal"] = e.id;
    out["check"] = e.check;
    out["scope"] = e.scope;
    out["minutes"] = e.minutes;
    out["most_uses"] = e.uses;
    out["drill"] = e.drill;
  }
  void operator()(const ledger::BreakGlassClosed& e) const {
    out["proposal"] = e.id;
    out["reason"] = e.reason;
    if (!e.by.empty()) out["by"] = e.by;
    out["uses"] = e.uses;
  }
  void operator()(const ledger::BreakGlassReviewed& e) const {
    out["proposal"] = e.id;
    out["reviewer"] = e.reviewer;
    out["finding"] = e.finding;
    out["signature"] = e.signature;
  }
  void operator()(const ledger::ClockFrozen& e) const {
    out["host_clock"] = FormatTime(e.host);
    out["why"] = e.why;
  }
  void operator()(const ledger::ClockAccepted& e) const { out["ledger_time_before"] = FormatTime(e.ledger); }
  void operator()(const ledger::CeremonyRecorded& e) const {
    out["ceremony"] = e.name;
    out["script"] = e.script;
    out["transcript"] = e.transcript;
    out["markdown"] = e.markdown;
    out["by"] = e.by;
  }
  void operator()(const ledger::PolicySet& e) const {
    out["keyring_id"] = ToHex(e.keyring);
    out["rotate_days"] = e.days;
    out["until"] = FormatTime(e.until);
    out["enforce"] = e.enforce;
    out["rewrap"] = e.rewrap;
    out["expire_days"] = e.expire_days;
    out["attest"] = e.attest;
  }
  void operator()(const ledger::MandateUsed& e) const {
    out["keyring_id"] = ToHex(e.keyring);
    out["version"] = e.version;
  }
  void operator()(const ledger::MandateSettled& e) const {
    out["keyring_id"] = ToHex(e.keyring);
    out["version"] = e.version;
    out["ok"] = e.ok;
    if (!e.ok) {
      out["problem"] = e.slug;
      out["detail"] = e.detail;
    }
  }
  void operator()(const ledger::JobStarted& e) const {
    out["job"] = e.id;
    out["keyring_id"] = ToHex(e.keyring);
    out["kind_of_job"] = ledger::ToString(e.kind);
    out["to_version"] = e.target;
    out["retry_quarantined"] = e.retry;
  }
  void operator()(const ledger::JobSwitched& e) const {
    out["job"] = e.id;
    out["state"] = ledger::ToString(e.to);
    if (!e.by.empty()) out["by"] = e.by;
    if (!e.reason.empty()) out["reason"] = e.reason;
    out["done"] = e.done;
    out["quarantined"] = e.quarantined;
  }
  void operator()(const ledger::CensusAcknowledged& e) const {
    out["keyring_id"] = ToHex(e.keyring);
    out["version"] = e.version;
    out["service"] = e.service;
    out["count"] = e.count;
  }
  void operator()(const ledger::EmergencyClosed& e) const {
    out["keyring_id"] = ToHex(e.keyring);
    out["version"] = e.version;
    out["by"] = e.by;
    out["report"] = e.report;
  }
  void operator()(const ledger::VersionAttested& e) const {
    out["keyring_id"] = ToHex(e.keyring);
    out["version"] = e.version;
    out["by"] = e.by;
    out["statement"] = e.statement;
  }
  void operator()(const ledger::TokenEnrolled& e) const {
    out["token"] = e.token;
    out["label"] = e.label;
    out["model"] = e.model;
    out["manufacturer"] = e.manufacturer;
    if (!e.group.empty())
      out["member_of"] = e.group;
    else
      out["owner"] = e.customer ? "customer" : "appliance";
  }
  void operator()(const ledger::EvidenceArchived& e) const {
    out["size"] = e.size;
    out["root"] = ToHex(e.root);
    out["where"] = e.where;
  }
  void operator()(const ledger::ProposalsClosed& e) const {
    out["rejected"] = e.rejected;
    out["by"] = e.by;
    bj::array closed;
    for (const auto& id : e.closed) closed.emplace_back(id);
    out["closed"] = std::move(closed);
  }
  void operator()(const ledger::ProposalsForgotten& e) const { out["before"] = FormatTime(e.before); }
};

std::string_view ToString(ledger::Use use) {
  switch (use) {
    case ledger::Use::kWrap:
      return "wrap";
    case ledger::Use::kUnwrap:
      return "unwrap";
    case ledger::Use::kRewrapTo:
      return "rewrap-to";
    case ledger::Use::kRewrapFrom:
      return "rewrap-from";
  }
  return "unknown";
}

}  // namespace

bj::object EntryJson(std::uint64_t index, ByteView raw, const ledger::ControlEntry& entry) {
  auto out = Head(index, raw, ledger::KindName(entry.body), entry.time);
  std::visit(Body{out}, entry.body);
  return out;
}

bj::object EntryJson(std::uint64_t index, ByteView raw, const ledger::EvidenceEntry& entry) {
  auto out = Head(index, raw, "operation", entry.time);
  out["request_id"] = entry.request_id;
  out["principal"] = entry.principal;
  out["operation"] = ledger::ToString(entry.operation);
  out["keyring"] = entry.keyring;
  out["keyring_id"] = ToHex(entry.keyring_id);
  out["items"] = entry.items;
  out["failed"] = entry.failed;
  out["digest"] = ToHex(entry.digest);
  out["outcome"] = entry.outcome;
  out["suppressed"] = entry.suppressed;
  bj::array uses;
  for (const auto& use : entry.uses)
    uses.push_back(bj::object{{"kek", ToHex(use.kek)}, {"use", ToString(use.use)}, {"count", use.count}});
  out["uses"] = std::move(uses);
  return out;
}

}  // namespace strongroom::netapi
