#pragma once
#include <cstddef>

namespace strongroom::tests {

/// RunRotation measures one rotation of an inventory of `deks` DEKs, in one pass, and prints B3, B4, B8, B9 and B11
/// (docs/performance.md).
int RunRotation(std::size_t deks, unsigned hosts, bool json);

}  // namespace strongroom::tests
