#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/calendar.hpp"
#include "engine/money.hpp"
#include "engine/ports.hpp"

namespace millrace::engine {

/// What one row of the ledger is about.
struct usage_key {
  day_number day = 0;
  std::string tenant;
  std::string client;
  std::string model;  ///< as clients ask for it
  auto operator<=>(const usage_key&) const = default;
};

/// Counts since the beginning of the row's day.
struct usage_counts {
  std::int64_t requests = 0;         ///< that were answered, or for which a provider was called
  std::int64_t cached_requests = 0;  ///< of these: answered from the cache or by somebody else's call
  std::int64_t attempts = 0;         ///< upstream calls
  std::int64_t input_tokens = 0;     ///< all, as usage::input_tokens
  std::int64_t output_tokens = 0;
  std::int64_t cached_tokens = 0;       ///< of the input, read from the provider's cache
  std::int64_t cache_write_tokens = 0;  ///< of the input, written to it
  std::int64_t reasoning_tokens = 0;    ///< of the output
  std::int64_t estimated_tokens = 0;    ///< of input and output: no provider told them
  std::int64_t images = 0;
  money cost;

  usage_counts& operator+=(const usage_counts& other);
  bool operator==(const usage_counts&) const = default;
};

using usage_row = std::pair<usage_key, usage_counts>;

/// What somebody spent so far.
struct spent_money {
  money day;
  money month;
};

/// Who used what, by day, tenant, client and model: counted here in memory, all of it; a store keeps it for
/// the next start. At most `max_rows`; when there are so many, what has no row yet is counted for its tenant
/// under `other`, so that sums stay true.
///
/// Thread-safe and cheap: I/O threads count, one thread saves.
class usage_ledger : public observer {
 public:
  static constexpr std::size_t max_rows = 250'000;
  /// Client and model of what got no row of its own. Neither can be a name in a configuration.
  static constexpr std::string_view other = "(other)";

  explicit usage_ledger(std::size_t most = max_rows) : most_(most) {}

  void request_done(const request_record& r) override;
  void attempt_done(const attempt_record& r) override;

  /// What an earlier life had counted; before anything else.
  void restore(std::vector<usage_row> rows);
  /// The rows that changed since the last call, as they are now.
  std::vector<usage_row> take_changed();
  /// They were not saved: the next take_changed has them again.
  void put_back(const std::vector<usage_row>& rows);
  /// Forgets the days before `first` and returns which rows those were.
  std::vector<usage_key> forget_before(day_number first);

  /// All rows with a day in [from, to], in order of their keys.
  std::vector<usage_row> rows(day_number from, day_number to) const;
  std::size_t size() const;
  /// What was spent on the day and in the month of `now`, by "client/<name>" and "tenant/<name>".
  std::map<std::string, spent_money> spent(wall_time now) const;

 private:
  struct row {
    usage_key key;
    usage_counts counts;
    bool changed = false;
  };
  using day_rows = std::unordered_map<std::string, row>;

  row& at(day_number day, std::string_view tenant, std::string_view client, std::string_view model);
  row& mark(row& r);

  const std::size_t most_;
  mutable std::mutex mutex_;
  std::map<day_number, day_rows> days_;
  std::size_t size_ = 0;
  std::vector<row*> changed_;  ///< rows stay where they are until they are forgotten
};

}  // namespace millrace::engine
