#include "provisioning/cli_session.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <cerrno>
#include <cstdio>
#include <iostream>
#include <system_error>

#include "crypto/text_rules.h"
#include "provisioning/next_steps.h"

namespace strongroom::provisioning {
Result<std::unique_ptr<netapi::Client>> CliSession::Connect() const {
  for (const auto& [name, value] : {std::pair<const char*, const std::string*>{"--server", &server},
                                    {"--ca", &ca},
                                    {"--cert", &cert},
                                    {"--key", &key}})
    if (value->empty())
      return Invalid(
          std::string(name) +
              " is missing (or its STRONGROOM_ variable): eval \"$(strongroom dev env --dir DIR)\" sets all four",
          "usage");
  return netapi::Client::Make({server, {cert, key, ca}, std::chrono::seconds(30)});
}

Result<boost::json::value> CliSession::Ask(std::string_view method, std::string_view target,
                                           std::string_view body) const {
  TRY_ASSIGN(const auto client, Connect());
  TRY_ASSIGN(const auto answer, client->Call(method, target, body));
  return netapi::ParseAnswer(answer);
}

Result<boost::json::value> AskAll(const CliSession& session, const std::string& target, const std::string& query) {
  boost::json::array items;
  std::string cursor;
  do {
    TRY_ASSIGN(auto page,
               session.Ask("GET", target + "?limit=1000" + query + (cursor.empty() ? "" : "&after=" + cursor)));
    const auto* list = page.is_object() ? page.get_object().if_contains("items") : nullptr;
    if (list == nullptr || !list->is_array()) return Integrity("the server answered something else than a list");
    for (auto& item : page.get_object().at("items").get_array()) items.push_back(std::move(item));
    cursor = TextOf(page, "next");
  } while (cursor != "-");
  return boost::json::value(boost::json::object{{"items", std::move(items)}, {"next", nullptr}});
}

namespace {
void PrintError(const Error& error) {
  // The line may have what a server or an export has written.
  std::cerr << "strongroom: " << crypto::Printable(error.Line(), true) << "\n";
  std::cerr << "next: " << NextStep(error) << "\n";
}
}  // namespace

int PrintAnswer(const CliSession& session, const Result<boost::json::value>& answer,
                void (*print)(const boost::json::value&)) {
  if (!answer) return Fail(answer.error());
  if (session.json)
    PrintJson(*answer);
  else
    print(*answer);
  return kExitDone;
}

int FailUsage(const Error& error) {
  PrintError(error);
  return kExitUsage;
}

int Fail(const Error& error) {
  PrintError(error);
  if (error.slug == "usage") return kExitUsage;
  switch (error.code) {
    case Code::kUnavailable:
    case Code::kOverloaded:
    case Code::kTokenFault:
      return kExitUnavailable;
    default:
      return kExitRefused;
  }
}

void PrintJson(const boost::json::value& value) { std::cout << netapi::WriteJson(value) << "\n"; }

std::string TextOf(const boost::json::value& object, std::string_view member) {
  const auto* value = object.is_object() ? object.get_object().if_contains(member) : nullptr;
  if (value == nullptr || value->is_null()) return "-";
  if (const auto* text = value->if_string()) return std::string(std::string_view(*text));
  return boost::json::serialize(*value);
}

std::string NamesOf(const boost::json::value& object, std::string_view member) {
  const auto* value = object.is_object() ? object.get_object().if_contains(member) : nullptr;
  std::string out;
  if (value != nullptr && value->is_array())
    for (const auto& name : value->get_array())
      out += (out.empty() ? "" : ", ") + (name.is_string() ? std::string(std::string_view(name.get_string())) : "?");
  return out.empty() ? "-" : out;
}

Result<netapi::SecretText> ReadInput(const std::string& file) {
  const int fd = file.empty() ? STDIN_FILENO : open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return Io("cannot read " + file + ": " + std::generic_category().message(errno));
  netapi::SecretText text;
  std::array<char, 65536> part{};
  ssize_t n = 0;
  while ((n = read(fd, part.data(), part.size())) > 0 && text.size() <= (16U << 20))
    text.append(part.data(), static_cast<std::size_t>(n));
  Zeroise(part.data(), part.size());
  if (fd != STDIN_FILENO) (void)close(fd);
  if (n < 0) return Io("cannot read " + (file.empty() ? std::string("standard input") : file));
  if (text.size() > (16U << 20)) return Invalid("the input is longer than 16 MiB");
  return text;
}

Result<void> WriteOutput(const std::string& file, std::string_view text) {
  if (file.empty()) {
    std::cout << text << std::flush;
    return std::cout ? Result<void>() : Result<void>(Io("cannot write to standard output"));
  }
  // Written beside and renamed: the file may hold the only copy of what is read from it.
  const auto temporary = file + ".new";
  const int fd = open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return Io("cannot write " + temporary + ": " + std::generic_category().message(errno));
  const bool written = write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()) && fsync(fd) == 0;
  const bool closed = close(fd) == 0;
  if (!written || !closed || rename(temporary.c_str(), file.c_str()) != 0) return Io("cannot write " + file);
  return {};
}

}  // namespace strongroom::provisioning
