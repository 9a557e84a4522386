#include "provisioning/ceremony_script.h"

#include <algorithm>
#include <array>
#include <set>

#include "crypto/text_rules.h"

#define TOML_HEADER_ONLY 0
#include <toml++/toml.h>

namespace strongroom::provisioning {
namespace {

constexpr std::size_t kMaxScript = 32768;

struct KindRule {
  std::string_view name;
  StepKind kind;
  std::vector<std::string_view> needs, may;
};
const std::vector<KindRule>& Kinds() {
  using enum StepKind;
  static const std::vector<KindRule> kKinds = {
      {"confirm", kConfirm, {"text"}, {}},
      {"absent", kAbsent, {"keyring"}, {}},
      {"state", kState, {"is"}, {"wait-seconds"}},
      {"expect", kExpect, {"keyring"}, {"primary", "state", "suite", "custody", "version", "version-state"}},
      {"make-roster", kMakeRoster, {"dir", "votes"}, {}},
      {"sign-roster", kSignRoster, {"dir"}, {}},
      {"compare-file", kCompareFile, {"file"}, {}},
      {"init-token", kInitToken, {"dir", "config"}, {}},
      {"first-boot", kFirstBoot, {"dir", "config"}, {}},
      {"propose", kPropose, {"as", "operation", "reason"}, {"keyring"}},
      {"principal", kPrincipal, {"as", "change", "name", "reason"}, {"role", "cert", "ssh-key", "proof", "votes"}},
      {"compare", kCompare, {"of"}, {}},
      {"approve", kApprove, {"of"}, {}},
      {"execute", kExecute, {"of"}, {}},
      {"review", kReview, {"of", "finding"}, {}},
      {"cli", kCli, {}, {}},
  };
  return kKinds;
}
const KindRule& RuleOf(StepKind kind) {
  return *std::find_if(Kinds().begin(), Kinds().end(), [&](const KindRule& rule) { return rule.kind == kind; });
}

// A reader of one file's TOML that says where something is wrong.
struct Reader {
  const std::string& file;

  Error At(const toml::node& node, const std::string& what) const {
    return Invalid(file + ":" + std::to_string(node.source().begin.line) + ": " + what);
  }
  Result<std::string> Text(const toml::node& node, std::string_view key) const {
    if (!node.is_string()) return At(node, std::string(key) + " is a string");
    return node.as_string()->get();
  }
  Result<std::vector<std::string>> Texts(const toml::node& node, std::string_view key) const {
    std::vector<std::string> list;
    if (node.is_string()) return std::vector<std::string>{node.as_string()->get()};
    const auto* array = node.as_array();
    if (array == nullptr) return At(node, std::string(key) + " is a list of strings");
    for (const auto& element : *array) {
      TRY_ASSIGN(auto text, Text(element, key));
      list.push_back(std::move(text));
    }
    return list;
  }

  Result<Step> ReadStep(const toml::table& table) const {
    const auto* kind_node = table.get("do");
    const auto kind = kind_node == nullptr ? std::string() : kind_node->value_or(std::string());
    const auto rule = std::find_if(Kinds().begin(), Kinds().end(), [&](const KindRule& r) { return r.name == kind; });
    if (rule == Kinds().end())
      return At(table, "a step does one of those that docs/ceremonies.md has, not '" + kind + "'");
    Step step;
    step.kind = rule->kind;
    for (const auto& [key_node, node] : table) {
      const std::string key(key_node.str());
      if (key == "do") continue;
      if (key == "title") {
        TRY_ASSIGN(step.title, Text(node, key));
      } else if (key == "by") {
        TRY_ASSIGN(step.by, Texts(node, key));
      } else if ((key == "arguments" && step.kind == StepKind::kCli) ||
                 (key == "members" && step.kind == StepKind::kMakeRoster)) {
        TRY_ASSIGN(step.arguments, Texts(node, key));
      } else if (key == "params" && step.kind == StepKind::kPropose && node.is_table()) {
        for (const auto& [name, value] : *node.as_table()) {
          TRY_ASSIGN(step.params[std::string(name.str())], Text(value, name.str()));
        }
      } else if (std::find(rule->needs.begin(), rule->needs.end(), key) != rule->needs.end() ||
                 std::find(rule->may.begin(), rule->may.end(), key) != rule->may.end()) {
        TRY_ASSIGN(step.fields[key], Text(node, key));
      } else {
        return At(node, "a step that does " + kind + " has no '" + key + "'");
      }
    }
    for (const auto need : rule->needs)
      if (!step.fields.contains(need))
        return At(table, "a step that does " + kind + " needs '" + std::string(need) + "'");
    const bool by_one =
        step.kind == StepKind::kApprove || step.kind == StepKind::kSignRoster || step.kind == StepKind::kReview;
    if (by_one && step.by.size() != 1) return At(table, "a step that does " + kind + " is done by one participant");
    if (step.kind == StepKind::kCli)
      if (const auto harmless = CheckHarmless(step.arguments); !harmless) return At(table, harmless.error().detail);
    return step;
  }
};

// The {names} in a text.
std::vector<std::string> NamesIn(std::string_view text) {
  std::vector<std::string> names;
  for (auto open = text.find('{'); open != std::string_view::npos; open = text.find('{', open + 1)) {
    const auto close = text.find('}', open);
    if (close == std::string_view::npos) break;
    names.emplace_back(text.substr(open + 1, close - open - 1));
  }
  return names;
}

Result<void> CheckStep(const CeremonyScript& script, const Step& step, std::set<std::string>& made) {
  const auto where = "step '" + step.title + "': ";
  const auto declared = [&](const std::string& name) {
    return std::any_of(script.parameters.begin(), script.parameters.end(),
                       [&](const Parameter& p) { return p.name == name; }) ||
           std::any_of(script.participants.begin(), script.participants.end(),
                       [&](const Participant& p) { return p.label == name; });
  };
  for (const auto& label : step.by)
    if (std::none_of(script.participants.begin(), script.participants.end(),
                     [&](const Participant& p) { return p.label == label; }))
      return Invalid(where + "no participant is called '" + label + "'");
  std::vector<std::string> texts = step.arguments;
  texts.push_back(step.title);
  for (const auto* map : {&step.fields, &step.params})
    for (const auto& [key, text] : *map) texts.push_back(text);
  for (const auto& text : texts)
    for (const auto& name : NamesIn(text))
      if (!declared(name)) return Invalid(where + "nothing is called {" + name + "}");
  if (const auto as = step.fields.find("as"); as != step.fields.end() && !made.insert(as->second).second)
    return Invalid(where + "a proposal '" + as->second + "' is made already");
  if (const auto of = step.fields.find("of"); of != step.fields.end() && !made.contains(of->second))
    return Invalid(where + "no proposal '" + of->second + "' has been made before it");
  return {};
}

}  // namespace

Result<void> CheckHarmless(const std::vector<std::string>& arguments) {
  static constexpr std::array<std::string_view, 5> kHarmless = {"backup", "restore", "ledger", "rewrap-plan", "status"};
  const auto first = arguments.empty() ? std::string() : arguments.front();
  if (std::find(kHarmless.begin(), kHarmless.end(), first) != kHarmless.end()) return {};
  if (first == "census" && arguments.size() > 1 && arguments[1] == "show") return {};
  if (first == "keyring" && arguments.size() > 1 && (arguments[1] == "list" || arguments[1] == "show")) return {};
  return Invalid(
      "a script may call backup, restore, ledger, rewrap-plan, status, census show, keyring list and show; the rest "
      "are "
      "steps of their own");
}

std::string_view ToString(StepKind kind) { return RuleOf(kind).name; }

Result<CeremonyScript> CeremonyScript::Parse(std::string_view text, const std::string& file) {
  if (text.size() > kMaxScript) return Invalid(file + ": a script is at most 32 KiB");
  toml::table root;
  try {
    root = toml::parse(text, file);
  } catch (const toml::parse_error& e) {
    return Invalid(file + ":" + std::to_string(e.source().begin.line) + ": " + std::string(e.description()));
  }
  const Reader reader{file};
  CeremonyScript script;
  script.text = text;
  script.hash = crypto::Sha256(AsBytes(text));
  for (const auto& [key_node, node] : root) {
    const std::string key(key_node.str());
    if (key == "name") {
      TRY_ASSIGN(script.name, reader.Text(node, key));
    } else if (key == "title") {
      TRY_ASSIGN(script.title, reader.Text(node, key));
    } else if ((key == "parameter" || key == "participant" || key == "step") && node.is_array_of_tables()) {
      for (const auto& element : *node.as_array()) {
        const auto& table = *element.as_table();
        if (key == "step") {
          TRY_ASSIGN(auto step, reader.ReadStep(table));
          script.steps.push_back(std::move(step));
          continue;
        }
        Values values;
        for (const auto& [name, value] : table) {
          TRY_ASSIGN(values[std::string(name.str())], reader.Text(value, name.str()));
        }
        const bool has_default = values.contains("default");
        const std::size_t known = key == "parameter" ? 2U + (has_default ? 1U : 0U) : 2U;
        const bool good = key == "parameter" ? values.contains("name") && values.contains("help")
                                             : values.contains("label") && values.contains("role");
        if (!good || values.size() != known)
          return reader.At(table, key == "parameter" ? "a parameter has name, help and perhaps default"
                                                     : "a participant has label and role");
        if (key == "parameter")
          script.parameters.push_back(
              {values["name"], values["help"], has_default ? values["default"] : "", has_default});
        else if (values["role"] != "operator" && values["role"] != "custodian")
          return reader.At(table, "a participant is an operator or a custodian");
        else
          script.participants.push_back({values["label"], values["role"]});
      }
    } else {
      return reader.At(node, "unknown entry '" + key + "'");
    }
  }
  if (!crypto::IsName(script.name)) return Invalid(file + ": name is 1 to 64 characters of a-z, 0-9 and -");
  if (script.title.empty() || script.steps.empty()) return Invalid(file + ": a script has a title and steps");
  std::set<std::string> made;
  for (const auto& step : script.steps) {
    if (step.title.empty()) return Invalid(file + ": every step has a title");
    if (const auto checked = CheckStep(script, step, made); !checked)
      return Invalid(file + ": " + checked.error().detail);
  }
  return script;
}

Result<std::string> FillIn(std::string_view text, const Values& values) {
  std::string out;
  while (true) {
    const auto open = text.find('{');
    const auto close = open == std::string_view::npos ? open : text.find('}', open);
    if (close == std::string_view::npos) return out + std::string(text);
    const auto name = text.substr(open + 1, close - open - 1);
    const auto at = values.find(name);
    if (at == values.end()) return Invalid("nothing is given for {" + std::string(name) + "}");
    out += std::string(text.substr(0, open)) + at->second;
    text.remove_prefix(close + 1);
  }
}

}  // namespace strongroom::provisioning
