#include "ledger/log_folder.h"

#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace strongroom::ledger {
namespace {

using crypto::Digest;
using crypto::kTileWidth;

constexpr std::uintmax_t kMaxFile = std::uintmax_t{64} << 20;

std::string IndexPath(std::uint64_t index) {
  std::string path;
  for (bool last = true; last || index > 0; last = false, index /= 1000) {
    auto group = std::to_string(index % 1000);
    group.insert(0, 3 - group.size(), '0');
    path.insert(0, last ? group : "x" + group + "/");
  }
  return path;
}

std::string Path(const std::string& level, std::uint64_t index, std::uint64_t width) {
  return level + "/" + IndexPath(index) + (width == kTileWidth ? "" : ".p/" + std::to_string(width));
}

Error Damaged(const std::string& log, std::uint64_t index, const std::string& what) {
  return Integrity(log + " entry " + std::to_string(index) + ": " + what, "log-damaged");
}

// Cuts a bundle into exactly `width` entries; `entries` holds those before the first that is wrong.
Result<void> Cut(const std::string& log, std::uint64_t first, std::string_view bundle, std::uint64_t width,
                 std::vector<ByteView>& entries) {
  auto rest = AsBytes(bundle);
  while (entries.size() < width) {
    const auto index = first + entries.size();
    if (rest.size() < 2) return Damaged(log, index, "missing from its bundle");
    const auto size = static_cast<std::size_t>(rest[0]) << 8 | rest[1];
    if (rest.size() < 2 + size) return Damaged(log, index, "cut off");
    entries.push_back(rest.subspan(2, size));
    rest = rest.subspan(2 + size);
  }
  if (!rest.empty()) return Damaged(log, first + width, "more bytes than entries in its bundle");
  return {};
}

// Where a bundle of entries lies that may be archived; empty when it is nowhere.
std::string FindBundle(const std::string& folder, const std::string& name, const std::string& path, std::uint64_t first,
                       const Archived& archived) {
  const auto in = [&](const std::string& where) { return where + "/" + name + "/tile/" + path; };
  std::error_code error;
  if (first >= archived.size || std::filesystem::exists(in(folder), error)) return in(folder);
  for (const auto& other : archived.folders)
    if (std::filesystem::exists(in(other), error)) return in(other);
  return {};
}

}  // namespace

std::string TilePath(unsigned level, std::uint64_t index, std::uint64_t width) {
  return Path(std::to_string(level), index, width);
}
std::string BundlePath(std::uint64_t index, std::uint64_t width) { return Path("entries", index, width); }

Result<void> ForEachTile(std::uint64_t size, const std::function<Result<void>(const std::string& path)>& visit) {
  const auto each = [&](const std::string& level, std::uint64_t count) -> Result<void> {
    for (std::uint64_t i = 0; i * kTileWidth < count; ++i)
      TRY(visit(Path(level, i, std::min(kTileWidth, count - i * kTileWidth))));
    return {};
  };
  TRY(each("entries", size));
  unsigned level = 0;
  for (auto count = size; count > 0; count /= kTileWidth) TRY(each(std::to_string(level++), count));
  return {};
}

Result<std::string> ReadWholeFile(const std::string& path) {
  std::error_code error;
  if (std::filesystem::symlink_status(path, error).type() != std::filesystem::file_type::regular)
    return Integrity("the file " + path + " is missing, or is no file", "file-missing");
  std::ifstream in(path, std::ios::binary | std::ios::ate);
  if (!in) return Integrity("the file " + path + " is missing", "file-missing");
  const auto size = in.tellg();
  if (size < 0 || static_cast<std::uintmax_t>(size) > kMaxFile) return Integrity("the file " + path + " is too large");
  std::string text(static_cast<std::size_t>(size), '\0');
  in.seekg(0);
  in.read(text.data(), size);
  if (!in) return Io("cannot read " + path);
  return text;
}

Result<void> ReadLogFolder(const std::string& folder, const std::string& name, const LogVisitor& visit,
                           const Archived& archived) {
  TRY_ASSIGN(const auto note, ReadWholeFile(folder + "/" + name + "/checkpoint"));
  TRY_ASSIGN(const auto head, crypto::Checkpoint::Parse(note.substr(0, note.rfind("\n\n") + 1)));
  for (std::uint64_t first = 0; first < head.size; first += kTileWidth) {
    const auto width = std::min(kTileWidth, head.size - first);
    const auto at = FindBundle(folder, name, BundlePath(first / kTileWidth, width), first, archived);
    if (at.empty())
      return Integrity(name + " entries from " + std::to_string(first) +
                           " on are archived: name the export that has them (--archive)",
                       "archive-missing");
    TRY_ASSIGN(const auto bundle, ReadWholeFile(at));
    std::vector<ByteView> entries;
    TRY(Cut(name, first, bundle, width, entries));
    for (std::size_t i = 0; i < entries.size(); ++i) TRY(visit(first + i, entries[i]));
  }
  return {};
}

Result<crypto::Checkpoint> VerifyLogFolder(const std::string& folder, const std::string& name,
                                           std::span<const crypto::NoteKey> keys, const LogVisitor& visit,
                                           std::set<std::string>& files, std::map<std::uint64_t, Digest>* roots,
                                           const Archived& archived) {
  const auto log_folder = folder + "/" + name;
  const auto read = [&](const std::string& path) {
    files.insert(name + "/" + path);
    return ReadWholeFile(log_folder + "/" + path);
  };
  TRY_ASSIGN(const auto note_text, read("checkpoint"));
  const auto note = crypto::OpenNote(note_text, keys);
  if (!note) return Integrity(name + " checkpoint: " + note.error().detail, std::string(note.error().Slug()));
  const auto head = crypto::Checkpoint::Parse(note->text);
  if (!head) return Integrity(name + " checkpoint: " + head.error().detail, "log-damaged");
  if (!head->origin.starts_with(keys.front().name() + "/" + name + "/"))
    return Integrity(
        name + " checkpoint: it is of the log " + head->origin + ", not of " + keys.front().name() + "/" + name,
        "foreign-origin");
  if (head->size == 0) return Integrity(name + " checkpoint: an empty log proves nothing", "log-empty");

  crypto::MerkleFrontier tree;
  crypto::TileGrower grower;
  std::optional<Error> wrong;
  const auto compare = [&](const std::string& path, std::span<const Digest> hashes, std::uint64_t first_entry,
                           std::uint64_t entries_each) {
    const auto stored = read("tile/" + path);
    for (std::size_t i = 0; i < hashes.size() && !wrong; ++i)
      if (!stored || stored->size() < (i + 1) * 32 || std::memcmp(stored->data() + i * 32, hashes[i].data(), 32) != 0)
        wrong = stored ? Damaged(name, first_entry + i * entries_each, "it does not fit its hash in tile " + path)
                       : stored.error();
    if (!wrong && stored->size() != hashes.size() * 32)
      wrong = Damaged(name, first_entry, "tile " + path + " is longer than its log");
  };
  const auto span_of = [](unsigned level) { return std::uint64_t{1} << (8 * level); };
  for (std::uint64_t first = 0; first < head->size; first += kTileWidth) {
    const auto width = std::min(kTileWidth, head->size - first);
    const auto path = BundlePath(first / kTileWidth, width);
    const auto at = FindBundle(folder, name, path, first, archived);
    if (at.starts_with(log_folder + "/")) files.insert(name + "/tile/" + path);
    std::string bundle;
    std::vector<ByteView> entries;
    std::vector<Digest> leaves;
    Result<void> cut;
    if (at.empty()) {
      TRY_ASSIGN(const auto hashes, read("tile/" + TilePath(0, first / kTileWidth, width)));
      if (hashes.size() != width * sizeof(Digest)) return Damaged(name, first, "its tile of hashes is cut");
      leaves.resize(width);
      for (std::size_t i = 0; i < leaves.size(); ++i) std::memcpy(leaves[i].data(), hashes.data() + i * 32, 32);
    } else {
      TRY_ASSIGN(bundle, ReadWholeFile(at));
      cut = Cut(name, first, bundle, width, entries);
      for (const auto& entry : entries) leaves.push_back(crypto::LeafHash(entry));
    }
    if (!cut) {
      // An entry that was cut out or put in shows first in the hash of the one that took its place.
      const auto stored = read("tile/" + TilePath(0, first / kTileWidth, width));
      for (std::size_t i = 0; stored && i < leaves.size(); ++i)
        if (stored->size() < (i + 1) * 32 || std::memcmp(stored->data() + i * 32, leaves[i].data(), 32) != 0)
          return Damaged(name, first + i, "it does not fit its hash");
      return cut.error();
    }
    compare(TilePath(0, first / kTileWidth, width), leaves, first, 1);
    if (wrong) return *wrong;
    for (std::size_t i = 0; i < leaves.size(); ++i) {
      tree.Append(leaves[i]);
      if (roots != nullptr)
        if (const auto wanted = roots->find(tree.size()); wanted != roots->end()) wanted->second = tree.Root();
      grower.Append(leaves[i], [&](const crypto::TileId& id, std::span<const Digest> hashes) {
        if (id.level > 0 && !wrong)
          compare(TilePath(id.level, id.index, kTileWidth), hashes, id.index * kTileWidth * span_of(id.level),
                  span_of(id.level));
      });
      if (wrong) return *wrong;
      if (!at.empty()) TRY(visit(first + i, entries[i]));
    }
  }
  unsigned level = 1;
  for (auto count = head->size / kTileWidth; count > 0; count /= kTileWidth, ++level) {
    const auto width = count % kTileWidth;
    if (width == 0) continue;
    compare(TilePath(level, count / kTileWidth, width), grower.Partial(level),
            count / kTileWidth * kTileWidth * span_of(level), span_of(level));
    if (wrong) return *wrong;
  }
  if (tree.Root() != head->root)
    return Integrity(name + " entries 0 to " + std::to_string(head->size - 1) +
                         ": entries and hashes agree with each other and not with the signed root",
                     "log-forked");
  return *head;
}

}  // namespace strongroom::ledger
