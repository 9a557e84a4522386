#pragma once
// A control plane in a box: a real ledger, a token of the caller's choice, a roster with real keys, a clock that the
// test moves.

#include <atomic>
#include <memory>

#include "appliance/governance.h"
#include "appliance/state_rows.h"
#include "tests/fakes/fake_key_ops.h"
#include "tests/support/quorum_fixture.h"

namespace strongroom::tests {

class TestClock final : public Clock {
 public:
  Millis Now() const override { return now; }
  // Time that passes is one for all clocks.
  Millis Steady() const override { return now - began_ + kUptime; }
  Millis Watched() const override { return Steady(); }
  std::atomic<Millis> now{SystemClock().Now()};

 private:
  static constexpr Millis kUptime = 100 * kDay;
  const Millis began_ = now;
};

/// By is a principal of the fixture's roster as a caller, with the key that he has there.
inline appliance::Caller By(const std::string& name) { return {name, QuorumFixture::Spki(name)}; }

class World {
 public:
  World() {
    InitToken(token);
    Boot();
  }
  /// InitToken initialises a token under this world's clock and roster.
  void InitToken(FakeKeyOps& fake) {
    fake.now = [this] { return clock.Now(); };
    fake.steady = [this] { return clock.Steady(); };
    fake.Init(quorum().roster());
  }
  /// Boot opens everything anew from what is on disk, as after a crash; the token stays.
  void Boot() {
    governance.reset();
    ledger.reset();
    ledger = *ledger::Ledger::Open({dir.File("data"), std::size_t{1} << 30});
    governance = std::make_unique<appliance::Governance>(*ledger, token, clock, *appliance::Load(*ledger));
  }
  /// KeepCopy copies the database, PutCopyBack puts a copy in its place; the token stays.
  void KeepCopy(const std::string& name = "copy") {
    Close();
    std::filesystem::copy(dir.File("data"), dir.File(name), std::filesystem::copy_options::recursive);
    Boot();
  }
  void PutCopyBack(const std::string& name = "copy") {
    Close();
    std::filesystem::remove_all(dir.File("data"));
    std::filesystem::copy(dir.File(name), dir.File("data"), std::filesystem::copy_options::recursive);
    Boot();
  }
  void Close() {
    governance.reset();
    ledger.reset();
  }
  Result<void> FirstBoot() {
    const auto& text = quorum().roster().text();
    std::vector<std::pair<std::string, std::string>> signatures;
    for (const auto* name : {"custodian-1", "custodian-2", "custodian-3"})
      signatures.emplace_back(name, quorum().SignAs(name, std::string(crypto::kRosterNamespace), text));
    return governance->FirstBoot(text, signatures);
  }
  /// Anchor has what was recorded signed, as a service does before it answers; a token that has signed nothing yet is
  /// left alone.
  void Anchor() {
    const auto record = token.ReadLedgerRecord();
    if (!record) return;
    for (const auto log : {ledger::Log::kControl, ledger::Log::kEvidence}) {
      const auto anchor = crypto::AnchorOf(*record, log == ledger::Log::kControl);
      const auto head = ledger->HeadOf(log);
      if (!anchor || anchor->size >= head.size) continue;
      const auto proof = ledger->ConsistencyProof(log, anchor->size, head.size);
      if (proof) (void)token.SignCheckpoint({anchor->origin, head.size, head.root, {}}, *proof);
    }
  }
  static const QuorumFixture& quorum() { return SharedQuorum(); }
  Result<std::string> File(const std::string& operation, const std::string& keyring,
                           std::map<std::string, std::string, std::less<>> params = {}) {
    TRY_ASSIGN(const auto view, governance->File(By("operator-1"), {operation, keyring, std::move(params), "a test"}));
    if (operation != "ledger.adopt") Anchor();  // which names the heads as they are
    return view.proposal->id;
  }
  Result<void> Approve(const std::string& id, const std::string& custodian) {
    TRY_ASSIGN(const auto view, governance->View(id));
    TRY(governance->Vote(By("operator-1"), id, quorum().Sign(custodian, view.proposal->text)));
    return {};
  }
  /// Approved files a proposal and has two custodians approve it.
  Result<std::string> Approved(const std::string& operation, const std::string& keyring,
                               std::map<std::string, std::string, std::less<>> params = {}) {
    TRY_ASSIGN(const auto id, File(operation, keyring, std::move(params)));
    TRY(Approve(id, "custodian-1"));
    TRY(Approve(id, "custodian-2"));
    return id;
  }
  Result<std::string> Done(const std::string& operation, const std::string& keyring,
                           std::map<std::string, std::string, std::less<>> params = {}) {
    TRY_ASSIGN(const auto id, Approved(operation, keyring, std::move(params)));
    TRY_ASSIGN(const auto view, governance->Execute(id, By("operator-1")));
    return view.state;
  }
  void MakeDevKeyrings() {
    (void)FirstBoot();
    (void)Done("keyring.create", "install", {{"grants", "service-1"}});
    (void)Done("keyring.create", "org-a", {{"suite", "gcm"}, {"custody", "token"}, {"grants", "service-2"}});
    (void)Done("keyring.create", "org-b", {{"grants", "service-1=wrap+unwrap,service-2"}});
  }

  TempDir dir;
  TestClock clock;
  FakeKeyOps token;
  std::unique_ptr<ledger::Ledger> ledger;
  std::unique_ptr<appliance::Governance> governance;
};

}  // namespace strongroom::tests
