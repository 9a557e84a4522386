#include "tests/fakes/fake_key_ops.h"

#include <openssl/evp.h>

#include "crypto/custody.h"
#include "hsm/payload.h"
#include "hsm/vote_checks.h"

namespace strongroom::tests {
namespace {

using Ctx = std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)>;
Ctx NewCtx() {
  Ctx ctx(EVP_CIPHER_CTX_new(), EVP_CIPHER_CTX_free);
  EVP_CIPHER_CTX_set_flags(ctx.get(), EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
  return ctx;
}

Bytes KwpWrap(ByteView key, ByteView value) {
  const auto ctx = NewCtx();
  Bytes out(value.size() + 16);
  int n = 0;
  if (EVP_EncryptInit_ex(ctx.get(), EVP_aes_256_wrap_pad(), nullptr, key.data(), nullptr) != 1 ||
      EVP_EncryptUpdate(ctx.get(), out.data(), &n, value.data(), static_cast<int>(value.size())) != 1)
    return {};
  out.resize(static_cast<std::size_t>(n));
  return out;
}

std::optional<Bytes> KwpUnwrap(ByteView key, ByteView blob) {
  const auto ctx = NewCtx();
  Bytes out(blob.size() + 16);
  int n = 0;
  if (blob.size() < 16 || EVP_DecryptInit_ex(ctx.get(), EVP_aes_256_wrap_pad(), nullptr, key.data(), nullptr) != 1 ||
      EVP_DecryptUpdate(ctx.get(), out.data(), &n, blob.data(), static_cast<int>(blob.size())) != 1 || n <= 0)
    return std::nullopt;
  out.resize(static_cast<std::size_t>(n));
  return out;
}

}  // namespace

Result<const FakeKeyOps::Kek*> FakeKeyOps::Locate(const hsm::KeyRef& ref) {
  const auto at = keks_.find(ref.key);
  if (ref.token != serial_ || at == keks_.end()) return NotFound("no such KEK", "key-missing");
  if (at->second.suite != ref.suite) return Invalid("the KEK is of another suite", "key-suite");
  return &at->second;
}

Result<Bytes> FakeKeyOps::WrapDek(const hsm::KeyRef& ref, ByteView dek, const crypto::Digest& context) {
  TRY_ASSIGN(const Kek* kek, Locate(ref));
  if (dek.size() < crypto::kMinDekBytes || dek.size() > crypto::kMaxDekBytes)
    return Invalid("a DEK is 16 to 512 bytes");
  for (const auto& pending : record_.custody.pending)
    if (pending.key == ref.key) return Conflict("the KEK has been given up", "key-pending");
  const auto random = crypto::RandomArray<16>();
  if (ref.suite == crypto::Suite::kKwp) {
    TRY_ASSIGN(const auto payload, hsm::BuildPayload(dek, context, random));
    return KwpWrap(kek->key, payload.Read(SecretAccess()));
  }
  Bytes blob(context.begin(), context.end());
  Append(blob, ByteView(random).first(12));
  Bytes sealed(dek.size() + 16);
  const auto ctx = NewCtx();
  int n = 0;
  EVP_EncryptInit_ex(ctx.get(), EVP_aes_256_gcm(), nullptr, kek->key.data(), random.data());
  EVP_EncryptUpdate(ctx.get(), nullptr, &n, context.data(), static_cast<int>(context.size()));
  EVP_EncryptUpdate(ctx.get(), sealed.data(), &n, dek.data(), static_cast<int>(dek.size()));
  EVP_EncryptFinal_ex(ctx.get(), sealed.data() + n, &n);
  EVP_CIPHER_CTX_ctrl(ctx.get(), EVP_CTRL_GCM_GET_TAG, 16, sealed.data() + dek.size());
  Append(blob, sealed);
  return blob;
}

Result<SecretBytes> FakeKeyOps::UnwrapDek(const hsm::KeyRef& ref, ByteView blob, crypto::Digest& context) {
  TRY_ASSIGN(const Kek* kek, Locate(ref));
  if (ref.suite == crypto::Suite::kKwp) {
    const auto payload = KwpUnwrap(kek->key, blob);
    if (!payload) return UnwrapFailed();
    TRY_ASSIGN(auto opened, hsm::OpenPayload(*payload));
    context = opened.context;
    return std::move(opened.dek);
  }
  if (blob.size() < 44 + 16 + crypto::kMinDekBytes || blob.size() > 44 + 16 + crypto::kMaxDekBytes)
    return UnwrapFailed();
  std::memcpy(context.data(), blob.data(), 32);
  const auto sealed = blob.subspan(44, blob.size() - 60);
  auto tag = Bytes(blob.end() - 16, blob.end());
  TRY_ASSIGN(auto dek, SecretBytes::Allocate(sealed.size()));
  const auto ctx = NewCtx();
  int n = 0;
  EVP_DecryptInit_ex(ctx.get(), EVP_aes_256_gcm(), nullptr, kek->key.data(), blob.data() + 32);
  EVP_DecryptUpdate(ctx.get(), nullptr, &n, context.data(), 32);
  EVP_DecryptUpdate(ctx.get(), dek.Write(SecretAccess()).data(), &n, sealed.data(), static_cast<int>(sealed.size()));
  EVP_CIPHER_CTX_ctrl(ctx.get(), EVP_CTRL_GCM_SET_TAG, 16, tag.data());
  std::array<std::uint8_t, 16> rest{};
  if (EVP_DecryptFinal_ex(ctx.get(), rest.data(), &n) != 1) return UnwrapFailed();
  return dek;
}

Result<hsm::KeyOpOutput> FakeKeyOps::Run(const hsm::KeyOp& op) {
  hsm::KeyOpOutput out;
  crypto::Digest context{};
  if (const auto* wrap = std::get_if<hsm::WrapOp>(&op)) {
    TRY_ASSIGN(context, hsm::DigestOf(wrap->context));
    TRY_ASSIGN(out.blob, WrapDek(wrap->key, wrap->dek.Read(SecretAccess()), context));
  } else if (const auto* admit = std::get_if<hsm::AdmitOp>(&op)) {
    TRY_ASSIGN(out.blob, WrapDek(admit->key, admit->dek.Read(SecretAccess()), admit->context));
  } else if (const auto* unwrap = std::get_if<hsm::UnwrapOp>(&op)) {
    if (unwrap->rewrap_to) TRY(hsm::CheckOneKeyring(unwrap->key, *unwrap->rewrap_to));
    TRY_ASSIGN(const auto wanted, hsm::DigestOf(unwrap->context));
    TRY_ASSIGN(out.plaintext, UnwrapDek(unwrap->key, unwrap->blob, context));
    if (!EqualConstantTime(context, wanted)) return UnwrapFailed();
    if (!unwrap->rewrap_to) return out;
    if (unwrap->rewrap_to->token == serial_) {
      TRY_ASSIGN(out.blob, WrapDek(*unwrap->rewrap_to, out.plaintext.Read(SecretAccess()), context));
    } else if (crypto::JudgeRelease(record_, unwrap->key.key, unwrap->rewrap_to->token, Time())) {
      out.blob.assign(context.begin(), context.end());
    }
  } else if (const auto* rewrap = std::get_if<hsm::RewrapOp>(&op)) {
    TRY(hsm::CheckOneKeyring(rewrap->from, rewrap->to));
    TRY_ASSIGN(const auto dek, UnwrapDek(rewrap->from, rewrap->blob, context));
    TRY_ASSIGN(out.blob, WrapDek(rewrap->to, dek.Read(SecretAccess()), context));
  } else if (const auto* datakey = std::get_if<hsm::DataKeyOp>(&op)) {
    if (datakey->bytes < crypto::kMinDekBytes || datakey->bytes > crypto::kMaxDekBytes)
      return Invalid("a DEK is 16 to 512 bytes");
    TRY_ASSIGN(context, hsm::DigestOf(datakey->context));
    TRY_ASSIGN(auto dek, SecretBytes::Allocate(datakey->bytes));
    crypto::FillRandom(dek.Write(SecretAccess()));
    TRY_ASSIGN(out.blob, WrapDek(datakey->key, dek.Read(SecretAccess()), context));
    if (datakey->want_plaintext) out.plaintext = std::move(dek);
  } else if (const auto* release = std::get_if<hsm::ReleaseOp>(&op)) {
    TRY(crypto::JudgeRelease(record_, release->key.key, release->to, Time()));
    TRY_ASSIGN(out.plaintext, UnwrapDek(release->key, release->blob, context));
    out.blob.assign(context.begin(), context.end());
  }
  return out;
}

std::vector<Result<hsm::KeyOpOutput>> FakeKeyOps::Execute(std::span<const hsm::KeyOp> ops) {
  if (const auto hook = before_execute) hook();
  const MutexLock lock(mutex_);
  std::vector<Result<hsm::KeyOpOutput>> results;
  for (const auto& op : ops) {
    if (away_)
      results.emplace_back(Unavailable("the fake token is away"));
    else if (hsm::DeadlineOf(op) < std::chrono::steady_clock::now())
      results.emplace_back(Unavailable("the request waited longer than its deadline", "deadline"));
    else
      results.push_back(Run(op));
  }
  return results;
}

Result<void> FakeKeyOps::Generate(crypto::ExecutionGrant grant, const hsm::KeySpec& spec) {
  const auto used = std::move(grant);
  TRY(hsm::CheckMayGenerate(used.proposal()));
  TRY(hsm::CheckGrantNamesKey(used.proposal(), spec));
  if (const auto hook = before_generate) hook();
  {
    const MutexLock lock(mutex_);
    if (away_) return Unavailable("the fake token is away");
    if (spec.ref.token != serial_) return NotFound("another token", "key-missing");
    if (keks_.contains(spec.ref.key)) return Conflict("the key exists", "key-exists");
    TRY(hsm::CheckSeries(used.proposal().keyring, ByteView(spec.ref.key).first(16), Records()));
    TRY(hsm::CheckVersionToMake(used.proposal(), spec, Records()));
    TRY(Whole());
    TRY_ASSIGN(auto spent, crypto::SpendProposal(record_, used, Time(), room));
    Write(crypto::AfterRotation(std::move(spent), spec.ref.key, Time()));
    keks_[spec.ref.key] = Kek{crypto::RandomArray<32>(), spec.ref.suite, spec.label};
  }
  if (const auto hook = after_generate) {
    hook();
    return Unavailable("the answer was lost");
  }
  return {};
}

Result<std::vector<hsm::KeyRecord>> FakeKeyOps::Inventory() {
  const MutexLock lock(mutex_);
  if (away_) return Unavailable("the fake token is away");
  return Records();
}

std::vector<hsm::KeyRecord> FakeKeyOps::Records() const {
  std::vector<hsm::KeyRecord> records;
  for (const auto& [id, kek] : keks_) records.push_back({Bytes(id.begin(), id.end()), kek.label, kek.suite, {}});
  records.insert(records.end(), strange_.begin(), strange_.end());
  return records;
}

void FakeKeyOps::PutKey(const Bytes& id, const std::string& label) {
  const MutexLock lock(mutex_);
  crypto::KeyId key{};
  if (id.size() != key.size()) {
    strange_.push_back({id, label, crypto::Suite::kKwp, "CKA_ID is not a KEK's"});
    return;
  }
  std::copy(id.begin(), id.end(), key.begin());
  keks_[key] = Kek{crypto::RandomArray<32>(), crypto::Suite::kKwp, label};
}

Result<void> FakeKeyOps::SelfTest() {
  const MutexLock lock(mutex_);
  if (away_) return Unavailable("the fake token is away");
  return {};
}

Result<hsm::TokenIdentity> FakeKeyOps::Identity() { return IdentityOf(); }

Result<std::vector<hsm::CheckpointSignature>> FakeKeyOps::SignCheckpoint(const crypto::Checkpoint& head,
                                                                         std::span<const crypto::Digest> proof) {
  const MutexLock lock(mutex_);
  if (away_) return Unavailable("the fake token is away");
  if (record_.custody.further) return Forbidden("a further token signs no logs", "not-the-main-token");
  TRY(Whole());
  TRY_ASSIGN(auto next, crypto::AdvanceAnchors(record_, head, proof));
  WriteNow(std::move(next));
  std::vector<hsm::CheckpointSignature> signatures;
  signatures.push_back({record_.key, signers_[record_.key - 1].Sign(head.Text())});
  if (now() < record_.former_until)
    signatures.push_back({record_.key - 1, signers_[record_.key - 2].Sign(head.Text())});
  return signatures;
}

Result<std::vector<hsm::CheckpointKey>> FakeKeyOps::CheckpointKeys() {
  const MutexLock lock(mutex_);
  if (away_ || keys_away) return Unavailable("the fake token is away");
  std::vector<hsm::CheckpointKey> keys;
  keys.push_back({record_.key, signers_[record_.key - 1].spki(), {}, {}});
  if (record_.key == 1) return keys;
  const auto name = "strongroom/" + ToHex(record_.instance);
  const auto& former = signers_[record_.key - 2];
  keys[0].former = former.spki();
  keys[0].endorsement = former.Sign(crypto::KeyEndorsement(*crypto::NoteKey::FromEcdsa(name, former.spki()),
                                                           *crypto::NoteKey::FromEcdsa(name, keys[0].spki)));
  if (now() < record_.former_until) keys.push_back({record_.key - 1, former.spki(), {}, {}});
  return keys;
}

void FakeKeyOps::Recall(crypto::LedgerRecord record) {
  const MutexLock lock(mutex_);
  record_ = std::move(record);
  lost_ = forked_ = false;
}
void FakeKeyOps::Restart() {
  const MutexLock lock(mutex_);
  // The host before this one has written at least hourly.
  crypto::Touch(record_, Time());
  written_at_ = steady();
}
void FakeKeyOps::Lose() {
  const MutexLock lock(mutex_);
  lost_ = true;
}

void FakeKeyOps::Fork() {
  const MutexLock lock(mutex_);
  forked_ = true;
}

Result<void> FakeKeyOps::Whole() const {
  if (lost_) return Integrity("the fake token has lost its record", "record-missing");
  if (forked_) return Integrity("the fake token has two records", "custody-forked");
  return {};
}

Result<crypto::LedgerRecord> FakeKeyOps::ReadLedgerRecord() {
  const MutexLock lock(mutex_);
  if (away_) return Unavailable("the fake token is away");
  TRY(Whole());
  return record_;
}

Result<crypto::LedgerRecord> FakeKeyOps::JudgeChange(const crypto::ExecutionGrant& used) {
  TRY(hsm::CheckMayChange(used.proposal()));
  if (!crypto::NamesToken(used.proposal(), serial_))
    return Forbidden("the votes are for another token than " + serial_, "grant-mismatch");
  TRY(hsm::CheckEnrolment(used.proposal(), IdentityOf()));
  TRY(hsm::CheckChangeNamesKeyring(used.proposal(), Records()));
  if (hsm::EnrolsEmpty(used.proposal()) && !Records().empty() && !record_.custody.further)
    return Forbidden("an appliance's token is enrolled empty", "token-inventory");
  if (used.proposal().operation == "ledger.adopt") return Adopted(used);
  TRY(Whole());
  const auto time = Time();
  TRY_ASSIGN(const auto spent, crypto::SpendProposal(record_, used, time, room));
  if (used.proposal().operation != "ledger.rotate-key") return crypto::ChangedRecord(spent, used, time, room);
  TRY_ASSIGN(const auto rotation, crypto::KeyRotationOf(used.proposal()));
  return crypto::RotateRecord(spent, rotation, now());
}

Result<void> FakeKeyOps::ChangeLedgerRecord(crypto::ExecutionGrant grant) {
  const auto used = std::move(grant);
  const MutexLock lock(mutex_);
  if (away_) return Unavailable("the fake token is away");
  TRY_ASSIGN(auto next, JudgeChange(used));
  Write(std::move(next));
  if (used.proposal().operation == "roster.change") kept_.steps.push_back({used.text(), used.votes()});
  if (used.proposal().operation == "ledger.rotate-key") signers_.emplace_back();
  lost_ = forked_ = false;
  chain_.reset();
  return {};
}

void FakeKeyOps::Init(const crypto::Roster& roster) {
  const MutexLock lock(mutex_);
  root_ = crypto::RootOf(roster, serial_);
  kept_.first = roster.text();
  Write(crypto::FirstRecord(root_, now()));
  crypto::Touch(record_, Time());
}

crypto::CustodyTime FakeKeyOps::Time() const {
  return crypto::TimeOf(record_, {now(), {SystemClock().BootId(), steady()}, steady() - written_at_});
}

void FakeKeyOps::Write(crypto::LedgerRecord next) {
  record_ = std::move(next);
  record_.serial += 1;
  written_at_ = steady();
}
void FakeKeyOps::WriteNow(crypto::LedgerRecord next) {
  crypto::Touch(next, Time());
  Write(std::move(next));
}

Result<crypto::LedgerRecord> FakeKeyOps::Adopted(const crypto::ExecutionGrant& grant) const {
  auto from = lost_ ? crypto::FirstRecord(root_, 0) : record_;
  crypto::Follow(from, chain_, grant.roster_text());
  TRY_ASSIGN(const auto adoption, crypto::AdoptionOf(grant.proposal()));
  if (lost_ != (adoption.state == "lost" || adoption.state == "damaged") || forked_ != (adoption.state == "forked"))
    return Conflict("the token is in another state", "stale");
  const auto time = crypto::TimeOf(from, {now(), {SystemClock().BootId(), steady()}, 0});
  TRY_ASSIGN(const auto spent, crypto::SpendProposal(from, grant, time, room));
  TRY_ASSIGN(auto next, crypto::AdoptRecord(spent, adoption));
  if (lost_) next.key = record_.key;
  return next;
}

Result<hsm::RecordToAdopt> FakeKeyOps::ReadRecordToAdopt() {
  const MutexLock lock(mutex_);
  if (away_) return Unavailable("the fake token is away");
  if (lost_) return hsm::RecordToAdopt{crypto::FirstRecord(root_, 0), hsm::AdoptedFrom::kLost};
  return hsm::RecordToAdopt{record_, forked_ ? hsm::AdoptedFrom::kForked : hsm::AdoptedFrom::kInForce};
}

Result<void> FakeKeyOps::JudgeProposal(crypto::ExecutionGrant grant) {
  const auto asked = std::move(grant);
  TRY_ASSIGN(const auto operation, crypto::OperationOf(asked.proposal()));
  const MutexLock lock(mutex_);
  if (away_) return Unavailable("the fake token is away");
  if (crypto::MayChangeRecord(operation) &&
      (!crypto::MayGenerate(operation) || crypto::NamesToken(asked.proposal(), serial_))) {
    TRY(JudgeChange(asked));
    return {};
  }
  TRY(Whole());
  TRY(crypto::SpendProposal(record_, asked, Time(), room));
  return {};
}

Result<crypto::RosterMark> FakeKeyOps::AdoptionRoster() {
  TRY_ASSIGN(const auto to, ReadRecordToAdopt());
  const auto start = crypto::RosterOf(to.record);
  const MutexLock lock(mutex_);
  if (chain_ && chain_->BeginsAt(start)) return crypto::RosterMark{chain_->roster().version(), chain_->roster().hash()};
  return start;
}

Result<void> FakeKeyOps::BeginChain(const std::string& roster) {
  TRY_ASSIGN(const auto to, ReadRecordToAdopt());
  const MutexLock lock(mutex_);
  chain_.reset();
  TRY_ASSIGN(auto walk, crypto::ChainWalk::Begin(crypto::RosterOf(to.record), roster));
  chain_.emplace(std::move(walk));
  return {};
}

Result<void> FakeKeyOps::AddChainStep(const crypto::RosterStep& step) {
  const MutexLock lock(mutex_);
  if (!chain_) return Invalid("a chain of rosters is begun first");
  auto stepped = chain_->Step(step);
  if (!stepped) chain_.reset();
  return stepped;
}

Result<void> FakeKeyOps::BringChain(const crypto::RosterChain& chain) {
  TRY(BeginChain(chain.first));
  for (const auto& step : chain.steps) TRY(AddChainStep(step));
  return {};
}

Result<crypto::RosterChain> FakeKeyOps::ReadChain() {
  const MutexLock lock(mutex_);
  if (away_) return Unavailable("the fake token is away");
  if (kept_.first.empty()) return NotFound("the fake token keeps no chain", "no-chain");
  return kept_;
}

Result<void> FakeKeyOps::GenerateByMandate(crypto::StandingGrant grant, const hsm::KeySpec& spec) {
  const auto used = std::move(grant);
  TRY(hsm::CheckStanding(used, spec.ref, /*destroys=*/false));
  const MutexLock lock(mutex_);
  if (away_) return Unavailable("the fake token is away");
  if (spec.ref.token != serial_) return NotFound("another token", "key-missing");
  if (keks_.contains(spec.ref.key)) return Conflict("the key exists", "key-exists");
  TRY_ASSIGN(const auto keyring, hsm::KeyringOfLabel(spec));
  TRY(hsm::CheckSeries(keyring, ByteView(spec.ref.key).first(16), Records()));
  TRY(hsm::CheckMandateVersion(spec, Records()));
  TRY_ASSIGN(auto next, crypto::UseMandate(record_, keyring, spec.ref.key, spec.ref.suite, Time()));
  WriteNow(std::move(next));
  keks_[spec.ref.key] = Kek{crypto::RandomArray<32>(), spec.ref.suite, spec.label};
  return {};
}

Result<void> FakeKeyOps::Destroy(crypto::StandingGrant grant, const hsm::KeyRef& key) {
  const auto used = std::move(grant);
  TRY(hsm::CheckStanding(used, key, /*destroys=*/true));
  const MutexLock lock(mutex_);
  if (away_) return Unavailable("the fake token is away");
  if (key.token != serial_) return NotFound("another token", "key-missing");
  TRY_ASSIGN(auto going, crypto::GoingRecord(record_, key.key, Time()));
  WriteNow(std::move(going));
  keks_.erase(key.key);
  TRY_ASSIGN(auto gone, crypto::WithoutPending(record_, key.key));
  WriteNow(std::move(gone));
  return {};
}

Result<void> FakeKeyOps::CancelDestruction(const hsm::KeyRef& key) {
  const MutexLock lock(mutex_);
  if (away_) return Unavailable("the fake token is away");
  if (key.token != serial_) return NotFound("another token", "key-missing");
  TRY_ASSIGN(auto kept, crypto::CancelledRecord(record_, key.key));
  WriteNow(std::move(kept));
  return {};
}

void FakeKeyOps::SetAway(bool away) {
  const MutexLock lock(mutex_);
  away_ = away;
}

std::size_t FakeKeyOps::Generated() const {
  const MutexLock lock(mutex_);
  return keks_.size();
}

}  // namespace strongroom::tests
