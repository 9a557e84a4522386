#pragma once
// The implementations of the port that the contract suites run on: the fake, the real token in this process, the real
// token behind a socket, and two of those. They share a clock that a test moves.

#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <thread>

#include "crypto/custody.h"
#include "crypto/merkle.h"
#include "hsm/host.h"
#include "hsm/host_pool.h"
#include "hsm/remote_key_ops.h"
#include "hsm/token_key_ops.h"
#include "tests/fakes/fake_key_ops.h"
#include "tests/support/hostile_module.h"
#include "tests/support/quorum_fixture.h"
#include "tests/support/softhsm_fixture.h"
#include "tests/support/world.h"

namespace strongroom::hsm {

using crypto::Suite;
using tests::QuorumFixture;

/// ContractClock is the machine's, moved by what the test has set; every subject's hosts go by it.
class ContractClock final : public Clock {
 public:
  Millis Now() const override { return SystemClock().Now() + Offset() + Step(); }
  Millis Steady() const override { return SystemClock().Steady() + Offset(); }
  Millis Watched() const override { return SystemClock().Watched() + Offset(); }
  /// Offset is time that passes: both clocks see it. Step is what the host's clock alone is set by.
  static std::atomic<Millis>& Offset() {
    static std::atomic<Millis> offset{0};
    return offset;
  }
  static std::atomic<Millis>& Step() {
    static std::atomic<Millis> step{0};
    return step;
  }
};

class Subject {
 public:
  virtual ~Subject() = default;
  virtual KeyOps& ops() = 0;
};

class FakeSubject final : public Subject {
 public:
  FakeSubject() {
    fake_.now = [] { return ContractClock().Now(); };
    fake_.steady = [] { return ContractClock().Steady(); };
    fake_.Init(tests::SharedQuorum().roster());
  }
  KeyOps& ops() override { return fake_; }

 private:
  tests::FakeKeyOps fake_;
};

class TokenSubject final : public Subject {
 public:
  /// With a lie, the token is behind a module that tells it (tests/fakes/hostile_pkcs11.cc).
  explicit TokenSubject(unsigned sessions = 1, const std::string& lie = {}) {
    TokenKeyOps::Options options;
    options.sessions = sessions;
    auto uri = token_.uri();
    if (!lie.empty()) {
      const tests::HostileModule module(token_.dir().path(), STRONGROOM_BIN_DIR);
      module.Tell(lie);
      uri = *TokenUri::Parse(token_.uri_text(module.path()));
    }
    auto opened = TokenKeyOps::Open(std::move(uri), clock_, std::move(options));
    if (!opened) {
      ADD_FAILURE() << opened.error().Line();
      return;
    }
    ops_ = std::move(*opened);
  }
  KeyOps& ops() override { return *ops_; }
  TokenKeyOps& token_ops() { return *ops_; }

 private:
  tests::SoftHsmFixture token_;
  ContractClock clock_;
  std::unique_ptr<TokenKeyOps> ops_;
};

class RemoteSubject final : public Subject {
 public:
  explicit RemoteSubject(unsigned sessions = 1) : token_(sessions), stop_(eventfd(0, EFD_CLOEXEC)) {
    auto listener = ListenLocal(dir_.File("tokend.sock"));
    EXPECT_TRUE(listener);
    listener_ = std::move(*listener);
    server_ =
        std::thread([this] { (void)ServeFrames(listener_.get(), stop_.get(), {geteuid()}, token_.ops(), clock_, {}); });
    RemoteKeyOps::Options options;
    options.socket_path = dir_.File("tokend.sock");
    options.peer_uid = geteuid();
    remote_ = std::make_unique<RemoteKeyOps>(options);
  }
  ~RemoteSubject() override {
    remote_.reset();
    const std::uint64_t one = 1;
    EXPECT_EQ(write(stop_.get(), &one, sizeof one), static_cast<ssize_t>(sizeof one));
    server_.join();
  }
  KeyOps& ops() override { return *remote_; }

 private:
  TokenSubject token_;
  tests::TempDir dir_;
  ContractClock clock_;
  UniqueFd stop_;
  UniqueFd listener_;
  std::thread server_;
  std::unique_ptr<RemoteKeyOps> remote_;
};

// Two connections to two serving threads, as a pool of two hosts has them.
class PoolSubject final : public Subject {
 public:
  PoolSubject() : stop_(eventfd(0, EFD_CLOEXEC)) {
    for (unsigned i = 0; i < 2; ++i) {
      listeners_.push_back(*ListenLocal(HostSocket(dir_.File("tokend.sock"), i)));
      servers_.emplace_back(
          [this, i] { (void)ServeFrames(listeners_[i].get(), stop_.get(), {geteuid()}, token_.ops(), clock_, {}); });
    }
    RemoteKeyOps::Options options;
    options.socket_path = dir_.File("tokend.sock");
    options.peer_uid = geteuid();
    pool_ = std::make_unique<HostPool>(options, 2);
  }
  ~PoolSubject() override {
    pool_.reset();
    const std::uint64_t one = 1;
    EXPECT_EQ(write(stop_.get(), &one, sizeof one), static_cast<ssize_t>(sizeof one));
    for (auto& server : servers_) server.join();
  }
  KeyOps& ops() override { return *pool_; }

 private:
  TokenSubject token_;
  tests::TempDir dir_;
  ContractClock clock_;
  UniqueFd stop_;
  std::vector<UniqueFd> listeners_ = Reserved();
  std::vector<std::thread> servers_;
  std::unique_ptr<HostPool> pool_;
  static std::vector<UniqueFd> Reserved() {
    std::vector<UniqueFd> fds;
    fds.reserve(2);
    return fds;
  }
};

using Factory = std::unique_ptr<Subject> (*)();
struct Implementation {
  const char* name;
  Factory make;
};
inline void PrintTo(const Implementation& i, std::ostream* out) { *out << i.name; }

inline const QuorumFixture& Quorum() {
  return tests::SharedQuorum();  // whose roster every subject's root names
}

class KeyOpsContract : public testing::TestWithParam<Implementation> {
 protected:
  void SetUp() override {
    subject_ = GetParam().make();
    const auto identity = subject_->ops().Identity();
    ASSERT_TRUE(identity) << identity.error().Line();
    token_ = identity->serial;
  }
  KeyOps& ops() { return subject_->ops(); }
  KeyRef Ref(const crypto::KeyringId& ring, std::uint32_t version, Suite suite) {
    return {token_, crypto::MakeKeyId(ring, version), suite};
  }
  KeyRef MakeKey(Suite suite, std::uint32_t version = 1) {
    const auto ref = Ref(ring_, version, suite);
    const auto made = ops().Generate(Quorum().Grant(ring_, version, suite, token_), {ref, KekLabel("k", version)});
    EXPECT_TRUE(made) << (made ? "" : made.error().Line());
    return ref;
  }
  template <class Op>
  Result<KeyOpOutput> One(Op op) {
    std::vector<KeyOp> list;
    list.emplace_back(std::move(op));
    auto results = ops().Execute(list);
    EXPECT_EQ(results.size(), 1U);
    return std::move(results[0]);
  }
  static SecretBytes Dek(std::size_t n, std::uint8_t seed = 3) {
    auto dek = *SecretBytes::Allocate(n);
    auto bytes = dek.Write(SecretAccess());
    for (std::size_t i = 0; i < n; ++i) bytes[i] = static_cast<std::uint8_t>(seed + i);
    return dek;
  }
  static bool Same(const SecretBytes& a, const SecretBytes& b) {
    return EqualConstantTime(a.Read(SecretAccess()), b.Read(SecretAccess()));
  }

  crypto::KeyringId ring_ = crypto::RandomArray<16>();
  static Context Bound(std::string_view aad) { return {{1, 2, 3}, {4, 5, 6}, {aad.begin(), aad.end()}}; }
  const Context context_ = Bound("context");
  std::string token_;
  std::unique_ptr<Subject> subject_;
};

inline const Implementation kImplementations[] = {
    {"Fake", [] { return std::unique_ptr<Subject>(new FakeSubject()); }},
    {"Token", [] { return std::unique_ptr<Subject>(new TokenSubject()); }},
    // K12: what PKCS#11 allows a module to do changes no answer.
    {"OneObjectAFind", [] { return std::unique_ptr<Subject>(new TokenSubject(1, "find-one")); }},
    {"Remote", [] { return std::unique_ptr<Subject>(new RemoteSubject()); }},
    {"Lanes", [] { return std::unique_ptr<Subject>(new RemoteSubject(4)); }},
    {"Pool", [] { return std::unique_ptr<Subject>(new PoolSubject()); }},
};

}  // namespace strongroom::hsm
