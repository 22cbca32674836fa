#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/ip/address.hpp>

namespace millrace::http {

using address_list = std::vector<boost::asio::ip::address>;

/// Lookups that block, on threads of their own, so that a name whose servers do not answer delays only those
/// who want that name: one lookup at a time for each name, joined by all who ask for it meanwhile, and a
/// thread for each. Beyond `max_threads` names wait for a thread in the order in which they came; beyond
/// `max_queued` a name has no addresses at once. Thread-safe.
///
/// Nothing can end a lookup that hangs. So nobody waits for one, the destructor neither: the thread is
/// detached, and owns all that it still touches.
class name_lookups {
 public:
  /// The addresses of a name, none when it has none. Blocks as long as it likes; thread-safe; does not throw.
  using blocking_lookup = std::function<address_list(const std::string& host)>;
  using callback = std::function<void(const address_list&)>;

  static constexpr size_t max_threads = 32;
  static constexpr size_t max_queued = 256;

  explicit name_lookups(blocking_lookup lookup, size_t threads = max_threads, size_t queued = max_queued);
  /// Callbacks that were not called yet may still be, or never.
  ~name_lookups();
  name_lookups(const name_lookups&) = delete;
  name_lookups& operator=(const name_lookups&) = delete;

  /// Calls `done` once, on any thread, also from within the call itself. Whoever asks again for a name before
  /// `done` was called is kept once more: each caller has one question about a name at a time.
  void find(const std::string& host, callback done);

 private:
  struct state;
  std::shared_ptr<state> state_;
};

/// What the system says (getaddrinfo: nsswitch.conf, hosts, DNS), in its order.
address_list system_addresses(const std::string& host);

}  // namespace millrace::http
