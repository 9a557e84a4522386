#pragma once
// A sorted map whose copies share what they have in common.

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

namespace strongroom::appliance {

/// SharedMap is a map that grows and is copied on every change: its entries lie in sorted chunks that copies share. A
/// copy costs a pointer for each chunk, a change a copy of one chunk, a lookup two binary searches. Iterators
/// and references hold until the map that they are of is changed or goes; a copy of it keeps its own. Keys are compared
/// by `<`, with any type that allows it. Not thread-safe; copies are independent.
template <class Key, class Value>
class SharedMap {
 public:
  using value_type = std::pair<Key, Value>;

 private:
  using Chunk = std::vector<value_type>;  // sorted, never empty
  using Chunks = std::vector<std::shared_ptr<const Chunk>>;
  static constexpr std::size_t kChunk = 64;

 public:
  SharedMap() = default;
  SharedMap(const SharedMap&) = default;
  SharedMap& operator=(const SharedMap&) = default;
  SharedMap(SharedMap&& other) noexcept
      : chunks_(std::exchange(other.chunks_, {})), size_(std::exchange(other.size_, 0)) {}
  SharedMap& operator=(SharedMap&& other) noexcept {
    chunks_ = std::exchange(other.chunks_, {});
    size_ = std::exchange(other.size_, 0);
    return *this;
  }
  ~SharedMap() = default;

  class const_iterator {
   public:
    using iterator_category = std::forward_iterator_tag;
    using value_type = std::pair<Key, Value>;
    using difference_type = std::ptrdiff_t;
    using pointer = const value_type*;
    using reference = const value_type&;

    const_iterator() = default;
    const_iterator(const Chunks& chunks, std::size_t chunk, std::size_t at)
        : chunks_(&chunks), chunk_(chunk), at_(at) {}
    reference operator*() const { return (*(*chunks_)[chunk_])[at_]; }
    pointer operator->() const { return &**this; }
    const_iterator& operator++() {
      if (++at_ == (*chunks_)[chunk_]->size()) {
        ++chunk_;
        at_ = 0;
      }
      return *this;
    }
    const_iterator operator++(int) {
      auto before = *this;
      ++*this;
      return before;
    }
    bool operator==(const const_iterator& other) const { return chunk_ == other.chunk_ && at_ == other.at_; }

   private:
    const Chunks* chunks_ = nullptr;
    std::size_t chunk_ = 0;
    std::size_t at_ = 0;
  };

  const_iterator begin() const { return {chunks_, 0, 0}; }
  const_iterator end() const { return {chunks_, chunks_.size(), 0}; }
  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

  /// lower_bound and upper_bound are std::map's.
  template <class K>
  const_iterator lower_bound(const K& key) const {
    return Bound([&](const Key& stored) { return stored < key; });
  }
  template <class K>
  const_iterator upper_bound(const K& key) const {
    return Bound([&](const Key& stored) { return !(key < stored); });
  }
  template <class K>
  const_iterator find(const K& key) const {
    const auto at = lower_bound(key);
    return at == end() || key < at->first ? end() : at;
  }
  template <class K>
  bool contains(const K& key) const {
    return find(key) != end();
  }
  /// at throws std::out_of_range for a key that is not there.
  template <class K>
  const Value& at(const K& key) const {
    const auto found = find(key);
    if (found == end()) throw std::out_of_range("SharedMap::at");
    return found->second;
  }

  /// emplace adds an entry; false when the key was there, and nothing has changed.
  bool emplace(Key key, Value value) {
    if (contains(key)) return false;
    Put(std::move(key), std::move(value));
    return true;
  }
  void insert_or_assign(Key key, Value value) { Put(std::move(key), std::move(value)); }
  /// erase takes an entry out; false when there was none.
  template <class K>
  bool erase(const K& key) {
    auto chunk = std::partition_point(chunks_.begin(), chunks_.end(),
                                      [&](const auto& each) { return !(key < each->front().first); });
    if (chunk == chunks_.begin()) return false;
    --chunk;
    Chunk entries = **chunk;
    const auto at =
        std::partition_point(entries.begin(), entries.end(), [&](const auto& entry) { return entry.first < key; });
    if (at == entries.end() || key < at->first) return false;
    entries.erase(at);
    if (entries.empty())
      chunks_.erase(chunk);
    else
      *chunk = std::make_shared<const Chunk>(std::move(entries));
    --size_;
    return true;
  }

 private:
  // The first entry for which `before` does not hold.
  template <class Before>
  const_iterator Bound(Before before) const {
    // The last chunk that begins before it, if any, is where it may lie.
    auto chunk = std::partition_point(chunks_.begin(), chunks_.end(),
                                      [&](const auto& each) { return before(each->front().first); });
    if (chunk != chunks_.begin()) {
      const auto& entries = **std::prev(chunk);
      const auto at =
          std::partition_point(entries.begin(), entries.end(), [&](const auto& entry) { return before(entry.first); });
      if (at != entries.end())
        return {chunks_, static_cast<std::size_t>(std::prev(chunk) - chunks_.begin()),
                static_cast<std::size_t>(at - entries.begin())};
    }
    return {chunks_, static_cast<std::size_t>(chunk - chunks_.begin()), 0};
  }

  void Put(Key key, Value value) {
    const auto begins = [&](const auto& each) { return !(key < each->front().first); };
    auto chunk = std::partition_point(chunks_.begin(), chunks_.end(), begins);
    if (chunk != chunks_.begin()) --chunk;
    if (chunk == chunks_.end()) {
      chunks_.push_back(std::make_shared<const Chunk>(Chunk{{std::move(key), std::move(value)}}));
      ++size_;
      return;
    }
    Chunk entries = **chunk;
    const auto at =
        std::partition_point(entries.begin(), entries.end(), [&](const auto& entry) { return entry.first < key; });
    if (at != entries.end() && !(key < at->first)) {
      at->second = std::move(value);
    } else {
      entries.emplace(at, std::move(key), std::move(value));
      ++size_;
    }
    if (entries.size() > kChunk) {
      const auto half = entries.begin() + kChunk / 2;
      auto rest = std::make_shared<const Chunk>(std::make_move_iterator(half), std::make_move_iterator(entries.end()));
      entries.erase(half, entries.end());
      *chunk = std::make_shared<const Chunk>(std::move(entries));
      chunks_.insert(std::next(chunk), std::move(rest));
      return;
    }
    *chunk = std::make_shared<const Chunk>(std::move(entries));
  }

  Chunks chunks_;
  std::size_t size_ = 0;
};

}  // namespace strongroom::appliance
