// Hit ratio of engine::cache_memory against an exact LRU of the same bytes, on a seeded Zipf trace with
// scans.
#include <malloc.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <list>
#include <memory>
#include <random>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/cache_memory.hpp"

namespace {

using namespace millrace::engine;

constexpr std::uint64_t keys = 100'000;
constexpr std::uint64_t requests = 3'000'000;  // beside the scans
constexpr std::uint64_t scan_every = 100'000;
constexpr std::uint64_t scan_length = 20'000;  // keys that are asked for once and never again
constexpr std::size_t smallest_bytes = 512;
constexpr std::size_t largest_bytes = 8192;
constexpr std::uint64_t seed = 42;
const wall_time now{};

/// SplitMix64 (G. Steele, D. Lea, C. Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
std::uint64_t spread(std::uint64_t n) {
  n += 0x9e3779b97f4a7c15;
  n = (n ^ (n >> 30U)) * 0xbf58476d1ce4e5b9;
  n = (n ^ (n >> 27U)) * 0x94d049bb133111eb;
  return n ^ (n >> 31U);
}

cache_key key_of(std::uint64_t n) {
  cache_key k;
  for (std::size_t at = 0; at < k.bytes.size(); at += 8) {
    const std::uint64_t word = spread(n * 4 + at / 8);
    std::memcpy(k.bytes.data() + at, &word, sizeof word);
  }
  return k;
}

cached_answer_ptr answer_of(std::uint64_t n) {
  auto a = std::make_shared<cached_answer>();
  a->body.assign(smallest_bytes + spread(n + seed) % (largest_bytes - smallest_bytes + 1), 'x');
  a->expires_at = now + std::chrono::hours(1);
  return a;
}

std::size_t cost_of(const cached_answer& a) {
  return a.size_bytes() + cache_memory::entry_overhead_bytes;
}

class exact_lru {
 public:
  explicit exact_lru(std::size_t max_bytes) : max_bytes_(max_bytes) {}
  cached_answer_ptr find(const cache_key& key, wall_time) {
    const auto it = entries_.find(key);
    if (it == entries_.end()) return nullptr;
    order_.splice(order_.begin(), order_, it->second);
    return it->second->second;
  }
  void insert(const cache_key& key, cached_answer_ptr a, wall_time) {
    bytes_ += cost_of(*a);
    order_.emplace_front(key, std::move(a));
    entries_[key] = order_.begin();
    while (bytes_ > max_bytes_) {
      bytes_ -= cost_of(*order_.back().second);
      entries_.erase(order_.back().first);
      order_.pop_back();
    }
  }

 private:
  using entry = std::pair<cache_key, cached_answer_ptr>;
  std::size_t max_bytes_;
  std::size_t bytes_ = 0;
  std::list<entry> order_;
  std::unordered_map<cache_key, std::list<entry>::iterator, cache_key_hash> entries_;
};

/// Key n of `keys` is asked for with a probability of 1 / (n + 1)^s; those of scans come after them.
std::vector<std::uint64_t> trace(double s, bool scans) {
  std::vector<double> sums(keys);
  double sum = 0;
  for (std::uint64_t n = 0; n < keys; ++n) sums[n] = sum += 1 / std::pow(static_cast<double>(n + 1), s);
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<double> any(0, sum);
  std::vector<std::uint64_t> t;
  std::uint64_t unseen = keys;
  for (std::uint64_t i = 0; i < requests; ++i) {
    t.push_back(
        static_cast<std::uint64_t>(std::lower_bound(sums.begin(), sums.end(), any(random)) - sums.begin()));
    if (!scans || i % scan_every != scan_every - 1) continue;
    for (std::uint64_t k = 0; k < scan_length; ++k) t.push_back(unseen++);
  }
  return t;
}

/// Of the requests that are no scan's, and after the first third, in which the cache fills.
template <class Cache>
double hit_ratio(Cache& c, const std::vector<std::uint64_t>& t) {
  std::uint64_t hits = 0;
  std::uint64_t asked = 0;
  for (std::size_t i = 0; i < t.size(); ++i) {
    const auto key = key_of(t[i]);
    const bool hit = c.find(key, now) != nullptr;
    if (!hit) c.insert(key, answer_of(t[i]), now);
    if (i < t.size() / 3 || t[i] >= keys) continue;
    ++asked;
    hits += hit ? 1 : 0;
  }
  return static_cast<double>(hits) / static_cast<double>(asked);
}

void compare(double s, bool scans, std::size_t percent, std::size_t footprint) {
  const auto t = trace(s, scans);
  const std::size_t bytes = footprint * percent / 100;
  exact_lru lru(bytes);
  const double theirs = hit_ratio(lru, t);
  cache_memory ours(bytes);
  const double mine = hit_ratio(ours, t);
  std::printf("| %.1f | %s | %zu %% | %.1f %% | %.1f %% | %+.1f %% |\n", s, scans ? "yes" : "no", percent,
              theirs * 100, mine * 100, 100 * ((1 - mine) / (1 - theirs) - 1));
}

/// What the allocator gave for each byte that the cache counted, with the ghost queue full.
void overhead() {
  const std::size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
  cache_memory c(64UL << 20U);
  for (std::uint64_t n = 0; n < 200'000; ++n) {
    c.insert(key_of(n), answer_of(n), now);
    for (int twice = 0; n < 15'000 && twice < 2; ++twice) c.find(key_of(n), now);
  }
  const auto s = c.usage();
  const auto taken = static_cast<double>(mallinfo2().uordblks + mallinfo2().hblkhd - before);
  const double counted = static_cast<double>(s.bytes - s.entries * cache_memory::entry_overhead_bytes);
  std::printf("\n%zu entries and %zu ghosts take %.0f bytes each beside the answers; %zu are counted.\n",
              s.entries, c.ghosts(), (taken - counted) / static_cast<double>(s.entries),
              cache_memory::entry_overhead_bytes);
}

}  // namespace

int main() {
  std::size_t footprint = 0;
  for (std::uint64_t n = 0; n < keys; ++n) footprint += cost_of(*answer_of(n));
  std::puts(
      "| Zipf s | scans | cache / footprint | LRU hits | S3-FIFO hits | misses against LRU "
      "|\n|---|---|---|---|---|---|");
  for (const double s : {0.8, 1.0}) {
    for (const bool scans : {false, true}) {
      for (const std::size_t percent : {1, 10}) compare(s, scans, percent, footprint);
    }
  }
  overhead();
  return 0;
}
