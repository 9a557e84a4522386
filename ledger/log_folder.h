#pragma once
// A log as files (C2SP tlog-tiles): what an export holds and what anyone verifies without us.
//
//   <log>/checkpoint                        the signed head
//   <log>/tile/<level>/<index>[.p/<width>]  hashes
//   <log>/tile/entries/<index>[.p/<width>]  entries, each behind its length (u16)
// Indexes are written in groups of three digits: 1234567 is x001/x234/567.

#include <functional>
#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "crypto/merkle.h"
#include "crypto/note.h"

namespace strongroom::ledger {

/// TilePath is where a tile lies below "tile/"; width 256 is a whole one.
std::string TilePath(unsigned level, std::uint64_t index, std::uint64_t width);
std::string BundlePath(std::uint64_t index, std::uint64_t width);

/// ForEachTile visits every tile that a log of `size` entries has, `entries` first, then hashes from level 0 up.
Result<void> ForEachTile(std::uint64_t size, const std::function<Result<void>(const std::string& path)>& visit);

/// LogVisitor takes each entry in order; its error ends the verification.
using LogVisitor = std::function<Result<void>(std::uint64_t index, ByteView entry)>;

/// Archived says that a log's entries before `size` need not be in its folder. They are looked for in the folders of
/// other exports.
struct Archived {
  std::uint64_t size = 0;
  std::vector<std::string> folders;
};

/// ReadLogFolder visits a log's entries as they stand, unverified: how many there are its checkpoint says. Entries that
/// are found nowhere are kIntegrity (archive-missing).
Result<void> ReadLogFolder(const std::string& folder, const std::string& name, const LogVisitor& visit,
                           const Archived& archived = {});

/// VerifyLogFolder checks a log's folder against its checkpoint, and that against the keys: every leaf is hashed from
/// its entry, every hash of every tile is computed anew, the root must be the signed one. Fails with kIntegrity (slug
/// log-damaged, or the note's), naming log and first bad entry. Adds every file that belongs to it to `files`. Memory
/// is bounded by one tile a level. The sizes in `roots`, if given, get the roots that the log had then. Of archived
/// entries that are found nowhere the hashes alone are looked at; `visit` does not get them.
Result<crypto::Checkpoint> VerifyLogFolder(const std::string& folder, const std::string& name,
                                           std::span<const crypto::NoteKey> keys, const LogVisitor& visit,
                                           std::set<std::string>& files,
                                           std::map<std::uint64_t, crypto::Digest>* roots = nullptr,
                                           const Archived& archived = {});

/// ReadWholeFile reads a file of at most 64 MiB. kIntegrity (file-missing) when it is not there.
Result<std::string> ReadWholeFile(const std::string& path);

}  // namespace strongroom::ledger
