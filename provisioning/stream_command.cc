// `--ndjson`: streams of any length through one connection.

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <cerrno>
#include <chrono>
#include <deque>
#include <iostream>
#include <mutex>
#include <thread>

#include "hsm/frame_socket.h"
#include "netapi/ndjson.h"
#include "provisioning/data_commands.h"

namespace strongroom::provisioning {
namespace {

using hsm::UniqueFd;
using Steady = std::chrono::steady_clock;
constexpr auto kResendFor = std::chrono::seconds(25);  // shorter than the server waits for a reader
constexpr std::size_t kResendLines = 500;
constexpr long kNamedLines = 20;

// Progress draws a bar on a terminal, at most five times a second; for input of unknown size it counts.
class Progress {
 public:
  explicit Progress(off_t total_bytes) : total_(total_bytes), show_(isatty(STDERR_FILENO) == 1) {}
  void Count(std::size_t line_bytes) {
    ++lines_;
    bytes_ += static_cast<off_t>(line_bytes) + 1;
    if (show_ && Steady::now() - drawn_ > std::chrono::milliseconds(200)) Draw();
  }
  void Finish() {
    if (!show_ || drawn_ == Steady::time_point()) return;  // done within a fifth of a second: nothing to clear
    Draw();
    std::cerr << "\n";
  }
  long lines() const { return lines_; }

 private:
  void Draw() {
    drawn_ = Steady::now();
    const double seconds = std::chrono::duration<double>(drawn_ - begin_).count();
    const double rate = seconds > 0 ? static_cast<double>(lines_) / seconds : 0;
    std::cerr << "\r";
    if (total_ > 0) {
      const auto part = std::min<off_t>(30, bytes_ * 30 / total_);
      const double left = bytes_ > 0 ? seconds * static_cast<double>(total_ - bytes_) / static_cast<double>(bytes_) : 0;
      std::cerr << "[" << std::string(static_cast<std::size_t>(part), '#')
                << std::string(static_cast<std::size_t>(30 - part), ' ') << "] " << bytes_ * 100 / total_ << " %, "
                << static_cast<long>(std::max(0.0, left)) << " s left, ";
    }
    std::cerr << lines_ << " lines, " << static_cast<long>(rate) << " a second   ";
  }
  const off_t total_;
  const bool show_;
  const Steady::time_point begin_ = Steady::now();
  Steady::time_point drawn_;
  long lines_ = 0;
  off_t bytes_ = 0;
};

// Exchange holds the lines that are under way, so that one without an answer can be sent again in its place.
class Exchange {
 public:
  Exchange(const CliSession& session, std::string target, UniqueFd in, UniqueFd out, off_t total)
      : session_(session), target_(std::move(target)), in_(std::move(in)), out_(std::move(out)), progress_(total) {}

  // Runs in the source's thread.
  Result<std::size_t> Read(std::span<char> buffer) {
    std::array<pollfd, 2> polls = {{{in_.get(), POLLIN, 0}, {interrupt_.get(), POLLIN, 0}}};
    while (poll(polls.data(), polls.size(), -1) < 0 && errno == EINTR) {
    }
    if (polls[1].revents != 0) return Unavailable("interrupted");
    ssize_t n = 0;
    do n = read(in_.get(), buffer.data(), buffer.size());
    while (n < 0 && errno == EINTR);
    if (n < 0) return Io("cannot read the input");
    const std::lock_guard lock(mutex_);
    const auto keep = [this](std::string_view line, bool) { under_way_.emplace_back(line); };
    if (n == 0)
      splitter_.Finish(keep);
    else
      splitter_.Feed({buffer.data(), static_cast<std::size_t>(n)}, keep);
    return static_cast<std::size_t>(n);
  }

  // Makes a Read that waits for input return.
  void Interrupt() {
    const std::uint64_t one = 1;
    (void)!write(interrupt_.get(), &one, sizeof one);
  }

  Result<void> Take(std::string_view answer) {
    netapi::SecretText line;
    {
      const std::lock_guard lock(mutex_);
      if (under_way_.empty()) return Integrity("the server answered more lines than were sent");
      line = std::move(under_way_.front());
      under_way_.pop_front();
    }
    if (Unanswered(answer)) {
      again_.push_back(std::move(line));
      if (again_.size() < kResendLines) return {};
      return Resend();
    }
    TRY(Resend());
    return Write(answer, line.size());
  }

  Result<void> Finish() {
    TRY(Resend());
    TRY(Flush());
    progress_.Finish();
    return {};
  }
  // Abandon keeps what was answered so far.
  void Abandon() {
    (void)Flush();
    progress_.Finish();
  }
  long lines() const { return progress_.lines(); }
  void NameRefusedLines() { names_refused_ = true; }
  long refused() const { return refused_; }

 private:
  // A 503 of one line: by contract nothing was handed out for it.
  static bool Unanswered(std::string_view answer) {
    if (!answer.starts_with("{\"error\":")) return false;
    const auto value = netapi::ParseJson(answer);
    if (!value) return false;
    const auto* status = value->get_object().at("error").get_object().if_contains("status");
    return status != nullptr && *status == 503;
  }

  // Resend settles the lines that wait, as batches, before anything behind them is written: order is kept.
  Result<void> Resend() {
    const auto until = Steady::now() + kResendFor;
    while (!again_.empty()) {
      if (!client_) {
        TRY_ASSIGN(client_, session_.Connect());
      }
      netapi::SecretText body = "{\"items\":[";
      for (std::size_t i = 0; i < again_.size(); ++i) {
        if (i > 0) body += ',';
        body += again_[i];
      }
      body += "]}";
      TRY_ASSIGN(const auto response, client_->Call("POST", target_, {body.data(), body.size()}));
      const auto answers = netapi::ParseAnswer(response);
      if (!answers && answers.error().code != Code::kUnavailable) return answers.error();
      if (answers) {
        std::deque<netapi::SecretText> still;
        const auto& items = answers->get_object().at("items").get_array();
        for (std::size_t i = 0; i < items.size(); ++i) {
          const auto text = netapi::WriteJson(items[i]);
          if (still.empty() && !Unanswered({text.data(), text.size()}))
            TRY(Write({text.data(), text.size()}, again_[i].size()));
          else
            still.push_back(std::move(again_[i]));
        }
        again_ = std::move(still);
      }
      if (!again_.empty()) {
        if (Steady::now() > until) return Unavailable("the token side does not come back");
        std::this_thread::sleep_until(Steady::now() + std::chrono::milliseconds(50));
      }
    }
    return {};
  }

  Result<void> Write(std::string_view answer, std::size_t line_bytes) {
    ++written_;
    if (answer.starts_with("{\"error\":")) NameRefused(answer);
    pending_.append(answer.data(), answer.size());
    pending_ += '\n';
    progress_.Count(line_bytes);
    return pending_.size() < 65536 ? Result<void>() : Flush();
  }
  // Of an import somebody has to mend the bad lines: they are named as they come, the first ones in full.
  void NameRefused(std::string_view answer) {
    ++refused_;
    if (!names_refused_ || refused_ > kNamedLines) return;
    const auto value = netapi::ParseJson(answer);
    std::cerr << (isatty(STDERR_FILENO) == 1 ? "\r" : "") << "line " << written_ << ": "
              << (value ? TextOf(value->get_object().at("error"), "detail") : std::string("refused")) << "\n";
  }

  Result<void> Flush() {
    std::string_view rest(pending_.data(), pending_.size());
    while (!rest.empty()) {
      const auto n = write(out_.get(), rest.data(), rest.size());
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return Io("cannot write the output");
      rest.remove_prefix(static_cast<std::size_t>(n));
    }
    Zeroise(pending_.data(), pending_.size());
    pending_.clear();
    return {};
  }

  const CliSession& session_;
  const std::string target_;
  const UniqueFd in_, out_;
  const UniqueFd interrupt_{eventfd(0, EFD_CLOEXEC)};
  Progress progress_;
  bool names_refused_ = false;
  long written_ = 0, refused_ = 0;
  std::mutex mutex_;
  std::deque<netapi::SecretText> under_way_;  // guarded by mutex_
  netapi::LineSplitter splitter_;             // of the source's thread
  std::deque<netapi::SecretText> again_;
  netapi::SecretText pending_;
  std::unique_ptr<netapi::Client> client_;
};

Result<UniqueFd> OpenInput(const std::string& file) {
  UniqueFd fd(file.empty() ? dup(STDIN_FILENO) : open(file.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return Io("cannot read " + file + ": " + std::generic_category().message(errno));
  return fd;
}

}  // namespace

int RunStream(const CliSession& session, ledger::Operation operation, const DataOptions& options) {
  auto in = OpenInput(options.in);
  if (!in) return Fail(in.error());
  UniqueFd out(options.out.empty() ? dup(STDOUT_FILENO)
                                   : open(options.out.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!out)
    return Fail(Io("cannot make " + options.out + ": " + std::generic_category().message(errno) +
                   "; a stream's output is a new file"));
  struct stat status {};
  const off_t total = fstat(in->get(), &status) == 0 && S_ISREG(status.st_mode) ? status.st_size : 0;
  const bool imports = operation == ledger::Operation::kDekPut;
  const auto target =
      "/v1/keyrings/" + options.keyring + "/" + (imports ? "deks" : std::string(ledger::ToString(operation)));
  const auto client = session.Connect();
  if (!client) return Fail(client.error());
  Exchange exchange(session, target, std::move(*in), std::move(out), total);
  if (imports) exchange.NameRefusedLines();
  auto streamed = (*client)->Stream(
      target, [&](std::span<char> buffer) { return exchange.Read(buffer); },
      [&](std::string_view line) { return exchange.Take(line); }, [&] { exchange.Interrupt(); });
  if (streamed) streamed = exchange.Finish();
  if (streamed && exchange.refused() > 0 && imports) {
    std::cerr << "strongroom: " << exchange.refused() << " of " << exchange.lines()
              << " lines were refused, the rest is in\nnext: mend the lines named above and put them again\n";
    return kExitRefused;
  }
  if (streamed) return kExitDone;
  exchange.Abandon();
  auto error = streamed.error();
  error.detail +=
      " (" + std::to_string(exchange.lines()) + " lines were answered and written: go on with the line after them)";
  return Fail(error);
}

}  // namespace strongroom::provisioning
