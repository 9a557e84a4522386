#include "appliance/state.h"

namespace strongroom::appliance {
namespace {

Error Misfit(const char* what) {
  return Integrity(std::string("the control log does not follow from itself: ") + what, "ledger-damaged");
}

struct Applier {
  State& state;
  Millis time;

  Result<Changed> operator()(const ledger::Genesis& e) const {
    if (state.roster) return Misfit("a second genesis");
    TRY_ASSIGN(auto roster, crypto::Roster::Parse(e.roster_text));
    state.roster = std::make_shared<const crypto::Roster>(std::move(roster));
    return Changed{true, {}, {}, false};
  }

  Result<Changed> operator()(const ledger::ProposalFiled& e) const {
    auto proposal = std::make_shared<Proposal>();
    TRY_ASSIGN(proposal->parsed, crypto::ProposalText::Parse(e.text));
    proposal->id = crypto::ProposalId(e.text);
    proposal->text = e.text;
    const auto id = proposal->id;
    if (!state.proposals.emplace(id, std::move(proposal)).second) return Misfit("a proposal filed twice");
    return Changed{false, {}, {id}, false};
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

  Result<Changed> operator()(const ledger::EpochOpened& e) const {
    if (e.epoch <= state.ledger.epoch) return Misfit("an epoch that is not a later one");
    state.ledger.epoch = e.epoch;
    state.ledger.unused_keys.insert(e.unused_keys.begin(), e.unused_keys.end());
    Changed changed{false, {}, {}, true};
    // What was asked for before a restore may have happened in what is lost (Q5).
    for (auto& [id, slot] : state.proposals) {
      if (slot->fate != ProposalFate::kPending) continue;
      auto copy = std::make_shared<Proposal>(*slot);
      copy->fate = ProposalFate::kOutdated;
      slot = std::move(copy);
      changed.proposals.push_back(id);
    }
    return changed;
  }
  Result<Changed> operator()(const ledger::CheckpointKeyChanged& e) const {
    if (e.number != state.ledger.key + 1) return Misfit("a checkpoint key out of order");
    if (state.ledger.keys.empty()) state.ledger.keys.push_back(e.former);
    if (state.ledger.keys.back() != e.former) return Misfit("a checkpoint key that follows another one");
    state.ledger.key = e.number;
    state.ledger.keys.push_back(e.next);
    return Changed{false, {}, {}, true};
  }

  Result<Changed> operator()(const ledger::RosterChanged& e) const {
    TRY_ASSIGN(auto roster, crypto::Roster::Parse(e.roster_text));
    if (!state.roster || roster.version() != state.roster->version() + 1 ||
        roster.previous() != ToHex(state.roster->hash()) || roster.instance() != state.roster->instance())
      return Misfit("a roster that does not follow the one before it");
    state.roster = std::make_shared<const crypto::Roster>(std::move(roster));
    return Changed{true, {}, {}, false};
  }

  Result<Changed> operator()(const ledger::KeyringCreated& e) const {
    auto keyring = std::make_shared<Keyring>();
    keyring->id = e.keyring;
    keyring->name = e.name;
    keyring->custody = e.custody;
    keyring->created = time;
    TRY_ASSIGN(keyring->grants, Grants::Parse(e.grants));
    if (!state.keyring_names.emplace(e.keyring, e.name).second) return Misfit("a keyring id used twice");
    if (!state.keyrings.emplace(e.name, std::move(keyring)).second) return Misfit("a keyring created twice");
    return Changed{false, {e.name}, {}, false};
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
    return OnKeyring(e.keyring, [&](Keyring& k) -> Result<void> {
      const auto next = k.versions.find(e.version);
      if (next == k.versions.end() || next->second.state != VersionState::kPreActive)
        return Misfit("a version activated that is not pre-active");
      if (const auto former = k.versions.find(k.primary); former != k.versions.end()) {
        former->second.state = VersionState::kDeactivated;
        former->second.deactivated = time;
        k.last_rotation = time;
      }
      next->second.state = VersionState::kActive;
      next->second.activated = time;
      k.primary = e.version;
      return {};
    });
  }

 private:
  template <class Change>
  Result<Changed> OnKeyring(const crypto::KeyringId& id, Change change) const {
    const auto name = state.keyring_names.find(id);
    if (name == state.keyring_names.end()) return Misfit("an unknown keyring");
    auto& slot = state.keyrings[name->second];
    auto copy = std::make_shared<Keyring>(*slot);
    TRY(change(*copy));
    slot = std::move(copy);
    return Changed{false, {name->second}, {}, false};
  }
  template <class Change>
  Result<Changed> OnProposal(const std::string& id, Change change) const {
    const auto at = state.proposals.find(id);
    if (at == state.proposals.end()) return Misfit("an unknown proposal");
    auto copy = std::make_shared<Proposal>(*at->second);
    TRY(change(*copy));
    at->second = std::move(copy);
    return Changed{false, {}, {id}, false};
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

std::string_view ToString(VersionState state) {
  switch (state) {
    case VersionState::kPreActive:
      return "pre-active";
    case VersionState::kActive:
      return "active";
    case VersionState::kDeactivated:
      return "deactivated";
  }
  return "unknown";
}

const Keyring* State::FindKeyring(std::string_view name) const {
  const auto at = keyrings.find(name);
  return at == keyrings.end() ? nullptr : at->second.get();
}

const Proposal* State::FindProposal(std::string_view id) const {
  const auto at = proposals.find(id);
  return at == proposals.end() ? nullptr : at->second.get();
}

Result<Changed> Apply(State& state, const ledger::ControlEntry& entry) {
  return std::visit(Applier{state, entry.time}, entry.body);
}

}  // namespace strongroom::appliance
