#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/messages.hpp"
#include "engine/time.hpp"

namespace millrace::engine {

/// Permits granted ahead of need, held by one I/O thread for its next requests: these need not ask the
/// dispatcher. The dispatcher hands them out only out of plenty and calls them back when that changes; what
/// is not used within `life` goes back by itself. Each is a grant under a ticket of its own, already counted
/// by its key.
///
/// Pure; one thread.
class spare_permits {
 public:
  static constexpr duration life = std::chrono::milliseconds(100);
  static constexpr size_t max_held = 512;
  static constexpr int most_wished = 128;

  /// Whether permits may be asked for on behalf of `r`: a first attempt, with nothing tried yet.
  static bool suits(const acquire_request& r);

  /// How many to ask for with a request that found none: twice as many each time they run out, half as many
  /// when some were not used, so that a busy thread asks rarely and a quiet one does not ask in vain.
  std::uint8_t wish();
  /// Keeps a spare grant; when there is no room it goes to `back` at once.
  void add(const acquire_reply& grant, time_point now, std::vector<ticket>& back);
  /// A permit for `r`, if one of its class is held whose reservation covers it without much waste.
  std::optional<acquire_reply> take(const acquire_request& r, time_point now);
  /// Appends the tickets whose time is over.
  void drop_ended(time_point now, std::vector<ticket>& back);
  /// Appends all.
  void drop_all(std::vector<ticket>& back);

  bool empty() const { return held_.empty(); }

 private:
  struct spare {
    acquire_reply grant;
    time_point valid_until;  ///< of the permit
    time_point until;        ///< when it goes back
  };
  std::vector<spare> held_;
  int wish_ = 1;
};

}  // namespace millrace::engine
