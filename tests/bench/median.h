#pragma once
#include <algorithm>
#include <vector>

namespace strongroom::tests {

/// Median of values of which there is at least one; of an even number the upper one.
inline double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

}  // namespace strongroom::tests
