#pragma once
// One NDJSON exchange on one connection. Included by server.cc alone: Beast is compiled once.

#include <array>
#include <atomic>
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <cstdio>
#include <deque>
#include <functional>
#include <memory>

#include "netapi/api.h"
#include "netapi/beast_types.h"
#include "netapi/data_json.h"
#include "netapi/ndjson.h"

namespace strongroom::netapi {

/// WriteAll writes one text as one buffer within `deadline`; false when the client is gone or does not read.
inline net::awaitable<bool> WriteAll(TlsStream& stream, std::string_view text, std::chrono::milliseconds deadline) {
  ErrorCode ec;
  beast::get_lowest_layer(stream).expires_after(deadline);
  co_await net::async_write(stream, net::buffer(text.data(), text.size()), net::redirect_error(net::use_awaitable, ec));
  co_return !ec;
}

/// StreamExchange answers a stream line for line, in order, both directions at once: a reader brings groups of lines to
/// the broker's bulk lane, a writer sends each group's answers when their evidence is durable. At most kGroups groups
/// are under way; a client that does not read is not read from. Everything runs on the connection's one thread; what it
/// refers to outlives `Run`.
class StreamExchange {
 public:
  struct Deadlines {
    std::chrono::milliseconds idle;   // for the next bytes of the body
    std::chrono::milliseconds write;  // for a group's answers to be taken
  };
  /// Known asks whether who began the stream may still have answers; it does not block.
  using Known = std::function<Result<void>()>;
  StreamExchange(TlsStream& stream, SecretBuffer& buffer, appliance::Broker& broker, const std::atomic<bool>& stopping,
                 const Matched& matched, const Caller& caller, const std::string& request_id, Deadlines deadlines,
                 std::string break_glass, Known known)
      : stream_(stream),
        buffer_(buffer),
        broker_(broker),
        stopping_(stopping),
        keyring_(matched.values[0]),
        operation_(matched.route->operation),
        tenant_(caller.name),
        spki_(caller.spki),
        request_id_(request_id),
        deadlines_(deadlines),
        break_glass_(std::move(break_glass)),
        known_(std::move(known)) {}

  /// Run is the whole exchange; true when the body came to its end, every line was answered and the connection may go
  /// on.
  net::awaitable<bool> Run(RequestParser& parser) {
    shared_ = std::make_shared<Shared>(co_await net::this_coro::executor);
    const bool keep = parser.get().keep_alive();
    if (beast::iequals(parser.get()[http::field::expect], "100-continue") &&
        !co_await WriteAll(stream_, "HTTP/1.1 100 Continue\r\n\r\n", deadlines_.write))
      co_return false;
    http::request_parser<http::buffer_body> body(std::move(parser));
    body.body_limit(boost::none);
    net::co_spawn(shared_->changed.get_executor(), Write(), net::detached);
    net::co_spawn(shared_->changed.get_executor(), Watch(), net::detached);
    const bool whole = co_await Read(body);
    shared_->input_done = true;
    if (!whole) shared_->failed = true;  // cut short: what was not answered stays unanswered, and the ending says so
    shared_->changed.cancel();
    while (!shared_->output_done || !shared_->watch_done) co_await shared_->Changed();
    co_return keep&& whole && !shared_->failed && !stopping_;
  }

 private:
  static constexpr std::size_t kBlock = 65536;            // read at a time
  static constexpr std::size_t kGroupItems = 256;         // lines of one evidence entry, at most
  static constexpr std::size_t kGroups = 4;               // groups under way
  static constexpr auto kLook = std::chrono::seconds(1);  // how often a stream on which nothing happens is looked at

  struct Slot {
    bool ready = false;
    SecretText text;
  };
  // Shared is what outlives the exchange in a broker's hands: its answers may come after the client has gone.
  struct Shared {
    explicit Shared(const net::any_io_executor& executor)
        : changed(executor, net::steady_timer::time_point::max()), look(executor) {}
    std::deque<std::shared_ptr<Slot>> slots;  // in order of the lines
    bool input_done = false;                  // no more slots will come
    bool output_done = false;                 // the writer has ended
    bool watch_done = false;                  // the watch has ended
    bool failed = false;                      // the client is gone or does not read
    bool revoked = false;                     // who sends is not in the roster any more: nothing more is answered
    net::steady_timer changed;                // never expires; cancelled to wake whoever waits
    net::steady_timer look;                   // the watch's own
    net::awaitable<void> Changed() {
      ErrorCode ec;  // its expiry is never set again: that would wake the others who wait
      co_await changed.async_wait(net::redirect_error(net::use_awaitable, ec));
    }
  };

  // Read returns true when the body came to its proper end.
  net::awaitable<bool> Read(http::request_parser<http::buffer_body>& body) {
    LineSplitter splitter;
    ScratchBytes block(kBlock);
    std::vector<appliance::DataItem> items;
    const auto add = [&](std::string_view line, bool too_long) {
      items.push_back(ParseDataLine(operation_, line, too_long));
    };
    while (!body.is_done()) {
      body.get().body().data = block.data();
      body.get().body().size = block.size();
      beast::get_lowest_layer(stream_).expires_after(deadlines_.idle);
      ErrorCode ec;
      co_await http::async_read_some(stream_, buffer_, body, net::redirect_error(net::use_awaitable, ec));
      if (ec == http::error::need_buffer) ec = {};
      if (ec || stopping_ || shared_->failed) co_return false;
      const auto got = block.size() - body.get().body().size;
      splitter.Feed({reinterpret_cast<const char*>(block.data()), got}, add);
      if (body.is_done()) splitter.Finish(add);
      for (std::size_t at = 0; at < items.size(); at += kGroupItems) {
        const auto first = items.begin() + static_cast<std::ptrdiff_t>(at);
        const auto last = items.begin() + static_cast<std::ptrdiff_t>(std::min(items.size(), at + kGroupItems));
        std::vector<appliance::DataItem> group(std::make_move_iterator(first), std::make_move_iterator(last));
        while (!shared_->failed && shared_->slots.size() >= kGroups) co_await shared_->Changed();
        if (shared_->failed || !co_await AwaitRoom(group.size())) co_return false;
        Submit(std::move(group));
      }
      items.clear();
    }
    co_return true;
  }

  // AwaitRoom waits for the broker's admission instead of failing lines of a stream; false when the server stops.
  net::awaitable<bool> AwaitRoom(std::size_t items) {
    while (!stopping_ && !broker_.Room(tenant_, items)) {
      net::steady_timer pause(shared_->changed.get_executor(), std::chrono::milliseconds(10));
      ErrorCode ec;
      co_await pause.async_wait(net::redirect_error(net::use_awaitable, ec));
    }
    co_return !stopping_;
  }

  void Submit(std::vector<appliance::DataItem> items) {
    const auto slot = std::make_shared<Slot>();
    shared_->slots.push_back(slot);
    appliance::DataRequest request;
    request.request_id = request_id_;
    request.principal = tenant_;
    request.spki = spki_;
    request.keyring = keyring_;
    request.operation = operation_;
    request.lane = appliance::Lane::kBulk;
    const auto count = items.size();
    request.items = std::move(items);
    broker_.Submit(std::move(request), [shared = shared_, slot, count, id = request_id_,
                                        operation = operation_](appliance::DataReply result) {
      net::post(shared->changed.get_executor(), [=, reply = std::make_shared<appliance::DataReply>(std::move(result))] {
        // The roster that revoked who sends ends the stream (Q17): the broker has recorded the refusal.
        if (!*reply && reply->error().Slug() == "unknown-principal") shared->revoked = true;
        if (*reply)
          for (const auto& answer : **reply) AppendDataLine(slot->text, operation, answer, id);
        else
          for (std::size_t i = 0; i < count; ++i) AppendDataLine(slot->text, operation, reply->error(), id);
        slot->ready = true;
        shared->changed.cancel();
      });
    });
  }

  net::awaitable<void> Write() {
    const auto shared = shared_;
    const std::string head =
        "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nCache-Control: no-store\r\nRequest-Id: " +
        request_id_ + (break_glass_.empty() ? "" : "\r\nStrongroom-Break-Glass: " + break_glass_) +
        "\r\nTransfer-Encoding: chunked\r\n\r\n";
    bool going = co_await WriteAll(stream_, head, deadlines_.write);
    while (going && !shared->revoked && !(shared->slots.empty() && shared->input_done)) {
      if (shared->slots.empty() || !shared->slots.front()->ready) {
        co_await shared->Changed();
        continue;
      }
      const auto slot = shared->slots.front();
      shared->slots.pop_front();
      shared->changed.cancel();
      // Answers may have waited for a client that does not read.
      shared->revoked = !known_();
      if (shared->revoked) break;
      SecretText chunk;
      std::array<char, 24> size{};
      (void)std::snprintf(size.data(), size.size(), "%zx\r\n", slot->text.size());
      chunk.reserve(slot->text.size() + 32);
      chunk += size.data();
      chunk += slot->text;
      chunk += "\r\n";
      going = co_await WriteAll(stream_, {chunk.data(), chunk.size()}, deadlines_.write);
    }
    // The last chunk says that every line was answered: it is not sent for a stream that was cut short.
    going = going && !shared->revoked && known_();
    if (going && !shared->failed) going = co_await WriteAll(stream_, "0\r\n\r\n", deadlines_.write);
    if (!going) {
      shared->failed = true;
      beast::get_lowest_layer(stream_).cancel();  // the reader need not wait for its own deadline
    }
    shared->output_done = true;
    shared->look.cancel();
    shared->changed.cancel();
  }

  // A stream on which nothing is sent, or nothing read, ends with the roster as well.
  net::awaitable<void> Watch() {
    const auto shared = shared_;
    while (!shared->output_done) {
      ErrorCode ec;
      shared->look.expires_after(kLook);
      co_await shared->look.async_wait(net::redirect_error(net::use_awaitable, ec));
      if (shared->output_done || shared->revoked || known_()) continue;
      shared->revoked = true;
      shared->changed.cancel();
      beast::get_lowest_layer(stream_).cancel();
    }
    shared->watch_done = true;
    shared->changed.cancel();
  }

  TlsStream& stream_;
  SecretBuffer& buffer_;
  appliance::Broker& broker_;
  const std::atomic<bool>& stopping_;
  const std::string keyring_;
  const ledger::Operation operation_;
  const std::string tenant_;
  const crypto::Digest spki_;
  const std::string request_id_;
  const Deadlines deadlines_;
  const std::string break_glass_;  // id of what is open, empty: nothing
  const Known known_;
  std::shared_ptr<Shared> shared_;
};

}  // namespace strongroom::netapi
