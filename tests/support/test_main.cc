#include <gtest/gtest.h>

#include <csignal>

#include "crypto/base/secret.h"

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  (void)std::signal(SIGPIPE, SIG_IGN);
  if (const auto arena = strongroom::OpenSecretArena(4U << 20); !arena) {
    (void)fprintf(stderr, "%s\n", arena.error().Line().c_str());
    return 1;
  }
  return RUN_ALL_TESTS();
}
