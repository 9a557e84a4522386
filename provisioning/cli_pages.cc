#include "provisioning/cli_pages.h"

#include <CLI/CLI.hpp>

namespace strongroom::provisioning {
namespace {

std::string Escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\')
      out += "\\e";
    else if (c == '-')
      out += "\\-";
    else
      out.push_back(c);
  }
  if (out.starts_with('.') || out.starts_with('\'')) out.insert(0, "\\&");
  return out;
}

std::vector<const CLI::App*> CommandsOf(const CLI::App& app) {
  return app.get_subcommands([](const CLI::App* sub) { return !sub->get_name().empty(); });
}

// The way an option is written: --name VALUE, or VALUE for a positional one.
std::string FormOf(const CLI::Option& option) {
  auto value = option.get_name(true, false);
  if (option.get_positional()) {
    for (auto& c : value) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    return value;
  }
  std::string form = "--" + option.get_lnames().front();
  if (option.get_items_expected_max() > 0) form += " VALUE";
  return form;
}

void PutOptions(const CLI::App& app, std::string& out) {
  for (const auto* option : app.get_options()) {
    if (option == app.get_help_ptr() || option->get_group().empty()) continue;
    out += ".TP\n.B " + Escaped(FormOf(*option)) + "\n" + Escaped(option->get_description()) +
           (option->get_envname().empty() ? "" : " (environment: " + Escaped(option->get_envname()) + ")") +
           (option->get_required() ? " (required)" : "") + "\n";
  }
}

void PutCommand(const CLI::App& app, const std::string& path, std::string& out) {
  const auto commands = CommandsOf(app);
  if (commands.empty()) {
    out += ".SS " + Escaped(path) + "\n" + Escaped(app.get_description()) + ".\n";
    PutOptions(app, out);
  }
  for (const auto* sub : commands) PutCommand(*sub, path.empty() ? sub->get_name() : path + " " + sub->get_name(), out);
}

constexpr const char* kEpilogue = R"(.SH BYTES
Bytes on the command line, in files of single items and in JSON are standard base64 with padding (RFC 4648 section 4).
.SH EXIT STATUS
.TP
.B 0
done
.TP
.B 1
refused or failed: the reason is one line on standard error, what to do next a second
.TP
.B 2
the command line cannot be right
.TP
.B 3
verification failed: tampering or loss was found
.TP
.B 4
the server or its token cannot be reached
.SH SEE ALSO
.BR strongroomd (8),
.BR strongroom\-tokend (8),
.BR strongroom.toml (5),
.BR ssh\-keygen (1)
)";

// The long options of a command, and of everything above it.
void PutWords(const CLI::App& app, std::string& words) {
  for (const auto* option : app.get_options())
    if (!option->get_lnames().empty() && !option->get_group().empty()) words += " --" + option->get_lnames().front();
}

void PutCases(const CLI::App& app, const std::string& path, std::string& out) {
  std::string words;
  for (const auto* sub : CommandsOf(app)) words += " " + sub->get_name();
  PutWords(app, words);
  out += "    '" + path + "') words='" + (words.empty() ? words : words.substr(1)) + "' ;;\n";
  for (const auto* sub : CommandsOf(app))
    PutCases(*sub, path.empty() ? sub->get_name() : path + " " + sub->get_name(), out);
}

// Names of commands that have commands of their own, for the script to walk the line with.
void PutParents(const CLI::App& app, const std::string& path, std::string& out) {
  for (const auto* sub : CommandsOf(app)) {
    const auto own = path.empty() ? sub->get_name() : path + " " + sub->get_name();
    out += " '" + own + "'";
    PutParents(*sub, own, out);
  }
}

}  // namespace

std::string ManPage(const CLI::App& app) {
  std::string out =
      ".\\\" Made by strongroom man; do not edit.\n.TH STRONGROOM 1 \"\" \"Strongroom 0.1.0\" \"Strongroom\"\n.SH "
      "NAME\n"
      "strongroom \\- the command line of a Strongroom appliance\n.SH SYNOPSIS\n.B strongroom\n[OPTIONS] COMMAND "
      "[ARGUMENTS]\n.SH DESCRIPTION\n" +
      Escaped(app.get_description()) +
      " Operators, custodians, auditors and services each come with a certificate of their own; the roster says what "
      "its holder may do.\n.SH OPTIONS\nThey may stand before or behind the command.\n";
  PutOptions(app, out);
  out += ".SH COMMANDS\n";
  PutCommand(app, "", out);
  return out + kEpilogue;
}

std::string BashCompletion(const CLI::App& app) {
  std::string parents, cases, shared;
  PutParents(app, "", parents);
  PutCases(app, "", cases);
  PutWords(app, shared);
  return R"(# bash completion for strongroom. Made by strongroom completion; do not edit.
_strongroom() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} path='' words='' i next known
  local -a commands=()" +
         parents.substr(1) +
         R"()
  case $prev in
    --in|--out|--key|--cert|--ca|--signature|--dir|--data) COMPREPLY=($(compgen -f -- "$cur")); return ;;
    --server|--keyring|--aad|--reason|--param|--port|--as|--from|--op|--bytes|--custodian|--token-hosts) return ;;
  esac
  for ((i = 1; i < COMP_CWORD; i++)); do
    next=${path:+$path }${COMP_WORDS[i]}
    for known in "${commands[@]}"; do
      if [[ $known == "$next" ]]; then path=$next; break; fi
    done
  done
  case $path in
)" + cases +
         R"(  esac
  [[ -n $path && $cur == -* ]] && words+=')" +
         shared + R"('
  # Options are offered to whoever begins one, commands to everyone else.
  [[ $cur == -* ]] || words=${words%%--*}
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -F _strongroom strongroom
)";
}

}  // namespace strongroom::provisioning
