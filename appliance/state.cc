#include "appliance/state.h"

#include <algorithm>

#include "appliance/proposal_shares.h"
#include "crypto/custody.h"
#include "crypto/merkle.h"

namespace strongroom::appliance {
namespace {

Error Misfit(const char* what) {
  return Integrity(std::string("the control log does not follow from itself: ") + what, "ledger-damaged");
}

Changed OfRoster() {
  Changed changed;
  changed.roster = true;
  return changed;
}
Changed OfLedger() {
  Changed changed;
  changed.ledger = true;
  return changed;
}
Changed OfKeyring(const std::string& name) {
  Changed changed;
  changed.keyrings = {name};
  return changed;
}
Changed OfProposal(const std::string& id) {
  Changed changed;
  changed.proposals = {id};
  return changed;
}

struct Applier {
  State& state;
  Millis time;

  Result<Changed> operator()(const ledger::Genesis& e) const {
    if (state.roster) return Misfit("a second genesis");
    TRY_ASSIGN(auto roster, crypto::Roster::Parse(e.roster_text));
    state.roster = std::make_shared<const crypto::Roster>(std::move(roster));
    return OfRoster();
  }

  Result<Changed> operator()(const ledger::ProposalFiled& e) const {
    auto proposal = std::make_shared<Proposal>();
    TRY_ASSIGN(proposal->parsed, crypto::ProposalText::Parse(e.text));
    if (proposal->parsed.format != 1 && proposal->parsed.epoch != state.ledger.epoch)
      return Misfit("a proposal of another epoch");
    if (proposal->parsed.control_size < state.ledger.forgotten)
      return Misfit("a proposal asked for before what has been forgotten: it may be one of that");
    proposal->id = crypto::ProposalId(e.text);
    proposal->text = e.text;
    const auto id = proposal->id;
    if (!state.proposals.emplace(id, std::move(proposal))) return Misfit("a proposal filed twice");
    return OfProposal(id);
  }

  Result<Changed> operator()(const ledger::VoteCast& e) const {
    return OnProposal(e.proposal, [&](Proposal& p) -> Result<void> {
      p.votes.push_back(e.vote);
      return {};
    });
  }

  Result<Changed> operator()(const ledger::ProposalWithdrawn& e) const {
    return Move(e.proposal, ProposalFate::kPending, ProposalFate::kWithdrawn, e.by, {});
  }
  Result<Changed> operator()(const ledger::ProposalConsumed& e) const {
    return Move(e.proposal, ProposalFate::kPending, ProposalFate::kConsumed, e.executor, {});
  }
  Result<Changed> operator()(const ledger::ExecutionSettled& e) const {
    return Move(e.proposal, ProposalFate::kConsumed, e.ok ? ProposalFate::kExecuted : ProposalFate::kFailed, {},
                e.ok ? "" : e.slug + ": " + e.detail);
  }

  Result<Changed> operator()(const ledger::ProposalsClosed& e) const {
    Changed changed;
    for (const auto& id : e.closed) {
      const auto outcome = "closed: " + e.by + " rejected " + e.rejected;
      TRY(Move(id, ProposalFate::kPending, ProposalFate::kClosed, {}, outcome));
      changed.proposals.push_back(id);
    }
    return changed;
  }
  Result<Changed> operator()(const ledger::ProposalsForgotten& e) const {
    if (e.before > time) return Misfit("proposals forgotten before their time");
    // A text is filed once (Q5), also one that nobody remembers: filings make the log longer, so whatever is filed from
    // here on names a longer one than these do.
    for (const auto& [id, proposal] : state.proposals)
      if (proposal->parsed.execute_by < e.before)
        state.ledger.forgotten = std::max(state.ledger.forgotten, proposal->parsed.control_size + 1);
    Changed changed;
    changed.ledger = true;
    changed.proposals = Forgettable(state, e.before);
    for (const auto& id : changed.proposals) state.proposals.erase(id);
    return changed;
  }

  Result<Changed> operator()(const ledger::EpochOpened& e) const {
    if (e.epoch <= state.ledger.epoch) return Misfit("an epoch that is not a later one");
    state.ledger.epoch = e.epoch;
    state.ledger.unused_keys.insert(e.unused_keys.begin(), e.unused_keys.end());
    Changed changed;
    changed.ledger = true;
    // An adoption begins anew by the clock that its text names; one that cannot be relied on is frozen again.
    changed.clock = state.clock_frozen;
    state.clock_frozen = false;
    Outdate(changed);  // what was asked for before a restore may have happened in what is lost (Q5)
    return changed;
  }
  Result<Changed> operator()(const ledger::CheckpointKeyChanged& e) const {
    if (e.number != state.ledger.key + 1) return Misfit("a checkpoint key out of order");
    if (state.ledger.keys.empty()) state.ledger.keys.push_back(e.former);
    if (state.ledger.keys.back() != e.former) return Misfit("a checkpoint key that follows another one");
    state.ledger.key = e.number;
    state.ledger.keys.push_back(e.next);
    return OfLedger();
  }

  Result<Changed> operator()(const ledger::RosterChanged& e) const {
    TRY_ASSIGN(auto roster, crypto::Roster::Parse(e.roster_text));
    return AdvanceTo(std::move(roster));
  }
  Result<Changed> operator()(const ledger::RosterAdvanced& e) const {
    if (!state.roster) return Misfit("a roster that follows none");
    const auto named = std::to_string(e.version) + " " + ToHex(e.hash);
    for (const auto& [id, proposal] : state.proposals) {
      if (proposal->fate != ProposalFate::kConsumed || proposal->parsed.operation != "roster.change") continue;
      const auto& params = proposal->parsed.params;
      if (const auto at = params.find("new-roster"); at == params.end() || at->second != named) continue;
      TRY_ASSIGN(auto roster, crypto::RosterAfter(*state.roster, proposal->parsed));
      if (roster.version() != e.version || roster.hash() != e.hash) break;
      return AdvanceTo(std::move(roster));
    }
    return Misfit("a roster that no proposal under execution leads to");
  }
  Result<Changed> AdvanceTo(crypto::Roster roster) const {
    if (!state.roster || roster.version() != state.roster->version() + 1 ||
        roster.previous() != ToHex(state.roster->hash()) || roster.instance() != state.roster->instance())
      return Misfit("a roster that does not follow the one before it");
    state.roster = std::make_shared<const crypto::Roster>(std::move(roster));
    return OfRoster();
  }

  Result<Changed> operator()(const ledger::KeyringCreated& e) const {
    auto keyring = std::make_shared<Keyring>();
    keyring->id = e.keyring;
    keyring->name = e.name;
    keyring->custody = e.custody;
    keyring->created = time;
    TRY_ASSIGN(keyring->grants, Grants::Parse(e.grants));
    if (!state.keyring_names.emplace(e.keyring, e.name)) return Misfit("a keyring id used twice");
    if (!state.keyrings.emplace(e.name, std::move(keyring))) return Misfit("a keyring created twice");
    return OfKeyring(e.name);
  }

  Result<Changed> operator()(const ledger::VersionAnnounced& e) const {
    return OnKeyring(e.keyring, [&](Keyring& k) -> Result<void> {
      Version v;
      v.number = e.version;
      v.suite = e.suite;
      v.custody = e.custody;
      v.kek = e.kek;
      v.token = e.token;
      v.announced = time;
      if (e.version != k.versions.size() + 1 || !k.versions.emplace(e.version, std::move(v)).second)
        return Misfit("a version out of order");
      return {};
    });
  }

  Result<Changed> operator()(const ledger::VersionActivated& e) const {
    bool rotated = false, came_back = false;
    auto changed = OnKeyring(e.keyring, [&](Keyring& k) -> Result<void> {
      const auto next = k.versions.find(e.version);
      // A version that was deactivated comes back by an approved reverse.
      if (next == k.versions.end() ||
          (next->second.state != VersionState::kPreActive && next->second.state != VersionState::kDeactivated))
        return Misfit("a version activated that is neither pre-active nor deactivated");
      if (const auto former = k.versions.find(k.primary); former != k.versions.end()) {
        if (former->second.state == VersionState::kActive) former->second.state = VersionState::kDeactivated;
        former->second.deactivated = time;
        k.last_rotation = time;
        rotated = true;
      }
      came_back = next->second.state == VersionState::kDeactivated;
      next->second.state = VersionState::kActive;
      next->second.activated = time;
      next->second.deactivated = 0;
      k.primary = e.version;
      return {};
    });
    if (!changed) return changed;
    if (rotated && state.owed.insert(e.keyring).second) changed->owed.push_back(e.keyring);
    // Who said that nothing is left under a version that wraps again did not speak of what comes now.
    for (auto at = state.acknowledged.begin(); came_back && at != state.acknowledged.end();) {
      if (at->first.first != e.keyring || at->second.version < e.version) {
        ++at;
        continue;
      }
      changed->acknowledged.push_back(at->first);
      at = state.acknowledged.erase(at);
    }
    return changed;
  }

  Result<Changed> operator()(const ledger::KeyringSwitched& e) const {
    return OnKeyring(e.keyring, [&](Keyring& k) -> Result<void> {
      if (k.enabled == e.enabled) return Misfit("a keyring switched to what it is");
      k.enabled = e.enabled;
      return {};
    });
  }

  Result<Changed> operator()(const ledger::GrantsChanged& e) const {
    return OnKeyring(e.keyring, [&](Keyring& k) -> Result<void> {
      TRY_ASSIGN(k.grants, Grants::Parse(e.grants));
      return {};
    });
  }

  Result<Changed> operator()(const ledger::VersionMoved& e) const {
    auto changed = OnKeyring(e.keyring, [&](Keyring& k) -> Result<void> {
      const auto at = k.versions.find(e.version);
      if (at == k.versions.end()) return Misfit("an unknown version moved");
      auto& v = at->second;
      const auto from = v.state;
      v.due = 0;
      v.moved = time;
      using enum VersionState;
      bool fits = false;
      switch (e.to) {
        case ledger::VersionMoved::To::kArchived:
          fits = from == kDeactivated;
          v.state = kArchived;
          break;
        case ledger::VersionMoved::To::kRestored:
          fits = from == kArchived;
          v.state = kDeactivated;
          break;
        case ledger::VersionMoved::To::kCompromised:
          fits = from == kActive || from == kDeactivated || from == kArchived;
          v.state = kCompromised;
          v.compromised = true;
          break;
        case ledger::VersionMoved::To::kPendingDestruction:
          fits = from == kDeactivated || from == kArchived || from == kCompromised;
          v.state = kPendingDestruction;
          v.due = time + Millis{e.days} * kDay;
          break;
        case ledger::VersionMoved::To::kKept:
          fits = from == kPendingDestruction;
          v.state = v.compromised ? kCompromised : kArchived;
          break;
        case ledger::VersionMoved::To::kDestroyed:
          fits = from == kPendingDestruction;
          v.state = kDestroyed;
          break;
      }
      return fits ? Result<void>() : Misfit("a version moved to a state that does not follow from its own");
    });
    if (changed && e.to == ledger::VersionMoved::To::kCompromised) {
      state.emergencies[{e.keyring, e.version}] = {time, 0, {}, {}};
      changed->emergencies.emplace_back(e.keyring, e.version);
    }
    return changed;
  }

  Result<Changed> operator()(const ledger::BreakGlassOpened& e) const {
    const auto* proposal = state.FindProposal(e.id);
    auto opened = std::make_shared<BreakGlass>();
    opened->id = e.id;
    opened->check = e.check;
    opened->scope = e.scope;
    opened->drill = e.drill;
    opened->requester = proposal == nullptr ? "" : proposal->parsed.requester;
    opened->opened = time;
    opened->until = time + Millis{e.minutes} * 60'000;
    opened->most_uses = e.uses;
    if (proposal == nullptr || !state.break_glass.emplace(e.id, std::move(opened)).second)
      return Misfit("a break-glass opened twice, or by no proposal");
    return OfBreakGlass(e.id);
  }
  Result<Changed> operator()(const ledger::BreakGlassClosed& e) const {
    return OnBreakGlass(e.id, [&](BreakGlass& b) {
      const bool was_open = b.closed == 0;
      b.closed = time;
      b.reason = e.reason;
      b.closed_by = e.by;
      b.uses = e.uses;
      return was_open;
    });
  }
  Result<Changed> operator()(const ledger::BreakGlassReviewed& e) const {
    return OnBreakGlass(e.id, [&](BreakGlass& b) {
      const bool owed = b.closed != 0 && b.reviewer.empty();
      b.reviewer = e.reviewer;
      b.finding = e.finding;
      return owed;
    });
  }

  Result<Changed> operator()(const ledger::ClockFrozen&) const {
    if (state.clock_frozen) return Misfit("a clock that is frozen twice");
    state.clock_frozen = true;
    Changed changed;
    changed.clock = true;
    return changed;
  }
  Result<Changed> operator()(const ledger::ClockAccepted&) const {
    state.clock_frozen = false;
    Changed changed;
    changed.clock = true;
    Outdate(changed);  // what had expired must not come back with an earlier time (Q10)
    return changed;
  }
  Result<Changed> operator()(const ledger::CeremonyRecorded&) const { return Changed(); }

  Result<Changed> operator()(const ledger::PolicySet& e) const {
    return OnKeyring(e.keyring, [&](Keyring& k) -> Result<void> {
      k.policy = {e.days, e.until, e.enforce, time, e.rewrap, e.expire_days, e.attest};
      return {};
    });
  }
  Result<Changed> operator()(const ledger::MandateUsed& e) const {
    return OnKeyring(e.keyring, [&](Keyring& k) -> Result<void> {
      if (k.mandated != 0 || k.policy.days == 0 || e.version != k.versions.size() + 1)
        return Misfit("a mandate used out of order");
      k.mandated = e.version;
      return {};
    });
  }
  Result<Changed> operator()(const ledger::MandateSettled& e) const {
    return OnKeyring(e.keyring, [&](Keyring& k) -> Result<void> {
      if (k.mandated == 0 || k.mandated != e.version) return Misfit("a mandate settled that was not used");
      k.mandated = 0;
      return {};
    });
  }

  Result<Changed> operator()(const ledger::JobStarted& e) const {
    const auto* keyring = state.FindKeyring(e.keyring);
    if (keyring == nullptr || keyring->primary != e.target || state.LiveJob(e.keyring) != nullptr)
      return Misfit("a job that cannot begin");
    auto job = std::make_shared<Job>();
    job->id = e.id;
    job->kind = e.kind;
    job->keyring = e.keyring;
    job->target = e.target;
    job->retry = e.retry;
    job->started = job->switched = time;
    if (!state.jobs.emplace(e.id, std::move(job)).second) return Misfit("a job started twice");
    auto changed = OfJob(e.id);
    if (state.owed.erase(e.keyring) > 0) changed.owed.push_back(e.keyring);
    return changed;
  }
  Result<Changed> operator()(const ledger::JobSwitched& e) const {
    const auto at = state.jobs.find(e.id);
    if (at == state.jobs.end() || !at->second->Live() || at->second->state == e.to)
      return Misfit("a job switched out of order");
    auto copy = std::make_shared<Job>(*at->second);
    copy->state = e.to;
    copy->switched = time;
    copy->by = e.by;
    copy->reason = e.reason;
    at->second = std::move(copy);
    return OfJob(e.id);
  }
  Result<Changed> operator()(const ledger::CensusAcknowledged& e) const {
    const auto* keyring = state.FindKeyring(e.keyring);
    if (keyring == nullptr || keyring->Find(e.version) == nullptr)
      return Misfit("an acknowledgement of an unknown version");
    const std::pair key(e.keyring, e.service);
    state.acknowledged[key] = {e.version, e.count, time};
    Changed changed;
    changed.acknowledged = {key};
    return changed;
  }
  Result<Changed> operator()(const ledger::EmergencyClosed& e) const {
    const std::pair key(e.keyring, e.version);
    const auto at = state.emergencies.find(key);
    if (at == state.emergencies.end() || at->second.closed != 0) return Misfit("an emergency closed that is not open");
    at->second.closed = time;
    at->second.by = e.by;
    at->second.report = e.report;
    Changed changed;
    changed.emergencies = {key};
    return changed;
  }

  Result<Changed> operator()(const ledger::EvidenceArchived& e) const {
    if (e.size <= state.ledger.archived || e.size % crypto::kTileWidth != 0) return Misfit("an archive out of order");
    state.ledger.archived = e.size;
    return OfLedger();
  }
  Result<Changed> operator()(const ledger::TokenEnrolled& e) const {
    if (!e.group.empty()) {
      state.members[e.token] = {e.token, e.label, e.model, e.manufacturer, e.group};
      Changed member;
      member.members = {e.token};
      return member;
    }
    state.tokens[e.token] = {e.label, e.model, e.manufacturer, e.customer, time};
    Changed changed;
    changed.tokens = {e.token};
    return changed;
  }

  // What follows from it are the activations behind it.
  Result<Changed> operator()(const ledger::VersionAttested& e) const {
    const auto* keyring = state.FindKeyring(e.keyring);
    const auto* version = keyring == nullptr ? nullptr : keyring->Find(e.version);
    if (version == nullptr || version->state != VersionState::kPreActive)
      return Misfit("an attestation of a version that does not wait for one");
    return Changed();
  }

 private:
  static Changed OfJob(const std::string& id) {
    Changed changed;
    changed.jobs = {id};
    return changed;
  }
  static Changed OfBreakGlass(const std::string& id) {
    Changed changed;
    changed.break_glass = {id};
    return changed;
  }
  template <class Change>
  Result<Changed> OnBreakGlass(const std::string& id, Change change) const {
    const auto at = state.break_glass.find(id);
    if (at == state.break_glass.end()) return Misfit("an unknown break-glass");
    auto copy = std::make_shared<BreakGlass>(*at->second);
    if (!change(*copy)) return Misfit("a break-glass closed or reviewed out of order");
    at->second = std::move(copy);
    return OfBreakGlass(id);
  }
  void Outdate(Changed& changed) const {
    for (const auto& [id, proposal] : state.proposals)
      if (proposal->fate == ProposalFate::kPending) changed.proposals.push_back(id);
    for (const auto& id : changed.proposals) {
      auto copy = std::make_shared<Proposal>(*state.proposals.at(id));
      copy->fate = ProposalFate::kOutdated;
      state.proposals.insert_or_assign(id, std::move(copy));
    }
  }

  template <class Change>
  Result<Changed> OnKeyring(const crypto::KeyringId& id, Change change) const {
    const auto name = state.keyring_names.find(id);
    if (name == state.keyring_names.end()) return Misfit("an unknown keyring");
    auto copy = std::make_shared<Keyring>(*state.keyrings.at(name->second));
    TRY(change(*copy));
    state.keyrings.insert_or_assign(name->second, std::move(copy));
    return OfKeyring(name->second);
  }
  template <class Change>
  Result<Changed> OnProposal(const std::string& id, Change change) const {
    const auto at = state.proposals.find(id);
    if (at == state.proposals.end()) return Misfit("an unknown proposal");
    auto copy = std::make_shared<Proposal>(*at->second);
    TRY(change(*copy));
    state.proposals.insert_or_assign(id, std::move(copy));
    return OfProposal(id);
  }
  Result<Changed> Move(const std::string& id, ProposalFate from, ProposalFate to, const std::string& by,
                       std::string outcome) const {
    return OnProposal(id, [&](Proposal& p) -> Result<void> {
      if (p.fate != from) return Misfit("a proposal settled out of order");
      p.fate = to;
      if (!by.empty()) p.executor = by;
      p.outcome = std::move(outcome);
      return {};
    });
  }
};

}  // namespace

Result<Changed> Apply(State& state, const ledger::ControlEntry& entry) {
  return std::visit(Applier{state, entry.time}, entry.body);
}

}  // namespace strongroom::appliance
