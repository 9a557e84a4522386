// Q16: does a host whose custody record is gone under it, and is due to be written, still pass its self-test? The
// record is a finding of its own; services go on.

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hsm/token_key_ops.h"
#include "tests/support/softhsm_fixture.h"

namespace strongroom::hsm {
namespace {

class LaterClock final : public Clock {
 public:
  Millis Now() const override { return system_.Now() + later; }
  Millis Steady() const override { return system_.Steady() + later; }
  Millis Watched() const override { return system_.Watched() + later; }
  Millis later = 0;

 private:
  SystemClock system_;
};

// Another process is the host: a module is one a process, and here somebody else works on the token beside it.
void Host(const tests::SoftHsmFixture& token, int ready, int go, int answer) {
  LaterClock clock;
  TokenKeyOps::Options options;
  options.store.installation = {1};
  auto ops = TokenKeyOps::Open(token.uri(), clock, options);
  char byte = ops ? '+' : '-';
  (void)!write(ready, &byte, 1);
  (void)!read(go, &byte, 1);
  std::string said = "not open";
  if (ops) {
    clock.later = 2 * kHour;
    const auto tested = (*ops)->SelfTest();
    const auto record = (*ops)->ReadLedgerRecord();
    said = (tested ? "passed" : tested.error().Line()) + "; record " +
           (record ? "there" : std::string(record.error().Slug()));
  }
  (void)!write(answer, said.data(), said.size());
}

TEST(CustodyTick, Q16_ARecordThatIsGoneFailsNoSelfTest) {
  tests::SoftHsmFixture token;
  int ready[2], go[2], answer[2];
  for (auto* pipes : {ready, go, answer}) ASSERT_EQ(pipe(pipes), 0);
  const pid_t child = fork();
  if (child == 0) {
    Host(token, ready[1], go[0], answer[1]);
    _exit(0);
  }
  for (const int end : {ready[1], go[0], answer[1]}) (void)close(end);
  char byte = 0;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  ASSERT_EQ(byte, '+');
  {
    const auto module = *Module::Load(tests::kSoftHsmModule);
    auto session = *Session::Open(*module, *module->FindSlot(token.uri()));
    ASSERT_TRUE(session.Login(*ReadPinFile(token.uri().pin_file())));
    for (const auto object : *FindLabelled(*module, session, CKO_DATA, "strongroom-anchor"))
      ASSERT_EQ(module->fn().C_DestroyObject(session.handle(), object), CKR_OK);
  }
  ASSERT_EQ(write(go[1], "g", 1), 1);
  std::string said(200, ' ');
  const auto size = read(answer[0], said.data(), said.size());
  ASSERT_GT(size, 0);
  said.resize(static_cast<std::size_t>(size));
  EXPECT_EQ(said, "passed; record record-missing");
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  for (const int end : {ready[0], go[1], answer[0]}) (void)close(end);
}

}  // namespace
}  // namespace strongroom::hsm
