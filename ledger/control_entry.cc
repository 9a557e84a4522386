#include "ledger/control_entry.h"

#include "crypto/base/wire.h"

namespace strongroom::ledger {
namespace {

constexpr std::uint8_t kControlFormat = 1;

struct Writer {
  WireWriter& out;
  void operator()(const Genesis& e) const {
    out.Text(e.roster_text);
    out.U16(static_cast<std::uint16_t>(e.signatures.size()));
    for (const auto& [name, signature] : e.signatures) {
      out.Text(name);
      out.Text(signature);
    }
  }
  void operator()(const ProposalFiled& e) const { out.Text(e.text); }
  void operator()(const VoteCast& e) const {
    out.Text(e.proposal);
    crypto::PutVote(out, e.vote);
  }
  void operator()(const ProposalWithdrawn& e) const {
    out.Text(e.proposal);
    out.Text(e.by);
  }
  void operator()(const ProposalConsumed& e) const {
    out.Text(e.proposal);
    out.Text(e.executor);
  }
  void operator()(const KeyringCreated& e) const {
    out.Raw(e.keyring);
    out.Text(e.name);
    out.U8(static_cast<std::uint8_t>(e.suite));
    out.Text(e.custody);
    out.Text(e.grants);
  }
  void operator()(const VersionAnnounced& e) const {
    out.Raw(e.keyring);
    out.U32(e.version);
    out.U8(static_cast<std::uint8_t>(e.suite));
    out.Text(e.custody);
    out.Raw(e.kek);
    out.Text(e.token);
  }
  void operator()(const VersionActivated& e) const {
    out.Raw(e.keyring);
    out.U32(e.version);
  }
  void operator()(const ExecutionSettled& e) const {
    out.Text(e.proposal);
    out.U8(e.ok ? 1 : 0);
    out.Text(e.slug);
    out.Text(e.detail);
  }
  void operator()(const EpochOpened& e) const {
    out.U64(e.epoch);
    out.Text(e.control_note);
    out.Text(e.evidence_note);
    out.U16(static_cast<std::uint16_t>(e.unused_keys.size()));
    for (const auto& key : e.unused_keys) out.Blob(key);
  }
  void operator()(const CheckpointKeyChanged& e) const {
    out.U32(e.number);
    out.Text(e.former);
    out.Text(e.next);
    out.Blob(e.endorsement);
  }
  void operator()(const RosterChanged& e) const { out.Text(e.roster_text); }
  void operator()(const KeyringSwitched& e) const {
    out.Raw(e.keyring);
    out.U8(e.enabled ? 1 : 0);
    out.Text(e.by);
  }
  void operator()(const GrantsChanged& e) const {
    out.Raw(e.keyring);
    out.Text(e.grants);
  }
  void operator()(const VersionMoved& e) const {
    out.Raw(e.keyring);
    out.U32(e.version);
    out.U8(static_cast<std::uint8_t>(e.to));
    out.U32(e.days);
    out.Text(e.by);
  }
  void operator()(const BreakGlassOpened& e) const {
    out.Text(e.id);
    out.Text(e.check);
    out.Text(e.scope);
    out.U32(e.minutes);
    out.U64(e.uses);
    out.U8(e.drill ? 1 : 0);
  }
  void operator()(const BreakGlassClosed& e) const {
    out.Text(e.id);
    out.Text(e.reason);
    out.Text(e.by);
    out.U64(e.uses);
  }
  void operator()(const BreakGlassReviewed& e) const {
    out.Text(e.id);
    out.Text(e.reviewer);
    out.Text(e.finding);
    out.Text(e.signature);
  }
  void operator()(const ClockFrozen& e) const {
    out.U64(static_cast<std::uint64_t>(e.host));
    out.Text(e.why);
  }
  void operator()(const ClockAccepted& e) const { out.U64(static_cast<std::uint64_t>(e.ledger)); }
  void operator()(const CeremonyRecorded& e) const {
    out.Text(e.name);
    out.Text(e.script);
    out.Text(e.transcript);
    out.Text(e.markdown);
    out.Text(e.by);
  }
  void operator()(const PolicySet& e) const {
    out.Raw(e.keyring);
    out.U32(e.days);
    out.U64(static_cast<std::uint64_t>(e.until));
    out.U8(e.enforce ? 1 : 0);
    if (e.rewrap && e.expire_days == 0 && !e.attest) return;  // as entries of earlier versions end
    out.U8(e.rewrap ? 1 : 0);
    out.U32(e.expire_days);
    out.U8(e.attest ? 1 : 0);
  }
  void operator()(const MandateUsed& e) const {
    out.Raw(e.keyring);
    out.U32(e.version);
  }
  void operator()(const MandateSettled& e) const {
    out.Raw(e.keyring);
    out.U32(e.version);
    out.U8(e.ok ? 1 : 0);
    out.Text(e.slug);
    out.Text(e.detail);
  }
  void operator()(const JobStarted& e) const {
    out.Text(e.id);
    out.Raw(e.keyring);
    out.U8(static_cast<std::uint8_t>(e.kind));
    out.U32(e.target);
    out.U8(e.retry ? 1 : 0);
  }
  void operator()(const JobSwitched& e) const {
    out.Text(e.id);
    out.U8(static_cast<std::uint8_t>(e.to));
    out.Text(e.by);
    out.Text(e.reason);
    out.U64(e.done);
    out.U64(e.quarantined);
  }
  void operator()(const CensusAcknowledged& e) const {
    out.Raw(e.keyring);
    out.U32(e.version);
    out.Text(e.service);
    out.U64(e.count);
  }
  void operator()(const EmergencyClosed& e) const {
    out.Raw(e.keyring);
    out.U32(e.version);
    out.Text(e.by);
    out.Text(e.report);
  }
  void operator()(const VersionAttested& e) const {
    out.Raw(e.keyring);
    out.U32(e.version);
    out.Text(e.by);
    out.Text(e.statement);
  }
  void operator()(const TokenEnrolled& e) const {
    for (const auto* text : {&e.token, &e.label, &e.model, &e.manufacturer}) out.Text(*text);
    out.U8(e.customer ? 1 : 0);
    out.Text(e.group);
  }
  void operator()(const RosterAdvanced& e) const {
    out.U64(e.version);
    out.Raw(e.hash);
  }
  void operator()(const EvidenceArchived& e) const {
    out.U64(e.size);
    out.Raw(e.root);
    out.Text(e.where);
  }
  void operator()(const ProposalsClosed& e) const {
    out.Text(e.rejected);
    out.Text(e.by);
    out.U16(static_cast<std::uint16_t>(e.closed.size()));
    for (const auto& id : e.closed) out.Text(id);
  }
  void operator()(const ProposalsForgotten& e) const { out.U64(static_cast<std::uint64_t>(e.before)); }
};

bool GetFlag(WireReader& in) {
  const auto flag = in.U8();
  if (flag > 1) in.Fail();
  return flag == 1;
}

ControlBody ReadLaterBody(WireReader& in, std::uint8_t kind) {
  switch (kind) {
    case 13: {
      KeyringSwitched e;
      e.keyring = in.Array<16>();
      e.enabled = GetFlag(in);
      e.by = in.Text();
      return e;
    }
    case 14: {
      GrantsChanged e;
      e.keyring = in.Array<16>();
      e.grants = in.Text();
      return e;
    }
    case 15: {
      VersionMoved e;
      e.keyring = in.Array<16>();
      e.version = in.U32();
      const auto to = in.U8();
      if (to < 1 || to > 6) in.Fail();
      e.to = static_cast<VersionMoved::To>(to);
      e.days = in.U32();
      e.by = in.Text();
      return e;
    }
    case 16: {
      BreakGlassOpened e;
      e.id = in.Text();
      e.check = in.Text();
      e.scope = in.Text();
      e.minutes = in.U32();
      e.uses = in.U64();
      e.drill = GetFlag(in);
      return e;
    }
    case 17: {
      BreakGlassClosed e;
      e.id = in.Text();
      e.reason = in.Text();
      e.by = in.Text();
      e.uses = in.U64();
      return e;
    }
    case 18: {
      BreakGlassReviewed e;
      e.id = in.Text();
      e.reviewer = in.Text();
      e.finding = in.Text();
      e.signature = in.Text();
      return e;
    }
    case 19: {
      ClockFrozen e;
      e.host = static_cast<Millis>(in.U64());
      e.why = in.Text();
      return e;
    }
    case 20:
      return ClockAccepted{static_cast<Millis>(in.U64())};
    case 21: {
      CeremonyRecorded e;
      e.name = in.Text();
      e.script = in.Text();
      e.transcript = in.Text();
      e.markdown = in.Text();
      e.by = in.Text();
      return e;
    }
    case 22: {
      PolicySet e;
      e.keyring = in.Array<16>();
      e.days = in.U32();
      e.until = static_cast<Millis>(in.U64());
      e.enforce = GetFlag(in);
      if (in.ok() && in.remaining() > 0) {
        e.rewrap = GetFlag(in);
        e.expire_days = in.U32();
        e.attest = GetFlag(in);
        if (e.rewrap && e.expire_days == 0 && !e.attest) in.Fail();
      }
      return e;
    }
    case 23: {
      MandateUsed e;
      e.keyring = in.Array<16>();
      e.version = in.U32();
      return e;
    }
    case 24: {
      MandateSettled e;
      e.keyring = in.Array<16>();
      e.version = in.U32();
      e.ok = GetFlag(in);
      e.slug = in.Text();
      e.detail = in.Text();
      return e;
    }
    case 25: {
      JobStarted e;
      e.id = in.Text();
      e.keyring = in.Array<16>();
      const auto kind_of_job = in.U8();
      if (kind_of_job < 1 || kind_of_job > 3) in.Fail();
      e.kind = static_cast<JobStarted::Kind>(kind_of_job);
      e.target = in.U32();
      e.retry = GetFlag(in);
      return e;
    }
    case 26: {
      JobSwitched e;
      e.id = in.Text();
      const auto to = in.U8();
      if (to < 1 || to > 6) in.Fail();
      e.to = static_cast<JobSwitched::To>(to);
      e.by = in.Text();
      e.reason = in.Text();
      e.done = in.U64();
      e.quarantined = in.U64();
      return e;
    }
    case 27: {
      CensusAcknowledged e;
      e.keyring = in.Array<16>();
      e.version = in.U32();
      e.service = in.Text();
      e.count = in.U64();
      return e;
    }
    case 28: {
      EmergencyClosed e;
      e.keyring = in.Array<16>();
      e.version = in.U32();
      e.by = in.Text();
      e.report = in.Text();
      return e;
    }
    case 29: {
      VersionAttested e;
      e.keyring = in.Array<16>();
      e.version = in.U32();
      e.by = in.Text();
      e.statement = in.Text();
      return e;
    }
    case 30: {
      TokenEnrolled e;
      for (auto* text : {&e.token, &e.label, &e.model, &e.manufacturer}) *text = in.Text();
      e.customer = GetFlag(in);
      e.group = in.Text();
      return e;
    }
    case 31: {
      EvidenceArchived e;
      e.size = in.U64();
      e.root = in.Array<32>();
      e.where = in.Text();
      return e;
    }
    case 32: {
      RosterAdvanced e;
      e.version = in.U64();
      e.hash = in.Array<32>();
      return e;
    }
    case 33: {
      ProposalsClosed e;
      e.rejected = in.Text();
      e.by = in.Text();
      for (int n = in.U16(); n > 0 && in.ok(); --n) e.closed.emplace_back(in.Text());
      return e;
    }
    case 34:
      return ProposalsForgotten{static_cast<Millis>(in.U64())};
    default:
      in.Fail();
      return Genesis();
  }
}

crypto::Suite GetSuite(WireReader& in) {
  const auto suite = in.U8();
  if (suite < 1 || suite > 2) in.Fail();
  return static_cast<crypto::Suite>(suite);
}

ControlBody ReadBody(WireReader& in, std::uint8_t kind) {
  switch (kind) {
    case 1: {
      Genesis e;
      e.roster_text = in.Text();
      for (int n = in.U16(); n > 0 && in.ok(); --n) {
        std::string name(in.Text());
        e.signatures.emplace_back(std::move(name), in.Text());
      }
      return e;
    }
    case 2:
      return ProposalFiled{std::string(in.Text())};
    case 3: {
      VoteCast e;
      e.proposal = in.Text();
      e.vote = crypto::GetVote(in);
      return e;
    }
    case 4: {
      ProposalWithdrawn e;
      e.proposal = in.Text();
      e.by = in.Text();
      return e;
    }
    case 5: {
      ProposalConsumed e;
      e.proposal = in.Text();
      e.executor = in.Text();
      return e;
    }
    case 6: {
      KeyringCreated e;
      e.keyring = in.Array<16>();
      e.name = in.Text();
      e.suite = GetSuite(in);
      e.custody = in.Text();
      e.grants = in.Text();
      return e;
    }
    case 7: {
      VersionAnnounced e;
      e.keyring = in.Array<16>();
      e.version = in.U32();
      e.suite = GetSuite(in);
      e.custody = in.Text();
      e.kek = in.Array<20>();
      e.token = in.Text();
      return e;
    }
    case 8: {
      VersionActivated e;
      e.keyring = in.Array<16>();
      e.version = in.U32();
      return e;
    }
    case 9: {
      ExecutionSettled e;
      e.proposal = in.Text();
      const auto ok = in.U8();
      if (ok > 1) in.Fail();
      e.ok = ok == 1;
      e.slug = in.Text();
      e.detail = in.Text();
      return e;
    }
    case 10: {
      EpochOpened e;
      e.epoch = in.U64();
      e.control_note = in.Text();
      e.evidence_note = in.Text();
      for (int n = in.U16(); n > 0 && in.ok(); --n) {
        const auto key = in.Blob();
        e.unused_keys.emplace_back(key.begin(), key.end());
      }
      return e;
    }
    case 11: {
      CheckpointKeyChanged e;
      e.number = in.U32();
      e.former = in.Text();
      e.next = in.Text();
      const auto endorsement = in.Blob();
      e.endorsement.assign(endorsement.begin(), endorsement.end());
      return e;
    }
    case 12:
      return RosterChanged{std::string(in.Text())};
    default:
      return ReadLaterBody(in, kind);
  }
}

}  // namespace

std::string_view ToString(VersionMoved::To to) {
  constexpr std::array<std::string_view, 7> kTo = {"?",    "archived", "restored", "compromised", "pending-destruction",
                                                   "kept", "destroyed"};
  return kTo[static_cast<std::size_t>(to)];
}

std::string_view ToString(JobStarted::Kind kind) {
  constexpr std::array<std::string_view, 4> kKinds = {"?", "rewrap", "reverse", "emergency"};
  return kKinds[static_cast<std::size_t>(kind)];
}

std::string_view ToString(JobSwitched::To to) {
  constexpr std::array<std::string_view, 7> kTo = {
      "?", "paused", "running", "cancelled", "complete", "complete-with-quarantine", "failed"};
  return kTo[static_cast<std::size_t>(to)];
}

std::string_view KindName(const ControlBody& body) {
  constexpr std::array<std::string_view, 34> kNames = {"genesis",
                                                       "proposal-filed",
                                                       "vote-cast",
                                                       "proposal-withdrawn",
                                                       "proposal-consumed",
                                                       "keyring-created",
                                                       "version-announced",
                                                       "version-activated",
                                                       "execution-settled",
                                                       "epoch-opened",
                                                       "checkpoint-key-changed",
                                                       "roster-changed",
                                                       "keyring-switched",
                                                       "grants-changed",
                                                       "version-moved",
                                                       "break-glass-opened",
                                                       "break-glass-closed",
                                                       "break-glass-reviewed",
                                                       "clock-frozen",
                                                       "clock-accepted",
                                                       "ceremony-recorded",
                                                       "policy-set",
                                                       "mandate-used",
                                                       "mandate-settled",
                                                       "job-started",
                                                       "job-switched",
                                                       "census-acknowledged",
                                                       "emergency-closed",
                                                       "version-attested",
                                                       "token-enrolled",
                                                       "evidence-archived",
                                                       "roster-advanced",
                                                       "proposals-closed",
                                                       "proposals-forgotten"};
  return kNames[body.index()];
}

Bytes Encode(const ControlEntry& entry) {
  WireWriter out;
  out.U8(kControlFormat);
  out.U8(static_cast<std::uint8_t>(entry.body.index() + 1));
  out.U64(static_cast<std::uint64_t>(entry.time));
  std::visit(Writer{out}, entry.body);
  return std::move(out).Take();
}

Result<ControlEntry> DecodeControl(ByteView bytes) {
  WireReader in(bytes);
  const auto format = in.U8();
  const auto kind = in.U8();
  ControlEntry entry;
  entry.time = static_cast<Millis>(in.U64());
  entry.body = ReadBody(in, kind);
  if (format != kControlFormat || !in.Complete())
    return Integrity("a control entry is damaged or of a format that this version does not know");
  return entry;
}

}  // namespace strongroom::ledger
