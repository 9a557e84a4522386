#include "crypto/custody/operation.h"

namespace strongroom::crypto {

std::optional<Operation> OperationFromString(std::string_view name) {
  if (name.empty()) return std::nullopt;
  for (std::size_t i = 0; i < kOperationCount; ++i)
    if (const auto operation = static_cast<Operation>(i); ToString(operation) == name) return operation;
  return std::nullopt;
}

}  // namespace strongroom::crypto
