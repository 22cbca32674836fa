#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <unordered_map>
#include <vector>

#include "engine/config.hpp"
#include "engine/messages.hpp"
#include "engine/rate_window.hpp"

namespace millrace::engine {

/// State of a client's limits, for the x-ratelimit headers.
struct client_windows {
  client_window requests;  ///< of several (a minute, an hour, a minute on this route) the one with least left
  client_window tokens;
};

/// Whether a client's request may go on.
struct client_charge {
  bool allowed = true;
  bool too_large =
      false;  ///< refused, and would always be: it needs more tokens than the limit of a whole minute
  duration retry_after{};  ///< for other refusals: when this very request would pass if nothing else came
  client_windows windows;  ///< after the charge
};

/// The limits that Millrace gives its own clients: requests and tokens a minute, requests an hour, and
/// requests a minute on each route. Sliding windows of 60 s in slots of half a second, and of an hour in
/// slots of 30 s: none of these times holds more than its limit, and nobody waits longer. There is no pacing:
/// a client may use its whole limit at once. Holds windows only for configured clients that have a limit. Not
/// thread-safe.
class client_limits {
 public:
  /// The clients of a new configuration, known by their `client_config::id`. Those that had a limit before
  /// keep their windows.
  void reconfigure(const std::vector<client_config>& clients);

  /// Most routes that are told apart.
  static constexpr std::size_t max_routes = 32;

  /// Counts one request on `route` (below `max_routes`) and `tokens` (>= 0; 0 for an answer from the cache)
  /// at `now`, or refuses; what is refused is not counted. Clients without a limit, and unknown ones, are
  /// always allowed.
  client_charge charge(name_id client, std::uint8_t route, std::int64_t tokens, time_point now);
  /// Replaces the `reserved` tokens that were charged at `charged_at` by the `real` ones: what was too much
  /// is given back, what was too little is counted at `now`.
  void settle(name_id client, std::int64_t reserved, std::int64_t real, time_point charged_at,
              time_point now);
  /// The limits as they stand; those of requests without any route's.
  client_windows windows(name_id client, time_point now);

 private:
  struct limit {
    std::int64_t most;  ///< in `shape.span`
    window_shape shape;
    rate_window used;
    /// Of the newest use. Slots expire late, by their length at most; but this is exact: nothing holds
    /// longer.
    time_point last = time_point::min();

    void add(std::int64_t amount, time_point now);
    /// Empties the window once its newest use is over.
    void forget(time_point now);
    /// When no more than `bound` is used if nothing is added; time_point::max() for a negative bound.
    time_point when_at_most(std::int64_t bound, time_point now);
  };
  struct client_state {
    std::optional<limit> requests;
    std::optional<limit> hour;  ///< requests
    std::optional<limit> tokens;
    std::int64_t route_rpm = unlimited;
    std::map<std::uint8_t, std::optional<limit>> routes;  ///< those that were used; at most `max_routes`
  };

  static void configure(std::optional<limit>& l, std::int64_t most, const window_shape& shape);
  static client_window describe(std::optional<limit>& l, time_point now);
  static client_window tightest(client_state& state, std::optional<limit>* route, time_point now);

  std::unordered_map<name_id, client_state> clients_;
};

}  // namespace millrace::engine
