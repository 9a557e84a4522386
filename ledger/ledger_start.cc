// What a start does with the journal that its database names.

#include <algorithm>

#include "crypto/base/wire.h"
#include "ledger/ledger.h"

namespace strongroom::ledger {
namespace {
constexpr std::string_view kJournalKey = "journal";
}  // namespace

// Every group of a journal goes from here into the database before anything else does: order in the log is order of
// tickets.
Result<void> Ledger::RecoverJournal(const Options& options) {
  TRY(ReadMark());
  TRY(env_->Sync());  // what is read as the database's end is on the disk before the journal goes on from it
  const auto base = [&] { return Journal::Base{evidence_tree_.frontier().size(), evidence_tree_.frontier().Root()}; };
  const bool closed_in_order = mark_ && !mark_->in_use;
  auto own = Journal::Find(env_->directory(), mark_ ? std::optional(mark_->id) : std::nullopt, base());
  // What a database that was closed in order has beside it is not its matter.
  if (!own && !closed_in_order) return own.error();
  auto found = own ? std::move(*own) : Journal::Found();
  if (mark_ && mark_->in_use && !found.journal) TRY(GiveUpJournal(options.journal_lost));
  if (!found.entries.empty()) {
    std::vector<Queued> group(1);
    for (const auto& raw : found.entries) {
      TRY_ASSIGN(auto entry, DecodeEvidence(raw));
      group[0].submission.evidence.push_back(std::move(entry));
    }
    group[0].encoded = std::move(found.entries);
    TRY(WriteGroup(group));
  }
  TRY(BeginJournal(std::move(found.journal), options.journal_bytes));
  if (journal_) journal_->Begin(base());
  return {};
}

// Takes a journal into use, the one that is there or a new one, and has the database name it before anything is
// acknowledged from it. Without room for one every group is committed at once.
Result<void> Ledger::BeginJournal(std::unique_ptr<Journal> own, std::size_t bytes) {
  const auto former = mark_;
  if (bytes != 0 && own && own->Usable()) {
    journal_ = std::move(own);
  } else if (bytes != 0) {
    auto fresh = Journal::Create(env_->directory(), bytes);
    if (!fresh && fresh.error().Slug() != "ledger-full") return fresh.error();
    if (fresh) journal_ = std::move(*fresh);
  }
  if (journal_) {
    const auto marked = SetMark({journal_->id(), true});
    if (!marked && marked.error().Slug() != "ledger-full") return marked;
    if (!marked) journal_.reset();
  }
  if (!journal_) return former && former->in_use ? SetMark({former->id, false}) : Result<void>();
  // What had been set aside lies in the database. One without a name may be another's and stays.
  return own && former ? own->Remove() : Result<void>();
}

Result<void> Ledger::GiveUpJournal(std::optional<Millis> at) {
  if (!at)
    return Integrity(env_->directory() + ": the journal " + ToHex(mark_->id) +
                         " is missing or went on with a newer database, and this one was not closed in order: evidence "
                         "that was acknowledged last may be missing",
                     "journal-missing");
  EvidenceEntry entry;
  entry.principal = "-";
  entry.outcome = "journal-missing";
  // Time that was recorded does not run back.
  TRY_ASSIGN(const auto last, LastTime());
  entry.time = std::max(*at, last);
  std::vector<Queued> group(1);
  group[0].submission.evidence.push_back(std::move(entry));
  // Under no file's name: one that turns up later is another's.
  TRY(WriteGroup(group, JournalMark{crypto::RandomArray<16>(), false}));
  gave_up_journal_ = true;
  return {};
}

Result<void> Ledger::ReadMark() {
  TRY_ASSIGN(const auto txn, env_->Read());
  TRY_ASSIGN(const auto stored, txn.Get(Table::kMeta, AsBytes(kJournalKey)));
  if (!stored) return {};
  WireReader in(*stored);
  JournalMark mark;
  mark.id = in.Array<16>();
  mark.in_use = in.U8() != 0;
  if (!in.Complete()) return Integrity("the database's mark of its journal is not one", "ledger-damaged");
  mark_ = mark;
  return {};
}

Result<void> Ledger::PutMark(Txn& txn, const JournalMark& mark) {
  WireWriter out;
  out.Raw(mark.id);
  out.U8(mark.in_use ? 1 : 0);
  return txn.Put(Table::kMeta, AsBytes(kJournalKey), out.bytes());
}

Result<void> Ledger::SetMark(const JournalMark& mark) {
  if (mark_ == mark) return {};
  TRY_ASSIGN(auto txn, env_->Write());
  TRY(PutMark(txn, mark));
  TRY(txn.Commit());
  mark_ = mark;
  return {};
}

}  // namespace strongroom::ledger
