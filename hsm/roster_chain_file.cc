#include "hsm/roster_chain_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "crypto/base/wire.h"
#include "hsm/frame_socket.h"

namespace strongroom::hsm {
namespace {

constexpr std::string_view kHeader = "strongroom roster chain 1\n";
constexpr std::uint8_t kRoster = 1, kStep = 2;
constexpr std::uintmax_t kMostBytes = std::uintmax_t{1} << 30;

void Put(WireWriter& out, std::uint8_t kind, ByteView bytes) {
  out.U8(kind);
  out.Blob(bytes);
}

}  // namespace

// Whole, beside the former one, then in its place: a crash leaves one of the two.
Result<void> RosterChainFile::Write(const crypto::RosterChain& chain) const {
  WireWriter out;
  out.Raw(AsBytes(kHeader));
  Put(out, kRoster, AsBytes(chain.first));
  for (const auto& step : chain.steps) Put(out, kStep, crypto::EncodeRosterStep(step));
  const auto bytes = std::move(out).Take();
  const auto beside = path_ + ".new";
  const auto failed = [&] { return Io("cannot write " + beside + ": " + std::strerror(errno)); };
  {
    const UniqueFd file(open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!file) return failed();
    for (std::size_t done = 0; done < bytes.size();) {
      const auto n = write(file.get(), bytes.data() + done, bytes.size() - done);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return failed();
      done += static_cast<std::size_t>(n);
    }
    if (fsync(file.get()) != 0) return failed();
  }
  if (std::rename(beside.c_str(), path_.c_str()) != 0) return failed();
  const auto folder = std::filesystem::path(path_).parent_path().string();
  const UniqueFd directory(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory || fsync(directory.get()) != 0) return Io("cannot sync " + folder);
  return {};
}

Result<crypto::RosterChain> RosterChainFile::Read() const {
  std::error_code error;
  if (path_.empty() || !std::filesystem::exists(path_, error))
    return NotFound("the token side keeps no chain of rosters", "no-chain");
  if (std::filesystem::file_size(path_, error) > kMostBytes || error) return Io("cannot read " + path_);
  std::ifstream file(path_, std::ios::binary);
  const Bytes bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (!file.good() && !file.eof()) return Io("cannot read " + path_);
  if (!AsText(bytes).starts_with(kHeader))
    return Integrity(path_ + " is not a chain of rosters: put it aside", "no-chain");
  WireReader in(ByteView(bytes).subspan(kHeader.size()));
  crypto::RosterChain chain;
  while (in.remaining() > 0) {
    const auto kind = in.U8();
    const auto record = in.Blob();
    if (!in.ok()) break;  // cut off while it was written
    if (kind == kRoster && chain.first.empty() && chain.steps.empty()) {
      chain.first = AsText(record);
      continue;
    }
    auto step = kind == kStep ? crypto::DecodeRosterStep(record) : Result<crypto::RosterStep>(Invalid(""));
    if (!step || chain.first.empty()) return Integrity(path_ + " is damaged: put it aside", "no-chain");
    chain.steps.push_back(std::move(*step));
  }
  if (chain.first.empty()) return NotFound("the token side keeps no chain of rosters", "no-chain");
  return chain;
}

Result<void> RosterChainFile::Begin(const std::string& roster) const {
  if (path_.empty()) return {};
  if (const auto chain = Read(); chain && chain->first == roster) return {};
  return Write({roster, {}});
}

Result<void> RosterChainFile::Append(const std::string& roster, std::uint64_t version,
                                     const crypto::RosterStep& step) const {
  if (path_.empty()) return {};
  auto chain = Read();
  if (!chain && chain.error().Slug() != "no-chain") return std::move(chain).error();
  // An appliance of before this file: the root has that roster's hash when none has followed since.
  if (!chain) chain = crypto::RosterChain{roster, {}};
  TRY_ASSIGN(const auto first, crypto::Roster::Parse(chain->first));
  const auto before = version - 1;
  if (before < first.version() || chain->steps.size() < before - first.version()) return {};
  chain->steps.resize(before - first.version());
  chain->steps.push_back(step);
  return Write(*chain);
}

Result<void> RosterChainFile::Continue(const crypto::Roster& to, const std::vector<crypto::RosterStep>& steps) const {
  if (path_.empty() || steps.empty()) return {};
  auto chain = Read();
  if (!chain) return chain.error().Slug() == "no-chain" ? Result<void>() : std::move(chain).error();
  TRY_ASSIGN(const auto first, crypto::Roster::Parse(chain->first));
  const auto begins = to.version() - steps.size();
  if (begins < first.version() || chain->steps.size() < begins - first.version()) return {};
  chain->steps.resize(begins - first.version());
  chain->steps.insert(chain->steps.end(), steps.begin(), steps.end());
  return Write(*chain);
}

}  // namespace strongroom::hsm
