#include "provisioning/ceremony_transcript.h"

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>

namespace strongroom::provisioning {
namespace {

namespace bj = boost::json;

std::string Cell(const bj::value& value) {
  auto text = value.is_string() ? std::string(std::string_view(value.get_string())) : bj::serialize(value);
  std::replace(text.begin(), text.end(), '\n', ' ');
  for (std::size_t at = 0; (at = text.find('|', at)) != std::string::npos; at += 2) text.insert(at, "\\");
  return text;
}

}  // namespace

std::string MarkdownOf(const bj::object& t) {
  std::string out = "# " + Cell(t.at("title")) + "\n\n";
  for (const auto* name : {"ceremony", "result", "started", "ended", "server", "script_sha256", "script_spoken"})
    out += "- " + std::string(name) + ": " + Cell(t.at(name)) + "\n";
  out += "\n| participant | role | principal |\n|---|---|---|\n";
  for (const auto& [label, who] : t.at("participants").get_object())
    out += "| " + std::string(std::string_view(label)) + " | " + Cell(who.at("role")) + " | " +
           Cell(who.at("principal")) + " |\n";
  out += "\n| parameter | value |\n|---|---|\n";
  for (const auto& [name, value] : t.at("parameters").get_object())
    out += "| " + std::string(std::string_view(name)) + " | " + Cell(value) + " |\n";
  out += "\n| step | what | by | began | ended | result |\n|---|---|---|---|---|---|\n";
  for (const auto& step : t.at("steps").get_array()) {
    const auto& s = step.get_object();
    std::string by, more;
    if (s.contains("by"))
      for (const auto& name : s.at("by").get_array()) by += (by.empty() ? "" : ", ") + Cell(name);
    for (const auto* name : {"proposal", "spoken", "state", "version_state", "primary"})
      if (s.contains(name)) more += std::string("; ") + name + " " + Cell(s.at(name));
    out += "| " + Cell(s.at("step")) + " | " + Cell(s.at("title")) + " | " + by + " | " + Cell(s.at("began")) + " | " +
           Cell(s.at("ended")) + " | " + Cell(s.at("result")) + more + " |\n";
  }
  return out + "\nTimes are of the machine that ran the ceremony.\n";
}

}  // namespace strongroom::provisioning
