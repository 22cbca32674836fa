#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "http/upstream_client.hpp"
#include "http/upstream_wait.hpp"

namespace millrace::http {

/// Names to addresses for one I/O thread, remembered for a while. One lookup per name at a time, whoever
/// asks; a wait for it ends at once on cancellation although the lookup itself goes on, also beyond the
/// resolver's life. Not thread-safe.
class resolver {
 public:
  /// An answer is used this long without asking again ...
  static constexpr engine::duration fresh_for = std::chrono::seconds(30);
  /// ... and this long while a new lookup runs in the background, so that a slow server delays nobody.
  static constexpr engine::duration usable_for = std::chrono::minutes(5);
  /// Names remembered; beyond it all that are not being looked up are forgotten.
  static constexpr size_t max_names = 1024;

  /// `lookup` null: a `system_lookup`.
  resolver(boost::asio::io_context& io, name_lookup lookup);
  ~resolver();
  resolver(const resolver&) = delete;
  resolver& operator=(const resolver&) = delete;

  /// Fills `out` with at least one address. IP literals need no lookup. Failures: resolve, timeout,
  /// cancelled.
  engine::upstream_failure resolve(const std::string& host, const io_scope& scope, address_list& out);

  /// The address that worked goes first from now on.
  void prefer(const std::string& host, const boost::asio::ip::address& address);

 private:
  struct entry {
    address_list addresses;
    engine::time_point answered{};
    bool running = false;
    std::vector<parking*> waiting;
  };

  class doorway;

  std::shared_ptr<entry> find(const std::string& host);
  void start(const std::string& host, const std::shared_ptr<entry>& e);
  static void ended(entry& e, const address_list& found);

  boost::asio::io_context& io_;
  name_lookup lookup_;
  std::shared_ptr<doorway> doorway_;
  std::unordered_map<std::string, std::shared_ptr<entry>> entries_;
};

static_assert(resolver::max_names > name_lookups::max_threads + name_lookups::max_queued,
              "names that are being looked up are not forgotten");

}  // namespace millrace::http
