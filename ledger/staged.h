#pragma once
#include <cstdint>
#include <cstdlib>
#include <utility>

namespace strongroom::ledger {

class Ledger;

/// Ticket stands for a submission that is not durable yet.
class Ticket {
 public:
  std::uint64_t sequence() const { return sequence_; }

 private:
  friend class Ledger;
  explicit Ticket(std::uint64_t sequence) : sequence_(sequence) {}
  std::uint64_t sequence_;
};

/// Committed proves that everything up to a ticket is on disk. Only the ledger makes one.
class Committed {
 public:
  bool Covers(const Ticket& ticket) const { return ticket.sequence() <= sequence_; }

 private:
  friend class Ledger;
  explicit Committed(std::uint64_t sequence) : sequence_(sequence) {}
  std::uint64_t sequence_;
};

/// Staged holds an answer that must not leave before its evidence is durable (L3): it opens only with a Committed that
/// covers its ticket; anything else ends the process.
template <class T>
class Staged {
 public:
  Staged(T value, Ticket ticket) : value_(std::move(value)), ticket_(ticket) {}
  const Ticket& ticket() const { return ticket_; }
  T Open(const Committed& committed) && {
    if (!committed.Covers(ticket_)) std::abort();
    return std::move(value_);
  }
  /// Discard hands the unopened value to `bury` when the commit has failed for good: to answer with the failure, never
  /// with the value.
  template <class Bury>
  void Discard(Bury bury) && {
    bury(std::move(value_));
  }

 private:
  T value_;
  Ticket ticket_;
};

}  // namespace strongroom::ledger
