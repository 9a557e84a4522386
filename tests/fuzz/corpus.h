#pragma once
// What fuzzing has kept: corpus/<target>.b64, one input a line, base64; and corpus/<target>.regressions.b64, what once
// broke a parser, which nothing takes out again.

#include <string>
#include <vector>

#include "tests/fuzz/targets.h"

namespace strongroom::tests {

/// Corpus returns a target's seeds and then what its file keeps, in order. A file that is missing is empty; a line that
/// is no base64 ends the process.
std::vector<Bytes> Corpus(const FuzzTarget& target, const std::string& folder);

}  // namespace strongroom::tests
