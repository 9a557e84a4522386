#pragma once
#include <boost/json/object.hpp>
#include <string>

namespace strongroom::provisioning {

/// MarkdownOf renders a ceremony's transcript for people: what it was, who took part, what was given, and each step
/// with its times and what came of it.
std::string MarkdownOf(const boost::json::object& transcript);

}  // namespace strongroom::provisioning
