#pragma once
// What every command shares: where the server is, how results and errors reach a person.

#include <boost/json/value.hpp>
#include <string>
#include <string_view>

#include "crypto/base/result.h"
#include "netapi/client.h"

namespace strongroom::provisioning {

/// Exit statuses of the CLI (a contract: scripts rely on them).
enum CliExit : int { kExitDone = 0, kExitRefused = 1, kExitUsage = 2, kExitVerification = 3, kExitUnavailable = 4 };

struct CliSession {
  std::string server, ca, cert, key;
  bool json = false;

  /// Connect makes a client for the configured server; kInvalid says which setting is missing and how to get it.
  Result<std::unique_ptr<netapi::Client>> Connect() const;
  /// Ask is Connect, one call, ParseAnswer.
  Result<boost::json::value> Ask(std::string_view method, std::string_view target, std::string_view body = {}) const;
};

/// AskAll follows a list's cursors to its end and returns one list with everything in it. `query` is what else is
/// asked, like "&kek_version=2".
Result<boost::json::value> AskAll(const CliSession& session, const std::string& target, const std::string& query = {});

/// Fail prints an error on one line of stderr, what to do next on a second where there is something to do, and returns
/// the exit status.
int Fail(const Error& error);
/// FailUsage is Fail for a command line that cannot be right: exit status 2.
int FailUsage(const Error& error);
/// PrintAnswer prints an answer as JSON or by `print`, or fails as Fail does; returns the exit status.
int PrintAnswer(const CliSession& session, const Result<boost::json::value>& answer,
                void (*print)(const boost::json::value&));
/// PrintJson prints one document on stdout.
void PrintJson(const boost::json::value& value);
/// TextOf reads a member as text: strings as they are, null as "-", all else as JSON.
std::string TextOf(const boost::json::value& object, std::string_view member);
/// NamesOf joins an array of names with commas, - when there is none.
std::string NamesOf(const boost::json::value& object, std::string_view member);
/// ReadInput reads a file, or standard input for an empty name, at most 16 MiB.
Result<netapi::SecretText> ReadInput(const std::string& file);
/// WriteOutput writes a new file of mode 0600, or standard output for an empty name.
Result<void> WriteOutput(const std::string& file, std::string_view text);

}  // namespace strongroom::provisioning
