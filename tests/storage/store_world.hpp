#pragma once

#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "storage/answer_store.hpp"

/// A directory for one test, and answers whose content follows from their number.
namespace millrace::storage {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using read_result = answer_store::read_result;
using write_result = answer_store::write_result;

inline const engine::wall_time start_time{std::chrono::hours(24L * 365 * 50)};

class store_world : public testing::Test {
 public:
  store_world() {
    std::string name = (fs::temp_directory_path() / "millrace-storage-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary directory");
    root_ = name;
  }
  ~store_world() override { fs::remove_all(root_); }

 protected:
  static engine::cache_key key_of(std::uint64_t n) {
    std::mt19937_64 spread(n + 1);
    engine::cache_key k;
    for (std::size_t at = 0; at < k.bytes.size(); at += 8) {
      const std::uint64_t word = spread();
      std::memcpy(k.bytes.data() + at, &word, sizeof word);
    }
    return k;
  }

  /// The body does not compress, so that sizes on disk are known.
  static engine::cached_answer_ptr answer_of(std::uint64_t n, std::size_t body = 1000,
                                             engine::wall_time stored = start_time,
                                             std::string tenant = "acme") {
    std::mt19937_64 random(n + 7);
    auto a = std::make_shared<engine::cached_answer>();
    while (a->body.size() < body) a->body += static_cast<char>(random());
    a->content_type = "application/json";
    a->tenant = std::move(tenant);
    a->model = "m" + std::to_string(n % 3);
    a->provider = "p";
    a->upstream_model = "um";
    a->key_id = "k" + std::to_string(n);
    a->dropped = "seed, metadata";
    a->input_tokens = static_cast<std::int64_t>(n);
    a->output_tokens = -1;
    a->stored_at = stored;
    a->expires_at = stored + 1h;
    a->fallback = n % 2 == 0;
    a->upgraded = n % 2 == 1;
    a->confidence = 0.25;
    return a;
  }

  static bool same(const engine::cached_answer& a, const engine::cached_answer& b) {
    const auto all = [](const engine::cached_answer& x) {
      return std::tie(x.body, x.content_type, x.tenant, x.model, x.provider, x.upstream_model, x.key_id,
                      x.dropped, x.input_tokens, x.output_tokens, x.stored_at, x.expires_at, x.stale_until,
                      x.fallback, x.upgraded, x.confidence);
    };
    return all(a) == all(b);
  }

  std::string path() const { return (root_ / "cache").string(); }
  fs::path root() const { return root_; }

  std::unique_ptr<answer_store> open(std::uint64_t max_bytes = 64UL << 20U, rocksdb::Env* env = nullptr) {
    auto o = answer_store::open(path(), {.max_bytes = max_bytes, .max_ttl = 2h}, env);
    note_ = o.note;
    return std::move(o.store);
  }
  /// What the last open() said.
  const std::string& note() const { return note_; }

  /// Answers `from` to `to` (without); room is made where the disk is behind.
  static write_result write(answer_store& s, std::uint64_t from, std::uint64_t to, std::size_t body = 1000) {
    std::vector<answer_store::entry> batch;
    for (auto n = from; n < to; ++n) batch.emplace_back(key_of(n), answer_of(n, body));
    auto r = s.write(batch);
    for (int i = 0; i < 100'000 && r == write_result::busy; ++i) {
      std::this_thread::yield();
      if (const auto flushed = s.flush(); flushed != write_result::ok) return flushed;
      r = s.write(batch);
    }
    return r;
  }

  /// How many are found; fails where one is not what was written.
  static std::uint64_t count_found(answer_store& s, std::uint64_t from, std::uint64_t to,
                                   std::size_t body = 1000) {
    std::uint64_t found = 0;
    for (auto n = from; n < to; ++n) {
      engine::cached_answer_ptr a;
      if (s.get(key_of(n), start_time, a) != read_result::found) continue;
      ++found;
      EXPECT_TRUE(same(*a, *answer_of(n, body))) << "answer " << n;
    }
    return found;
  }

  static std::vector<fs::path> files(const fs::path& directory, const std::string& suffix) {
    std::vector<fs::path> found;
    for (const auto& f : fs::directory_iterator(directory)) {
      if (f.path().string().ends_with(suffix)) found.push_back(f.path());
    }
    return found;
  }
  std::vector<fs::path> tables() const { return files(path(), ".sst"); }

  static std::string content(const fs::path& file) {
    std::ifstream in(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  static void replace(const fs::path& file, const std::string& bytes) {
    std::ofstream(file, std::ios::binary | std::ios::trunc) << bytes;
  }

 private:
  fs::path root_;
  std::string note_;
};

}  // namespace millrace::storage
