// What storage::answer_store costs: start with a given size on disk, memory, look-ups, writes. Prints a
// Markdown table.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "storage/answer_store.hpp"

namespace {

using namespace millrace;
using clock_type = std::chrono::steady_clock;
using storage::answer_store;

constexpr std::uint64_t batch = 100;
constexpr int probes = 20'000;
const engine::wall_time now =
    std::chrono::time_point_cast<std::chrono::milliseconds>(std::chrono::system_clock::now());

double us_since(clock_type::time_point t) {
  return std::chrono::duration<double, std::micro>(clock_type::now() - t).count();
}

/// SplitMix64 (G. Steele, D. Lea, C. Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
std::uint64_t spread(std::uint64_t n) {
  n += 0x9e3779b97f4a7c15;
  n = (n ^ (n >> 30U)) * 0xbf58476d1ce4e5b9;
  n = (n ^ (n >> 27U)) * 0x94d049bb133111eb;
  return n ^ (n >> 31U);
}

engine::cache_key key_of(std::uint64_t n) {
  engine::cache_key k;
  for (std::size_t at = 0; at < k.bytes.size(); at += 8) {
    const std::uint64_t word = spread(n * 4 + at / 8);
    std::memcpy(k.bytes.data() + at, &word, sizeof word);
  }
  return k;
}

std::vector<std::string> vocabulary() {
  std::vector<std::string> words(20'000);
  std::mt19937_64 random(1);
  for (auto& w : words) {
    for (std::size_t letters = 2 + random() % 8; letters > 0; --letters)
      w += static_cast<char>('a' + random() % 26);
    w += ' ';
  }
  return words;
}

/// 0.5 to 8 KiB of words, which compress about as text does.
engine::cached_answer_ptr answer_of(std::uint64_t n) {
  static const std::vector<std::string> words = vocabulary();
  std::uint64_t state = spread(n);
  auto a = std::make_shared<engine::cached_answer>();
  const std::size_t size = 512 + state % 7681;
  while (a->body.size() < size) a->body += words[(state = spread(state)) % words.size()];
  a->tenant = "acme";
  a->model = "gpt-4o-mini";
  a->stored_at = now;
  a->expires_at = now + std::chrono::hours(1);
  return a;
}

double resident_mib() {
  std::ifstream statm("/proc/self/statm");
  std::uint64_t size = 0;
  std::uint64_t resident = 0;
  statm >> size >> resident;
  return static_cast<double>(resident) * static_cast<double>(sysconf(_SC_PAGESIZE)) / (1 << 20);
}

std::unique_ptr<answer_store> open(const std::string& path) {
  auto o = answer_store::open(path, {.max_bytes = 4UL << 30U, .max_ttl = std::chrono::hours(24)});
  if (o.store == nullptr) {
    std::fprintf(stderr, "%s\n", o.note.c_str());
    std::exit(1);
  }
  return std::move(o.store);
}

/// Writes until that much is on disk; how many answers, and the time that writing (without making them) took.
std::pair<std::uint64_t, double> fill(answer_store& s, std::uint64_t bytes) {
  std::uint64_t written = 0;
  double us = 0;
  while (s.usage().disk_bytes < bytes) {
    std::vector<answer_store::entry> entries;
    for (std::uint64_t n = written; n < written + batch; ++n) entries.emplace_back(key_of(n), answer_of(n));
    const auto before = clock_type::now();
    const auto result = s.write(entries);
    us += us_since(before);
    if (result == answer_store::write_result::ok) written += batch;
    if (result == answer_store::write_result::busy) s.flush();
  }
  s.flush();
  return {written, us};
}

void print(const char* what, std::vector<double> us) {
  std::sort(us.begin(), us.end());
  const auto at = [&us](double part) {
    return us[static_cast<std::size_t>(part * static_cast<double>(us.size() - 1))];
  };
  std::printf("| %s, p50 / p99 / max us | %.1f / %.1f / %.1f |\n", what, at(0.5), at(0.99), at(1));
}

/// Keys `from` to `from` + `count`, `probes` of them.
void look_up(answer_store& s, const char* what, std::uint64_t from, std::uint64_t count) {
  std::mt19937_64 random(1);
  std::vector<double> us;
  for (int i = 0; i < probes; ++i) {
    const auto key = key_of(from + random() % count);
    engine::cached_answer_ptr a;
    const auto before = clock_type::now();
    s.get(key, now, a);
    us.push_back(us_since(before));
  }
  print(what, std::move(us));
}

}  // namespace

/// answer_store_cost DIRECTORY [MIB]
int main(int argc, char** argv) {
  if (argc < 2) return 2;
  const std::string path = std::string(argv[1]) + "/cache";
  const std::uint64_t bytes = (argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1024) << 20U;
  std::printf("| what | |\n|---|---|\n| resident before | %.1f MiB |\n", resident_mib());
  auto s = open(path);
  std::printf("| resident with an empty store | %.1f MiB |\n", resident_mib());
  const auto [answers, us] = fill(*s, bytes);
  std::printf("| resident after writing | %.1f MiB |\n", resident_mib());
  s.reset();
  const auto before = clock_type::now();
  s = open(path);
  std::printf("| opening %.0f MiB, %llu answers | %.0f ms |\n",
              static_cast<double>(s->usage().disk_bytes) / (1 << 20),
              static_cast<unsigned long long>(answers), us_since(before) / 1000);
  int files = 0;
  for (const auto& f : std::filesystem::directory_iterator(path))
    files += f.path().extension() == ".sst" ? 1 : 0;
  std::printf("| table files | %d |\n", files);
  std::printf("| write in batches of 100, mean per answer | %.1f us |\n", us / static_cast<double>(answers));
  look_up(*s, "miss", answers * 2, answers);
  look_up(*s, "hit", 0, answers);
  std::printf("| resident after look-ups | %.1f MiB |\n", resident_mib());
  const auto purge = clock_type::now();
  s->purge({}, now);
  std::printf("| purge of everything | %.0f ms |\n", us_since(purge) / 1000);
  return 0;
}
