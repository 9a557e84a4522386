#include "crypto/custody/look.h"

#include <algorithm>

#include "crypto/custody/record_former.h"

namespace strongroom::crypto {
namespace {

struct Read {
  std::size_t at = 0;
  LedgerRecord record;
  bool too_long = false;
};
struct Sorted {
  std::vector<Read> settled, former, unsettled;
  std::vector<std::size_t> unreadable;
  std::optional<Error> newer;
  bool unread = false;  // one is too long even to be read, and might be a record
};

Error Forked() {
  return Integrity(
      "the token has custody records that contradict each other: propose ledger.adopt, which merges them restrictively",
      "custody-forked");
}

Error TooLong() { return Integrity("the custody record is longer than this token's bound", "record-too-long"); }

// Of records of one kind the one in force, by `newer`; all that contradict it stand in `forked`.
void ChooseSettled(const std::vector<Read>& settled, Look& look) {
  const Read* best = nullptr;
  const auto order = [](const Read& r) { return std::pair(OrderOf(r.record), r.record.serial); };
  for (const auto& read : settled)
    if (best == nullptr || order(read) > order(*best)) best = &read;
  for (const auto& read : settled)
    if (order(read) == order(*best) && EncodeRecord(read.record) != EncodeRecord(best->record))
      look.forked.push_back(read.record);
  if (!look.forked.empty()) {
    look.forked.push_back(best->record);
    look.problem = Forked();
    return;
  }
  look.effective = best->record;
}

// What each object is. Who has written is noted for whatever is a record, also for one that is too long for this token.
Sorted Sort(std::span<const StoredObject> objects, Look& look) {
  Sorted sorted;
  for (std::size_t i = 0; i < objects.size(); ++i) {
    const auto& [value, too_long] = objects[i];
    if (value == Tombstone()) {
      look.tombstone = true;
      continue;
    }
    auto record = DecodeRecord(value);
    if (!record) {
      sorted.unread = sorted.unread || (too_long && value.empty());
      if (record.error().Slug() == "record-newer")
        sorted.newer = record.error();
      else
        sorted.unreadable.push_back(i);
      continue;
    }
    const bool is_former = FormatOf(value) < 7;
    look.any_former = look.any_former || is_former;
    if (!is_former) {
      look.highest_count = std::max(look.highest_count, record->writer.count);
      if (OrderOf(*record) > look.highest) {
        look.highest = OrderOf(*record);
        look.highest_installation = record->writer.installation;
      }
    }
    auto& list = is_former ? sorted.former : record->writer.settled ? sorted.settled : sorted.unsettled;
    list.push_back({i, std::move(*record), too_long});
  }
  return sorted;
}

void ChooseFormer(const std::vector<Read>& former, Look& look) {
  look.former = true;
  std::optional<LedgerRecord> best;
  for (const auto& read : former) {
    auto newer = best ? NewerFormerRecord(*best, read.record) : Result<LedgerRecord>(read.record);
    if (!newer) {
      look.forked = {*best, read.record};
      look.problem = newer.error();
      return;
    }
    best = std::move(*newer);
  }
  look.effective = std::move(best);
}

template <class Item, class Same>
void KeepCommon(std::vector<Item>& into, const std::vector<Item>& other, Same merge) {
  std::vector<Item> both;
  for (auto& item : into)
    for (const auto& o : other)
      if (merge(item, o)) {
        both.push_back(item);
        break;
      }
  into = std::move(both);
}

void MergeLists(CustodyFacts& into, const CustodyFacts& other) {
  for (const auto& spent : other.spent) {
    const auto at = std::find_if(into.spent.begin(), into.spent.end(), [&](const auto& s) { return s.id == spent.id; });
    if (at == into.spent.end())
      into.spent.push_back(spent);
    else
      at->until = std::max(at->until, spent.until);
  }
  into.pending.clear();
  KeepCommon(into.mandates, other.mandates, [](Mandate& a, const Mandate& b) {
    if (a.keyring != b.keyring || a.share != b.share || a.suite != b.suite || a.interval != b.interval) return false;
    a.until = std::min(a.until, b.until);
    a.next = std::max(a.next, b.next);
    a.next_watched = std::max(a.next_watched, b.next_watched);
    return true;
  });
  KeepCommon(into.releases, other.releases, [](Release& a, const Release& b) {
    if (a.keyring != b.keyring || a.to != b.to) return false;
    a.until = std::min(a.until, b.until);
    a.end_watched = std::min(a.end_watched, b.end_watched);
    return true;
  });
}

}  // namespace

WriterOrder OrderOf(const LedgerRecord& record) {
  return {record.epoch, record.term, record.writer.count, record.writer.start};
}

bool IsLost(const Error& problem) { return problem.Slug() == "record-missing" || problem.Slug() == "record-damaged"; }

Look LookAt(std::span<const StoredObject> objects) {
  Look look;
  const auto sorted = Sort(objects, look);
  const auto& [settled, former, unsettled, unreadable, newer, unread] = sorted;
  if (newer)
    look.problem = newer;  // names its own way out, before anything that could be called lost
  else if (!settled.empty())
    ChooseSettled(settled, look);
  else if (unread)
    look.problem = TooLong();
  else if (!former.empty())
    ChooseFormer(former, look);
  else if (!unreadable.empty() || !unsettled.empty())
    look.problem = Integrity("the custody record in the token cannot be read", "record-damaged");
  else
    look.problem = Integrity("the token has a checkpoint key and no custody record", "record-missing");
  if (!look.effective) return look;
  const auto in_force = std::pair(OrderOf(*look.effective), look.effective->serial);
  const auto& of_kind = look.former ? former : settled;
  const auto kept =
      std::find_if(of_kind.begin(), of_kind.end(), [&](const Read& read) { return read.record == *look.effective; });
  if (kept->too_long) {
    look.effective.reset();
    look.problem = TooLong();
    return look;
  }
  look.bytes = objects[kept->at].value;
  look.older = unreadable;
  for (const auto* list : {&settled, &unsettled, &former})
    for (const auto& read : *list) {
      // A claim of the highest writer is not ours to remove.
      const auto order = OrderOf(read.record);
      const bool stays = list != &former && order == look.highest && std::pair(order, read.record.serial) > in_force;
      if (read.at != kept->at && !stays) look.older.push_back(read.at);
    }
  return look;
}

Result<LedgerRecord> MergeForked(std::span<const LedgerRecord> records) {
  if (records.empty()) return Forked();
  auto merged = records[0];
  for (const auto& other : records.subspan(1)) {
    auto& into = merged.custody;
    const auto& c = other.custody;
    if (merged.instance != other.instance || merged.token != other.token || into.further != c.further ||
        into.members != c.members || into.profile != c.profile || into.storage != c.storage)
      return Forked();
    // Who was revoked in either has no vote: the higher roster. Two of one version are not chosen between.
    if (c.roster_version == into.roster_version && c.roster_hash != into.roster_hash) return Forked();
    if (c.roster_version > into.roster_version) {
      into.roster_version = c.roster_version;
      into.roster_hash = c.roster_hash;
    }
    into.seen = std::max(into.seen, c.seen);
    merged.node_seen = std::max(merged.node_seen, other.node_seen);
    into.watched = std::min(into.watched, c.watched);
    into.stepped = std::max(into.stepped, c.stepped);
    into.floor_set = into.floor_set || c.floor_set;
    into.floor = std::max(into.floor, c.floor);
    into.most = std::max(into.most, c.most);
    for (std::size_t i = 0; i < into.box_floor.size(); ++i)
      into.box_floor[i] = std::max(into.box_floor[i], c.box_floor[i]);
    into.freshness = std::max(into.freshness, c.freshness);
    into.freshness_last = std::max(into.freshness_last, c.freshness_last);
    MergeLists(into, c);
    merged.serial = std::max(merged.serial, other.serial);
    merged.epoch = std::max(merged.epoch, other.epoch);
    merged.key = std::max(merged.key, other.key);
    merged.former_until = std::max(merged.former_until, other.former_until);
    merged.term = std::max(merged.term, other.term);
    merged.writer.count = std::max(merged.writer.count, other.writer.count);
    for (const auto& node : other.nodes)
      if (std::find(merged.nodes.begin(), merged.nodes.end(), node) == merged.nodes.end()) merged.nodes.push_back(node);
    // Of each log the longer head; the adoption names both and replaces them.
    for (const auto& anchor : other.anchors) {
      auto at = std::find_if(merged.anchors.begin(), merged.anchors.end(),
                             [&](const Anchor& a) { return a.origin == anchor.origin; });
      if (at == merged.anchors.end())
        merged.anchors.push_back(anchor);
      else if (anchor.size > at->size)
        *at = anchor;
    }
  }
  std::sort(merged.nodes.begin(), merged.nodes.end());
  return merged;
}

}  // namespace strongroom::crypto
