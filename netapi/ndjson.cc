#include "netapi/ndjson.h"

namespace strongroom::netapi {

void LineSplitter::Feed(std::string_view bytes, const Visit& visit) {
  while (!bytes.empty()) {
    const auto end = bytes.find('\n');
    const auto part = bytes.substr(0, end);
    if (!too_long_ && partial_.size() + part.size() > kMaxLine + 1) {  // one more: the carriage return
      too_long_ = true;
      SecretText().swap(partial_);
    }
    if (!too_long_) partial_.append(part.data(), part.size());
    if (end == std::string_view::npos) return;
    End(visit);
    bytes.remove_prefix(end + 1);
  }
}

void LineSplitter::Finish(const Visit& visit) {
  if (!partial_.empty() || too_long_) End(visit);
}

void LineSplitter::End(const Visit& visit) {
  if (!partial_.empty() && partial_.back() == '\r') partial_.pop_back();
  if (partial_.size() > kMaxLine) too_long_ = true;
  visit(too_long_ ? std::string_view() : std::string_view(partial_.data(), partial_.size()), too_long_);
  Zeroise(partial_.data(), partial_.size());
  partial_.clear();
  too_long_ = false;
}

}  // namespace strongroom::netapi
