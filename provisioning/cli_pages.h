#pragma once
// The manual page and the shell completion of a command line, made from its definition, so that they cannot differ
// from it.

#include <string>

namespace CLI {
class App;
}

namespace strongroom::provisioning {

/// ManPage returns strongroom(1) in man(7) markup: every command with its options, then what the commands share.
std::string ManPage(const CLI::App& app);

/// BashCompletion returns a script for bash-completion: commands and options at their place, files for options that
/// take one.
std::string BashCompletion(const CLI::App& app);

}  // namespace strongroom::provisioning
