#pragma once
// A clock that a test steps under a running strongroomd, and it alone (libfaketime).

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "tests/support/dev_fixture.h"

namespace strongroom::tests {

class SteppedClock {
 public:
  /// Its files lie in `folder`.
  explicit SteppedClock(const std::string& folder) : offset_(folder + "/offset"), log_(folder + "/log") { Set(0); }
  /// Set steps it to so many seconds off the machine's.
  void Set(int seconds) const {
    std::ofstream(offset_ + ".new") << (seconds < 0 ? "" : "+") << seconds << "\n";
    std::filesystem::rename(offset_ + ".new", offset_);
  }
  /// StartDaemon starts the appliance's strongroomd under this clock; its former one must have ended. Returns at once.
  void StartDaemon(const DevFixture& f) const {
    const std::string library = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";
    ASSERT_TRUE(std::filesystem::exists(library)) << "ci/setup --tests installs it";
    const auto started =
        provisioning::RunProcess({"sh", "-c",
                                  "LD_PRELOAD=" + library + " FAKETIME_TIMESTAMP_FILE=" + offset_ +
                                      " FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1 setsid " +
                                      DevFixture::Program("strongroomd") + " --config " + f.Path("strongroom.toml") +
                                      " >>" + log_ + " 2>&1 </dev/null & echo $! >" + f.Path("strongroomd.pid")});
    ASSERT_EQ(started->status, 0) << started->err;
  }

 private:
  std::string offset_, log_;
};

}  // namespace strongroom::tests
