#pragma once
#include <gtest/gtest.h>

#include "tests/support/dev_fixture.h"

namespace strongroom::tests {

/// DevSuite gives the tests of one suite one appliance together: derive with the suite's own name as `Tag`.
template <class Tag>
class DevSuite : public testing::Test {
 protected:
  static void SetUpTestSuite() { fixture_ = new DevFixture(); }
  static void TearDownTestSuite() {
    delete fixture_;
    fixture_ = nullptr;
  }
  static DevFixture& f() { return *fixture_; }

 private:
  static inline DevFixture* fixture_ = nullptr;
};

}  // namespace strongroom::tests
