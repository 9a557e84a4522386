#pragma once
#include <cstddef>

namespace strongroom::tests {

/// RunScale makes so many keyrings, each by a proposal and two votes, and prints what lookups, boots, pages of the list
/// and changes cost with them beside what they cost with ten: ratios of time, one pass. Yields an exit status.
int RunScale(std::size_t keyrings, bool json);
/// RunPrincipals brings so many services into the roster, by proposals and votes, and prints the same.
int RunPrincipals(std::size_t principals, bool json);

}  // namespace strongroom::tests
