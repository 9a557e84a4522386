#pragma once
// The border where Error becomes HTTP: RFC 9457 problem documents.

#include <string>

#include "crypto/base/result.h"
#include "netapi/json.h"

namespace strongroom::netapi {

/// HttpStatusOf maps an error to a status code; 503 means: nothing was answered, come again (Retry-After).
unsigned HttpStatusOf(const Error& error);

/// ProblemObject renders type, title, status, detail and request_id.
boost::json::object ProblemObject(const Error& error, const std::string& request_id);

}  // namespace strongroom::netapi
