#pragma once
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/support/dev_fixture.h"

namespace strongroom::tests {

/// Filed runs a command of operator-1's that files a proposal, and returns its id.
inline std::string Filed(const DevFixture& f, std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "--json");
  const auto filed = f.Run("operator-1", arguments);
  EXPECT_EQ(filed.status, 0) << filed.err;
  const auto at = filed.out.find("\"id\":\"");
  return at == std::string::npos ? "" : filed.out.substr(at + 6, 32);
}

inline void ApproveBy(const DevFixture& f, const std::string& id, const std::vector<std::string>& custodians) {
  for (const auto& custodian : custodians) {
    const auto voted = f.Run(custodian, {"approve", id, "--key", f.Path("approvers/" + custodian)});
    ASSERT_EQ(voted.status, 0) << voted.err;
  }
}

/// Governed files, has custodian-1 and custodian-2 approve, executes, and returns the id.
inline std::string Governed(const DevFixture& f, std::vector<std::string> arguments) {
  const auto id = Filed(f, std::move(arguments));
  ApproveBy(f, id, {"custodian-1", "custodian-2"});
  const auto done = f.Run("operator-1", {"execute", id});
  EXPECT_EQ(done.status, 0) << done.err;
  return id;
}

/// ExportVerifies exports the ledger and has both verifiers, which share no code, look at it.
inline void ExportVerifies(const DevFixture& f, const std::string& folder) {
  const auto written = f.Run("auditor-1", {"ledger", "export", "--out", folder});
  ASSERT_EQ(written.status, 0) << written.err;
  const auto verified = f.Run("auditor-1", {"ledger", "verify", folder, "--vkey", f.Path("ledger.vkey")});
  EXPECT_EQ(verified.status, 0) << verified.err;
  const auto oracle =
      provisioning::RunProcess({"python3", std::string(STRONGROOM_SOURCE_DIR) + "/tests/oracle/verify_export.py",
                                folder, f.Path("ledger.vkey")});
  EXPECT_EQ(oracle->status, 0) << oracle->out << oracle->err;
}

}  // namespace strongroom::tests
