// What the broker asks of the token for a request, item by item, and what it records of the outcome.

#include "appliance/broker_work.h"

namespace strongroom::appliance {

namespace {

// What a version's state allows is no secret to whoever holds a wrapped DEK of it (K5).
Result<void> MayProcess(const State& state, const Keyring& keyring, const Version& version, Operation operation) {
  using enum VersionState;
  const auto refused = [&](const char* slug) {
    return Conflict("version " + std::to_string(version.number) + " is " + std::string(ToString(version.state)) +
                        ": what it wrapped cannot be opened",
                    slug);
  };
  if (version.state == kArchived) return refused("version-archived");
  // While the token has not made the next version yet there is nowhere to move to: what is there is still opened.
  const bool nowhere = operation == Operation::kUnwrap && version.number == keyring.primary;
  if (version.state == kCompromised && !nowhere &&
      (operation != Operation::kRewrap || !state.EmergencyOpen(keyring.id, version.number)))
    return refused("version-compromised");
  if (version.state == kPendingDestruction) return refused("version-pending-destruction");
  if (version.state == kDestroyed) return refused("version-destroyed");
  return {};
}

// What an item of a request was, for whoever compares it with what he has sent or got.
crypto::Digest DigestOf(Operation operation, const DataItem& asked, const DataAnswer& answer, bool failed) {
  if (operation == Operation::kDekPut || operation == Operation::kDekDelete)
    return failed ? crypto::Digest{} : crypto::Sha256({AsBytes(asked.dek), AsBytes("\n"), AsBytes(asked.wrapped)});
  if (operation == Operation::kUnwrap) {
    if (!asked.dek.empty()) return crypto::Sha256(AsBytes(asked.dek));
    return asked.wrapped.empty() ? crypto::Digest{}
                                 : crypto::Sha256({AsBytes(asked.wrapped), AsBytes(answer.rewrapped)});
  }
  return failed ? crypto::Digest{} : crypto::Sha256(AsBytes(answer.wrapped));
}

// A name that was given to another key meanwhile is not charged with what the former one asked for.
std::string ChargedName(const State& state, const DataRequest& request) {
  const auto* principal = state.roster ? state.roster->Find(request.principal) : nullptr;
  return principal != nullptr && principal->spki != request.spki ? "-" : request.principal;
}

Result<std::optional<hsm::KeyOp>> OptionalOp(Result<hsm::KeyOp> op) {
  if (!op) return std::move(op).error();
  return std::optional(std::move(*op));
}

// Uses are summed by KEK and kind: a batch of a thousand is one line of evidence.
void AddUse(std::vector<ledger::KekUse>& uses, const crypto::KeyId& kek, ledger::Use use) {
  for (auto& u : uses)
    if (u.kek == kek && u.use == use) {
      ++u.count;
      return;
    }
  uses.push_back({kek, use, 1});
}

}  // namespace

// The version that an incoming wrapped DEK names, after every byte of its header has been compared (K5).
Result<const Version*> VersionFor(const State& state, const Keyring& keyring, const crypto::Envelope& envelope,
                                  Operation operation) {
  const auto* version = keyring.Find(envelope.version);
  if (envelope.instance != state.roster->instance() || envelope.keyring != keyring.id || version == nullptr ||
      version->suite != envelope.suite || version->kek != envelope.kek || version->state == VersionState::kPreActive)
    return UnwrapFailed();
  TRY(MayProcess(state, keyring, *version, operation));
  return version;
}

hsm::KeyRef RefOf(const Version& version) { return {version.token, version.kek, version.suite}; }

crypto::Envelope EnvelopeOf(const State& state, const Keyring& keyring, const Version& version, Bytes blob) {
  return {version.suite, state.roster->instance(), keyring.id, version.number, version.kek, std::move(blob)};
}

Result<std::shared_ptr<const Keyring>> Authorise(const State& state, const Caller& service, std::string_view keyring,
                                                 Operation operation) {
  TRY(JudgeActor(state, service, kServes));
  const auto& principal = service.name;
  const auto at = state.keyrings.find(keyring);
  if (at == state.keyrings.end() || !at->second->grants.Knows(principal))
    return NotFound("no keyring of this name is granted to " + principal, "keyring-not-found");
  if (!at->second->grants.Allows(principal, operation))
    return Forbidden(principal + " may not " + std::string(ledger::ToString(operation)) + " with this keyring",
                     "operation-not-granted");
  if (!at->second->enabled) return Conflict("keyring '" + std::string(keyring) + "' is disabled", "keyring-disabled");
  return at->second;
}

void Broker::Prepare(Worked& worked, std::vector<hsm::KeyOp>& ops) {
  auto& request = worked.pending.request;
  if (std::chrono::steady_clock::now() > request.deadline) {
    worked.refused = Unavailable("the request waited longer than its deadline", "deadline");
    return;
  }
  auto keyring = Authorise(*worked.state, CallerOf(request), request.keyring, request.operation);
  if (!keyring) {
    worked.refused = keyring.error();
    return;
  }
  worked.keyring = *keyring;
  worked.primary_budget = CheckGcmBudget(ledger_, *worked.keyring->Primary(), 0, options_.gcm_refuse);
  if (worked.keyring->Primary()->state != VersionState::kActive)
    worked.primary_budget =
        Conflict("version " + std::to_string(worked.keyring->primary) + " is " +
                     std::string(ToString(worked.keyring->Primary()->state)) + ": nothing is wrapped under it",
                 "version-compromised");
  if (options_.gate) {
    auto passed = options_.gate(request);
    if (!passed) {
      worked.refused = std::move(passed).error();
      return;
    }
    worked.break_glass = std::move(*passed);
  }
  const bool changes = request.operation == Operation::kDekPut || request.operation == Operation::kDekDelete;
  if (request.operation == Operation::kDekPut)
    if (auto measured = MeasureInventory(worked); !measured) {
      worked.refused = std::move(measured).error();
      return;
    }
  worked.items.resize(request.items.size());
  for (std::size_t i = 0; i < request.items.size(); ++i) {
    auto& item = worked.items[i];
    auto op = changes ? PrepareChange(worked, request.operation, request.items[i], item.answer, item.change)
                      : OptionalOp(PrepareItem(worked, request.operation, request.items[i], item.answer));
    if (!op) {
      item.error = op.error();
      item.change.reset();
      continue;
    }
    item.from = item.answer.from_version;
    if (!*op) continue;  // a deletion asks no token
    if (const auto* unwrap = std::get_if<hsm::UnwrapOp>(&**op)) item.rewraps = unwrap->rewrap_to.has_value();
    hsm::DeadlineOf(**op) = request.deadline;
    item.op = static_cast<std::ptrdiff_t>(ops.size());
    ops.push_back(std::move(**op));
  }
}

Result<hsm::KeyOp> Broker::PrepareItem(const Worked& worked, Operation operation, DataItem& item, DataAnswer& answer) {
  if (item.refused) return *item.refused;
  const auto& state = *worked.state;
  const auto& keyring = *worked.keyring;
  const auto& primary = *keyring.Primary();
  if (item.aad.size() > crypto::kMaxAadBytes) return Invalid("AAD is at most 4096 bytes");
  hsm::Context context{state.roster->instance(), keyring.id, {item.aad.begin(), item.aad.end()}};
  if (operation != Operation::kUnwrap) TRY(worked.primary_budget);
  answer.kek_version = primary.number;
  switch (operation) {
    case Operation::kWrap:
      if (item.plaintext.size() < crypto::kMinDekBytes || item.plaintext.size() > crypto::kMaxDekBytes)
        return Invalid("a DEK is 16 to 512 bytes");
      return hsm::KeyOp(hsm::WrapOp{RefOf(primary), std::move(item.plaintext), std::move(context)});
    case Operation::kDataKey:
      if (item.bytes != 16 && item.bytes != 24 && item.bytes != 32 && item.bytes != 64)
        return Invalid("a data key has 16, 24, 32 or 64 bytes");
      return hsm::KeyOp(hsm::DataKeyOp{RefOf(primary), item.bytes, std::move(context), item.want_plaintext});
    case Operation::kUnwrap: {
      TRY_ASSIGN(auto envelope, IncomingEnvelope(worked, item));
      TRY_ASSIGN(const Version* version, VersionFor(state, keyring, envelope, operation));
      answer.kek_version = version->number;
      answer.from_version = version->number;
      hsm::UnwrapOp op{RefOf(*version), std::move(envelope.blob), std::move(context), {}};
      // What lies in the inventory is moved there, by a job.
      if (version->number != keyring.primary && worked.primary_budget && item.dek.empty())
        op.rewrap_to = RefOf(primary);
      return hsm::KeyOp(std::move(op));
    }
    case Operation::kRewrap: {
      TRY_ASSIGN(auto envelope, crypto::ParseEnvelope(item.wrapped));
      TRY_ASSIGN(const Version* version, VersionFor(state, keyring, envelope, operation));
      answer.from_version = version->number;
      return hsm::KeyOp(hsm::RewrapOp{RefOf(*version), RefOf(primary), std::move(envelope.blob)});
    }
    case Operation::kOther:
    case Operation::kDekPut:
    case Operation::kDekDelete:
    case Operation::kBackup:
      break;
  }
  return Invalid("no such operation");
}

// Of the caller, or from the inventory.
Result<crypto::Envelope> Broker::IncomingEnvelope(const Worked& worked, const DataItem& item) {
  if (item.dek.empty()) return crypto::ParseEnvelope(item.wrapped);
  TRY_ASSIGN(auto record, ledger_.Deks().Find(worked.keyring->id, item.dek));
  if (!record) return NotFound("the inventory has no DEK of this id", "dek-not-found");
  const auto* version = worked.keyring->Find(record->version);
  // The keyring was rotated, and the record moved, since the request's own view of it.
  if (version == nullptr) return Unavailable("the keyring was rotated this moment: come again", "rotated-meanwhile");
  return EnvelopeOf(*worked.state, *worked.keyring, *version, std::move(record->blob));
}

void Broker::Collect(Worked& worked, std::vector<Result<hsm::KeyOpOutput>>& outputs, ledger::Submission& submission) {
  const auto& request = worked.pending.request;
  ledger::EvidenceEntry entry;
  entry.time = clock_.Now();
  entry.request_id = request.request_id;
  entry.principal = request.principal;
  entry.operation = request.operation;
  entry.keyring = request.keyring.substr(0, 64);
  if (worked.refused || worked.revoked) entry.principal = ChargedName(*snapshot_(), request);
  if (worked.refused) {
    const MutexLock lock(meter_mutex_);
    if (!meter_.Take(entry.time, entry.suppressed)) return;
    entry.outcome = worked.refused->Slug();
    entry.items = static_cast<std::uint32_t>(request.items.size());
    entry.failed = entry.items;
    submission.evidence.push_back(std::move(entry));
    return;
  }
  entry.keyring_id = worked.keyring->id;
  entry.items = static_cast<std::uint32_t>(worked.items.size());
  entry.outcome = "ok";
  const auto& primary = *worked.keyring->Primary();
  Bytes digests;
  for (std::size_t i = 0; i < worked.items.size(); ++i) {
    auto& item = worked.items[i];
    const auto& asked = request.items[i];
    const auto* came_in = item.from != 0 ? worked.keyring->Find(item.from) : nullptr;
    if (item.op >= 0) {
      auto& output = outputs[static_cast<std::size_t>(item.op)];
      // A wrap that was tried counts, also when it failed: an IV may have been used. An unwrap that was refused wrapped
      // nothing.
      if (request.operation == Operation::kUnwrap) {
        AddUse(entry.uses, came_in->kek, ledger::Use::kUnwrap);
        const bool refused = !output && output.error().code == Code::kUnwrapFailed;
        if (item.rewraps && !refused) AddUse(entry.uses, primary.kek, ledger::Use::kRewrapTo);
      } else if (request.operation == Operation::kRewrap || request.operation == Operation::kDekPut) {
        AddUse(entry.uses, came_in->kek, ledger::Use::kRewrapFrom);
        AddUse(entry.uses, primary.kek, ledger::Use::kRewrapTo);
      } else {
        AddUse(entry.uses, primary.kek, ledger::Use::kWrap);
      }
      if (!output) {
        item.error = output.error();
        item.change.reset();  // what does not open replaces nothing
      } else if (item.change) {
        item.change->next->blob = std::move(output->blob);
      } else {
        std::string text =
            output->blob.empty()
                ? std::string()
                : crypto::FormatEnvelope(EnvelopeOf(*worked.state, *worked.keyring, primary, std::move(output->blob)));
        (request.operation == Operation::kUnwrap ? item.answer.rewrapped : item.answer.wrapped) = std::move(text);
        item.answer.plaintext = std::move(output->plaintext);
      }
    }
    if (worked.revoked) {
      item.error = *worked.revoked;
      item.answer = {};
      item.change.reset();
    }
    Append(digests, DigestOf(request.operation, asked, item.answer, item.error.has_value()));
    if (item.change) submission.deks.push_back(std::move(*item.change));
    if (item.error) {
      ++entry.failed;
      if (entry.items == 1) entry.outcome = item.error->Slug();
    }
  }
  if (worked.revoked) entry.outcome = worked.revoked->Slug();
  entry.digest = crypto::Sha256(digests);
  if (!worked.break_glass.empty()) {
    auto use = entry;
    use.operation = Operation::kOther;
    use.items = use.failed = use.suppressed = 0;
    use.digest = {};
    use.uses.clear();
    use.outcome = "break-glass " + worked.break_glass;
    submission.evidence.push_back(std::move(use));
  }
  // A request of which nothing came is a refusal like any other and must not fill the disk (L5).
  if (entry.failed == entry.items) {
    const MutexLock lock(meter_mutex_);
    if (entry.uses.empty() && !meter_.Take(entry.time, entry.suppressed)) return;
  }
  submission.evidence.push_back(std::move(entry));
}

}  // namespace strongroom::appliance
