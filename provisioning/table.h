#pragma once
#include <algorithm>
#include <iostream>
#include <string>
#include <vector>

#include "crypto/text_rules.h"

namespace strongroom::provisioning {

/// PrintTable prints rows on stdout in columns as wide as their widest cell.
inline void PrintTable(const std::vector<std::vector<std::string>>& given) {
  std::vector<std::size_t> widths;
  auto rows = given;
  for (auto& row : rows) {
    for (auto& cell : row) cell = crypto::Printable(cell);  // it may be what a server says
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i)
      line += row[i] + (i + 1 < row.size() ? std::string(widths[i] - row[i].size() + 2, ' ') : "");
    line.erase(line.find_last_not_of(' ') + 1);
    std::cout << line << "\n";
  }
}

}  // namespace strongroom::provisioning
