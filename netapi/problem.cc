#include "netapi/problem.h"

namespace strongroom::netapi {
namespace {

std::string TitleOf(const Error& error) {
  std::string title(error.Slug());
  for (auto& c : title)
    if (c == '-') c = ' ';
  if (!title.empty() && title[0] >= 'a' && title[0] <= 'z') title[0] = static_cast<char>(title[0] - 'a' + 'A');
  return title;
}

}  // namespace

unsigned HttpStatusOf(const Error& error) {
  const auto slug = error.Slug();
  if (slug == "method-not-allowed") return 405;
  if (slug == "body-too-large") return 413;
  if (slug == "unsupported-media-type") return 415;
  if (slug == "header-too-large") return 431;
  // Somebody has had his share: the others are served, and to try again at once helps nobody.
  for (const auto* share : {"too-many-proposals", "requester-over-share", "too-many-filings", "tenant-over-share",
                            "inventory-over-share", "inventory-full"})
    if (slug == share) return 429;
  switch (error.code) {
    case Code::kInvalid:
      return 400;
    case Code::kForbidden:
      return 403;
    case Code::kNotFound:
      return slug == "key-missing" ? 503 : 404;
    case Code::kConflict:
    case Code::kExpired:
      return 409;
    case Code::kUnwrapFailed:
      return 422;
    case Code::kUnavailable:
    case Code::kOverloaded:
    case Code::kTokenFault:
    case Code::kPinRejected:
      return 503;
    case Code::kIntegrity:
    case Code::kIo:
      return 500;
  }
  return 500;
}

boost::json::object ProblemObject(const Error& error, const std::string& request_id) {
  boost::json::object problem;
  problem["type"] = "urn:strongroom:problem:" + std::string(error.Slug());
  problem["title"] = TitleOf(error);
  problem["status"] = HttpStatusOf(error);
  problem["detail"] = error.detail;
  problem["request_id"] = request_id;
  return problem;
}

}  // namespace strongroom::netapi
