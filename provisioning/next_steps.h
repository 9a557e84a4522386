#pragma once
// What a person can do about an error.

#include <string_view>

#include "crypto/base/result.h"

namespace strongroom::provisioning {

/// NextStep is what to do about an error, one line without a full stop; by its slug, else by its code. Never empty.
std::string_view NextStep(const Error& error);

}  // namespace strongroom::provisioning
