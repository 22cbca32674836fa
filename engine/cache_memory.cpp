#include "engine/cache_memory.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace millrace::engine {
namespace {

/// Other bytes of the key than the index goes by.
std::uint64_t fingerprint(const cache_key& key) {
  std::uint64_t f = 0;
  std::memcpy(&f, key.bytes.data() + sizeof f, sizeof f);
  return f;
}

bool useless(const cached_answer& a, wall_time now) {
  return a.useless_at() <= now;
}

}  // namespace

cache_memory::cache_memory(std::size_t max_bytes) : max_bytes_(max_bytes) {}

void cache_memory::count_as_miss() {
  --counters_.hits;
  ++counters_.misses;
}

cached_answer_ptr cache_memory::find(const cache_key& key, wall_time now, cached_answer_ptr* stale) {
  const auto it = entries_.find(key);
  if (it == entries_.end()) {
    ++counters_.misses;
    return nullptr;
  }
  node& n = it->second;
  if (useless(*n.answer, now)) {
    ++counters_.misses;
    ++counters_.expirations;
    drop(n);
    return nullptr;
  }
  if (n.answer->expires_at <= now) {
    ++counters_.misses;
    if (stale != nullptr) *stale = n.answer;
    return nullptr;
  }
  ++counters_.hits;
  n.frequency = std::min<std::uint8_t>(n.frequency + 1, max_frequency);
  return n.answer;
}

void cache_memory::insert(const cache_key& key, cached_answer_ptr answer, wall_time now) {
  if (max_bytes_ == 0) return;
  queue* place = nullptr;
  std::uint8_t frequency = 0;
  if (const auto it = entries_.find(key); it != entries_.end()) {
    place = it->second.in;
    frequency = it->second.frequency;
    drop(it->second);
  }
  if (useless(*answer, now)) return;
  const std::size_t bytes = answer->size_bytes() + entry_overhead_bytes;
  if (bytes > max_bytes_ / largest_entry_divisor) {
    ++counters_.too_large;
    return;
  }
  if (place == nullptr) place = recall(key) ? &main_ : &small_;
  make_room(bytes, now);
  const auto [it, _] = entries_.try_emplace(key);
  it->second = {.answer = std::move(answer), .key = &it->first, .bytes = bytes, .frequency = frequency};
  place->push(it->second);
  ++counters_.insertions;
  trim_ghosts();
}

bool cache_memory::erase(const cache_key& key) {
  const auto it = entries_.find(key);
  if (it == entries_.end()) return false;
  drop(it->second);
  return true;
}

std::size_t cache_memory::erase_if(const std::function<bool(const cached_answer&)>& unwanted) {
  std::size_t erased = 0;
  for (queue* q : {&small_, &main_}) {
    for (node* n = q->tail; n != nullptr;) {
      node* const next = n->newer;
      if (unwanted(*n->answer)) {
        drop(*n);
        ++erased;
      }
      n = next;
    }
  }
  return erased;
}

cache_memory::stats cache_memory::usage() const {
  stats s = counters_;
  s.bytes = small_.bytes + main_.bytes;
  s.entries = entries_.size();
  return s;
}

void cache_memory::make_room(std::size_t bytes, wall_time now) {
  while (small_.bytes + main_.bytes + bytes > max_bytes_) {
    const bool small_is_full = small_.bytes >= max_bytes_ / small_queue_divisor;
    if (small_.entries > 0 && (small_is_full || main_.entries == 0)) {
      shrink_small(now);
    } else {
      shrink_main(now);
    }
  }
}

void cache_memory::shrink_small(wall_time now) {
  node& n = *small_.tail;
  if (useless(*n.answer, now)) {
    ++counters_.expirations;
    drop(n);
  } else if (n.frequency >= worth_keeping) {
    small_.remove(n);
    n.frequency = 0;
    main_.push(n);
  } else {
    ++counters_.evictions;
    const cache_key key = *n.key;
    drop(n);
    remember(key);
  }
}

void cache_memory::shrink_main(wall_time now) {
  node& n = *main_.tail;
  if (useless(*n.answer, now)) {
    ++counters_.expirations;
    drop(n);
  } else if (n.frequency > 0) {
    --n.frequency;
    main_.remove(n);
    main_.push(n);
  } else {
    ++counters_.evictions;
    drop(n);
  }
}

void cache_memory::drop(node& n) {
  n.in->remove(n);
  const cache_key key = *n.key;
  entries_.erase(key);
  trim_ghosts();
}

void cache_memory::remember(const cache_key& key) {
  const std::uint64_t f = fingerprint(key);
  ghosts_[f] = oldest_ghost_ + ghost_order_.size();
  ghost_order_.push_back(f);
  trim_ghosts();
}

/// Its place in the order stays taken until its time has come, so that the order is bounded as well.
bool cache_memory::recall(const cache_key& key) {
  return ghosts_.erase(fingerprint(key)) > 0;
}

/// As many as the main queue has entries; while it fills for the first time, as many as the small one has.
void cache_memory::trim_ghosts() {
  const std::size_t bound = std::max(main_.entries, small_.entries);
  while (ghost_order_.size() > bound) {
    const auto it = ghosts_.find(ghost_order_.front());
    if (it != ghosts_.end() && it->second == oldest_ghost_) ghosts_.erase(it);
    ghost_order_.pop_front();
    ++oldest_ghost_;
  }
}

void cache_memory::queue::push(node& n) {
  n.in = this;
  n.newer = nullptr;
  n.older = head;
  (head != nullptr ? head->newer : tail) = &n;
  head = &n;
  bytes += n.bytes;
  ++entries;
}

void cache_memory::queue::remove(node& n) {
  (n.newer != nullptr ? n.newer->older : head) = n.older;
  (n.older != nullptr ? n.older->newer : tail) = n.newer;
  bytes -= n.bytes;
  --entries;
}

}  // namespace millrace::engine
